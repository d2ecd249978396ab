//! Every number of a Trajectory Transformer, and the presets they start from.
//!
//! `paper` holds the thesis's values (Appendix B), `code` those of the released
//! repository where the two differ (quantile bins, a higher learning rate),
//! `quick` ours: half the width, windows as long as a context and a plan
//! together so that a search never has to read its context again, averaged
//! weights, no dropout because simulated data do not run out.

use serde::{Deserialize, Serialize};

use super::learner::decayed;
use super::{ModelError, Preset};
use crate::data::{Binning, TokenLayout, TokenWeights};
use crate::env::EnvironmentSpec;
use crate::nn::decoder::DecoderShape;

/// Most bins per number.
const MAX_BINS: usize = 1024;

/// The model section of a Trajectory Transformer's scene.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrajectorySection {
    /// Where unspecified numbers come from.
    pub preset: Preset,
    /// Weights file, relative to the scene file. Without it the weights are
    /// random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Policies of the environment that make the data, each as often; the
    /// environment's first one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Vec<String>>,
    /// Whether transitions hold rewards and rewards-to-go, for reward-
    /// maximizing search; if absent, where the environment has no goals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewards: Option<bool>,
    /// Observation coordinates the model sees, by number; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation: Option<Vec<usize>>,
    /// Environment steps per transition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// Transitions per window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transitions: Option<usize>,
    /// Whether a token attends to its own transition alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub markov: Option<bool>,
    /// Blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Attention heads per block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// Width of the residual stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// Bins per number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bins: Option<usize>,
    /// How bins divide states and actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binning: Option<Binning>,
    /// Share of numbers dropped in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f32>,
    /// Windows per training step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// AdamW's step size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// What a wrong guess of an action costs; of anything else it costs 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_weight: Option<f32>,
}

/// How the step size runs over the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateSchedule {
    /// The released code's 50 epochs: linear warm-up over the first, a half
    /// cosine to a tenth until the 20th, constant from there.
    Code,
    /// Linear warm-up over 2 % of the budget, a half cosine to a twentieth.
    Cosine,
}

/// Every number of a Trajectory Transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrajectoryConfig {
    /// Where the numbers come from.
    pub preset: Preset,
    /// How a transition reads as tokens.
    pub layout: TokenLayout,
    /// Observation coordinates the model sees.
    pub observation: Vec<usize>,
    /// Those of them, by their place among the seen, that a goal fixes.
    pub goal_dims: Vec<usize>,
    /// Policies that make the data.
    pub policies: Vec<String>,
    /// Environment steps per transition.
    pub stride: usize,
    /// Transitions per window.
    pub transitions: usize,
    /// Discount of the reward-to-go, per transition.
    pub discount: f32,
    /// Whether a token attends to its own transition alone.
    pub markov: bool,
    /// Blocks.
    pub layers: usize,
    /// Attention heads per block.
    pub heads: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// How bins divide states and actions; rewards have quantiles.
    pub binning: Binning,
    /// Loss weights by kind of token.
    pub weights: TokenWeights,
    /// Share of numbers dropped in training.
    pub dropout: f32,
    /// Windows per training step.
    pub batch: usize,
    /// AdamW's step size.
    pub learning_rate: f64,
    /// How the step size runs over the budget.
    pub schedule: RateSchedule,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Decay of the averaged weights; 0 keeps the newest.
    pub ema_decay: f32,
}

impl TrajectorySection {
    /// Every number, for an environment.
    ///
    /// # Errors
    /// Numbers no model can have, with what would do.
    pub fn resolve(&self, spec: &EnvironmentSpec) -> Result<TrajectoryConfig, ModelError> {
        let mut config = match self.preset {
            Preset::Paper => self.paper(spec),
            Preset::Code => TrajectoryConfig {
                binning: Binning::Quantile,
                learning_rate: 6e-4,
                ..self.paper(spec)
            },
            Preset::Quick => self.quick(spec),
            Preset::QuickFixed => {
                let presets = "a Trajectory Transformer has the presets paper, code and quick";
                return Err(ModelError::Config(presets.into()));
            }
        };
        config.stride = self.stride.unwrap_or(config.stride);
        config.transitions = self.transitions.unwrap_or(config.transitions);
        config.markov = self.markov.unwrap_or(config.markov);
        config.layers = self.layers.unwrap_or(config.layers);
        config.heads = self.heads.unwrap_or(config.heads);
        config.width = self.width.unwrap_or(config.width);
        config.layout.bins = self.bins.unwrap_or(config.layout.bins);
        config.binning = self.binning.unwrap_or(config.binning);
        config.dropout = self.dropout.unwrap_or(config.dropout);
        config.batch = self.batch.unwrap_or(config.batch);
        config.learning_rate = self.learning_rate.unwrap_or(config.learning_rate);
        config.weights.action = self.action_weight.unwrap_or(config.weights.action);
        config.validate()?;
        Ok(config)
    }

