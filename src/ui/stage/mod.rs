//! The stage: the maze, rooms or phase plane, what the model makes of it, and
//! everything that can be dragged.

pub mod camera;
pub mod cloud;
pub mod episodes;
pub mod field;
pub mod input;
mod overlay;
mod pendulum;
pub mod still;
mod swing;
mod things;
pub mod tree;
pub mod walls;

use eframe::egui::{self, Painter, Rect, Sense, Ui};

use crate::lab::scene::StageConfig;

use super::app::App;
use super::theme::Colors;
use camera::{Camera, Look};
use cloud::{Cloud, CloudStyle};
use field::pane::{Arrangement, Pane};
use still::Still;
use things::Curves;

/// Room around the maze for tools, ticks and the legend: left, top, right and
/// bottom.
const MARGINS: [f32; 4] = [40.0, 52.0, 24.0, 52.0];
/// First buffer slot of the stage.
const CLOUD_SLOT: u64 = 1;
const GROUND_SLOT: u64 = 20;
const STYLE: CloudStyle =
    CloudStyle { max_candidates: 128, max_particles: 4200, width: 1.5, radius: 4.5, strength: 1.0 };

/// What a drag on the stage does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tool {
    /// Moves start, goal and waypoints.
    #[default]
    Move,
    /// Builds walls.
    Paint,
    /// Removes walls.
    Erase,
}

/// Something on the stage that can be dragged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handle {
    /// Where plans start.
    Start,
    /// Where they end.
    Goal,
    /// A waypoint, by index.
    Via(usize),
}

/// A drag in progress; the scene learns of it when it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drag {
    /// What is being dragged.
    pub handle: Handle,
    /// The legal position nearest to the pointer.
    pub position: [f32; 2],
}

/// Camera, tool, drag and what is cached for painting.
#[derive(Default)]
pub struct Stage {
    /// Zoom and pan.
    pub camera: Look,
    /// What dragging does.
    pub tool: Tool,
    pub(super) drag: Option<Drag>,
    /// Cells painted in this stroke.
    pub(super) stroke: usize,
    /// Whether it only mirrors another stage: nothing on it can be touched.
    pub(super) is_mirror: bool,
    rect: Option<Rect>,
    cloud: Cloud,
    curves: Curves,
    ground: Still,
}

impl Stage {
    /// The scene's stage with what is being dragged in its new place.
    pub fn with_drag(&self, stage: &StageConfig) -> StageConfig {
        let mut stage = stage.clone();
        if let Some(drag) = self.drag {
            match drag.handle {
                Handle::Start => stage.start = drag.position,
                Handle::Goal => stage.goal = drag.position,
                Handle::Via(index) => {
                    if let Some(via) = stage.via.get_mut(index) {
                        via.position = drag.position;
                    }
                }
            }
        }
        stage
    }

    /// A stage that only mirrors another.
    pub(super) fn mirror() -> Self {
        Self { is_mirror: true, ..Self::default() }
    }

    /// Look where `other` looks, and move what it moves.
    pub(super) fn link(&mut self, other: &Self) {
        self.camera = other.camera;
        self.drag = other.drag;
    }

    /// Where the stage is in the window, once it was shown.
    pub fn rect(&self) -> Option<Rect> {
        self.rect
    }

    /// What is being dragged.
    pub fn drag(&self) -> Option<Drag> {
        self.drag
    }

    /// Another scene: forget the view and what was dragged.
    pub fn reset(&mut self) {
        self.camera.reset();
        self.drag = None;
        self.cloud.clear();
    }
}

/// The map on a stage that shows no maze, once it was shown.
pub fn plane(app: &App) -> Option<Pane> {
    if app.place.is_maze() {
        return None;
    }
    arrangement(app, app.stage.rect?).panes.first().copied()
}

fn arrangement(app: &App, rect: Rect) -> Arrangement {
    Arrangement::new(rect, 1, &app.place, &app.stage.camera)
}

/// Whether walls can be painted on the stage.
fn has_tools(app: &App) -> bool {
    app.place.is_maze() && !field::is_here(app)
}

