//! From and to the values at the points: the matrices of F(4, 5).

use std::ops::Range;

use multiversion::multiversion;

use super::{LEAD, POINTS, TAPS, TILE};
use crate::nn::decoder::wide::{Kernel, LANES, Lanes, Simd};

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

/// G: some numbers of every tap to the same at every point.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub(super) fn transform_kernel(taps: [&[f32]; TAPS], at: [&mut [f32]; POINTS]) {
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
pub(super) fn transform_back(at: [&[f32]; POINTS], tap: usize, weight: &mut [f32]) {
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
pub(super) struct TakeApart<'a> {
    pub(super) x: &'a [f32],
    pub(super) channels: usize,
    pub(super) rows: Range<usize>,
    pub(super) to: &'a mut [f32],
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
pub(super) struct PutTogether<'a> {
    pub(super) products: &'a [f32],
    pub(super) outputs: usize,
    pub(super) first: usize,
    pub(super) out: &'a mut [f32],
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
pub(super) struct Spread<'a> {
    pub(super) g: &'a [f32],
    pub(super) outputs: usize,
    pub(super) to: &'a mut [f32],
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
