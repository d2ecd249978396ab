//! The window in the hands of a person: dragging, stepping, undoing, searching,
//! opening a broken file. No GPU and no display; the planner is real but tiny.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eframe::egui::{self, Event, Key, Modifiers, PointerButton, Pos2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use foresight::lab::{Scene, shipped};
use foresight::ui::overlays::path_dialog::Purpose;
use foresight::ui::stage::{self, Tool};
use foresight::ui::transport::Clock;
use foresight::ui::{App, AppOptions};

use common::Hands;

/// The U-Maze with small random weights.
fn scene() -> Scene {
    let mut scene = Scene::parse(shipped::find("maze2d-umaze-diffuser").unwrap().text).unwrap();
    scene.model.set_weights(None);
    scene.model.diffuser_mut().unwrap().waypoints = Some(16);
    scene.model.diffuser_mut().unwrap().multipliers = Some(vec![1, 2]);
    scene.plan.durations = 3;
    scene.plan.candidates_per_duration = 2;
    scene.plan.denoising_steps = 3;
    scene.stage.start = [3.0, 1.0];
    scene.stage.goal = [1.0, 1.0];
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
    /// Open the window and wait for the first plan and the ball's way.
    fn open() -> Self {
        Self::open_with(scene(), None)
    }

    fn open_with(scene: Scene, state_folder: Option<PathBuf>) -> Self {
        let options = AppOptions { state_folder, ..common::options(scene) };
        let harness = common::open(options, 900.0, |_| {});
        let mut window = Self(harness);
        window.wait("the first plan", |app| app.live.rollout().is_some());
        window
    }

    /// Stop the clocks, so that frames are alike.
    fn pause(&mut self) {
        self.0.state_mut().transport.playing = false;
        self.0.step();
    }

    fn screen(&self, world: [f32; 2]) -> Pos2 {
        stage::camera(self.app()).unwrap().screen_from_world(world)
    }

    fn hold(&mut self, at: Pos2) {
        self.move_to(at);
        self.button(at, true);
    }

    fn click(&mut self, world: [f32; 2]) {
        let at = self.screen(world);
        self.hold(at);
        self.button(at, false);
    }

    fn key(&mut self, key: Key) {
        self.0.key_press(key);
        self.0.step();
    }

    fn goal(&self) -> [f32; 2] {
        self.app().session.scene().stage.goal
    }

    /// Whether the newest plan leads to `goal`.
    fn plans_to(app: &App, goal: [f32; 2]) -> bool {
        app.live.complete().is_some_and(|film| {
            film.request.goal.iter().zip(goal).all(|(a, b)| (a - b).abs() < 1e-3)
        })
    }
}

fn near(a: [f32; 2], b: [f32; 2]) -> bool {
    (a[0] - b[0]).hypot(a[1] - b[1]) < 0.05
}

#[test]
fn dragging_the_goal_plans_during_the_drag_and_keeps_it_where_it_is_dropped() {
    let mut window = Window::open();
    let (from, middle, to) = ([1.0, 1.0], [1.0, 2.0], [1.0, 2.8]);
    let before = window.app().live.complete().unwrap().id;
    let at = window.screen(from);
    window.hold(at);
    let at = window.screen(middle);
    window.move_to(at);
    window.wait("a plan during the drag", |app| Window::plans_to(app, middle));
    assert!(window.app().live.complete().unwrap().id > before);
    assert!(window.app().live.complete().unwrap().request.near_duration.is_some());
    assert!(near(window.goal(), from), "the scene learns of it when it is dropped");
    let at = window.screen(to);
    window.move_to(at);
    window.button(at, false);
    assert!(near(window.goal(), to));
    window.wait("the full plan", |app| {
        Window::plans_to(app, to)
            && app.live.complete().is_some_and(|film| film.request.near_duration.is_none())
    });
}

#[test]
fn a_goal_dropped_on_a_wall_lands_beside_it() {
    let mut window = Window::open();
    let at = window.screen([1.0, 1.0]);
    window.hold(at);
    // The middle of the wall between the U's legs.
    let at = window.screen([1.8, 1.3]);
    window.move_to(at);
    window.button(at, false);
    let goal = window.goal();
    let layout = &window.app().place.layout;
    assert!(foresight::env::Workspace::is_free(layout, goal), "{goal:?} is in a wall");
    assert!(!near(goal, [1.0, 1.0]));
}

