//! Error measures of a predicted occupancy: against samples of the truth,
//! against a histogram, and of the values read off it.
//!
//! Plain arrays in, numbers out; drawing the samples is the caller's business.
//! Everything refuses numbers that are not finite, because a mean that skipped
//! them would flatter the model that made them.

mod histogram;

use rayon::prelude::*;
use serde::Serialize;

use super::statistics::Estimate;
use super::transport::{TransportError, squared_distance_emd};

pub use histogram::{Axis, Histogram, histogram};

/// Why a measure does not exist.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MeasureError {
    /// Two arrays that belong together differ in length.
    #[error("{a} numbers against {b}: the arrays must have the same length")]
    Lengths {
        /// Length of the first.
        a: usize,
        /// Length of the second.
        b: usize,
    },
    /// Nothing to measure.
    #[error("there are no {0} to measure")]
    Empty(&'static str),
    /// A NaN or infinite number.
    #[error("entry {index} of the {what} is not finite")]
    NotFinite {
        /// Which array.
        what: &'static str,
        /// Where in it.
        index: usize,
    },
    /// A mass below zero, or none at all.
    #[error("the {0} mass has a negative entry or sums to zero")]
    Mass(&'static str),
    /// A share or a correlation against a constant.
    #[error("the {0} is the same everywhere: there is no spread to compare with")]
    Constant(&'static str),
    /// A grid that divides nothing.
    #[error("axis {0} of the grid needs finite low < high and at least one cell")]
    Axis(usize),
    /// A grid with too many cells, or points that do not fit its dimensions.
    #[error("{0}")]
    Grid(String),
    /// The clouds of a source cannot be compared.
    #[error("source {source_index}: {error}")]
    Transport {
        /// Which source.
        source_index: usize,
        /// Why.
        error: TransportError,
    },
}

fn check_finite(what: &'static str, values: &[f64]) -> Result<(), MeasureError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(MeasureError::NotFinite { what, index }),
        None => Ok(()),
    }
}

fn check_pair(
    a: &[f64],
    b: &[f64],
    [first, second]: [&'static str; 2],
) -> Result<(), MeasureError> {
    if a.len() != b.len() {
        return Err(MeasureError::Lengths { a: a.len(), b: b.len() });
    }
    if a.is_empty() {
        return Err(MeasureError::Empty(first));
    }
    check_finite(first, a)?;
    check_finite(second, b)
}

/// Total variation distance `½ Σ |p - q|` of two mass vectors, in `[0, 1]`.
/// Each is first scaled to sum to one, so counts will do.
///
/// # Errors
/// Different lengths, no entries, entries negative or not finite, no mass.
pub fn total_variation(p: &[f64], q: &[f64]) -> Result<f64, MeasureError> {
    check_pair(p, q, ["first mass", "second mass"])?;
    let sum = |mass: &[f64], which| {
        let sum: f64 = mass.iter().sum();
        let proper = sum > 0.0 && sum.is_finite() && mass.iter().all(|&entry| entry >= 0.0);
        if proper { Ok(sum) } else { Err(MeasureError::Mass(which)) }
    };
    let (p_sum, q_sum) = (sum(p, "first")?, sum(q, "second")?);
    let distance: f64 = p.iter().zip(q).map(|(p, q)| (p / p_sum - q / q_sum).abs()).sum();
    Ok((0.5 * distance).min(1.0))
}

/// Pearson's correlation, in `[-1, 1]`.
///
/// # Errors
/// Different lengths, fewer than two distinct values on a side, not finite.
pub fn pearson(a: &[f64], b: &[f64]) -> Result<f64, MeasureError> {
    check_pair(a, b, ["first series", "second series"])?;
    let centered = |values: &[f64], which| {
        // Asked before the mean, whose rounding gives a constant some spread.
        if spread(values) == 0.0 {
            return Err(MeasureError::Constant(which));
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let mut rest: Vec<f64> = values.iter().map(|value| value - mean).collect();
        // To unit scale, or squares of large numbers overflow.
        let scale = rest.iter().fold(0.0, |scale: f64, x| scale.max(x.abs()));
        rest.iter_mut().for_each(|x| *x /= scale);
        Ok(rest)
    };
    let (a, b) = (centered(a, "first series")?, centered(b, "second series")?);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    Ok((dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()).clamp(-1.0, 1.0))
}

/// Largest less smallest value.
fn spread(values: &[f64]) -> f64 {
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    high - values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Root mean square error as a share of the truth's range,
/// `RMSE / (max - min)`: 0.1 is an error of a tenth of all the truth spans.
///
/// # Errors
/// Different lengths, no entries, not finite, or a constant truth.
pub fn rmse_share(estimate: &[f64], truth: &[f64]) -> Result<f64, MeasureError> {
    check_pair(estimate, truth, ["estimate", "truth"])?;
    let range = spread(truth);
    if range == 0.0 {
        return Err(MeasureError::Constant("truth"));
    }
    let squares = estimate.iter().zip(truth).map(|(e, t)| ((e - t) / range).powi(2));
    Ok((squares.sum::<f64>() / truth.len() as f64).sqrt())
}

/// Negative log-likelihood per dimension, in nats: the mean of
/// `-log p(s_e) / dims` over true states. The standard error takes the entries
/// for independent: for several states from one source, give their mean.
///
/// # Errors
/// No densities, zero dimensions, or a density of zero, infinity or NaN.
pub fn nll_per_dim(log_densities: &[f64], dims: usize) -> Result<Estimate, MeasureError> {
    if dims == 0 {
        return Err(MeasureError::Empty("dimensions"));
    }
    check_finite("log densities", log_densities)?;
    Estimate::of(log_densities.iter().map(|log_density| -log_density / dims as f64))
        .ok_or(MeasureError::Empty("log densities"))
}

/// What there is to compare at one source: three clouds `[n, dims]` of the same
/// size.
#[derive(Clone, Debug)]
pub struct SourceSamples {
    /// Draws from the true occupancy.
    pub truth: Vec<f32>,
    /// As many independent draws from it.
    pub truth_again: Vec<f32>,
    /// Draws from the model.
    pub model: Vec<f32>,
}

/// Transport distances over sources, squared units of the coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TransportScores {
    /// Between the model and the truth.
    pub emd: Estimate,
    /// Between two draws from the truth: what a perfect model would score with
    /// samples of this size.
    pub emd_floor: Estimate,
}

/// Transport distance of the model from the truth at every source, with the
/// floor that sampling sets. Estimates are over sources; sources run on rayon's
/// threads, and the result does not depend on how many there are.
///
/// # Errors
/// No sources, or one whose clouds [`squared_distance_emd`] refuses.
pub fn evaluate_occupancy(
    sources: &[SourceSamples],
    dims: usize,
    periods: &[Option<f32>],
) -> Result<TransportScores, MeasureError> {
    let compare = |(source_index, samples): (usize, &SourceSamples)| {
        let emd = |cloud| {
            squared_distance_emd(&samples.truth, cloud, dims, periods)
                .map_err(|error| MeasureError::Transport { source_index, error })
        };
        let (model, floor) = rayon::join(|| emd(&samples.model), || emd(&samples.truth_again));
        Ok((model?, floor?))
    };
    let distances: Vec<_> =
        sources.par_iter().enumerate().map(compare).collect::<Vec<Result<_, MeasureError>>>();
    // In order, so that the first bad source is named whichever failed first.
    let distances: Vec<(f64, f64)> = distances.into_iter().collect::<Result<_, _>>()?;
    let over_sources = |pick: fn(&(f64, f64)) -> f64| {
        Estimate::of(distances.iter().map(pick)).ok_or(MeasureError::Empty("sources"))
    };
    Ok(TransportScores { emd: over_sources(|d| d.0)?, emd_floor: over_sources(|d| d.1)? })
}

/// All that was measured of a predicted occupancy; what was not is absent, in
/// JSON too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct OccupancyReport {
    /// Negative log-likelihood per dimension, nats; see [`nll_per_dim`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nll_per_dim: Option<Estimate>,
    /// Transport distance to the truth; see [`evaluate_occupancy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emd: Option<Estimate>,
    /// Transport distance of the truth to itself, redrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emd_floor: Option<Estimate>,
    /// Error of the values over sources; see [`rmse_share`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_rmse_share: Option<f64>,
    /// Correlation of the values over sources; see [`pearson`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_pearson: Option<f64>,
    /// Distance of histograms over sources; see [`total_variation`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_variation: Option<Estimate>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn total_variation_is_the_mass_that_has_to_move() {
        assert_eq!(total_variation(&[1.0, 0.0], &[0.0, 1.0]), Ok(1.0));
        assert_eq!(total_variation(&[2.0, 2.0], &[0.5, 0.5]), Ok(0.0));
        let distance = total_variation(&[0.5, 0.3, 0.2], &[0.4, 0.2, 0.4]).unwrap();
        assert!((distance - 0.2).abs() < 1e-12);
        assert!(matches!(total_variation(&[1.0], &[1.0, 0.0]), Err(MeasureError::Lengths { .. })));
        assert!(matches!(total_variation(&[], &[]), Err(MeasureError::Empty(_))));
        assert_eq!(total_variation(&[1.0, -0.5], &[1.0, 1.0]), Err(MeasureError::Mass("first")));
        assert_eq!(total_variation(&[1.0], &[0.0]), Err(MeasureError::Mass("second")));
        assert!(matches!(
            total_variation(&[1.0, 1.0], &[1.0, f64::NAN]),
            Err(MeasureError::NotFinite { what: "second mass", index: 1 })
        ));
    }

    #[test]
    fn correlation_is_one_for_any_rising_line_and_the_known_value_otherwise() {
        let a = [1.0, 2.0, 3.0, 4.0];
        let line: Vec<f64> = a.iter().map(|x| 1e200 * x - 7.0).collect();
        assert!((pearson(&a, &line).unwrap() - 1.0).abs() < 1e-12);
        assert!((pearson(&a, &[4.0, 3.0, 2.0, 1.0]).unwrap() + 1.0).abs() < 1e-12);
        assert!((pearson(&a, &[1.0, 3.0, 2.0, 4.0]).unwrap() - 0.8).abs() < 1e-12);
        assert_eq!(pearson(&a, &[0.1; 4]), Err(MeasureError::Constant("second series")));
        assert!(pearson(&a, &[1.0]).is_err() && pearson(&[f64::NAN], &[1.0]).is_err());
    }

    #[test]
    fn the_error_is_a_share_of_the_range_of_the_truth() {
        let share = rmse_share(&[1.0, 11.0], &[0.0, 10.0]).unwrap();
        assert!((share - 0.1).abs() < 1e-12);
        assert_eq!(rmse_share(&[1.0, 2.0], &[3.0, 3.0]), Err(MeasureError::Constant("truth")));
        assert!(
            rmse_share(&[], &[]).is_err() && rmse_share(&[1.0, f64::NAN], &[0.0, 1.0]).is_err()
        );
    }

    #[test]
    fn likelihood_is_per_dimension_and_refuses_impossible_states() {
        let nll = nll_per_dim(&[-2.0, -4.0], 2).unwrap();
        assert_eq!((nll.mean, nll.se, nll.n), (1.5, 0.5, 2));
        assert!(nll_per_dim(&[-1.0, f64::NEG_INFINITY], 2).is_err());
        assert!(nll_per_dim(&[], 2).is_err() && nll_per_dim(&[1.0], 0).is_err());
    }

    #[test]
    fn a_perfect_model_scores_the_floor_and_a_shifted_one_its_square_above() {
        let mut rng = Rng::stream(2, "occupancy");
        let mut source = |shift: f32| SourceSamples {
            truth: rng.normals(2 * 256),
            truth_again: rng.normals(2 * 256),
            model: rng.normals(2 * 256).iter().map(|x| x + shift).collect(),
        };
        let perfect: Vec<_> = (0..12).map(|_| source(0.0)).collect();
        let shifted: Vec<_> = (0..12).map(|_| source(1.0)).collect();
        let scores = evaluate_occupancy(&perfect, 2, &[None; 2]).unwrap();
        let noise = scores.emd.se.hypot(scores.emd_floor.se);
        assert_eq!((scores.emd.n, scores.emd_floor.n), (12, 12));
        assert!(noise > 0.0 && (scores.emd.mean - scores.emd_floor.mean).abs() < 4.0 * noise);
        let off = evaluate_occupancy(&shifted, 2, &[None; 2]).unwrap();
        assert!((off.emd.mean - off.emd_floor.mean - 2.0).abs() < 0.2, "{off:?}");
    }

    #[test]
    fn the_first_source_that_cannot_be_compared_is_named() {
        let good = SourceSamples { truth: vec![0.0], truth_again: vec![1.0], model: vec![2.0] };
        let bad = SourceSamples { model: vec![f32::NAN], ..good.clone() };
        let error = evaluate_occupancy(&[good, bad.clone(), bad], 1, &[None]).unwrap_err();
        assert!(error.to_string().starts_with("source 1: "), "{error}");
        assert_eq!(evaluate_occupancy(&[], 1, &[None]), Err(MeasureError::Empty("sources")));
    }

    #[test]
    fn a_report_holds_what_was_measured_and_nothing_else() {
        let report = OccupancyReport {
            emd: Estimate::of([1.0, 3.0]),
            value_pearson: Some(0.5),
            ..OccupancyReport::default()
        };
        let json = serde_json::to_value(report).unwrap();
        let expected = serde_json::json!({
            "emd": { "mean": 2.0, "se": 1.0, "n": 2 },
            "value_pearson": 0.5,
        });
        assert_eq!(json, expected);
    }
}
