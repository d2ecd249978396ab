//! Acting by beam search: search from the present state with the last few
//! transitions as context, carry out the first of the plan, search again
//! (receding horizon, Appendix B.5).

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::predictor::CachedModel;
use super::{BeamRequest, BeamSettings, BeamTree, Edit, ReturnEstimate, SearchMode, search};
use crate::data::TokenKind;
use crate::env::Environment;
use crate::model::trajectory::TrajectoryModel;
use crate::plan::control::{ControlLaw, ControlSettings};
use crate::plan::film::Plan;
use crate::plan::{PlanError, follow, outcome};

/// Ask for an episode.
#[derive(Clone, Debug, PartialEq)]
pub struct DriveRequest {
    /// The state to start from.
    pub start: Vec<f32>,
    /// Where to go; ignored by a model that maximizes reward.
    pub goal: Vec<f32>,
    /// Search.
    pub beam: BeamSettings,
    /// How planned transitions become actions.
    pub control: ControlSettings,
    /// Seed of the first search; later ones count up.
    pub seed: u64,
    /// A person's changes to the first search.
    pub edits: Vec<Edit>,
    /// Whether rejected branches are followed to their next state, for show.
    pub shows_pruned: bool,
    /// Environment steps after which the episode is over.
    pub max_steps: usize,
}

/// A plan read off a search, one entry per planned transition.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct TokenPlan {
    /// States, in environment coordinates; the first is the present one.
    pub states: Vec<Vec<f32>>,
    /// Actions, bin centers.
    pub actions: Vec<Vec<f32>>,
    /// Rewards and rewards-to-go, bin centers; empty without rewards.
    pub rewards: Vec<[f32; 2]>,
    /// ln of the plan's probability.
    pub log_prob: f32,
    /// Discounted reward and reward-to-go, where the model knows rewards.
    pub value: Option<f32>,
    /// Whether the model expects to have arrived by the plan's end.
    pub ends: bool,
}

/// One search of an episode.
#[derive(Clone, Debug)]
pub struct SearchRecord {
    /// Environment step it was made at.
    pub at_step: usize,
    /// The state it started from.
    pub present: Vec<f32>,
    /// Everything it considered.
    pub tree: Arc<BeamTree>,
    /// What it settled on.
    pub plan: Arc<TokenPlan>,
    /// Tokens of the goal.
    pub goal: Arc<[u16]>,
    /// Time it took, milliseconds.
    pub wall_ms: f32,
}

/// An episode so far.
#[derive(Clone, Debug, Default)]
pub struct Drive {
    /// Searches, in order.
    pub searches: Vec<Arc<SearchRecord>>,
    /// States, the first before any action; one per environment step.
    pub states: Vec<Vec<f32>>,
    /// Actions, one per environment step.
    pub actions: Vec<Vec<f32>>,
    /// Rewards, one per environment step.
    pub rewards: Vec<f32>,
    /// First step within reach of the goal.
    pub arrival_step: Option<usize>,
    /// Seconds between states.
    pub dt_secs: f32,
    /// Whether it has come to its end.
    pub finished: bool,
}

/// A search under way, and the episode before it.
pub struct Growing<'a> {
    /// The episode so far.
    pub drive: &'a Drive,
    /// Everything considered so far.
    pub tree: &'a BeamTree,
    model: &'a TrajectoryModel,
    environment: &'a dyn Environment,
    goal: &'a Arc<[u16]>,
    started: Instant,
}

impl Growing<'_> {
    /// What the search has come to: its tree so far and the best plan in it.
    pub fn record(&self) -> SearchRecord {
        let present = self.environment.state();
        let plan = read_plan(self.model, self.environment, self.tree, present.clone());
        SearchRecord {
            at_step: self.drive.rewards.len(),
            present,
            plan: Arc::new(plan),
            tree: Arc::new(self.tree.clone()),
            goal: Arc::clone(self.goal),
            wall_ms: self.started.elapsed().as_secs_f32() * 1e3,
        }
    }
}

