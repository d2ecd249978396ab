//! Paths hold what the environment did, and nothing else.

use super::*;
use crate::env::{self, EnvironmentConfig};

fn environment(id: &str, max_steps: usize) -> Box<dyn Environment> {
    let config = EnvironmentConfig {
        id: id.into(),
        maze: env::U_MAZE.into(),
        door_width: None,
        max_steps,
        reference_scores: None,
    };
    env::make(&config).unwrap()
}

/// All policies, everything observed, a discount where there is no goal.
fn options(environment: &dyn Environment, stride: usize) -> PathOptions {
    let spec = environment.spec();
    PathOptions {
        policies: environment.policies().iter().map(|row| row.id.into()).collect(),
        stride,
        observation: (0..spec.observation.len()).collect(),
        ends_at_goal: false,
        discount: spec.goal_dims.is_empty().then_some(0.9),
    }
}

fn gather(
    environment: &mut dyn Environment,
    options: &PathOptions,
    transitions: usize,
    seed: u64,
) -> Paths {
    let config = DataConfig { transitions, seed, ..DataConfig::default() };
    collect_paths(environment, options, &config, &mut |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn a_seed_fixes_every_bit_of_every_environment() {
    for row in env::ALL {
        let mut environment = environment(row.id, 60);
        let options = options(environment.as_ref(), 4);
        let paths = gather(environment.as_mut(), &options, 300, 3);
        paths.validate().unwrap();
        assert_eq!(paths.paths(), 20);
        assert!((0..20).all(|path| paths.range(path) == (path * 15..(path + 1) * 15)));
        assert_eq!(paths, gather(environment.as_mut(), &options, 300, 3));
        assert_ne!(paths, gather(environment.as_mut(), &options, 300, 4));
        assert_eq!(paths.returns.is_empty(), row.id != "pendulum");
        assert!(paths.observations.iter().chain(&paths.finals).all(|value| value.is_finite()));
        assert!(paths.actions.iter().all(|value| value.abs() <= 1.0));
    }
}

#[test]
fn a_path_obeys_its_environment_up_to_its_final_observation() {
    for (id, tolerance) in [("pendulum", 1e-4), ("four-rooms", 1e-5), ("maze2d", 1e-3)] {
        let mut environment = environment(id, 40);
        let options = options(environment.as_ref(), 1);
        let paths = gather(environment.as_mut(), &options, 2000, 0);
        for path in 0..paths.paths() {
            for i in paths.range(path) {
                let seen = paths.observation(i);
                let state = match id {
                    "pendulum" => vec![seen[1].atan2(seen[0]), seen[2]],
                    _ => seen.to_vec(),
                };
                environment.set_state(&state).unwrap();
                let reward = environment.step(paths.action(i));
                let end = paths.range(path).end;
                let next = if i + 1 < end { paths.observation(i + 1) } else { paths.last(path) };
                for (found, expected) in environment.observation().iter().zip(next) {
                    assert!((found - expected).abs() < tolerance, "{id} {found} {expected}");
                }
                // Elsewhere it depends on the goal, which is not stored.
                assert!(id != "pendulum" || (reward - paths.rewards[i]).abs() < 1e-3);
            }
        }
    }
}

#[test]
fn a_longer_transition_averages_actions_and_adds_rewards() {
    for row in env::ALL {
        let mut environment = environment(row.id, 64);
        let mut options = options(environment.as_ref(), 1);
        options.discount = None;
        let fine = gather(environment.as_mut(), &options, 640, 5);
        options.stride = 8;
        let coarse = gather(environment.as_mut(), &options, 80, 5);
        assert_eq!((fine.paths(), coarse.paths()), (10, 10));
        assert_eq!((&fine.finals, &fine.arrived), (&coarse.finals, &coarse.arrived));
        for i in 0..80 {
            assert_eq!(coarse.observation(i), fine.observation(8 * i));
            let steps = 8 * i..8 * i + 8;
            let paid: f32 = fine.rewards[steps.clone()].iter().sum();
            assert!((coarse.rewards[i] - paid).abs() < 1e-4);
            let mean = steps.map(|step| fine.action(step)[0]).sum::<f32>() / 8.0;
            assert!((coarse.action(i)[0] - mean).abs() < 1e-6);
        }
    }
}

#[test]
fn rewards_to_go_leave_out_their_own_reward_and_look_past_the_path() {
    let mut environment = environment("pendulum", 100);
    let mut options = options(environment.as_ref(), 1);
    options.policies = vec!["swing-up-exact".into()];
    let paths = gather(environment.as_mut(), &options, 1000, 2);
    // ln 0.05 / ln 0.9 = 28.4
    assert_eq!(tail(0.9), 29);
    let policy = environment.policy("swing-up-exact").unwrap();
    for path in 0..paths.paths() {
        let range = paths.range(path);
        let last = paths.last(path);
        environment.set_state(&[last[1].atan2(last[0]), last[2]]).unwrap();
        let mut rewards = paths.rewards[range.clone()].to_vec();
        for _ in 0..tail(0.9) {
            let action = policy.act(&environment.state(), &[], &mut Rng::stream(0, "unused"));
            rewards.push(environment.step(&action));
        }
        for (t, i) in range.enumerate() {
            let direct: f32 =
                rewards[t + 1..].iter().enumerate().map(|(k, r)| 0.9_f32.powi(k as i32) * r).sum();
            let found = paths.returns[i];
            assert!((found - direct).abs() < 1e-2 * (1.0 + direct.abs()), "{found} {direct}");
        }
    }
}

#[test]
fn paths_end_two_transitions_after_their_first_arrival() {
    for (id, stride) in [("four-rooms", 1), ("maze2d", 8)] {
        let mut environment = environment(id, 240);
        let mut options = options(environment.as_ref(), stride);
        options.ends_at_goal = true;
        options.policies = vec!["to-goal".into()];
        let limit = 240 / stride;
        let mut arrivals = 0;
        for seed in 0..100 {
            // One path, whose goal the environment still has.
            let paths = gather(environment.as_mut(), &options, 1, seed);
            let goal = environment.goal();
            let away = |seen: &[f32]| (seen[0] - goal[0]).hypot(seen[1] - goal[1]);
            let mut distances: Vec<f32> =
                (0..paths.len()).map(|i| away(paths.observation(i))).collect();
            distances.push(away(paths.last(0)));
            let radius = environment.spec().goal_radius;
            let first = distances.iter().position(|&distance| distance <= radius);
            assert_eq!(paths.arrived, [first.is_some()], "{id} {seed}");
            match first {
                Some(first) => assert_eq!(paths.len(), limit.min(first + 2), "{id} {seed}"),
                None => assert_eq!(paths.len(), limit),
            }
            arrivals += usize::from(first.is_some());
        }
        assert!(arrivals > 80, "{id}: {arrivals}");
    }
}

#[test]
fn only_the_coordinates_asked_for_are_stored() {
    let mut environment = environment("maze2d", 40);
    let mut options = options(environment.as_ref(), 8);
    let all = gather(environment.as_mut(), &options, 50, 1);
    options.observation = vec![3, 0];
    let some = gather(environment.as_mut(), &options, 50, 1);
    assert_eq!((all.len(), all.observation_dim, some.observation_dim), (some.len(), 4, 2));
    for i in 0..all.len() {
        assert_eq!(some.observation(i), [all.observation(i)[3], all.observation(i)[0]]);
    }
    assert_eq!(some.last(2), [all.last(2)[3], all.last(2)[0]]);
}

#[test]
fn starts_and_policies_are_mixed() {
    let mut environment = environment("maze2d", 8);
    let mut options = options(environment.as_ref(), 8);
    let paths = gather(environment.as_mut(), &options, 1000, 0);
    // Resets are slower than 1 m/s, of exploring starts 96 % are faster.
    let fast = (0..1000).filter(|&i| {
        let seen = paths.observation(i);
        seen[2].hypot(seen[3]) > 1.0
    });
    let fast = fast.count();
    assert!((430..530).contains(&fast), "{fast}");
    let mean_action = |paths: &Paths| {
        paths.actions.iter().map(|value| value.abs()).sum::<f32>() / paths.actions.len() as f32
    };
    let mixed = mean_action(&paths);
    let [aimed, random] = ["to-goal", "random"].map(|policy| {
        options.policies = vec![policy.into()];
        mean_action(&gather(environment.as_mut(), &options, 1000, 0))
    });
    assert!((mixed - aimed.midpoint(random)).abs() < 0.2 * (aimed - random), "{mixed}");
}

#[test]
fn breaking_returns_whole_paths_and_wrong_options_are_refused() {
    let mut environment = environment("four-rooms", 50);
    let good = options(environment.as_ref(), 1);
    let data = DataConfig { transitions: 100_000, seed: 0, ..DataConfig::default() };
    let mut stop = |_| ControlFlow::Break(());
    let partial = collect_paths(environment.as_mut(), &good, &data, &mut stop).unwrap();
    assert_eq!(partial.len(), REPORT_EVERY);
    partial.validate().unwrap();
    for (change, word) in [
        ((|bad| bad.policies.clear()) as fn(&mut PathOptions), "policy"),
        (|bad| bad.policies.push("psychic".into()), "psychic"),
        (|bad| bad.stride = 0, "episode"),
        (|bad| bad.stride = 51, "episode"),
        (|bad| bad.observation = vec![2], "coordinates"),
        (|bad| bad.observation.clear(), "coordinate"),
        (|bad| bad.discount = Some(1.0), "discount"),
        (|bad| bad.discount = Some(0.0), "discount"),
        (|bad| bad.discount = Some(f32::NAN), "discount"),
        (|bad| bad.discount = Some(0.999_999), "discount"),
    ] {
        let mut bad = good.clone();
        change(&mut bad);
        let refused = collect_paths(environment.as_mut(), &bad, &data, &mut stop);
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    }
    let absurd = DataConfig { transitions: usize::MAX, seed: 0, ..DataConfig::default() };
    assert!(collect_paths(environment.as_mut(), &good, &absurd, &mut stop).is_err());
    let mut goalless = self::environment("pendulum", 50);
    let ends = PathOptions { ends_at_goal: true, ..options(goalless.as_ref(), 1) };
    let refused = collect_paths(goalless.as_mut(), &ends, &data, &mut stop);
    assert!(refused.unwrap_err().to_string().contains("no goal"));
}
