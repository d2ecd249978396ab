//! Searching for reward.

use super::*;

/// A chain of states 0, 1, 2: action 0 pays 1 at once and stays put, action 1
/// advances and pays nothing, except that from state 2 it pays 8. Both actions
/// are equally likely; the reward-to-go is always 0.
fn chain() -> Toy {
    Toy::new(layout(1, 1, true, 9), |row, dim| {
        let at = row.len() - dim;
        let sure = |token: u16| {
            let mut logits = vec![-50.0; 10];
            logits[usize::from(token)] = 0.0;
            logits
        };
        match (dim, &row[at..]) {
            (1, _) => [vec![0.0; 2], vec![-50.0; 8]].concat(),
            (2, [state, action]) => sure(match (state, action) {
                (_, 0) => 1,
                (2, _) => 8,
                _ => 0,
            }),
            (0, _) => sure((row[at - 4] + row[at - 3]).min(2)),
            _ => sure(0),
        }
    })
}

fn actions(tree: &BeamTree) -> Vec<u16> {
    tree.best_tokens().unwrap().chunks(4).map(|transition| transition[0]).collect()
}

fn value(tree: &BeamTree) -> f32 {
    tree.nodes[tree.best.unwrap()].value
}

#[test]
fn a_long_horizon_finds_the_delayed_reward_and_a_short_one_does_not() {
    let plan = |horizon, discount| {
        let settings = BeamSettings { horizon, discount, ..open(SearchMode::Reward) };
        run(&mut chain(), &request(settings, &[0]))
    };
    let tree = plan(2, 0.9);
    assert_eq!(actions(&tree), [0, 0]);
    assert!((value(&tree) - 1.9).abs() < 1e-4);
    let tree = plan(3, 0.9);
    assert_eq!(actions(&tree), [1, 1, 1]);
    assert!((value(&tree) - 0.81 * 8.0).abs() < 1e-4);
    // 1 + 0.4 + 0.16 at once against 0.16 * 8.
    assert_eq!(actions(&plan(3, 0.4)), [0, 0, 0]);
}

#[test]
fn the_value_is_that_of_the_unfiltered_means_along_the_path() {
    for mode in MODES {
        let mut model = scrambled_toy(layout(2, 2, true, 9), 7);
        let settings = BeamSettings { beam: 6, horizon: 3, discount: 0.8, ..open(mode) };
        let tree = run(&mut model, &request(settings, &[4, 4]));
        for (depth, level) in tree.levels.iter().enumerate() {
            for node in level.clone() {
                let row = [&[4, 4], &tree.tokens(node)[..]].concat();
                let found = tree.nodes[node].value;
                if depth < 3 {
                    assert!(found.is_nan());
                    continue;
                }
                let mean = |at: usize| {
                    let logits = (model.rule)(&row[..at], at % 6);
                    let probabilities: Vec<f32> =
                        log_softmax(&logits).iter().map(|log_prob| log_prob.exp()).collect();
                    model.expectation(at % 6, &probabilities)
                };
                let last = row.len() / 6 - 1;
                let rewards: f32 =
                    (0..=last).map(|i| 0.8_f32.powi(i as i32) * mean(6 * i + 4)).sum();
                let expected = rewards + 0.8_f32.powi(last as i32 + 1) * mean(6 * last + 5);
                assert!((found - expected).abs() < 1e-3, "{mode:?} depth {depth}");
            }
        }
    }
}

