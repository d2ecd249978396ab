//! Training a gamma-model: targets from stretches and from its own average.

use std::sync::Arc;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData, activation};

use super::gamma::{self, GammaConfig, GammaModel, GammaNetwork, Objective, Query};
use super::learner::{HELD_OUT_BATCHES, Learner, LearnerState, read_loss};
use super::{ModelError, ModelNumbers};
use crate::data::Stretches;
use crate::env::MarkovPolicy;
use crate::nn::adam::ModuleAdam;
use crate::nn::ema;
use crate::nn::gan::Gan;
use crate::nn::init::Initializer;
use crate::nn::spline_flow::{LINE_BOUND, SplineFlow};
use crate::nn::weights::{self, NamedTensors};
use crate::rng::Rng;

/// Share of a batch that starts where a stretch does: later states crowd where
/// the policy settles.
const FIRST_STATES: f64 = 0.5;

/// A gamma-model in training.
pub struct GammaLearner {
    config: GammaConfig,
    stretches: Arc<Stretches>,
    held_out: Option<Arc<Stretches>>,
    policy: Arc<dyn MarkovPolicy>,
    network: GammaNetwork,
    /// The target network, and the weights that predict.
    average: GammaModel,
    optimizer: ModuleAdam,
    rng: Rng,
    device: Device,
    step: usize,
}

/// Share of the policy's own actions that a model for unknown actions is not
/// told.
const HIDDEN: f64 = 0.7;

/// One batch on the host.
#[derive(Default)]
struct Batch {
    /// What the network is asked.
    queries: Vec<Query>,
    /// One target state each, `[batch, state]`.
    targets: Vec<f32>,
    /// The next state's Gaussian and the bootstrap query, for log-densities.
    next: Vec<(Vec<f32>, Query)>,
}

/// A state-action pair of the data.
struct Pair {
    query: Query,
    stretch: usize,
    at: usize,
}

/// Where a row's target comes from.
enum Source {
    /// A state of the stretch.
    Seen(Vec<f32>),
    /// The target network, asked from further along.
    Bootstrap(Query),
}

impl GammaLearner {
    /// A fresh network for `seed`; `device` must not track gradients itself.
    ///
    /// # Errors
    /// No stretches, or stretches of another environment.
    pub fn new(
        config: GammaConfig,
        stretches: Arc<Stretches>,
        policy: Arc<dyn MarkovPolicy>,
        seed: u64,
        device: Device,
    ) -> Result<Self, ModelError> {
        let sizes = stretches.sizes;
        let expected = [config.state.len(), config.action_dim, config.goal_dims.len()];
        if stretches.is_empty() || [sizes.state, sizes.action, sizes.goal] != expected {
            return Err(ModelError::Config("there is no data of this environment".into()));
        }
        let tracked = device.autodiff();
        let network = GammaNetwork::init(&config, &mut Initializer::new(seed, &tracked));
        let average = GammaModel::new(config.clone(), network.valid(), tracked.clone().inner());
        Ok(Self {
            stretches,
            held_out: None,
            policy,
            network,
            average,
            optimizer: ModuleAdam::with_weight_decay(config.weight_decay),
            rng: Rng::stream(seed, "training batches and noise"),
            device: tracked,
            step: 0,
            config,
        })
    }

    /// With data that is measured on and never trained on.
    #[must_use]
    pub fn with_held_out(mut self, held_out: Option<Arc<Stretches>>) -> Self {
        self.held_out = held_out;
        self
    }

    /// The averaged weights, ready to predict.
    pub fn model(&self) -> &GammaModel {
        &self.average
    }

    /// Give up training, keep the averaged weights.
    pub fn into_model(self) -> GammaModel {
        self.average
    }

    /// Discounts are spread evenly over the logarithm of their horizon.
    fn draw_discount(&mut self) -> f32 {
        let horizon = |discount: f32| -f64::from(-discount).ln_1p();
        let [low, high] = self.config.discount;
        let drawn = 1.0 - (-self.rng.uniform(horizon(low), horizon(high))).exp();
        let discount = if low < high { drawn as f32 } else { low };
        if self.step < self.config.burn_in { discount.min(0.5) } else { discount }
    }

