//! The Markov policies of four rooms.

use std::sync::Arc;

use super::policies::{GaussianPolicy, Mean, UniformPolicy};
use super::{EnvError, MarkovPolicy, PolicyRow, RoomsSpace};

/// Standard deviation of the action noise of `to-goal`.
const DEVIATION: f32 = 0.4;

/// The policies of four rooms, the default first.
pub(super) const POLICIES: &[PolicyRow] = &[
    PolicyRow {
        id: "to-goal",
        title: "To the goal",
        help: "Takes the shortest way through the doors, with noise on every velocity.",
    },
    PolicyRow { id: "random", title: "Random", help: "Uniform velocities." },
];

/// The policy of that id.
///
/// # Errors
/// An unknown id.
pub(super) fn policy(space: &Arc<RoomsSpace>, id: &str) -> Result<Arc<dyn MarkovPolicy>, EnvError> {
    match id {
        "to-goal" => Ok(Arc::new(to_goal(space))),
        "random" => Ok(Arc::new(UniformPolicy { dims: 2 })),
        _ => Err(EnvError::unknown_policy(id, POLICIES)),
    }
}

pub(super) fn to_goal(space: &Arc<RoomsSpace>) -> impl MarkovPolicy + use<> {
    GaussianPolicy { mean: ToGoal { space: space.clone() }, deviation: DEVIATION }
}

/// Full speed along the shortest way, slower where one action reaches the goal.
struct ToGoal {
    space: Arc<RoomsSpace>,
}

impl ToGoal {
    /// The goal is approached with its distance over this as the speed, in m.
    const SLOW: f32 = 0.05;
}

impl Mean for ToGoal {
    fn mean(&self, state: &[f32], goal: &[f32]) -> Vec<f32> {
        let (&[x, y], &[goal_x, goal_y]) = (state, goal) else {
            return vec![0.0; 2];
        };
        let finite = [x, y, goal_x, goal_y].iter().all(|value| value.is_finite());
        if !finite {
            return vec![0.0; 2];
        }
        let ([to_x, to_y], last) = self.space.heading([x, y], [goal_x, goal_y]);
        let (dx, dy) = (to_x - x, to_y - y);
        let length = dx.hypot(dy);
        let scale = if last { length.max(Self::SLOW) } else { length.max(1e-6) };
        vec![dx / scale, dy / scale]
    }
}

#[cfg(test)]
mod tests {
    use crate::env::{Environment, EnvironmentConfig, FourRooms};
    use crate::rng::Rng;

    #[test]
    fn to_goal_arrives_everywhere_and_stays_near() {
        for door_width in [0.2, 0.3] {
            let mut rooms = FourRooms::new(&EnvironmentConfig {
                id: "four-rooms".into(),
                maze: String::new(),
                door_width: Some(door_width),
                max_steps: 50,
                reference_scores: None,
            })
            .unwrap();
            let policy = rooms.policy("to-goal").unwrap();
            let mut rng = Rng::stream(3, "to-goal");
            let (mut arrivals, mut paid, mut slowest) = (0, 0.0, 0);
            for episode in 0..300 {
                rooms.explore(&mut rng);
                rooms.randomize_goal(&mut rng);
                let goal = rooms.goal();
                let mut arrival = None;
                for step in 0..150 {
                    let action = policy.act(&rooms.state(), &goal, &mut rng);
                    let reward = rooms.step(&action);
                    arrival = arrival.or((reward == 1.0).then_some(step));
                    paid += if step >= 100 { reward } else { 0.0 };
                }
                assert!(arrival.is_some(), "episode {episode} to {goal:?}: {:?}", rooms.state());
                arrivals += usize::from(arrival.is_some_and(|step| step < 60));
                slowest = slowest.max(arrival.unwrap_or(150));
            }
            let near = paid / (300.0 * 50.0);
            println!("door {door_width}: {arrivals} of 300 in 60, slowest {slowest}, near {near}");
            assert!(arrivals > 280 && near > 0.99, "{arrivals}, {near}");
        }
    }
}
