//! Heat maps of densities over two coordinates, side by side: axes with units,
//! one scale and color bar for all, walls, and where the question was asked.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use tiny_skia::LineCap;

use super::canvas::{Align, Canvas, Pixels, TextStyle};
use super::drawing::{Drawing, Painter};
use super::frame::Frame;
use super::palette::{Mode, Palette, Rgba};
use super::text::Face;
use super::{PictureError, check_size};

// Distances in units; a picture's long side says how many pixels one is.
const MARGIN: f32 = 28.0;
const AXIS_LEFT: f32 = 48.0;
/// Title, two lines of caption, and the row of names above the maps.
const HEAD: f32 = 98.0;
/// Baseline of the row of names, above the maps.
const NAMES: f32 = 13.0;
const AXIS_BOTTOM: f32 = 46.0;
const LEGEND: f32 = 34.0;
/// Long side of a map.
const MAP_SIDE: f32 = 440.0;
const GAP: f32 = 30.0;
const BAR_WIDTH: f32 = 16.0;
const BAR_LABELS: f32 = 66.0;
/// Steps of color in the bar.
const BAR_BANDS: usize = 128;
/// Least distance between two labels of the bar.
const BAR_LABEL_GAP: f32 = 26.0;
/// Walls on the map's edge are cut off there by this much of background.
const STRIP: f32 = 24.0;

/// One coordinate of the maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// Name.
    pub name: String,
    /// Unit.
    pub unit: String,
    /// Lower end.
    pub low: f32,
    /// Upper end.
    pub high: f32,
    /// Whether it is an angle over a full turn, in radians.
    pub is_angle: bool,
}

/// Which way the coordinates run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orientation {
    /// The first to the right, the second up.
    #[default]
    Plane,
    /// The first down, the second to the right, like a maze's text.
    Rows,
}

/// What stands in the way, in the axes' units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Obstacle {
    /// Lower ends of both coordinates, then upper ends.
    Rectangle([f32; 4]),
    /// A straight wall with round ends.
    Capsule {
        /// Both ends of its center line.
        ends: [[f32; 2]; 2],
        /// Half its thickness.
        radius: f32,
    },
}

/// A density.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeatMap {
    /// Shown above it.
    pub title: String,
    /// One number per cell; the second coordinate runs fastest.
    pub values: Vec<f32>,
}

/// Densities over the same cells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Field {
    /// Both coordinates.
    pub axes: [Axis; 2],
    /// Cells along each.
    pub cells: [usize; 2],
    /// What is shown, from left to right, on one scale.
    pub maps: Vec<HeatMap>,
    /// Unit of the values.
    pub unit: String,
    /// Which way the coordinates run.
    pub orientation: Orientation,
    /// Walls.
    pub obstacles: Vec<Obstacle>,
    /// Where the question was asked.
    pub start: Option<[f32; 2]>,
    /// Where the policy is heading.
    pub goal: Option<[f32; 2]>,
    /// What the picture shows, in a few words.
    pub title: String,
    /// Discount, seed and the like; parts between `" · "` stay on one line.
    pub caption: String,
}

/// A PNG of a field whose longer side has so many pixels.
///
/// # Errors
/// Axes without extent, values that do not fit the cells, or a size that makes
/// no picture.
pub fn field_png(field: &Field, long_side: u32, mode: Mode) -> Result<Vec<u8>, PictureError> {
    let ([width, height], pixels) = field.paint(long_side, mode)?;
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(&pixels, width, height, ExtendedColorType::Rgba8)?;
    Ok(bytes)
}

/// Viridis, dark for 0 and light for 1. Colors go by the square root, so that
/// what is thin shows beside what is dense.
pub fn density_color(share: f32) -> Rgba {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let color = colorous::VIRIDIS.eval_continuous(f64::from(share.sqrt()));
    Rgba { r: color.r, g: color.g, b: color.b, a: 255 }
}

impl Field {
    /// Size across and down, and red, green, blue and alpha row by row.
    fn paint(&self, long_side: u32, mode: Mode) -> Result<([u32; 2], Vec<u8>), PictureError> {
        self.check()?;
        let layout = Layout::new(self, long_side);
        check_size(layout.size)?;
        let palette = Palette::of(mode);
        let words = Drawing {
            title: self.title.clone(),
            caption: self.caption.clone(),
            start: self.start,
            goal: self.goal,
            ..Drawing::default()
        };
        let mut frame = Frame::new([0.0, 0.0, 1.0, 1.0], layout.size)?;
        (frame.unit, frame.inner) = (layout.unit, layout.inner);
        let canvas = Pixels::new(layout.size, palette.background)?;
        let base = Painter { canvas, frame, palette, drawing: &words };
        let mut painter = FieldPainter { base, field: self, layout: &layout, most: self.most() };
        for (index, map) in self.maps.iter().enumerate() {
            painter.map(map, layout.plot(index));
        }
        // Above all maps: a map's surroundings reach below its neighbor's labels.
        for (index, map) in self.maps.iter().enumerate() {
            painter.axes(map, layout.plot(index), index == 0);
        }
        painter.color_bar();
        painter.base.words();
        painter.base.legend();
        Ok((layout.size, painter.base.canvas.into_rgba()))
    }

