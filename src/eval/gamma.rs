//! How near a gamma-model comes to the truth: likelihood and transport against
//! real rollouts, values against policy evaluation, mass against the exact
//! occupancy of the tabular twin.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Estimate;
use super::occupancy::{
    MeasureError, OccupancyReport, SourceSamples, evaluate_occupancy, nll_per_dim, pearson,
    rmse_share, total_variation,
};
use crate::env::{self, Chain, EnvError, Environment, Grid, MarkovPolicy, Source};
use crate::model::gamma::{GammaModel, Query};
use crate::plan::PlanError;
use crate::plan::occupancy::values;
use crate::rng::Rng;

/// Sources between two goals.
const SOURCES_PER_GOAL: usize = 16;
/// Cells along each coordinate over which masses are compared.
const TV_CELLS: usize = 24;
/// Points per cell and coordinate at which the model's density is summed.
const SUBCELLS: usize = 6;

/// What to measure with.
#[derive(Clone, Debug)]
pub struct GammaEvalOptions {
    /// Source states, drawn from all of state space, with a random goal each.
    pub sources: usize,
    /// Samples of model and truth per source.
    pub samples: usize,
    /// Discount.
    pub discount: f32,
    /// Whose future: a row of the model's policies.
    pub policy: usize,
    /// Cells of the value map along each coordinate.
    pub value_cells: usize,
    /// Model samples per state of the value map.
    pub value_samples: usize,
    /// Seed of everything.
    pub seed: u64,
}

/// Why a model cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum GammaEvalError {
    /// The model.
    #[error(transparent)]
    Model(#[from] PlanError),
    /// The environment.
    #[error(transparent)]
    Environment(#[from] EnvError),
    /// A measure that does not exist.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// Somebody asked to stop.
    #[error("stopped")]
    Stopped,
}

/// Measure everything that applies to this environment. `on_progress` hears
/// the share done, 0 to 1, and stops the work by a break.
///
/// # Errors
/// See [`GammaEvalError`].
pub fn evaluate_gamma(
    environment: &mut dyn Environment,
    model: &GammaModel,
    options: &GammaEvalOptions,
    on_progress: &mut dyn FnMut(f64) -> ControlFlow<()>,
) -> Result<OccupancyReport, GammaEvalError> {
    let name = model.config.policies.get(options.policy).map_or("", String::as_str);
    let policy = environment.policy(name)?;
    let mut trial = Trial { environment, policy, model, options, cells: [0; 2] };
    let mut rng = Rng::stream(options.seed, "evaluation");
    let sources = trial.draw_sources(&mut rng);
    let mut report = trial.against_rollouts(&sources, &mut rng, on_progress)?;
    if let Some(cells) = trial.environment.spec().twin_cells {
        trial.cells = cells;
        step(on_progress, 0.6)?;
        let goal = &sources[0].goal;
        let chain = trial.against_policy_evaluation(goal, &mut rng, &mut report)?;
        step(on_progress, 0.8)?;
        if model.has_density() {
            trial.against_the_twin(&sources, chain, &mut report)?;
        }
    }
    step(on_progress, 1.0)?;
    Ok(report)
}

fn step(
    on_progress: &mut dyn FnMut(f64) -> ControlFlow<()>,
    share: f64,
) -> Result<(), GammaEvalError> {
    match on_progress(share) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(GammaEvalError::Stopped),
    }
}

struct Trial<'a> {
    environment: &'a mut dyn Environment,
    policy: Arc<dyn MarkovPolicy>,
    model: &'a GammaModel,
    options: &'a GammaEvalOptions,
    /// Cells of the tabular twin.
    cells: [usize; 2],
}

