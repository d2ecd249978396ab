//! When the steps of a γ-model rollout look: the negative binomial law of each,
//! and their mixture (Equation 3.5 and Figure 3.2 a of Janner's thesis).

use super::{HorizonError, Reweighting, check_table, reachable};

/// Probability that `n` jumps of a γ-model span `t` environment steps,
/// `p_n(t) = C(t-1, t-n) γ^(t-n) (1-γ)^n` (Equation 3.5): the negative binomial
/// law over the total number of trials. Zero for `t < n`.
///
/// Correct to about 14 digits at any size. NaN for γ outside `[0, 1)`.
pub fn time_mass(n: usize, t: usize, gamma: f64) -> f64 {
    if !reachable(gamma, gamma) {
        return f64::NAN;
    }
    if t < n || (n == 0 && t > 0) {
        return 0.0;
    }
    if t == n {
        return (n as f64 * (-gamma).ln_1p()).exp();
    }
    if gamma == 0.0 {
        return 0.0;
    }
    // C(t-1, n-1) = (n / t) C(t, n), and the binomial law as Loader (2000),
    // "Fast and accurate computation of binomial probabilities", writes it: the
    // logarithms of huge factorials cancel on paper instead of in the sum.
    let [jumps, waits, total] = [n, t - n, t].map(|count| count as f64);
    let log_mass = stirling_error(total)
        - stirling_error(jumps)
        - stirling_error(waits)
        - deviance(jumps, total * (1.0 - gamma))
        - deviance(waits, total * gamma);
    let density = total / (std::f64::consts::TAU * jumps * waits);
    jumps / total * density.sqrt() * log_mass.exp()
}

/// `ln n! - (n ln n - n + ln(2πn) / 2)` for a whole `n >= 1`.
fn stirling_error(n: f64) -> f64 {
    if n <= 15.0 {
        let log_factorial = (2..=n as u64).map(|k| k as f64).product::<f64>().ln();
        return log_factorial - (n * n.ln() - n + 0.5 * (std::f64::consts::TAU * n).ln());
    }
    let inverse = 1.0 / (n * n);
    let series = [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0];
    series.iter().rev().fold(0.0, |sum, term| sum * inverse + term) / n
}

/// `x ln(x / mean) + mean - x`, without cancellation where `x` is near `mean`.
fn deviance(x: f64, mean: f64) -> f64 {
    let difference = x - mean;
    if difference.abs() >= 0.1 * (x + mean) {
        return x * (x / mean).ln() - difference;
    }
    let ratio = difference / (x + mean);
    let square = ratio * ratio;
    let mut power = 2.0 * x * ratio;
    let mut sum = difference * ratio;
    // Terms shrink a hundredfold each, so ten reach the last bit.
    for odd in (3..).step_by(2).take(10) {
        power *= square;
        sum += power / f64::from(odd);
    }
    sum
}

/// The laws of Figure 3.2 a: when a rollout's steps look, and when their
/// mixture does.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeDistributions {
    /// `steps[n - 1][t - 1] = p_n(t)`, the law of the `n`-th rollout step.
    pub steps: Vec<Vec<f64>>,
    /// `mixture[t - 1] = Σ_{n <= N} α_n p_n(t)`: equal to the target up to
    /// `t = N`; short of it after, by the tail's weight in all.
    pub mixture: Vec<f64>,
    /// `target[t - 1] = (1 - γ̃) γ̃^(t-1)`, the law of discount γ̃.
    pub target: Vec<f64>,
}

impl TimeDistributions {
    /// The laws of `n_steps` rollout steps and of their mixture at times
    /// `1 ..= last_time`.
    ///
    /// # Errors
    /// As [`Reweighting::new`], no times, or more than 16 million entries.
    pub fn new(
        gamma: f64,
        gamma_tilde: f64,
        n_steps: usize,
        last_time: usize,
    ) -> Result<Self, HorizonError> {
        check_table(n_steps, last_time)?;
        let reweighting = Reweighting::new(gamma, gamma_tilde, n_steps)?;
        let law = |n| (1..=last_time).map(|t| time_mass(n, t, gamma)).collect();
        let steps: Vec<Vec<f64>> = (1..=n_steps).map(law).collect();
        let mut mixture = vec![0.0; last_time];
        for (law, weight) in steps.iter().zip(reweighting.weights()) {
            for (sum, mass) in mixture.iter_mut().zip(law) {
                *sum += weight * mass;
            }
        }
        let target = (1..=last_time).map(|t| time_mass(1, t, gamma_tilde)).collect();
        Ok(Self { steps, mixture, target })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{alpha, tail};
    use super::*;

    fn close(a: f64, b: f64, tolerance: f64) -> bool {
        (a - b).abs() <= tolerance
    }

    #[test]
    fn the_mixture_of_step_laws_is_the_geometric_law_of_the_target() {
        for (gamma, target) in [(0.0, 0.99), (0.5, 0.5), (0.8, 0.99), (0.9, 0.95), (0.3, 0.999)] {
            for t in (1..40).chain([100, 700, 2000]) {
                let mixed: f64 =
                    (1..=t).map(|n| alpha(n, gamma, target) * time_mass(n, t, gamma)).sum();
                let geometric = (1.0 - target) * target.powf((t - 1) as f64);
                assert!(close(mixed, geometric, 1e-12), "γ {gamma} γ̃ {target} t {t}");
                assert!(close(mixed, geometric, 1e-11 * geometric.max(1e-280)));
            }
        }
    }

    #[test]
    fn the_time_law_matches_pascals_triangle() {
        // n jumps span t steps iff n - 1 or n jumps span t - 1: the recurrence
        // p_n(t) = γ p_n(t-1) + (1-γ) p_{n-1}(t-1).
        for gamma in [0.0, 0.2, 0.9, 0.99] {
            let mut row = vec![0.0; 200];
            row[0] = 1.0;
            for t in 1..200 {
                for n in (1..=t).rev() {
                    row[n] = gamma * row[n] + (1.0 - gamma) * row[n - 1];
                    let direct = time_mass(n, t, gamma);
                    assert!(close(direct, row[n], 1e-12 * row[n].max(1e-290)), "{gamma} {n} {t}");
                }
                row[0] = 0.0;
            }
        }
    }

    #[test]
    fn the_time_law_sums_to_one_with_mean_n_over_one_minus_gamma() {
        let (n, gamma) = (500, 0.9);
        let law: Vec<f64> = (0..20_000).map(|t| time_mass(n, t, gamma)).collect();
        let mean: f64 = law.iter().enumerate().map(|(t, mass)| t as f64 * mass).sum();
        assert!(close(law.iter().sum(), 1.0, 1e-12));
        assert!(close(mean, n as f64 / (1.0 - gamma), 1e-7));
    }

    #[test]
    fn the_plotted_mixture_is_the_target_until_the_steps_run_out() {
        let laws = TimeDistributions::new(0.8, 0.95, 8, 400).unwrap();
        assert_eq!((laws.steps.len(), laws.steps[0].len()), (8, 400));
        for t in 1..=400 {
            let (mixture, target) = (laws.mixture[t - 1], laws.target[t - 1]);
            assert!(if t <= 8 { close(mixture, target, 1e-14) } else { mixture < target });
        }
        let missing = 1.0 - laws.mixture.iter().sum::<f64>();
        assert!(close(missing, tail(0.8, 0.95, 8), 1e-9));
    }
}
