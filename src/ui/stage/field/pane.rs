//! Where states are on the screen, and the screen's division into maps.

use eframe::egui::{Pos2, Rect, Vec2, lerp, pos2, vec2};

use crate::ui::layers::View;
use crate::ui::place::Place;
use crate::ui::stage::camera::{Camera, Look};
use crate::ui::stage::walls;

/// Width of a stage on which two maps fit side by side.
pub const WIDE: f32 = 640.0;
/// Room at the top for tools, and below for the color bar and words.
const TOP: f32 = 44.0;
const STRIP: f32 = 52.0;
/// Room around a map for its title, ticks and names: left, top, right, bottom.
const MARGINS: [f32; 4] = [48.0, 40.0, 16.0, 36.0];
/// The pendulum's share of the stage, beside one map or below two.
const PENDULUM_SHARE: f32 = 0.34;

/// One map of the first two state coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pane {
    /// What the map and its axes fill.
    pub rect: Rect,
    /// Where the states are.
    pub plot: Rect,
    /// `[x_min, y_min, x_max, y_max]` of what is shown.
    pub bounds: [f32; 4],
    /// Whether the first coordinate runs down and the second to the right, like
    /// a maze's text; else to the right and up.
    pub is_rows: bool,
}

impl Pane {
    /// Where a state is on the screen.
    pub fn screen_from_world(&self, [x, y]: [f32; 2]) -> Pos2 {
        let [x_min, y_min, x_max, y_max] = self.bounds;
        let (u, v) = ((x - x_min) / (x_max - x_min), (y - y_min) / (y_max - y_min));
        if self.is_rows {
            pos2(lerp(self.plot.x_range(), v), lerp(self.plot.y_range(), u))
        } else {
            pos2(lerp(self.plot.x_range(), u), lerp(self.plot.bottom()..=self.plot.top(), v))
        }
    }

    /// What state is at a place on the screen.
    pub fn world_from_screen(&self, at: Pos2) -> [f32; 2] {
        let [x_min, y_min, x_max, y_max] = self.bounds;
        let across = (at.x - self.plot.left()) / self.plot.width().max(1e-3);
        let down = (at.y - self.plot.top()) / self.plot.height().max(1e-3);
        let (u, v) = if self.is_rows { (down, across) } else { (across, 1.0 - down) };
        [x_min + u * (x_max - x_min), y_min + v * (y_max - y_min)]
    }

    /// The same map for a GPU layer that fills [`Pane::rect`].
    pub fn view(&self, pixels_per_point: f32, opacity: f32) -> View {
        let zero = self.screen_from_world([0.0, 0.0]);
        let along = |world| -> Vec2 { self.screen_from_world(world) - zero };
        let (ex, ey) = (along([1.0, 0.0]), along([0.0, 1.0]));
        let (sx, sy) = (2.0 / self.rect.width(), -2.0 / self.rect.height());
        let from_center = zero - self.rect.center();
        View {
            row_x: [ex.x * sx, ey.x * sx, from_center.x * sx, 0.0],
            row_y: [ex.y * sy, ey.y * sy, from_center.y * sy, 0.0],
            extent: [
                self.rect.width() * pixels_per_point,
                self.rect.height() * pixels_per_point,
                pixels_per_point,
                opacity,
            ],
        }
    }

    /// The camera that shows the world where this pane does.
    pub fn camera(&self) -> Camera {
        if self.is_rows {
            return Camera::fit(self.plot, self.bounds).within(self.rect);
        }
        let zero = self.screen_from_world([0.0, 0.0]);
        let along = |world| self.screen_from_world(world) - zero;
        Camera::of_axes(self.rect, zero, [along([1.0, 0.0]), along([0.0, 1.0])])
    }

    /// Screen points per unit of the coordinate that runs across.
    pub fn scale(&self) -> f32 {
        let [x_min, y_min, x_max, y_max] = self.bounds;
        let span = if self.is_rows { y_max - y_min } else { x_max - x_min };
        self.plot.width() / span.max(1e-6)
    }
}

/// The stage's division.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrangement {
    /// One or two maps.
    pub panes: Vec<Pane>,
    /// Where the pendulum is drawn, if there is one.
    pub pendulum: Option<Rect>,
    /// Room below for the color bar and words.
    pub strip: Rect,
}

impl Arrangement {
    /// Divide `rect` among `n` maps of a place.
    pub fn new(rect: Rect, n: usize, place: &Place, look: &Look) -> Self {
        let (mut inner, mut strip) = (rect, rect);
        strip.min.y = (rect.bottom() - STRIP).max(rect.top());
        inner.max.y = strip.min.y;
        inner.min.y += TOP.min(inner.height());
        let is_pendulum = place.spec.id == "pendulum";
        let pendulum = is_pendulum.then(|| {
            let share = PENDULUM_SHARE;
            if n == 1 && inner.width() > WIDE {
                let x = lerp(inner.x_range(), 1.0 - share);
                let part = Rect::from_min_max(pos2(x, inner.top()), inner.max);
                inner.max.x = x;
                part
            } else {
                let y = lerp(inner.y_range(), 1.0 - share);
                let part = Rect::from_min_max(pos2(inner.left(), y), inner.max);
                inner.max.y = y;
                part
            }
        });
        let n = n.max(1);
        let width = inner.width() / n as f32;
        let panes = (0..n)
            .map(|index| {
                let min = pos2(inner.left() + index as f32 * width, inner.top());
                pane(Rect::from_min_size(min, vec2(width, inner.height())), place, look)
            })
            .collect();
        Self { panes, pendulum, strip }
    }
}

