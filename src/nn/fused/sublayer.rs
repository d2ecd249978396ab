//! A sublayer of a transformer in one operation, normalized first (Xiong et al.
//! 2020):
//!
//!   y = x + drop(second(inner(first(norm(x)))))
//!
//! with two linear layers, and attention or an activation between them. A
//! thread takes one sequence through all of it while it stays in its cache.
//! Training keeps what the inner function reads, and what it makes where that
//! is dear, and computes the rest again, which costs less than to store and
//! fetch it.

#[cfg(test)]
mod tests;

use std::fmt::Debug;

use rayon::prelude::*;

use super::HostOp;
use super::convolution::{column_sums, total};
use super::dropout::RowDropout;
use super::layer_norm;
use super::panels::{OuterSum, Panels, pack_blocks, pack_panels, packed_blocks, packed_panels};
use super::workspace::{self, in_pool};

/// What stands between the two linear layers, a sequence at a time.
pub trait Inner: Clone + Debug + Send + Sync + 'static {
    /// What all sequences share.
    type Plan: Sync;
    /// Where one thread works.
    type Space: Send;

    /// Numbers per row that it reads, and that it makes.
    fn widths(&self) -> [usize; 2];
    /// Whether making a row again is dearer than keeping it.
    const KEEPS: bool;
    /// Before the first sequence.
    fn plan(&self) -> Self::Plan;
    /// Before a thread's first sequence.
    fn space(&self, plan: &Self::Plan) -> Self::Space;
    /// Sequence number `sequence`, from `wide` to `inner`.
    fn forward(&self, at: (&Self::Plan, &mut Self::Space, usize), wide: &[f32], inner: &mut [f32]);
    /// The gradient of `wide` from that of `inner`. Where `inner` is not kept
    /// it is written again.
    fn backward(
        &self,
        at: (&Self::Plan, &mut Self::Space, usize),
        wide: &[f32],
        inner: &mut [f32],
        grad: &[f32],
        wide_grad: &mut [f32],
    );
}

/// Sizes of a sublayer.
#[derive(Clone, Copy, Debug)]
pub struct Sublayer<I> {
    /// Sequences.
    pub batch: usize,
    /// Rows per sequence.
    pub time: usize,
    /// Numbers per row of input and output.
    pub width: usize,
    /// What stands between the linear layers.
    pub inner: I,
    /// Of the result, before it is added to the input.
    pub dropout: RowDropout,
}

/// The inputs by what they are: x `[batch * time, width]`, weight and bias of
/// the norm, weight `[inputs, outputs]` and bias of both linear layers.
type Inputs<'a> = [&'a [f32]; 7];

/// What a sequence passes through.
#[derive(Default)]
struct Scratch {
    normal: Vec<f32>,
    wide: Vec<f32>,
    inner: Vec<f32>,
    grad: Vec<f32>,
    inner_grad: Vec<f32>,
    wide_grad: Vec<f32>,
}

fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.resize(length, 0.0);
    buffer
}

impl<I: Inner> Sublayer<I> {
    /// Numbers of one sequence: rows of input or output, of the wide ones, of
    /// the inner ones, and those of the inner ones that are kept.
    fn lengths(&self) -> [usize; 4] {
        let [wide, inner] = self.inner.widths();
        let kept = if I::KEEPS { inner } else { 0 };
        [self.width, wide, inner, kept].map(|width| self.time * width)
    }

