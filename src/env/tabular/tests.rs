//! The twin against its own definitions, and against rollouts of what it is a
//! twin of.

use super::*;
use crate::env::{self, EnvironmentConfig, monte_carlo, values_monte_carlo};
use crate::rng::Rng;

fn make(id: &str) -> Box<dyn Environment> {
    let config = EnvironmentConfig {
        id: id.into(),
        maze: env::U_MAZE.into(),
        door_width: None,
        max_steps: 200,
        reference_scores: None,
    };
    env::make(&config).unwrap()
}

fn chain(id: &str, policy: &str, cells: [usize; 2]) -> Chain {
    let mut environment = make(id);
    let grid = Grid::over(environment.spec(), cells).unwrap();
    let policy = environment.policy(policy).unwrap();
    let goal = environment.goal();
    Chain::build(environment.as_mut(), policy.as_ref(), &goal, &grid).unwrap()
}

#[test]
fn every_free_cell_leads_somewhere_free_with_probability_one() {
    for (id, policy) in
        [("pendulum", "mixture"), ("four-rooms", "to-goal"), ("four-rooms", "random")]
    {
        let chain = chain(id, policy, [24, 26]);
        let mut free = 0;
        for cell in 0..chain.grid().n_cells() {
            let row = chain.transitions_from(cell);
            let total: f64 = row.iter().map(|entry| entry.1).sum();
            assert!(row.iter().all(|&(next, weight)| chain.is_free(next) && weight > 0.0));
            let expected = if chain.is_free(cell) { 1.0 } else { 0.0 };
            assert!((total - expected).abs() < 1e-12, "{id}: cell {cell} sums to {total}");
            free += usize::from(chain.is_free(cell));
        }
        assert!(free > 300, "{id}: {free}");
        assert!(chain.transitions_from(usize::MAX).is_empty());
    }
}

#[test]
fn occupancies_are_discounted_sums_of_powers_of_the_chain() {
    let chain = chain("four-rooms", "to-goal", [24, 24]);
    let start = chain.spread([-0.31, -0.27]);
    for gamma in [0.0, 0.7, 0.95] {
        let solved = chain.occupancy(&start, gamma).unwrap();
        let mut law = chain.law(&start).unwrap();
        let mut summed = vec![0.0; law.len()];
        let mut weight = 1.0 - gamma;
        for _ in 0..800 {
            law = chain.transitions.times_from_left(&law);
            for (sum, mass) in summed.iter_mut().zip(&law) {
                *sum += weight * mass;
            }
            weight *= gamma;
        }
        let off: f64 = solved.iter().zip(&summed).map(|(a, b)| (a - b).abs()).sum();
        assert!(off < 1e-11, "gamma {gamma}: {off}");
        assert!((solved.iter().sum::<f64>() - 1.0).abs() < 1e-10);
        // A chain that starts at the law after one step is there one step on.
        let next = chain.transitions.times_from_left(&chain.law(&start).unwrap());
        let next: Vec<_> = next.into_iter().enumerate().filter(|entry| entry.1 > 0.0).collect();
        let shifted = chain.occupancy_of_next(&next, gamma).unwrap();
        let off: f64 = solved.iter().zip(&shifted).map(|(a, b)| (a - b).abs()).sum();
        assert!(off < 1e-11, "gamma {gamma}: {off}");
    }
}

#[test]
fn the_successor_representation_gives_the_same_occupancies_and_values() {
    let mut environment = make("pendulum");
    let chain = chain("pendulum", "swing-up", [20, 20]);
    let (n, gamma) = (400, 0.95);
    let successors = chain.successor_representation(gamma).unwrap();
    let rewards = cell_rewards(environment.as_mut(), chain.grid()).unwrap();
    let values = chain.values(&rewards, gamma).unwrap();
    for cell in (0..n).step_by(37) {
        // Row `cell` of (1 - gamma) (I - gamma P)^-1 P.
        let row = &successors[cell * n..(cell + 1) * n];
        let direct: Vec<_> =
            chain.transitions.times_from_left(row).into_iter().map(|v| (1.0 - gamma) * v).collect();
        let solved = chain.occupancy(&[(cell, 1.0)], gamma).unwrap();
        for (direct, solved) in direct.iter().zip(&solved) {
            assert!((direct - solved).abs() < 1e-10, "from {cell}: {direct} and {solved}");
        }
        let mean: f64 = solved.iter().zip(&rewards).map(|(mass, reward)| mass * reward).sum();
        let value = mean / (1.0 - gamma);
        assert!((values[cell] - value).abs() < 1e-8, "{cell}: {} and {value}", values[cell]);
    }
    let large = self::chain("pendulum", "random", [40, 40]);
    assert!(large.successor_representation(gamma).unwrap_err().to_string().contains("1024"));
}

