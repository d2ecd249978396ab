//! Training a gamma-model: targets from stretches and from its own average.

mod batch;

use std::sync::Arc;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData, activation};

use super::gamma::{self, GammaConfig, GammaModel, GammaNetwork, Objective};
use super::learner::{HELD_OUT_BATCHES, Learner, LearnerState};
use super::reading::read_one;
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
use batch::Batch;

/// A gamma-model in training.
pub struct GammaLearner {
    config: GammaConfig,
    stretches: Arc<Stretches>,
    held_out: Option<Arc<Stretches>>,
    policies: Vec<Arc<dyn MarkovPolicy>>,
    network: GammaNetwork,
    /// The target network, and the weights that predict.
    average: GammaModel,
    optimizer: ModuleAdam,
    rng: Rng,
    device: Device,
    step: usize,
}

impl GammaLearner {
    /// A fresh network for `seed`; `policies` are the rows of the
    /// configuration's, whom the stretches follow; `device` must not track
    /// gradients itself.
    ///
    /// # Errors
    /// No stretches, or stretches of another environment.
    pub fn new(
        config: GammaConfig,
        stretches: Arc<Stretches>,
        policies: Vec<Arc<dyn MarkovPolicy>>,
        seed: u64,
        device: Device,
    ) -> Result<Self, ModelError> {
        let sizes = stretches.sizes;
        let expected = [config.state.len(), config.action_dim, config.goal_dims.len()];
        let n = config.policies.len();
        let has_policies = policies.len() == n && stretches.policies.iter().all(|row| *row < n);
        if stretches.is_empty()
            || [sizes.state, sizes.action, sizes.goal] != expected
            || !has_policies
        {
            return Err(ModelError::Config("there is no data of this environment".into()));
        }
        let tracked = device.autodiff();
        let network = GammaNetwork::init(&config, &mut Initializer::new(seed, &tracked));
        let average = GammaModel::new(config.clone(), network.valid(), tracked.clone().inner());
        let mut learner = Self {
            stretches,
            held_out: None,
            policies,
            network,
            average,
            optimizer: ModuleAdam::with_weight_decay(config.weight_decay),
            rng: Rng::stream(seed, "training batches and noise"),
            device: tracked,
            step: 0,
            config,
        };
        if learner.config.as_released {
            learner.normalize()?;
        }
        Ok(learner)
    }

    /// Let the flow's normalizations start from data.
    fn normalize(&mut self) -> Result<(), ModelError> {
        let GammaNetwork::Flow(flow) = self.network.clone() else { return Ok(()) };
        let batch = self.next_states();
        let points = gamma::to_flow(&self.config.state, &batch.targets);
        let x = tensor(points, batch.queries.len(), &self.device);
        let condition = self.conditions(&batch, &self.device);
        self.network = GammaNetwork::Flow(flow.fitted(x, condition));
        let network = self.network.valid();
        self.average.update(|_| network);
        Ok(())
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
            read_one(self.flow_loss(&flow, &batch, &device)?)
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
