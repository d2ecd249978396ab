//! Probabilistic horizons: what a rollout of a γ-model says about time.
//!
//! A γ-model jumps `Δt ~ Geom(1 - γ)` environment steps at once. Chaining `n`
//! jumps and mixing the steps with the weights `α_n` turns a model of discount
//! γ into one of any larger discount γ̃ (Janner, Mordatch & Levine, "γ-Models:
//! Generative Temporal Difference Learning for Infinite-Horizon Prediction",
//! NeurIPS 2020, Theorem 1), and the weight that the steps after the last one
//! would carry goes to a terminal value (Theorem 2, γ-MVE).
//!
//! Times are environment steps from 1 on. Rewards are `r(s_e)` of the state
//! reached, so a value leaves out the reward of the state one stands in.

mod time_law;

pub use time_law::{TimeDistributions, time_mass};

/// Why a horizon or a value could not be computed; each message says what to
/// change.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HorizonError {
    /// A model discount that is no discount.
    #[error("the model discount γ is {0}: set it to at least 0 and below 1")]
    Discount(f64),
    /// A target that no mixture of the model's steps can reach.
    #[error(
        "the target discount γ̃ is {target} with a model discount γ of {model}: \
         set it to at least γ and below 1, or train a model with a smaller γ"
    )]
    Target {
        /// γ.
        model: f64,
        /// γ̃.
        target: f64,
    },
    /// A rollout or a table of nothing.
    #[error("the number of {0} is zero: ask for at least one")]
    Zero(&'static str),
    /// A table too large to hold.
    #[error("{steps} steps by {times} times is too large a table: keep it below {MAX_TABLE}")]
    Table {
        /// Rollout steps asked for.
        steps: usize,
        /// Times asked for.
        times: usize,
    },
    /// A share of probability that finitely many steps cannot cover.
    #[error("the probability mass to cover is {0}: set it above 0 and below 1")]
    Mass(f64),
    /// One mean reward is needed per step.
    #[error("{found} mean rewards for a rollout of {expected} steps: give one a step")]
    Rewards {
        /// Steps of the reweighting.
        expected: usize,
        /// Rewards given.
        found: usize,
    },
    /// A number that is NaN or infinite.
    #[error("{what} is {value}: check the reward and the model that produced it")]
    NotFinite {
        /// Which number.
        what: &'static str,
        /// What it was.
        value: f64,
    },
}

/// Entries that [`TimeDistributions`] may hold, 128 MiB.
const MAX_TABLE: usize = 1 << 24;

/// Whether γ in `[0, 1)` and γ̃ in `[γ, 1)`; false for NaN.
fn reachable(gamma: f64, gamma_tilde: f64) -> bool {
    0.0 <= gamma && gamma <= gamma_tilde && gamma_tilde < 1.0
}

fn check_discounts(gamma: f64, gamma_tilde: f64) -> Result<(), HorizonError> {
    if !reachable(gamma, gamma) {
        return Err(HorizonError::Discount(gamma));
    }
    if !reachable(gamma, gamma_tilde) {
        return Err(HorizonError::Target { model: gamma, target: gamma_tilde });
    }
    Ok(())
}

/// Weight of the `n`-th rollout step, from 1 on, in a mixture of discount γ̃:
/// `α_n = (1 - γ̃)(γ̃ - γ)^(n-1) / (1 - γ)^n` (Theorem 1), with `0^0 = 1`.
///
/// 0 for `n = 0`; NaN unless `0 <= γ <= γ̃ < 1`.
pub fn alpha(n: usize, gamma: f64, gamma_tilde: f64) -> f64 {
    if n == 0 && reachable(gamma, gamma_tilde) {
        return 0.0;
    }
    // The quotient of two powers would underflow; the power of the quotient
    // underflows only where the weight itself does.
    (1.0 - gamma_tilde) / (1.0 - gamma) * tail(gamma, gamma_tilde, n.saturating_sub(1))
}