#[test]
fn dragging_the_start_puts_the_ball_there() {
    let mut window = Window::open();
    let at = window.screen([3.0, 1.0]);
    window.hold(at);
    let to = [3.0, 2.0];
    let at = window.screen(to);
    window.move_to(at);
    window.wait("a plan from there", |app| {
        app.live
            .complete()
            .is_some_and(|film| near([film.request.start[0], film.request.start[1]], to))
    });
    window.button(at, false);
    assert!(near(window.app().session.scene().stage.start, to));
    let film = window.app().live.complete().unwrap().clone();
    assert_eq!(&film.request.start[2..], [0.0, 0.0], "it starts at rest");
}

#[test]
fn undo_and_redo_move_the_goal_and_plan_again() {
    let mut window = Window::open();
    let at = window.screen([1.0, 1.0]);
    window.hold(at);
    for step in 1..=4 {
        let at = window.screen([1.0, 1.0 + 0.4 * step as f32]);
        window.move_to(at);
    }
    let to = [1.0, 2.6];
    let at = window.screen(to);
    window.button(at, false);
    assert!(near(window.goal(), to));
    window.ctrl(Modifiers::NONE, Key::Z);
    assert!(near(window.goal(), [1.0, 1.0]), "the whole drag is one edit");
    window.wait("the old plan", |app| Window::plans_to(app, [1.0, 1.0]));
    window.ctrl(Modifiers::SHIFT, Key::Z);
    assert!(near(window.goal(), to));
    window.wait("the new plan", |app| Window::plans_to(app, to));
}

#[test]
fn keys_step_the_denoising_chain_and_the_ball() {
    let mut window = Window::open();
    window.0.state_mut().transport.clock = Clock::Denoising;
    window.pause();
    window.key(Key::Home);
    assert_eq!(window.app().transport.chain, 0.0);
    window.key(Key::ArrowRight);
    window.key(Key::ArrowRight);
    assert_eq!(window.app().transport.chain, 2.0);
    window.key(Key::ArrowLeft);
    assert_eq!(window.app().transport.chain, 1.0);
    window.key(Key::End);
    assert_eq!(window.app().transport.chain, 3.0);
    window.key(Key::T);
    assert_eq!(window.app().transport.clock, Clock::Environment);
    window.key(Key::Home);
    window.key(Key::ArrowRight);
    assert!((window.app().transport.time_secs - 0.01).abs() < 1e-4);
    window.key(Key::Space);
    assert!(window.app().transport.playing);
}

#[test]
fn the_chain_plays_and_hands_over_to_the_ball() {
    let mut window = Window::open();
    window.key(Key::R);
    assert_eq!(window.app().transport.clock, Clock::Denoising);
    window.wait("the ball", |app| {
        app.transport.clock == Clock::Environment && app.transport.time_secs > 0.05
    });
}

#[test]
fn the_palette_finds_and_runs_a_command() {
    let mut window = Window::open();
    window.pause();
    window.ctrl(Modifiers::NONE, Key::K);
    window.0.event(Event::Text("paint walls".into()));
    window.0.step();
    window.0.step();
    window.0.get_by_label("Paint walls");
    window.key(Key::Enter);
    assert_eq!(window.app().stage.tool, Tool::Paint);
    assert!(window.app().overlay.is_none());
    window.ctrl(Modifiers::NONE, Key::K);
    window.key(Key::Escape);
    assert!(window.app().overlay.is_none());
}

#[test]
fn erasing_a_wall_changes_the_scene_and_can_be_undone() {
    let mut window = Window::open();
    window.pause();
    let maze = |window: &Window| window.app().session.scene().environment.maze.trim().to_owned();
    let before = maze(&window);
    window.key(Key::E);
    assert_eq!(window.app().stage.tool, Tool::Erase);
    window.click([1.8, 0.8]);
    assert_eq!(maze(&window).lines().nth(2), Some("#O#O#"));
    let id = window.app().live.complete().unwrap().id;
    window.wait("a plan in the new maze", move |app| {
        app.live.complete().is_some_and(|film| film.id > id)
    });
    window.ctrl(Modifiers::NONE, Key::Z);
    assert_eq!(maze(&window), before);
}

