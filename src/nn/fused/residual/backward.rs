//! The way back through a residual block.

use rayon::prelude::*;

use super::super::convolution::{column_sums, total};
use super::super::panels::{
    Panels, Space, Taps, TapsGradient, pack_blocks, pack_panels, packed_blocks, packed_panels,
};
use super::super::workspace::{self, in_pool};
use super::{Inputs, Residual};

impl Residual {
    /// Gradients of everything; `kept` holds the sums of the first convolution
    /// of all sequences, then those of the second.
    pub(super) fn gradients(&self, inputs: &Inputs, kept: &[f32], grad: &[f32]) -> Gradients {
        in_pool(|| self.gradients_in_pool(inputs, kept, grad))
    }

    fn gradients_in_pool(&self, inputs: &Inputs, kept: &[f32], grad: &[f32]) -> Gradients {
        let (c, o, time) = (self.channels, self.outputs, self.time);
        let taps = [c, o].map(|c| TapsGradient { batch: self.batch, time, size: [c, o] });
        let [[x1, g1], [x2, g2]] = taps.map(|taps| taps.lengths());
        // Chunks have at least one number.
        let [x0, g0] = match inputs.skip {
            Some(_) => [packed_blocks(time, c), packed_panels(time, o)],
            None => [1; 2],
        };
        let lengths = [x1, g1, x2, g2, x0, g0];
        let backward = Backward {
            op: self,
            inputs,
            taps,
            lengths,
            first: Taps::pack_reversed(inputs.halves[0][0], [c, o]),
            second: Taps::pack_reversed(inputs.halves[1][0], [o, o]),
            skip: inputs.skip.map(|[weight, _]| self.convolution(c, 1).pack_backward(weight)),
        };
        let n = Self::together(self.batch);
        let (first_sums, second_sums) = kept.split_at(self.batch * time * o);
        let mut dx = vec![0.0; inputs.x.len()];
        workspace::with(lengths.map(|length| self.batch * length), |packed| {
            let [x1, g1, x2, g2, x0, g0] = packed;
            let parts: Vec<Vec<Parts>> = dx
                .par_chunks_mut(n * time * c)
                .zip(inputs.x.par_chunks(n * time * c))
                .zip(inputs.offset.par_chunks(n * o))
                .zip(grad.par_chunks(n * time * o))
                .zip(first_sums.par_chunks(n * time * o))
                .zip(second_sums.par_chunks(n * time * o))
                .zip(x1.par_chunks_mut(n * lengths[0]).zip(g1.par_chunks_mut(n * lengths[1])))
                .zip(x2.par_chunks_mut(n * lengths[2]).zip(g2.par_chunks_mut(n * lengths[3])))
                .zip(x0.par_chunks_mut(n * lengths[4]).zip(g0.par_chunks_mut(n * lengths[5])))
                .map_init(BackwardScratch::default, |scratch, arrays| {
                    let (((rest, (x1, g1)), (x2, g2)), (x0, g0)) = arrays;
                    let (((((dx, x), offset), grad), first_sums), second_sums) = rest;
                    let group = Group { x, offset, grad, sums: [first_sums, second_sums] };
                    backward.group(&group, scratch, [x1, g1, x2, g2, x0, g0], dx)
                })
                .collect();
            let weights = [taps[0].sum(x1, g1), taps[1].sum(x2, g2)];
            let skip_weight = inputs.skip.map(|_| self.convolution(c, 1).weight_sum().sum(x0, g0));
            Gradients::of(dx, weights, skip_weight, parts.into_iter().flatten())
        })
    }
}

/// Weights for the way back.
struct Backward<'a> {
    op: &'a Residual,
    inputs: &'a Inputs<'a>,
    taps: [TapsGradient; 2],
    /// Of one sequence packed for the sums of outer products: inputs and
    /// gradients of both convolutions and of the skip.
    lengths: [usize; 6],
    first: Taps,
    second: Taps,
    skip: Option<Panels>,
}

/// Sequences that are in the cache together.
struct Group<'a> {
    x: &'a [f32],
    offset: &'a [f32],
    grad: &'a [f32],
    /// What both convolutions gave.
    sums: [&'a [f32]; 2],
}

#[derive(Default)]
struct BackwardScratch {
    space: Space,
    sums_grad: Vec<f32>,
    middle: Vec<f32>,
    middle_grad: Vec<f32>,
}

/// Gradients of the short parameters from one sequence: bias, scale and shift
/// of both halves, and the offset.
#[derive(Default)]
struct Parts {
    bias: [Vec<f32>; 2],
    scale: [Vec<f32>; 2],
    shift: [Vec<f32>; 2],
    offset: Vec<f32>,
    skip_bias: Vec<f32>,
}

