//! Settings of the Trajectory Transformer's beam search.

use super::{Effect, Knob, KnobKind, index, is_trajectory, position, whole};
use crate::lab::Scene;
use crate::model::ModelNumbers;
use crate::plan::beam::SearchMode;

const MODES: [SearchMode; 4] =
    [SearchMode::Likelihood, SearchMode::Distinct, SearchMode::Reward, SearchMode::Sample];

/// A whole number held to `0..=most`; NaN becomes 0.
fn from_none(value: f64, most: f64) -> usize {
    value.round().clamp(0.0, most).max(0.0) as usize
}

/// A share below 1; NaN becomes 0.
fn share(value: f64) -> f32 {
    value.clamp(0.0, 0.99).max(0.0) as f32
}

/// Whether the scene's model could maximize reward.
fn knows_rewards(scene: &Scene) -> bool {
    let Ok(environment) = scene.make_environment() else { return false };
    match scene.model.resolve(environment.spec()) {
        Ok(ModelNumbers::Trajectory(config)) => config.layout.rewards,
        _ => false,
    }
}

/// A model without rewards cannot search for them.
fn set_mode(scene: &mut Scene, value: f64) {
    let mode = MODES[index(value, MODES.len())];
    if mode != SearchMode::Reward || knows_rewards(scene) {
        scene.beam.mode = mode;
    }
}