    /// What is asked, and where in the data.
    fn draw_pair(&mut self) -> Pair {
        let stretches = Arc::clone(&self.stretches);
        let stretch = self.rng.below(stretches.len());
        let is_first = self.rng.uniform(0.0, 1.0) < FIRST_STATES;
        // A multi-step target needs steps ahead.
        let starts = match self.config.target_steps {
            1 => stretches.steps,
            _ => stretches.steps.div_ceil(2),
        };
        let at = if is_first { 0 } else { self.rng.below(starts) };
        let discount = self.draw_discount();
        // Hidden, it must be the policy's own.
        let is_own = at > 0 || stretches.starts_on_policy[stretch];
        let hides = self.config.masks_action && is_own && self.rng.uniform(0.0, 1.0) < HIDDEN;
        let query = Query {
            state: stretches.state(stretch, at).to_vec(),
            action: (!hides).then(|| stretches.action(stretch, at).to_vec()),
            goal: stretches.goal(stretch).to_vec(),
            discount,
        };
        Pair { query, stretch, at }
    }

    /// Where one sample of the pair's target comes from.
    fn draw_target(&mut self, pair: &Pair) -> Source {
        let (stretch, at, discount) = (pair.stretch, pair.at, pair.query.discount);
        let mixing = match (self.config.sample_discount, self.step < self.config.burn_in) {
            (Some(sampling), false) => sampling,
            _ => discount,
        };
        let ahead = geometric(mixing, &mut self.rng);
        let most = self.config.target_steps.min(self.stretches.steps - at);
        if ahead <= most {
            let seen = self.stretches.state(stretch, at + ahead).to_vec();
            Source::Seen(self.blurred(&seen))
        } else {
            Source::Bootstrap(self.continued(stretch, at + most, discount))
        }
    }

    /// The question the target network is asked `at` steps into a stretch.
    fn continued(&mut self, stretch: usize, at: usize, discount: f32) -> Query {
        let state = self.stretches.state(stretch, at).to_vec();
        let goal = self.stretches.goal(stretch).to_vec();
        let action = match self.config.masks_action {
            true => None,
            false => Some(self.policy.act(&state, &goal, &mut self.rng)),
        };
        Query { state, action, goal, discount }
    }

    fn blurred(&mut self, state: &[f32]) -> Vec<f32> {
        state
            .iter()
            .zip(&self.config.noise)
            .map(|(value, noise)| value + noise * self.rng.normal())
            .collect()
    }

    fn batch(&mut self) -> Result<Batch, ModelError> {
        let dims = self.config.state.len();
        let mut batch = Batch::default();
        let (mut rows, mut bootstraps) = (Vec::new(), Vec::new());
        for _ in 0..self.config.batch {
            let asked = self.draw_pair();
            for _ in 0..self.config.samples_per_pair {
                let row = batch.queries.len();
                let source = self.draw_target(&asked);
                if self.config.objective == Objective::LogDensity {
                    let next = self.stretches.state(asked.stretch, asked.at + 1).to_vec();
                    let continued = match &source {
                        Source::Bootstrap(query) => query.clone(),
                        Source::Seen(_) => {
                            self.continued(asked.stretch, asked.at + 1, asked.query.discount)
                        }
                    };
                    batch.next.push((next, continued));
                }
                batch.queries.push(asked.query.clone());
                match source {
                    Source::Seen(state) => batch.targets.extend(state),
                    Source::Bootstrap(query) => {
                        batch.targets.extend(std::iter::repeat_n(0.0, dims));
                        rows.push(row);
                        bootstraps.push(query);
                    }
                }
            }
        }
        let drawn = self.average.draw(&bootstraps, 1, &mut self.rng)?;
        for (row, state) in rows.into_iter().zip(drawn.states.chunks_exact(dims)) {
            batch.targets[row * dims..(row + 1) * dims].copy_from_slice(state);
        }
        Ok(batch)
    }

