//! The torque-limited pendulum: Gymnasium's Pendulum-v1 in closed form.
//!
//! The state is `[theta, theta_dot]` with `theta` 0 at the top and wrapped to
//! `[-pi, pi)`; a model is shown `(cos theta, sin theta, theta_dot)`. Action 1
//! is a torque of 2 N m. One step of 0.05 s (`g` = 10, `m` = `l` = 1):
//! `theta_dot' = clip(theta_dot + (15 sin theta + 3 u) h, -8, 8)`,
//! `theta' = theta + theta_dot' h`.

use std::f64::consts::{PI, TAU};
use std::sync::Arc;

use super::pendulum_policies::{self, mixture};
use super::policies::MarkovBehavior;
use super::{
    Dimension, EnvError, Environment, EnvironmentConfig, EnvironmentSpec, MarkovPolicy, Policy,
    PolicyRow, StateDimension, Workspace, check_finite, wrong_length,
};
use crate::rng::Rng;

/// Seconds per step.
const DT_SECS: f64 = 0.05;
/// Angular acceleration per `sin theta`, `3 g / (2 l)`, in 1/s².
pub(super) const GRAVITY: f64 = 15.0;
/// Angular acceleration per torque, `3 / (m l²)`, in 1/(kg m²).
const TORQUE: f64 = 3.0;
/// Torque at action 1, in N m.
pub(super) const MAX_TORQUE: f64 = 2.0;
/// Angular velocity is clipped to this, in rad/s.
const MAX_SPEED: f64 = 8.0;

/// Action per rad of distance and per rad/s of speed when a person pulls.
const ANGLE_GAIN: f64 = 4.0;
const SPEED_GAIN: f64 = 0.6;

/// The pendulum environment. It has no goal.
pub struct Pendulum {
    spec: EnvironmentSpec,
    /// In double precision, so that rounding does not add up over an episode.
    theta: f64,
    theta_dot: f64,
}

impl Pendulum {
    /// The pendulum at rest at the bottom. Of the description it uses the
    /// episode length and the reference scores.
    ///
    /// # Errors
    /// An episode of no steps, or reference scores that do not increase.
    pub fn new(config: &EnvironmentConfig) -> Result<Self, EnvError> {
        config.check()?;
        Ok(Self { spec: spec(config), theta: -PI, theta_dot: 0.0 })
    }
}

impl Environment for Pendulum {
    fn spec(&self) -> &EnvironmentSpec {
        &self.spec
    }

    fn reset(&mut self, rng: &mut Rng) {
        self.theta = rng.uniform(-PI, PI);
        self.theta_dot = rng.uniform(-1.0, 1.0);
    }

    fn state(&self) -> Vec<f32> {
        vec![single(self.theta), self.theta_dot as f32]
    }

    fn observation(&self) -> Vec<f32> {
        vec![self.theta.cos() as f32, self.theta.sin() as f32, self.theta_dot as f32]
    }

    /// The angle of the point `(cos theta, sin theta)`, which need not lie on
    /// the circle.
    fn state_of(&self, observation: &[f32]) -> Vec<f32> {
        match observation {
            &[cos, sin, theta_dot] => {
                let theta = single(wrap(f64::from(sin).atan2(f64::from(cos))));
                vec![theta, theta_dot.clamp(-MAX_SPEED as f32, MAX_SPEED as f32)]
            }
            _ => vec![0.0; 2],
        }
    }

    fn set_state(&mut self, state: &[f32]) -> Result<(), EnvError> {
        let &[theta, theta_dot] = state else {
            return Err(wrong_length("state", "theta, theta_dot", state.len()));
        };
        check_finite("state", state)?;
        if f64::from(theta_dot).abs() > MAX_SPEED {
            return Err(EnvError::State(format!(
                "the angular velocity {theta_dot} is beyond {MAX_SPEED} rad/s, which the pendulum \
                 never exceeds; choose one from -{MAX_SPEED} to {MAX_SPEED}"
            )));
        }
        // In single precision -pi lies a hair outside of the interval.
        let theta = f64::from(theta);
        self.theta = if (theta + PI).abs() < 1e-6 { theta.max(-PI) } else { wrap(theta) };
        self.theta_dot = f64::from(theta_dot);
        Ok(())
    }

    fn goal(&self) -> Vec<f32> {
        Vec::new()
    }

    fn set_goal(&mut self, goal: &[f32]) -> Result<(), EnvError> {
        match goal {
            [] => Ok(()),
            _ => Err(EnvError::State(format!(
                "the pendulum has no goal, and {} numbers were given; leave the goal out",
                goal.len()
            ))),
        }
    }

    fn default_goal(&self) -> Vec<f32> {
        Vec::new()
    }

    fn randomize_goal(&mut self, _rng: &mut Rng) {}

