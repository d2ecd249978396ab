//! Softmax of single rows, on the host.

use multiversion::multiversion;

use super::fused::cross_entropy::most;
use super::fused::gelu::exp;
use super::fused::layer_norm::total;

/// The largest of `values`; `-inf` of none.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn highest(values: &[f32]) -> f32 {
    most(values)
}

/// `ln sum exp(logits)`, `-inf` among them allowed. NaN where the logits are
/// not those of a distribution.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn log_sum_exp(logits: &[f32]) -> f32 {
    let top = most(logits);
    top + total([logits], |[logit]| exp(logit - top)).ln()
}

/// `x <- e^((x - shift) / temperature)`, 0 for what is 87 below `shift` or
/// more. Nothing may be above it.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub fn exponentials(x: &mut [f32], shift: f32, temperature: f32) {
    for x in x {
        *x = exp((*x - shift) / temperature);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn sums_and_exponentials_are_those_of_double_precision() {
        for n in [1, 7, 16, 101] {
            let mut x = Rng::stream(n as u64, "logits").normals(n);
            x.iter_mut().for_each(|x| *x = 4.0 * *x + 30.0);
            let exact: f64 = x.iter().map(|x| f64::from(*x).exp()).sum();
            let normalizer = log_sum_exp(&x);
            assert!((f64::from(normalizer) - exact.ln()).abs() < 4e-6, "{normalizer}");
            assert_eq!(highest(&x), x.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let logits = x.clone();
            exponentials(&mut x, normalizer, 2.0);
            for (power, logit) in x.iter().zip(logits) {
                let expected = (f64::from(logit - normalizer) / 2.0).exp();
                assert!((f64::from(*power) / expected - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn what_is_no_distribution_has_no_sum() {
        for broken in [f32::NAN, -f32::NAN, f32::INFINITY] {
            assert!(!log_sum_exp(&[0.0, broken, 1.0]).is_finite());
        }
        assert!(!log_sum_exp(&[f32::NEG_INFINITY; 3]).is_finite());
        assert!((log_sum_exp(&[f32::NEG_INFINITY, 2.0]) - 2.0).abs() < 1e-6);
    }
}