    /// ln of the bootstrapped target density at the batch's targets, up to the
    /// flow's constant scale.
    fn target_log_density(&self, batch: &Batch) -> Result<Vec<f32>, ModelError> {
        let dims = self.config.state.len();
        let queries: Vec<Query> = batch.next.iter().map(|(_, query)| query.clone()).collect();
        let bootstrap = self.average.log_density_each(&queries, &batch.targets)?;
        let scale = self.average.log_scale();
        let mixed = batch.next.iter().zip(batch.targets.chunks_exact(dims)).zip(bootstrap);
        Ok(mixed
            .map(|(((next, query), target), bootstrap)| {
                let gaussian = self.log_gaussian(next, target);
                let seen = (1.0 - query.discount).ln() + gaussian;
                let asked = query.discount.ln() + bootstrap;
                let most = seen.max(asked);
                most + ((seen - most).exp() + (asked - most).exp()).ln() - scale
            })
            .collect())
    }

    fn log_gaussian(&self, mean: &[f32], at: &[f32]) -> f32 {
        let dims = self.config.state.iter().zip(&self.config.noise);
        dims.zip(mean.iter().zip(at))
            .map(|((dimension, noise), (mean, at))| {
                let range = dimension.high - dimension.low;
                let mut off = at - mean;
                if dimension.periodic {
                    off -= range * (off / range).round();
                }
                let z = off / noise;
                -0.5 * z * z - noise.ln() - 0.5 * std::f32::consts::TAU.ln()
            })
            .sum()
    }

    /// The batch's conditions, `[rows, condition]`.
    fn conditions(&self, batch: &Batch, device: &Device) -> Tensor<2> {
        let mut condition = Vec::with_capacity(batch.queries.len() * self.config.n_condition());
        for query in &batch.queries {
            gamma::push_condition(&self.config, query, &mut condition);
        }
        tensor(condition, batch.queries.len(), device)
    }

    fn flow_loss(
        &self,
        flow: &SplineFlow,
        batch: &Batch,
        device: &Device,
    ) -> Result<Tensor<1>, ModelError> {
        let rows = batch.queries.len();
        let x = tensor(gamma::to_flow(&self.config.state, &batch.targets), rows, device);
        let log_density = flow.log_density(x, self.conditions(batch, device));
        Ok(match self.config.objective {
            Objective::LogDensity => {
                let target = tensor(self.target_log_density(batch)?, rows, device);
                (log_density - target).square().mean()
            }
            _ => log_density.mean().neg(),
        })
    }

    /// One step of the discriminator, then one of the generator (Algorithm 2).
    /// The loss shown is the discriminator's.
    fn adversarial_step(&mut self, gan: &Gan, batch: &Batch, rate: f64) -> Tensor<1> {
        let rows = batch.queries.len();
        let latent = self.config.gan().latent;
        let noise = self.rng.normals(rows * latent);
        let points = gamma::to_flow(&self.config.state, &batch.targets);
        let real = tensor(gan.features_of(&points, LINE_BOUND / 2.0), rows, &self.device);
        let condition = self.conditions(batch, &self.device);
        let noise = tensor(noise, rows, &self.device);
        let made = gan.generate(noise.clone(), condition.clone()).detach();
        let on_real = gan.judge(real, condition.clone());
        let on_made = gan.judge(made, condition.clone());
        let loss = match self.config.objective {
            Objective::LeastSquaresGan => (on_real - 1.0).square().mean() + on_made.square().mean(),
            // -ln D(real) - ln(1 - D(made)), with logits.
            _ => (activation::softplus(on_real.neg(), 1.0) + activation::softplus(on_made, 1.0))
                .mean(),
        };
        let grads = GradientsParams::from_grads(loss.backward(), gan);
        let judged = self.optimizer.step(rate, gan.clone(), grads);

        let verdict = judged.judge(judged.generate(noise, condition.clone()), condition);
        let fooling = match self.config.objective {
            Objective::LeastSquaresGan => (verdict - 1.0).square().mean(),
            _ => activation::softplus(verdict.neg(), 1.0).mean(),
        };
        let mut grads = fooling.backward();
        let grads = GradientsParams::from_module(&mut grads, judged.generator());
        self.network = GammaNetwork::Gan(self.optimizer.step(rate, judged, grads));
        loss.inner()
    }
}

