//! Settings of a gamma-model's questions.

use super::{Effect, Knob, KnobKind, count, from_zero, is_gamma, whole};

/// Largest discount a person can set: a future of a thousand steps.
const MAX_DISCOUNT: f64 = 0.999;

/// See the module.
pub(super) const KNOBS: &[Knob] = &[
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
