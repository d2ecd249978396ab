//! How points spread over a grid, with wrapped axes and a count of the rest.

use super::MeasureError;

/// One axis of a histogram's grid: equal cells from `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// Lower edge of the first cell.
    pub low: f32,
    /// Upper edge of the last cell; it belongs to that cell.
    pub high: f32,
    /// Number of cells.
    pub cells: usize,
    /// Whether `high` is `low` again, as with angles: every point is inside.
    pub periodic: bool,
}

impl Axis {
    /// The cell of a finite `x`, `None` outside.
    fn cell(&self, x: f32) -> Option<usize> {
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        let mut share = (f64::from(x) - low) / (high - low);
        if self.periodic {
            share = share.rem_euclid(1.0);
        } else if !(0.0..=1.0).contains(&share) {
            return None;
        }
        Some(((share * self.cells as f64) as usize).min(self.cells - 1))
    }
}

/// How a set of points spreads over a grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Share of all points in each cell, the last axis fastest. Sums to one
    /// less the share outside.
    pub mass: Vec<f64>,
    /// Points in no cell.
    pub outside: usize,
    /// Points in all.
    pub n: usize,
}

impl Histogram {
    /// The mass of every cell, then that outside the grid as one more: what to
    /// give [`total_variation`](super::total_variation), which would otherwise scale away the points
    /// that a model put where nothing is.
    pub fn with_outside(&self) -> Vec<f64> {
        let outside = self.outside as f64 / self.n as f64;
        self.mass.iter().copied().chain([outside]).collect()
    }
}

/// Most cells of a grid.
const MAX_CELLS: usize = 1 << 24;

/// Count `points`, `[n, axes]`, in the cells of a grid.
///
/// # Errors
/// No points or part of one, a coordinate that is not finite, an axis without
/// extent or cells, or more than 16 million cells.
pub fn histogram(points: &[f32], grid: &[Axis]) -> Result<Histogram, MeasureError> {
    let whole = |axis: &Axis| axis.low < axis.high && (axis.high - axis.low).is_finite();
    if let Some(bad) = grid.iter().position(|axis| !whole(axis) || axis.cells == 0) {
        return Err(MeasureError::Axis(bad));
    }
    let dims = grid.len();
    if dims == 0 || !points.len().is_multiple_of(dims) {
        let text = format!("{} numbers are not points of {dims} dimensions", points.len());
        return Err(MeasureError::Grid(text));
    }
    let cells = grid.iter().try_fold(1, |cells: usize, axis| cells.checked_mul(axis.cells));
    let Some(cells) = cells.filter(|&cells| cells <= MAX_CELLS) else {
        return Err(MeasureError::Grid(format!("the grid has more than {MAX_CELLS} cells")));
    };
    if points.is_empty() {
        return Err(MeasureError::Empty("points"));
    }
    if let Some(index) = points.iter().position(|x| !x.is_finite()) {
        return Err(MeasureError::NotFinite { what: "points", index });
    }
    let n = points.len() / dims;
    let (mut counts, mut outside) = (vec![0_usize; cells], 0);
    for point in points.chunks_exact(dims) {
        let cell = point
            .iter()
            .zip(grid)
            .try_fold(0, |cell, (&x, axis)| axis.cell(x).map(|along| cell * axis.cells + along));
        match cell.and_then(|cell| counts.get_mut(cell)) {
            Some(count) => *count += 1,
            None => outside += 1,
        }
    }
    let mass = counts.into_iter().map(|count| count as f64 / n as f64).collect();
    Ok(Histogram { mass, outside, n })
}

#[cfg(test)]
mod tests {
    use super::super::total_variation;
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn a_histogram_keeps_edges_wraps_angles_and_counts_the_rest() {
        let x = Axis { low: 0.0, high: 2.0, cells: 2, periodic: false };
        let angle = Axis { low: -1.0, high: 1.0, cells: 4, periodic: true };
        let points = [
            [0.0, -1.0], // first cell of both
            [2.0, 0.9],  // the upper edge is inside
            [1.0, 2.6],  // 2.6 is 0.6 once around
            [2.1, 0.0],  // outside
            [-0.1, 0.0], // outside
        ];
        let found = histogram(points.as_flattened(), &[x, angle]).unwrap();
        assert_eq!(found.mass, [0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.4]);
        assert_eq!((found.outside, found.n), (2, 5));
        assert_eq!(found.with_outside().last(), Some(&0.4));
    }

    #[test]
    fn a_histogram_of_uniform_points_is_flat() {
        let mut rng = Rng::stream(1, "histogram");
        let points: Vec<f32> = (0..40_000).map(|_| rng.uniform(-3.0, 5.0) as f32).collect();
        let axis = Axis { low: -3.0, high: 5.0, cells: 10, periodic: false };
        let flat = histogram(&points, &[axis]).unwrap();
        assert!(
            total_variation(&flat.with_outside(), &[[0.1; 10].as_slice(), &[0.0]].concat())
                .is_ok_and(|distance| distance > 0.0 && distance < 0.02)
        );
    }

    #[test]
    fn grids_and_points_that_do_not_fit_are_refused() {
        let axis = Axis { low: 0.0, high: 1.0, cells: 4, periodic: false };
        assert!(matches!(histogram(&[0.0; 3], &[axis; 2]), Err(MeasureError::Grid(_))));
        assert!(matches!(histogram(&[0.0], &[]), Err(MeasureError::Grid(_))));
        assert_eq!(histogram(&[], &[axis]), Err(MeasureError::Empty("points")));
        assert!(matches!(histogram(&[f32::NAN], &[axis]), Err(MeasureError::NotFinite { .. })));
        for bad in [
            Axis { cells: 0, ..axis },
            Axis { high: 0.0, ..axis },
            Axis { low: f32::NAN, ..axis },
            Axis { high: f32::INFINITY, ..axis },
        ] {
            assert_eq!(histogram(&[0.0; 2], &[axis, bad]), Err(MeasureError::Axis(1)));
        }
        let huge = Axis { cells: usize::MAX, ..axis };
        assert!(matches!(histogram(&[0.0; 2], &[huge, huge]), Err(MeasureError::Grid(_))));
    }
}
