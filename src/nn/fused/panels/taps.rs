//! Convolutions of five taps with two fifths of the multiplications.
//!
//! Four neighboring outputs are the coefficients of a polynomial that is known
//! from eight of its values (Winograd 1980; Lavin and Gray 2016; F(4, 5) there):
//!
//! ```text
//! y = A^T [(G w) * (B^T d)]
//! ```
//!
//! with the five taps w, eight inputs d, and eight products in place of twenty.
//! At the points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity rounding errors are
//! four times those of the plain sum (measured at 128 channels: 9e-7 of the
//! output's deviation). Kernels are transformed once per pack, inputs and
//! outputs per sequence while they are in the cache. Where there are few
//! channels the transforms cost more than they save, and the plain sum is taken.

mod transforms;

use rayon::prelude::*;

use super::{
    OuterSum, PANEL, Panels, pack_blocks, pack_panels, packed_blocks, packed_panels, transpose,
};
use crate::nn::decoder::wide::{LANES, dispatch};
use crate::nn::fused::workspace::padded;
use transforms::{PutTogether, Spread, TakeApart, transform_back, transform_kernel};

/// Taps of the convolution; input `t - LEAD` is the first one output `t` sees.
pub const TAPS: usize = 5;
const LEAD: usize = TAPS / 2;
/// Outputs of a tile, and values that are multiplied for it.
const TILE: usize = 4;
const POINTS: usize = 8;
/// The only point all of whose powers are 1: what is added there is added to
/// every output.
const ONE: usize = 1;
/// With fewer channels on either side the transforms cost more than they save.
const FEWEST: usize = 2 * LANES;

fn is_plain(size: [usize; 2]) -> bool {
    size.iter().any(|n| *n < FEWEST || !n.is_multiple_of(LANES))
}

/// A kernel `[TAPS, channels, outputs]`, packed.
pub struct Taps {
    size: [usize; 2],
    /// One matrix, or one per point.
    weight: Vec<Panels>,
}

/// Where a sequence is taken apart.
#[derive(Default)]
pub struct Space {
    inputs: Vec<f32>,
    products: Vec<f32>,
}

impl Taps {
    /// Pack `weight` `[TAPS, channels, outputs]`.
    pub fn pack(weight: &[f32], size: [usize; 2]) -> Self {
        let [channels, outputs] = size;
        if is_plain(size) {
            return Self { size, weight: vec![Panels::pack(weight, [TAPS * channels, outputs])] };
        }
        let weight = at_points(size, |first, mut panels| {
            let columns = first..outputs.min(first + PANEL);
            for channel in 0..channels {
                let taps = std::array::from_fn(|tap| {
                    &weight[(tap * channels + channel) * outputs..][columns.clone()]
                });
                let row = channel * PANEL..channel * PANEL + columns.len();
                let at = panels.each_mut().map(|panel| &mut panel[row.clone()]);
                transform_kernel(taps, at);
            }
        });
        Self { size, weight }
    }

    /// Pack for the way back: from gradients of the outputs to those of the
    /// inputs, a convolution with the kernel transposed and its taps in reverse.
    pub fn pack_reversed(weight: &[f32], [channels, outputs]: [usize; 2]) -> Self {
        let size = [outputs, channels];
        if is_plain(size) {
            let weight = vec![Panels::pack_reversed(weight, [TAPS, channels, outputs])];
            return Self { size, weight };
        }
        let weight = at_points(size, |first, panels| {
            let length = PANEL.min(channels - first) * outputs;
            let mut rows = vec![0.0; POINTS * length];
            let taps = std::array::from_fn(|tap| {
                &weight[((TAPS - 1 - tap) * channels + first) * outputs..][..length]
            });
            let mut parts = rows.chunks_exact_mut(length);
            let at = std::array::from_fn(|_| parts.next().unwrap_or_default());
            transform_kernel(taps, at);
            for (rows, panel) in rows.chunks_exact(length).zip(panels) {
                transpose(rows, outputs, panel);
            }
        });
        Self { size, weight }
    }

    /// Sequences of `time` steps, `[n, time, channels]` to `[n, time, outputs]`,
    /// with zeros beyond the ends of each. An empty bias is none. Several at a
    /// time read the kernel once; how many changes no number.
    pub fn apply(&self, x: &[f32], time: usize, space: &mut Space, bias: &[f32], out: &mut [f32]) {
        let [channels, outputs] = self.size;
        let sequences = x.chunks_exact(time * channels);
        if let [weight] = self.weight.as_slice() {
            for (x, out) in sequences.zip(out.chunks_exact_mut(time * outputs)) {
                let x = padded(x, LEAD * channels, &mut space.inputs);
                weight.apply(x, channels, bias, out);
            }
            return;
        }
        let (n, tiles) = (sequences.len(), time.div_ceil(TILE));
        space.inputs.resize(POINTS * n * tiles * channels, 0.0);
        space.products.resize(POINTS * n * tiles * outputs, 0.0);
        for (at, x) in sequences.enumerate() {
            let rows = at * tiles..(at + 1) * tiles;
            dispatch(TakeApart { x, channels, rows, to: &mut space.inputs });
        }
        let parts = space.inputs.chunks_exact(n * tiles * channels);
        let products = space.products.chunks_exact_mut(n * tiles * outputs);
        for (at, ((weight, x), out)) in self.weight.iter().zip(parts).zip(products).enumerate() {
            let bias = if at == ONE { bias } else { &[] };
            weight.apply(x, channels, bias, out);
        }
        for (at, out) in out.chunks_exact_mut(time * outputs).enumerate() {
            let first = at * tiles;
            dispatch(PutTogether { products: &space.products, outputs, first, out });
        }
    }
}

