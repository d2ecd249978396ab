//! How a Trajectory Transformer does: goals reached from held-out starts, or
//! the return of reward-maximizing search beside that of the policies in its
//! data.

use std::ops::ControlFlow;

use serde::Serialize;

use super::episodes::{self, Episodes};
use super::goal_reaching::PlanTimes;
use super::returns::{PolicyReturn, returns_of_policies};
use super::statistics::Estimate;
use crate::env::Environment;
use crate::model::trajectory::TrajectoryModel;
use crate::plan::beam::BeamSettings;
use crate::plan::beam::drive::{Drive, DriveEvent, DriveRequest, SearchRecord, drive};
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

/// One episode: what is left of it once its searches are forgotten, which
/// would fill gigabytes.
struct Outcome {
    start: Vec<f32>,
    arrival_step: Option<usize>,
    total: f64,
    /// Per search, ln of the plan's probability per planned token.
    log_probs: Vec<f64>,
    spread: Option<f64>,
    plan_ms: Vec<f64>,
}

impl Outcome {
    fn of(model: &TrajectoryModel, start: Vec<f32>, drive: &Drive) -> Self {
        let center = |dim: usize, token: u16| model.discretizer.center(dim, token);
        let per_token = |search: &SearchRecord| {
            let tokens = search.tree.nodes.get(search.tree.best?)?.depth + 1;
            Some(f64::from(search.plan.log_prob) / f64::from(tokens))
        };
        let searches = || drive.searches.iter();
        Self {
            start,
            arrival_step: drive.arrival_step,
            total: drive.rewards.iter().map(|reward| f64::from(*reward)).sum(),
            log_probs: searches().filter_map(|search| per_token(search)).collect(),
            spread: searches().next().and_then(|first| first.tree.spread(&center)).map(f64::from),
            plan_ms: searches().map(|search| f64::from(search.wall_ms)).collect(),
        }
    }
}

/// Run `options.episodes` episodes, one per environment at a time;
/// `on_episode` hears how many are done and may stop early, which keeps the
/// first ones that are. How many environments there are changes how long it
/// takes, and no number but times.
///
/// # Errors
/// A failing search, environments that refuse their own states, or none.
pub fn evaluate_beam(
    environments: &mut [Box<dyn Environment>],
    model: &TrajectoryModel,
    options: &BeamEvalOptions,
    on_episode: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<BeamEvaluation, PlanError> {
    let run = |environment: &mut dyn Environment, index: usize| {
        let mut rng = Rng::stream(options.seed, &format!("episode {index}"));
        episode(environment, model, options, &mut rng)
    };
    let found = episodes::run(environments, options.episodes, &run, on_episode)?;
    let mut evaluation = summarize(model, &found);
    if model.config.layout.rewards {
        let starts: Vec<Vec<f32>> =
            found.outcomes.iter().map(|outcome| outcome.start.clone()).collect();
        let policies = &model.config.policies;
        evaluation.returns_of_data =
            returns_of_policies(environments, policies, &starts, options.seed)?;
    }
    Ok(evaluation)
}

fn episode(
    environment: &mut dyn Environment,
    model: &TrajectoryModel,
    options: &BeamEvalOptions,
    rng: &mut Rng,
) -> Result<Outcome, PlanError> {
    episodes::begin(environment, options.multi, rng)?;
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
    let go_on = &mut |_: DriveEvent| ControlFlow::Continue(());
    let found = drive(environment, model, &request, None, go_on)?;
    let found = found.ok_or_else(|| PlanError::Request("the episode was broken off".into()))?;
    Ok(Outcome::of(model, request.start, &found))
}

fn summarize(model: &TrajectoryModel, found: &Episodes<Outcome>) -> BeamEvaluation {
    let (layout, outcomes) = (model.config.layout, &found.outcomes);
    let arrivals = || outcomes.iter().map(|outcome| outcome.arrival_step);
    let has_goal = layout.goals > 0;
    BeamEvaluation {
        episodes: outcomes.len(),
        reach_rate: has_goal
            .then(|| Estimate::share(arrivals().map(|step| step.is_some())))
            .flatten(),
        arrival_steps: Estimate::of(arrivals().flatten().map(|step| step as f64)),
        total_reward: layout
            .rewards
            .then(|| Estimate::of(outcomes.iter().map(|outcome| outcome.total)))
            .flatten(),
        returns_of_data: Vec::new(),
        log_prob_per_token: Estimate::of(
            outcomes.iter().flat_map(|outcome| outcome.log_probs.iter().copied()),
        ),
        spread: Estimate::of(outcomes.iter().filter_map(|outcome| outcome.spread)),
        plan_ms: PlanTimes::of(found.alone().flat_map(|o| o.plan_ms.iter().copied())),
    }
}
