//! Numbers to tokens and back: one set of bins per coordinate of a transition.
//!
//! Janner et al. 2021, Section 3.1: uniform bins keep distances, quantile bins
//! put the resolution where the data are. Unlike the released code, no bin is
//! empty of width, whatever repeats: rewards that are nearly always 0 or
//! actions clipped at their bounds get a bin, and a decoded value, of their own.

use serde::{Deserialize, Serialize};

use super::{DataError, TokenKind, TokenLayout};

/// Most bins: with more, single precision could not tell neighbors apart.
const MAX_BINS: usize = 4096;
/// Most coordinates of a transition.
const MAX_DIMS: usize = 1024;
/// Rows that decide the bins: the quantiles of more are the same to the eye.
const SAMPLE: usize = 200_000;
/// Larger numbers overflow when bins are laid around them.
const LARGEST: f32 = 1e30;

/// Where the bins of a coordinate lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binning {
    /// Equally wide from the smallest to the largest number.
    Uniform,
    /// Equally many rows in each, as far as numbers do not repeat.
    Quantile,
}

/// The bins of every coordinate of a transition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Discretizer {
    /// How a transition reads.
    pub layout: TokenLayout,
    /// `[D, V + 1]`, ascending in each row. Bin `i` holds what is at least edge
    /// `i` and below edge `i + 1`; the last one holds its upper end as well.
    pub edges: Vec<Vec<f32>>,
    /// `[D, V]`: what each bin decodes to, a number inside of it.
    pub centers: Vec<Vec<f32>>,
}

/// What a file holds before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    layout: TokenLayout,
    edges: Vec<Vec<f32>>,
    centers: Vec<Vec<f32>>,
}

impl TryFrom<Unchecked> for Discretizer {
    type Error = DataError;

    fn try_from(Unchecked { layout, edges, centers }: Unchecked) -> Result<Self, DataError> {
        let discretizer = Self { layout, edges, centers };
        discretizer.validate()?;
        Ok(discretizer)
    }
}

impl Discretizer {
    /// Lay the bins over `columns`, the values of each of the D coordinates,
    /// with one `binning` per coordinate.
    ///
    /// A bin that holds one number over and over decodes to it, any other one
    /// to its middle. A coordinate that never varies lies in the middle of
    /// bins that span one unit.
    ///
    /// # Errors
    /// A layout that cannot be, other than D columns and binnings, an empty
    /// column, or numbers that are not ordinary.
    pub fn fit(
        layout: TokenLayout,
        columns: &[Vec<f32>],
        binning: &[Binning],
    ) -> Result<Self, DataError> {
        check(&layout)?;
        let dims = layout.per_transition();
        if columns.len() != dims || binning.len() != dims {
            return Err(DataError::Malformed(format!(
                "a transition of {dims} numbers needs as many columns and binnings, not {} and {}",
                columns.len(),
                binning.len()
            )));
        }
        let mut discretizer = Self { layout, edges: Vec::new(), centers: Vec::new() };
        for (dim, (column, &binning)) in columns.iter().zip(binning).enumerate() {
            let sorted = sample(dim, column)?;
            let edges = lay(&sorted, layout.bins, binning);
            discretizer.centers.push(centers(&sorted, &edges));
            discretizer.edges.push(edges);
        }
        Ok(discretizer)
    }

    /// Check the numbers, as those of a file need to be.
    ///
    /// # Errors
    /// A layout that cannot be, tables of other sizes than the layout's, edges
    /// that do not ascend, or centers outside of their bins.
    pub fn validate(&self) -> Result<(), DataError> {
        check(&self.layout)?;
        let (dims, bins) = (self.layout.per_transition(), self.layout.bins);
        let sizes = self.edges.len() == dims
            && self.centers.len() == dims
            && self.edges.iter().all(|edges| edges.len() == bins + 1)
            && self.centers.iter().all(|centers| centers.len() == bins);
        if !sizes {
            return Err(DataError::Malformed(format!(
                "a discretizer of {dims} coordinates with {bins} bins has tables of other sizes"
            )));
        }
        for (dim, (edges, centers)) in self.edges.iter().zip(&self.centers).enumerate() {
            let ordered = edges.iter().all(|edge| edge.is_finite())
                && edges.is_sorted_by(|a, b| a < b)
                && centers.iter().all(|&center| edges[0] <= center && center <= edges[bins])
                && (0..bins).all(|bin| usize::from(self.encode(dim, centers[bin])) == bin);
            if !ordered {
                return Err(DataError::Malformed(format!(
                    "the bins of coordinate {dim} are not finite intervals in order"
                )));
            }
        }
        Ok(())
    }

