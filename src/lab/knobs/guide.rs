//! Settings of a Diffuser's guide.

use super::{Effect, Knob, KnobKind, count, from_zero, index, is_guided, position, whole};
use crate::plan::{GuideMethod, GuideWeight};

const METHODS: [GuideMethod; 2] = [GuideMethod::Mean, GuideMethod::Noisy];
const WEIGHTS: [GuideWeight; 3] = [GuideWeight::Variance, GuideWeight::Deviation, GuideWeight::One];

/// See the module.
pub(super) const KNOBS: &[Knob] = &[
    Knob {
        id: "plan.guide.scale",
        title: "Guide scale",
        group: "Guide",
        help: "How strongly the gradient of the predicted return pulls plans while they denoise; 0 samples what the data does.",
        effect: Effect::Live,
        applies: is_guided,
        kind: KnobKind::Number { min: 0.0, max: 20.0, step: 0.5, decimals: 1, unit: "" },
        get: |s| f64::from(s.plan.guide.scale),
        set: |s, v| s.plan.guide.scale = from_zero(v, 1e4),
    },
    Knob {
        id: "plan.guide.method",
        title: "Gradient taken at",
        group: "Guide",
        help: "The mean of the next plan, once, as in the thesis (Algorithm 5); or the noisy plan, several times, as in the released code.",
        effect: Effect::Live,
        applies: is_guided,
        kind: KnobKind::Choice(&["Mean", "Noisy plan"]),
        get: |s| position(&METHODS, &s.plan.guide.method),
        set: |s, v| s.plan.guide.method = METHODS[index(v, METHODS.len())],
    },
    Knob {
        id: "plan.guide.steps",
        title: "Guide steps",
        group: "Guide",
        help: "Gradient steps per denoising step at the noisy plan. The released code takes 2.",
        effect: Effect::Live,
        applies: is_guided,
        kind: count(8.0),
        get: |s| s.plan.guide.steps as f64,
        set: |s, v| s.plan.guide.steps = whole(v, 100.0),
    },
    Knob {
        id: "plan.guide.weight",
        title: "Gradient times",
        group: "Guide",
        help: "The variance of the denoising step, as in thesis and released code; its standard deviation; or nothing.",
        effect: Effect::Live,
        applies: is_guided,
        kind: KnobKind::Choice(&["Variance", "Deviation", "One"]),
        get: |s| position(&WEIGHTS, &s.plan.guide.weight),
        set: |s, v| s.plan.guide.weight = WEIGHTS[index(v, WEIGHTS.len())],
    },
    Knob {
        id: "plan.guide.stop_below",
        title: "No guide below time",
        group: "Guide",
        help: "The last diffusion times are left to the model alone, so that plans end up smooth. The released code leaves 2.",
        effect: Effect::Live,
        applies: is_guided,
        kind: KnobKind::Number { min: 0.0, max: 20.0, step: 1.0, decimals: 0, unit: "" },
        get: |s| s.plan.guide.stop_below as f64,
        set: |s, v| s.plan.guide.stop_below = from_zero(v, 1000.0) as usize,
    },
    Knob {
        id: "plan.guide.ramp",
        title: "Full pull from waypoint",
        group: "Guide",
        help: "Near the known state plans can hardly differ; pulled there, they jump. The gradient of states grows to its full size at this waypoint; 0 pulls at all alike, as published.",
        effect: Effect::Live,
        applies: is_guided,
        kind: KnobKind::Number { min: 0.0, max: 64.0, step: 1.0, decimals: 0, unit: "" },
        get: |s| s.plan.guide.ramp as f64,
        set: |s, v| s.plan.guide.ramp = from_zero(v, 10000.0) as usize,
    },
];
