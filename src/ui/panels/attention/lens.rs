//! Where a map's cells are on the screen.

use eframe::egui::{Pos2, Rect, Vec2, pos2};

use crate::ui::layers::View;

/// Most magnification.
const MOST: f32 = 12.0;

/// The part of a map that is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lens {
    zoom: f32,
    /// Share of the map that lies beyond the left and the upper edge.
    corner: Vec2,
}

impl Default for Lens {
    fn default() -> Self {
        Self { zoom: 1.0, corner: Vec2::ZERO }
    }
}

impl Lens {
    /// Magnify by `factor`, keeping what is under `at` where it is.
    pub fn zoom_at(&mut self, factor: f32, at: Pos2, plot: Rect) {
        let zoom = (self.zoom * factor).clamp(1.0, MOST);
        let along = (at - plot.min) / plot.size().max(Vec2::splat(1.0));
        self.corner += along / self.zoom - along / zoom;
        self.zoom = zoom;
        self.hold();
    }

    /// Move the map by screen points.
    pub fn pan_by(&mut self, delta: Vec2, plot: Rect) {
        self.corner -= delta / plot.size().max(Vec2::splat(1.0)) / self.zoom;
        self.hold();
    }

    /// The map's edges do not come inside the plot.
    fn hold(&mut self) {
        let most = Vec2::splat(1.0 - 1.0 / self.zoom);
        self.corner = self.corner.max(Vec2::ZERO).min(most);
    }
}

/// A map of `n` rows and columns in a rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plot {
    /// Where it is seen.
    pub rect: Rect,
    /// Tokens.
    pub n: usize,
    /// The part that is shown.
    pub lens: Lens,
}

impl Plot {
    /// Screen points per cell.
    pub fn cell(&self) -> f32 {
        self.rect.width() * self.lens.zoom / self.n.max(1) as f32
    }

    /// The left edge of a column.
    pub fn x(&self, column: f32) -> f32 {
        let share = column / self.n.max(1) as f32;
        self.rect.left() + (share - self.lens.corner.x) * self.lens.zoom * self.rect.width()
    }

    /// The upper edge of a row.
    pub fn y(&self, row: f32) -> f32 {
        let share = row / self.n.max(1) as f32;
        self.rect.top() + (share - self.lens.corner.y) * self.lens.zoom * self.rect.height()
    }

    /// Columns `from..to` of rows `first..last`.
    pub fn cells(&self, columns: [usize; 2], rows: [usize; 2]) -> Rect {
        let corner = |end: usize| pos2(self.x(columns[end] as f32), self.y(rows[end] as f32));
        Rect::from_min_max(corner(0), corner(1))
    }

    /// Row and column at a place on the screen.
    pub fn at(&self, place: Pos2) -> Option<[usize; 2]> {
        if !self.rect.contains(place) || self.n == 0 {
            return None;
        }
        let along = (place - self.rect.min) / self.rect.size().max(Vec2::splat(1.0));
        let share = self.lens.corner + along / self.lens.zoom;
        let index = |share: f32| ((share * self.n as f32) as usize).min(self.n - 1);
        Some([index(share.y), index(share.x)])
    }

    /// The map for a GPU layer that fills `shown`, whose world has columns
    /// along x and rows along y.
    pub fn view(&self, shown: Rect, pixels_per_point: f32) -> View {
        let (to_x, to_y) = (2.0 / shown.width(), -2.0 / shown.height());
        let from_center = pos2(self.x(0.0), self.y(0.0)) - shown.center();
        let step = [self.x(1.0) - self.x(0.0), self.y(1.0) - self.y(0.0)];
        View {
            row_x: [step[0] * to_x, 0.0, from_center.x * to_x, 0.0],
            row_y: [0.0, step[1] * to_y, from_center.y * to_y, 0.0],
            extent: [
                shown.width() * pixels_per_point,
                shown.height() * pixels_per_point,
                pixels_per_point,
                1.0,
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eframe::egui::vec2;

    fn plot() -> Plot {
        let rect = Rect::from_min_size(pos2(100.0, 50.0), vec2(200.0, 200.0));
        Plot { rect, n: 10, lens: Lens::default() }
    }

    #[test]
    fn cells_are_found_where_they_are_drawn() {
        let mut plot = plot();
        plot.lens.zoom_at(3.0, pos2(220.0, 180.0), plot.rect);
        for (row, column) in [(5, 5), (6, 4), (7, 6)] {
            let middle = plot.cells([column, column + 1], [row, row + 1]).center();
            assert_eq!(plot.at(middle), Some([row, column]));
        }
        assert_eq!(plot.at(pos2(99.0, 60.0)), None);
        assert!((plot.cell() - 60.0).abs() < 1e-3);
    }

    #[test]
    fn zooming_keeps_what_is_under_the_mouse_and_never_shows_beyond_the_edge() {
        let mut plot = plot();
        let at = pos2(150.0, 230.0);
        let before = plot.at(at);
        plot.lens.zoom_at(4.0, at, plot.rect);
        assert_eq!(plot.at(at), before);
        plot.lens.pan_by(vec2(1e4, -1e4), plot.rect);
        assert!((plot.x(0.0) - 100.0).abs() < 1e-3 && (plot.y(10.0) - 250.0).abs() < 1e-3);
        plot.lens.zoom_at(1e-3, at, plot.rect);
        assert_eq!(plot.lens, Lens::default());
    }

    #[test]
    fn the_gpu_sees_what_the_screen_shows() {
        let mut plot = plot();
        plot.lens.zoom_at(2.0, pos2(130.0, 90.0), plot.rect);
        // A part of the plot: the rest is scrolled away.
        let shown = Rect::from_min_max(pos2(100.0, 50.0), pos2(300.0, 170.0));
        let view = plot.view(shown, 2.0);
        let clip_x = view.row_x[0] * 4.0 + view.row_x[2];
        let clip_y = view.row_y[1] * 3.0 + view.row_y[2];
        assert!((shown.center().x + clip_x * shown.width() / 2.0 - plot.x(4.0)).abs() < 1e-2);
        assert!((shown.center().y - clip_y * shown.height() / 2.0 - plot.y(3.0)).abs() < 1e-2);
    }
}
