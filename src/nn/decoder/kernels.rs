//! The arithmetic of the decoder on slices: one small matrix product with
//! weights packed for it, layer normalization and GELU.
//!
//! Everything is written over [`Lanes`], which compilers turn into vector
//! registers, and compiled once per instruction set.

use std::ops::Range;

use multiversion::multiversion;

use super::wide::{Buffer, Kernel, LANES, Lanes, Simd, dispatch};

/// Columns of one panel of packed weights.
pub const PANEL: usize = 2 * LANES;
/// Variance floor of layer normalization.
const EPSILON: f32 = 1e-5;

/// `x W + b` with `W` `[inputs, outputs]` stored panel by panel, each
/// `[inputs, PANEL]`, columns padded with zeros.
pub struct Linear {
    inputs: usize,
    outputs: usize,
    panels: Buffer,
    bias: Vec<Lanes>,
}

impl Linear {
    /// Pack the map whose weight from `input` to `output` is `weight(output,
    /// input)`.
    pub fn pack(
        [inputs, outputs]: [usize; 2],
        weight: impl Fn(usize, usize) -> f32,
        bias: impl Fn(usize) -> f32,
    ) -> Self {
        let columns = outputs.next_multiple_of(PANEL);
        let mut panels = Buffer::default();
        panels.resize(inputs * columns);
        let mut packed_bias = vec![[0.0; LANES]; columns / LANES];
        for output in 0..outputs {
            let (panel, column) = (output / PANEL, output % PANEL);
            packed_bias[output / LANES][output % LANES] = bias(output);
            for input in 0..inputs {
                panels[(panel * inputs + input) * PANEL + column] = weight(output, input);
            }
        }
        Self { inputs, outputs, panels, bias: packed_bias }
    }

    /// `out = x W + b` for row-major `x` `[rows, inputs]` and `out` `[rows,
    /// outputs]`.
    pub fn apply(&self, x: &[f32], out: &mut [f32]) {
        dispatch(Multiply::<false> { map: self, x, out });
    }

    /// `out += x W + b`.
    pub fn add(&self, x: &[f32], out: &mut [f32]) {
        dispatch(Multiply::<true> { map: self, x, out });
    }
}

/// `out = x W + b`, or `out += x W + b`.
struct Multiply<'a, const ADD: bool> {
    map: &'a Linear,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl<const ADD: bool> Kernel for Multiply<'_, ADD> {
    type Output = ();

    /// Row blocks innermost: a panel stays in the first-level cache for all
    /// of them.
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { map, x, out } = self;
        let rows = x.len() / map.inputs;
        assert!(x.len() == rows * map.inputs && out.len() == rows * map.outputs);
        for (index, panel) in map.panels.lanes().chunks_exact(2 * map.inputs).enumerate() {
            let bias = [&map.bias[2 * index], &map.bias[2 * index + 1]];
            let columns = index * PANEL..map.outputs.min((index + 1) * PANEL);
            let mut row = 0;
            while row < rows {
                let x = &x[row * map.inputs..];
                let tile = Tile { simd, x, inputs: map.inputs, panel, bias };
                let out = &mut out[row * map.outputs..];
                let left = rows - row;
                row += if S::ROWS >= 8 && left >= 8 {
                    tile.finish::<8, ADD>(out, map.outputs, columns.clone())
                } else if S::ROWS >= 4 && left >= 4 {
                    tile.finish::<4, ADD>(out, map.outputs, columns.clone())
                } else if S::ROWS >= 2 && left >= 2 {
                    tile.finish::<2, ADD>(out, map.outputs, columns.clone())
                } else {
                    tile.finish::<1, ADD>(out, map.outputs, columns.clone())
                };
            }
        }
    }
}

/// A block of rows times one panel.
struct Tile<'a, S> {
    simd: S,
    x: &'a [f32],
    inputs: usize,
    panel: &'a [Lanes],
    bias: [&'a Lanes; 2],
}

