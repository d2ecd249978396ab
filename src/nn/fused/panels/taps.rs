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

use std::ops::Range;

use multiversion::multiversion;
use rayon::prelude::*;

use super::{
    OuterSum, PANEL, Panels, pack_blocks, pack_panels, packed_blocks, packed_panels, transpose,
};
use crate::nn::decoder::wide::{Kernel, LANES, Lanes, Simd, dispatch};
use crate::nn::fused::workspace::padded;

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

/// G: the kernel at every point.
const KERNEL: [[f32; TAPS]; POINTS] = {
    /// Powers of `x`, over the product of its distances from the other points.
    const fn powers(x: f32, over: f32) -> [f32; TAPS] {
        let unit = 1.0 / over;
        [unit, x * unit, x * x * unit, x * x * x * unit, x * x * x * x * unit]
    }
    [
        powers(0.0, -1.0),
        powers(1.0, -4.5),
        powers(-1.0, -4.5),
        powers(2.0, 90.0),
        powers(-2.0, 90.0),
        powers(0.5, 1.406_25),
        powers(-0.5, 1.406_25),
        [0.0, 0.0, 0.0, 0.0, 1.0],
    ]
};

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

/// G: some numbers of every tap to the same at every point.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn transform_kernel(taps: [&[f32]; TAPS], at: [&mut [f32]; POINTS]) {
    for (at, factors) in at.into_iter().zip(KERNEL) {
        let [t0, t1, t2, t3, t4] = taps.map(|tap| &tap[..at.len()]);
        let [f0, f1, f2, f3, f4] = factors;
        for i in 0..at.len() {
            at[i] = f0 * t0[i] + f1 * t1[i] + f2 * t2[i] + f3 * t3[i] + f4 * t4[i];
        }
    }
}

/// G^T: gradients at every point to those of some numbers of one tap.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn transform_back(at: [&[f32]; POINTS], tap: usize, weight: &mut [f32]) {
    weight.fill(0.0);
    for (at, factors) in at.into_iter().zip(KERNEL) {
        let (at, factor) = (&at[..weight.len()], factors[tap]);
        for i in 0..at.len() {
            weight[i] += factor * at[i];
        }
    }
}

/// The parts of an array that belong to each point.
fn by_point(array: &mut [f32]) -> [&mut [Lanes]; POINTS] {
    let lanes = array.as_chunks_mut::<LANES>().0;
    let length = (lanes.len() / POINTS).max(1);
    let mut parts = lanes.chunks_exact_mut(length);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// Rows of `width` [`Lanes`], with rows of zeros before and after them.
struct Rows<'a> {
    rows: &'a [Lanes],
    width: usize,
    zeros: Vec<Lanes>,
}

impl<'a> Rows<'a> {
    fn of(values: &'a [f32], channels: usize) -> Self {
        let width = channels / LANES;
        Rows { rows: values.as_chunks().0, width, zeros: vec![[0.0; LANES]; width] }
    }

    /// Row number `at`, less `before`.
    #[inline(always)]
    fn get(&self, at: usize, before: usize) -> &[Lanes] {
        let start = at.checked_sub(before).map(|row| row * self.width);
        let row = start.and_then(|start| self.rows.get(start..start + self.width));
        &row.unwrap_or(&self.zeros)[..self.width]
    }
}

/// B^T: `x` `[time, channels]` to some rows of `[POINTS, rows, channels]`, one
/// per tile.
struct TakeApart<'a> {
    x: &'a [f32],
    channels: usize,
    rows: Range<usize>,
    to: &'a mut [f32],
}

impl Kernel for TakeApart<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let x = Rows::of(self.x, self.channels);
        let mut to = by_point(self.to);
        for (tile, row) in self.rows.enumerate() {
            let d: [&[Lanes]; POINTS] = std::array::from_fn(|i| x.get(TILE * tile + i, LEAD));
            #[expect(clippy::needless_range_loop, reason = "eight rows side by side")]
            for c in 0..x.width {
                let at = row * x.width + c;
                let (d0, d1) = (simd.load(&d[0][c]), simd.load(&d[1][c]));
                let (d2, d3) = (simd.load(&d[2][c]), simd.load(&d[3][c]));
                let (d4, d5) = (simd.load(&d[4][c]), simd.load(&d[5][c]));
                let (d6, d7) = (simd.load(&d[6][c]), simd.load(&d[7][c]));
                let middle = plus(simd, d2, -1.0, d4);
                let first = plus(simd, plus(simd, d6, -1.0, d0), 5.25, middle);
                simd.store(first, &mut to[0][at]);
                let middle = plus(simd, d3, -1.0, d5);
                let last = plus(simd, plus(simd, d7, -1.0, d1), 5.25, middle);
                simd.store(last, &mut to[7][at]);

                let even = plus(simd, simd.add(d6, d2), -4.25, d4);
                let odd = plus(simd, simd.add(d5, d1), -4.25, d3);
                store_pair(simd, [even, odd], 1.0, &mut to[1..3], at);
                let even = plus(simd, plus(simd, d6, 0.25, d2), -1.25, d4);
                let odd = plus(simd, plus(simd, d5, 0.25, d1), -1.25, d3);
                store_pair(simd, [even, odd], 2.0, &mut to[3..5], at);
                let even = plus(simd, plus(simd, d6, -5.0, d4), 4.0, d2);
                let odd = plus(simd, plus(simd, d5, -5.0, d3), 4.0, d1);
                store_pair(simd, [even, odd], 0.5, &mut to[5..7], at);
            }
        }
    }
}

