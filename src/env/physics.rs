//! The ball among wall squares, on rapier2d. No other file names rapier2d.
//!
//! D4RL's simulator integrates joint damping implicitly: with force `f`, mass
//! `m` and damping 1, a free step of `h` seconds is
//! `v' = v + h (f - v) / (m + h)`, `x' = x + h v'`. Rapier damps only after it
//! has moved the body, so the free velocity is computed here and rapier's part
//! is the contacts.

use rapier2d::prelude::{
    ColliderBuilder, IVector, IntegrationParameters, PhysicsWorld, RigidBodyBuilder,
    RigidBodyHandle, SharedShape, Vector,
};

/// Seconds per step.
pub(super) const DT_SECS: f32 = 0.01;
/// Mass of a ball of radius 0.1 m and density 1000 kg/m³, in kg.
pub(super) const MASS: f32 = 4.188_79;
/// Force at action 1, in newtons.
const GEAR: f32 = 100.0;
/// Force per velocity, in N s/m, on each axis.
const DAMPING: f32 = 1.0;
/// Velocity is clipped to this on each axis before every step, in m/s.
pub(super) const MAX_VELOCITY: f32 = 5.0;

/// Walls are foreseen within half of this, in m, and a step at full speed on
/// both axes goes 0.074 m. With less, the ball dips into walls before it is
/// stopped.
const CONTACT_REACH: f32 = 0.16;

/// A ball and the walls around it.
pub(super) struct Physics {
    walls: SharedShape,
    corner: [f32; 2],
    radius: f32,
    world: PhysicsWorld,
    ball: RigidBodyHandle,
}

impl Physics {
    /// A ball of `radius` among unit squares, at rest in the origin. Square
    /// `(0, 0)` of `walls` has its lower corner at `corner`.
    pub(super) fn new(walls: &[[i64; 2]], corner: [f32; 2], radius: f32) -> Self {
        // One shape for all: the seams between squares of their own would stop
        // a ball that is pressed against them while it slides along.
        let squares: Vec<_> = walls.iter().map(|&[w, h]| IVector::new(w as _, h as _)).collect();
        let walls = SharedShape::voxels(Vector::ONE, &squares);
        let (world, ball) = build(&walls, corner, radius, [0.0; 4]);
        Self { walls, corner, radius, world, ball }
    }

    /// Position and velocity.
    pub(super) fn state(&self) -> [f32; 4] {
        let ball = &self.world.bodies[self.ball];
        let (position, velocity) = (ball.translation(), ball.linvel());
        [position.x, position.y, velocity.x, velocity.y]
    }

    /// Put the ball somewhere else.
    pub(super) fn set_state(&mut self, state: [f32; 4]) {
        // Rapier solves contacts in the order it found them, which changes the
        // last bits. A new world forgets where the ball has been, so that what
        // follows depends on the state alone.
        (self.world, self.ball) = build(&self.walls, self.corner, self.radius, state);
    }

    /// One step under `action`, each coordinate in `[-1, 1]`.
    pub(super) fn step(&mut self, action: [f32; 2]) {
        let ball = &mut self.world.bodies[self.ball];
        let velocity = ball.linvel();
        let free = |velocity: f32, action: f32| {
            let velocity = velocity.clamp(-MAX_VELOCITY, MAX_VELOCITY);
            velocity + DT_SECS * (GEAR * action - DAMPING * velocity) / (MASS + DT_SECS * DAMPING)
        };
        ball.set_linvel(
            Vector::new(free(velocity.x, action[0]), free(velocity.y, action[1])),
            true,
        );
        self.world.step();
    }
}

