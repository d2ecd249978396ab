//! Training a Diffuser's student: chains of the teacher from the starts and
//! goals a plan can have, and steps towards their ends.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use super::diffuser::{Diffuser, Parametrization, Which};
use super::inpainting::Inpainting;
use super::learner::{Learner, LearnerState, decayed};
use super::reading::read_one;
use super::schedule::Schedule;
use super::student::{self, DistillConfig, PREFIX};
use super::{ModelError, ModelNumbers};
use crate::data::Windows;
use crate::nn::adam::ModuleAdam;
use crate::nn::ema;
use crate::nn::temporal_unet::TemporalUnet;
use crate::nn::weights::{self, NamedTensors};
use crate::rng::Rng;

/// Optimizer steps between new chains of the teacher.
const STEPS_PER_POOL: usize = 24;
/// How often a chain is learned from; running it costs about as much as learning
/// from it.
const REUSE: usize = 2;
/// Share of a batch at later times than the first, for plans of more steps.
const LATER: f64 = 0.25;
/// Share of conditions that start at rest, as episodes do.
const AT_REST: f64 = 0.5;
/// Share of conditions whose start and goal the data connects; the others are
/// any two places.
const CONNECTED: f64 = 0.5;
/// How far a duration may be from the one the data took, as a factor.
const STRETCH: f64 = 1.5;
/// Share of conditions with a point on the way.
const WITH_POINT: f64 = 0.15;
/// Chains that the held-out loss is measured on.
const HELD_OUT: usize = 128;
/// Plans of the teacher computed together.
const CHUNK: usize = 64;
/// Decay of the averaged weights.
const DECAY: f32 = 0.998;
/// Errors of a plan, root mean square in normalized units, below which the loss
/// is a square and above which it is a distance: a plan on the edge between two
/// ways would otherwise outweigh all others.
const ELBOW: f32 = 0.02;

/// A student in training.
pub struct StudentLearner {
    config: DistillConfig,
    teacher: Diffuser,
    /// The teacher's weights as its file holds them, which stay as they are.
    teacher_weights: NamedTensors,
    windows: Windows,
    network: TemporalUnet,
    average: TemporalUnet,
    optimizer: ModuleAdam,
    /// Tracks gradients.
    device: Device,
    step: usize,
    pool: Option<(usize, Chains)>,
}

/// Chains of the teacher, `[n, waypoints, dims]` each.
struct Chains {
    /// x_t and the clean plan there at every time of [`student::times`], known
    /// entries in place. They end on the last clean plan.
    levels: Vec<[Vec<f32>; 2]>,
    /// 1 where an entry is to be predicted, 0 where it is known.
    mask: Vec<f32>,
    durations: Vec<f32>,
}

impl Chains {
    /// Add to a batch what one chain passes at time `t`: between two of its
    /// times it follows DDIM's curve.
    fn push_point(&self, schedule: &Schedule, plan: usize, t: usize, batch: &mut Batch) {
        let n = self.durations.len().max(1);
        let of_plan = |values: &[f32]| -> Vec<f32> {
            let size = values.len() / n;
            values[plan * size..(plan + 1) * size].to_vec()
        };
        let times = student::times(schedule);
        let passed = times.iter().rposition(|from| *from >= t).unwrap_or(0);
        if let (Some([noisy, clean]), Some([_, end])) =
            (self.levels.get(passed), self.levels.last())
        {
            let (mut x, mask) = (of_plan(noisy), of_plan(&self.mask));
            let clean = of_plan(clean);
            schedule.ddim(times[passed], t).apply(&mut x, &clean, None);
            // What is known is as clean here as everywhere.
            for ((x, clean), mask) in x.iter_mut().zip(&clean).zip(&mask) {
                *x = if *mask > 0.0 { *x } else { *clean };
            }
            batch.x.extend(x);
            batch.ends.extend(of_plan(end));
            batch.mask.extend(mask);
            batch.times.push(t as f32);
            batch.durations.push(self.durations[plan]);
        }
    }
}

/// What a step learns from.
#[derive(Default)]
struct Batch {
    x: Vec<f32>,
    ends: Vec<f32>,
    mask: Vec<f32>,
    times: Vec<f32>,
    durations: Vec<f32>,
}

