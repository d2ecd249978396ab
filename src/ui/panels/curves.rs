//! The chosen plan's coordinates over time, with what the ball did.

use eframe::egui;
use eframe::egui::{Color32, Ui};
use egui_plot::{
    AxisHints, GridInput, GridMark, HPlacement, Line, LineStyle, Plot, PlotPoints, VLine,
};

use crate::plan::{Plan, Rollout};
use crate::ui::app::App;
use crate::ui::theme::{Colors, SMALL};
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
            plot(ui, name, unit, &[dim], &plan, rollout, now);
        }
        return legend(ui, &[]);
    }
    plot(ui, "position", "", &[0, 1], &plan, rollout, now);
    if spec.has_velocities() {
        plot(ui, "velocity", "/s", &[2, 3], &plan, rollout, now);
    }
    legend(ui, &["x", "y"]);
}

fn plot(
    ui: &mut Ui,
    name: &'static str,
    unit: &str,
    dims: &[usize],
    plan: &Plan,
    rollout: Option<&Rollout>,
    now: f32,
) {
    let colors = Colors::of(ui.ctx());
    let tick_font = egui::FontId::proportional(10.0);
    let x_axis = AxisHints::new_x()
        .formatter(|mark, _| format!("{} s", rounded(mark)))
        .tick_label_color(colors.muted_ink())
        .tick_label_font(tick_font.clone())
        .label_spacing(20.0..=36.0)
        .min_thickness(12.0);
    let y_axis = AxisHints::new_y()
        .formatter(|mark, _| rounded(mark))
        .label(egui::RichText::new(format!("{name} {unit}")).size(SMALL).color(colors.muted_ink()))
        .placement(HPlacement::Left)
        .tick_label_color(colors.muted_ink())
        .tick_label_font(tick_font)
        .label_spacing(9.0..=14.0)
        .min_thickness(24.0);
    Plot::new(name)
        .height(HEIGHT)
        .show_background(false)
        .custom_x_axes(vec![x_axis])
        .custom_y_axes(vec![y_axis])
        .x_grid_spacer(|input| grid(input, 4.0))
        .y_grid_spacer(|input| grid(input, 3.0))
        .grid_color(colors.line())
        .allow_drag(false)
        .allow_zoom(false)
        .allow_scroll(false)
        .allow_boxed_zoom(false)
        .allow_double_click_reset(false)
        .show_crosshair(false)
        .include_x(0.0)
        .include_x(f64::from(plan.duration_steps * plan.dt_secs))
        .set_margin_fraction(egui::vec2(0.01, 0.08))
        .show(ui, |plot| {
            for (index, dim) in dims.iter().copied().enumerate() {
                let ink = colors.coordinate(index);
                let planned = series(&plan.states, dim, plan.dt_secs, f32::INFINITY);
                plot.line(line("planned", index, planned, ink.gamma_multiply(0.7), 1.0, true));
                if let Some(rollout) = rollout {
                    let done = series(&rollout.states, dim, rollout.dt_secs, now);
                    plot.line(line("executed", index, done, ink, 2.0, false));
                }
            }
            plot.vline(VLine::new("now", f64::from(now)).color(colors.ink()).width(1.0));
        });
}

fn line(
    name: &str,
    index: usize,
    points: Vec<[f64; 2]>,
    ink: Color32,
    width: f32,
    dashed: bool,
) -> Line<'static> {
    let style = if dashed { LineStyle::Dashed { length: 6.0 } } else { LineStyle::Solid };
    Line::new(format!("{name} {index}"), PlotPoints::new(points))
        .color(ink)
        .width(width)
        .style(style)
        .allow_hover(false)
}

/// A mark's value with the digits its step needs.
pub(super) fn rounded(mark: GridMark) -> String {
    let decimals = (-mark.step_size.log10().floor()).max(0.0) as usize;
    format!("{:.decimals$}", mark.value)
}

/// About `count` grid lines at round values.
pub(super) fn grid(input: GridInput, count: f64) -> Vec<GridMark> {
    let (low, high) = input.bounds;
    let rough = (high - low) / count;
    if !rough.is_finite() || rough <= 0.0 {
        return Vec::new();
    }
    let decade = 10_f64.powf(rough.log10().floor());
    let step_size = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * decade)
        .find(|step| *step >= rough * 0.5)
        .unwrap_or(rough);
    let first = (low / step_size).ceil() as i64;
    let last = (high / step_size).floor() as i64;
    (first..=last).map(|index| GridMark { value: index as f64 * step_size, step_size }).collect()
}

/// One coordinate over seconds, thinned to what a small plot can show.
fn series(states: &[Vec<f32>], dim: usize, dt_secs: f32, until_secs: f32) -> Vec<[f64; 2]> {
    let shown = (until_secs / dt_secs.max(1e-6)) as usize;
    let states = &states[..states.len().min(shown.saturating_add(1))];
    let stride = states.len().div_ceil(MAX_POINTS).max(1);
    let last = states.len().saturating_sub(1);
    (0..states.len())
        .filter(|index| index % stride == 0 || *index == last)
        .filter_map(|index| {
            let value = *states[index].get(dim)?;
            Some([f64::from(index as f32 * dt_secs), f64::from(value)])
        })
        .collect()
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
    fn grid_lines_are_few_and_round() {
        let input = GridInput { bounds: (0.7, 7.9), base_step_size: 1.0 };
        let values: Vec<f64> = grid(input, 3.0).iter().map(|mark| mark.value).collect();
        assert_eq!(values, [2.0, 4.0, 6.0]);
        let flat = GridInput { bounds: (1.0, 1.0), base_step_size: 1.0 };
        assert!(grid(flat, 3.0).is_empty());
    }

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
