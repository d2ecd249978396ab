//! Asking a model what to do: samplers, selection, following.

pub mod beam;
mod candidates;
mod control;
mod denoise;
mod film;
mod follow;
mod fusing;
mod guess;
mod guide;
pub mod horizon;
mod inverse;
pub mod occupancy;
mod outcome;
mod planner;
mod sampler;
mod shape;
mod shapes;
mod warm;

pub use candidates::{duration_grid, passes, peak_speed, roughness, score_candidate, select};
pub use control::{ControlLaw, ControlSettings, Replan, Rollout};
pub use denoise::{Beginning, Joining, denoise};
pub use film::{
    Candidate, DenoisingStep, DurationSearch, Film, Plan, PlanRequest, PlanSettings, Selection, Via,
};
pub use follow::{Pursuit, PursuitEvent};
pub use guess::guess_duration;
pub use guide::{Guide, GuideMethod, GuideSettings, GuideWeight};
pub use planner::Planner;
pub use sampler::{Sampler, SamplerRow};
pub use warm::Previous;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The request cannot be used.
    #[error("{0}")]
    Request(String),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// The environment refused a state.
    #[error(transparent)]
    Environment(#[from] crate::env::EnvError),
}
