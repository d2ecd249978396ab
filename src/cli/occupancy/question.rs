//! From arguments to a request that the model can answer.

use anyhow::{Context, bail, ensure};

use super::Occupancy;
use crate::env::{Environment, EnvironmentSpec};
use crate::lab::Scene;
use crate::lab::occupancy::OccupancyRequest;
use crate::model::gamma::{GammaModel, Query};
use crate::plan::horizon::steps_for_mass;

/// Most cells along a coordinate.
const MAX_CELLS: usize = 1024;
/// Most samples of all model steps together, which bounds the memory.
const MAX_SAMPLES: usize = 10_000_000;
/// Share of the mixture that a suggested number of steps holds.
const MASS: f64 = 0.95;

impl Occupancy {
    /// Put the arguments into the scene.
    pub(super) fn adjust(&self, scene: &mut Scene) -> anyhow::Result<()> {
        let asked = &mut scene.occupancy;
        asked.discount = self.gamma.unwrap_or(asked.discount);
        asked.steps = self.steps.unwrap_or(asked.steps);
        asked.long_discount = self.long_gamma.unwrap_or(asked.long_discount);
        asked.samples = self.samples.unwrap_or(asked.samples);
        asked.policy = self.policy.clone().or_else(|| asked.policy.take());
        scene.stage.seed = self.seed.unwrap_or(scene.stage.seed);
        scene.check()?;
        let (asked, cells) = (&scene.occupancy, self.cells);
        ensure!((2..=MAX_CELLS).contains(&cells), "--cells {cells}; use 2 to {MAX_CELLS}");
        let (gamma, long) = (asked.discount, asked.long_discount);
        let reaches = |steps| format!("{steps} hold {:.0} % of it", 100.0 * MASS);
        let enough = steps_for_mass(f64::from(gamma), f64::from(long), MASS).map(reaches);
        if asked.steps == 1 {
            let hint = enough.unwrap_or_else(|error| error.to_string());
            ensure!(
                self.long_gamma.is_none(),
                "--long-gamma {long} needs chained model steps; add --steps: {hint}"
            );
            return Ok(());
        }
        ensure!(
            long >= gamma,
            "chained steps reach further than one, and the discount {long} is below γ {gamma}; \
             give --long-gamma {gamma} or more, or a smaller --gamma"
        );
        let (samples, steps) = (asked.samples, asked.steps);
        ensure!(
            samples.saturating_mul(steps) <= MAX_SAMPLES,
            "{samples} samples of {steps} model steps do not fit; use at most {} samples",
            MAX_SAMPLES / steps
        );
        Ok(())
    }

    /// The arguments and the scene's stage as a request, with the environment
    /// put there.
    pub(super) fn request(
        &self,
        scene: &Scene,
        environment: &mut dyn Environment,
        model: &GammaModel,
    ) -> anyhow::Result<OccupancyRequest> {
        let spec = environment.spec().clone();
        let goal = match &self.goal {
            Some(goal) => goal.0.clone(),
            None => scene.stage.goal.iter().copied().take(spec.goal_dims.len()).collect(),
        };
        environment.set_goal(&goal).context("--goal cannot be used")?;
        let given = match &self.state {
            Some(state) => state.0.clone(),
            None => {
                let rest = scene.stage.rest.iter().copied().chain(std::iter::repeat(0.0));
                let start = scene.stage.start.into_iter().chain(rest);
                start.take(spec.state.len()).collect()
            }
        };
        environment.set_state(&given).context("--state cannot be used")?;
        // What the environment made of it: angles wrapped.
        let state = environment.state();
        check_range(&spec, &state)?;
        let action = self.action.as_ref().map(|action| action.0.clone());
        check_action(&spec, action.as_deref())?;
        let steps = scene.occupancy.steps;
        if !model.config.masks_action {
            check_known_actions(&spec, action.is_some(), steps)?;
        }
        let discount = scene.occupancy.discount;
        let policy = model.config.policy_row(scene.occupancy.policy.as_deref())?;
        let query = Query { state, action, goal, discount, policy };
        model.check(&query)?;
        Ok(OccupancyRequest {
            state: query.state,
            goal: query.goal,
            action: query.action,
            settings: scene.occupancy.clone(),
            cells: [self.cells; 2],
            seed: scene.stage.seed,
            is_drag: false,
        })
    }
}

/// Refuse states outside of what the densities live on.
fn check_range(spec: &EnvironmentSpec, state: &[f32]) -> anyhow::Result<()> {
    for (value, dimension) in state.iter().zip(&spec.state) {
        let (low, high, name) = (dimension.low, dimension.high, &dimension.name);
        ensure!(
            (low..=high).contains(value),
            "--state cannot be used: {name} is {value}; use {low} to {high} {}",
            dimension.unit
        );
    }
    Ok(())
}

fn check_action(spec: &EnvironmentSpec, action: Option<&[f32]>) -> anyhow::Result<()> {
    let Some(action) = action else { return Ok(()) };
    let names: Vec<&str> = spec.action.iter().map(|dimension| dimension.name).collect();
    let (names, n) = (names.join(", "), action.len());
    ensure!(
        n == spec.action.len(),
        "--action cannot be used: an action is {names}, and {n} numbers were given"
    );
    if let Some(value) = action.iter().find(|value| !(-1.0..=1.0).contains(*value)) {
        bail!("--action cannot be used: {value} is beyond an action's range; use -1 to 1");
    }
    Ok(())
}

/// Weights that never learned to guess an action need to be told.
fn check_known_actions(spec: &EnvironmentSpec, is_given: bool, steps: usize) -> anyhow::Result<()> {
    let n = spec.action.len();
    ensure!(
        is_given,
        "these weights need to know the first action; give --action with {n} of -1 to 1"
    );
    ensure!(
        steps == 1,
        "these weights need to know the action at every model step and cannot be chained; use \
         --steps 1, or weights of the quick preset"
    );
    Ok(())
}
