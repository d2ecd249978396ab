//! Training a Diffuser's guide beside it: the same noised windows, cut to
//! random lengths, with their returns as targets.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use super::ModelError;
use super::diffuser::DiffuserConfig;
use super::guide::{GuideConfig, PREFIX, ReturnGuide, ReturnScale, SCALE, take_prefixed};
use crate::data::Windows;
use crate::nn::adam::ModuleAdam;
use crate::nn::ema;
use crate::nn::temporal_encoder::TemporalEncoder;
use crate::nn::weights::{self, HostTensor, NamedTensors};
use crate::rng::Rng;

/// Windows from which mean and deviation of the returns are taken.
const SCALE_WINDOWS: usize = 4096;

/// A guide in training.
pub(super) struct GuideLearner {
    config: GuideConfig,
    scale: ReturnScale,
    network: TemporalEncoder,
    average: TemporalEncoder,
    optimizer: ModuleAdam,
    /// Tracks gradients.
    device: Device,
}

/// A noised batch `[n, waypoints, dims]`, as the Diffuser sees it.
pub(super) struct GuideBatch<'a> {
    /// Noised plans with known entries in place.
    pub x: &'a [f32],
    /// Diffusion times, `[n]`.
    pub times: &'a [f32],
    /// The steps the windows start at, `[n]`.
    pub starts: &'a [usize],
}

impl GuideLearner {
    /// A fresh network for `seed` on the gradient-tracking `device`.
    pub(super) fn new(
        config: &DiffuserConfig,
        guide: &GuideConfig,
        windows: &Windows,
        seed: u64,
        device: &Device,
    ) -> Self {
        let network = guide.network(config).init_encoder(seed.wrapping_add(1), device);
        let mut rng = Rng::stream(seed, "guide");
        let [duration, _] = config.duration_range();
        let starts = windows.batch(SCALE_WINDOWS, &mut rng).starts;
        let returns: Vec<f64> = starts
            .iter()
            .map(|start| f64::from(windows.mean_reward(*start, duration, guide.discount)))
            .collect();
        let mean = returns.iter().sum::<f64>() / returns.len().max(1) as f64;
        let squares: f64 = returns.iter().map(|value| (value - mean).powi(2)).sum();
        // Where every window pays the same there is nothing to tell apart.
        let deviation = (squares / returns.len().max(1) as f64).sqrt().max(1e-6);
        Self {
            config: guide.clone(),
            scale: ReturnScale { mean: mean as f32, deviation: deviation as f32 },
            average: network.valid(),
            network,
            optimizer: ModuleAdam::default(),
            device: device.clone(),
        }
    }

    /// One optimizer step; the loss is still on the device. Every batch has
    /// another length, drawn from `rng`, so that the guide is right at all of
    /// them.
    pub(super) fn train_step(
        &mut self,
        config: &DiffuserConfig,
        windows: &Windows,
        batch: &GuideBatch,
        (rate, decay): (f64, f32),
        rng: &mut Rng,
    ) -> Tensor<1> {
        let (full, dims) = (config.waypoints, config.dims());
        let multiple = config.network().length_multiple();
        let waypoints = multiple * (2 + rng.below(full / multiple - 1));
        let stride = config.stride();
        let duration = stride * (waypoints - 1) as f32;
        let cut: Vec<f32> = batch
            .x
            .chunks_exact(full * dims)
            .flat_map(|plan| plan[..waypoints * dims].iter().copied())
            .collect();
        let targets: Vec<f32> = batch
            .starts
            .iter()
            .map(|start| {
                let reward = windows.mean_reward(*start, duration, self.config.discount);
                (reward - self.scale.mean) / self.scale.deviation
            })
            .collect();
        let (n, device) = (targets.len(), &self.device);
        let x = Tensor::<3>::from_data(TensorData::new(cut, [n, waypoints, dims]), device);
        let target = Tensor::<1>::from_data(TensorData::new(targets, [n]), device);
        let weights = self.config.weights(waypoints, stride);
        let output = self.network.forward(x, batch.times, &weights);
        let loss = (output - target).square().mean();
        let grads = GradientsParams::from_grads(loss.backward(), &self.network);
        self.network = self.optimizer.step(rate, self.network.clone(), grads);
        self.average = ema::update(self.average.clone(), &self.network, decay);
        loss.inner()
    }

    /// Averaged weights and the scale of the returns, under [`PREFIX`].
    pub(super) fn export_average(&self) -> Result<NamedTensors, ModelError> {
        let mut named = prefixed(weights::export(&self.average)?);
        let values = vec![self.scale.mean, self.scale.deviation];
        named.insert(format!("{PREFIX}{SCALE}"), HostTensor { shape: vec![2], values });
        Ok(named)
    }

    /// Weights in training and Adam's moments, under [`PREFIX`].
    pub(super) fn export(&self) -> Result<[NamedTensors; 2], ModelError> {
        let network = prefixed(weights::export(&self.network.valid())?);
        Ok([network, prefixed(self.optimizer.export()?)])
    }

    /// Continue from weights in training, averaged weights and moments without
    /// their prefix.
    pub(super) fn restore(
        &mut self,
        [network, mut average, optimizer]: [NamedTensors; 3],
        step: usize,
    ) -> Result<(), ModelError> {
        average.remove(SCALE);
        self.network = weights::import(self.network.clone(), network)?;
        self.average = weights::import(self.average.clone(), average)?;
        Ok(self.optimizer.import(&optimizer, step, &self.device.clone().inner())?)
    }

