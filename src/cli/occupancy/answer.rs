//! The samples behind a map, and what they say of every coordinate.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;

use crate::env::{Environment, EnvironmentConfig, StateDimension};
use crate::lab::occupancy::{self, OccupancyFrame, OccupancyRequest};
use crate::lab::twin;
use crate::model::gamma::GammaModel;
use crate::plan::horizon::Reweighting;
use crate::plan::occupancy as chained;
use crate::rng::Rng;

/// Points along each side of a map at which densities are looked at, at least:
/// nearer to each other than any occupancy of the quick preset is narrow.
const POINTS: usize = 256;

/// A map and the samples behind it.
pub(super) struct Answer {
    /// The map; densities are means over the cells.
    pub frame: OccupancyFrame,
    /// Whose future: a row of the model's policies.
    pub policy: usize,
    /// `[model steps, samples, state]`.
    pub states: Vec<f32>,
    /// ln of every sample's density under its model step; empty for a GAN.
    pub log_density: Vec<f32>,
    /// Mean and standard deviation of every coordinate.
    pub moments: Vec<[f64; 2]>,
}

impl Answer {
    pub(super) fn new(
        request: OccupancyRequest,
        environment: &mut dyn Environment,
        model: &GammaModel,
        with_truth: Option<&EnvironmentConfig>,
    ) -> anyhow::Result<Self> {
        let request = Arc::new(request);
        let query = occupancy::query(&request, model)?;
        let mut frame = match with_truth.is_some() {
            true => compared(&request, environment, model)?,
            false => {
                let started = Instant::now();
                let mut frame = occupancy::predict(1, &request, model)?;
                frame.wall_ms = started.elapsed().as_secs_f32() * 1e3;
                frame.value = occupancy::source_value(&request, environment, model)?;
                frame
            }
        };
        if request.settings.steps <= 1 && model.has_density() {
            frame.model = chained::mean_density_map(model, &query, &frame.grid, POINTS)?;
        }
        let compare = |truth: &Vec<f32>| {
            frame.grid.total_variation(&frame.model, truth, occupancy::COMPARED_CELLS)
        };
        frame.total_variation = frame.truth.as_ref().map(compare);
        if let Some(config) = with_truth {
            let name = model.config.policies.get(query.policy).map_or("", String::as_str);
            twin::add_exact(&mut frame, environment, config, name)?;
        }
        let [states, log_density] = draw(&request, model)?;
        let moments = moments(&model.config.state, &states, &frame.chain_weights);
        Ok(Self { frame, policy: query.policy, states, log_density, moments })
    }

    /// Number of samples, of all model steps together.
    pub(super) fn n(&self) -> usize {
        self.states.len() / self.frame.request.state.len().max(1)
    }
}

/// The model's map beside real rollouts.
fn compared(
    request: &Arc<OccupancyRequest>,
    environment: &mut dyn Environment,
    model: &GammaModel,
) -> anyhow::Result<OccupancyFrame> {
    let mut last = None;
    let mut publish = |frame| last = Some(frame);
    let mut go_on = || ControlFlow::Continue(());
    occupancy::answer(1, request, environment, model, &mut publish, &mut go_on)?;
    last.context("the model gave no answer")
}

/// The samples of the map once more, now with every coordinate and their
/// log-densities: the same stream makes the same draws.
fn draw(request: &OccupancyRequest, model: &GammaModel) -> anyhow::Result<[Vec<f32>; 2]> {
    let (settings, query) = (&request.settings, occupancy::query(request, model)?);
    let mut rng = Rng::stream(request.seed, "occupancy samples");
    if settings.steps <= 1 {
        let samples = model.sample(&[query], settings.samples, &mut rng)?;
        return Ok([samples.states, samples.log_density]);
    }
    let (gamma, long) = (f64::from(settings.discount), f64::from(settings.long_discount));
    let reweighting = Reweighting::new(gamma, long, settings.steps)?;
    let chain = chained::chain(model, &query, &reweighting, settings.samples, &mut rng)?;
    let mut drawn = [Vec::new(), Vec::new()];
    for samples in &chain.steps {
        drawn[0].extend_from_slice(&samples.states);
        drawn[1].extend_from_slice(&samples.log_density);
    }
    Ok(drawn)
}

