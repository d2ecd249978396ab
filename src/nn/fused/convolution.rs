//! 1-D convolution over `[batch, time, channel]`, one sequence at a time.
//!
//! With zeros around a sequence, the window of output row `r` is the `kernel *
//! channels` numbers that start at padded row `r * stride`: the matrix of all
//! windows is a view with overlapping rows of the padded input and needs no
//! copy. Threads take whole sequences, and share the packed weights.

use multiversion::multiversion;
use rayon::prelude::*;

use super::HostOp;
use super::panels::{
    OuterSum, PANEL, Panels, pack_blocks, pack_panels, packed_blocks, packed_panels,
};
use super::workspace::{self, in_pool, padded};

/// `y[b, t] = bias + sum_k x[b, t * stride + k - kernel / 2] w[k]`, zeros
/// outside the sequence.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// Sequences.
    pub batch: usize,
    /// Steps per input sequence; a multiple of `stride`.
    pub time: usize,
    /// Input channels.
    pub channels: usize,
    /// Output channels.
    pub outputs: usize,
    /// Taps, odd.
    pub kernel: usize,
    /// 1, or 2 to halve the sequence.
    pub stride: usize,
}

impl Convolution {
    /// Steps per output sequence.
    pub fn output_time(&self) -> usize {
        self.time.div_ceil(self.stride)
    }

    /// Zero rows on both sides of a sequence.
    pub(super) fn lead(&self) -> usize {
        self.kernel / 2
    }

    /// Weights `[kernel, channels, outputs]` for [`Self::sequence`].
    pub fn pack(&self, weight: &[f32]) -> Panels {
        Panels::pack(weight, [self.kernel * self.channels, self.outputs])
    }

    /// The same weights for [`Self::input_grad`].
    pub(super) fn pack_backward(&self, weight: &[f32]) -> Panels {
        if self.stride == 1 {
            // The gradient is a convolution with the flipped, transposed kernel.
            Panels::pack_reversed(weight, [self.kernel, self.channels, self.outputs])
        } else {
            Panels::pack_reversed(weight, [1, self.kernel * self.channels, self.outputs])
        }
    }

    /// One sequence, `[time, channels]` to `[output_time, outputs]`.
    pub fn sequence(
        &self,
        weight: &Panels,
        bias: &[f32],
        x: &[f32],
        scratch: &mut Vec<f32>,
        y: &mut [f32],
    ) {
        let x = if self.lead() == 0 { x } else { padded(x, self.lead() * self.channels, scratch) };
        weight.apply(x, self.stride * self.channels, bias, y);
    }

    /// The gradient of one sequence's input, given that of its output.
    pub(super) fn input_grad(
        &self,
        weight: &Panels,
        grad: &[f32],
        scratch: &mut Vec<f32>,
        dx: &mut [f32],
    ) {
        let (c, o) = (self.channels, self.outputs);
        if self.stride == 1 {
            let grad = if self.lead() == 0 { grad } else { padded(grad, self.lead() * o, scratch) };
            weight.apply(grad, o, &[], dx);
            return;
        }
        // Gradients of the windows, added back where they overlap.
        scratch.resize(self.output_time() * self.kernel * c, 0.0);
        weight.apply(grad, o, &[], scratch);
        dx.fill(0.0);
        for (row, window) in scratch.chunks_exact(self.kernel * c).enumerate() {
            for (tap, window) in window.chunks_exact(c).enumerate() {
                let Some(at) = (row * self.stride + tap).checked_sub(self.lead()) else { continue };
                let Some(dx) = dx.chunks_exact_mut(c).nth(at) else { continue };
                dx.iter_mut().zip(window).for_each(|(sum, value)| *sum += value);
            }
        }
    }

    /// The gradient of the weights from packed inputs and packed gradients.
    pub(super) fn weight_sum(&self) -> OuterSum {
        OuterSum {
            batch: self.batch,
            input_rows: self.time + 2 * self.lead(),
            rows: self.output_time(),
            stride: self.stride,
            first_row: 0,
            taps: self.kernel,
            tap_rows: [1, 0],
            channels: self.channels,
            outputs: self.outputs,
        }
    }

    fn run(&self, [x, weight, bias]: [&[f32]; 3]) -> Vec<f32> {
        let weight = self.pack(weight);
        let mut y = vec![0.0; self.batch * self.output_time() * self.outputs];
        y.par_chunks_exact_mut(self.output_time() * self.outputs)
            .zip(x.par_chunks_exact(self.time * self.channels))
            .for_each_init(Vec::new, |scratch, (y, x)| {
                self.sequence(&weight, bias, x, scratch, y);
            });
        y
    }

    fn gradients(&self, [x, weight]: [&[f32]; 2], grad: &[f32]) -> [Vec<f32>; 3] {
        let (x_length, g_length) = (self.time * self.channels, self.output_time() * self.outputs);
        let op = self.weight_sum();
        let x_packed = packed_blocks(op.input_rows, self.channels);
        let g_packed = packed_panels(op.rows, self.outputs);
        let backward = self.pack_backward(weight);
        let mut dx = vec![0.0; x.len()];
        workspace::with([self.batch * x_packed, self.batch * g_packed], |[blocks, panels]| {
            let bias_parts: Vec<Vec<f32>> = dx
                .par_chunks_exact_mut(x_length)
                .zip(x.par_chunks_exact(x_length))
                .zip(grad.par_chunks_exact(g_length))
                .zip(blocks.par_chunks_exact_mut(x_packed))
                .zip(panels.par_chunks_exact_mut(g_packed))
                .map_init(Vec::new, |scratch, ((((dx, x), grad), blocks), panels)| {
                    pack_blocks(x, self.channels, self.lead(), blocks);
                    pack_panels(grad, self.outputs, panels);
                    self.input_grad(&backward, grad, scratch, dx);
                    column_sums(grad, self.outputs)
                })
                .collect();
            [dx, op.sum(blocks, panels), total(&bias_parts)]
        })
    }
}

impl HostOp<3> for Convolution {
    fn output_shape(&self) -> Vec<usize> {
        vec![self.batch, self.output_time(), self.outputs]
    }

    /// Inputs: x `[batch, time, channels]`, weight `[kernel, channels,
    /// outputs]`, bias `[outputs]`.
    fn forward(&self, inputs: [&[f32]; 3]) -> Vec<f32> {
        in_pool(|| self.run(inputs))
    }

    fn backward(&self, [x, weight, _bias]: [&[f32]; 3], grad: &[f32]) -> [Vec<f32>; 3] {
        in_pool(|| self.gradients([x, weight], grad))
    }
}

/// Sums over the rows of `x` `[rows, width]`.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub(super) fn column_sums(x: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    let (blocks, rest) = sums.as_chunks_mut::<PANEL>();
    // A block of columns at a time: its sums stay in registers.
    for (block, sums) in blocks.iter_mut().enumerate() {
        for row in x.chunks_exact(width) {
            let Some(values) = row[block * PANEL..].first_chunk::<PANEL>() else { break };
            for i in 0..PANEL {
                sums[i] += values[i];
            }
        }
    }
    let first = width - rest.len();
    for row in x.chunks_exact(width).filter(|row| row.len() > first) {
        rest.iter_mut().zip(&row[first..]).for_each(|(sum, value)| *sum += value);
    }
    sums
}

/// Sums of equally long parts, in order: they must not depend on threads.
pub(super) fn total(parts: &[Vec<f32>]) -> Vec<f32> {
    let mut sums = parts.first().cloned().unwrap_or_default();
    for part in parts.iter().skip(1) {
        sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
    }
    sums
}
