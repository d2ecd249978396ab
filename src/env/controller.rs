//! The behavior policy behind D4RL's maze data: a proportional-derivative
//! controller that visits the cells of a shortest path one after another.
//!
//! Its waypoints are integer cells, which sit 0.2 off the middle of a corridor;
//! every one but the last is pulled back towards the middle by a random
//! fraction of those 0.2, separately on each axis.

use std::sync::Arc;

use super::{EnvError, MazeLayout, Policy, Workspace};
use crate::rng::Rng;

/// Action per meter of distance to the waypoint.
pub(super) const POSITION_GAIN: f32 = 10.0;
/// Action per m/s of velocity.
pub(super) const VELOCITY_GAIN: f32 = -1.0;
/// A waypoint counts as reached within this distance, in m ...
const REACH: f32 = 0.1;
/// ... when the last step moved the ball by less than this, in m.
const MAX_DISPLACEMENT: f32 = 0.1;
/// Largest pull of a waypoint towards the corridor's middle, in m.
const JITTER: f64 = 0.2;

/// Drives the ball from cell to cell.
pub struct WaypointController {
    layout: Arc<MazeLayout>,
    /// Still to visit, the next one first; the last one is the target.
    waypoints: Vec<[f32; 2]>,
    next: usize,
    previous: [f32; 2],
    done: bool,
}

impl WaypointController {
    /// A controller for this maze.
    pub fn new(layout: Arc<MazeLayout>) -> Self {
        Self { layout, waypoints: Vec::new(), next: 0, previous: [0.0; 2], done: false }
    }

    /// The positions visited on the way, the target last; empty before
    /// [`Policy::begin`].
    pub fn waypoints(&self) -> &[[f32; 2]] {
        &self.waypoints
    }

    fn cell(&self, what: &str, position: &[f32]) -> Result<[usize; 2], EnvError> {
        let [x, y] = first_two(position)
            .ok_or_else(|| EnvError::State(format!("the {what} needs two coordinates, x and y")))?;
        // A ball pressed into a wall still belongs to the cell beside it.
        let free = self.layout.nearest_free([x, y]);
        free.and_then(|free| self.layout.cell_at(free)).ok_or_else(|| {
            EnvError::State(format!("the {what} ({x}, {y}) is not on the map; choose a free cell"))
        })
    }
}

impl Policy for WaypointController {
    fn begin(&mut self, state: &[f32], goal: &[f32], rng: &mut Rng) -> Result<(), EnvError> {
        let start = self.cell("start", state)?;
        let target = self.cell("goal", goal)?;
        let path = self.layout.shortest_path(start, target).ok_or_else(|| {
            EnvError::State(format!(
                "no path leads from cell {start:?} to cell {target:?}; remove a wall between them \
                 or move the goal"
            ))
        })?;
        // The first cell is where the ball is.
        let ahead = if path.len() > 1 { &path[1..] } else { &path[..] };
        self.waypoints.clear();
        for (index, cell) in ahead.iter().enumerate() {
            let is_target = index + 1 == ahead.len();
            self.waypoints.push(cell.map(|integer| {
                let jitter = if is_target { 0.0 } else { rng.uniform(0.0, JITTER) };
                integer as f32 - jitter as f32
            }));
        }
        self.next = 0;
        self.previous = first_two(state).unwrap_or_default();
        self.done = false;
        Ok(())
    }

    fn act(&mut self, state: &[f32]) -> Vec<f32> {
        let (Some(target), &[x, y, vx, vy]) = (self.waypoints.last().copied(), state) else {
            return vec![0.0; 2];
        };
        let displacement = (x - self.previous[0]).hypot(y - self.previous[1]);
        let arrived =
            |[wx, wy]: [f32; 2]| (x - wx).hypot(y - wy) < REACH && displacement < MAX_DISPLACEMENT;
        self.done = arrived(target);
        let waypoint = if self.done { target } else { self.waypoints[self.next] };
        // The step that reaches a waypoint still steers to it.
        if arrived(waypoint) && self.next + 1 < self.waypoints.len() {
            self.next += 1;
        }
        self.previous = [x, y];
        vec![feedback(waypoint[0], x, vx), feedback(waypoint[1], y, vy)]
    }

