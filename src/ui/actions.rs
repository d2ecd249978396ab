//! Applying what panels, keys and files propose.

use eframe::egui;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::lab::data_set::located;
use crate::lab::files::{FileEvent, FileTask};
use crate::lab::pairs;
use crate::lab::scene::StageConfig;
use crate::lab::{Scene, Session, knobs, shipped};
use crate::plan::{PlanRequest, Previous, guess_duration};
use crate::rng::Rng;

use super::app::{App, Proposal};
use super::data::{self, DataView};
use super::export;
use super::history::EditTag;
use super::live::{Live, Origin, Wish};
use super::overlays::Overlay;
use super::overlays::notices::Notice;
use super::overlays::path_dialog::{PathDialog, Purpose};
use super::place::Place;
use super::stage::field::Field;
use super::transport::Transport;
use super::tree::Tree;

/// Most files in the recent list.
pub const MAX_RECENT: usize = 8;
/// An edit is autosaved after this much quiet.
const AUTOSAVE_AFTER: Duration = Duration::from_secs(2);

/// Send the wish whose time has come, if any.
pub fn pump(
    session: &mut Session,
    live: &mut Live,
    transport: &mut Transport,
    place: &Place,
    stage: Option<StageConfig>,
    now_secs: f64,
) {
    let Some(wish) = live.due(now_secs) else { return };
    let scene = session.scene();
    if !knobs::is_diffuser(scene) {
        // What other models are asked follows from what is shown, frame by frame.
        if wish.animate && knobs::is_trajectory(scene) {
            transport.replay();
        }
        return;
    }
    let stage = stage.unwrap_or_else(|| scene.stage.clone());
    let (start, handoff_secs) = live.origin_state(wish, &place.at_rest(stage.start), transport);
    let complete = live.complete().map(Arc::as_ref);
    let near_duration = wish.quick.then(|| {
        guess_duration(place.workspace.as_ref(), [start[0], start[1]], stage.goal, complete)
    });
    let is_warm = wish.quick && scene.plan.warm_steps > 0;
    let previous = live.previous(handoff_secs).filter(|_| is_warm);
    let previous = previous.and_then(|(film, elapsed)| Previous::of_film(film, elapsed));
    let request = PlanRequest {
        start: start.clone(),
        goal: stage.goal.into_iter().take(place.spec.goal_dims.len()).collect(),
        via: stage.via,
        settings: scene.plan.clone(),
        seed: stage.seed,
        near_duration,
        previous: previous.map(Arc::new),
    };
    let id = session.request(request);
    live.sent(id, wish, &start, handoff_secs, now_secs, transport);
}

impl App {
    pub(super) fn pump(&mut self, now_secs: f64) {
        let stage = self.stage_now();
        pump(
            &mut self.session,
            &mut self.live,
            &mut self.transport,
            &self.place,
            Some(stage),
            now_secs,
        );
    }

    pub(super) fn apply_proposals(&mut self, ctx: &egui::Context) {
        for proposal in std::mem::take(&mut self.proposals) {
            match proposal {
                Proposal::Edit(tag, scene, wish) => {
                    self.edit(tag, *scene, wish);
                }
                Proposal::Open(scene, name, path) => self.open(*scene, name, path),
                Proposal::OpenPath(path) => self.open_path(path),
                Proposal::Device(choice) => {
                    if let Err(error) = self.session.set_device(choice) {
                        let text = format!("{error}; close other programs and try again");
                        self.notify(Notice::failed("No thread is left", text));
                    }
                }
                Proposal::Run(command) => (command.run)(self, ctx),
            }
        }
    }

    /// Change the scene. On refusal the old scene stays and a notice says why.
    pub fn edit(&mut self, tag: EditTag, scene: Scene, wish: Option<Wish>) -> bool {
        if scene == *self.session.scene() {
            if let Some(wish) = wish {
                self.live.want(wish);
            }
            return true;
        }
        let before = self.session.scene().clone();
        if !self.adopt(scene) {
            return false;
        }
        self.history.record(tag, &before);
        self.is_edited = true;
        self.keep_soon();
        if let Some(wish) = wish {
            self.live.want(wish);
        }
        true
    }

    fn adopt(&mut self, scene: Scene) -> bool {
        let environment = scene.environment.clone();
        if let Err(error) = self.session.apply(scene) {
            self.notify(Notice::failed("That change was not made", error.to_string()));
            return false;
        }
        self.refresh_place(&environment);
        true
    }

    fn refresh_place(&mut self, environment: &crate::env::EnvironmentConfig) {
        if self.place.is(environment) {
            return;
        }
        self.world = pairs::world_of(self.session.scene());
        match Place::new(environment) {
            Ok(place) => self.place = place,
            Err(error) => self.notify(Notice::failed("The maze is unclear", error.to_string())),
        }
    }

