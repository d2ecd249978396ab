//! The file worker: reads and writes off the window's thread, and the only
//! file that names rfd.
//!
//! Two threads, because a system file dialog stays open as long as a person
//! likes, and a broken desktop portal for ever: `files` does the reading and
//! writing, `dialog` waits for the dialog, and neither holds up the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::scene::{MAX_SCENE_BYTES, Scene};
use crate::files::{read_text_limited, write_atomic};

/// Tasks that may wait.
const TASK_QUEUE: usize = 32;
/// Events that may wait to be read.
const EVENT_QUEUE: usize = 64;
/// Largest recent list read.
const MAX_RECENT_BYTES: u64 = 64 * 1024;
/// A dialog that closes sooner never opened.
const LEAST_DIALOG: Duration = Duration::from_millis(300);
/// Name of the recent list in the state folder.
const RECENT: &str = "recent.txt";
/// Name of the window's layout in the state folder.
pub const LAYOUT: &str = "layout.json";
/// Name of the autosaved scene in the state folder.
pub const AUTOSAVE: &str = "autosave.toml";
/// Name of the file in the state folder that says which run was open.
const OPEN_RUN: &str = "open-run.txt";

/// The run that was open when the scene in `state` was autosaved.
pub fn open_run(state: &Path) -> Option<PathBuf> {
    let text = read_text_limited(&state.join(OPEN_RUN), MAX_RECENT_BYTES).ok()?;
    let run = PathBuf::from(text.trim());
    run.is_absolute().then_some(run)
}

/// A question for the system's file dialog.
#[derive(Clone, Debug)]
pub struct Pick {
    /// Comes back with the answer.
    pub token: u64,
    /// Ask where to save, not what to open.
    pub save: bool,
    /// The dialog's title.
    pub title: &'static str,
    /// What the files are called.
    pub filter: &'static str,
    /// The extension, without its dot.
    pub extension: &'static str,
    /// A name to suggest.
    pub file_name: String,
}

/// Makes the bytes of a file; runs on the worker.
pub type Make = Box<dyn FnOnce() -> Result<Vec<u8>, String> + Send>;

/// Something to do with files.
pub enum FileTask {
    /// Read a scene.
    Open(PathBuf),
    /// Write a scene.
    Save {
        /// Where to.
        path: PathBuf,
        /// The scene file.
        text: String,
    },
    /// Keep a copy of an edited scene. Failing to is not worth a message.
    Autosave {
        /// The state folder; made if missing.
        folder: PathBuf,
        /// The scene file.
        text: String,
        /// The run that is open.
        run: Option<PathBuf>,
    },
    /// Keep how the window is laid out. Failing to is not worth a message.
    KeepLayout {
        /// The state folder; made if missing.
        folder: PathBuf,
        /// The layout.
        text: String,
    },
    /// Make something and write it.
    Write {
        /// Where to.
        path: PathBuf,
        /// Makes it.
        make: Make,
    },
    /// Read the recent list.
    LoadRecent(PathBuf),
    /// Write the recent list.
    KeepRecent {
        /// The state folder; made if missing.
        folder: PathBuf,
        /// Newest first.
        paths: Vec<PathBuf>,
    },
    /// Ask the system's file dialog.
    Pick(Pick),
}

/// What came of a task.
pub enum FileEvent {
    /// A scene was read.
    Scene {
        /// The scene.
        scene: Box<Scene>,
        /// Where it lies.
        path: PathBuf,
    },
    /// A file was written.
    Saved {
        /// Where it lies.
        path: PathBuf,
        /// Whether it is the scene.
        is_scene: bool,
    },
    /// The file dialog closed.
    Picked {
        /// Of the question.
        purpose: u64,
        /// The answer; `None` if canceled.
        path: Option<PathBuf>,
    },
    /// There is no file dialog here.
    NoDialog {
        /// Of the question.
        purpose: u64,
    },
    /// The recent list was read.
    Recent(Vec<PathBuf>),
    /// Something did not work.
    Failed {
        /// What.
        title: String,
        /// Why, and what would help.
        advice: String,
    },
}

type Wake = Arc<dyn Fn() + Send + Sync>;

/// Handle to the worker; dropping it finishes the tasks that wait.
pub struct FileWorker {
    tasks: Option<SyncSender<FileTask>>,
    events: Receiver<FileEvent>,
    dialog_events: SyncSender<FileEvent>,
    thread: Option<JoinHandle<()>>,
    is_picking: Arc<AtomicBool>,
    wake: Wake,
}

