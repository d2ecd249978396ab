//! A rectangular grid over two state coordinates.

use super::{EnvError, EnvironmentSpec};

/// Most cells per axis.
const MAX_SIDE: usize = 2048;

/// Equal cells over a rectangle. Cell `(i, j)` has index
/// `i * cells[1] + j`, with `i` along the first coordinate.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    low: [f32; 2],
    high: [f32; 2],
    cells: [usize; 2],
    periodic: [bool; 2],
}

impl Grid {
    /// A grid of `cells` from `low` to `high`, where a periodic coordinate
    /// continues at the other end.
    ///
    /// # Errors
    /// Bounds that do not increase, no cell, or more than 2048 along an axis.
    pub fn new(
        low: [f32; 2],
        high: [f32; 2],
        cells: [usize; 2],
        periodic: [bool; 2],
    ) -> Result<Self, EnvError> {
        for axis in 0..2 {
            let (low, high, cells) = (low[axis], high[axis], cells[axis]);
            if !(low.is_finite() && high.is_finite() && low < high) {
                return Err(EnvError::Grid(format!(
                    "axis {axis} goes from {low} to {high}; give two increasing numbers"
                )));
            }
            if !(1..=MAX_SIDE).contains(&cells) {
                return Err(EnvError::Grid(format!(
                    "axis {axis} has {cells} cells; choose 1 to {MAX_SIDE}"
                )));
            }
        }
        Ok(Self { low, high, cells, periodic })
    }

    /// The grid over an environment's whole state space.
    ///
    /// # Errors
    /// A state that does not have two coordinates, or what [`Grid::new`]
    /// refuses.
    pub fn over(spec: &EnvironmentSpec, cells: [usize; 2]) -> Result<Self, EnvError> {
        let [first, second] = spec.state.as_slice() else {
            return Err(EnvError::Grid(format!(
                "a state of {} has {} coordinates and a grid has two; choose the pendulum or four \
                 rooms",
                spec.id,
                spec.state.len()
            )));
        };
        let periodic = [first.periodic, second.periodic];
        Self::new([first.low, second.low], [first.high, second.high], cells, periodic)
    }

    /// Smallest coordinates.
    pub fn low(&self) -> [f32; 2] {
        self.low
    }

    /// Largest coordinates.
    pub fn high(&self) -> [f32; 2] {
        self.high
    }

    /// Cells per axis.
    pub fn cells(&self) -> [usize; 2] {
        self.cells
    }

    /// Which coordinates continue at the other end.
    pub fn periodic(&self) -> [bool; 2] {
        self.periodic
    }

    /// Number of cells.
    pub fn n_cells(&self) -> usize {
        self.cells[0] * self.cells[1]
    }

    /// Size of a cell along an axis, in the unit of that coordinate.
    pub fn step(&self, axis: usize) -> f64 {
        (f64::from(self.high[axis]) - f64::from(self.low[axis])) / self.cells[axis] as f64
    }

    /// The cell that holds a point; `None` outside and for NaN. The upper edge
    /// belongs to the last cell.
    pub fn index_of(&self, point: [f32; 2]) -> Option<usize> {
        let along = |axis: usize| {
            let (value, cells) = (self.in_cells(axis, point[axis]), self.cells[axis]);
            let inside = (0.0..=cells as f64).contains(&value);
            inside.then(|| (value as usize).min(cells - 1))
        };
        Some(along(0)? * self.cells[1] + along(1)?)
    }

    /// The middle of a cell.
    pub fn center(&self, index: usize) -> [f32; 2] {
        let cell = [index / self.cells[1], index % self.cells[1]];
        [0, 1].map(|axis| {
            let offset = (cell[axis] as f64 + 0.5) * self.step(axis);
            (f64::from(self.low[axis]) + offset) as f32
        })
    }

