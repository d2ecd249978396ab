//! What stands on the stage: start, goal, waypoints, the chosen plan, the ball
//! and its trail.

use eframe::egui;
use std::sync::Arc;

use eframe::egui::{Color32, Painter, Pos2, Shape, Stroke, vec2};

use super::camera::Camera;
use super::cloud;
use super::{Handle, Tool};
use crate::env::StateView;
use crate::picture::Rgba;
use crate::plan::{Plan, Rollout};
use crate::ui::app::App;
use crate::ui::layers::{Batch, Points, Renderer, Ribbons};
use crate::ui::live::Live;
use crate::ui::theme::Colors;
use crate::ui::transport::Transport;

const CHOSEN_SLOT: u64 = 10;
const TRAIL_SLOT: u64 = 11;
/// Radius of a handle in points.
pub const HANDLE_RADIUS: f32 = 9.0;
/// Smallest ball that can be seen, in points.
const MIN_BALL: f32 = 6.0;
/// Width of the chosen plan and of the trail in points.
const CHOSEN_WIDTH: f32 = 2.4;
const HALO_WIDTH: f32 = 6.0;
const TRAIL_WIDTH: f32 = 3.2;
/// How opaque the oldest part of the trail is.
const OLDEST_TRAIL: f32 = 0.15;

/// The chosen plan and the trail, rebuilt only when they change.
#[derive(Default)]
pub struct Curves {
    chosen_key: Option<(u64, u64, bool)>,
    chosen_generation: u64,
    chosen: Arc<Ribbons>,
    trail_key: Option<(u64, usize, usize, bool)>,
    trail_generation: u64,
    trail: Arc<Ribbons>,
}

impl Curves {
    /// Follow the plan and the clock.
    pub fn update(&mut self, live: &Live, transport: &Transport, colors: Colors) {
        let followed = live.followed(transport).filter(|film| film.is_complete());
        if let Some(film) = followed.or(live.complete())
            && let Some(plan) = &film.plan
        {
            let key = (film.id, film.request.seed, colors.is_dark());
            if self.chosen_key != Some(key) {
                self.chosen_key = Some(key);
                self.chosen_generation += 1;
                self.chosen = Arc::new(chosen(plan, &film.view, colors));
            }
        }
        let step = live
            .rollout()
            .map_or(0, |rollout| (transport.time_secs / rollout.dt_secs.max(1e-6)) as usize);
        let rollout_id = live.rollout().map_or(0, |rollout| rollout.film_id + 1);
        let key = (rollout_id, step, live.past().len(), colors.is_dark());
        if self.trail_key != Some(key) {
            self.trail_key = Some(key);
            self.trail_generation += 1;
            let rollout = live.rollout().map(Arc::as_ref);
            self.trail = Arc::new(trail(live.past(), rollout, step, colors));
        }
    }

    /// Shapes for what [`Curves::update`] made.
    pub fn shapes(
        &self,
        camera: &Camera,
        pixels_per_point: f32,
        renderer: Renderer,
        live: &Live,
        transport: &Transport,
    ) -> Vec<Shape> {
        let mut shapes = Vec::new();
        let mut draw = |slot, generation, ribbons: &Arc<Ribbons>, opacity| {
            if !ribbons.points().is_empty() {
                let points = Points::Ribbons(ribbons.clone());
                let batch = Batch { slot, generation, points };
                cloud::draw(&mut shapes, batch, camera, pixels_per_point, opacity, renderer);
            }
        };
        let reveal = reveal(live, transport);
        if reveal > 0.0 {
            draw(CHOSEN_SLOT, self.chosen_generation, &self.chosen, reveal);
        }
        draw(TRAIL_SLOT, self.trail_generation, &self.trail, 1.0);
        shapes
    }
}

/// The chosen plan appears with the last denoising step.
fn reveal(live: &Live, transport: &Transport) -> f32 {
    match (live.film(), live.complete()) {
        (Some(film), Some(complete)) if film.id == complete.id => {
            let end = film.total_steps as f32;
            (transport.chain - (end - 1.0)).clamp(0.0, 1.0)
        }
        _ => 0.0,
    }
}

fn chosen(plan: &Plan, view: &StateView, colors: Colors) -> Ribbons {
    let palette = colors.palette();
    let ink = if plan.feasible { palette.chosen } else { palette.infeasible };
    let halo = palette.chosen_halo.with_alpha(0.65);
    let mut ribbons = Ribbons::default();
    for (color, width) in [(halo, HALO_WIDTH), (ink, CHOSEN_WIDTH)] {
        let points: Vec<_> = plan.states.iter().filter_map(|state| position(state)).collect();
        for line in points.chunk_by(|a, b| !view.wraps(*a, *b)) {
            ribbons.line(line.iter().map(|at| (*at, color.to_array(), width)));
        }
    }
    ribbons
}

