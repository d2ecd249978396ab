//! The residual block of the temporal U-Net in one operation:
//!
//!   y = mish(norm(conv(mish(norm(conv(x))) + offset))) + skip(x)
//!
//! with convolutions of [`TAPS`] taps and a skip that is the identity or a
//! convolution of one. A thread takes a few sequences through the whole block
//! while they stay in its cache. Training keeps what the norms read and
//! computes the rest again, which costs less than to store and fetch it.

mod backward;
mod host_op;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use super::convolution::Convolution;
use super::norm_mish::NormMish;
use super::panels::{Panels, Space, Taps};
use super::workspace::{self, in_pool};
use backward::Gradients;

pub use super::panels::TAPS;

/// Most sequences that a thread takes at once: more of them leave its cache.
const TOGETHER: usize = 4;

/// Sequences `[n, time, channels]`, their offsets, and where they go.
type Group<'a> = ((&'a mut [f32], &'a [f32]), &'a [f32]);

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
    convolution: Taps,
    bias: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Half {
    fn pack([weight, bias, scale, shift]: HalfWeights, channels: usize, outputs: usize) -> Self {
        Self {
            convolution: Taps::pack(weight, [channels, outputs]),
            bias: bias.to_vec(),
            scale: scale.to_vec(),
            shift: shift.to_vec(),
        }
    }
}

/// A block's weights, packed for [`Residual::sequences`].
pub struct PackedResidual {
    halves: [Half; 2],
    skip: Option<(Panels, Vec<f32>)>,
    no_offset: Vec<f32>,
}

/// What [`Residual::sequences`] writes over.
#[derive(Default)]
pub struct Scratch {
    space: Space,
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

    /// How many of `batch` sequences a thread takes at once: up to
    /// [`TOGETHER`], which read the weights once, as long as every thread has
    /// some. It changes no number.
    pub fn together(batch: usize) -> usize {
        batch.div_ceil(rayon::current_num_threads()).clamp(1, TOGETHER)
    }

    /// Some sequences, `[n, time, channels]` to `[n, time, outputs]`; `offset`
    /// `[n, outputs]`. `keep` receives the sums of both convolutions.
    pub fn sequences(
        &self,
        weights: &PackedResidual,
        [x, offset]: [&[f32]; 2],
        scratch: &mut Scratch,
        keep: Option<[&mut [f32]; 2]>,
        y: &mut [f32],
    ) {
        let (c, o, time) = (self.channels, self.outputs, self.time);
        let Scratch { space, middle, sums } = scratch;
        let [first_sums, second_sums] = match keep {
            Some(keep) => keep,
            None => {
                sums.resize(2 * y.len(), 0.0);
                sums.split_at_mut(y.len()).into()
            }
        };
        let [first, second] = &weights.halves;
        let norm = self.norm();
        let each = |x: &[f32], half: &Half, offset: &[f32], y: &mut [f32]| {
            let sequences = y.chunks_exact_mut(time * o).zip(x.chunks_exact(time * o));
            for ((y, x), offset) in sequences.zip(offset.chunks_exact(o).cycle()) {
                norm.sequence(x, [&half.scale, &half.shift, offset], y);
            }
        };
        first.convolution.apply(x, time, space, &first.bias, first_sums);
        middle.resize(y.len(), 0.0);
        each(first_sums, first, offset, middle);
        second.convolution.apply(middle, time, space, &second.bias, second_sums);
        each(second_sums, second, &weights.no_offset, y);
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
        let n = Self::together(self.batch);
        let length = self.time * self.outputs;
        let mut y = vec![0.0; self.batch * length];
        let groups = y
            .par_chunks_mut(n * length)
            .zip(inputs.x.par_chunks(n * self.time * self.channels))
            .zip(inputs.offset.par_chunks(n * self.outputs));
        let each = |scratch: &mut Scratch, group: Group, keep: Option<[&mut [f32]; 2]>| {
            let ((y, x), offset) = group;
            self.sequences(&weights, [x, offset], scratch, keep, y);
        };
        match keep {
            Some(keep) => {
                let (first, second) = keep.split_at_mut(self.batch * length);
                let kept = first.par_chunks_mut(n * length).zip(second.par_chunks_mut(n * length));
                groups.zip(kept).for_each_init(Scratch::default, |scratch, (group, kept)| {
                    each(scratch, group, Some(kept.into()));
                });
            }
            None => {
                groups.for_each_init(Scratch::default, |scratch, group| each(scratch, group, None));
            }
        }
        y
    }

    fn run_keeping(&self, inputs: &Inputs) -> (Vec<f32>, Vec<f32>) {
        let mut kept = workspace::take(2 * self.batch * self.time * self.outputs);
        (self.run(inputs, Some(&mut kept)), kept)
    }
}

/// The inputs by what they are.
struct Inputs<'a> {
    x: &'a [f32],
    offset: &'a [f32],
    halves: [HalfWeights<'a>; 2],
    skip: Option<[&'a [f32]; 2]>,
}
