//! The trade-off between score and time in the window: measured in the
//! background, looked at, and picked from.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod common;

use eframe::egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use foresight::lab::frontier::Frontier;
use foresight::lab::frontier::keeper::MeasureStage;
use foresight::lab::{Scene, shipped};
use foresight::plan::Replan;
use foresight::ui::App;

use common::Hands;

/// The U-Maze with small random weights and short episodes.
fn scene() -> Scene {
    let mut scene = Scene::parse(shipped::find("maze2d-umaze-diffuser").unwrap().text).unwrap();
    scene.model.set_weights(None);
    let section = scene.model.diffuser_mut().unwrap();
    (section.waypoints, section.multipliers) = (Some(16), Some(vec![1, 2]));
    scene.plan.durations = 2;
    scene.plan.candidates_per_duration = 1;
    scene.plan.drag_candidates = 2;
    scene.plan.denoising_steps = 3;
    scene.environment.max_steps = 40;
    scene
}

/// A window tall enough that the whole inspector can be seen.
fn open() -> Harness<'static, App> {
    let mut window = common::open(common::options(scene()), 2400.0, |app| {
        app.frontier.episodes = 1;
    });
    common::wait(&mut window, "the first plan", |app| app.live.rollout().is_some());
    window
}

fn measured(app: &App) -> Option<std::sync::Arc<Frontier>> {
    app.session.measured_frontier()?.frontier.clone()
}

fn is_done(app: &App) -> bool {
    app.session.measured_frontier().is_some_and(|frame| frame.stage == MeasureStage::Done)
}

#[test]
fn a_click_on_a_measured_point_plans_that_way_and_undo_restores_the_settings() {
    let mut window = open();
    assert!(window.query_by_label_contains("No measurement of these weights").is_some());
    window.press("Measure");
    common::wait(&mut window, "the measurement", is_done);
    let frontier = measured(window.state()).unwrap();
    assert!(frontier.points.len() > 5 && frontier.replanning.len() > 5);
    let before = window.state().session.scene().clone();

    // A point of the plot, by where it is painted.
    let wanted = frontier
        .points
        .iter()
        .position(|point| !point.is_of(&before, false) && point.forwards > 8)
        .unwrap();
    let at = window.state().frontier.hits[wanted];
    window.click_at(at);
    let plan = &window.state().session.scene().plan;
    // Points may lie so close that another one is nearer.
    let chosen = frontier
        .points
        .iter()
        .position(|p| (p.sampler, p.steps) == (plan.sampler, plan.denoising_steps))
        .unwrap();
    assert!(window.state().frontier.hits[chosen].distance(at) < 12.0);
    assert_ne!(*window.state().session.scene(), before);
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    window.step();
    window.step();
    assert_eq!(*window.state().session.scene(), before);

    // A warm start sets what it was measured with.
    window.press("Replanning");
    let every = frontier.replan_every;
    let warm = frontier.replanning.iter().position(|point| point.warm_steps > 8).unwrap();
    // An episode that ends meanwhile adds rows above, and the point moves.
    for _ in 0..5 {
        let at = window.state().frontier.hits[warm];
        window.click_at(at);
        if *window.state().session.scene() != before {
            break;
        }
    }
    let scene = window.state().session.scene();
    assert_eq!((scene.control.replan, scene.control.replan_every), (Replan::EveryNSteps, every));
    assert!(frontier.replanning.iter().any(|point| point.is_of(scene, true)));
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    window.step();
    window.step();
    assert_eq!(*window.state().session.scene(), before);
}

#[test]
fn a_measurement_stops_when_it_is_told_and_plans_go_on_meanwhile() {
    let mut window = open();
    window.state_mut().frontier.episodes = 1000;
    window.press("Measure");
    common::wait(&mut window, "some progress", |app| {
        app.session
            .measured_frontier()
            .is_some_and(|frame| matches!(frame.stage, MeasureStage::Running(part) if part > 0.0))
    });
    let id = window.state().live.complete().unwrap().id;
    window.state_mut().new_seed();
    common::wait(&mut window, "a plan", |app| app.live.complete().unwrap().id > id);
    window.press("Stop measuring");
    common::wait(&mut window, "the end", |app| {
        app.session.measured_frontier().is_some_and(|frame| frame.stage == MeasureStage::Stopped)
    });
    assert!(window.query_by_label("Measure").is_some());
}
