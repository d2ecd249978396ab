//! A training run: collect, step, report, save.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};

use super::checkpoint::{self, CheckpointError, Header, Provenance};
use super::scene::{Scene, SceneError};
use crate::data::{
    self, DataConfig, DataError, Discretizer, LimitsNormalizer, PathOptions, Paths, TokenWindows,
    Windows,
};
use crate::env::{EnvError, Environment};
use crate::model::diffuser_learner::DiffuserLearner;
use crate::model::gamma_learner::GammaLearner;
use crate::model::learner::Learner;
use crate::model::trajectory::TrajectoryConfig;
use crate::model::trajectory_learner::TrajectoryLearner;
use crate::model::{ModelError, ModelNumbers};

/// Steps between two looks at the loss; each is a sync point on a GPU.
const REPORT_EVERY: usize = 50;
/// Time between two saves.
const SAVE_EVERY: Duration = Duration::from_secs(120);

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// After this many optimizer steps in all.
    Steps(usize),
    /// After this long.
    Time(Duration),
}

/// How to run.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// When to end.
    pub budget: Budget,
    /// Where the weights go; the run itself goes beside them.
    pub out: PathBuf,
    /// Continue the run that lies beside `out`.
    pub resume: bool,
    /// Device name for the record.
    pub device_name: String,
}

