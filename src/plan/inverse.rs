//! Which action leads to a planned state: one step of the real dynamics, tried
//! backwards. It does for a phase plane what feedback on positions does for a
//! ball.

use crate::env::{Environment, EnvironmentSpec};

/// Actions tried per coordinate and round.
const TRIES: usize = 9;
/// Rounds, each over a quarter of the last one's width.
const ROUNDS: usize = 4;

/// The action whose step from the environment's present state ends nearest to
/// `target`, found by trying; the environment is left in that state. Distances
/// count in ranges of the state's coordinates, angles the short way around.
///
/// # Errors
/// An environment that refuses its own state.
pub(super) fn invert(
    environment: &mut dyn Environment,
    spec: &EnvironmentSpec,
    target: &[f32],
) -> Result<Vec<f32>, crate::env::EnvError> {
    let state = environment.state();
    let mut best = vec![0.0; spec.action.len()];
    let mut width = 1.0_f32;
    for _ in 0..ROUNDS {
        for axis in 0..best.len() {
            let center = best[axis];
            let mut nearest = (f32::INFINITY, center);
            for index in 0..TRIES {
                let offset = 2.0 * index as f32 / (TRIES - 1) as f32 - 1.0;
                best[axis] = (center + width * offset).clamp(-1.0, 1.0);
                environment.set_state(&state)?;
                environment.step(&best);
                let away = distance(spec, &environment.state(), target);
                if away < nearest.0 {
                    nearest = (away, best[axis]);
                }
            }
            best[axis] = nearest.1;
        }
        width /= 4.0;
    }
    environment.set_state(&state)?;
    Ok(best)
}

/// Squared, in ranges of the coordinates.
fn distance(spec: &EnvironmentSpec, a: &[f32], b: &[f32]) -> f32 {
    let parts = spec.state.iter().zip(a.iter().zip(b)).map(|(dimension, (a, b))| {
        let range = (dimension.high - dimension.low).max(1e-6);
        let mut share = (a - b) / range;
        if dimension.periodic {
            share -= share.round();
        }
        share * share
    });
    parts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{self, EnvironmentConfig};
    use crate::rng::Rng;

    #[test]
    fn the_action_that_was_taken_is_found_again() {
        let mut pendulum = env::make(&EnvironmentConfig {
            id: "pendulum".into(),
            maze: String::new(),
            door_width: None,
            max_steps: 10,
            reference_scores: None,
        })
        .unwrap();
        let spec = pendulum.spec().clone();
        let mut rng = Rng::stream(0, "inverse");
        for _ in 0..100 {
            pendulum.reset(&mut rng);
            let state = pendulum.state();
            let action = rng.uniform(-1.0, 1.0) as f32;
            pendulum.step(&[action]);
            let target = pendulum.state();
            pendulum.set_state(&state).unwrap();
            let found = invert(pendulum.as_mut(), &spec, &target).unwrap();
            assert!((found[0] - action).abs() < 0.01, "{} for {action}", found[0]);
            assert!((pendulum.state()[1] - state[1]).abs() < 1e-6);
            // Beyond what a torque can do the strongest one is nearest.
            let fast = [state[0], state[1] + 4.0];
            assert!((invert(pendulum.as_mut(), &spec, &fast).unwrap()[0] - 1.0).abs() < 1e-6);
        }
    }
}