impl Trial<'_> {
    /// Uniform over legal states; goals change every [`SOURCES_PER_GOAL`]
    /// sources, because the twin of each takes a while.
    fn draw_sources(&mut self, rng: &mut Rng) -> Vec<Query> {
        let mut sources = Vec::with_capacity(self.options.sources);
        for index in 0..self.options.sources {
            let has_goal = !self.model.config.goal_dims.is_empty();
            if has_goal && index % SOURCES_PER_GOAL == 0 {
                self.environment.randomize_goal(rng);
            }
            self.environment.explore(rng);
            let (state, goal) = (self.environment.state(), self.environment.goal());
            let action = self.first_action(&state, &goal, rng);
            let GammaEvalOptions { discount, policy, .. } = *self.options;
            sources.push(Query { state, action, goal, discount, policy });
        }
        sources
    }

    /// None where the model knows the policy's own, else one the policy drew.
    fn first_action(&self, state: &[f32], goal: &[f32], rng: &mut Rng) -> Option<Vec<f32>> {
        (!self.model.config.masks_action).then(|| self.policy.act(state, goal, rng))
    }

    fn gamma(&self) -> f64 {
        f64::from(self.options.discount)
    }

    /// Likelihood and transport.
    fn against_rollouts(
        &mut self,
        sources: &[Query],
        rng: &mut Rng,
        on_progress: &mut dyn FnMut(f64) -> ControlFlow<()>,
    ) -> Result<OccupancyReport, GammaEvalError> {
        let dims = self.model.config.state.len();
        let (mut clouds, mut log_densities) = (Vec::new(), Vec::new());
        for (index, query) in sources.iter().enumerate() {
            step(on_progress, 0.4 * index as f64 / sources.len() as f64)?;
            let truth = self.truth(query, rng)?;
            let truth_again = self.truth(query, rng)?;
            if self.model.has_density() {
                let found = self.model.log_density(query, &truth, dims).map_err(PlanError::from)?;
                let sum: f64 = found.iter().map(|l| f64::from(*l)).sum();
                log_densities.push(sum / found.len() as f64);
            }
            let drawn = self.model.sample(std::slice::from_ref(query), self.options.samples, rng);
            let model = drawn.map_err(PlanError::from)?.states;
            clouds.push(SourceSamples { truth, truth_again, model });
        }
        let periods: Vec<Option<f32>> = self
            .model
            .config
            .state
            .iter()
            .map(|dimension| dimension.periodic.then_some(dimension.high - dimension.low))
            .collect();
        let transport = evaluate_occupancy(&clouds, dims, &periods)?;
        Ok(OccupancyReport {
            nll_per_dim: match log_densities.is_empty() {
                true => None,
                false => Some(nll_per_dim(&log_densities, dims)?),
            },
            emd: Some(transport.emd),
            emd_floor: Some(transport.emd_floor),
            ..OccupancyReport::default()
        })
    }

    fn truth(&mut self, query: &Query, rng: &mut Rng) -> Result<Vec<f32>, EnvError> {
        let source = source(query);
        let n = self.options.samples;
        let policy = self.policy.as_ref();
        env::monte_carlo(self.environment, policy, &source, f64::from(query.discount), n, rng)
    }

    /// The value map of the policy towards `goal`; returns its twin.
    fn against_policy_evaluation(
        &mut self,
        goal: &[f32],
        rng: &mut Rng,
        report: &mut OccupancyReport,
    ) -> Result<Chain, GammaEvalError> {
        let fine = Grid::over(self.environment.spec(), self.cells)?;
        self.environment.set_goal(goal)?;
        let rewards = env::cell_rewards(self.environment, &fine)?;
        let chain = Chain::build(self.environment, self.policy.as_ref(), goal, &fine)?;
        let exact = chain.values(&rewards, self.gamma())?;
        self.environment.set_goal(goal)?;
        let map = Grid::over(self.environment.spec(), [self.options.value_cells; 2])?;
        let workspace = self.environment.workspace();
        let places = (0..map.n_cells()).map(|cell| map.center(cell));
        let places: Vec<[f32; 2]> = places.filter(|place| workspace.is_free(*place)).collect();
        let mut queries = Vec::with_capacity(places.len());
        for place in &places {
            let state = place.to_vec();
            let action = self.first_action(&state, goal, rng);
            let GammaEvalOptions { discount, policy, .. } = *self.options;
            queries.push(Query { state, action, goal: goal.to_vec(), discount, policy });
        }
        let reward = |state: &[f32]| self.environment.state_reward(state);
        let found = values(self.model, &queries, self.options.value_samples, &reward, rng)?;
        let found: Vec<f64> = found.into_iter().map(|[mean, _]| mean).collect();
        let truth: Vec<f64> =
            places.iter().map(|place| chain.interpolate(&exact, *place)).collect();
        report.value_pearson = Some(pearson(&found, &truth)?);
        report.value_rmse_share = Some(rmse_share(&found, &truth)?);
        Ok(chain)
    }

    /// Mass on the coarse grid against the exact occupancy of the tabular
    /// twin, of which `chain` is the first source's.
    fn against_the_twin(
        &mut self,
        sources: &[Query],
        mut chain: Chain,
        report: &mut OccupancyReport,
    ) -> Result<(), GammaEvalError> {
        let fine = Grid::over(self.environment.spec(), self.cells)?;
        let coarse = Grid::over(self.environment.spec(), [TV_CELLS; 2])?;
        let mut off = Vec::new();
        let mut goal = sources.first().map(|query| &query.goal);
        for query in sources {
            if goal != Some(&query.goal) {
                let policy = self.policy.as_ref();
                chain = Chain::build(self.environment, policy, &query.goal, &fine)?;
                goal = Some(&query.goal);
            }
            let source = source(query);
            let next = chain.first_step(self.environment, self.policy.as_ref(), &source)?;
            let exact = chain.occupancy_of_next(&next, self.gamma())?;
            let mut exact = fine.coarsen(&exact, &coarse)?;
            let mut found = mass(self.model, query, &coarse)?;
            // What the model puts outside is wrong too.
            found.push((1.0 - found.iter().sum::<f64>()).max(0.0));
            exact.push(0.0);
            off.push(total_variation(&found, &exact)?);
        }
        report.total_variation = Estimate::of(off);
        Ok(())
    }
}

fn source(query: &Query) -> Source {
    Source { state: query.state.clone(), action: query.action.clone(), goal: query.goal.clone() }
}

/// The model's mass in every cell: the density at [`SUBCELLS`] squared points
/// of each.
fn mass(model: &GammaModel, query: &Query, grid: &Grid) -> Result<Vec<f64>, GammaEvalError> {
    let offset = |axis: usize, k: usize| {
        (((k as f64 + 0.5) / SUBCELLS as f64 - 0.5) * grid.step(axis)) as f32
    };
    let mut points = Vec::with_capacity(2 * SUBCELLS * SUBCELLS * grid.n_cells());
    for cell in 0..grid.n_cells() {
        let [x, y] = grid.center(cell);
        for k in 0..SUBCELLS * SUBCELLS {
            points.push(x + offset(0, k / SUBCELLS));
            points.push(y + offset(1, k % SUBCELLS));
        }
    }
    let log_density = model.log_density(query, &points, 2).map_err(PlanError::from)?;
    let area = grid.step(0) * grid.step(1) / (SUBCELLS * SUBCELLS) as f64;
    let mass = log_density
        .chunks_exact(SUBCELLS * SUBCELLS)
        .map(|cell| cell.iter().map(|l| f64::from(l.exp()) * area).sum());
    Ok(mass.collect())
}
