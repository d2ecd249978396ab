//! The status line: speed, success, device and weights, in numbers that say
//! what they are.

use eframe::egui;
use eframe::egui::{Align, Layout, Ui};

use crate::lab::{Phase, Status};
use crate::plan::Selection;
use crate::ui::app::App;
use crate::ui::stage::field;
use crate::ui::theme::{Colors, small};
use crate::ui::widgets::muted;

const MAP_HELP: &str =
    "Published planners pick no plan by the walls; compare with the blind selection.";

/// Show the line.
pub fn show(app: &mut App, ui: &mut Ui) {
    let colors = Colors::of(ui.ctx());
    let status = app.session.status();
    if field::is_here(app) {
        return prediction(app, ui);
    }
    let selection = app.session.scene().plan.selection;
    ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = 24.0;
        ui.label(figure(ui, &planning(status)));
        if app.place.spec.goal_dims.is_empty() {
            earned(app, ui);
        } else {
            ui.label(figure(ui, &success(status.reached, status.trials)))
                .on_hover_text("Rollouts that reached their goal, with one standard error.");
        }
        let (note, help) = match selection {
            Selection::ReadsMap => ("selection reads the map", MAP_HELP),
            Selection::Blind => ("selection never looks at the map", MAP_HELP),
            Selection::Return => (
                "selection by predicted return",
                "The candidate whose return the model predicts to be highest is followed.",
            ),
        };
        ui.label(muted(ui, note)).on_hover_text(help);
        weights(app, ui, colors);
    });
}

/// What the episode on the stage has paid so far, up to the clock.
fn earned(app: &App, ui: &mut Ui) {
    let Some(rollout) = app.live.rollout() else { return };
    let step = (app.transport.time_secs / rollout.dt_secs.max(1e-6)).round() as usize;
    let total: f32 = rollout.rewards.iter().take(step).sum();
    ui.label(figure(ui, &format!("return {total:.1}")))
        .on_hover_text("The sum of the rewards up to the clock.");
}

/// Device and weights, at the right.
pub(super) fn weights(app: &App, ui: &mut Ui, colors: Colors) {
    let status = app.session.status();
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        let preset = app.session.scene().model.preset().name();
        ui.label(muted(ui, format!("{preset}{}", training(status))));
        let device = match &status.preparing {
            Some(preparing) => {
                let secs = preparing.since.elapsed().as_secs_f32();
                format!("{}, preparing the GPU {secs:.0} s", status.device)
            }
            None => status.device.clone(),
        };
        ui.label(small(device).color(colors.ink())).on_hover_text(&status.device_reason);
    });
}

/// The line of a gamma-model's scene.
fn prediction(app: &App, ui: &mut Ui) {
    let colors = Colors::of(ui.ctx());
    let status = app.session.status();
    let asking = &app.field.asking;
    let query = match (&status.phase, asking.frame()) {
        (Phase::Loading, _) => "loading the weights".into(),
        (Phase::Failed, _) => "no model".into(),
        (_, Some(frame)) => {
            let hz = 1e3 / frame.wall_ms.max(1e-3);
            format!("query {:.0} ms ({hz:.0} Hz)", frame.wall_ms)
        }
        (_, None) => "asking".into(),
    };
    ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = 24.0;
        ui.label(figure(ui, &query)).on_hover_text("Time of the model's part of the last map.");
        if let Some(rate) = asking.rate() {
            ui.label(figure(ui, &format!("{rate:.0} maps/s")))
                .on_hover_text("Maps that reached the stage in the last second of motion.");
        }
        let distance = asking.truth().filter(|(_, is_same)| *is_same).and_then(|(frame, _)| {
            Some(format!("TV to truth {:.3} (n {})", frame.total_variation?, frame.rollouts))
        });
        ui.label(figure(ui, &distance.unwrap_or_else(|| "TV to truth -".into())))
            .on_hover_text("Total variation between the model's map and real rollouts.");
        weights(app, ui, colors);
    });
}

pub(super) fn figure(ui: &Ui, text: &str) -> egui::RichText {
    small(text).color(Colors::of(ui.ctx()).ink())
}

pub(super) fn planning(status: &Status) -> String {
    match (&status.phase, status.plan_ms) {
        (Phase::Loading, _) => "loading the weights".into(),
        (Phase::Failed, _) => "no planner".into(),
        (_, Some(ms)) => match status.plans_per_sec {
            Some(rate) => format!("plan {ms:.0} ms ({rate:.0} Hz)"),
            None => format!("plan {ms:.0} ms"),
        },
        (_, None) => "planning".into(),
    }
}

/// How much the weights have been trained, once they are there.
fn training(status: &Status) -> String {
    match (&status.model, &status.phase) {
        (Some(model), _) if model.trained_steps > 0 => {
            format!(", {} steps trained", thousands(model.trained_steps))
        }
        (None, Phase::Loading | Phase::Failed) => String::new(),
        _ => ", random weights".to_owned(),
    }
}

/// A success rate with its standard error and count.
pub(super) fn success(reached: usize, trials: usize) -> String {
    if trials == 0 {
        return "reached: no rollout yet".into();
    }
    let n = trials as f64;
    let rate = reached as f64 / n;
    let error = (rate * (1.0 - rate) / n).sqrt();
    format!("reached {:.1} % ± {:.1} (n {trials})", rate * 100.0, error * 100.0)
}

/// 12345 as 12 345.
pub fn thousands(value: usize) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{a0}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_carry_their_error_and_count() {
        assert_eq!(success(0, 0), "reached: no rollout yet");
        assert_eq!(success(90, 100), "reached 90.0 % ± 3.0 (n 100)");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1\u{a0}234\u{a0}567");
    }
}