fn trail(past: &[[f32; 2]], rollout: Option<&Rollout>, step: usize, colors: Colors) -> Ribbons {
    let ink: Rgba = colors.palette().trail;
    let states = rollout.map_or(&[][..], |rollout| rollout.states.as_slice());
    let current = states.iter().take(step + 1).filter_map(|state| position(state));
    let points: Vec<[f32; 2]> = past.iter().copied().chain(current).collect();
    let last = points.len().saturating_sub(1).max(1) as f32;
    let mut ribbons = Ribbons::default();
    let mut index = 0.0;
    let view = rollout.map(|rollout| rollout.view.clone()).unwrap_or_default();
    for line in points.chunk_by(|a, b| !view.wraps(*a, *b)) {
        ribbons.line(line.iter().map(|&at| {
            let alpha = OLDEST_TRAIL + (0.95 - OLDEST_TRAIL) * (index / last);
            index += 1.0;
            (at, ink.with_alpha(alpha).to_array(), TRAIL_WIDTH)
        }));
    }
    ribbons
}

fn position(state: &[f32]) -> Option<[f32; 2]> {
    Some([*state.first()?, *state.get(1)?])
}

/// Start, goal and waypoints.
pub fn handles(app: &App, painter: &Painter, camera: &Camera, colors: Colors) {
    let stage = app.stage_now();
    let dragged = app.stage.drag().map(|drag| drag.handle);
    let muted = if app.stage.tool == Tool::Move { 1.0 } else { 0.5 };
    let goal = camera.screen_from_world(stage.goal);
    if app.place.has_goal() {
        goal_region(painter, goal, app.place.spec.goal_radius * camera.scale, colors, muted);
    }
    for (index, via) in stage.via.iter().enumerate() {
        let at = camera.screen_from_world(via.position);
        diamond(painter, at, lifted(dragged, Handle::Via(index)), colors, muted);
        let label = format!("{:.0} %", via.fraction * 100.0);
        let font = egui::FontId::proportional(11.0);
        let place = at + vec2(HANDLE_RADIUS + 6.0, 0.0);
        painter.text(place, egui::Align2::LEFT_CENTER, label, font, colors.ink());
    }
    let start = camera.screen_from_world(stage.start);
    start_mark(painter, start, lifted(dragged, Handle::Start), colors, muted);
    if app.place.has_goal() {
        goal_mark(painter, goal, lifted(dragged, Handle::Goal), colors, muted);
    }
}

/// Where one is at the goal.
pub fn goal_region(painter: &Painter, goal: Pos2, reach: f32, colors: Colors, muted: f32) {
    painter.circle_filled(goal, reach, colors.goal().gamma_multiply(0.10 * muted));
    let rim = Stroke::new(1.0, colors.goal().gamma_multiply(0.35 * muted));
    painter.circle_stroke(goal, reach, rim);
}

/// A ring: where something starts.
pub fn start_mark(painter: &Painter, start: Pos2, radius: f32, colors: Colors, muted: f32) {
    painter.circle_stroke(start, radius, Stroke::new(5.0, colors.shade(0.35 * muted)));
    painter.circle_stroke(start, radius, Stroke::new(2.5, colors.start().gamma_multiply(muted)));
}

/// A target: where something should end.
pub fn goal_mark(painter: &Painter, goal: Pos2, radius: f32, colors: Colors, muted: f32) {
    painter.circle_filled(goal, radius + 1.5, colors.shade(0.35 * muted));
    painter.circle_filled(goal, radius, colors.goal().gamma_multiply(muted));
    painter.circle_filled(goal, radius * 0.58, colors.floor());
    painter.circle_filled(goal, radius * 0.30, colors.goal().gamma_multiply(muted));
}

/// What is held is a little larger.
pub fn lifted(dragged: Option<Handle>, handle: Handle) -> f32 {
    if dragged == Some(handle) { HANDLE_RADIUS + 3.0 } else { HANDLE_RADIUS }
}

fn diamond(painter: &Painter, at: Pos2, radius: f32, colors: Colors, muted: f32) {
    let corners = |radius: f32| {
        vec![
            at + vec2(0.0, -radius),
            at + vec2(radius, 0.0),
            at + vec2(0.0, radius),
            at + vec2(-radius, 0.0),
        ]
    };
    let fill = |radius, ink: Color32| Shape::convex_polygon(corners(radius), ink, Stroke::NONE);
    painter.add(fill(radius + 2.0, colors.shade(0.4 * muted)));
    painter.add(fill(radius, colors.guidance().gamma_multiply(muted)));
    painter.add(fill(radius * 0.5, colors.floor()));
}

/// The ball, true to size where that can be seen.
pub fn ball(app: &App, painter: &Painter, camera: &Camera, colors: Colors) {
    let Some(position) = app.live.ball(&app.transport) else { return };
    let at = camera.screen_from_world(position);
    agent(painter, at, app.place.body_radius(), camera.scale, colors);
}

/// The agent of a body's radius at a place on a map with so many points per
/// unit, true to size where that can be seen.
pub fn agent(painter: &Painter, at: Pos2, body: f32, scale: f32, colors: Colors) {
    let radius = (body * scale).max(MIN_BALL);
    painter.circle_filled(at + vec2(0.0, radius * 0.35), radius * 1.25, colors.shade(0.28));
    painter.circle_filled(at, radius + 1.5, colors.chosen_halo());
    painter.circle_filled(at, radius, colors.agent());
    let light = at - vec2(radius * 0.3, radius * 0.35);
    painter.circle_filled(light, radius * 0.28, colors.floor().gamma_multiply(0.35));
}