#[test]
fn the_optimum_satisfies_bellmans_equation_and_beats_every_policy() {
    let mut environment = make("pendulum");
    let grid = Grid::over(environment.spec(), [41, 41]).unwrap();
    let rewards = cell_rewards(environment.as_mut(), &grid).unwrap();
    let actions: Vec<_> = (0..9).map(|i| vec![-1.0 + 0.25 * i as f32]).collect();
    let gamma = 0.95;
    let optimum = value_iteration(environment.as_mut(), &grid, &actions, &rewards, gamma).unwrap();
    let cells = FreeCells::of(environment.as_mut(), &grid).unwrap();
    for index in (0..grid.n_cells()).step_by(29) {
        let mut best = f64::NEG_INFINITY;
        for (choice, action) in actions.iter().enumerate() {
            let next = cells.after(environment.as_mut(), &grid.center(index), action).unwrap();
            let value: f64 = next
                .iter()
                .map(|&(cell, weight)| weight * (rewards[cell] + gamma * optimum.values[cell]))
                .sum();
            best = best.max(value);
            let chosen = choice == optimum.actions[index];
            assert!(!chosen || (value - optimum.values[index]).abs() < 1e-6);
        }
        assert!((best - optimum.values[index]).abs() < 1e-6, "{best}");
    }
    for policy in ["swing-up-exact", "random"] {
        let values = chain("pendulum", policy, [41, 41]).values(&rewards, gamma).unwrap();
        let worse = values.iter().zip(&optimum.values).filter(|(v, best)| **v > **best + 0.5);
        assert_eq!(worse.count(), 0, "{policy}");
    }
    assert!(value_iteration(environment.as_mut(), &grid, &[], &rewards, gamma).is_err());
    assert!(value_iteration(environment.as_mut(), &grid, &actions, &rewards[1..], gamma).is_err());
}

#[test]
fn four_rooms_twin_agrees_with_rollouts() {
    let mut environment = make("four-rooms");
    let policy = environment.policy("to-goal").unwrap();
    let fine = Grid::over(environment.spec(), [120, 120]).unwrap();
    let coarse = Grid::over(environment.spec(), [12, 12]).unwrap();
    // No coordinate lies on an edge of the coarse grid, where a sample counts
    // for one cell and the twin's mass for both.
    let goal = vec![0.34, -0.35];
    let chain = Chain::build(environment.as_mut(), policy.as_ref(), &goal, &fine).unwrap();
    let source = Source { state: vec![-0.33, 0.2], action: Some(vec![0.0, -1.0]), goal };
    let next = chain.first_step(environment.as_mut(), policy.as_ref(), &source).unwrap();
    let twin = fine.coarsen(&chain.occupancy_of_next(&next, 0.9).unwrap(), &coarse).unwrap();
    let n = 40_000;
    let mut rng = Rng::stream(0, "rollouts");
    let samples =
        monte_carlo(environment.as_mut(), policy.as_ref(), &source, 0.9, n, &mut rng).unwrap();
    let mut counts = vec![0.0; coarse.n_cells()];
    for sample in samples.chunks_exact(2) {
        counts[coarse.index_of([sample[0], sample[1]]).unwrap()] += 1.0 / n as f64;
    }
    let apart: f64 = twin.iter().zip(&counts).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0;
    println!("total variation {apart}");
    assert!(apart < 0.03, "{apart}");
    // The test can tell: another first action is farther away.
    let elsewhere = Source { action: Some(vec![0.0, 1.0]), ..source };
    let next = chain.first_step(environment.as_mut(), policy.as_ref(), &elsewhere).unwrap();
    let other = fine.coarsen(&chain.occupancy_of_next(&next, 0.9).unwrap(), &coarse).unwrap();
    let apart: f64 = other.iter().zip(&counts).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0;
    assert!(apart > 0.1, "{apart}");
}

#[test]
fn pendulum_twin_agrees_with_the_values_of_rollouts() {
    let mut environment = make("pendulum");
    let policy = environment.policy("swing-up").unwrap();
    let grid = Grid::over(environment.spec(), [151, 151]).unwrap();
    let chain = Chain::build(environment.as_mut(), policy.as_ref(), &[], &grid).unwrap();
    let rewards = cell_rewards(environment.as_mut(), &grid).unwrap();
    let values = chain.values(&rewards, 0.95).unwrap();
    let lowest = values.iter().fold(0.0_f64, |low, &value| low.min(value));
    let mut rng = Rng::stream(1, "values");
    let mut squares = 0.0;
    for _ in 0..40 {
        environment.explore(&mut rng);
        let state = environment.state();
        let source = Source { state: state.clone(), action: None, goal: Vec::new() };
        let rollouts =
            values_monte_carlo(environment.as_mut(), policy.as_ref(), &source, 0.95, 100, &mut rng)
                .unwrap();
        let twin = chain.interpolate(&values, [state[0], state[1]]);
        squares += ((twin - rollouts.mean) / lowest).powi(2) / 40.0;
    }
    println!("values are off by {} of their range", squares.sqrt());
    assert!(squares.sqrt() < 0.03, "{}", squares.sqrt());
}

#[test]
fn what_does_not_fit_a_grid_is_refused() {
    let mut environment = make("maze2d");
    assert!(Grid::over(environment.spec(), [8, 8]).unwrap_err().to_string().contains("4 coord"));
    let grid = Grid::new([0.0; 2], [1.0; 2], [3, 3], [false; 2]).unwrap();
    assert!(cell_rewards(environment.as_mut(), &grid).is_err());
    let chain = chain("four-rooms", "random", [12, 12]);
    let corner = chain.grid().index_of([-0.6, -0.6]).unwrap();
    assert!(!chain.is_free(corner));
    for start in [&[][..], &[(corner, 1.0)], &[(7000, 1.0)], &[(40, f64::NAN)]] {
        assert!(chain.occupancy(start, 0.9).is_err(), "{start:?}");
    }
    let inside = chain.spread([0.0, 0.0]);
    assert!(chain.is_free(inside[0].0) && (inside[0].1 - 1.0).abs() < 1e-12);
    assert!(chain.occupancy(&inside, 1.0).is_err());
    assert!(chain.values(&[0.0; 3], 0.9).is_err());
}