/// The map that fits into `rect`, as a look wants it.
fn pane(rect: Rect, place: &Place, look: &Look) -> Pane {
    let is_rows = place.spec.id == "maze2d";
    let bounds = if is_rows { walls::shown_bounds(&place.layout) } else { plane(place) };
    let [left, top, right, bottom] = MARGINS;
    let free = Rect::from_min_max(rect.min + vec2(left, top), rect.max - vec2(right, bottom));
    let free = Rect::from_min_size(free.min, free.size().max(vec2(1.0, 1.0)));
    let units = [0, 1].map(|axis| place.spec.state.get(axis).map(|d| d.unit.as_str()));
    let size = if units[0] == units[1] {
        let [x_min, y_min, x_max, y_max] = bounds;
        let [mut across, mut down] = [x_max - x_min, y_max - y_min];
        if is_rows {
            std::mem::swap(&mut across, &mut down);
        }
        let scale = (free.width() / across).min(free.height() / down);
        vec2(across * scale, down * scale)
    } else {
        // Different units have no common scale.
        free.size()
    };
    let fitted = Rect::from_center_size(free.center(), size);
    // The look knows how to zoom and pan a picture of that many points.
    let camera = look.camera(fitted, [0.0, 0.0, fitted.height(), fitted.width()]);
    let corner = |at| camera.screen_from_world(at);
    let plot = Rect::from_two_pos(corner([0.0, 0.0]), corner([fitted.height(), fitted.width()]));
    Pane { rect, plot, bounds, is_rows }
}

/// The range of the first two state coordinates.
fn plane(place: &Place) -> [f32; 4] {
    match place.spec.state.as_slice() {
        [x, y, ..] => [x.low, y.low, x.high, y.high],
        _ => place.workspace.bounds(),
    }
}

#[cfg(test)]
pub(in crate::ui) mod tests {
    use super::*;
    use crate::env::EnvironmentConfig;

    /// An environment's place.
    pub fn place(id: &str) -> Place {
        let config = EnvironmentConfig {
            id: id.into(),
            maze: crate::env::U_MAZE.into(),
            door_width: None,
            max_steps: 100,
            reference_scores: None,
        };
        Place::new(&config).unwrap()
    }

    fn rect() -> Rect {
        Rect::from_min_size(pos2(100.0, 50.0), vec2(880.0, 700.0))
    }

    #[test]
    fn there_and_back_in_every_environment() {
        for row in crate::env::ALL {
            let place = place(row.id);
            let mut look = Look::default();
            look.zoom_at(1.7, pos2(300.0, 200.0), rect());
            for pane in Arrangement::new(rect(), 2, &place, &look).panes {
                let [x_min, y_min, x_max, y_max] = pane.bounds;
                let world = [0.3 * x_min + 0.7 * x_max, 0.6 * y_min + 0.4 * y_max];
                let back = pane.world_from_screen(pane.screen_from_world(world));
                assert!((0..2).all(|i| (back[i] - world[i]).abs() < 1e-3), "{}", row.id);
                let camera = pane.camera();
                let apart = camera.screen_from_world(world) - pane.screen_from_world(world);
                assert!(apart.length() < 1e-2, "{}: {apart:?}", row.id);
                let back = camera.world_from_screen(camera.screen_from_world(world));
                assert!((0..2).all(|i| (back[i] - world[i]).abs() < 1e-3), "{}", row.id);
            }
        }
    }

    #[test]
    fn the_gpu_sees_what_the_screen_shows() {
        for row in crate::env::ALL {
            let place = place(row.id);
            for pane in Arrangement::new(rect(), 1, &place, &Look::default()).panes {
                let view = pane.view(2.0, 1.0);
                let world = [0.2, 0.4];
                let clip = |row: [f32; 4]| row[0] * world[0] + row[1] * world[1] + row[2];
                let screen = pane.screen_from_world(world);
                let x = pane.rect.center().x + clip(view.row_x) * pane.rect.width() / 2.0;
                let y = pane.rect.center().y - clip(view.row_y) * pane.rect.height() / 2.0;
                assert!((x - screen.x).abs() < 1e-2 && (y - screen.y).abs() < 1e-2, "{}", row.id);
            }
        }
    }

    #[test]
    fn a_maze_and_its_density_agree() {
        let place = place("maze2d");
        let panes = Arrangement::new(rect(), 2, &place, &Look::default()).panes;
        for pane in panes {
            let (a, b) = ([1.0, 2.0], pane.camera());
            assert!(pane.screen_from_world(a).distance(b.screen_from_world(a)) < 1e-2);
            assert!(rect().contains_rect(pane.rect) && pane.rect.contains_rect(pane.plot));
        }
    }

    #[test]
    fn only_a_pendulum_is_drawn_beside_its_plane_and_up_is_up() {
        let arrange = |id, n| Arrangement::new(rect(), n, &place(id), &Look::default());
        assert!(arrange("four-rooms", 1).pendulum.is_none());
        for n in [1, 2] {
            let stage = arrange("pendulum", n);
            let drawing = stage.pendulum.unwrap();
            assert!(stage.panes.iter().all(|pane| !drawing.intersects(pane.plot)));
            let pane = stage.panes[0];
            let at = |y| pane.screen_from_world([0.0, y]).y;
            assert!(at(8.0) < at(-8.0));
        }
    }
}