/// Mixture weight of everything after `steps` rollout steps,
/// `((γ̃ - γ) / (1 - γ))^steps = 1 - Σ_{n <= steps} α_n` (Lemma 1).
///
/// NaN unless `0 <= γ <= γ̃ < 1`.
pub fn tail(gamma: f64, gamma_tilde: f64, steps: usize) -> f64 {
    if !reachable(gamma, gamma_tilde) {
        return f64::NAN;
    }
    ((gamma_tilde - gamma) / (1.0 - gamma)).powf(steps as f64)
}

/// Fewest rollout steps of a γ-model whose weights hold at least `mass` of the
/// γ̃ mixture (Figure 3.2 b of Janner's thesis): 299 for γ 0, γ̃ 0.99 and 95 %.
///
/// # Errors
/// Discounts outside `0 <= γ <= γ̃ < 1`, or a mass outside `(0, 1)`.
pub fn steps_for_mass(gamma: f64, gamma_tilde: f64, mass: f64) -> Result<usize, HorizonError> {
    check_discounts(gamma, gamma_tilde)?;
    if !(mass > 0.0 && mass < 1.0) {
        return Err(HorizonError::Mass(mass));
    }
    let covers = |steps| tail(gamma, gamma_tilde, steps) <= 1.0 - mass;
    // -inf for γ = γ̃, whose quotient is zero: one step then holds everything.
    let log_ratio = ((gamma_tilde - gamma) / (1.0 - gamma)).ln();
    let mut steps = ((-mass).ln_1p() / log_ratio).ceil().max(1.0) as usize;
    // The logarithms may round to the wrong side of a whole number.
    while !covers(steps) {
        steps += 1;
    }
    while steps > 1 && covers(steps - 1) {
        steps -= 1;
    }
    Ok(steps)
}

/// A checked γ, γ̃ and number of rollout steps, with the weights of Theorem 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Reweighting {
    gamma: f64,
    gamma_tilde: f64,
    weights: Vec<f64>,
    tail: f64,
}

impl Reweighting {
    /// The mixture of `steps` γ-model steps that stands for discount γ̃.
    ///
    /// # Errors
    /// γ outside `[0, 1)`, γ̃ outside `[γ, 1)`, no steps or far too many, NaN.
    pub fn new(gamma: f64, gamma_tilde: f64, steps: usize) -> Result<Self, HorizonError> {
        check_discounts(gamma, gamma_tilde)?;
        check_table(steps, 1)?;
        Ok(Self {
            gamma,
            gamma_tilde,
            weights: (1..=steps).map(|n| alpha(n, gamma, gamma_tilde)).collect(),
            tail: tail(gamma, gamma_tilde, steps),
        })
    }

    /// γ, the discount of the model.
    pub fn gamma(&self) -> f64 {
        self.gamma
    }

    /// γ̃, the discount of the mixture.
    pub fn gamma_tilde(&self) -> f64 {
        self.gamma_tilde
    }

    /// `α_1 ..= α_H`; with [`Reweighting::tail`] they sum to one.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The weight of a terminal value, `1 - Σ α_n` (Lemma 1).
    pub fn tail(&self) -> f64 {
        self.tail
    }

    /// The weights scaled to sum to one over the steps at hand: the mixture to
    /// draw from when nothing stands for the tail.
    pub fn truncated(&self) -> Vec<f64> {
        let sum: f64 = self.weights.iter().sum();
        self.weights.iter().map(|weight| weight / sum).collect()
    }

    /// γ-MVE (Theorem 2): the value for discount γ̃ from the mean reward of the
    /// states at each rollout step and the mean γ̃ value of those at the last,
    /// `1 / (1 - γ̃) Σ α_n E[r] + tail E[V]`.
    ///
    /// # Errors
    /// Not one reward a step, or a number that is not finite.
    pub fn gamma_mve(
        &self,
        per_step_mean_rewards: &[f64],
        terminal_value: f64,
    ) -> Result<f64, HorizonError> {
        let (expected, found) = (self.weights.len(), per_step_mean_rewards.len());
        if expected != found {
            return Err(HorizonError::Rewards { expected, found });
        }
        check_finite("a mean reward", per_step_mean_rewards)?;
        check_finite("the terminal value", &[terminal_value])?;
        let weighted: f64 =
            self.weights.iter().zip(per_step_mean_rewards).map(|(alpha, r)| alpha * r).sum();
        Ok(weighted / (1.0 - self.gamma_tilde) + self.tail * terminal_value)
    }
}