/// What an episode says while it runs.
pub enum DriveEvent<'a> {
    /// A search has grown by a token.
    Searching(Growing<'a>),
    /// A search is over.
    Searched(&'a Drive),
    /// A transition was carried out.
    Moved(&'a Drive),
}

/// Search and act from `request.start` to arrival or the end of the episode.
/// `None` if `on_event` broke it off.
///
/// # Errors
/// A state or goal the environment or the model refuses, or a failing search.
pub fn drive(
    environment: &mut dyn Environment,
    model: &TrajectoryModel,
    request: &DriveRequest,
    mut q: Option<&mut dyn ReturnEstimate>,
    on_event: &mut dyn FnMut(DriveEvent) -> ControlFlow<()>,
) -> Result<Option<Drive>, PlanError> {
    if model.config.layout.goals > 0 {
        environment.set_goal(&request.goal)?;
    }
    environment.set_state(&request.start)?;
    let mut pilot = Pilot {
        goal: model.goal_tokens(&request.goal)?.into(),
        cached: CachedModel::new(model),
        history: Vec::new(),
        loose: 0,
        model,
        request,
    };
    let mut drive = Drive {
        states: vec![environment.state()],
        dt_secs: environment.spec().dt_secs,
        ..Drive::default()
    };
    let mut plan: Option<(usize, Plan)> = None;
    let mut transition = 0;
    while drive.rewards.len() < request.max_steps && drive.arrival_step.is_none() {
        let begun = plan.as_ref().map_or(usize::MAX, |(begun, _)| transition - begun);
        if begun >= request.beam.replan_every.max(1) {
            let found = pilot.search(environment, &drive, &mut q, on_event)?;
            let Some(record) = found else { return Ok(None) };
            plan = Some((transition, pilot.to_follow(&record.plan, drive.dt_secs)));
            drive.searches.push(Arc::new(record));
            if on_event(DriveEvent::Searched(&drive)).is_break() {
                return Ok(None);
            }
        }
        let Some((begun, followed)) = &plan else { break };
        let first = (transition - begun) * model.config.stride;
        pilot.carry_out(environment, followed, first, &mut drive)?;
        transition += 1;
        if on_event(DriveEvent::Moved(&drive)).is_break() {
            return Ok(None);
        }
    }
    drive.finished = true;
    Ok(on_event(DriveEvent::Moved(&drive)).is_continue().then_some(drive))
}

struct Pilot<'a> {
    model: &'a TrajectoryModel,
    cached: CachedModel<'a>,
    request: &'a DriveRequest,
    goal: Arc<[u16]>,
    /// Tokens of the transitions so far.
    history: Vec<u16>,
    /// Searches that still sample loosely.
    loose: usize,
}

impl Pilot<'_> {
    fn search(
        &mut self,
        environment: &dyn Environment,
        drive: &Drive,
        q: &mut Option<&mut dyn ReturnEstimate>,
        on_event: &mut dyn FnMut(DriveEvent) -> ControlFlow<()>,
    ) -> Result<Option<SearchRecord>, PlanError> {
        let started = Instant::now();
        let beam = &self.request.beam;
        let d = self.model.config.layout.per_transition();
        let kept = (beam.context.saturating_sub(1) * d).min(self.history.len());
        let mut context = self.history[self.history.len() - kept..].to_vec();
        context.extend(self.model.state_tokens(&environment.observation())?);
        let is_first = drive.searches.is_empty();
        let request = BeamRequest {
            goal: self.goal.to_vec(),
            context,
            settings: self.settings(),
            seed: self.request.seed.wrapping_add(drive.searches.len() as u64),
            edits: if is_first { self.request.edits.clone() } else { Vec::new() },
            // The episode would be over.
            may_have_arrived: false,
            shows_pruned: self.request.shows_pruned,
        };
        // Reborrowed for this search alone.
        let q = q.as_mut().map(|q| &mut **q as &mut dyn ReturnEstimate);
        let (model, goal) = (self.model, &self.goal);
        let found = search(&mut self.cached, &request, q, &mut |tree| {
            on_event(DriveEvent::Searching(Growing {
                drive,
                tree,
                model,
                environment,
                goal,
                started,
            }))
        });
        let found = found.map_err(|error| PlanError::Request(error.to_string()))?;
        Ok(found
            .map(|tree| Growing { drive, tree: &tree, model, environment, goal, started }.record()))
    }

    /// The scene's search, but loose samples for a while where the likeliest
    /// action has just moved nothing: pressed into a corner, it would be the
    /// likeliest again, forever, because the data hold no such state.
    fn settings(&mut self) -> BeamSettings {
        /// Transitions it takes to get out of a corner's reach.
        const LOOSE: usize = 4;
        const TEMPERATURE: f32 = 3.0;
        let layout = self.model.config.layout;
        let d = layout.per_transition();
        let states = |back: usize| {
            let start = self.history.len().checked_sub(back * d)?;
            self.history.get(start..start + layout.states)
        };
        let beam = self.request.beam.clone();
        let is_caught = layout.goals > 0 && states(2).is_some() && states(1) == states(2);
        self.loose = if is_caught { LOOSE } else { self.loose.saturating_sub(1) };
        if self.loose == 0 {
            return beam;
        }
        BeamSettings {
            mode: SearchMode::Sample,
            beam: 1,
            action_k: 0,
            action_cdf: 0.0,
            temperature: TEMPERATURE * beam.temperature,
            ..beam
        }
    }

    /// The plan step by step, as the feedback law wants it.
    fn to_follow(&self, plan: &TokenPlan, dt_secs: f32) -> Plan {
        let stride = self.model.config.stride;
        let duration_steps = ((plan.states.len().max(2) - 1) * stride) as f32;
        let mut waypoints = plan.states.clone();
        if waypoints.len() < 2 {
            // Nothing planned beyond the present: stay.
            waypoints.extend(plan.states.last().cloned());
        }
        let held = plan.actions.iter().flat_map(|action| std::iter::repeat_n(action, stride));
        Plan {
            states: outcome::interpolate(&waypoints, duration_steps),
            waypoints,
            actions: Some(held.cloned().collect()),
            dt_secs,
            duration_steps,
            feasible: true,
        }
    }

    /// One transition: `stride` environment steps from step `first` of the
    /// plan.
    fn carry_out(
        &mut self,
        environment: &mut dyn Environment,
        plan: &Plan,
        first: usize,
        drive: &mut Drive,
    ) -> Result<(), PlanError> {
        let config = &self.model.config;
        let mut tokens = self.model.state_tokens(&environment.observation())?;
        let mut control = self.request.control.clone();
        let spec = environment.spec().clone();
        // Feedback needs planned positions and velocities.
        let sees_all = config.observation.len() == spec.observation.len();
        let is_mechanical = spec.state.len() == 2 * spec.action.len();
        if !(sees_all && is_mechanical) || spec.goal_dims.is_empty() {
            control.law = ControlLaw::Actions;
        }
        let (n_actions, has_goal) = (spec.action.len(), config.layout.goals > 0);
        let mut mean = vec![0.0; n_actions];
        let mut reward = 0.0;
        for step in 0..config.stride {
            let state = environment.state();
            let (_, action) = follow::command(&spec, &control, plan, &state, first + step);
            let paid = environment.step(&action);
            for (mean, value) in mean.iter_mut().zip(&action) {
                *mean += value / config.stride as f32;
            }
            reward += paid;
            drive.rewards.push(paid);
            drive.actions.push(action);
            drive.states.push(environment.state());
            if has_goal && paid > 0.0 && drive.arrival_step.is_none() {
                drive.arrival_step = Some(drive.rewards.len());
            }
        }
        tokens.extend(self.model.outcome_tokens(&mean, reward));
        self.history.extend(tokens);
        Ok(())
    }
}

