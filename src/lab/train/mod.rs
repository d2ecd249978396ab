//! A training run: collect, step, report, save.
//!
//! [`train`] runs on the calling thread, steered by [`Orders`]; the window
//! gives it a thread of its own with [`keeper::TrainKeeper`]. Everything it
//! makes lies in one [`folder`].

mod distill;
pub mod folder;
pub mod keeper;
mod metric;
mod orders;
mod prepare;
mod run;

pub use distill::distill;
pub use metric::{Metric, Series};
pub use orders::Orders;
pub use prepare::token_data;

use std::path::{Path, PathBuf};
use std::time::Duration;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use self::folder::{Continued, Manifest, RunFolder};
use self::prepare::{Prepared, prepare};
use super::checkpoint::{Checkpoint, CheckpointError, Header, Provenance};
use super::data_set;
use super::scene::{Scene, SceneError};
use crate::data::DataError;
use crate::env::EnvError;
use crate::model::ModelError;
use crate::model::buckets::Buckets;

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Budget {
    /// After this many optimizer steps in all.
    Steps(usize),
    /// After working for this long.
    Time(Duration),
}

/// Least time between two checkpoints of a run.
pub const SAVE_EVERY: Duration = Duration::from_secs(5);

/// How to run.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// The run's folder; made if missing.
    pub run: PathBuf,
    /// Where the weights go as well, besides the run's folder.
    pub out: Option<PathBuf>,
    /// Continue the run that lies there.
    pub resume: bool,
    /// Device name for the record.
    pub device_name: String,
    /// Time between two reports; each is a sync point on a GPU.
    pub report_every: Duration,
    /// Time between two looks at the averaged weights, if anybody wants them.
    pub show_every: Option<Duration>,
    /// Least time between two checkpoints; it grows with the run.
    pub save_every: Duration,
    /// Wait for orders when the budget is spent or training went wrong,
    /// instead of ending.
    pub waits: bool,
}

impl TrainOptions {
    /// Weights to `out`, with the run beside it, reporting once a second.
    pub fn beside(out: &Path, device_name: &str) -> Self {
        Self {
            run: run_path(out),
            out: Some(out.to_path_buf()),
            resume: false,
            device_name: device_name.to_owned(),
            report_every: Duration::from_secs(1),
            show_every: None,
            save_every: SAVE_EVERY,
            waits: false,
        }
    }

    /// The weights file for planning.
    pub fn weights(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| self.run.join(folder::WEIGHTS))
    }
}

/// Why a run rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It was told to.
    Asked,
    /// The budget is spent.
    Spent,
    /// The loss is no number any more, or leapt; it says what to do.
    Trouble(String),
}

