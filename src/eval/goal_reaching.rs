//! The Maze2D and Multi2D protocols of D4RL and Diffuser: reset, plan once,
//! follow to the end of the episode, count steps within reach of the goal.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::episodes::{self, Episodes};
use super::statistics::{Estimate, quantile};
use crate::env::Environment;
use crate::plan::{
    ControlSettings, Film, PlanError, PlanRequest, PlanSettings, Planner, Pursuit, PursuitEvent,
    Rollout, Selection,
};
use crate::rng::Rng;

/// What to measure.
#[derive(Clone, Debug)]
pub struct EvalOptions {
    /// Independent episodes.
    pub episodes: usize,
    /// Whether every episode draws its own goal.
    pub multi: bool,
    /// Seed of resets, goals and noise.
    pub seed: u64,
    /// Sampling and selection.
    pub settings: PlanSettings,
    /// Following.
    pub control: ControlSettings,
    /// Whether to measure the blind selection as well, which takes as long
    /// again.
    pub blind: bool,
}

/// The measurements; one that does not apply is absent.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// Episodes run.
    pub episodes: usize,
    /// D4RL-normalized score, 100 (R - low) / (high - low).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<Estimate>,
    /// The same with the plan picked by speed and duration alone, never
    /// looking at the map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_blind: Option<Estimate>,
    /// Share of episodes that reached the goal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reach_rate: Option<Estimate>,
    /// The same for the plan picked without the map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reach_rate_blind: Option<Estimate>,
    /// Share of episodes whose chosen plan stays in free space and within the
    /// speed limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feasible_rate: Option<Estimate>,
    /// Share of episodes whose chosen plan passes through a wall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_rate: Option<Estimate>,
    /// Share of steps on which the ball touched a wall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact_share: Option<Estimate>,
    /// Steps to the goal, over the episodes that reached it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival_steps: Option<Estimate>,
    /// Planning time in milliseconds.
    pub plan_ms: PlanTimes,
    /// The score of every episode, in order; for paired comparisons.
    #[serde(skip)]
    pub scores: Vec<f64>,
    /// Whether every episode reached the goal, in order.
    #[serde(skip)]
    pub reached: Vec<bool>,
}

/// Quantiles of planning time, over the episodes that had the machine to
/// themselves: the first tenth of those that run several at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanTimes {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// Plans timed.
    pub n: usize,
}

impl PlanTimes {
    /// Of plans that took so many milliseconds; zeros without plans.
    pub(super) fn of(plan_ms: impl IntoIterator<Item = f64>) -> Self {
        let plan_ms: Vec<f64> = plan_ms.into_iter().collect();
        Self {
            p50: quantile(&plan_ms, 0.5).unwrap_or(0.0),
            p95: quantile(&plan_ms, 0.95).unwrap_or(0.0),
            n: plan_ms.len(),
        }
    }
}

/// One episode.
struct Outcome {
    score: Option<f64>,
    score_blind: Option<f64>,
    reached: bool,
    reached_blind: Option<bool>,
    feasible: bool,
    collides: bool,
    contact_share: f64,
    arrival: Option<usize>,
    plan_ms: Vec<f64>,
}

