//! A Trajectory Transformer's window in the hands of a person: a tree that
//! grows, branches to pick, prune and force, goals to drag, clocks to scrub. No
//! GPU and no display; the model is real but tiny and untrained.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::time::Duration;

use eframe::egui::{Key, Modifiers, Pos2, accesskit::Role, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use foresight::lab::Scene;
use foresight::plan::beam::EditKind;
use foresight::ui::App;
use foresight::ui::overlays::path_dialog::Purpose;
use foresight::ui::stage::tree;
use foresight::ui::transport::Clock;

use common::Hands;

/// A scene of an environment with small random weights.
fn scene(environment: &str, policy: &str, mode: &str, stage: &str) -> Scene {
    let text = format!(
        "format = 1\ntitle = \"Test\"\n[environment]\nid = \"{environment}\"\nmaze = \"\"\"{}\"\"\"\n\
         max_steps = 12\n[data]\ntransitions = 1000\n[model]\nid = \"trajectory\"\n\
         preset = \"quick\"\npolicies = [\"{policy}\"]\nstride = 2\nlayers = 1\nheads = 2\n\
         width = 16\nbins = 12\n[train]\nsteps = 1\n[beam]\nmode = \"{mode}\"\nbeam = 4\n\
         horizon = 4\naction_cdf = 0.0\n[stage]\n{stage}\n",
        foresight::env::U_MAZE
    );
    Scene::parse(&text).unwrap()
}

fn rooms() -> Scene {
    scene("four-rooms", "to-goal", "likelihood", "start = [-0.3, -0.3]\ngoal = [0.3, 0.3]")
}

fn maze() -> Scene {
    scene("maze2d", "to-goal", "likelihood", "start = [3.0, 1.0]\ngoal = [1.0, 1.0]")
}

fn pendulum() -> Scene {
    scene("pendulum", "swing-up", "reward", "start = [3.0, 0.0]\ngoal = [0.0, 0.0]")
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
        window.settle();
        window
    }

    /// Wait for the episode that is wanted, to its end.
    fn settle(&mut self) {
        self.0.step();
        self.0.step();
        self.wait("the episode", |app| {
            app.tree.is_fresh() && app.tree.frame.as_ref().unwrap().drive.finished
        });
    }

    /// Stop the clocks at the first search, grown to its end.
    fn rest(&mut self) {
        let transport = &mut self.0.state_mut().transport;
        (transport.playing, transport.time_secs) = (false, 0.0);
        transport.chain = 1e6;
        self.0.step();
        self.0.step();
    }

    fn screen(&self, world: [f32; 2]) -> Pos2 {
        tree::pane(self.app()).unwrap().screen_from_world(world)
    }

    /// Tokens of the first plan.
    fn plan(&self) -> Vec<u16> {
        let frame = self.app().tree.frame.as_ref().unwrap();
        frame.drive.searches[0].tree.best_tokens().unwrap()
    }

    fn asked_goal(&self) -> Vec<f32> {
        self.app().tree.frame.as_ref().unwrap().request.goal.clone()
    }
}

fn near(a: &[f32], b: [f32; 2]) -> bool {
    (a[0] - b[0]).hypot(a[1] - b[1]) < 0.1
}

#[test]
fn opening_shows_a_tree_its_section_and_an_agent_that_walks() {
    let mut window = Window::open(rooms());
    for label in ["Beam search", "Attention", "Model", "Search"] {
        assert!(window.has(label), "{label} is missing");
    }
    for label in ["Denoising", "Candidates", "Planner", "Occupancy", "Waypoints", "Prediction"] {
        assert!(!window.has(label), "{label} belongs to another model");
    }
    let app = window.app();
    assert!(app.tree.branch_ends().len() > 4, "states are branches");
    let frame = app.tree.frame.clone().unwrap();
    assert!(frame.drive.searches.len() > 1 && frame.drive.states.len() > 2);
    window.wait("the walk", |app| app.transport.clock == Clock::Environment);
    window.wait("its end", |app| !app.transport.playing);
    let shown = window.app().tree.shown(&window.app().transport).unwrap();
    assert!(shown.at_step > 0, "the last search is shown at the end");
}

