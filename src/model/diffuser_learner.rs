//! Training a Diffuser: batches of noised windows, Adam, averaged weights. The
//! reported loss adds that of the guide, where the model has one.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};

use super::diffuser::{Diffuser, DiffuserConfig, Parametrization};
use super::guide::take_prefixed;
use super::guide_learner::{GuideBatch, GuideLearner};
use super::learner::{HELD_OUT_BATCHES, Learner, LearnerState};
use super::reading::read_one;
use super::schedule::Schedule;
use super::{ModelError, ModelNumbers};
use crate::data::Windows;
use crate::nn::adam::ModuleAdam;
use crate::nn::ema;
use crate::nn::temporal_unet::TemporalUnet;
use crate::nn::weights::{self, NamedTensors};
use crate::rng::Rng;

/// A Diffuser in training.
pub struct DiffuserLearner {
    config: DiffuserConfig,
    windows: Windows,
    held_out: Option<Windows>,
    schedule: Schedule,
    network: TemporalUnet,
    average: TemporalUnet,
    optimizer: ModuleAdam,
    /// Trained beside it on the same batches, if the model has one.
    guide: Option<GuideLearner>,
    rng: Rng,
    device: Device,
    step: usize,
}

/// One noised batch on the host.
struct Noised {
    x: Vec<f32>,
    target: Vec<f32>,
    /// 1 where the entry is to be predicted, 0 where it is known.
    mask: Vec<f32>,
    times: Vec<f32>,
    durations: Vec<f32>,
    /// The steps the windows start at.
    starts: Vec<usize>,
}

impl DiffuserLearner {
    /// A fresh network for `seed`; `device` must not track gradients itself.
    pub fn new(config: DiffuserConfig, windows: Windows, seed: u64, device: Device) -> Self {
        let tracked = device.autodiff();
        let network = config.network().init(seed, &tracked);
        let average = network.valid();
        let guide = config
            .guide
            .as_ref()
            .map(|guide| GuideLearner::new(&config, guide, &windows, seed, &tracked));
        Self {
            schedule: Schedule::cosine(config.diffusion_steps),
            windows,
            held_out: None,
            network,
            average,
            optimizer: ModuleAdam::default(),
            guide,
            rng: Rng::stream(seed, "training batches and noise"),
            device: tracked,
            step: 0,
            config,
        }
    }

    fn update_average(&mut self) {
        if self.step < self.config.ema_start {
            self.average = self.network.valid();
        } else if self.step.is_multiple_of(self.config.ema_every) {
            // Nobody else holds the average while it moves, so it moves in place.
            let average = std::mem::replace(&mut self.average, self.network.valid());
            self.average = ema::update(average, &self.network, self.ema_decay());
        }
    }

    /// Early on the plain decay would keep the random start for hundreds of
    /// steps; the warm-up forgets it at once.
    fn ema_decay(&self) -> f32 {
        let warm = (1.0 + self.step as f32) / (10.0 + self.step as f32);
        self.config.ema_decay.min(warm)
    }

    /// Let the guide learn from a batch, too; its loss.
    fn train_guide(&mut self, noised: &Noised, rate: f64) -> Option<Tensor<1>> {
        let decay = self.ema_decay();
        let batch = GuideBatch { x: &noised.x, times: &noised.times, starts: &noised.starts };
        let guide = self.guide.as_mut()?;
        Some(guide.train_step(&self.config, &self.windows, &batch, (rate, decay), &mut self.rng))
    }

    /// Sample windows and times and noise them on the host, where the random
    /// stream lives.
    fn noised_batch(&mut self) -> Noised {
        let n = self.config.batch;
        let (waypoints, dims) = (self.config.waypoints, self.config.dims());
        let batch = self.windows.batch(n, &mut self.rng);
        let noise = self.rng.normals(batch.plans.len());
        let mut noised = Noised {
            x: Vec::with_capacity(batch.plans.len()),
            target: Vec::new(),
            mask: vec![1.0; batch.plans.len()],
            times: Vec::with_capacity(n),
            durations: batch.durations,
            starts: batch.starts,
        };
        let size = waypoints * dims;
        for (plan, (clean, noise)) in
            batch.plans.chunks_exact(size).zip(noise.chunks_exact(size)).enumerate()
        {
            let t = self.rng.below(self.schedule.len());
            let (signal, level) = self.schedule.levels(t);
            noised.times.push(t as f32);
            noised.x.extend(clean.iter().zip(noise).map(|(c, e)| signal * c + level * e));
            let states = |waypoint: usize| {
                let start = waypoint * dims + self.config.action_dim;
                &clean[start..start + self.config.observation_dim]
            };
            let known = self.config.endpoints(waypoints, states(0), states(waypoints - 1));
            known.apply(&mut noised.x[plan * size..]);
            for entry in known.entries() {
                noised.mask[plan * size + entry] = 0.0;
            }
        }
        noised.target = match self.config.parametrization {
            Parametrization::Clean => batch.plans,
            Parametrization::Noise => noise,
        };
        noised
    }

