//! What a person does with a scene's data: looking at episodes, recording
//! demonstrations, adding them and taking that back.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lab::demonstration::{self, Demonstration, Recorder};
use crate::lab::episodes::{EpisodeKeeper, EpisodesFrame, SeenEpisode};
use crate::lab::files::FileTask;
use crate::lab::{Scene, knobs};

use super::app::App;
use super::history::EditTag;
use super::overlays::notices::Notice;
use super::stage::episodes::Drawing;

/// The file of demonstrations beside a scene.
const FILE: &str = "demonstrations.npz";

/// What the histogram counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Sums of rewards.
    #[default]
    Returns,
    /// Environment steps.
    Lengths,
}

/// An added demonstration, to take back.
struct Added {
    demonstration: Arc<Demonstration>,
    path: PathBuf,
    /// Edits of the scene behind it when it was added.
    depth: usize,
    /// Whether the scene learned of the file with it.
    is_first: bool,
}

/// A file on its way to the disk.
struct Pending {
    path: PathBuf,
    /// What the scene is to call it, and what was added; `None` if something
    /// was taken out.
    adds: Option<(String, Arc<Demonstration>)>,
}

/// What is shown of the data, and what is being recorded.
#[derive(Default)]
pub struct DataView {
    /// The picked episode.
    pub selected: Option<usize>,
    /// The entry of it that is looked at.
    pub step: usize,
    /// Whether episodes are hidden on the stage.
    pub is_hidden: bool,
    /// What the histogram counts.
    pub measure: Measure,
    /// The recording in progress.
    pub recorder: Option<Recorder>,
    /// A recording that may be added.
    pub finished: Option<Arc<Demonstration>>,
    pub(super) drawing: Drawing,
    keeper: EpisodeKeeper,
    /// The scene whose data was asked for.
    asked: Option<Box<Scene>>,
    pending: VecDeque<Pending>,
    added: Vec<Added>,
    undone: Vec<Added>,
}

impl DataView {
    /// The data set, as far as it is known.
    pub fn frame(&self) -> Option<Arc<EpisodesFrame>> {
        self.keeper.frame()
    }

    /// The picked episode.
    pub fn episode<'a>(&self, frame: &'a EpisodesFrame) -> Option<&'a SeenEpisode> {
        frame.episodes.get(self.selected?)
    }

    /// The state of the agent that is being recorded.
    pub fn agent(&self) -> Option<&[f32]> {
        self.recorder.as_ref()?.states().last().map(Vec::as_slice)
    }

    /// Demonstrations that are being written.
    pub fn is_writing(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Look at another episode.
    pub fn pick(&mut self, index: usize) {
        self.selected = Some(index);
        self.step = 0;
    }
}

/// Collect or read the data set, to look at it.
pub fn browse(app: &mut App) {
    let scene = app.session.scene().clone();
    app.data.keeper.start(&scene, app.folder.as_deref(), &app.files.wake());
    app.data.asked = Some(Box::new(scene));
    (app.data.selected, app.data.step) = (None, 0);
}

/// Look no longer.
pub fn close(app: &mut App) {
    app.data.keeper.clear();
    app.data.asked = None;
    app.data.selected = None;
}

/// Forget episodes of another world, data set or model.
pub fn pump(app: &mut App) {
    let scene = app.session.scene();
    let is_other = app.data.asked.as_ref().is_some_and(|asked| {
        asked.environment != scene.environment
            || asked.data != scene.data
            || asked.model != scene.model
    });
    if is_other {
        close(app);
    }
    if app.data.recorder.as_ref().is_some_and(Recorder::is_full) {
        stop(app);
    }
}

/// Begin a recording at the start on the stage.
pub fn record(app: &mut App) {
    let stage = app.stage_now();
    match Recorder::begin(app.session.scene(), stage.start, stage.goal) {
        Ok(recorder) => {
            app.data.recorder = Some(recorder);
            app.data.finished = None;
            app.transport.playing = false;
        }
        Err(error) => app.notify(Notice::failed("Nothing can be recorded", error.to_string())),
    }
}

/// End the recording.
pub fn stop(app: &mut App) {
    if let Some(recorder) = app.data.recorder.take() {
        app.data.finished = recorder.finish().map(Arc::new);
    }
}