#[test]
fn walls_leave_the_frame_and_what_stands_on_the_stage_alone() {
    let mut window = Window::open();
    window.pause();
    let maze = |window: &Window| window.app().session.scene().environment.maze.trim().to_owned();
    let before = maze(&window);
    window.key(Key::W);
    for place in [[3.0, 1.0], [1.0, 1.0]] {
        window.click(place);
        assert_eq!(maze(&window), before, "{place:?} is taken");
    }
    window.key(Key::E);
    window.click([-0.2, 1.8]);
    assert_eq!(maze(&window), before, "the frame stays");
    // Closing the only way is refused, and said so.
    window.key(Key::W);
    window.click([0.8, 1.8]);
    assert_eq!(maze(&window), before);
    assert!(!window.app().notices.is_empty());
}

#[test]
fn a_waypoint_is_added_by_shift_click_and_removed_by_a_right_click() {
    let mut window = Window::open();
    window.pause();
    let place = [1.9, 2.8];
    let at = window.screen(place);
    window.0.event(Event::ModifiersChanged(Modifiers::SHIFT));
    window.move_to(at);
    window.button_with(Modifiers::SHIFT, at, true);
    window.button_with(Modifiers::SHIFT, at, false);
    window.0.event(Event::ModifiersChanged(Modifiers::NONE));
    window.0.step();
    let via = window.app().session.scene().stage.via.clone();
    assert_eq!(via.len(), 1);
    assert!(near(via[0].position, place) && (0.0..=1.0).contains(&via[0].fraction));
    window.wait("a plan through it", |app| {
        app.live.complete().is_some_and(|film| film.request.via == via)
    });
    let button = PointerButton::Secondary;
    for pressed in [true, false] {
        let modifiers = Modifiers::NONE;
        window.0.event(Event::PointerButton { pos: at, button, pressed, modifiers });
        window.0.step();
    }
    assert!(window.app().session.scene().stage.via.is_empty());
}

#[test]
fn arrow_keys_move_a_focused_handle() {
    let mut window = Window::open();
    window.pause();
    let at = window.screen([1.0, 1.0]);
    let goal = window
        .0
        .query_all_by_role(egui::accesskit::Role::Button)
        .find(|node| node.rect().contains(at) && node.rect().width() < 40.0)
        .expect("the goal is a control");
    goal.focus();
    window.0.step();
    window.0.step();
    let time = window.app().transport.time_secs;
    window.key(Key::ArrowRight);
    assert!(near(window.goal(), [1.0, 1.1]), "{:?}", window.goal());
    assert_eq!(window.app().transport.time_secs, time, "the clock does not step");
}

#[test]
fn a_new_seed_is_shown_and_planned_with() {
    let mut window = Window::open();
    let before = window.app().session.scene().stage.seed;
    window.0.get_by_label("new").click();
    window.0.step();
    window.0.step();
    let seed = window.app().session.scene().stage.seed;
    assert_ne!(seed, before);
    window
        .wait("its plan", |app| app.live.complete().is_some_and(|film| film.request.seed == seed));
}

#[test]
fn every_control_has_a_name_and_every_panel_shows() {
    let mut window = Window::open();
    window.pause();
    window.0.step();
    assert_eq!(window.0.unnamed_widgets(), Vec::<String>::new());
    for label in ["Denoising", "Chosen plan", "Candidates", "Model", "Planner", "Control"] {
        assert!(window.0.query_all_by_label(label).next().is_some(), "{label} is missing");
    }
    for (key, what) in [(Key::F1, "the key map"), (Key::Escape, "nothing")] {
        window.key(key);
        window.0.step();
        assert_eq!(window.0.unnamed_widgets(), Vec::<String>::new(), "with {what} open");
    }
    window.ctrl(Modifiers::NONE, Key::L);
    assert_eq!(window.0.ctx.theme(), egui::Theme::Light);
    assert_eq!(window.0.unnamed_widgets(), Vec::<String>::new(), "in light colors");
}

#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}

fn drop_file(window: &mut Window, path: PathBuf) {
    window.0.input_mut().dropped_files.push(Arc::new(Dropped(path)));
    window.0.step();
}

