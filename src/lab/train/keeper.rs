//! The thread that trains, beside the planner's, and the newest of everything
//! it makes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::folder::{self, Manifest};
use super::{Budget, Metric, Orders, Rest, Series, TrainEvent, TrainOptions, distill, train};
use crate::lab::checkpoint::{Checkpoint, CheckpointError};
use crate::lab::device::{self, DeviceChoice};
use crate::lab::open;
use crate::lab::planner_thread::panic_text;
use crate::lab::scene::Scene;
use crate::lab::session::Wake;
use crate::lab::slot::Slot;

/// Time between two reports to the window.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// Time between two looks at the weights in training.
const SHOW_EVERY: Duration = Duration::from_millis(1500);

/// Where a run stands.
#[derive(Clone, Debug, PartialEq)]
pub enum TrainStage {
    /// It is being set up.
    Starting,
    /// It collects data.
    Collecting {
        /// Transitions so far.
        done: usize,
        /// In all.
        total: usize,
    },
    /// It takes the first step, for which a GPU compiles and times its
    /// programs, since this instant.
    Preparing(Instant),
    /// It takes steps.
    Training,
    /// It rests until it is told to go on.
    Resting(Rest),
    /// It has ended and can be continued from its folder.
    Ended,
    /// It has failed; it says why and what to do.
    Failed(String),
}

impl TrainStage {
    /// Whether it is at work now.
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Starting | Self::Collecting { .. } | Self::Preparing(_) | Self::Training => true,
            Self::Resting(_) | Self::Ended | Self::Failed(_) => false,
        }
    }

    /// Whether a thread holds it in memory.
    pub fn is_alive(&self) -> bool {
        self.is_busy() || matches!(self, Self::Resting(_))
    }
}

/// The newest state of a run.
#[derive(Clone, Debug)]
pub struct TrainFrame {
    /// The run's folder.
    pub run: PathBuf,
    /// The scene that trains.
    pub scene: Arc<Scene>,
    /// Whether it distills the scene's Diffuser.
    pub distills: bool,
    /// Where it stands.
    pub stage: TrainStage,
    /// Part of the budget spent, 0 to 1.
    pub progress: f64,
    /// Estimate of what remains.
    pub remaining: Option<Duration>,
    /// The newest numbers.
    pub last: Option<Metric>,
    /// The numbers so far.
    pub series: Arc<Series>,
    /// What is on disk.
    pub manifest: Option<Arc<Manifest>>,
    /// What failed without ending the run, newest last.
    pub warning: Option<String>,
}

/// How to start a run.
pub struct Start {
    /// What trains on what.
    pub scene: Scene,
    /// The run's folder.
    pub run: PathBuf,
    /// Continue the run there.
    pub resume: bool,
    /// Distill the Diffuser in the scene's weights, which lie relative to that
    /// folder, instead of training one.
    pub distills: Option<Teacher>,
    /// When it ends.
    pub budget: Budget,
    /// Share of the time spent on steps.
    pub pace: f32,
    /// Where to compute.
    pub device: DeviceChoice,
}

/// Where the weights lie that a run distills.
#[derive(Clone, Debug)]
pub enum Teacher {
    /// The scene's own, relative to its folder; a shipped scene has none.
    Scene(Option<PathBuf>),
    /// The run's, which goes on.
    Run,
}

/// Keeps one run.
#[derive(Default)]
pub struct TrainKeeper {
    frame: Arc<Slot<TrainFrame>>,
    weights: Arc<Slot<Checkpoint>>,
    running: Option<Running>,
}

