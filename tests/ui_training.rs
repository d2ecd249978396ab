//! Training in the hands of a person: train, pause, change the step size, go
//! on, look at an earlier checkpoint, go back, open another scene meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod common;

use eframe::egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use foresight::lab::files;
use foresight::lab::train::Rest;
use foresight::lab::train::keeper::{TrainFrame, TrainStage};
use foresight::lab::training::Shown;
use foresight::lab::{Scene, shipped};
use foresight::ui::transport::Clock;
use foresight::ui::workspace::Pane;
use foresight::ui::{App, AppOptions};

use common::Hands;

fn scene() -> Scene {
    let mut scene = Scene::parse(shipped::find("maze2d-umaze-diffuser").unwrap().text).unwrap();
    scene.model.set_weights(None);
    scene.model.diffuser_mut().unwrap().waypoints = Some(16);
    scene.model.diffuser_mut().unwrap().multipliers = Some(vec![1, 2]);
    scene.model.diffuser_mut().unwrap().batch = Some(4);
    scene.data.transitions = 5000;
    scene.plan.durations = 3;
    scene.plan.candidates_per_duration = 2;
    scene.plan.denoising_steps = 3;
    scene.train.steps = 1_000_000;
    scene
}

struct Window(Harness<'static, App>, tempfile::TempDir);

impl Hands for Window {
    fn window(&mut self) -> &mut Harness<'static, App> {
        &mut self.0
    }

    fn seen(&self) -> &Harness<'static, App> {
        &self.0
    }
}

impl Window {
    fn open() -> Self {
        let state = tempfile::tempdir().unwrap();
        let options = AppOptions {
            state_folder: Some(state.path().to_path_buf()),
            ..common::options(scene())
        };
        let harness = common::open(options, 900.0, |_| {});
        let mut window = Self(harness, state);
        window.wait("the first plan", |app| app.live.rollout().is_some());
        window
    }
}

fn with(app: &App, test: impl Fn(&TrainFrame) -> bool) -> bool {
    app.session.training().is_some_and(|frame| test(&frame))
}

fn step(app: &App) -> usize {
    app.session.training().and_then(|frame| Some(frame.last?.step)).unwrap_or(0)
}

#[test]
fn a_person_trains_pauses_changes_the_step_size_goes_on_and_looks_back() {
    let mut window = Window::open();
    let before = window.app().live.complete().unwrap().clone();
    window.ctrl(Modifiers::NONE, Key::T);
    assert!(window.app().workspace.is_front(Pane::Training));
    assert!(window.app().workspace.is_front(Pane::Learning));
    window.wait("the first steps", |app| step(app) > 10);
    // The stage follows the weights.
    window.wait("a plan by the weights in training", |app| {
        app.live.complete().unwrap().id > before.id
            && app.session.status().model.as_ref().is_some_and(|card| card.trained_steps > 0)
    });

    window.press("Pause");
    window.wait("the pause", |app| with(app, |f| f.stage == TrainStage::Resting(Rest::Asked)));
    let paused_at = step(window.app());
    for _ in 0..20 {
        window.0.step();
    }
    assert_eq!(step(window.app()), paused_at);

    let mut tuned = window.app().session.scene().clone();
    tuned.model.diffuser_mut().unwrap().learning_rate = Some(1e-6);
    let tag = foresight::ui::history::EditTag::Knob("train.learning_rate");
    assert!(window.0.state_mut().edit(tag, tuned, None));
    window.press("Resume");
    window.wait("the smaller steps", |app| {
        with(app, |frame| frame.last.is_some_and(|last| last.learning_rate < 2e-6))
    });
    assert!(step(window.app()) > paused_at);

    // Back to the untrained weights by the training clock, and to the newest.
    window.wait("two checkpoints", |app| {
        with(app, |frame| frame.manifest.as_ref().is_some_and(|m| m.checkpoints.len() > 1))
    });
    let id = window.app().live.complete().unwrap().id;
    window.0.state_mut().transport.clock = Clock::Training;
    window.0.key_press(Key::Home);
    window.wait("the untrained weights", |app| {
        *app.session.shown_weights() == Shown::Checkpoint(1)
            && app.session.status().model.as_ref().is_some_and(|card| card.trained_steps == 0)
            && app.live.complete().unwrap().id > id
    });
    assert_eq!(window.app().transport.checkpoint, 0.0);
    window.0.key_press(Key::End);
    window.wait("the newest weights", |app| *app.session.shown_weights() == Shown::Newest);

    // Going back in training is a branch; nothing that was there is lost.
    window.app().session.training_orders().unwrap().go_back(1);
    window.wait("the branch", |app| with(app, |f| f.last.is_some_and(|last| last.branch == 1)));

    window.press("Stop");
    window.wait("the end", |app| with(app, |frame| frame.stage == TrainStage::Ended));
    assert!(with(window.app(), |frame| frame.run.join("weights.safetensors").is_file()));
    // What ended can be opened again, with all its checkpoints, and go on.
    let run = window.app().session.training().unwrap().run.clone();
    let steps = step(window.app());
    window.0.state_mut().open_path(run.join("run.json"));
    window.wait("the run", |app| with(app, |frame| frame.run == run && frame.manifest.is_some()));
    assert!(window.app().session.trains_this());
    window.press("Resume");
    window.wait("more steps", |app| step(app) > steps);
    window.press("Stop");
    window.wait("the end", |app| with(app, |frame| frame.stage == TrainStage::Ended));
    window.press("Close run");
    window.wait("the scene's own weights", |app| *app.session.shown_weights() == Shown::Own);
    assert!(window.app().session.training().is_none());
}