    fn check(&self) -> Result<(), PictureError> {
        let [a, b] = &self.axes;
        let spans = [a.high - a.low, b.high - b.low];
        let cells = self.cells[0].saturating_mul(self.cells[1]);
        let fits = cells > 0 && self.maps.iter().all(|map| map.values.len() == cells);
        match fits && spans.iter().all(|span| span.is_finite() && *span > 0.0) {
            true => Ok(()),
            false => Err(PictureError::Bounds([a.low, b.low, a.high, b.high])),
        }
    }

    /// The end of the scale: the largest value of all maps.
    fn most(&self) -> f32 {
        let values = self.maps.iter().flat_map(|map| &map.values).copied();
        let most = values.filter(|value| value.is_finite()).fold(0.0, f32::max);
        if most > 0.0 { most } else { 1.0 }
    }

    /// The coordinate that runs across, then the one that runs down or up.
    fn across_and_down(&self) -> [usize; 2] {
        match self.orientation {
            Orientation::Plane => [0, 1],
            Orientation::Rows => [1, 0],
        }
    }
}

/// Where everything goes.
struct Layout {
    size: [u32; 2],
    unit: f32,
    inner: [f32; 4],
    /// Width and height of a map in pixels.
    map: [f32; 2],
}

impl Layout {
    fn new(field: &Field, long_side: u32) -> Self {
        let [across, down] = field.across_and_down().map(|axis| &field.axes[axis]);
        let [width, height] = match across.unit == down.unit {
            true => [across.high - across.low, down.high - down.low],
            // Different units have no common scale.
            false => [1.0, 0.92],
        };
        let map = [width, height].map(|side| MAP_SIDE * side / width.max(height));
        let n = field.maps.len().max(1) as f32;
        let beside = 2.0 * MARGIN + AXIS_LEFT + GAP + BAR_WIDTH + BAR_LABELS;
        let whole = [
            beside + n * map[0] + (n - 1.0) * GAP,
            2.0 * MARGIN + HEAD + map[1] + AXIS_BOTTOM + LEGEND,
        ];
        let unit = long_side as f32 / whole[0].max(whole[1]);
        let size = whole.map(|side| 2 * (side * unit / 2.0).round() as u32);
        let end = |axis: usize| size[axis] as f32 - MARGIN * unit;
        let inner = [MARGIN * unit, MARGIN * unit, end(0), end(1)];
        Self { size, unit, inner, map: map.map(|side| (side * unit).round()) }
    }

    /// Left, top, right and bottom of a map.
    fn plot(&self, index: usize) -> [f32; 4] {
        let left = self.inner[0] + AXIS_LEFT * self.unit;
        let left = (left + index as f32 * (self.map[0] + GAP * self.unit)).round();
        let top = (self.inner[1] + HEAD * self.unit).round();
        [left, top, left + self.map[0], top + self.map[1]]
    }

    /// Left, top, right and bottom of the color bar.
    fn bar(&self) -> [f32; 4] {
        let [_, top, _, bottom] = self.plot(0);
        let right = self.inner[2] - BAR_LABELS * self.unit;
        [right - BAR_WIDTH * self.unit, top, right, bottom]
    }
}