    fn paper(&self, spec: &EnvironmentSpec) -> TrajectoryConfig {
        let rewards = self.rewards.unwrap_or(spec.goal_dims.is_empty());
        let all = (0..spec.observation.len()).collect();
        let observation: Vec<usize> = self.observation.clone().unwrap_or(all);
        // A model that maximizes reward is not told a goal.
        let goals = if rewards { &[][..] } else { &spec.goal_dims[..] };
        let place = |goal: &usize| observation.iter().position(|seen| seen == goal);
        let goal_dims: Vec<usize> = goals.iter().filter_map(place).collect();
        TrajectoryConfig {
            preset: self.preset,
            layout: TokenLayout {
                states: observation.len(),
                actions: spec.action.len(),
                rewards,
                goals: goal_dims.len(),
                bins: 100,
            },
            observation,
            goal_dims,
            policies: self.policies.clone().unwrap_or_default(),
            stride: 1,
            transitions: 10,
            discount: 0.99,
            markov: false,
            layers: 4,
            heads: 4,
            width: 128,
            binning: Binning::Uniform,
            weights: TokenWeights { state: 1.0, action: 5.0, reward: 1.0, value: 1.0 },
            dropout: 0.1,
            batch: 256,
            learning_rate: 2.5e-4,
            schedule: RateSchedule::Code,
            weight_decay: 0.1,
            ema_decay: 0.0,
        }
    }

    fn quick(&self, spec: &EnvironmentSpec) -> TrajectoryConfig {
        TrajectoryConfig {
            transitions: 20,
            width: 64,
            dropout: 0.0,
            batch: 32,
            learning_rate: 2e-3,
            schedule: RateSchedule::Cosine,
            ema_decay: 0.995,
            ..self.paper(spec)
        }
    }
}

impl TrajectoryConfig {
    /// The network's sizes. A window's last token is never read, only
    /// predicted.
    pub fn network(&self) -> DecoderShape {
        DecoderShape {
            layers: self.layers,
            heads: self.heads,
            width: self.width,
            layout: self.layout,
            positions: self.transitions * self.layout.per_transition() - 1,
            markov: self.markov,
        }
    }

    /// Take over what may change while training goes on.
    pub(super) fn take_live(&mut self, other: &Self) {
        self.batch = other.batch;
        self.learning_rate = other.learning_rate;
        self.weights = other.weights;
    }

    /// AdamW's step size once `progress`, from 0 to 1, of the budget is spent.
    pub fn learning_rate_at(&self, progress: f64) -> f64 {
        const WARM_UP: f64 = 0.02;
        let warm = (progress / WARM_UP).clamp(0.02, 1.0);
        warm * match self.schedule {
            RateSchedule::Cosine => decayed(self.learning_rate, progress),
            RateSchedule::Code => {
                let share = ((progress - WARM_UP) / (0.4 - WARM_UP)).clamp(0.0, 1.0);
                let cosine = (1.0 + (std::f64::consts::PI * share).cos()) / 2.0;
                self.learning_rate * cosine.max(0.1)
            }
        }
    }

    /// # Errors
    /// Numbers no model can have, with what would do.
    pub fn validate(&self) -> Result<(), ModelError> {
        let refuse = |message: String| Err(ModelError::Config(message));
        let layout = &self.layout;
        if layout.states == 0 || layout.states != self.observation.len() {
            return refuse("observation must name one coordinate or more".into());
        }
        if layout.goals != self.goal_dims.len()
            || self.goal_dims.iter().any(|dim| *dim >= layout.states)
        {
            return refuse("the goal fixes coordinates that the model does not see".into());
        }
        if !layout.rewards && layout.goals == 0 {
            return refuse(
                "without goals there must be rewards to search for; set model.rewards = true, \
                 or let the model see the coordinates of the goal"
                    .into(),
            );
        }
        let sizes = [
            ("bins", layout.bins, 2, MAX_BINS),
            ("stride", self.stride, 1, 1000),
            ("transitions", self.transitions, 2, 256),
            ("layers", self.layers, 1, 32),
            ("heads", self.heads, 1, 16),
            ("width", self.width, 1, 1024),
            ("batch", self.batch, 1, 4096),
        ];
        for (name, value, least, most) in sizes {
            if !(least..=most).contains(&value) {
                return refuse(format!("{name} of {value}; use {least} to {most}"));
            }
        }
        if !self.width.is_multiple_of(self.heads) {
            return refuse(format!(
                "a width of {} does not divide into {} heads; use a multiple",
                self.width, self.heads
            ));
        }
        if !(0.0..0.9).contains(&self.dropout) {
            return refuse(format!("a dropout of {}; use 0 to below 0.9", self.dropout));
        }
        if !(0.0..1.0).contains(&self.discount) {
            return refuse(format!("a discount of {}; use 0 to below 1", self.discount));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            let rate = self.learning_rate;
            return refuse(format!("a learning rate of {rate}; use a number in (0, 1]"));
        }
        Ok(())
    }
}
