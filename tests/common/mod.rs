//! What every test of the window needs: opening one without a GPU or a
//! display, and stepping its frames until the workers have answered.

use std::time::{Duration, Instant};

use eframe::egui::{Event, Key, Modifiers, PointerButton, Pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use foresight::lab::{DeviceChoice, Scene};
use foresight::ui::{App, AppOptions, Prepared};

/// A scene without a file, on the CPU, that leaves no traces.
pub fn options(scene: Scene) -> AppOptions {
    AppOptions {
        scene,
        name: "test".into(),
        folder: None,
        path: None,
        run: None,
        device: DeviceChoice::Cpu,
        state_folder: None,
        probe: None,
    }
}

/// A window of that height, 900 being what people get; `prepare` may change it before its first frame.
pub fn open(
    options: AppOptions,
    height: f32,
    prepare: impl FnOnce(&mut App),
) -> Harness<'static, App> {
    let prepared = Prepared::new(options).unwrap();
    Harness::builder()
        .with_size(vec2(1440.0, height))
        .with_step_dt(1.0 / 30.0)
        .with_max_steps(60)
        .build_eframe(move |cc| {
            let mut app = prepared.into_app(cc);
            prepare(&mut app);
            app
        })
}

/// Step frames until `done`; workers run meanwhile.
pub fn wait(window: &mut Harness<'static, App>, what: &str, done: impl Fn(&App) -> bool) {
    // A software driver takes minutes to get ready where others build.
    let deadline = Instant::now() + Duration::from_secs(240);
    while !done(window.state()) {
        assert!(Instant::now() < deadline, "{what} never came");
        window.step();
        std::thread::sleep(Duration::from_millis(2));
    }
    window.step();
}

/// The hands of a person on a window.
#[allow(dead_code, reason = "no test of the window does everything")]
pub trait Hands {
    /// The window.
    fn window(&mut self) -> &mut Harness<'static, App>;

    /// The window, to look at.
    fn seen(&self) -> &Harness<'static, App>;

    fn app(&self) -> &App {
        self.seen().state()
    }

    /// Step frames until `done`; workers run meanwhile.
    fn wait(&mut self, what: &str, done: impl Fn(&App) -> bool) {
        wait(self.window(), what, done);
    }

    fn move_to(&mut self, at: Pos2) {
        self.window().event(Event::PointerMoved(at));
        self.window().step();
    }

    fn button(&mut self, at: Pos2, pressed: bool) {
        self.button_with(Modifiers::NONE, at, pressed);
    }

    fn button_with(&mut self, modifiers: Modifiers, pos: Pos2, pressed: bool) {
        let button = PointerButton::Primary;
        self.window().event(Event::PointerButton { pos, button, pressed, modifiers });
        self.window().step();
    }

    fn click_at(&mut self, at: Pos2) {
        self.move_to(at);
        self.button(at, true);
        self.button(at, false);
        self.window().step();
    }

    /// Drag from one place to another by way of the middle, and hold there.
    fn drag(&mut self, from: Pos2, to: Pos2) {
        self.move_to(from);
        self.button(from, true);
        self.move_to(from + (to - from) / 2.0);
        self.move_to(to);
    }

    /// Press a button by its name, not by its place: what is above may move it.
    fn press(&mut self, label: &str) {
        self.window().get_by_label(label).click_accesskit();
        self.window().step();
        self.window().step();
    }

    fn key(&mut self, key: Key) {
        self.window().key_press(key);
        self.window().step();
        self.window().step();
    }

    fn ctrl(&mut self, modifiers: Modifiers, key: Key) {
        self.window().key_press_modifiers(modifiers | Modifiers::COMMAND, key);
        self.window().step();
        self.window().step();
    }

    fn undo(&mut self) {
        self.ctrl(Modifiers::NONE, Key::Z);
    }

    fn has(&self, label: &str) -> bool {
        self.seen().query_all_by_label(label).next().is_some()
    }
}

impl Hands for Harness<'static, App> {
    fn window(&mut self) -> &mut Harness<'static, App> {
        self
    }

    fn seen(&self) -> &Harness<'static, App> {
        self
    }
}
