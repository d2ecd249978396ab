//! Beam search over a next-token model, the planner of the Trajectory
//! Transformer (Janner, Li & Levine 2021, "Offline Reinforcement Learning as
//! One Big Sequence Modeling Problem", Algorithm 1).
//!
//! [`search`] grows a [`BeamTree`] one token at a time behind the tokens of the
//! past and the present state. It knows neither the network nor the
//! environment: both hide behind [`TokenModel`].

pub mod drive;
mod filters;
mod likelihood;
pub mod predictor;
mod reward;
mod search;
mod settings;
mod stochastic;
mod tree;

#[cfg(test)]
mod tests;

pub use search::search;
pub use settings::{BeamRequest, BeamSettings, Edit, EditKind, SearchMode};
pub use tree::{BeamTree, NONE, Node};

use crate::data::TokenLayout;

/// Next-token scores with a cache; the Trajectory Transformer's decoder behind
/// it. Row `i` must not depend on what the other rows hold.
pub trait TokenModel {
    /// How a transition reads as tokens.
    fn layout(&self) -> TokenLayout;

    /// Tokens per row that fit, goals not counted.
    fn block(&self) -> usize;

    /// Forget everything and read `goal` and one or more equally long rows.
    /// Logits of the token after each row, `[rows, bins + 1]`.
    fn restart(&mut self, goal: &[u16], rows: &[&[u16]]) -> Vec<f32>;

    /// Row `i` continues the old row `parents[i]` with `tokens[i]`; parents may
    /// repeat or be left out. Logits `[parents.len(), bins + 1]`.
    fn step(&mut self, parents: &[usize], tokens: &[u16]) -> Vec<f32>;

    /// What a token stands for, in the units of dimension `dim`.
    fn center(&self, dim: usize, token: u16) -> f32;

    /// The mean over `probabilities`, `[bins + 1]`, in the units of dimension
    /// `dim`.
    fn expectation(&self, dim: usize, probabilities: &[f32]) -> f32;
}

/// A Q-function in place of the model's reward-to-go (Section 3.5: TT+Q).
pub trait ReturnEstimate {
    /// Q(s, a): the discounted return from taking `actions[i]` in `states[i]`,
    /// the reward of that step included. One finite number per row; states and
    /// actions in the units of [`TokenModel::center`].
    fn returns(&mut self, states: &[Vec<f32>], actions: &[Vec<f32>]) -> Vec<f32>;
}

/// Why a search cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SearchError(pub String);
