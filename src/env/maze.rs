//! Maze2D: a force-driven ball in a grid maze, with D4RL's constants.
//!
//! State and observation are `[x, y, vx, vy]`, actions are forces in units of
//! 100 N, a step is 0.01 s. Fu et al. 2020, "D4RL: Datasets for Deep
//! Data-Driven Reinforcement Learning".

use std::sync::Arc;

use super::controller::feedback;
use super::maze_layout::MazeLayout;
use super::maze_space::BODY_RADIUS;
use super::physics::{DT_SECS, MAZE_BALL, Physics};
use super::{
    Dimension, EnvError, Environment, EnvironmentConfig, EnvironmentSpec, MarkovPolicy, Policy,
    PolicyRow, StateDimension, WaypointController, Workspace, check_finite, maze_policies,
    wrong_length,
};
use crate::rng::Rng;

/// Within this distance of the goal a step pays 1, in m.
const GOAL_RADIUS: f32 = 0.5;
/// Starts and random goals lie within this distance of an integer cell on each
/// axis, in m.
const SPREAD: f64 = 0.1;
/// Standard deviation of the initial velocity, in m/s.
const INITIAL_VELOCITY: f32 = 0.1;
/// Exploring starts move at up to this speed on each axis, in m/s.
const EXPLORING_VELOCITY: f64 = 5.0;
/// No velocity exceeds this: clipped to 5 m/s before a step, it is at most
/// 5.2263 m/s after it.
const VELOCITY_BOUND: f32 = 5.3;
/// A state may press the ball this deep into a wall, in m. Contacts do that for
/// a few steps after a hit, so recorded states stay usable.
const MAX_OVERLAP: f32 = 0.05;

/// The Maze2D environment.
pub struct Maze2d {
    spec: EnvironmentSpec,
    layout: Arc<MazeLayout>,
    cells: Vec<[usize; 2]>,
    physics: Physics,
    goal: [f32; 2],
}

impl Maze2d {
    /// Build the maze a scene describes. The ball rests at the first free cell
    /// until the first reset.
    ///
    /// # Errors
    /// A maze [`MazeLayout::parse`] refuses, an episode of no steps, or
    /// reference scores that do not increase.
    pub fn new(config: &EnvironmentConfig) -> Result<Self, EnvError> {
        config.check()?;
        let layout = Arc::new(MazeLayout::parse(&config.maze)?);
        let mut maze = Self {
            spec: spec(config, layout.bounds()),
            cells: layout.free_cells(),
            physics: Physics::among_squares(MAZE_BALL, &layout.touchable_walls(), layout.corner()),
            goal: integer_position(layout.goal_cell()),
            layout,
        };
        if let Some(&cell) = maze.cells.first() {
            let [x, y] = maze.layout.center_of_cell(cell);
            maze.physics.set_state([x, y, 0.0, 0.0]);
        }
        Ok(maze)
    }

    /// The grid.
    pub fn layout(&self) -> &Arc<MazeLayout> {
        &self.layout
    }

    fn random_position(&self, rng: &mut Rng) -> [f32; 2] {
        let cell = self.cells[rng.below(self.cells.len())];
        integer_position(cell).map(|center| center + rng.uniform(-SPREAD, SPREAD) as f32)
    }

    /// Why a position cannot be taken, with the nearest one that can.
    fn refusal(&self, what: &str, [x, y]: [f32; 2]) -> EnvError {
        let advice = match self.layout.nearest_free([x, y]) {
            Some([x, y]) => format!("the nearest free place is ({x:.2}, {y:.2})"),
            None => "give two finite numbers".to_owned(),
        };
        let place = match self.layout.cell_at([x, y]) {
            Some(_) => "inside a wall",
            None => "off the map",
        };
        EnvError::State(format!("the {what} ({x}, {y}) is {place}; {advice}"))
    }
}

impl Environment for Maze2d {
    fn spec(&self) -> &EnvironmentSpec {
        &self.spec
    }

    fn reset(&mut self, rng: &mut Rng) {
        let [x, y] = self.random_position(rng);
        let velocity = [INITIAL_VELOCITY * rng.normal(), INITIAL_VELOCITY * rng.normal()];
        self.physics.set_state([x, y, velocity[0], velocity[1]]);
    }