/// A matrix of `size` per point; `fill` gets the first column of a panel and
/// that panel of every point.
fn at_points(
    [depth, width]: [usize; 2],
    fill: impl Fn(usize, [&mut [f32]; POINTS]) + Sync,
) -> Vec<Panels> {
    let n = width.div_ceil(PANEL);
    let empty = || Panels { depth, width, lanes: vec![[0.0; LANES]; 2 * depth * n] };
    let mut points: [Panels; POINTS] = std::array::from_fn(|_| empty());
    let mut all = points.each_mut().map(|point| point.lanes.chunks_exact_mut(2 * depth));
    let panels: Vec<[&mut [f32]; POINTS]> = (0..n)
        .map(|_| all.each_mut().map(|of| of.next().unwrap_or_default().as_flattened_mut()))
        .collect();
    panels.into_par_iter().enumerate().for_each(|(at, panels)| fill(at * PANEL, panels));
    points.into()
}

/// The gradient of a kernel from packed inputs and gradients of all sequences.
#[derive(Clone, Copy, Debug)]
pub struct TapsGradient {
    /// Sequences.
    pub batch: usize,
    /// Steps per sequence.
    pub time: usize,
    /// Channels of the input and of the output.
    pub size: [usize; 2],
}

impl TapsGradient {
    /// Numbers of one packed sequence of inputs, and of one of gradients.
    pub fn lengths(&self) -> [usize; 2] {
        let [channels, outputs] = self.size;
        match is_plain(self.size) {
            true => {
                [packed_blocks(self.time + 2 * LEAD, channels), packed_panels(self.time, outputs)]
            }
            false => {
                let rows = POINTS * self.time.div_ceil(TILE);
                [packed_blocks(rows, channels), packed_panels(rows, outputs)]
            }
        }
    }

    /// Pack inputs `[time, channels]`.
    pub fn pack_inputs(&self, x: &[f32], space: &mut Space, to: &mut [f32]) {
        let [channels, _] = self.size;
        if is_plain(self.size) {
            return pack_blocks(x, channels, LEAD, to);
        }
        let tiles = self.time.div_ceil(TILE);
        space.inputs.resize(POINTS * tiles * channels, 0.0);
        dispatch(TakeApart { x, channels, rows: 0..tiles, to: &mut space.inputs });
        pack_blocks(&space.inputs, channels, 0, to);
    }

    /// Pack gradients `[time, outputs]`.
    pub fn pack_gradients(&self, g: &[f32], space: &mut Space, to: &mut [f32]) {
        let [_, outputs] = self.size;
        if is_plain(self.size) {
            return pack_panels(g, outputs, to);
        }
        space.products.resize(POINTS * self.time.div_ceil(TILE) * outputs, 0.0);
        dispatch(Spread { g, outputs, to: &mut space.products });
        pack_panels(&space.products, outputs, to);
    }

    /// The gradient, `[TAPS, channels, outputs]`, of all sequences.
    pub fn sum(&self, x: &[f32], g: &[f32]) -> Vec<f32> {
        let Self { batch, time, size: [channels, outputs] } = *self;
        let tiles = time.div_ceil(TILE);
        let plain = OuterSum {
            batch,
            input_rows: time + 2 * LEAD,
            rows: time,
            stride: 1,
            first_row: 0,
            taps: TAPS,
            tap_rows: [1, 0],
            channels,
            outputs,
        };
        if is_plain(self.size) {
            return plain.sum(x, g);
        }
        let at_points = OuterSum {
            input_rows: POINTS * tiles,
            rows: tiles,
            taps: POINTS,
            tap_rows: [tiles, tiles],
            ..plain
        };
        let sums = at_points.sum(x, g);
        let length = channels * outputs;
        let mut weight = vec![0.0; TAPS * length];
        weight.par_chunks_exact_mut(length).enumerate().for_each(|(tap, weight)| {
            transform_back(std::array::from_fn(|p| &sums[p * length..][..length]), tap, weight);
        });
        weight
    }
}

#[cfg(test)]
mod tests;