    fn run(&self, inputs: Inputs, keep: &mut [f32]) -> Vec<f32> {
        let [x, norm_weight, norm_bias, w1, b1, w2, b2] = inputs;
        let [wide, inner] = self.inner.widths();
        let [length, wide_length, inner_length, kept_length] = self.lengths();
        assert!(
            x.len() == self.batch * length
                && [norm_weight.len(), norm_bias.len(), b2.len()] == [self.width; 3]
                && w1.len() == self.width * wide
                && b1.len() == wide
                && w2.len() == inner * self.width,
            "{} numbers in {self:?}",
            x.len()
        );
        let (first, second) =
            (Panels::pack(w1, [self.width, wide]), Panels::pack(w2, [inner, self.width]));
        let plan = self.inner.plan();
        let each = |(scratch, space): &mut (Scratch, I::Space),
                    at: usize,
                    y: &mut [f32],
                    x: &[f32],
                    keep: Option<&mut [f32]>| {
            let Scratch { normal, wide, inner, .. } = scratch;
            let (wide, inner) = match keep {
                None => (sized(wide, wide_length), sized(inner, inner_length)),
                Some(keep) => {
                    let (wide, kept) = keep.split_at_mut(wide_length);
                    (wide, if I::KEEPS { kept } else { sized(inner, inner_length) })
                }
            };
            let normal = sized(normal, length);
            layer_norm::normalize(x, norm_weight, norm_bias, normal);
            first.apply(normal, self.width, b1, wide);
            self.inner.forward((&plan, space, at), wide, inner);
            second.apply(inner, inner.len() / self.time, b2, y);
            self.dropout.apply(at * self.time, self.width, y);
            y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
        };
        let begin = || (Scratch::default(), self.inner.space(&plan));
        let mut y = vec![0.0; x.len()];
        let sequences = y.par_chunks_exact_mut(length).zip(x.par_chunks_exact(length)).enumerate();
        if keep.is_empty() {
            sequences.for_each_init(begin, |work, (at, (y, x))| each(work, at, y, x, None));
        } else {
            sequences.zip(keep.par_chunks_exact_mut(wide_length + kept_length)).for_each_init(
                begin,
                |work, ((at, (y, x)), keep)| {
                    each(work, at, y, x, Some(keep));
                },
            );
        }
        y
    }

    fn gradients(&self, inputs: Inputs, kept: &[f32], grad: &[f32]) -> [Vec<f32>; 7] {
        let [x, _, _, w1, _, w2, _] = inputs;
        let [wide, inner] = self.inner.widths();
        let [length, wide_length, _, kept_length] = self.lengths();
        let plan = self.inner.plan();
        let backward = Backward {
            op: self,
            plan: &plan,
            norm: [inputs[1], inputs[2]],
            first: Panels::pack_reversed(w1, [1, self.width, wide]),
            second: Panels::pack_reversed(w2, [1, inner, self.width]),
        };
        let blocks = [self.width, inner].map(|width| packed_blocks(self.time, width));
        let panels = [wide, self.width].map(|width| packed_panels(self.time, width));
        let mut dx = vec![0.0; x.len()];
        let lengths = [blocks[0], panels[0], blocks[1], panels[1]].map(|n| self.batch * n);
        workspace::with(lengths, |[normal, wide_grad, inner_rows, out_grad]| {
            let parts: Vec<[Vec<f32>; 4]> = dx
                .par_chunks_exact_mut(length)
                .zip(x.par_chunks_exact(length))
                .zip(grad.par_chunks_exact(length))
                .zip(kept.par_chunks_exact(wide_length + kept_length))
                .zip(normal.par_chunks_exact_mut(blocks[0]))
                .zip(wide_grad.par_chunks_exact_mut(panels[0]))
                .zip(inner_rows.par_chunks_exact_mut(blocks[1]))
                .zip(out_grad.par_chunks_exact_mut(panels[1]))
                .enumerate()
                .map_init(
                    || (Scratch::default(), self.inner.space(&plan)),
                    |work, (at, arrays)| {
                        let ((((rest, normal), wide_grad), inner), out_grad) = arrays;
                        let (((dx, x), grad), kept) = rest;
                        let packed = Packed { normal, wide_grad, inner, out_grad };
                        backward.sequence(work, at, [x, grad, kept], packed, dx)
                    },
                )
                .collect();
            let sum = |size, x: &[f32], g: &[f32]| {
                OuterSum::linear(self.batch, self.time, size).sum(x, g)
            };
            let first = sum([self.width, wide], normal, wide_grad);
            let second = sum([inner, self.width], inner_rows, out_grad);
            let mut columns: [Vec<Vec<f32>>; 4] = Default::default();
            for part in parts {
                columns.iter_mut().zip(part).for_each(|(column, part)| column.push(part));
            }
            // In the order of sequences: sums must not depend on threads.
            let [norm_weight, norm_bias, b1, b2] = columns.map(|parts| total(&parts));
            [dx, norm_weight, norm_bias, first, b1, second, b2]
        })
    }
}

