//! A gamma-model's window in the hands of a person: hovering, pinning,
//! dragging, painting rewards, reading the horizon. No GPU and no display; the
//! model is real but tiny and untrained.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod common;

use eframe::egui::{Key, Modifiers, Pos2, accesskit::Role, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use foresight::lab::scene::StageConfig;
use foresight::lab::values::ValueReward;
use foresight::lab::{Scene, shipped};
use foresight::ui::App;
use foresight::ui::overlays::path_dialog::Purpose;
use foresight::ui::stage::field::{self, Compare, Map, ValueOf};
use foresight::ui::transport::Clock;

use common::Hands;

const MODEL: &str = r#"
[model]
id = "gamma"
preset = "quick"
couplings = 2
bins = 4
hidden = 8
"#;

/// A scene of an environment with random weights.
fn scene(environment: &str, policy: &str, stage: &str) -> Scene {
    let text = format!(
        "format = 1\ntitle = \"Test\"\n[environment]\nid = \"{environment}\"\nmaze = \"\"\"{}\"\"\"\n\
         max_steps = 100\n[data]\ntransitions = 1000\n{MODEL}policy = \"{policy}\"\n[train]\n\
         steps = 1\n[stage]\n{stage}\n",
        foresight::env::U_MAZE
    );
    Scene::parse(&text).unwrap()
}

fn pendulum() -> Scene {
    scene("pendulum", "swing-up", "start = [3.0, 0.0]\ngoal = [0.0, 0.0]")
}

fn rooms() -> Scene {
    scene("four-rooms", "to-goal", "start = [-0.3, -0.3]\ngoal = [0.3, 0.3]")
}

fn maze() -> Scene {
    scene("maze2d", "to-goal", "start = [3.0, 1.0]\ngoal = [1.0, 1.0]")
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
    /// Open the window and wait for the first map.
    fn open(scene: Scene) -> Self {
        let options = common::options(scene);
        let harness = common::open(options, 900.0, |_| {});
        let mut window = Self(harness);
        window.wait("the first map", |app| app.field.asking.frame().is_some());
        window
    }

    fn screen(&self, world: [f32; 2]) -> Pos2 {
        self.app().field.panes()[0].screen_from_world(world)
    }

    fn click(&mut self, world: [f32; 2]) {
        let at = self.screen(world);
        self.move_to(at);
        self.button(at, true);
        self.button(at, false);
    }
}

fn near(a: &[f32], b: [f32; 2]) -> bool {
    (a[0] - b[0]).hypot(a[1] - b[1]) < 0.1
}

/// Whether the newest map is asked from `state`.
fn is_from(app: &App, state: [f32; 2]) -> bool {
    app.field.asking.frame().is_some_and(|frame| near(&frame.request.state, state))
}

#[test]
fn hovering_asks_from_the_state_under_the_mouse_and_the_truth_follows_at_rest() {
    let mut window = Window::open(pendulum());
    let before = window.app().field.asking.frame().unwrap().clone();
    let at = window.screen([-1.0, 3.0]);
    window.move_to(at);
    window.wait("a map from there", |app| is_from(app, [-1.0, 3.0]));
    let frame = window.app().field.asking.frame().unwrap().clone();
    assert!(frame.id > before.id && frame.model != before.model);
    assert!(window.app().session.scene().stage.start == [3.0, 0.0], "a look is no edit");
    window.wait("the truth", |app| {
        app.field.asking.truth().is_some_and(|(frame, is_same)| {
            is_same && near(&frame.request.state, [-1.0, 3.0]) && frame.total_variation.is_some()
        })
    });
    let asked = window.app().field.asking.asked().unwrap();
    assert!(!asked.is_drag && asked.cells == [96, 96]);
}

#[test]
fn while_the_mouse_moves_only_small_questions_are_asked() {
    let mut window = Window::open(pendulum());
    for step in 0..10 {
        let at = window.screen([-2.0 + 0.3 * step as f32, 1.0]);
        window.move_to(at);
        let asked = window.app().field.asking.asked().unwrap();
        assert!(asked.is_drag && asked.cells[0] <= 40, "step {step}");
    }
}

#[test]
fn only_legal_states_are_asked_from() {
    for (scene, inside_a_wall) in [(maze(), [1.8, 0.8]), (rooms(), [0.0, 0.0])] {
        let mut window = Window::open(scene);
        let at = window.screen(inside_a_wall);
        window.move_to(at);
        let app = window.app();
        let source = field::source(app);
        assert!(app.place.workspace.is_free([source[0], source[1]]), "{source:?}");
        assert!(app.session.status().problems.is_empty());
    }
}

#[test]
fn a_click_pins_the_state_a_drag_moves_it_and_escape_releases_it() {
    let mut window = Window::open(pendulum());
    window.click([1.0, 2.0]);
    assert!(window.app().field.is_pinned());
    assert!(near(&window.app().session.scene().stage.start, [1.0, 2.0]));
    let away = window.screen([-2.0, -4.0]);
    window.move_to(away);
    assert!(near(&field::source(window.app()), [1.0, 2.0]), "it stays");
    let (from, to) = (window.screen([1.0, 2.0]), window.screen([2.0, -3.0]));
    window.drag(from, to);
    window.wait("a map during the drag", |app| is_from(app, [2.0, -3.0]));
    window.button(to, false);
    assert!(near(&window.app().session.scene().stage.start, [2.0, -3.0]));
    window.undo();
    assert!(near(&window.app().session.scene().stage.start, [1.0, 2.0]), "a drag is one edit");
    window.wait("the map before", |app| is_from(app, [1.0, 2.0]));
    window.key(Key::Escape);
    assert!(!window.app().field.is_pinned());
    window.move_to(away);
    window.wait("a map from under the mouse", |app| is_from(app, [-2.0, -4.0]));
    window.click([-2.0, -4.0]);
    window.click([0.5, 0.5]);
    assert!(!window.app().field.is_pinned(), "a second click releases");
}

#[test]
fn the_discount_slider_changes_what_is_asked_and_can_be_undone() {
    let mut window = Window::open(pendulum());
    let before = window.app().field.asking.asked().unwrap().settings.discount;
    let sliders: Vec<_> = window.0.query_all_by_role(Role::Slider).collect();
    let slider = sliders
        .iter()
        .find(|node| node.accesskit_node().label().as_deref() == Some("Discount γ"))
        .unwrap_or_else(|| panic!("none of {sliders:#?}"));
    slider.focus();
    window.0.step();
    window.key(Key::ArrowLeft);
    let asked = window.app().field.asking.asked().unwrap().settings.discount;
    assert!(asked < before, "{asked} from {before}");
    assert_eq!(window.app().session.scene().occupancy.discount, asked);
    window.wait("its map", |app| {
        app.field.asking.frame().is_some_and(|frame| frame.request.settings.discount == asked)
    });
    window.0.state_mut().travel(true);
    window.0.step();
    assert_eq!(window.app().session.scene().occupancy.discount, before);
}

#[test]
fn dragging_the_goal_asks_for_the_policy_that_goes_there() {
    let mut window = Window::open(rooms());
    let (from, to) = (window.screen([0.3, 0.3]), window.screen([-0.3, 0.3]));
    window.drag(from, to);
    window.wait("a map during the drag", |app| {
        app.field.asking.frame().is_some_and(|frame| near(&frame.request.goal, [-0.3, 0.3]))
    });
    assert!(near(&window.app().session.scene().stage.goal, [0.3, 0.3]), "not dropped yet");
    window.button(to, false);
    assert!(near(&window.app().session.scene().stage.goal, [-0.3, 0.3]));
    window.undo();
    window.wait("the map before", |app| {
        app.field.asking.frame().is_some_and(|frame| near(&frame.request.goal, [0.3, 0.3]))
    });
}

#[test]
fn arrow_keys_move_a_focused_goal() {
    let mut window = Window::open(rooms());
    let goal = window.0.get_by_label("Goal at 0.30, 0.30");
    goal.focus();
    window.0.step();
    window.key(Key::ArrowRight);
    let [x, y] = window.app().session.scene().stage.goal;
    assert!(x > 0.31 && (y - 0.3).abs() < 1e-3, "{x}, {y}");
}

#[test]
fn the_pendulum_is_dragged_by_its_bob_and_rests_where_it_is_let_go() {
    let mut window = Window::open(pendulum());
    let name = format!("Pendulum at {:.2} rad", field::source(window.app())[0]);
    let bob = window.0.get_by_label(&name).rect().center();
    let pivot = window.app().field.pendulum().unwrap().center();
    // A quarter turn counterclockwise from the top is to the left.
    let to = pivot - vec2((bob - pivot).length(), 0.0);
    window.drag(bob, to);
    window.button(to, false);
    let source = field::source(window.app());
    assert!((source[0] - std::f32::consts::FRAC_PI_2).abs() < 0.05, "{source:?}");
    assert_eq!(source[1], 0.0);
    assert!(window.app().field.is_pinned());
}

#[test]
fn space_runs_the_real_policy_from_the_source() {
    let mut window = Window::open(pendulum());
    window.key(Key::Space);
    window
        .wait("the run", |app| app.field.run.current().is_some() && app.transport.time_secs > 0.2);
    let run = window.app().field.run.current().unwrap();
    assert_eq!(run.states[0], [3.0, 0.0]);
    window.key(Key::Space);
    let time = window.app().transport.time_secs;
    window.0.step();
    assert_eq!(window.app().transport.time_secs, time, "it is paused");
    window.key(Key::ArrowRight);
    assert!(window.app().transport.time_secs > time);
    window.key(Key::Escape);
    let at = window.screen([0.0, -5.0]);
    window.move_to(at);
    window.0.step();
    assert!(window.app().field.run.current().is_none(), "a run from another state is gone");
}

#[test]
fn the_value_map_grows_and_follows_painted_rewards() {
    let mut window = Window::open(rooms());
    window.key(Key::M);
    assert_eq!(window.app().field.map, Map::Value);
    let is_done = |app: &App, painted: bool| {
        app.field.asking.values().is_some_and(|frame| {
            let is_painted = matches!(frame.request.reward, ValueReward::Painted { .. });
            frame.done >= 1.0 && is_painted == painted && frame.request.samples > 100
        })
    };
    window.wait("the value map", move |app| is_done(app, false));
    let own = window.app().field.asking.values().unwrap().clone();
    assert!(own.model.iter().any(|value| value.is_finite()));
    assert!(own.model.iter().any(|value| value.is_nan()), "walls have no value");
    window.0.get_by_label("Paint +1").click();
    window.0.step();
    window.0.step();
    let (from, to) = (window.screen([-0.4, -0.4]), window.screen([-0.2, -0.3]));
    window.drag(from, to);
    window.button(to, false);
    window.wait("the value of what was painted", move |app| is_done(app, true));
    assert_ne!(window.app().field.asking.values().unwrap().model, own.model);
    let stage = window.app().session.scene().stage.clone();
    assert!(stage.rewards.is_some(), "what is painted belongs to the scene");
    assert_eq!(StageConfig { rewards: None, ..stage.clone() }, rooms().stage, "nothing moved");
    let text = window.app().session.scene().to_toml();
    assert_eq!(Scene::parse(&text).unwrap().stage, stage, "it is saved with the scene");
    window.undo();
    window.wait("the environment's own value", move |app| is_done(app, false));
    window.0.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    window.wait("what was painted", move |app| is_done(app, true));
    assert_eq!(window.app().session.scene().stage, stage);
    window.0.get_by_label("Reset").click();
    window.wait("the environment's own value", move |app| is_done(app, false));
}

#[test]
fn the_horizon_says_how_many_steps_it_takes() {
    let mut scene = pendulum();
    scene.occupancy.discount = 0.0;
    scene.occupancy.long_discount = 0.99;
    scene.occupancy.steps = 4;
    let mut window = Window::open(scene);
    window.0.step();
    assert!(window.has("299"), "a single-step model needs 299 steps for 95 %");
    window.wait("a chain's map", |app| {
        app.field.asking.frame().is_some_and(|frame| frame.chain_weights.len() == 4)
    });
    let weights = window.app().field.asking.frame().unwrap().chain_weights.clone();
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
}

#[test]
fn keys_choose_what_is_shown() {
    let mut window = Window::open(pendulum());
    let n = |window: &Window| window.app().field.panes().len();
    assert_eq!((window.app().field.compare, n(&window)), (Compare::Both, 2));
    window.key(Key::C);
    assert_eq!((window.app().field.compare, n(&window)), (Compare::Model, 1));
    window.key(Key::D);
    assert!(window.app().field.as_samples);
    window.key(Key::M);
    window.key(Key::C);
    assert_eq!(window.app().field.value_of, ValueOf::Evaluation);
    window.key(Key::W);
    assert_eq!(window.app().stage.tool, foresight::ui::stage::Tool::Move, "no walls to paint");
}

#[test]
fn every_control_has_a_name_and_each_model_has_its_own_sections() {
    for scene in [pendulum(), rooms(), maze()] {
        let mut window = Window::open(scene);
        assert_eq!(window.0.unnamed_widgets(), Vec::<String>::new());
        for label in ["Question", "Occupancy", "Value", "Horizon", "Model", "Prediction"] {
            assert!(window.has(label), "{label} is missing");
        }
        for label in ["Denoising", "Candidates", "Planner", "Waypoints", "same"] {
            assert!(!window.has(label), "{label} belongs to another model");
        }
        window.0.get_by_label("The policy's own first action").click();
        window.key(Key::S);
        window.key(Key::M);
        window.0.step();
        assert_eq!(window.0.unnamed_widgets(), Vec::<String>::new(), "with an action and a pin");
        window.key(Key::F1);
        assert!(window.has("Occupancy or value map"));
        assert_eq!(window.0.unnamed_widgets(), Vec::<String>::new(), "with the key map open");
    }
}

#[test]
fn a_given_first_action_is_asked_with() {
    let mut window = Window::open(pendulum());
    window.0.get_by_label("The policy's own first action").click();
    window.wait("its map", |app| {
        app.field.asking.frame().is_some_and(|frame| frame.request.action == Some(vec![0.0]))
    });
}

#[test]
fn opening_another_model_changes_the_stage_and_back() {
    let mut window = Window::open(pendulum());
    let mut other = Scene::parse(shipped::find("maze2d-umaze-diffuser").unwrap().text).unwrap();
    if let Some(section) = other.model.diffuser_mut() {
        (section.waypoints, section.multipliers) = (Some(16), Some(vec![1]));
    } else {
        other = maze();
    }
    other.model.set_weights(None);
    window.0.state_mut().open(other, "other".into(), None);
    for _ in 0..5 {
        window.0.step();
    }
    window.0.state_mut().open(rooms(), "rooms".into(), None);
    window.wait("its map", |app| {
        app.field.asking.frame().is_some_and(|frame| frame.request.goal.len() == 2)
    });
    assert!(window.app().session.status().problems.is_empty());
}

/// Export in every form, and return what each file starts with.
fn export(window: &mut Window, purpose: Purpose, name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let ctx = window.0.ctx.clone();
    window.0.state_mut().use_path(purpose, path.clone(), &ctx);
    let file = path.clone();
    window.wait("the file", move |_| file.exists());
    std::fs::read(&path).unwrap()
}

#[test]
fn occupancies_leave_as_pixels_shapes_numbers_and_films() {
    let mut window = Window::open(rooms());
    let png = export(&mut window, Purpose::Png, "maps.png");
    assert!(png.starts_with(b"\x89PNG") && png.len() > 1000);
    let svg = export(&mut window, Purpose::Svg, "maps.svg");
    assert!(svg.starts_with(b"<svg") && String::from_utf8_lossy(&svg).contains("1/m\u{b2}"));
    let frame = window.app().field.asking.frame().unwrap().clone();
    let csv = String::from_utf8(export(&mut window, Purpose::Csv, "maps.csv")).unwrap();
    assert!(csv.starts_with("x,y,model") && csv.lines().count() > frame.grid.len() / 8);
    let gif = export(&mut window, Purpose::Gif(Clock::Denoising), "discounts.gif");
    assert!(gif.starts_with(b"GIF"));
    // There is no run yet.
    let folder = tempfile::tempdir().unwrap();
    let (path, ctx) = (folder.path().join("run.gif"), window.0.ctx.clone());
    window.0.state_mut().use_path(Purpose::Gif(Clock::Environment), path, &ctx);
    window.0.step();
    assert!(window.has("There is no run to export yet"));
    window.key(Key::Space);
    window.wait("the run", |app| app.field.run.current().is_some());
    let gif = export(&mut window, Purpose::Gif(Clock::Environment), "run.gif");
    assert!(gif.starts_with(b"GIF"));
}

#[test]
fn value_maps_leave_with_their_exact_ones() {
    let mut window = Window::open(rooms());
    window.key(Key::M);
    window.wait("the exact values", |app| {
        app.field.asking.complete_values().is_some_and(|frame| frame.evaluation.is_some())
    });
    let csv = String::from_utf8(export(&mut window, Purpose::Csv, "values.csv")).unwrap();
    assert!(csv.starts_with("x,y,model,evaluation,iteration\n"), "{}", &csv[..60]);
    let svg = export(&mut window, Purpose::Svg, "values.svg");
    assert!(String::from_utf8_lossy(&svg).contains("policy evaluation"));
}

#[test]
fn a_network_of_several_policies_answers_for_the_one_chosen() {
    let mut scene = pendulum();
    let foresight::model::ModelConfig::Gamma(section) = &mut scene.model else { unreachable!() };
    section.policy = None;
    section.policies = vec!["swing-up".into(), "random".into()];
    scene.check().unwrap();
    let mut window = Window::open(scene);
    let is_of = |app: &App, policy: Option<&str>| {
        app.field.asking.truth().is_some_and(|(frame, is_same)| {
            is_same && frame.request.settings.policy.as_deref() == policy
        })
    };
    window.wait("the truth of the first policy", move |app| is_of(app, None));
    let before = window.app().field.asking.truth().unwrap().0.clone();
    window.0.get_by_role_and_label(Role::ComboBox, "Policy").click();
    window.0.step();
    window.0.step();
    window.0.get_by_label("Random").click();
    window.0.step();
    window.wait("the truth of the other", move |app| is_of(app, Some("random")));
    let after = window.app().field.asking.truth().unwrap().0.clone();
    assert_ne!(before.model, after.model, "the network is told the policy");
    assert_ne!(before.truth, after.truth, "and the real rollouts follow it");
    window.key(Key::M);
    window.wait("its value map", |app| {
        let frame = app.field.asking.complete_values();
        frame.is_some_and(|frame| frame.request.policy.as_deref() == Some("random"))
    });
    window.undo();
    assert_eq!(window.app().session.scene().occupancy.policy, None);
}

#[test]
fn velocities_typed_in_belong_to_the_scene() {
    let mut window = Window::open(maze());
    foresight::ui::stage::field::input::pin_at(window.0.state_mut(), &[3.0, 1.0, 0.5, -0.25]);
    window.wait("a map from there", |app| {
        app.field.asking.frame().is_some_and(|frame| frame.request.state[2..] == [0.5, -0.25])
    });
    let text = window.app().session.scene().to_toml();
    assert_eq!(Scene::parse(&text).unwrap().stage.rest, [0.5, -0.25]);
    let mut wrong = window.app().session.scene().clone();
    for rest in [vec![0.0, 99.0], vec![0.0; 3], vec![f32::NAN]] {
        wrong.stage.rest = rest;
        assert!(wrong.check().unwrap_err().to_string().contains("stage.rest"));
    }
    window.undo();
    window.wait("a map at rest", |app| {
        app.field.asking.frame().is_some_and(|frame| frame.request.state[2..] == [0.0, 0.0])
    });
}