    fn explore(&mut self, rng: &mut Rng) {
        self.theta = rng.uniform(-PI, PI);
        self.theta_dot = rng.uniform(-MAX_SPEED, MAX_SPEED);
    }

    /// Gymnasium's reward without the cost of torque,
    /// `-(theta² + 0.1 theta_dot²)`; 0 for what is no state.
    fn state_reward(&self, state: &[f32]) -> f32 {
        match *state {
            [theta, theta_dot] => -state_cost(f64::from(theta), f64::from(theta_dot)) as f32,
            _ => 0.0,
        }
    }

    fn policies(&self) -> &'static [PolicyRow] {
        pendulum_policies::POLICIES
    }

    fn policy(&self, id: &str) -> Result<Arc<dyn MarkovPolicy>, EnvError> {
        pendulum_policies::policy(id)
    }

    fn step(&mut self, action: &[f32]) -> f32 {
        // A missing or undefined torque is no torque.
        let torque = match action.first() {
            Some(value) if !value.is_nan() => MAX_TORQUE * f64::from(value.clamp(-1.0, 1.0)),
            _ => 0.0,
        };
        let cost = state_cost(self.theta, self.theta_dot) + 0.001 * torque * torque;
        let acceleration = GRAVITY * self.theta.sin() + TORQUE * torque;
        let speed = self.theta_dot + acceleration * DT_SECS;
        self.theta_dot = speed.clamp(-MAX_SPEED, MAX_SPEED);
        self.theta = wrap(self.theta + self.theta_dot * DT_SECS);
        -cost as f32
    }

    /// Pulls the pole towards the angle `place[0]`, which gravity may not allow.
    fn pursue(&self, place: [f32; 2]) -> Vec<f32> {
        let away = wrap(f64::from(place[0]) - self.theta);
        let torque = ANGLE_GAIN * away - SPEED_GAIN * self.theta_dot;
        vec![if torque.is_nan() { 0.0 } else { torque.clamp(-1.0, 1.0) as f32 }]
    }

    fn workspace(&self) -> Arc<dyn Workspace> {
        Arc::new(PhasePlane)
    }

    /// The policy `mixture`: data of every quality, as the thesis mixes all
    /// snapshots of a learner.
    fn behavior(&self) -> Box<dyn Policy> {
        Box::new(MarkovBehavior::new(Arc::new(mixture()), None))
    }
}

fn spec(config: &EnvironmentConfig) -> EnvironmentSpec {
    let dimension = |name, unit| Dimension { name, unit };
    let state = |name: &str, unit: &str, bound: f64, periodic| StateDimension {
        name: name.into(),
        unit: unit.into(),
        low: -bound as f32,
        high: bound as f32,
        periodic,
        rate_of: (!periodic).then_some(0),
    };
    EnvironmentSpec {
        id: "pendulum",
        observation: vec![
            dimension("cos theta", ""),
            dimension("sin theta", ""),
            dimension("theta_dot", "rad/s"),
        ],
        state: vec![state("theta", "rad", PI, true), state("theta_dot", "rad/s", MAX_SPEED, false)],
        action: vec![dimension("torque", "2 N m")],
        dt_secs: DT_SECS as f32,
        max_steps: config.max_steps,
        goal_dims: Vec::new(),
        goal_radius: 0.0,
        reference_scores: config.reference_scores,
        twin_cells: Some([201, 201]),
        twin_occupies: false,
    }
}

/// The same angle in `[-pi, pi)`.
pub(super) fn wrap(angle: f64) -> f64 {
    if (-PI..PI).contains(&angle) {
        return angle;
    }
    let wrapped = (angle + PI).rem_euclid(TAU) - PI;
    // Rounding may end on the open side.
    if wrapped >= PI { -PI } else { wrapped }
}

/// In single precision, still below pi.
fn single(angle: f64) -> f32 {
    let rounded = angle as f32;
    if rounded >= std::f32::consts::PI { -std::f32::consts::PI } else { rounded }
}

fn state_cost(theta: f64, theta_dot: f64) -> f64 {
    wrap(theta).powi(2) + 0.1 * theta_dot * theta_dot
}

/// The phase plane, without any wall.
struct PhasePlane;

impl Workspace for PhasePlane {
    fn is_free(&self, [theta, theta_dot]: [f32; 2]) -> bool {
        theta.abs() <= std::f32::consts::PI && theta_dot.abs() <= MAX_SPEED as f32
    }

    fn nearest_free(&self, [theta, theta_dot]: [f32; 2]) -> Option<[f32; 2]> {
        let finite = theta.is_finite() && theta_dot.is_finite();
        let bound = MAX_SPEED as f32;
        finite.then(|| [single(wrap(f64::from(theta))), theta_dot.clamp(-bound, bound)])
    }

