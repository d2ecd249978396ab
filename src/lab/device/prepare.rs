//! Getting a device ready for a scene before it is trusted with it: everything
//! that planning computes is computed once in every shape it has, beside the
//! CPU. A GPU compiles and times its programs meanwhile, seconds to minutes;
//! afterwards nothing waits for them, and the numbers are known to be right.

use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;

use super::ChosenDevice;
use super::self_test::{CHECKS, TOLERANCE, agrees, relative_difference};
use crate::lab::open::{self, OpenError, Opened, OpenedModel};
use crate::lab::planner_thread::panic_text;
use crate::lab::scene::Scene;
use crate::model::ModelError;
use crate::model::diffuser::Which;
use crate::model::gamma::{GammaModel, Query};
use crate::nn::layers::larger;
use crate::plan::occupancy::MapGrid;
use crate::plan::{PlanError, Planner};
use crate::rng::Rng;

/// Cells along each side of a gamma-model's maps: at rest, while dragging, and
/// beside the truth.
const MAP_CELLS: [usize; 3] = [96, 40, 128];
/// Share of samples that may differ: one at the seam of a circle lies on
/// either side of it.
const SHARE_APART: f32 = 0.02;

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is computed now.
    pub part: String,
    /// Parts that are done.
    pub done: usize,
    /// Parts in all.
    pub total: usize,
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            // How many there are is known once the scene is open.
            0 | 1 => formatter.write_str(&self.part),
            total => write!(formatter, "{}, {} of {total}", self.part, self.done + 1),
        }
    }
}

/// Why a device is not used.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The scene cannot be opened, there or anywhere.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It failed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// It computes other numbers than the CPU.
    #[error(
        "{what}: the numbers differ from the CPU's by {difference:.1e}, where {TOLERANCE:.0e} is allowed"
    )]
    Disagrees {
        /// What was compared.
        what: String,
        /// Largest difference, NaN if a number was none.
        difference: f32,
    },
    /// Its driver or burn gave up.
    #[error("its driver stopped: {0}")]
    Panicked(String),
}

impl From<ModelError> for PrepareError {
    fn from(error: ModelError) -> Self {
        Self::Plan(error.into())
    }
}

/// A part: its name, and the work, which answers how far the device is from
/// the CPU.
type Part<'a> = (String, Box<dyn Fn() -> Result<f32, PrepareError> + 'a>);