/// The plan on the tree's best path.
pub fn read_plan(
    model: &TrajectoryModel,
    environment: &dyn Environment,
    tree: &BeamTree,
    present: Vec<f32>,
) -> TokenPlan {
    let layout = model.config.layout;
    let center = |dim: usize, token: u16| model.discretizer.center(dim, token);
    let mut plan = TokenPlan { states: vec![present], ..TokenPlan::default() };
    let Some(best) = tree.best else { return plan };
    let path = tree.path(best);
    let last = &tree.nodes[best];
    plan.log_prob = last.total;
    let known = path.iter().rev().map(|node| tree.nodes[*node].value).find(|v| v.is_finite());
    plan.value = if layout.rewards { known } else { None };
    let (mut seen, mut action, mut reward) = (Vec::new(), Vec::new(), 0.0);
    for node in path {
        let node = &tree.nodes[node];
        let dim = tree.dim(node.depth as usize);
        if node.token == layout.stop() {
            plan.ends = true;
            break;
        }
        let value = center(dim, node.token);
        match layout.kind(dim) {
            TokenKind::State => seen.push(value),
            TokenKind::Action => action.push(value),
            TokenKind::Reward => reward = value,
            TokenKind::Return => plan.rewards.push([reward, value]),
        }
        if action.len() == layout.actions {
            plan.actions.push(std::mem::take(&mut action));
        }
        if seen.len() == layout.states {
            plan.states.push(state_of(model, environment, &seen));
            seen.clear();
        }
    }
    fill_rates(model, environment, &mut plan.states);
    plan
}

/// Velocities that the model does not see, as how far it believes to have come
/// from one transition to the next.
pub fn fill_rates(model: &TrajectoryModel, environment: &dyn Environment, states: &mut [Vec<f32>]) {
    let (spec, config) = (environment.spec(), &model.config);
    let secs = config.stride as f32 * spec.dt_secs;
    for rate in spec.hidden_rates(&config.observation) {
        for after in 1..states.len() {
            let (before, rest) = states.split_at_mut(after);
            if let (Some(before), Some(after)) = (before.last(), rest.first_mut()) {
                spec.fill_rate(rate, before, after, secs);
            }
        }
    }
}

/// The environment's state for what the model sees of it; what it does not
/// see is 0.
pub fn state_of(model: &TrajectoryModel, environment: &dyn Environment, seen: &[f32]) -> Vec<f32> {
    let mut observation = vec![0.0; environment.spec().observation.len()];
    for (dim, value) in model.config.observation.iter().zip(seen) {
        observation[*dim] = *value;
    }
    environment.state_of(&observation)
}
