//! Questions to a gamma-model scene and their answers: an occupancy beside the
//! truth, and a value map beside policy evaluation.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::scene::OccupancySettings;
use crate::env::{Environment, MarkovPolicy};
use crate::model::gamma::{GammaModel, Query};
use crate::plan::PlanError;
use crate::plan::horizon::Reweighting;
use crate::plan::occupancy::{self, MapGrid};
use crate::rng::Rng;

/// Real rollouts that make the truth.
const ROLLOUTS: usize = 256;
/// Steps between two looks at whether the request is superseded.
const LOOK_EVERY: usize = 16;
/// Chains of a value estimate, and samples for each one's tail.
const TAILS: usize = 256;
const TAIL_SAMPLES: usize = 64;
/// Cells along each side over which model and rollouts are compared: in finer
/// ones the scatter of the rollouts would count as the model's error.
pub const COMPARED_CELLS: usize = 24;
/// Points along each side at which the density is looked at beside the truth.
const POINTS: usize = 192;
/// A rollout ends where the discounted remainder is below this.
const REMAINDER: f64 = 2e-3;

/// Ask where the policy will be.
#[derive(Clone, Debug, PartialEq)]
pub struct OccupancyRequest {
    /// Source state, one number per state coordinate.
    pub state: Vec<f32>,
    /// The policy's goal; empty where there is none.
    pub goal: Vec<f32>,
    /// First action; the policy's own if absent.
    pub action: Option<Vec<f32>>,
    /// Discount, chain, samples.
    pub settings: OccupancySettings,
    /// Cells of the map.
    pub cells: [usize; 2],
    /// Seed of samples and rollouts.
    pub seed: u64,
    /// Made while the mouse moves: the model alone, no truth.
    pub is_drag: bool,
}

/// Where the model says the policy will be, and where it really is.
#[derive(Clone, Debug)]
pub struct OccupancyFrame {
    /// The request's number.
    pub id: u64,
    /// What was asked.
    pub request: Arc<OccupancyRequest>,
    /// The map: the first two state coordinates.
    pub grid: MapGrid,
    /// The model's density per unit of area, per cell.
    pub model: Vec<f32>,
    /// The model's samples, `[samples, 2]`; empty while dragging.
    pub model_samples: Vec<f32>,
    /// The truth's density from real rollouts; absent while dragging and until
    /// it is there.
    pub truth: Option<Vec<f32>>,
    /// States of the real rollouts, drawn by their weight, `[samples, 2]`.
    pub truth_samples: Vec<f32>,
    /// How many rollouts made the truth.
    pub rollouts: usize,
    /// Half the absolute difference of the two masses, over coarse cells.
    pub total_variation: Option<f32>,
    /// The exact occupancy's density from the tabular twin, where there is one
    /// and once it is there.
    pub exact: Option<Vec<f32>>,
    /// Total variation of the model to `exact`.
    pub exact_total_variation: Option<f32>,
    /// Weight of every model step in the mixture.
    pub chain_weights: Vec<f64>,
    /// V of the source state at the whole answer's discount, for the
    /// environment's reward: Equation 3.6 from one model step, the gamma-MVE
    /// estimate (Theorem 2) from a chain; absent while dragging, and where the
    /// tail's discount is beyond what the weights were trained for.
    pub value: Option<f64>,
    /// Time of the model's part, milliseconds.
    pub wall_ms: f32,
}

impl OccupancyFrame {
    /// The exact density if it is there, else that of the rollouts.
    pub fn best_truth(&self) -> Option<&Vec<f32>> {
        self.exact.as_ref().or(self.truth.as_ref())
    }

    /// What [`OccupancyFrame::best_truth`] is.
    pub fn truth_name(&self) -> String {
        match self.exact {
            Some(_) => "exact successor representation".into(),
            None => format!("{} real rollouts", self.rollouts),
        }
    }
}

