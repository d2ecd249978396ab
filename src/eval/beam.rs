//! How a Trajectory Transformer does: goals reached from held-out starts, or
//! the return of reward-maximizing search beside that of the policies in its
//! data.

use std::ops::ControlFlow;

use serde::Serialize;

use super::goal_reaching::PlanTimes;
use super::returns::{PolicyReturn, returns_of_policies};
use super::statistics::{Estimate, quantile};
use crate::env::Environment;
use crate::model::trajectory::TrajectoryModel;
use crate::plan::beam::BeamSettings;
use crate::plan::beam::drive::{Drive, DriveEvent, DriveRequest, drive};
use crate::plan::{ControlSettings, PlanError};
use crate::rng::Rng;

/// What to measure.
#[derive(Clone, Debug)]
pub struct BeamEvalOptions {
    /// Independent episodes.
    pub episodes: usize,
    /// Whether every episode draws its own goal.
    pub multi: bool,
    /// Seed of starts, goals and searches.
    pub seed: u64,
    /// Search.
    pub beam: BeamSettings,
    /// How planned transitions become actions.
    pub control: ControlSettings,
}

/// The measurements; one that does not apply is absent.
#[derive(Clone, Debug, Serialize)]
pub struct BeamEvaluation {
    /// Episodes run.
    pub episodes: usize,
    /// Share of episodes that reached the goal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reach_rate: Option<Estimate>,
    /// Steps to the goal, over the episodes that reached it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival_steps: Option<Estimate>,
    /// Undiscounted return of an episode.
    #[serde(rename = "return", skip_serializing_if = "Option::is_none")]
    pub total_reward: Option<Estimate>,
    /// The same of every policy in the data, from the same starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub returns_of_data: Vec<PolicyReturn>,
    /// ln of a plan's probability per planned token, over all searches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_prob_per_token: Option<Estimate>,
    /// How wide the beam of an episode's first search is; see
    /// [`crate::plan::beam::BeamTree::spread`].
    pub spread: Option<Estimate>,
    /// Time of a search, which is that of an action, in milliseconds.
    pub plan_ms: PlanTimes,
}

/// Run `options.episodes` episodes; `on_episode` hears how many are done and
/// may stop early, which keeps those that are.
///
/// # Errors
/// A failing search, or an environment that refuses its own states.
pub fn evaluate_beam(
    environment: &mut dyn Environment,
    model: &TrajectoryModel,
    options: &BeamEvalOptions,
    on_episode: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<BeamEvaluation, PlanError> {
    let (mut drives, mut starts) = (Vec::new(), Vec::new());
    for index in 0..options.episodes {
        let mut rng = Rng::stream(options.seed, &format!("episode {index}"));
        environment.set_goal(&environment.default_goal())?;
        environment.reset(&mut rng);
        if options.multi {
            environment.randomize_goal(&mut rng);
        }
        let request = DriveRequest {
            start: environment.state(),
            goal: environment.goal(),
            beam: options.beam.clone(),
            control: options.control.clone(),
            seed: rng.below(usize::MAX) as u64,
            edits: Vec::new(),
            shows_pruned: false,
            max_steps: environment.spec().max_steps,
        };
        starts.push(request.start.clone());
        let go_on = &mut |_: DriveEvent| ControlFlow::Continue(());
        drives.extend(drive(environment, model, &request, None, go_on)?);
        if on_episode(index + 1).is_break() {
            break;
        }
    }
    let mut found = summarize(model, &drives);
    if model.config.layout.rewards {
        let policies = &model.config.policies;
        found.returns_of_data = returns_of_policies(environment, policies, &starts, options.seed)?;
    }
    Ok(found)
}

fn summarize(model: &TrajectoryModel, drives: &[Drive]) -> BeamEvaluation {
    let layout = model.config.layout;
    let searches = || drives.iter().flat_map(|drive| &drive.searches);
    let plan_ms: Vec<f64> = searches().map(|search| f64::from(search.wall_ms)).collect();
    let center = |dim: usize, token: u16| model.discretizer.center(dim, token);
    let first = drives.iter().filter_map(|drive| drive.searches.first());
    let spread = first.filter_map(|search| search.tree.spread(&center)).map(f64::from);
    let per_token = searches().filter_map(|search| {
        let tokens = search.tree.nodes.get(search.tree.best?)?.depth + 1;
        Some(f64::from(search.plan.log_prob) / f64::from(tokens))
    });
    let total = |drive: &Drive| drive.rewards.iter().map(|r| f64::from(*r)).sum::<f64>();
    let has_goal = layout.goals > 0;
    BeamEvaluation {
        episodes: drives.len(),
        reach_rate: has_goal
            .then(|| Estimate::share(drives.iter().map(|drive| drive.arrival_step.is_some())))
            .flatten(),
        arrival_steps: Estimate::of(
            drives.iter().filter_map(|drive| drive.arrival_step).map(|step| step as f64),
        ),
        total_reward: layout.rewards.then(|| Estimate::of(drives.iter().map(total))).flatten(),
        returns_of_data: Vec::new(),
        log_prob_per_token: Estimate::of(per_token),
        spread: Estimate::of(spread),
        plan_ms: PlanTimes {
            p50: quantile(&plan_ms, 0.5).unwrap_or(0.0),
            p95: quantile(&plan_ms, 0.95).unwrap_or(0.0),
        },
    }
}
