//! Between state space and what a gamma-model's network sees: flow
//! coordinates, draws of the base, and conditions.

use super::gamma::{GammaConfig, Query, topology};
use crate::env::StateDimension;
use crate::nn::fused::spline::Topology;
use crate::nn::spline_flow::LINE_BOUND;
use crate::rng::Rng;

/// ln of the flow's volume per unit of the state space.
pub fn log_scale(state: &[StateDimension]) -> f32 {
    state.iter().map(|dimension| scale(dimension).ln()).sum()
}

/// Flow units per unit of a coordinate: its range fills the circle, or the
/// middle half of the spline's interval.
pub fn scale(dimension: &StateDimension) -> f32 {
    let half = (dimension.high - dimension.low) / 2.0;
    match topology(dimension) {
        Topology::Circle => std::f32::consts::PI / half,
        Topology::Line => LINE_BOUND / 2.0 / half,
    }
}

/// The middle of a coordinate's range.
pub fn middle(dimension: &StateDimension) -> f32 {
    f32::midpoint(dimension.low, dimension.high)
}

/// Points of state space in the flow's coordinates, angles wrapped.
pub fn to_flow(state: &[StateDimension], points: &[f32]) -> Vec<f32> {
    let map = |(x, dimension): (&f32, &StateDimension)| {
        let x = (x - middle(dimension)) * scale(dimension);
        match topology(dimension) {
            Topology::Line => x,
            Topology::Circle => wrap_angle(x),
        }
    };
    points.iter().zip(state.iter().cycle()).map(map).collect()
}

/// An angle in `[-pi, pi)`.
pub fn wrap_angle(x: f32) -> f32 {
    use std::f32::consts::{PI, TAU};
    let wrapped = (x + PI).rem_euclid(TAU) - PI;
    if wrapped >= PI { -PI } else { wrapped }
}

/// Draws of the base density, `[rows, coordinates]`. On lines it ends where the
/// splines do: beyond, they are the identity, and the 9e-5 of the mass out
/// there would land far from every state.
pub fn base_draws(config: &GammaConfig, rows: usize, rng: &mut Rng) -> Vec<f32> {
    let tail = 1.0 / (1.0 + f64::from(LINE_BOUND).exp());
    let mut base = Vec::with_capacity(rows * config.state.len());
    for _ in 0..rows {
        for dimension in &config.state {
            base.push(match topology(dimension) {
                Topology::Circle => rng.uniform(-std::f64::consts::PI, std::f64::consts::PI) as f32,
                Topology::Line => {
                    let u = rng.uniform(tail, 1.0 - tail);
                    (u / (1.0 - u)).ln() as f32
                }
            });
        }
    }
    base
}

/// State, goal, action, whether the action is known, discount, policy.
pub fn push_condition(config: &GammaConfig, query: &Query, condition: &mut Vec<f32>) {
    for (value, dimension) in query.state.iter().zip(&config.state) {
        push_features(config, dimension, *value, condition);
    }
    for (value, dim) in query.goal.iter().zip(&config.goal_dims) {
        push_features(config, &config.state[*dim], *value, condition);
    }
    match &query.action {
        Some(action) => condition.extend_from_slice(action),
        None => condition.extend(std::iter::repeat_n(0.0, config.action_dim)),
    }
    if config.masks_action {
        condition.push(if query.action.is_some() { 1.0 } else { 0.0 });
    }
    if config.takes_discount() {
        // Linear in the logarithm of the horizon 1 / (1 - g), and in g.
        let horizon = |discount: f32| -(-discount).ln_1p();
        condition.push(2.0 * horizon(query.discount) / horizon(config.discount[1]) - 1.0);
        condition.push(query.discount);
    }
    let flags = 0..config.n_policy_flags();
    condition.extend(flags.map(|row| if row == query.policy { 1.0 } else { 0.0 }));
}

fn push_features(
    config: &GammaConfig,
    dimension: &StateDimension,
    value: f32,
    features: &mut Vec<f32>,
) {
    let half = (dimension.high - dimension.low) / 2.0;
    let x = (value - middle(dimension)) / half;
    let harmonics = match topology(dimension) {
        Topology::Line => {
            features.push(x);
            config.harmonics
        }
        Topology::Circle => config.harmonics.max(1),
    };
    for k in 1..=harmonics {
        let phase = std::f32::consts::PI * k as f32 * x;
        features.push(phase.cos());
        features.push(phase.sin());
    }
}
