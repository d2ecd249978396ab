//! The data set in the hands of a person: episodes to look at, one to scrub
//! through, and a demonstration to record, add and take back. No GPU and no
//! display; models are tiny and untrained.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::path::{Path, PathBuf};

use eframe::egui::{Key, Modifiers, Pos2};
use egui_kittest::Harness;
use foresight::data::read_npz;
use foresight::lab::episodes::Stage;
use foresight::lab::{Scene, knobs, shipped};
use foresight::ui::stage::{self, field, tree};
use foresight::ui::{App, AppOptions};

use common::Hands;

/// A shipped scene with random weights and little data.
fn scene(name: &str) -> Scene {
    let mut scene = Scene::parse(shipped::find(name).unwrap().text).unwrap();
    scene.model.set_weights(None);
    scene.data.transitions = 3000;
    if let Some(model) = scene.model.diffuser_mut() {
        model.waypoints = Some(16);
        model.multipliers = Some(vec![1, 2]);
    }
    if let Some(model) = scene.model.gamma_mut() {
        (model.couplings, model.bins, model.hidden) = (Some(2), Some(4), Some(8));
    }
    scene.plan.durations = 3;
    scene.plan.candidates_per_duration = 2;
    scene.plan.denoising_steps = 3;
    scene
}

struct Window(Harness<'static, App>);

impl Hands for Window {
    fn window(&mut self) -> &mut Harness<'static, App> {
        &mut self.0
    }

    fn seen(&self) -> &Harness<'static, App> {
        &self.0
    }
}

impl Window {
    fn open(scene: Scene, folder: Option<PathBuf>, state_folder: Option<PathBuf>) -> Self {
        let options = AppOptions { folder, state_folder, ..common::options(scene) };
        let harness = common::open(options, 1600.0, |_| {});
        let mut window = Self(harness);
        window.wait("the stage", |app| app.stage.rect().is_some());
        window
    }

    fn screen(&self, world: [f32; 2]) -> Pos2 {
        let app = self.app();
        if field::is_here(app) {
            app.field.panes()[0].screen_from_world(world)
        } else if tree::is_here(app) {
            tree::pane(app).unwrap().screen_from_world(world)
        } else {
            stage::camera(app).unwrap().screen_from_world(world)
        }
    }

    /// Record an episode that is led to a place for so many frames.
    fn record(&mut self, place: [f32; 2], frames: usize) {
        self.press("Record");
        let at = self.screen(place);
        self.move_to(at);
        self.button(at, true);
        (0..frames).for_each(|_| self.0.step());
        self.button(at, false);
        self.press("Stop");
    }
}

fn episodes(path: &Path) -> usize {
    read_npz(path).map_or(0, |all| all.episodes().len())
}

#[test]
fn every_kind_of_scene_shows_its_episodes_and_one_can_be_scrubbed() {
    for name in ["maze2d-umaze-diffuser", "four-rooms-gamma", "pendulum-transformer"] {
        let mut window = Window::open(scene(name), None, None);
        window.press("Show episodes");
        window.wait("the episodes", |app| {
            app.data.frame().is_some_and(|frame| frame.stage == Stage::Done)
        });
        let frame = window.app().data.frame().unwrap();
        assert!(frame.episodes.len() > 5, "{name}");
        window.0.state_mut().data.pick(2);
        window.0.step();
        let last = frame.episodes[2].states.len() - 1;
        window.0.state_mut().data.step = last;
        window.0.step();
        assert!(window.has("state") && window.has("the end"), "{name}");
        window.0.state_mut().data.step = 0;
        window.0.step();
        assert!(!window.has("the end"));
        window.press("Lengths");
        window.press("On the stage");
        assert!(window.app().data.is_hidden);
        window.press("Close");
        assert!(window.app().data.frame().is_none() && window.has("Show episodes"));
    }
}

#[test]
fn a_row_of_the_list_picks_its_episode() {
    let mut window = Window::open(scene("maze2d-umaze-diffuser"), None, None);
    window.press("Show episodes");
    window.wait("the episodes", |app| {
        app.data.frame().is_some_and(|frame| frame.stage == Stage::Done)
    });
    let frame = window.app().data.frame().unwrap();
    let second = &frame.episodes[1];
    let row = format!("{:>4} {:>6} {:>9.2}  {}", 2, second.steps(), second.total(), second.by);
    window.press(&row);
    assert_eq!(window.app().data.selected, Some(1));
}

