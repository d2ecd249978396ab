//! What every test of the window needs: opening one without a GPU or a
//! display, and stepping its frames until the workers have answered.

use std::time::{Duration, Instant};

use eframe::egui::vec2;
use egui_kittest::Harness;
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