    /// The bin of `value`, below V. What lies beyond the ends belongs to the
    /// bins there, and what is no number to the first one.
    ///
    /// # Panics
    /// If `dim >= D`.
    pub fn encode(&self, dim: usize, value: f32) -> u16 {
        let edges = &self.edges[dim];
        let below = edges.partition_point(|&edge| edge <= value);
        below.saturating_sub(1).min(self.layout.bins - 1) as u16
    }

    /// What a token of coordinate `dim` decodes to. The stop token, which
    /// stands for no number, decodes as the last bin does.
    ///
    /// # Panics
    /// If `dim >= D`.
    pub fn center(&self, dim: usize, token: u16) -> f32 {
        let centers = &self.centers[dim];
        centers[usize::from(token).min(centers.len() - 1)]
    }

    /// The mean of coordinate `dim` over V or V + 1 `probabilities`.
    ///
    /// The rule of the released code: what is given to the stop token counts as
    /// 0, because nothing is paid after the end, and the rest is not rescaled.
    ///
    /// # Panics
    /// If `dim >= D`.
    pub fn expectation(&self, dim: usize, probabilities: &[f32]) -> f32 {
        self.centers[dim].iter().zip(probabilities).map(|(center, share)| center * share).sum()
    }

    /// The tokens of a goal: the bins of the state coordinates `goal_dims`.
    ///
    /// # Panics
    /// If one of `goal_dims` is `D` or more.
    pub fn goal(&self, goal_dims: &[usize], goal: &[f32]) -> Vec<u16> {
        goal_dims.iter().zip(goal).map(|(&dim, &value)| self.encode(dim, value)).collect()
    }

    /// The log-density at `value` of a model that always knows the right bin
    /// and nothing inside of it: minus the logarithm of that bin's width.
    /// No model over these bins can do better (Appendix B.2's discrete oracle).
    ///
    /// # Panics
    /// If `dim >= D`.
    pub fn oracle(&self, dim: usize, value: f32) -> f64 {
        let (edges, bin) = (&self.edges[dim], usize::from(self.encode(dim, value)));
        -(f64::from(edges[bin + 1]) - f64::from(edges[bin])).ln()
    }

    /// The discrete oracle's log-density of a state, `sum_i log(V / (r_i - l_i))`
    /// over the ends of its coordinates: exact for uniform bins. For others,
    /// average [`Discretizer::oracle`] over the data.
    pub fn oracle_log_likelihood(&self) -> f64 {
        let bins = self.layout.bins;
        let states = self.edges.iter().take(self.layout.states);
        states
            .map(|edges| (bins as f64 / (f64::from(edges[bins]) - f64::from(edges[0]))).ln())
            .sum()
    }
}

/// Refuse layouts that no model has.
fn check(layout: &TokenLayout) -> Result<(), DataError> {
    let complaint = match layout {
        layout if !(2..=MAX_BINS).contains(&layout.bins) => {
            format!("{} bins cannot be used; choose 2 to {MAX_BINS}", layout.bins)
        }
        layout if layout.kind(0) != TokenKind::State || layout.per_transition() > MAX_DIMS => {
            format!("a transition needs a state and at most {MAX_DIMS} numbers")
        }
        layout if layout.goals > layout.states => {
            format!("a goal of {} numbers does not fit a state of {}", layout.goals, layout.states)
        }
        _ => return Ok(()),
    };
    Err(DataError::Malformed(complaint))
}

