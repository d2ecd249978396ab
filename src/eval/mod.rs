//! Measuring planners: returns, reach rates and times, each with n and
//! standard error.

mod goal_reaching;
mod statistics;

pub use goal_reaching::{EvalOptions, Evaluation, evaluate};
pub use statistics::{Estimate, quantile};
