//! One curve from planned positions and planned velocities.
//!
//! A model plans both, each with its own small errors, and the slope of the
//! positions differs from the velocities. The most likely curve under
//! independent Gaussian errors minimizes
//!
//!   sum_k (x_k - p_k)^2 / P^2 + sum_k (x_{k+1} - x_k - s (v_k + v_{k+1}) / 2)^2 / (s V)^2
//!
//! with waypoints `s` seconds apart, which is one tridiagonal system per axis.

/// Standard deviation of a planned position, units.
const POSITION_ERROR: f32 = 0.05;
/// Standard deviation of a planned velocity, units per second.
const VELOCITY_ERROR: f32 = 0.3;

/// Replace the positions of states `x, y, vx, vy` by the most likely ones.
/// Both ends stay.
pub fn fuse(states: &mut [Vec<f32>], secs: f32) {
    let n = states.len();
    let Some(half) = states.first().map(|state| state.len() / 2) else { return };
    if n < 3 || secs <= 0.0 || secs.is_nan() {
        return;
    }
    let tie = (POSITION_ERROR / (secs * VELOCITY_ERROR)).powi(2);
    for d in 0..half {
        let step = |k: usize| secs * (states[k][half + d] + states[k + 1][half + d]) / 2.0;
        // Interior unknowns 1..n-1: (1 + 2 tie) x_k - tie (x_{k-1} + x_{k+1})
        //   = p_k + tie (step_{k-1} - step_k).
        let mut right: Vec<f32> =
            (1..n - 1).map(|k| states[k][d] + tie * (step(k - 1) - step(k))).collect();
        right[0] += tie * states[0][d];
        right[n - 3] += tie * states[n - 1][d];
        solve_tridiagonal(1.0 + 2.0 * tie, -tie, &mut right);
        for (k, x) in right.into_iter().enumerate() {
            states[k + 1][d] = x;
        }
    }
}

/// Solve a tridiagonal system with constant `diagonal` and `side` in place
/// (Thomas algorithm).
fn solve_tridiagonal(diagonal: f32, side: f32, right: &mut [f32]) {
    let n = right.len();
    let mut ratio = vec![0.0; n];
    let mut pivot = diagonal;
    right[0] /= pivot;
    for k in 1..n {
        ratio[k] = side / pivot;
        pivot = diagonal - side * ratio[k];
        right[k] = (right[k] - side * right[k - 1]) / pivot;
    }
    for k in (0..n - 1).rev() {
        right[k] -= ratio[k + 1] * right[k + 1];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consistent_plan_is_left_alone() {
        let mut states: Vec<Vec<f32>> =
            (0..9).map(|k| vec![0.2 * k as f32, 1.0, 4.0, 0.0]).collect();
        let before = states.clone();
        fuse(&mut states, 0.05);
        for (a, b) in states.iter().zip(&before) {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");
        }
    }

    #[test]
    fn jitter_shrinks_and_the_ends_stay() {
        let mut rng = crate::rng::Rng::stream(1, "jitter");
        let truth = |k: usize| 0.2 * k as f32;
        let mut states: Vec<Vec<f32>> = (0..30)
            .map(|k| vec![truth(k) + 0.05 * rng.normal(), 4.0 + 0.1 * rng.normal()])
            .collect();
        let error = |states: &[Vec<f32>]| -> f32 {
            states.iter().enumerate().map(|(k, s)| (s[0] - truth(k)).powi(2)).sum()
        };
        let before = (error(&states), states[0][0], states[29][0]);
        fuse(&mut states, 0.05);
        assert!(error(&states) < 0.5 * before.0);
        assert_eq!((states[0][0], states[29][0]), (before.1, before.2));
    }

    #[test]
    fn the_solution_satisfies_its_system() {
        let mut x = vec![1.0, -2.0, 0.5, 3.0];
        let right = x.clone();
        solve_tridiagonal(5.0, -2.0, &mut x);
        for k in 0..4 {
            let left = if k > 0 { x[k - 1] } else { 0.0 };
            let next = if k < 3 { x[k + 1] } else { 0.0 };
            assert!((5.0 * x[k] - 2.0 * (left + next) - right[k]).abs() < 1e-5);
        }
    }
}
