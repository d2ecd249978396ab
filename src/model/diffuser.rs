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
use serde::{Deserialize, Serialize};

use super::ModelError;
use super::buckets::Buckets;
use super::guide::{GuideConfig, ReturnGuide};
use super::inpainting::Inpainting;
use super::learner::decayed;
use super::schedule::Schedule;
use crate::data::{Duration, LimitsNormalizer, WindowConfig};
use crate::nn::temporal_unet::{HostUnet, TemporalUnet, TemporalUnetConfig};

pub use super::preset::{DiffuserSection, Preset};

/// What the network predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parametrization {
    /// The clean plan, as the released code does.
    Clean,
    /// The noise, as the thesis writes.
    Noise,
}

/// Every number of a Diffuser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffuserConfig {
    /// Where the numbers come from.
    pub preset: Preset,
    /// State coordinates per waypoint.
    pub observation_dim: usize,
    /// Action coordinates per waypoint; 0 plans states alone.
    pub action_dim: usize,
    /// How many leading state coordinates a goal fixes.
    pub goal_dims: usize,
    /// Whether the goal fixes the whole last state, at rest.
    pub fixes_final_state: bool,
    /// Waypoints per plan in training; a fixed-duration model can plan others.
    pub waypoints: usize,
    /// Environment steps a plan spans.
    pub duration: Duration,
    /// Width of the U-Net's first level.
    pub width: usize,
    /// Width of every level as a multiple of `width`.
    pub multipliers: Vec<usize>,
    /// Diffusion times T.
    pub diffusion_steps: usize,
    /// What the network predicts.
    pub parametrization: Parametrization,
    /// Whether predicted clean plans are clipped to the data's limits.
    pub clip: bool,
    /// Plans per gradient.
    pub batch: usize,
    /// Gradients per optimizer step.
    pub accumulate: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Whether the step size falls to a twentieth along a half cosine.
    pub decay_learning_rate: bool,
    /// Decay of the averaged weights that plan.
    pub ema_decay: f32,
    /// Optimizer steps between updates of the average.
    pub ema_every: usize,
    /// Until this step the average is a copy.
    pub ema_start: usize,
    /// Ids of the policies in the data; the environment's own behavior if
    /// there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// The predictor of returns, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guide: Option<GuideConfig>,
}

impl DiffuserConfig {
    /// Numbers per waypoint.
    pub fn dims(&self) -> usize {
        self.action_dim + self.observation_dim
    }

    /// Whether the network is told how long the plan takes.
    pub fn takes_duration(&self) -> bool {
        matches!(self.duration, Duration::LogUniform { .. })
    }

    /// Shortest and longest duration in environment steps.
    pub fn duration_range(&self) -> [f32; 2] {
        self.duration.range()
    }

    /// Take over what may change while training goes on.
    pub(super) fn take_live(&mut self, other: &Self) {
        self.batch = other.batch;
        self.learning_rate = other.learning_rate;
    }

    /// Adam's step size once `progress`, from 0 to 1, of the budget is spent.
    pub fn learning_rate_at(&self, progress: f64) -> f64 {
        if !self.decay_learning_rate {
            return self.learning_rate;
        }
        decayed(self.learning_rate, progress)
    }

    /// The network's sizes.
    pub fn network(&self) -> TemporalUnetConfig {
        TemporalUnetConfig {
            channels: self.dims(),
            width: self.width,
            multipliers: self.multipliers.clone(),
            with_duration: self.takes_duration(),
        }
    }

    /// The windows it trains on.
    pub fn windows(&self) -> WindowConfig {
        WindowConfig {
            waypoints: self.waypoints,
            duration: self.duration,
            actions: self.action_dim > 0,
        }
    }

