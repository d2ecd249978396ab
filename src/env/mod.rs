//! Environments: dynamics, rewards, resets and policies, in plain `f32`, and
//! the exact or sampled futures that learned models are compared with.
//!
//! An environment is one file plus one row in [`ALL`]. Nothing here knows
//! tensors or pixels.

mod controller;
pub mod four_rooms;
mod grid;
mod maze;
mod maze_layout;
mod maze_policies;
mod maze_space;
mod occupancy;
mod pendulum;
mod pendulum_policies;
mod physics;
mod policies;
mod rooms_policies;
mod rooms_space;
mod sparse;
mod state_view;
mod tabular;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::rng::Rng;

pub use controller::WaypointController;
pub use four_rooms::FourRooms;
pub use grid::Grid;
pub use maze::Maze2d;
pub use maze_layout::{LARGE, MEDIUM, MazeLayout, OPEN, U_MAZE};
pub use occupancy::{Source, ValueEstimate, monte_carlo, values_monte_carlo};
pub use pendulum::Pendulum;
pub use rooms_space::RoomsSpace;
pub use state_view::StateView;
pub use tabular::{Chain, Optimum, cell_rewards, value_iteration};

/// What was wrong with a state, a goal or an environment's description.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum EnvError {
    /// The scene names an environment that does not exist.
    #[error("there is no environment \"{0}\"; known ones: {known}", known = known_ids())]
    UnknownEnvironment(String),
    /// The maze text cannot be used.
    #[error("the maze cannot be used: {0}")]
    Maze(String),
    /// A grid that does not fit, or numbers that do not fit it.
    #[error("the grid cannot be used: {0}")]
    Grid(String),
    /// A state or goal that cannot be taken up.
    #[error("{0}")]
    State(String),
}

impl EnvError {
    fn unknown_policy(id: &str, known: &[PolicyRow]) -> Self {
        let ids: Vec<_> = known.iter().map(|row| row.id).collect();
        EnvError::State(format!("there is no policy \"{id}\"; known ones: {}", ids.join(", ")))
    }
}

/// One coordinate of an observation or an action.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dimension {
    /// Short name, as the literature writes it (`x`, `vx`, ...).
    pub name: &'static str,
    /// Unit, for axes and tables.
    pub unit: &'static str,
}

/// One coordinate of the state space, over which occupancies are densities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateDimension {
    /// Short name (`theta`, `x`, ...).
    pub name: String,
    /// Unit, for axes and tables.
    pub unit: String,
    /// Smallest value states take up.
    pub low: f32,
    /// Largest value states take up.
    pub high: f32,
    /// Whether `low` and `high` are the same place (angles).
    pub periodic: bool,
    /// The coordinate that this one is the velocity of.
    pub rate_of: Option<usize>,
}

/// A coordinate's name as the literature writes it.
pub fn symbol(name: &str) -> &str {
    match name {
        "theta" => "θ",
        "theta_dot" => "dθ/dt",
        "cos theta" => "cos θ",
        "sin theta" => "sin θ",
        other => other,
    }
}

/// What an environment is, in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvironmentSpec {
    /// Key in scene files and in [`ALL`].
    pub id: &'static str,
    /// Observation coordinates in order; for Maze2D `x, y, vx, vy`.
    pub observation: Vec<Dimension>,
    /// State coordinates in order, as [`Environment::state`] gives them. Angles
    /// lie in `[low, high)`.
    pub state: Vec<StateDimension>,
    /// Action coordinates in order; every action lies in `[-1, 1]`.
    pub action: Vec<Dimension>,
    /// Seconds per step.
    pub dt_secs: f32,
    /// Episode length in steps; the episode ends there and nowhere else.
    pub max_steps: usize,
    /// The observation coordinates that a goal fixes.
    pub goal_dims: Vec<usize>,
    /// Within this distance of the goal a step pays reward 1.
    pub goal_radius: f32,
    /// Returns that map to a normalized score of 0 and 100.
    pub reference_scores: Option<[f32; 2]>,
    /// Cells of a grid over the state space on which a tabular twin is
    /// accurate; `None` where the state has no two coordinates.
    pub twin_cells: Option<[usize; 2]>,
    /// Whether the twin's occupancies stand for the truth while a person waits.
    /// Narrow tracks need a finer grid than can be solved in that time; values
    /// do not.
    pub twin_occupies: bool,
}

impl EnvironmentSpec {
    /// The state at `share` of the way from one state to the next, the shorter
    /// way around.
    pub fn between(&self, from: &[f32], to: &[f32], share: f32) -> Vec<f32> {
        let mix = from.iter().zip(to).enumerate().map(|(dim, (from, to))| {
            let mut by = to - from;
            if let Some(known) = self.state.get(dim).filter(|known| known.periodic) {
                let around = known.high - known.low;
                by -= around * (by / around).round();
                return known.low + (from + share * by - known.low).rem_euclid(around);
            }
            from + share * by
        });
        mix.collect()
    }

