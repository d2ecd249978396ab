//! Between an environment's states and the observations models see.

use std::f32::consts::{PI, TAU};
use std::sync::Arc;

use super::EnvironmentSpec;

/// How a state is shown: an angle as its cosine and sine, every other
/// coordinate as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateView {
    /// Whether each state coordinate is shown as cosine and sine; coordinates
    /// beyond the end are not.
    angles: Arc<[bool]>,
}

impl StateView {
    /// The view of an environment whose observation shows every angle as a
    /// pair; of any other one, the state itself.
    pub fn of(spec: &EnvironmentSpec) -> Self {
        let angles = spec.state.iter().filter(|dimension| dimension.periodic).count();
        let is_paired = angles > 0 && spec.observation.len() == spec.state.len() + angles;
        let flags = spec.state.iter().map(|dimension| is_paired && dimension.periodic);
        Self { angles: flags.collect() }
    }

    fn is_angle(&self, dimension: usize) -> bool {
        self.angles.get(dimension).copied().unwrap_or(false)
    }

    /// What a model is shown of `state`.
    pub fn observe(&self, state: &[f32]) -> Vec<f32> {
        let mut observation = Vec::with_capacity(state.len() + self.angles.len());
        for (dimension, value) in state.iter().enumerate() {
            match self.is_angle(dimension) {
                true => observation.extend([value.cos(), value.sin()]),
                false => observation.push(*value),
            }
        }
        observation
    }

    /// The state an observation shows; a pair that lies off the unit circle,
    /// as predicted ones do, gives the angle of its direction.
    pub fn state_of(&self, observation: &[f32]) -> Vec<f32> {
        let mut state = Vec::with_capacity(observation.len());
        let mut rest = observation;
        loop {
            rest = match (rest, self.is_angle(state.len())) {
                ([cos, sin, rest @ ..], true) => {
                    state.push(sin.atan2(*cos));
                    rest
                }
                ([value, rest @ ..], false) => {
                    state.push(*value);
                    rest
                }
                _ => return state,
            };
        }
    }

    /// Whether the short way between two places of the plane leads around an
    /// angle's ends.
    pub fn wraps(&self, a: [f32; 2], b: [f32; 2]) -> bool {
        (0..2).any(|i| self.is_angle(i) && (a[i] - b[i]).abs() > PI)
    }

    /// The state a share of the way from one to another, angles the short way
    /// around.
    pub fn between(&self, from: &[f32], to: &[f32], share: f32) -> Vec<f32> {
        let mix = |(dimension, (from, to)): (usize, (&f32, &f32))| {
            let mut by = to - from;
            if self.is_angle(dimension) {
                by -= TAU * (by / TAU).round();
                return (from + share * by + PI).rem_euclid(TAU) - PI;
            }
            from + share * by
        };
        from.iter().zip(to).enumerate().map(mix).collect()
    }

    /// The first two state coordinates of an observation; NaN where it is too
    /// short.
    pub fn plane(&self, observation: &[f32]) -> [f32; 2] {
        match (observation, self.is_angle(0), self.is_angle(1)) {
            ([x, y, ..], false, false) => [*x, *y],
            ([cos, sin, y, ..], true, false) => [sin.atan2(*cos), *y],
            ([x, cos, sin, ..], false, true) => [*x, sin.atan2(*cos)],
            ([cos, sin, cos_1, sin_1, ..], true, true) => [sin.atan2(*cos), sin_1.atan2(*cos_1)],
            _ => [f32::NAN; 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{self, EnvironmentConfig};
    use crate::rng::Rng;

    #[test]
    fn the_view_of_every_environment_is_its_observation_and_goes_back() {
        for id in ["maze2d", "pendulum", "four-rooms"] {
            let mut environment = env::make(&EnvironmentConfig {
                id: id.into(),
                maze: env::U_MAZE.into(),
                door_width: None,
                max_steps: 10,
                reference_scores: None,
            })
            .unwrap();
            let view = StateView::of(environment.spec());
            let mut rng = Rng::stream(2, "views");
            for _ in 0..50 {
                environment.explore(&mut rng);
                let (state, observation) = (environment.state(), environment.observation());
                let close = |a: &[f32], b: &[f32]| {
                    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
                };
                assert!(close(&view.observe(&state), &observation), "{id}: {state:?}");
                assert!(close(&view.state_of(&observation), &state), "{id}: {state:?}");
                assert!(close(&view.plane(&observation), &state[..2]), "{id}: {state:?}");
            }
        }
        assert!(StateView::default().plane(&[1.0])[0].is_nan());
    }

    #[test]
    fn angles_go_the_short_way_around() {
        let view = StateView { angles: [true, false].into() };
        let middle = view.between(&[3.0, 1.0], &[-3.0, 2.0], 0.5);
        assert!((middle[0].abs() - PI).abs() < 1e-5 && (middle[1] - 1.5).abs() < 1e-6);
        assert!((view.between(&[0.2, 0.0], &[0.6, 0.0], 0.25)[0] - 0.3).abs() < 1e-6);
        assert!(view.wraps([3.0, 0.0], [-3.0, 0.0]) && !view.wraps([1.0, -8.0], [2.0, 8.0]));
        let plain = StateView::default();
        assert_eq!(plain.between(&[3.0, 1.0], &[-3.0, 2.0], 0.5), [0.0, 1.5]);
    }
}
