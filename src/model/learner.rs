//! What training a model means, whatever the model.

use burn::tensor::Tensor;

use super::{ModelError, ModelNumbers};
use crate::nn::adam::ModuleAdam;
use crate::nn::weights::NamedTensors;

/// A model in training, with its data.
pub trait Learner {
    /// Optimizer steps taken.
    fn step(&self) -> usize;
    /// Take one optimizer step, with `progress` of the budget spent, 0 to 1.
    /// The returned loss is still on the device; reading it is a sync point,
    /// and where a lost device may show.
    ///
    /// # Errors
    /// A lost device.
    fn train_step(&mut self, progress: f64) -> Result<Tensor<1>, ModelError>;
    /// Mean loss of the averaged weights on data they never train on, always
    /// the same draws of it; `None` without such data or where the loss says
    /// nothing, as a GAN's does. Leaves training as if it had not been asked.
    ///
    /// # Errors
    /// A lost device.
    fn held_out_loss(&mut self) -> Result<Option<f32>, ModelError>;
    /// The step size at `progress` of the budget.
    fn learning_rate_at(&self, progress: f64) -> f64;
    /// What takes the steps; it knows the gradient's norm.
    fn optimizer(&mut self) -> &mut ModuleAdam;
    /// Take up what may change while training goes on, see
    /// [`ModelNumbers::take_live`]; nothing of another model.
    fn tune(&mut self, numbers: &ModelNumbers);
    /// The averaged weights, on the host.
    ///
    /// # Errors
    /// A lost device.
    fn average(&self) -> Result<NamedTensors, ModelError>;
    /// Read everything back to the host.
    ///
    /// # Errors
    /// A lost device.
    fn state(&self) -> Result<LearnerState, ModelError>;
    /// Continue from `state`, of the same configuration and seed.
    ///
    /// # Errors
    /// Weights or optimizer state of another architecture; the learner is then
    /// not fit for use.
    fn restore(&mut self, state: LearnerState) -> Result<(), ModelError>;
}

/// Batches that [`Learner::held_out_loss`] looks at.
pub(super) const HELD_OUT_BATCHES: usize = 4;

/// A step size that falls to a twentieth of `rate` along a half cosine, as
/// `progress` goes from 0 to 1.
pub fn decayed(rate: f64, progress: f64) -> f64 {
    let cosine = (1.0 + (std::f64::consts::PI * progress.clamp(0.0, 1.0)).cos()) / 2.0;
    rate * (0.05 + 0.95 * cosine)
}

/// Everything needed to continue a run.
pub struct LearnerState {
    /// Optimizer steps taken.
    pub step: usize,
    /// Weights in training.
    pub network: NamedTensors,
    /// Averaged weights.
    pub average: NamedTensors,
    /// Adam's moments.
    pub optimizer: NamedTensors,
    /// Where the random stream stands.
    pub rng_position: u128,
}
