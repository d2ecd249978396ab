//! The pendulum's Markov policies.

use std::sync::Arc;

use super::pendulum::{GRAVITY, MAX_TORQUE, wrap};
use super::policies::{CoinPolicy, GaussianPolicy, Mean, UniformPolicy};
use super::{EnvError, MarkovPolicy, PolicyRow};

/// The pendulum's policies, the default first.
pub(super) const POLICIES: &[PolicyRow] = &[
    PolicyRow {
        id: "swing-up",
        title: "Swing up",
        help: "Pumps energy, then balances at the top, with noise of 0.7 N m on every torque.",
    },
    PolicyRow {
        id: "swing-up-exact",
        title: "Swing up, no noise",
        help: "Pumps energy, then balances at the top.",
    },
    PolicyRow { id: "random", title: "Random", help: "Uniform torques." },
    PolicyRow {
        id: "mixture",
        title: "Mixture",
        help: "Tosses a coin at every decision between a very noisy swing-up and a random torque.",
    },
];

/// The policy of that id.
///
/// # Errors
/// An unknown id.
pub(super) fn policy(id: &str) -> Result<Arc<dyn MarkovPolicy>, EnvError> {
    match id {
        "swing-up" => Ok(Arc::new(swing_up(0.7))),
        "swing-up-exact" => Ok(Arc::new(swing_up(0.0))),
        "random" => Ok(Arc::new(UniformPolicy { dims: 1 })),
        "mixture" => Ok(Arc::new(mixture())),
        _ => Err(EnvError::unknown_policy(id, POLICIES)),
    }
}

/// Swing-up with torque noise of that deviation, in N m.
fn swing_up(deviation: f64) -> GaussianPolicy<SwingUp> {
    GaussianPolicy { mean: SwingUp, deviation: (deviation / MAX_TORQUE) as f32 }
}

/// At every decision, with equal chances: swing-up with noise of 1.4 N m, or a
/// uniform torque.
pub(super) fn mixture() -> CoinPolicy {
    let random = UniformPolicy { dims: 1 };
    CoinPolicy { first: Arc::new(swing_up(1.4)), second: Arc::new(random), share: 0.5 }
}

/// Energy shaping, and a linear controller where the torque can hold the top.
///
/// With `e = theta_dot² / 2 + 15 (cos theta - 1)`, which is 0 at rest at the
/// top, `de/dt = 3 u theta_dot`; so `u ~ -e theta_dot` drives `e` to 0 (Åström
/// and Furuta 2000). Near the top `u = -(12 theta + 3 theta_dot)`.
struct SwingUp;

impl SwingUp {
    /// Torque per energy and angular velocity.
    const PUMP: f64 = 1.0;
    /// Added to the angular velocity, in rad/s: at rest at the bottom the pump
    /// needs a direction.
    const KICK: f64 = 0.1;
    const BALANCE: [f64; 2] = [12.0, 3.0];
    /// The top is in reach while the unstable coordinate `theta +
    /// theta_dot / sqrt(15)` is below `3 * 2 / 15`; some of that is margin.
    const REACH: f64 = 0.32;
    /// ... and while the angle is small, in rad.
    const NEAR: f64 = 0.8;

    /// In N m, not yet clipped.
    fn torque(theta: f64, theta_dot: f64) -> f64 {
        let unstable = theta + theta_dot / GRAVITY.sqrt();
        if unstable.abs() < Self::REACH && theta.abs() < Self::NEAR {
            return -(Self::BALANCE[0] * theta + Self::BALANCE[1] * theta_dot);
        }
        let energy = 0.5 * theta_dot * theta_dot + GRAVITY * (theta.cos() - 1.0);
        -Self::PUMP * energy * (theta_dot + Self::KICK)
    }
}

impl Mean for SwingUp {
    fn mean(&self, state: &[f32], _goal: &[f32]) -> Vec<f32> {
        let &[theta, theta_dot] = state else {
            return vec![0.0];
        };
        let torque = Self::torque(wrap(f64::from(theta)), f64::from(theta_dot));
        // Clipped here as well, so that noise counts from the bound.
        vec![(torque / MAX_TORQUE).clamp(-1.0, 1.0) as f32]
    }
}

#[cfg(test)]
mod tests {
    use crate::env::{Environment, EnvironmentConfig, Pendulum};
    use crate::rng::Rng;

    fn pendulum() -> Pendulum {
        let config = EnvironmentConfig {
            id: "pendulum".into(),
            maze: String::new(),
            door_width: None,
            max_steps: 200,
            reference_scores: None,
        };
        Pendulum::new(&config).unwrap()
    }

    /// Mean of `1 - cos theta` over the last 10 s of 20 s from random states.
    fn distance_from_top(id: &str) -> f64 {
        let mut pendulum = pendulum();
        let policy = pendulum.policy(id).unwrap();
        let mut rng = Rng::stream(1, "top");
        let mut sum = 0.0;
        for _ in 0..50 {
            pendulum.explore(&mut rng);
            for step in 0..400 {
                let action = policy.act(&pendulum.state(), &[], &mut rng);
                pendulum.step(&action);
                sum += if step >= 200 { 1.0 - f64::from(pendulum.state()[0]).cos() } else { 0.0 };
            }
        }
        sum / (50.0 * 200.0)
    }

    #[test]
    fn swing_up_holds_the_top_and_chance_does_not() {
        let (exact, noisy) = (distance_from_top("swing-up-exact"), distance_from_top("swing-up"));
        let (random, mixture) = (distance_from_top("random"), distance_from_top("mixture"));
        println!("exact {exact}, noisy {noisy}, mixture {mixture}, random {random}");
        assert!(exact < 1e-3, "{exact}");
        assert!(noisy < 0.1, "{noisy}");
        assert!(random > 0.9, "{random}");
        assert!(mixture > 0.2 && mixture < random, "{mixture}");
    }

    #[test]
    fn swing_up_leaves_rest_at_the_bottom() {
        let mut pendulum = pendulum();
        let policy = pendulum.policy("swing-up-exact").unwrap();
        pendulum.set_state(&[-std::f32::consts::PI, 0.0]).unwrap();
        let mut rng = Rng::stream(0, "bottom");
        let top = (0..200).position(|_| {
            let action = policy.act(&pendulum.state(), &[], &mut rng);
            pendulum.step(&action);
            pendulum.state().iter().all(|value| value.abs() < 0.3)
        });
        assert!(top.is_some(), "still at {:?}", pendulum.state());
    }
}
