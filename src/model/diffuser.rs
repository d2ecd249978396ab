//! Diffuser: planning as denoising a whole trajectory.
//!
//! Janner, Du, Tenenbaum, Levine: Planning with Diffusion for Flexible Behavior
//! Synthesis, ICML 2022. A plan tau is `[waypoints, dims]` with actions first
//! (if planned) and states after them.
//!
//!   forward      x_t = sqrt(abar_t) tau + sqrt(1 - abar_t) eps
//!   loss         || tau - tau_theta(x_t, t) ||^2   (clean-plan parametrization)
//!                || eps - eps_theta(x_t, t) ||^2   (noise parametrization)
//!   conditioning known entries of x_t are overwritten before every forward
//!
//! Ours on top: plans of few waypoints over a variable duration, which enters
//! as a second embedding beside the diffusion time.

use std::sync::OnceLock;

use burn::tensor::{Device, Tensor, TensorData};

use super::ModelError;
use super::buckets::Buckets;
use super::guide::ReturnGuide;
use super::reading;
use super::schedule::Schedule;
use crate::data::LimitsNormalizer;
use crate::nn::temporal_unet::{HostUnet, TemporalUnet};

pub use super::diffuser_config::{DiffuserConfig, Parametrization};
pub use super::preset::{DiffuserSection, Preset};

/// A trained Diffuser, ready to denoise.
pub struct Diffuser {
    /// Every number of the model.
    pub config: DiffuserConfig,
    /// Noise levels.
    pub schedule: Schedule,
    /// Data limits of every plan coordinate.
    pub normalizer: LimitsNormalizer,
    network: Denoiser,
    student: Option<Denoiser>,
    guide: Option<ReturnGuide>,
    device: Device,
    buckets: Buckets,
}

/// One of a Diffuser's networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that learned from data, to denoise from any time.
    Teacher,
    /// The one that was distilled from it, to jump to the end of the chain.
    Student,
}

/// A network and, for plans, the same on the host with packed weights.
struct Denoiser {
    network: TemporalUnet,
    /// Made for the first plan; `None` inside where the network is elsewhere.
    host: OnceLock<Option<HostUnet>>,
}

impl Denoiser {
    fn new(network: TemporalUnet) -> Self {
        Self { network, host: OnceLock::new() }
    }

    fn host(&self) -> Option<&HostUnet> {
        self.host.get_or_init(|| self.network.on_host()).as_ref()
    }
}

impl Diffuser {
    /// Plans with `network`, which must be free of autodiff.
    pub fn new(
        config: DiffuserConfig,
        normalizer: LimitsNormalizer,
        network: TemporalUnet,
        device: Device,
    ) -> Self {
        let schedule = Schedule::cosine(config.diffusion_steps);
        let buckets = Buckets::of(&device);
        let network = Denoiser::new(network);
        let (student, guide) = (None, None);
        Self { config, schedule, normalizer, network, student, guide, device, buckets }
    }

    /// The same with other batch sizes than its device's own.
    #[must_use]
    pub fn with_buckets(mut self, buckets: Buckets) -> Self {
        self.buckets = buckets;
        self.guide = self.guide.map(|guide| guide.with_buckets(buckets));
        self
    }

    /// Where its networks are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How its batches are filled up.
    pub fn buckets(&self) -> Buckets {
        self.buckets
    }

    /// The same with a predictor of returns.
    pub fn with_guide(mut self, guide: Option<ReturnGuide>) -> Self {
        self.guide = guide;
        self
    }

    /// The same with a distilled network, which must be free of autodiff.
    pub fn with_student(mut self, student: Option<TemporalUnet>) -> Self {
        self.student = student.map(Denoiser::new);
        self
    }

    /// Whether it has a distilled network.
    pub fn has_student(&self) -> bool {
        self.student.is_some()
    }

    /// What predicts the return of a plan, if the model has it.
    pub fn guide(&self) -> Option<&ReturnGuide> {
        self.guide.as_ref()
    }

