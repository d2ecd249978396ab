//! Causal self-attention of all heads in one pass per sequence: scores,
//! softmax, dropout and the weighted sum, a block of rows at a time, so that
//! the `[time, time]` tables never leave the cache.
//!
//! Columns that nobody attends to are left out when keys and values are
//! copied, so masking them costs nothing and saves their share of the work;
//! blocks above the diagonal are skipped. The backward pass computes the
//! probabilities again: with P = softmax(S), Z the dropout factors and
//! O = (P Z) V,
//!
//! ```text
//! dV = (P Z)^T dO,   dP = Z (dO V^T),   dS = P (dP - rowsum(P dP))
//! ```

mod dropout;
mod head;
mod product;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use self::dropout::{Dropout, split_mix};
use self::head::{Head, Plan};
use super::HostOp;

/// Multi-head attention of sequences `[goals, tokens]`; token `i - goals` of a
/// sequence has place `(i - goals) % per_transition` in its transition.
#[derive(Clone, Copy, Debug)]
pub struct CausalAttention {
    /// Sequences.
    pub batch: usize,
    /// Rows per sequence, goals included.
    pub time: usize,
    /// Heads, a divisor of `width`.
    pub heads: usize,
    /// Numbers per row of the output; a head has `width / heads` of them.
    pub width: usize,
    /// Goal rows before the tokens.
    pub goals: usize,
    /// Tokens per transition, at least 1.
    pub per_transition: usize,
    /// The place in a transition that nobody attends to.
    pub hidden_dim: Option<usize>,
    /// Whether a token attends to goals and its own transition only.
    pub markov: bool,
    /// Probability to drop an attention weight, in `[0, 1)`.
    pub dropout: f32,
    /// Seed of what is dropped; one per layer and training step.
    pub seed: u64,
}

impl CausalAttention {
    /// Whether row `row` of a sequence attends to column `column`, both below
    /// `time`.
    pub fn attends(&self, row: usize, column: usize) -> bool {
        if column > row {
            return false;
        }
        let Some(token) = column.checked_sub(self.goals) else {
            return true;
        };
        let hidden = self.hidden_dim == Some(token % self.per_transition);
        let same = token / self.per_transition == (row - self.goals) / self.per_transition;
        !hidden && (same || !self.markov)
    }

    /// What dropout multiplies an attention weight by: 0 or `1 / (1 - dropout)`.
    /// A function of its arguments and the seed alone, so the backward pass and
    /// a version composed of other operations can repeat it.
    pub fn dropout_factor(&self, batch: usize, head: usize, row: usize, column: usize) -> f32 {
        let dropout = Dropout::new(self.dropout);
        dropout.factor(self.dropout_keys(batch, head, row), column as u32)
    }

    /// What tells the rows' hashes apart.
    fn dropout_keys(&self, batch: usize, head: usize, row: usize) -> [u32; 2] {
        let sequence = split_mix(self.seed ^ split_mix(batch as u64));
        let key = split_mix(sequence ^ ((head as u64) << 32 | row as u64));
        [key as u32, (key >> 32) as u32]
    }

    fn check(&self, qkv: &[f32]) {
        assert!(
            self.heads > 0
                && self.width.is_multiple_of(self.heads)
                && self.per_transition > 0
                && self.goals <= self.time
                && (0.0..1.0).contains(&self.dropout)
                && qkv.len() == self.batch * self.time * 3 * self.width,
            "attention over {} numbers as {self:?}",
            qkv.len()
        );
    }
}

impl HostOp<1> for CausalAttention {
    fn output_shape(&self) -> Vec<usize> {
        vec![self.batch, self.time, self.width]
    }

    /// Input: `[batch, time, 3 width]`, queries, then keys, then values, heads
    /// one after another inside each. Output `[batch, time, width]`; a row that
    /// attends to nothing is 0.
    fn forward(&self, [qkv]: [&[f32]; 1]) -> Vec<f32> {
        self.check(qkv);
        let plan = Plan::new(self);
        let length = self.time * self.width;
        let mut output = vec![0.0; self.batch * length];
        if !plan.columns.is_empty() {
            output
                .par_chunks_exact_mut(length)
                .zip(qkv.par_chunks_exact(3 * length))
                .enumerate()
                .for_each_init(
                    || Head::new(&plan),
                    |space, (b, (output, qkv))| {
                        for h in 0..self.heads {
                            space.forward(self, &plan, [b, h], qkv, output);
                        }
                    },
                );
        }
        output
    }

    fn backward(&self, [qkv]: [&[f32]; 1], grad: &[f32]) -> [Vec<f32>; 1] {
        self.check(qkv);
        assert_eq!(grad.len() * 3, qkv.len());
        let plan = Plan::new(self);
        let length = self.time * self.width;
        let mut qkv_grad = vec![0.0; qkv.len()];
        if !plan.columns.is_empty() {
            qkv_grad
                .par_chunks_exact_mut(3 * length)
                .zip(qkv.par_chunks_exact(3 * length))
                .zip(grad.par_chunks_exact(length))
                .enumerate()
                .for_each_init(
                    || Head::new(&plan),
                    |space, (b, ((qkv_grad, qkv), grad))| {
                        for h in 0..self.heads {
                            space.backward(self, &plan, [b, h], [qkv, grad], qkv_grad);
                        }
                    },
                );
        }
        [qkv_grad]
    }
}