/// Prepare `device` for planning in `scene`, with `drags` for dragging in it,
/// too. `on_part` hears of every part before it is computed and may stop;
/// whether it ran to the end.
///
/// # Errors
/// A scene that cannot be opened, or a device that fails or is wrong.
pub fn prepare(
    scene: &Scene,
    folder: Option<&Path>,
    device: &ChosenDevice,
    drags: bool,
    on_part: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<bool, PrepareError> {
    // burn panics where a driver lacks a feature or loses the device.
    let run = AssertUnwindSafe(|| run(scene, folder, &device.device, drags, on_part));
    catch_unwind(run)
        .unwrap_or_else(|panic| Err(PrepareError::Panicked(panic_text(panic.as_ref()))))
}

fn run(
    scene: &Scene,
    folder: Option<&Path>,
    device: &Device,
    drags: bool,
    on_part: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<bool, PrepareError> {
    let opening = Progress { part: "weights".into(), ..Progress::default() };
    if on_part(&opening).is_break() {
        return Ok(false);
    }
    let there = open::open(scene, folder, device)?;
    let here = open::open(scene, folder, &Device::flex())?;
    let parts = match (&there.model, &here.model) {
        (OpenedModel::Diffuser(there_planner), OpenedModel::Diffuser(here)) => {
            planning(scene, &there, [there_planner, here], drags)
        }
        (OpenedModel::Gamma(there), OpenedModel::Gamma(here)) => predicting(scene, [there, here]),
        // Beam search runs on the processor; what trains is compared.
        _ => training(device),
    };
    let total = parts.len();
    for (done, (part, compute)) in parts.into_iter().enumerate() {
        if on_part(&Progress { part: part.clone(), done, total }).is_break() {
            return Ok(false);
        }
        let difference = compute()?;
        if !agrees(difference) {
            return Err(PrepareError::Disagrees { what: part, difference });
        }
    }
    Ok(true)
}

/// A Diffuser: every batch of plans, and a whole request.
fn planning<'a>(
    scene: &'a Scene,
    opened: &'a Opened,
    planners: [&'a Planner; 2],
    drags: bool,
) -> Vec<Part<'a>> {
    let mut parts: Vec<Part> = Vec::new();
    for [plans, waypoints] in planners[0].shapes(&scene.plan, drags) {
        let name = format!("{plans} plans of {waypoints} waypoints");
        parts.push((name, Box::new(move || compare_plans(planners, [plans, waypoints]))));
    }
    let request = Arc::new(open::stage_request(scene, opened.environment.spec()));
    let whole = move || {
        let film = planners[0].plan(0, Arc::clone(&request), &mut |_| ControlFlow::Continue(()))?;
        let steps = film.map(|film| film.steps).unwrap_or_default();
        let numbers = steps.iter().flat_map(|step| step.noisy.iter().chain(&*step.clean));
        // Chains far apart can both be right; only what is no number is wrong.
        Ok(numbers.fold(0.0, |worst, value| larger(worst, 0.0 * value)))
    };
    parts.push(("a whole request".into(), Box::new(whole)));
    parts
}

fn compare_plans(
    planners: [&Planner; 2],
    [plans, waypoints]: [usize; 2],
) -> Result<f32, PrepareError> {
    let diffusers = planners.map(Planner::diffuser);
    let config = &diffusers[0].config;
    let noise = Rng::stream(5, "preparation").normals(plans * waypoints * config.dims());
    let durations = vec![config.duration_range()[0]; plans];
    let t = diffusers[0].schedule.len() / 2;
    let mut worst = 0.0;
    let found = diffusers
        .map(|diffuser| diffuser.predict(Which::Teacher, &noise, waypoints, t, &durations));
    let [there, here] = found;
    worst = larger(worst, relative_difference(&here?, &there?));
    if diffusers[0].has_student() {
        let found = diffusers
            .map(|diffuser| diffuser.predict(Which::Student, &noise, waypoints, t, &durations));
        let [there, here] = found;
        worst = larger(worst, relative_difference(&here?, &there?));
    }
    if let [Some(there), Some(here)] = diffusers.map(|diffuser| diffuser.guide()) {
        let slopes = [here, there].map(|guide| guide.gradient(&noise, waypoints, t));
        let returns = [here, there].map(|guide| guide.returns(&noise, waypoints, t));
        for [here, there] in [slopes, returns] {
            worst = larger(worst, relative_difference(&here?, &there?));
        }
    }
    Ok(worst)
}

/// A gamma-model: maps of the density, and samples.
fn predicting<'a>(scene: &'a Scene, models: [&'a GammaModel; 2]) -> Vec<Part<'a>> {
    let config = &models[0].config;
    let middle = |dim: usize| config.state.get(dim).map_or(0.0, |d| (d.low + d.high) / 2.0);
    let query = Query {
        state: (0..config.state.len()).map(middle).collect(),
        action: (!config.masks_action).then(|| vec![0.0; config.action_dim]),
        goal: config.goal_dims.iter().map(|dim| middle(*dim)).collect(),
        discount: scene.occupancy.discount.clamp(config.discount[0], config.discount[1]),
        policy: 0,
    };
    let mut parts: Vec<Part> = Vec::new();
    if models[0].has_density() {
        for side in MAP_CELLS {
            let query = query.clone();
            let name = format!("densities of {side} by {side} cells");
            let compare = move || {
                let points = MapGrid::of(&models[0].config.state, [side; 2]).centers();
                let found = models.map(|model| model.log_density(&query, &points, 2));
                let [there, here] = found;
                Ok(relative_difference(&here?, &there?))
            };
            parts.push((name, Box::new(compare)));
        }
    }
    // A single draw, what a map is sampled with, and the most that goes
    // through the network at once.
    for n in [1, scene.occupancy.samples, 1 << 14] {
        let query = query.clone();
        let compare = move || {
            let queries = std::slice::from_ref(&query);
            let draw = |model: &GammaModel| model.draw(queries, n, &mut Rng::stream(5, "draws"));
            let [there, here] = models.map(draw);
            Ok(share_apart(&here?.states, &there?.states))
        };
        parts.push((format!("{n} draws"), Box::new(compare)));
    }
    parts
}

/// 0 if all but a few of the numbers agree, else the largest difference.
fn share_apart(here: &[f32], there: &[f32]) -> f32 {
    let all = relative_difference(here, there);
    if !all.is_finite() {
        return all;
    }
    let apart = here.iter().zip(there).filter(|(a, b)| !agrees((*a - *b).abs() / a.abs().max(1.0)));
    if apart.count() as f32 <= SHARE_APART * here.len() as f32 { 0.0 } else { all }
}

/// What training computes, where planning does not use the device.
fn training(device: &Device) -> Vec<Part<'_>> {
    let of_training = CHECKS.iter().filter(|check| check.trains_tokens);
    let part = |check: &'static super::self_test::Check| -> Part<'_> {
        (check.name.to_owned(), Box::new(move || Ok(check.difference(device))))
    };
    of_training.map(part).collect()
}

#[cfg(test)]
mod tests;
