//! What the window has to know of a scene's environment: its walls, and what
//! its states look like.

use std::sync::Arc;

use crate::env::{
    self, EnvError, EnvironmentConfig, EnvironmentSpec, FourRooms, MazeLayout, PolicyRow, Workspace,
};

/// Typical steps a plan spends on one cell, before any plan says otherwise.
const STEPS_PER_CELL: f32 = 22.0;

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

    /// The state of a ball at rest.
    pub fn at_rest(&self, position: [f32; 2]) -> Vec<f32> {
        let mut state = vec![0.0; self.spec.observation.len().max(2)];
        state[..2].copy_from_slice(&position);
        state
    }

    /// `position`, or the nearest place where a body fits.
    pub fn legal(&self, position: [f32; 2]) -> Option<[f32; 2]> {
        self.workspace.nearest_free(position)
    }

    /// Guess the duration, in steps, of a plan between two positions from a
    /// known one: plans take about equally long per cell.
    pub fn guess_duration(
        &self,
        from: [f32; 2],
        to: [f32; 2],
        known: Option<([f32; 2], [f32; 2], f32)>,
    ) -> f32 {
        let cells = |from, to| {
            let path =
                self.layout.shortest_path(self.layout.cell_at(from)?, self.layout.cell_at(to)?)?;
            Some((path.len() as f32 - 0.5).max(0.5))
        };
        let pace = known.and_then(|(from, to, steps)| Some(steps / cells(from, to)?));
        let pace = pace.unwrap_or(STEPS_PER_CELL).clamp(10.0, 60.0);
        (cells(from, to).unwrap_or(1.0) * pace).max(10.0)
    }
}
