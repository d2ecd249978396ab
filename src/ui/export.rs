//! Pictures and tables that leave the program. They are made on the file
//! worker.

use std::path::PathBuf;
use std::sync::Arc;

use eframe::egui::Context;

use crate::lab::Scene;
use crate::lab::beam::BeamFrame;
use crate::lab::files::{FileTask, Make};
use crate::lab::picture::{self, Cloud, Moment, Shot, Span, TreeMoment, TreeShot};
use crate::picture::{Drawing, Mode, PictureError};
use crate::plan::beam::drive::SearchRecord;
use crate::plan::{Film, Rollout};

use super::actions::file_name;
use super::app::App;
use super::overlays::notices::Notice;
use super::stage::{self, field};
use super::theme;
use super::transport::Clock;

/// What is on the stage, for another thread.
struct OnStage {
    scene: Scene,
    film: Arc<Film>,
    rollout: Option<Arc<Rollout>>,
    past: Vec<[f32; 2]>,
    cloud: Cloud,
}

impl OnStage {
    /// What the app shows of `film`.
    fn of(app: &App, film: Arc<Film>) -> Self {
        let scene = Scene { stage: app.stage_now(), ..app.session.scene().clone() };
        let cloud = if app.show_noisy { Cloud::Noisy } else { Cloud::Clean };
        let rollout = app.live.rollout().cloned();
        Self { scene, film, rollout, past: app.live.past().to_vec(), cloud }
    }

    fn shot(&self) -> Result<Shot<'_>, String> {
        Shot::new(&self.scene, &self.film, self.rollout.as_deref())
            .map(|shot| shot.after(&self.past).showing(self.cloud))
            .map_err(|error| error.to_string())
    }
}

/// The search on the stage, for another thread.
struct OnTreeStage {
    scene: Scene,
    frame: Arc<BeamFrame>,
    search: Arc<SearchRecord>,
}

impl OnTreeStage {
    /// What the app shows, once there is a search.
    fn of(app: &App) -> Option<Self> {
        let frame = app.tree.frame.clone()?;
        let search = app.tree.shown(&app.transport).filter(|search| search.tree.done)?;
        let scene = Scene { stage: app.stage_now(), ..app.session.scene().clone() };
        Some(Self { scene, frame, search })
    }

    fn shot(&self) -> Result<TreeShot<'_>, String> {
        TreeShot::new(&self.scene, &self.frame.drive, &self.frame.bins)
            .map_err(|error| error.to_string())
    }
}

/// Turns a drawing into a file's bytes.
type Encode = fn(&Drawing, Mode) -> Result<Vec<u8>, PictureError>;

/// Write the stage as it is now, as pixels.
pub fn png(app: &mut App, path: PathBuf, ctx: &Context) {
    if field::is_here(app) {
        return field::export::still(app, path, ctx, picture::field_png);
    }
    if stage::tree::is_here(app) {
        return stage::tree::export::png(app, path, ctx);
    }
    still(app, path, ctx, picture::png);
}

/// Write the stage as it is now, as shapes.
pub fn svg(app: &mut App, path: PathBuf, ctx: &Context) {
    if stage::tree::is_here(app) {
        let Some(on_stage) = OnTreeStage::of(app) else { return refuse(app) };
        let moment = TreeMoment { tokens: app.transport.chain, time_secs: app.transport.time_secs };
        let mode = theme::mode(ctx.theme());
        let make: Make = Box::new(move || {
            let drawing = on_stage.shot()?.frame(moment);
            picture::svg(&drawing, mode).map_err(|error| error.to_string())
        });
        return app.submit(FileTask::Write { path, make });
    }
    if field::is_here(app) {
        return field::export::still(app, path, ctx, picture::field_svg);
    }
    still(app, path, ctx, picture::svg);
}

fn still(app: &mut App, path: PathBuf, ctx: &Context, encode: Encode) {
    let Some(film) = app.live.film().cloned() else { return refuse(app) };
    let moment = Moment { chain: app.transport.chain, time_secs: app.transport.time_secs };
    let mode = theme::mode(ctx.theme());
    let on_stage = OnStage::of(app, film);
    let make: Make = Box::new(move || {
        let drawing = on_stage.shot()?.frame(moment);
        encode(&drawing, mode).map_err(|error| error.to_string())
    });
    app.submit(FileTask::Write { path, make });
}

/// Write the chosen plan, every node of the search, or the map on the stage, as
/// a table.
pub fn csv(app: &mut App, path: PathBuf) {
    if field::is_here(app) {
        return field::export::csv(app, path);
    }
    if stage::tree::is_here(app) {
        let Some(on_stage) = OnTreeStage::of(app) else { return refuse(app) };
        let make: Make = Box::new(move || {
            Ok(picture::tree_csv(&on_stage.search, &on_stage.frame.bins).into_bytes())
        });
        return app.submit(FileTask::Write { path, make });
    }
    let plan = app.live.complete().and_then(|film| film.plan.clone());
    let Some(plan) = plan else { return refuse(app) };
    let scene = app.session.scene().clone();
    let make: Make = Box::new(move || {
        let environment = scene.make_environment().map_err(|error| error.to_string())?;
        Ok(picture::csv(&plan, &environment.spec().state).into_bytes())
    });
    app.submit(FileTask::Write { path, make });
}

/// Write one clock as a film.
pub fn gif(app: &mut App, clock: Clock, path: PathBuf, ctx: &Context) {
    if stage::tree::is_here(app) {
        return tree_gif(app, clock, path, ctx);
    }
    if field::is_here(app) {
        return field::export::gif(app, clock, path, ctx);
    }
    let Some(film) = app.live.complete().cloned() else { return refuse(app) };
    let mode = theme::mode(ctx.theme());
    let mut on_stage = OnStage::of(app, film);
    let span = match clock {
        Clock::Denoising => {
            // The prediction is part of the story unless it is all of it.
            if on_stage.cloud == Cloud::Noisy {
                on_stage.cloud = Cloud::Both;
            }
            // The ball waits where the plan starts.
            on_stage.rollout = None;
            Span::Denoising
        }
        Clock::Environment | Clock::Training => Span::Environment,
    };
    let make: Make = Box::new(move || {
        picture::movie_of(on_stage.shot()?, span, mode).map_err(|error| error.to_string())
    });
    // Some hundred pictures take a few seconds.
    app.notify(Notice::done(format!("Making {}…", file_name(&path))));
    app.submit(FileTask::Write { path, make });
}

/// Write the search's growth, or the episode.
fn tree_gif(app: &mut App, clock: Clock, path: PathBuf, ctx: &Context) {
    let Some(on_stage) = OnTreeStage::of(app) else { return refuse(app) };
    let (mode, from_secs) = (theme::mode(ctx.theme()), app.transport.time_secs);
    let span = match clock {
        Clock::Denoising => Span::Denoising,
        Clock::Environment | Clock::Training => Span::Environment,
    };
    let make: Make = Box::new(move || {
        picture::tree_movie(&on_stage.shot()?, span, from_secs, mode)
            .map_err(|error| error.to_string())
    });
    app.notify(Notice::done(format!("Making {}…", file_name(&path))));
    app.submit(FileTask::Write { path, make });
}

fn refuse(app: &mut App) {
    if stage::tree::is_here(app) {
        let advice = "The first search is still on its way; export again once it is whole.";
        return app.notify(Notice::failed("There is nothing to export yet", advice));
    }
    let advice = "The first plan is still on its way; export again once it is on the stage.";
    app.notify(Notice::failed("There is nothing to export yet", advice));
}
