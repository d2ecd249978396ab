//! The Trajectory Transformer: a trajectory as one long sequence of tokens.
//!
//! Janner, Li, Levine: Offline Reinforcement Learning as One Big Sequence
//! Modeling Problem, NeurIPS 2021.
//!
//!   tokens     every number of s_t, a_t, r_t, R_t in one of V bins
//!   model      P(tau) = prod_i P(tau_i | tau_1 .. tau_{i-1})
//!   goals      P(tau | s_T) by the goal's tokens in front (Section 4.3)
//!   to-go      R_t = sum_{k >= 0} g^k r_{t+1+k}, without r_t itself, as released
//!
//! Goals are relabeled from the same trajectory, so that the data need none of
//! their own.

use super::ModelError;
use crate::data::Discretizer;
use crate::nn::decoder::Decoder;
use crate::nn::weights::NamedTensors;

pub use super::trajectory_config::{RateSchedule, TrajectoryConfig, TrajectorySection};

/// A trained Trajectory Transformer, on the host: its matrices are so small
/// that a search's many steps of few rows lose more on the way to a GPU than
/// they gain there.
pub struct TrajectoryModel {
    /// Every number of the model.
    pub config: TrajectoryConfig,
    /// Numbers to tokens and back.
    pub discretizer: Discretizer,
    decoder: Decoder,
    n_parameters: usize,
}

impl TrajectoryModel {
    /// A model of `weights`.
    ///
    /// # Errors
    /// Weights or bins of another architecture.
    pub fn new(
        config: TrajectoryConfig,
        discretizer: Discretizer,
        weights: &NamedTensors,
    ) -> Result<Self, ModelError> {
        config.validate()?;
        discretizer.validate().map_err(|error| ModelError::Config(error.to_string()))?;
        if discretizer.layout != config.layout {
            return Err(ModelError::Config("its bins belong to another kind of transition".into()));
        }
        let decoder = Decoder::new(config.network(), weights)?;
        let n_parameters = weights.values().map(|tensor| tensor.values.len()).sum();
        Ok(Self { config, discretizer, decoder, n_parameters })
    }

    /// Number of weights.
    pub fn n_parameters(&self) -> usize {
        self.n_parameters
    }

    /// The network.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// What the model sees of an observation.
    pub fn seen(&self, observation: &[f32]) -> Vec<f32> {
        self.config.observation.iter().filter_map(|dim| observation.get(*dim).copied()).collect()
    }

    /// The tokens of what the model sees of an observation.
    ///
    /// # Errors
    /// A number that is not finite, or too few numbers.
    pub fn state_tokens(&self, observation: &[f32]) -> Result<Vec<u16>, ModelError> {
        let seen = self.seen(observation);
        if seen.len() != self.config.layout.states || seen.iter().any(|value| !value.is_finite()) {
            return Err(ModelError::Query(
                "the state needs one ordinary number per coordinate".into(),
            ));
        }
        let tokens = seen.iter().enumerate();
        Ok(tokens.map(|(dim, value)| self.discretizer.encode(dim, *value)).collect())
    }

    /// The tokens of a goal; none where the model takes no goal.
    ///
    /// # Errors
    /// A number that is not finite, or another count than the model's.
    pub fn goal_tokens(&self, goal: &[f32]) -> Result<Vec<u16>, ModelError> {
        if self.config.layout.goals == 0 {
            return Ok(Vec::new());
        }
        if goal.len() != self.config.layout.goals || goal.iter().any(|value| !value.is_finite()) {
            return Err(ModelError::Query(
                "the goal needs one ordinary number per coordinate".into(),
            ));
        }
        Ok(self.discretizer.goal(&self.config.goal_dims, goal))
    }

    /// The tokens of the rest of a transition: its action and, for a model
    /// that knows rewards, the reward and any reward-to-go, which nobody
    /// reads.
    pub fn outcome_tokens(&self, action: &[f32], reward: f32) -> Vec<u16> {
        let layout = &self.config.layout;
        let actions = action.iter().take(layout.actions).enumerate();
        let mut tokens: Vec<u16> = actions
            .map(|(dim, value)| self.discretizer.encode(layout.states + dim, *value))
            .collect();
        if layout.rewards {
            tokens.push(self.discretizer.encode(layout.states + layout.actions, reward));
            tokens.push(0);
        }
        tokens
    }
}