/// Why demonstrations cannot be added to the scene's data.
pub fn refusal(scene: &Scene) -> Option<&'static str> {
    knobs::is_gamma(scene).then_some(
        "A γ-model asks its policy from everywhere, which a recording cannot answer. Open a \
         Diffuser or a Trajectory Transformer to learn from demonstrations.",
    )
}

/// Add the finished recording to the scene's demonstrations.
pub fn add(app: &mut App) {
    let Some(demonstration) = app.data.finished.take() else { return };
    let Some((path, name)) = file(app) else {
        app.data.finished = Some(demonstration);
        return app.notify(Notice::failed(
            "There is no folder for demonstrations",
            "Save the scene as a file first; they are kept beside it.",
        ));
    };
    app.data.undone.clear();
    write(app, path, name, demonstration);
}

fn write(app: &mut App, path: PathBuf, name: String, demonstration: Arc<Demonstration>) {
    let (to, shown) = (path.clone(), demonstration.clone());
    let make = Box::new(move || {
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        }
        demonstration::added(&to, &shown.episode).map_err(|error| error.to_string())
    });
    app.data.pending.push_back(Pending { path: path.clone(), adds: Some((name, demonstration)) });
    app.submit(FileTask::Write { path, make });
}

/// Where demonstrations go, and what the scene calls that.
fn file(app: &App) -> Option<(PathBuf, String)> {
    let folder = app.folder.clone();
    if let Some(name) = app.session.scene().data.demonstrations.clone() {
        return Some((folder.unwrap_or_default().join(&name), name));
    }
    if let Some(folder) = folder {
        return Some((folder.join(FILE), FILE.into()));
    }
    // A shipped scene lies in no folder.
    let kept = app.state_folder.as_ref()?.join("demonstrations");
    let path = kept.join(&app.name).with_extension("npz");
    let name = path.to_string_lossy().into_owned();
    Some((path, name))
}

/// A file was written: the scene learns of the first demonstration.
pub fn saved(app: &mut App, path: &Path) {
    let Some(at) = app.data.pending.iter().position(|pending| pending.path == path) else { return };
    let Some(Pending { path, adds }) = app.data.pending.remove(at) else { return };
    if let Some((name, demonstration)) = adds {
        let mut scene = app.session.scene().clone();
        let is_first = scene.data.demonstrations.as_ref() != Some(&name);
        scene.data.demonstrations = Some(name);
        if is_first && !app.edit(EditTag::Demonstrations, scene, None) {
            return;
        }
        app.history.seal();
        let depth = app.history.depth();
        app.data.added.push(Added { demonstration, path, depth, is_first });
    }
    if app.data.asked.is_some() {
        browse(app);
    }
}

/// A file was not written, for the reason in a notice with this title.
pub fn failed(app: &mut App, title: &str) {
    app.data.pending.retain(|pending| !title.contains(&pending.path.display().to_string()));
}

/// Take back the last demonstration, or add it again, if that was the last
/// change. Answers whether the scene's own history stays as it is.
pub fn travel(app: &mut App, back: bool) -> bool {
    let depth = app.history.depth();
    if back {
        if app.data.added.last().is_none_or(|added| added.depth != depth) {
            return false;
        }
        let Some(added) = app.data.added.pop() else { return false };
        let (path, is_first) = (added.path.clone(), added.is_first);
        app.data.undone.push(added);
        let to = path.clone();
        let make =
            Box::new(move || demonstration::without_last(&to).map_err(|error| error.to_string()));
        app.data.pending.push_back(Pending { path: path.clone(), adds: None });
        app.submit(FileTask::Write { path, make });
        return !is_first;
    }
    let is_next = |added: &Added| added.depth == depth + usize::from(added.is_first);
    if !app.data.undone.last().is_some_and(is_next) {
        return false;
    }
    let Some(again) = app.data.undone.pop() else { return false };
    let is_first = again.is_first;
    let (to, shown) = (again.path.clone(), again.demonstration.clone());
    let path = to.clone();
    let make = Box::new(move || {
        demonstration::added(&to, &shown.episode).map_err(|error| error.to_string())
    });
    app.data.pending.push_back(Pending { path: path.clone(), adds: None });
    app.data.added.push(again);
    app.submit(FileTask::Write { path, make });
    !is_first
}