    /// State coordinates that are velocities and are not among the observation
    /// coordinates `seen`.
    pub fn hidden_rates(&self, seen: &[usize]) -> Vec<usize> {
        let is_seen = |name: &str| {
            seen.iter().any(|dim| self.observation.get(*dim).is_some_and(|seen| seen.name == name))
        };
        let rates = self.state.iter().enumerate();
        let hidden = rates.filter(|(_, known)| known.rate_of.is_some() && !is_seen(&known.name));
        hidden.map(|(dim, _)| dim).collect()
    }

    /// Set a velocity of the state `after` to what leads there from `before` in
    /// `secs` seconds, the shorter way around and within its range.
    pub fn fill_rate(&self, rate: usize, before: &[f32], after: &mut [f32], secs: f32) {
        let Some(known) = self.state.get(rate) else { return };
        let Some(of) = known.rate_of else { return };
        let (Some(from), Some(to)) = (before.get(of).copied(), after.get(of).copied()) else {
            return;
        };
        let mut by = to - from;
        if let Some(around) = self.state.get(of).filter(|of| of.periodic).map(|of| of.high - of.low)
        {
            by -= around * (by / around).round();
        }
        if let Some(value) = after.get_mut(rate) {
            *value = (by / secs.max(1e-6)).clamp(known.low, known.high);
        }
    }

    /// Whether states are positions, as a goal fixes them, followed by their
    /// velocities.
    pub fn has_velocities(&self) -> bool {
        let n = self.goal_dims.len();
        n > 0 && self.state.len() == 2 * n && self.goal_dims.iter().copied().eq(0..n)
    }
}

/// The part of the plane a body may occupy.
pub trait Workspace: Send + Sync {
    /// Whether the body's center may be at `position`. False off the map and
    /// for NaN.
    fn is_free(&self, position: [f32; 2]) -> bool;
    /// The nearest position where [`Workspace::is_free`] holds with the whole
    /// body clear of walls, or `None` if there is none.
    fn nearest_free(&self, position: [f32; 2]) -> Option<[f32; 2]>;
    /// Whether the body at `position` is pressed against a wall.
    fn touches_wall(&self, position: [f32; 2]) -> bool;
    /// `[x_min, y_min, x_max, y_max]` of the map, walls included.
    fn bounds(&self) -> [f32; 4];
    /// Whether a path through free space joins the two positions.
    fn connected(&self, from: [f32; 2], to: [f32; 2]) -> bool;
    /// Steps from cell to cell on a shortest way, where free space is made of
    /// cells; `None` where it is not or no way leads there.
    fn cells_between(&self, _from: [f32; 2], _to: [f32; 2]) -> Option<usize> {
        None
    }
}

/// A Markov decision process with a goal.
pub trait Environment: Send {
    /// Names, sizes and constants.
    fn spec(&self) -> &EnvironmentSpec;
    /// Draw a new initial state. The goal stays.
    fn reset(&mut self, rng: &mut Rng);
    /// The full state, one number per entry of `spec().state`.
    fn state(&self) -> Vec<f32>;
    /// What a policy or model is shown of the state, one number per entry of
    /// `spec().observation`.
    fn observation(&self) -> Vec<f32> {
        self.state()
    }
    /// The state with that observation; numbers that cannot be a state's, such
    /// as predicted ones, give the nearest there is.
    fn state_of(&self, observation: &[f32]) -> Vec<f32> {
        observation.to_vec()
    }
    /// Put the environment in `state`.
    ///
    /// # Errors
    /// A wrong length, NaN, or a body inside a wall or off the map.
    fn set_state(&mut self, state: &[f32]) -> Result<(), EnvError>;
    /// The goal, one number per entry of `spec().goal_dims`.
    fn goal(&self) -> Vec<f32>;
    /// Move the goal.
    ///
    /// # Errors
    /// A wrong length, NaN, or a position inside a wall or off the map.
    fn set_goal(&mut self, goal: &[f32]) -> Result<(), EnvError>;
    /// The goal of the single-task benchmark.
    fn default_goal(&self) -> Vec<f32>;
    /// Move the goal to a random legal place (the multi-task benchmark).
    fn randomize_goal(&mut self, rng: &mut Rng);
    /// Draw a state from the whole state space, uniformly over what is legal
    /// (exploring starts). The goal stays.
    fn explore(&mut self, rng: &mut Rng);
    /// The reward r(s) of being in `state`, without any cost of acting.
    fn state_reward(&self, state: &[f32]) -> f32;
    /// The Markov policies that can be asked anywhere, the default first.
    fn policies(&self) -> &'static [PolicyRow];
    /// The policy of that id.
    ///
    /// # Errors
    /// An id that is not in [`Environment::policies`].
    fn policy(&self, id: &str) -> Result<Arc<dyn MarkovPolicy>, EnvError>;
    /// Advance one step of `spec().dt_secs`; the action is clipped to
    /// `[-1, 1]` per coordinate. Returns the reward.
    fn step(&mut self, action: &[f32]) -> f32;
    /// The action that heads from the present state for a place in the first
    /// two state coordinates, within `[-1, 1]` per coordinate: what a person
    /// does who drags the agent there.
    fn pursue(&self, place: [f32; 2]) -> Vec<f32>;
    /// Free space, shareable with a planner.
    fn workspace(&self) -> Arc<dyn Workspace>;
    /// The controller that makes this environment's data.
    fn behavior(&self) -> Box<dyn Policy>;
}