impl FileWorker {
    /// Start the worker. `wake` is called after every event.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(wake: Wake) -> std::io::Result<Self> {
        let (tasks, inbox) = sync_channel(TASK_QUEUE);
        let (outbox, events) = sync_channel(EVENT_QUEUE);
        let dialog_events = outbox.clone();
        let worker_wake = wake.clone();
        let thread = std::thread::Builder::new().name("files".into()).spawn(move || {
            while let Ok(task) = inbox.recv() {
                if let Some(event) = guarded(task) {
                    // The window may be gone; the file is written all the same.
                    if outbox.send(event).is_ok() {
                        worker_wake();
                    }
                }
            }
        })?;
        Ok(Self {
            tasks: Some(tasks),
            events,
            dialog_events,
            thread: Some(thread),
            is_picking: Arc::default(),
            wake,
        })
    }

    /// Queue a task.
    ///
    /// # Errors
    /// When too many wait already or the worker is gone, in words for people.
    pub fn submit(&mut self, task: FileTask) -> Result<(), String> {
        if let FileTask::Pick(pick) = task {
            return self.pick(pick);
        }
        let Some(tasks) = &self.tasks else { return Err(GONE.into()) };
        tasks.try_send(task).map_err(|error| match error {
            TrySendError::Full(_) => {
                "Too many files are waiting to be written; try again in a moment.".into()
            }
            TrySendError::Disconnected(_) => GONE.into(),
        })
    }

    /// The next event, if there is one.
    pub fn poll(&mut self) -> Option<FileEvent> {
        self.events.try_recv().ok()
    }

    /// Read the recent list in `folder`.
    pub fn load_recent(&mut self, folder: &Path) {
        // Without it the list is empty, and that is all.
        self.submit(FileTask::LoadRecent(folder.to_path_buf())).ok();
    }

    /// What wakes the window.
    pub fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Whether a file dialog is open.
    pub fn is_picking(&self) -> bool {
        self.is_picking.load(Ordering::Relaxed)
    }

    fn pick(&mut self, pick: Pick) -> Result<(), String> {
        if self.is_picking.swap(true, Ordering::Relaxed) {
            // One dialog at a time; a path can still be typed.
            return Ok(());
        }
        let (outbox, wake) = (self.dialog_events.clone(), self.wake.clone());
        let is_picking = self.is_picking.clone();
        let purpose = pick.token;
        let ask = move || {
            let asked = Instant::now();
            let path = catch_unwind(AssertUnwindSafe(|| system_dialog(&pick))).unwrap_or(None);
            is_picking.store(false, Ordering::Relaxed);
            if outbox.send(answer(purpose, path, asked.elapsed())).is_ok() {
                wake();
            }
        };
        match std::thread::Builder::new().name("dialog".into()).spawn(ask) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.is_picking.store(false, Ordering::Relaxed);
                Err(format!("The system refused a thread ({error}); type a path instead."))
            }
        }
    }
}

const GONE: &str = "The file worker has stopped; restart the program to read and write files.";

