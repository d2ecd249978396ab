//! The decoder of the Trajectory Transformer, for training.
//!
//! Janner, Li, Levine: Offline Reinforcement Learning as One Big Sequence
//! Modeling Problem, NeurIPS 2021. A GPT over the tokens of transitions, with
//! one head per token of a transition; reward-to-go tokens are read by nobody,
//! so that any number may stand there when it plans. Goals stand in front and
//! have no position. [`Decoder`](super::decoder::Decoder) is the same function
//! with a cache, for planning.

use burn::module::{Module, Param};
use burn::tensor::activation::{gelu, log_softmax, softmax};
use burn::tensor::{Bool, Int, Tensor, TensorData};

use super::decoder::DecoderShape;
use super::fused::apply;
use super::fused::attention::CausalAttention;
use super::fused::cross_entropy::CrossEntropy;
use super::fused::dropout::RowDropout;
use super::fused::gelu::Gelu;
use super::fused::layer_norm::{EPSILON, LayerNorm as FusedLayerNorm};
use super::fused::sublayer::{Inner, Sublayer};
use super::init::Initializer;
use super::layers::Linear;
use crate::rng::Rng;

/// A decoder-only transformer over `[goals, tokens]`.
#[derive(Module, Debug)]
pub struct Transformer {
    /// `[bins * D + 1, width]`; the last row is the stop token.
    tokens: Param<Tensor<2>>,
    /// `[bins * goals, width]`.
    goals: Option<Param<Tensor<2>>>,
    /// `[positions, width]`.
    positions: Param<Tensor<2>>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    /// `[D, width, bins + 1]`: head `i` reads rows whose token has dim `i` and
    /// predicts the next token.
    heads: Param<Tensor<3>>,
    #[module(skip)]
    shape: DecoderShape,
}

/// Attention, then a perceptron, each after a layer norm and around a shortcut.
#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    expand: Linear,
    contract: Linear,
}

/// Layer normalization (Ba et al. 2016).
#[derive(Module, Debug)]
struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

/// Dropout of embeddings, attention and shortcuts, from the host's stream.
pub struct Dropout<'a> {
    /// Share of numbers dropped.
    pub share: f32,
    /// Where the masks' seeds come from.
    pub rng: &'a mut Rng,
}

impl Dropout<'_> {
    /// What is dropped next.
    fn next(dropout: &mut Option<Self>) -> RowDropout {
        dropout.as_mut().map_or(RowDropout::default(), |Dropout { share, rng }| RowDropout {
            share: *share,
            seed: rng.below(usize::MAX) as u64,
        })
    }
}

/// Windows of tokens, row-major.
pub struct TokenRows<'a> {
    /// `[rows, goals]` bins.
    pub goals: &'a [u16],
    /// `[rows, time]` bins, the first of a window at dim 0.
    pub tokens: &'a [u16],
    /// Windows.
    pub rows: usize,
}

impl DecoderShape {
    /// Random weights, as minGPT draws them: N(0, 0.02), zero biases and
    /// positions, heads uniform as PyTorch's linear layers.
    pub fn init(&self, init: &mut Initializer) -> Transformer {
        let (layout, width) = (self.layout, self.width);
        let classes = layout.bins + 1;
        Transformer {
            tokens: init.normal([layout.bins * layout.per_transition() + 1, width], 0.02),
            goals: (layout.goals > 0)
                .then(|| init.normal([layout.bins * layout.goals, width], 0.02)),
            positions: init.zeros([self.positions, width]),
            blocks: (0..self.layers).map(|_| Block::new(width, init)).collect(),
            norm: LayerNorm::new(width, init),
            heads: init.uniform([layout.per_transition(), width, classes], width),
            shape: *self,
        }
    }
}

impl Transformer {
    /// Sizes.
    pub fn shape(&self) -> &DecoderShape {
        &self.shape
    }