    /// The four cells around a point with its bilinear weights, which sum to 1.
    /// Beyond the outermost centers the nearest ones count, and cells may
    /// repeat. NaN counts as the lowest coordinate.
    pub fn corners(&self, point: [f32; 2]) -> [(usize, f64); 4] {
        let [first, second] = [0, 1].map(|axis| self.neighbors(axis, point[axis]));
        let corner = |(i, weight): (usize, f64), (j, other): (usize, f64)| {
            (i * self.cells[1] + j, weight * other)
        };
        [
            corner(first[0], second[0]),
            corner(first[0], second[1]),
            corner(first[1], second[0]),
            corner(first[1], second[1]),
        ]
    }

    /// The bilinear interpolation of values at the cells' centers, one for each
    /// cell; 0 for missing ones.
    pub fn interpolate(&self, values: &[f64], point: [f32; 2]) -> f64 {
        let corners = self.corners(point).into_iter();
        corners.map(|(index, weight)| weight * values.get(index).copied().unwrap_or(0.0)).sum()
    }

    /// The mass in each cell of a coarser grid over the same rectangle, where
    /// mass spreads evenly over each of our cells.
    ///
    /// # Errors
    /// Another rectangle, or not one mass per cell.
    pub fn coarsen(&self, mass: &[f64], coarse: &Grid) -> Result<Vec<f64>, EnvError> {
        if mass.len() != self.n_cells() {
            return Err(EnvError::Grid(format!(
                "{} masses were given for {} cells; give one for each",
                mass.len(),
                self.n_cells()
            )));
        }
        if (self.low, self.high) != (coarse.low, coarse.high) {
            return Err(EnvError::Grid(
                "the two grids cover different rectangles; give both the same bounds".into(),
            ));
        }
        let [along, across] = [0, 1].map(|axis| overlaps(self.cells[axis], coarse.cells[axis]));
        let mut coarsened = vec![0.0; coarse.n_cells()];
        for (row, along) in mass.chunks_exact(self.cells[1]).zip(&along) {
            for (&mass, across) in row.iter().zip(&across) {
                for &(i, share) in along {
                    for &(j, other) in across {
                        coarsened[i * coarse.cells[1] + j] += mass * share * other;
                    }
                }
            }
        }
        Ok(coarsened)
    }

    /// A coordinate in cells from the lower edge, wrapped if periodic.
    fn in_cells(&self, axis: usize, value: f32) -> f64 {
        let cells = (f64::from(value) - f64::from(self.low[axis])) / self.step(axis);
        if self.periodic[axis] { cells.rem_euclid(self.cells[axis] as f64) } else { cells }
    }

    /// The two centers beside a coordinate, with weights.
    fn neighbors(&self, axis: usize, value: f32) -> [(usize, f64); 2] {
        let cells = self.cells[axis];
        let from_first = self.in_cells(axis, value) - 0.5;
        if self.periodic[axis] {
            let below = from_first.floor();
            let weight = from_first - below;
            let lower = (below as isize).rem_euclid(cells as isize) as usize;
            return [(lower, 1.0 - weight), ((lower + 1) % cells, weight)];
        }
        let inside = from_first.max(0.0).min((cells - 1) as f64);
        let lower = inside as usize;
        let weight = inside - lower as f64;
        [(lower, 1.0 - weight), ((lower + 1).min(cells - 1), weight)]
    }
}