impl Drop for FileWorker {
    fn drop(&mut self) {
        // Closing the queue lets the worker finish what waits, then end. The
        // dialog's thread may hang in a dead portal and is left behind.
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn system_dialog(pick: &Pick) -> Option<PathBuf> {
    let mut dialog =
        rfd::FileDialog::new().set_title(pick.title).add_filter(pick.filter, &[pick.extension]);
    if pick.save {
        dialog = dialog.set_file_name(&pick.file_name);
        dialog.save_file()
    } else {
        dialog.pick_file()
    }
}

/// rfd says "canceled" where it found no dialog to show, and the rest in its
/// log. Nobody cancels a dialog before it can be seen.
fn answer(purpose: u64, path: Option<PathBuf>, took: Duration) -> FileEvent {
    if path.is_none() && took < LEAST_DIALOG {
        FileEvent::NoDialog { purpose }
    } else {
        FileEvent::Picked { purpose, path }
    }
}

/// A panic in a task becomes a message and leaves the worker alive.
fn guarded(task: FileTask) -> Option<FileEvent> {
    catch_unwind(AssertUnwindSafe(|| perform(task))).unwrap_or_else(|_| {
        failed("A file could not be made", "This is a bug in the program; the window goes on.")
    })
}

fn perform(task: FileTask) -> Option<FileEvent> {
    match task {
        FileTask::Open(path) => open(path),
        FileTask::Save { path, text } => saved(path, text.as_bytes(), true),
        FileTask::Write { path, make } => match make() {
            Ok(bytes) => saved(path, &bytes, false),
            Err(why) => failed(format!("{} was not made", path.display()), why),
        },
        FileTask::Autosave { folder, text, run } => {
            keep(&folder, AUTOSAVE, &text);
            let run = run.map(|run| run.to_string_lossy().into_owned());
            keep(&folder, OPEN_RUN, &run.unwrap_or_default());
            None
        }
        FileTask::KeepLayout { folder, text } => {
            keep(&folder, LAYOUT, &text);
            None
        }
        FileTask::KeepRecent { folder, paths } => {
            let lines: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
            keep(&folder, RECENT, &lines.join("\n"));
            None
        }
        FileTask::LoadRecent(folder) => {
            let text = read_text_limited(&folder.join(RECENT), MAX_RECENT_BYTES).ok()?;
            let known = text.lines().filter(|line| !line.is_empty()).map(PathBuf::from);
            Some(FileEvent::Recent(known.filter(|path| path.exists()).collect()))
        }
        // Handled by its own thread.
        FileTask::Pick(_) => None,
    }
}

fn open(path: PathBuf) -> Option<FileEvent> {
    let scene = read_text_limited(&path, MAX_SCENE_BYTES)
        .map_err(|error| error.to_string())
        .and_then(|text| Scene::parse(&text).map_err(|error| error.to_string()));
    match scene {
        Ok(scene) => Some(FileEvent::Scene { scene: Box::new(scene), path }),
        Err(why) => {
            failed(format!("{} was not opened; your scene is still here", path.display()), why)
        }
    }
}

fn saved(path: PathBuf, bytes: &[u8], is_scene: bool) -> Option<FileEvent> {
    match write_atomic(&path, bytes) {
        Ok(()) => Some(FileEvent::Saved { path, is_scene }),
        Err(error) => failed(format!("{} was not written", path.display()), error.to_string()),
    }
}

/// Conveniences must not get in the way: they fail silently.
fn keep(folder: &Path, name: &str, text: &str) {
    if std::fs::create_dir_all(folder).is_ok() {
        write_atomic(&folder.join(name), text.as_bytes()).ok();
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every arm of `perform` yields an optional event")]
fn failed(title: impl Into<String>, advice: impl Into<String>) -> Option<FileEvent> {
    Some(FileEvent::Failed { title: title.into(), advice: advice.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(worker: &mut FileWorker) -> FileEvent {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(event) = worker.poll() {
                return event;
            }
            assert!(Instant::now() < deadline, "no event came");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn worker() -> FileWorker {
        FileWorker::start(Arc::new(|| {})).unwrap()
    }

    #[test]
    fn a_made_file_is_written_and_a_bad_place_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut worker = worker();
        let path = folder.path().join("plan.png");
        let make: Make = Box::new(|| Ok(vec![1, 2, 3]));
        worker.submit(FileTask::Write { path: path.clone(), make }).unwrap();
        assert!(matches!(wait(&mut worker), FileEvent::Saved { is_scene: false, .. }));
        assert_eq!(std::fs::read(&path).unwrap(), [1, 2, 3]);
        let nowhere = folder.path().join("missing/plan.png");
        worker.submit(FileTask::Write { path: nowhere, make: Box::new(|| Ok(vec![])) }).unwrap();
        let FileEvent::Failed { title, .. } = wait(&mut worker) else { panic!("not refused") };
        assert!(title.contains("missing"));
    }

    #[test]
    fn a_panic_in_a_task_leaves_the_worker_alive() {
        let mut worker = worker();
        let make: Make = Box::new(|| panic!("on purpose"));
        worker.submit(FileTask::Write { path: "never.png".into(), make }).unwrap();
        assert!(matches!(wait(&mut worker), FileEvent::Failed { .. }));
        worker.submit(FileTask::Open("missing.toml".into())).unwrap();
        assert!(matches!(wait(&mut worker), FileEvent::Failed { .. }));
    }

    #[test]
    fn a_dialog_that_never_opened_is_not_a_canceled_one() {
        let (soon, later) = (Duration::from_millis(20), Duration::from_secs(2));
        assert!(matches!(answer(1, None, soon), FileEvent::NoDialog { purpose: 1 }));
        assert!(matches!(answer(1, None, later), FileEvent::Picked { path: None, .. }));
        let chosen = Some(PathBuf::from("a"));
        assert!(matches!(answer(1, chosen, soon), FileEvent::Picked { path: Some(_), .. }));
    }

    #[test]
    fn the_recent_list_survives_and_forgets_what_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("a.toml");
        std::fs::write(&here, "").unwrap();
        let mut worker = worker();
        let paths = vec![here.clone(), folder.path().join("gone.toml")];
        let state = folder.path().join("state");
        worker.submit(FileTask::KeepRecent { folder: state.clone(), paths }).unwrap();
        worker.load_recent(&state);
        let FileEvent::Recent(known) = wait(&mut worker) else { panic!("no list") };
        assert_eq!(known, [here]);
    }
}
