//! Asking a gamma-model: maps, chains of model steps, values.
//!
//! Chains (Theorem 1): with s_e^n ~ mu( . | s_e^{n-1}) the mixture
//! sum_n alpha_n mu_n is the occupancy of a larger discount, see
//! [`super::horizon`].

use super::PlanError;
use super::horizon::Reweighting;
use crate::model::gamma::{GammaModel, Query, Samples};
use crate::rng::Rng;

/// A rectangle of state space's first two coordinates, cut into cells.
#[derive(Clone, Debug, PartialEq)]
pub struct MapGrid {
    /// Lower corner.
    pub low: [f32; 2],
    /// Upper corner.
    pub high: [f32; 2],
    /// Cells along each coordinate.
    pub cells: [usize; 2],
}

impl MapGrid {
    /// The whole range of the first two state coordinates.
    pub fn of(state: &[crate::env::StateDimension], cells: [usize; 2]) -> Self {
        let end = |pick: fn(&crate::env::StateDimension) -> f32, index: usize| {
            state.get(index).map_or(0.0, pick)
        };
        Self {
            low: [end(|d| d.low, 0), end(|d| d.low, 1)],
            high: [end(|d| d.high, 0), end(|d| d.high, 1)],
            cells,
        }
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.cells[0] * self.cells[1]
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size of a cell along each coordinate.
    pub fn cell_size(&self) -> [f32; 2] {
        [0, 1].map(|axis| (self.high[axis] - self.low[axis]) / self.cells[axis].max(1) as f32)
    }

    /// Area of a cell.
    pub fn cell_area(&self) -> f32 {
        let [a, b] = self.cell_size();
        a * b
    }

    /// Middle of a cell; the second coordinate runs fastest.
    pub fn center(&self, index: usize) -> [f32; 2] {
        let size = self.cell_size();
        let at = [index / self.cells[1].max(1), index % self.cells[1].max(1)];
        [0, 1].map(|axis| self.low[axis] + (at[axis] as f32 + 0.5) * size[axis])
    }

    /// All middles, `[cells, 2]`.
    pub fn centers(&self) -> Vec<f32> {
        (0..self.len()).flat_map(|index| self.center(index)).collect()
    }

    /// The cell a point lies in.
    pub fn cell_of(&self, point: [f32; 2]) -> Option<usize> {
        let mut index = 0;
        for axis in [0, 1] {
            let share = (point[axis] - self.low[axis]) / (self.high[axis] - self.low[axis]);
            // The upper end belongs to the last cell.
            if !(0.0..=1.0).contains(&share) {
                return None;
            }
            let cell = (share * self.cells[axis] as f32) as usize;
            index = index * self.cells[axis] + cell.min(self.cells[axis] - 1);
        }
        Some(index)
    }

    /// Half the absolute difference of the masses of two densities, over blocks
    /// of cells that leave about `coarse` along each side.
    pub fn total_variation(&self, a: &[f32], b: &[f32], coarse: usize) -> f32 {
        let each = self.cells.map(|cells| {
            // A block must divide the map.
            let most = (cells / coarse.max(1)).max(1);
            (1..=most).rev().find(|each| cells.is_multiple_of(*each)).unwrap_or(1)
        });
        let cells = [self.cells[0] / each[0], self.cells[1] / each[1]];
        let area = self.cell_area() * (each[0] * each[1]) as f32;
        let (a, b) = (block_means(a, cells, each), block_means(b, cells, each));
        a.iter().zip(&b).map(|(a, b)| (a - b).abs() * area).sum::<f32>() / 2.0
    }

    /// Density per unit of area from weighted points, `[points, dims]` of
    /// which the first two count. Points off the grid take their share with
    /// them.
    pub fn density(&self, points: &[f32], dims: usize, weights: Option<&[f64]>) -> Vec<f32> {
        let n = points.len() / dims.max(1);
        let mut mass = vec![0.0_f64; self.len()];
        for (index, point) in points.chunks_exact(dims.max(1)).enumerate() {
            let weight = weights.map_or(1.0 / n as f64, |weights| weights[index]);
            if let [x, y, ..] = *point
                && let Some(cell) = self.cell_of([x, y])
            {
                mass[cell] += weight;
            }
        }
        let area = f64::from(self.cell_area());
        mass.iter().map(|mass| (mass / area) as f32).collect()
    }
}

/// The model's density on a map, per unit of area, at the cells' middles.
///
/// # Errors
/// A query the model refuses, or a lost device.
pub fn density_map(
    model: &GammaModel,
    query: &Query,
    grid: &MapGrid,
) -> Result<Vec<f32>, PlanError> {
    let log_density = model.log_density(query, &grid.centers(), 2)?;
    Ok(log_density.into_iter().map(f32::exp).collect())
}

/// The model's mean density in every cell of a map, from about `points` looks
/// along each side. Looked at in the middle alone, a cell would miss an
/// occupancy that is narrower than itself.
///
/// # Errors
/// As for [`density_map`].
pub fn mean_density_map(
    model: &GammaModel,
    query: &Query,
    grid: &MapGrid,
    points: usize,
) -> Result<Vec<f32>, PlanError> {
    let each = grid.cells.map(|cells| points.div_ceil(cells.max(1)));
    let cells = [grid.cells[0] * each[0], grid.cells[1] * each[1]];
    let fine = MapGrid { cells, ..grid.clone() };
    Ok(block_means(&density_map(model, query, &fine)?, grid.cells, each))
}

/// Means over blocks of `each` entries of an array of `cells` blocks; the
/// second coordinate runs fastest.
fn block_means(fine: &[f32], cells: [usize; 2], each: [usize; 2]) -> Vec<f32> {
    let mut means = vec![0.0; cells[0] * cells[1]];
    let columns = (cells[1] * each[1]).max(1);
    let share = 1.0 / (each[0] * each[1]) as f32;
    for (row, values) in fine.chunks_exact(columns).enumerate() {
        let start = row / each[0] * cells[1];
        for (mean, block) in means[start..].iter_mut().zip(values.chunks_exact(each[1])) {
            *mean += share * block.iter().sum::<f32>();
        }
    }
    means
}

/// States sampled along a chain of model steps, with the mixture's weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// Numbers per state.
    pub dims: usize,
    /// Samples after 1, 2, ... model steps, `[samples, state]` each.
    pub steps: Vec<Samples>,
    /// Weight of each step in the mixture: alpha_n, scaled to sum to one where
    /// the chain ends.
    pub weights: Vec<f64>,
}