/// Mean and standard deviation of every coordinate of `[steps, samples,
/// state]`, every step with its weight.
fn moments(dimensions: &[StateDimension], states: &[f32], weights: &[f64]) -> Vec<[f64; 2]> {
    let dims = dimensions.len().max(1);
    let each = (states.len() / dims / weights.len().max(1)).max(1);
    let coordinate = |axis: usize| {
        let values = states.iter().skip(axis).step_by(dims).map(|value| f64::from(*value));
        let shares =
            weights.iter().flat_map(|weight| std::iter::repeat_n(weight / each as f64, each));
        values.zip(shares)
    };
    let one = |(axis, dimension): (usize, &StateDimension)| match dimension.periodic {
        true => circular(dimension, coordinate(axis)),
        false => {
            let mean: f64 = coordinate(axis).map(|(value, share)| value * share).sum();
            let spread: f64 =
                coordinate(axis).map(|(value, share)| share * (value - mean).powi(2)).sum();
            [mean, spread.sqrt()]
        }
    };
    dimensions.iter().enumerate().map(one).collect()
}

/// The direction of the mean vector, and the standard deviation of the wrapped
/// normal with a mean vector as long (Mardia and Jupp 2000, Section 2.3).
fn circular(dimension: &StateDimension, weighted: impl Iterator<Item = (f64, f64)>) -> [f64; 2] {
    let (low, high) = (f64::from(dimension.low), f64::from(dimension.high));
    let radius = (high - low) / std::f64::consts::TAU;
    let middle = f64::midpoint(low, high);
    let (mut x, mut y) = (0.0, 0.0);
    for (value, share) in weighted {
        let (sine, cosine) = ((value - middle) / radius).sin_cos();
        (x, y) = (x + share * cosine, y + share * sine);
    }
    let length = x.hypot(y).clamp(f64::MIN_POSITIVE, 1.0);
    [middle + radius * y.atan2(x), radius * (-2.0 * length.ln()).max(0.0).sqrt()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dimension(periodic: bool) -> StateDimension {
        let pi = std::f32::consts::PI;
        let (name, unit) = ("q".into(), "rad".into());
        StateDimension { name, unit, low: -pi, high: pi, periodic, rate_of: None }
    }

    #[test]
    fn a_step_counts_by_its_weight() {
        // Two steps of two samples: 0 and 2, then 10 and 10.
        let states = [0.0, 2.0, 10.0, 10.0];
        let [mean, std] = moments(&[dimension(false)], &states, &[0.75, 0.25])[0];
        assert!((mean - 3.25).abs() < 1e-12);
        let variance = 0.375 * (3.25_f64.powi(2) + 1.25_f64.powi(2)) + 0.25 * 6.75_f64.powi(2);
        assert!((std - variance.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn angles_on_both_sides_of_the_seam_average_on_the_seam() {
        let near = 3.0_f32;
        let found = moments(&[dimension(true)], &[near, -near], &[1.0])[0];
        assert!((found[0].abs() - std::f64::consts::PI).abs() < 1e-6, "{found:?}");
        // Mean vector of length cos(pi - 3), up to the rounding of pi in the range.
        let length = (std::f64::consts::PI - f64::from(near)).cos();
        assert!((found[1] - (-2.0 * length.ln()).sqrt()).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn coordinates_do_not_mix() {
        let found = moments(&[dimension(false), dimension(false)], &[1.0, 5.0, 3.0, 9.0], &[1.0]);
        assert_eq!(found, [[2.0, 1.0], [7.0, 2.0]]);
    }
}
