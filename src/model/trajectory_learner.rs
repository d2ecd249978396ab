//! Training a Trajectory Transformer: next-token prediction on windows.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use super::learner::{HELD_OUT_BATCHES, Learner, LearnerState};
use super::reading::read_one;
use super::trajectory::TrajectoryConfig;
use super::{ModelError, ModelNumbers};
use crate::data::{TokenBatch, TokenWindows};
use crate::nn::adam::ModuleAdam;
use crate::nn::ema;
use crate::nn::init::Initializer;
use crate::nn::transformer::{Dropout, TokenRows, Transformer, cross_entropy};
use crate::nn::weights::{self, NamedTensors};
use crate::rng::Rng;

/// A Trajectory Transformer in training.
pub struct TrajectoryLearner {
    config: TrajectoryConfig,
    windows: TokenWindows,
    held_out: Option<TokenWindows>,
    network: Transformer,
    average: Transformer,
    optimizer: ModuleAdam,
    rng: Rng,
    device: Device,
    step: usize,
}

impl TrajectoryLearner {
    /// A fresh network for `seed`; `device` must not track gradients itself.
    pub fn new(config: TrajectoryConfig, windows: TokenWindows, seed: u64, device: Device) -> Self {
        let tracked = device.clone().autodiff();
        let network = config.network().init(&mut Initializer::new(seed, &tracked));
        Self {
            windows,
            held_out: None,
            average: network.valid(),
            network,
            optimizer: ModuleAdam::gpt(config.weight_decay),
            rng: Rng::stream(seed, "training batches and noise"),
            device,
            step: 0,
            config,
        }
    }

    /// With data that is measured on and never trained on.
    #[must_use]
    pub fn with_held_out(mut self, held_out: Option<TokenWindows>) -> Self {
        self.held_out = held_out;
        self
    }
}

/// Weighted cross-entropy of every token after the first of a window.
fn loss(
    network: &Transformer,
    config: &TrajectoryConfig,
    batch: &TokenBatch,
    dropout: Option<Dropout>,
) -> Tensor<1> {
    let rows = config.batch;
    let (d, whole) = (config.layout.per_transition(), batch.tokens.len() / rows);
    let (read, transitions) = (whole - 1, whole / d);
    let tokens: Vec<u16> =
        batch.tokens.chunks_exact(whole).flat_map(|row| &row[..read]).copied().collect();
    let input = TokenRows { goals: &batch.goals, tokens: &tokens, rows };
    let scores = network.forward(&input, dropout);
    let [_, n, classes] = scores.dims();
    // Scores come sorted by the dim that was read; so must the targets.
    let (mut targets, mut weights) = (vec![0; d * n], vec![0.0; d * n]);
    for row in 0..rows {
        for at in 0..read {
            let entry = (at % d) * n + row * transitions + at / d;
            targets[entry] = u32::from(batch.tokens[row * whole + at + 1]);
            weights[entry] = batch.weights[row * whole + at + 1];
        }
    }
    cross_entropy(scores.reshape([d * n, classes]), targets, weights)
}

impl Learner for TrajectoryLearner {
    fn step(&self) -> usize {
        self.step
    }

    fn train_step(&mut self, progress: f64) -> Result<Tensor<1>, ModelError> {
        let batch = self.windows.batch(self.config.batch, &mut self.rng);
        let dropout = (self.config.dropout > 0.0)
            .then_some(Dropout { share: self.config.dropout, rng: &mut self.rng });
        let loss = loss(&self.network, &self.config, &batch, dropout);
        let grads = GradientsParams::from_grads(loss.backward(), &self.network);
        let rate = self.config.learning_rate_at(progress);
        self.network = self.optimizer.step(rate, self.network.clone(), grads);
        self.step += 1;
        // Early on the plain decay would keep the random start for hundreds
        // of steps; the warm-up forgets it at once.
        let warm = (1.0 + self.step as f32) / (10.0 + self.step as f32);
        let decay = self.config.ema_decay.min(warm);
        self.average = ema::update(self.average.clone(), &self.network, decay);
        Ok(loss.inner())
    }

    fn learning_rate_at(&self, progress: f64) -> f64 {
        self.config.learning_rate_at(progress)
    }

    fn optimizer(&mut self) -> &mut ModuleAdam {
        &mut self.optimizer
    }

    fn held_out_loss(&mut self) -> Result<Option<f32>, ModelError> {
        let Some(held_out) = &self.held_out else { return Ok(None) };
        let mut rng = Rng::stream(0, "held-out batches and noise");
        let losses = (0..HELD_OUT_BATCHES).map(|_| {
            let batch = held_out.batch(self.config.batch, &mut rng);
            read_one(loss(&self.average, &self.config, &batch, None))
        });
        let sum: Result<f32, ModelError> = losses.sum();
        Ok(Some(sum? / HELD_OUT_BATCHES as f32))
    }

    fn tune(&mut self, numbers: &ModelNumbers) {
        if let ModelNumbers::Trajectory(config) = numbers {
            self.config.take_live(config);
            self.windows.reweigh(self.config.weights);
            if let Some(held_out) = &mut self.held_out {
                held_out.reweigh(self.config.weights);
            }
        }
    }

    fn average(&self) -> Result<NamedTensors, ModelError> {
        Ok(weights::export(&self.average)?)
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
        self.average = weights::import(self.average.clone(), state.average)?;
        self.optimizer.import(&state.optimizer, state.step, &self.device)?;
        self.rng.seek(state.rng_position);
        self.step = state.step;
        Ok(())
    }
}
