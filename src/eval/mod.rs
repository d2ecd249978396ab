//! Measuring planners: returns, reach rates and times, each with n and
//! standard error.

pub mod beam;
mod drag;
pub mod dream;
mod episodes;
pub mod gamma;
mod goal_reaching;
pub mod occupancy;
pub mod returns;
mod statistics;
pub mod transport;

pub use drag::{DragEvaluation, DragOptions, evaluate_drags};
pub use goal_reaching::{EvalOptions, Evaluation, PlanTimes, evaluate};
pub use statistics::{Estimate, quantile};
