//! Learned models: one algorithm per file, its paper and equations on top.

pub mod diffuser;
pub mod inpainting;
pub mod learner;
pub mod preset;
pub mod schedule;

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
pub const ALL: &[ModelRow] = &[ModelRow {
    id: "diffuser",
    title: "Diffuser",
    help: "Plans by denoising a whole trajectory at once (Janner et al. 2022).",
}];

/// What went wrong with a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The scene's model section cannot be used.
    #[error("the model cannot be built: {0}")]
    Config(String),
    /// Weights that do not fit.
    #[error(transparent)]
    Weights(#[from] crate::nn::weights::WeightsError),
    /// The device failed in the middle of a computation.
    #[error("the device stopped answering ({0}); choose the CPU (--device cpu) and try again")]
    Device(String),
    /// Training produced NaN or infinity.
    #[error(
        "the loss is no longer a number at step {step}; lower the learning rate or change the seed"
    )]
    Diverged {
        /// The step it was seen at.
        step: usize,
    },
}
