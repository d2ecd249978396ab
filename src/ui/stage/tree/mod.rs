//! The stage of a Trajectory Transformer: beam search as a tree where it
//! happens, the plan it chose, and the agent that carries it out.
//!
//! [`crate::lab::branches`] knows where a search's states are, [`pictures`] what
//! is drawn of them, [`input`] the hands; [`pendulum`], [`words`] and
//! [`attended`] draw.

mod attended;
pub mod export;
pub mod input;
mod pendulum;
mod pictures;
mod words;

pub use pictures::Pictures;

use std::time::Duration;

use eframe::egui::{self, CornerRadius, Painter, Rect, Role, Sense, Stroke, StrokeKind, Ui};
use eframe::egui::{Id, WidgetInfo, lerp};

use super::episodes;
use super::field::pane::{Arrangement, Pane};
use super::field::{axes, paint};
use super::{Handle, things, walls};
use crate::lab::knobs;
use crate::ui::app::App;
use crate::ui::panels::dream;
use crate::ui::theme::{self, Colors};

/// Opacity of an answer to an older question.
const STALE: f32 = 0.35;
/// Opacity of the tree once the agent walks.
const RECEDED: f32 = 0.7;
/// Opacity of the tree under a dream.
const UNDER_DREAM: f32 = 0.3;

/// Whether the open scene has this stage.
pub fn is_here(app: &App) -> bool {
    knobs::is_trajectory(app.session.scene())
}

/// The map on the stage, once it was shown.
pub fn pane(app: &App) -> Option<Pane> {
    arrangement(app, app.stage.rect?).panes.first().copied()
}

fn arrangement(app: &App, rect: Rect) -> Arrangement {
    Arrangement::new(rect, 1, &app.place, &app.stage.camera)
}

/// Show the stage and let it be worked with.
pub fn show(app: &mut App, ui: &mut Ui) {
    let rect = ui.available_rect_before_wrap();
    app.stage.rect = Some(rect);
    let response = ui.allocate_rect(rect, Sense::click_and_drag());
    response.widget_info(|| {
        WidgetInfo::labeled(Role::Canvas, true, "Stage: click to move, click a branch to pick it")
    });
    let colors = Colors::of(ui.ctx());
    ui.painter_at(rect).rect_filled(rect, 0.0, colors.background());
    let arrangement = arrangement(app, rect);
    let Some(pane) = arrangement.panes.first().copied() else { return };
    let inner = ground(app, ui, &pane, colors);
    let is_recording = episodes::lead(app, ui, &response, |at| Some(pane.world_from_screen(at)));
    if !is_recording {
        input::background(app, ui, &response, &pane);
    }
    let map = episodes::Map::Pane(&pane);
    episodes::ground(app, ui, &inner, map, 0);
    let opacity = opacity(app, ui);
    Pictures::show(app, ui, &inner, &pane, opacity);
    dream::on_stage(app, &inner, &pane);
    // Marks come last: an agent at its start must not hide what can be dragged.
    if !is_recording {
        agent(app, &inner, &pane, colors);
        attended::paint(app, &inner, &pane);
        input::handles(app, ui, &pane);
    }
    marks(app, &inner, &pane, colors);
    episodes::show(app, ui, &inner, map, 0);
    if let Some(drawing) = arrangement.pendulum {
        pendulum::show(app, ui, drawing);
    }
    words::show(app, ui, rect, arrangement.strip, &pane);
}

/// Floor, walls and axes. Returns a painter for what is on the map.
pub(super) fn ground(app: &mut App, ui: &Ui, pane: &Pane, colors: Colors) -> Painter {
    let outer = ui.painter_at(pane.rect);
    let inner = outer.with_clip_rect(pane.plot.intersect(pane.rect));
    // A maze's outline is round, and nothing may show beyond it.
    let is_closed = pane.is_rows && pane.bounds != app.place.workspace.bounds();
    let rim = if is_closed { walls::CORNER * pane.scale() } else { 0.0 };
    let floor = outer.with_clip_rect(pane.plot.shrink(rim).intersect(pane.rect));
    floor.rect_filled(pane.plot, 0.0, colors.floor());
    paint::obstacles(app, ui, &inner, pane, 0, colors);
    if !is_closed {
        let line = Stroke::new(1.0, colors.line());
        outer.rect_stroke(pane.plot, CornerRadius::ZERO, line, StrokeKind::Outside);
    }
    axes::frame(app, &outer, pane, "", colors);
    inner
}

/// The tree fades while its answer is out of date, and steps back behind the
/// agent once that walks.
fn opacity(app: &App, ui: &Ui) -> f32 {
    let animate =
        |name: &str, is: bool, secs| ui.ctx().animate_bool_with_time(Id::unique(name), is, secs);
    let fresh = animate("tree freshness", app.tree.is_fresh(), theme::TRANSITION_SECS);
    let is_walking = app.transport.time_secs > 0.0;
    let recedes = animate("tree recedes", is_walking, 0.4);
    let dreams = app.tree.dream.is_on_stage(app);
    let dreams = animate("tree under a dream", dreams, theme::TRANSITION_SECS);
    lerp(STALE..=1.0, fresh) * lerp(1.0..=RECEDED, recedes) * lerp(1.0..=UNDER_DREAM, dreams)
}

/// Start and goal.
fn marks(app: &App, painter: &Painter, pane: &Pane, colors: Colors) {
    let stage = app.stage_now();
    let dragged = app.stage.drag().map(|drag| drag.handle);
    if has_goal(app) {
        let goal = pane.screen_from_world(stage.goal);
        let reach = app.place.spec.goal_radius * pane.scale();
        things::goal_region(painter, goal, reach, colors, 1.0);
        things::goal_mark(painter, goal, things::lifted(dragged, Handle::Goal), colors, 1.0);
    }
    let start = pane.screen_from_world(stage.start);
    things::start_mark(painter, start, things::lifted(dragged, Handle::Start), colors, 1.0);
}

fn has_goal(app: &App) -> bool {
    !app.place.spec.goal_dims.is_empty()
}

/// The agent where it is at the clock.
fn agent(app: &App, painter: &Painter, pane: &Pane, colors: Colors) {
    let Some([x, y, ..]) = state(app).as_deref().map(|state| [state[0], state[1]]) else { return };
    let at = pane.screen_from_world([x, y]);
    things::agent(painter, at, app.place.body_radius(), pane.scale(), colors);
}

/// The agent's state at the clock, between two steps their mix; at least two
/// numbers.
fn state(app: &App) -> Option<Vec<f32>> {
    if let Some(recorded) = app.data.agent().filter(|state| state.len() >= 2) {
        return Some(recorded.to_vec());
    }
    let (step, share) = app.tree.moment(&app.transport)?;
    let states = &app.tree.frame.as_ref()?.drive.states;
    let (now, next) = (states.get(step)?, states.get(step + 1).or(states.get(step))?);
    let state = app.place.spec.between(now, next, share);
    (state.len() >= 2).then_some(state)
}

/// Ask what is now wanted.
pub fn pump(app: &mut App, ctx: &egui::Context) {
    if !is_here(app) {
        return;
    }
    export::take(app, ctx);
    let (stage, now_secs) = (app.stage_now(), ctx.input(|input| input.time));
    let is_dragging = app.stage.drag().is_some();
    let App { session, tree, place, .. } = app;
    if let Some(secs) = tree.pump(session, place, &stage, is_dragging, now_secs) {
        ctx.request_repaint_after(Duration::from_secs_f64(secs.max(0.0) + 1e-3));
    }
}