impl StudentLearner {
    /// A student that starts as a copy of `teacher`, whose file holds
    /// `teacher_weights`; `device` must not track gradients itself.
    ///
    /// # Errors
    /// A teacher that predicts noise: a single step would divide it by a signal
    /// of almost nothing.
    pub fn new(
        config: DistillConfig,
        teacher: Diffuser,
        teacher_weights: NamedTensors,
        windows: Windows,
        device: &Device,
    ) -> Result<Self, ModelError> {
        config.validate()?;
        if teacher.config.parametrization == Parametrization::Noise {
            return Err(ModelError::Config(
                "a Diffuser that predicts noise has no student; train one with parametrization = \"clean\""
                    .into(),
            ));
        }
        let device = device.clone().autodiff();
        let copied = weights::export(teacher.network())?;
        let network = weights::import(teacher.config.network().init(0, &device), copied)?;
        Ok(Self {
            average: network.valid(),
            network,
            optimizer: ModuleAdam::default(),
            config,
            teacher,
            teacher_weights,
            windows,
            device,
            step: 0,
            pool: None,
        })
    }

    /// What a plan may be asked for: known entries and a duration.
    fn condition(&self, rng: &mut Rng) -> (Inpainting, f32) {
        let config = &self.teacher.config;
        let (waypoints, dims) = (config.waypoints, config.dims());
        let window = self.windows.batch(1, rng);
        let (mut plan, mut duration) = (window.plans, window.durations[0]);
        let [min, max] = config.duration_range();
        let last = (waypoints - 1) * dims;
        if rng.uniform(0.0, 1.0) < CONNECTED {
            let stretch = rng.uniform(-STRETCH.ln(), STRETCH.ln()).exp();
            duration = (duration * stretch as f32).clamp(min, max);
        } else {
            let other = self.windows.batch(1, rng);
            plan[last..].copy_from_slice(&other.plans[last..]);
            let log = rng.uniform(f64::from(min).ln(), f64::from(max).ln());
            duration = (log.exp() as f32).clamp(min, max);
        }
        let first = config.action_dim;
        if config.goal_dims > 0 && rng.uniform(0.0, 1.0) < AT_REST {
            let start = plan.iter_mut().enumerate().take(dims);
            for (dim, value) in start.skip(first + config.goal_dims) {
                *value = self.teacher.normalizer.normalize_one(dim, 0.0);
            }
        }
        let states = |waypoint: usize| &plan[waypoint * dims + first..(waypoint + 1) * dims];
        let mut goal = states(waypoints - 1).to_vec();
        if config.fixes_final_state {
            for (dim, value) in goal.iter_mut().enumerate().skip(config.goal_dims) {
                *value = self.teacher.normalizer.normalize_one(first + dim, 0.0);
            }
        }
        let mut known = config.endpoints(waypoints, states(0), &goal);
        if config.goal_dims > 0 && rng.uniform(0.0, 1.0) < WITH_POINT {
            let at = 1 + rng.below(waypoints - 2);
            known.fix(at, first, &states(at)[..config.goal_dims]);
        }
        (known, duration)
    }

    /// `n` chains of the teacher.
    fn chains(&self, n: usize, rng: &mut Rng) -> Result<Chains, ModelError> {
        let schedule = &self.teacher.schedule;
        let (waypoints, dims) = (self.teacher.config.waypoints, self.teacher.config.dims());
        let size = waypoints * dims;
        let conditions: Vec<_> = (0..n).map(|_| self.condition(rng)).collect();
        let mut x = rng.normals(n * size);
        let apply = |x: &mut [f32]| {
            for ((known, _), plan) in conditions.iter().zip(x.chunks_exact_mut(size)) {
                known.apply(plan);
            }
        };
        let durations: Vec<f32> = conditions.iter().map(|(_, duration)| *duration).collect();
        let times = student::times(schedule);
        let mut chains = Chains {
            levels: Vec::with_capacity(times.len()),
            mask: vec![1.0; n * size],
            durations,
        };
        for ((known, _), mask) in conditions.iter().zip(chains.mask.chunks_exact_mut(size)) {
            known.entries().for_each(|entry| mask[entry] = 0.0);
        }
        for (index, t) in times.iter().copied().enumerate() {
            apply(&mut x);
            let mut clean = Vec::with_capacity(x.len());
            for (x, durations) in x.chunks(CHUNK * size).zip(chains.durations.chunks(CHUNK)) {
                clean.extend(self.teacher.predict(Which::Teacher, x, waypoints, t, durations)?);
            }
            apply(&mut clean);
            let noisy = x.clone();
            if let Some(next) = times.get(index + 1) {
                schedule.ddim(t, *next).apply(&mut x, &clean, None);
            }
            chains.levels.push([noisy, clean]);
        }
        Ok(chains)
    }

