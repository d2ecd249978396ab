//! The thread that reads or collects what is looked at.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{EpisodesFrame, Stage, first_episodes};
use crate::lab::planner_thread::panic_text;
use crate::lab::scene::Scene;
use crate::lab::session::Wake;
use crate::lab::slot::Slot;

/// Keeps the newest answer. A thread that is superseded runs out by itself:
/// what it finds is not taken.
#[derive(Default)]
pub struct EpisodeKeeper {
    frame: Arc<Slot<EpisodesFrame>>,
    stop: Arc<AtomicBool>,
    newest: Arc<AtomicU64>,
}

impl EpisodeKeeper {
    /// Look at a scene's data; what runs is superseded. Never waits. Answers
    /// the question's number.
    pub fn start(&mut self, scene: &Scene, folder: Option<&Path>, wake: &Wake) -> u64 {
        self.clear();
        self.stop = Arc::default();
        let id = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        let reader = Reader {
            id,
            scene: scene.clone(),
            folder: folder.map(Path::to_path_buf),
            wake: Arc::clone(wake),
            stop: Arc::clone(&self.stop),
            newest: Arc::clone(&self.newest),
            frame: Arc::clone(&self.frame),
        };
        self.frame.put(Some(Arc::new(reader.answer(Stage::Loading))));
        let started =
            std::thread::Builder::new().name("episodes".into()).spawn(move || reader.work());
        if let Err(error) = started {
            let why = format!("no thread is left ({error}); close other programs and try again");
            let stage = Stage::Failed(why);
            let frame = EpisodesFrame { id, stage, episodes: Vec::new(), sample: String::new() };
            self.frame.put(Some(Arc::new(frame)));
        }
        id
    }

    /// Break off and forget.
    pub fn clear(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Whatever still runs is not the newest any more.
        self.newest.fetch_add(1, Ordering::Relaxed);
        self.frame.put(None);
    }

    /// The newest answer.
    pub fn frame(&self) -> Option<Arc<EpisodesFrame>> {
        self.frame.get()
    }
}

impl Drop for EpisodeKeeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Reader {
    id: u64,
    scene: Scene,
    folder: Option<PathBuf>,
    wake: Wake,
    stop: Arc<AtomicBool>,
    newest: Arc<AtomicU64>,
    frame: Arc<Slot<EpisodesFrame>>,
}

impl Reader {
    fn answer(&self, stage: Stage) -> EpisodesFrame {
        EpisodesFrame { id: self.id, stage, episodes: Vec::new(), sample: String::new() }
    }

    fn work(&self) {
        let mut on_step = |_| match self.stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let read =
            AssertUnwindSafe(|| first_episodes(&self.scene, self.folder.as_deref(), &mut on_step));
        let frame = match catch_unwind(read) {
            Ok(Ok((episodes, sample))) => {
                EpisodesFrame { id: self.id, stage: Stage::Done, episodes, sample }
            }
            Ok(Err(error)) => self.answer(Stage::Failed(error.to_string())),
            Err(panic) => self.answer(Stage::Failed(panic_text(panic.as_ref()))),
        };
        if self.newest.load(Ordering::Relaxed) == self.id {
            self.frame.put(Some(Arc::new(frame)));
            (self.wake)();
        }
    }
}
