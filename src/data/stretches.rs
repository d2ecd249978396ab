//! Stretches of one policy each: where it goes from everywhere.
//!
//! A gamma-model learns from pairs of a state and where the policy is some
//! steps later. A stretch follows the policy from a state and an action, which
//! every other time is any policy's. Starts are half uniform
//! over the state space and half visited by policies of varying quality, as
//! the thesis mixes all snapshots of a learner.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::episodes::MAX_TRANSITIONS;
use super::{DataConfig, DataError};
use crate::env::{Environment, MarkovPolicy};
use crate::rng::Rng;

/// Steps of a stretch: long enough that a target rarely bootstraps, short
/// enough that a data set holds many independent starts. Where the policy's
/// future splits, it is the number of starts nearby that tells the shares.
pub const STRETCH_STEPS: usize = 50;
/// Most steps of another policy before a stretch that starts where it went.
const PRELUDE: usize = 60;
/// Transitions between two reports of progress.
const REPORT_EVERY: usize = 100;

/// Many stretches of one length, as flat arrays.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretches {
    /// Numbers per state, action and goal.
    pub sizes: StretchSizes,
    /// Steps per stretch.
    pub steps: usize,
    /// `[stretches, steps + 1, state]`.
    pub states: Vec<f32>,
    /// `[stretches, steps, action]`; the first one may be any policy's.
    pub actions: Vec<f32>,
    /// `[stretches, goal]`.
    pub goals: Vec<f32>,
    /// Whether the first action is the policy's own, per stretch.
    pub starts_on_policy: Vec<bool>,
    /// Whom each stretch follows: a row of the policies asked for.
    pub policies: Vec<usize>,
}

/// Numbers per state, action and goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StretchSizes {
    /// Per state.
    pub state: usize,
    /// Per action.
    pub action: usize,
    /// Per goal; 0 where there is none.
    pub goal: usize,
}

