//! Every number of a gamma-model, and the presets they start from.
//!
//! `paper` holds the thesis's values (Table A.2), `code` those of the released
//! repository where the two differ (a lower discount for sampling than for the
//! target, a burn-in, weight decay), `quick` ours: maximum likelihood on
//! multi-step targets, one model for all discounts and for unknown actions.
//! All three put angles on a circle instead of in ambient space.

use serde::{Deserialize, Serialize};

use super::learner::decayed;
use super::{ModelError, Preset};
use crate::env::{EnvironmentSpec, StateDimension};
use crate::nn::fused::spline::{MAX_BINS, Topology};
use crate::nn::gan::GanConfig;
use crate::nn::spline_flow::SplineFlowConfig;

/// What the flow is fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Squared error between log-densities (Algorithm 3).
    LogDensity,
    /// Likelihood of samples of the same target.
    Likelihood,
    /// A generator against a discriminator (Algorithm 2), with the original
    /// non-saturating loss. No density.
    Gan,
    /// The same with least squares (Mao et al. 2017).
    LeastSquaresGan,
}

impl Objective {
    /// Whether a generator is trained instead of a flow.
    pub fn is_adversarial(self) -> bool {
        matches!(self, Objective::Gan | Objective::LeastSquaresGan)
    }
}

/// The model section of a gamma-model's scene.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GammaSection {
    /// Where unspecified numbers come from.
    pub preset: Preset,
    /// The Markov policy it predicts, a row of the environment's.
    pub policy: String,
    /// Weights file, relative to the scene file. Without it the weights are
    /// random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Smallest and largest discount it learns; equal for a single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount: Option<[f32; 2]>,
    /// Couplings per pair of coordinates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub couplings: Option<usize>,
    /// Bins per spline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bins: Option<usize>,
    /// Width of the conditioners' three hidden layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<usize>,
    /// Standard deviation of the target's Gaussian, as a share of half a
    /// coordinate's range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f32>,
    /// What it is fitted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// Most steps of a target before it bootstraps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_steps: Option<usize>,
    /// Pairs per training step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Adam's step size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

/// Every number of a gamma-model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GammaConfig {
    /// Where the numbers come from.
    pub preset: Preset,
    /// The Markov policy it predicts.
    pub policy: String,
    /// The state space its densities live on.
    pub state: Vec<StateDimension>,
    /// Numbers per action.
    pub action_dim: usize,
    /// The state coordinates a goal fixes.
    pub goal_dims: Vec<usize>,
    /// Smallest and largest discount; equal for a single one.
    pub discount: [f32; 2],
    /// Discount of the sampling mixture where it differs from the target's.
    pub sample_discount: Option<f32>,
    /// Steps at the start during which the discount is at most a half.
    pub burn_in: usize,
    /// Couplings per pair of coordinates.
    pub couplings: usize,
    /// Bins per spline.
    pub bins: usize,
    /// Width of the conditioners' hidden layers.
    pub hidden: usize,
    /// Hidden layers of a conditioner.
    pub layers: usize,
    /// Sines and cosines by which coordinates are seen.
    pub harmonics: usize,
    /// Standard deviation of the target's Gaussian per coordinate, in its
    /// units.
    pub noise: Vec<f32>,
    /// What it is fitted to.
    pub objective: Objective,
    /// Target states per pair in a training step; only a generator takes
    /// more than one.
    pub samples_per_pair: usize,
    /// Most steps of a target before it bootstraps; 1 in the thesis.
    pub target_steps: usize,
    /// Whether it also learns the density for the policy's own, unknown
    /// action.
    pub masks_action: bool,
    /// Pairs per training step.
    pub batch: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Whether the step size falls to a twentieth along a half cosine.
    pub decay_learning_rate: bool,
    /// L2 penalty added to the gradient, as PyTorch's Adam has it.
    pub weight_decay: f32,
    /// Decay of the target network, 1 - tau.
    pub ema_decay: f32,
}

impl GammaSection {
    /// Every number, for an environment.
    ///
    /// # Errors
    /// Numbers no model can have, with what would do.
    pub fn resolve(&self, spec: &EnvironmentSpec) -> Result<GammaConfig, ModelError> {
        let adversarial = self.objective.is_some_and(Objective::is_adversarial);
        let mut config = match self.preset {
            _ if adversarial => self.generator(spec),
            Preset::Quick => self.quick(spec),
            Preset::Paper => self.paper(spec),
            Preset::Code => GammaConfig {
                sample_discount: Some(0.9),
                burn_in: 2000,
                weight_decay: 1e-5,
                ..self.paper(spec)
            },
            Preset::QuickFixed => {
                return Err(ModelError::Config(
                    "a gamma-model has the presets paper, code and quick".into(),
                ));
            }
        };
        config.discount = self.discount.unwrap_or(config.discount);
        config.couplings = self.couplings.unwrap_or(config.couplings);
        config.bins = self.bins.unwrap_or(config.bins);
        config.hidden = self.hidden.unwrap_or(config.hidden);
        config.objective = self.objective.unwrap_or(config.objective);
        config.target_steps = self.target_steps.unwrap_or(config.target_steps);
        config.batch = self.batch.unwrap_or(config.batch);
        config.learning_rate = self.learning_rate.unwrap_or(config.learning_rate);
        if let Some(noise) = self.noise {
            config.noise = relative_noise(spec, noise);
        }
        config.validate()?;
        Ok(config)
    }

