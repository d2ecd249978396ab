//! The tabular twin of a scene, built beside the planner thread because it
//! takes a second or more, and what it adds to an answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::occupancy::{COMPARED_CELLS, OccupancyFrame};
use super::values::{ValueFrame, ValueReward};
use crate::env::{
    self, Chain, EnvError, Environment, EnvironmentConfig, Grid, MarkovPolicy, Source,
};
use crate::eval::occupancy::{pearson, rmse_share};

/// Actions per coordinate that value iteration chooses from.
const ACTIONS: usize = 5;

/// The exact answers for one policy and goal.
pub struct Twin {
    policy: String,
    goal: Vec<f32>,
    chain: Chain,
}

/// Keeps the newest twin, and builds one at a time.
#[derive(Default)]
pub struct TwinKeeper {
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Default)]
struct Shelf {
    twin: Option<Arc<Twin>>,
    is_building: bool,
    /// Counts scenes: a twin of an earlier one is thrown away.
    scene: u64,
}

fn open(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TwinKeeper {
    /// Forget the twin: the scene has changed.
    pub fn clear(&self) {
        let mut shelf = open(&self.shelf);
        shelf.twin = None;
        shelf.scene += 1;
    }

    /// The twin for `policy` and `goal`, if it is there.
    pub fn get(&self, policy: &str, goal: &[f32]) -> Option<Arc<Twin>> {
        open(&self.shelf).twin.clone().filter(|twin| twin.policy == policy && twin.goal == goal)
    }

    /// Start building the twin for `policy` and `goal` unless one is being built. `then` is
    /// called, on the builder's thread, when there is one; ask again then.
    pub fn prepare(
        &self,
        config: &EnvironmentConfig,
        policy: &str,
        goal: &[f32],
        then: Box<dyn FnOnce() + Send>,
    ) {
        let scene = {
            let mut shelf = open(&self.shelf);
            if shelf.is_building {
                return;
            }
            shelf.is_building = true;
            shelf.scene
        };
        let shelf = Arc::clone(&self.shelf);
        let (config, policy, goal) = (config.clone(), policy.to_owned(), goal.to_vec());
        let started = std::thread::Builder::new().name("twin".into()).spawn(move || {
            let built = catch_unwind(AssertUnwindSafe(|| build(&config, &policy, goal)));
            let mut shelf = open(&shelf);
            shelf.is_building = false;
            // Without one the answer simply stays without its exact part.
            let Ok(Ok(Some(twin))) = built else { return };
            if shelf.scene == scene {
                shelf.twin = Some(Arc::new(twin));
            }
            drop(shelf);
            then();
        });
        if started.is_err() {
            open(&self.shelf).is_building = false;
        }
    }
}

/// `None` where the state space has no grid.
fn build(config: &EnvironmentConfig, name: &str, goal: Vec<f32>) -> Result<Option<Twin>, EnvError> {
    let mut environment = env::make(config)?;
    let Some(cells) = environment.spec().twin_cells else { return Ok(None) };
    let grid = Grid::over(environment.spec(), cells)?;
    let policy = environment.policy(name)?;
    let chain = Chain::build(environment.as_mut(), policy.as_ref(), &goal, &grid)?;
    Ok(Some(Twin { policy: name.to_owned(), goal, chain }))
}

/// Add the exact occupancy to an answer at once, where the environment's twin
/// has one. It takes a second or more.
///
/// # Errors
/// A policy or a source the environment refuses.
pub fn add_exact(
    frame: &mut OccupancyFrame,
    environment: &mut dyn Environment,
    config: &EnvironmentConfig,
    policy: &str,
) -> Result<(), EnvError> {
    if !environment.spec().twin_occupies {
        return Ok(());
    }
    if let Some(twin) = build(config, policy, frame.request.goal.clone())? {
        let policy = environment.policy(policy)?;
        twin.complete_occupancy(frame, environment, policy.as_ref())?;
    }
    Ok(())
}

impl Twin {
    /// Add the exact occupancy to an answer.
    ///
    /// # Errors
    /// A source the environment refuses.
    pub fn complete_occupancy(
        &self,
        frame: &mut OccupancyFrame,
        environment: &mut dyn Environment,
        policy: &dyn MarkovPolicy,
    ) -> Result<(), EnvError> {
        let request = &frame.request;
        let source = Source {
            state: request.state.clone(),
            action: request.action.clone(),
            goal: request.goal.clone(),
        };
        let next = self.chain.first_step(environment, policy, &source)?;
        let discount = f64::from(request.settings.total_discount());
        let fine = self.chain.grid();
        let coarse = Grid::over(environment.spec(), frame.grid.cells)?;
        let mass = fine.coarsen(&self.chain.occupancy_of_next(&next, discount)?, &coarse)?;
        let area = f64::from(frame.grid.cell_area());
        let exact: Vec<f32> = mass.iter().map(|mass| (mass / area) as f32).collect();
        let off = frame.grid.total_variation(&frame.model, &exact, COMPARED_CELLS);
        frame.exact_total_variation = Some(off);
        frame.exact = Some(exact);
        Ok(())
    }

    /// Add policy evaluation and value iteration to an answer.
    ///
    /// # Errors
    /// A goal the environment refuses.
    pub fn complete_values(
        &self,
        frame: &mut ValueFrame,
        environment: &mut dyn Environment,
    ) -> Result<(), EnvError> {
        environment.set_goal(&self.goal)?;
        let request = Arc::clone(&frame.request);
        let grid = self.chain.grid();
        let reward = |cell: usize, environment: &dyn Environment| match self.chain.is_free(cell) {
            true => f64::from(request.reward.of(environment, &grid.center(cell))),
            false => 0.0,
        };
        let rewards: Vec<f64> = (0..grid.n_cells()).map(|cell| reward(cell, environment)).collect();
        let discount = f64::from(request.discount);
        let exact = self.chain.values(&rewards, discount)?;
        let actions = action_grid(environment.spec().action.len());
        let best = env::value_iteration(environment, grid, &actions, &rewards, discount)?.values;
        environment.set_goal(&self.goal)?;
        let on_map = |values: &[f64]| -> Vec<f32> {
            (0..frame.grid.len())
                .map(|cell| match frame.model[cell].is_finite() {
                    true => self.chain.interpolate(values, frame.grid.center(cell)) as f32,
                    false => f32::NAN,
                })
                .collect()
        };
        let evaluation = on_map(&exact);
        frame.optimal = Some(on_map(&best));
        let pairs = frame.model.iter().zip(&evaluation).filter(|(model, _)| model.is_finite());
        let (found, truth): (Vec<f64>, Vec<f64>) =
            pairs.map(|(a, b)| (f64::from(*a), f64::from(*b))).unzip();
        frame.pearson = pearson(&found, &truth).ok();
        frame.rmse_share = rmse_share(&found, &truth).ok();
        frame.evaluation = Some(evaluation);
        Ok(())
    }
}

impl ValueReward {
    /// What `state` pays.
    pub fn of(&self, environment: &dyn Environment, state: &[f32]) -> f32 {
        match self {
            ValueReward::Environment => environment.state_reward(state),
            ValueReward::Painted { grid, rewards } => match *state {
                [x, y, ..] => {
                    grid.cell_of([x, y]).and_then(|cell| rewards.get(cell).copied()).unwrap_or(0.0)
                }
                _ => 0.0,
            },
        }
    }
}

/// Every combination of [`ACTIONS`] levels from -1 to 1 per coordinate.
fn action_grid(dims: usize) -> Vec<Vec<f32>> {
    let level = |index: usize| 2.0 * index as f32 / (ACTIONS - 1) as f32 - 1.0;
    (0..ACTIONS.pow(dims as u32))
        .map(|index| {
            (0..dims).map(|dim| level(index / ACTIONS.pow(dim as u32) % ACTIONS)).collect()
        })
        .collect()
}
