//! The denoising chain: where the clock stands, how much noise is left, and the
//! whole chain as a strip of small pictures.

use eframe::egui;
use std::sync::Arc;

use eframe::egui::{Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, vec2};

use crate::plan::Film;
use crate::ui::app::App;
use crate::ui::stage::camera::Camera;
use crate::ui::stage::cloud::{Cloud, CloudStyle};
use crate::ui::stage::still::Still;
use crate::ui::stage::walls;
use crate::ui::theme::{Colors, GRID, SMALL, number};
use crate::ui::transport::Clock;
use crate::ui::widgets::muted;

/// Pictures in the strip.
const FRAMES: usize = 6;
const COLUMNS: usize = 3;
const GAP: f32 = 6.0;
/// First buffer slot of the strip.
const SLOT: u64 = 100;
const STYLE: CloudStyle =
    CloudStyle { max_candidates: 8, max_particles: 240, width: 0.9, radius: 2.0, strength: 1.0 };

/// The strip's pictures, made once per film.
#[derive(Default)]
pub struct FilmStrip {
    clouds: [Cloud; FRAMES],
    stills: [Still; FRAMES],
}

/// Show the chain.
pub fn show(app: &mut App, ui: &mut Ui) {
    let Some(film) = app.live.followed(&app.transport).cloned() else {
        ui.label(muted(ui, "Waiting for the first plan."));
        return;
    };
    facts(app, ui, &film);
    which(app, ui);
    strip(app, ui, &film);
}

fn facts(app: &App, ui: &mut Ui, film: &Film) {
    let colors = Colors::of(ui.ctx());
    let at = (app.transport.chain.floor() as usize).min(film.total_steps);
    let step = film.steps.get(at);
    let (time, level) = match step {
        Some(step) => (step.diffusion_time.to_string(), step.noise_level),
        None => ("-".into(), 0.0),
    };
    ui.horizontal(|ui| {
        ui.label(muted(ui, "noise"));
        ui.label(number(format!("{level:.3}")));
        ui.add_space(GRID);
        ui.label(muted(ui, "t"));
        ui.label(number(time));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let n = film.n_candidates();
            ui.label(
                number(format!("{n} x {}", film.waypoints)).size(SMALL).color(colors.muted_ink()),
            )
            .on_hover_text("Candidates x waypoints");
        });
    })
    .response
    .on_hover_text("Standard deviation of the noise left in x_t, and the diffusion time t.");
    level_bar(ui, level);
}

fn level_bar(ui: &mut Ui, level: f32) {
    let colors = Colors::of(ui.ctx());
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 4.0), Sense::hover());
    ui.painter().rect_filled(rect, 2.0, colors.raised());
    let mut filled = rect;
    filled.set_width(rect.width() * level.clamp(0.0, 1.0));
    ui.painter().rect_filled(filled, 2.0, colors.accent());
}

fn which(app: &mut App, ui: &mut Ui) {
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        for (noisy, label, help) in [
            (true, "x_t", "The noisy plan, as the chain holds it"),
            (false, "Clean prediction", "What the model takes it for"),
        ] {
            let selected = app.show_noisy == noisy;
            if ui.selectable_label(selected, label).on_hover_text(help).clicked() {
                app.show_noisy = noisy;
            }
        }
    });
}

fn strip(app: &mut App, ui: &mut Ui, film: &Arc<Film>) {
    let [x_min, y_min, x_max, y_max] = match app.place.is_maze() {
        true => walls::shown_bounds(&app.place.layout),
        // A square shows rooms and phase planes.
        false => [0.0, 0.0, 1.0, 1.0],
    };
    let width = (ui.available_width() - GAP * (COLUMNS - 1) as f32) / COLUMNS as f32;
    let aspect = ((x_max - x_min) / (y_max - y_min).max(1e-3)).clamp(0.4, 1.4);
    let size = vec2(width.floor(), (width * aspect).floor());
    ui.spacing_mut().item_spacing = vec2(GAP, GAP);
    for row in 0..FRAMES / COLUMNS {
        ui.horizontal(|ui| {
            for column in 0..COLUMNS {
                let index = row * COLUMNS + column;
                let end = film.total_steps as f32;
                let position = (end * index as f32 / (FRAMES - 1) as f32).round();
                picture(app, ui, film, index, position, size);
            }
        });
    }
}

fn picture(
    app: &mut App,
    ui: &mut Ui,
    film: &Arc<Film>,
    index: usize,
    position: f32,
    size: egui::Vec2,
) {
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let name = if position >= film.total_steps as f32 {
        "Show the finished plan".to_owned()
    } else {
        format!("Show denoising step {position:.0}")
    };
    let is_here = (app.transport.chain - position).abs() < 0.5;
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, is_here, &name));
    if response.clicked() {
        app.transport.clock = Clock::Denoising;
        app.transport.playing = false;
        app.transport.chain = position.min(app.live.extent().chain_ready);
    }
    if ui.is_rect_visible(rect) {
        paint(app, ui, film, index, position, rect, is_here);
    }
    response.on_hover_text(name);
}

fn paint(
    app: &mut App,
    ui: &Ui,
    film: &Arc<Film>,
    index: usize,
    position: f32,
    rect: Rect,
    is_here: bool,
) {
    let colors = Colors::of(ui.ctx());
    let painter = ui.painter_at(rect);
    let (renderer, slot) = (app.renderer(), SLOT + 3 * index as u64);
    let camera = match app.place.is_maze() {
        true => Camera::fit(rect.shrink(1.0), walls::shown_bounds(&app.place.layout)),
        false => {
            painter.rect_filled(rect, 4.0, colors.floor());
            let camera = whole_plane(app, rect.shrink(1.0));
            for ends in &app.place.capsules {
                let ends = ends.map(|end| camera.screen_from_world(end));
                painter.line_segment(ends, Stroke::new(2.5, colors.wall()));
            }
            camera
        }
    };
    if app.place.is_maze()
        && let Some(still) = app.strip.stills.get_mut(index)
    {
        still.update(&app.place.layout, &camera, colors, ui.pixels_per_point(), walls::flat);
        still.paint(&painter, slot + 2, renderer);
    }
    if position <= app.live.extent().chain_ready {
        let noisy = app.show_noisy;
        if let Some(cloud) = app.strip.clouds.get_mut(index) {
            cloud.update(film, position, noisy, colors, &STYLE);
            for shape in cloud.shapes(&camera, ui.pixels_per_point(), slot, 1.0, renderer) {
                painter.add(shape);
            }
        }
    }
    let stroke =
        if is_here { Stroke::new(1.5, colors.accent()) } else { Stroke::new(1.0, colors.line()) };
    painter.rect_stroke(rect, 4.0, stroke, StrokeKind::Inside);
}

/// The camera that shows the whole map of the first two state coordinates.
fn whole_plane(app: &App, rect: Rect) -> Camera {
    let [x_min, y_min, x_max, y_max] = app.place.workspace.bounds();
    let [across, up] = [rect.width() / (x_max - x_min), rect.height() / (y_max - y_min)];
    let zero = rect.left_bottom() + vec2(-x_min * across, y_min * up);
    Camera::of_axes(rect, zero, [vec2(across, 0.0), vec2(0.0, -up)])
}
