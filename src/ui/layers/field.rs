//! Density fields: numbers on a grid, drawn as color.

use eframe::egui_wgpu::wgpu;

use super::device::{SURFACE, VIEW, VIRIDIS};
use super::{Geometry, Layer, View};
use crate::picture::{Mode, Palette, Rgba};
use crate::plan::occupancy::MapGrid;

/// Shares below this look like nothing on every scale.
const NOTHING: f32 = 1e-6;

/// The rectangle between four neighboring numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct FieldCell {
    /// World position of two opposite corners, `[x0, y0, x1, y1]`.
    pub corners: [f32; 4],
    /// Shares of the color scale's end at `(x0, y0)`, `(x0, y1)`, `(x1, y0)` and
    /// `(x1, y1)`.
    pub shares: [f32; 4],
}

pub(super) const LAYER: Layer = Layer {
    id: "field",
    help: "Density fields: numbers on a grid, mixed bilinearly and turned into color.",
    shader: &[VIEW, SURFACE, VIRIDIS, include_str!("../../../shaders/field.wgsl")],
    stride: size_of::<FieldCell>(),
    geometry: Geometry::Strips {
        corners: 4,
        taps: &[&wgpu::vertex_attr_array![0 => Float32x4, 1 => Float32x4]],
    },
};

/// Which colors numbers become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorMap {
    /// Viridis, for densities.
    #[default]
    Density,
    /// Cividis, for values.
    Value,
    /// Orange above zero, blue below, clear at zero.
    Difference,
}

/// How numbers become positions on the color map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// As they are.
    Linear,
    /// By the square root, so that what is thin shows beside what is dense.
    #[default]
    SquareRoot,
    /// By the logarithm, over three decades.
    Log,
}

impl Scale {
    /// Every scale, in the order of menus.
    pub const ALL: [Self; 3] = [Self::Linear, Self::SquareRoot, Self::Log];

    /// Shown in menus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::SquareRoot => "square root",
            Self::Log => "logarithm",
        }
    }

    /// A share of the scale's end as a position on the color map, both in
    /// `[0, 1]`.
    pub fn position(self, share: f32) -> f32 {
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        match self {
            Self::Linear => share,
            Self::SquareRoot => share.sqrt(),
            Self::Log => (1.0 + share.max(1e-6).log10() / 3.0).max(0.0),
        }
    }

    /// The share at a position on the color map.
    pub fn share(self, position: f32) -> f32 {
        match self {
            Self::Linear => position,
            Self::SquareRoot => position * position,
            Self::Log => 10_f32.powf(3.0 * (position - 1.0)),
        }
    }
}

/// Straight-alpha color of a share of the scale's end: what the shader makes,
/// for color bars and for windows without GPU state.
pub fn color(map: ColorMap, scale: Scale, share: f32) -> Rgba {
    let position = scale.position(share.abs());
    let of = |gradient: colorous::Gradient| {
        let color = gradient.eval_continuous(f64::from(position));
        Rgba { r: color.r, g: color.g, b: color.b, a: 255 }
    };
    match map {
        ColorMap::Density => of(colorous::VIRIDIS),
        ColorMap::Value => of(colorous::CIVIDIS),
        ColorMap::Difference => {
            let dark = Palette::of(Mode::Dark);
            let tone = if share > 0.0 { dark.goal } else { dark.start };
            tone.with_alpha(position)
        }
    }
}

/// The view of a field with these colors.
pub fn view(mut view: View, map: ColorMap, scale: Scale) -> View {
    view.row_x[3] = match map {
        ColorMap::Density => 0.0,
        ColorMap::Value => 1.0,
        ColorMap::Difference => 2.0,
    };
    view.row_y[3] = match scale {
        Scale::Linear => 0.0,
        Scale::SquareRoot => 1.0,
        Scale::Log => 2.0,
    };
    view
}

