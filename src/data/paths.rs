//! Paths of many policies, from a start to a goal or to the end of an episode.
//!
//! What a sequence model learns from. A transition may span several steps of
//! the environment, so that a window of a few transitions covers a way that
//! matters.

mod recorded;

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::episodes::MAX_TRANSITIONS;
use super::{DataConfig, DataError};
use crate::env::{Environment, EnvironmentSpec, MarkovPolicy};
use crate::rng::Rng;

pub use recorded::recorded_paths;

/// Transitions of a path after its arrival: the goal is seen from within, too.
const AFTER_ARRIVAL: usize = 2;
/// Share of a reward-to-go that may lie beyond the steps simulated for it.
const CUT_OFF: f64 = 0.05;
/// Most transitions simulated past a path for the sake of its rewards-to-go.
const MAX_TAIL: usize = 10_000;
/// Stored transitions between two reports of progress.
const REPORT_EVERY: usize = 10_000;

/// What paths are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct PathOptions {
    /// Ids of policies, one of which is drawn for each path.
    pub policies: Vec<String>,
    /// Steps of the environment per transition.
    pub stride: usize,
    /// The coordinates of the environment's observation that are stored.
    pub observation: Vec<usize>,
    /// Whether a path ends soon after it first comes within the goal's radius.
    pub ends_at_goal: bool,
    /// Per transition; rewards-to-go are computed if it is given.
    pub discount: Option<f32>,
}

/// Many paths, as flat arrays. The transitions of one path follow each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Paths {
    /// Numbers per observation.
    pub observation_dim: usize,
    /// Numbers per action.
    pub action_dim: usize,
    /// Steps of the environment per transition.
    pub stride: usize,
    /// What is seen where each transition begins, `[len, observation_dim]`.
    pub observations: Vec<f32>,
    /// The mean action over each transition's steps, `[len, action_dim]`.
    pub actions: Vec<f32>,
    /// The sum of the rewards of each transition's steps, `[len]`.
    pub rewards: Vec<f32>,
    /// `R_t = sum_{k >= 0} discount^k r_{t+1+k}` over transitions, `[len]`,
    /// without `r_t`. Empty if there was no discount.
    pub returns: Vec<f32>,
    /// The first transition of each path and, at the end, `len`.
    pub starts: Vec<usize>,
    /// What is seen where each path ends, `[paths, observation_dim]`.
    pub finals: Vec<f32>,
    /// Whether each path came within the goal's radius.
    pub arrived: Vec<bool>,
    /// Whose each path is, an index into [`PathOptions::policies`]; empty if
    /// they were recorded.
    pub policies: Vec<usize>,
}

impl Paths {
    /// No paths yet.
    pub fn new(observation_dim: usize, action_dim: usize, stride: usize) -> Self {
        Self {
            observation_dim,
            action_dim,
            stride,
            observations: Vec::new(),
            actions: Vec::new(),
            rewards: Vec::new(),
            returns: Vec::new(),
            starts: vec![0],
            finals: Vec::new(),
            arrived: Vec::new(),
            policies: Vec::new(),
        }
    }

    /// Number of transitions.
    pub fn len(&self) -> usize {
        self.rewards.len()
    }

    /// Whether there is no transition.
    pub fn is_empty(&self) -> bool {
        self.rewards.is_empty()
    }

    /// Number of paths.
    pub fn paths(&self) -> usize {
        self.arrived.len()
    }

    /// The transitions of a path.
    ///
    /// # Panics
    /// If `path >= paths()`.
    pub fn range(&self, path: usize) -> Range<usize> {
        self.starts[path]..self.starts[path + 1]
    }

    /// What is seen where transition `i` begins.
    ///
    /// # Panics
    /// If `i >= len()`.
    pub fn observation(&self, i: usize) -> &[f32] {
        &self.observations[i * self.observation_dim..][..self.observation_dim]
    }

    /// The mean action of transition `i`.
    ///
    /// # Panics
    /// If `i >= len()`.
    pub fn action(&self, i: usize) -> &[f32] {
        &self.actions[i * self.action_dim..][..self.action_dim]
    }

    /// What is seen where a path ends.
    ///
    /// # Panics
    /// If `path >= paths()`.
    pub fn last(&self, path: usize) -> &[f32] {
        &self.finals[path * self.observation_dim..][..self.observation_dim]
    }