    /// # Errors
    /// Numbers no network can have, with what would do.
    pub fn validate(&self) -> Result<(), ModelError> {
        let refuse = |message: String| Err(ModelError::Config(message));
        let multiple = self.network().length_multiple();
        if self.multipliers.is_empty() || self.multipliers.len() > 6 {
            return refuse("multipliers must have 1 to 6 entries".into());
        }
        if self.multipliers.iter().any(|m| *m == 0 || *m > 32) {
            return refuse("every multiplier must be 1 to 32".into());
        }
        if self.waypoints < 2 * multiple
            || self.waypoints > 4096
            || !self.waypoints.is_multiple_of(multiple)
        {
            let found = self.waypoints;
            return refuse(format!(
                "{found} waypoints; use a multiple of {multiple} from {} to 4096",
                2 * multiple
            ));
        }
        let [min, max] = self.duration_range();
        if !(min >= 2.0 && min <= max && max <= 100_000.0) {
            return refuse(format!(
                "a duration of {min} to {max} steps; use 2 to 100000, shortest first"
            ));
        }
        if !(1..=1000).contains(&self.diffusion_steps) {
            return refuse(format!("{} diffusion steps; use 1 to 1000", self.diffusion_steps));
        }
        if !(1..=4096).contains(&self.batch) {
            return refuse(format!("a batch of {}; use 1 to 4096", self.batch));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return refuse(format!(
                "a learning rate of {}; use a number in (0, 1]",
                self.learning_rate
            ));
        }
        if let Some(guide) = &self.guide {
            guide.validate()?;
            if self.takes_duration() {
                return refuse(
                    "a guide needs plans of one fixed duration; use the quick-fixed preset".into(),
                );
            }
        }
        Ok(())
    }

    /// Environment steps from one waypoint to the next, in training.
    pub fn stride(&self) -> f32 {
        let [steps, _] = self.duration_range();
        steps / self.waypoints.saturating_sub(1).max(1) as f32
    }

    /// What is known of a plan of `waypoints`: the first state, and the goal
    /// at the end. Values in normalized units.
    pub fn endpoints(&self, waypoints: usize, first: &[f32], last: &[f32]) -> Inpainting {
        let mut known = Inpainting::new(waypoints, self.dims());
        known.fix(0, self.action_dim, first);
        let fixed = if self.fixes_final_state { self.observation_dim } else { self.goal_dims };
        known.fix(waypoints - 1, self.action_dim, &last[..fixed.min(last.len())]);
        known
    }
}

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

    /// `x` `[plans, waypoints, dims]` to the same shape.
    fn forward(
        &self,
        x: &[f32],
        shape: [usize; 3],
        t: usize,
        durations: &[f32],
        device: &Device,
    ) -> Result<Vec<f32>, ModelError> {
        let times = vec![t as f32; durations.len()];
        if let Some(host) = self.host.get_or_init(|| self.network.on_host()) {
            return Ok(host.forward(x, &times, durations));
        }
        let x = Tensor::<3>::from_data(TensorData::new(x.to_vec(), shape), device);
        self.network
            .forward(x, &times, durations)
            .try_into_data()
            .map_err(|error| ModelError::Device(error.to_string()))?
            .try_to_vec::<f32>()
            .map_err(|error| ModelError::Device(format!("{error:?}")))
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

    /// The clean plans tau_theta(x_t, t), `[plans, waypoints, dims]` in and
    /// out, normalized; one duration per plan.
    ///
    /// # Errors
    /// A lost device.
    pub fn predict_clean(
        &self,
        noisy: &[f32],
        waypoints: usize,
        t: usize,
        durations: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        let mut clean = self.forward(&self.network, noisy, waypoints, t, durations)?;
        if self.config.parametrization == Parametrization::Noise {
            let (signal, noise) = self.schedule.levels(t);
            for (clean, noisy) in clean.iter_mut().zip(noisy) {
                *clean = (noisy - noise * *clean) / signal;
            }
        }
        self.clip(&mut clean);
        Ok(clean)
    }

    /// Where the distilled network sees the chain end that is at x_t, in the
    /// shape of [`Diffuser::predict_clean`].
    ///
    /// # Errors
    /// No distilled network, or a lost device.
    pub fn predict_end(
        &self,
        noisy: &[f32],
        waypoints: usize,
        t: usize,
        durations: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        let student = self.student.as_ref().ok_or_else(|| {
            ModelError::Query(
                "these weights hold no distilled network; run `foresight distill` on the scene \
                 or choose another sampler"
                    .into(),
            )
        })?;
        let mut end = self.forward(student, noisy, waypoints, t, durations)?;
        self.clip(&mut end);
        Ok(end)
    }

    fn forward(
        &self,
        network: &Denoiser,
        noisy: &[f32],
        waypoints: usize,
        t: usize,
        durations: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        let (mut rows, mut durations) = (noisy.to_vec(), durations.to_vec());
        self.buckets.fill(&mut rows, waypoints * self.config.dims());
        self.buckets.fill(&mut durations, 1);
        let shape = [durations.len(), waypoints, self.config.dims()];
        let mut output = network.forward(&rows, shape, t, &durations, &self.device)?;
        output.truncate(noisy.len());
        Ok(output)
    }

    fn clip(&self, clean: &mut [f32]) {
        if self.config.clip {
            for value in clean {
                *value = value.clamp(-1.0, 1.0);
            }
        }
    }
}