fn check_table(steps: usize, times: usize) -> Result<(), HorizonError> {
    if steps == 0 {
        return Err(HorizonError::Zero("rollout steps"));
    }
    if times == 0 {
        return Err(HorizonError::Zero("times"));
    }
    if steps.saturating_mul(times) > MAX_TABLE {
        return Err(HorizonError::Table { steps, times });
    }
    Ok(())
}

fn check_finite(what: &'static str, values: &[f64]) -> Result<(), HorizonError> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(HorizonError::NotFinite { what, value }),
        None => Ok(()),
    }
}

/// A value with the standard error of its Monte Carlo samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueEstimate {
    /// The estimate.
    pub mean: f64,
    /// Its standard error; 0 from a single sample, as everywhere else here.
    pub se: f64,
    /// Samples behind it.
    pub n: usize,
}

/// `Q = E[r(s_e)] / (1 - γ)` over samples `s_e` of the occupancy (Equation
/// 3.6): a value from one model step, without a rollout.
///
/// # Errors
/// No rewards, one that is not finite, or γ outside `[0, 1)`.
pub fn value_from_samples(rewards: &[f64], gamma: f64) -> Result<ValueEstimate, HorizonError> {
    check_discounts(gamma, gamma)?;
    if rewards.is_empty() {
        return Err(HorizonError::Zero("rewards"));
    }
    check_finite("a reward", rewards)?;
    let n = rewards.len();
    let mean = rewards.iter().sum::<f64>() / n as f64;
    let squares: f64 = rewards.iter().map(|reward| (reward - mean).powi(2)).sum();
    let se = (squares / (n.max(2) - 1) as f64 / n as f64).sqrt();
    Ok(ValueEstimate { mean: mean / (1.0 - gamma), se: se / (1.0 - gamma), n })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: [(f64, f64); 6] =
        [(0.0, 0.99), (0.5, 0.5), (0.8, 0.99), (0.9, 0.95), (0.3, 0.999), (0.0, 0.0)];

    fn close(a: f64, b: f64, tolerance: f64) -> bool {
        (a - b).abs() <= tolerance
    }

    #[test]
    fn the_weights_and_the_tail_sum_to_one() {
        for (gamma, target) in PAIRS {
            for steps in [1, 2, 17, 400] {
                let mixture = Reweighting::new(gamma, target, steps).unwrap();
                let sum: f64 = mixture.weights().iter().sum();
                assert!(close(sum + mixture.tail(), 1.0, 1e-12), "{gamma} {target} {steps}");
                assert!(close(mixture.truncated().iter().sum(), 1.0, 1e-12));
            }
        }
    }

    #[test]
    fn the_weights_have_the_two_special_cases_of_the_theorem() {
        for n in 1..50 {
            let single = 0.01 * 0.99_f64.powi(n - 1);
            assert!(close(alpha(n as usize, 0.0, 0.99), single, 1e-15));
            assert_eq!(alpha(n as usize, 0.9, 0.9), if n == 1 { 1.0 } else { 0.0 });
        }
        assert_eq!(alpha(0, 0.5, 0.9), 0.0);
        assert!(alpha(1, 0.9, 0.5).is_nan() && tail(0.0, 1.0, 1).is_nan());
    }

    #[test]
    fn a_single_step_model_needs_299_steps_for_discount_0_99() {
        assert_eq!(steps_for_mass(0.0, 0.99, 0.95), Ok(299));
        assert_eq!(steps_for_mass(0.99, 0.99, 0.95), Ok(1));
        // 1 - 0.5^2 is exactly three quarters: two steps are enough.
        assert_eq!(steps_for_mass(0.0, 0.5, 0.75), Ok(2));
        assert_eq!(steps_for_mass(0.0, 0.5, 0.75 + 1e-9), Ok(3));
        let mut last = usize::MAX;
        for gamma in [0.0, 0.5, 0.8, 0.95, 0.98] {
            let steps = steps_for_mass(gamma, 0.99, 0.95).unwrap();
            assert!(tail(gamma, 0.99, steps) <= 0.05 && tail(gamma, 0.99, steps - 1) > 0.05);
            assert!(steps < last);
            last = steps;
        }
    }

    #[test]
    fn value_expansion_is_exact_at_every_horizon_where_the_truth_is_known() {
        // Reward β^t at time t: E over p_n of β^t is ((1-γ)β / (1-γβ))^n, and
        // the γ̃ value at time t is β^(t+1) / (1 - γ̃β).
        let beta = 0.7_f64;
        for (gamma, target) in [(0.0, 0.99), (0.8, 0.99), (0.5, 0.6)] {
            let jump = (1.0 - gamma) * beta / (1.0 - gamma * beta);
            let value = beta / (1.0 - target * beta);
            for steps in [1, 3, 20] {
                let rewards: Vec<f64> = (1..=steps).map(|n| jump.powi(n)).collect();
                let mixture = Reweighting::new(gamma, target, steps as usize).unwrap();
                let estimate = mixture.gamma_mve(&rewards, value * jump.powi(steps)).unwrap();
                assert!(close(estimate, value, 1e-12), "{gamma} {target} {steps}: {estimate}");
            }
        }
    }

    #[test]
    fn with_a_single_step_model_value_expansion_is_the_usual_one() {
        let mixture = Reweighting::new(0.0, 0.9, 3).unwrap();
        let usual = 1.0 + 0.9 * -2.0 + 0.81 * 0.5 + 0.729 * 10.0;
        assert!(close(mixture.gamma_mve(&[1.0, -2.0, 0.5], 10.0).unwrap(), usual, 1e-13));
    }

    #[test]
    fn a_value_is_the_mean_reward_over_one_minus_gamma() {
        let value = value_from_samples(&[1.0, 2.0, 3.0, 4.0], 0.75).unwrap();
        assert_eq!((value.mean, value.n), (10.0, 4));
        assert!(close(value.se, 4.0 * (5.0_f64 / 3.0).sqrt() / 2.0, 1e-12));
        assert_eq!(value_from_samples(&[1.0], 0.5).unwrap().se, 0.0);
    }

    #[test]
    fn what_cannot_be_reweighted_is_refused_with_advice() {
        let message =
            |gamma, target, steps| Reweighting::new(gamma, target, steps).unwrap_err().to_string();
        assert!(message(1.0, 1.0, 1).contains("below 1"));
        assert!(message(-0.1, 0.9, 1).contains("at least 0"));
        assert!(message(f64::NAN, 0.9, 1).contains("model discount"));
        assert!(message(0.9, 0.8, 1).contains("at least γ"));
        assert!(message(0.9, f64::NAN, 1).contains("target"));
        assert!(message(0.5, 0.9, 0).contains("at least one"));
        assert!(message(0.5, 0.9, usize::MAX).contains("too large"));
        assert!(TimeDistributions::new(0.5, 0.9, 1 << 40, 1 << 40).is_err());
        assert!(steps_for_mass(0.0, 0.9, 1.0).is_err());
        assert!(steps_for_mass(0.0, 0.9, f64::NAN).is_err());
        let mixture = Reweighting::new(0.0, 0.9, 2).unwrap();
        assert!(mixture.gamma_mve(&[1.0], 0.0).is_err());
        assert!(mixture.gamma_mve(&[1.0, f64::NAN], 0.0).is_err());
        assert!(mixture.gamma_mve(&[1.0, 1.0], f64::INFINITY).is_err());
        assert!(value_from_samples(&[], 0.9).is_err());
        assert!(value_from_samples(&[f64::NAN], 0.9).is_err());
    }
}
