//! How errors compound in long predictions: Figure 4.3 of Janner's thesis
//! (Janner et al. 2021, Section 4.1, Appendix B.2).
//!
//! An [`Episode`] is what really happens under a policy of the data. A
//! [`Dreamer`] is given its first state and its actions, and predicts the
//! states for a hundred transitions without looking back: open loop. The thesis
//! lets the sequence model predict the actions as well and asks for the states
//! that a policy visits from one start; with given actions the truth is one
//! path, so that a distance to it means something too.
//!
//! - Distance: root mean square over the coordinates the model sees, in
//!   standard deviations of the data, between the true state and the dreamer's
//!   point prediction: the likeliest token every time, or the mean of an
//!   ensemble's members. Two unrelated states are about 1.4 apart.
//! - Log-likelihood: `ln p(s_h | s_0, a_0 .. a_{h-1})` of the true state, in
//!   nats and the units of the observation. The marginal over what was dreamt
//!   before is the mean over sampled dreams of the density of the true state as
//!   their next one. (Counting samples per bin, as 1000 samples allow, has the
//!   same mean and far more noise.) A bin is a uniform density over its range,
//!   and beyond the outermost bins there is no density at all: such states are
//!   left out, which n shows. Given that the sequence goes on, the stop token
//!   has no probability.
//! - The discrete oracle knows the bin and nothing more: `sum_i ln(V / (r_i -
//!   l_i))` for uniform bins, in general minus the ln of the true bins' widths.
//!   Its distance is that of the bins' centers.
//! - Spread: root mean square distance of sampled dreams to their mean.
//!
//! A state that an environment shows redundantly, as the cosine and sine of an
//! angle, is compared as the nearest state there is: every dreamer's prediction
//! is put back onto the circle by [`Manifold`] first.

mod episode;
mod particles;
mod tokens;

pub use episode::{Episode, EpisodeRecipe, Manifold};
pub use particles::EnsembleDreamer;
pub use tokens::{TokenDream, TokenDreamer, TokenEpisode, dream_tokens};

use serde::Serialize;

use super::statistics::{Estimate, quantile};
use crate::data::Discretizer;
use crate::model::ensemble::Standard;

/// How to dream.
#[derive(Clone, Debug, PartialEq)]
pub struct DreamSettings {
    /// Sampled dreams, beside the point prediction.
    pub samples: usize,
    /// Seed of the samples.
    pub seed: u64,
}

/// What was dreamt of an episode of H transitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dream {
    /// Point predictions, `[H + 1, N]`; the first is the given state.
    pub point: Vec<Vec<f32>>,
    /// Sampled dreams, `[samples, H + 1, N]`.
    pub samples: Vec<Vec<Vec<f32>>>,
    /// ln of the density of the true states 1 to H. Empty without samples.
    pub log_density: Vec<f64>,
}

/// Something that predicts states from a first one and actions.
pub trait Dreamer {
    /// Dream of `episode`; `go_on` is asked before every transition, and `None`
    /// is the answer once it says no.
    fn dream(
        &mut self,
        episode: &Episode,
        settings: &DreamSettings,
        manifold: &mut Manifold,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Option<Dream>;
}

/// Measures of many episodes, one entry per horizon from 1 transition on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Curve {
    /// Distance to the truth, in standard deviations of the data.
    pub distance: Vec<Estimate>,
    /// Its median over episodes.
    pub median_distance: Vec<f64>,
    /// ln p of the true state, in nats; absent where no state has a density.
    pub log_likelihood: Vec<Option<Estimate>>,
    /// Its median over episodes.
    pub median_log_likelihood: Vec<Option<f64>>,
    /// Distance of sampled dreams to their mean; absent without samples.
    pub spread: Vec<Option<Estimate>>,
}

/// Gathers the measures of one dreamer.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Per horizon, one number per episode.
    distances: Vec<Vec<f64>>,
    densities: Vec<Vec<f64>>,
    spreads: Vec<Vec<f64>>,
}

