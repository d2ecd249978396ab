//! The cosine noise schedule (Nichol and Dhariwal 2021) and the closed forms
//! of the diffusion process (Ho et al. 2020), in `f64`.

/// Offset that keeps the first noise level above zero.
const OFFSET: f64 = 0.008;
/// Largest beta.
const BETA_MAX: f64 = 0.999;

/// Noise levels for diffusion times `0..len()`.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    betas: Vec<f64>,
    signal: Vec<f64>,
}

/// q(x_{t-1} | x_t, x_0) = N(clean x_0 + noisy x_t, variance).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Posterior {
    /// Weight of the clean plan.
    pub clean: f64,
    /// Weight of the noisy plan.
    pub noisy: f64,
    /// Variance of the step.
    pub variance: f64,
}

impl Schedule {
    /// abar_i = f(i / T) / f(0) with f(u) = cos^2((u + s) / (1 + s) pi / 2),
    /// beta_i = min(1 - abar_{i+1} / abar_i, 0.999).
    pub fn cosine(steps: usize) -> Self {
        let abar = |i: usize| {
            let u = i as f64 / steps as f64;
            ((u + OFFSET) / (1.0 + OFFSET) * std::f64::consts::FRAC_PI_2).cos().powi(2)
        };
        let betas: Vec<f64> =
            (0..steps).map(|i| (1.0 - abar(i + 1) / abar(i)).clamp(0.0, BETA_MAX)).collect();
        let mut product = 1.0;
        let signal = betas
            .iter()
            .map(|beta| {
                product *= 1.0 - beta;
                product
            })
            .collect();
        Self { betas, signal }
    }

    /// Number of diffusion times T.
    pub fn len(&self) -> usize {
        self.betas.len()
    }

    /// Whether there is no diffusion time at all.
    pub fn is_empty(&self) -> bool {
        self.betas.is_empty()
    }

    /// beta_t.
    pub fn beta(&self, t: usize) -> f64 {
        self.betas[t]
    }

    /// abar_t, the product of 1 - beta up to and including t.
    pub fn abar(&self, t: usize) -> f64 {
        self.signal[t]
    }

    /// sqrt(abar_t) and sqrt(1 - abar_t): x_t = signal x_0 + noise eps.
    pub fn levels(&self, t: usize) -> (f32, f32) {
        let abar = self.abar(t);
        (abar.sqrt() as f32, (1.0 - abar).sqrt() as f32)
    }

    /// lambda_t = ln(sqrt(abar_t) / sqrt(1 - abar_t)), which grows as t falls.
    pub fn half_log_snr(&self, t: usize) -> f64 {
        0.5 * (self.abar(t) / (1.0 - self.abar(t))).ln()
    }

    /// The Gaussian posterior of one ancestral step from t.
    pub fn posterior(&self, t: usize) -> Posterior {
        let before = if t == 0 { 1.0 } else { self.abar(t - 1) };
        let (beta, after) = (self.beta(t), self.abar(t));
        Posterior {
            clean: beta * before.sqrt() / (1.0 - after),
            noisy: (1.0 - before) * (1.0 - beta).sqrt() / (1.0 - after),
            variance: beta * (1.0 - before) / (1.0 - after),
        }
    }

    /// Variance of the Gaussian posterior of a step from t to s < t:
    /// (1 - abar_s) / (1 - abar_t) (1 - abar_t / abar_s), and 0 for the step
    /// from t to the clean plan.
    pub fn variance(&self, t: usize, s: Option<usize>) -> f64 {
        let before = s.map_or(1.0, |s| self.abar(s));
        (1.0 - before) / (1.0 - self.abar(t)) * (1.0 - self.abar(t) / before)
    }

    /// `n` diffusion times from T - 1 down, evenly spaced, the last as far from
    /// the clean plan as from the one before it ("trailing"; Lin et al. 2024,
    /// Common Diffusion Noise Schedules and Sample Steps are Flawed).
    ///
    /// A chain ends on the clean plan predicted at its last time, so a forward
    /// at time 0, where the plan is almost clean already, is almost wasted.
    pub fn trailing(&self, n: usize) -> Vec<usize> {
        let n = n.clamp(1, self.len());
        (0..n).map(|i| self.len() - 1 - (self.len() * i + n / 2) / n).collect()
    }

    /// `n` diffusion times from T - 1 down to 0, evenly spaced.
    pub fn subsequence(&self, n: usize) -> Vec<usize> {
        let last = self.len() - 1;
        let n = n.clamp(1, self.len());
        if n == 1 {
            return vec![last];
        }
        (0..n)
            .map(|i| (last as f64 * (n - 1 - i) as f64 / (n - 1) as f64).round() as usize)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_the_published_cosine() {
        let schedule = Schedule::cosine(64);
        let f = |u: f64| ((u + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
        for i in 0..60 {
            let expected = f((i + 1) as f64 / 64.0) / f(0.0);
            assert!((schedule.abar(i) - expected).abs() < 1e-12);
        }
        assert_eq!(schedule.beta(63), 0.999);
    }

    #[test]
    fn golden_values_of_the_two_published_lengths() {
        assert!((Schedule::cosine(64).beta(0) - 0.0012).abs() < 5e-5);
        assert!((Schedule::cosine(256).beta(0) - 0.00019).abs() < 5e-6);
    }

    #[test]
    fn the_last_ancestral_step_returns_the_clean_plan() {
        let posterior = Schedule::cosine(64).posterior(0);
        assert!((posterior.clean - 1.0).abs() < 1e-9);
        assert!(posterior.noisy.abs() < 1e-12 && posterior.variance.abs() < 1e-12);
    }

    #[test]
    fn the_variance_of_a_single_step_is_that_of_its_posterior() {
        let schedule = Schedule::cosine(20);
        for t in 1..20 {
            let expected = schedule.posterior(t).variance;
            assert!((schedule.variance(t, Some(t - 1)) - expected).abs() < 1e-12);
        }
        assert_eq!(schedule.variance(0, None), 0.0);
        // A longer step is less certain.
        assert!(schedule.variance(15, Some(5)) > schedule.variance(6, Some(5)));
    }

    #[test]
    fn posterior_weights_preserve_the_signal_level() {
        // E[x_{t-1}] = sqrt(abar_{t-1}) x_0 when x_t sits at its own mean.
        let schedule = Schedule::cosine(64);
        for t in 1..64 {
            let p = schedule.posterior(t);
            let mean = p.clean + p.noisy * schedule.abar(t).sqrt();
            assert!((mean - schedule.abar(t - 1).sqrt()).abs() < 1e-9);
        }
    }

    #[test]
    fn a_subsequence_runs_from_noise_to_the_first_level() {
        let schedule = Schedule::cosine(64);
        assert_eq!(schedule.subsequence(5), vec![63, 47, 32, 16, 0]);
        assert_eq!(schedule.subsequence(64), (0..64).rev().collect::<Vec<_>>());
        assert_eq!(schedule.subsequence(1), vec![63]);
    }

    #[test]
    fn trailing_times_leave_no_forward_to_a_plan_that_is_clean() {
        let schedule = Schedule::cosine(64);
        assert_eq!(schedule.trailing(1), vec![63]);
        assert_eq!(schedule.trailing(2), vec![63, 31]);
        assert_eq!(schedule.trailing(3), vec![63, 42, 20]);
        assert_eq!(schedule.trailing(4), vec![63, 47, 31, 15]);
        assert_eq!(schedule.trailing(64), schedule.subsequence(64));
        assert_eq!(schedule.trailing(0).len(), 1);
        assert_eq!(schedule.trailing(999).len(), 64);
    }
}
