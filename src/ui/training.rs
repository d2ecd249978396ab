//! Training in the window: what a person wants of it, and the session told so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::app::App;
use super::overlays::notices::Notice;
use super::workspace::Pane;
use crate::lab::data_set::located;
use crate::lab::train::keeper::{Start, Teacher, TrainFrame, TrainStage};
use crate::lab::train::{Budget, Rest, clock};
use crate::lab::training::Shown;
use crate::lab::{DeviceChoice, Scene};

/// Folder of runs in the state folder.
const RUNS: &str = "runs";
/// Names tried before giving up on finding a free one.
const MOST_RUNS: usize = 100_000;

/// What is wanted of training, and how it is looked at.
#[derive(Clone, Debug)]
pub struct Training {
    /// Minutes, where time is the budget; `None` counts steps.
    pub minutes: Option<f64>,
    /// Steps, where they are the budget; 0 takes the scene's.
    pub steps: usize,
    /// Share of the time spent on steps.
    pub pace: f32,
    /// How much the loss is smoothed, 0 to 1.
    pub smoothing: f32,
    /// Whether the loss stands on a logarithmic axis.
    pub is_log: bool,
    /// Where the training clock stood a frame ago.
    pub(super) at: f32,
    /// What the planner's weights were when the stage was last asked.
    pub(super) reweighted: u64,
    /// The scene in training is told of once.
    pub(super) told: Option<String>,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            minutes: None,
            steps: 0,
            pace: 1.0,
            smoothing: 0.8,
            is_log: false,
            at: f32::INFINITY,
            reweighted: 0,
            told: None,
        }
    }
}

impl Training {
    /// The clock follows what is shown, not the other way round.
    pub(super) fn reset_clock(&mut self) {
        self.at = f32::NAN;
    }

    /// The budget a run of `scene` gets, one that distills or not.
    pub fn budget(&self, scene: &Scene, distills: bool) -> Budget {
        let steps = match &scene.distill {
            Some(section) if distills => section.steps,
            _ => scene.train.steps,
        };
        match self.minutes {
            Some(minutes) => {
                Budget::Time(Duration::try_from_secs_f64(60.0 * minutes).unwrap_or_default())
            }
            None if self.steps == 0 => Budget::Steps(steps),
            None => Budget::Steps(self.steps),
        }
    }
}

/// What the main button does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a run.
    Train,
    /// Rest.
    Pause,
    /// Go on.
    Resume,
}

impl Action {
    /// The button's words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Train => "Train",
            Self::Pause => "Pause",
            Self::Resume => "Resume",
        }
    }
}

/// What the main button would do.
pub fn action(app: &App) -> Action {
    let Some(frame) = app.session.training() else { return Action::Train };
    match &frame.stage {
        stage if stage.is_busy() => {
            let is_paused = app.session.training_orders().is_some_and(|orders| orders.is_paused());
            if is_paused { Action::Resume } else { Action::Pause }
        }
        // A budget that is spent has to be extended first.
        TrainStage::Resting(Rest::Spent) => Action::Train,
        TrainStage::Resting(_) => Action::Resume,
        TrainStage::Ended if can_continue(app, &frame) => Action::Resume,
        _ => Action::Train,
    }
}

/// Whether an ended run can go on with the scene that is open.
fn can_continue(app: &App, frame: &TrainFrame) -> bool {
    app.session.trains_this() && frame.manifest.as_ref().is_some_and(|m| m.latest.is_some())
}

/// Press the main button.
pub fn press(app: &mut App) {
    match action(app) {
        Action::Train => start(app),
        Action::Pause => {
            if let Some(orders) = app.session.training_orders() {
                orders.pause();
            }
        }
        Action::Resume => resume(app),
    }
}

fn resume(app: &mut App) {
    if let Some(orders) = app.session.training_orders() {
        orders.resume();
        return;
    }
    let Some(frame) = app.session.training() else { return };
    let scene = app.session.scene().clone();
    begin(app, scene, frame.run.clone(), true, frame.distills.then_some(Teacher::Run));
}

/// Start a new run of the open scene.
pub fn start(app: &mut App) {
    start_with(app, None);
}

/// Start a run that distills the open scene's Diffuser.
pub fn distill(app: &mut App) {
    if app.session.scene().distill.is_none() {
        return app.notify(Notice::failed(
            "This scene says nothing of distilling",
            "Add a [distill] section with steps = 2000 to the scene file.",
        ));
    }
    let teacher = Teacher::Scene(app.folder.clone());
    start_with(app, Some(teacher));
}

