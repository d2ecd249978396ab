//! Densities, samples and what stands on the maps.

use std::sync::Arc;

use eframe::egui::{CornerRadius, FontId, Id, Painter, Rect, Shape, Stroke, StrokeKind, Ui};

use super::pane::Pane;
use super::shots::{Answer, Key, Shot};
use super::{Map, axes, run};
use crate::ui::app::App;
use crate::ui::layers::{
    self, Batch, ColorMap, Field as Cells, Particles, Points, Renderer, Ribbons, Scale, fallback,
};
use crate::ui::stage::episodes;
use crate::ui::stage::still::Still;
use crate::ui::stage::{Handle, things, walls};
use crate::ui::theme::{self, Colors};

/// First buffer slots.
const FIELD_SLOT: u64 = 200;
const SAMPLE_SLOT: u64 = 210;
const REWARD_SLOT: u64 = 220;
const TRAIL_SLOT: u64 = 230;
const WALL_SLOT: u64 = 240;
/// Radius of a sample and width of the trail in points.
const SAMPLE_RADIUS: f32 = 2.6;
const TRAIL_WIDTH: f32 = 2.6;
/// Opacity of an answer to an older question, and of painted rewards.
const STALE: f32 = 0.16;
const REWARDS: f32 = 0.4;
/// Half the thickness of walls with round ends, in world units.
const CAPSULE_RADIUS: f32 = 0.03;

#[derive(Default)]
struct Slot {
    key: Option<Key>,
    generation: u64,
    cells: Arc<Cells>,
}

/// Pictures made again only when what they show changes.
#[derive(Default)]
pub struct Pictures {
    slots: [Slot; 2],
    stills: [Still; 2],
    generation: u64,
}

/// Draw one map and what stands on it.
pub fn pane(app: &mut App, ui: &Ui, pane: &Pane, index: usize, shot: &Shot) {
    let colors = Colors::of(ui.ctx());
    let outer = ui.painter_at(pane.rect);
    let inner = outer.with_clip_rect(pane.plot.intersect(pane.rect));
    // A maze's outline is round, and nothing may show beyond it.
    let is_closed = pane.is_rows && pane.bounds != app.place.workspace.bounds();
    let rim = if is_closed { walls::CORNER * pane.scale() } else { 0.0 };
    let floor = outer.with_clip_rect(pane.plot.shrink(rim).intersect(pane.rect));
    floor.rect_filled(pane.plot, 0.0, colors.floor());
    let id = Id::unique(("field freshness", index));
    let fade = ui.ctx().animate_bool_with_time(id, shot.is_fresh, theme::TRANSITION_SECS);
    let opacity = STALE + (1.0 - STALE) * fade;
    let ppp = ui.pixels_per_point();
    let renderer = app.renderer();
    app.field.pictures.generation += 1;
    let is_sampled = app.field.as_samples && app.field.map == Map::Occupancy;
    if is_sampled {
        samples(app, &inner, pane, index, shot, (ppp, opacity), colors);
    } else {
        let periodic =
            [0, 1].map(|axis| app.place.spec.state.get(axis).is_some_and(|d| d.periodic));
        density(app, &floor, pane, index, shot, (ppp, opacity), periodic);
    }
    let map = episodes::Map::Pane(pane);
    episodes::ground(app, ui, &inner, map, index);
    if app.field.map == Map::Value {
        rewards(app, &floor, pane, index, ppp);
    }
    obstacles(app, ui, &inner, pane, index, colors);
    let has_map = shot.from.is_some() && (shot.is_fresh || fade > 0.0);
    if !has_map || !shot.is_fresh {
        note(&inner, pane.plot, shot.note, colors);
    }
    if !is_closed {
        let line = Stroke::new(1.0, colors.line());
        outer.rect_stroke(pane.plot, CornerRadius::ZERO, line, StrokeKind::Outside);
    }
    axes::frame(app, &outer, pane, &shot.title, colors);
    trail(app, &inner, pane, index, ppp, renderer, colors);
    marks(app, &inner, pane, colors);
    episodes::show(app, ui, &inner, map, index);
}

