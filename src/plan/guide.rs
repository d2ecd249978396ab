//! Guided sampling: every denoising step moves plans along the gradient of
//! their predicted return.
//!
//! Algorithm 5 of Janner's thesis takes one step at the mean of each reverse
//! transition, mu + alpha Sigma grad J(mu). The released code takes several at
//! the noisy plan before the mean is computed, and none at the last times.

use serde::{Deserialize, Serialize};

use super::denoise::Chain;
use crate::model::ModelError;

/// Where the gradient is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuideMethod {
    /// Once, at the mean of the next plan (the thesis).
    #[default]
    Mean,
    /// `steps` times, at the noisy plan (the released code).
    Noisy,
}

/// What the gradient is multiplied by beside the scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuideWeight {
    /// The variance of the step; what the released `scale_grad_by_std` does.
    #[default]
    Variance,
    /// Its standard deviation, as that name says.
    Deviation,
    /// Nothing.
    One,
}

/// How plans are guided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuideSettings {
    /// The factor alpha of the gradient of the standardized return; 0 samples
    /// without a guide.
    pub scale: f32,
    /// Where the gradient is taken.
    pub method: GuideMethod,
    /// Gradient steps per denoising step of [`GuideMethod::Noisy`].
    pub steps: usize,
    /// What else the gradient is multiplied by.
    pub weight: GuideWeight,
    /// No guidance below this diffusion time; the released `t_stopgrad`.
    pub stop_below: usize,
    /// The gradient of states grows from 0 at the first waypoint to its full
    /// size at this one, as the square: that is how the variance of what can be
    /// reached grows, and near the known state plans must not jump. 0 pulls at
    /// all alike, as the published samplers do.
    pub ramp: usize,
}

impl GuideSettings {
    /// How much of the gradient each entry of a plan of `waypoints` and `dims`
    /// feels, 0 to 1, with the state from `first` on.
    pub fn shares(&self, waypoints: usize, dims: usize, first: usize) -> Vec<f32> {
        let share = |waypoint, dim| if dim < first { 1.0 } else { self.share(waypoint) };
        (0..waypoints * dims).map(|entry| share(entry / dims, entry % dims)).collect()
    }

    /// How much of the gradient a waypoint's state feels, 0 to 1.
    pub fn share(&self, waypoint: usize) -> f32 {
        match self.ramp {
            0 => 1.0,
            ramp => (waypoint as f32 / ramp as f32).min(1.0).powi(2),
        }
    }
}

impl Default for GuideSettings {
    /// The released code's numbers, no guidance, at the mean.
    fn default() -> Self {
        Self {
            scale: 0.0,
            method: GuideMethod::Mean,
            steps: 2,
            weight: GuideWeight::Variance,
            stop_below: 2,
            ramp: 0,
        }
    }
}

/// A guide at work.
#[derive(Clone, Copy, Debug)]
pub struct Guide<'a> {
    /// How it guides.
    pub settings: &'a GuideSettings,
}

impl Guide<'_> {
    fn acts(&self, t: usize) -> bool {
        self.settings.scale != 0.0 && t >= self.settings.stop_below
    }

    /// What the gradient is multiplied by in a step of this variance.
    fn rate(&self, variance: f64) -> f32 {
        let weight = match self.settings.weight {
            GuideWeight::Variance => variance,
            GuideWeight::Deviation => variance.sqrt(),
            GuideWeight::One => 1.0,
        };
        self.settings.scale * weight as f32
    }

    /// Before the forward pass at time t, with the variance of the step.
    pub(super) fn at_noisy<C: Chain>(
        &self,
        (t, variance): (usize, f64),
        chain: &mut C,
        mut x: C::Plans,
    ) -> Result<C::Plans, ModelError> {
        if self.settings.method == GuideMethod::Noisy && self.acts(t) {
            for _ in 0..self.settings.steps {
                x = chain.climb(x, t, self.rate(variance))?;
                x = chain.fix(x);
            }
        }
        Ok(x)
    }

    /// At the mean of the plan at time s, which a step from t reached.
    pub(super) fn at_mean<C: Chain>(
        &self,
        (t, s, variance): (usize, usize, f64),
        chain: &mut C,
        mean: C::Plans,
    ) -> Result<C::Plans, ModelError> {
        if self.settings.method == GuideMethod::Mean && self.acts(t) {
            return chain.climb(mean, s, self.rate(variance));
        }
        Ok(mean)
    }
}