#[test]
fn a_click_moves_the_goal_and_asks_again_and_undo_takes_it_back() {
    let mut window = Window::open(rooms());
    window.rest();
    let to = window.screen([0.45, -0.5]);
    window.click_at(to);
    let goal = window.app().session.scene().stage.goal;
    assert!(near(&goal, [0.45, -0.5]), "{goal:?}");
    window.settle();
    assert!(near(&window.asked_goal(), [0.45, -0.5]));
    assert_eq!(window.app().transport.clock, Clock::Denoising, "the new search grows");
    window.undo();
    window.settle();
    assert!(near(&window.asked_goal(), [0.3, 0.3]));
}

#[test]
fn a_dragged_goal_is_followed_and_is_one_edit() {
    let mut window = Window::open(rooms());
    let (from, to) = (window.screen([0.3, 0.3]), window.screen([-0.3, 0.4]));
    window.drag(from, to);
    window.wait("a search during the drag", |app| {
        app.tree.frame.as_ref().is_some_and(|frame| near(&frame.request.goal, [-0.3, 0.4]))
    });
    assert!(near(&window.app().session.scene().stage.goal, [0.3, 0.3]), "not dropped yet");
    assert!(window.app().transport.held && window.app().transport.time_secs == 0.0);
    window.button(to, false);
    assert!(near(&window.app().session.scene().stage.goal, [-0.3, 0.4]));
    let transport = &window.app().transport;
    assert!(!transport.held && transport.clock == Clock::Denoising && transport.playing);
    window.undo();
    window.settle();
    assert!(near(&window.asked_goal(), [0.3, 0.3]), "a drag is one edit");
}

#[test]
fn arrow_keys_move_a_focused_goal() {
    let mut window = Window::open(rooms());
    window.0.get_by_label("Goal at 0.30, 0.30").focus();
    window.0.step();
    window.key(Key::ArrowRight);
    let [x, y] = window.app().session.scene().stage.goal;
    assert!(x > 0.31 && (y - 0.3).abs() < 1e-3, "{x}, {y}");
    assert!(window.app().tree.node.is_none(), "the key belongs to the handle");
}

#[test]
fn pruning_the_chosen_branch_changes_the_plan_and_undo_brings_it_back() {
    let mut window = Window::open(rooms());
    window.rest();
    let before = window.plan();
    // An untrained plan may stop before its first state, so by its first token.
    let app = window.0.state_mut();
    let first = app.tree.sequence(&app.transport).unwrap().len() - before.len();
    app.tree.select(Some(first), &app.transport);
    assert!(app.tree.node.is_some(), "a planned token has its node");
    window.key(Key::Delete);
    assert_eq!(window.app().tree.edits.len(), 1);
    window.settle();
    let pruned = window.app().tree.edits[0].path.clone();
    assert!(!window.plan().starts_with(&pruned) && before.starts_with(&pruned));
    window.undo();
    assert!(window.app().tree.edits.is_empty());
    window.settle();
    assert_eq!(window.plan(), before);
    window.rest();
    window.0.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    window.0.step();
    window.settle();
    assert!(!window.plan().starts_with(&pruned), "and redo prunes again");
}

#[test]
fn forcing_another_branch_leads_the_plan_through_it_until_the_edits_are_cleared() {
    let mut window = Window::open(rooms());
    window.rest();
    let before = window.plan();
    window.key(Key::ArrowDown);
    window.key(Key::ArrowDown);
    let (app, node) = (window.app(), window.app().tree.node.unwrap());
    let path = app.tree.shown(&app.transport).unwrap().tree.tokens(node);
    assert!(!before.starts_with(&path), "the second branch is another one");
    window.0.get_by_label("Force this branch").click();
    window.0.step();
    window.0.step();
    assert_eq!(window.app().tree.edits[0].kind, EditKind::Force);
    window.settle();
    assert!(window.plan().starts_with(&path));
    window.0.get_by_label("Clear edits").click();
    window.0.step();
    window.settle();
    assert_eq!(window.plan(), before);
}

#[test]
fn another_goal_forgets_what_was_changed_by_hand() {
    let mut window = Window::open(rooms());
    window.rest();
    window.key(Key::ArrowDown);
    window.key(Key::Delete);
    window.settle();
    window.rest();
    let to = window.screen([0.5, 0.5]);
    window.click_at(to);
    window.settle();
    assert!(window.app().tree.edits.is_empty() && window.app().tree.selected.is_none());
}

