//! Heat maps of densities over two coordinates, side by side: axes with units,
//! one scale and color bar for all, walls, and where the question was asked.

mod file;
mod layout;
mod painter;
pub(super) mod ticks;

pub use file::{field_gif, field_png, field_svg};

use super::PictureError;
use super::canvas::Canvas;
use super::drawing::{Drawing, Painter};
use super::frame::Frame;
use super::palette::{Mode, Palette, Rgba};
use layout::Layout;
use painter::FieldPainter;
pub(super) use painter::named;

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

/// How values become colors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// From 0 to the largest by the square root: densities.
    #[default]
    Root,
    /// From the least to the largest, evenly: values. What is no number stays
    /// empty.
    Linear,
}

/// Densities or values over the same cells.
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
    /// How they become colors.
    pub scale: Scale,
    /// Which way the coordinates run.
    pub orientation: Orientation,
    /// Walls.
    pub obstacles: Vec<Obstacle>,
    /// Where the question was asked.
    pub start: Option<[f32; 2]>,
    /// Where the policy is heading.
    pub goal: Option<[f32; 2]>,
    /// Where the policy is now.
    pub agent: Option<[f32; 2]>,
    /// Where it has been.
    pub trail: Vec<[f32; 2]>,
    /// What changes in a film, on the right of the title.
    pub status: String,
    /// What the picture shows, in a few words.
    pub title: String,
    /// Discount, seed and the like; parts between `" · "` stay on one line.
    pub caption: String,
}

/// Viridis, dark for 0 and light for 1. Colors go by the square root, so that
/// what is thin shows beside what is dense.
pub fn density_color(share: f32) -> Rgba {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    viridis(share.sqrt())
}

fn viridis(share: f32) -> Rgba {
    ink_of(colorous::VIRIDIS, share)
}

fn ink_of(gradient: colorous::Gradient, share: f32) -> Rgba {
    let color = gradient.eval_continuous(f64::from(share));
    Rgba { r: color.r, g: color.g, b: color.b, a: 255 }
}

impl Field {
    /// Draw everything on `canvas`, which has the layout's size.
    fn draw<C: Canvas>(&self, canvas: C, layout: &Layout, mode: Mode) -> Result<C, PictureError> {
        let palette = Palette::of(mode);
        let words = Drawing {
            title: self.title.clone(),
            caption: self.caption.clone(),
            status: self.status.clone(),
            start: self.start,
            goal: self.goal,
            ..Drawing::default()
        };
        let mut frame = Frame::new([0.0, 0.0, 1.0, 1.0], layout.size)?;
        (frame.unit, frame.inner) = (layout.unit, layout.inner);
        let base = Painter { canvas, frame, palette, drawing: &words };
        let range = self.range();
        let mut painter = FieldPainter { base, field: self, layout, range };
        painter.base.canvas.layer("maps");
        for (index, map) in self.maps.iter().enumerate() {
            painter.map(map, layout.plot(index));
        }
        painter.base.canvas.layer("axes");
        // Above all maps: a map's surroundings reach below its neighbor's labels.
        for (index, map) in self.maps.iter().enumerate() {
            painter.axes(map, layout.plot(index), index == 0);
        }
        painter.base.canvas.layer("color bar");
        painter.color_bar();
        painter.base.words();
        painter.base.legend();
        Ok(painter.base.canvas)
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

    /// The ends of the scale, over all maps.
    fn range(&self) -> [f32; 2] {
        let values = self.maps.iter().flat_map(|map| &map.values).copied();
        let finite = values.filter(|value| value.is_finite());
        let most = finite.clone().fold(f32::NEG_INFINITY, f32::max);
        let least = match self.scale {
            Scale::Root => 0.0,
            Scale::Linear => finite.fold(f32::INFINITY, f32::min),
        };
        match least.is_finite() && most > least {
            true => [least, most],
            false if least.is_finite() => [least, least + 1.0],
            false => [0.0, 1.0],
        }
    }

    /// The color of a place along the color bar, as on the window's stage.
    fn ink(&self, share: f32) -> Rgba {
        match self.scale {
            Scale::Root => viridis(share),
            Scale::Linear => ink_of(colorous::CIVIDIS, share),
        }
    }

    /// A value's place on the scale, from 0 to 1 along the color bar; `None`
    /// for what has no color.
    fn share(&self, [least, most]: [f32; 2], value: f32) -> Option<f32> {
        let share = (value - least) / (most - least);
        match self.scale {
            Scale::Root if share.is_nan() => Some(0.0),
            Scale::Root => Some(share.clamp(0.0, 1.0).sqrt()),
            Scale::Linear => value.is_finite().then(|| share.clamp(0.0, 1.0)),
        }
    }

    /// The coordinate that runs across, then the one that runs down or up.
    fn across_and_down(&self) -> [usize; 2] {
        match self.orientation {
            Orientation::Plane => [0, 1],
            Orientation::Rows => [1, 0],
        }
    }
}

#[cfg(test)]
mod tests;