struct FieldPainter<'a, C> {
    base: Painter<'a, C>,
    field: &'a Field,
    layout: &'a Layout,
    most: f32,
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

    fn map(&mut self, map: &HeatMap, plot: [f32; 4]) {
        self.base.canvas.fill_crisp(plot, density_color(0.0));
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
            .map(|(index, value)| {
                let cell = [index / columns, index % columns];
                let next = [cell[0] + 1, cell[1] + 1];
                let edges = self.edges(plot, corner(cell), corner(next));
                (edges, density_color(value / self.most))
            })
            .collect();
        for (edges, ink) in cells {
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

    fn axes(&mut self, map: &HeatMap, plot: [f32; 4], is_first: bool) {
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

    fn color_bar(&mut self) {
        let unit = self.base.frame.unit;
        let muted = self.base.palette.muted_ink;
        let [left, top, right, bottom] = self.layout.bar();
        // Even steps along the bar are even steps of color.
        let at = |root: f32| bottom - root * (bottom - top);
        for band in 0..BAR_BANDS {
            let root = |offset: f32| (band as f32 + offset) / BAR_BANDS as f32;
            let edges = [left, at(root(1.0)), right, at(root(0.0))];
            self.base.canvas.fill_crisp(edges, density_color(root(0.5).powi(2)));
        }
        let label = self.base.style(Face::Regular, 13.0, muted);
        for (value, text) in bar_labels(self.most, BAR_LABEL_GAP * unit / (bottom - top)) {
            let y = at((value / self.most).sqrt());
            let mark = [[right, y], [right + 5.0 * unit, y]];
            self.base.canvas.polyline(&mark, 1.2 * unit, muted, LineCap::Butt);
            self.base.canvas.text(&text, [right + 9.0 * unit, y + 4.5 * unit], label);
        }
        let corner = [self.layout.inner[2], top - NAMES * unit];
        let to_right = TextStyle { align: Align::Right, ..label };
        self.base.canvas.text(&self.field.unit, corner, to_right);
    }
}

fn named(axis: &Axis) -> String {
    match axis.unit.as_str() {
        "" => axis.name.clone(),
        unit => format!("{} ({unit})", axis.name),
    }
}

/// The round number that is at least `least`: 1, 2 or 5 times a power of ten.
fn round_step(least: f32) -> f32 {
    let decade = 10.0_f32.powf(least.max(f32::MIN_POSITIVE).log10().floor());
    let steps = [1.0, 2.0, 5.0].into_iter().map(|factor| factor * decade);
    steps.into_iter().find(|step| *step >= 0.999 * least).unwrap_or(10.0 * decade)
}

/// A multiple of `step` with as many digits as that needs.
fn multiple(k: i32, step: f32) -> String {
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    match (k, decimals) {
        (0, _) => "0".to_owned(),
        (_, 0..=4) => format!("{:.decimals$}", k as f32 * step),
        _ => format!("{:.0e}", k as f32 * step),
    }
}

/// Places on an axis worth a label, at least `least` apart.
fn ticks(axis: &Axis, least: f32) -> Vec<(f32, String)> {
    use std::f32::consts::PI;
    if axis.is_angle && least < PI / 2.0 {
        let quarters = [(-2.0, "-π"), (-1.0, "-π/2"), (0.0, "0"), (1.0, "π/2"), (2.0, "π")];
        let within = |turn: f32| (axis.low - 1e-3..=axis.high + 1e-3).contains(&turn);
        let turns = quarters.map(|(quarter, text)| (quarter * PI / 2.0, text.to_owned()));
        return turns.into_iter().filter(|(turn, _)| within(*turn)).collect();
    }
    let step = round_step(least);
    let first = (axis.low / step - 1e-3).ceil() as i32;
    let last = ((axis.high / step + 1e-3).floor() as i32).min(first.saturating_add(100));
    (first..=last).map(|k| (k as f32 * step, multiple(k, step))).collect()
}

/// Labels of a color bar up to `most` by the square root, at least the share
/// `least` of the bar apart.
fn bar_labels(most: f32, least: f32) -> Vec<(f32, String)> {
    let step = round_step(most / 50.0);
    let mut kept: Vec<(f32, String)> = Vec::new();
    for k in 0..=(most / step + 1e-3) as i32 {
        let value = k as f32 * step;
        let root = |value: f32| (value / most).sqrt();
        // Round ones first: every fifth or tenth where the bar is wide enough.
        let is_round = k % 5 == 0 || k < 3;
        let is_apart = kept.last().is_none_or(|(last, _)| root(value) - root(*last) >= least);
        if is_round && is_apart && value <= most {
            kept.push((value, multiple(k, step)));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(orientation: Orientation) -> Field {
        let axis = |name: &str, high: f32| Axis {
            name: name.into(),
            unit: "m".into(),
            low: 0.0,
            high,
            is_angle: false,
        };
        // One full cell of 4 x 2: the last along the first coordinate, the
        // first along the second.
        let mut values = vec![0.0; 8];
        values[6] = 3.0;
        Field {
            axes: [axis("x", 4.0), axis("y", 2.0)],
            cells: [4, 2],
            maps: vec![HeatMap { title: "model".into(), values }],
            unit: "1/m²".into(),
            orientation,
            ..Field::default()
        }
    }

    /// The color in the middle of a cell.
    fn color_at(field: &Field, cell: [usize; 2]) -> [u8; 3] {
        let (size, pixels) = field.paint(700, Mode::Dark).unwrap();
        let [left, top, right, bottom] = Layout::new(field, 700).plot(0);
        let share = |axis: usize| (cell[axis] as f32 + 0.5) / field.cells[axis] as f32;
        let [x, y] = match field.orientation {
            Orientation::Plane => [share(0), 1.0 - share(1)],
            Orientation::Rows => [share(1), share(0)],
        };
        let [x, y] = [left + x * (right - left), top + y * (bottom - top)];
        let at = 4 * (y as usize * size[0] as usize + x as usize);
        [pixels[at], pixels[at + 1], pixels[at + 2]]
    }

    fn rgb(ink: Rgba) -> [u8; 3] {
        [ink.r, ink.g, ink.b]
    }

    #[test]
    fn a_full_cell_is_light_where_its_coordinates_say_and_nowhere_else() {
        for orientation in [Orientation::Plane, Orientation::Rows] {
            let field = field(orientation);
            for cell in (0..4).flat_map(|i| [[i, 0], [i, 1]]) {
                let expected = density_color(if cell == [3, 0] { 1.0 } else { 0.0 });
                assert_eq!(color_at(&field, cell), rgb(expected), "{orientation:?} {cell:?}");
            }
        }
    }

    #[test]
    fn maps_share_one_scale_and_walls_cover_them() {
        let mut field = field(Orientation::Plane);
        field.maps.push(HeatMap { title: "truth".into(), values: vec![12.0; 8] });
        // A quarter of the largest value, whose root is a half.
        assert_eq!(color_at(&field, [3, 0]), rgb(density_color(0.25)));
        field.obstacles = vec![
            Obstacle::Rectangle([3.0, 0.0, 4.0, 1.0]),
            Obstacle::Capsule { ends: [[0.5, 1.5], [0.5, 1.5001]], radius: 0.2 },
        ];
        let wall = rgb(Palette::of(Mode::Dark).wall);
        assert_eq!([color_at(&field, [3, 0]), color_at(&field, [0, 1])], [wall; 2]);
        assert_ne!(color_at(&field, [1, 1]), wall);
    }

    #[test]
    fn the_picture_has_the_long_side_asked_for_and_is_a_png() {
        let (size, _) = field(Orientation::Plane).paint(900, Mode::Light).unwrap();
        assert_eq!(size[0].max(size[1]), 900);
        let bytes = field_png(&field(Orientation::Rows), 300, Mode::Dark).unwrap();
        assert_eq!(&bytes[1..4], b"PNG");
    }

    #[test]
    fn fields_without_extent_or_with_other_cells_are_refused() {
        let mut flat = field(Orientation::Plane);
        flat.axes[0].high = 0.0;
        assert!(matches!(field_png(&flat, 300, Mode::Dark), Err(PictureError::Bounds(_))));
        let mut short = field(Orientation::Plane);
        short.cells = [5, 2];
        assert!(field_png(&short, 300, Mode::Dark).is_err());
        short.cells = [usize::MAX, 2];
        assert!(field_png(&short, 300, Mode::Dark).is_err());
    }

    #[test]
    fn densities_that_are_no_numbers_do_not_break_the_picture() {
        let mut odd = field(Orientation::Plane);
        odd.maps[0].values = vec![f32::NAN, f32::INFINITY, -1.0, 0.0, 0.0, 0.0, 2.0, 0.0];
        assert_eq!(odd.most(), 2.0);
        assert!(field_png(&odd, 300, Mode::Dark).is_ok());
        odd.maps[0].values = vec![0.0; 8];
        assert!(field_png(&odd, 300, Mode::Dark).is_ok());
    }

    #[test]
    fn ticks_are_round_and_angles_count_in_quarter_turns() {
        let axis = |low, high, is_angle| Axis { low, high, is_angle, ..Axis::default() };
        let texts = |axis: &Axis, least| -> Vec<String> {
            ticks(axis, least).into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(texts(&axis(-8.0, 8.0, false), 3.0), ["-5", "0", "5"]);
        let rooms = texts(&axis(-0.6, 0.6, false), 0.15);
        assert_eq!(rooms, ["-0.6", "-0.4", "-0.2", "0", "0.2", "0.4", "0.6"]);
        let pi = std::f32::consts::PI;
        assert_eq!(texts(&axis(-pi, pi, true), 0.5), ["-π", "-π/2", "0", "π/2", "π"]);
    }

    #[test]
    fn labels_of_the_bar_rise_and_keep_apart() {
        for most in [0.003, 0.4, 1.0, 7.3, 2400.0] {
            let labels = bar_labels(most, 0.06);
            assert!(labels.len() >= 3 && labels[0].0 == 0.0, "{most}: {labels:?}");
            for pair in labels.windows(2) {
                let roots = [pair[0].0, pair[1].0].map(|value| (value / most).sqrt());
                assert!(roots[1] - roots[0] >= 0.06 && pair[1].0 <= most, "{most}: {labels:?}");
                assert_ne!(pair[0].1, pair[1].1);
            }
        }
    }
}
