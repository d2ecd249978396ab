//! Maps, axes, walls and the color bar.

use tiny_skia::LineCap;

use super::layout::Layout;
use super::ticks::{bar_labels, ticks};
use super::{Axis, Field, HeatMap, Obstacle, Orientation, Scale, density_color};
use crate::picture::canvas::{Align, Canvas, TextStyle};
use crate::picture::drawing::Painter;
use crate::picture::palette::Rgba;
use crate::picture::text::Face;

// Distances in units of the layout.
/// Baseline of the row of names, above the maps.
const NAMES: f32 = 13.0;
/// Steps of color in the bar.
const BAR_BANDS: usize = 128;
/// Least distance between two labels of the bar.
const BAR_LABEL_GAP: f32 = 26.0;
/// Walls on the map's edge are cut off there by this much of background.
const STRIP: f32 = 24.0;

/// Draws the parts of a field.
pub(super) struct FieldPainter<'a, C> {
    pub base: Painter<'a, C>,
    pub field: &'a Field,
    pub layout: &'a Layout,
    /// Ends of the scale.
    pub range: [f32; 2],
}

impl<C: Canvas> FieldPainter<'_, C> {
    /// Where a point lies in a plot.
    fn place(&self, plot: [f32; 4], point: [f32; 2]) -> [f32; 2] {
        let share = |axis: usize| {
            let Axis { low, high, .. } = self.field.axes[axis];
            (point[axis] - low) / (high - low)
        };
        let [left, top, right, bottom] = plot;
        match self.field.orientation {
            Orientation::Plane => {
                [left + share(0) * (right - left), bottom - share(1) * (bottom - top)]
            }
            Orientation::Rows => {
                [left + share(1) * (right - left), top + share(0) * (bottom - top)]
            }
        }
    }

    /// The pixels between two corners.
    fn edges(&self, plot: [f32; 4], a: [f32; 2], b: [f32; 2]) -> [f32; 4] {
        let ([ax, ay], [bx, by]) = (self.place(plot, a), self.place(plot, b));
        [ax.min(bx), ay.min(by), ax.max(bx), ay.max(by)]
    }

    pub(super) fn map(&mut self, map: &HeatMap, plot: [f32; 4]) {
        let empty = match self.field.scale {
            Scale::Root => density_color(0.0),
            Scale::Linear => self.base.palette.floor,
        };
        self.base.canvas.fill_crisp(plot, empty);
        let [_, columns] = self.field.cells;
        let corner = |cell: [usize; 2]| {
            let at = |axis: usize| {
                let Axis { low, high, .. } = self.field.axes[axis];
                low + (high - low) * cell[axis] as f32 / self.field.cells[axis] as f32
            };
            [at(0), at(1)]
        };
        let cells: Vec<([f32; 4], Rgba)> = map
            .values
            .iter()
            .enumerate()
            .filter_map(|(index, value)| {
                let ink = self.field.ink(self.field.share(self.range, *value)?);
                let cell = [index / columns, index % columns];
                let next = [cell[0] + 1, cell[1] + 1];
                let edges = self.edges(plot, corner(cell), corner(next));
                Some((edges, ink))
            })
            .collect();
        // What is empty is there already, which keeps drawings small.
        for (edges, ink) in cells.into_iter().filter(|(_, ink)| *ink != empty) {
            self.base.canvas.fill_crisp(edges, ink);
        }
        self.obstacles(plot);
        let radius = 8.5 * self.base.frame.unit;
        if let Some(goal) = self.field.goal {
            let center = self.place(plot, goal);
            self.base.goal_mark(center, radius, self.base.palette.floor);
        }
        if let Some(start) = self.field.start {
            let center = self.place(plot, start);
            self.base.start_mark(center, radius, self.base.palette.floor);
        }
        self.agent(plot);
    }

    /// The policy at work: where it is, and the way it came.
    fn agent(&mut self, plot: [f32; 4]) {
        let unit = self.base.frame.unit;
        let palette = self.base.palette;
        let spans = [0, 1].map(|axis| self.field.axes[axis].high - self.field.axes[axis].low);
        // Across an angle's seam there is no line.
        let is_seam = |a: &[f32; 2], b: &[f32; 2]| {
            (0..2).any(|axis| {
                self.field.axes[axis].is_angle && (a[axis] - b[axis]).abs() > spans[axis] / 2.0
            })
        };
        for piece in self.field.trail.chunk_by(|a, b| !is_seam(a, b)) {
            let line: Vec<[f32; 2]> = piece.iter().map(|point| self.place(plot, *point)).collect();
            self.base.canvas.polyline(&line, 2.4 * unit, palette.trail, LineCap::Round);
        }
        if let Some(agent) = self.field.agent {
            let center = self.place(plot, agent);
            self.base.canvas.fill_circle(center, 7.0 * unit, palette.background);
            self.base.canvas.fill_circle(center, 5.5 * unit, palette.agent);
        }
    }

    fn obstacles(&mut self, plot: [f32; 4]) {
        let ink = self.base.palette.wall;
        let across = &self.field.axes[self.field.across_and_down()[0]];
        let scale = (plot[2] - plot[0]) / (across.high - across.low);
        for obstacle in &self.field.obstacles {
            match *obstacle {
                Obstacle::Rectangle([x0, y0, x1, y1]) => {
                    let edges = self.edges(plot, [x0, y0], [x1, y1]);
                    self.base.canvas.fill_crisp(edges, ink);
                }
                Obstacle::Capsule { ends, radius } => {
                    let line = ends.map(|end| self.place(plot, end));
                    let width = 2.0 * radius * scale;
                    self.base.canvas.polyline(&line, width, ink, LineCap::Round);
                }
            }
        }
        let [left, top, right, bottom] = plot;
        let reach = STRIP * self.base.frame.unit;
        for strip in [
            [left - reach, top - reach, left, bottom + reach],
            [right, top - reach, right + reach, bottom + reach],
            [left, top - reach, right, top],
            [left, bottom, right, bottom + reach],
        ] {
            self.base.canvas.fill_crisp(strip, self.base.palette.background);
        }
    }

    pub(super) fn axes(&mut self, map: &HeatMap, plot: [f32; 4], is_first: bool) {
        let unit = self.base.frame.unit;
        let muted = self.base.palette.muted_ink;
        let [left, top, right, bottom] = plot;
        let [across, down] = self.field.across_and_down();
        let label = self.base.style(Face::Regular, 13.0, muted);
        let center = TextStyle { align: Align::Center, ..label };
        let to_right = TextStyle { align: Align::Right, ..label };
        let least = |pixels: f32, axis: &Axis| 44.0 * unit * (axis.high - axis.low) / pixels;
        let across_axis = &self.field.axes[across];
        for (value, text) in ticks(across_axis, least(right - left, across_axis)) {
            let mut point = [0.0; 2];
            point[across] = value;
            let [at, _] = self.place(plot, point);
            let mark = [[at, bottom], [at, bottom + 5.0 * unit]];
            self.base.canvas.polyline(&mark, 1.2 * unit, muted, LineCap::Butt);
            self.base.canvas.text(&text, [at, bottom + 20.0 * unit], center);
        }
        let middle = f32::midpoint(left, right);
        self.base.canvas.text(&named(across_axis), [middle, bottom + 38.0 * unit], center);
        let title = TextStyle {
            align: Align::Center,
            ..self.base.style(Face::SemiBold, 14.0, self.base.palette.ink)
        };
        self.base.canvas.text(&map.title, [middle, top - NAMES * unit], title);
        if !is_first {
            return;
        }
        let down_axis = &self.field.axes[down];
        for (value, text) in ticks(down_axis, least(bottom - top, down_axis)) {
            let mut point = [0.0; 2];
            point[down] = value;
            let [_, at] = self.place(plot, point);
            let mark = [[left - 5.0 * unit, at], [left, at]];
            self.base.canvas.polyline(&mark, 1.2 * unit, muted, LineCap::Butt);
            self.base.canvas.text(&text, [left - 9.0 * unit, at + 4.5 * unit], to_right);
        }
        let corner = [self.layout.inner[0], top - NAMES * unit];
        self.base.canvas.text(&named(down_axis), corner, label);
    }

    pub(super) fn color_bar(&mut self) {
        let unit = self.base.frame.unit;
        let muted = self.base.palette.muted_ink;
        let [left, top, right, bottom] = self.layout.bar();
        // Even steps along the bar are even steps of color.
        let at = |share: f32| bottom - share * (bottom - top);
        for band in 0..BAR_BANDS {
            let share = |offset: f32| (band as f32 + offset) / BAR_BANDS as f32;
            let edges = [left, at(share(1.0)), right, at(share(0.0))];
            self.base.canvas.fill_crisp(edges, self.field.ink(share(0.5)));
        }
        let label = self.base.style(Face::Regular, 13.0, muted);
        let [low, high] = self.range;
        let apart = BAR_LABEL_GAP * unit / (bottom - top);
        let labels = match self.field.scale {
            Scale::Root => bar_labels(high, apart),
            Scale::Linear => ticks(&Axis { low, high, ..Axis::default() }, apart * (high - low)),
        };
        for (value, text) in labels {
            let y = at(self.field.share(self.range, value).unwrap_or(0.0));
            let mark = [[right, y], [right + 5.0 * unit, y]];
            self.base.canvas.polyline(&mark, 1.2 * unit, muted, LineCap::Butt);
            self.base.canvas.text(&text, [right + 9.0 * unit, y + 4.5 * unit], label);
        }
        let corner = [self.layout.inner[2], top - NAMES * unit];
        let to_right = TextStyle { align: Align::Right, ..label };
        self.base.canvas.text(&self.field.unit, corner, to_right);
    }
}

/// An axis' name and unit.
pub(in crate::picture) fn named(axis: &Axis) -> String {
    match axis.unit.as_str() {
        "" => axis.name.clone(),
        unit => format!("{} ({unit})", axis.name),
    }
}
