//! What training looks like over its steps, and the checkpoints it left.

use eframe::egui;
use eframe::egui::{Color32, Slider, Ui};
use egui_plot::{GridMark, Plot, PlotPoints, Points, VLine};

use std::sync::Arc;

use super::plot::{Axis, line, plot, rounded, thinned};
use super::status::thousands;
use super::training;
use crate::lab::train::Metric;
use crate::lab::train::keeper::TrainFrame;
use crate::lab::training::Shown;
use crate::ui::actions::file_name;
use crate::ui::app::App;
use crate::ui::theme::{Colors, GRID, SMALL, number, small};
use crate::ui::widgets::{fact, muted};

/// What the section is for.
pub const HELP: &str =
    "Loss over steps: faint as measured, strong smoothed, dots on data it never trains on.";
/// Heights of the large plot and of the small ones.
const HEIGHT: f32 = 136.0;
const LOW: f32 = 72.0;
/// Points between two lines of a grid: closer ones lose their numbers.
const LINE_GAP: f64 = 45.0;
/// Most points of a line.
const MAX_POINTS: usize = 400;

/// Show the section.
pub fn show(app: &mut App, ui: &mut Ui) {
    ui.add_space(GRID);
    let Some(frame) = app.session.training() else {
        ui.label(muted(ui, "No run yet: press Train on the left to watch this model learn."));
        return;
    };
    training::shown(app, ui);
    ui.horizontal(|ui| {
        ui.spacing_mut().slider_width = 88.0;
        ui.label(small("Smoothing"));
        let slider = Slider::new(&mut app.training.smoothing, 0.0..=0.99).max_decimals(2);
        ui.name_inputs("Smoothing", |ui| ui.add(slider));
        ui.checkbox(&mut app.training.is_log, small("log")).on_hover_text("Logarithmic loss.");
    });
    let lines = frame.series.lines();
    if lines.len() < 2 {
        ui.label(muted(ui, "The first numbers come after a few steps."));
    } else {
        loss(app, ui, &frame);
        small_plot(ui, "gradient", lines, |metric| metric.gradient_norm.map(f64::from));
        small_plot(ui, "rate / 1e-4", lines, |metric| Some(1e4 * metric.learning_rate));
        facts(ui, lines);
    }
    checkpoints(app, ui, &frame);
}

/// Exponential moving average with debiasing, as TensorBoard's.
fn smoothed(points: &[[f64; 2]], keep: f64) -> Vec<[f64; 2]> {
    let (mut sum, mut weight) = (0.0, 0.0);
    let smooth = |[x, y]: &[f64; 2]| {
        sum = keep * sum + (1.0 - keep) * y;
        weight = keep * weight + (1.0 - keep);
        [*x, sum / weight]
    };
    points.iter().map(smooth).collect()
}

