//! What the window has to know of a scene's environment: its walls, and what
//! its states look like.

use std::sync::Arc;

use crate::env::{
    self, EnvError, EnvironmentConfig, EnvironmentSpec, FourRooms, MazeLayout, PolicyRow, Workspace,
};

/// The layout of what is no maze: nothing but one free cell.
const NO_MAZE: &str = "O";

/// Walls and constants of one environment.
pub struct Place {
    /// The walls of a maze; one free cell elsewhere.
    pub layout: MazeLayout,
    /// Where a state's first two coordinates may be.
    pub workspace: Arc<dyn Workspace>,
    /// Center lines of walls with round ends.
    pub capsules: Vec<[[f32; 2]; 2]>,
    /// The Markov policies a model may predict.
    pub policies: &'static [PolicyRow],
    /// Names, sizes and constants.
    pub spec: EnvironmentSpec,
    config: EnvironmentConfig,
}

impl Place {
    /// Read what a scene describes.
    ///
    /// # Errors
    /// A description that is not an environment.
    pub fn new(config: &EnvironmentConfig) -> Result<Self, EnvError> {
        let environment = env::make(config)?;
        let spec = environment.spec().clone();
        let maze = if spec.id == "maze2d" { config.maze.as_str() } else { NO_MAZE };
        let capsules = match spec.id {
            "four-rooms" => FourRooms::new(config)?.space().walls().to_vec(),
            _ => Vec::new(),
        };
        Ok(Self {
            layout: MazeLayout::parse(maze)?,
            workspace: environment.workspace(),
            capsules,
            policies: environment.policies(),
            spec,
            config: config.clone(),
        })
    }

    /// Whether this is the place `config` describes.
    pub fn is(&self, config: &EnvironmentConfig) -> bool {
        self.config == *config
    }

    /// Whether it is a grid maze, whose walls can be painted.
    pub fn is_maze(&self) -> bool {
        self.spec.id == "maze2d"
    }

    /// Whether a goal ends a plan.
    pub fn has_goal(&self) -> bool {
        !self.spec.goal_dims.is_empty()
    }

    /// Radius of the body that moves, in world units; 0 where the map is no
    /// place.
    pub fn body_radius(&self) -> f32 {
        match self.spec.id {
            "maze2d" => 0.1,
            "four-rooms" => 0.05,
            _ => 0.0,
        }
    }

    /// The state with these first two coordinates and zeros after them: that of
    /// a ball at rest.
    pub fn at_rest(&self, position: [f32; 2]) -> Vec<f32> {
        let mut state = vec![0.0; self.spec.state.len().max(2)];
        state[..2].copy_from_slice(&position);
        state
    }

    /// `position`, or the nearest place where a body fits.
    pub fn legal(&self, position: [f32; 2]) -> Option<[f32; 2]> {
        self.workspace.nearest_free(position)
    }
}