#[test]
fn only_the_first_search_is_changed() {
    let mut window = Window::open(rooms());
    window.rest();
    window.0.state_mut().transport.clock = Clock::Environment;
    window.key(Key::End);
    window.key(Key::ArrowDown);
    assert!(window.app().tree.node.is_some());
    assert!(!window.has("Prune this branch"));
    window.key(Key::Delete);
    assert!(window.app().tree.edits.is_empty());
    assert_eq!(window.app().notices.len(), 1, "it says why");
}

#[test]
fn a_branch_is_picked_where_it_is_drawn_and_escape_lets_go() {
    let mut window = Window::open(rooms());
    window.rest();
    let app = window.app();
    let ends = app.tree.branch_ends();
    let pane = tree::pane(app).unwrap();
    let start = window.screen([-0.3, -0.3]);
    // Far enough from the handles, which come first.
    let goal = window.screen([0.3, 0.3]);
    let free = |at: &Pos2| at.distance(start) > 30.0 && at.distance(goal) > 30.0;
    let inside = |at: &Pos2| pane.plot.shrink(20.0).contains(*at);
    let end = ends.iter().map(|end| pane.screen_from_world(*end)).find(|at| free(at) && inside(at));
    let end = end.expect("a branch that leads away");
    let goal = window.app().session.scene().stage.goal;
    window.click_at(end);
    assert!(window.app().tree.node.is_some());
    assert_eq!(window.app().session.scene().stage.goal, goal, "the goal stays");
    window.key(Key::Escape);
    assert!(window.app().tree.node.is_none());
}