    /// Append paths over the same coordinates, `times` times.
    ///
    /// # Errors
    /// Other coordinates or strides, or returns on one side alone.
    pub fn append(&mut self, more: &Self, times: usize) -> Result<(), DataError> {
        let sizes = |paths: &Self| (paths.observation_dim, paths.action_dim, paths.stride);
        let is_missing = |paths: &Self| !paths.is_empty() && paths.returns.is_empty();
        if sizes(self) != sizes(more) || is_missing(self) != is_missing(more) {
            return Err(DataError::Malformed(
                "paths of other coordinates or strides cannot be joined".into(),
            ));
        }
        for _ in 0..times {
            let begin = self.len();
            self.observations.extend_from_slice(&more.observations);
            self.actions.extend_from_slice(&more.actions);
            self.rewards.extend_from_slice(&more.rewards);
            self.returns.extend_from_slice(&more.returns);
            self.starts.extend(more.starts.iter().skip(1).map(|start| begin + start));
            self.finals.extend_from_slice(&more.finals);
            self.arrived.extend_from_slice(&more.arrived);
            self.policies.extend_from_slice(&more.policies);
        }
        Ok(())
    }

    /// Check that the arrays fit together.
    ///
    /// # Errors
    /// Arrays of unequal lengths, or paths that are empty or out of order.
    pub fn validate(&self) -> Result<(), DataError> {
        let (n, paths) = (self.len(), self.paths());
        let fits = self.observations.len() == n * self.observation_dim
            && self.actions.len() == n * self.action_dim
            && (self.returns.is_empty() || self.returns.len() == n)
            && self.finals.len() == paths * self.observation_dim
            && self.starts.len() == paths + 1
            && self.starts.first() == Some(&0)
            && self.starts.last() == Some(&n)
            && self.starts.is_sorted_by(|a, b| a < b);
        match fits {
            true => Ok(()),
            false => Err(DataError::Malformed(
                "the arrays of the paths do not cover the same transitions".into(),
            )),
        }
    }
}

/// Follow `options.policies` until at least `config.transitions` transitions
/// are stored; the last path is not cut off.
///
/// Half of the paths begin with an exploring start and half with a reset; each
/// has its own goal, where there are goals, and lasts for `max_steps` at most.
/// With a discount the world runs on past a path until less than 5 % of a
/// steady reward-to-go is missing; that part is not stored.
///
/// `on_progress` hears the stored transitions so far; when it breaks, what
/// there is is returned. The same seed gives the same data.
///
/// # Errors
/// More transitions than [`MAX_TRANSITIONS`], options that do not fit the
/// environment, or an unknown policy.
pub fn collect_paths(
    environment: &mut dyn Environment,
    options: &PathOptions,
    config: &DataConfig,
    on_progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Paths, DataError> {
    if config.transitions > MAX_TRANSITIONS {
        return Err(DataError::Malformed(format!(
            "{} transitions are more than fit; ask for at most {MAX_TRANSITIONS}",
            config.transitions
        )));
    }
    let spec = environment.spec().clone();
    check_options(options, &spec)?;
    let policies: Result<Vec<_>, _> =
        options.policies.iter().map(|id| environment.policy(id)).collect();
    let recorder = Recorder {
        policies: policies?,
        limit: spec.max_steps / options.stride,
        tail: options.discount.map_or(0, tail),
        options,
        spec,
    };
    let mut paths =
        Paths::new(options.observation.len(), recorder.spec.action.len(), options.stride);
    let mut rng = Rng::stream(config.seed, "paths");
    let mut next_report = REPORT_EVERY;
    while paths.len() < config.transitions {
        recorder.record(environment, &mut paths, &mut rng);
        if paths.len() >= next_report {
            if on_progress(paths.len()).is_break() {
                break;
            }
            next_report = paths.len() + REPORT_EVERY;
        }
    }
    Ok(paths)
}

/// Refuse options that do not fit the environment.
fn check_options(options: &PathOptions, spec: &EnvironmentSpec) -> Result<(), DataError> {
    let dims = spec.observation.len();
    let complaint = match options {
        options if options.policies.is_empty() => "name at least one policy".to_owned(),
        options if options.stride == 0 || options.stride > spec.max_steps => format!(
            "a transition of {} steps does not fit an episode of {}; use 1 to {} steps",
            options.stride, spec.max_steps, spec.max_steps
        ),
        options if options.observation.is_empty() => {
            "store at least one coordinate of the observation".to_owned()
        }
        options if options.observation.iter().any(|&dim| dim >= dims) => format!(
            "the observation has {dims} coordinates, counted from 0; {:?} are not all there",
            options.observation
        ),
        options if options.ends_at_goal && spec.goal_dims.is_empty() => {
            format!("{} has no goal at which a path could end", spec.id)
        }
        options => match options.discount {
            Some(discount) if !(discount > 0.0 && tail(discount) <= MAX_TAIL) => format!(
                "a discount of {discount} cannot be used; choose one above 0 and up to 0.9997"
            ),
            _ => return Ok(()),
        },
    };
    Err(DataError::Malformed(complaint))
}

/// Transitions after which what is left of a steady reward-to-go is
/// [`CUT_OFF`] of it; more than [`MAX_TAIL`] for what is no discount.
fn tail(discount: f32) -> usize {
    let transitions = (CUT_OFF.ln() / f64::from(discount).ln()).ceil();
    if discount < 1.0 { transitions as usize } else { usize::MAX }
}

/// Records one path after another.
struct Recorder<'a> {
    policies: Vec<Arc<dyn MarkovPolicy>>,
    /// Most transitions of a path.
    limit: usize,
    /// Transitions simulated past a path.
    tail: usize,
    options: &'a PathOptions,
    spec: EnvironmentSpec,
}