    /// Scores of the next token after every token, `[D, rows * L, bins + 1]`
    /// for `L` transitions begun: entry `[d, r * L + t]` belongs to token
    /// `t * D + d` of row `r`. Where the window ends inside a transition, the
    /// rest is made of zeros.
    pub fn forward(&self, input: &TokenRows, mut dropout: Option<Dropout>) -> Tensor<3> {
        let (layout, width, rows) = (self.shape.layout, self.shape.width, input.rows);
        let d = layout.per_transition();
        let time = input.tokens.len() / rows.max(1);
        let goals = layout.goals;
        let whole = goals + time;
        let mut x = dropped(self.embed(input), Dropout::next(&mut dropout));
        for block in &self.blocks {
            let RowDropout { share, seed } = Dropout::next(&mut dropout);
            let attention = CausalAttention {
                batch: rows,
                time: whole,
                heads: self.shape.heads,
                width,
                goals,
                per_transition: d,
                hidden_dim: layout.hidden_dim(),
                markov: self.shape.markov,
                dropout: share,
                seed,
            };
            x = block.forward(x, attention, [(); 2].map(|()| Dropout::next(&mut dropout)));
        }
        let x = self.norm.forward(x);
        let x = x.reshape([rows, whole, width]).slice([0..rows, goals..whole, 0..width]);
        let transitions = time.div_ceil(d);
        let x = match transitions * d - time {
            0 => x,
            rest => {
                let rest = Tensor::zeros([rows, rest, width], &x.device());
                Tensor::cat(vec![x, rest], 1)
            }
        };
        let by_dim = x.reshape([rows * transitions, d, width]).swap_dims(0, 1);
        by_dim.matmul(self.heads.val())
    }

    /// Embeddings, `[rows * (goals + time), width]`.
    fn embed(&self, input: &TokenRows) -> Tensor<2> {
        let (layout, width, rows) = (self.shape.layout, self.shape.width, input.rows);
        let (d, bins) = (layout.per_transition(), layout.bins);
        let time = input.tokens.len() / rows.max(1);
        let device = self.positions.val().device();
        let indices = |values: Vec<i32>| {
            let n = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [n]), &device)
        };
        let row = |(at, token): (usize, &u16)| {
            let (dim, token) = (at % time % d, usize::from(*token));
            (if token >= bins { bins * d } else { dim * bins + token }) as i32
        };
        let rows_of_table = indices(input.tokens.iter().enumerate().map(row).collect());
        let tokens = self.tokens.val().select(0, rows_of_table).reshape([rows, time, width]);
        let positions = self.positions.val().slice([0..time, 0..width]);
        let tokens = tokens + positions.unsqueeze::<3>();
        let x = match &self.goals {
            None => tokens,
            Some(table) => {
                let goals = layout.goals;
                let row = |(at, token): (usize, &u16)| {
                    ((at % goals) * bins + usize::from(*token).min(bins - 1)) as i32
                };
                let rows_of_table = indices(input.goals.iter().enumerate().map(row).collect());
                let goals = table.val().select(0, rows_of_table).reshape([rows, goals, width]);
                Tensor::cat(vec![goals, tokens], 1)
            }
        };
        let [_, whole, _] = x.dims();
        x.reshape([rows * whole, width])
    }
}

impl Block {
    fn new(width: usize, init: &mut Initializer) -> Self {
        Self {
            norm1: LayerNorm::new(width, init),
            qkv: Linear::gpt(width, 3 * width, init),
            proj: Linear::gpt(width, width, init),
            norm2: LayerNorm::new(width, init),
            expand: Linear::gpt(width, 4 * width, init),
            contract: Linear::gpt(4 * width, width, init),
        }
    }

    /// `[batch * time, width]` to the same.
    fn forward(
        &self,
        x: Tensor<2>,
        attention: CausalAttention,
        dropout: [RowDropout; 2],
    ) -> Tensor<2> {
        let CausalAttention { batch, time, width, .. } = attention;
        let [first, second] = dropout;
        let op = Sublayer { batch, time, width, inner: attention, dropout: first };
        let layers = [&self.qkv, &self.proj];
        let x = sublayer(&op, x, &self.norm1, layers, |wide| attend(&attention, wide));
        let inner = Gelu { width: 4 * width };
        let op = Sublayer { batch, time, width, inner, dropout: second };
        sublayer(&op, x, &self.norm2, [&self.expand, &self.contract], gelu)
    }
}

/// x `[batch * time, width]`, and what the layers make of it normalized;
/// `inner` is the inner function from burn's operations.
fn sublayer<I: Inner>(
    op: &Sublayer<I>,
    x: Tensor<2>,
    norm: &LayerNorm,
    layers: [&Linear; 2],
    inner: impl Fn(Tensor<2>) -> Tensor<2>,
) -> Tensor<2> {
    let device = x.device();
    let [[w1, b1], [w2, b2]] = layers.map(|layer| {
        let (weight, bias) = layer.values();
        [weight.into_dispatch(), bias.into_dispatch()]
    });
    let [weight, bias] = [&norm.weight, &norm.bias].map(|value| value.val().into_dispatch());
    let inputs = [x.clone().into_dispatch(), weight, bias, w1, b1, w2, b2];
    apply(op, &device, inputs).unwrap_or_else(|| sublayer_composed(op, x, norm, layers, inner))
}