impl<S: Simd> Tile<'_, S> {
    #[inline(always)]
    fn finish<const ROWS: usize, const ADD: bool>(
        self,
        out: &mut [f32],
        pitch: usize,
        columns: Range<usize>,
    ) -> usize {
        let Self { simd, x, inputs, panel, bias } = self;
        let rows: [&[f32]; ROWS] = std::array::from_fn(|row| &x[row * inputs..(row + 1) * inputs]);
        let panel = &panel[..2 * inputs];
        let mut sums = [[simd.load(bias[0]), simd.load(bias[1])]; ROWS];
        for input in 0..inputs {
            let weights = [simd.load(&panel[2 * input]), simd.load(&panel[2 * input + 1])];
            for row in 0..ROWS {
                let factor = simd.splat(rows[row][input]);
                sums[row][0] = simd.fma(factor, weights[0], sums[row][0]);
                sums[row][1] = simd.fma(factor, weights[1], sums[row][1]);
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let whole = out[row * pitch..][columns.clone()].as_chunks_mut::<LANES>().0;
            if let [first, second] = whole {
                for (sum, out) in sums.into_iter().zip([first, second]) {
                    let sum = if ADD { simd.add(simd.load(out), sum) } else { sum };
                    simd.store(sum, out);
                }
                continue;
            }
            let mut lanes = [[0.0; LANES]; 2];
            simd.store(sums[0], &mut lanes[0]);
            simd.store(sums[1], &mut lanes[1]);
            let out = &mut out[row * pitch..][columns.clone()];
            for (out, sum) in out.iter_mut().zip(lanes.as_flattened()) {
                *out = if ADD { *out + sum } else { *sum };
            }
        }
        ROWS
    }
}

/// Rows of `x` `[rows, width]` with mean 0 and variance 1: layer
/// normalization without its affine map, which the next product has absorbed.
pub fn normalize(x: &[f32], width: usize, out: &mut [f32]) {
    dispatch(Normalize { x, width, out });
}

struct Normalize<'a> {
    x: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl Kernel for Normalize<'_> {
    type Output = ();

    /// Four rows at a time: their sums share registers, and none waits for
    /// another's.
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        const ROWS: usize = 4;
        let Self { x, width, out } = self;
        let (mut x, mut out) = (x, out);
        while x.len() >= ROWS * width && width.is_multiple_of(LANES) {
            let (head, tail) = x.split_at(ROWS * width);
            let (out_head, out_tail) = std::mem::take(&mut out).split_at_mut(ROWS * width);
            standardize::<S, ROWS>(simd, head, width, out_head);
            (x, out) = (tail, out_tail);
        }
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let count = width as f32;
            let mean = sum(x, |value| value) / count;
            let variance = sum(x, |value| (value - mean) * (value - mean)) / count;
            let scale = 1.0 / (variance + EPSILON).sqrt();
            for (out, x) in out.iter_mut().zip(x) {
                *out = (x - mean) * scale;
            }
        }
    }
}

/// [`Normalize`] for `ROWS` rows of whole [`Lanes`].
#[inline(always)]
fn standardize<S: Simd, const ROWS: usize>(simd: S, x: &[f32], width: usize, out: &mut [f32]) {
    let (x, out) = (x.as_chunks::<LANES>().0, out.as_chunks_mut::<LANES>().0);
    let (lanes, count) = (width / LANES, width as f32);
    let mut sums = [simd.splat(0.0); ROWS];
    for lane in 0..lanes {
        for row in 0..ROWS {
            sums[row] = simd.add(sums[row], simd.load(&x[row * lanes + lane]));
        }
    }
    let means = per_row::<S, ROWS>(simd, sums).map(|sum| sum / count);
    let mut sums = [simd.splat(0.0); ROWS];
    for lane in 0..lanes {
        for row in 0..ROWS {
            let off = simd.add(simd.load(&x[row * lanes + lane]), simd.splat(-means[row]));
            sums[row] = simd.fma(off, off, sums[row]);
        }
    }
    let squares = per_row::<S, ROWS>(simd, sums);
    let scales = squares.map(|sum| 1.0 / (sum / count + EPSILON).sqrt());
    for lane in 0..lanes {
        for row in 0..ROWS {
            let (mean, scale) = (simd.splat(-means[row]), simd.splat(scales[row]));
            let off = simd.add(simd.load(&x[row * lanes + lane]), mean);
            simd.store(simd.fma(off, scale, simd.splat(0.0)), &mut out[row * lanes + lane]);
        }
    }
}

