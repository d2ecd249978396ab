//! The exact GELU: gelu(h) = h Phi(h), Phi the normal
//! distribution function (Hendrycks and Gimpel 2016).
//!
//! Phi(-z) = phi(z) (b1 t + ... + b5 t^5) with t = 1 / (1 + 0.2316419 z), off
//! by at most 7.5e-8 (Abramowitz and Stegun 26.2.17). The density phi it needs
//! is the one the gradient needs: one exponential serves both.

use multiversion::multiversion;

use super::sublayer::Inner;

/// `y = gelu(h)`, `width` numbers per row.
#[derive(Clone, Copy, Debug)]
pub struct Gelu {
    /// Numbers per row.
    pub width: usize,
}

impl Inner for Gelu {
    type Plan = ();
    type Space = ();
    /// The gradient needs the distribution function, too: y costs a product.
    const KEEPS: bool = false;

    fn widths(&self) -> [usize; 2] {
        [self.width; 2]
    }

    fn plan(&self) {}

    fn space(&self, (): &()) {}

    fn forward(&self, _: (&(), &mut (), usize), h: &[f32], y: &mut [f32]) {
        activate(h, y);
    }

    fn backward(
        &self,
        _: (&(), &mut (), usize),
        h: &[f32],
        y: &mut [f32],
        grad: &[f32],
        dh: &mut [f32],
    ) {
        gradients(h, y, grad, dh);
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
fn activate(h: &[f32], y: &mut [f32]) {
    for (h, y) in h.iter().zip(y) {
        let (_, distribution) = normal(*h);
        *y = *h * distribution;
    }
}

/// Writes y and the gradient of h.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn gradients(h: &[f32], y: &mut [f32], grad: &[f32], dh: &mut [f32]) {
    let n = h.len();
    let (y, grad, dh) = (&mut y[..n], &grad[..n], &mut dh[..n]);
    for i in 0..n {
        let h = h[i];
        let (density, distribution) = normal(h);
        y[i] = h * distribution;
        dh[i] = grad[i] * (distribution + h * density);
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

    /// Outputs forward, outputs backward and gradients.
    fn run(h: &[f32], grad: &[f32]) -> [Vec<f32>; 3] {
        let op = Gelu { width: h.len() };
        let [mut y, mut again, mut dh] = [(); 3].map(|()| vec![f32::NAN; h.len()]);
        op.forward((&(), &mut (), 0), h, &mut y);
        op.backward((&(), &mut (), 0), h, &mut again, grad, &mut dh);
        [y, again, dh]
    }

    #[test]
    fn outputs_and_gradients_are_those_of_the_exact_function() {
        let mut rng = Rng::stream(2, "gelu");
        let h: Vec<f32> = rng.normals(1541).iter().map(|h| 3.0 * h).collect();
        let upstream = rng.normals(h.len());
        let [y, again, dh] = run(&h, &upstream);
        assert_eq!(y, again);
        for i in 0..h.len() {
            let h = f64::from(h[i]);
            assert!((f64::from(y[i]) - gelu(h)).abs() < 2e-6, "gelu({h}) = {}", y[i]);
            let slope = (gelu(h + 1e-5) - gelu(h - 1e-5)) / 2e-5;
            let expected = slope * f64::from(upstream[i]);
            assert!((f64::from(dh[i]) - expected).abs() < 3e-6, "{h}: {} {expected}", dh[i]);
        }
    }

    #[test]
    fn far_from_zero_it_is_the_identity_or_zero() {
        let [y, _, dh] = run(&[-1e6, -1e18, 1e6, 1e18], &[1.0; 4]);
        assert_eq!(y, [0.0, 0.0, 1e6, 1e18]);
        assert_eq!(dh, [0.0, 0.0, 1.0, 1.0]);
    }
}