fn sublayer_composed<I: Inner>(
    op: &Sublayer<I>,
    x: Tensor<2>,
    norm: &LayerNorm,
    [first, second]: [&Linear; 2],
    inner: impl Fn(Tensor<2>) -> Tensor<2>,
) -> Tensor<2> {
    let y = second.forward(inner(first.forward(norm.forward(x.clone()))));
    x + dropped(y, op.dropout)
}

impl LayerNorm {
    fn new(width: usize, init: &mut Initializer) -> Self {
        Self { weight: init.constant(width, 1.0), bias: init.constant(width, 0.0) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [rows, width] = x.dims();
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let op = FusedLayerNorm { rows, width };
        let device = x.device();
        let inputs = [
            x.clone().into_dispatch(),
            weight.clone().into_dispatch(),
            bias.clone().into_dispatch(),
        ];
        apply(&op, &device, inputs).unwrap_or_else(|| {
            let centered = x.clone() - x.mean_dim(1);
            let variance = centered.clone().square().mean_dim(1);
            centered / (variance + EPSILON).sqrt() * weight.unsqueeze() + bias.unsqueeze()
        })
    }
}

/// [`CausalAttention`] from burn's operations, `[batch * time, 3 width]` to
/// `[batch * time, width]`.
fn attend(op: &CausalAttention, qkv: Tensor<2>) -> Tensor<2> {
    let (n, t, width, heads) = (op.batch, op.time, op.width, op.heads);
    let size = width / heads;
    let qkv = qkv.reshape([n, t, 3 * width]);
    let part = |k: usize| {
        let part = qkv.clone().slice([0..n, 0..t, k * width..(k + 1) * width]);
        part.reshape([n, t, heads, size]).swap_dims(1, 2)
    };
    let (q, k, v) = (part(0), part(1), part(2));
    let scores: Tensor<4> = q.matmul(k.swap_dims(2, 3)) / (size as f32).sqrt();
    let hidden: Vec<bool> = (0..t * t).map(|entry| !op.attends(entry / t, entry % t)).collect();
    let hidden = Tensor::<2, Bool>::from_data(TensorData::new(hidden, [t, t]), &qkv.device());
    let hidden = hidden.unsqueeze::<4>().expand([n, heads, t, t]);
    let mut shares = softmax(scores.mask_fill(hidden.clone(), -1e9), 3).mask_fill(hidden, 0.0);
    if op.dropout > 0.0 {
        let entry = |i: usize| {
            let (sequence, head) = (i / (heads * t * t), i / (t * t) % heads);
            op.dropout_factor(sequence, head, i / t % t, i % t)
        };
        let kept: Vec<f32> = (0..n * heads * t * t).map(entry).collect();
        shares = shares * Tensor::from_data(TensorData::new(kept, [n, heads, t, t]), &qkv.device());
    }
    shares.matmul(v).swap_dims(1, 2).reshape([n * t, width])
}

/// Mean over rows of `weight * (logsumexp - score of the target)`: scores
/// `[rows, classes]`, one target and one weight per row. Equation 4.2 of the
/// thesis for weights of 1.
pub fn cross_entropy(scores: Tensor<2>, targets: Vec<u32>, weights: Vec<f32>) -> Tensor<1> {
    let [rows, classes] = scores.dims();
    let device = scores.device();
    let op = CrossEntropy { rows, classes, targets: targets.into(), weights: weights.into() };
    let inputs = [scores.clone().into_dispatch()];
    apply(&op, &device, inputs).unwrap_or_else(|| cross_entropy_composed(&op, scores))
}

fn cross_entropy_composed(op: &CrossEntropy, scores: Tensor<2>) -> Tensor<1> {
    let device = scores.device();
    let targets: Vec<i32> = op.targets.iter().map(|target| *target as i32).collect();
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [op.rows, 1]), &device);
    let weights = TensorData::new(op.weights.to_vec(), [op.rows, 1]);
    let weights = Tensor::<2>::from_data(weights, &device);
    let log_shares = log_softmax(scores, 1).gather(1, targets);
    (log_shares * weights).sum().neg() / op.rows as f32
}

/// Drop numbers of `x` and scale up the rest.
fn dropped(x: Tensor<2>, dropout: RowDropout) -> Tensor<2> {
    let [rows, width] = x.dims();
    let Some(mask) = dropout.mask(rows, width) else { return x };
    let mask = Tensor::from_data(TensorData::new(mask, [rows, width]), &x.device());
    x * mask
}

#[cfg(test)]
mod tests;
