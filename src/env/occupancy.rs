//! Discounted occupancy and values by Monte Carlo: the truth to compare with.
//!
//! With discount `gamma` the occupancy of a source is the law of the state
//! `s_e` after `t` steps with `P(t) = (1 - gamma) gamma^(t - 1)`, `t >= 1`
//! (Janner et al. 2020, "Gamma-Models", Eq. 2). The environment never resets
//! on the way: the horizon is infinite.

use super::{EnvError, Environment, MarkovPolicy};
use crate::rng::Rng;

/// Where a question about the future starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// One number per entry of `spec().state`.
    pub state: Vec<f32>,
    /// The first action; the policy's own if `None`.
    pub action: Option<Vec<f32>>,
    /// What the policy is told to reach, one number per entry of
    /// `spec().goal_dims`.
    pub goal: Vec<f32>,
}

/// A mean over rollouts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueEstimate {
    /// The estimate.
    pub mean: f64,
    /// Its standard error.
    pub se: f64,
}

/// `n` independent samples of `s_e`, flat, `[n, state]`.
///
/// Every sample has a rollout of its own, `1 / (1 - gamma)` steps on average.
/// The environment is left with the source's goal, somewhere on the way.
///
/// # Errors
/// A discount outside `[0, 1)`, or a state or goal the environment refuses.
pub fn monte_carlo(
    environment: &mut dyn Environment,
    policy: &dyn MarkovPolicy,
    source: &Source,
    gamma: f64,
    n: usize,
    rng: &mut Rng,
) -> Result<Vec<f32>, EnvError> {
    check_discount(gamma)?;
    environment.set_goal(&source.goal)?;
    let mut samples = Vec::with_capacity(n * source.state.len());
    for _ in 0..n {
        environment.set_state(&source.state)?;
        let steps = geometric(gamma, rng);
        for step in 0..steps {
            advance(environment, policy, source, step, rng);
        }
        samples.extend(environment.state());
    }
    Ok(samples)
}

/// The value `V = E sum_{t >= 1} gamma^(t - 1) r(s_t)` of a source, with
/// [`Environment::state_reward`] as `r`: `E r(s_e) / (1 - gamma)` (Eq. 3 of
/// Janner et al. 2020).
///
/// `n` rollouts end where `gamma^t` falls below 1e-5; what is cut off is at
/// most that share of the largest value there could be.
///
/// # Errors
/// As for [`monte_carlo`], or no rollout.
pub fn values_monte_carlo(
    environment: &mut dyn Environment,
    policy: &dyn MarkovPolicy,
    source: &Source,
    gamma: f64,
    n: usize,
    rng: &mut Rng,
) -> Result<ValueEstimate, EnvError> {
    check_discount(gamma)?;
    if n == 0 {
        return Err(EnvError::State("a value needs rollouts; ask for at least 1".into()));
    }
    environment.set_goal(&source.goal)?;
    let steps = if gamma > 0.0 { (1e-5_f64.ln() / gamma.ln()).ceil().max(1.0) as usize } else { 1 };
    let (mut sum, mut squares) = (0.0, 0.0);
    for _ in 0..n {
        environment.set_state(&source.state)?;
        let (mut value, mut weight) = (0.0, 1.0);
        for step in 0..steps {
            advance(environment, policy, source, step, rng);
            value += weight * f64::from(environment.state_reward(&environment.state()));
            weight *= gamma;
        }
        sum += value;
        squares += value * value;
    }
    let count = n as f64;
    let mean = sum / count;
    let variance = ((squares / count - mean * mean) * count / (count - 1.0).max(1.0)).max(0.0);
    Ok(ValueEstimate { mean, se: (variance / count).sqrt() })
}

/// One step of a rollout, the first with the source's action if it has one.
fn advance(
    environment: &mut dyn Environment,
    policy: &dyn MarkovPolicy,
    source: &Source,
    step: usize,
    rng: &mut Rng,
) {
    match (&source.action, step) {
        (Some(action), 0) => environment.step(action),
        _ => {
            let action = policy.act(&environment.state(), &source.goal, rng);
            environment.step(&action)
        }
    };
}

/// Steps `t >= 1` with `P(t) = (1 - gamma) gamma^(t - 1)`.
fn geometric(gamma: f64, rng: &mut Rng) -> usize {
    if gamma <= 0.0 {
        return 1;
    }
    // In (0, 1]: the logarithm stays finite.
    let uniform = 1.0 - rng.uniform(0.0, 1.0);
    1 + (uniform.ln() / gamma.ln()) as usize
}

