//! Means with their standard errors, and quantiles.

use serde::{Deserialize, Serialize};

/// A mean over independent episodes and its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Sample mean.
    pub mean: f64,
    /// Standard error, sample standard deviation over sqrt(n).
    pub se: f64,
    /// Sample size.
    pub n: usize,
}

impl Estimate {
    /// `None` without samples.
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let samples: Vec<f64> = samples.into_iter().collect();
        let n = samples.len();
        if n == 0 {
            return None;
        }
        let mean = samples.iter().sum::<f64>() / n as f64;
        let squares: f64 = samples.iter().map(|x| (x - mean).powi(2)).sum();
        let variance = squares / (n.max(2) - 1) as f64;
        Some(Self { mean, se: (variance / n as f64).sqrt(), n })
    }

    /// The mean of `a - b`, sample by sample: where both saw the same episodes
    /// its error lacks what is common to them. Samples without a partner are
    /// left out.
    pub fn difference(a: &[f64], b: &[f64]) -> Option<Self> {
        Self::of(a.iter().zip(b).map(|(a, b)| a - b))
    }

    /// The share of `true`, as a mean of zeros and ones.
    pub fn share(samples: impl IntoIterator<Item = bool>) -> Option<Self> {
        Self::of(samples.into_iter().map(|yes| f64::from(u8::from(yes))))
    }
}

/// The `q`-quantile, linear between order statistics; `None` without samples.
pub fn quantile(samples: &[f64], q: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = samples.iter().copied().filter(|x| x.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let at = q.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    Some(sorted[low] + (at - low as f64) * (sorted[high] - sorted[low]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_error_is_the_sample_deviation_over_root_n() {
        let estimate = Estimate::of([1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!((estimate.mean, estimate.n), (2.5, 4));
        assert!((estimate.se - (5.0_f64 / 3.0).sqrt() / 2.0).abs() < 1e-12);
        assert_eq!(Estimate::of([]), None);
    }

    #[test]
    fn a_share_has_the_binomial_standard_error() {
        let share = Estimate::share((0..100).map(|i| i < 90)).unwrap();
        assert!((share.mean - 0.9).abs() < 1e-12);
        assert!((share.se - (0.9_f64 * 0.1 / 99.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_difference_is_surer_than_its_parts_where_they_share_their_episodes() {
        let luck = [3.0, -40.0, 25.0, 90.0];
        let better: Vec<f64> = luck.iter().zip([1.9, 2.1, 2.0, 2.0]).map(|(l, d)| l + d).collect();
        let found = Estimate::difference(&better, &luck).unwrap();
        assert!((found.mean - 2.0).abs() < 1e-9 && found.se < 0.1 && found.n == 4, "{found:?}");
        assert!(Estimate::of(better).unwrap().se > 20.0);
        assert_eq!(Estimate::difference(&luck, &[]), None);
    }

    #[test]
    fn quantiles_interpolate_between_order_statistics() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[1.0, 2.0], 0.75), Some(1.75));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