/// The steps of one transition.
struct Transition {
    /// Mean over the steps.
    action: Vec<f32>,
    /// Sum over the steps.
    reward: f32,
    /// Whether any of them ended within the goal's radius.
    arrives: bool,
}

impl Recorder<'_> {
    /// Append one path.
    fn record(&self, environment: &mut dyn Environment, paths: &mut Paths, rng: &mut Rng) {
        if !self.spec.goal_dims.is_empty() {
            environment.randomize_goal(rng);
        }
        let goal = environment.goal();
        match rng.below(2) {
            0 => environment.explore(rng),
            _ => environment.reset(rng),
        }
        let whose = rng.below(self.policies.len());
        let policy = self.policies[whose].as_ref();
        let start = paths.len();
        let mut arrived = self.is_at(environment, &goal);
        let mut end = if arrived { self.end_after(0) } else { self.limit };
        let mut count = 0;
        while count < end {
            self.observe(environment, &mut paths.observations);
            let transition = self.advance(environment, policy, &goal, rng);
            paths.actions.extend_from_slice(&transition.action);
            paths.rewards.push(transition.reward);
            count += 1;
            if transition.arrives && !arrived {
                arrived = true;
                end = self.end_after(count);
            }
        }
        self.observe(environment, &mut paths.finals);
        paths.starts.push(paths.len());
        paths.arrived.push(arrived);
        paths.policies.push(whose);
        if let Some(discount) = self.options.discount {
            let rest: Vec<f32> = (0..self.tail)
                .map(|_| self.advance(environment, policy, &goal, rng).reward)
                .collect();
            let later = rewards_to_go(&paths.rewards[start..], &rest, discount);
            paths.returns.extend(later);
        }
    }

    /// Where a path ends that arrived within its first `count` transitions.
    fn end_after(&self, count: usize) -> usize {
        match self.options.ends_at_goal {
            true => self.limit.min(count + AFTER_ARRIVAL),
            false => self.limit,
        }
    }

    fn observe(&self, environment: &dyn Environment, into: &mut Vec<f32>) {
        let seen = environment.observation();
        into.extend(self.options.observation.iter().map(|&dim| seen[dim]));
    }

    fn is_at(&self, environment: &dyn Environment, goal: &[f32]) -> bool {
        if goal.is_empty() {
            return false;
        }
        let seen = environment.observation();
        let pairs = self.spec.goal_dims.iter().zip(goal);
        let squares: f32 = pairs.map(|(&dim, goal)| (seen[dim] - goal).powi(2)).sum();
        squares.sqrt() <= self.spec.goal_radius
    }

    fn advance(
        &self,
        environment: &mut dyn Environment,
        policy: &dyn MarkovPolicy,
        goal: &[f32],
        rng: &mut Rng,
    ) -> Transition {
        let zero = vec![0.0; self.spec.action.len()];
        let mut transition = Transition { action: zero, reward: 0.0, arrives: false };
        for _ in 0..self.options.stride {
            let action = policy.act(&environment.state(), goal, rng);
            transition.reward += environment.step(&action);
            for (sum, value) in transition.action.iter_mut().zip(&action) {
                *sum += value;
            }
            transition.arrives |= self.is_at(environment, goal);
        }
        for sum in &mut transition.action {
            *sum /= self.options.stride as f32;
        }
        transition
    }
}

/// The reward-to-go of each of `rewards`, which `rest` follows.
fn rewards_to_go(rewards: &[f32], rest: &[f32], discount: f32) -> Vec<f32> {
    let discount = f64::from(discount);
    let mut later =
        rest.iter().rev().fold(0.0, |later, &reward| f64::from(reward) + discount * later);
    let mut returns: Vec<f32> = Vec::with_capacity(rewards.len());
    for &reward in rewards.iter().rev() {
        returns.push(later as f32);
        later = f64::from(reward) + discount * later;
    }
    returns.reverse();
    returns
}

#[cfg(test)]
mod tests;