/// Refuse what is not a discount.
pub(super) fn check_discount(gamma: f64) -> Result<(), EnvError> {
    match (0.0..1.0).contains(&gamma) {
        true => Ok(()),
        false => Err(EnvError::State(format!(
            "the discount {gamma} is not in [0, 1); choose one below 1, such as 0.95"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{self, EnvironmentConfig};

    fn make(id: &str) -> Box<dyn Environment> {
        let config = EnvironmentConfig {
            id: id.into(),
            maze: env::U_MAZE.into(),
            door_width: None,
            max_steps: 200,
            reference_scores: None,
        };
        env::make(&config).unwrap()
    }

    #[test]
    fn times_are_geometric() {
        let mut rng = Rng::stream(0, "times");
        for gamma in [0.0, 0.5, 0.95] {
            let n = 200_000;
            let (mut sum, mut ones) = (0.0, 0.0);
            for _ in 0..n {
                let time = geometric(gamma, &mut rng);
                sum += time as f64 / f64::from(n);
                ones += f64::from(u8::from(time == 1)) / f64::from(n);
            }
            let mean = 1.0 / (1.0 - gamma);
            assert!((sum / mean - 1.0).abs() < 0.01, "{gamma}: {sum}");
            assert!((ones - (1.0 - gamma)).abs() < 0.01, "{gamma}: {ones}");
        }
    }

    #[test]
    fn without_a_future_the_sample_is_the_next_state() {
        let mut rng = Rng::stream(1, "next");
        for id in ["maze2d", "pendulum", "four-rooms"] {
            let mut environment = make(id);
            let policy = environment.policy(environment.policies()[0].id).unwrap();
            environment.explore(&mut rng);
            let action = Some(vec![0.3; environment.spec().action.len()]);
            let source = Source { state: environment.state(), action, goal: environment.goal() };
            environment.step(source.action.as_deref().unwrap());
            let next = environment.state();
            let env = environment.as_mut();
            let samples = monte_carlo(env, policy.as_ref(), &source, 0.0, 3, &mut rng).unwrap();
            for (sample, next) in samples.iter().zip(next.iter().cycle()) {
                assert!((sample - next).abs() < 1e-5, "{id}: {samples:?}, not {next}");
            }
            assert_eq!(samples.len(), 3 * environment.spec().state.len());
        }
    }

    #[test]
    fn a_value_is_the_mean_reward_under_the_occupancy_over_one_minus_gamma() {
        let mut rng = Rng::stream(2, "values");
        for id in ["pendulum", "four-rooms"] {
            let mut environment = make(id);
            let policy = environment.policy(environment.policies()[0].id).unwrap();
            let goal = environment.goal();
            let source = Source { state: vec![0.5, 0.4], action: None, goal };
            let (gamma, n) = (0.9, 20_000);
            let env = environment.as_mut();
            let samples = monte_carlo(env, policy.as_ref(), &source, gamma, n, &mut rng).unwrap();
            let rewards: Vec<_> =
                samples.chunks_exact(2).map(|s| f64::from(env.state_reward(s))).collect();
            let mean = rewards.iter().sum::<f64>() / n as f64;
            let spread = rewards.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / n as f64;
            let se = (spread / n as f64).sqrt() / (1.0 - gamma);
            let value =
                values_monte_carlo(env, policy.as_ref(), &source, gamma, 4000, &mut rng).unwrap();
            let expected = mean / (1.0 - gamma);
            let limit = 4.0 * se.hypot(value.se) + 1e-3;
            assert!((value.mean - expected).abs() < limit, "{id}: {value:?} and {expected}");
            assert!(value.mean != 0.0 && value.se > 0.0);
        }
    }

    #[test]
    fn discounts_without_an_end_and_illegal_sources_are_refused() {
        let mut rng = Rng::stream(3, "refuse");
        let mut environment = make("four-rooms");
        let policy = environment.policy("random").unwrap();
        let mut ask = |state: &[f32], gamma, n| {
            let source = Source { state: state.to_vec(), action: None, goal: vec![0.3, 0.3] };
            let value = values_monte_carlo(
                environment.as_mut(),
                policy.as_ref(),
                &source,
                gamma,
                n,
                &mut rng,
            );
            let env = environment.as_mut();
            monte_carlo(env, policy.as_ref(), &source, gamma, n, &mut rng)?;
            value
        };
        for gamma in [1.0, -0.1, f64::NAN] {
            assert!(ask(&[0.3, 0.3], gamma, 1).unwrap_err().to_string().contains("[0, 1)"));
        }
        assert!(ask(&[0.0, 0.0], 0.5, 1).unwrap_err().to_string().contains("inside a wall"));
        assert!(ask(&[0.3, 0.3], 0.5, 0).is_err());
        assert!(ask(&[0.3, 0.3], 0.5, 1).is_ok());
    }
}