/// What each register's lanes sum to.
#[inline(always)]
fn per_row<S: Simd, const ROWS: usize>(simd: S, sums: [S::Wide; ROWS]) -> [f32; ROWS] {
    let mut lanes = [0.0; LANES];
    simd.store(simd.fold_rows(sums), &mut lanes);
    let period = LANES / ROWS;
    let mut half = period / 2;
    while half > 0 {
        for row in 0..ROWS {
            for lane in 0..half {
                lanes[row * period + lane] += lanes[row * period + lane + half];
            }
        }
        half /= 2;
    }
    let mut out = [0.0; ROWS];
    for (row, out) in out.iter_mut().enumerate() {
        *out = lanes[row * period];
    }
    out
}

/// Sum of `f` in a fixed order that vectors can follow.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    for chunk in x.chunks(LANES) {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f(*value);
        }
    }
    lanes.iter().sum()
}

/// `x <- x (1 + erf(x / sqrt 2)) / 2`, the exact GELU.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn gelu(x: &mut [f32]) {
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for x in chunk {
            *x = 0.5 * *x * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
        }
    }
    for x in rest {
        *x = 0.5 * *x * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
    }
}

/// The error function to 3e-7: a minimax quotient of odd and even polynomials
/// on `[-4, 4]`, beyond which erf is 1 to within 2e-8.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let p = s * -2.726_142_3e-10 + 2.770_681_5e-8;
    let p = p * s - 2.101_024e-6;
    let p = p * s - 5.692_506_5e-5;
    let p = p * s - 7.349_906_3e-4;
    let p = p * s - 2.954_6e-3;
    let p = p * s - 1.609_603_3e-2;
    let q = s * -1.456_607_2e-5 - 2.133_740_6e-4;
    let q = q * s - 1.682_827_e-3;
    let q = q * s - 7.373_329e-3;
    let q = q * s - 1.426_473_9e-2;
    x * p / q
}

#[cfg(test)]
mod tests {
    use super::super::tests::naive_gelu;
    use super::super::wide::everywhere;
    use super::*;
    use crate::rng::Rng;

    #[derive(Clone)]
    struct Product<'a>(&'a Linear, &'a [f32]);

    impl Kernel for Product<'_> {
        type Output = [Vec<f32>; 2];

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Self::Output {
            let Self(map, x) = self;
            let mut set = vec![f32::NAN; x.len() / map.inputs * map.outputs];
            Multiply::<false> { map, x, out: &mut set }.run(simd);
            let mut added = vec![1.0; set.len()];
            Multiply::<true> { map, x, out: &mut added }.run(simd);
            [set, added]
        }
    }

    #[test]
    fn every_instruction_set_multiplies_any_size() {
        let mut rng = Rng::stream(1, "products");
        for [rows, inputs, outputs] in [[1, 5, 3], [8, 16, 32], [15, 7, 33], [29, 64, 101]] {
            let (x, weight) = (rng.normals(rows * inputs), rng.normals(inputs * outputs));
            let bias = rng.normals(outputs);
            let map = Linear::pack([inputs, outputs], |o, i| weight[o * inputs + i], |o| bias[o]);
            for [set, added] in everywhere(&Product(&map, &x)) {
                for row in 0..rows {
                    for output in 0..outputs {
                        let products =
                            (0..inputs).map(|i| x[row * inputs + i] * weight[output * inputs + i]);
                        let expected = bias[output] + products.sum::<f32>();
                        let at = row * outputs + output;
                        assert!((set[at] - expected).abs() < 1e-4);
                        assert!((added[at] - expected - 1.0).abs() < 1e-4);
                    }
                }
            }
        }
    }

    #[test]
    fn gelu_is_exact_to_3e_7_of_its_argument() {
        let x: Vec<f32> = (-7003..=7003).map(|i| i as f32 * 1e-3).collect();
        let mut y = x.clone();
        gelu(&mut y);
        for (x, y) in x.iter().zip(y) {
            let error = f64::from(y) - naive_gelu(f64::from(*x));
            assert!(
                error.abs() < 3e-7 * f64::from(x.abs().max(1.0)),
                "gelu({x}) is off by {error}"
            );
        }
    }

    #[test]
    fn normalized_rows_have_mean_zero_and_unit_variance() {
        for width in [5, 16, 40, 64] {
            let mut out = vec![0.0; 6 * width];
            normalize(&Rng::stream(2, "rows").normals(6 * width), width, &mut out);
            for row in out.chunks_exact(width) {
                let mean = row.iter().sum::<f32>() / width as f32;
                let variance = row.iter().map(|x| x * x).sum::<f32>() / width as f32;
                assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
            }
        }
    }
}