    fn state(&self) -> Vec<f32> {
        self.physics.state().to_vec()
    }

    fn set_state(&mut self, state: &[f32]) -> Result<(), EnvError> {
        let &[x, y, vx, vy] = state else {
            return Err(wrong_length("state", "x, y, vx, vy", state.len()));
        };
        check_finite("state", state)?;
        if !self.layout.is_free_with_margin([x, y], BODY_RADIUS - MAX_OVERLAP) {
            return Err(self.refusal("start", [x, y]));
        }
        self.physics.set_state([x, y, vx, vy]);
        Ok(())
    }

    fn goal(&self) -> Vec<f32> {
        self.goal.to_vec()
    }

    fn set_goal(&mut self, goal: &[f32]) -> Result<(), EnvError> {
        let &[x, y] = goal else {
            return Err(wrong_length("goal", "x, y", goal.len()));
        };
        check_finite("goal", goal)?;
        if !self.layout.is_free([x, y]) {
            return Err(self.refusal("goal", [x, y]));
        }
        self.goal = [x, y];
        Ok(())
    }

    fn default_goal(&self) -> Vec<f32> {
        integer_position(self.layout.goal_cell()).to_vec()
    }

    fn randomize_goal(&mut self, rng: &mut Rng) {
        self.goal = self.random_position(rng);
    }

    fn explore(&mut self, rng: &mut Rng) {
        // Half the width of the free middle of a cell is over 0.4 on both axes,
        // so every draw has a chance of at least 0.64.
        let [x, y] = loop {
            let center = self.layout.center_of_cell(self.cells[rng.below(self.cells.len())]);
            let position = center.map(|middle| middle + rng.uniform(-0.5, 0.5) as f32);
            if self.layout.is_free_with_margin(position, BODY_RADIUS) {
                break position;
            }
        };
        let mut speed = || rng.uniform(-EXPLORING_VELOCITY, EXPLORING_VELOCITY) as f32;
        self.physics.set_state([x, y, speed(), speed()]);
    }

    fn state_reward(&self, state: &[f32]) -> f32 {
        match *state {
            [x, y, ..] if (x - self.goal[0]).hypot(y - self.goal[1]) <= GOAL_RADIUS => 1.0,
            _ => 0.0,
        }
    }

    fn policies(&self) -> &'static [PolicyRow] {
        maze_policies::POLICIES
    }

    fn policy(&self, id: &str) -> Result<Arc<dyn MarkovPolicy>, EnvError> {
        maze_policies::policy(&self.layout, id)
    }

    fn step(&mut self, action: &[f32]) -> f32 {
        // A missing or undefined force is no force.
        let force = |axis: usize| match action.get(axis) {
            Some(value) if !value.is_nan() => value.clamp(-1.0, 1.0),
            _ => 0.0,
        };
        self.physics.step([force(0), force(1)]);
        self.state_reward(&self.physics.state())
    }

    /// The feedback law of the controller that made D4RL's data.
    fn pursue(&self, place: [f32; 2]) -> Vec<f32> {
        let [x, y, vx, vy] = self.physics.state();
        vec![feedback(place[0], x, vx), feedback(place[1], y, vy)]
    }

    fn workspace(&self) -> Arc<dyn Workspace> {
        self.layout.clone()
    }

    fn behavior(&self) -> Box<dyn Policy> {
        Box::new(WaypointController::new(self.layout.clone()))
    }
}

