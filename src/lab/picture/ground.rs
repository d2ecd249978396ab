//! What plans lie on, as a drawing sees it: a maze, rooms or a phase plane.
//!
//! A drawing has the maze's orientation, x down and y to the right, and marks
//! of a maze's size. Other maps are turned and scaled into it, so that their x
//! runs to the right and their y up.

use std::f32::consts::PI;

use super::maze;
use super::shot::BODY_RADIUS;
use crate::env::{FourRooms, MazeLayout};
use crate::lab::{Scene, SceneError};
use crate::picture::Wall;

/// Radius of a wall's capsule, in m.
const CAPSULE_RADIUS: f32 = 0.03;
/// Radius of the ball in rooms, in m.
const ROOMS_BODY_RADIUS: f32 = 0.05;

/// The map of a scene.
pub(super) struct Ground {
    /// `[x_min, y_min, x_max, y_max]` of the drawing.
    pub bounds: [f32; 4],
    /// Walls of the drawing.
    pub walls: Vec<Wall>,
    /// Units of the drawing per unit of the first two state coordinates;
    /// absent where the drawing is the map itself.
    turned: Option<[f32; 2]>,
}

impl Ground {
    /// The map of `scene`.
    ///
    /// # Errors
    /// An environment that cannot be built.
    pub(super) fn of(scene: &Scene) -> Result<Self, SceneError> {
        let config = &scene.environment;
        if config.id == "maze2d" {
            let layout = MazeLayout::parse(&config.maze)?;
            let (bounds, walls) = (maze::shown_bounds(&layout), maze::walls(&layout));
            return Ok(Self { bounds, walls, turned: None });
        }
        let bounds = scene.make_environment()?.workspace().bounds();
        let scale = match config.id.as_str() {
            "four-rooms" => [BODY_RADIUS / ROOMS_BODY_RADIUS; 2],
            // A square that is as wide as an angle's range.
            _ => [1.0, 2.0 * PI / (bounds[3] - bounds[1]).max(1e-6)],
        };
        let mut ground = Self { bounds, walls: Vec::new(), turned: Some(scale) };
        let [x_min, y_min, x_max, y_max] = bounds;
        let (upper, lower) = (ground.place([x_min, y_max]), ground.place([x_max, y_min]));
        ground.bounds = [upper[0], upper[1], lower[0], lower[1]];
        if config.id == "four-rooms" {
            let rooms = FourRooms::new(config)?;
            ground.walls = rooms.space().walls().iter().map(|ends| ground.capsule(ends)).collect();
        }
        Ok(ground)
    }

    /// Where a place of the map is in the drawing.
    pub(super) fn place(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        match self.turned {
            Some([across, up]) => [-y * up, x * across],
            None => [x, y],
        }
    }

    /// A distance of the map in the drawing.
    pub(super) fn length(&self, length: f32) -> f32 {
        self.turned.map_or(length, |[across, _]| length * across)
    }

    fn capsule(&self, ends: &[[f32; 2]; 2]) -> Wall {
        let [a, b] = ends.map(|end| self.place(end));
        let radius = self.length(CAPSULE_RADIUS);
        let low = [0, 1].map(|i| a[i].min(b[i]) - radius);
        let high = [0, 1].map(|i| a[i].max(b[i]) + radius);
        // Outer walls end at the edge.
        let [x_min, y_min, x_max, y_max] = self.bounds;
        let rect = [low[0].max(x_min), low[1].max(y_min), high[0].min(x_max), high[1].min(y_max)];
        let is_outer = rect[0] <= x_min && rect[2] >= x_max || rect[1] <= y_min && rect[3] >= y_max;
        Wall { rect, round: [!is_outer; 4] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(name: &str) -> Scene {
        Scene::parse(crate::lab::shipped::find(name).unwrap().text).unwrap()
    }

    #[test]
    fn x_runs_to_the_right_and_y_up_except_in_mazes() {
        let rooms = Ground::of(&scene("four-rooms-gamma")).unwrap();
        let [down, right] = rooms.place([0.3, 0.1]);
        assert!((down + 0.2).abs() < 1e-6 && (right - 0.6).abs() < 1e-6);
        assert_eq!(rooms.bounds, [-1.2, -1.2, 1.2, 1.2]);
        assert_eq!((rooms.walls.len(), rooms.length(0.08)), (10, 0.16));
        let pendulum = Ground::of(&scene("pendulum-gamma")).unwrap();
        let [low, left, high, right] = pendulum.bounds;
        assert!((high - low - (right - left)).abs() < 1e-5 && pendulum.walls.is_empty());
        let maze = Ground::of(&scene("maze2d-umaze-diffuser")).unwrap();
        assert_eq!(maze.place([3.0, 1.0]), [3.0, 1.0]);
    }
}