/// What a run says while it runs.
#[derive(Clone, Debug)]
pub enum TrainEvent {
    /// Transitions collected so far.
    Collecting {
        /// So far.
        done: usize,
        /// In all.
        total: usize,
    },
    /// The first step is next, for which a GPU compiles and times its programs.
    Preparing,
    /// It continues a run.
    Resumed(Series),
    /// Steps were taken since the last report.
    Training {
        /// The numbers.
        metric: Metric,
        /// Part of the budget spent, 0 to 1.
        progress: f64,
        /// Estimate of what remains.
        remaining: Duration,
    },
    /// A checkpoint is on disk.
    Saved(Box<Manifest>),
    /// The averaged weights, as a checkpoint would hold them.
    Weights(Box<Checkpoint>),
    /// It rests until it is told to go on.
    Resting(Rest),
    /// It took up an earlier checkpoint, at this step.
    WentBack(usize),
    /// Something failed and the run goes on without it.
    Warning(String),
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct TrainSummary {
    /// Optimizer steps in all.
    pub steps: usize,
    /// Working time in all, resumed parts included.
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

impl From<crate::files::FileError> for TrainError {
    fn from(error: crate::files::FileError) -> Self {
        Self::Checkpoint(error.into())
    }
}

/// A time in words: `1 h 02 min`, `3 min`, `40 s`.
pub fn clock(time: Duration) -> String {
    let secs = time.as_secs();
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{} min", secs.div_ceil(60)),
        _ => format!("{} h {:02} min", secs / 3600, secs % 3600 / 60),
    }
}

/// The folder of the run that distills the Diffuser in `weights`.
pub fn student_run_path(weights: &Path) -> PathBuf {
    weights.with_extension("student.run")
}

/// The folder of the run that makes `weights`.
pub fn run_path(weights: &Path) -> PathBuf {
    weights.with_extension("run")
}

/// Train the scene's model, as `orders` say. The scene's data files have whole
/// paths; see [`data_set::located`].
///
/// # Errors
/// See [`TrainError`]. What was published before stays.
pub fn train(
    scene: &Scene,
    device: &Device,
    options: &TrainOptions,
    orders: &Orders,
    on_event: &mut dyn FnMut(TrainEvent),
) -> Result<TrainSummary, TrainError> {
    let mut environment = scene.make_environment()?;
    let model = scene
        .model
        .resolve(environment.spec())
        .map_err(|error| SceneError::Value { key: "model", why: error.to_string() })?;
    // Before the long work: is there a run to continue, and room to write?
    let resumed = match options.resume {
        true => {
            check_same_run(&options.run, scene)?;
            Some(RunFolder::resume(&options.run)?)
        }
        false => None,
    };
    if let Some(out) = &options.out {
        drop(crate::files::AtomicWriter::create(out)?);
    }
    let (mut folder, continued) = match resumed {
        Some((folder, continued)) => (folder, Some(continued)),
        None => (RunFolder::create(&options.run, scene, &options.device_name)?, None),
    };
    let total = scene.data.transitions;
    let mut on_collected = |done| {
        on_event(TrainEvent::Collecting { done, total });
        orders.hold()
    };
    let prepared = prepare(scene, &model, environment.as_mut(), device, &mut on_collected);
    if orders.is_stopped() {
        // Half a data set is none; what an earlier part published stays.
        let newest = folder.manifest().newest();
        return Ok(TrainSummary {
            steps: newest.map_or(0, |entry| entry.step),
            wall: Duration::try_from_secs_f64(newest.map_or(0.0, |entry| entry.wall_secs))
                .unwrap_or_default(),
            loss: newest.and_then(|entry| entry.loss).unwrap_or_default(),
            weights: options.weights(),
            stopped: true,
        });
    }
    let Prepared { mut learner, normalizer, discretizer } = prepared?;
    let mut header = Header {
        model,
        normalizer,
        discretizer,
        environment: scene.environment.clone(),
        provenance: Provenance {
            scene_hash: data_set::training_hash(scene, None)?,
            seed: scene.train.seed,
            device: options.device_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Provenance::default()
        },
        student: None,
    };
    let mut series = Series::default();
    let mut spent = Duration::ZERO;
    if let Some(Continued { header: found, state, series: lines }) = continued {
        if data_set::has_files(scene) && found.model == header.model {
            check_same_data(&options.run, &found, &header)?;
        }
        let wall = found.provenance.wall_secs.max(0.0);
        spent = Duration::try_from_secs_f64(wall).unwrap_or_default();
        header.provenance.loss = found.provenance.loss;
        learner.restore(state)?;
        folder.write_scene(scene)?;
        series = lines;
        on_event(TrainEvent::Resumed(series.clone()));
    }
    announce(device, on_event);
    run::Run::new(learner, header, folder, options, orders, spent, series).drive(scene, on_event)
}

/// Say that the first step takes its time, where it does.
fn announce(device: &Device, on_event: &mut dyn FnMut(TrainEvent)) {
    if Buckets::of(device) != Buckets::Exact {
        on_event(TrainEvent::Preparing);
    }
}

/// Refuse to continue on files that hold something else by now.
fn check_same_data(run: &Path, found: &Header, asked: &Header) -> Result<(), CheckpointError> {
    if found.provenance.scene_hash == asked.provenance.scene_hash {
        return Ok(());
    }
    let why = "its data files hold something else now; train without --resume";
    let name = run.display().to_string();
    Err(CheckpointError::Mismatch { name, why: why.to_owned() })
}

/// Refuse to continue what trains something else. What may change while
/// training goes on may have changed.
fn check_same_run(run: &Path, asked: &Scene) -> Result<(), TrainError> {
    // Missing is a better message than a missing scene.toml.
    folder::read_manifest(run)?;
    let found = Scene::read(&run.join("scene.toml"))?;
    let spec = asked.make_environment()?;
    let resolve = |scene: &Scene| scene.model.resolve(spec.spec());
    let same = found.environment == asked.environment
        && found.data == asked.data
        && found.train.seed == asked.train.seed
        && resolve(&found)?.continues_as(&resolve(asked)?);
    if same {
        return Ok(());
    }
    let why = "it trained another environment, data set, model or seed; \
               train without --resume or with another --out";
    let name = run.display().to_string();
    Err(CheckpointError::Mismatch { name, why: why.to_owned() }.into())
}
