//! Gamma-models: the discounted future of a policy as a density.
//!
//! Janner, Mordatch, Levine: Gamma-Models: Generative Temporal Difference
//! Learning for Infinite-Horizon Prediction, NeurIPS 2020.
//!
//!   occupancy  mu(s_e | s, a) = (1 - g) sum_{t >= 1} g^{t-1} p(s_t = s_e | s, a, pi)
//!   bootstrap  mu(s_e | s, a) = (1 - g) p(s_e | s, a) + g E[mu(s_e | s', a')]
//!   target     (1 - g) N(s', sigma^2 I) + g mu_target( . | s', a'), a' ~ pi(s')
//!   values     V(s) = 1 / (1 - g) E_{s_e ~ mu}[r(s_e)]               (Equation 3.6)
//!
//! g = 0 is a single-step model. Here mu is a spline flow (Algorithm 3) on the
//! state space itself, angles on circles. Ours on top: a condition that may
//! hold the discount, so that one model serves a slider; a goal, so that a
//! goal-reaching policy is Markov; which of several policies is asked for; and
//! an action that may be unknown, which is the policy's own,
//! mu(s_e | s) = E_{a ~ pi}[mu(s_e | s, a)].

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use super::ModelError;
use super::buckets::Buckets;
use crate::env::StateDimension;
use crate::nn::gan::Gan;
use crate::nn::init::Initializer;
use crate::nn::spline_flow::{LINE_BOUND, SplineFlow};
use crate::rng::Rng;

use super::gamma_coordinates::{log_scale, middle, scale};
use super::reading::Pending;

pub use super::gamma_config::{GammaConfig, Objective, topology};
pub use super::gamma_coordinates::{base_draws, push_condition, to_flow, wrap_angle};
pub use super::gamma_section::GammaSection;

/// Rows that go through the network at once, so that memory stays small.
const MAX_ROWS: usize = 16_384;

/// How often a draw beyond the state space is made again before it stands.
const REDRAWS: usize = 4;
/// How far beyond the ends of a coordinate a draw may lie, as a share of the
/// range: the target's noise reaches a little farther than states do.
const SLACK: f32 = 0.01;

/// A question to a gamma-model.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Source state, one number per state coordinate.
    pub state: Vec<f32>,
    /// First action; the policy's own if absent.
    pub action: Option<Vec<f32>>,
    /// The policy's goal; empty where there is none.
    pub goal: Vec<f32>,
    /// Discount g.
    pub discount: f32,
    /// Whose future: a row of the model's policies.
    pub policy: usize,
}

/// Samples of a density.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// `[samples, state]`.
    pub states: Vec<f32>,
    /// ln of the density at each sample, per unit of state space; empty for a
    /// GAN, which has none.
    pub log_density: Vec<f32>,
}

/// What a gamma-model is made of.
#[derive(Module, Debug)]
pub enum GammaNetwork {
    /// A density (Algorithm 3).
    Flow(SplineFlow),
    /// Samples alone (Algorithm 2).
    Gan(Gan),
}

/// A trained gamma-model.
pub struct GammaModel {
    /// Every number of the model.
    pub config: GammaConfig,
    network: GammaNetwork,
    device: Device,
    buckets: Buckets,
}

impl GammaNetwork {
    /// Random weights for a configuration.
    pub fn init(config: &GammaConfig, init: &mut Initializer) -> Self {
        match config.objective.is_adversarial() {
            true => GammaNetwork::Gan(config.gan().init(init)),
            false => GammaNetwork::Flow(config.network().init(init)),
        }
    }
}

impl GammaModel {
    /// Predicts with `network`, which must be free of autodiff.
    pub fn new(config: GammaConfig, network: GammaNetwork, device: Device) -> Self {
        let buckets = Buckets::of(&device);
        Self { config, network, device, buckets }
    }

    /// The same with other batch sizes than its device's own.
    #[must_use]
    pub fn with_buckets(self, buckets: Buckets) -> Self {
        Self { buckets, ..self }
    }

    /// Number of weights.
    pub fn n_parameters(&self) -> usize {
        self.network.num_params()
    }

    /// The network.
    pub fn network(&self) -> &GammaNetwork {
        &self.network
    }

    /// Whether it knows densities; a GAN only samples.
    pub fn has_density(&self) -> bool {
        matches!(self.network, GammaNetwork::Flow(_))
    }

    fn flow(&self) -> Result<&SplineFlow, ModelError> {
        match &self.network {
            GammaNetwork::Flow(flow) => Ok(flow),
            GammaNetwork::Gan(_) => {
                Err(ModelError::Query("a GAN has no density; ask for samples".into()))
            }
        }
    }

