//! What a search grew, as plain host data that any thread may hold.

use std::ops::Range;
use std::sync::Arc;

use crate::data::TokenLayout;

/// The parent of a node at depth 0.
pub const NONE: u32 = u32::MAX;

/// One token of one continuation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// Index of the token before it, or [`NONE`].
    pub parent: u32,
    /// The token; the layout's stop token ends its path.
    pub token: u16,
    /// Tokens between the context and this one.
    pub depth: u32,
    /// Log-probability of this token, before any filter and temperature.
    pub log_prob: f32,
    /// Sum of the log-probabilities down to here.
    pub total: f32,
    /// Return from the present state on, as of the last whole transition:
    /// discounted expected rewards plus the reward-to-go behind them. NaN
    /// before the first transition is whole, and for models without rewards.
    pub value: f32,
    /// Whether it survived the selection at its token, or for
    /// [`super::SearchMode::Reward`] at its transition.
    pub kept: bool,
}

/// The continuations of one context that a search looked at, token by token.
#[derive(Clone, Debug)]
pub struct BeamTree {
    /// How a transition reads as tokens.
    pub layout: TokenLayout,
    /// What the model read at the start: the newest part of the request's
    /// context.
    pub context: Arc<[u16]>,
    /// Parents before children, depth by depth.
    pub nodes: Vec<Node>,
    /// The nodes of each depth.
    pub levels: Vec<Range<usize>>,
    /// The last node of the best continuation, or of the best so far.
    pub best: Option<usize>,
    /// Whether the search has come to its end.
    pub done: bool,
}

impl BeamTree {
    /// A tree without nodes.
    pub(super) fn new(layout: TokenLayout, context: Arc<[u16]>) -> Self {
        Self { layout, context, nodes: Vec::new(), levels: Vec::new(), best: None, done: false }
    }

    /// Which number of its transition a token at `depth` is.
    pub fn dim(&self, depth: usize) -> usize {
        (self.layout.states + depth) % self.layout.per_transition()
    }

    /// The transition a token at `depth` belongs to; 0 is that of the present
    /// state.
    pub fn transition(&self, depth: usize) -> usize {
        (self.layout.states + depth) / self.layout.per_transition()
    }

    /// The nodes from depth 0 down to `node`, both included.
    pub fn path(&self, node: usize) -> Vec<usize> {
        let mut path: Vec<usize> = self.up(node).collect();
        path.reverse();
        path
    }

    /// The tokens after the context, down to `node`: the path of an
    /// [`super::Edit`].
    pub fn tokens(&self, node: usize) -> Vec<u16> {
        self.path(node).into_iter().map(|node| self.nodes[node].token).collect()
    }

    /// The nodes of `depth` that were kept. Continuations that ended earlier
    /// have none.
    pub fn survivors(&self, depth: usize) -> impl Iterator<Item = usize> + '_ {
        let level = self.levels.get(depth).cloned().unwrap_or(0..0);
        level.filter(|node| self.nodes[*node].kept)
    }

    /// The tokens of the best continuation.
    pub fn best_tokens(&self) -> Option<Vec<u16>> {
        self.best.map(|node| self.tokens(node))
    }

    /// Per node, whether the best continuation passes through it.
    pub fn chosen(&self) -> Vec<bool> {
        let mut chosen = vec![false; self.nodes.len()];
        for node in self.best.into_iter().flat_map(|node| self.up(node)) {
            chosen[node] = true;
        }
        chosen
    }

    /// The state that `node` completes, one number per state coordinate in the
    /// units of `center(dim, token)`; `None` for other nodes.
    pub fn state(&self, node: usize, center: &dyn Fn(usize, u16) -> f32) -> Option<Vec<f32>> {
        self.completes_state(node).then(|| {
            let tokens = self.tail(node as u32, self.layout.states);
            decode(&tokens, 0, center)
        })
    }

    /// The present state, behind which the tree grows.
    pub fn present(&self, center: &dyn Fn(usize, u16) -> f32) -> Vec<f32> {
        decode(&self.context[self.context.len() - self.layout.states..], 0, center)
    }

    /// The nearest node above `node` that completes a state; `None` where that
    /// is the present state.
    pub fn parent_state(&self, node: usize) -> Option<usize> {
        self.up(node).skip(1).find(|node| self.completes_state(*node))
    }

    /// How wide the beam is: the root mean square distance of the states kept
    /// at a time from their mean, over the state's numbers in the units of
    /// `center`, on average over transitions. `None` where no two were kept.
    pub fn spread(&self, center: &dyn Fn(usize, u16) -> f32) -> Option<f32> {
        let widths = (0..self.levels.len()).filter_map(|depth| self.width(depth, center));
        let (n, sum) = widths.fold((0_usize, 0.0), |(n, sum), width| (n + 1, sum + width));
        (n > 0).then(|| sum / n as f32)
    }

    fn width(&self, depth: usize, center: &dyn Fn(usize, u16) -> f32) -> Option<f32> {
        let kept: Vec<Vec<f32>> =
            self.survivors(depth).filter_map(|node| self.state(node, center)).collect();
        if kept.len() < 2 {
            return None;
        }
        let n = kept.len() as f32;
        let variance = |dim: usize| {
            let mean = kept.iter().map(|state| state[dim]).sum::<f32>() / n;
            kept.iter().map(|state| (state[dim] - mean).powi(2)).sum::<f32>() / n
        };
        Some((0..self.layout.states).map(variance).sum::<f32>().sqrt())
    }

    fn completes_state(&self, node: usize) -> bool {
        let Node { depth, token, .. } = self.nodes[node];
        self.dim(depth as usize) + 1 == self.layout.states && token != self.layout.stop()
    }

    /// `node` and the nodes above it, upwards.
    fn up(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(node), |node| {
            let parent = self.nodes[*node].parent;
            (parent != NONE).then_some(parent as usize)
        })
    }

    /// The last `n` tokens down to `node` ([`NONE`] for the context's end),
    /// reaching back into the context.
    pub(super) fn tail(&self, node: u32, n: usize) -> Vec<u16> {
        let mut tokens = Vec::with_capacity(n);
        if node != NONE {
            tokens.extend(self.up(node as usize).take(n).map(|node| self.nodes[node].token));
        }
        let missing = n - tokens.len();
        tokens.extend(self.context.iter().rev().take(missing));
        tokens.reverse();
        tokens
    }
}

/// The numbers that tokens stand for, the first of dimension `dim`.
pub(super) fn decode(tokens: &[u16], dim: usize, center: &dyn Fn(usize, u16) -> f32) -> Vec<f32> {
    (dim..).zip(tokens).map(|(dim, token)| center(dim, *token)).collect()
}