fn loss(app: &App, ui: &mut Ui, frame: &TrainFrame) {
    let colors = Colors::of(ui.ctx());
    let lines = frame.series.lines();
    let branch = lines.last().map_or(0, |line| line.branch);
    // A loss that can be negative has no logarithm.
    let other = other_run(app, frame);
    let theirs = other.iter().flat_map(|other| other.series.lines());
    let is_log = app.training.is_log && lines.iter().chain(theirs).all(|line| line.loss > 0.0);
    let scale = |y: f32| if is_log { f64::from(y).log10() } else { f64::from(y) };
    let now = shown_step(app, frame);
    let keep = f64::from(app.training.smoothing);
    chart("loss", HEIGHT, is_log, colors).show(ui, |plot| {
        for of in 0..=branch {
            let ink = if of == branch { colors.model() } else { colors.muted_ink() };
            let of_branch = lines.iter().filter(|line| line.branch == of);
            let (held, train): (Vec<&Metric>, Vec<&Metric>) =
                of_branch.partition(|line| line.held_out.is_some());
            let raw: Vec<[f64; 2]> =
                train.iter().map(|line| [line.step as f64, scale(line.loss)]).collect();
            let strong = thinned(smoothed(&raw, keep), MAX_POINTS);
            plot.line(line(
                format!("loss {of}"),
                thinned(raw, MAX_POINTS),
                ink.gamma_multiply(0.3),
                1.0,
                false,
            ));
            plot.line(line(format!("smoothed loss {of}"), strong, ink, 1.8, false));
            let dots: Vec<[f64; 2]> = held
                .iter()
                .filter_map(|line| Some([line.step as f64, scale(line.held_out?)]))
                .collect();
            let dots =
                Points::new(format!("held out {of}"), PlotPoints::new(thinned(dots, MAX_POINTS)));
            plot.points(dots.color(colors.truth()).radius(2.2).allow_hover(false));
        }
        if let Some(other) = &other {
            rival(plot, other, keep, &scale, colors.trail());
        }
        if let Some(step) = now {
            plot.vline(VLine::new("shown", step as f64).color(colors.ink()).width(1.0));
        }
    });
    let of_this = [("training", colors.model()), ("held out", colors.truth())];
    legend(ui, of_this.map(|(name, ink)| (name.to_owned(), ink)));
    if let Some(other) = other {
        // Names of runs are long: a row of its own.
        legend(ui, [(file_name(&other.run), colors.trail())]);
    }
}

fn legend<const N: usize>(ui: &mut Ui, rows: [(String, Color32); N]) {
    ui.horizontal(|ui| {
        for (name, ink) in rows {
            let (rect, _) = ui.allocate_exact_size(egui::vec2(12.0, 8.0), egui::Sense::hover());
            ui.painter().hline(rect.x_range(), rect.center().y, egui::Stroke::new(2.0, ink));
            ui.label(muted(ui, name));
        }
    });
}

/// The run of the other side of a comparison, where its loss means the same.
fn other_run(app: &App, frame: &TrainFrame) -> Option<Arc<TrainFrame>> {
    let other = app.compare.mirror()?.training()?;
    let is_like = other.scene.model.id() == frame.scene.model.id();
    (is_like && other.run != frame.run).then_some(other)
}

/// Another run on the same axes: its smoothed loss, and dots on data it never
/// trains on.
fn rival(
    plot: &mut egui_plot::PlotUi<'_>,
    other: &TrainFrame,
    keep: f64,
    scale: &impl Fn(f32) -> f64,
    ink: Color32,
) {
    let lines = other.series.lines();
    let branch = lines.last().map_or(0, |line| line.branch);
    let newest = || lines.iter().filter(|line| line.branch == branch);
    let raw = newest().filter(|line| line.held_out.is_none());
    let raw: Vec<[f64; 2]> = raw.map(|line| [line.step as f64, scale(line.loss)]).collect();
    plot.line(line("other run", thinned(smoothed(&raw, keep), MAX_POINTS), ink, 1.8, false));
    let held = newest().filter_map(|line| Some([line.step as f64, scale(line.held_out?)]));
    let held = PlotPoints::new(thinned(held.collect(), MAX_POINTS));
    let dots = Points::new("held out of the other run", held);
    plot.points(dots.color(ink).radius(2.2).allow_hover(false));
}

/// The step of the checkpoint that is shown, if an earlier one is.
fn shown_step(app: &App, frame: &TrainFrame) -> Option<usize> {
    let Shown::Checkpoint(id) = app.session.shown_weights() else { return None };
    frame.manifest.as_ref()?.entry(*id).map(|entry| entry.step)
}

