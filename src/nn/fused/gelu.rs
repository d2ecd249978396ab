//! A bias and the exact GELU in one pass: gelu(h) = h Phi(h), Phi the normal
//! distribution function (Hendrycks and Gimpel 2016).
//!
//! Phi(-z) = phi(z) (b1 t + ... + b5 t^5) with t = 1 / (1 + 0.2316419 z), off
//! by at most 7.5e-8 (Abramowitz and Stegun 26.2.17). The density phi it needs
//! is the one the gradient needs: one exponential serves both.

use multiversion::multiversion;
use rayon::prelude::*;

use super::HostOp;
use super::layer_norm::add;

/// Rows a thread takes at once; fixed, so that the bias's gradient does not
/// depend on the number of threads.
const CHUNK: usize = 64;

/// `y[i] = gelu(x[i] + bias)`.
#[derive(Clone, Copy, Debug)]
pub struct BiasGelu {
    /// Rows, every leading axis flattened.
    pub rows: usize,
    /// Numbers per row, at least 1.
    pub width: usize,
}

impl HostOp<2> for BiasGelu {
    fn output_shape(&self) -> Vec<usize> {
        vec![self.rows, self.width]
    }

    /// Inputs: x `[rows, width]`, bias `[width]`.
    fn forward(&self, [x, bias]: [&[f32]; 2]) -> Vec<f32> {
        assert!(x.len() == self.rows * self.width && bias.len() == self.width);
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(CHUNK * self.width)
            .zip(x.par_chunks(CHUNK * self.width))
            .for_each(|(y, x)| activate(x, bias, y));
        y
    }

    fn backward(&self, [x, bias]: [&[f32]; 2], grad: &[f32]) -> [Vec<f32>; 2] {
        assert!(x.len() == grad.len() && bias.len() == self.width);
        let mut dx = vec![0.0; x.len()];
        let parts: Vec<Vec<f32>> = dx
            .par_chunks_mut(CHUNK * self.width)
            .zip(x.par_chunks(CHUNK * self.width))
            .zip(grad.par_chunks(CHUNK * self.width))
            .map(|((dx, x), grad)| {
                let mut bias_grad = vec![0.0; self.width];
                gradients(x, bias, grad, dx, &mut bias_grad);
                bias_grad
            })
            .collect();
        let mut bias_grad = vec![0.0; self.width];
        parts.iter().for_each(|part| add(&mut bias_grad, part));
        [dx, bias_grad]
    }
}

/// e^h to about 2 ulp in a form compilers turn into vector code: e^h = 2^n e^r
/// with n = round(h / ln 2) found by adding 1.5 * 2^23. Exactly 0 below -87,
/// `-inf` included; constant above 88.
#[inline(always)]
pub(in crate::nn) fn exp(h: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    const LEAST: f32 = -87.0;
    let bounded = h.clamp(LEAST, 88.0);
    let shifted = bounded * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = bounded - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4_f32;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    let power = shifted.to_bits().wrapping_add(127).wrapping_shl(23);
    if h < LEAST { 0.0 } else { p * f32::from_bits(power) }
}

/// The normal density and distribution function at `h`.
#[inline(always)]
fn normal(h: f32) -> (f32, f32) {
    const INVERSE_SQRT_TAU: f32 = 0.398_942_3;
    let density = INVERSE_SQRT_TAU * exp(-0.5 * h * h);
    let t = 1.0 / (1.0 + 0.231_641_9 * h.abs());
    let p = 1.330_274_4_f32;
    let p = p * t - 1.821_256;
    let p = p * t + 1.781_477_9;
    let p = p * t - 0.356_563_78;
    let p = p * t + 0.319_381_53;
    let tail = density * p * t;
    (density, if h < 0.0 { tail } else { 1.0 - tail })
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn activate(x: &[f32], bias: &[f32], y: &mut [f32]) {
    let width = bias.len();
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        for i in 0..width {
            let h = x[i] + bias[i];
            let (_, distribution) = normal(h);
            y[i] = h * distribution;
        }
    }
}

/// Writes dx and adds to the bias's gradient.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn gradients(x: &[f32], bias: &[f32], grad: &[f32], dx: &mut [f32], bias_grad: &mut [f32]) {
    let width = bias.len();
    let bias_grad = &mut bias_grad[..width];
    let rows = x.chunks_exact(width).zip(grad.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
    for ((x, grad), dx) in rows {
        for i in 0..width {
            let h = x[i] + bias[i];
            let (density, distribution) = normal(h);
            let value = grad[i] * (distribution + h * density);
            dx[i] = value;
            bias_grad[i] += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Phi by its series 1/2 + phi(h) (h + h^3 / 3 + h^5 / 15 + ...), all of
    /// whose terms have one sign.
    fn distribution(h: f64) -> f64 {
        let (mut sum, mut term, mut k) = (h, h, 1.0);
        while term.abs() > 1e-18 * sum.abs() {
            k += 2.0;
            term *= h * h / k;
            sum += term;
        }
        0.5 + sum * (-0.5 * h * h).exp() / std::f64::consts::TAU.sqrt()
    }

    fn gelu(h: f64) -> f64 {
        h * distribution(h)
    }

    #[test]
    fn the_fast_exponential_matches_the_library_and_vanishes_at_minus_infinity() {
        let mut h = -86.9_f32;
        while h < 88.0 {
            let relative = (f64::from(exp(h)) / f64::from(h).exp() - 1.0).abs();
            assert!(relative < 4e-7, "exp({h}) is off by {relative}");
            h += 0.00917;
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_normal_distribution_function_is_right_to_a_millionth_or_better() {
        let mut h = -9.0_f32;
        while h < 9.0 {
            let error = (f64::from(normal(h).1) - distribution(f64::from(h))).abs();
            assert!(error < 5e-7, "Phi({h}) is off by {error}");
            h += 0.000_917;
        }
    }

    #[test]
    fn outputs_and_gradients_are_those_of_the_exact_function() {
        let (rows, width) = (67, 23);
        let mut rng = Rng::stream(2, "gelu");
        let x: Vec<f32> = rng.normals(rows * width).iter().map(|x| 3.0 * x).collect();
        let (bias, upstream) = (rng.normals(width), rng.normals(rows * width));
        let op = BiasGelu { rows, width };
        let y = op.forward([&x, &bias]);
        let [dx, bias_grad] = op.backward([&x, &bias], &upstream);
        let mut sums = vec![0.0; width];
        for i in 0..x.len() {
            let h = f64::from(x[i]) + f64::from(bias[i % width]);
            assert!((f64::from(y[i]) - gelu(h)).abs() < 2e-6, "gelu({h}) = {}", y[i]);
            let slope = (gelu(h + 1e-5) - gelu(h - 1e-5)) / 2e-5;
            let expected = slope * f64::from(upstream[i]);
            assert!((f64::from(dx[i]) - expected).abs() < 3e-6, "{h}: {} {expected}", dx[i]);
            sums[i % width] += expected;
        }
        for (grad, expected) in bias_grad.iter().zip(&sums) {
            assert!((f64::from(*grad) - expected).abs() < 1e-4, "{grad} {expected}");
        }
    }

    #[test]
    fn far_from_zero_it_is_the_identity_or_zero() {
        let op = BiasGelu { rows: 1, width: 4 };
        let x = [-1e6, -1e18, 1e6, 1e18];
        assert_eq!(op.forward([&x, &[0.0; 4]]), [0.0, 0.0, 1e6, 1e18]);
        assert_eq!(op.backward([&x, &[0.0; 4]], &[1.0; 4])[0], [0.0, 0.0, 1.0, 1.0]);
    }
}