#[test]
fn a_broken_file_shows_a_notice_and_nothing_is_lost() {
    let mut window = Window::open();
    window.pause();
    let folder = tempfile::tempdir().unwrap();
    let before = window.app().session.scene().clone();
    for text in ["not a scene [", "", "format = 99"] {
        let path = folder.path().join("broken.toml");
        std::fs::write(&path, text).unwrap();
        drop_file(&mut window, path);
        window.wait("a notice", |app| !app.notices.is_empty());
        assert_eq!(*window.app().session.scene(), before, "{text:?}");
        assert!(window.app().notices[0].title.contains("broken.toml"));
        window.0.state_mut().notices.clear();
    }
    drop_file(&mut window, folder.path().join("missing.toml"));
    window.wait("a notice", |app| !app.notices.is_empty());
    let title = window.app().notices[0].title.clone();
    window.0.get_by_label(&format!("Dismiss: {title}")).click();
    window.0.step();
    window.0.step();
    assert!(window.app().notices.is_empty());
}

#[test]
fn a_dropped_scene_opens_and_saves_back_to_its_file() {
    let mut window = Window::open();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let mut other = scene();
    other.title = "Mine".into();
    other.stage.goal = [1.0, 2.4];
    std::fs::write(&path, other.to_toml()).unwrap();
    drop_file(&mut window, path.clone());
    window.wait("the scene", |app| app.session.scene().title == "Mine");
    assert_eq!(window.app().path.as_deref(), Some(path.as_path()));
    window.wait("its plan", |app| Window::plans_to(app, [1.0, 2.4]));
    window.0.get_by_label("new").click();
    window.0.step();
    window.0.step();
    let seed = window.app().session.scene().stage.seed;
    window.ctrl(Modifiers::NONE, Key::S);
    window.wait("the file", |app| !app.is_edited);
    let saved = Scene::read(&path).unwrap();
    assert_eq!((saved.stage.seed, saved.title.as_str()), (seed, "Mine"));
}

#[test]
fn the_windows_title_follows_the_scene() {
    let mut window = Window::open();
    let titled = |window: &mut Window, wanted: &str| {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let commands = window.0.output().viewport_output.values().flat_map(|v| &v.commands);
            let mut titles = commands.filter_map(|command| match command {
                egui::ViewportCommand::Title(title) => Some(title.as_str()),
                _ => None,
            });
            if let Some(title) = titles.next() {
                assert_eq!(title, wanted);
                return;
            }
            assert!(Instant::now() < deadline, "the window was never called {wanted}");
            window.0.step();
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let name = window.app().session.scene().title.clone();
    window.0.get_by_label("new").click();
    titled(&mut window, &format!("{name} (edited) - foresight"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let other = Scene { title: "Mine".into(), ..scene() };
    std::fs::write(&path, other.to_toml()).unwrap();
    drop_file(&mut window, path);
    titled(&mut window, "Mine - foresight");
}

#[test]
fn pictures_and_films_are_written() {
    let mut window = Window::open();
    let folder = tempfile::tempdir().unwrap();
    let ctx = window.0.ctx.clone();
    let purposes = [
        (Purpose::Png, "stage.png", &b"\x89PNG"[..]),
        (Purpose::Png, "by-its-ending.svg", b"<svg"),
        (Purpose::Csv, "plan.csv", b"secs,x,y,vx,vy\n0.0000,3.0"),
        (Purpose::Gif(Clock::Denoising), "chain.gif", b"GIF89a"),
    ];
    for (purpose, name, magic) in purposes {
        let path = folder.path().join(name);
        window.0.state_mut().use_path(purpose, path.clone(), &ctx);
        window.wait("the file", |_| path.exists());
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.starts_with(magic) && bytes.len() > 1000, "{name}");
    }
    let path = folder.path().join("stage.jpg");
    window.0.state_mut().use_path(Purpose::Png, path.clone(), &ctx);
    assert!(window.app().notices.iter().any(|notice| notice.text.contains(".svg")));
    assert!(!path.exists());
}

#[test]
fn edits_are_autosaved() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = Window::open_with(scene(), Some(folder.path().to_path_buf()));
    window.0.get_by_label("new").click();
    window.0.step();
    let autosave = folder.path().join("autosave.toml");
    window.wait("the autosave", |_| autosave.exists());
    let seed = window.app().session.scene().stage.seed;
    assert_eq!(Scene::read(&autosave).unwrap().stage.seed, seed);
}