/// Rectangles in the layout the shader reads, and how they become color.
#[derive(Clone, Debug, Default)]
pub struct Field {
    cells: Vec<FieldCell>,
    map: ColorMap,
    scale: Scale,
}

impl Field {
    /// `values` on the cells of `grid`, as shares of `[low, high]`. Numbers are
    /// the cells' middles; beyond the outermost middles they stay the same, or
    /// go around where a coordinate is `periodic`. Cells that are NaN take the
    /// mean of their neighbors next to those that are not, and are left out
    /// elsewhere.
    pub fn new(
        grid: &MapGrid,
        periodic: [bool; 2],
        values: &[f32],
        [low, high]: [f32; 2],
        map: ColorMap,
        scale: Scale,
    ) -> Self {
        let mut field = Self { cells: Vec::new(), map, scale };
        let [rows, columns] = grid.cells;
        if rows == 0 || columns == 0 || values.len() != grid.len() {
            return field;
        }
        let span = if high > low { high - low } else { 1.0 };
        let at = |row: usize, column: usize| (values[row * columns + column] - low) / span;
        let [xs, ys] = [0, 1].map(|axis| edges(grid, axis));
        for i in 0..=rows {
            for j in 0..=columns {
                let [r0, r1] = neighbors(i, rows, periodic[0]);
                let [c0, c1] = neighbors(j, columns, periodic[1]);
                let shares = [at(r0, c0), at(r0, c1), at(r1, c0), at(r1, c1)];
                let corners = [xs[i], ys[j], xs[i + 1], ys[j + 1]];
                if let Some(shares) = filled(shares) {
                    field.push(FieldCell { corners, shares: halved(shares, [i, j], grid.cells) });
                }
            }
        }
        field
    }

    /// Append a rectangle. One of nothing next to another becomes one with it:
    /// a software renderer pays by the triangle.
    fn push(&mut self, cell: FieldCell) {
        let is_nothing = |cell: &FieldCell| cell.shares.iter().all(|share| share.abs() < NOTHING);
        if let Some(last) = self.cells.last_mut()
            && is_nothing(last)
            && is_nothing(&cell)
            && last.corners[0] == cell.corners[0]
            && last.corners[3] == cell.corners[1]
        {
            last.corners[3] = cell.corners[3];
            return;
        }
        self.cells.push(cell);
    }

    /// All rectangles.
    pub fn cells(&self) -> &[FieldCell] {
        &self.cells
    }

    /// The color map and the scale.
    pub fn look(&self) -> (ColorMap, Scale) {
        (self.map, self.scale)
    }
}

/// The grid's lower end, the cells' middles, and its upper end.
fn edges(grid: &MapGrid, axis: usize) -> Vec<f32> {
    let n = grid.cells[axis];
    let size = (grid.high[axis] - grid.low[axis]) / n as f32;
    let middle = |index: usize| grid.low[axis] + (index as f32 + 0.5) * size;
    std::iter::once(grid.low[axis])
        .chain((0..n).map(middle))
        .chain(std::iter::once(grid.high[axis]))
        .collect()
}

/// The cells whose middles are before and after the `index`-th stretch of `n`
/// cells' edges.
fn neighbors(index: usize, n: usize, is_periodic: bool) -> [usize; 2] {
    let before = index.checked_sub(1).unwrap_or(if is_periodic { n - 1 } else { 0 });
    let after = if index < n {
        index
    } else if is_periodic {
        0
    } else {
        n - 1
    };
    [before, after]
}

/// The four shares with what is NaN replaced by the mean of the others.
fn filled(shares: [f32; 4]) -> Option<[f32; 4]> {
    let known = shares.iter().filter(|share| share.is_finite());
    let n = known.clone().count();
    if n == 0 {
        return None;
    }
    let mean = known.sum::<f32>() / n as f32;
    Some(shares.map(|share| if share.is_finite() { share } else { mean }))
}