/// A^T: rows of `[POINTS, rows, outputs]`, the `first` and those after it, to
/// `[time, outputs]`.
struct PutTogether<'a> {
    products: &'a [f32],
    outputs: usize,
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for PutTogether<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.outputs / LANES;
        let products = self.products.as_chunks::<LANES>().0;
        let length = products.len() / POINTS;
        let m: [&[Lanes]; POINTS] =
            std::array::from_fn(|point| &products[point * length..][..length]);
        let out = self.out.as_chunks_mut::<LANES>().0;
        for (tile, out) in out.chunks_mut(TILE * width).enumerate() {
            // The last tile of a sequence may have fewer.
            let n = out.len() / width;
            for o in 0..width {
                let at = (self.first + tile) * width + o;
                let (s1, d1) = both(simd, &m[1][at], &m[2][at]);
                let (s2, d2) = both(simd, &m[3][at], &m[4][at]);
                let (s3, d3) = both(simd, &m[5][at], &m[6][at]);
                let sum = simd.add(simd.load(&m[0][at]), s1);
                simd.store(simd.add(sum, simd.add(s2, s3)), &mut out[o]);
                if n > 1 {
                    let sum = plus(simd, plus(simd, d1, 2.0, d2), 0.5, d3);
                    simd.store(sum, &mut out[width + o]);
                }
                if n > 2 {
                    let sum = plus(simd, plus(simd, s1, 4.0, s2), 0.25, s3);
                    simd.store(sum, &mut out[2 * width + o]);
                }
                if n > 3 {
                    let sum = plus(simd, simd.add(d1, simd.load(&m[7][at])), 8.0, d2);
                    simd.store(plus(simd, sum, 0.125, d3), &mut out[3 * width + o]);
                }
            }
        }
    }
}

/// A: gradients `g` `[time, outputs]` to `[POINTS, tiles, outputs]`.
struct Spread<'a> {
    g: &'a [f32],
    outputs: usize,
    to: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let g = Rows::of(self.g, self.outputs);
        let mut to = by_point(self.to);
        for tile in 0..to[0].len() / g.width {
            let rows: [&[Lanes]; TILE] = std::array::from_fn(|i| g.get(TILE * tile + i, 0));
            #[expect(clippy::needless_range_loop, reason = "four rows side by side")]
            for o in 0..g.width {
                let at = tile * g.width + o;
                let (g0, g1) = (simd.load(&rows[0][o]), simd.load(&rows[1][o]));
                let (g2, g3) = (simd.load(&rows[2][o]), simd.load(&rows[3][o]));
                simd.store(g0, &mut to[0][at]);
                simd.store(g3, &mut to[7][at]);
                let sums = [simd.add(g0, g2), simd.add(g1, g3)];
                store_pair(simd, sums, 1.0, &mut to[1..3], at);
                let sums = [plus(simd, g0, 4.0, g2), plus(simd, g1, 4.0, g3)];
                store_pair(simd, sums, 2.0, &mut to[3..5], at);
                let sums = [plus(simd, g0, 0.25, g2), plus(simd, g1, 0.25, g3)];
                store_pair(simd, sums, 0.5, &mut to[5..7], at);
            }
        }
    }
}

// Functions, not closures: those are not compiled for the instructions.

/// `a + factor b`.
#[inline(always)]
fn plus<S: Simd>(simd: S, a: S::Wide, factor: f32, b: S::Wide) -> S::Wide {
    simd.fma(simd.splat(factor), b, a)
}

/// `a + b` and `a - b`.
#[inline(always)]
fn both<S: Simd>(simd: S, a: &Lanes, b: &Lanes) -> (S::Wide, S::Wide) {
    let (a, b) = (simd.load(a), simd.load(b));
    (simd.add(a, b), plus(simd, a, -1.0, b))
}