#[test]
fn both_clocks_are_scrubbed_stepped_and_looped() {
    let mut window = Window::open(rooms());
    window.rest();
    let extent = window.app().extent();
    assert!(extent.chain_steps > 4 && extent.time_secs > 0.0);
    window.0.state_mut().transport.clock = Clock::Denoising;
    window.key(Key::Home);
    assert_eq!(window.app().transport.chain, 0.0);
    window.key(Key::ArrowRight);
    assert_eq!(window.app().transport.chain, 1.0);
    assert!(window.has(&format!("Token 1/{}", extent.chain_steps)));
    window.key(Key::End);
    assert_eq!(window.app().transport.chain, extent.chain_steps as f32);
    window.key(Key::T);
    assert_eq!(window.app().transport.clock, Clock::Environment);
    let shown = |window: &Window| window.app().tree.shown(&window.app().transport).unwrap().at_step;
    assert_eq!(shown(&window), 0);
    window.key(Key::ArrowRight);
    window.key(Key::ArrowRight);
    assert_eq!(shown(&window), 2, "a transition later another search is shown");
    let tokens = window.app().extent().chain_steps as f32;
    assert_eq!(window.app().transport.chain, tokens, "and it is whole");
    window.key(Key::Home);
    window.key(Key::L);
    window.key(Key::Space);
    let mut seen = 0.0_f32;
    for _ in 0..600 {
        window.0.step();
        let now = window.app().transport.time_secs;
        if now < seen {
            break;
        }
        seen = now;
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(window.app().transport.playing && window.app().transport.time_secs < seen);
}

#[test]
fn a_slider_searches_again_with_the_same_question() {
    let mut window = Window::open(rooms());
    window.rest();
    let sliders: Vec<_> = window.0.query_all_by_role(Role::Slider).collect();
    let slider = sliders
        .iter()
        .find(|node| node.accesskit_node().label().as_deref() == Some("Beam width"))
        .unwrap_or_else(|| panic!("none of {sliders:#?}"));
    slider.focus();
    window.0.step();
    window.key(Key::ArrowRight);
    assert_eq!(window.app().session.scene().beam.beam, 5);
    window.settle();
    assert_eq!(window.app().tree.frame.as_ref().unwrap().request.beam.beam, 5);
    assert!(!window.app().transport.playing, "what was stopped stays stopped");
    window.0.state_mut().travel(true);
    window.settle();
    assert_eq!(window.app().tree.frame.as_ref().unwrap().request.beam.beam, 4);
}

#[test]
fn tokens_are_picked_by_keys_and_belong_to_branches() {
    let mut window = Window::open(rooms());
    window.rest();
    window.0.get_by_label("Tokens: none is picked").focus();
    window.0.step();
    window.key(Key::ArrowRight);
    assert_eq!(window.app().tree.selected, Some(0));
    assert!(window.app().tree.node.is_none(), "the goal is read, not planned");
    for _ in 0..8 {
        window.key(Key::ArrowRight);
    }
    let app = window.app();
    let node = app.tree.node.expect("a planned token has its node");
    assert_eq!(app.tree.token_of(node, &app.transport), app.tree.selected);
    let selected = app.tree.selected;
    let tokens = window.0.state_mut().tree.sequence(&Default::default()).unwrap();
    let token = tokens[selected.unwrap()].clone();
    window.rest();
    window.0.state_mut().transport.clock = Clock::Environment;
    window.0.get_by_label_contains("Tokens: ").focus();
    window.0.state_mut().transport.time_secs = window.app().extent().time_secs;
    window.0.step();
    let transport = window.app().transport.clone();
    let later = window.0.state_mut().tree.sequence(&transport).unwrap();
    let again = &later[window.app().tree.selected.expect("it stays picked in the next search")];
    assert_eq!(
        (again.kind, again.dim, again.transition),
        (token.kind, token.dim, token.transition)
    );
}

#[test]
fn the_pendulum_starts_where_one_clicks_and_swings_for_reward() {
    let mut window = Window::open(pendulum());
    window.rest();
    let frame = window.app().tree.frame.clone().unwrap();
    assert!(frame.request.goal.is_empty() && frame.drive.searches[0].plan.value.is_some());
    let to = window.screen([-1.5, 6.5]);
    window.click_at(to);
    assert!(near(&window.app().session.scene().stage.start, [-1.5, 6.5]));
    window.settle();
    assert!(near(&window.app().tree.frame.as_ref().unwrap().request.start, [-1.5, 6.5]));
    window.rest();
    let bob = window.0.get_by_label_contains("Pendulum at").rect().center();
    window.drag(bob, bob + vec2(40.0, 60.0));
    window.button(bob + vec2(40.0, 60.0), false);
    let start = window.app().session.scene().stage.start;
    assert!(!near(&start, [-1.5, 6.5]) && start[1] == 0.0, "it rests where it is let go");
    window.settle();
    assert!(!window.app().transport.held);
}

#[test]
fn every_control_has_a_name_in_every_environment() {
    for scene in [rooms(), maze(), pendulum()] {
        let mut window = Window::open(scene);
        window.rest();
        assert_eq!(window.0.unnamed_widgets(), Vec::<String>::new());
        window.key(Key::ArrowDown);
        window.key(Key::PageDown);
        assert!(window.app().tree.node.is_some());
        window.0.step();
        assert_eq!(window.0.unnamed_widgets(), Vec::<String>::new(), "with a branch picked");
        window.key(Key::Delete);
        window.settle();
        assert_eq!(window.0.unnamed_widgets(), Vec::<String>::new(), "with an edit");
        window.key(Key::F1);
        assert!(window.has("Prune the picked branch"));
        assert!(window.app().session.status().problems.is_empty());
    }
}

#[test]
fn the_same_seed_grows_again_and_another_asks_again() {
    let mut window = Window::open(pendulum());
    window.rest();
    window.key(Key::R);
    let transport = &window.app().transport;
    assert!(transport.playing && transport.clock == Clock::Denoising);
    let before = window.app().tree.frame.as_ref().unwrap().id;
    window.key(Key::N);
    window.settle();
    let frame = window.app().tree.frame.clone().unwrap();
    assert!(frame.id > before);
    assert_eq!(frame.request.seed, window.app().session.scene().stage.seed);
}

#[test]
fn without_a_picture_an_export_says_so() {
    let mut window = Window::open(rooms());
    let ctx = window.0.ctx.clone();
    window.0.state_mut().use_path(Purpose::Png, "tree.png".into(), &ctx);
    assert_eq!(window.app().notices.len(), 1);
}

#[test]
fn opening_another_model_changes_the_stage_and_back() {
    let mut window = Window::open(rooms());
    let mut other = rooms();
    other.model = Scene::parse(foresight::lab::shipped::find("four-rooms-gamma").unwrap().text)
        .unwrap()
        .model;
    other.model.set_weights(None);
    window.0.state_mut().open(other, "other".into(), None);
    window.wait("its map", |app| app.field.asking.frame().is_some());
    assert!(window.has("Occupancy") && !window.has("Beam search"));
    window.0.state_mut().open(pendulum(), "pendulum".into(), None);
    window.settle();
    assert!(window.has("Beam search") && window.app().session.status().problems.is_empty());
}
