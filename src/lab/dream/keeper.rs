//! The thread that dreams, one at a time, beside the planner: half a minute of
//! training must not keep a dragged goal waiting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;

use super::{Bedroom, DreamError, DreamFrame, DreamRequest, DreamStage, Trained, dream};
use crate::env;
use crate::lab::background::Background;
use crate::lab::open::{self, OpenedModel};
use crate::lab::planner_thread::panic_text;
use crate::lab::scene::Scene;
use crate::lab::session::Wake;
use crate::lab::slot::Slot;

/// Keeps the newest dream and the newest ensemble; dropped, a dream ends after
/// its present optimizer step or transition.
#[derive(Default)]
pub struct DreamKeeper {
    frame: Arc<Slot<DreamFrame>>,
    trained: Arc<Slot<Trained>>,
    running: Option<Background>,
}

impl DreamKeeper {
    /// Start dreaming; what runs stops first. Never waits.
    pub fn start(
        &mut self,
        id: u64,
        scene: &Scene,
        folder: Option<&Path>,
        request: DreamRequest,
        wake: &Wake,
    ) {
        self.stop();
        let stop = Arc::new(AtomicBool::new(false));
        let dreamer = Dreamer {
            id,
            scene: scene.clone(),
            folder: folder.map(Path::to_path_buf),
            request: Arc::new(request),
            wake: Arc::clone(wake),
            stop: Arc::clone(&stop),
            frame: Arc::clone(&self.frame),
            trained: Arc::clone(&self.trained),
        };
        let first = dreamer.first();
        match Background::start("dream", stop, self.running.take(), move || dreamer.work()) {
            Ok(running) => self.running = Some(running),
            Err(why) => {
                let frame = DreamFrame { stage: DreamStage::Failed(why), ..first };
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
        self.frame.put(None);
    }

    /// The newest answer, complete or growing.
    pub fn frame(&self) -> Option<Arc<DreamFrame>> {
        self.frame.get()
    }
}

/// What the thread needs.
struct Dreamer {
    id: u64,
    scene: Scene,
    folder: Option<PathBuf>,
    request: Arc<DreamRequest>,
    wake: Wake,
    stop: Arc<AtomicBool>,
    frame: Arc<Slot<DreamFrame>>,
    trained: Arc<Slot<Trained>>,
}

impl Dreamer {
    fn work(&self) {
        // A panic in a library must not take the answer with it unsaid.
        let why = match catch_unwind(AssertUnwindSafe(|| self.dream())) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic_text(panic.as_ref()),
        };
        let known = self.frame.get().filter(|frame| frame.id == self.id);
        let mut frame = known.map_or_else(|| self.first(), |frame| (*frame).clone());
        frame.stage = DreamStage::Failed(why);
        self.publish(&frame);
    }

    fn first(&self) -> DreamFrame {
        let (request, stage) = (Arc::clone(&self.request), DreamStage::Dreaming);
        DreamFrame { id: self.id, request, stage, picture: None, curves: None }
    }

    fn dream(&self) -> Result<(), DreamError> {
        let opened = open::open(&self.scene, self.folder.as_deref(), &Device::flex())?;
        let OpenedModel::Trajectory(model) = &opened.model else {
            let other = opened.model.with_article();
            return Err(open::OpenError::OtherModel("a Trajectory Transformer", other).into());
        };
        let mut environment = opened.environment;
        let origin = opened.header.as_ref().map_or(&self.scene.environment, |h| &h.environment);
        let mut origin = env::make(origin)?;
        let bedroom = Bedroom {
            scene: &self.scene,
            folder: self.folder.as_deref(),
            environment: environment.as_mut(),
            origin: origin.as_mut(),
            model,
            trained: self.trained.get(),
        };
        let is_stopped = || self.stop.load(Ordering::Relaxed);
        let publish = &mut |frame: &DreamFrame| self.publish(frame);
        let (_, trained) = dream(bedroom, self.id, &self.request, publish, &is_stopped)?;
        if trained.is_some() {
            self.trained.put(trained);
        }
        Ok(())
    }

    fn publish(&self, frame: &DreamFrame) {
        self.frame.put(Some(Arc::new(frame.clone())));
        (self.wake)();
    }
}