/// Answer `request`: first the model alone, then with the truth. `publish`
/// hears both; `go_on` is asked in between and stops the work.
///
/// # Errors
/// A state, goal, action or discount that cannot be used, or a lost device.
pub fn answer(
    id: u64,
    request: &Arc<OccupancyRequest>,
    environment: &mut dyn Environment,
    model: &GammaModel,
    publish: &mut dyn FnMut(OccupancyFrame),
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<(), PlanError> {
    let started = Instant::now();
    // A source that cannot be is refused before anything is shown of it.
    if !request.goal.is_empty() {
        environment.set_goal(&request.goal)?;
    }
    environment.set_state(&request.state)?;
    let mut frame = predict(id, request, model)?;
    frame.wall_ms = started.elapsed().as_secs_f32() * 1e3;
    publish(frame.clone());
    if request.is_drag || go_on().is_break() {
        return Ok(());
    }
    frame.value = source_value(request, environment, model)?;
    let asked = query(request, model)?;
    let policy = environment.policy(&model.config.policies[asked.policy])?;
    let Some((truth, samples)) =
        real_rollouts(request, environment, policy.as_ref(), &frame.grid, go_on)?
    else {
        return Ok(());
    };
    if request.settings.steps <= 1 && model.has_density() {
        frame.model = occupancy::mean_density_map(model, &asked, &frame.grid, POINTS)?;
    }
    frame.total_variation = Some(frame.grid.total_variation(&frame.model, &truth, COMPARED_CELLS));
    frame.truth = Some(truth);
    frame.truth_samples = samples;
    frame.rollouts = ROLLOUTS;
    publish(frame);
    Ok(())
}

/// What the model is asked for a request.
///
/// # Errors
/// A policy the model does not predict.
pub fn query(request: &OccupancyRequest, model: &GammaModel) -> Result<Query, PlanError> {
    Ok(Query {
        state: request.state.clone(),
        action: request.action.clone(),
        goal: request.goal.clone(),
        discount: request.settings.discount,
        policy: model.config.policy_row(request.settings.policy.as_deref())?,
    })
}

/// The model's part: the density in the middle of every cell.
///
/// # Errors
/// As for [`answer`].
pub fn predict(
    id: u64,
    request: &Arc<OccupancyRequest>,
    model: &GammaModel,
) -> Result<OccupancyFrame, PlanError> {
    let settings = &request.settings;
    let query = query(request, model)?;
    let grid = MapGrid::of(&model.config.state, request.cells);
    let mut rng = Rng::stream(request.seed, "occupancy samples");
    let n = settings.samples;
    let dims = model.config.state.len();
    let mut frame = OccupancyFrame {
        id,
        request: Arc::clone(request),
        model: Vec::new(),
        model_samples: Vec::new(),
        truth: None,
        truth_samples: Vec::new(),
        rollouts: 0,
        total_variation: None,
        exact: None,
        exact_total_variation: None,
        chain_weights: vec![1.0],
        value: None,
        wall_ms: 0.0,
        grid,
    };
    if settings.steps <= 1 {
        if model.has_density() {
            frame.model = occupancy::density_map(model, &query, &frame.grid)?;
        }
        if !request.is_drag || !model.has_density() {
            let states = model.sample(&[query], n, &mut rng)?.states;
            // A GAN has only its samples to show.
            if !model.has_density() {
                frame.model = frame.grid.density(&states, dims, None);
            }
            frame.model_samples = leading(&states, dims);
        }
        return Ok(frame);
    }
    let (gamma, long) = (f64::from(settings.discount), f64::from(settings.long_discount));
    let reweighting = Reweighting::new(gamma, long.max(gamma), settings.steps)
        .map_err(|error| PlanError::Request(error.to_string()))?;
    let n = if request.is_drag { n.min(512) } else { n };
    let chain = occupancy::chain(model, &query, &reweighting, n, &mut rng)?;
    let (states, weights) = chain.mixture();
    frame.model = frame.grid.density(&states, dims, Some(&weights));
    frame.model_samples = leading(&states, dims);
    frame.chain_weights = chain.weights;
    Ok(frame)
}

/// See [`OccupancyFrame::value`].
///
/// # Errors
/// As for [`answer`].
pub fn source_value(
    request: &OccupancyRequest,
    environment: &dyn Environment,
    model: &GammaModel,
) -> Result<Option<f64>, PlanError> {
    let settings = &request.settings;
    let query = query(request, model)?;
    let reward = |state: &[f32]| environment.state_reward(state);
    let mut rng = Rng::stream(request.seed, "value of the source");
    if settings.steps <= 1 {
        let found = occupancy::values(model, &[query], settings.samples, &reward, &mut rng)?;
        return Ok(found.first().map(|[value, _]| *value));
    }
    let long = settings.long_discount.max(settings.discount);
    if long > model.config.discount[1] {
        return Ok(None);
    }
    let reweighting =
        Reweighting::new(f64::from(settings.discount), f64::from(long), settings.steps)
            .map_err(|error| PlanError::Request(error.to_string()))?;
    let chain = occupancy::chain(model, &query, &reweighting, TAILS, &mut rng)?;
    // The tail's value comes from the same model, asked at the long discount.
    let dims = chain.dims.max(1);
    let ends = chain.steps.last().map(|samples| samples.states.as_slice()).unwrap_or_default();
    let ends: Vec<Query> = ends
        .chunks_exact(dims)
        .map(|state| Query {
            state: state.to_vec(),
            action: None,
            goal: request.goal.clone(),
            discount: long,
            policy: query.policy,
        })
        .collect();
    let tails = occupancy::values(model, &ends, TAIL_SAMPLES, &reward, &mut rng)?;
    let tail = tails.iter().map(|[value, _]| value).sum::<f64>() / tails.len().max(1) as f64;
    occupancy::gamma_mve(&chain, &reweighting, &reward, &|_| tail).map(Some)
}

/// The first two of every `dims` numbers.
fn leading(states: &[f32], dims: usize) -> Vec<f32> {
    states.chunks_exact(dims).flat_map(|state| state.iter().take(2).copied()).collect()
}

/// A density per cell, and states drawn from it, `[samples, 2]`.
type Map = (Vec<f32>, Vec<f32>);

/// Follow the real policy and weigh every state by (1 - g) g^(t-1). `None` if
/// stopped.
fn real_rollouts(
    request: &OccupancyRequest,
    environment: &mut dyn Environment,
    policy: &dyn MarkovPolicy,
    grid: &MapGrid,
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Option<Map>, PlanError> {
    let settings = &request.settings;
    let gamma = f64::from(settings.total_discount());
    let length = if gamma > 0.0 { (REMAINDER.ln() / gamma.ln()).ceil() as usize } else { 1 };
    let mut rng = Rng::stream(request.seed, "occupancy rollouts");
    let (mut states, mut weights) = (Vec::new(), Vec::new());
    let (mut samples, keep) = (Vec::new(), settings.samples as f64 / ROLLOUTS as f64);
    if !request.goal.is_empty() {
        environment.set_goal(&request.goal)?;
    }
    for rollout in 0..ROLLOUTS {
        if rollout.is_multiple_of(LOOK_EVERY) && go_on().is_break() {
            return Ok(None);
        }
        environment.set_state(&request.state)?;
        let mut action = request.action.clone();
        let mut weight = 1.0 - gamma;
        for _ in 0..length.max(1) {
            let drawn = policy.act(&environment.state(), &request.goal, &mut rng);
            environment.step(&action.take().unwrap_or(drawn));
            let state = environment.state();
            let place = [state.first().copied(), state.get(1).copied()].map(|x| x.unwrap_or(0.0));
            states.extend_from_slice(&place);
            weights.push(weight / ROLLOUTS as f64);
            if rng.uniform(0.0, 1.0) < weight * keep {
                samples.extend_from_slice(&place);
            }
            weight *= gamma;
        }
    }
    Ok(Some((grid.density(&states, 2, Some(&weights)), samples)))
}
