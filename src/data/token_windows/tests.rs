//! Windows read the data they come from, and goals are what the path reached.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::*;
use crate::data::{DataConfig, PathOptions, collect_paths};
use crate::env::{self, EnvironmentConfig};

/// Bins of numbers per coordinate: every whole number below it has its own.
const WHOLE: usize = 64;
const LENGTHS: [usize; 6] = [1, 2, 7, 30, 12, 40];

/// Paths of the given lengths whose tokens name the path and the transition:
/// observation `[path, t]`, action `[t + 1]`, reward `path + 10`, return `t`.
fn named(lengths: &[usize]) -> Arc<Paths> {
    let mut paths = Paths::new(2, 1, 1);
    for (path, &length) in lengths.iter().enumerate() {
        for t in 0..length {
            paths.observations.extend([path as f32, t as f32]);
            paths.actions.push(t as f32 + 1.0);
            paths.rewards.push(path as f32 + 10.0);
            paths.returns.push(t as f32);
        }
        paths.starts.push(paths.len());
        paths.finals.extend([path as f32, length as f32]);
        paths.arrived.push(true);
    }
    Arc::new(paths)
}

fn layout(rewards: bool, goals: usize) -> TokenLayout {
    TokenLayout { states: 2, actions: 1, rewards, goals, bins: WHOLE }
}

/// Windows of whole numbers: a token is the number it stands for.
fn windows(lengths: &[usize], rewards: bool, goal_dims: &[usize], size: usize) -> TokenWindows {
    let layout = layout(rewards, goal_dims.len());
    let edges = (0..=WHOLE).map(|i| i as f32 - 0.5).collect();
    let discretizer = Discretizer {
        layout,
        edges: vec![edges; layout.per_transition()],
        centers: vec![(0..WHOLE).map(|i| i as f32).collect(); layout.per_transition()],
    };
    let weights = TokenWeights { state: 1.0, action: 5.0, reward: 2.0, value: 3.0 };
    TokenWindows::new(named(lengths), discretizer, goal_dims.to_vec(), size, weights).unwrap()
}

const STOP: u16 = WHOLE as u16;

#[test]
fn a_window_without_goals_reads_its_path_and_is_not_judged_beyond_it() {
    let windows = windows(&LENGTHS, true, &[], 8);
    assert_eq!((windows.len(), windows.transitions()), (92, 8));
    let batch = windows.batch(3000, &mut Rng::stream(0, "test"));
    assert!(batch.goals.is_empty());
    let mut starts = BTreeSet::new();
    for (tokens, weights) in batch.tokens.chunks(40).zip(batch.weights.chunks(40)) {
        let (path, first) = (tokens[0], tokens[1]);
        starts.insert((path, first));
        for (k, (row, weights)) in tokens.chunks(5).zip(weights.chunks(5)).enumerate() {
            let t = first + k as u16;
            if usize::from(t) < LENGTHS[usize::from(path)] {
                assert_eq!(row, [path, t, t + 1, path + 10, t]);
                assert_eq!(weights, [1.0, 1.0, 5.0, 2.0, 3.0]);
            } else {
                assert_eq!((row, weights), (&[STOP; 5][..], &[0.0; 5][..]));
            }
        }
    }
    assert_eq!(starts.len(), 92);
}

#[test]
fn goals_come_from_later_in_the_same_path_and_the_sequence_stops_behind_them() {
    let windows = windows(&LENGTHS, false, &[1, 0], 8);
    let batch = windows.batch(20_000, &mut Rng::stream(0, "test"));
    let (mut ends, mut next) = (0, 0_usize);
    let mut long = 0_usize;
    for (i, tokens) in batch.tokens.chunks(24).enumerate() {
        let [goal, goal_path] = batch.goals[2 * i..2 * i + 2] else { panic!("two tokens") };
        let (path, first) = (tokens[0], tokens[1]);
        let last = LENGTHS[usize::from(path)] as u16 - 1;
        assert_eq!(goal_path, path);
        assert!(goal <= last && (goal > first || first == last), "{first} {goal} {last}");
        // 20 later transitions: the end has half of the windows and a 20th of
        // the other half.
        if last - first == 20 {
            long += 1;
            ends += usize::from(goal == last);
            next += usize::from(goal == first + 1);
        }
        for (k, row) in tokens.chunks(3).enumerate() {
            let t = first + k as u16;
            let weights = &batch.weights[24 * i + 3 * k..][..3];
            if t <= goal {
                assert_eq!((row, weights), (&[path, t, t + 1][..], &[1.0, 1.0, 5.0][..]));
            } else if t == goal + 1 {
                assert_eq!((row, weights), (&[STOP; 3][..], &[1.0, 1.0, 5.0][..]));
            } else {
                assert_eq!((row, weights), (&[STOP; 3][..], &[0.0; 3][..]));
            }
        }
    }
    let share = |count: usize| count as f64 / long as f64;
    assert!(long > 300 && (share(ends) - 0.525).abs() < 0.08, "{ends} of {long}");
    assert!(next > 0 && share(next) < 0.06, "{next} of {long}");
}

