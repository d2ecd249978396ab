//! Every number of a Diffuser, and what they say of its network and its data.

use serde::{Deserialize, Serialize};

use super::ModelError;
use super::guide::GuideConfig;
use super::inpainting::Inpainting;
use super::learner::decayed;
use super::preset::Preset;
use crate::data::{Duration, WindowConfig};
use crate::nn::temporal_unet::TemporalUnetConfig;

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
