//! Maps that leave the program. They are made on the file worker.

use std::path::PathBuf;
use std::sync::Arc;

use eframe::egui::Context;

use super::{Map, asking, run};
use crate::lab::Scene;
use crate::lab::files::{FileTask, Make};
use crate::lab::occupancy::OccupancyFrame;
use crate::lab::picture;
use crate::lab::values::ValueFrame;
use crate::picture::{Field, Mode, PictureError};
use crate::ui::actions::file_name;
use crate::ui::app::App;
use crate::ui::overlays::notices::Notice;
use crate::ui::theme;
use crate::ui::transport::Clock;

/// Turns a field into a file's bytes.
type Encode = fn(&Field, Mode) -> Result<Vec<u8>, PictureError>;

/// The map on the stage, for another thread.
enum OnStage {
    Occupancy(Arc<OccupancyFrame>),
    Values(Arc<ValueFrame>),
}

impl OnStage {
    /// What there is, with its truth where that answers the same question.
    fn of(app: &App) -> Option<Self> {
        let asking = &app.field.asking;
        match app.field.map {
            Map::Occupancy => {
                let truth = asking.truth().filter(|(_, is_same)| *is_same).map(|(frame, _)| frame);
                truth.or(asking.frame()).cloned().map(Self::Occupancy)
            }
            Map::Value => asking.complete_values().cloned().map(Self::Values),
        }
    }

    fn field(&self, scene: &Scene) -> Result<Field, String> {
        match self {
            Self::Occupancy(frame) => picture::occupancy(scene, frame),
            Self::Values(frame) => picture::values(scene, frame),
        }
        .map_err(|error| error.to_string())
    }
}

/// The scene as the stage shows it.
fn scene(app: &App) -> Scene {
    Scene { stage: app.stage_now(), ..app.session.scene().clone() }
}

/// Write the maps on the stage with axes and a color bar.
pub fn still(app: &mut App, path: PathBuf, ctx: &Context, encode: Encode) {
    let Some(on_stage) = OnStage::of(app) else { return nothing(app) };
    let (scene, mode) = (scene(app), theme::mode(ctx.theme()));
    let make: Make =
        Box::new(move || encode(&on_stage.field(&scene)?, mode).map_err(|error| error.to_string()));
    app.submit(FileTask::Write { path, make });
}

/// Write the numbers on the stage, one cell a row.
pub fn csv(app: &mut App, path: PathBuf) {
    let Some(on_stage) = OnStage::of(app) else { return nothing(app) };
    let state = app.place.spec.state.clone();
    let make: Make = Box::new(move || {
        let text = match on_stage {
            OnStage::Occupancy(frame) => picture::occupancy_csv(&frame, &state),
            OnStage::Values(frame) => picture::values_csv(&frame, &state),
        };
        Ok(text.into_bytes())
    });
    app.submit(FileTask::Write { path, make });
}

/// Write the policy's run over the map, or the prediction as its discount
/// grows.
pub fn gif(app: &mut App, clock: Clock, path: PathBuf, ctx: &Context) {
    let (scene, mode) = (scene(app), theme::mode(ctx.theme()));
    let make: Make = match clock {
        Clock::Denoising => {
            let (request, folder) = (asking::occupancy(app), app.folder().map(PathBuf::from));
            Box::new(move || {
                picture::discounts_on_cpu(&scene, folder.as_deref(), &request, mode)
                    .map_err(|error| error.to_string())
            })
        }
        Clock::Environment | Clock::Training => {
            let Some((run, _)) = run::now(app) else {
                let advice = "Press Space to let the policy run, then export it.";
                return app.notify(Notice::failed("There is no run to export yet", advice));
            };
            let run = run.clone();
            let Some(on_stage) = OnStage::of(app) else { return nothing(app) };
            Box::new(move || {
                let field = on_stage.field(&scene)?;
                picture::run(&field, &run, mode).map_err(|error| error.to_string())
            })
        }
    };
    app.notify(Notice::done(format!("Making {}…", file_name(&path))));
    app.submit(FileTask::Write { path, make });
}

fn nothing(app: &mut App) {
    let advice = "The first map is still on its way; export again once it is on the stage.";
    app.notify(Notice::failed("There is nothing to export yet", advice));
}
