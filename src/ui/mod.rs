//! The window. It holds a [`crate::lab::Session`], shows what it computes, and
//! proposes changes; it runs no tensor operation and waits for nothing.
//!
//! In reading order: [`app`] is the state and one frame, [`actions`] applies
//! what panels propose, [`live`] knows the plan on the stage and [`tree`] the
//! beam search, [`data`] episodes and demonstrations, [`transport`] the clocks, [`stage`] and [`panels`] draw,
//! [`layers`] are the GPU's share, [`command`] is the table behind keys, menus
//! and the palette.

pub mod actions;
pub mod app;
pub mod command;
pub mod compare;
pub mod data;
mod export;
pub mod history;
pub mod icons;
mod keys;
pub mod layers;
pub mod live;
pub mod overlays;
pub mod panels;
mod place;
mod probe;
mod rollouts;
pub mod stage;
pub mod theme;
pub mod training;
pub mod transport;
pub mod tree;
mod widgets;
pub mod workspace;

use eframe::egui;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::anyhow;

use crate::lab::files::{self, AUTOSAVE};
use crate::lab::{DeviceChoice, Scene};

pub use app::{App, AppOptions, Prepared};
pub use probe::Probe;

/// Size of a new window in points.
const WINDOW: [f32; 2] = [1440.0, 900.0];
/// Smallest window the panels fit into.
const MIN_WINDOW: [f32; 2] = [960.0, 600.0];

/// What the window opens with.
pub struct UiOptions {
    /// The scene.
    pub scene: Scene,
    /// Its name: a shipped one's, or the file's.
    pub name: String,
    /// The folder of the scene's file; `None` for a shipped one.
    pub folder: Option<PathBuf>,
    /// The run that was open with it the last time.
    pub run: Option<PathBuf>,
    /// Where the models run.
    pub device: DeviceChoice,
    /// When the process began.
    pub started: Instant,
    /// Measure the window, print the result as JSON and close.
    pub probe: bool,
    /// Train while measuring.
    pub trains: bool,
}

/// Open the window and stay until it closes.
///
/// # Errors
/// A scene that cannot be used, or no window: no display, no graphics driver.
pub fn run(options: UiOptions) -> anyhow::Result<()> {
    let path = options.folder.as_ref().map(|folder| folder.join(&options.name));
    // The run of a measurement goes away with it.
    let scratch = if options.trains { Some(tempfile::tempdir()?) } else { None };
    let scratch_folder = scratch.as_ref().map(|folder| folder.path().to_path_buf());
    let prepared = Prepared::new(AppOptions {
        scene: options.scene,
        name: options.name,
        folder: options.folder,
        path: path.filter(|path| path.is_file()),
        run: options.run,
        device: options.device,
        // A measurement leaves no traces.
        state_folder: if options.probe { scratch_folder } else { state_folder() },
        probe: options.probe.then(|| Probe::new(options.started, options.trains)),
    })?;
    let native = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("foresight")
            .with_app_id("foresight")
            .with_inner_size(WINDOW)
            .with_min_inner_size(MIN_WINDOW),
        // The shipped fonts cover everything shown.
        system_font_fallback: false,
        ..Default::default()
    };
    eframe::run_native(
        "foresight",
        native,
        Box::new(move |cc| Ok(Box::new(prepared.into_app(cc)))),
    )
    .map_err(|error| {
        anyhow!(
            "no window could be opened: {error}. It needs a display (DISPLAY or WAYLAND_DISPLAY) \
             and a Vulkan or OpenGL driver; `foresight doctor` says what is missing, and plan, \
             eval, train, collect and bench work without a window"
        )
    })
}

/// What was open the last time.
pub struct Last {
    /// The scene, as it was left.
    pub scene: Scene,
    /// The folder its files are relative to.
    pub folder: PathBuf,
    /// The run that was open with it.
    pub run: Option<PathBuf>,
}

/// What was open the last time, if it can still be used.
pub fn last() -> Option<Last> {
    let folder = state_folder()?;
    // A scene that can no longer be used is no reason not to open.
    let scene = Scene::read(&folder.join(AUTOSAVE)).ok()?;
    let run = files::open_run(&folder);
    Some(Last { scene, folder, run })
}

/// Where small things are kept between runs.
fn state_folder() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(|| {
        std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local").join("state"))
    })?;
    base.is_absolute().then(|| base.join("foresight"))
}

#[cfg(test)]
pub(crate) mod testing {
    use crate::lab::{SHIPPED, Scene};

    /// A scene that plans in no time: a tiny network with random weights.
    pub fn tiny_scene() -> Scene {
        let mut scene = Scene::parse(SHIPPED[2].text).unwrap();
        scene.model.set_weights(None);
        scene.model.diffuser_mut().unwrap().multipliers = Some(vec![1]);
        scene.plan.durations = 3;
        scene.plan.candidates_per_duration = 2;
        scene.plan.denoising_steps = 3;
        scene
    }
}
