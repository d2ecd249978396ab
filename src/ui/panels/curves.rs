//! The chosen plan's coordinates over time, with what the ball did.

use eframe::egui::{self, Ui};
use egui_plot::VLine;

use super::plot::{self, Axis, line, rounded, thinned};
use crate::plan::{Plan, Rollout};
use crate::ui::app::App;
use crate::ui::theme::Colors;
use crate::ui::widgets::muted;

/// Height of one plot.
const HEIGHT: f32 = 112.0;
/// Most points in a line.
const MAX_POINTS: usize = 110;

/// Show positions and velocities.
pub fn show(app: &mut App, ui: &mut Ui) {
    let plan = app.live.complete().and_then(|film| film.plan.clone());
    let Some(plan) = plan else {
        ui.label(muted(ui, "No plan yet."));
        return;
    };
    let rollout = app.live.rollout().cloned();
    let rollout = rollout.as_deref();
    let now = app.transport.time_secs;
    let spec = &app.place.spec;
    if spec.goal_dims.is_empty() {
        // Coordinates of different units, one to a plot.
        let names = ["angle", "speed"];
        for (dim, name) in names.into_iter().enumerate() {
            let unit = spec.state.get(dim).map_or("", |known| known.unit.as_str());
            curve(ui, name, unit, &[dim], &plan, rollout, now);
        }
        return legend(ui, &[]);
    }
    curve(ui, "position", "", &[0, 1], &plan, rollout, now);
    if spec.has_velocities() {
        curve(ui, "velocity", "/s", &[2, 3], &plan, rollout, now);
    }
    legend(ui, &["x", "y"]);
}

fn curve(
    ui: &mut Ui,
    name: &'static str,
    unit: &str,
    dims: &[usize],
    plan: &Plan,
    rollout: Option<&Rollout>,
    now: f32,
) {
    let colors = Colors::of(ui.ctx());
    let name = format!("{name} {unit}");
    let x = Axis { text: |mark| format!("{} s", rounded(mark)), ..Axis::new("", 4.0) };
    plot::plot(name.clone(), [HEIGHT, 24.0], x, Axis::new(&name, 3.0), colors)
        .include_x(0.0)
        .include_x(f64::from(plan.duration_steps * plan.dt_secs))
        .show(ui, |plot| {
            for (index, dim) in dims.iter().copied().enumerate() {
                let ink = colors.coordinate(index);
                let planned = series(&plan.states, dim, plan.dt_secs, f32::INFINITY);
                let name = format!("planned {index}");
                plot.line(line(name, planned, ink.gamma_multiply(0.7), 1.0, true));
                if let Some(rollout) = rollout {
                    let done = series(&rollout.states, dim, rollout.dt_secs, now);
                    plot.line(line(format!("executed {index}"), done, ink, 2.0, false));
                }
            }
            plot.vline(VLine::new("now", f64::from(now)).color(colors.ink()).width(1.0));
        });
}

/// One coordinate over seconds, thinned to what a small plot can show.
fn series(states: &[Vec<f32>], dim: usize, dt_secs: f32, until_secs: f32) -> Vec<[f64; 2]> {
    let shown = (until_secs / dt_secs.max(1e-6)) as usize;
    let states = &states[..states.len().min(shown.saturating_add(1))];
    let points = states.iter().enumerate().filter_map(|(index, state)| {
        Some([f64::from(index as f32 * dt_secs), f64::from(*state.get(dim)?)])
    });
    thinned(points.collect(), MAX_POINTS)
}

fn legend(ui: &mut Ui, names: &[&str]) {
    let colors = Colors::of(ui.ctx());
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        for (index, name) in names.iter().copied().enumerate() {
            let (rect, _) = ui.allocate_exact_size(egui::vec2(12.0, 8.0), egui::Sense::hover());
            let stroke = egui::Stroke::new(2.0, colors.coordinate(index));
            ui.painter().hline(rect.x_range(), rect.center().y, stroke);
            ui.label(muted(ui, name));
            ui.add_space(8.0);
        }
        ui.label(muted(ui, "dashed: planned, solid: executed"));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_thinned_and_keeps_its_last_point() {
        let states: Vec<Vec<f32>> = (0..1000).map(|i| vec![i as f32]).collect();
        let all = series(&states, 0, 0.01, f32::INFINITY);
        assert!(all.len() <= MAX_POINTS + 2);
        assert_eq!(all.last().map(|point| point[1]), Some(999.0));
        let half = series(&states, 0, 0.01, 5.0);
        assert!((half.last().unwrap()[0] - 5.0).abs() < 1e-4);
        assert!(series(&states, 7, 0.01, 5.0).is_empty());
    }
}