    /// Whether a query can be answered.
    ///
    /// # Errors
    /// Wrong lengths, numbers that are not finite, a discount outside the
    /// trained range, or an unknown action in a model that needs one.
    pub fn check(&self, query: &Query) -> Result<(), ModelError> {
        let refuse = |message: String| Err(ModelError::Query(message));
        let config = &self.config;
        let lengths = [
            ("state", query.state.len(), config.state.len()),
            ("goal", query.goal.len(), config.goal_dims.len()),
            (
                "action",
                query.action.as_ref().map_or(config.action_dim, Vec::len),
                config.action_dim,
            ),
        ];
        for (what, found, expected) in lengths {
            if found != expected {
                return refuse(format!("a {what} has {expected} numbers, {found} were given"));
            }
        }
        let action = query.action.iter().flatten();
        if query.state.iter().chain(&query.goal).chain(action).any(|value| !value.is_finite()) {
            return refuse("a number is not finite; give ordinary numbers".into());
        }
        let [low, high] = config.discount;
        if !(low - 1e-6..=high + 1e-6).contains(&query.discount) {
            return refuse(format!(
                "the discount {} is outside what these weights were trained for, {low} to {high}; \
                 choose one inside, or chain model steps to reach beyond",
                query.discount
            ));
        }
        if query.policy >= config.policies.len() {
            return refuse(format!("there are {} policies to ask for", config.policies.len()));
        }
        if query.action.is_none() && !config.masks_action {
            return refuse("these weights need an action; draw one from the policy".into());
        }
        Ok(())
    }

    /// Draw `n` states for every query, in order. The density has a little
    /// mass beyond the state space, about one draw in a thousand; such a draw
    /// is made again.
    ///
    /// # Errors
    /// A query [`GammaModel::check`] refuses, or a lost device.
    pub fn sample(
        &self,
        queries: &[Query],
        n: usize,
        rng: &mut Rng,
    ) -> Result<Samples, ModelError> {
        let mut samples = self.draw(queries, n, rng)?;
        for _ in 0..REDRAWS {
            let outside = self.outside(&samples.states);
            if outside.is_empty() {
                return Ok(samples);
            }
            let again: Vec<Query> = outside.iter().map(|row| queries[row / n].clone()).collect();
            let drawn = self.draw(&again, 1, rng)?;
            let dims = self.config.state.len();
            for (index, row) in outside.into_iter().enumerate() {
                let state = &drawn.states[index * dims..(index + 1) * dims];
                samples.states[row * dims..(row + 1) * dims].copy_from_slice(state);
                if let Some(log_density) = drawn.log_density.get(index) {
                    samples.log_density[row] = *log_density;
                }
            }
        }
        Ok(samples)
    }

    /// The draws that no state can be.
    fn outside(&self, states: &[f32]) -> Vec<usize> {
        let dims = &self.config.state;
        let is_outside = |state: &[f32]| {
            state.iter().zip(dims).any(|(value, dimension)| {
                let slack = SLACK * (dimension.high - dimension.low);
                *value < dimension.low - slack || *value > dimension.high + slack
            })
        };
        let rows = states.chunks_exact(dims.len()).enumerate();
        rows.filter(|(_, state)| is_outside(state)).map(|(row, _)| row).collect()
    }

    /// As [`GammaModel::sample`], straight from the density, as training
    /// bootstraps.
    ///
    /// # Errors
    /// A query [`GammaModel::check`] refuses, or a lost device.
    pub fn draw(&self, queries: &[Query], n: usize, rng: &mut Rng) -> Result<Samples, ModelError> {
        let mut conditions = Vec::new();
        for query in queries {
            self.check(query)?;
            conditions.push(self.condition(query));
        }
        let total = queries.len() * n;
        let mut chunks = Vec::new();
        for start in (0..total).step_by(MAX_ROWS) {
            let rows = start..(start + MAX_ROWS).min(total);
            let condition: Vec<f32> =
                rows.clone().flat_map(|row| conditions[row / n].iter().copied()).collect();
            let condition = self.rows(condition);
            let drawn = match &self.network {
                GammaNetwork::Flow(flow) => {
                    let base = base_draws(&self.config, rows.len(), rng);
                    let base = self.tensor(base, self.config.state.len());
                    let (x, log_density) = flow.sample(base, condition);
                    Tensor::cat(vec![x, log_density], 1)
                }
                GammaNetwork::Gan(gan) => {
                    let latent = self.config.gan().latent;
                    let noise = self.tensor(rng.normals(rows.len() * latent), latent);
                    gan.generate(noise, condition)
                }
            };
            chunks.push(Chunk::begin(drawn, rows.len())?);
        }
        let mut samples = Samples::default();
        for chunk in chunks {
            self.take_drawn(chunk, &mut samples)?;
        }
        Ok(samples)
    }

