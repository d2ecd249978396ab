//! The window of Diffusers beyond mazes: rooms whose goal is dragged, and a
//! pendulum whose guide bends its plans. No GPU and no display; the models are
//! real but tiny and untrained.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod common;

use eframe::egui::{Pos2, accesskit::Role, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use foresight::lab::Scene;
use foresight::ui::transport::Clock;
use foresight::ui::{App, stage};

use common::Hands;

/// A scene with small random weights.
fn scene(environment: &str, model: &str, plan: &str) -> Scene {
    let text = format!(
        "format = 1\ntitle = \"Test\"\n[environment]\nid = \"{environment}\"\nmax_steps = 24\n\
         [data]\ntransitions = 1000\n[model]\nid = \"diffuser\"\nactions = true\n\
         multipliers = [1, 2]\ndiffusion_steps = 8\n{model}\n[train]\nsteps = 1\n{plan}\n\
         [stage]\nstart = [-0.3, -0.3]\ngoal = [0.3, 0.3]\n"
    );
    Scene::parse(&text).unwrap()
}

fn rooms() -> Scene {
    scene("four-rooms", "preset = \"quick\"\nwaypoints = 16\nduration = [4.0, 20.0]", "")
}

fn pendulum() -> Scene {
    let control = "[control]\nlaw = \"track\"\nposition_gain = 0.0\nvelocity_gain = 0.0\n\
                   replan = \"every-n-steps\"\nreplan_every = 8\nreplan_distance = 0.5";
    let model = "preset = \"quick-fixed\"\nwaypoints = 16\nstride = 1\n\
                 [model.guide]\ndiscount = 0.95\nwidth = 8";
    scene("pendulum", model, control)
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
    /// Open the window and wait for the whole first episode.
    fn open(scene: Scene) -> Self {
        let options = common::options(scene);
        let harness = common::open(options, 900.0, |_| {});
        let mut window = Self(harness);
        window.wait("the first episode", |app| app.live.rollout().is_some_and(|r| r.finished));
        window
    }

    fn film(&self) -> u64 {
        self.app().live.complete().unwrap().id
    }

    fn screen(&self, world: [f32; 2]) -> Pos2 {
        stage::camera(self.app()).unwrap().screen_from_world(world)
    }

    fn has(&self, label: &str) -> bool {
        self.0.query_by_role_and_label(Role::Slider, label).is_some()
            || self.0.query_all_by_label_contains(label).next().is_some()
    }
}

#[test]
fn rooms_are_planned_through_while_the_goal_is_dragged() {
    let mut window = Window::open(rooms());
    // x runs to the right and y up.
    let [origin, right, up] = [[0.0, 0.0], [0.2, 0.0], [0.0, 0.2]].map(|at| window.screen(at));
    assert!(right.x > origin.x && up.y < origin.y);
    let (before, [from, to]) =
        (window.film(), [[0.3, 0.3], [0.4, -0.3]].map(|at| window.screen(at)));
    window.drag(from, to);
    window.wait("a plan under the mouse", |app| {
        app.live.complete().is_some_and(|film| film.id > before && film.request.goal[1] < 0.0)
    });
    assert!(window.app().stage.drag().is_some());
    window.button(to, false);
    window.wait("the full plan", |app| {
        app.live.complete().is_some_and(|film| film.request.near_duration.is_none())
    });
    let goal = window.app().session.scene().stage.goal;
    assert!((goal[0] - 0.4).abs() < 0.02 && (goal[1] + 0.3).abs() < 0.02, "{goal:?}");
    // Walls of rooms are not painted, and the ball follows without velocities.
    assert!(!window.has("Paint") && window.has("Follow by"));
}

#[test]
fn a_pendulum_plans_again_when_its_state_is_dragged() {
    let mut window = Window::open(pendulum());
    let rollout = window.app().live.rollout().unwrap().clone();
    assert_eq!((rollout.states.len(), rollout.plans.len()), (25, 3));
    assert!(window.has("predicted return") && window.has("Guide scale"));
    assert!(window.0.query_all_by_label_contains("Goal at").next().is_none());
    let before = window.film();
    let [from, to] = [[-0.3, -0.3], [1.0, 4.0]].map(|at| window.screen(at));
    window.drag(from, to);
    window.wait("a plan under the mouse", |app| {
        app.live.complete().is_some_and(|film| film.id > before && film.request.start[1] > 1.0)
    });
    window.button(to, false);
    window.wait("the new episode", |app| {
        app.live.rollout().is_some_and(|r| r.finished && r.states[0][1] > 3.0)
    });
    // Both clocks stop where they are put.
    let transport = &mut window.0.state_mut().transport;
    (transport.playing, transport.clock) = (false, Clock::Environment);
    (transport.chain, transport.time_secs) = (2.5, 0.33);
    window.0.step();
    let transport = &window.app().transport;
    assert_eq!((transport.chain, transport.time_secs), (2.5, 0.33));
}

#[test]
fn the_cloud_is_that_of_the_plan_the_pendulum_follows_at_the_clock() {
    let mut window = Window::open(pendulum());
    let rollout = window.app().live.rollout().unwrap().clone();
    assert_eq!(rollout.films.len() + 1, rollout.plans.len());
    for (index, (step, plan)) in rollout.plans.iter().enumerate() {
        let transport = &mut window.0.state_mut().transport;
        transport.playing = false;
        transport.time_secs = *step as f32 * rollout.dt_secs;
        window.0.step();
        let app = window.app();
        let film = app.live.followed(&app.transport).unwrap();
        assert_eq!(film.plan.as_ref(), Some(plan), "plan {index}");
        assert_eq!(film.request.start, rollout.states[*step]);
    }
}

#[test]
fn the_guide_scale_acts_live() {
    let mut window = Window::open(pendulum());
    let clean = |window: &Window| {
        let film = window.app().live.complete().unwrap().clone();
        (film.request.settings.guide.scale, film.steps.last().unwrap().clean.clone())
    };
    let (scale, before) = clean(&window);
    assert_eq!(scale, 0.0);
    let slider = window.0.get_by_role_and_label(Role::Slider, "Guide scale");
    let rect = slider.rect();
    window.drag(rect.left_center() + vec2(4.0, 0.0), rect.center());
    window.button(rect.center(), false);
    window.wait("plans of the new scale", |app| {
        app.live.complete().is_some_and(|film| film.request.settings.guide.scale > 1.0)
    });
    let (_, after) = clean(&window);
    assert_ne!(before, after);
}
