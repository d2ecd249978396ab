//! The thread that gets a GPU ready while the CPU goes on planning.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::prepare::{Progress, prepare};
use super::{ChosenDevice, DeviceChoice, choose};
use crate::lab::scene::Scene;
use crate::lab::session::Wake;

/// How long the end of the program waits for a driver that is busy compiling.
const PATIENCE: Duration = Duration::from_secs(60);

/// Preparations that were broken off and may still be in their last part.
static LEFT: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// Let what was broken off come to its end, for a minute at most: a driver does
/// not survive that the program ends while it compiles.
pub fn finish() {
    let left = std::mem::take(&mut *lock(&LEFT));
    let deadline = Instant::now() + PATIENCE;
    while left.iter().any(|thread| !thread.is_finished()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A GPU that is being prepared.
#[derive(Clone, Debug, PartialEq)]
pub struct Preparing {
    /// Since when.
    pub since: Instant,
    /// How far it is.
    pub progress: Progress,
}

/// Keeps one preparation.
#[derive(Default)]
pub struct Preparer {
    running: Option<Running>,
}

struct Running {
    stop: Arc<AtomicBool>,
    state: Arc<Mutex<State>>,
    since: Instant,
    thread: JoinHandle<()>,
}

enum State {
    Working(Progress),
    Done(Result<ChosenDevice, String>),
}

impl Preparer {
    /// Prepare the GPU for a scene; what is being prepared is broken off.
    /// `reason` is why the GPU is used, once it is. Never waits.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        &mut self,
        scene: &Scene,
        folder: Option<&Path>,
        reason: &str,
        wake: &Wake,
    ) -> std::io::Result<()> {
        self.cancel();
        let stop = Arc::new(AtomicBool::new(false));
        // What was broken off is in its last part; else it is the driver's turn.
        let before = std::mem::take(&mut *lock(&LEFT));
        let part = if before.is_empty() { "driver" } else { "the end of what was canceled" };
        let first = Progress { part: part.into(), ..Progress::default() };
        let state = Arc::new(Mutex::new(State::Working(first)));
        let work = Work {
            scene: scene.clone(),
            folder: folder.map(Path::to_path_buf),
            reason: reason.to_owned(),
            wake: Arc::clone(wake),
            stop: Arc::clone(&stop),
            state: Arc::clone(&state),
        };
        let started = std::thread::Builder::new().name("gpu-preparer".into()).spawn(move || {
            // One at a time: both would wait for the same programs.
            before.into_iter().for_each(|thread| drop(thread.join()));
            work.run();
        });
        let running = |thread| Running { stop, state, since: Instant::now(), thread };
        self.running = Some(running(started?));
        Ok(())
    }

    /// Break it off; it ends with its present part, and nobody waits for that.
    pub fn cancel(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop.store(true, Ordering::Relaxed);
            lock(&LEFT).push(running.thread);
        }
        lock(&LEFT).retain(|thread| !thread.is_finished());
    }

    /// How far it is, while it is.
    pub fn now(&self) -> Option<Preparing> {
        let running = self.running.as_ref()?;
        match &*lock(&running.state) {
            State::Working(progress) => {
                Some(Preparing { since: running.since, progress: progress.clone() })
            }
            State::Done(_) => None,
        }
    }

    /// What became of it, once: a device to use, or why there is none; and how
    /// long it took.
    pub fn take(&mut self) -> Option<(Result<ChosenDevice, String>, Duration)> {
        let running = self.running.take_if(|running| running.is_done())?;
        let took = running.since.elapsed();
        let State::Done(found) = &mut *lock(&running.state) else { return None };
        Some((std::mem::replace(found, Err(String::new())), took))
    }
}

impl Running {
    fn is_done(&self) -> bool {
        matches!(&*lock(&self.state), State::Done(_))
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        // The window must not wait; see `finish`.
        self.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Work {
    scene: Scene,
    folder: Option<PathBuf>,
    reason: String,
    wake: Wake,
    stop: Arc<AtomicBool>,
    state: Arc<Mutex<State>>,
}

impl Work {
    fn run(&self) {
        let found = self.prepare();
        *lock(&self.state) = State::Done(found);
        (self.wake)();
    }

    fn prepare(&self) -> Result<ChosenDevice, String> {
        let is_stopped = || self.stop.load(Ordering::Relaxed);
        if is_stopped() {
            return Err(String::new());
        }
        let mut device = choose(DeviceChoice::Gpu).map_err(|error| error.to_string())?;
        device.reason.clone_from(&self.reason);
        let folder = self.folder.as_deref();
        let finished = prepare(&self.scene, folder, &device, true, &mut |progress| {
            *lock(&self.state) = State::Working(progress.clone());
            (self.wake)();
            if is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match finished {
            Ok(true) => Ok(device),
            Ok(false) => Err(String::new()),
            Err(error) => Err(error.to_string()),
        }
    }
}