impl Backward<'_> {
    /// Writes dx and what the sums of outer products need.
    fn group(
        &self,
        group: &Group,
        scratch: &mut BackwardScratch,
        packed: [&mut [f32]; 6],
        dx: &mut [f32],
    ) -> Vec<Parts> {
        let (c, o, time) = (self.op.channels, self.op.outputs, self.op.time);
        let length = time * o;
        let n = group.grad.len() / length;
        let [[_, _, scale1, shift1], [_, _, scale2, shift2]] = self.inputs.halves;
        let [first, second] = self.taps;
        let norm = self.op.norm();
        let BackwardScratch { space, sums_grad, middle, middle_grad } = scratch;
        for buffer in [&mut *sums_grad, &mut *middle, &mut *middle_grad] {
            buffer.resize(n * length, 0.0);
        }
        let of = |at: usize| at * length..(at + 1) * length;
        let to = |array: usize, at: usize| {
            let length = self.lengths[array];
            at * length..(at + 1) * length
        };
        let [x1, g1, x2, g2, x0, g0] = packed;
        let mut parts: Vec<Parts> = (0..n).map(|_| Parts::default()).collect();

        for (at, parts) in parts.iter_mut().enumerate() {
            let (sums, grad) = (&group.sums[1][of(at)], &group.grad[of(at)]);
            let sums_grad = &mut sums_grad[of(at)];
            let [scale, shift, _] = norm.backward_sequence(sums, [scale2, shift2], grad, sums_grad);
            (parts.scale[1], parts.shift[1]) = (scale, shift);
            second.pack_gradients(sums_grad, space, &mut g2[to(3, at)]);
            parts.bias[1] = column_sums(sums_grad, o);
        }
        self.second.apply(sums_grad, time, space, &[], middle_grad);
        for (at, parts) in parts.iter_mut().enumerate() {
            let (sums, middle) = (&group.sums[0][of(at)], &mut middle[of(at)]);
            let offset = &group.offset[at * o..(at + 1) * o];
            norm.sequence(sums, [scale1, shift1, offset], middle);
            second.pack_inputs(middle, space, &mut x2[to(2, at)]);
            let (grad, sums_grad) = (&middle_grad[of(at)], &mut sums_grad[of(at)]);
            let [scale, shift, offset] =
                norm.backward_sequence(sums, [scale1, shift1], grad, sums_grad);
            (parts.scale[0], parts.shift[0], parts.offset) = (scale, shift, offset);
            first.pack_gradients(sums_grad, space, &mut g1[to(1, at)]);
            parts.bias[0] = column_sums(sums_grad, o);
            let x = &group.x[at * time * c..(at + 1) * time * c];
            first.pack_inputs(x, space, &mut x1[to(0, at)]);
            if self.skip.is_some() {
                pack_blocks(x, c, 0, &mut x0[to(4, at)]);
                pack_panels(&group.grad[of(at)], o, &mut g0[to(5, at)]);
                parts.skip_bias = column_sums(&group.grad[of(at)], o);
            }
        }
        self.first.apply(sums_grad, time, space, &[], dx);
        match &self.skip {
            Some(skip) => skip.add(group.grad, o, &[], dx),
            None => dx.iter_mut().zip(group.grad).for_each(|(dx, grad)| *dx += grad),
        }
        parts
    }
}

/// Gradients of everything.
pub(super) struct Gradients {
    pub(super) x: Vec<f32>,
    pub(super) offset: Vec<f32>,
    pub(super) halves: [[Vec<f32>; 4]; 2],
    pub(super) skip: Option<[Vec<f32>; 2]>,
}

impl Gradients {
    /// Short parameters are summed in the order of sequences: the result must
    /// not depend on threads.
    fn of(
        x: Vec<f32>,
        weights: [Vec<f32>; 2],
        skip_weight: Option<Vec<f32>>,
        parts: impl Iterator<Item = Parts>,
    ) -> Self {
        let mut columns: [Vec<Vec<f32>>; 7] = Default::default();
        let mut offset = Vec::new();
        for part in parts {
            let Parts { bias: [b1, b2], scale: [s1, s2], shift: [t1, t2], .. } = part;
            let short = [b1, s1, t1, b2, s2, t2, part.skip_bias];
            columns.iter_mut().zip(short).for_each(|(column, part)| column.push(part));
            offset.extend_from_slice(&part.offset);
        }
        let [b1, s1, t1, b2, s2, t2, skip_bias] = columns.map(|parts| total(&parts));
        let [w1, w2] = weights;
        let skip = skip_weight.map(|weight| [weight, skip_bias]);
        Self { x, offset, halves: [[w1, b1, s1, t1], [w2, b2, s2, t2]], skip }
    }
}