/// For every fine cell the coarse cells it lies in, with its shares.
fn overlaps(fine: usize, coarse: usize) -> Vec<Vec<(usize, f64)>> {
    let ratio = coarse as f64 / fine as f64;
    let shares = |cell: usize| {
        let (start, end) = (cell as f64 * ratio, (cell + 1) as f64 * ratio);
        let last = (end.ceil() as usize).min(coarse);
        let share = move |other: usize| {
            let shared = end.min((other + 1) as f64) - start.max(other as f64);
            (other, shared.max(0.0) / ratio)
        };
        (start as usize..last).map(share).filter(|&(_, share)| share > 1e-12).collect()
    };
    (0..fine).map(shares).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn grid() -> Grid {
        Grid::new([-1.0, 0.0], [1.0, 3.0], [4, 6], [true, false]).unwrap()
    }

    #[test]
    fn centers_lie_in_their_cells_and_the_upper_edge_belongs_to_the_last() {
        let grid = grid();
        assert_eq!(grid.n_cells(), 24);
        for index in 0..24 {
            assert_eq!(grid.index_of(grid.center(index)), Some(index));
        }
        assert_eq!(grid.center(0), [-0.75, 0.25]);
        assert_eq!(grid.center(23), [0.75, 2.75]);
        assert_eq!(grid.index_of([0.9, 3.0]), Some(23));
        assert_eq!(grid.index_of([0.9, 3.01]), None);
        // Around the circle.
        assert_eq!(grid.index_of([1.1, 0.1]), grid.index_of([-0.9, 0.1]));
        assert_eq!(grid.index_of([1.0, 0.1]), Some(0));
        assert_eq!(grid.index_of([f32::NAN, 0.1]), None);
    }

    #[test]
    fn interpolation_is_exact_for_bilinear_functions_and_wraps() {
        let grid = grid();
        let f = |[x, y]: [f32; 2]| f64::from(2.0 * x - 3.0 * y + x * y + 1.0);
        let values: Vec<_> = (0..24).map(|index| f(grid.center(index))).collect();
        let mut rng = Rng::stream(0, "interpolate");
        for _ in 0..500 {
            let inside = [rng.uniform(-0.75, 0.75) as f32, rng.uniform(0.25, 2.75) as f32];
            assert!((grid.interpolate(&values, inside) - f(inside)).abs() < 1e-5, "{inside:?}");
            let anywhere = [rng.uniform(-5.0, 5.0) as f32, rng.uniform(-1.0, 5.0) as f32];
            let corners = grid.corners(anywhere);
            let total: f64 = corners.iter().map(|corner| corner.1).sum();
            assert!((total - 1.0).abs() < 1e-12 && corners.iter().all(|c| c.0 < 24 && c.1 >= 0.0));
        }
        // Halfway between the last and the first center.
        let seam = grid.interpolate(&values, [1.0, 0.25]);
        assert!((seam - 0.5 * (values[0] + values[18])).abs() < 1e-6, "{seam}");
        assert_eq!(grid.interpolate(&values, [-0.75, -9.0]), values[0]);
    }

    #[test]
    fn coarsening_keeps_mass_where_it_is() {
        let fine = Grid::new([0.0; 2], [1.0; 2], [6, 9], [false; 2]).unwrap();
        let coarse = Grid::new([0.0; 2], [1.0; 2], [3, 4], [false; 2]).unwrap();
        let mass: Vec<_> = (0..54).map(f64::from).collect();
        let coarsened = fine.coarsen(&mass, &coarse).unwrap();
        assert!((coarsened.iter().sum::<f64>() - mass.iter().sum::<f64>()).abs() < 1e-9);
        // Two rows times two and a quarter columns: 0, 1, a quarter of 2, below
        // them 9, 10, a quarter of 11.
        assert!((coarsened[0] - (1.0 + 0.5 + 19.0 + 2.75)).abs() < 1e-9, "{}", coarsened[0]);
        assert_eq!(fine.coarsen(&mass, &fine).unwrap(), mass);
        assert!(fine.coarsen(&mass[1..], &coarse).is_err());
        assert!(fine.coarsen(&mass, &grid()).is_err());
    }

    #[test]
    fn grids_that_make_no_sense_are_refused() {
        for (low, high, cells) in [
            ([0.0, 0.0], [0.0, 1.0], [2, 2]),
            ([0.0, f32::NAN], [1.0, 1.0], [2, 2]),
            ([0.0, 0.0], [1.0, 1.0], [0, 2]),
            ([0.0, 0.0], [1.0, 1.0], [2, 5000]),
        ] {
            assert!(Grid::new(low, high, cells, [false; 2]).is_err(), "{low:?} {high:?} {cells:?}");
        }
    }
}
