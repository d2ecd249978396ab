//! Transposed convolution with kernel 4, stride 2 and padding 1, over
//! `[batch, time, channel]`: doubles a sequence.
//!
//! Output 2t sums taps 3 and 1 at inputs t - 1 and t; output 2t + 1 sums taps
//! 2 and 0 at t and t + 1. Both at once are a 3-tap convolution with twice the
//! outputs, whose rows then read as pairs of steps.

use super::HostOp;
use super::convolution::Convolution;
use super::panels::Panels;

/// Where the taps stand in the convolution: tap, its tap there, and whether
/// it belongs to the odd outputs.
const PLACES: [(usize, usize, usize); 4] = [(3, 0, 0), (1, 1, 0), (2, 1, 1), (0, 2, 1)];

/// Sizes of an upsampling.
#[derive(Clone, Copy, Debug)]
pub struct Upsampling {
    /// Sequences.
    pub batch: usize,
    /// Steps per input sequence.
    pub time: usize,
    /// Channels, in and out.
    pub channels: usize,
}

impl Upsampling {
    /// The convolution whose rows are pairs of steps.
    pub fn convolution(&self) -> Convolution {
        let Self { batch, time, channels } = *self;
        Convolution { batch, time, channels, outputs: 2 * channels, kernel: 3, stride: 1 }
    }

    /// Its weights and bias, from `[4, channels, channels]` and `[channels]`.
    pub fn pairs(&self, weight: &[f32], bias: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let c = self.channels;
        let mut paired = vec![0.0; 6 * c * c];
        for (tap, place, parity) in PLACES {
            let to = paired[place * 2 * c * c..].chunks_exact_mut(2 * c);
            for (to, row) in to.zip(weight[tap * c * c..(tap + 1) * c * c].chunks_exact(c)) {
                to[parity * c..(parity + 1) * c].copy_from_slice(row);
            }
        }
        (paired, [bias, bias].concat())
    }

    /// Packed weights and bias of [`Self::convolution`].
    pub fn pack(&self, weight: &[f32], bias: &[f32]) -> (Panels, Vec<f32>) {
        let (weight, bias) = self.pairs(weight, bias);
        (self.convolution().pack(&weight), bias)
    }
}

impl HostOp<3> for Upsampling {
    fn output_shape(&self) -> Vec<usize> {
        vec![self.batch, 2 * self.time, self.channels]
    }

    /// Inputs: x `[batch, time, channels]`, weight `[4, channels, channels]`,
    /// bias `[channels]`.
    fn forward(&self, [x, weight, bias]: [&[f32]; 3]) -> Vec<f32> {
        let (weight, bias) = self.pairs(weight, bias);
        self.convolution().forward([x, &weight, &bias])
    }

    fn backward(&self, [x, weight, bias]: [&[f32]; 3], grad: &[f32]) -> [Vec<f32>; 3] {
        let c = self.channels;
        let (weight, bias) = self.pairs(weight, bias);
        let [dx, paired, paired_bias] = self.convolution().backward([x, &weight, &bias], grad);
        let mut dweight = vec![0.0; 4 * c * c];
        for (tap, place, parity) in PLACES {
            let from = paired[place * 2 * c * c..].chunks_exact(2 * c);
            for (row, from) in dweight[tap * c * c..(tap + 1) * c * c].chunks_exact_mut(c).zip(from)
            {
                row.copy_from_slice(&from[parity * c..(parity + 1) * c]);
            }
        }
        let (even, odd) = paired_bias.split_at(c);
        let dbias = even.iter().zip(odd).map(|(even, odd)| even + odd).collect();
        [dx, dweight, dbias]
    }
}
