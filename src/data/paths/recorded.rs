//! Paths out of recorded episodes: every episode is one.

use super::{PathOptions, Paths, check_options, rewards_to_go};
use crate::data::{DataError, Episodes};
use crate::env::EnvironmentSpec;

/// Cut every episode into transitions of `options.stride` steps.
///
/// What is left of an episode behind its last whole transition is dropped.
/// Where an episode ends is seen in the next entry if the world went on, else
/// in its own last entry, whose action is then not used. Whose policy it was
/// and which goal it had do not matter, so `policies` and `ends_at_goal` are
/// ignored; rewards-to-go end with the episode. A path has arrived if it paid
/// in the end.
///
/// # Errors
/// Malformed episodes, options that do not fit the environment, or episodes
/// that are all shorter than one transition.
pub fn recorded_paths(
    episodes: &Episodes,
    options: &PathOptions,
    spec: &EnvironmentSpec,
) -> Result<Paths, DataError> {
    episodes.validate()?;
    let named =
        PathOptions { policies: vec![String::new()], ends_at_goal: false, ..options.clone() };
    check_options(&named, spec)?;
    if options.observation.iter().any(|&dim| dim >= episodes.observation_dim) {
        return Err(DataError::Malformed(format!(
            "observations of {} numbers lack some of the coordinates {:?}",
            episodes.observation_dim, options.observation
        )));
    }
    let stride = options.stride;
    let mut paths = Paths::new(options.observation.len(), episodes.action_dim, stride);
    let seen = |i: usize| {
        let all = episodes.observation(i);
        options.observation.iter().map(|&dim| all[dim]).collect::<Vec<f32>>()
    };
    for range in episodes.episodes() {
        let goes_on = range.end < episodes.len() && !episodes.terminals[range.end - 1];
        let steps = range.len() - usize::from(!goes_on);
        let (begin, end) = (paths.len(), range.start + steps / stride * stride);
        for first in (range.start..end).step_by(stride) {
            paths.observations.extend(seen(first));
            for dim in 0..episodes.action_dim {
                let sum: f32 = (first..first + stride).map(|i| episodes.action(i)[dim]).sum();
                paths.actions.push(sum / stride as f32);
            }
            paths.rewards.push(episodes.rewards[first..first + stride].iter().sum());
        }
        if paths.len() == begin {
            continue;
        }
        paths.finals.extend(seen(end));
        paths.starts.push(paths.len());
        paths.arrived.push(paths.rewards.last().is_some_and(|&reward| reward > 0.0));
        if let Some(discount) = options.discount {
            paths.returns.extend(rewards_to_go(&paths.rewards[begin..], &[], discount));
        }
    }
    match paths.is_empty() {
        false => Ok(paths),
        true => Err(DataError::TooShort(format!(
            "no episode has the {} steps of one transition; use longer episodes or a smaller \
             stride",
            stride + 1
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::data::{DataConfig, collect};
    use crate::env::{self, EnvironmentConfig};

    fn options(stride: usize, discount: Option<f32>) -> PathOptions {
        let observation = vec![1, 0];
        PathOptions { policies: Vec::new(), stride, observation, ends_at_goal: true, discount }
    }

    fn maze() -> Box<dyn env::Environment> {
        let config = EnvironmentConfig {
            id: "maze2d".into(),
            maze: env::U_MAZE.into(),
            door_width: None,
            max_steps: 100,
            reference_scores: None,
        };
        env::make(&config).unwrap()
    }

    fn episodes() -> Episodes {
        let data = DataConfig { transitions: 1000, seed: 2, ..DataConfig::default() };
        collect(maze().as_mut(), &data, &mut |_| ControlFlow::Continue(())).unwrap()
    }

    #[test]
    fn at_stride_1_paths_are_the_episodes_and_end_where_the_next_one_begins() {
        let episodes = episodes();
        let paths = recorded_paths(&episodes, &options(1, Some(0.9)), maze().spec()).unwrap();
        paths.validate().unwrap();
        let known = episodes.episodes();
        assert_eq!(paths.paths(), known.len());
        // The last one is cut off, and its last entry is where it ends.
        assert_eq!(paths.len(), episodes.len() - 1);
        for (path, range) in known.iter().enumerate().take(known.len() - 1) {
            assert_eq!(paths.range(path), *range);
            let next = episodes.observation(range.end);
            assert_eq!(paths.last(path), [next[1], next[0]]);
            assert_eq!(paths.action(range.start), episodes.action(range.start));
            // R_t = r_{t+1} + discount R_{t+1}, nothing behind the end.
            assert_eq!(paths.returns[range.end - 1], 0.0);
            for i in range.start..range.end - 1 {
                let expected = paths.rewards[i + 1] + 0.9 * paths.returns[i + 1];
                assert!((paths.returns[i] - expected).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn longer_transitions_average_actions_and_add_rewards() {
        let mut episodes = episodes().slice(0..12);
        episodes.timeouts.fill(false);
        let paths = recorded_paths(&episodes, &options(5, None), maze().spec()).unwrap();
        assert_eq!((paths.len(), paths.paths()), (2, 1));
        let mean = |first: usize| -> f32 {
            (first..first + 5).map(|i| episodes.action(i)[0]).sum::<f32>() / 5.0
        };
        assert_eq!([paths.action(0)[0], paths.action(1)[0]], [mean(0), mean(5)]);
        assert_eq!(paths.rewards[1], episodes.rewards[5..10].iter().sum::<f32>());
        let short = recorded_paths(&episodes, &options(12, None), maze().spec());
        assert!(short.unwrap_err().to_string().contains("13 steps"));
    }
}
