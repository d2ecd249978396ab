//! Whole episodes of Maze2D land on the returns that a rebuild of D4RL's mazes
//! in MuJoCo gives: map, offset, contacts, clipping, reset, reward, episode
//! length and controller are all in these six numbers.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use foresight::env::{self, EnvironmentConfig, LARGE, MEDIUM, U_MAZE};
use foresight::rng::Rng;

const EPISODES: usize = 400;

#[derive(Clone, Copy)]
enum Behavior {
    Waypoints,
    Random,
}

/// Mean return and its standard error over [`EPISODES`].
fn returns(maze: &str, max_steps: usize, behavior: Behavior) -> (f64, f64) {
    let config = EnvironmentConfig {
        id: "maze2d".into(),
        maze: maze.into(),
        door_width: None,
        max_steps,
        reference_scores: None,
    };
    let mut environment = env::make(&config).unwrap();
    let mut policy = environment.behavior();
    let mut rng = Rng::stream(0, "returns");
    let mut scores = Vec::new();
    for _ in 0..EPISODES {
        environment.reset(&mut rng);
        policy.begin(&environment.state(), &environment.goal(), &mut rng).unwrap();
        let mut score = 0.0;
        for _ in 0..max_steps {
            let action = match behavior {
                Behavior::Waypoints => policy.act(&environment.state()),
                Behavior::Random => (0..2).map(|_| rng.uniform(-1.0, 1.0) as f32).collect(),
            };
            score += f64::from(environment.step(&action));
        }
        scores.push(score);
    }
    let n = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

fn assert_lands_on(maze: &str, steps: usize, behavior: Behavior, expected: f64, expected_se: f64) {
    let (mean, se) = returns(maze, steps, behavior);
    let limit = 3.0 * se.hypot(expected_se);
    println!("return {mean:.1} ± {se:.1}, expected {expected} ± {expected_se}");
    assert!(
        (mean - expected).abs() <= limit,
        "return {mean:.1} ± {se:.1}, expected {expected} ± {expected_se}"
    );
}

#[test]
fn the_waypoint_controller_scores_as_in_mujoco_on_u_maze() {
    assert_lands_on(U_MAZE, 300, Behavior::Waypoints, 227.3, 2.6);
}

#[test]
fn the_waypoint_controller_scores_as_in_mujoco_on_medium() {
    assert_lands_on(MEDIUM, 600, Behavior::Waypoints, 427.7, 4.2);
}

#[test]
fn the_waypoint_controller_scores_as_in_mujoco_on_large() {
    assert_lands_on(LARGE, 800, Behavior::Waypoints, 551.8, 5.6);
}

#[test]
fn random_actions_score_as_in_mujoco_on_u_maze() {
    assert_lands_on(U_MAZE, 300, Behavior::Random, 27.8, 2.8);
}

#[test]
fn random_actions_score_as_in_mujoco_on_medium() {
    assert_lands_on(MEDIUM, 600, Behavior::Random, 18.8, 3.1);
}

#[test]
fn random_actions_score_as_in_mujoco_on_large() {
    assert_lands_on(LARGE, 800, Behavior::Random, 10.3, 2.0);
}
