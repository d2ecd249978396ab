//! What acting earns where no goal ends an episode: a guided Diffuser in
//! receding horizon control beside the policies in its data, from the same
//! starts.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;

use super::goal_reaching::{EvalOptions, PlanTimes};
use super::statistics::{Estimate, quantile};
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

/// Run `options.episodes` episodes; `on_episode` hears how many are done and
/// may stop early, which keeps those that are.
///
/// # Errors
/// A failing model, or an environment that refuses its own states.
pub fn evaluate_returns(
    environment: &mut dyn Environment,
    planner: &Planner,
    options: &EvalOptions,
    on_episode: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<ReturnEvaluation, PlanError> {
    let (mut totals, mut starts, mut plan_ms) = (Vec::new(), Vec::new(), Vec::new());
    let (mut predicted, mut realized) = (Vec::new(), Vec::new());
    let discount = planner.diffuser().guide().map(|guide| guide.config().discount);
    for index in 0..options.episodes {
        let mut rng = Rng::stream(options.seed, &format!("episode {index}"));
        environment.reset(&mut rng);
        let request = PlanRequest {
            start: environment.state(),
            goal: Vec::new(),
            via: Vec::new(),
            settings: options.settings.clone(),
            seed: rng.below(usize::MAX) as u64,
            near_duration: None,
        };
        starts.push(request.start.clone());
        let film =
            planner.plan(0, Arc::new(request.clone()), &mut |_| ControlFlow::Continue(()))?;
        let Some(film) = film else { break };
        let Some(plan) = film.plan.clone() else { break };
        plan_ms.push(f64::from(film.wall_ms));
        let horizon = plan.duration_steps as usize + 1;
        let task = Pursuit { film_id: 0, plan, request: &request, control: &options.control };
        let rollout = planner.pursue(environment, task, &mut |event| {
            if let PursuitEvent::Replanned(film) = event {
                plan_ms.push(f64::from(film.wall_ms));
            }
            ControlFlow::Continue(())
        })?;
        totals.push(rollout.rewards.iter().map(|reward| f64::from(*reward)).sum::<f64>());
        let chosen = film.chosen.and_then(|chosen| film.candidates.get(chosen));
        if let (Some(discount), Some(value)) =
            (discount, chosen.and_then(|chosen| chosen.predicted_return))
        {
            predicted.push(f64::from(value));
            let discounted = rollout.rewards.iter().take(horizon).enumerate();
            realized.push(
                discounted
                    .map(|(k, reward)| f64::from(discount).powi(k as i32) * f64::from(*reward))
                    .sum(),
            );
        }
        if on_episode(index + 1).is_break() {
            break;
        }
    }
    let policies = &planner.diffuser().config.policies;
    Ok(ReturnEvaluation {
        episodes: totals.len(),
        total_reward: Estimate::of(totals),
        predicted: Estimate::of(predicted),
        realized: Estimate::of(realized),
        returns_of_data: returns_of_policies(environment, policies, &starts, options.seed)?,
        plan_ms: PlanTimes {
            p50: quantile(&plan_ms, 0.5).unwrap_or(0.0),
            p95: quantile(&plan_ms, 0.95).unwrap_or(0.0),
        },
    })
}

/// What policies earn over whole episodes from these starts.
///
/// # Errors
/// An unknown policy, or a start the environment refuses.
pub(super) fn returns_of_policies(
    environment: &mut dyn Environment,
    policies: &[String],
    starts: &[Vec<f32>],
    seed: u64,
) -> Result<Vec<PolicyReturn>, EnvError> {
    let mut found = Vec::new();
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
