//! Settings as data: what the window draws and `--set` changes, one row each.

use super::scene::Scene;
use crate::model::ModelConfig;
use crate::plan::{ControlLaw, DurationSearch, Replan, Sampler, Selection};

/// When a changed setting acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// On the next plan.
    Live,
    /// By starting over.
    Restart,
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KnobKind {
    /// A number; a typed one may pass the ends.
    Number {
        /// Left end of the slider.
        min: f64,
        /// Right end of the slider.
        max: f64,
        /// Smallest change.
        step: f64,
        /// Digits after the point.
        decimals: usize,
        /// Unit, or empty.
        unit: &'static str,
    },
    /// One of these labels; the value is the index.
    Choice(&'static [&'static str]),
}

/// One setting.
pub struct Knob {
    /// Dotted key in scene files and for `--set`.
    pub id: &'static str,
    /// Label.
    pub title: &'static str,
    /// Heading it stands under.
    pub group: &'static str,
    /// What it does, for tooltips and `--help`.
    pub help: &'static str,
    /// When a change acts.
    pub effect: Effect,
    /// Whether it means anything in a scene.
    pub applies: fn(&Scene) -> bool,
    /// What values it takes.
    pub kind: KnobKind,
    /// Read it from a scene.
    pub get: fn(&Scene) -> f64,
    /// Write it into a scene, held to what is legal.
    pub set: fn(&mut Scene, f64),
}

/// Largest discount a person can set: a future of a thousand steps.
const MAX_DISCOUNT: f64 = 0.999;

/// Whether a scene plans with a Diffuser.
pub fn is_diffuser(scene: &Scene) -> bool {
    matches!(scene.model, ModelConfig::Diffuser(_))
}

/// Whether a scene predicts with a gamma-model.
pub fn is_gamma(scene: &Scene) -> bool {
    matches!(scene.model, ModelConfig::Gamma(_))
}

const fn count(max: f64) -> KnobKind {
    KnobKind::Number { min: 1.0, max, step: 1.0, decimals: 0, unit: "" }
}

/// A whole number held to `1..=most`; NaN becomes 1.
fn whole(value: f64, most: f64) -> usize {
    value.round().clamp(1.0, most).max(1.0) as usize
}

fn from_zero(value: f64, most: f64) -> f32 {
    value.clamp(0.0, most).max(0.0) as f32
}

fn index(value: f64, choices: usize) -> usize {
    (value.max(0.0) as usize).min(choices - 1)
}

const SEARCHES: [DurationSearch; 2] = [DurationSearch::Refine, DurationSearch::Grid];
const SAMPLERS: [Sampler; 2] = [Sampler::Ddim, Sampler::Ddpm];
const SELECTIONS: [Selection; 2] = [Selection::ReadsMap, Selection::Blind];
const LAWS: [ControlLaw; 2] = [ControlLaw::Track, ControlLaw::Actions];
const REPLANS: [Replan; 3] = [Replan::Never, Replan::EveryNSteps, Replan::OnDeviation];

fn position<T: PartialEq>(all: &[T], value: &T) -> f64 {
    all.iter().position(|item| item == value).unwrap_or(0) as f64
}