/// A Markov policy pi(a | s, goal): it remembers nothing and answers anywhere.
pub trait MarkovPolicy: Send + Sync {
    /// Draw an action for `state`, within `[-1, 1]` per coordinate. `goal` has
    /// one number per entry of `spec().goal_dims`.
    fn act(&self, state: &[f32], goal: &[f32], rng: &mut Rng) -> Vec<f32>;
    /// The law of [`MarkovPolicy::act`] as a few actions with weights that sum
    /// to 1, at most 9 per coordinate (and per part, if a coin chooses): a
    /// 7-node Gauss-Hermite rule for Gaussian
    /// noise; where the bounds clip it, an atom with the exact mass at each
    /// bound and a 7-node Gauss-Legendre rule between them, as for uniform
    /// actions. One entry if the policy does not draw.
    fn quadrature(&self, state: &[f32], goal: &[f32]) -> Vec<(Vec<f32>, f32)>;
}

/// A row of an environment's Markov policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyRow {
    /// Key in scene files.
    pub id: &'static str,
    /// Shown in menus.
    pub title: &'static str,
    /// One sentence for tooltips.
    pub help: &'static str,
}

/// A goal-reaching behavior policy.
pub trait Policy: Send {
    /// Start towards `goal` from `state`.
    ///
    /// # Errors
    /// When no path leads there.
    fn begin(&mut self, state: &[f32], goal: &[f32], rng: &mut Rng) -> Result<(), EnvError>;
    /// The action for `state`, within `[-1, 1]` per coordinate.
    fn act(&mut self, state: &[f32]) -> Vec<f32>;
    /// Whether the goal given to [`Policy::begin`] has been reached.
    fn done(&self) -> bool;
}

/// An environment as a scene file describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentConfig {
    /// A row of [`ALL`].
    pub id: String,
    /// The maze as ASCII art: `#` wall, `O` free, `G` goal; rows are x,
    /// columns are y, as in D4RL.
    #[serde(default)]
    pub maze: String,
    /// Width of the doors in m (four rooms).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door_width: Option<f32>,
    /// Episode length in steps.
    pub max_steps: usize,
    /// Returns that map to a normalized score of 0 and 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_scores: Option<[f32; 2]>,
}

impl EnvironmentConfig {
    /// Refuse what no environment can have.
    fn check(&self) -> Result<(), EnvError> {
        if self.max_steps == 0 {
            return Err(EnvError::State("max_steps must be at least 1".into()));
        }
        match self.reference_scores {
            Some([low, high]) if !(low.is_finite() && high.is_finite() && low < high) => {
                Err(EnvError::State(format!(
                    "reference_scores must be two increasing numbers, not [{low}, {high}]"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// A row of the registry.
pub struct EnvironmentRow {
    /// Key in scene files.
    pub id: &'static str,
    /// Shown in menus.
    pub title: &'static str,
    /// One sentence for tooltips and `--help`.
    pub help: &'static str,
    /// Builds it.
    pub make: fn(&EnvironmentConfig) -> Result<Box<dyn Environment>, EnvError>,
}

/// Every environment there is.
pub const ALL: &[EnvironmentRow] = &[
    EnvironmentRow {
        id: "maze2d",
        title: "Maze2D",
        help: "A force-driven ball in a grid maze, with D4RL's constants and layouts.",
        make: |config| Ok(Box::new(Maze2d::new(config)?)),
    },
    EnvironmentRow {
        id: "pendulum",
        title: "Pendulum",
        help: "A torque-limited pendulum to swing up, Gymnasium's Pendulum-v1.",
        make: |config| Ok(Box::new(Pendulum::new(config)?)),
    },
    EnvironmentRow {
        id: "four-rooms",
        title: "Four rooms",
        help: "A ball that goes through doors between four rooms, with GCSL's geometry.",
        make: |config| Ok(Box::new(FourRooms::new(config)?)),
    },
];

/// Build the environment a scene describes.
///
/// # Errors
/// An unknown id, or a description that row refuses.
pub fn make(config: &EnvironmentConfig) -> Result<Box<dyn Environment>, EnvError> {
    let row = ALL
        .iter()
        .find(|row| row.id == config.id)
        .ok_or_else(|| EnvError::UnknownEnvironment(config.id.clone()))?;
    (row.make)(config)
}

fn known_ids() -> String {
    let ids: Vec<_> = ALL.iter().map(|row| row.id).collect();
    ids.join(", ")
}

fn check_finite(what: &str, values: &[f32]) -> Result<(), EnvError> {
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(EnvError::State(format!(
            "the {what} {values:?} has a number that is not finite; give ordinary numbers"
        ))),
    }
}

fn wrong_length(what: &str, names: &str, got: usize) -> EnvError {
    EnvError::State(format!("a {what} is {names}, and {got} numbers were given"))
}
