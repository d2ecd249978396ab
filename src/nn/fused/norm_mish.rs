//! Group normalization, affine map, Mish and a per-sequence offset in one
//! pass over `[batch, time, channel]`.
//!
//! mish(h) = h tanh(softplus(h)) = h n / (n + 2) with n = e^h (e^h + 2): one
//! exponential where the definition has three transcendental functions.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;
use rayon::prelude::*;

use super::HostOp;

/// Variance floor, as in the released network.
pub const EPSILON: f32 = 1e-5;
/// Columns whose sums fit into the registers.
const BLOCK: usize = 32;

/// `y[b, t] = mish(scale * normalize(x)[b, t] + shift) + offset[b]`, with
/// mean and variance over the group's channels and all time steps.
#[derive(Clone, Copy, Debug)]
pub struct NormMish {
    /// Sequences.
    pub batch: usize,
    /// Steps per sequence.
    pub time: usize,
    /// Channels, a multiple of `groups`.
    pub channels: usize,
    /// Normalization groups.
    pub groups: usize,
}

/// Per-channel statistics of one sequence.
struct Statistics {
    mean: Vec<f32>,
    inverse_std: Vec<f32>,
}

impl NormMish {
    fn statistics(&self, x: &[f32]) -> Statistics {
        let c = self.channels;
        let mut sums = vec![0.0; 2 * c];
        let (sum, square) = sums.split_at_mut(c);
        accumulate_moments(x, sum, square);
        let width = c / self.groups;
        let count = (width * self.time) as f64;
        let mut statistics = Statistics { mean: vec![0.0; c], inverse_std: vec![0.0; c] };
        for group in 0..self.groups {
            let channels = group * width..(group + 1) * width;
            let total: f64 = sum[channels.clone()].iter().map(|v| f64::from(*v)).sum();
            let squares: f64 = square[channels.clone()].iter().map(|v| f64::from(*v)).sum();
            let mean = total / count;
            let variance = (squares / count - mean * mean).max(0.0);
            let inverse_std = 1.0 / (variance + f64::from(EPSILON)).sqrt();
            statistics.mean[channels.clone()].fill(mean as f32);
            statistics.inverse_std[channels].fill(inverse_std as f32);
        }
        statistics
    }

    /// The affine map that normalizes and scales: `h = a x + b`.
    fn affine(
        &self,
        statistics: &Statistics,
        scale: &[f32],
        shift: &[f32],
    ) -> (Vec<f32>, Vec<f32>) {
        let a: Vec<f32> = statistics
            .inverse_std
            .iter()
            .zip(scale)
            .map(|(inverse, scale)| inverse * scale)
            .collect();
        let b = shift
            .iter()
            .zip(&statistics.mean)
            .zip(&a)
            .map(|((shift, mean), a)| shift - mean * a)
            .collect();
        (a, b)
    }

    /// One sequence, `[time, channels]` to the same shape.
    pub fn sequence(&self, x: &[f32], [scale, shift, offset]: [&[f32]; 3], y: &mut [f32]) {
        let (a, b) = self.affine(&self.statistics(x), scale, shift);
        activate(x, &a, &b, offset, y);
    }

    /// Gradients of one sequence. Writes dx; returns dscale, dshift, doffset.
    pub(super) fn backward_sequence(
        &self,
        x: &[f32],
        [scale, shift]: [&[f32]; 2],
        grad: &[f32],
        dx: &mut [f32],
    ) -> [Vec<f32>; 3] {
        let c = self.channels;
        let statistics = self.statistics(x);
        let (a, b) = self.affine(&statistics, scale, shift);
        let mut sums = vec![0.0; 3 * c];
        let (g_sum, rest) = sums.split_at_mut(c);
        let (gx_sum, offset_grad) = rest.split_at_mut(c);
        pre_activation_grad(x, grad, &a, &b, dx, [g_sum, gx_sum, offset_grad]);

        // dh/dx of a normalized value: with xhat = (x - mean) r and g = dL/dh,
        // dx = r (scale g - mean(scale g) - xhat mean(scale g xhat)).
        let width = c / self.groups;
        let count = (width * self.time) as f32;
        let mut scale_grad = vec![0.0; c];
        for channel in 0..c {
            scale_grad[channel] = statistics.inverse_std[channel]
                * (gx_sum[channel] - statistics.mean[channel] * g_sum[channel]);
        }
        let (mut by_x, mut constant) = (vec![0.0; c], vec![0.0; c]);
        for group in 0..self.groups {
            let channels = group * width..(group + 1) * width;
            let mut mean_g = 0.0;
            let mut mean_g_xhat = 0.0;
            for channel in channels.clone() {
                mean_g += scale[channel] * g_sum[channel] / count;
                mean_g_xhat += scale[channel] * scale_grad[channel] / count;
            }
            for channel in channels {
                let r = statistics.inverse_std[channel];
                by_x[channel] = -r * r * mean_g_xhat;
                constant[channel] = -r * mean_g - by_x[channel] * statistics.mean[channel];
            }
        }
        combine(x, &a, &by_x, &constant, dx);
        [scale_grad, g_sum.to_vec(), offset_grad.to_vec()]
    }
}