    /// Append drawn rows: what flows or a GAN give, as states.
    fn take_drawn(&self, chunk: Chunk, samples: &mut Samples) -> Result<(), ModelError> {
        let width = chunk.width;
        let numbers = chunk.read()?;
        match &self.network {
            GammaNetwork::Flow(_) => {
                let scale = self.log_scale();
                for row in numbers.chunks_exact(width) {
                    let (point, log_density) = row.split_at(width - 1);
                    samples.states.extend(self.state_of(point));
                    samples.log_density.extend(log_density.iter().map(|l| l + scale));
                }
            }
            GammaNetwork::Gan(gan) => {
                let points = gan.points_of(&numbers, LINE_BOUND / 2.0);
                samples.states.extend(self.state_of(&points));
            }
        }
        Ok(())
    }

    /// ln of the density at `points`, `[points, dims]`, per unit of state
    /// space. Fewer `dims` than the state has, 2 for a map, give the marginal
    /// density of the leading ones.
    ///
    /// # Errors
    /// A query [`GammaModel::check`] refuses, a `dims` that splits a block of
    /// two, or a lost device.
    pub fn log_density(
        &self,
        query: &Query,
        points: &[f32],
        dims: usize,
    ) -> Result<Vec<f32>, ModelError> {
        self.check(query)?;
        let whole = self.config.state.len();
        if dims == 0 || dims > whole || (dims < whole && !dims.is_multiple_of(2)) {
            return Err(ModelError::Query(format!("{dims} coordinates have no marginal density")));
        }
        let leading = &self.config.state[..dims];
        let condition = self.condition(query);
        let scale = log_scale(leading);
        let flow = self.flow()?;
        let mut chunks = Vec::new();
        for points in points.chunks(MAX_ROWS * dims) {
            let rows = points.len() / dims;
            let x = self.tensor(to_flow(leading, points), dims);
            let log_density = flow.log_density(x, self.rows(condition.repeat(rows)));
            chunks.push(Chunk::begin(log_density, rows)?);
        }
        log_densities(chunks, scale)
    }

    /// ln of the density at one point per query.
    ///
    /// # Errors
    /// As for [`GammaModel::log_density`].
    pub fn log_density_each(
        &self,
        queries: &[Query],
        points: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        let dims = self.config.state.len();
        let scale = self.log_scale();
        let flow = self.flow()?;
        let mut chunks = Vec::new();
        for (queries, points) in queries.chunks(MAX_ROWS).zip(points.chunks(MAX_ROWS * dims)) {
            let mut condition = Vec::new();
            for query in queries {
                self.check(query)?;
                condition.extend(self.condition(query));
            }
            let x = self.tensor(to_flow(&self.config.state, points), dims);
            let log_density = flow.log_density(x, self.rows(condition));
            chunks.push(Chunk::begin(log_density, queries.len())?);
        }
        log_densities(chunks, scale)
    }

    /// What the network is told.
    fn condition(&self, query: &Query) -> Vec<f32> {
        let mut condition = Vec::with_capacity(self.config.n_condition());
        push_condition(&self.config, query, &mut condition);
        condition
    }

    /// `[rows, columns]`, filled up to one of the device's batch sizes.
    fn tensor(&self, mut values: Vec<f32>, columns: usize) -> Tensor<2> {
        self.buckets.fill(&mut values, columns);
        let rows = values.len() / columns.max(1);
        Tensor::from_data(TensorData::new(values, [rows, columns]), &self.device)
    }

    fn rows(&self, condition: Vec<f32>) -> Tensor<2> {
        self.tensor(condition, self.config.n_condition())
    }

    fn state_of(&self, points: &[f32]) -> Vec<f32> {
        let dims = &self.config.state;
        let map =
            |(x, dimension): (&f32, &StateDimension)| x / scale(dimension) + middle(dimension);
        points.iter().zip(dims.iter().cycle()).map(map).collect()
    }

    /// Replace the network by what `change` makes of it.
    pub fn update(&mut self, change: impl FnOnce(GammaNetwork) -> GammaNetwork) {
        self.network = change(self.network.clone());
    }

    /// ln of the flow's volume per unit of state space.
    pub fn log_scale(&self) -> f32 {
        log_scale(&self.config.state)
    }
}

/// Rows that go through the network at once, on their way back.
struct Chunk {
    numbers: Pending,
    rows: usize,
    width: usize,
}

impl Chunk {
    /// Begin to read the first `rows`; what follows was there to fill the
    /// batch.
    fn begin(tensor: Tensor<2>, rows: usize) -> Result<Self, ModelError> {
        let [_, width] = tensor.dims();
        Ok(Self { numbers: Pending::of(tensor)?, rows, width })
    }

    fn read(self) -> Result<Vec<f32>, ModelError> {
        let mut numbers = self.numbers.read()?;
        numbers.truncate(self.rows * self.width);
        Ok(numbers)
    }
}

/// Densities of flows as those of state space.
fn log_densities(chunks: Vec<Chunk>, scale: f32) -> Result<Vec<f32>, ModelError> {
    let mut found = Vec::new();
    for chunk in chunks {
        found.extend(chunk.read()?.into_iter().map(|value| value + scale));
    }
    Ok(found)
}
