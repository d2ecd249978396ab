//! Continuous four rooms: a ball under velocity control in four joined rooms.
//!
//! Geometry and dynamics of GCSL's room world (Ghosh et al. 2021, "Learning to
//! Reach Goals via Iterated Supervised Learning"): a square of 1.2 m with a
//! door in the middle of every wall, a ball of 10 g, and five substeps of
//! 0.01 s with the action held. With gear 1 and implicit damping 1 a substep
//! is `v' = v + (u - v) / 2`, `x' = x + v' h`.
//!
//! The velocity is reset to zero before every action. That departs from room
//! world, where some of it carries over; it makes the position alone a Markov
//! state, so that occupancies are densities over the plane. At full action the
//! ball then moves 0.0403 m.

use std::sync::Arc;

use super::physics::{Ball, DT_SECS, Physics};
use super::policies::MarkovBehavior;
use super::rooms_policies::{self, to_goal};
use super::rooms_space::{BALL_RADIUS, HALF_SIDE, RoomsSpace, WALL_RADIUS};
use super::{
    Dimension, EnvError, Environment, EnvironmentConfig, EnvironmentSpec, MarkovPolicy, Policy,
    PolicyRow, StateDimension, Workspace, check_finite, wrong_length,
};
use crate::rng::Rng;

/// Physics steps per action.
const SUBSTEPS: usize = 5;
/// Door width if the scene does not say, in m. The published 0.2 leaves the
/// ball 4 cm, which noise rarely hits.
pub const DOOR_WIDTH: f32 = 0.3;
/// Within this distance of the goal a state pays 1, in m.
const GOAL_RADIUS: f32 = 0.08;
/// What the ball moves in a step at full action, in m.
const FULL_STEP: f32 = 0.0403;
/// Contacts leave the ball less deep than this in a wall, in m, so states may
/// be as deep.
const MAX_OVERLAP: f32 = 0.003;

/// Room world's ball.
const BALL: Ball = Ball {
    radius: BALL_RADIUS,
    mass: 0.01,
    gear: 1.0,
    max_velocity: f32::INFINITY,
    // A substep at full speed on both axes goes 0.014 m.
    contact_reach: 0.04,
    slop: 1e-4,
};

/// The four rooms environment.
pub struct FourRooms {
    spec: EnvironmentSpec,
    space: Arc<RoomsSpace>,
    physics: Physics,
    position: [f32; 2],
    goal: [f32; 2],
}

impl FourRooms {
    /// Build the rooms a scene describes: its `door_width`, 0.3 m if it has
    /// none. The ball rests in the middle of the lower left room and the goal
    /// is the middle of the upper right one.
    ///
    /// # Errors
    /// A door [`RoomsSpace::new`] refuses, an episode of no steps, or
    /// reference scores that do not increase.
    pub fn new(config: &EnvironmentConfig) -> Result<Self, EnvError> {
        config.check()?;
        let space = Arc::new(RoomsSpace::new(config.door_width.unwrap_or(DOOR_WIDTH))?);
        let physics = Physics::among_capsules(BALL, space.walls(), WALL_RADIUS);
        let [position, goal] = [[-0.3, -0.3], [0.3, 0.3]];
        Ok(Self { spec: spec(config), space, physics, position, goal })
    }

    /// The walls and doors.
    pub fn space(&self) -> &Arc<RoomsSpace> {
        &self.space
    }

    /// Where a step ends that meets no wall, with rapier's order of rounding.
    fn free_flight([mut x, mut y]: [f32; 2], action: [f32; 2]) -> [f32; 2] {
        let [mut vx, mut vy] = [0.0, 0.0];
        for _ in 0..SUBSTEPS {
            vx = BALL.free_velocity(vx, action[0]);
            vy = BALL.free_velocity(vy, action[1]);
            x += vx * DT_SECS;
            y += vy * DT_SECS;
        }
        [x, y]
    }

    fn contact_flight(&mut self, [x, y]: [f32; 2], action: [f32; 2]) -> [f32; 2] {
        self.physics.set_state([x, y, 0.0, 0.0]);
        for _ in 0..SUBSTEPS {
            self.physics.step(action);
        }
        let [x, y, ..] = self.physics.state();
        [x, y]
    }

    fn random_position(&self, rng: &mut Rng) -> [f32; 2] {
        // The rooms alone are over half of the square.
        loop {
            let side = f64::from(HALF_SIDE);
            let position = [rng.uniform(-side, side) as f32, rng.uniform(-side, side) as f32];
            if self.space.is_free(position) {
                return position;
            }
        }
    }

    /// Why a position cannot be taken, with the nearest one that can.
    fn refusal(&self, what: &str, [x, y]: [f32; 2]) -> EnvError {
        let advice = match self.space.nearest_free([x, y]) {
            Some([x, y]) => format!("the nearest free place is ({x:.3}, {y:.3})"),
            None => "give two finite numbers".to_owned(),
        };
        let place = match x.abs().max(y.abs()) <= HALF_SIDE {
            true => "inside a wall",
            false => "outside of the rooms",
        };
        EnvError::State(format!("the {what} ({x}, {y}) is {place}; {advice}"))
    }