/// Whether the run at hand, if there is one, distills.
pub fn distills(app: &App) -> bool {
    app.session.training().is_some_and(|frame| frame.distills)
}

fn start_with(app: &mut App, teacher: Option<Teacher>) {
    let Some(run) = free_folder(app.state_folder.as_deref(), &app.name) else {
        app.notify(Notice::failed(
            "There is no place to keep a run",
            "Set XDG_STATE_HOME or HOME to a folder that can be written, and start again.",
        ));
        return;
    };
    let scene = app.session.scene().clone();
    app.workspace.show(Pane::Training);
    app.workspace.show(Pane::Learning);
    begin(app, scene, run, false, teacher);
}

fn begin(app: &mut App, scene: Scene, run: PathBuf, resume: bool, distills: Option<Teacher>) {
    let budget = app.training.budget(&scene, distills.is_some());
    let scene = located(&scene, app.folder.as_deref());
    let device = match app.device {
        DeviceChoice::Auto if app.session.uses_gpu() => DeviceChoice::Gpu,
        choice => choice,
    };
    let pace = app.training.pace;
    app.session.start_training(Start { scene, run, resume, distills, budget, pace, device });
    app.keep_soon();
}

/// Show the scene's own weights again; the run stays on disk.
pub fn close_run(app: &mut App) {
    app.session.forget_run();
    app.keep_soon();
}

/// Stop with a checkpoint; the run stays on disk and on the stage.
pub fn stop(app: &App) {
    if let Some(orders) = app.session.training_orders() {
        orders.stop();
    }
}

/// Tell a run in memory of another budget.
pub fn extend(app: &App) {
    let scene = app.session.training().map(|frame| Arc::clone(&frame.scene));
    if let (Some(orders), Some(scene)) = (app.session.training_orders(), scene) {
        orders.set_budget(app.training.budget(&scene, distills(app)));
    }
}

/// Go on from checkpoint `id`: in memory at once, or from disk.
pub fn go_back(app: &mut App, id: u64) {
    if let Some(orders) = app.session.training_orders() {
        orders.go_back(id);
        app.session.show_weights(Shown::Newest);
    }
}

/// Open the scene of the run in `folder`, with its checkpoints to look at and
/// to go on from. A run in training goes on; only one can be in the window.
pub fn open_run(app: &mut App, folder: &Path) {
    if app.session.training_orders().is_some() {
        return app.notify(Notice::failed(
            "A run is in training",
            "Stop it first: its checkpoints stay, and it can be opened again.",
        ));
    }
    let path = folder.join("scene.toml");
    let looked = app.session.look_at_run(folder);
    match looked {
        Ok(scene) => {
            let name = super::actions::file_name(folder);
            app.open(scene, name, Some(path));
            app.workspace.show(Pane::Training);
            app.workspace.show(Pane::Learning);
        }
        Err(error) => app.notify(Notice::failed("That run was not opened", error.to_string())),
    }
}

/// The newest runs of a state folder, newest first.
pub fn recent_runs(state: Option<&Path>, most: usize) -> Vec<PathBuf> {
    let Some(entries) = state.and_then(|state| std::fs::read_dir(state.join(RUNS)).ok()) else {
        return Vec::new();
    };
    let mut runs: Vec<_> = entries
        .filter_map(|entry| {
            let manifest = entry.ok()?.path().join("run.json");
            let changed = manifest.metadata().ok()?.modified().ok()?;
            Some((changed, manifest.parent()?.to_path_buf()))
        })
        .collect();
    runs.sort();
    runs.into_iter().rev().take(most).map(|(_, run)| run).collect()
}

/// The first free folder `NAME-N` among the runs; it is not made yet.
fn free_folder(state: Option<&Path>, name: &str) -> Option<PathBuf> {
    let stem: String = Path::new(name).file_stem()?.to_string_lossy().into_owned();
    let runs = state?.join(RUNS);
    (1..MOST_RUNS).map(|n| runs.join(format!("{stem}-{n}"))).find(|path| !path.exists())
}

/// Checkpoints that the training clock runs over.
pub(super) fn checkpoints(app: &App) -> usize {
    if !app.session.trains_this() {
        return 0;
    }
    let frame = app.session.training();
    frame.and_then(|frame| Some(frame.manifest.as_ref()?.checkpoints.len())).unwrap_or(0)
}