fn spec(config: &EnvironmentConfig, [x_min, y_min, x_max, y_max]: [f32; 4]) -> EnvironmentSpec {
    let dimension = |name, unit| Dimension { name, unit };
    let state = |name: &str, unit: &str, low, high, rate_of| StateDimension {
        name: name.into(),
        unit: unit.into(),
        low,
        high,
        periodic: false,
        rate_of,
    };
    EnvironmentSpec {
        id: "maze2d",
        observation: vec![
            dimension("x", "m"),
            dimension("y", "m"),
            dimension("vx", "m/s"),
            dimension("vy", "m/s"),
        ],
        state: vec![
            state("x", "m", x_min, x_max, None),
            state("y", "m", y_min, y_max, None),
            state("vx", "m/s", -VELOCITY_BOUND, VELOCITY_BOUND, Some(0)),
            state("vy", "m/s", -VELOCITY_BOUND, VELOCITY_BOUND, Some(1)),
        ],
        action: vec![dimension("fx", "100 N"), dimension("fy", "100 N")],
        dt_secs: DT_SECS,
        max_steps: config.max_steps,
        goal_dims: vec![0, 1],
        goal_radius: GOAL_RADIUS,
        reference_scores: config.reference_scores,
        twin_cells: None,
        twin_occupies: false,
    }
}