    fn done(&self) -> bool {
        self.done
    }
}

/// The clipped feedback law along one axis; no force for NaN.
pub(super) fn feedback(target: f32, position: f32, velocity: f32) -> f32 {
    let force = POSITION_GAIN * (target - position) + VELOCITY_GAIN * velocity;
    if force.is_nan() { 0.0 } else { force.clamp(-1.0, 1.0) }
}

fn first_two(values: &[f32]) -> Option<[f32; 2]> {
    values.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{self, EnvironmentConfig, MEDIUM, U_MAZE};

    fn controller(maze: &str) -> WaypointController {
        WaypointController::new(Arc::new(MazeLayout::parse(maze).unwrap()))
    }

    #[test]
    fn waypoints_are_the_path_pulled_towards_the_middle_of_the_corridor() {
        let mut controller = controller(U_MAZE);
        let mut rng = Rng::stream(0, "test");
        controller.begin(&[3.0, 1.0, 0.0, 0.0], &[1.05, 0.9], &mut rng).unwrap();
        let cells = [[3, 2], [3, 3], [2, 3], [1, 3], [1, 2], [1, 1]];
        assert_eq!(controller.waypoints().len(), cells.len());
        for (waypoint, cell) in controller.waypoints().iter().zip(cells) {
            for axis in 0..2 {
                let pull = cell[axis] as f32 - waypoint[axis];
                assert!((0.0..=0.2).contains(&pull), "{waypoint:?} for {cell:?}");
            }
        }
        assert_eq!(controller.waypoints().last(), Some(&[1.0, 1.0]));
        let mut again = WaypointController::new(controller.layout.clone());
        let mut rng = Rng::stream(0, "test");
        again.begin(&[3.0, 1.0, 0.0, 0.0], &[1.05, 0.9], &mut rng).unwrap();
        assert_eq!(again.waypoints(), controller.waypoints());
    }

    #[test]
    fn the_action_is_the_clipped_feedback_law() {
        let mut controller = controller(U_MAZE);
        controller.begin(&[1.0, 1.0], &[1.0, 1.0], &mut Rng::stream(0, "test")).unwrap();
        let action = controller.act(&[0.99, 1.5, 0.3, -2.0]);
        assert!((action[0] - (10.0 * 0.01 - 0.3)).abs() < 1e-5, "{action:?}");
        assert_eq!(action[1], -1.0);
    }

    #[test]
    fn it_arrives_at_every_goal_and_stays() {
        let config = EnvironmentConfig {
            id: "maze2d".into(),
            maze: MEDIUM.into(),
            door_width: None,
            max_steps: 600,
            reference_scores: None,
        };
        let mut environment = env::make(&config).unwrap();
        let mut policy = environment.behavior();
        let mut rng = Rng::stream(4, "arrive");
        for _ in 0..30 {
            environment.reset(&mut rng);
            environment.randomize_goal(&mut rng);
            policy.begin(&environment.state(), &environment.goal(), &mut rng).unwrap();
            let mut reward = 0.0;
            for _ in 0..600 {
                let action = policy.act(&environment.state());
                reward = environment.step(&action);
            }
            assert!(policy.done());
            assert_eq!(reward, 1.0);
        }
    }

    #[test]
    fn a_goal_behind_walls_or_without_numbers_is_refused() {
        let mut rng = Rng::stream(0, "test");
        let mut split = controller("OO#OO");
        let refusal = split.begin(&[-0.2, 0.0], &[-0.2, 3.9], &mut rng).unwrap_err();
        assert!(refusal.to_string().contains("no path"), "{refusal}");
        assert!(split.begin(&[0.0, f32::NAN], &[0.0, 0.0], &mut rng).is_err());
        assert!(split.begin(&[0.0], &[0.0, 0.0], &mut rng).is_err());
        assert_eq!(split.act(&[0.0, 0.0, 0.0, 0.0]), [0.0, 0.0]);
    }
}