/// At most [`SAMPLE`] values and both extremes, in order.
fn sample(dim: usize, column: &[f32]) -> Result<Vec<f32>, DataError> {
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for (row, &value) in column.iter().enumerate() {
        // Not `>`, which would let NaN pass.
        if !matches!(value.abs().partial_cmp(&LARGEST), Some(order) if order.is_le()) {
            return Err(DataError::Malformed(format!(
                "coordinate {dim} of the data holds {value} in row {row}; remove that row"
            )));
        }
        (low, high) = (low.min(value), high.max(value));
    }
    if column.is_empty() {
        return Err(DataError::TooShort(format!("there is no data to bin coordinate {dim} by")));
    }
    let stride = column.len().div_ceil(SAMPLE);
    let mut sorted: Vec<f32> = (0..column.len() / stride)
        .map(|stratum| {
            // Each stratum gives another of its rows: an even stride could meet
            // nothing but first steps of equally long paths.
            let jump = (stratum as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            column[stratum * stride + jump as usize % stride]
        })
        .collect();
    if stride > 1 {
        sorted.extend([low, high]);
    }
    sorted.sort_by(f32::total_cmp);
    Ok(sorted)
}

/// The V + 1 edges, strictly ascending.
fn lay(sorted: &[f32], bins: usize, binning: Binning) -> Vec<f32> {
    let ends = [sorted[0], sorted[sorted.len() - 1]].map(f64::from);
    let [low, high] = spread(ends, bins);
    let cuts = match binning {
        Binning::Quantile if [low, high] == ends => quantiles(sorted, bins),
        _ => vec![low, high],
    };
    split(&cuts, bins).into_iter().map(|edge| edge as f32).collect()
}

/// Ends between which `bins` bins stay apart in single precision.
fn spread([low, high]: [f64; 2], bins: usize) -> [f64; 2] {
    // 8 roundings to a bin leave some for bins that are split once more.
    let rounding = f64::from(f32::EPSILON) * low.abs().max(high.abs());
    let least = 8.0 * bins as f64 * rounding.max(f64::from(f32::MIN_POSITIVE));
    let least = if low == high { least.max(1.0) } else { least };
    if high - low >= least {
        return [low, high];
    }
    let middle = low.midpoint(high);
    [middle - least / 2.0, middle + least / 2.0]
}

/// At most `bins + 1` ascending edges: the quantiles, where a number that fills
/// whole bins keeps one to itself.
fn quantiles(sorted: &[f32], bins: usize) -> Vec<f64> {
    let last = sorted.len() - 1;
    let ranks = (0..bins).map(|i| i * sorted.len() / bins).chain([last]);
    let values: Vec<f32> = ranks.map(|rank| sorted[rank]).collect();
    let mut cuts: Vec<f64> = Vec::with_capacity(bins + 1);
    for repeated in values.chunk_by(|a, b| a == b) {
        let value = repeated[0];
        cuts.push(f64::from(value));
        if repeated.len() > 1 {
            // The edge between it and its neighbor replaces a repeated one. The
            // largest number has its neighbor below.
            let next = sorted.partition_point(|&other| other <= value);
            let before = sorted.partition_point(|&other| other < value).saturating_sub(1);
            cuts.push(match sorted.get(next) {
                Some(&next) => f64::from(next),
                None => f64::from(sorted[before].midpoint(value)),
            });
        }
    }
    cuts.sort_by(f64::total_cmp);
    cuts.dedup();
    cuts
}

/// Split the widest intervals between `cuts` evenly until there are `bins`.
fn split(cuts: &[f64], bins: usize) -> Vec<f64> {
    let mut pieces = vec![1_usize; cuts.len() - 1];
    let width = |i: usize, pieces: &[usize]| (cuts[i + 1] - cuts[i]) / pieces[i] as f64;
    for _ in pieces.len()..bins {
        let widest = (0..pieces.len())
            .max_by(|&a, &b| width(a, &pieces).total_cmp(&width(b, &pieces)))
            .unwrap_or(0);
        pieces[widest] += 1;
    }
    let mut edges = Vec::with_capacity(bins + 1);
    for (ends, &pieces) in cuts.windows(2).zip(&pieces) {
        let piece = (ends[1] - ends[0]) / pieces as f64;
        edges.extend((0..pieces).map(|k| ends[0] + k as f64 * piece));
    }
    edges.extend(cuts.last());
    edges
}

/// What each bin decodes to.
fn centers(sorted: &[f32], edges: &[f32]) -> Vec<f32> {
    let bins = edges.len() - 1;
    let rank = |edge: f32| sorted.partition_point(|&value| value < edge);
    (0..bins)
        .map(|bin| {
            let [low, high] = [edges[bin], edges[bin + 1]];
            let end = if bin + 1 == bins { sorted.len() } else { rank(high) };
            match &sorted[rank(low)..end] {
                [first, .., last] if first == last => *first,
                _ => {
                    let middle = low.midpoint(high);
                    // Between neighbors in single precision the middle is an end.
                    if middle < high { middle } else { low }
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