    /// Take back the last edit, or do it again.
    pub fn travel(&mut self, back: bool) {
        // Prunes and forces are newer than the scene they were made in.
        if self.tree.travel(back) || data::travel(self, back) {
            return;
        }
        let now = self.session.scene().clone();
        let target = if back { self.history.undo(&now) } else { self.history.redo(&now) };
        let Some(target) = target else { return };
        let moved_start = target.stage.start != now.stage.start;
        if self.adopt(Arc::unwrap_or_clone(target)) {
            self.is_edited = true;
            self.keep_soon();
            let origin = if moved_start { Origin::Start } else { Origin::Ball };
            self.live.want(Wish::full(origin));
        }
    }

    /// Show another scene.
    pub fn open(&mut self, scene: Scene, name: String, path: Option<PathBuf>) {
        let folder = path.as_ref().and_then(|path| path.parent().map(PathBuf::from));
        let options = crate::lab::SessionOptions { device: self.device, wake: self.files.wake() };
        match Session::open(scene, folder.clone(), options) {
            Ok(mut session) => {
                self.folder = folder;
                // What trains goes on whatever is looked at.
                session.adopt_training(&mut self.session);
                self.training.reweighted = 0;
                self.training.steps = 0;
                retire(std::mem::replace(&mut self.session, session));
                let environment = self.session.scene().environment.clone();
                self.refresh_place(&environment);
                self.live.clear();
                self.history.clear();
                self.stage.reset();
                self.field = Field::default();
                self.tree = Tree::default();
                self.data = DataView::default();
                self.name = name;
                self.is_edited = false;
                // The next start opens what was open last.
                self.keep_soon();
                if let Some(path) = &path {
                    self.remember(path.clone());
                }
                self.path = path;
                self.live.want(Wish::REPLAY);
            }
            Err(error) => self.notify(Notice::failed(
                "That scene was not opened; yours is still here",
                error.to_string(),
            )),
        }
    }

    /// Read a scene file on the file worker; a `run.json` opens its run.
    pub fn open_path(&mut self, path: PathBuf) {
        if path.file_name().is_some_and(|name| name == "run.json")
            && let Some(folder) = path.parent()
        {
            return super::training::open_run(self, folder);
        }
        self.submit(FileTask::Open(path));
    }

    /// Write the scene, to `path` or where it came from; ask where if unknown.
    pub fn save(&mut self, path: Option<PathBuf>) {
        match path.or_else(|| self.path.clone()) {
            Some(path) => {
                let text = self.scene_text(path.parent());
                self.submit(FileTask::Save { path, text });
            }
            None => self.ask_path(Purpose::SaveScene),
        }
    }

    /// Ask for a path: the system's dialog, and a field to type into.
    pub fn ask_path(&mut self, purpose: Purpose) {
        let dialog = PathDialog::new(purpose, &self.name);
        self.submit(FileTask::Pick(dialog.pick()));
        self.overlay = Some(Overlay::Path(dialog));
    }

    /// Hand work to the file worker, and say so if it cannot take it.
    pub fn submit(&mut self, task: FileTask) {
        if let Err(problem) = self.files.submit(task) {
            self.notify(Notice::failed("Files are busy", problem));
        }
    }

    pub(super) fn take_files(&mut self, ctx: &egui::Context) {
        while let Some(event) = self.files.poll() {
            match event {
                FileEvent::Scene { scene, path } => {
                    let name = file_name(&path);
                    self.open(*scene, name, Some(path));
                }
                FileEvent::Saved { path, is_scene } => {
                    if is_scene {
                        self.is_edited = false;
                        self.name = file_name(&path);
                        self.remember(path.clone());
                        self.path = Some(path.clone());
                    }
                    if !is_scene {
                        data::saved(self, &path);
                    }
                    self.notify(Notice::done(format!("Saved {}", path.display())));
                }
                FileEvent::Picked { purpose, path } => self.picked(purpose, path, ctx),
                FileEvent::NoDialog { purpose } => {
                    if let Some(dialog) = self.path_dialog(purpose) {
                        dialog.browse_failed();
                    }
                }
                FileEvent::Recent(paths) => self.recent = paths.into(),
                FileEvent::Failed { title, advice } => {
                    data::failed(self, &title);
                    self.notify(Notice::failed(title, advice));
                }
            }
        }
    }

    /// The path dialog that asked the question `token`, if it is still open.
    fn path_dialog(&mut self, token: u64) -> Option<&mut PathDialog> {
        match &mut self.overlay {
            Some(Overlay::Path(dialog)) if dialog.token() == token => Some(dialog),
            _ => None,
        }
    }

