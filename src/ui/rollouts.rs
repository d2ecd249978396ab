//! Reading a rollout at any time, not only at its steps.

use crate::plan::Rollout;

/// A rollout's state at a time, between two steps their mix.
pub fn state_at(rollout: &Rollout, secs: f32) -> Vec<f32> {
    let position = (secs / rollout.dt_secs.max(1e-6)).max(0.0);
    let index = position.floor() as usize;
    let fraction = position.fract();
    let last = rollout.states.last();
    match (rollout.states.get(index), rollout.states.get(index + 1)) {
        (Some(a), Some(b)) => rollout.view.between(a, b, fraction),
        _ => last.cloned().unwrap_or_default(),
    }
}

/// From a rollout's first state to its last.
pub fn duration_secs(rollout: &Rollout) -> f32 {
    rollout.states.len().saturating_sub(1) as f32 * rollout.dt_secs
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Three states, half a second apart.
    pub fn rollout() -> Rollout {
        Rollout {
            film_id: 1,
            states: vec![vec![0.0, 0.0], vec![1.0, 2.0], vec![2.0, 2.0]],
            targets: Vec::new(),
            rewards: Vec::new(),
            plans: Vec::new(),
            films: Vec::new(),
            arrival_step: None,
            contact_steps: 0,
            dt_secs: 0.5,
            view: crate::env::StateView::default(),
            finished: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::rollout;
    use super::*;

    #[test]
    fn states_between_steps_are_mixed_and_the_ends_hold() {
        let rollout = rollout();
        assert_eq!(duration_secs(&rollout), 1.0);
        assert_eq!(state_at(&rollout, 0.25), [0.5, 1.0]);
        assert_eq!(state_at(&rollout, -1.0), [0.0, 0.0]);
        assert_eq!(state_at(&rollout, 9.0), [2.0, 2.0]);
    }
}
