//! Matrix products with weights packed for them, and sums of outer products:
//! the arithmetic of a convolution, one sequence at a time.
//!
//! Weights are stored in panels of [`PANEL`] columns, `[depth, PANEL]` each: a
//! tile of a few rows times one panel keeps its sums in registers and reads
//! everything in order. Measured at 97 % of what the processor can multiply,
//! with panels that stream from the cache all threads share, so a thread can
//! take one sequence through several layers while it stays in its own.

mod outer;
mod taps;

pub use outer::{OuterSum, pack_blocks, pack_panels, packed_blocks, packed_panels};

pub use taps::{Space, TAPS, Taps, TapsGradient};

use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

use crate::nn::decoder::wide::{Kernel, LANES, Lanes, Simd, dispatch};

/// Columns of one panel.
pub const PANEL: usize = 2 * LANES;

/// A matrix `[depth, width]`, packed; columns are padded with zeros.
pub struct Panels {
    depth: usize,
    width: usize,
    lanes: Vec<Lanes>,
}

impl Panels {
    /// Pack row-major `weight` `[depth, width]`.
    pub fn pack(weight: &[f32], [depth, width]: [usize; 2]) -> Self {
        Self::fill([depth, width], |first, panel| {
            let n = PANEL.min(width - first);
            for (row, to) in weight.chunks_exact(width).zip(panel.chunks_exact_mut(PANEL)) {
                to[..n].copy_from_slice(&row[first..first + n]);
            }
        })
    }

    /// Pack `weight` `[taps, channels, outputs]` transposed and with its taps
    /// in reverse: `[taps * outputs, channels]`.
    pub fn pack_reversed(weight: &[f32], [taps, channels, outputs]: [usize; 3]) -> Self {
        Self::fill([taps * outputs, channels], |first, panel| {
            let n = PANEL.min(channels - first);
            for (tap, panel) in panel.chunks_exact_mut(PANEL * outputs).rev().enumerate() {
                let start = (tap * channels + first) * outputs;
                transpose(&weight[start..start + n * outputs], outputs, panel);
            }
        })
    }

    fn fill([depth, width]: [usize; 2], fill: impl Fn(usize, &mut [f32]) + Sync) -> Self {
        let mut lanes = vec![[0.0; LANES]; 2 * depth * width.div_ceil(PANEL)];
        if width <= PANEL {
            fill(0, lanes.as_flattened_mut());
        } else {
            let panels = lanes.par_chunks_exact_mut(2 * depth).enumerate();
            panels.for_each(|(index, panel)| fill(index * PANEL, panel.as_flattened_mut()));
        }
        Self { depth, width, lanes }
    }

    /// `out = x W + bias` for row-major `out`; row `r` of `x` begins at
    /// `r * pitch`, so rows may overlap. An empty bias is none.
    pub fn apply(&self, x: &[f32], pitch: usize, bias: &[f32], out: &mut [f32]) {
        dispatch(Product::<false> { weight: self, x, pitch, bias, out });
    }

    /// `out += x W + bias`.
    pub fn add(&self, x: &[f32], pitch: usize, bias: &[f32], out: &mut [f32]) {
        dispatch(Product::<true> { weight: self, x, pitch, bias, out });
    }
}

/// Rows `[n, outputs]` to the columns of `[outputs, PANEL]`.
fn transpose(rows: &[f32], outputs: usize, panel: &mut [f32]) {
    // Blocks as wide as a cache line, so that each line is read once.
    for first in (0..outputs).step_by(LANES) {
        let last = outputs.min(first + LANES);
        for (column, row) in rows.chunks_exact(outputs).enumerate() {
            let to = panel[first * PANEL..last * PANEL].iter_mut().skip(column).step_by(PANEL);
            for (to, value) in to.zip(&row[first..last]) {
                *to = *value;
            }
        }
    }
}

/// `out = x W + bias`, or `out += x W + bias`.
struct Product<'a, const ADD: bool> {
    weight: &'a Panels,
    x: &'a [f32],
    pitch: usize,
    bias: &'a [f32],
    out: &'a mut [f32],
}