impl Stretches {
    /// Number of stretches.
    pub fn len(&self) -> usize {
        self.states.len() / ((self.steps + 1) * self.sizes.state).max(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The state `step` steps into a stretch, `step` up to and with `steps`.
    pub fn state(&self, stretch: usize, step: usize) -> &[f32] {
        let start = (stretch * (self.steps + 1) + step) * self.sizes.state;
        &self.states[start..start + self.sizes.state]
    }

    /// The action taken there, `step` below `steps`.
    pub fn action(&self, stretch: usize, step: usize) -> &[f32] {
        let start = (stretch * self.steps + step) * self.sizes.action;
        &self.actions[start..start + self.sizes.action]
    }

    /// The goal the policy was given.
    pub fn goal(&self, stretch: usize) -> &[f32] {
        &self.goals[stretch * self.sizes.goal..(stretch + 1) * self.sizes.goal]
    }
}

/// Follow the policies named `policies` for `config.transitions` steps in all,
/// in stretches of [`STRETCH_STEPS`], taking turns.
///
/// `on_progress` hears the transitions so far; when it breaks, what there is
/// is returned. The same seed gives the same data.
///
/// # Errors
/// More transitions than [`MAX_TRANSITIONS`], no or an unknown policy, or an
/// environment that refuses its own states.
pub fn collect_stretches(
    environment: &mut dyn Environment,
    policies: &[String],
    config: &DataConfig,
    on_progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Stretches, DataError> {
    if config.transitions > MAX_TRANSITIONS {
        return Err(DataError::Malformed(format!(
            "{} transitions are more than fit; ask for at most {MAX_TRANSITIONS}",
            config.transitions
        )));
    }
    if policies.is_empty() {
        return Err(DataError::Malformed("there is no policy to follow; name one".into()));
    }
    let targets: Result<Vec<_>, _> = policies.iter().map(|id| environment.policy(id)).collect();
    let targets = targets?;
    let others: Result<Vec<_>, _> =
        environment.policies().iter().map(|row| environment.policy(row.id)).collect();
    let others = others?;
    let spec = environment.spec();
    let sizes = StretchSizes {
        state: spec.state.len(),
        action: spec.action.len(),
        goal: spec.goal_dims.len(),
    };
    let steps = STRETCH_STEPS.min(config.transitions.max(1));
    let n = config.transitions.div_ceil(steps);
    let mut stretches = Stretches {
        sizes,
        steps,
        states: Vec::with_capacity(n * (steps + 1) * sizes.state),
        actions: Vec::with_capacity(n * steps * sizes.action),
        goals: Vec::with_capacity(n * sizes.goal),
        starts_on_policy: Vec::with_capacity(n),
        policies: Vec::with_capacity(n),
    };
    let mut rng = Rng::stream(config.seed, "stretches");
    for index in 0..n {
        let row = index % targets.len();
        stretches.policies.push(row);
        record(environment, targets[row].as_ref(), &others, &mut stretches, &mut rng);
        if (index + 1).is_multiple_of(REPORT_EVERY) && on_progress((index + 1) * steps).is_break() {
            break;
        }
    }
    Ok(stretches)
}

/// Append one stretch.
fn record(
    environment: &mut dyn Environment,
    target: &dyn MarkovPolicy,
    others: &[Arc<dyn MarkovPolicy>],
    stretches: &mut Stretches,
    rng: &mut Rng,
) {
    if stretches.sizes.goal > 0 {
        environment.randomize_goal(rng);
    }
    let goal = environment.goal();
    environment.explore(rng);
    let other = &others[rng.below(others.len())];
    if rng.below(2) == 0 {
        for _ in 0..rng.below(PRELUDE) {
            let action = other.act(&environment.state(), &goal, rng);
            environment.step(&action);
        }
    }
    let mut state = environment.state();
    let is_own = rng.below(2) == 0;
    let first: &dyn MarkovPolicy = if is_own { target } else { other.as_ref() };
    stretches.starts_on_policy.push(is_own);
    let mut action = first.act(&state, &goal, rng);
    for _ in 0..stretches.steps {
        stretches.states.extend_from_slice(&state);
        stretches.actions.extend_from_slice(&action);
        environment.step(&action);
        state = environment.state();
        action = target.act(&state, &goal, rng);
    }
    stretches.states.extend_from_slice(&state);
    stretches.goals.extend_from_slice(&goal);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{self, EnvironmentConfig};

    fn gather(id: &str, transitions: usize, seed: u64) -> Stretches {
        let config = EnvironmentConfig {
            id: id.into(),
            maze: env::U_MAZE.into(),
            door_width: None,
            max_steps: 200,
            reference_scores: None,
        };
        let mut environment = env::make(&config).unwrap();
        let policy = [environment.policies()[0].id.to_owned()];
        let data = DataConfig { transitions, seed, ..DataConfig::default() };
        collect_stretches(environment.as_mut(), &policy, &data, &mut |_| ControlFlow::Continue(()))
            .unwrap()
    }

    #[test]
    fn a_seed_fixes_every_stretch_of_every_environment() {
        for row in env::ALL {
            let stretches = gather(row.id, 1000, 3);
            assert_eq!(stretches.len(), 1000 / STRETCH_STEPS);
            assert_eq!(stretches, gather(row.id, 1000, 3));
            assert_ne!(stretches, gather(row.id, 1000, 4));
            assert!(stretches.states.iter().all(|value| value.is_finite()));
            assert!(stretches.actions.iter().all(|value| value.abs() <= 1.0));
        }
    }

    #[test]
    fn a_stretch_obeys_the_environment_from_its_first_action_on() {
        let stretches = gather("pendulum", 2000, 0);
        let config = EnvironmentConfig {
            id: "pendulum".into(),
            maze: String::new(),
            door_width: None,
            max_steps: 200,
            reference_scores: None,
        };
        let mut environment = env::make(&config).unwrap();
        for stretch in 0..stretches.len() {
            environment.set_state(stretches.state(stretch, 0)).unwrap();
            environment.step(stretches.action(stretch, 0));
            for (found, expected) in environment.state().iter().zip(stretches.state(stretch, 1)) {
                let off = (found - expected).abs();
                assert!(off.min((off - std::f32::consts::TAU).abs()) < 1e-4, "stretch {stretch}");
            }
        }
    }

    #[test]
    fn breaking_returns_what_there_is_and_unknown_policies_are_refused() {
        let config = EnvironmentConfig {
            id: "maze2d".into(),
            maze: env::U_MAZE.into(),
            door_width: None,
            max_steps: 200,
            reference_scores: None,
        };
        let mut environment = env::make(&config).unwrap();
        let data = DataConfig { transitions: 100_000, seed: 0, ..DataConfig::default() };
        let mut stop = |_| ControlFlow::Break(());
        let policy = [environment.policies()[0].id.to_owned()];
        let partial = collect_stretches(environment.as_mut(), &policy, &data, &mut stop).unwrap();
        assert_eq!(partial.len(), REPORT_EVERY);
        let refused =
            collect_stretches(environment.as_mut(), &["psychic".to_owned()], &data, &mut stop);
        assert!(refused.unwrap_err().to_string().contains("psychic"));
    }
}