fn small_plot(
    ui: &mut Ui,
    name: &'static str,
    lines: &[Metric],
    value: impl Fn(&Metric) -> Option<f64>,
) {
    let colors = Colors::of(ui.ctx());
    let branch = lines.last().map_or(0, |line| line.branch);
    let points = lines
        .iter()
        .filter(|line| line.branch == branch)
        .filter_map(|line| Some([line.step as f64, value(line)?]));
    let points = thinned(points.collect(), MAX_POINTS);
    if points.len() < 2 {
        return;
    }
    chart(name, LOW, false, colors).show(ui, |plot| {
        plot.line(line(name, points, colors.model(), 1.2, false));
        // Neither can be negative, and from zero a change shows its true size.
        plot.points(Points::new("zero", PlotPoints::new(vec![[0.0, 0.0]])).radius(0.0));
    });
}

fn chart<'a>(name: &'a str, height: f32, is_log: bool, colors: Colors) -> Plot<'a> {
    let steps = |mark: GridMark| super::controls::compact(mark.value);
    let x = Axis { text: steps, ..Axis::new("", 4.0) };
    let y = Axis { text: if is_log { power } else { small_number }, ..Axis::new(name, 1.0) };
    let y = Axis { lines: f64::from(height) / LINE_GAP, ..y };
    plot(name, [height, 30.0], x, y, colors)
}

fn power(mark: GridMark) -> String {
    format!("{:.0e}", 10f64.powf(mark.value))
}

fn small_number(mark: GridMark) -> String {
    if mark.step_size < 1e-3 { format!("{:.1e}", mark.value) } else { rounded(mark) }
}

fn facts(ui: &mut Ui, lines: &[Metric]) {
    let Some(last) = lines.last() else { return };
    fact(ui, "loss", format!("{:.4}", last.loss));
    if let Some(held) = lines.iter().rev().find_map(|line| line.held_out) {
        fact(ui, "held-out loss", format!("{held:.4}"));
    }
    fact(ui, "speed", format!("{:.1} step/s", last.steps_per_sec));
    if let Some(memory) = last.memory_mib {
        fact(ui, "memory", format!("{memory:.0} MiB"));
    }
}

fn checkpoints(app: &mut App, ui: &mut Ui, frame: &TrainFrame) {
    let Some(manifest) = &frame.manifest else { return };
    if manifest.checkpoints.is_empty() {
        return;
    }
    ui.add_space(GRID / 2.0);
    ui.label(muted(ui, format!("{} checkpoints", manifest.checkpoints.len())))
        .on_hover_text(frame.run.display().to_string());
    let now = app.session.shown_weights().clone();
    for entry in manifest.checkpoints.iter().rev().take(8) {
        ui.horizontal(|ui| {
            let is_shown = now == Shown::Checkpoint(entry.id);
            let step = number(format!("step {}", thousands(entry.step))).size(SMALL);
            let tip = "Plan with the weights of that time.";
            if ui.selectable_label(is_shown, step).on_hover_text(tip).clicked() {
                app.session.show_weights(Shown::Checkpoint(entry.id));
            }
            if let Some(held) = entry.held_out {
                ui.label(muted(ui, format!("{held:.4}"))).on_hover_text("Held-out loss.");
            }
            let mut marks = Vec::new();
            if manifest.best == Some(entry.id) {
                marks.push("best");
            }
            if entry.is_kept {
                marks.push("kept");
            }
            if !marks.is_empty() {
                ui.label(small(marks.join(", ")).color(Colors::of(ui.ctx()).accent()));
            }
            let tip =
                "Take up these weights and train on from here; what came later stays on disk.";
            if app.session.training_orders().is_some()
                && ui.small_button(small("go back")).on_hover_text(tip).clicked()
            {
                crate::ui::training::go_back(app, entry.id);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_starts_at_the_first_value_and_keeps_a_constant() {
        let points: Vec<[f64; 2]> = (0..50).map(|x| [f64::from(x), 3.0]).collect();
        assert!(smoothed(&points, 0.9).iter().all(|[_, y]| (y - 3.0).abs() < 1e-12));
        let raw = vec![[0.0, 1.0], [1.0, 5.0]];
        assert_eq!(smoothed(&raw, 0.0), raw);
        assert_eq!(smoothed(&raw, 0.9)[0], [0.0, 1.0]);
    }
}
