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

mod head;
mod product;
#[cfg(test)]
mod tests;

pub use self::head::{Head, Plan};
use super::dropout::{Hashed, halves, split_mix};
use super::sublayer::Inner;

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
        let dropout = Hashed::new(self.dropout);
        dropout.factor(self.dropout_keys(batch, head, row), column as u32)
    }

    /// What tells the rows' hashes apart.
    fn dropout_keys(&self, batch: usize, head: usize, row: usize) -> [u32; 2] {
        let sequence = split_mix(self.seed ^ split_mix(batch as u64));
        halves(split_mix(sequence ^ ((head as u64) << 32 | row as u64)))
    }

    fn check(&self) {
        assert!(
            self.heads > 0
                && self.width.is_multiple_of(self.heads)
                && self.per_transition > 0
                && self.goals <= self.time
                && (0.0..1.0).contains(&self.dropout),
            "no attention is {self:?}"
        );
    }
}

impl Inner for CausalAttention {
    type Plan = Plan;
    type Space = Head;
    const KEEPS: bool = true;

    /// Queries, then keys, then values, heads one after another inside each;
    /// to the heads one after another.
    fn widths(&self) -> [usize; 2] {
        [3 * self.width, self.width]
    }

    fn plan(&self) -> Plan {
        self.check();
        Plan::new(self)
    }

    fn space(&self, plan: &Plan) -> Head {
        Head::new(plan)
    }

    /// `[time, 3 width]` to `[time, width]`; a row that attends to nothing is
    /// 0.
    fn forward(
        &self,
        (plan, head, sequence): (&Plan, &mut Head, usize),
        qkv: &[f32],
        output: &mut [f32],
    ) {
        output.fill(0.0);
        for h in 0..self.heads {
            head.forward(self, plan, [sequence, h], qkv, output);
        }
    }

    fn backward(
        &self,
        (plan, head, sequence): (&Plan, &mut Head, usize),
        qkv: &[f32],
        _output: &mut [f32],
        grad: &[f32],
        qkv_grad: &mut [f32],
    ) {
        qkv_grad.fill(0.0);
        for h in 0..self.heads {
            head.backward(self, plan, [sequence, h], [qkv, grad], qkv_grad);
        }
    }
}