impl Chain {
    /// All samples and the weight of each, which sum to one.
    pub fn mixture(&self) -> (Vec<f32>, Vec<f64>) {
        let mut states = Vec::new();
        let mut weights = Vec::new();
        for (samples, weight) in self.steps.iter().zip(&self.weights) {
            let n = samples.states.len() / self.dims.max(1);
            states.extend_from_slice(&samples.states);
            weights.extend(std::iter::repeat_n(weight / n.max(1) as f64, n));
        }
        (states, weights)
    }
}

/// Chain model steps: `n` samples after each, the policy's own action at every
/// step but perhaps the first.
///
/// # Errors
/// A query the model refuses, a reweighting of another discount, or a lost
/// device.
pub fn chain(
    model: &GammaModel,
    query: &Query,
    reweighting: &Reweighting,
    n: usize,
    rng: &mut Rng,
) -> Result<Chain, PlanError> {
    if (reweighting.gamma() - f64::from(query.discount)).abs() > 1e-6 {
        return Err(PlanError::Request(format!(
            "the chain is reweighted from a discount of {}, and the model is asked for {}",
            reweighting.gamma(),
            query.discount
        )));
    }
    let dims = model.config.state.len();
    let mut queries = vec![query.clone(); n];
    let mut steps = Vec::new();
    for _ in reweighting.weights() {
        let samples = model.sample(&queries, 1, rng)?;
        for (query, state) in queries.iter_mut().zip(samples.states.chunks_exact(dims)) {
            query.state = state.to_vec();
            query.action = None;
        }
        steps.push(samples);
    }
    Ok(Chain { dims, steps, weights: reweighting.truncated() })
}