impl<const ADD: bool> Kernel for Product<'_, ADD> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { weight, x, pitch, bias, out } = self;
        let rows = out.len() / weight.width;
        assert!(out.len() == rows * weight.width, "whole rows");
        assert!(bias.is_empty() || bias.len() == weight.width, "a bias for every column");
        for (index, panel) in weight.lanes.chunks_exact(2 * weight.depth).enumerate() {
            let columns = index * PANEL..weight.width.min((index + 1) * PANEL);
            let mut start = [[0.0; LANES]; 2];
            if let Some(bias) = bias.get(columns.clone()) {
                start.as_flattened_mut()[..bias.len()].copy_from_slice(bias);
            }
            let tile = Tile { simd, depth: weight.depth, pitch, panel, start, columns };
            if S::ROWS == 1 {
                // Compilers make nothing of arrays; another library has
                // kernels for this processor.
                tile.by_library::<ADD>(x, out, weight.width);
                continue;
            }
            let mut row = 0;
            while row < rows {
                let (x, out) = (&x[row * pitch..], &mut out[row * weight.width..]);
                let left = rows - row;
                row += if S::ROWS >= 8 && left >= 8 {
                    tile.finish::<8, ADD>(x, out, weight.width)
                } else if S::ROWS >= 4 && left >= 4 {
                    tile.finish::<4, ADD>(x, out, weight.width)
                } else if left >= 2 {
                    tile.finish::<2, ADD>(x, out, weight.width)
                } else {
                    tile.finish::<1, ADD>(x, out, weight.width)
                };
            }
        }
    }
}

/// One panel and what its sums start from.
struct Tile<'a, S> {
    simd: S,
    depth: usize,
    pitch: usize,
    panel: &'a [Lanes],
    start: [Lanes; 2],
    columns: Range<usize>,
}

impl<S: Simd> Tile<'_, S> {
    #[inline(always)]
    fn finish<const ROWS: usize, const ADD: bool>(
        &self,
        x: &[f32],
        out: &mut [f32],
        width: usize,
    ) -> usize {
        let Self { simd, depth, pitch, .. } = *self;
        let rows: [&[f32]; ROWS] = std::array::from_fn(|row| &x[row * pitch..][..depth]);
        let panel = self.panel.as_chunks::<2>().0;
        let mut sums = [[simd.load(&self.start[0]), simd.load(&self.start[1])]; ROWS];
        for (at, weights) in panel[..depth].iter().enumerate() {
            let weights = [simd.load(&weights[0]), simd.load(&weights[1])];
            for row in 0..ROWS {
                let factor = simd.splat(rows[row][at]);
                sums[row][0] = simd.fma(factor, weights[0], sums[row][0]);
                sums[row][1] = simd.fma(factor, weights[1], sums[row][1]);
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let out = &mut out[row * width..][self.columns.clone()];
            if let Ok(out) = <&mut [f32; PANEL]>::try_from(&mut *out) {
                for (out, sum) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
                    let sum = if ADD { simd.add(simd.load(out), sum) } else { sum };
                    simd.store(sum, out);
                }
                continue;
            }
            let mut lanes = [[0.0; LANES]; 2];
            simd.store(sums[0], &mut lanes[0]);
            simd.store(sums[1], &mut lanes[1]);
            for (out, sum) in out.iter_mut().zip(lanes.as_flattened()) {
                *out = if ADD { *out + sum } else { *sum };
            }
        }
        ROWS
    }

    fn by_library<const ADD: bool>(&self, x: &[f32], out: &mut [f32], width: usize) {
        let rows = out.len() / width;
        for out in out.chunks_exact_mut(width) {
            for (out, start) in out[self.columns.clone()].iter_mut().zip(self.start.as_flattened())
            {
                *out = if ADD { *out + start } else { *start };
            }
        }
        let product = LibraryProduct {
            size: [rows, self.columns.len(), self.depth],
            lhs: (x, [self.pitch, 1]),
            rhs: (self.panel.as_flattened(), [PANEL, 1]),
        };
        product.add_to(&mut out[self.columns.start..], width);
    }
}

