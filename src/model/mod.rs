//! Learned models: one algorithm per file, its paper and equations on top.

pub mod buckets;
pub mod diffuser;
mod diffuser_config;
pub mod diffuser_learner;
pub mod ensemble;
mod ensemble_learner;
pub mod gamma;
mod gamma_config;
mod gamma_coordinates;
pub mod gamma_learner;
mod gamma_section;
pub mod guide;
mod guide_learner;
pub mod inpainting;
pub mod learner;
pub mod preset;
pub mod reading;
pub mod schedule;
pub mod student;
pub mod student_learner;
pub mod trajectory;
mod trajectory_config;
pub mod trajectory_learner;
pub mod transition;

pub use preset::Preset;

use serde::{Deserialize, Serialize};

use crate::env::EnvironmentSpec;

/// The model section of a scene: which model, a preset, and what departs from
/// it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "id", rename_all = "kebab-case")]
pub enum ModelConfig {
    /// Planning by denoising.
    Diffuser(diffuser::DiffuserSection),
    /// Predicting discounted occupancy.
    Gamma(gamma::GammaSection),
    /// Planning by beam search over tokens.
    Trajectory(trajectory::TrajectorySection),
}

/// Every number of a model, as weights files hold them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "id", rename_all = "kebab-case")]
pub enum ModelNumbers {
    /// Planning by denoising.
    Diffuser(diffuser::DiffuserConfig),
    /// Predicting discounted occupancy.
    Gamma(gamma::GammaConfig),
    /// Planning by beam search over tokens.
    Trajectory(trajectory::TrajectoryConfig),
}

impl ModelConfig {
    /// The row of [`ALL`].
    pub fn id(&self) -> &'static str {
        match self {
            ModelConfig::Diffuser(_) => "diffuser",
            ModelConfig::Gamma(_) => "gamma",
            ModelConfig::Trajectory(_) => "trajectory",
        }
    }

    /// Where unspecified numbers come from.
    pub fn preset(&self) -> Preset {
        match self {
            ModelConfig::Diffuser(section) => section.preset,
            ModelConfig::Gamma(section) => section.preset,
            ModelConfig::Trajectory(section) => section.preset,
        }
    }

    /// The Diffuser's section, if it is one.
    pub fn diffuser_mut(&mut self) -> Option<&mut diffuser::DiffuserSection> {
        match self {
            ModelConfig::Diffuser(section) => Some(section),
            _ => None,
        }
    }

    /// The gamma-model's section, if it is one.
    pub fn gamma_mut(&mut self) -> Option<&mut gamma::GammaSection> {
        match self {
            ModelConfig::Gamma(section) => Some(section),
            _ => None,
        }
    }

    /// The Trajectory Transformer's section, if it is one.
    pub fn trajectory_mut(&mut self) -> Option<&mut trajectory::TrajectorySection> {
        match self {
            ModelConfig::Trajectory(section) => Some(section),
            _ => None,
        }
    }

    /// The weights file, relative to the scene file.
    pub fn weights(&self) -> Option<&str> {
        match self {
            ModelConfig::Diffuser(section) => section.weights.as_deref(),
            ModelConfig::Gamma(section) => section.weights.as_deref(),
            ModelConfig::Trajectory(section) => section.weights.as_deref(),
        }
    }

    /// Name another weights file, or none.
    pub fn set_weights(&mut self, weights: Option<String>) {
        match self {
            ModelConfig::Diffuser(section) => section.weights = weights,
            ModelConfig::Gamma(section) => section.weights = weights,
            ModelConfig::Trajectory(section) => section.weights = weights,
        }
    }

    /// Leave what may change while training goes on to the preset.
    pub fn clear_live(&mut self) {
        match self {
            ModelConfig::Diffuser(section) => {
                (section.batch, section.learning_rate) = (None, None);
            }
            ModelConfig::Gamma(section) => {
                (section.batch, section.learning_rate) = (None, None);
            }
            ModelConfig::Trajectory(section) => {
                (section.batch, section.learning_rate) = (None, None);
                section.action_weight = None;
            }
        }
    }

    /// Every number of the model, for an environment.
    ///
    /// # Errors
    /// Numbers no model can have.
    pub fn resolve(&self, spec: &EnvironmentSpec) -> Result<ModelNumbers, ModelError> {
        Ok(match self {
            ModelConfig::Diffuser(section) => ModelNumbers::Diffuser(section.resolve(spec)?),
            ModelConfig::Gamma(section) => ModelNumbers::Gamma(section.resolve(spec)?),
            ModelConfig::Trajectory(section) => ModelNumbers::Trajectory(section.resolve(spec)?),
        })
    }
}