/// What a run says while it runs.
#[derive(Clone, Debug, PartialEq)]
pub enum TrainEvent {
    /// Transitions collected so far.
    Collecting {
        /// So far.
        done: usize,
        /// In all.
        total: usize,
    },
    /// Optimizer steps taken so far.
    Training {
        /// So far.
        step: usize,
        /// Part of the budget spent, 0 to 1.
        progress: f64,
        /// Mean loss since the last report.
        loss: f32,
        /// Optimizer steps per second since the last report.
        steps_per_sec: f64,
        /// Estimate of what remains.
        remaining: Duration,
    },
    /// Weights are on disk.
    Saved {
        /// Where.
        path: PathBuf,
    },
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct TrainSummary {
    /// Optimizer steps in all.
    pub steps: usize,
    /// Wall time in all, resumed parts included.
    pub wall: Duration,
    /// Last mean loss.
    pub loss: f32,
    /// The weights file.
    pub weights: PathBuf,
    /// Whether it was stopped before its budget was spent.
    pub stopped: bool,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The scene.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// The environment.
    #[error(transparent)]
    Environment(#[from] EnvError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Reading or writing weights.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Where the state of the run that makes `weights` lies.
pub fn resume_path(weights: &Path) -> PathBuf {
    weights.with_extension("run.safetensors")
}

/// Train the scene's model. A break from `on_event` saves and stops.
///
/// # Errors
/// See [`TrainError`]. What was saved before stays.
pub fn train(
    scene: &Scene,
    device: &Device,
    options: &TrainOptions,
    on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
) -> Result<TrainSummary, TrainError> {
    let mut environment = scene.make_environment()?;
    let model = scene
        .model
        .resolve(environment.spec())
        .map_err(|error| SceneError::Value { key: "model", why: error.to_string() })?;
    // Before the long work: is there a run to continue, and room to write?
    let resumed = match options.resume {
        true => Some(checkpoint::read_resume(&resume_path(&options.out))?),
        false => None,
    };
    drop(crate::files::AtomicWriter::create(&options.out).map_err(CheckpointError::from)?);

    let total = scene.data.transitions;
    let mut stopped = false;
    let mut on_collected = |done| {
        let flow = on_event(TrainEvent::Collecting { done, total });
        stopped |= flow.is_break();
        flow
    };
    let Prepared { mut learner, normalizer, discretizer } =
        prepare(scene, &model, environment.as_mut(), device, &mut on_collected)?;
    let header = Header {
        model,
        normalizer,
        discretizer,
        environment: scene.environment.clone(),
        provenance: Provenance {
            scene_hash: scene.training_hash(),
            seed: scene.train.seed,
            device: options.device_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Provenance::default()
        },
    };
    let mut spent = Duration::ZERO;
    if let Some((found, state)) = resumed {
        check_same_run(&options.out, &found, &header)?;
        spent = Duration::from_secs_f64(found.provenance.wall_secs.max(0.0));
        learner.restore(state)?;
    }
    Run { learner, header, options, spent, started: Instant::now() }.drive(stopped, on_event)
}

/// A fresh learner and what its weights' header says of the data.
struct Prepared {
    learner: Box<dyn Learner>,
    normalizer: Option<LimitsNormalizer>,
    discretizer: Option<Discretizer>,
}

/// Collect the scene's data and make a fresh learner on it.
fn prepare(
    scene: &Scene,
    model: &ModelNumbers,
    environment: &mut dyn Environment,
    device: &Device,
    on_collected: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Prepared, TrainError> {
    let (seed, device) = (scene.train.seed, device.clone());
    Ok(match model {
        ModelNumbers::Diffuser(config) => {
            let episodes = data::collect(environment, &scene.data, on_collected)?;
            let windows = Windows::new(Arc::new(episodes), config.windows())?;
            let normalizer = windows.normalizer().clone();
            let learner = DiffuserLearner::new(config.clone(), windows, seed, device);
            Prepared { learner: Box::new(learner), normalizer: Some(normalizer), discretizer: None }
        }
        ModelNumbers::Gamma(config) => {
            let policy = environment.policy(&config.policy)?;
            let stretches =
                data::collect_stretches(environment, &config.policy, &scene.data, on_collected)?;
            let stretches = Arc::new(stretches);
            let learner = GammaLearner::new(config.clone(), stretches, policy, seed, device)?;
            Prepared { learner: Box::new(learner), normalizer: None, discretizer: None }
        }
        ModelNumbers::Trajectory(config) => {
            let (paths, discretizer) = token_data(config, environment, &scene.data, on_collected)?;
            let windows = TokenWindows::new(
                Arc::new(paths),
                discretizer.clone(),
                config.goal_dims.clone(),
                config.transitions,
                config.weights,
            )?;
            let learner = TrajectoryLearner::new(config.clone(), Arc::new(windows), seed, device);
            Prepared {
                learner: Box::new(learner),
                normalizer: None,
                discretizer: Some(discretizer),
            }
        }
    })
}

/// Paths of a Trajectory Transformer's policies, and their bins.
///
/// # Errors
/// An unknown policy, or data without two different numbers.
pub fn token_data(
    config: &TrajectoryConfig,
    environment: &mut dyn Environment,
    data: &DataConfig,
    on_collected: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<(Paths, Discretizer), DataError> {
    let policies = match config.policies.is_empty() {
        true => environment.policies().iter().take(1).map(|row| row.id.to_owned()).collect(),
        false => config.policies.clone(),
    };
    let options = PathOptions {
        policies,
        stride: config.stride,
        observation: config.observation.clone(),
        ends_at_goal: config.layout.goals > 0,
        discount: config.layout.rewards.then_some(config.discount),
    };
    let paths = data::collect_paths(environment, &options, data, on_collected)?;
    let discretizer = data::discretize(&paths, config.layout, config.binning)?;
    Ok((paths, discretizer))
}

fn check_same_run(out: &Path, found: &Header, asked: &Header) -> Result<(), CheckpointError> {
    if found.provenance.scene_hash == asked.provenance.scene_hash {
        return Ok(());
    }
    let name = resume_path(out).display().to_string();
    let why = "it trained another environment, data set, model or seed; \
               train without --resume or with another --out";
    Err(CheckpointError::Mismatch { name, why: why.to_owned() })
}

struct Run<'a> {
    learner: Box<dyn Learner>,
    header: Header,
    options: &'a TrainOptions,
    /// Wall time of earlier parts of this run.
    spent: Duration,
    started: Instant,
}

impl Run<'_> {
    fn drive(
        mut self,
        mut stopped: bool,
        on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
    ) -> Result<TrainSummary, TrainError> {
        let mut saved = Instant::now();
        while self.progress() < 1.0 && !stopped {
            let (loss, rate) = self.stretch()?;
            self.header.provenance.loss = loss;
            let remaining = self.remaining(rate);
            let event = TrainEvent::Training {
                step: self.learner.step(),
                progress: self.progress(),
                loss,
                steps_per_sec: rate,
                remaining,
            };
            stopped |= on_event(event).is_break();
            if saved.elapsed() > SAVE_EVERY {
                self.save(on_event)?;
                saved = Instant::now();
            }
        }
        self.save(on_event)?;
        Ok(TrainSummary {
            steps: self.learner.step(),
            wall: self.wall(),
            loss: self.header.provenance.loss,
            weights: self.options.out.clone(),
            stopped,
        })
    }

    /// Up to [`REPORT_EVERY`] steps; mean loss and steps per second.
    fn stretch(&mut self) -> Result<(f32, f64), TrainError> {
        let started = Instant::now();
        let mut sum: Option<Tensor<1>> = None;
        let mut steps = 0;
        while steps < REPORT_EVERY && self.progress() < 1.0 {
            let loss = self.learner.train_step(self.progress())?;
            sum = Some(match sum {
                Some(sum) => sum + loss,
                None => loss,
            });
            steps += 1;
        }
        let Some(sum) = sum else { return Ok((f32::NAN, 0.0)) };
        let data = sum.try_into_data().map_err(|error| ModelError::Device(error.to_string()))?;
        let total = data.try_to_vec::<f32>().ok().and_then(|v| v.first().copied());
        let loss = total.unwrap_or(f32::NAN) / steps as f32;
        if !loss.is_finite() {
            return Err(ModelError::Diverged { step: self.learner.step() }.into());
        }
        Ok((loss, steps as f64 / started.elapsed().as_secs_f64()))
    }

    fn wall(&self) -> Duration {
        self.spent + self.started.elapsed()
    }

    fn progress(&self) -> f64 {
        match self.options.budget {
            Budget::Steps(steps) => self.learner.step() as f64 / steps.max(1) as f64,
            Budget::Time(limit) => self.wall().as_secs_f64() / limit.as_secs_f64().max(1e-9),
        }
    }

    fn remaining(&self, steps_per_sec: f64) -> Duration {
        match self.options.budget {
            Budget::Steps(steps) => {
                let left = steps.saturating_sub(self.learner.step()) as f64;
                Duration::try_from_secs_f64(left / steps_per_sec).unwrap_or(Duration::MAX)
            }
            Budget::Time(limit) => limit.saturating_sub(self.wall()),
        }
    }

    fn save(
        &mut self,
        on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
    ) -> Result<(), TrainError> {
        self.header.provenance.steps = self.learner.step();
        self.header.provenance.wall_secs = self.wall().as_secs_f64();
        let state = self.learner.state()?;
        checkpoint::write_resume(&resume_path(&self.options.out), &self.header, &state)?;
        checkpoint::write(&self.options.out, &self.header, &state.average)?;
        // A break here would lose nothing; the loop asks again at once.
        let _ = on_event(TrainEvent::Saved { path: self.options.out.clone() });
        Ok(())
    }
}
