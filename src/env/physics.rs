//! The ball among walls, on rapier2d. No other file names rapier2d.
//!
//! MuJoCo integrates joint damping implicitly: with force `f`, mass `m` and
//! damping 1, a free step of `h` seconds is
//! `v' = v + h (f - v) / (m + h)`, `x' = x + h v'`. Rapier damps only after it
//! has moved the body, so the free velocity is computed here and rapier's part
//! is the contacts.

use rapier2d::prelude::{
    ColliderBuilder, IVector, IntegrationParameters, PhysicsWorld, Pose, RigidBodyBuilder,
    RigidBodyHandle, SharedShape, Vector,
};

/// Seconds per step.
pub(super) const DT_SECS: f32 = 0.01;
/// Force per velocity, in N s/m, on each axis.
const DAMPING: f32 = 1.0;
/// Maze2D's ball: radius 0.1 m and density 1000 kg/m³ in three dimensions.
pub(super) const MAZE_BALL: Ball = Ball {
    radius: 0.1,
    mass: 4.188_79,
    gear: 100.0,
    max_velocity: 5.0,
    // A step at full speed on both axes goes 0.074 m.
    contact_reach: 0.16,
    slop: 0.005,
};

/// What moves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ball {
    /// In m.
    pub(super) radius: f32,
    /// In kg.
    pub(super) mass: f32,
    /// Force at action 1, in newtons.
    pub(super) gear: f32,
    /// Velocity is clipped to this on each axis before every step, in m/s.
    pub(super) max_velocity: f32,
    /// Walls are foreseen within half of this, in m, which must be more than a
    /// step goes: otherwise the ball dips into walls before it is stopped.
    pub(super) contact_reach: f32,
    /// How deep the ball may rest in a wall, in m.
    pub(super) slop: f32,
}

impl Ball {
    /// The velocity after a step that meets no wall, on one axis.
    pub(super) fn free_velocity(&self, velocity: f32, action: f32) -> f32 {
        let velocity = velocity.clamp(-self.max_velocity, self.max_velocity);
        let force = self.gear * action - DAMPING * velocity;
        velocity + DT_SECS * force / (self.mass + DT_SECS * DAMPING)
    }
}

/// A ball and the walls around it.
pub(super) struct Physics {
    ball: Ball,
    walls: SharedShape,
    corner: [f32; 2],
    world: PhysicsWorld,
    body: RigidBodyHandle,
}

impl Physics {
    /// A ball among unit squares, at rest in the origin. Square `(0, 0)` of
    /// `walls` has its lower corner at `corner`.
    pub(super) fn among_squares(ball: Ball, walls: &[[i64; 2]], corner: [f32; 2]) -> Self {
        // One shape for all: the seams between squares of their own would stop
        // a ball that is pressed against them while it slides along.
        let squares: Vec<_> = walls.iter().map(|&[w, h]| IVector::new(w as _, h as _)).collect();
        Self::new(ball, SharedShape::voxels(Vector::ONE, &squares), corner)
    }

    /// A ball among segments from one point to another, thickened by `radius`,
    /// at rest in the origin.
    pub(super) fn among_capsules(ball: Ball, segments: &[[[f32; 2]; 2]], radius: f32) -> Self {
        let capsule = |&[from, to]: &[[f32; 2]; 2]| {
            let shape = SharedShape::capsule(Vector::from(from), Vector::from(to), radius);
            (Pose::IDENTITY, shape)
        };
        Self::new(ball, SharedShape::compound(segments.iter().map(capsule).collect()), [0.0; 2])
    }

    fn new(ball: Ball, walls: SharedShape, corner: [f32; 2]) -> Self {
        let (world, body) = build(&ball, &walls, corner, [0.0; 4]);
        Self { ball, walls, corner, world, body }
    }

    /// Position and velocity.
    pub(super) fn state(&self) -> [f32; 4] {
        let body = &self.world.bodies[self.body];
        let (position, velocity) = (body.translation(), body.linvel());
        [position.x, position.y, velocity.x, velocity.y]
    }

    /// Put the ball somewhere else.
    pub(super) fn set_state(&mut self, state: [f32; 4]) {
        // Rapier solves contacts in the order it found them, which changes the
        // last bits. A new world forgets where the ball has been, so that what
        // follows depends on the state alone.
        (self.world, self.body) = build(&self.ball, &self.walls, self.corner, state);
    }

    /// One step under `action`, each coordinate in `[-1, 1]`.
    pub(super) fn step(&mut self, action: [f32; 2]) {
        let body = &mut self.world.bodies[self.body];
        let velocity = body.linvel();
        body.set_linvel(
            Vector::new(
                self.ball.free_velocity(velocity.x, action[0]),
                self.ball.free_velocity(velocity.y, action[1]),
            ),
            true,
        );
        self.world.step();
    }
}

fn build(
    ball: &Ball,
    walls: &SharedShape,
    corner: [f32; 2],
    [x, y, vx, vy]: [f32; 4],
) -> (PhysicsWorld, RigidBodyHandle) {
    let mut world = PhysicsWorld {
        gravity: Vector::ZERO,
        integration_parameters: IntegrationParameters {
            dt: DT_SECS,
            normalized_prediction_distance: ball.contact_reach,
            normalized_allowed_linear_error: ball.slop,
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
    let shape = ColliderBuilder::ball(ball.radius).mass(ball.mass);
    let (body, _) = world.insert(body, shape.friction(0.0).restitution(0.0));
    (world, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{LARGE, MEDIUM, MazeLayout, OPEN, U_MAZE};
    use crate::rng::Rng;

    /// A ball far from any wall.
    fn free_ball(state: [f32; 4]) -> Physics {
        let mut physics = Physics::among_squares(MAZE_BALL, &[[1000, 1000]], [0.0; 2]);
        physics.set_state(state);
        physics
    }

    fn in_maze(text: &str) -> (Physics, MazeLayout) {
        let layout = MazeLayout::parse(text).unwrap();
        (Physics::among_squares(MAZE_BALL, &layout.touchable_walls(), layout.corner()), layout)
    }

    #[test]
    fn the_mass_is_that_of_the_ball() {
        let exact = 1000.0 * 4.0 / 3.0 * std::f64::consts::PI * 0.1_f64.powi(3);
        assert!((f64::from(MAZE_BALL.mass) - exact).abs() < 1e-5);
    }

    #[test]
    fn a_free_step_follows_the_closed_form() {
        let (mass, h) = (f64::from(MAZE_BALL.mass), 0.01);
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
        while physics.state()[2] <= MAZE_BALL.max_velocity {
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