/// Words in the middle of a map that is not there.
fn note(painter: &Painter, rect: Rect, text: &str, colors: Colors) {
    let font = FontId::proportional(theme::BODY);
    let galley = painter.layout(text.into(), font, colors.ink(), (rect.width() - 32.0).max(40.0));
    let size = galley.size() + eframe::egui::vec2(24.0, 12.0);
    let chip = Rect::from_center_size(rect.center(), size);
    painter.rect_filled(chip, 8.0, colors.panel().gamma_multiply(0.9));
    painter.galley(chip.center() - galley.size() / 2.0, galley, colors.ink());
}

fn density(
    app: &mut App,
    painter: &Painter,
    pane: &Pane,
    index: usize,
    shot: &Shot,
    (ppp, opacity): (f32, f32),
    periodic: [bool; 2],
) {
    let renderer = app.renderer();
    let Some(slot) = app.field.pictures.slots.get_mut(index) else { return };
    let Some(key) = shot.key() else { return };
    if slot.key != Some(key)
        && let Some((grid, numbers)) = shot.numbers()
    {
        let (map, scale) = shot.look;
        slot.cells = Arc::new(Cells::new(grid, periodic, &numbers, shot.range, map, scale));
        slot.generation += 1;
        slot.key = Some(key);
    }
    let batch = Batch {
        slot: FIELD_SLOT + index as u64,
        generation: slot.generation,
        points: Points::Field(slot.cells.clone()),
    };
    draw(painter, batch, pane, ppp, opacity, renderer);
}

/// Add a batch, by GPU if there is one.
pub fn draw(painter: &Painter, batch: Batch, pane: &Pane, ppp: f32, opacity: f32, by: Renderer) {
    if by == Renderer::Shapes {
        painter.extend(fallback::shapes(&batch, |world| pane.screen_from_world(world)));
        return;
    }
    let mut view = pane.view(ppp, opacity);
    if let Points::Field(cells) = &batch.points {
        let (map, scale) = cells.look();
        view = layers::field_view(view, map, scale);
    }
    painter.add(layers::callback(pane.rect, batch, view, by));
}

/// States drawn from what a shot shows; both sets where it shows their
/// difference.
fn samples(
    app: &App,
    painter: &Painter,
    pane: &Pane,
    index: usize,
    shot: &Shot,
    (ppp, opacity): (f32, f32),
    colors: Colors,
) {
    let palette = colors.palette();
    let mut particles = Particles::default();
    let mut add = |states: &[f32], ink: crate::picture::Rgba| {
        let ink = ink.with_alpha(0.8).to_array();
        for state in states.as_chunks::<2>().0 {
            particles.push(*state, ink, SAMPLE_RADIUS);
        }
    };
    match &shot.from {
        Some(Answer::Model(frame)) => add(&frame.model_samples, palette.model),
        Some(Answer::Truth(frame)) => add(&frame.truth_samples, palette.truth),
        Some(Answer::Difference(frame)) => {
            add(&frame.truth_samples, palette.truth);
            add(&frame.model_samples, palette.model);
        }
        _ => {}
    }
    let batch = Batch {
        slot: SAMPLE_SLOT + index as u64,
        generation: app.field.pictures.generation,
        points: Points::Particles(Arc::new(particles)),
    };
    draw(painter, batch, pane, ppp, opacity, app.renderer());
}

/// Painted rewards over the value map.
fn rewards(app: &App, painter: &Painter, pane: &Pane, index: usize, ppp: f32) {
    let Some(painting) = super::rewards::painting(app) else { return };
    let grid = painting.grid(&app.place.spec.state);
    let (map, scale) = (ColorMap::Difference, Scale::Linear);
    let cells = Cells::new(&grid, [false; 2], &painting.rewards(), [0.0, 1.0], map, scale);
    let batch = Batch {
        slot: REWARD_SLOT + index as u64,
        generation: app.field.pictures.generation,
        points: Points::Field(Arc::new(cells)),
    };
    draw(painter, batch, pane, ppp, REWARDS, app.renderer());
}