struct Running {
    orders: Arc<Orders>,
    /// Of the keeper that started the run; one that watches has none.
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Wait until its thread has ended.
    fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl TrainKeeper {
    /// Start a run; what runs stops first. Never waits.
    pub fn start(&mut self, start: Start, wake: &Wake) {
        self.stop();
        let before = self.running.take();
        self.detach();
        let orders = Arc::new(Orders::new(start.budget));
        orders.set_pace(start.pace);
        let frame = TrainFrame {
            run: start.run.clone(),
            scene: Arc::new(start.scene.clone()),
            distills: start.distills.is_some(),
            stage: TrainStage::Starting,
            progress: 0.0,
            remaining: None,
            last: None,
            series: Arc::default(),
            manifest: None,
            warning: None,
        };
        self.frame.put(Some(Arc::new(frame.clone())));
        self.weights.put(None);
        let trainer = Trainer {
            start,
            orders: Arc::clone(&orders),
            frame: Arc::clone(&self.frame),
            weights: Arc::clone(&self.weights),
            now: Mutex::new((frame.clone(), Series::default())),
            wake: Arc::clone(wake),
        };
        let started = std::thread::Builder::new().name("trainer".into()).spawn(move || {
            // Two runs at once would share the processor.
            if let Some(before) = before {
                before.join();
            }
            trainer.work();
        });
        match started {
            Ok(thread) => self.running = Some(Running { orders, thread: Some(thread) }),
            Err(error) => {
                let why =
                    format!("no thread is left ({error}); close other programs and try again");
                let frame = TrainFrame { stage: TrainStage::Failed(why), ..frame };
                self.frame.put(Some(Arc::new(frame)));
            }
        }
    }

    /// Look at the run in `path` without continuing it.
    ///
    /// # Errors
    /// No run there, or not one of this version.
    pub fn look_at(&mut self, path: &Path) -> Result<Scene, CheckpointError> {
        let manifest = folder::read_manifest(path)?;
        let mismatch =
            |why: String| CheckpointError::Mismatch { name: path.display().to_string(), why };
        let scene =
            Scene::read(&path.join("scene.toml")).map_err(|error| mismatch(error.to_string()))?;
        let lines = folder::read_metrics(path)?;
        self.stop();
        self.detach();
        let frame = TrainFrame {
            run: path.to_path_buf(),
            scene: Arc::new(scene.clone()),
            distills: manifest.distills,
            stage: TrainStage::Ended,
            progress: 1.0,
            remaining: None,
            last: lines.last().copied(),
            series: Arc::new(lines.into_iter().collect()),
            manifest: Some(Arc::new(manifest)),
            warning: None,
        };
        self.frame.put(Some(Arc::new(frame)));
        self.weights.put(None);
        Ok(scene)
    }

    /// See the run of `other` as it goes on, and tell it the same things.
    pub fn watch(&mut self, other: &Self) {
        self.stop();
        self.frame = Arc::clone(&other.frame);
        self.weights = Arc::clone(&other.weights);
        self.running = other
            .running
            .as_ref()
            .map(|running| Running { orders: Arc::clone(&running.orders), thread: None });
    }

    /// Whether the thread of a run is this keeper's.
    pub fn owns_run(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.thread.is_some())
    }

    /// Leave the slots to whoever watches them.
    fn detach(&mut self) {
        self.frame = Arc::default();
        self.weights = Arc::default();
    }

    /// What the run is told.
    pub fn orders(&self) -> Option<&Orders> {
        self.running.as_ref().map(|running| running.orders.as_ref())
    }

    /// Save and end.
    pub fn stop(&self) {
        if let Some(orders) = self.orders() {
            orders.stop();
        }
    }

    /// The newest state.
    pub fn frame(&self) -> Option<Arc<TrainFrame>> {
        self.frame.get()
    }

    /// The newest averaged weights of the run in memory.
    pub fn weights(&self) -> Option<Arc<Checkpoint>> {
        self.weights.get()
    }

    /// Forget an ended run.
    pub fn clear(&mut self) {
        self.stop();
        self.detach();
    }
}

impl Drop for TrainKeeper {
    fn drop(&mut self) {
        // One that watches leaves the run to its owner.
        if self.owns_run() {
            self.stop();
            // It ends after its present optimizer step, with a checkpoint.
            if let Some(running) = self.running.take() {
                running.join();
            }
        }
    }
}