impl ModelNumbers {
    /// Take from `other` what may change while training goes on: step size,
    /// batch and loss weights. Nothing of another model.
    pub fn take_live(&mut self, other: &Self) {
        match (self, other) {
            (ModelNumbers::Diffuser(ours), ModelNumbers::Diffuser(theirs)) => {
                ours.take_live(theirs);
            }
            (ModelNumbers::Gamma(ours), ModelNumbers::Gamma(theirs)) => ours.take_live(theirs),
            (ModelNumbers::Trajectory(ours), ModelNumbers::Trajectory(theirs)) => {
                ours.take_live(theirs);
            }
            _ => {}
        }
    }

    /// Whether training may go on with `other`: only what may change does.
    pub fn continues_as(&self, other: &Self) -> bool {
        let mut ours = self.clone();
        ours.take_live(other);
        ours == *other
    }

    /// "a Diffuser" and so on, for messages.
    pub fn with_article(&self) -> &'static str {
        match self {
            ModelNumbers::Diffuser(_) => "a Diffuser",
            ModelNumbers::Gamma(_) => "a \u{3b3}-model",
            ModelNumbers::Trajectory(_) => "a Trajectory Transformer",
        }
    }
}

/// A row of the registry of models.
pub struct ModelRow {
    /// Key in scene files.
    pub id: &'static str,
    /// Shown in menus.
    pub title: &'static str,
    /// One sentence for tooltips and `--help`.
    pub help: &'static str,
}

/// Every model there is.
pub const ALL: &[ModelRow] = &[
    ModelRow {
        id: "diffuser",
        title: "Diffuser",
        help: "Plans by denoising a whole trajectory at once (Janner et al. 2022).",
    },
    ModelRow {
        id: "gamma",
        title: "\u{3b3}-model",
        help: "Predicts where a policy will be over a discounted future (Janner et al. 2020).",
    },
    ModelRow {
        id: "trajectory",
        title: "Trajectory Transformer",
        help: "Plans by beam search over the tokens of a trajectory (Janner et al. 2021).",
    },
];

/// What went wrong with a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The scene's model section cannot be used.
    #[error("the model cannot be built: {0}")]
    Config(String),
    /// A question the model cannot answer.
    #[error("the model cannot answer: {0}")]
    Query(String),
    /// Weights that do not fit.
    #[error(transparent)]
    Weights(#[from] crate::nn::weights::WeightsError),
    /// The device failed in the middle of a computation.
    #[error("the device stopped answering ({0}); choose the CPU (--device cpu) and try again")]
    Device(String),
    /// Training lost what it had learned.
    #[error(
        "the loss leapt to {loss:.3} at step {step}; go back to a checkpoint and lower the learning rate, or go on if that was expected"
    )]
    Spiked {
        /// The step it was seen at.
        step: usize,
        /// The loss there.
        loss: f32,
    },
    /// Training produced NaN or infinity.
    #[error(
        "the loss is no longer a number at step {step}; lower the learning rate or change the seed"
    )]
    Diverged {
        /// The step it was seen at.
        step: usize,
    },
}
