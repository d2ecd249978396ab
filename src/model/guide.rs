//! The guide of a Diffuser: a predictor of a plan's return, and its gradient.
//!
//! Janner et al. 2022, Section 3.2: J_phi(x_t, t) is the first half of the
//! temporal U-Net with a linear head, trained on noised windows. Its gradient
//! with respect to the plan pulls samples towards high returns.
//!
//!   target   G = sum_k g^k r_k / sum_k g^k, standardized over the data
//!   loss     (G - J_phi(x_t, t))^2, with the first state of x_t known
//!
//! Divided by the sum of its weights, a return has the same scale at every
//! horizon, and the network averages its last level over time with the same
//! weights, so one network serves every length a plan can have.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::ModelError;
use super::buckets::Buckets;
use super::diffuser::DiffuserConfig;
use super::reading::read;
use crate::nn::temporal_encoder::TemporalEncoder;
use crate::nn::temporal_unet::TemporalUnetConfig;
use crate::nn::weights::{self, NamedTensors, WeightsError};

/// In front of the names of a guide's weights, beside a Diffuser's.
pub(super) const PREFIX: &str = "guide.";
/// Name of mean and deviation of the returns, among a guide's weights.
pub(super) const SCALE: &str = "returns";

/// What a guide predicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuideConfig {
    /// Discount of a return per environment step.
    pub discount: f32,
    /// Width of its network's first level, a multiple of 8. A return is a
    /// simpler thing than a plan.
    #[serde(default = "default_width")]
    pub width: usize,
}

fn default_width() -> usize {
    16
}

impl GuideConfig {
    /// # Errors
    /// A discount outside of (0, 1], or a width no network has.
    pub fn validate(&self) -> Result<(), ModelError> {
        let complaint = match () {
            () if !(self.discount > 0.0 && self.discount <= 1.0) => {
                format!("a guide's discount of {}; use a number above 0 and up to 1", self.discount)
            }
            () if !(8..=256).contains(&self.width) || !self.width.is_multiple_of(8) => {
                format!("a guide of width {}; use a multiple of 8 up to 256", self.width)
            }
            () => return Ok(()),
        };
        Err(ModelError::Config(complaint))
    }

    /// The sizes of its network beside a Diffuser's.
    pub(super) fn network(&self, diffuser: &DiffuserConfig) -> TemporalUnetConfig {
        TemporalUnetConfig { width: self.width, ..diffuser.network() }
    }

    /// How much every waypoint counts, `stride` steps apart; sums to 1.
    pub fn weights(&self, waypoints: usize, stride: f32) -> Vec<f32> {
        let weight = |k: usize| self.discount.powf(k as f32 * stride);
        let total: f32 = (0..waypoints).map(weight).sum();
        (0..waypoints).map(|k| weight(k) / total.max(f32::MIN_POSITIVE)).collect()
    }
}

/// Mean and standard deviation of the returns in the data, per step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReturnScale {
    /// Mean reward per step.
    pub mean: f32,
    /// Standard deviation among windows, above 0.
    pub deviation: f32,
}

/// A trained predictor of returns.
pub struct ReturnGuide {
    config: GuideConfig,
    scale: ReturnScale,
    /// Steps between waypoints.
    stride: f32,
    /// Numbers per waypoint.
    dims: usize,
    network: TemporalEncoder,
    /// Tracks gradients.
    device: Device,
    buckets: Buckets,
}

impl ReturnGuide {
    /// Predict with `network`, which lives on the gradient-tracking `device`.
    pub fn new(
        config: GuideConfig,
        scale: ReturnScale,
        (stride, dims): (f32, usize),
        network: TemporalEncoder,
        device: Device,
    ) -> Self {
        let buckets = Buckets::of(&device);
        Self { config, scale, stride, dims, network, device, buckets }
    }

    /// The same with other batch sizes than its device's own.
    #[must_use]
    pub fn with_buckets(self, buckets: Buckets) -> Self {
        Self { buckets, ..self }
    }

    /// Random weights for `seed` beside a Diffuser, with returns of mean 0 and
    /// deviation 1; `device` must track gradients.
    pub fn random(
        config: &DiffuserConfig,
        guide: &GuideConfig,
        seed: u64,
        device: &Device,
    ) -> Self {
        let network = guide.network(config).init_encoder(seed.wrapping_add(1), device);
        let scale = ReturnScale { mean: 0.0, deviation: 1.0 };
        let shape = (config.stride(), config.dims());
        Self::new(guide.clone(), scale, shape, network, device.clone())
    }

    /// A guide from the weights that [`take_prefixed`] took; `device` must
    /// track gradients.
    ///
    /// # Errors
    /// Weights of another architecture, or without the scale of the returns.
    pub fn load(
        config: &DiffuserConfig,
        guide: &GuideConfig,
        mut named: NamedTensors,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let missing = || WeightsError::Missing(format!("{PREFIX}{SCALE}"));
        let scale = named.remove(SCALE).ok_or_else(missing)?;
        let [mean, deviation] = scale.values[..] else { return Err(missing().into()) };
        if !(mean.is_finite() && deviation.is_finite() && deviation > 0.0) {
            return Err(WeightsError::NotFinite(format!("{PREFIX}{SCALE}")).into());
        }
        let network = weights::import(guide.network(config).init_encoder(0, device), named)?;
        let scale = ReturnScale { mean, deviation };
        let shape = (config.stride(), config.dims());
        Ok(Self::new(guide.clone(), scale, shape, network, device.clone()))
    }

