//! A value map from a gamma-model's samples (Equation 3.6) beside the exact
//! one.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use crate::env::Environment;
use crate::model::gamma::{GammaModel, Query};
use crate::plan::PlanError;
use crate::plan::occupancy::{self, MapGrid};
use crate::rng::Rng;

/// What a state pays.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueReward {
    /// The environment's own reward of being in a state.
    Environment,
    /// Numbers painted on the map's cells; the model needs no retraining.
    Painted {
        /// The cells.
        grid: MapGrid,
        /// One reward per cell.
        rewards: Arc<Vec<f32>>,
    },
}

/// Ask what every state is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueRequest {
    /// Discount.
    pub discount: f32,
    /// The policy's goal; empty where there is none.
    pub goal: Vec<f32>,
    /// Cells of the map.
    pub cells: [usize; 2],
    /// Model samples per state.
    pub samples: usize,
    /// What a state pays.
    pub reward: ValueReward,
    /// Whose values, where the model knows several policies; the first if
    /// absent.
    pub policy: Option<String>,
    /// Seed of the samples.
    pub seed: u64,
}

/// What every state is worth.
#[derive(Clone, Debug)]
pub struct ValueFrame {
    /// The request's number.
    pub id: u64,
    /// What was asked.
    pub request: Arc<ValueRequest>,
    /// The map: the first two state coordinates, all others zero.
    pub grid: MapGrid,
    /// V from the model, per cell; NaN where a state is not legal and where
    /// the work has not arrived.
    pub model: Vec<f32>,
    /// V of the very policy by policy evaluation, once it is there.
    pub evaluation: Option<Vec<f32>>,
    /// V of the best policy by value iteration, once it is there.
    pub optimal: Option<Vec<f32>>,
    /// Correlation of `model` with `evaluation`.
    pub pearson: Option<f64>,
    /// Root-mean-square error over the range of `evaluation`.
    pub rmse_share: Option<f64>,
    /// How much of the model's map is done, 0 to 1.
    pub done: f32,
    /// Time so far, milliseconds.
    pub wall_ms: f32,
}

/// Rows of the map between two pictures.
const ROWS_AT_ONCE: usize = 4;

/// Answer `request`, a few rows at a time. `publish` hears every stage;
/// `go_on` is asked in between and stops the work.
///
/// # Errors
/// A goal or discount that cannot be used, or a lost device.
pub fn answer(
    id: u64,
    request: &Arc<ValueRequest>,
    environment: &mut dyn Environment,
    model: &GammaModel,
    publish: &mut dyn FnMut(ValueFrame),
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<(), PlanError> {
    let started = Instant::now();
    if !request.goal.is_empty() {
        environment.set_goal(&request.goal)?;
    }
    let grid = MapGrid::of(&model.config.state, request.cells);
    let mut frame = ValueFrame {
        id,
        request: Arc::clone(request),
        model: vec![f32::NAN; grid.len()],
        evaluation: None,
        optimal: None,
        pearson: None,
        rmse_share: None,
        done: 0.0,
        wall_ms: 0.0,
        grid,
    };
    let mut rng = Rng::stream(request.seed, "value samples");
    let policy = model.config.policy_row(request.policy.as_deref())?;
    let workspace = environment.workspace();
    let reward = |state: &[f32]| request.reward.of(environment, state);
    let at_once = ROWS_AT_ONCE * request.cells[1].max(1);
    for start in (0..frame.grid.len()).step_by(at_once) {
        if go_on().is_break() {
            return Ok(());
        }
        let cells = start..(start + at_once).min(frame.grid.len());
        let legal: Vec<usize> =
            cells.clone().filter(|cell| workspace.is_free(frame.grid.center(*cell))).collect();
        let queries: Vec<Query> = legal
            .iter()
            .map(|cell| query(model, request, policy, frame.grid.center(*cell)))
            .collect();
        let values = occupancy::values(model, &queries, request.samples, &reward, &mut rng)?;
        for (cell, [value, _]) in legal.into_iter().zip(values) {
            frame.model[cell] = value as f32;
        }
        frame.done = cells.end as f32 / frame.grid.len() as f32;
        frame.wall_ms = started.elapsed().as_secs_f32() * 1e3;
        publish(frame.clone());
    }
    Ok(())
}

fn query(model: &GammaModel, request: &ValueRequest, policy: usize, place: [f32; 2]) -> Query {
    let mut state = vec![0.0; model.config.state.len()];
    for (value, place) in state.iter_mut().zip(place) {
        *value = place;
    }
    let (goal, discount) = (request.goal.clone(), request.discount);
    Query { state, action: None, goal, discount, policy }
}