#[test]
fn each_transition_keeps_the_beam_of_highest_value() {
    let mut model = scrambled_toy(layout(2, 2, true, 9), 7);
    let settings = BeamSettings { beam: 4, expand: 3, horizon: 3, ..open(SearchMode::Reward) };
    let tree = run(&mut model, &request(settings, &[4, 4]));
    for depth in [3, 9, 15] {
        let level = || tree.levels[depth].clone().map(|node| tree.nodes[node]);
        let ended = tree.nodes[..tree.levels[depth].start].iter().filter(|node| node.token == 9);
        assert!(level().len() <= 12, "beam times expand candidates");
        assert!(level().len() > 4, "distinct candidates");
        let (kept, rejected): (Vec<_>, Vec<_>) = level().partition(|node| node.kept);
        assert!(kept.len() <= 4 && kept.len() + ended.count() >= 4);
        let worst = kept.iter().map(|node| node.value).fold(f32::MAX, f32::min);
        assert!(rejected.iter().all(|node| node.value <= worst));
        // Every kept token of this transition lies above a kept return.
        for above in depth - 3..depth {
            for node in tree.survivors(above) {
                let leads = |leaf: usize| tree.path(leaf).contains(&node);
                assert!(tree.survivors(depth).any(leads));
            }
        }
        let distinct: std::collections::BTreeSet<_> =
            tree.levels[depth].clone().map(|node| tree.tokens(node)).collect();
        assert_eq!(distinct.len(), tree.levels[depth].len());
    }
    let best = value(&tree);
    assert!(tree.survivors(17).all(|node| tree.nodes[node].value <= best));
}

#[test]
fn showing_the_rejected_adds_their_states_and_changes_nothing_else() {
    for (seed, observation_k) in [(0, 1), (1, 0), (2, 3), (3, 0)] {
        let plan = |shows_pruned| {
            let mut model = scrambled_toy(layout(2, 2, true, 9), seed);
            model.block = 14;
            let settings = BeamSettings {
                beam: 4,
                horizon: 4,
                observation_k,
                context: 1,
                ..open(SearchMode::Reward)
            };
            run(&mut model, &BeamRequest { shows_pruned, ..request(settings, &[4, 4]) })
        };
        let (plain, shown) = (plan(false), plan(true));
        assert_eq!(plain.best_tokens(), shown.best_tokens());
        let mut n_ghosts = 0;
        for depth in 0..plain.levels.len() {
            let is_state = plain.dim(depth) < 2;
            let entries = |tree: &BeamTree, all: bool| -> Vec<_> {
                let level = tree.levels[depth].clone().filter(|n| all || tree.nodes[*n].kept);
                level.map(|n| (tree.tokens(n), tree.nodes[n].value.to_bits())).collect()
            };
            assert_eq!(entries(&plain, !is_state), entries(&shown, !is_state), "depth {depth}");
            if is_state {
                assert_eq!(plain.survivors(depth).count(), plain.levels[depth].len());
                n_ghosts += shown.levels[depth].len() - plain.levels[depth].len();
            }
        }
        assert!(n_ghosts > 8);
    }
}

/// Likes action 5 in any state, and remembers the states it saw.
struct LikesFive(Vec<Vec<f32>>);

impl ReturnEstimate for LikesFive {
    fn returns(&mut self, states: &[Vec<f32>], actions: &[Vec<f32>]) -> Vec<f32> {
        self.0.extend_from_slice(states);
        // Dimension 1 of the toy decodes as 10 + token.
        actions.iter().map(|action| 100.0 - (action[0] - 15.0).abs()).collect()
    }
}

#[test]
fn a_q_function_overrides_the_reward_to_go_and_counts_its_own_reward() {
    let settings = BeamSettings { horizon: 2, discount: 0.5, ..open(SearchMode::Reward) };
    let request = request(settings, &[3]);
    let rule = |row: &[u16], dim: usize| {
        let mut logits = vec![0.0; 10];
        // Rewards are 6, states 2, and the model believes in action 0.
        let sure = [2, 0, 6, 0][dim];
        logits[sure] = if dim == 1 { 1.0 } else { 60.0 };
        assert!(!row.is_empty());
        logits
    };
    let mut q = LikesFive(Vec::new());
    let mut model = Toy::new(layout(1, 1, true, 9), rule);
    let found = search(&mut model, &request, Some(&mut q), &mut |_| ControlFlow::Continue(()));
    let tree = found.unwrap().unwrap();
    check(&tree);
    // The first transition counts by its reward, the last by its Q.
    assert_eq!(actions(&tree)[1], 5);
    assert!((value(&tree) - (6.0 + 0.5 * 100.0)).abs() < 1e-3);
    assert!(tree.survivors(2).all(|node| (tree.nodes[node].value - 100.0).abs() < 5.5));
    let n_first = tree.levels[2].len();
    assert!(q.0[..n_first].iter().all(|state| *state == [3.0]));
    assert!(q.0[n_first..].iter().all(|state| *state == [2.0]));

    struct Broken(Vec<f32>);
    impl ReturnEstimate for Broken {
        fn returns(&mut self, _: &[Vec<f32>], _: &[Vec<f32>]) -> Vec<f32> {
            self.0.clone()
        }
    }
    for answer in [vec![], vec![f32::NAN; n_first]] {
        let mut q = Broken(answer);
        let found = search(&mut model, &request, Some(&mut q), &mut |_| ControlFlow::Continue(()));
        assert!(found.is_err());
    }
}

