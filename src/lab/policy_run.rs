//! The real policy at work: one run from a state, to be played back.

use std::sync::Arc;

use crate::env::{EnvError, Environment};
use crate::rng::Rng;

/// Let the policy run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRequest {
    /// Source state, one number per state coordinate.
    pub state: Vec<f32>,
    /// The policy's goal; empty where there is none.
    pub goal: Vec<f32>,
    /// First action; the policy's own if absent.
    pub action: Option<Vec<f32>>,
    /// The policy; the model's first if absent.
    pub policy: Option<String>,
    /// Environment steps.
    pub steps: usize,
    /// Seed of the policy's draws.
    pub seed: u64,
}

/// What the policy did.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRun {
    /// The request's number.
    pub id: u64,
    /// What was asked.
    pub request: Arc<RunRequest>,
    /// The source state and the state after every step, `[steps + 1, state]`.
    pub states: Vec<Vec<f32>>,
    /// Seconds between states.
    pub dt_secs: f32,
}

/// Let the policy of row `policy` run. The environment is infinite: nothing is
/// reset on the way.
///
/// # Errors
/// A state, a goal or a policy the environment does not have.
pub fn answer(
    id: u64,
    request: &Arc<RunRequest>,
    environment: &mut dyn Environment,
    policy: &str,
) -> Result<PolicyRun, EnvError> {
    let policy = environment.policy(policy)?;
    if !request.goal.is_empty() {
        environment.set_goal(&request.goal)?;
    }
    environment.set_state(&request.state)?;
    let mut rng = Rng::stream(request.seed, "policy run");
    let mut first = request.action.clone();
    let mut states = vec![environment.state()];
    for _ in 0..request.steps {
        let drawn = policy.act(&environment.state(), &request.goal, &mut rng);
        environment.step(&first.take().unwrap_or(drawn));
        states.push(environment.state());
    }
    let dt_secs = environment.spec().dt_secs;
    Ok(PolicyRun { id, request: Arc::clone(request), states, dt_secs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{self, EnvironmentConfig};

    fn pendulum() -> Box<dyn Environment> {
        let config = EnvironmentConfig {
            id: "pendulum".into(),
            maze: String::new(),
            door_width: None,
            max_steps: 200,
            reference_scores: None,
        };
        env::make(&config).unwrap()
    }

    fn request(action: Option<Vec<f32>>) -> Arc<RunRequest> {
        let state = vec![3.0, 0.0];
        Arc::new(RunRequest { state, goal: Vec::new(), action, policy: None, steps: 300, seed: 3 })
    }

    #[test]
    fn a_run_swings_the_pendulum_up_and_is_the_same_for_the_same_seed() {
        let mut environment = pendulum();
        let run = answer(1, &request(None), environment.as_mut(), "swing-up").unwrap();
        assert_eq!((run.states.len(), run.states[0][0]), (301, 3.0));
        assert!(run.states.iter().any(|state| state[0].abs() < 0.2), "it never got up");
        let again = answer(1, &request(None), environment.as_mut(), "swing-up").unwrap();
        assert_eq!(run, again);
    }

    #[test]
    fn a_given_first_action_is_taken_and_then_the_policy_decides() {
        let mut environment = pendulum();
        let run = |environment: &mut dyn Environment, torque| {
            answer(1, &request(Some(vec![torque])), environment, "swing-up").unwrap().states
        };
        let (left, right) = (run(environment.as_mut(), -1.0), run(environment.as_mut(), 1.0));
        assert!(left[1][1] < right[1][1]);
        assert!(answer(1, &request(None), environment.as_mut(), "nobody").is_err());
    }
}