/// Run `options.episodes` episodes, one per environment at a time;
/// `on_episode` hears how many are done and may stop early, which keeps the
/// first ones that are. How many environments there are changes how long it
/// takes, and no number but times.
///
/// # Errors
/// A failing model, a request the planner refuses, or no environment.
pub fn evaluate(
    environments: &mut [Box<dyn Environment>],
    planner: &Planner,
    options: &EvalOptions,
    on_episode: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Evaluation, PlanError> {
    let run = |environment: &mut dyn Environment, index: usize| {
        let mut rng = Rng::stream(options.seed, &format!("episode {index}"));
        episode(environment, planner, options, &mut rng)
    };
    let found = episodes::run(environments, options.episodes, &run, on_episode)?;
    Ok(summarize(&found))
}

fn summarize(found: &Episodes<Outcome>) -> Evaluation {
    let outcomes = &found.outcomes;
    let scores: Vec<f64> = outcomes.iter().filter_map(|o| o.score).collect();
    let reached: Vec<bool> = outcomes.iter().map(|o| o.reached).collect();
    Evaluation {
        episodes: outcomes.len(),
        score: Estimate::of(scores.iter().copied()),
        score_blind: Estimate::of(outcomes.iter().filter_map(|o| o.score_blind)),
        reach_rate: Estimate::share(reached.iter().copied()),
        reach_rate_blind: Estimate::share(outcomes.iter().filter_map(|o| o.reached_blind)),
        feasible_rate: Estimate::share(outcomes.iter().map(|o| o.feasible)),
        collision_rate: Estimate::share(outcomes.iter().map(|o| o.collides)),
        contact_share: Estimate::of(outcomes.iter().map(|o| o.contact_share)),
        arrival_steps: Estimate::of(outcomes.iter().filter_map(|o| o.arrival).map(|s| s as f64)),
        plan_ms: PlanTimes::of(found.alone().flat_map(|o| o.plan_ms.iter().copied())),
        scores,
        reached,
    }
}

fn episode(
    environment: &mut dyn Environment,
    planner: &Planner,
    options: &EvalOptions,
    rng: &mut Rng,
) -> Result<Outcome, PlanError> {
    episodes::begin(environment, options.multi, rng)?;
    let start = environment.state();
    let request = PlanRequest {
        start,
        goal: environment.goal(),
        via: Vec::new(),
        settings: options.settings.clone(),
        seed: rng.below(usize::MAX) as u64,
        near_duration: None,
        previous: None,
    };
    let mut plan_ms = Vec::new();
    let (film, rollout) =
        attempt(environment, planner, &options.control, request.clone(), &mut plan_ms)?;
    let chosen = film.chosen.map(|chosen| film.candidates[chosen]);
    // A request of its own: the durations it refines must not know the map.
    let mut without_map = request;
    without_map.settings.selection = Selection::Blind;
    let blind = match options.blind {
        true => {
            let control = &options.control;
            Some(attempt(environment, planner, control, without_map, &mut Vec::new())?.1)
        }
        false => None,
    };
    let spec = environment.spec();
    let normalized = |rollout: &Rollout| {
        let total: f64 = rollout.rewards.iter().map(|r| f64::from(*r)).sum();
        spec.reference_scores
            .map(|[low, high]| 100.0 * (total - f64::from(low)) / f64::from(high - low))
    };
    Ok(Outcome {
        score: normalized(&rollout),
        score_blind: blind.as_ref().and_then(normalized),
        reached: rollout.arrival_step.is_some(),
        reached_blind: blind.as_ref().map(|blind| blind.arrival_step.is_some()),
        feasible: chosen.is_some_and(|c| c.feasible),
        collides: chosen.is_some_and(|c| c.points_in_walls > 0),
        contact_share: rollout.contact_steps as f64 / rollout.rewards.len().max(1) as f64,
        arrival: rollout.arrival_step,
        plan_ms,
    })
}

/// Plan from the request's start and follow to the end of the episode.
fn attempt(
    environment: &mut dyn Environment,
    planner: &Planner,
    control: &ControlSettings,
    request: PlanRequest,
    plan_ms: &mut Vec<f64>,
) -> Result<(Film, Rollout), PlanError> {
    let nothing = || PlanError::Request("the planner drew no candidate".into());
    environment.set_state(&request.start)?;
    let film = planner.plan(0, Arc::new(request.clone()), &mut |_| ControlFlow::Continue(()))?;
    let film = film.ok_or_else(nothing)?;
    plan_ms.push(f64::from(film.wall_ms));
    let plan = film.plan.clone().ok_or_else(nothing)?;
    let task = Pursuit { film_id: 0, plan, request: &request, control };
    let rollout = planner.pursue(environment, task, &mut |event| {
        if let PursuitEvent::Replanned(film) = event {
            plan_ms.push(f64::from(film.wall_ms));
        }
        ControlFlow::Continue(())
    })?;
    Ok((film, rollout))
}