/// The weights at the training clock.
fn at_clock(app: &App) -> Shown {
    let place = app.transport.checkpoint;
    let entry = app.session.training().and_then(|frame| {
        let manifest = frame.manifest.clone()?;
        // Checkpoints in the order of their steps, whatever branch.
        manifest.checkpoints.get(place as usize).map(|entry| entry.id)
    });
    match entry {
        Some(id) if place.is_finite() => Shown::Checkpoint(id),
        _ => Shown::Newest,
    }
}

/// The training clock and the weights that are shown say the same: whichever
/// a person changed leads.
fn bind_clock(app: &mut App) {
    if checkpoints(app) == 0 {
        app.transport.checkpoint = f32::INFINITY;
    } else if !app.training.at.is_nan() && app.transport.checkpoint != app.training.at {
        let wanted = at_clock(app);
        if *app.session.shown_weights() != wanted {
            app.session.show_weights(wanted);
        }
    } else {
        let place = match *app.session.shown_weights() {
            Shown::Checkpoint(id) => app.session.training().and_then(|frame| {
                let all = &frame.manifest.as_ref()?.checkpoints;
                all.iter().position(|entry| entry.id == id)
            }),
            _ => None,
        };
        if place != Some(app.transport.checkpoint as usize) {
            app.transport.checkpoint = place.map_or(f32::INFINITY, |place| place as f32);
        }
    }
    app.training.at = app.transport.checkpoint;
}

/// Once a frame: ask anew where the weights are others, and say once when a
/// run fails.
pub(super) fn follow(app: &mut App) {
    bind_clock(app);
    let reweighted = app.session.status().reweighted;
    if reweighted != app.training.reweighted {
        app.training.reweighted = reweighted;
        app.ask_again();
    }
    let Some(frame) = app.session.training() else { return };
    let told = match &frame.stage {
        TrainStage::Failed(why) => Some(("Training stopped", why.clone())),
        TrainStage::Resting(Rest::Trouble(why)) => Some(("Training rests", why.clone())),
        _ => frame.warning.clone().map(|why| ("Training", why)),
    };
    let text = told.as_ref().map(|(_, why)| why.clone());
    if text == app.training.told {
        return;
    }
    app.training.told = text;
    if let Some((title, why)) = told {
        app.notify(Notice::failed(title, why));
    }
}

/// `4 min left`, `40 s left`.
pub fn remaining(time: Duration) -> String {
    format!("{} left", clock(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_run_never_takes_the_folder_of_another() {
        let state = tempfile::tempdir().unwrap();
        let first = free_folder(Some(state.path()), "four-rooms.toml").unwrap();
        assert!(first.ends_with("runs/four-rooms-1"));
        std::fs::create_dir_all(&first).unwrap();
        let second = free_folder(Some(state.path()), "four-rooms.toml").unwrap();
        assert!(second.ends_with("runs/four-rooms-2"));
        assert!(free_folder(None, "x").is_none());
    }

    #[test]
    fn recent_runs_are_those_with_a_manifest() {
        let state = tempfile::tempdir().unwrap();
        assert!(recent_runs(Some(state.path()), 5).is_empty());
        for name in ["a", "b", "broken"] {
            let run = state.path().join(RUNS).join(name);
            std::fs::create_dir_all(&run).unwrap();
            if name != "broken" {
                std::fs::write(run.join("run.json"), "{}").unwrap();
            }
        }
        assert_eq!(recent_runs(Some(state.path()), 5).len(), 2);
        assert_eq!(recent_runs(Some(state.path()), 1).len(), 1);
    }

    #[test]
    fn the_budget_is_the_scenes_unless_a_person_says_otherwise() {
        let scene = crate::ui::testing::tiny_scene();
        let mut training = Training::default();
        assert_eq!(training.budget(&scene, false), Budget::Steps(scene.train.steps));
        let distill = scene.distill.as_ref().unwrap().steps;
        assert_eq!(training.budget(&scene, true), Budget::Steps(distill));
        training.steps = 30;
        assert_eq!(training.budget(&scene, false), Budget::Steps(30));
        training.minutes = Some(1.5);
        assert_eq!(training.budget(&scene, false), Budget::Time(Duration::from_secs(90)));
    }

    #[test]
    fn what_is_left_is_said_in_words() {
        assert_eq!(remaining(Duration::from_secs(40)), "40 s left");
        assert_eq!(remaining(Duration::from_secs(61)), "2 min left");
        assert_eq!(remaining(Duration::from_secs(3660)), "1 h 01 min left");
    }
}