    /// Number of weights.
    pub fn n_parameters(&self) -> usize {
        let guide = self.guide.as_ref().map_or(0, ReturnGuide::n_parameters);
        burn::module::Module::num_params(self.network()) + guide
    }

    /// The network that plans.
    pub fn network(&self) -> &TemporalUnet {
        &self.network.network
    }

    /// Whether its networks run on the host, where slices are at home.
    pub fn is_on_host(&self) -> bool {
        self.network.host().is_some()
    }

    /// Numbers as a batch on its device, `[plans, waypoints, dims]`, filled up
    /// to one of the device's sizes.
    pub fn upload(&self, mut plans: Vec<f32>, waypoints: usize) -> Tensor<3> {
        let size = waypoints * self.config.dims();
        self.buckets.fill(&mut plans, size);
        let shape = [plans.len() / size.max(1), waypoints, self.config.dims()];
        Tensor::from_data(TensorData::new(plans, shape), &self.device)
    }

    /// The clean plans tau_theta(x_t, t) for noisy ones, `[plans, waypoints,
    /// dims]` in and out, normalized; one duration per plan. From the student,
    /// where it sees the chain end that is at x_t.
    ///
    /// # Errors
    /// No distilled network, or a lost device.
    pub fn predict(
        &self,
        which: Which,
        noisy: &[f32],
        waypoints: usize,
        t: usize,
        durations: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        let Some(host) = self.denoiser(which)?.host() else {
            let x = self.upload(noisy.to_vec(), waypoints);
            let mut found = reading::read(self.predict_there(which, x, t, durations)?)?;
            found.truncate(noisy.len());
            return Ok(found);
        };
        let (mut rows, mut durations) = (noisy.to_vec(), durations.to_vec());
        self.buckets.fill(&mut rows, waypoints * self.config.dims());
        self.buckets.fill(&mut durations, 1);
        let mut found = host.forward(&rows, &vec![t as f32; durations.len()], &durations);
        found.truncate(noisy.len());
        if let Some((signal, noise)) = self.predicts_noise(which, t) {
            for (found, noisy) in found.iter_mut().zip(noisy) {
                *found = (noisy - noise * *found) / signal;
            }
        }
        if self.config.clip {
            found.iter_mut().for_each(|value| *value = value.clamp(-1.0, 1.0));
        }
        Ok(found)
    }

    /// The same of an uploaded batch, which stays on the device; durations of
    /// the plans that do not fill it up.
    ///
    /// # Errors
    /// No distilled network.
    pub fn predict_there(
        &self,
        which: Which,
        noisy: Tensor<3>,
        t: usize,
        durations: &[f32],
    ) -> Result<Tensor<3>, ModelError> {
        let mut durations = durations.to_vec();
        self.buckets.fill(&mut durations, 1);
        let times = vec![t as f32; durations.len()];
        let network = &self.denoiser(which)?.network;
        let mut found = network.forward(noisy.clone(), &times, &durations);
        if let Some((signal, noise)) = self.predicts_noise(which, t) {
            found = (noisy - found * noise) / signal;
        }
        Ok(if self.config.clip { found.clamp(-1.0, 1.0) } else { found })
    }

    fn denoiser(&self, which: Which) -> Result<&Denoiser, ModelError> {
        let missing = || {
            ModelError::Query(
                "these weights hold no distilled network; run `foresight distill` on the scene \
                 or choose another sampler"
                    .into(),
            )
        };
        match which {
            Which::Teacher => Ok(&self.network),
            Which::Student => self.student.as_ref().ok_or_else(missing),
        }
    }

    /// The levels at `t` with which predicted noise becomes a clean plan;
    /// `None` where the clean plan is what is predicted.
    fn predicts_noise(&self, which: Which, t: usize) -> Option<(f32, f32)> {
        let is_noise = self.config.parametrization == Parametrization::Noise;
        (which == Which::Teacher && is_noise).then(|| self.schedule.levels(t))
    }
}
