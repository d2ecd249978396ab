//! What acting earns where no goal ends an episode: a guided Diffuser in
//! receding horizon control beside the policies in its data, from the same
//! starts.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;

use super::episodes;
use super::goal_reaching::{EvalOptions, PlanTimes};
use super::statistics::Estimate;
use crate::env::{EnvError, Environment};
use crate::plan::{PlanError, PlanRequest, Planner, Pursuit, PursuitEvent};
use crate::rng::Rng;

/// The measurements.
#[derive(Clone, Debug, Serialize)]
pub struct ReturnEvaluation {
    /// Episodes run.
    pub episodes: usize,
    /// Undiscounted return of an episode.
    #[serde(rename = "return", skip_serializing_if = "Option::is_none")]
    pub total_reward: Option<Estimate>,
    /// What was predicted of the first plan of an episode, discounted over its
    /// horizon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Estimate>,
    /// What following plans did earn over that horizon, discounted alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realized: Option<Estimate>,
    /// The return of every policy in the data, from the same starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub returns_of_data: Vec<PolicyReturn>,
    /// Time of a plan in milliseconds.
    pub plan_ms: PlanTimes,
    /// The return of every episode, in order; for paired comparisons.
    #[serde(skip)]
    pub returns: Vec<f64>,
}

/// What a policy in the data earns.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyReturn {
    /// The policy's key.
    pub policy: String,
    /// Undiscounted return of an episode.
    #[serde(rename = "return")]
    pub total_reward: Estimate,
}

/// One episode.
struct Outcome {
    start: Vec<f32>,
    total: f64,
    /// Predicted of the first plan, and earned over its horizon.
    first: Option<[f64; 2]>,
    plan_ms: Vec<f64>,
}

/// Run `options.episodes` episodes, one per environment at a time;
/// `on_episode` hears how many are done and may stop early, which keeps the
/// first ones that are. How many environments there are changes how long it
/// takes, and no number but times.
///
/// # Errors
/// A failing model, environments that refuse their own states, or none.
pub fn evaluate_returns(
    environments: &mut [Box<dyn Environment>],
    planner: &Planner,
    options: &EvalOptions,
    on_episode: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<ReturnEvaluation, PlanError> {
    let run = |environment: &mut dyn Environment, index: usize| {
        let mut rng = Rng::stream(options.seed, &format!("episode {index}"));
        episode(environment, planner, options, &mut rng)
    };
    let found = episodes::run(environments, options.episodes, &run, on_episode)?;
    let outcomes = &found.outcomes;
    let starts: Vec<Vec<f32>> = outcomes.iter().map(|outcome| outcome.start.clone()).collect();
    let policies = &planner.diffuser().config.policies;
    let returns: Vec<f64> = outcomes.iter().map(|outcome| outcome.total).collect();
    let firsts = || outcomes.iter().filter_map(|outcome| outcome.first);
    Ok(ReturnEvaluation {
        episodes: outcomes.len(),
        total_reward: Estimate::of(returns.iter().copied()),
        predicted: Estimate::of(firsts().map(|[predicted, _]| predicted)),
        realized: Estimate::of(firsts().map(|[_, realized]| realized)),
        returns_of_data: returns_of_policies(environments, policies, &starts, options.seed)?,
        plan_ms: PlanTimes::of(found.alone().flat_map(|o| o.plan_ms.iter().copied())),
        returns,
    })
}

fn episode(
    environment: &mut dyn Environment,
    planner: &Planner,
    options: &EvalOptions,
    rng: &mut Rng,
) -> Result<Outcome, PlanError> {
    environment.reset(rng);
    let start = environment.state();
    let request = PlanRequest {
        start: start.clone(),
        goal: Vec::new(),
        via: Vec::new(),
        settings: options.settings.clone(),
        seed: rng.below(usize::MAX) as u64,
        near_duration: None,
        previous: None,
    };
    let nothing = || PlanError::Request("the planner drew no candidate".into());
    let film = planner.plan(0, Arc::new(request.clone()), &mut |_| ControlFlow::Continue(()))?;
    let film = film.ok_or_else(nothing)?;
    let plan = film.plan.clone().ok_or_else(nothing)?;
    let mut plan_ms = vec![f64::from(film.wall_ms)];
    let horizon = plan.duration_steps as usize + 1;
    let task = Pursuit { film_id: 0, plan, request: &request, control: &options.control };
    let rollout = planner.pursue(environment, task, &mut |event| {
        if let PursuitEvent::Replanned(film) = event {
            plan_ms.push(f64::from(film.wall_ms));
        }
        ControlFlow::Continue(())
    })?;
    let chosen = film.chosen.and_then(|chosen| film.candidates.get(chosen));
    let predicted = chosen.and_then(|chosen| chosen.predicted_return);
    let discount = planner.diffuser().guide().map(|guide| f64::from(guide.config().discount));
    let first = discount.zip(predicted).map(|(discount, predicted)| {
        let rewards = rollout.rewards.iter().take(horizon).enumerate();
        let earned = rewards.map(|(k, reward)| discount.powi(k as i32) * f64::from(*reward));
        [f64::from(predicted), earned.sum()]
    });
    let total = rollout.rewards.iter().map(|reward| f64::from(*reward)).sum();
    Ok(Outcome { start, total, first, plan_ms })
}

/// What policies earn over whole episodes from these starts.
///
/// # Errors
/// An unknown policy, or a start the environment refuses.
pub(super) fn returns_of_policies(
    environments: &mut [Box<dyn Environment>],
    policies: &[String],
    starts: &[Vec<f32>],
    seed: u64,
) -> Result<Vec<PolicyReturn>, EnvError> {
    let mut found = Vec::new();
    let Some(environment) = environments.first_mut() else { return Ok(found) };
    for id in policies {
        let policy = environment.policy(id)?;
        let mut rng = Rng::stream(seed, &format!("returns of {id}"));
        let goal = environment.goal();
        let mut totals = Vec::new();
        for start in starts {
            environment.set_state(start)?;
            let mut total = 0.0;
            for _ in 0..environment.spec().max_steps {
                let action = policy.act(&environment.state(), &goal, &mut rng);
                total += f64::from(environment.step(&action));
            }
            totals.push(total);
        }
        if let Some(total_reward) = Estimate::of(totals) {
            found.push(PolicyReturn { policy: id.clone(), total_reward });
        }
    }
    Ok(found)
}