#[test]
fn held_out_paths_are_never_trained_on() {
    let paths = |windows: &TokenWindows| -> BTreeSet<u16> {
        let batch = windows.batch(2000, &mut Rng::stream(0, "test"));
        let drawn: BTreeSet<u16> = batch.tokens.chunks(12).map(|window| window[0]).collect();
        let kept: BTreeSet<u16> = windows.sequences().map(|sequence| sequence[0]).collect();
        assert_eq!(drawn, kept);
        kept
    };
    let (train, held_out) = windows(&LENGTHS, false, &[0, 1], 4).split(0.34);
    assert_eq!(paths(&train), BTreeSet::from([0, 1, 2, 3]));
    assert_eq!(paths(&held_out), BTreeSet::from([4, 5]));
    assert_eq!(train.len() + held_out.len(), 92);
    // Again, and at the ends: something is left on both sides while it can be.
    let (train, held_out) = train.split(1e-9);
    assert_eq!((paths(&train).len(), paths(&held_out)), (3, BTreeSet::from([3])));
    let (nothing, all) = held_out.split(1.0);
    assert!(nothing.is_empty() && all.len() == 30);
    assert!(nothing.batch(5, &mut Rng::stream(0, "test")).tokens.is_empty());
    assert!(all.split(0.5).1.is_empty());
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let good = windows(&LENGTHS, true, &[], 8);
    let new = |paths: Arc<Paths>, goal_dims: &[usize], size, weights| {
        let discretizer = good.discretizer().clone();
        TokenWindows::new(paths, discretizer, goal_dims.to_vec(), size, weights).is_ok()
    };
    let even = TokenWeights::default();
    assert_eq!(even.of(TokenKind::Action), 5.0);
    assert!(new(named(&LENGTHS), &[], 8, even));
    assert!(!new(named(&LENGTHS), &[0], 8, even));
    assert!(!new(named(&LENGTHS), &[], 0, even));
    assert!(!new(named(&[]), &[], 8, even));
    assert!(!new(named(&LENGTHS), &[], 8, TokenWeights { action: -1.0, ..even }));
    assert!(!new(named(&LENGTHS), &[], 8, TokenWeights { value: f32::NAN, ..even }));
    for change in [
        |bad: &mut Paths| bad.returns.clear(),
        |bad: &mut Paths| bad.starts[2] = bad.starts[1],
        |bad: &mut Paths| bad.actions.truncate(5),
        |bad: &mut Paths| (bad.observation_dim, bad.action_dim) = (1, 2),
    ] {
        let mut bad = named(&LENGTHS).as_ref().clone();
        change(&mut bad);
        assert!(!new(Arc::new(bad), &[], 8, even));
    }
}

#[test]
fn every_environment_can_be_read_as_tokens_and_back() {
    for (id, stride, binning) in [
        ("pendulum", 1, Binning::Quantile),
        ("four-rooms", 1, Binning::Uniform),
        ("maze2d", 8, Binning::Uniform),
    ] {
        let config = EnvironmentConfig {
            id: id.into(),
            maze: env::U_MAZE.into(),
            door_width: None,
            max_steps: 80,
            reference_scores: None,
        };
        let mut environment = env::make(&config).unwrap();
        let spec = environment.spec().clone();
        let has_goal = !spec.goal_dims.is_empty();
        let options = PathOptions {
            policies: environment.policies().iter().map(|row| row.id.into()).collect(),
            stride,
            observation: (0..spec.observation.len()).collect(),
            ends_at_goal: has_goal,
            discount: (!has_goal).then_some(0.95),
        };
        let data = DataConfig { transitions: 2000, seed: 1, ..DataConfig::default() };
        let go = &mut |_| ControlFlow::Continue(());
        let paths = Arc::new(collect_paths(environment.as_mut(), &options, &data, go).unwrap());
        let layout = TokenLayout {
            states: spec.observation.len(),
            actions: spec.action.len(),
            rewards: !has_goal,
            goals: spec.goal_dims.len(),
            bins: 100,
        };
        let discretizer = discretize(&paths, layout, binning).unwrap();
        discretizer.validate().unwrap();
        let weights = TokenWeights::default();
        let windows =
            TokenWindows::new(paths.clone(), discretizer, spec.goal_dims, 10, weights).unwrap();
        let discretizer = windows.discretizer();
        let tokens: Vec<u16> = windows.sequences().flatten().copied().collect();
        for (i, row) in tokens.chunks(layout.per_transition()).enumerate() {
            for (dim, (&token, value)) in row.iter().zip(numbers(&paths, &layout, i)).enumerate() {
                let edges = &discretizer.edges[dim][usize::from(token)..];
                let decoded = discretizer.center(dim, token);
                assert!((decoded - value).abs() <= edges[1] - edges[0], "{id} {dim}");
                assert_eq!(discretizer.encode(dim, decoded), token);
            }
        }
        let draw = |seed| windows.batch(64, &mut Rng::stream(seed, "test"));
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        assert_eq!(draw(3).goals.len(), 64 * layout.goals);
        assert_eq!(draw(3).tokens.len(), 640 * layout.per_transition());
        assert_eq!(draw(3).weights.len(), draw(3).tokens.len());
    }
}
