//! The attention of a Trajectory Transformer in the hands of a person: heads to
//! pick, rows to click, a map to open over the stage. No GPU and no display; the
//! model is real but tiny and untrained.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use eframe::egui::{Event, Key, Pos2, accesskit::Role, lerp, pos2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use foresight::lab::Scene;
use foresight::ui::App;
use foresight::ui::panels::attention::{Answer, Head};

use common::Hands;

/// Four rooms with small random weights.
fn rooms() -> Scene {
    let text = "format = 1\ntitle = \"Test\"\n[environment]\nid = \"four-rooms\"\nmax_steps = 12\n\
        [data]\ntransitions = 1000\n[model]\nid = \"trajectory\"\npreset = \"quick\"\n\
        policies = [\"to-goal\"]\nstride = 2\nlayers = 2\nheads = 2\nwidth = 16\nbins = 12\n\
        [train]\nsteps = 1\n[beam]\nmode = \"likelihood\"\nbeam = 4\nhorizon = 4\n\
        action_cdf = 0.0\n[stage]\nstart = [-0.3, -0.3]\ngoal = [0.3, 0.3]\n";
    Scene::parse(text).unwrap()
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
    /// Open a window, tall enough to show the whole section, and wait for the
    /// first episode.
    fn open(prepare: impl FnOnce(&mut App)) -> Self {
        let options = common::options(rooms());
        let harness = common::open(options, 1600.0, prepare);
        let mut window = Self(harness);
        window.wait("the episode", |app| {
            app.tree.frame.as_ref().is_some_and(|frame| frame.drive.finished)
        });
        let transport = &mut window.0.state_mut().transport;
        (transport.playing, transport.time_secs, transport.chain) = (false, 0.0, 1e6);
        window.0.step();
        window
    }

    /// A window that shows what its first search attends to.
    fn attending() -> Self {
        let mut window = Self::open(|_| {});
        window.wait("the attention", |app| {
            let shown = app.tree.shown(&app.transport);
            let answer = app.tree.attention.answer();
            answer.zip(shown).is_some_and(|(answer, shown)| Arc::ptr_eq(&answer.search, &shown))
        });
        window.0.step();
        window
    }

    fn answer(&self) -> &Answer {
        self.app().tree.attention.answer().unwrap()
    }

    fn click(&mut self, label: &str) {
        self.0.get_by_label(label).click();
        self.0.step();
        self.0.step();
    }

    /// Click the small map of a head; its name also stands above the large one.
    fn thumbnail(&mut self, label: &str) {
        let node = self.0.get_by_role_and_label(Role::Button, label);
        node.click();
        self.0.step();
        self.0.step();
    }

    /// The middle of a cell of the map called `label`.
    fn cell(&self, label: &str, [row, column]: [usize; 2]) -> Pos2 {
        let rect = self.0.get_by_label(label).rect();
        let share = |index: usize| (index as f32 + 0.5) / self.answer().frame.n as f32;
        pos2(lerp(rect.x_range(), share(column)), lerp(rect.y_range(), share(row)))
    }

    /// Whether a label begins like this.
    fn says(&self, start: &str) -> bool {
        self.0.query_all_by_label_contains(start).next().is_some()
    }
}

const MEAN: &str = "Attention map: Mean over all heads";

#[test]
fn every_head_has_a_map_and_a_click_shows_it_in_large_and_lets_it_go() {
    let mut window = Window::attending();
    let answer = window.answer();
    assert_eq!((answer.frame.layers, answer.frame.heads), (2, 2));
    assert_eq!(answer.tokens.len(), answer.frame.n);
    let sum: f32 = answer.row(None, answer.frame.n - 1).iter().sum();
    assert!((sum - 1.0).abs() < 1e-4, "a row sums to {sum}");
    assert!(window.says(MEAN));
    window.thumbnail("Layer 2, head 1");
    assert_eq!(window.app().tree.attention.picked, Some(Head { layer: 1, head: 0 }));
    assert!(window.says("Attention map: Layer 2, head 1") && !window.says(MEAN));
    window.thumbnail("Layer 1, head 2");
    assert!(window.says("Attention map: Layer 1, head 2"));
    window.thumbnail("Layer 1, head 2");
    assert_eq!(window.app().tree.attention.picked, None);
}

#[test]
fn a_click_on_a_row_picks_its_token_and_says_what_it_looks_at() {
    let mut window = Window::attending();
    let at = window.cell(MEAN, [5, 2]);
    window.click_at(at);
    assert_eq!(window.app().tree.selected, Some(5));
    assert_eq!(window.app().tree.hovered, Some(5), "the pointer is still there");
    assert!(window.says(" % to "), "the cell under the pointer is in words");
    window.0.event(Event::PointerMoved(pos2(700.0, 20.0)));
    window.0.step();
    window.0.step();
    assert!(window.says("attends most to"), "the picked row is in words");
    window.click_at(at);
    assert_eq!(window.app().tree.selected, None, "a second click lets it go");
}

#[test]
fn a_focused_map_is_read_row_by_row_with_the_arrow_keys() {
    let mut window = Window::attending();
    window.0.get_by_label(MEAN).focus();
    // The arrow keys belong to what had the focus a frame ago.
    window.0.step();
    window.0.step();
    window.key(Key::ArrowDown);
    assert_eq!(window.app().tree.selected, Some(0));
    window.key(Key::ArrowDown);
    window.key(Key::ArrowDown);
    assert_eq!(window.app().tree.selected, Some(2));
    window.key(Key::ArrowUp);
    assert_eq!(window.app().tree.selected, Some(1));
}

#[test]
fn the_map_opens_over_the_stage_and_escape_closes_it() {
    let mut window = Window::attending();
    let n_maps = |window: &Window| window.0.query_all_by_label(MEAN).count();
    assert_eq!(n_maps(&window), 1);
    window.click("Large map");
    assert!(window.app().tree.attention.is_large());
    assert_eq!(n_maps(&window), 2);
    let stage = window.app().stage.rect().unwrap();
    let sizes = window.0.query_all_by_label(MEAN).map(|node| node.rect().width());
    assert!(sizes.fold(0.0, f32::max) > 0.6 * stage.width(), "it is large");
    assert_eq!(window.0.unnamed_widgets(), Vec::<String>::new());
    window.key(Key::Escape);
    assert!(!window.app().tree.attention.is_large());
    window.click("Large map");
    window.click("Close");
    assert_eq!(n_maps(&window), 1);
}

#[test]
fn nothing_is_computed_while_nobody_looks() {
    let mut window = Window::open(|app| app.show_inspector = false);
    for _ in 0..20 {
        window.0.step();
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(window.app().session.attention().is_none());
    window.0.state_mut().show_inspector = true;
    window.wait("the attention", |app| app.tree.attention.answer().is_some());
}

#[test]
fn another_search_is_asked_about_once_and_its_answer_replaces_the_old() {
    let mut window = Window::attending();
    let first = window.answer().frame.id;
    for _ in 0..10 {
        window.0.step();
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(window.answer().frame.id, first, "the same search is not asked about again");
    let transport = &mut window.0.state_mut().transport;
    transport.time_secs = 1e6;
    window.wait("the last search's attention", |app| {
        let last = app.tree.shown(&app.transport).unwrap();
        let answer = app.tree.attention.answer().unwrap();
        answer.frame.id > first && Arc::ptr_eq(&answer.search, &last)
    });
    assert!(window.answer().tokens.iter().any(|token| token.transition < 0), "it has a past");
}

#[test]
fn every_control_has_a_name() {
    let window = Window::attending();
    assert_eq!(window.0.unnamed_widgets(), Vec::<String>::new());
}