    /// With data that is measured on and never trained on.
    #[must_use]
    pub fn with_held_out(mut self, held_out: Option<Windows>) -> Self {
        self.held_out = held_out;
        self
    }

    /// Mean squared error of `network`, on `device`, over the entries that are
    /// not known.
    fn loss(&self, network: &TemporalUnet, device: &Device, batch: Noised) -> Tensor<1> {
        let shape = [self.config.batch, self.config.waypoints, self.config.dims()];
        let tensor =
            |values: Vec<f32>| Tensor::<3>::from_data(TensorData::new(values, shape), device);
        let output = network.forward(tensor(batch.x), &batch.times, &batch.durations);
        let error = (output - tensor(batch.target)) * tensor(batch.mask);
        error.square().mean()
    }

    /// The averaged weights, ready to plan.
    ///
    /// # Errors
    /// A lost device.
    pub fn diffuser(&self) -> Result<Diffuser, ModelError> {
        let device = self.device.clone().inner();
        let normalizer = self.windows.normalizer().clone();
        let guide = self.guide.as_ref().map(|guide| guide.guide(&self.config)).transpose()?;
        let network = self.average.clone();
        Ok(Diffuser::new(self.config.clone(), normalizer, network, device).with_guide(guide))
    }
}

impl Learner for DiffuserLearner {
    fn step(&self) -> usize {
        self.step
    }

    fn train_step(&mut self, progress: f64) -> Result<Tensor<1>, ModelError> {
        let mut accumulator = GradientsAccumulator::new();
        let mut total: Option<Tensor<1>> = None;
        let rate = self.config.learning_rate_at(progress);
        for _ in 0..self.config.accumulate.max(1) {
            let batch = self.noised_batch();
            if let Some(loss) = self.train_guide(&batch, rate) {
                total = Some(match total {
                    Some(total) => total + loss,
                    None => loss,
                });
            }
            let loss = self.loss(&self.network, &self.device, batch)
                / self.config.accumulate.max(1) as f32;
            let grads = GradientsParams::from_grads(loss.backward(), &self.network);
            accumulator.accumulate(&self.network, grads);
            let loss = loss.inner();
            total = Some(match total {
                Some(total) => total + loss,
                None => loss,
            });
        }
        // Nobody else holds the weights while they change, so they change in
        // place; the average stands in for them.
        let network = std::mem::replace(&mut self.network, self.average.clone());
        self.network = self.optimizer.step(rate, network, accumulator.grads());
        self.step += 1;
        self.update_average();
        Ok(total.unwrap_or_else(|| Tensor::zeros([1], &self.device)))
    }

    fn learning_rate_at(&self, progress: f64) -> f64 {
        self.config.learning_rate_at(progress)
    }

    fn optimizer(&mut self) -> &mut ModuleAdam {
        &mut self.optimizer
    }

    fn held_out_loss(&mut self) -> Result<Option<f32>, ModelError> {
        let Some(held_out) = self.held_out.take() else { return Ok(None) };
        let device = self.device.clone().inner();
        let windows = std::mem::replace(&mut self.windows, held_out);
        let rng = std::mem::replace(&mut self.rng, Rng::stream(0, "held-out batches and noise"));
        let losses = (0..HELD_OUT_BATCHES).map(|_| {
            let batch = self.noised_batch();
            read_one(self.loss(&self.average, &device, batch))
        });
        let sum: Result<f32, ModelError> = losses.sum();
        self.rng = rng;
        self.held_out = Some(std::mem::replace(&mut self.windows, windows));
        Ok(Some(sum? / HELD_OUT_BATCHES as f32))
    }

    fn tune(&mut self, numbers: &ModelNumbers) {
        if let ModelNumbers::Diffuser(config) = numbers {
            self.config.take_live(config);
        }
    }

    fn average(&self) -> Result<NamedTensors, ModelError> {
        let mut named = weights::export(&self.average)?;
        if let Some(guide) = &self.guide {
            named.extend(guide.export_average()?);
        }
        Ok(named)
    }

    fn state(&self) -> Result<LearnerState, ModelError> {
        let mut state = LearnerState {
            step: self.step,
            network: weights::export(&self.network.valid())?,
            average: self.average()?,
            optimizer: self.optimizer.export()?,
            rng_position: self.rng.position(),
        };
        if let Some(guide) = &self.guide {
            let [network, optimizer] = guide.export()?;
            state.network.extend(network);
            state.optimizer.extend(optimizer);
        }
        Ok(state)
    }

    fn restore(&mut self, mut state: LearnerState) -> Result<(), ModelError> {
        let parts = [&mut state.network, &mut state.average, &mut state.optimizer];
        let parts = parts.map(take_prefixed);
        if let Some(guide) = &mut self.guide {
            guide.restore(parts, state.step)?;
        }
        self.network = weights::import(self.network.clone(), state.network)?;
        self.average = weights::import(self.average.clone(), state.average)?;
        let device = self.device.clone().inner();
        self.optimizer.import(&state.optimizer, state.step, &device)?;
        self.rng.seek(state.rng_position);
        self.step = state.step;
        Ok(())
    }
}