/// Weights for the way back.
struct Backward<'a, I: Inner> {
    op: &'a Sublayer<I>,
    plan: &'a I::Plan,
    norm: [&'a [f32]; 2],
    first: Panels,
    second: Panels,
}

/// Where one sequence goes for the sums of outer products.
struct Packed<'a> {
    normal: &'a mut [f32],
    wide_grad: &'a mut [f32],
    inner: &'a mut [f32],
    out_grad: &'a mut [f32],
}

impl<I: Inner> Backward<'_, I> {
    /// Writes dx; the gradients of the short parameters: weight and bias of
    /// the norm, biases of both linear layers.
    fn sequence(
        &self,
        (scratch, space): &mut (Scratch, I::Space),
        at: usize,
        [x, out_grad, kept]: [&[f32]; 3],
        packed: Packed,
        dx: &mut [f32],
    ) -> [Vec<f32>; 4] {
        let (op, width) = (self.op, self.op.width);
        let [wide_width, inner_width] = op.inner.widths();
        let [length, wide_length, inner_length, _] = op.lengths();
        let (wide, kept_inner) = kept.split_at(wide_length);
        let Scratch { normal, inner, grad, inner_grad, wide_grad, .. } = scratch;

        let grad = sized(grad, length);
        grad.copy_from_slice(out_grad);
        op.dropout.apply(at * op.time, width, grad);
        pack_panels(grad, width, packed.out_grad);
        let second_bias = column_sums(grad, width);
        let inner_grad = sized(inner_grad, inner_length);
        self.second.apply(grad, width, &[], inner_grad);

        let inner = sized(inner, inner_length);
        let wide_grad = sized(wide_grad, wide_length);
        op.inner.backward((self.plan, space, at), wide, inner, inner_grad, wide_grad);
        let inner = if I::KEEPS { kept_inner } else { inner };
        pack_blocks(inner, inner_width, 0, packed.inner);
        pack_panels(wide_grad, wide_width, packed.wide_grad);
        let first_bias = column_sums(wide_grad, wide_width);

        let [weight, bias] = self.norm;
        let normal = sized(normal, length);
        layer_norm::normalize(x, weight, bias, normal);
        pack_blocks(normal, width, 0, packed.normal);
        // What was normalized is packed: its place takes its gradient.
        self.first.apply(wide_grad, wide_width, &[], normal);
        let mut sums = [vec![0.0; width], vec![0.0; width]];
        let [weight_grad, bias_grad] = &mut sums;
        layer_norm::gradients(x, weight, normal, dx, [weight_grad, bias_grad]);
        dx.iter_mut().zip(out_grad).for_each(|(dx, grad)| *dx += grad);
        let [weight_grad, bias_grad] = sums;
        [weight_grad, bias_grad, first_bias, second_bias]
    }
}

impl<I: Inner> HostOp<7> for Sublayer<I> {
    fn output_shape(&self) -> Vec<usize> {
        vec![self.batch * self.time, self.width]
    }

    fn forward(&self, inputs: [&[f32]; 7]) -> Vec<f32> {
        in_pool(|| self.run(inputs, &mut []))
    }

    fn forward_keeping(&self, inputs: [&[f32]; 7]) -> (Vec<f32>, Vec<f32>) {
        let [_, wide, _, kept] = self.lengths();
        let mut keep = workspace::take(self.batch * (wide + kept));
        (in_pool(|| self.run(inputs, &mut keep)), keep)
    }

    fn backward(&self, inputs: [&[f32]; 7], grad: &[f32]) -> [Vec<f32>; 7] {
        let (_, kept) = self.forward_keeping(inputs);
        self.backward_keeping(inputs, &kept, grad)
    }

    fn backward_keeping(&self, inputs: [&[f32]; 7], kept: &[f32], grad: &[f32]) -> [Vec<f32>; 7] {
        in_pool(|| self.gradients(inputs, kept, grad))
    }
}
