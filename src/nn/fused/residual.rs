//! The residual block of the temporal U-Net in one operation:
//!
//!   y = mish(norm(conv(mish(norm(conv(x))) + offset))) + skip(x)
//!
//! with convolutions of [`TAPS`] taps and a skip that is the identity or a
//! convolution of one. A thread takes one sequence through the whole block
//! while it stays in its cache. Training keeps what the norms read and
//! computes the rest again, which costs less than to store and fetch it.

mod host_op;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use super::convolution::{Convolution, column_sums, total};
use super::norm_mish::NormMish;
use super::panels::{OuterSum, Panels, pack_blocks, pack_panels, packed_blocks, packed_panels};
use super::workspace::{self, in_pool, padded, padded_for};

/// Taps of both convolutions.
pub const TAPS: usize = 5;
const LEAD: usize = TAPS / 2;

/// Sizes of a residual block.
#[derive(Clone, Copy, Debug)]
pub struct Residual {
    /// Sequences.
    pub batch: usize,
    /// Steps per sequence.
    pub time: usize,
    /// Input channels.
    pub channels: usize,
    /// Output channels, a multiple of `groups`.
    pub outputs: usize,
    /// Normalization groups.
    pub groups: usize,
}

/// Convolution, bias, scale and shift of one half, as they are stored.
type HalfWeights<'a> = [&'a [f32]; 4];

/// One half of a block, packed.
struct Half {
    convolution: Panels,
    bias: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Half {
    fn pack([weight, bias, scale, shift]: HalfWeights, channels: usize, outputs: usize) -> Self {
        Self {
            convolution: Panels::pack(weight, [TAPS * channels, outputs]),
            bias: bias.to_vec(),
            scale: scale.to_vec(),
            shift: shift.to_vec(),
        }
    }
}

/// A block's weights, packed for [`Residual::sequence`].
pub struct PackedResidual {
    halves: [Half; 2],
    skip: Option<(Panels, Vec<f32>)>,
    no_offset: Vec<f32>,
}

/// What [`Residual::sequence`] writes over.
#[derive(Default)]
pub struct Scratch {
    input: Vec<f32>,
    middle: Vec<f32>,
    sums: Vec<f32>,
}

impl Residual {
    /// Pack convolution, bias, scale and shift of both halves, and weight and
    /// bias of the skip if the channels change.
    pub fn pack(&self, halves: [HalfWeights; 2], skip: Option<[&[f32]; 2]>) -> PackedResidual {
        let (c, o) = (self.channels, self.outputs);
        let [first, second] = halves;
        PackedResidual {
            halves: [Half::pack(first, c, o), Half::pack(second, o, o)],
            skip: skip.map(|[weight, bias]| (Panels::pack(weight, [c, o]), bias.to_vec())),
            no_offset: vec![0.0; o],
        }
    }

    fn norm(&self) -> NormMish {
        let Self { batch, time, outputs: channels, groups, .. } = *self;
        NormMish { batch, time, channels, groups }
    }

    /// From `channels` to the block's outputs.
    pub fn convolution(&self, channels: usize, kernel: usize) -> Convolution {
        let Self { batch, time, outputs, .. } = *self;
        Convolution { batch, time, channels, outputs, kernel, stride: 1 }
    }

    /// One sequence, `[time, channels]` to `[time, outputs]`; `offset` holds
    /// a number per output. `keep` receives the sums of both convolutions.
    pub fn sequence(
        &self,
        weights: &PackedResidual,
        [x, offset]: [&[f32]; 2],
        scratch: &mut Scratch,
        keep: Option<&mut [f32]>,
        y: &mut [f32],
    ) {
        let (c, o, length) = (self.channels, self.outputs, self.time * self.outputs);
        let Scratch { input, middle, sums } = scratch;
        let (first_sums, second_sums) = match keep {
            Some(keep) => keep.split_at_mut(length),
            None => {
                sums.resize(2 * length, 0.0);
                sums.split_at_mut(length)
            }
        };
        let [first, second] = &weights.halves;
        let norm = self.norm();
        first.convolution.apply(padded(x, LEAD * c, input), c, &first.bias, first_sums);
        let inner = padded_for(length, LEAD * o, middle);
        norm.sequence(first_sums, [&first.scale, &first.shift, offset], inner);
        second.convolution.apply(middle, o, &second.bias, second_sums);
        norm.sequence(second_sums, [&second.scale, &second.shift, &weights.no_offset], y);
        match &weights.skip {
            Some((weight, bias)) => weight.add(x, c, bias, y),
            None => y.iter_mut().zip(x).for_each(|(y, x)| *y += x),
        }
    }

