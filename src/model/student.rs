//! A student of a Diffuser: one forward from noise to the end of the chain.
//!
//! The deterministic chain of DDIM takes a noise x_T to one plan x_0, and every
//! x_t on its way to the same one. The student f learns that map, as Luhman and
//! Luhman do for t = T (Knowledge Distillation in Iterative Generative Models,
//! 2021), at every time, as consistency models demand (Song et al. 2023), with
//! the end of the teacher's chain as the target at all of them:
//!
//!   f(x_t, t) = x_0   where x_T -> .. -> x_t -> .. -> x_0 is the teacher's chain
//!
//! Running the teacher's few steps costs less than what a target made of the
//! student itself would lose. With the noise given there is nothing to average:
//! two ways round a wall belong to two noises.
//!
//! The student has the teacher's sizes and starts from its weights, and lives
//! among them under a prefix.

use serde::{Deserialize, Serialize};

use super::ModelError;
use super::schedule::Schedule;
use crate::nn::weights::{self, NamedTensors};

/// In front of the names of a student's weights, beside its teacher's.
pub(super) const PREFIX: &str = "student.";

/// Steps of the teacher's chain that the student learns. One averages the ways
/// round a wall; two choose one of them, and score as well as any number.
pub const TEACHER_STEPS: usize = 2;

/// How a student is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillConfig {
    /// Seed of conditions and noise.
    #[serde(default)]
    pub seed: u64,
    /// Optimizer steps.
    pub steps: usize,
    /// Plans per step.
    #[serde(default = "default_batch")]
    pub batch: usize,
    /// Adam's step size at first; it falls to a twentieth.
    #[serde(default = "default_rate")]
    pub learning_rate: f64,
}

fn default_batch() -> usize {
    64
}

fn default_rate() -> f64 {
    4e-4
}

impl Default for DistillConfig {
    fn default() -> Self {
        Self { seed: 0, steps: 2000, batch: default_batch(), learning_rate: default_rate() }
    }
}

impl DistillConfig {
    /// # Errors
    /// Numbers no training can have, with what would do.
    pub fn validate(&self) -> Result<(), ModelError> {
        let complaint = match () {
            () if self.steps == 0 => "no step at all; use 1 or more".to_owned(),
            () if !(1..=4096).contains(&self.batch) => {
                format!("a batch of {}; use 1 to 4096", self.batch)
            }
            () if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) => {
                format!("a learning rate of {}; use a number in (0, 1]", self.learning_rate)
            }
            () => return Ok(()),
        };
        Err(ModelError::Config(complaint))
    }
}

/// The diffusion times of the teacher's chain, noise first.
pub(super) fn times(schedule: &Schedule) -> Vec<usize> {
    schedule.trailing(TEACHER_STEPS)
}

/// Take what belongs to a student out of a Diffuser's weights, without prefix.
pub fn take(named: &mut NamedTensors) -> NamedTensors {
    weights::take_prefixed(named, PREFIX)
}