    /// A place for the ball.
    fn place(&self, what: &str, given: &[f32], overlap: f32) -> Result<[f32; 2], EnvError> {
        let &[x, y] = given else {
            return Err(wrong_length(what, "x, y", given.len()));
        };
        check_finite(what, given)?;
        match self.space.clearance([x, y]) >= -overlap {
            true => Ok([x, y]),
            false => Err(self.refusal(what, [x, y])),
        }
    }
}

impl Environment for FourRooms {
    fn spec(&self) -> &EnvironmentSpec {
        &self.spec
    }

    fn reset(&mut self, rng: &mut Rng) {
        self.position = self.random_position(rng);
    }

    fn state(&self) -> Vec<f32> {
        self.position.to_vec()
    }

    fn set_state(&mut self, state: &[f32]) -> Result<(), EnvError> {
        self.position = self.place("state", state, MAX_OVERLAP)?;
        Ok(())
    }

    fn goal(&self) -> Vec<f32> {
        self.goal.to_vec()
    }

    fn set_goal(&mut self, goal: &[f32]) -> Result<(), EnvError> {
        self.goal = self.place("goal", goal, 0.0)?;
        Ok(())
    }

    fn default_goal(&self) -> Vec<f32> {
        vec![0.3, 0.3]
    }

    fn randomize_goal(&mut self, rng: &mut Rng) {
        self.goal = self.random_position(rng);
    }

    fn explore(&mut self, rng: &mut Rng) {
        self.position = self.random_position(rng);
    }

    fn state_reward(&self, state: &[f32]) -> f32 {
        match *state {
            [x, y] if (x - self.goal[0]).hypot(y - self.goal[1]) <= GOAL_RADIUS => 1.0,
            _ => 0.0,
        }
    }

    fn policies(&self) -> &'static [PolicyRow] {
        rooms_policies::POLICIES
    }

    fn policy(&self, id: &str) -> Result<Arc<dyn MarkovPolicy>, EnvError> {
        rooms_policies::policy(&self.space, id)
    }

    fn step(&mut self, action: &[f32]) -> f32 {
        // A missing or undefined velocity is none.
        let velocity = |axis: usize| match action.get(axis) {
            Some(value) if !value.is_nan() => value.clamp(-1.0, 1.0),
            _ => 0.0,
        };
        let action = [velocity(0), velocity(1)];
        // From rest the ball flies straight, so a sweep says whether it meets
        // a wall; rapier takes a hundred times longer than the closed form.
        let end = Self::free_flight(self.position, action);
        let inside = end.iter().all(|value| value.abs() <= HALF_SIDE);
        self.position = match inside && self.space.sweeps_clear(self.position, end, 0.0) {
            true => end,
            false => self.contact_flight(self.position, action),
        };
        self.state_reward(&self.position)
    }

    /// Straight there, and no faster than that takes one step.
    fn pursue(&self, place: [f32; 2]) -> Vec<f32> {
        let speed = |axis: usize| {
            let wanted = (place[axis] - self.position[axis]) / FULL_STEP;
            if wanted.is_nan() { 0.0 } else { wanted.clamp(-1.0, 1.0) }
        };
        vec![speed(0), speed(1)]
    }

    fn workspace(&self) -> Arc<dyn Workspace> {
        self.space.clone()
    }

    /// The policy `to-goal`.
    fn behavior(&self) -> Box<dyn Policy> {
        Box::new(MarkovBehavior::new(Arc::new(to_goal(&self.space)), Some(GOAL_RADIUS)))
    }
}