    fn run(&self, inputs: &Inputs, keep: Option<&mut [f32]>) -> Vec<f32> {
        in_pool(|| self.run_in_pool(inputs, keep))
    }

    fn run_in_pool(&self, inputs: &Inputs, keep: Option<&mut [f32]>) -> Vec<f32> {
        let weights = self.pack(inputs.halves, inputs.skip);
        let length = self.time * self.outputs;
        let mut y = vec![0.0; self.batch * length];
        let sequences = y
            .par_chunks_exact_mut(length)
            .zip(inputs.x.par_chunks_exact(self.time * self.channels))
            .zip(inputs.offset.par_chunks_exact(self.outputs));
        match keep {
            Some(keep) => sequences.zip(keep.par_chunks_exact_mut(2 * length)).for_each_init(
                Scratch::default,
                |scratch, (((y, x), offset), keep)| {
                    self.sequence(&weights, [x, offset], scratch, Some(keep), y);
                },
            ),
            None => sequences.for_each_init(Scratch::default, |scratch, ((y, x), offset)| {
                self.sequence(&weights, [x, offset], scratch, None, y);
            }),
        }
        y
    }

    fn run_keeping(&self, inputs: &Inputs) -> (Vec<f32>, Vec<f32>) {
        let mut kept = workspace::take(2 * self.batch * self.time * self.outputs);
        (self.run(inputs, Some(&mut kept)), kept)
    }

    fn gradients(&self, inputs: &Inputs, kept: &[f32], grad: &[f32]) -> Gradients {
        in_pool(|| self.gradients_in_pool(inputs, kept, grad))
    }

    fn gradients_in_pool(&self, inputs: &Inputs, kept: &[f32], grad: &[f32]) -> Gradients {
        let (c, o, time) = (self.channels, self.outputs, self.time);
        let backward = Backward {
            op: self,
            inputs,
            first: self.convolution(c, TAPS).pack_backward(inputs.halves[0][0]),
            second: self.convolution(o, TAPS).pack_backward(inputs.halves[1][0]),
            skip: inputs.skip.map(|[weight, _]| self.convolution(c, 1).pack_backward(weight)),
        };
        let blocks = [c, o].map(|channels| packed_blocks(time + 2 * LEAD, channels));
        let panels = packed_panels(time, o);
        let skip_panels = if inputs.skip.is_some() { panels } else { 1 };
        let lengths = [blocks[0], blocks[1], panels, panels, skip_panels];
        let mut dx = vec![0.0; inputs.x.len()];
        workspace::with(lengths.map(|length| self.batch * length), |packed| {
            let [x, middle, first, second, skip] = packed;
            let parts: Vec<Parts> = dx
                .par_chunks_exact_mut(time * c)
                .zip(inputs.x.par_chunks_exact(time * c))
                .zip(inputs.offset.par_chunks_exact(o))
                .zip(kept.par_chunks_exact(2 * time * o))
                .zip(grad.par_chunks_exact(time * o))
                .zip(x.par_chunks_exact_mut(lengths[0]))
                .zip(middle.par_chunks_exact_mut(lengths[1]))
                .zip(first.par_chunks_exact_mut(lengths[2]))
                .zip(second.par_chunks_exact_mut(lengths[3]))
                .zip(skip.par_chunks_exact_mut(lengths[4]))
                .map_init(BackwardScratch::default, |scratch, arrays| {
                    let (rest, skip) = arrays;
                    let ((((rest, x_blocks), middle), first), second) = rest;
                    let ((((dx, x), offset), kept), grad) = rest;
                    let packed = Packed { x: x_blocks, middle, first, second, skip };
                    backward.sequence([x, offset, kept, grad], scratch, packed, dx)
                })
                .collect();
            let sum = |channels, x: &[f32], g: &[f32]| {
                self.convolution(channels, TAPS).weight_sum().sum(x, g)
            };
            let weights = [sum(c, x, first), sum(o, middle, second)];
            let skip_weight = inputs.skip.map(|_| {
                let sum = self.convolution(c, 1).weight_sum();
                // The blocks have the zeros the other convolution needs.
                let sum = OuterSum { input_rows: time + 2 * LEAD, first_row: LEAD, ..sum };
                sum.sum(x, skip)
            });
            Gradients::of(dx, weights, skip_weight, parts)
        })
    }
}

/// The inputs by what they are.
struct Inputs<'a> {
    x: &'a [f32],
    offset: &'a [f32],
    halves: [HalfWeights<'a>; 2],
    skip: Option<[&'a [f32]; 2]>,
}

/// Weights for the way back.
struct Backward<'a> {
    op: &'a Residual,
    inputs: &'a Inputs<'a>,
    first: Panels,
    second: Panels,
    skip: Option<Panels>,
}

/// Where one sequence goes for the sums of outer products.
struct Packed<'a> {
    x: &'a mut [f32],
    middle: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    skip: &'a mut [f32],
}

