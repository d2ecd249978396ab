//! What `foresight bench` measures without a window.

mod transformer;

pub use transformer::transformer_rows;

use std::ops::ControlFlow;
use std::sync::Arc;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;

use super::device::median_ms;
use super::frontier;
use super::open;
use super::scene::Scene;
use super::train::TrainError;
use crate::data::{DataConfig, collect_stretches};
use crate::env::{self, EnvironmentConfig};
use crate::model::Preset;
use crate::model::gamma::{GammaModel, GammaNetwork, GammaSection, Query};
use crate::model::gamma_learner::GammaLearner;
use crate::model::learner::Learner as _;
use crate::nn::adam::ModuleAdam;
use crate::nn::init::Initializer;
use crate::nn::temporal_unet::TemporalUnetConfig;
use crate::plan::occupancy::{MapGrid, density_map};
use crate::plan::{Film, PlanRequest, Planner, Previous};
use crate::rng::Rng;

/// Resident size of this process now; `None` where the system does not tell.
pub fn memory_mib() -> Option<f64> {
    status_mib("VmRSS:")
}

/// Largest resident size of this process so far; `None` where the system does
/// not tell.
pub fn peak_memory_mib() -> Option<f64> {
    status_mib("VmHWM:")
}

fn status_mib(key: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct BenchRow {
    /// Stable key.
    pub name: &'static str,
    /// Median.
    pub median: f64,
    /// Unit of the median.
    pub unit: &'static str,
    /// Samples.
    pub n: usize,
}

/// The released network over 6 numbers, 3.68 million parameters.
fn released() -> TemporalUnetConfig {
    TemporalUnetConfig { channels: 6, width: 32, multipliers: vec![1, 4, 8], with_duration: false }
}

/// The quick preset's network, 1.0 million parameters.
fn quick() -> TemporalUnetConfig {
    TemporalUnetConfig { channels: 4, width: 32, multipliers: vec![1, 2, 4], with_duration: true }
}

fn noise(shape: [usize; 3], device: &Device) -> Tensor<3> {
    let values = Rng::stream(1, "bench").normals(shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Waits until the device has finished `tensor`; reading back is the only
/// sync point that every backend has.
fn finish<const D: usize>(tensor: Tensor<D>) {
    drop(tensor.into_data());
}

fn step_ms(
    config: &TemporalUnetConfig,
    shape: [usize; 3],
    device: &Device,
    warmup: usize,
    samples: usize,
) -> f64 {
    let device = device.clone().autodiff();
    let mut held = Some(config.init(0, &device));
    let mut optimizer = ModuleAdam::default();
    let x = noise(shape, &device);
    let target = noise(shape, &device) * 0.5;
    let (times, durations) = (vec![7.0; shape[0]], vec![120.0; shape[0]]);
    median_ms(warmup, samples, || {
        // As in a learner, nobody else holds the weights while they change.
        let Some(network) = held.take() else { return };
        let loss =
            (network.forward(x.clone(), &times, &durations) - target.clone()).square().mean();
        let grads = GradientsParams::from_grads(loss.backward(), &network);
        held = Some(optimizer.step(2e-4, network, grads));
        finish(loss);
    })
}

/// Training step of the quick network at its own batch, milliseconds.
pub fn train_step_ms(device: &Device, warmup: usize, samples: usize) -> f64 {
    step_ms(&quick(), [64, 64, 4], device, warmup, samples)
}

/// Network rows: training step and forwards at published sizes.
pub fn network_rows(device: &Device, samples: usize) -> Vec<BenchRow> {
    let row = |name, median| BenchRow { name, median, unit: "ms", n: samples };
    let network = released().init(0, device).valid();
    let host = network.on_host();
    // As plans do it: packed on the host, or on the device it is on.
    let forward = |batch: usize| {
        let x = noise([batch, 128, 6], device);
        let times = vec![7.0; batch];
        let Some(host) = &host else {
            return median_ms(2, samples, || finish(network.forward(x.clone(), &times, &[])));
        };
        let x = Rng::stream(1, "bench").normals(batch * 128 * 6);
        median_ms(2, samples, || drop(host.forward(&x, &times, &[])))
    };
    let small = TemporalUnetConfig { channels: 6, with_duration: false, ..quick() };
    vec![
        row("diffuser_train_step", step_ms(&released(), [32, 128, 6], device, 2, samples)),
        row("diffuser_train_step_small", step_ms(&small, [32, 128, 6], device, 2, samples)),
        row("diffuser_train_step_quick", train_step_ms(device, 2, samples)),
        row("diffuser_forward_b1", forward(1)),
        row("diffuser_forward_b16", forward(16)),
        row("diffuser_forward_b64", forward(64)),
    ]
}

/// Planning rows: the scene's full request, the same with the fewest steps that
/// were recorded to score as well, and the one made while dragging, each from
/// the plan before as in the window.
pub fn plan_rows(scene: &Scene, planner: &Planner, samples: usize) -> Vec<BenchRow> {
    let row = |name, median| BenchRow { name, median, unit: "ms", n: samples };
    let mut seed = 0;
    let mut full = |scene: &Scene| {
        median_ms(2, samples, || {
            seed += 1;
            // A failure shows in the plan command; here only time counts.
            let _ = plan(planner, stage_request(scene, planner, seed));
        })
    };
    let mut rows = vec![row("plan_large_full", full(scene))];
    let recorded = scene.model.weights().and_then(frontier::recorded);
    let few = recorded.and_then(|found| Some(found.points[frontier::fewest(&found.points)?]));
    if let Some(few) = few {
        let mut scene = scene.clone();
        few.apply(&mut scene, None);
        rows.push(row("plan_large_few", full(&scene)));
    }
    rows.push(row("plan_large_drag", drag_ms(scene, planner, samples)));
    rows
}

fn stage_request(scene: &Scene, planner: &Planner, seed: u64) -> PlanRequest {
    PlanRequest { seed, ..open::stage_request(scene, planner.spec()) }
}

fn plan(planner: &Planner, request: PlanRequest) -> Option<Film> {
    planner.plan(0, Arc::new(request), &mut |_| ControlFlow::Continue(())).ok()?
}

/// Median time of a request while the goal is dragged to and fro, milliseconds.
fn drag_ms(scene: &Scene, planner: &Planner, samples: usize) -> f64 {
    /// Length of a mouse move, units.
    const MOVE: f32 = 0.02;
    let mut last = plan(planner, stage_request(scene, planner, 1));
    let mut moves = 0_i32;
    median_ms(2, samples, || {
        let mut request = stage_request(scene, planner, 1);
        moves += 1;
        request.goal[1] -= MOVE * (moves % 10) as f32;
        let known = last.as_ref();
        let duration = known.and_then(|film| Some(film.plan.as_ref()?.duration_steps));
        request.near_duration = Some(duration.unwrap_or(250.0));
        request.previous = known
            .filter(|_| scene.plan.warm_steps > 0)
            .and_then(|film| Previous::of_film(film, 0.0))
            .map(Arc::new);
        last = plan(planner, request).or(last.take());
    })
}

/// Samples of the occupancy row.
const OCCUPANCY_SAMPLES: usize = 4096;
/// Cells along each side of the map at rest and of the one while dragging.
const MAP_CELLS: [usize; 2] = [96, 40];
/// Pendulum steps that the training row learns from.
const TRAINING_TRANSITIONS: usize = 20_000;

/// The quick preset over the pendulum.
fn quick_gamma() -> GammaSection {
    GammaSection {
        preset: Preset::Quick,
        policy: Some("swing-up".into()),
        policies: Vec::new(),
        weights: None,
        discount: None,
        couplings: None,
        bins: None,
        hidden: None,
        noise: None,
        objective: None,
        target_steps: None,
        batch: None,
        learning_rate: None,
    }
}

/// Gamma-model rows: samples with log-density from one state, maps of the
/// density at both resolutions of the window, and a training step on really
/// collected data.
///
/// # Errors
/// A lost device.
pub fn gamma_rows(device: &Device, samples: usize) -> Result<Vec<BenchRow>, TrainError> {
    let mut pendulum = env::make(&EnvironmentConfig {
        id: "pendulum".into(),
        maze: String::new(),
        door_width: None,
        max_steps: 200,
        reference_scores: None,
    })?;
    let config = quick_gamma().resolve(pendulum.spec())?;
    let network = GammaNetwork::init(&config, &mut Initializer::new(0, device));
    let model = GammaModel::new(config.clone(), network, device.clone());
    let query =
        Query { state: vec![3.0, 0.0], action: None, goal: Vec::new(), discount: 0.95, policy: 0 };
    let row = |name, median| BenchRow { name, median, unit: "ms", n: samples };
    let mut rng = Rng::stream(1, "bench");
    // Once outside of the clock, where a failure can be told.
    model.sample(std::slice::from_ref(&query), OCCUPANCY_SAMPLES, &mut rng)?;
    let sampling = median_ms(2, samples, || {
        drop(model.sample(std::slice::from_ref(&query), OCCUPANCY_SAMPLES, &mut rng));
    });
    let [fine, drag] = MAP_CELLS.map(|side| {
        let grid = MapGrid::of(&model.config.state, [side; 2]);
        median_ms(2, samples, || drop(density_map(&model, &query, &grid)))
    });
    let data = DataConfig { transitions: TRAINING_TRANSITIONS, seed: 0, ..DataConfig::default() };
    let policy = pendulum.policy(&config.policies[0])?;
    let mut go_on = |_| ControlFlow::Continue(());
    let stretches = collect_stretches(pendulum.as_mut(), &config.policies, &data, &mut go_on)?;
    let mut learner =
        GammaLearner::new(config, Arc::new(stretches), vec![policy], 0, device.clone())?;
    finish(learner.train_step(0.0)?);
    let training = median_ms(2, samples, || {
        if let Ok(loss) = learner.train_step(0.5) {
            finish(loss);
        }
    });
    Ok(vec![
        row("occupancy_4096", sampling),
        row("occupancy_map_fine", fine),
        row("occupancy_map_drag", drag),
        row("gamma_train_step", training),
    ])
}