/// What the thread needs.
struct Trainer {
    start: Start,
    orders: Arc<Orders>,
    frame: Arc<Slot<TrainFrame>>,
    weights: Arc<Slot<Checkpoint>>,
    /// The state that is published, outside of what a panic takes along.
    now: Mutex<(TrainFrame, Series)>,
    wake: Wake,
}

impl Trainer {
    fn work(&self) {
        // A panic in a library must not take the window with it.
        let stage = match catch_unwind(AssertUnwindSafe(|| self.train())) {
            Ok(Ok(())) => TrainStage::Ended,
            Ok(Err(error)) => TrainStage::Failed(error),
            Err(panic) => TrainStage::Failed(panic_text(panic.as_ref())),
        };
        self.publish(|frame, _| frame.stage = stage);
    }

    fn train(&self) -> Result<(), String> {
        let device = match self.start.device {
            // The window has its own way to find out whether a GPU pays.
            DeviceChoice::Auto => device::cpu("the CPU"),
            choice => device::choose(choice).map_err(|error| error.to_string())?,
        };
        let options = TrainOptions {
            run: self.start.run.clone(),
            out: None,
            resume: self.start.resume,
            device_name: device.name,
            report_every: REPORT_EVERY,
            show_every: Some(SHOW_EVERY),
            save_every: super::SAVE_EVERY,
            waits: true,
        };
        let on_event = &mut |event| self.take(event);
        let (scene, device) = (&self.start.scene, &device.device);
        let summary = match self.teacher()? {
            Some(teacher) => distill(scene, teacher, device, &options, &self.orders, on_event),
            None => train(scene, device, &options, &self.orders, on_event),
        };
        summary.map(drop).map_err(|error| error.to_string())
    }

    /// The weights to distill, if that is what is wanted.
    fn teacher(&self) -> Result<Option<Checkpoint>, String> {
        let read = match &self.start.distills {
            None => return Ok(None),
            Some(Teacher::Run) => Checkpoint::read(&self.start.run.join(folder::WEIGHTS)),
            Some(Teacher::Scene(folder)) => match self.start.scene.model.weights() {
                Some(weights) => open::read_weights(weights, folder.as_deref()),
                None => {
                    return Err(
                        "there are no weights to distill; train the scene and open its run".into(),
                    );
                }
            },
        };
        read.map(Some).map_err(|error| error.to_string())
    }

    fn take(&self, event: TrainEvent) {
        match event {
            TrainEvent::Weights(checkpoint) => {
                self.weights.put(Some(Arc::from(checkpoint)));
                (self.wake)();
            }
            event => self.publish(|frame, series| take(frame, series, event)),
        }
    }

    fn publish(&self, change: impl FnOnce(&mut TrainFrame, &mut Series)) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let (frame, series) = &mut *now;
        change(frame, series);
        self.frame.put(Some(Arc::new(frame.clone())));
        drop(now);
        (self.wake)();
    }
}

fn take(frame: &mut TrainFrame, series: &mut Series, event: TrainEvent) {
    match event {
        TrainEvent::Collecting { done, total } => {
            frame.stage = TrainStage::Collecting { done, total };
        }
        TrainEvent::Preparing => frame.stage = TrainStage::Preparing(Instant::now()),
        TrainEvent::Resumed(lines) => {
            frame.last = lines.lines().last().copied();
            *series = lines;
            frame.series = Arc::new(series.clone());
        }
        TrainEvent::Training { metric, progress, remaining } => {
            frame.stage = TrainStage::Training;
            frame.progress = progress;
            frame.remaining = Some(remaining);
            frame.last = Some(metric);
            series.push(metric);
            frame.series = Arc::new(series.clone());
        }
        TrainEvent::Saved(manifest) => frame.manifest = Some(Arc::from(manifest)),
        TrainEvent::Resting(why) => {
            frame.stage = TrainStage::Resting(why);
            frame.remaining = None;
        }
        TrainEvent::WentBack(step) => {
            frame.warning = Some(format!("went back to step {step}"));
        }
        TrainEvent::Warning(why) => frame.warning = Some(why),
        TrainEvent::Weights(_) => {}
    }
}