#[derive(Default)]
struct BackwardScratch {
    padded: Vec<f32>,
    middle: Vec<f32>,
    middle_grad: Vec<f32>,
}

/// Gradients of the short parameters from one sequence: bias, scale and shift
/// of both halves, and the offset.
struct Parts {
    bias: [Vec<f32>; 2],
    scale: [Vec<f32>; 2],
    shift: [Vec<f32>; 2],
    offset: Vec<f32>,
    skip_bias: Vec<f32>,
}

impl Backward<'_> {
    fn sequence(
        &self,
        [x, offset, kept, grad]: [&[f32]; 4],
        scratch: &mut BackwardScratch,
        packed: Packed,
        dx: &mut [f32],
    ) -> Parts {
        let (c, o) = (self.op.channels, self.op.outputs);
        let norm = self.op.norm();
        let length = self.op.time * o;
        let (first_sums, second_sums) = kept.split_at(length);
        let [[_, _, scale1, shift1], [_, _, scale2, shift2]] = self.inputs.halves;
        let BackwardScratch { padded, middle, middle_grad } = scratch;

        let inner = padded_for(length, LEAD * o, padded);
        let [dscale2, dshift2, _] =
            norm.backward_sequence(second_sums, [scale2, shift2], grad, inner);
        pack_panels(inner, o, packed.second);
        let dbias2 = column_sums(inner, o);
        middle_grad.resize(length, 0.0);
        self.second.apply(padded, o, &[], middle_grad);

        middle.resize(length, 0.0);
        norm.sequence(first_sums, [scale1, shift1, offset], middle);
        pack_blocks(middle, o, LEAD, packed.middle);
        let inner = padded_for(length, LEAD * o, padded);
        let [dscale1, dshift1, doffset] =
            norm.backward_sequence(first_sums, [scale1, shift1], middle_grad, inner);
        pack_panels(inner, o, packed.first);
        let dbias1 = column_sums(inner, o);
        pack_blocks(x, c, LEAD, packed.x);
        self.first.apply(padded, o, &[], dx);

        let skip_bias = match &self.skip {
            Some(skip) => {
                pack_panels(grad, o, packed.skip);
                skip.add(grad, o, &[], dx);
                column_sums(grad, o)
            }
            None => {
                dx.iter_mut().zip(grad).for_each(|(dx, grad)| *dx += grad);
                Vec::new()
            }
        };
        Parts {
            bias: [dbias1, dbias2],
            scale: [dscale1, dscale2],
            shift: [dshift1, dshift2],
            offset: doffset,
            skip_bias,
        }
    }
}

/// Gradients of everything.
struct Gradients {
    x: Vec<f32>,
    offset: Vec<f32>,
    halves: [[Vec<f32>; 4]; 2],
    skip: Option<[Vec<f32>; 2]>,
}

impl Gradients {
    /// Short parameters are summed in the order of sequences: the result must
    /// not depend on threads.
    fn of(
        x: Vec<f32>,
        weights: [Vec<f32>; 2],
        skip_weight: Option<Vec<f32>>,
        parts: Vec<Parts>,
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