/// Every setting.
pub const KNOBS: &[Knob] = &[
    Knob {
        id: "plan.candidates_per_duration",
        title: "Candidates per duration",
        group: "Planner",
        help: "Samples drawn at each duration. More find shorter plans and take longer.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: count(16.0),
        get: |s| s.plan.candidates_per_duration as f64,
        set: |s, v| s.plan.candidates_per_duration = whole(v, 64.0),
    },
    Knob {
        id: "plan.durations",
        title: "Durations",
        group: "Planner",
        help: "Durations tried, spaced evenly in their logarithm over the model's range.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: count(48.0),
        get: |s| s.plan.durations as f64,
        set: |s, v| s.plan.durations = whole(v, 256.0),
    },
    Knob {
        id: "plan.search",
        title: "Duration search",
        group: "Planner",
        help: "Refine sends one scout to every duration and all other candidates to the shortest that passes; Grid treats all alike.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: KnobKind::Choice(&["Refine", "Grid"]),
        get: |s| position(&SEARCHES, &s.plan.search),
        set: |s, v| s.plan.search = SEARCHES[index(v, SEARCHES.len())],
    },
    Knob {
        id: "plan.denoising_steps",
        title: "Denoising steps",
        group: "Planner",
        help: "Forward passes from noise to plan with DDIM. DDPM always visits every diffusion time.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: count(64.0),
        get: |s| s.plan.denoising_steps as f64,
        set: |s, v| s.plan.denoising_steps = whole(v, 1000.0),
    },
    Knob {
        id: "plan.sampler",
        title: "Sampler",
        group: "Planner",
        help: "DDIM is deterministic and takes few steps; DDPM draws fresh noise at every step, as in the thesis.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: KnobKind::Choice(&["DDIM", "DDPM"]),
        get: |s| position(&SAMPLERS, &s.plan.sampler),
        set: |s, v| s.plan.sampler = SAMPLERS[index(v, SAMPLERS.len())],
    },
    Knob {
        id: "plan.speed_limit",
        title: "Speed limit",
        group: "Planner",
        help: "A plan is infeasible where its mean speed over six waypoints exceeds this on either axis. The ball reaches 5.2.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: KnobKind::Number { min: 1.0, max: 8.0, step: 0.1, decimals: 1, unit: "/s" },
        get: |s| f64::from(s.plan.speed_limit),
        set: |s, v| s.plan.speed_limit = from_zero(v, 1000.0),
    },
    Knob {
        id: "plan.selection",
        title: "Selection",
        group: "Planner",
        help: "Pick the shortest plan that passes: by walls and speed (reads the map), or by speed alone.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: KnobKind::Choice(&["Reads the map", "Blind"]),
        get: |s| position(&SELECTIONS, &s.plan.selection),
        set: |s, v| s.plan.selection = SELECTIONS[index(v, SELECTIONS.len())],
    },
    Knob {
        id: "plan.drag_candidates",
        title: "Candidates while dragging",
        group: "Planner",
        help: "Samples in the smaller request made at every mouse move.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: count(96.0),
        get: |s| s.plan.drag_candidates as f64,
        set: |s, v| s.plan.drag_candidates = whole(v, 1024.0),
    },
    Knob {
        id: "control.law",
        title: "Follow by",
        group: "Control",
        help: "Feedback on the planned states, or the actions the model planned where it plans any.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: KnobKind::Choice(&["Feedback", "Planned actions"]),
        get: |s| position(&LAWS, &s.control.law),
        set: |s, v| s.control.law = LAWS[index(v, LAWS.len())],
    },
    Knob {
        id: "control.position_gain",
        title: "Position gain",
        group: "Control",
        help: "Force per unit of distance from the planned position. The released code uses 1.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: KnobKind::Number { min: 0.0, max: 20.0, step: 0.5, decimals: 1, unit: "" },
        get: |s| f64::from(s.control.position_gain),
        set: |s, v| s.control.position_gain = from_zero(v, 1e4),
    },
    Knob {
        id: "control.velocity_gain",
        title: "Velocity gain",
        group: "Control",
        help: "Force per unit of difference from the planned velocity. The released code uses 1.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: KnobKind::Number { min: 0.0, max: 5.0, step: 0.1, decimals: 1, unit: "" },
        get: |s| f64::from(s.control.velocity_gain),
        set: |s, v| s.control.velocity_gain = from_zero(v, 1e4),
    },
    Knob {
        id: "control.replan",
        title: "Replan",
        group: "Control",
        help: "Never, every so many steps over the time that remains, or when the ball strays from the plan.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: KnobKind::Choice(&["Never", "Every N steps", "On deviation"]),
        get: |s| position(&REPLANS, &s.control.replan),
        set: |s, v| s.control.replan = REPLANS[index(v, REPLANS.len())],
    },
    Knob {
        id: "control.replan_every",
        title: "Replan every",
        group: "Control",
        help: "Environment steps between plans, if it replans by the clock.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: KnobKind::Number { min: 5.0, max: 200.0, step: 5.0, decimals: 0, unit: "steps" },
        get: |s| s.control.replan_every as f64,
        set: |s, v| s.control.replan_every = whole(v, 100_000.0),
    },
    Knob {
        id: "control.replan_distance",
        title: "Replan beyond",
        group: "Control",
        help: "Distance from the plan that calls for a new one, if it replans on deviation.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: KnobKind::Number { min: 0.1, max: 2.0, step: 0.1, decimals: 1, unit: "" },
        get: |s| f64::from(s.control.replan_distance),
        set: |s, v| s.control.replan_distance = from_zero(v, 1e4),
    },
    Knob {
        id: "environment.max_steps",
        title: "Episode length",
        group: "Environment",
        help: "Steps until the episode ends; the ball rolls on to there.",
        effect: Effect::Restart,
        applies: is_diffuser,
        kind: KnobKind::Number { min: 100.0, max: 2000.0, step: 50.0, decimals: 0, unit: "steps" },
        get: |s| s.environment.max_steps as f64,
        set: |s, v| s.environment.max_steps = whole(v, 100_000.0),
    },
    Knob {
        id: "occupancy.discount",
        title: "Discount γ",
        group: "Occupancy",
        help: "How far the prediction looks: a future of 1/(1-γ) steps on average. One model answers for every γ it was trained on.",
        effect: Effect::Live,
        applies: is_gamma,
        kind: KnobKind::Number { min: 0.0, max: 0.99, step: 0.005, decimals: 3, unit: "" },
        get: |s| f64::from(s.occupancy.discount),
        set: |s, v| s.occupancy.discount = from_zero(v, MAX_DISCOUNT),
    },
    Knob {
        id: "occupancy.steps",
        title: "Model steps",
        group: "Horizon",
        help: "Model steps chained and reweighted to the long discount (Theorem 1); 1 asks the model directly.",
        effect: Effect::Live,
        applies: is_gamma,
        kind: count(12.0),
        get: |s| s.occupancy.steps as f64,
        set: |s, v| s.occupancy.steps = whole(v, 1000.0),
    },
    Knob {
        id: "occupancy.long_discount",
        title: "Long discount",
        group: "Horizon",
        help: "The discount that the chain is reweighted to, at least γ.",
        effect: Effect::Live,
        applies: is_gamma,
        kind: KnobKind::Number { min: 0.0, max: 0.99, step: 0.005, decimals: 3, unit: "" },
        get: |s| f64::from(s.occupancy.long_discount),
        set: |s, v| s.occupancy.long_discount = from_zero(v, MAX_DISCOUNT),
    },
    Knob {
        id: "occupancy.samples",
        title: "Samples",
        group: "Prediction",
        help: "States drawn from the model and from the real rollouts.",
        effect: Effect::Live,
        applies: is_gamma,
        kind: KnobKind::Number { min: 256.0, max: 8192.0, step: 256.0, decimals: 0, unit: "" },
        get: |s| s.occupancy.samples as f64,
        set: |s, v| s.occupancy.samples = whole(v, 100_000.0),
    },
];

