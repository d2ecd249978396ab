//! Every number of a gamma-model.

use serde::{Deserialize, Deserializer, Serialize};

use super::learner::decayed;
use super::{ModelError, Preset};
use crate::env::StateDimension;
use crate::nn::fused::spline::{MAX_BINS, Topology};
use crate::nn::gan::GanConfig;
use crate::nn::spline_flow::SplineFlowConfig;

/// Most policies of one network.
const MAX_POLICIES: usize = 16;

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

/// Every number of a gamma-model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GammaConfig {
    /// Where the numbers come from.
    pub preset: Preset,
    /// The Markov policies it predicts; told which one where there are several.
    #[serde(alias = "policy", deserialize_with = "one_or_several")]
    pub policies: Vec<String>,
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
    /// Whether the flow has what the released one adds to the thesis's.
    #[serde(default, skip_serializing_if = "is_false")]
    pub as_released: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A list of names, or the name alone that older weights hold.
fn one_or_several<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Names::deserialize(from)? {
        Names::One(name) => vec![name],
        Names::Several(names) => names,
    })
}

impl GammaConfig {
    /// The row of `policies` that a question names; the first if it names none.
    ///
    /// # Errors
    /// A policy these weights were not trained for.
    pub fn policy_row(&self, name: Option<&str>) -> Result<usize, ModelError> {
        let Some(name) = name else { return Ok(0) };
        self.policies.iter().position(|known| known == name).ok_or_else(|| {
            ModelError::Query(format!(
                "this model does not predict the policy \"{name}\"; choose one of: {}",
                self.policies.join(", ")
            ))
        })
    }

    /// The policy a question names; the first if it names none.
    ///
    /// # Errors
    /// As for [`GammaConfig::policy_row`].
    pub fn policy_name(&self, name: Option<&str>) -> Result<&str, ModelError> {
        let row = self.policy_row(name)?;
        Ok(self.policies.get(row).map_or("", String::as_str))
    }

    /// Numbers that tell the network its policy: none where there is only one.
    pub fn n_policy_flags(&self) -> usize {
        if self.policies.len() > 1 { self.policies.len() } else { 0 }
    }

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
            as_released: self.as_released,
        }
    }

    /// Numbers in a condition: state, goal, action, whether the action is
    /// known, discount, policy.
    pub fn n_condition(&self) -> usize {
        let features = |dimension: &StateDimension| match topology(dimension) {
            Topology::Line => 1 + 2 * self.harmonics,
            Topology::Circle => 2 * self.harmonics.max(1),
        };
        let state: usize = self.state.iter().map(features).sum();
        let goal: usize = self.goal_dims.iter().map(|dim| features(&self.state[*dim])).sum();
        let discount = if self.takes_discount() { 2 } else { 0 };
        let action = self.action_dim + usize::from(self.masks_action);
        state + goal + action + discount + self.n_policy_flags()
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
        let is_twice =
            |name: &String| self.policies.iter().filter(|other| *other == name).count() > 1;
        if !(1..=MAX_POLICIES).contains(&self.policies.len()) || self.policies.iter().any(is_twice)
        {
            return refuse(format!("name 1 to {MAX_POLICIES} different policies"));
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