/// The camera for an app's stage, once it was shown.
pub fn camera(app: &App) -> Option<Camera> {
    let rect = app.stage.rect?;
    if let Some(pane) = plane(app) {
        return Some(pane.camera());
    }
    let bounds = walls::shown_bounds(&app.place.layout);
    Some(app.stage.camera.camera(inner(rect), bounds).within(rect))
}

/// The part of the stage that the maze is fitted into.
fn inner(rect: Rect) -> Rect {
    let [left, top, right, bottom] = MARGINS;
    Rect::from_min_max(rect.min + egui::vec2(left, top), rect.max - egui::vec2(right, bottom))
}

/// Show the stage and let it be worked with.
pub fn show(app: &mut App, ui: &mut Ui) {
    if field::is_here(app) {
        return field::show(app, ui);
    }
    if tree::is_here(app) {
        return tree::show(app, ui);
    }
    let rect = ui.available_rect_before_wrap();
    app.stage.rect = Some(rect);
    let response = ui.allocate_rect(rect, Sense::click_and_drag());
    let Some(camera) = camera(app) else { return };
    let colors = Colors::of(ui.ctx());
    let pane = plane(app);
    let painter = match &pane {
        Some(pane) => {
            ui.painter_at(rect).rect_filled(rect, 0.0, colors.background());
            tree::ground(app, ui, pane, colors)
        }
        None => maze(app, ui, rect, &camera, colors),
    };
    let map = match &pane {
        Some(pane) => episodes::Map::Pane(pane),
        None => episodes::Map::Camera(&camera),
    };
    episodes::ground(app, ui, &painter, map, 0);
    paint_plans(app, ui, &painter, &camera, colors);
    let is_recording = episodes::lead(app, ui, &response, |at| Some(map.world(at)));
    if !is_recording {
        input::background(app, ui, &response, &camera);
        input::handles(app, ui, &camera);
    }
    things::handles(app, &painter, &camera, colors);
    if !is_recording {
        things::ball(app, &painter, &camera, colors);
    }
    episodes::show(app, ui, &painter, map, 0);
    if let Some(drawing) = pane.as_ref().and_then(|_| arrangement(app, rect).pendulum) {
        swing::show(app, ui, drawing);
    }
    overlay::show(app, ui, rect, &camera);
}

/// The maze and its ticks. Returns a painter for what is on it.
fn maze(app: &mut App, ui: &Ui, rect: Rect, camera: &Camera, colors: Colors) -> Painter {
    let painter = ui.painter_at(rect);
    let renderer = app.renderer();
    let ground = &mut app.stage.ground;
    ground.update(&app.place.layout, camera, colors, ui.pixels_per_point(), walls::shapes);
    ground.paint(&painter, GROUND_SLOT, renderer);
    overlay::ticks(app, &painter, camera, colors);
    painter
}

fn paint_plans(app: &mut App, ui: &Ui, painter: &egui::Painter, camera: &Camera, colors: Colors) {
    let renderer = app.renderer();
    let ppp = ui.pixels_per_point();
    if let Some(film) = app.live.followed(&app.transport).cloned() {
        let position = app.transport.chain;
        let end = film.total_steps as f32;
        // Once the ball rolls, the cloud steps back behind the chosen plan.
        let rolls = position >= end && app.transport.time_secs > 0.0;
        let ctx = ui.ctx();
        let opacity = ctx.animate_bool_with_time(egui::Id::unique("cloud recedes"), !rolls, 0.4);
        let opacity = egui::lerp(0.62..=1.0, opacity);
        app.stage.cloud.update(&film, position, app.show_noisy, colors, &STYLE);
        for shape in app.stage.cloud.shapes(camera, ppp, CLOUD_SLOT, opacity, renderer) {
            painter.add(shape);
        }
    }
    let App { stage, live, transport, .. } = app;
    stage.curves.update(live, transport, colors);
    for shape in stage.curves.shapes(camera, ppp, renderer, live, transport) {
        painter.add(shape);
    }
}