impl HostOp<4> for NormMish {
    fn output_shape(&self) -> Vec<usize> {
        vec![self.batch, self.time, self.channels]
    }

    /// Inputs: x `[batch, time, channels]`, scale and shift `[channels]`,
    /// offset `[batch, channels]`.
    fn forward(&self, [x, scale, shift, offset]: [&[f32]; 4]) -> Vec<f32> {
        let length = self.time * self.channels;
        let mut y = vec![0.0; x.len()];
        y.par_chunks_exact_mut(length)
            .zip(x.par_chunks_exact(length))
            .zip(offset.par_chunks_exact(self.channels))
            .for_each(|((y, x), offset)| self.sequence(x, [scale, shift, offset], y));
        y
    }

    fn backward(&self, [x, scale, shift, _offset]: [&[f32]; 4], grad: &[f32]) -> [Vec<f32>; 4] {
        let (length, c) = (self.time * self.channels, self.channels);
        let mut dx = vec![0.0; x.len()];
        let parts: Vec<[Vec<f32>; 3]> = dx
            .par_chunks_exact_mut(length)
            .zip(x.par_chunks_exact(length))
            .zip(grad.par_chunks_exact(length))
            .map(|((dx, x), grad)| self.backward_sequence(x, [scale, shift], grad, dx))
            .collect();
        // Summed in sequence order: the result must not depend on threads.
        let (mut scale_grad, mut shift_grad) = (vec![0.0; c], vec![0.0; c]);
        let mut offset_grad = Vec::with_capacity(self.batch * c);
        for [scale_part, shift_part, offset_part] in &parts {
            for channel in 0..c {
                scale_grad[channel] += scale_part[channel];
                shift_grad[channel] += shift_part[channel];
            }
            offset_grad.extend_from_slice(offset_part);
        }
        [dx, scale_grad, shift_grad, offset_grad]
    }
}

/// `a b + c`, in one instruction where there is one: elsewhere `mul_add` is a
/// slow call.
#[inline(always)]
fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// e^h for h up to 20, to about 2 ulp, in a form compilers turn into vector
/// code: e^h = 2^n e^r with n = round(h / ln 2) found by adding 1.5 * 2^23.
#[inline(always)]
fn exp<const FUSED: bool>(h: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let h = h.clamp(-80.0, 20.0);
    let shifted = fma::<FUSED>(h, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FUSED>(n, 2.121_944_4e-4, fma::<FUSED>(n, -0.693_359_4, h));
    let mut p = 1.987_569_1e-4_f32;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5, 1.0, 1.0] {
        p = fma::<FUSED>(p, r, c);
    }
    let power = shifted.to_bits().wrapping_add(127).wrapping_shl(23);
    p * f32::from_bits(power)
}

/// mish(x) in place.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn mish(x: &mut [f32]) {
    const FUSED: bool = target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64"));
    for x in x {
        let e = exp::<FUSED>(*x);
        let n = e * (e + 2.0);
        *x = *x * n / (n + 2.0);
    }
}

