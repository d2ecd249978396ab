//! What a request drew and what was picked.

use eframe::egui::{Mesh, Rect, Sense, Shape, Ui, pos2, vec2};

use crate::plan::Film;
use crate::ui::app::App;
use crate::ui::theme::Colors;
use crate::ui::widgets::{fact, muted};

const STRIP_HEIGHT: f32 = 40.0;

/// Show the summary.
pub fn show(app: &mut App, ui: &mut Ui) {
    let followed = app.live.followed(&app.transport).filter(|film| film.is_complete());
    let Some(film) = followed.or(app.live.complete()).cloned() else {
        ui.label(muted(ui, "No plan yet."));
        return;
    };
    let n = film.n_candidates();
    let feasible = film.candidates.iter().filter(|candidate| candidate.feasible).count();
    strip(ui, &film);
    if !app.place.has_goal() {
        return returns(app, ui, &film);
    }
    fact(ui, "feasible", format!("{feasible} of {n}"));
    let Some(plan) = &film.plan else { return };
    let dt = plan.dt_secs;
    let planned_secs = plan.duration_steps * dt;
    fact(ui, "chosen duration", format!("{planned_secs:.2} s ({:.0} steps)", plan.duration_steps));
    let actual = app.live.rollout().filter(|rollout| rollout.film_id == film.id);
    let arrival = actual.and_then(|rollout| rollout.arrival_step);
    let arrival = match (actual, arrival) {
        (_, Some(step)) => format!("{:.2} s", step as f32 * dt),
        (Some(rollout), None) if rollout.finished => "never".to_owned(),
        _ => "-".to_owned(),
    };
    fact(ui, "arrival within the radius", arrival);
    if let Some(chosen) = film.chosen.and_then(|index| film.candidates.get(index)) {
        fact(ui, "peak speed", format!("{:.2} /s", chosen.peak_speed));
        fact(ui, "points in walls", chosen.points_in_walls.to_string());
    }
    if let Some(rollout) = actual {
        fact(ui, "steps against a wall", rollout.contact_steps.to_string());
        if rollout.plans.len() > 1 {
            fact(ui, "plans followed", rollout.plans.len().to_string());
        }
    }
}

/// What was predicted of the candidates, and what the episode earned.
fn returns(app: &App, ui: &mut Ui, film: &Film) {
    let predicted: Vec<f32> =
        film.candidates.iter().filter_map(|candidate| candidate.predicted_return).collect();
    let chosen = film.chosen.and_then(|index| film.candidates.get(index)?.predicted_return);
    if let Some(chosen) = chosen {
        fact(ui, "predicted return", format!("{chosen:.1}"));
        let mean = predicted.iter().sum::<f32>() / predicted.len().max(1) as f32;
        let worst = predicted.iter().copied().fold(f32::INFINITY, f32::min);
        fact(ui, "mean of all, worst", format!("{mean:.1}, {worst:.1}"));
    }
    let Some(plan) = &film.plan else { return };
    let secs = plan.duration_steps * plan.dt_secs;
    fact(ui, "horizon", format!("{secs:.2} s ({:.0} steps)", plan.duration_steps + 1.0));
    if let Some(rollout) = app.live.rollout() {
        fact(ui, "episode return", format!("{:.1}", rollout.rewards.iter().sum::<f32>()));
        fact(ui, "plans followed", rollout.plans.len().to_string());
    }
}

/// How high each candidate's bar is, 0 to 1: its predicted return where the
/// model predicts it, else its duration.
fn heights(film: &Film) -> Vec<f32> {
    let returns: Option<Vec<f32>> =
        film.candidates.iter().map(|candidate| candidate.predicted_return).collect();
    match returns.filter(|returns| !returns.is_empty()) {
        Some(returns) => {
            let low = returns.iter().copied().fold(f32::INFINITY, f32::min);
            let high = returns.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            returns.iter().map(|value| (value - low) / (high - low).max(1e-6)).collect()
        }
        None => {
            let longest = film.durations.iter().copied().fold(1.0_f32, f32::max);
            film.candidates.iter().map(|candidate| candidate.duration_steps / longest).collect()
        }
    }
}

/// One bar per candidate: its predicted return or its duration, and whether it
/// can be followed.
fn strip(ui: &mut Ui, film: &Film) {
    let colors = Colors::of(ui.ctx());
    let (rect, response) =
        ui.allocate_exact_size(vec2(ui.available_width(), STRIP_HEIGHT), Sense::hover());
    let n = film.candidates.len();
    let heights = heights(film);
    if n == 0 {
        return;
    }
    let width = rect.width() / n as f32;
    // One mesh: a hundred rounded rectangles would be thousands of triangles.
    let mut mesh = Mesh::default();
    for (index, (candidate, height)) in film.candidates.iter().zip(heights).enumerate() {
        let height = rect.height() * height.clamp(0.05, 1.0);
        let left = rect.left() + index as f32 * width;
        let bar = Rect::from_min_max(
            pos2(left, rect.bottom() - height),
            pos2(left + (width - 1.0).max(0.8), rect.bottom()),
        );
        let ink = match (film.chosen == Some(index), candidate.feasible) {
            (true, _) => colors.chosen(),
            (_, true) => colors.accent().gamma_multiply(0.75),
            (_, false) => colors.infeasible().gamma_multiply(0.55),
        };
        mesh.add_colored_rect(bar, ink);
    }
    ui.painter().add(Shape::mesh(mesh));
    let is_worth = film.candidates.iter().any(|candidate| candidate.predicted_return.is_some());
    response.on_hover_text(match is_worth {
        true => "One bar per candidate, as high as its predicted return. White is chosen.",
        false => {
            "One bar per candidate, as high as it is long. White is chosen, blue feasible, red not."
        }
    });
}