fn build(
    walls: &SharedShape,
    corner: [f32; 2],
    radius: f32,
    [x, y, vx, vy]: [f32; 4],
) -> (PhysicsWorld, RigidBodyHandle) {
    let mut world = PhysicsWorld {
        gravity: Vector::ZERO,
        integration_parameters: IntegrationParameters {
            dt: DT_SECS,
            normalized_prediction_distance: CONTACT_REACH,
            // A contact is never met with an outdated distance or impulse.
            contact_recycling: false,
            warmstart_coefficient: 0.0,
            // One ball that does not turn leaves nothing to iterate on.
            num_solver_iterations: 1,
            // Contacts foreseen within a step already stop the ball.
            max_ccd_substeps: 0,
            ..IntegrationParameters::default()
        },
        ..PhysicsWorld::default()
    };
    let walls = ColliderBuilder::new(walls.clone()).translation(Vector::from(corner));
    world.insert_collider(walls.friction(0.0).restitution(0.0), None);
    let body = RigidBodyBuilder::dynamic()
        .translation(Vector::new(x, y))
        .linvel(Vector::new(vx, vy))
        .lock_rotations()
        .can_sleep(false);
    let shape = ColliderBuilder::ball(radius).mass(MASS).friction(0.0).restitution(0.0);
    let (ball, _) = world.insert(body, shape);
    (world, ball)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{LARGE, MEDIUM, MazeLayout, OPEN, U_MAZE};
    use crate::rng::Rng;

    /// A ball far from any wall.
    fn free_ball(state: [f32; 4]) -> Physics {
        let mut physics = Physics::new(&[[1000, 1000]], [0.0; 2], 0.1);
        physics.set_state(state);
        physics
    }

    fn in_maze(text: &str) -> (Physics, MazeLayout) {
        let layout = MazeLayout::parse(text).unwrap();
        (Physics::new(&layout.touchable_walls(), layout.corner(), 0.1), layout)
    }

    #[test]
    fn the_mass_is_that_of_the_ball() {
        let exact = 1000.0 * 4.0 / 3.0 * std::f64::consts::PI * 0.1_f64.powi(3);
        assert!((f64::from(MASS) - exact).abs() < 1e-5);
    }

    #[test]
    fn a_free_step_follows_the_closed_form() {
        let (mass, h) = (f64::from(MASS), 0.01);
        let (mut position, mut velocity) = ([0.5_f64, -0.25], [0.1_f64, -0.2]);
        let mut physics = free_ball([0.5, -0.25, 0.1, -0.2]);
        let mut rng = Rng::stream(0, "free flight");
        for _ in 0..500 {
            let action = [rng.uniform(-1.0, 1.0) as f32, rng.uniform(-1.0, 1.0) as f32];
            physics.step(action);
            for axis in 0..2 {
                velocity[axis] = velocity[axis].clamp(-5.0, 5.0);
                let force = 100.0 * f64::from(action[axis]) - velocity[axis];
                velocity[axis] += h * force / (mass + h);
                position[axis] += h * velocity[axis];
            }
            let state = physics.state().map(f64::from);
            for axis in 0..2 {
                assert!((state[axis] - position[axis]).abs() < 1e-4, "{state:?}");
                assert!((state[2 + axis] - velocity[axis]).abs() < 1e-4, "{state:?}");
            }
        }
    }

    #[test]
    fn full_force_from_rest_gives_the_known_velocities() {
        let mut physics = free_ball([0.0; 4]);
        physics.step([1.0, 0.0]);
        assert!((physics.state()[2] - 0.238_16).abs() < 1e-5);
        let mut steps = 1;
        while physics.state()[2] <= MAX_VELOCITY {
            physics.step([1.0, 0.0]);
            steps += 1;
        }
        assert_eq!(steps, 22);
        for _ in 0..50 {
            physics.step([1.0, 0.0]);
            // Clipped before the step, so a little above the limit after it.
            assert!((physics.state()[2] - 5.226_26).abs() < 1e-4, "{:?}", physics.state());
        }
    }

    #[test]
    fn the_ball_never_enters_a_wall() {
        for maze in [U_MAZE, MEDIUM, LARGE, OPEN] {
            let (mut physics, layout) = in_maze(maze);
            let [x, y] = layout.center_of_cell(layout.goal_cell());
            physics.set_state([x, y, 0.0, 0.0]);
            let mut rng = Rng::stream(1, "walls");
            let mut held = [0.0_f32; 2];
            let mut deepest = 0.0_f32;
            for step in 0..100_000 {
                // Full force held for a while hits walls at full speed.
                let reckless = step % 20_000 >= 10_000;
                if !reckless || step % 40 == 0 {
                    held = [rng.uniform(-1.0, 1.0) as f32, rng.uniform(-1.0, 1.0) as f32];
                }
                let action = if reckless { held.map(|force| force.signum()) } else { held };
                physics.step(action);
                let [x, y, ..] = physics.state();
                let clearance = layout.clearance([x, y]).unwrap_or(-1.0);
                deepest = deepest.max(0.1 - clearance);
            }
            assert!(deepest < 0.03, "{deepest} deep in\n{maze}");
        }
    }

    #[test]
    fn a_ball_that_hits_a_wall_stops_and_slides_along_it() {
        let (mut physics, _) = in_maze("#####\n#OOO#\n#####");
        // Down the corridor along y at 1 m/s, pushed into the wall beside it.
        physics.set_state([0.8, 1.0, 0.0, 1.0]);
        for _ in 0..50 {
            physics.step([1.0, 0.0]);
        }
        let [x, y, vx, vy] = physics.state();
        assert!((x - 1.2).abs() < 2e-3 && vx.abs() < 1e-2, "x {x}, vx {vx}");
        assert!((y - 1.47).abs() < 0.02 && vy > 0.8, "y {y}, vy {vy}");
    }

    #[test]
    fn a_step_depends_on_the_state_alone() {
        let mut rng = Rng::stream(2, "history");
        let (mut used, layout) = in_maze(LARGE);
        let cells = layout.free_cells();
        for _ in 0..200 {
            let [x, y] = layout.center_of_cell(cells[rng.below(cells.len())]);
            let state = [x + 0.35, y - 0.39, 6.0 * rng.normal(), 2.0 * rng.normal()];
            let action = [rng.uniform(-1.0, 1.0) as f32, rng.uniform(-1.0, 1.0) as f32];
            let (mut fresh, _) = in_maze(LARGE);
            for physics in [&mut used, &mut fresh] {
                physics.set_state(state);
                for _ in 0..20 {
                    physics.step(action);
                }
            }
            assert_eq!(used.state(), fresh.state(), "from {state:?}");
        }
    }
}