fn spec(config: &EnvironmentConfig) -> EnvironmentSpec {
    let dimension = |name, unit| Dimension { name, unit };
    let state = |name: &str| StateDimension {
        name: name.into(),
        unit: "m".into(),
        low: -HALF_SIDE,
        high: HALF_SIDE,
        periodic: false,
        rate_of: None,
    };
    EnvironmentSpec {
        id: "four-rooms",
        observation: vec![dimension("x", "m"), dimension("y", "m")],
        state: vec![state("x"), state("y")],
        action: vec![dimension("ux", "m/s"), dimension("uy", "m/s")],
        dt_secs: DT_SECS * SUBSTEPS as f32,
        max_steps: config.max_steps,
        goal_dims: vec![0, 1],
        goal_radius: GOAL_RADIUS,
        reference_scores: config.reference_scores,
        twin_cells: Some([120, 120]),
        twin_occupies: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(door_width: Option<f32>) -> EnvironmentConfig {
        EnvironmentConfig {
            id: "four-rooms".into(),
            maze: String::new(),
            door_width,
            max_steps: 50,
            reference_scores: None,
        }
    }

    fn rooms() -> FourRooms {
        FourRooms::new(&config(None)).unwrap()
    }

    #[test]
    fn an_action_from_rest_moves_as_the_closed_form_says() {
        let mut velocity = 0.0;
        for expected in [0.5, 0.75, 0.875, 0.9375, 0.968_75] {
            velocity = BALL.free_velocity(velocity, 1.0);
            assert!((velocity - expected).abs() < 1e-6, "{velocity}");
        }
        let mut rooms = rooms();
        for action in [[1.0, 0.0], [-1.0, 1.0], [0.25, -0.5]] {
            rooms.set_state(&[0.3, 0.3]).unwrap();
            rooms.step(&action);
            for (axis, &moved) in rooms.state().iter().enumerate() {
                // (0.5 + 0.75 + 0.875 + 0.9375 + 0.96875) * 0.01 at full action.
                let expected = 0.3 + 0.040_312_5 * action[axis];
                assert!((moved - expected).abs() < 1e-6, "{moved}, not {expected}");
            }
        }
    }

    #[test]
    fn the_closed_form_is_what_rapier_does_away_from_walls() {
        let mut rooms = rooms();
        let mut rng = Rng::stream(0, "equivalence");
        let (mut compared, mut nearby, mut worst) = (0, 0, 0.0_f32);
        for _ in 0..20_000 {
            rooms.explore(&mut rng);
            let start = rooms.position;
            let action = [rng.uniform(-1.0, 1.0) as f32, rng.uniform(-1.0, 1.0) as f32];
            let free = FourRooms::free_flight(start, action);
            let slow = rooms.contact_flight(start, action);
            rooms.step(&action);
            let fast = rooms.position;
            let apart = (fast[0] - slow[0]).hypot(fast[1] - slow[1]);
            if fast != free {
                assert_eq!(apart, 0.0);
            } else if rooms.space.clearance(start).min(rooms.space.clearance(free)) > 0.02 {
                assert!(apart < 1e-6, "{start:?} {action:?}: {fast:?} and {slow:?}");
                compared += 1;
            } else {
                // A contact that rapier foresees is a plane: it pushes a ball
                // away from a round end that the ball would have missed.
                (nearby, worst) = (nearby + 1, worst.max(apart));
            }
        }
        println!("{compared} compared, {nearby} near walls, there {worst} m apart");
        assert!(compared > 8000 && nearby > 1000, "{compared}, {nearby}");
        assert!(worst < 0.01, "{worst} m");
    }

    #[test]
    fn the_ball_never_enters_a_wall_and_goes_through_doors() {
        for door_width in [0.2, 0.3] {
            let mut rooms = FourRooms::new(&config(Some(door_width))).unwrap();
            let mut rng = Rng::stream(1, "walls");
            let (mut deepest, mut changes) = (0.0_f32, 0);
            let mut held = [0.0; 2];
            for step in 0..30_000 {
                if step % 25 == 0 {
                    held = [rng.uniform(-1.5, 1.5) as f32, rng.uniform(-1.5, 1.5) as f32];
                }
                let before = rooms.position;
                rooms.step(&held);
                let after = rooms.position;
                changes += usize::from((before[0] > 0.0) != (after[0] > 0.0));
                deepest = deepest.max(-rooms.space.clearance(after));
            }
            println!("door {door_width}: {deepest} deep, {changes} changes of side");
            assert!(deepest < MAX_OVERLAP, "{deepest} deep");
            assert!(changes > 20, "{changes}");
        }
    }

    #[test]
    fn a_step_depends_on_the_position_alone() {
        let (mut used, mut fresh) = (rooms(), rooms());
        let mut rng = Rng::stream(2, "history");
        for _ in 0..2000 {
            let action = [rng.uniform(-1.0, 1.0) as f32, rng.uniform(-1.0, 1.0) as f32];
            fresh.set_state(&used.state()).unwrap();
            fresh.step(&action);
            used.step(&action);
            assert_eq!(used.state(), fresh.state());
        }
    }

    #[test]
    fn the_goal_pays_within_its_radius_and_places_in_walls_are_refused() {
        let mut rooms = rooms();
        rooms.set_goal(&[0.3, 0.3]).unwrap();
        rooms.set_state(&[0.3, 0.3789]).unwrap();
        assert_eq!(rooms.step(&[0.0, 0.0]), 1.0);
        rooms.set_state(&[0.3, 0.3811]).unwrap();
        assert_eq!(rooms.step(&[0.0, 0.0]), 0.0);
        for (state, part) in [
            (&[0.0, 0.0][..], "inside a wall; the nearest free place is"),
            (&[0.9, 0.3], "outside of the rooms"),
            (&[f32::NAN, 0.3], "not finite"),
            (&[0.3], "1 numbers were given"),
        ] {
            for refused in [rooms.set_state(state), rooms.set_goal(state)] {
                let message = refused.unwrap_err().to_string();
                assert!(message.contains(part), "{message}");
            }
        }
        assert_eq!(rooms.goal(), [0.3, 0.3]);
        let narrow = FourRooms::new(&config(Some(0.1))).err().unwrap().to_string();
        assert!(narrow.contains("door_width"), "{narrow}");
    }
}