fn integer_position([w, h]: [usize; 2]) -> [f32; 2] {
    [w as f32, h as f32]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{LARGE, MEDIUM, OPEN, U_MAZE};

    fn config(maze: &str) -> EnvironmentConfig {
        EnvironmentConfig {
            id: "maze2d".into(),
            maze: maze.into(),
            door_width: None,
            max_steps: 300,
            reference_scores: Some([23.85, 161.86]),
        }
    }

    fn maze(text: &str) -> Maze2d {
        Maze2d::new(&config(text)).unwrap()
    }

    #[test]
    fn resets_start_slowly_near_integer_cells_and_visit_all_of_them() {
        for text in [U_MAZE, MEDIUM, LARGE, OPEN, "O"] {
            let mut maze = maze(text);
            let mut rng = Rng::stream(0, "resets");
            let mut visits = vec![0; maze.cells.len()];
            let resets = 200 * visits.len();
            let mut speed = 0.0;
            for _ in 0..resets {
                maze.reset(&mut rng);
                let [x, y, vx, vy] = maze.physics.state();
                let cell = [x.round() as usize, y.round() as usize];
                assert!((x - x.round()).abs() <= 0.1 && (y - y.round()).abs() <= 0.1);
                assert!(maze.layout.is_free_with_margin([x, y], BODY_RADIUS));
                visits[maze.cells.iter().position(|&other| other == cell).unwrap()] += 1;
                speed += vx * vx + vy * vy;
            }
            assert!(visits.iter().all(|&count| (140..270).contains(&count)), "{visits:?}");
            let deviation = (speed / (2.0 * resets as f32)).sqrt();
            assert!((deviation - 0.1).abs() < 0.01, "{deviation}");
        }
    }

    #[test]
    fn exploring_starts_fill_the_free_space_and_the_velocities() {
        let mut maze = maze(U_MAZE);
        let mut rng = Rng::stream(1, "explore");
        let n = 20_000;
        let (mut near_walls, mut fast) = (0, 0);
        for _ in 0..n {
            maze.explore(&mut rng);
            let state = maze.state();
            maze.set_state(&state).unwrap();
            for (value, dimension) in state.iter().zip(&maze.spec.state) {
                assert!((dimension.low..=dimension.high).contains(value), "{state:?}");
            }
            near_walls += usize::from(!maze.layout.is_free_with_margin([state[0], state[1]], 0.2));
            fast += usize::from(state[2].abs() > 2.5 && state[3].abs() > 2.5);
        }
        // A corridor's cell is free over a width of 0.8, 0.2 of it near its walls.
        let share = near_walls as f32 / n as f32;
        assert!((0.2..0.35).contains(&share), "{share}");
        assert!((fast as f32 / n as f32 - 0.25).abs() < 0.02, "{fast}");
    }

    #[test]
    fn a_state_pays_what_a_step_into_it_paid() {
        let mut maze = maze(OPEN);
        let mut rng = Rng::stream(2, "rewards");
        for _ in 0..2000 {
            maze.explore(&mut rng);
            let reward = maze.step(&[0.0, 0.0]);
            assert_eq!(reward, maze.state_reward(&maze.state()));
        }
        assert_eq!(maze.state_reward(&[]), 0.0);
    }

    #[test]
    fn the_goal_is_the_marked_cell_until_it_is_moved() {
        let mut maze = maze(U_MAZE);
        assert_eq!(maze.default_goal(), [1.0, 1.0]);
        assert_eq!(maze.goal(), [1.0, 1.0]);
        maze.set_goal(&[3.1, 2.9]).unwrap();
        maze.reset(&mut Rng::stream(0, "test"));
        assert_eq!(maze.goal(), [3.1, 2.9]);
        let mut rng = Rng::stream(0, "goals");
        for _ in 0..100 {
            maze.randomize_goal(&mut rng);
            let goal = maze.goal();
            maze.set_goal(&goal).unwrap();
            assert!(goal.iter().all(|value| (value - value.round()).abs() <= 0.1));
        }
    }

    #[test]
    fn a_step_pays_within_half_a_meter_of_the_goal() {
        let mut maze = maze(OPEN);
        assert_eq!(maze.goal(), [2.0, 3.0]);
        maze.set_state(&[2.0, 3.49, 0.0, 0.0]).unwrap();
        assert_eq!(maze.step(&[0.0, 0.0]), 1.0);
        maze.set_state(&[2.0, 3.51, 0.0, 0.0]).unwrap();
        assert_eq!(maze.step(&[0.0, 0.0]), 0.0);
        // Only where the step ends counts.
        maze.set_state(&[2.0, 3.51, 0.0, -5.0]).unwrap();
        assert_eq!(maze.step(&[0.0, 0.0]), 1.0);
    }

    #[test]
    fn actions_are_clipped_and_undefined_ones_do_nothing() {
        let mut maze = maze(OPEN);
        let mut after = |action: &[f32]| {
            maze.set_state(&[2.0, 3.0, 0.0, 0.0]).unwrap();
            maze.step(action);
            maze.state()
        };
        assert_eq!(after(&[7.0, -9.0]), after(&[1.0, -1.0]));
        assert_eq!(after(&[f32::NAN, 0.5]), after(&[0.0, 0.5]));
        assert_eq!(after(&[]), [2.0, 3.0, 0.0, 0.0]);
    }

    #[test]
    fn illegal_states_and_goals_are_refused_with_advice() {
        let mut maze = maze(U_MAZE);
        maze.set_state(&[3.0, 2.0, 0.1, 0.2]).unwrap();
        maze.set_goal(&[3.0, 3.0]).unwrap();
        for (state, part) in [
            (&[2.0, 1.0, 0.0, 0.0][..], "inside a wall; the nearest free place is"),
            (&[-5.0, 1.0, 0.0, 0.0], "off the map"),
            (&[1.0, 1.0, f32::NAN, 0.0], "not finite"),
            (&[f32::INFINITY, 1.0, 0.0, 0.0], "not finite"),
            (&[1.0, 1.0], "2 numbers were given"),
        ] {
            let message = maze.set_state(state).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        for (goal, part) in [
            (&[2.0, 1.0][..], "the goal (2, 1) is inside a wall"),
            (&[40.0, 1.0], "off the map"),
            (&[f32::NAN, 1.0], "not finite"),
            (&[1.0], "1 numbers were given"),
        ] {
            let message = maze.set_goal(goal).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        // Refused means unchanged.
        assert_eq!(maze.state(), [3.0, 2.0, 0.1, 0.2]);
        assert_eq!(maze.goal(), [3.0, 3.0]);
    }

    #[test]
    fn descriptions_that_make_no_sense_are_refused() {
        let refused = |change: fn(&mut EnvironmentConfig)| {
            let mut config = config(U_MAZE);
            change(&mut config);
            super::super::make(&config).err().unwrap().to_string()
        };
        assert!(refused(|config| config.max_steps = 0).contains("max_steps"));
        assert!(refused(|config| config.maze = "???".into()).contains("row 1, column 1"));
        assert!(refused(|config| config.id = "moon".into()).contains("maze2d"));
        let unknown = maze(U_MAZE).policy("psychic").err().unwrap().to_string();
        assert!(unknown.contains("psychic") && unknown.contains("to-goal, random"), "{unknown}");
        assert!(
            refused(|config| config.reference_scores = Some([2.0, 1.0])).contains("increasing")
        );
        assert!(refused(|c| c.reference_scores = Some([f32::NAN, 1.0])).contains("increasing"));
    }
}
