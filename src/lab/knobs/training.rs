//! Settings of training. What a run can take up while it goes on acts live;
//! the rest starts from fresh weights.

use std::cell::RefCell;

use super::{Effect, Knob, KnobKind, index, is_trajectory, position};
use crate::env::{EnvironmentConfig, EnvironmentSpec};
use crate::lab::scene::Scene;
use crate::model::{ModelConfig, ModelNumbers, Preset};

/// Heading of the knobs that the training section shows.
pub const GROUP: &str = "Training";
const PRESETS: &[Preset] = &[Preset::Quick, Preset::Paper, Preset::Code];
const PRESET_NAMES: &[&str] = &["quick", "paper", "code"];
/// Most windows a batch may hold.
const MAX_BATCH: f64 = 4096.0;

/// See the module.
pub(super) const KNOBS: &[Knob] = &[
    Knob {
        id: "train.learning_rate",
        title: "Learning rate",
        group: GROUP,
        help: "Adam's step size at the beginning; most presets let it fall as the budget is spent.",
        effect: Effect::Live,
        applies: |_| true,
        kind: KnobKind::Log { min: 1e-5, max: 1e-2 },
        get: |s| match numbers(s) {
            Some(ModelNumbers::Diffuser(config)) => config.learning_rate,
            Some(ModelNumbers::Gamma(config)) => config.learning_rate,
            Some(ModelNumbers::Trajectory(config)) => config.learning_rate,
            None => 0.0,
        },
        set: |s, v| {
            // The last step makes the smallest of NaN.
            let rate = Some(v.clamp(1e-8, 1.0).max(1e-8));
            match &mut s.model {
                ModelConfig::Diffuser(section) => section.learning_rate = rate,
                ModelConfig::Gamma(section) => section.learning_rate = rate,
                ModelConfig::Trajectory(section) => section.learning_rate = rate,
            }
        },
    },
    Knob {
        id: "train.batch",
        title: "Batch",
        group: GROUP,
        help: "Windows, or states, per training step. More cost more time a step and make the gradient less noisy.",
        effect: Effect::Live,
        applies: |_| true,
        kind: KnobKind::Number { min: 8.0, max: 512.0, step: 8.0, decimals: 0, unit: "" },
        get: |s| match numbers(s) {
            Some(ModelNumbers::Diffuser(config)) => config.batch as f64,
            Some(ModelNumbers::Gamma(config)) => config.batch as f64,
            Some(ModelNumbers::Trajectory(config)) => config.batch as f64,
            None => 0.0,
        },
        set: |s, v| {
            let batch = Some(v.round().clamp(1.0, MAX_BATCH).max(1.0) as usize);
            match &mut s.model {
                ModelConfig::Diffuser(section) => section.batch = batch,
                ModelConfig::Gamma(section) => section.batch = batch,
                ModelConfig::Trajectory(section) => section.batch = batch,
            }
        },
    },
    Knob {
        id: "train.action_weight",
        title: "Action weight",
        group: GROUP,
        help: "What a wrong guess of an action costs in the loss; a wrong guess of a state costs 1.",
        effect: Effect::Live,
        applies: is_trajectory,
        kind: KnobKind::Number { min: 0.0, max: 10.0, step: 0.5, decimals: 1, unit: "" },
        get: |s| match numbers(s) {
            Some(ModelNumbers::Trajectory(config)) => f64::from(config.weights.action),
            _ => 0.0,
        },
        set: |s, v| {
            if let Some(section) = s.model.trajectory_mut() {
                section.action_weight = Some(super::from_zero(v, 1e3));
            }
        },
    },
    Knob {
        id: "train.preset",
        title: "Preset",
        group: GROUP,
        help: "quick: ours, trains on a laptop. paper: the thesis. code: the released code where the two differ. Another preset is another network, untrained.",
        effect: Effect::Restart,
        applies: |s| s.model.preset() != Preset::QuickFixed,
        kind: KnobKind::Choice(PRESET_NAMES),
        get: |s| position(PRESETS, &s.model.preset()),
        set: |s, v| {
            let preset = PRESETS[index(v, PRESETS.len())];
            if preset == s.model.preset() {
                return;
            }
            let section = match &mut s.model {
                ModelConfig::Diffuser(section) => {
                    // The released networks plan a number of steps, ours a
                    // range of durations; each starts from the other's longest.
                    let [short, long] = section.duration.unwrap_or([8.0, 128.0]);
                    let horizon = section.horizon.unwrap_or((long as usize).div_ceil(8) * 8);
                    section.horizon = Some(horizon);
                    section.duration = Some([short, long]);
                    &mut section.preset
                }
                ModelConfig::Gamma(section) => &mut section.preset,
                ModelConfig::Trajectory(section) => &mut section.preset,
            };
            *section = preset;
            s.model.set_weights(None);
        },
    },
    Knob {
        id: "data.transitions",
        title: "Transitions",
        group: GROUP,
        help: "Environment steps collected before training.",
        effect: Effect::Restart,
        applies: |_| true,
        kind: KnobKind::Log { min: 1e4, max: 1e7 },
        get: |s| s.data.transitions as f64,
        set: |s, v| s.data.transitions = v.round().clamp(100.0, 2e7).max(100.0) as usize,
    },
    Knob {
        id: "train.seed",
        title: "Training seed",
        group: GROUP,
        help: "Seed of first weights, batches and noise.",
        effect: Effect::Restart,
        applies: |_| true,
        kind: KnobKind::Number { min: 0.0, max: 99.0, step: 1.0, decimals: 0, unit: "" },
        get: |s| s.train.seed as f64,
        set: |s, v| s.train.seed = v.round().clamp(0.0, 1e9).max(0.0) as u64,
    },
];

thread_local! {
    /// The last world asked about: a panel asks several times a frame, and
    /// building one takes longer than that should.
    static SPEC: RefCell<Option<(EnvironmentConfig, EnvironmentSpec)>> = const { RefCell::new(None) };
}

/// Every number of the scene's model; `None` if it cannot be built.
fn numbers(scene: &Scene) -> Option<ModelNumbers> {
    SPEC.with_borrow_mut(|known| {
        if known.as_ref().is_none_or(|(config, _)| *config != scene.environment) {
            let spec = scene.make_environment().ok()?.spec().clone();
            *known = Some((scene.environment.clone(), spec));
        }
        let (_, spec) = known.as_ref()?;
        scene.model.resolve(spec).ok()
    })
}
