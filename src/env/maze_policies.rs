//! Maze2D's Markov policies: the waypoint controller without its memory.
//!
//! From every cell the ball heads for the next cell of a shortest path to the
//! goal's cell, with the gains of [`WaypointController`], and in the goal's own
//! cell for the goal.
//!
//! [`WaypointController`]: super::WaypointController

use std::sync::{Arc, OnceLock};

use super::controller::{POSITION_GAIN, VELOCITY_GAIN};
use super::policies::{GaussianPolicy, Mean, UniformPolicy};
use super::{EnvError, MarkovPolicy, MazeLayout, PolicyRow, Workspace};

/// What the waypoint controller's random pull towards the middle of the
/// corridor is on average, in m.
const PULL: f32 = 0.1;
/// Standard deviation of the action noise.
const DEVIATION: f32 = 0.3;

/// Maze2D's policies, the default first.
pub(super) const POLICIES: &[PolicyRow] = &[
    PolicyRow {
        id: "to-goal",
        title: "To the goal",
        help: "Follows a shortest path to the goal, with a little noise on every action.",
    },
    PolicyRow { id: "random", title: "Random", help: "Uniform actions, wherever the ball is." },
];

/// The policy of that id.
///
/// # Errors
/// An unknown id.
pub(super) fn policy(
    layout: &Arc<MazeLayout>,
    id: &str,
) -> Result<Arc<dyn MarkovPolicy>, EnvError> {
    match id {
        "to-goal" => {
            let mean = PathFollower::new(layout.clone());
            Ok(Arc::new(GaussianPolicy { mean, deviation: DEVIATION }))
        }
        "random" => Ok(Arc::new(UniformPolicy { dims: 2 })),
        _ => Err(EnvError::unknown_policy(id, POLICIES)),
    }
}

/// A cell without a next one: a wall, or cut off from the goal.
const NOWHERE: u16 = u16::MAX;

/// The feedback law of the waypoint controller towards the next cell.
struct PathFollower {
    layout: Arc<MazeLayout>,
    /// For every goal cell, the next cell from every cell, counted row by row.
    /// A tree is built when its goal is first asked for.
    trees: Vec<OnceLock<Vec<u16>>>,
}

impl PathFollower {
    fn new(layout: Arc<MazeLayout>) -> Self {
        let cells = layout.rows() * layout.columns();
        Self { layout, trees: (0..cells).map(|_| OnceLock::new()).collect() }
    }

    fn index(&self, [w, h]: [usize; 2]) -> usize {
        w * self.layout.columns() + h
    }

    /// The free cell a position belongs to; a ball pressed into a wall belongs
    /// to the cell beside it.
    fn cell(&self, position: &[f32]) -> Option<[usize; 2]> {
        let position = *position.first_chunk()?;
        match self.layout.is_free(position) {
            true => self.layout.cell_at(position),
            false => self.layout.cell_at(self.layout.nearest_free(position)?),
        }
    }

    /// The shortest-path tree towards `goal`, with the planner's tie breaks.
    fn tree(&self, goal: [usize; 2]) -> Option<&[u16]> {
        let slot = self.trees.get(self.index(goal))?;
        Some(slot.get_or_init(|| {
            let steps = self.layout.next_cells(goal);
            // At most 64 x 64 cells fit a map, so an index fits 16 bits.
            steps.into_iter().map(|next| next.map_or(NOWHERE, |c| self.index(c) as u16)).collect()
        }))
    }

    /// Where to steer, or `None` if no path leads to the goal.
    fn waypoint(&self, state: &[f32], goal: &[f32]) -> Option<[f32; 2]> {
        let (here, there) = (self.cell(state)?, self.cell(goal)?);
        if here == there {
            return goal.first_chunk().copied();
        }
        let next = *self.tree(there)?.get(self.index(here))?;
        if next == NOWHERE {
            return None;
        }
        let columns = self.layout.columns();
        Some([usize::from(next) / columns, usize::from(next) % columns].map(|i| i as f32 - PULL))
    }
}

impl Mean for PathFollower {
    fn mean(&self, state: &[f32], goal: &[f32]) -> Vec<f32> {
        let (Some(waypoint), &[x, y, vx, vy]) = (self.waypoint(state, goal), state) else {
            return vec![0.0; 2];
        };
        let control = |target: f32, position: f32, velocity: f32| {
            // Clipped here as well, so that noise counts from the bound.
            (POSITION_GAIN * (target - position) + VELOCITY_GAIN * velocity).clamp(-1.0, 1.0)
        };
        vec![control(waypoint[0], x, vx), control(waypoint[1], y, vy)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{self, EnvironmentConfig, LARGE, MEDIUM, OPEN, U_MAZE};
    use crate::rng::Rng;

    #[test]
    fn from_anywhere_it_reaches_any_goal_and_stays_near() {
        for maze in [U_MAZE, MEDIUM, LARGE, OPEN] {
            let config = EnvironmentConfig {
                id: "maze2d".into(),
                maze: maze.into(),
                door_width: None,
                max_steps: 600,
                reference_scores: None,
            };
            let mut environment = env::make(&config).unwrap();
            let policy = environment.policy("to-goal").unwrap();
            let mut rng = Rng::stream(5, "to-goal");
            for episode in 0..60 {
                environment.explore(&mut rng);
                environment.randomize_goal(&mut rng);
                let (start, goal) = (environment.state(), environment.goal());
                let mut paid = 0.0;
                for step in 0..1200 {
                    let action = policy.act(&environment.state(), &goal, &mut rng);
                    let reward = environment.step(&action);
                    paid += if step >= 900 { reward } else { 0.0 };
                }
                assert!(
                    paid >= 290.0,
                    "episode {episode}: {start:?} to {goal:?}: {paid} in\n{maze}"
                );
            }
        }
    }

    #[test]
    fn the_tree_agrees_with_the_planner_from_every_cell() {
        let layout = Arc::new(MazeLayout::parse(LARGE).unwrap());
        let follower = PathFollower::new(layout.clone());
        let goal = layout.goal_cell();
        for cell in layout.free_cells() {
            let [x, y] = layout.center_of_cell(cell);
            let center = layout.center_of_cell(goal);
            let path = layout.shortest_path(cell, goal).unwrap();
            let expected = match path.get(1) {
                None => center,
                Some(next) => next.map(|integer| integer as f32 - PULL),
            };
            assert_eq!(follower.waypoint(&[x, y], &center), Some(expected), "from {cell:?}");
        }
    }

    #[test]
    fn without_a_way_it_rests() {
        let follower = PathFollower::new(Arc::new(MazeLayout::parse("OO#OO").unwrap()));
        assert_eq!(follower.mean(&[0.0, 0.0, 0.0, 0.0], &[0.0, 3.9]), [0.0, 0.0]);
        assert_eq!(follower.mean(&[f32::NAN, 0.0, 0.0, 0.0], &[0.0, 0.9]), [0.0, 0.0]);
        assert_eq!(follower.mean(&[0.0], &[]), [0.0, 0.0]);
    }
}