/// The setting with that key.
pub fn find(id: &str) -> Option<&'static Knob> {
    KNOBS.iter().find(|knob| knob.id == id)
}

/// Set a knob from text, a number or a choice's label.
///
/// # Errors
/// An unknown key or a value it does not take, with what would do.
pub fn set_from_text(scene: &mut Scene, assignment: &str) -> Result<(), String> {
    let Some((id, text)) = assignment.split_once('=') else {
        return Err(format!("\"{assignment}\" is not KEY=VALUE"));
    };
    let Some(knob) = find(id.trim()) else {
        let known: Vec<_> = KNOBS.iter().map(|knob| knob.id).collect();
        return Err(format!("there is no setting \"{id}\"; known ones: {}", known.join(", ")));
    };
    let text = text.trim();
    let slug = |label: &str| label.to_lowercase().replace(' ', "-");
    let value = match knob.kind {
        KnobKind::Choice(labels) => labels
            .iter()
            .position(|label| slug(label) == slug(text))
            .map(|index| index as f64)
            .ok_or_else(|| {
                let labels: Vec<_> = labels.iter().map(|label| slug(label)).collect();
                format!("{id} is one of: {}", labels.join(", "))
            })?,
        KnobKind::Number { .. } => text
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())
            .ok_or_else(|| format!("{id} needs a number, not \"{text}\""))?,
    };
    (knob.set)(scene, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shipped::SHIPPED;

    fn scene() -> Scene {
        Scene::parse(SHIPPED[0].text).unwrap()
    }

    #[test]
    fn every_knob_reads_back_what_it_was_set_to() {
        for knob in KNOBS {
            let mut scene = scene();
            let values = match knob.kind {
                KnobKind::Number { min, max, .. } => vec![min, max],
                KnobKind::Choice(labels) => (0..labels.len()).map(|i| i as f64).collect(),
            };
            for value in values {
                (knob.set)(&mut scene, value);
                assert!(((knob.get)(&scene) - value).abs() < 1e-5, "{}", knob.id);
            }
        }
    }

    #[test]
    fn no_value_makes_an_illegal_scene() {
        for knob in KNOBS {
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e300] {
                let mut scene = scene();
                (knob.set)(&mut scene, value);
                assert!(scene.check().is_ok(), "{} = {value}: {:?}", knob.id, scene.check());
            }
        }
    }

    #[test]
    fn settings_are_given_as_text_too() {
        let mut scene = scene();
        set_from_text(&mut scene, "plan.denoising_steps=9").unwrap();
        set_from_text(&mut scene, "control.replan = on-deviation").unwrap();
        assert_eq!((scene.plan.denoising_steps, scene.control.replan), (9, Replan::OnDeviation));
        assert!(set_from_text(&mut scene, "plan.x=1").is_err());
        assert!(set_from_text(&mut scene, "control.replan=often").unwrap_err().contains("never"));
    }
}
