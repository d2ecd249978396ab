//! From the world's coordinates to the screen and back.
//!
//! Rows of a maze's text run along x, so x points down and y to the right: the
//! stage looks like the text in the scene file and like the figures in the
//! literature. Elsewhere x runs to the right and y up.

use eframe::egui::{Pos2, Rect, Vec2, vec2};

use crate::ui::layers::View;

/// Least and most magnification.
const ZOOMS: [f32; 2] = [0.5, 12.0];

/// What a person did to the view; the rest follows from the stage's size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    zoom: f32,
    /// Screen points from where the fitted view puts things.
    pan: Vec2,
}

impl Default for Look {
    fn default() -> Self {
        Self { zoom: 1.0, pan: Vec2::ZERO }
    }
}

impl Look {
    /// The whole maze again.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Magnify by `factor`, keeping what is under `at` where it is.
    pub fn zoom_at(&mut self, factor: f32, at: Pos2, rect: Rect) {
        let zoom = (self.zoom * factor).clamp(ZOOMS[0], ZOOMS[1]);
        let scale = zoom / self.zoom;
        let from_center = at - rect.center() - self.pan;
        self.pan += from_center * (1.0 - scale);
        self.zoom = zoom;
    }

    /// Move the picture.
    pub fn pan_by(&mut self, delta: Vec2) {
        self.pan += delta;
    }

    /// The camera that shows `bounds` in `rect` as this look wants it.
    pub fn camera(&self, rect: Rect, bounds: [f32; 4]) -> Camera {
        let mut camera = Camera::fit(rect, bounds);
        camera.scale *= self.zoom;
        camera.axes = camera.axes.map(|axis| axis * self.zoom);
        camera.origin += self.pan;
        camera
    }
}

/// An affine map between world and screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Camera {
    /// What the camera fills.
    pub rect: Rect,
    /// World position in the middle.
    center: [f32; 2],
    /// Screen position of `center`.
    origin: Pos2,
    /// Screen points along a unit of x, and along one of y; perpendicular, each
    /// along an axis of the screen.
    axes: [Vec2; 2],
    /// Screen points per world unit, of the coordinate that runs across.
    pub scale: f32,
}

impl Camera {
    /// All of `bounds` (`[x_min, y_min, x_max, y_max]`) inside `rect`.
    pub fn fit(rect: Rect, bounds: [f32; 4]) -> Self {
        let [x_min, y_min, x_max, y_max] = bounds;
        let (height, width) = ((x_max - x_min).max(1e-3), (y_max - y_min).max(1e-3));
        let scale = (rect.width() / width).min(rect.height() / height).max(1e-3);
        let center = [(x_min + x_max) / 2.0, (y_min + y_max) / 2.0];
        let axes = [vec2(0.0, scale), vec2(scale, 0.0)];
        Self { rect, center, origin: rect.center(), axes, scale }
    }

    /// The map with the world's zero at `zero` and these screen vectors along
    /// its coordinates, filling `rect`.
    pub fn of_axes(rect: Rect, zero: Pos2, axes: [Vec2; 2]) -> Self {
        let scale = axes[0].x.abs().max(axes[1].x.abs());
        Self { rect, center: [0.0; 2], origin: zero, axes, scale }
    }

    /// The same map, filling `rect` instead.
    #[must_use]
    pub fn within(self, rect: Rect) -> Self {
        Self { rect, ..self }
    }

    /// Where a world position is on the screen.
    pub fn screen_from_world(&self, [x, y]: [f32; 2]) -> Pos2 {
        let [along_x, along_y] = self.axes;
        self.origin + along_x * (x - self.center[0]) + along_y * (y - self.center[1])
    }

    /// What world position is at a screen position.
    pub fn world_from_screen(&self, at: Pos2) -> [f32; 2] {
        let off = at - self.origin;
        [0, 1].map(|i| {
            let axis = self.axes[i];
            self.center[i] + off.dot(axis) / axis.length_sq().max(1e-12)
        })
    }

    /// The same map for a GPU layer that fills [`Camera::rect`].
    pub fn view(&self, pixels_per_point: f32, opacity: f32) -> View {
        let (to_clip_x, to_clip_y) = (2.0 / self.rect.width(), -2.0 / self.rect.height());
        let at_zero = self.screen_from_world([0.0, 0.0]) - self.rect.center();
        let [along_x, along_y] = self.axes;
        View {
            row_x: [along_x.x * to_clip_x, along_y.x * to_clip_x, at_zero.x * to_clip_x, 0.0],
            row_y: [along_x.y * to_clip_y, along_y.y * to_clip_y, at_zero.y * to_clip_y, 0.0],
            extent: [
                self.rect.width() * pixels_per_point,
                self.rect.height() * pixels_per_point,
                pixels_per_point,
                opacity,
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eframe::egui::{self, pos2};

    const BOUNDS: [f32; 4] = [-0.7, -0.7, 8.3, 11.3];

    fn rect() -> Rect {
        Rect::from_min_size(pos2(100.0, 50.0), egui::vec2(800.0, 500.0))
    }

    #[test]
    fn there_and_back() {
        let mut look = Look::default();
        look.zoom_at(2.0, pos2(300.0, 200.0), rect());
        look.pan_by(egui::vec2(5.0, -7.0));
        let camera = look.camera(rect(), BOUNDS);
        let world = [3.2, 7.9];
        let back = camera.world_from_screen(camera.screen_from_world(world));
        assert!((back[0] - world[0]).abs() < 1e-4 && (back[1] - world[1]).abs() < 1e-4);
    }

    #[test]
    fn zooming_keeps_what_is_under_the_pointer() {
        let at = pos2(300.0, 200.0);
        let mut look = Look::default();
        let before = look.camera(rect(), BOUNDS).world_from_screen(at);
        look.zoom_at(3.0, at, rect());
        let after = look.camera(rect(), BOUNDS).world_from_screen(at);
        assert!((before[0] - after[0]).abs() < 1e-3 && (before[1] - after[1]).abs() < 1e-3);
    }

    #[test]
    fn the_gpu_sees_what_the_screen_shows() {
        let mut look = Look::default();
        look.pan_by(egui::vec2(30.0, 10.0));
        let camera = look.camera(rect(), BOUNDS);
        let view = camera.view(1.0, 1.0);
        let world = [2.0, 9.0];
        let clip = |row: [f32; 4]| row[0] * world[0] + row[1] * world[1] + row[2];
        let screen = camera.screen_from_world(world);
        let x = rect().center().x + clip(view.row_x) * rect().width() / 2.0;
        let y = rect().center().y - clip(view.row_y) * rect().height() / 2.0;
        assert!((x - screen.x).abs() < 1e-3 && (y - screen.y).abs() < 1e-3);
    }

    #[test]
    fn rows_run_down_and_columns_to_the_right() {
        let camera = Camera::fit(rect(), BOUNDS);
        let origin = camera.screen_from_world([0.0, 0.0]);
        assert!(camera.screen_from_world([1.0, 0.0]).y > origin.y);
        assert!(camera.screen_from_world([0.0, 1.0]).x > origin.x);
    }
}
