//! What every state is worth: the model's map beside the exact ones, and
//! rewards painted by hand.

use eframe::egui::Ui;

use crate::ui::app::{App, Proposal};
use crate::ui::command;
use crate::ui::stage::field::rewards::{self, Brush};
use crate::ui::stage::field::{Map, ValueOf};
use crate::ui::theme::{GRID, small};
use crate::ui::widgets::{fact, muted, tip_of};

/// Show the section.
pub fn show(app: &mut App, ui: &mut Ui) {
    let mut is_shown = app.field.map == Map::Value;
    let response = ui.checkbox(&mut is_shown, "Show the value map on the stage");
    if response.on_hover_text(tip_of(ui.ctx(), "map")).changed() {
        app.field.next_map();
    }
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        for which in ValueOf::ALL {
            let selected = is_shown && app.field.value_of == which;
            let response = ui.selectable_label(selected, small(which.name()));
            if response.on_hover_text(which.help()).clicked() {
                app.field.value_of = which;
                app.field.map = Map::Value;
            }
        }
    });
    measures(app, ui);
    reward(app, ui);
}

fn measures(app: &App, ui: &mut Ui) {
    let Some(frame) = app.field.asking.values() else {
        ui.label(muted(ui, "Show the map to compute it."));
        return;
    };
    if frame.done < 1.0 {
        fact(ui, "computing", format!("{:.0} %", frame.done * 100.0));
    } else {
        let n = frame.request.samples;
        fact(ui, "samples per state", n.to_string());
        fact(ui, "computed in", format!("{:.0} ms", frame.wall_ms));
    }
    let text = |value: Option<f64>, scale: f64, unit: &str| {
        value.map_or_else(|| "-".into(), |value| format!("{:.3}{unit}", value * scale))
    };
    fact(ui, "Pearson to policy evaluation", text(frame.pearson, 1.0, ""));
    fact(ui, "RMSE over its range", text(frame.rmse_share, 100.0, " %"));
}

fn reward(app: &mut App, ui: &mut Ui) {
    ui.add_space(GRID / 2.0);
    let is_painted = rewards::painting(app).is_some();
    let what = if is_painted { "painted, without retraining" } else { "the environment's own" };
    fact(ui, "reward", what);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        for brush in Brush::ALL {
            let is_held = app.field.rewards.brush == Some(brush);
            if ui.selectable_label(is_held, small(brush.name())).clicked() {
                app.field.rewards.brush = (!is_held).then_some(brush);
                app.field.map = Map::Value;
            }
        }
        let reset = ui.add_enabled(is_painted, eframe::egui::Button::new(small("Reset")));
        if reset.on_hover_text(tip_of(ui.ctx(), "reset-rewards")).clicked()
            && let Some(command) = command::find("reset-rewards")
        {
            app.propose(Proposal::Run(command));
        }
    });
}