/// Steps to a geometric target: 1 with probability 1 - g, and so on.
fn geometric(discount: f32, rng: &mut Rng) -> usize {
    if discount <= 0.0 {
        return 1;
    }
    let u = 1.0 - rng.uniform(0.0, 1.0);
    1 + (u.ln() / f64::from(discount).ln()) as usize
}

/// A matrix of `rows` rows on `device`.
fn tensor(values: Vec<f32>, rows: usize, device: &Device) -> Tensor<2> {
    let columns = values.len() / rows.max(1);
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

impl Learner for GammaLearner {
    fn step(&self) -> usize {
        self.step
    }

    fn train_step(&mut self, progress: f64) -> Result<Tensor<1>, ModelError> {
        let batch = self.batch()?;
        let rate = self.config.learning_rate_at(progress);
        let loss = match self.network.clone() {
            GammaNetwork::Flow(flow) => {
                let loss = self.flow_loss(&flow, &batch, &self.device)?;
                let grads = GradientsParams::from_grads(loss.backward(), &flow);
                self.network = GammaNetwork::Flow(self.optimizer.step(rate, flow, grads));
                loss.inner()
            }
            GammaNetwork::Gan(gan) => self.adversarial_step(&gan, &batch, rate),
        };
        self.step += 1;
        // Early on the plain decay would keep the random start for hundreds
        // of steps; the warm-up forgets it at once.
        let warm = (1.0 + self.step as f32) / (10.0 + self.step as f32);
        let decay = self.config.ema_decay.min(warm);
        self.average.update(|network| ema::update(network, &self.network, decay));
        Ok(loss)
    }

    fn learning_rate_at(&self, progress: f64) -> f64 {
        self.config.learning_rate_at(progress)
    }

    fn optimizer(&mut self) -> &mut ModuleAdam {
        &mut self.optimizer
    }

    fn held_out_loss(&mut self) -> Result<Option<f32>, ModelError> {
        let Some(held_out) = self.held_out.clone() else { return Ok(None) };
        let GammaNetwork::Flow(flow) = self.average.network().clone() else { return Ok(None) };
        let device = self.device.clone().inner();
        let stretches = std::mem::replace(&mut self.stretches, held_out);
        let rng = std::mem::replace(&mut self.rng, Rng::stream(0, "held-out batches and noise"));
        let losses = (0..HELD_OUT_BATCHES).map(|_| {
            let batch = self.batch()?;
            read_loss(self.flow_loss(&flow, &batch, &device)?)
        });
        let sum: Result<f32, ModelError> = losses.sum();
        (self.stretches, self.rng) = (stretches, rng);
        Ok(Some(sum? / HELD_OUT_BATCHES as f32))
    }

    fn tune(&mut self, numbers: &ModelNumbers) {
        if let ModelNumbers::Gamma(config) = numbers {
            self.config.take_live(config);
        }
    }

    fn average(&self) -> Result<NamedTensors, ModelError> {
        Ok(weights::export(self.average.network())?)
    }

    fn state(&self) -> Result<LearnerState, ModelError> {
        Ok(LearnerState {
            step: self.step,
            network: weights::export(&self.network.valid())?,
            average: self.average()?,
            optimizer: self.optimizer.export()?,
            rng_position: self.rng.position(),
        })
    }

    fn restore(&mut self, state: LearnerState) -> Result<(), ModelError> {
        self.network = weights::import(self.network.clone(), state.network)?;
        let average = weights::import(self.average.network().clone(), state.average)?;
        self.average.update(|_| average);
        let device = self.device.clone().inner();
        self.optimizer.import(&state.optimizer, state.step, &device)?;
        self.rng.seek(state.rng_position);
        self.step = state.step;
        Ok(())
    }
}