    /// Number of weights.
    pub fn n_parameters(&self) -> usize {
        self.network.num_params()
    }

    /// What it predicts.
    pub fn config(&self) -> &GuideConfig {
        &self.config
    }

    fn forward(&self, x: Tensor<3>, t: usize) -> Tensor<1> {
        let [plans, waypoints, _] = x.dims();
        let weights = self.config.weights(waypoints, self.stride);
        self.network.forward(x, &vec![t as f32; plans], &weights)
    }

    fn tensor(&self, plans: &[f32], waypoints: usize) -> Tensor<3> {
        let mut plans = plans.to_vec();
        self.buckets.fill(&mut plans, waypoints * self.dims);
        let n = plans.len() / (waypoints * self.dims).max(1);
        let data = TensorData::new(plans, [n, waypoints, self.dims]);
        Tensor::from_data(data, &self.device)
    }

    /// The discounted returns of normalized plans `[plans, waypoints, dims]`
    /// noised to diffusion time `t`, one per plan, in units of reward.
    ///
    /// # Errors
    /// A lost device.
    pub fn returns(
        &self,
        plans: &[f32],
        waypoints: usize,
        t: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let steps = (self.stride * waypoints.saturating_sub(1) as f32) as i32 + 1;
        let total: f32 = (0..steps).map(|k| self.config.discount.powi(k)).sum();
        let mut standardized = read(self.forward(self.tensor(plans, waypoints), t))?;
        standardized.truncate(plans.len() / (waypoints * self.dims).max(1));
        let value = |j: f32| total * (self.scale.mean + self.scale.deviation * j);
        Ok(standardized.into_iter().map(value).collect())
    }

    /// The gradient of every plan's standardized return with respect to that
    /// plan, in the shape of `plans`.
    ///
    /// # Errors
    /// A lost device.
    pub fn gradient(
        &self,
        plans: &[f32],
        waypoints: usize,
        t: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let mut gradient = read(self.slopes(self.tensor(plans, waypoints).inner(), t)?)?;
        gradient.truncate(plans.len());
        Ok(gradient)
    }

    /// The same of a whole batch on the guide's device, which stays there.
    ///
    /// # Errors
    /// A lost device.
    pub fn slopes(&self, plans: Tensor<3>, t: usize) -> Result<Tensor<3>, ModelError> {
        let x = Tensor::from_inner(plans).require_grad();
        let gradients = self.forward(x.clone(), t).sum().backward();
        x.grad(&gradients).ok_or_else(|| ModelError::Device("it gave no gradient".into()))
    }
}

/// Take what belongs to a guide out of a Diffuser's weights, without prefix.
pub fn take_prefixed(named: &mut NamedTensors) -> NamedTensors {
    weights::take_prefixed(named, PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn guide() -> ReturnGuide {
        let device = Device::flex().autodiff();
        let network = TemporalUnetConfig {
            channels: 3,
            width: 32,
            multipliers: vec![1, 2],
            with_duration: false,
        };
        ReturnGuide::new(
            GuideConfig { discount: 0.9, width: 32 },
            ReturnScale { mean: -3.0, deviation: 2.0 },
            (1.0, 3),
            network.init_encoder(4, &device),
            device,
        )
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences_at_every_horizon() {
        let guide = guide();
        for waypoints in [4, 8, 22] {
            let plans = Rng::stream(waypoints as u64, "plans").normals(2 * waypoints * 3);
            let gradient = guide.gradient(&plans, waypoints, 3).unwrap();
            assert_eq!(gradient.len(), plans.len());
            let total = |plans: &[f32]| -> f64 {
                // In standard deviations, as the gradient is.
                let steps: f32 = (0..waypoints as i32).map(|k| 0.9_f32.powi(k)).sum();
                let returns = guide.returns(plans, waypoints, 3).unwrap();
                returns.iter().map(|j| f64::from((j / steps + 3.0) / 2.0)).sum()
            };
            let largest = gradient.iter().fold(0.0_f32, |most, g| most.max(g.abs()));
            assert!(largest > 1e-3, "{largest}");
            for at in (0..plans.len()).step_by(5) {
                let h = 0.02;
                let shifted = |by: f32| {
                    let mut plans = plans.clone();
                    plans[at] += by;
                    total(&plans)
                };
                let numeric = ((shifted(h) - shifted(-h)) / f64::from(2.0 * h)) as f32;
                let error = (numeric - gradient[at]).abs();
                assert!(error < 0.02 * largest, "{at}: {numeric} and {}", gradient[at]);
            }
        }
    }

    #[test]
    fn plans_do_not_see_each_other() {
        let guide = guide();
        let plans = Rng::stream(1, "plans").normals(3 * 8 * 3);
        let alone = guide.gradient(&plans[24..48], 8, 0).unwrap();
        let together = guide.gradient(&plans, 8, 0).unwrap();
        let difference = |(a, b): (&f32, &f32)| (a - b).abs();
        assert!(alone.iter().zip(&together[24..48]).map(difference).all(|d| d < 1e-5));
    }

    #[test]
    fn weights_fall_with_the_discount_and_sum_to_one() {
        let config = GuideConfig { discount: 0.5, width: 16 };
        let weights = config.weights(4, 2.0);
        assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((weights[1] / weights[0] - 0.25).abs() < 1e-6);
        for bad in [0.0, 1.5, f32::NAN] {
            assert!(GuideConfig { discount: bad, width: 16 }.validate().is_err());
        }
        assert!(GuideConfig { discount: 0.9, width: 12 }.validate().is_err());
    }
}