/// The gamma-MVE estimate of a value at the long discount (Theorem 2): mean
/// rewards along the chain, weighted, and for the tail of the infinite sum the
/// mean of `terminal`, a value at the long discount, over the states after the
/// last step.
///
/// # Errors
/// A chain of another length than the reweighting, or numbers that are not
/// finite.
pub fn gamma_mve(
    chain: &Chain,
    reweighting: &Reweighting,
    reward: &dyn Fn(&[f32]) -> f32,
    terminal: &dyn Fn(&[f32]) -> f64,
) -> Result<f64, PlanError> {
    let mean = |samples: &Samples, of: &dyn Fn(&[f32]) -> f64| {
        let states = samples.states.chunks_exact(chain.dims.max(1));
        let n = states.len().max(1) as f64;
        states.map(of).sum::<f64>() / n
    };
    let rewards: Vec<f64> = chain
        .steps
        .iter()
        .map(|samples| mean(samples, &|state| f64::from(reward(state))))
        .collect();
    let last = chain.steps.last().map_or(0.0, |samples| mean(samples, terminal));
    reweighting.gamma_mve(&rewards, last).map_err(|error| PlanError::Request(error.to_string()))
}

/// V(s) = 1 / (1 - g) E[r(s_e)] for many states at once (Equation 3.6), from
/// `n` samples each; with the standard error of each.
///
/// # Errors
/// States the model refuses, or a lost device.
pub fn values(
    model: &GammaModel,
    queries: &[Query],
    n: usize,
    reward: &dyn Fn(&[f32]) -> f32,
    rng: &mut Rng,
) -> Result<Vec<[f64; 2]>, PlanError> {
    let dims = model.config.state.len();
    let samples = model.sample(queries, n, rng)?;
    let by_query = samples.states.chunks_exact(n * dims).zip(queries);
    Ok(by_query
        .map(|(states, query)| {
            let rewards: Vec<f64> =
                states.chunks_exact(dims).map(|state| f64::from(reward(state))).collect();
            let scale = 1.0 / (1.0 - f64::from(query.discount));
            let mean = rewards.iter().sum::<f64>() / n as f64;
            let spread = rewards.iter().map(|r| (r - mean).powi(2)).sum::<f64>();
            let se = (spread / (n.max(2) - 1) as f64 / n as f64).sqrt();
            [scale * mean, scale * se]
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_variation_is_over_coarse_cells() {
        let grid = MapGrid { low: [0.0; 2], high: [1.0; 2], cells: [4, 4] };
        let (mut a, mut b) = (vec![0.0; 16], vec![0.0; 16]);
        // The same quarter of the map, but no cell in common.
        (a[0], b[5]) = (16.0, 16.0);
        assert!((grid.total_variation(&a, &b, 4) - 1.0).abs() < 1e-6);
        assert!(grid.total_variation(&a, &b, 2).abs() < 1e-6);
        assert!(grid.total_variation(&a, &b, 3) > 0.9, "blocks must divide the map");
    }

    #[test]
    fn means_are_over_blocks_of_neighbors_along_both_coordinates() {
        // Two rows and three columns of blocks of 2 x 1.
        let fine = [1.0, 2.0, 3.0, 3.0, 4.0, 5.0, 10.0, 20.0, 30.0, 10.0, 20.0, 30.0];
        let means = block_means(&fine, [2, 3], [2, 1]);
        assert_eq!(means, [2.0, 3.0, 4.0, 10.0, 20.0, 30.0]);
        // The same numbers as two columns of blocks of 1 x 3.
        assert_eq!(block_means(&fine, [2, 2], [1, 3]), [2.0, 4.0, 20.0, 20.0]);
    }
}