#[test]
fn a_path_that_ends_keeps_its_value_and_its_place() {
    // Action 1 pays 7 and ends the episode, action 0 pays 1 forever.
    let plan = |horizon, discount| {
        let mut model = Toy::new(layout(1, 1, true, 9), |row, dim| {
            let action = row[row.len() - if dim == 0 { 3 } else { dim }.min(row.len())];
            let ends = match dim {
                0 => action == 1,
                2 => row[row.len() - 1] == 1,
                _ => false,
            };
            let mut logits = vec![-50.0; 10];
            match (dim, ends) {
                (1, _) => logits[..2].fill(0.0),
                (0, true) => logits[9] = 0.0,
                (2, true) => logits[7] = 0.0,
                (2, false) => logits[1] = 0.0,
                _ => logits[0] = 0.0,
            }
            logits
        });
        let settings =
            BeamSettings { beam: 4, expand: 4, horizon, discount, ..open(SearchMode::Reward) };
        run(&mut model, &request(settings, &[0]))
    };
    // Going on and ending in the last transition is best: 1 + 1 + 7.
    let tree = plan(3, 1.0);
    assert_eq!(actions(&tree), [0, 0, 1]);
    assert!((value(&tree) - 9.0).abs() < 1e-3);
    assert_eq!(tree.best_tokens().unwrap().last(), Some(&9));
    let ended = tree.levels[3].clone().find(|node| tree.nodes[*node].token == 9).unwrap();
    assert!((tree.nodes[ended].value - 7.0).abs() < 1e-3);
    // To someone impatient, ending at once is.
    let tree = plan(3, 0.1);
    assert_eq!(tree.best_tokens().unwrap(), [1, 7, 0, 9]);
    assert!((value(&tree) - 7.0).abs() < 1e-3 && tree.levels.len() == 12);
}

#[test]
fn the_places_of_ended_paths_are_not_filled() {
    // The likely action 0 pays 50 and ends the episode; then all others are
    // equally likely.
    let mut model = Toy::new(layout(1, 1, true, 99), |row, dim| {
        let mut logits = vec![-50.0; 100];
        match (dim, row[row.len() - dim.max(1)..].to_vec()[..].last()) {
            (1, _) if row.len() == 1 => logits[..99].fill(-4.0),
            (1, _) => logits[1..99].fill(0.0),
            (2, Some(0)) => logits[50] = 0.0,
            (0, _) if row[row.len() - 3] == 0 => logits[99] = 0.0,
            _ => logits[1] = 0.0,
        }
        if row.len() == 1 {
            logits[0] = 0.5;
        }
        logits
    });
    let settings = BeamSettings { beam: 4, expand: 4, horizon: 2, ..open(SearchMode::Reward) };
    let tree = run(&mut model, &request(settings, &[7]));
    assert_eq!(tree.survivors(3).filter(|node| tree.nodes[*node].token == 99).count(), 1);
    assert_eq!(tree.survivors(3).count(), 4);
    let next = tree.levels[4].len();
    assert!(next > 8 && next <= 12, "3 beams share 12 samples, not {next}");
}

#[test]
fn samples_that_agree_go_on_as_one_beam_with_one_next_state() {
    let mut model = scrambled_toy(layout(1, 1, true, 2), 9);
    let settings = BeamSettings { beam: 40, horizon: 2, ..open(SearchMode::Reward) };
    let tree = run(&mut model, &request(settings, &[0]));
    // 80 samples of 2 actions.
    assert_eq!([0, 1, 2, 3].map(|depth| tree.levels[depth].len()), [2; 4]);
    let live = tree.survivors(3).filter(|node| tree.nodes[*node].token < 2).count();
    assert_eq!(tree.levels[4].len(), 2 * live);
}
