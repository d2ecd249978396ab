//! Windows of tokens over recorded paths: the sequences a model learns to
//! continue.
//!
//! A window is `L` transitions from any transition on. Where the model knows
//! its goal, the goal is drawn in hindsight from what the path reached later,
//! and the sequence stops behind it (Janner et al. 2021, Section 3.3).

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Binning, DataError, Discretizer, Paths, TokenKind, TokenLayout};
use crate::rng::Rng;

/// What a wrong guess of a token costs, by what the token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenWeights {
    /// Coordinates of the observation.
    pub state: f32,
    /// Coordinates of the action.
    pub action: f32,
    /// The reward.
    pub reward: f32,
    /// The reward-to-go.
    pub value: f32,
}

impl Default for TokenWeights {
    /// The released code's: actions count 5 times.
    fn default() -> Self {
        Self { state: 1.0, action: 5.0, reward: 1.0, value: 1.0 }
    }
}

impl TokenWeights {
    /// The weight of tokens of that kind.
    pub fn of(&self, kind: TokenKind) -> f32 {
        match kind {
            TokenKind::State => self.state,
            TokenKind::Action => self.action,
            TokenKind::Reward => self.reward,
            TokenKind::Return => self.value,
        }
    }
}

/// Windows drawn together.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenBatch {
    /// The tokens of the goals, `[n, G]`.
    pub goals: Vec<u16>,
    /// `[n, L * D]`.
    pub tokens: Vec<u16>,
    /// What a wrong guess of each token costs, `[n, L * D]`. The first token of
    /// a window has its weight as well, although nothing precedes it.
    pub weights: Vec<f32>,
}

/// Draws random windows of tokens from paths.
#[derive(Clone, Debug)]
pub struct TokenWindows {
    discretizer: Discretizer,
    goal_dims: Vec<usize>,
    transitions: usize,
    /// The weight of each coordinate of a transition, `[D]`.
    weights: Vec<f32>,
    /// `[transitions, D]`, shared by the two parts of a split.
    tokens: Arc<Vec<u16>>,
    /// The first transition of each path and, at the end, their number.
    starts: Arc<Vec<usize>>,
    /// The paths that windows are drawn from.
    paths: Range<usize>,
}

impl TokenWindows {
    /// Prepare to draw windows of `transitions` transitions from `paths`, whose
    /// goals fix the coordinates `goal_dims` of the stored observations.
    ///
    /// # Errors
    /// Windows of no transition, no paths or malformed ones, bins
    /// [`Discretizer::validate`] refuses, weights below 0, or a layout that
    /// does not fit the paths and the goal.
    pub fn new(
        paths: Arc<Paths>,
        discretizer: Discretizer,
        goal_dims: Vec<usize>,
        transitions: usize,
        weights: TokenWeights,
    ) -> Result<Self, DataError> {
        let layout = discretizer.layout;
        discretizer.validate()?;
        check(&paths, &layout)?;
        if goal_dims.len() != layout.goals || goal_dims.iter().any(|&dim| dim >= layout.states) {
            return Err(DataError::Malformed(format!(
                "a goal of {} tokens cannot fix the coordinates {goal_dims:?} of {}",
                layout.goals, layout.states
            )));
        }
        let weights: Vec<f32> =
            (0..layout.per_transition()).map(|dim| weights.of(layout.kind(dim))).collect();
        if !weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0) {
            return Err(DataError::Malformed(format!(
                "the weights {weights:?} of the tokens must be finite and not negative"
            )));
        }
        if transitions == 0 || paths.is_empty() {
            return Err(DataError::TooShort(format!(
                "windows of {transitions} transitions cannot be drawn from {}",
                paths.len()
            )));
        }
        let mut tokens = Vec::with_capacity(paths.len() * layout.per_transition());
        for i in 0..paths.len() {
            let row = numbers(&paths, &layout, i);
            tokens.extend(row.enumerate().map(|(dim, value)| discretizer.encode(dim, value)));
        }
        Ok(Self {
            discretizer,
            goal_dims,
            transitions,
            weights,
            tokens: Arc::new(tokens),
            starts: Arc::new(paths.starts.clone()),
            paths: 0..paths.paths(),
        })
    }

    /// Other weights from the next batch on; below 0 and NaN count as 0.
    pub fn reweigh(&mut self, weights: TokenWeights) {
        let layout = self.layout();
        let of = |dim| weights.of(layout.kind(dim)).clamp(0.0, f32::MAX).max(0.0);
        self.weights = (0..layout.per_transition()).map(of).collect();
    }

    /// Between numbers and tokens.
    pub fn discretizer(&self) -> &Discretizer {
        &self.discretizer
    }

    /// How a transition reads.
    pub fn layout(&self) -> TokenLayout {
        self.discretizer.layout
    }

    /// Transitions per window, L.
    pub fn transitions(&self) -> usize {
        self.transitions
    }

    /// Number of windows, one from every transition.
    pub fn len(&self) -> usize {
        self.rows().len()
    }

    /// Whether there is no window.
    pub fn is_empty(&self) -> bool {
        self.rows().is_empty()
    }

    /// The tokens of every path, `[len, D]` each.
    pub fn sequences(&self) -> impl Iterator<Item = &[u16]> {
        let dims = self.weights.len();
        let starts = &self.starts[self.paths.start..=self.paths.end];
        starts.windows(2).map(move |ends| &self.tokens[ends[0] * dims..ends[1] * dims])
    }

    /// Keep a `share` of the paths, the last ones, out of training. Returns
    /// what is left and what is held out; neither is empty if there are two
    /// paths or more and `share` lies between 0 and 1.
    #[must_use]
    pub fn split(self, share: f64) -> (Self, Self) {
        let n = self.paths.len();
        let held_out = match share {
            share if share > 0.0 && share < 1.0 && n > 1 => {
                ((n as f64 * share).round() as usize).clamp(1, n - 1)
            }
            share if share >= 1.0 => n,
            _ => 0,
        };
        let cut = self.paths.end - held_out;
        let left = Self { paths: self.paths.start..cut, ..self.clone() };
        (left, Self { paths: cut..self.paths.end, ..self })
    }

    /// Draw `n` windows, each from a uniformly drawn transition on; none if
    /// there is no path.
    ///
    /// With goals, half of them are where the path ends and half where it is at
    /// a uniformly drawn later transition. Behind the goal's transition all
    /// tokens are the stop token, and one transition of those is to be guessed.
    /// Without goals the stop token fills what lies beyond the path, and nobody
    /// has to guess it: the clock ended the path, not the world.
    pub fn batch(&self, n: usize, rng: &mut Rng) -> TokenBatch {
        let n = if self.is_empty() { 0 } else { n };
        let size = n * self.transitions * self.weights.len();
        let mut batch = TokenBatch {
            goals: Vec::with_capacity(n * self.goal_dims.len()),
            tokens: Vec::with_capacity(size),
            weights: Vec::with_capacity(size),
        };
        for _ in 0..n {
            let start = self.rows().start + rng.below(self.len());
            let path_end = self.starts[self.starts.partition_point(|&first| first <= start)];
            let end = match self.goal_dims.is_empty() {
                true => path_end,
                false => {
                    let goal = draw_goal(start, path_end, rng);
                    let row = &self.tokens[goal * self.weights.len()..];
                    batch.goals.extend(self.goal_dims.iter().map(|&dim| row[dim]));
                    goal + 1
                }
            };
            self.push_window(&mut batch, start, end);
        }
        batch
    }

    /// The transitions windows may start at.
    fn rows(&self) -> Range<usize> {
        self.starts[self.paths.start]..self.starts[self.paths.end]
    }

    /// Append the window from transition `start` on, of which `end` is the
    /// first that reads as stop tokens.
    fn push_window(&self, batch: &mut TokenBatch, start: usize, end: usize) {
        let dims = self.weights.len();
        let known = self.transitions.min(end - start);
        batch.tokens.extend_from_slice(&self.tokens[start * dims..(start + known) * dims]);
        let stops = (self.transitions - known) * dims;
        batch.tokens.extend(std::iter::repeat_n(self.layout().stop(), stops));
        let stop_counts = !self.goal_dims.is_empty();
        for k in 0..self.transitions {
            if k < known || (k == known && stop_counts) {
                batch.weights.extend_from_slice(&self.weights);
            } else {
                batch.weights.extend(std::iter::repeat_n(0.0, dims));
            }
        }
    }
}