#[test]
fn another_maze_forgets_the_episodes() {
    let mut window = Window::open(scene("maze2d-umaze-diffuser"), None, None);
    window.press("Show episodes");
    window.wait("the episodes", |app| app.data.frame().is_some());
    let mut other = window.app().session.scene().clone();
    other.data.seed += 1;
    window.0.state_mut().session.apply(other).unwrap();
    window.0.step();
    window.0.step();
    assert!(window.app().data.frame().is_none());
}

#[test]
fn a_demonstration_is_recorded_added_beside_the_scene_and_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demonstrations.npz");
    let mut window =
        Window::open(scene("maze2d-umaze-diffuser"), Some(folder.path().to_path_buf()), None);
    window.record([3.0, 2.5], 30);
    let shown = window.app().data.finished.clone().unwrap();
    // About a second, at the environment's 100 steps a second.
    assert!((60..160).contains(&shown.episode.len()), "{}", shown.episode.len());
    assert!(shown.states.last().unwrap()[1] > 1.5, "it went to the right");
    let goal = window.app().session.scene().stage.goal;
    window.press("Add to data set");
    window.wait("the file", |app| app.session.scene().data.demonstrations.is_some());
    assert_eq!(read_npz(&path).unwrap(), shown.episode);
    let named = |window: &Window| window.app().session.scene().data.demonstrations.clone();
    assert_eq!(named(&window).as_deref(), Some("demonstrations.npz"));
    assert_eq!(window.app().session.scene().stage.goal, goal, "nothing else was dragged");

    window.record([3.0, 2.0], 15);
    window.press("Add to data set");
    window.wait("the second", |_| episodes(&path) == 2);
    window.wait("quiet", |app| !app.data.is_writing());
    window.ctrl(Modifiers::NONE, Key::Z);
    window.wait("the first alone", |_| episodes(&path) == 1);
    assert!(named(&window).is_some());
    window.wait("quiet", |app| !app.data.is_writing());
    window.ctrl(Modifiers::NONE, Key::Z);
    window.wait("nothing", |_| episodes(&path) == 0);
    assert_eq!(named(&window), None);
    window.wait("quiet", |app| !app.data.is_writing());
    window.ctrl(Modifiers::SHIFT, Key::Z);
    window.wait("the first again", |_| episodes(&path) == 1);
    assert!(named(&window).is_some());
    assert_eq!(read_npz(&path).unwrap(), shown.episode);
}

#[test]
fn shipped_scenes_keep_demonstrations_in_the_state_folder() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_path_buf();
    let mut window = Window::open(scene("pendulum-transformer"), None, Some(state));
    assert!(knobs::is_trajectory(window.app().session.scene()));
    window.record([2.0, 0.0], 20);
    window.press("Add to data set");
    window.wait("the file", |app| app.session.scene().data.demonstrations.is_some());
    let name = window.app().session.scene().data.demonstrations.clone().unwrap();
    assert!(Path::new(&name).starts_with(folder.path()) && episodes(Path::new(&name)) == 1);
    window.app().session.scene().check().unwrap();
}

#[test]
fn a_gamma_model_records_but_does_not_add_and_says_why() {
    let mut window = Window::open(scene("four-rooms-gamma"), None, None);
    window.record([0.3, -0.3], 20);
    let app = window.app();
    assert!(app.data.finished.is_some());
    let why = foresight::ui::data::refusal(app.session.scene()).unwrap();
    assert!(window.has(why));
    window.press("Discard");
    assert!(window.app().data.finished.is_none());
}

#[test]
fn without_a_folder_nothing_is_lost() {
    let mut window = Window::open(scene("maze2d-umaze-diffuser"), None, None);
    window.record([3.0, 2.5], 10);
    window.press("Add to data set");
    assert!(window.app().data.finished.is_some());
    assert!(window.app().notices.iter().any(|notice| notice.text.contains("Save the scene")));
}