fn push(rows: &mut Vec<Vec<f64>>, values: impl IntoIterator<Item = f64>) {
    for (index, value) in values.into_iter().enumerate() {
        if rows.len() <= index {
            rows.push(Vec::new());
        }
        rows[index].push(value);
    }
}

impl Tally {
    /// Add a dream of `episode`.
    pub fn add(&mut self, episode: &Episode, dream: &Dream, standard: &Standard) {
        let pairs = episode.seen.iter().zip(&dream.point).skip(1);
        push(&mut self.distances, pairs.map(|(truth, point)| standard.distance(truth, point)));
        push(&mut self.densities, dream.log_density.iter().copied());
        if !dream.samples.is_empty() {
            let horizons = 1..dream.point.len();
            push(&mut self.spreads, horizons.map(|h| spread(&dream.samples, h, standard)));
        }
    }

    /// Add the discrete oracle: the best there is with these bins.
    pub fn add_oracle(&mut self, episode: &Episode, bins: &Discretizer, standard: &Standard) {
        let truths = || episode.seen.iter().skip(1);
        push(
            &mut self.distances,
            truths().map(|truth| {
                let known = truth.iter().enumerate();
                let centers = known.map(|(dim, value)| bins.center(dim, bins.encode(dim, *value)));
                standard.distance(truth, &centers.collect::<Vec<_>>())
            }),
        );
        push(&mut self.densities, truths().map(|truth| bin_density(bins, truth)));
    }

    /// Episodes so far.
    pub fn episodes(&self) -> usize {
        self.distances.first().map_or(0, Vec::len)
    }

    /// Means with standard errors, and medians.
    pub fn curve(&self) -> Curve {
        let finite = |row: &Vec<f64>| -> Vec<f64> {
            row.iter().copied().filter(|value| value.is_finite()).collect()
        };
        let densities: Vec<Vec<f64>> = self.densities.iter().map(finite).collect();
        let n = self.distances.len();
        Curve {
            distance: self.distances.iter().filter_map(|row| Estimate::of(row.clone())).collect(),
            median_distance: self.distances.iter().filter_map(|row| quantile(row, 0.5)).collect(),
            log_likelihood: densities.iter().map(|row| Estimate::of(row.clone())).collect(),
            median_log_likelihood: densities.iter().map(|row| quantile(row, 0.5)).collect(),
            spread: (0..n).map(|h| Estimate::of(self.spreads.get(h)?.clone())).collect(),
        }
    }
}

/// ln of the density of knowing the bins of `truth`; minus infinity beyond the
/// outermost ones.
pub(super) fn bin_density(bins: &Discretizer, truth: &[f32]) -> f64 {
    let inside = |(dim, value): (usize, &f32)| {
        let edges = &bins.edges[dim];
        edges[0] <= *value && *value <= edges[edges.len() - 1]
    };
    match truth.iter().enumerate().all(inside) {
        true => truth.iter().enumerate().map(|(dim, value)| bins.oracle(dim, *value)).sum(),
        false => f64::NEG_INFINITY,
    }
}

/// ln of the mean of exponentials.
fn log_mean_exp(values: &[f64]) -> f64 {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !top.is_finite() {
        return top;
    }
    let sum: f64 = values.iter().map(|value| (value - top).exp()).sum();
    top + (sum / values.len() as f64).ln()
}

/// Root mean square distance of the samples at `h` to their mean.
fn spread(samples: &[Vec<Vec<f32>>], h: usize, standard: &Standard) -> f64 {
    let states: Vec<&[f32]> =
        samples.iter().filter_map(|path| path.get(h)).map(Vec::as_slice).collect();
    let n = states.len().max(1) as f32;
    let mut mean = vec![0.0; standard.deviation.len()];
    for state in &states {
        mean.iter_mut().zip(*state).for_each(|(sum, value)| *sum += value / n);
    }
    let squares = states.iter().map(|state| standard.distance(state, &mean).powi(2));
    (squares.sum::<f64>() / f64::from(n)).sqrt()
}

#[cfg(test)]
mod tests;