/// See the module.
pub(super) const KNOBS: &[Knob] = &[
    Knob {
        id: "beam.mode",
        title: "Search for",
        group: "Search",
        help: "The most likely trajectory; distinct samples, of which the likeliest is the plan (stochastic beam search); the highest predicted reward-to-go; or independent samples.",
        effect: Effect::Live,
        applies: is_trajectory,
        kind: KnobKind::Choice(&["Likelihood", "Distinct", "Reward", "Sample"]),
        get: |s| position(&MODES, &s.beam.mode),
        set: |s, v| set_mode(s, v),
    },
    Knob {
        id: "beam.beam",
        title: "Beam width",
        group: "Search",
        help: "Continuations kept at a time. More find better plans and take longer.",
        effect: Effect::Live,
        applies: is_trajectory,
        kind: KnobKind::Number { min: 1.0, max: 256.0, step: 1.0, decimals: 0, unit: "" },
        get: |s| s.beam.beam as f64,
        set: |s, v| s.beam.beam = whole(v, 1024.0),
    },
    Knob {
        id: "beam.expand",
        title: "Actions per beam",
        group: "Search",
        help: "Actions sampled per continuation and transition when it searches for reward.",
        effect: Effect::Live,
        applies: |s| is_trajectory(s) && s.beam.mode == SearchMode::Reward,
        kind: KnobKind::Number { min: 1.0, max: 16.0, step: 1.0, decimals: 0, unit: "" },
        get: |s| s.beam.expand as f64,
        set: |s, v| s.beam.expand = whole(v, 64.0),
    },
    Knob {
        id: "beam.horizon",
        title: "Horizon",
        group: "Search",
        help: "Transitions planned ahead.",
        effect: Effect::Live,
        applies: is_trajectory,
        kind: KnobKind::Number { min: 1.0, max: 40.0, step: 1.0, decimals: 0, unit: "transitions" },
        get: |s| s.beam.horizon as f64,
        set: |s, v| s.beam.horizon = whole(v, 200.0),
    },
    Knob {
        id: "beam.context",
        title: "Context",
        group: "Search",
        help: "Transitions of the past that the model reads, the present one included.",
        effect: Effect::Live,
        applies: is_trajectory,
        kind: KnobKind::Number { min: 1.0, max: 10.0, step: 1.0, decimals: 0, unit: "transitions" },
        get: |s| s.beam.context as f64,
        set: |s, v| s.beam.context = whole(v, 200.0),
    },
    Knob {
        id: "beam.observation_k",
        title: "States: best k",
        group: "Search",
        help: "Only the k most likely bins of a state number; 1 is greedy, 0 keeps all.",
        effect: Effect::Live,
        applies: is_trajectory,
        kind: KnobKind::Number { min: 0.0, max: 20.0, step: 1.0, decimals: 0, unit: "" },
        get: |s| s.beam.observation_k as f64,
        set: |s, v| s.beam.observation_k = from_none(v, 1000.0),
    },
    Knob {
        id: "beam.observation_cdf",
        title: "States: drop mass",
        group: "Search",
        help: "The least likely bins that hold this share of the probability are left out.",
        effect: Effect::Live,
        applies: is_trajectory,
        kind: KnobKind::Number { min: 0.0, max: 0.95, step: 0.05, decimals: 2, unit: "" },
        get: |s| f64::from(s.beam.observation_cdf),
        set: |s, v| s.beam.observation_cdf = share(v),
    },
    Knob {
        id: "beam.action_k",
        title: "Actions: best k",
        group: "Search",
        help: "Only the k most likely bins of an action number; 0 keeps all.",
        effect: Effect::Live,
        applies: is_trajectory,
        kind: KnobKind::Number { min: 0.0, max: 40.0, step: 1.0, decimals: 0, unit: "" },
        get: |s| s.beam.action_k as f64,
        set: |s, v| s.beam.action_k = from_none(v, 1000.0),
    },
    Knob {
        id: "beam.action_cdf",
        title: "Actions: drop mass",
        group: "Search",
        help: "The least likely bins that hold this share of the probability are left out.",
        effect: Effect::Live,
        applies: is_trajectory,
        kind: KnobKind::Number { min: 0.0, max: 0.95, step: 0.05, decimals: 2, unit: "" },
        get: |s| f64::from(s.beam.action_cdf),
        set: |s, v| s.beam.action_cdf = share(v),
    },
    Knob {
        id: "beam.temperature",
        title: "Temperature",
        group: "Search",
        help: "Divides the scores before sampling: below 1 the likely becomes likelier.",
        effect: Effect::Live,
        applies: is_trajectory,
        kind: KnobKind::Number { min: 0.1, max: 2.0, step: 0.05, decimals: 2, unit: "" },
        get: |s| f64::from(s.beam.temperature),
        set: |s, v| s.beam.temperature = v.clamp(0.01, 100.0).max(0.01) as f32,
    },
    Knob {
        id: "beam.discount",
        title: "Discount γ",
        group: "Search",
        help: "Weight of later rewards in a plan's value, per transition.",
        effect: Effect::Live,
        applies: is_trajectory,
        kind: KnobKind::Number { min: 0.5, max: 1.0, step: 0.01, decimals: 2, unit: "" },
        get: |s| f64::from(s.beam.discount),
        set: |s, v| s.beam.discount = v.clamp(0.01, 1.0).max(0.01) as f32,
    },
    Knob {
        id: "beam.replan_every",
        title: "Search again after",
        group: "Search",
        help: "Transitions acted on before the next search.",
        effect: Effect::Live,
        applies: is_trajectory,
        kind: KnobKind::Number { min: 1.0, max: 15.0, step: 1.0, decimals: 0, unit: "transitions" },
        get: |s| s.beam.replan_every as f64,
        set: |s, v| s.beam.replan_every = whole(v, 200.0),
    },
    Knob {
        id: "beam.prune_reach",
        title: "Prune also near",
        group: "Search",
        help: "How many bins on either side of a pruned branch go with it: the next bins lead to nearly the same place. 0 prunes the branch alone.",
        effect: Effect::Live,
        applies: is_trajectory,
        kind: KnobKind::Number { min: 0.0, max: 30.0, step: 1.0, decimals: 0, unit: "bins" },
        get: |s| s.beam.prune_reach as f64,
        set: |s, v| s.beam.prune_reach = from_none(v, 1000.0),
    },
];