/// The values of a polynomial at a root and its opposite, from its even and its
/// odd part.
#[inline(always)]
fn store_pair<S: Simd>(
    simd: S,
    [even, odd]: [S::Wide; 2],
    root: f32,
    to: &mut [&mut [Lanes]],
    at: usize,
) {
    simd.store(plus(simd, even, root, odd), &mut to[0][at]);
    simd.store(plus(simd, even, -root, odd), &mut to[1][at]);
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
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// By the definition, in double precision.
    fn exact(x: &[f32], weight: &[f32], [channels, outputs]: [usize; 2]) -> Vec<f64> {
        let time = x.len() / channels;
        let mut y = vec![0.0; time * outputs];
        for (at, y) in y.iter_mut().enumerate() {
            let (t, o) = (at / outputs, at % outputs);
            for tap in 0..TAPS {
                let Some(row) = (t + tap).checked_sub(LEAD).filter(|row| *row < time) else {
                    continue;
                };
                for c in 0..channels {
                    *y += f64::from(x[row * channels + c])
                        * f64::from(weight[(tap * channels + c) * outputs + o]);
                }
            }
        }
        y
    }

    #[test]
    fn sequences_of_any_length_are_convolved_forth_and_back() {
        let mut space = Space::default();
        for size in [[48, 32], [32, 80], [3, 40], [40, 5]] {
            let [channels, outputs] = size;
            for time in [1, 2, 5, 16] {
                let mut rng = Rng::stream(1, "taps");
                let (x, g) = (rng.normals(time * channels), rng.normals(time * outputs));
                let weight = rng.normals(TAPS * channels * outputs);
                let bias = rng.normals(outputs);
                let mut y = vec![f32::NAN; time * outputs];
                Taps::pack(&weight, size).apply(&x, time, &mut space, &bias, &mut y);
                let expected = exact(&x, &weight, size);
                for (at, (y, expected)) in y.iter().zip(&expected).enumerate() {
                    let expected = expected + f64::from(bias[at % outputs]);
                    // Outputs deviate by 20.
                    assert!((f64::from(*y) - expected).abs() < 5e-4, "{size:?} {time} {at}");
                }
                // <conv(x), g> = <x, back(g)>.
                let mut back = vec![f32::NAN; time * channels];
                Taps::pack_reversed(&weight, size).apply(&g, time, &mut space, &[], &mut back);
                let dot = |a: &[f32], b: &mut dyn Iterator<Item = f64>| -> f64 {
                    a.iter().map(|a| f64::from(*a)).zip(b).map(|(a, b)| a * b).sum()
                };
                let left = dot(&g, &mut expected.iter().copied());
                let right = dot(&x, &mut back.iter().map(|v| f64::from(*v)));
                assert!((left - right).abs() < 1e-3 * (1.0 + left.abs()), "{size:?} {time}");
            }
        }
    }

    #[test]
    fn sequences_side_by_side_are_those_one_by_one() {
        let mut space = Space::default();
        for size in [[32, 48], [3, 40]] {
            let mut rng = Rng::stream(3, "taps");
            let (x, bias) = (rng.normals(5 * 6 * size[0]), rng.normals(size[1]));
            let taps = Taps::pack(&rng.normals(TAPS * size[0] * size[1]), size);
            let mut all = vec![f32::NAN; 5 * 6 * size[1]];
            taps.apply(&x, 6, &mut space, &bias, &mut all);
            for (x, y) in x.chunks(6 * size[0]).zip(all.chunks(6 * size[1])) {
                let mut alone = vec![f32::NAN; y.len()];
                taps.apply(x, 6, &mut space, &bias, &mut alone);
                assert_eq!(alone, y);
            }
        }
    }

    #[test]
    fn the_kernels_gradient_is_the_sum_of_outer_products() {
        let mut space = Space::default();
        for (size, time) in [([48, 32], 6), ([32, 80], 7), ([5, 40], 6)] {
            let [channels, outputs] = size;
            let op = TapsGradient { batch: 3, time, size };
            let mut rng = Rng::stream(2, "taps");
            let (x, g) = (rng.normals(3 * time * channels), rng.normals(3 * time * outputs));
            let [x_length, g_length] = op.lengths();
            let (mut blocks, mut panels) = (vec![7.0; 3 * x_length], vec![7.0; 3 * g_length]);
            for (x, to) in x.chunks(time * channels).zip(blocks.chunks_mut(x_length)) {
                op.pack_inputs(x, &mut space, to);
            }
            for (g, to) in g.chunks(time * outputs).zip(panels.chunks_mut(g_length)) {
                op.pack_gradients(g, &mut space, to);
            }
            let sums = op.sum(&blocks, &panels);
            for (at, sum) in sums.iter().enumerate() {
                let (tap, c, o) = (at / outputs / channels, at / outputs % channels, at % outputs);
                let mut expected = 0.0;
                for (b, t) in (0..3 * time).map(|i| (i / time, i % time)) {
                    let row = (t + tap).checked_sub(LEAD).filter(|row| *row < time);
                    let Some(row) = row else { continue };
                    expected += f64::from(x[(b * time + row) * channels + c])
                        * f64::from(g[(b * time + t) * outputs + o]);
                }
                assert!((f64::from(*sum) - expected).abs() < 2e-4, "{size:?} {at}: {sum}");
            }
        }
    }
}