    /// The batch of a step, drawn from the chains of its round. Both depend on
    /// the step alone, so that a run continues anywhere.
    fn batch(&mut self) -> Result<Batch, ModelError> {
        let round = self.step / STEPS_PER_POOL;
        let size = (self.config.batch * STEPS_PER_POOL).div_ceil(REUSE);
        let chains = match self.pool.take() {
            Some((found, chains)) if found == round => chains,
            _ => {
                let mut rng = Rng::stream(self.config.seed, &format!("chains {round}"));
                self.chains(size, &mut rng)?
            }
        };
        let mut rng = Rng::stream(self.config.seed, &format!("distillation step {}", self.step));
        let batch = self.draw(&chains, &mut rng);
        self.pool = Some((round, chains));
        Ok(batch)
    }

    fn draw(&self, chains: &Chains, rng: &mut Rng) -> Batch {
        let schedule = &self.teacher.schedule;
        let mut batch = Batch::default();
        for _ in 0..self.config.batch {
            let plan = rng.below(chains.durations.len());
            let is_later = rng.uniform(0.0, 1.0) < LATER;
            let t = if is_later { rng.below(schedule.len()) } else { schedule.len() - 1 };
            chains.push_point(schedule, plan, t, &mut batch);
        }
        batch
    }

    /// Mean over plans of sqrt(e^2 + c^2) - c, with e the root mean square
    /// error of a plan and c the [`ELBOW`] (pseudo-Huber; Song and Dhariwal
    /// 2024), over c.
    fn loss(&self, network: &TemporalUnet, device: &Device, batch: Batch) -> Tensor<1> {
        let config = &self.teacher.config;
        let shape = [batch.times.len(), config.waypoints, config.dims()];
        let tensor =
            |values: Vec<f32>| Tensor::<3>::from_data(TensorData::new(values, shape), device);
        let output = network.forward(tensor(batch.x), &batch.times, &batch.durations);
        let error = (output - tensor(batch.ends)) * tensor(batch.mask);
        let squares = error.square().mean_dim(2).mean_dim(1);
        (squares / (ELBOW * ELBOW) + 1.0).sqrt().mean() - 1.0
    }
}

impl Learner for StudentLearner {
    fn step(&self) -> usize {
        self.step
    }

    fn train_step(&mut self, progress: f64) -> Result<Tensor<1>, ModelError> {
        let rate = self.learning_rate_at(progress);
        let batch = self.batch()?;
        let loss = self.loss(&self.network, &self.device, batch);
        let grads = GradientsParams::from_grads(loss.backward(), &self.network);
        self.network = self.optimizer.step(rate, self.network.clone(), grads);
        self.step += 1;
        let warm = (1.0 + self.step as f32) / (10.0 + self.step as f32);
        self.average = ema::update(self.average.clone(), &self.network, DECAY.min(warm));
        Ok(loss.inner())
    }

    fn held_out_loss(&mut self) -> Result<Option<f32>, ModelError> {
        let mut rng = Rng::stream(0, "held-out chains");
        let chains = self.chains(HELD_OUT, &mut rng)?;
        let schedule = &self.teacher.schedule;
        let mut batch = Batch::default();
        for plan in 0..HELD_OUT {
            chains.push_point(schedule, plan, schedule.len() - 1, &mut batch);
        }
        let device = self.device.clone().inner();
        read_one(self.loss(&self.average, &device, batch)).map(Some)
    }

    fn learning_rate_at(&self, progress: f64) -> f64 {
        decayed(self.config.learning_rate, progress)
    }

    fn optimizer(&mut self) -> &mut ModuleAdam {
        &mut self.optimizer
    }

    /// Nothing of it changes on the way.
    fn tune(&mut self, _numbers: &ModelNumbers) {}

    /// The teacher's weights and, under their prefix, the student's.
    fn average(&self) -> Result<NamedTensors, ModelError> {
        let mut named = self.teacher_weights.clone();
        named.extend(weights::prefixed(weights::export(&self.average)?, PREFIX));
        Ok(named)
    }

    fn state(&self) -> Result<LearnerState, ModelError> {
        Ok(LearnerState {
            step: self.step,
            network: weights::export(&self.network.valid())?,
            average: self.average()?,
            optimizer: self.optimizer.export()?,
            // Every draw is named by its step.
            rng_position: 0,
        })
    }

    fn restore(&mut self, mut state: LearnerState) -> Result<(), ModelError> {
        let average = student::take(&mut state.average);
        self.network = weights::import(self.network.clone(), state.network)?;
        self.average = weights::import(self.average.clone(), average)?;
        let device = self.device.clone().inner();
        self.optimizer.import(&state.optimizer, state.step, &device)?;
        self.step = state.step;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