/// `[m, depth] x [depth, n]` with row and column strides.
struct LibraryProduct<'a> {
    /// m, n and depth.
    size: [usize; 3],
    lhs: (&'a [f32], [usize; 2]),
    rhs: (&'a [f32], [usize; 2]),
}

impl LibraryProduct<'_> {
    /// Add the product to row-major `out` with rows of `width`.
    fn add_to(&self, out: &mut [f32], width: usize) {
        let [m, n, depth] = self.size;
        if m * n * depth == 0 {
            return;
        }
        let last = |[rows, columns]: [usize; 2], [row, column]: [usize; 2]| {
            (rows - 1) * row + (columns - 1) * column
        };
        let ((lhs, by_lhs), (rhs, by_rhs)) = (self.lhs, self.rhs);
        assert!(last([m, n], [width, 1]) < out.len());
        assert!(last([m, depth], by_lhs) < lhs.len() && last([depth, n], by_rhs) < rhs.len());
        // SAFETY: the assertions above bound every element the product
        // touches; `out` is an exclusive borrow and cannot overlap the inputs.
        #[expect(unsafe_code, reason = "gemm takes raw pointers; bounds are asserted above")]
        unsafe {
            gemm::gemm(
                m,
                n,
                depth,
                out.as_mut_ptr(),
                1,
                width as isize,
                true,
                lhs.as_ptr(),
                by_lhs[1] as isize,
                by_lhs[0] as isize,
                rhs.as_ptr(),
                by_rhs[1] as isize,
                by_rhs[0] as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::decoder::wide::everywhere;
    use crate::rng::Rng;

    #[derive(Clone)]
    struct Case<'a> {
        weight: &'a Panels,
        x: &'a [f32],
        pitch: usize,
        bias: &'a [f32],
        rows: usize,
    }

    impl Kernel for Case<'_> {
        type Output = [Vec<f32>; 2];

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Self::Output {
            let Self { weight, x, pitch, bias, rows } = self;
            let mut set = vec![f32::NAN; rows * weight.width];
            Product::<false> { weight, x, pitch, bias, out: &mut set }.run(simd);
            let mut added = vec![1.0; rows * weight.width];
            Product::<true> { weight, x, pitch, bias, out: &mut added }.run(simd);
            [set, added]
        }
    }

    #[test]
    fn every_instruction_set_multiplies_overlapping_rows_of_any_size() {
        let mut rng = Rng::stream(1, "panels");
        for [rows, depth, width, pitch] in
            [[1, 5, 3, 2], [8, 15, 32, 5], [15, 7, 33, 7], [23, 40, 70, 8]]
        {
            let x = rng.normals((rows - 1) * pitch + depth);
            let (weight, bias) = (rng.normals(depth * width), rng.normals(width));
            let panels = Panels::pack(&weight, [depth, width]);
            let case = Case { weight: &panels, x: &x, pitch, bias: &bias, rows };
            for [set, added] in everywhere(&case) {
                for (at, (set, added)) in set.iter().zip(added).enumerate() {
                    let (row, column) = (at / width, at % width);
                    let products =
                        (0..depth).map(|k| x[row * pitch + k] * weight[k * width + column]);
                    let expected = bias[column] + products.sum::<f32>();
                    assert!((set - expected).abs() < 1e-4 && (added - expected - 1.0).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    fn reversed_panels_multiply_by_the_transpose_with_the_last_tap_first() {
        let [taps, channels, outputs] = [3, 37, 21];
        let mut rng = Rng::stream(2, "panels");
        let weight = rng.normals(taps * channels * outputs);
        let panels = Panels::pack_reversed(&weight, [taps, channels, outputs]);
        let g = rng.normals(taps * outputs);
        let mut x = vec![0.0; channels];
        panels.apply(&g, 0, &[], &mut x);
        for (channel, x) in x.iter().enumerate() {
            let mut expected = 0.0;
            for tap in 0..taps {
                for output in 0..outputs {
                    let weight = weight[(tap * channels + channel) * outputs + output];
                    expected += g[(taps - 1 - tap) * outputs + output] * weight;
                }
            }
            assert!((x - expected).abs() < 1e-4, "{x} {expected}");
        }
    }
}