pub fn obstacles(
    app: &mut App,
    ui: &Ui,
    painter: &Painter,
    pane: &Pane,
    index: usize,
    colors: Colors,
) {
    let renderer = app.renderer();
    if pane.is_rows {
        let layout = &app.place.layout;
        if let Some(still) = app.field.pictures.stills.get_mut(index) {
            still.update(layout, &pane.camera(), colors, ui.pixels_per_point(), walls::raised);
            still.paint(painter, WALL_SLOT + index as u64, renderer);
        }
    }
    let radius = CAPSULE_RADIUS * pane.scale();
    for ends in &app.place.capsules {
        let [from, to] = ends.map(|end| pane.screen_from_world(end));
        painter.line_segment([from, to], Stroke::new(2.0 * radius, colors.wall()));
        for end in [from, to] {
            painter.circle_filled(end, radius, colors.wall());
        }
    }
}

/// Where the real policy has been.
fn trail(
    app: &App,
    painter: &Painter,
    pane: &Pane,
    index: usize,
    ppp: f32,
    renderer: Renderer,
    colors: Colors,
) {
    let Some((run, step)) = run::now(app) else { return };
    let mut ribbons = Ribbons::default();
    let ink = colors.palette().trail.with_alpha(0.95).to_array();
    let [x_min, y_min, x_max, y_max] = pane.bounds;
    let half = [(x_max - x_min) / 2.0, (y_max - y_min) / 2.0];
    let place = |state: &Vec<f32>| Some([*state.first()?, *state.get(1)?]);
    let places: Vec<[f32; 2]> = run.states.iter().take(step + 1).filter_map(place).collect();
    // An angle that goes around leaves at one side and comes in at the other.
    let joined = |a: &[f32; 2], b: &[f32; 2]| (0..2).all(|i| (a[i] - b[i]).abs() < half[i]);
    for line in places.chunk_by(joined) {
        ribbons.line(line.iter().map(|&at| (at, ink, TRAIL_WIDTH)));
    }
    let batch = Batch {
        slot: TRAIL_SLOT + index as u64,
        generation: app.field.pictures.generation,
        points: Points::Ribbons(Arc::new(ribbons)),
    };
    draw(painter, batch, pane, ppp, 1.0, renderer);
    if let Some(&now) = places.last() {
        let at = pane.screen_from_world(now);
        painter.circle_filled(at, 7.0, colors.chosen_halo());
        painter.circle_filled(at, 5.5, colors.agent());
    }
}

/// Source and goal.
fn marks(app: &App, painter: &Painter, pane: &Pane, colors: Colors) {
    let stage = app.stage_now();
    let dragged = app.stage.drag().map(|drag| drag.handle);
    if !app.place.spec.goal_dims.is_empty() {
        let goal = pane.screen_from_world(stage.goal);
        let reach = app.place.spec.goal_radius * pane.scale();
        things::goal_region(painter, goal, reach, colors, 1.0);
        things::goal_mark(painter, goal, things::lifted(dragged, Handle::Goal), colors, 1.0);
    }
    if app.field.map == Map::Value {
        return;
    }
    if let [x, y, ..] = super::source(app)[..] {
        let at = pane.screen_from_world([x, y]);
        let radius = things::lifted(dragged, Handle::Start);
        // A source in the way of the mouse must not hide what is under it.
        let [inner, outer] = colors.on_map();
        painter.add(Shape::circle_stroke(at, radius, Stroke::new(4.5, outer)));
        painter.add(Shape::circle_stroke(at, radius, Stroke::new(2.0, inner)));
        if app.field.is_pinned() {
            painter.circle_filled(at, 4.0, outer);
            painter.circle_filled(at, 3.0, inner);
        }
    }
}