/// The transition whose state is the goal of a window that starts at `start`,
/// later than `start` where the path goes on.
fn draw_goal(start: usize, path_end: usize, rng: &mut Rng) -> usize {
    let later = path_end - 1 - start;
    match rng.below(2) {
        0 => path_end - 1,
        _ if later == 0 => start,
        _ => start + 1 + rng.below(later),
    }
}

/// Refuse paths that do not hold what `layout` reads.
fn check(paths: &Paths, layout: &TokenLayout) -> Result<(), DataError> {
    paths.validate()?;
    if paths.observation_dim != layout.states || paths.action_dim != layout.actions {
        return Err(DataError::Malformed(format!(
            "paths of {} + {} numbers cannot be read as {} states and {} actions",
            paths.observation_dim, paths.action_dim, layout.states, layout.actions
        )));
    }
    if layout.rewards && paths.returns.is_empty() {
        return Err(DataError::Malformed(
            "the paths have no rewards-to-go; collect them with a discount".into(),
        ));
    }
    Ok(())
}

/// The D numbers of transition `i`.
fn numbers(paths: &Paths, layout: &TokenLayout, i: usize) -> impl Iterator<Item = f32> {
    let paid = layout.rewards.then(|| [paths.rewards[i], paths.returns[i]]);
    let moved = paths.observation(i).iter().chain(paths.action(i)).copied();
    moved.chain(paid.into_iter().flatten())
}

/// Bins for `paths`: those of states and actions as `binning` says, those of
/// rewards and rewards-to-go by quantiles, because they crowd near one end.
///
/// # Errors
/// Paths that do not fit `layout`, or what [`Discretizer::fit`] refuses.
pub fn discretize(
    paths: &Paths,
    layout: TokenLayout,
    binning: Binning,
) -> Result<Discretizer, DataError> {
    check(paths, &layout)?;
    let mut columns = vec![Vec::with_capacity(paths.len()); layout.per_transition()];
    for i in 0..paths.len() {
        for (column, value) in columns.iter_mut().zip(numbers(paths, &layout, i)) {
            column.push(value);
        }
    }
    let binnings: Vec<Binning> = (0..columns.len())
        .map(|dim| match layout.kind(dim) {
            TokenKind::State | TokenKind::Action => binning,
            TokenKind::Reward | TokenKind::Return => Binning::Quantile,
        })
        .collect();
    Discretizer::fit(layout, &columns, &binnings)
}

#[cfg(test)]
mod tests;
