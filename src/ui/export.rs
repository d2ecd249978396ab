//! Pictures that leave the program.

use std::path::PathBuf;

use eframe::egui::Context;

use super::app::App;
use super::transport::Clock;

/// Write the stage as it is now.
pub fn png(_app: &mut App, _path: PathBuf, _ctx: &Context) {}

/// Write one clock as a film.
pub fn gif(_app: &mut App, _clock: Clock, _path: PathBuf, _ctx: &Context) {}