/// Add the columns' sums, and those of their squares.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn accumulate_moments(x: &[f32], sum: &mut [f32], square: &mut [f32]) {
    const FUSED: bool = target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64"));
    let c = sum.len();
    let (sums, sum_rest) = sum.as_chunks_mut::<BLOCK>();
    let (squares, square_rest) = square.as_chunks_mut::<BLOCK>();
    // A block of columns at a time: its sums stay in registers.
    for (block, (sum, square)) in sums.iter_mut().zip(squares).enumerate() {
        let (mut block_sum, mut block_square) = (*sum, *square);
        for row in x.chunks_exact(c) {
            let Some(values) = row[block * BLOCK..].first_chunk::<BLOCK>() else { break };
            for i in 0..BLOCK {
                block_sum[i] += values[i];
                block_square[i] = fma::<FUSED>(values[i], values[i], block_square[i]);
            }
        }
        (*sum, *square) = (block_sum, block_square);
    }
    let rest = c - sum_rest.len();
    for row in x.chunks_exact(c).filter(|row| row.len() > rest) {
        let sums = sum_rest.iter_mut().zip(&mut *square_rest);
        for (value, (sum, square)) in row[rest..].iter().zip(sums) {
            *sum += value;
            *square += value * value;
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn activate(x: &[f32], a: &[f32], b: &[f32], offset: &[f32], y: &mut [f32]) {
    const FUSED: bool = target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64"));
    let c = a.len();
    let (a, b, offset) = (&a[..c], &b[..c], &offset[..c]);
    for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
        for i in 0..c {
            let h = fma::<FUSED>(a[i], x[i], b[i]);
            let e = exp::<FUSED>(h);
            let n = e * (e + 2.0);
            y[i] = h * n / (n + 2.0) + offset[i];
        }
    }
}

/// `g = grad * mish'(a x + b)`, with sums over time of g, g x and grad.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn pre_activation_grad(
    x: &[f32],
    grad: &[f32],
    a: &[f32],
    b: &[f32],
    g: &mut [f32],
    [g_sum, gx_sum, grad_sum]: [&mut [f32]; 3],
) {
    const FUSED: bool = target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64"));
    let c = a.len();
    let (a, b) = (&a[..c], &b[..c]);
    let (g_sum, gx_sum, grad_sum) = (&mut g_sum[..c], &mut gx_sum[..c], &mut grad_sum[..c]);
    let rows = x.chunks_exact(c).zip(grad.chunks_exact(c)).zip(g.chunks_exact_mut(c));
    for ((x, grad), g) in rows {
        for i in 0..c {
            let h = fma::<FUSED>(a[i], x[i], b[i]);
            let e = exp::<FUSED>(h);
            let n = e * (e + 2.0);
            let inverse = 1.0 / (n + 2.0);
            let tanh = n * inverse;
            let slope = 4.0 * e * (e + 1.0) * inverse * inverse;
            let value = grad[i] * fma::<FUSED>(h, slope, tanh);
            g[i] = value;
            g_sum[i] += value;
            gx_sum[i] = fma::<FUSED>(value, x[i], gx_sum[i]);
            grad_sum[i] += grad[i];
        }
    }
}

/// `dx = a dx + by_x x + constant`.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn combine(x: &[f32], a: &[f32], by_x: &[f32], constant: &[f32], dx: &mut [f32]) {
    const FUSED: bool = target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64"));
    let c = a.len();
    let (a, by_x, constant) = (&a[..c], &by_x[..c], &constant[..c]);
    for (x, dx) in x.chunks_exact(c).zip(dx.chunks_exact_mut(c)) {
        for i in 0..c {
            dx[i] = fma::<FUSED>(a[i], dx[i], fma::<FUSED>(by_x[i], x[i], constant[i]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{accumulate_moments, exp};
    use crate::rng::Rng;

    #[test]
    fn the_fast_exponential_matches_the_library_to_single_precision() {
        let mut h = -30.0_f32;
        while h < 20.0 {
            for fast in [exp::<true>(h), exp::<false>(h)] {
                let relative = (fast / h.exp() - 1.0).abs();
                assert!(relative < 4e-7, "exp({h}) is off by {relative}");
            }
            h += 0.00917;
        }
    }

    #[test]
    fn moments_are_the_columns_sums_for_any_number_of_columns() {
        for columns in [3, 32, 45, 64, 70] {
            let x = Rng::stream(1, "moments").normals(11 * columns);
            let (mut sum, mut square) = (vec![0.0; columns], vec![0.0; columns]);
            accumulate_moments(&x, &mut sum, &mut square);
            for column in 0..columns {
                let values = || x.iter().skip(column).step_by(columns);
                assert!((sum[column] - values().sum::<f32>()).abs() < 1e-5);
                let squares = values().map(|value| value * value).sum::<f32>();
                assert!((square[column] - squares).abs() < 1e-4);
            }
        }
    }
}