    fn touches_wall(&self, _position: [f32; 2]) -> bool {
        false
    }

    fn bounds(&self) -> [f32; 4] {
        let (angle, speed) = (std::f32::consts::PI, MAX_SPEED as f32);
        [-angle, -speed, angle, speed]
    }

    fn connected(&self, from: [f32; 2], to: [f32; 2]) -> bool {
        self.is_free(from) && self.is_free(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> EnvironmentConfig {
        EnvironmentConfig {
            id: "pendulum".into(),
            maze: String::new(),
            door_width: None,
            max_steps: 200,
            reference_scores: None,
        }
    }

    fn pendulum() -> Pendulum {
        Pendulum::new(&config()).unwrap()
    }

    #[test]
    fn two_hundred_steps_equal_gymnasiums_recurrence() {
        let (g, m, l, dt) = (10.0_f64, 1.0_f64, 1.0_f64, 0.05_f64);
        let normalize = |x: f64| {
            let shifted = x + std::f64::consts::PI;
            shifted
                - (shifted / std::f64::consts::TAU).floor() * std::f64::consts::TAU
                - std::f64::consts::PI
        };
        let mut rng = Rng::stream(0, "recurrence");
        for _ in 0..20 {
            let mut pendulum = pendulum();
            pendulum.reset(&mut rng);
            // Gymnasium never wraps its angle.
            let (mut th, mut thdot) = (pendulum.theta, pendulum.theta_dot);
            for _ in 0..200 {
                let action = rng.uniform(-1.5, 1.5) as f32;
                let u = (2.0 * f64::from(action)).clamp(-2.0, 2.0);
                let costs = normalize(th).powi(2) + 0.1 * thdot.powi(2) + 0.001 * u.powi(2);
                let newthdot =
                    thdot + (3.0 * g / (2.0 * l) * th.sin() + 3.0 / (m * l.powi(2)) * u) * dt;
                thdot = newthdot.clamp(-8.0, 8.0);
                th += thdot * dt;
                let reward = pendulum.step(&[action]);
                assert!((f64::from(reward) + costs).abs() < 1e-5, "{reward} and {costs}");
                assert!(normalize(th - pendulum.theta).abs() < 1e-9, "{th}");
                assert!((thdot - pendulum.theta_dot).abs() < 1e-9, "{thdot}");
            }
        }
    }

    #[test]
    fn angles_stay_in_their_half_open_interval() {
        let mut pendulum = pendulum();
        let pi = std::f32::consts::PI;
        for (given, kept) in [(-pi, -pi), (pi, -pi), (0.25, 0.25), (7.0, 7.0 - 2.0 * pi)] {
            pendulum.set_state(&[given, 0.0]).unwrap();
            let theta = pendulum.state()[0];
            assert!((theta - kept).abs() < 2e-6 && (-pi..pi).contains(&theta), "{given}: {theta}");
        }
        for near in [-PI - 1e-16, PI - 1e-16, PI - 1e-9, -PI, PI, 3.0 * PI, -1e300] {
            assert!((-PI..PI).contains(&wrap(near)), "{near}");
            assert!((-pi..pi).contains(&single(wrap(near))), "{near}");
        }
        pendulum.set_state(&[1.0, -2.0]).unwrap();
        let (cos, sin) = (1.0_f32.cos(), 1.0_f32.sin());
        for (shown, expected) in pendulum.observation().iter().zip([cos, sin, -2.0]) {
            assert!((shown - expected).abs() < 1e-6);
        }
        assert!((pendulum.state_reward(&[1.0 + 2.0 * pi, -2.0]) + 1.4).abs() < 1e-5);
    }

    #[test]
    fn illegal_states_and_goals_are_refused_with_advice() {
        let mut pendulum = pendulum();
        for (state, part) in [
            (&[0.0, 8.5][..], "choose one from -8 to 8"),
            (&[f32::NAN, 0.0], "not finite"),
            (&[0.0], "1 numbers were given"),
        ] {
            let message = pendulum.set_state(state).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        pendulum.set_goal(&[]).unwrap();
        assert!(pendulum.set_goal(&[0.0]).unwrap_err().to_string().contains("no goal"));
        assert!(pendulum.policy("psychic").err().unwrap().to_string().contains("swing-up-exact"));
        let plane = pendulum.workspace();
        assert!(plane.is_free([3.0, -8.0]) && !plane.is_free([0.0, f32::NAN]));
        let moved = plane.nearest_free([7.0, 9.0]).unwrap();
        assert!((moved[0] - 0.716_81).abs() < 1e-4 && moved[1] == 8.0, "{moved:?}");
        let mut broken = config();
        broken.max_steps = 0;
        assert!(Pendulum::new(&broken).is_err());
    }
}