    /// Ready to guide.
    pub(super) fn guide(&self, config: &DiffuserConfig) -> Result<ReturnGuide, ModelError> {
        let mut named = self.export_average()?;
        ReturnGuide::load(config, &self.config, take_prefixed(&mut named), &self.device)
    }
}

fn prefixed(named: NamedTensors) -> NamedTensors {
    weights::prefixed(named, PREFIX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::{Duration, Episodes};
    use crate::model::diffuser::Parametrization;
    use crate::model::diffuser_learner::DiffuserLearner;
    use crate::model::learner::Learner;
    use crate::model::preset::Preset;

    fn config() -> DiffuserConfig {
        DiffuserConfig {
            preset: Preset::QuickFixed,
            observation_dim: 1,
            action_dim: 1,
            goal_dims: 0,
            fixes_final_state: false,
            waypoints: 16,
            duration: Duration::Fixed { steps: 15.0 },
            width: 8,
            multipliers: vec![1, 2],
            diffusion_steps: 8,
            parametrization: Parametrization::Clean,
            clip: true,
            batch: 16,
            accumulate: 1,
            learning_rate: 2e-3,
            decay_learning_rate: false,
            ema_decay: 0.9,
            ema_every: 1,
            ema_start: 0,
            policies: Vec::new(),
            guide: Some(GuideConfig { discount: 0.95, width: 8 }),
        }
    }

    /// Stretches at levels from -1 to 1, whose reward is that level.
    fn windows() -> Windows {
        let mut episodes = Episodes::with_capacity(1, 1, 0);
        let mut rng = Rng::stream(0, "levels");
        for stretch in 0..60 {
            let level = (stretch % 21) as f32 / 10.0 - 1.0;
            for step in 0..24 {
                episodes.observations.push(level + 0.05 * rng.normal());
                episodes.actions.push(0.5 * rng.normal());
                episodes.rewards.push(10.0 * level);
                episodes.terminals.push(step == 23);
                episodes.timeouts.push(false);
            }
        }
        Windows::new(Arc::new(episodes), config().windows()).unwrap()
    }

    #[test]
    fn training_tells_good_windows_from_bad_ones_at_every_horizon() {
        let mut learner = DiffuserLearner::new(config(), windows(), 0, Device::flex());
        for _ in 0..400 {
            learner.train_step(0.0).unwrap();
        }
        let diffuser = learner.diffuser().unwrap();
        let guide = diffuser.guide().unwrap();
        for waypoints in [4, 8, 16] {
            let plan = |level: f32| -> Vec<f32> {
                let mut plan: Vec<f32> = (0..waypoints).flat_map(|_| [0.0, level]).collect();
                diffuser.normalizer.normalize(&mut plan);
                plan
            };
            let plans: Vec<f32> = [-0.9, 0.0, 0.9].into_iter().flat_map(plan).collect();
            let returns = guide.returns(&plans, waypoints, 0).unwrap();
            let total: f32 = (0..waypoints as i32).map(|k| 0.95_f32.powi(k)).sum();
            for (value, reward) in returns.iter().zip([-9.0, 0.0, 9.0]) {
                let error = (value / total - reward).abs();
                assert!(error < 2.5, "{waypoints}: {} where {reward} is right", value / total);
            }
            // Uphill is where the level rises, for plans as noisy as time 2.
            let (signal, noise) = diffuser.schedule.levels(2);
            let mut rng = Rng::stream(7, "noise");
            let noisy: Vec<f32> = std::iter::repeat_n(plan(0.0), 32)
                .flatten()
                .map(|value| signal * value + noise * rng.normal())
                .collect();
            let gradient = guide.gradient(&noisy, waypoints, 2).unwrap();
            let slope: f32 = gradient.iter().skip(1).step_by(2).sum::<f32>() / 32.0;
            assert!(slope > 0.3, "{waypoints}: {slope}");
        }
    }

    #[test]
    fn a_run_continues_bit_by_bit_with_its_guide() {
        let learner = || DiffuserLearner::new(config(), windows(), 3, Device::flex());
        let mut whole = learner();
        for _ in 0..6 {
            whole.train_step(0.0).unwrap();
        }
        let mut first = learner();
        for _ in 0..3 {
            first.train_step(0.0).unwrap();
        }
        let mut second = learner();
        second.restore(first.state().unwrap()).unwrap();
        for _ in 0..3 {
            second.train_step(0.0).unwrap();
        }
        let (whole, second) = (whole.state().unwrap(), second.state().unwrap());
        assert_eq!(whole.network, second.network);
        assert_eq!(whole.average, second.average);
        assert!(whole.average.contains_key("guide.returns"));
        assert!(whole.average.keys().any(|name| name.starts_with("guide.mid_block1.")));
    }

    #[test]
    fn a_guide_leaves_the_training_of_its_diffuser_alone() {
        // The guide draws lengths from the same stream, so batches differ; the
        // weights both start from do not.
        let without = DiffuserConfig { guide: None, ..config() };
        let without = DiffuserLearner::new(without, windows(), 3, Device::flex());
        let with = DiffuserLearner::new(config(), windows(), 3, Device::flex());
        let (without, mut with) = (without.state().unwrap(), with.state().unwrap());
        assert!(!take_prefixed(&mut with.network).is_empty());
        assert_eq!(without.network, with.network);
    }
}