/// The outermost stretches are half as long: at the grid's end, the share half
/// way to the neighbor.
fn halved(shares: [f32; 4], [i, j]: [usize; 2], [rows, columns]: [usize; 2]) -> [f32; 4] {
    let [mut a, mut b, mut c, mut d] = shares;
    let middle = |x: f32, y: f32| (x + y) / 2.0;
    if i == 0 {
        [a, b] = [middle(a, c), middle(b, d)];
    } else if i == rows {
        [c, d] = [middle(a, c), middle(b, d)];
    }
    if j == 0 {
        [a, c] = [middle(a, b), middle(c, d)];
    } else if j == columns {
        [b, d] = [middle(a, b), middle(c, d)];
    }
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(cells: [usize; 2]) -> MapGrid {
        MapGrid { low: [0.0, 0.0], high: [cells[0] as f32, cells[1] as f32], cells }
    }

    fn field(cells: [usize; 2], periodic: [bool; 2], values: &[f32]) -> Field {
        Field::new(&grid(cells), periodic, values, [0.0, 1.0], ColorMap::Density, Scale::Linear)
    }

    /// The share drawn at a place.
    fn share(field: &Field, [x, y]: [f32; 2]) -> Option<f32> {
        let cell = field.cells().iter().find(|cell| {
            let [x0, y0, x1, y1] = cell.corners;
            (x0..=x1).contains(&x) && (y0..=y1).contains(&y)
        })?;
        let [x0, y0, x1, y1] = cell.corners;
        let (u, v) = ((x - x0) / (x1 - x0), (y - y0) / (y1 - y0));
        let [a, b, c, d] = cell.shares;
        let edge = [a + (c - a) * u, b + (d - b) * u];
        Some(edge[0] + (edge[1] - edge[0]) * v)
    }

    #[test]
    fn middles_have_their_number_and_lines_between_them_are_straight() {
        let field = field([2, 3], [false; 2], &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        let close = |at, expected: f32| (share(&field, at).unwrap() - expected).abs() < 1e-6;
        assert!(close([0.5, 0.5], 0.0) && close([1.5, 2.5], 1.0));
        assert!(close([1.0, 1.5], 0.5) && close([0.5, 1.0], 0.1));
        assert!(close([0.0, 0.0], 0.0), "the rim stays the same");
    }

    #[test]
    fn a_periodic_coordinate_goes_around() {
        let field = field([2, 1], [true, false], &[0.0, 1.0]);
        for x in [0.0, 2.0] {
            assert!((share(&field, [x, 0.5]).unwrap() - 0.5).abs() < 1e-6, "half way around");
        }
    }

    #[test]
    fn what_is_unknown_is_left_out_and_does_not_spread() {
        let nan = f32::NAN;
        let field = field([1, 4], [false; 2], &[0.5, nan, nan, nan]);
        assert!((share(&field, [0.5, 0.9]).unwrap() - 0.5).abs() < 1e-6);
        assert!(share(&field, [0.5, 3.2]).is_none());
        assert!(field.cells().iter().all(|cell| cell.shares.iter().all(|s| s.is_finite())));
    }

    #[test]
    fn stretches_of_nothing_become_one_rectangle() {
        let mut values = vec![0.0; 50 * 50];
        assert_eq!(field([50, 50], [false; 2], &values).cells().len(), 51);
        values[25 * 50 + 25] = 1.0;
        let cells = field([50, 50], [false; 2], &values);
        assert!(cells.cells().len() < 64 && share(&cells, [25.5, 25.5]) == Some(1.0));
        assert!(field([3, 3], [false; 2], &[1.0]).cells().is_empty(), "not one number a cell");
    }

    #[test]
    fn scales_go_there_and_back_and_forgive_bad_numbers() {
        for scale in Scale::ALL {
            for position in [0.0, 0.3, 1.0] {
                assert!((scale.position(scale.share(position)) - position).abs() < 1e-5);
            }
            assert_eq!(scale.position(f32::NAN), scale.position(0.0));
        }
        assert_eq!(color(ColorMap::Difference, Scale::Linear, 0.0).a, 0);
    }
}
