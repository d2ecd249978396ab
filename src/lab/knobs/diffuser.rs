//! Settings of a Diffuser's planner and of following its plans.

use super::{
    Effect, Knob, KnobKind, acts, count, follows, from_zero, has_goal, index, is_diffuser,
    plans_durations, position, tracks, whole,
};
use crate::plan::{ControlLaw, DurationSearch, Replan, Sampler, Selection};

const SEARCHES: [DurationSearch; 2] = [DurationSearch::Refine, DurationSearch::Grid];
const SELECTIONS: [Selection; 3] = [Selection::ReadsMap, Selection::Blind, Selection::Return];
const LAWS: [ControlLaw; 2] = [ControlLaw::Track, ControlLaw::Actions];
const REPLANS: [Replan; 3] = [Replan::Never, Replan::EveryNSteps, Replan::OnDeviation];

/// What menus call the samplers.
const SAMPLERS: [&str; Sampler::ALL.len()] = {
    let mut titles = [""; Sampler::ALL.len()];
    let mut at = 0;
    while at < titles.len() {
        titles[at] = Sampler::ALL[at].title;
        at += 1;
    }
    titles
};

/// The choice that scene files call `text`, where that is not its label.
pub(super) fn choice_of(knob: &str, text: &str) -> Option<usize> {
    let rows = if knob == "plan.sampler" { Sampler::ALL } else { &[] };
    rows.iter().position(|row| row.id == text)
}

/// See the module.
pub(super) const KNOBS: &[Knob] = &[
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
        applies: plans_durations,
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
        applies: plans_durations,
        kind: KnobKind::Choice(&["Refine", "Grid"]),
        get: |s| position(&SEARCHES, &s.plan.search),
        set: |s, v| s.plan.search = SEARCHES[index(v, SEARCHES.len())],
    },
    Knob {
        id: "plan.denoising_steps",
        title: "Denoising steps",
        group: "Planner",
        help: "Forward passes from noise to plan. The distilled network takes at most four; DDPM always visits every diffusion time.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: count(64.0),
        get: |s| s.plan.denoising_steps as f64,
        set: |s, v| s.plan.denoising_steps = whole(v, 1000.0),
    },
    Knob {
        id: "plan.warm_steps",
        title: "Warm start",
        group: "Planner",
        help: "While dragging and when planning again, put back the noise of so many of the denoising steps on the last plans and take only those steps: x_t = √ᾱ_t x_prev + √(1-ᾱ_t) ε. 0 starts every plan from pure noise.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: KnobKind::Number { min: 0.0, max: 20.0, step: 1.0, decimals: 0, unit: "steps" },
        get: |s| s.plan.warm_steps as f64,
        set: |s, v| s.plan.warm_steps = from_zero(v.round(), 1000.0) as usize,
    },
    Knob {
        id: "plan.sampler",
        title: "Sampler",
        group: "Planner",
        help: "DDIM and DPM-Solver++ (second order) are deterministic and take few steps; the distilled network takes one and needs a [distill] section in the scene; DDPM draws fresh noise at every step, as in the thesis.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: KnobKind::Choice(&SAMPLERS),
        get: |s| {
            Sampler::ALL.iter().position(|row| row.sampler == s.plan.sampler).unwrap_or(0) as f64
        },
        set: |s, v| {
            let row = &Sampler::ALL[index(v, Sampler::ALL.len())];
            if !row.is_distilled || s.distill.is_some() {
                s.plan.sampler = row.sampler;
            }
        },
    },
    Knob {
        id: "plan.speed_limit",
        title: "Speed limit",
        group: "Planner",
        help: "A plan is infeasible where its mean speed over six waypoints exceeds this on either axis. The ball of a maze reaches 5.2, that of four rooms 0.8.",
        effect: Effect::Live,
        applies: has_goal,
        kind: KnobKind::Number { min: 0.1, max: 8.0, step: 0.1, decimals: 1, unit: "/s" },
        get: |s| f64::from(s.plan.speed_limit),
        set: |s, v| s.plan.speed_limit = from_zero(v, 1000.0),
    },
    Knob {
        id: "plan.selection",
        title: "Selection",
        group: "Planner",
        help: "Pick the shortest plan that passes, by walls and speed (reads the map) or by speed alone, or the one of the highest predicted return.",
        effect: Effect::Live,
        applies: is_diffuser,
        kind: KnobKind::Choice(&["Reads the map", "Blind", "Highest return"]),
        get: |s| position(&SELECTIONS, &s.plan.selection),
        set: |s, v| s.plan.selection = SELECTIONS[index(v, SELECTIONS.len())],
    },
    Knob {
        id: "plan.drag_candidates",
        title: "Candidates while dragging",
        group: "Planner",
        help: "Samples in the smaller request made at every mouse move.",
        effect: Effect::Live,
        applies: plans_durations,
        kind: count(96.0),
        get: |s| s.plan.drag_candidates as f64,
        set: |s, v| s.plan.drag_candidates = whole(v, 1024.0),
    },
    Knob {
        id: "control.law",
        title: "Follow by",
        group: "Control",
        help: "Feedback on the planned states (in a phase plane: the torque that leads to the next one), or the actions the model planned where it plans any.",
        effect: Effect::Live,
        applies: follows,
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
        applies: tracks,
        kind: KnobKind::Number { min: 0.0, max: 30.0, step: 0.5, decimals: 1, unit: "" },
        get: |s| f64::from(s.control.position_gain),
        set: |s, v| s.control.position_gain = from_zero(v, 1e4),
    },
    Knob {
        id: "control.velocity_gain",
        title: "Velocity gain",
        group: "Control",
        help: "Force per unit of difference from the planned velocity. The released code uses 1.",
        effect: Effect::Live,
        applies: tracks,
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
        kind: KnobKind::Number { min: 1.0, max: 200.0, step: 1.0, decimals: 0, unit: "steps" },
        get: |s| s.control.replan_every as f64,
        set: |s, v| s.control.replan_every = whole(v, 100_000.0),
    },
    Knob {
        id: "control.replan_distance",
        title: "Replan beyond",
        group: "Control",
        help: "Distance from the plan that calls for a new one, if it replans on deviation.",
        effect: Effect::Live,
        applies: has_goal,
        kind: KnobKind::Number { min: 0.02, max: 2.0, step: 0.02, decimals: 2, unit: "" },
        get: |s| f64::from(s.control.replan_distance),
        set: |s, v| s.control.replan_distance = from_zero(v, 1e4),
    },
    Knob {
        id: "environment.max_steps",
        title: "Episode length",
        group: "Environment",
        help: "Steps until the episode ends; the ball rolls on to there.",
        effect: Effect::Restart,
        applies: acts,
        kind: KnobKind::Number { min: 100.0, max: 2000.0, step: 50.0, decimals: 0, unit: "steps" },
        get: |s| s.environment.max_steps as f64,
        set: |s, v| s.environment.max_steps = whole(v, 100_000.0),
    },
];
