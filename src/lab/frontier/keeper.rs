//! The thread that measures, one at a time, beside the planner and the trainer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use burn::tensor::Device;

use super::{Frontier, MeasureOptions, Parts, measure};
use crate::lab::background::Background;
use crate::lab::checkpoint::Checkpoint;
use crate::lab::open::{self, OpenError};
use crate::lab::planner_thread::panic_text;
use crate::lab::scene::Scene;
use crate::lab::session::Wake;
use crate::lab::slot::Slot;

/// How long a measurement rests when the planner is at work.
const YIELD: Duration = Duration::from_millis(5);

/// Where a measurement stands.
#[derive(Clone, Debug, PartialEq)]
pub enum MeasureStage {
    /// It runs; the part that is done, 0 to 1.
    Running(f64),
    /// It was stopped; what was measured stays.
    Stopped,
    /// It is complete.
    Done,
    /// It failed; it says why.
    Failed(String),
}

/// The newest state of a measurement.
#[derive(Clone, Debug)]
pub struct MeasureFrame {
    /// Where it stands.
    pub stage: MeasureStage,
    /// What is known so far.
    pub frontier: Option<Arc<Frontier>>,
}

/// Which weights are measured.
pub enum MeasuredWeights {
    /// The scene's own; where its file lies.
    Own(Option<PathBuf>),
    /// Those in memory.
    Memory(Arc<Checkpoint>),
    /// A checkpoint of a run.
    File(PathBuf),
}

/// Keeps one measurement; dropped, it ends after its present episode.
#[derive(Default)]
pub struct FrontierKeeper {
    frame: Arc<Slot<MeasureFrame>>,
    running: Option<Background>,
}

impl FrontierKeeper {
    /// Start measuring `scene` with `episodes` a point; what runs stops first.
    /// It rests while `is_planning`. Never waits.
    pub fn start(
        &mut self,
        scene: Scene,
        weights: MeasuredWeights,
        episodes: usize,
        is_planning: Arc<dyn Fn() -> bool + Send + Sync>,
        wake: &Wake,
    ) {
        self.stop();
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Measurer {
            scene,
            weights,
            episodes,
            is_planning,
            stop: Arc::clone(&stop),
            frame: Arc::clone(&self.frame),
            wake: Arc::clone(wake),
        };
        worker.publish(MeasureStage::Running(0.0), None);
        match Background::start("frontier", stop, self.running.take(), move || worker.work()) {
            Ok(running) => self.running = Some(running),
            Err(why) => {
                let frame = MeasureFrame { stage: MeasureStage::Failed(why), frontier: None };
                self.frame.put(Some(Arc::new(frame)));
            }
        }
    }

    /// Break off what runs; what it has found stays.
    pub fn stop(&self) {
        if let Some(running) = &self.running {
            running.stop();
        }
    }

    /// Break off and forget: another model or another world.
    pub fn clear(&mut self) {
        self.stop();
        // What it still says goes to a slot nobody looks at.
        self.frame = Arc::default();
    }

    /// The newest state.
    pub fn frame(&self) -> Option<Arc<MeasureFrame>> {
        self.frame.get()
    }
}

/// What the thread needs.
struct Measurer {
    scene: Scene,
    weights: MeasuredWeights,
    episodes: usize,
    is_planning: Arc<dyn Fn() -> bool + Send + Sync>,
    stop: Arc<AtomicBool>,
    frame: Arc<Slot<MeasureFrame>>,
    wake: Wake,
}

impl Measurer {
    fn work(&self) {
        // A panic in a library must not take the window with it.
        let stage = match catch_unwind(AssertUnwindSafe(|| self.measure())) {
            Ok(Ok(stage)) => stage,
            Ok(Err(error)) => MeasureStage::Failed(error),
            Err(panic) => MeasureStage::Failed(panic_text(panic.as_ref())),
        };
        let known = self.frame.get().and_then(|frame| frame.frontier.clone());
        self.publish(stage, known);
    }

    fn measure(&self) -> Result<MeasureStage, String> {
        let device = Device::flex();
        let from_checkpoint = |name: &str, found: Checkpoint| {
            open::open_checkpoint(&self.scene, name, found, &device)
        };
        let opened = match &self.weights {
            MeasuredWeights::Own(folder) => open::open(&self.scene, folder.as_deref(), &device),
            MeasuredWeights::Memory(found) => from_checkpoint("the run", (**found).clone()),
            MeasuredWeights::File(path) => Checkpoint::read(path)
                .map_err(OpenError::from)
                .and_then(|found| from_checkpoint(&name_of(path), found)),
        };
        let mut opened = opened.map_err(|error| error.to_string())?;
        let options = MeasureOptions {
            name: self.scene.title.clone(),
            machine: format!("{}, while the window was in use", crate::lab::device::machine()),
            episodes: self.episodes,
            seed: 0,
            parts: Parts { drags: false, ..Parts::ALL },
            // The other threads are the window's.
            at_once: 1,
        };
        let found = measure(&self.scene, &mut opened, &options, &mut |part, frontier| {
            while (self.is_planning)() && !self.stop.load(Ordering::Relaxed) {
                std::thread::sleep(YIELD);
            }
            let known = self.frame.get().and_then(|frame| frame.frontier.clone());
            let grown = known.as_ref().is_none_or(|known| n_points(known) != n_points(frontier));
            let frontier = if grown { Some(Arc::new(frontier.clone())) } else { known };
            self.publish(MeasureStage::Running(part), frontier);
            crate::lab::planner_thread::go_on(!self.stop.load(Ordering::Relaxed))
        });
        let found = found.map_err(|error| error.to_string())?;
        self.publish(MeasureStage::Running(1.0), Some(Arc::new(found)));
        match self.stop.load(Ordering::Relaxed) {
            true => Ok(MeasureStage::Stopped),
            false => Ok(MeasureStage::Done),
        }
    }

    fn publish(&self, stage: MeasureStage, frontier: Option<Arc<Frontier>>) {
        self.frame.put(Some(Arc::new(MeasureFrame { stage, frontier })));
        (self.wake)();
    }
}

fn n_points(frontier: &Frontier) -> usize {
    frontier.points.len() + frontier.replanning.len()
}

fn name_of(path: &Path) -> String {
    path.display().to_string()
}