#[test]
fn training_goes_on_while_another_scene_is_looked_at() {
    let mut window = Window::open();
    window.ctrl(Modifiers::NONE, Key::T);
    window.wait("the first steps", |app| step(app) > 3);
    let mut other = scene();
    other.model.diffuser_mut().unwrap().waypoints = Some(32);
    window.0.state_mut().open(other, "other".into(), None);
    let then = step(window.app());
    window.wait("more steps", |app| step(app) > then + 3);
    assert!(!window.app().session.trains_this());
    assert_eq!(*window.app().session.shown_weights(), Shown::Own);
    window.wait("a plan in the other scene", |app| app.live.complete().is_some());
}

#[test]
fn a_tab_shows_its_panel() {
    let mut window = Window::open();
    assert!(window.0.query_by_label("Train").is_none());
    window.0.get_by_label("Training").click();
    window.0.step();
    window.0.step();
    assert!(window.0.query_by_label("Train").is_some());
    window.0.get_by_label("Controls").click();
    window.0.step();
    window.0.step();
    assert!(window.0.query_by_label("Train").is_none());
}

#[test]
fn two_sides_answer_the_same_question_with_other_settings() {
    let mut window = Window::open();
    window.0.key_press_modifiers(Modifiers::COMMAND, Key::Backslash);
    window.0.step();
    window.wait("a plan on both sides", |app| {
        app.compare.mirror_live().is_some_and(|live| live.complete().is_some())
    });
    // The same noise and the same weights make the same plan.
    let plans = |app: &App| {
        let ours = app.live.complete()?.clone();
        let theirs = app.compare.mirror_live()?.complete()?.clone();
        Some((ours, theirs))
    };
    window.wait("the same plan", |app| {
        plans(app).is_some_and(|(a, b)| a.plan.is_some() && a.plan == b.plan)
    });

    // Another setting is this side's alone, another goal is both sides'.
    let mut scene = window.app().session.scene().clone();
    scene.plan.denoising_steps = 5;
    scene.stage.goal = [1.0, 2.0];
    let tag = foresight::ui::history::EditTag::Seed;
    let wish = foresight::ui::live::Wish::REPLAY;
    assert!(window.0.state_mut().edit(tag, scene, Some(wish)));
    window.wait("plans to the new goal", |app| {
        plans(app).is_some_and(|(a, b)| {
            a.total_steps == 5
                && b.total_steps == 3
                && a.request.goal == b.request.goal
                && b.request.goal == [1.0, 2.0]
        })
    });

    // The other side can be worked with, and its settings are its own.
    window.0.key_press(Key::Tab);
    window.0.step();
    window.0.step();
    assert_eq!(window.app().session.scene().plan.denoising_steps, 3);
    assert_eq!(window.app().compare.mirror().unwrap().scene().plan.denoising_steps, 5);
    window.0.key_press_modifiers(Modifiers::COMMAND, Key::Backslash);
    window.0.step();
    window.0.step();
    assert!(!window.app().compare.is_on());
}

#[test]
fn two_runs_stand_on_one_plot_and_closing_a_side_stops_neither() {
    let mut window = Window::open();
    window.0.key_press_modifiers(Modifiers::COMMAND, Key::Backslash);
    window.wait("a second side", |app| app.compare.is_on());
    // A run that begins later is seen from both sides.
    window.ctrl(Modifiers::NONE, Key::T);
    let of_mirror = |app: &App| app.compare.mirror()?.training();
    window.wait("the run on both sides", |app| {
        step(app) > 5 && of_mirror(app).is_some_and(|frame| frame.manifest.is_some())
    });
    let first = window.app().session.training().unwrap().run.clone();
    assert_eq!(of_mirror(window.app()).unwrap().run, first);
    window.press("Stop");
    window.wait("the end", |app| with(app, |frame| frame.stage == TrainStage::Ended));

    // Another run stands beside it, under the name of its folder.
    foresight::ui::training::start(window.0.state_mut());
    window.wait("the second run", |app| step(app) > 5 && with(app, |frame| frame.run != first));
    assert_eq!(of_mirror(window.app()).unwrap().run, first);
    let name = first.file_name().unwrap().to_str().unwrap().to_owned();
    window.wait("a plot", |app| with(app, |frame| frame.series.lines().len() > 2));
    assert!(window.0.query_by_label(&name).is_some());

    // From the other side it is seen but not owned; closing the side that owns
    // it leaves it training.
    window.0.key_press(Key::Tab);
    window.wait("the other side", |app| with(app, |frame| frame.run == first));
    window.0.key_press_modifiers(Modifiers::COMMAND, Key::Backslash);
    window.wait("one side", |app| !app.compare.is_on());
    let then = step(window.app());
    window.wait("more steps", |app| with(app, |frame| frame.run != first) && step(app) > then);
}

#[test]
fn the_run_that_was_open_is_there_again_at_the_next_start() {
    let mut window = Window::open();
    window.ctrl(Modifiers::NONE, Key::T);
    window.wait("the first steps", |app| step(app) > 5);
    window.press("Stop");
    window.wait("the end", |app| with(app, |frame| frame.stage == TrainStage::Ended));
    let state = window.1.path().to_path_buf();
    let run = window.app().session.training().unwrap().run.clone();
    window.wait("the autosave", |_| files::open_run(&state).as_ref() == Some(&run));

    let options = AppOptions { run: files::open_run(&state), ..common::options(scene()) };
    let mut again = common::open(options, 900.0, |_| {});
    common::wait(&mut again, "the trained weights", |app| {
        app.session.status().model.as_ref().is_some_and(|card| card.trained_steps > 0)
    });
    assert!(with(again.state(), |frame| frame.run == run && frame.stage == TrainStage::Ended));
    assert_eq!(*again.state().session.shown_weights(), Shown::Newest);
}
