//! Data from an environment's own behavior policy, in D4RL's way: one reset,
//! then one endless trajectory from goal to goal.

use std::ops::ControlFlow;

use super::episodes::MAX_TRANSITIONS;
use super::{DataConfig, DataError, Episodes, PathOptions, collect_paths};
use crate::env::{EnvError, Environment, Policy};
use crate::rng::Rng;

/// Transitions between two reports of progress.
const REPORT_EVERY: usize = 10_000;
/// How many random goals to try before giving up on finding a reachable one.
const GOAL_ATTEMPTS: usize = 1000;

/// Record `config.transitions` steps of `environment`'s behavior policy.
///
/// A goal lasts until the policy arrives or `max_steps` have passed; that step
/// is marked as a timeout and the next one heads for a new random goal. Goals
/// no path leads to are skipped. The same seed gives the same data, and
/// the environment is left with the last goal.
///
/// `on_progress` hears the number of transitions so far; when it breaks, the
/// transitions recorded until then are returned.
///
/// # Errors
/// More transitions than [`MAX_TRANSITIONS`], or an environment in which no
/// goal can be reached.
pub fn collect(
    environment: &mut dyn Environment,
    config: &DataConfig,
    on_progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Episodes, DataError> {
    if config.transitions > MAX_TRANSITIONS {
        return Err(DataError::Malformed(format!(
            "{} transitions are more than fit; ask for at most {MAX_TRANSITIONS}",
            config.transitions
        )));
    }
    let spec = environment.spec().clone();
    let mut rng = Rng::stream(config.seed, "collect");
    let mut policy = environment.behavior();
    let mut episodes =
        Episodes::with_capacity(spec.observation.len(), spec.action.len(), config.transitions);
    environment.reset(&mut rng);
    head_for_new_goal(environment, policy.as_mut(), &mut rng)?;
    let mut steps_to_goal = 0;
    while episodes.len() < config.transitions {
        let observation = environment.observation();
        let action = policy.act(&environment.state());
        let reward = environment.step(&action);
        steps_to_goal += 1;
        let ends = policy.done() || steps_to_goal >= spec.max_steps;
        episodes.observations.extend_from_slice(&observation);
        episodes.actions.extend_from_slice(&action);
        episodes.rewards.push(reward);
        episodes.terminals.push(false);
        episodes.timeouts.push(ends);
        if ends {
            head_for_new_goal(environment, policy.as_mut(), &mut rng)?;
            steps_to_goal = 0;
        }
        let reports = episodes.len().is_multiple_of(REPORT_EVERY);
        if reports && on_progress(episodes.len()).is_break() {
            break;
        }
    }
    Ok(episodes)
}

/// Record episodes of `policies`, one of which is drawn for each: half of them
/// begin with an exploring start and half with a reset, and every one lasts for
/// `max_steps`. Without a policy, what [`collect`] records.
///
/// # Errors
/// As [`collect`], or an unknown policy.
pub fn collect_episodes(
    environment: &mut dyn Environment,
    policies: &[String],
    config: &DataConfig,
    on_progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Episodes, DataError> {
    if policies.is_empty() {
        return collect(environment, config, on_progress);
    }
    let spec = environment.spec();
    let options = PathOptions {
        policies: policies.to_vec(),
        stride: 1,
        observation: (0..spec.observation.len()).collect(),
        ends_at_goal: false,
        discount: None,
    };
    let paths = collect_paths(environment, &options, config, on_progress)?;
    let mut ends = vec![false; paths.len()];
    for end in &paths.starts {
        if let Some(last) = end.checked_sub(1).and_then(|last| ends.get_mut(last)) {
            *last = true;
        }
    }
    Ok(Episodes {
        observation_dim: paths.observation_dim,
        action_dim: paths.action_dim,
        observations: paths.observations,
        actions: paths.actions,
        rewards: paths.rewards,
        timeouts: ends.clone(),
        // The next episode starts somewhere else, so no window may cross.
        terminals: ends,
    })
}

fn head_for_new_goal(
    environment: &mut dyn Environment,
    policy: &mut dyn Policy,
    rng: &mut Rng,
) -> Result<(), EnvError> {
    let mut refusal = Ok(());
    for _ in 0..GOAL_ATTEMPTS {
        environment.randomize_goal(rng);
        refusal = policy.begin(&environment.state(), &environment.goal(), rng);
        if refusal.is_ok() {
            break;
        }
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{self, EnvironmentConfig};

    fn environment(maze: &str, max_steps: usize) -> Box<dyn Environment> {
        let config = EnvironmentConfig {
            id: "maze2d".into(),
            maze: maze.into(),
            door_width: None,
            max_steps,
            reference_scores: None,
        };
        env::make(&config).unwrap()
    }

    fn gather(maze: &str, max_steps: usize, transitions: usize, seed: u64) -> Episodes {
        let config = DataConfig { transitions, seed, ..DataConfig::default() };
        collect(environment(maze, max_steps).as_mut(), &config, &mut |_| ControlFlow::Continue(()))
            .unwrap()
    }

    #[test]
    fn a_seed_fixes_every_bit() {
        let first = gather(env::MEDIUM, 600, 20_000, 3);
        assert_eq!(first, gather(env::MEDIUM, 600, 20_000, 3));
        assert_ne!(first, gather(env::MEDIUM, 600, 20_000, 4));
    }

    #[test]
    fn the_data_is_one_continuous_trajectory_of_legal_steps() {
        let episodes = gather(env::LARGE, 800, 30_000, 0);
        assert_eq!(episodes.len(), 30_000);
        episodes.validate().unwrap();
        assert_eq!(episodes.segments(), std::slice::from_ref(&(0..30_000)));
        assert!(episodes.actions.iter().all(|action| action.abs() <= 1.0));
        for i in 1..episodes.len() {
            let (before, after) = (episodes.observation(i - 1), episodes.observation(i));
            // Pushed-out contacts may move a little faster than the ball rolls.
            assert!((before[0] - after[0]).abs() < 0.09 && (before[1] - after[1]).abs() < 0.09);
        }
    }

    #[test]
    fn goals_switch_on_arrival_and_when_time_is_up() {
        let arrivals = gather(env::U_MAZE, 300, 20_000, 0);
        assert!(arrivals.timeouts.iter().filter(|&&timeout| timeout).count() > 100);
        assert!(arrivals.rewards.contains(&1.0) && arrivals.rewards.contains(&0.0));
        let forced = gather(env::LARGE, 7, 700, 0);
        assert!(forced.timeouts.iter().filter(|&&timeout| timeout).count() >= 100);
    }

    #[test]
    fn goals_behind_walls_are_skipped() {
        let episodes = gather("OO#OO", 50, 5000, 1);
        let start = episodes.observation(0)[1] < 2.0;
        for i in 0..episodes.len() {
            assert_eq!(episodes.observation(i)[1] < 2.0, start);
        }
    }

    #[test]
    fn episodes_of_policies_are_whole_and_no_window_crosses_their_ends() {
        let config = EnvironmentConfig {
            id: "pendulum".into(),
            maze: String::new(),
            door_width: None,
            max_steps: 50,
            reference_scores: None,
        };
        let mut pendulum = env::make(&config).unwrap();
        let gather = |pendulum: &mut dyn Environment, policies: &[&str]| {
            let policies: Vec<String> = policies.iter().map(|id| (*id).to_owned()).collect();
            let config = DataConfig { transitions: 5000, seed: 1, ..DataConfig::default() };
            collect_episodes(pendulum, &policies, &config, &mut |_| ControlFlow::Continue(()))
        };
        let episodes = gather(pendulum.as_mut(), &["swing-up", "random"]).unwrap();
        episodes.validate().unwrap();
        assert_eq!(episodes.len(), 5000);
        assert!(episodes.segments().iter().all(|segment| segment.len() == 50));
        // Each step's reward belongs to the state before it.
        for i in 0..episodes.len() {
            let state = pendulum.state_of(episodes.observation(i));
            let torque = 2.0 * episodes.action(i)[0];
            let expected = pendulum.state_reward(&state) - 0.001 * torque * torque;
            assert!((episodes.rewards[i] - expected).abs() < 1e-3, "{i}");
        }
        assert!(gather(pendulum.as_mut(), &["psychic"]).is_err());
        let own = gather(pendulum.as_mut(), &[]).unwrap();
        assert_eq!(own.segments(), std::slice::from_ref(&(0..5000)));
    }

    #[test]
    fn breaking_returns_what_there_is_and_absurd_sizes_are_refused() {
        let mut environment = environment(env::U_MAZE, 300);
        let config = DataConfig { transitions: 1_000_000, seed: 0, ..DataConfig::default() };
        let partial =
            collect(environment.as_mut(), &config, &mut |_| ControlFlow::Break(())).unwrap();
        assert_eq!(partial.len(), REPORT_EVERY);
        let absurd = DataConfig { transitions: usize::MAX, seed: 0, ..DataConfig::default() };
        let refused = collect(environment.as_mut(), &absurd, &mut |_| ControlFlow::Continue(()));
        assert!(refused.unwrap_err().to_string().contains("at most"));
    }
}