    fn picked(&mut self, token: u64, path: Option<PathBuf>, ctx: &egui::Context) {
        let Some(dialog) = self.path_dialog(token) else { return };
        match path {
            Some(path) => {
                let purpose = dialog.purpose();
                self.overlay = None;
                self.use_path(purpose, path, ctx);
            }
            // Canceled: the field remains.
            None => dialog.browse_ended(),
        }
    }

    /// Do what a path was asked for. An export's ending says in what form.
    pub fn use_path(&mut self, purpose: Purpose, path: PathBuf, ctx: &egui::Context) {
        let Some(purpose) = purpose.of(&path, self.transport.clock) else {
            let title = format!("{} was not written", file_name(&path));
            let advice = "Exports end in .png, .svg, .gif or .csv.";
            return self.notify(Notice::failed(title, advice));
        };
        let target = with_extension(path.clone(), purpose.extension());
        match purpose {
            Purpose::OpenScene => self.open_path(path),
            Purpose::SaveScene => self.save(Some(target)),
            Purpose::Png => export::png(self, target, ctx),
            Purpose::Svg => export::svg(self, target, ctx),
            Purpose::Csv => export::csv(self, target),
            Purpose::Gif(clock) => export::gif(self, clock, target, ctx),
        }
    }

    pub(super) fn take_dropped(&mut self, ctx: &egui::Context) {
        let dropped = ctx.input(|input| input.raw.dropped_files.clone());
        if let Some(file) = dropped.first() {
            self.open_path(file.path().to_path_buf());
        }
    }

    fn remember(&mut self, path: PathBuf) {
        self.recent.retain(|known| *known != path);
        self.recent.push_front(path);
        self.recent.truncate(MAX_RECENT);
        if let Some(folder) = self.state_folder.clone() {
            let paths = self.recent.iter().cloned().collect();
            self.submit(FileTask::KeepRecent { folder, paths });
        }
    }

    /// What is open is not what was kept: keep it after some quiet.
    pub(super) fn keep_soon(&mut self) {
        self.autosave_due = Some(Instant::now() + AUTOSAVE_AFTER);
    }

    pub(super) fn autosave(&mut self, ctx: &egui::Context) {
        if let (Some(folder), Some(text)) = (self.state_folder.clone(), self.workspace.take_text())
        {
            self.submit(FileTask::KeepLayout { folder, text });
        }
        let (Some(due), Some(folder)) = (self.autosave_due, self.state_folder.clone()) else {
            return;
        };
        let now = Instant::now();
        if now < due {
            ctx.request_repaint_after(due - now);
            return;
        }
        self.autosave_due = None;
        let text = self.scene_text(Some(&folder));
        let run = self.session.training().map(|frame| frame.run.clone());
        self.submit(FileTask::Autosave { folder, text, run });
    }

    /// The scene as a file in `target`: weights and data are relative to the
    /// folder a scene lies in, so in another folder their paths have to be whole.
    fn scene_text(&self, target: Option<&Path>) -> String {
        let mut scene = self.session.scene().clone();
        if let (Some(weights), Some(folder)) =
            (scene.model.weights().map(str::to_owned), &self.folder)
            && shipped::weights(&weights).is_none()
            && target != Some(folder.as_path())
        {
            let whole = std::path::absolute(folder.join(weights));
            scene.model.set_weights(whole.ok().map(|path| path.to_string_lossy().into_owned()));
        }
        if self.folder.is_some() && target != self.folder.as_deref() {
            scene = located(&scene, self.folder.as_deref());
        }
        scene.to_toml()
    }

    /// Show a message.
    pub fn notify(&mut self, notice: Notice) {
        // The same message twice is one message.
        self.notices.retain(|old| old.title != notice.title || old.text != notice.text);
        self.notices.push(notice);
    }

    /// Draw another seed from the current one.
    pub fn new_seed(&mut self) {
        let mut scene = self.session.scene().clone();
        let seed = Rng::stream(scene.stage.seed, "next seed").below(1_000_000);
        scene.stage.seed = seed as u64;
        self.edit(EditTag::Seed, scene, Some(Wish::REPLAY));
    }

    /// Whether a path through free space joins the ball and a goal.
    pub fn reaches(&self, goal: [f32; 2]) -> bool {
        let from = self.live.ball(&self.transport).unwrap_or(self.session.scene().stage.start);
        // The ball may touch a wall; where it came from is as good.
        let from = self.place.legal(from).unwrap_or(from);
        self.place.workspace.connected(from, goal)
    }
}

/// A session ends after its present step; the window does not wait for that.
pub(super) fn retire(session: Session) {
    let wait = std::thread::Builder::new().name("retire".into()).spawn(move || drop(session));
    // Without a thread the closure is dropped here, and that waits after all.
    wait.ok();
}

/// The last part of a path, for people.
pub fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into())
}

fn with_extension(path: PathBuf, extension: &str) -> PathBuf {
    if path.extension().is_some() { path } else { path.with_extension(extension) }
}
