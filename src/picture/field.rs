//! Heat maps of densities over two coordinates, side by side: axes with units,
//! one scale and color bar for all, walls, and where the question was asked.

mod layout;
pub(super) mod ticks;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use tiny_skia::LineCap;

use super::canvas::{Align, Canvas, Pixels, TextStyle};
use super::drawing::{Drawing, Painter};
use super::frame::Frame;
use super::palette::{Mode, Palette, Rgba};
use super::text::Face;
use super::{PictureError, check_size};
use layout::Layout;
use ticks::bar_labels;
use ticks::ticks;

// Distances in units of the layout.
/// Baseline of the row of names, above the maps.
const NAMES: f32 = 13.0;
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

/// An axis' name and unit.
pub(super) fn named(axis: &Axis) -> String {
    match axis.unit.as_str() {
        "" => axis.name.clone(),
        unit => format!("{} ({unit})", axis.name),
    }
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
}