    fn paper(&self, spec: &EnvironmentSpec) -> GammaConfig {
        GammaConfig {
            preset: self.preset,
            policy: self.policy.clone(),
            state: spec.state.clone(),
            action_dim: spec.action.len(),
            goal_dims: spec.goal_dims.clone(),
            discount: [0.99; 2],
            sample_discount: None,
            burn_in: 0,
            couplings: 6,
            bins: 16,
            hidden: 256,
            layers: 3,
            harmonics: 1,
            // sigma^2 = 1e-2 in the coordinates' own units.
            noise: vec![0.1; spec.state.len()],
            objective: Objective::LogDensity,
            samples_per_pair: 1,
            target_steps: 1,
            masks_action: false,
            batch: 1024,
            learning_rate: 1e-4,
            decay_learning_rate: false,
            weight_decay: 0.0,
            ema_decay: 0.995,
        }
    }

    /// Algorithm 2: Table A.2's GAN under `paper` and `code`, fewer samples
    /// and one network for all discounts under `quick`.
    fn generator(&self, spec: &EnvironmentSpec) -> GammaConfig {
        let paper = GammaConfig {
            layers: 2,
            // A delta at s', as in the thesis.
            noise: vec![0.0; spec.state.len()],
            batch: 128,
            samples_per_pair: 512,
            ..self.paper(spec)
        };
        match self.preset {
            Preset::Quick => GammaConfig {
                discount: [0.0, 0.99],
                harmonics: 4,
                target_steps: 100,
                masks_action: true,
                samples_per_pair: 16,
                ..paper
            },
            _ => paper,
        }
    }

    fn quick(&self, spec: &EnvironmentSpec) -> GammaConfig {
        GammaConfig {
            discount: [0.0, 0.99],
            hidden: 128,
            harmonics: 8,
            noise: relative_noise(spec, 0.005),
            objective: Objective::Likelihood,
            target_steps: 100,
            masks_action: true,
            batch: 512,
            learning_rate: 1e-3,
            decay_learning_rate: true,
            ..self.paper(spec)
        }
    }
}

fn relative_noise(spec: &EnvironmentSpec, share: f32) -> Vec<f32> {
    spec.state.iter().map(|dimension| share * (dimension.high - dimension.low) / 2.0).collect()
}

impl GammaConfig {
    /// Whether one model serves a range of discounts.
    pub fn takes_discount(&self) -> bool {
        self.discount[1] > self.discount[0]
    }

    /// The generator's and discriminator's sizes.
    pub fn gan(&self) -> GanConfig {
        GanConfig {
            coordinates: self.state.iter().map(topology).collect(),
            // Unstated in the thesis; enough for any shape in this space.
            latent: 2 * self.state.len() + 4,
            condition: self.n_condition(),
            hidden: self.hidden,
            layers: self.layers,
        }
    }

    /// The flow's sizes.
    pub fn network(&self) -> SplineFlowConfig {
        SplineFlowConfig {
            coordinates: self.state.iter().map(topology).collect(),
            couplings: SplineFlowConfig::take_turns(self.state.len(), self.couplings),
            bins: self.bins,
            hidden: self.hidden,
            layers: self.layers,
            condition: self.n_condition(),
            harmonics: self.harmonics,
        }
    }

    /// Numbers in a condition: state, goal, action, whether the action is
    /// known, discount.
    pub fn n_condition(&self) -> usize {
        let features = |dimension: &StateDimension| match topology(dimension) {
            Topology::Line => 1 + 2 * self.harmonics,
            Topology::Circle => 2 * self.harmonics.max(1),
        };
        let state: usize = self.state.iter().map(features).sum();
        let goal: usize = self.goal_dims.iter().map(|dim| features(&self.state[*dim])).sum();
        let discount = if self.takes_discount() { 2 } else { 0 };
        state + goal + self.action_dim + usize::from(self.masks_action) + discount
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

    /// # Errors
    /// Numbers no model can have, with what would do.
    pub fn validate(&self) -> Result<(), ModelError> {
        let refuse = |message: String| Err(ModelError::Config(message));
        let adversarial = self.objective.is_adversarial();
        if self.state.is_empty() || self.goal_dims.iter().any(|dim| *dim >= self.state.len()) {
            return refuse("the state space has no such coordinates".into());
        }
        if self.state.iter().any(|d| !(d.low.is_finite() && d.high.is_finite() && d.low < d.high)) {
            return refuse("every state coordinate needs a lower and an upper end".into());
        }
        let [low, high] = self.discount;
        if !(low >= 0.0 && low <= high && high < 1.0) {
            return refuse(format!(
                "discounts of {low} to {high}; use numbers from 0 to below 1, smallest first"
            ));
        }
        let sizes = [
            ("couplings", self.couplings, 2, 32),
            ("bins", self.bins, 2, MAX_BINS),
            ("hidden", self.hidden, 1, 4096),
            ("target_steps", self.target_steps, 1, 100_000),
            ("batch", self.batch, 1, 65_536),
            ("samples_per_pair", self.samples_per_pair, 1, 4096),
        ];
        for (name, value, least, most) in sizes {
            if !(least..=most).contains(&value) {
                return refuse(format!("{name} of {value}; use {least} to {most}"));
            }
        }
        if self.noise.len() != self.state.len()
            || !self.noise.iter().all(|s| (*s > 0.0 || adversarial) && (0.0..1e3).contains(s))
        {
            return refuse("the noise must be a number above 0 for every coordinate".into());
        }
        if self.objective == Objective::LogDensity && self.target_steps > 1 {
            return refuse(
                "the log-density objective needs target_steps = 1: only there is the target's density known".into(),
            );
        }
        if self.samples_per_pair > 1 && !adversarial {
            return refuse("only a GAN takes more than one sample per pair".into());
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            let rate = self.learning_rate;
            return refuse(format!("a learning rate of {rate}; use a number in (0, 1]"));
        }
        Ok(())
    }
}

/// What a coordinate lives on.
pub fn topology(dimension: &StateDimension) -> Topology {
    if dimension.periodic { Topology::Circle } else { Topology::Line }
}
