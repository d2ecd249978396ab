//! The key map: every command that has a key, by group.

use eframe::egui::{Context, Grid, Ui};

use super::{Outcome, dialog, title};
use crate::lab::{Scene, knobs};
use crate::ui::command;
use crate::ui::theme::{BODY, Colors, number, strong};
use crate::ui::widgets::key_name;

/// What the mouse does on the stage.
const MOUSE: &[(&str, &str)] = &[
    ("Drag", "move start, goal or a waypoint"),
    ("Shift+click", "add a waypoint"),
    ("Right click", "remove a waypoint"),
    ("Wheel", "zoom"),
    ("Middle drag", "pan"),
    ("Double click", "fit"),
];

/// The same where there is a density.
const FIELD_MOUSE: &[(&str, &str)] = &[
    ("Move", "ask from the state under it"),
    ("Click", "pin that state, or release it"),
    ("Drag", "move the pinned state or the goal"),
    ("Wheel", "zoom"),
    ("Middle drag", "pan"),
    ("Double click", "fit"),
];

/// The same where there is a tree.
const TREE_MOUSE: &[(&str, &str)] = &[
    ("Click", "pick a branch, or move the goal there"),
    ("Drag", "move start or goal"),
    ("Wheel", "zoom"),
    ("Middle drag", "pan"),
    ("Double click", "fit"),
];

/// Show it.
pub fn show(ctx: &Context, scene: &Scene) -> Outcome {
    dialog(ctx, "key map", 720.0, |ui| {
        title(ui, "Keys");
        ui.add_space(8.0);
        ui.columns(2, |columns| {
            if let [left, right] = columns {
                for name in ["Play", "Plan", "Prediction"] {
                    group(left, name, scene);
                }
                let rows = if knobs::is_gamma(scene) {
                    FIELD_MOUSE
                } else if knobs::is_trajectory(scene) {
                    TREE_MOUSE
                } else {
                    MOUSE
                };
                table(left, "Mouse on the stage", rows.iter().copied());
                for name in ["Stage", "Scene", "Window"] {
                    group(right, name, scene);
                }
            }
        });
        ui.add_space(8.0);
        if ui.button("Close").clicked() { Outcome::Close } else { Outcome::Stay }
    })
}

fn group(ui: &mut Ui, name: &'static str, scene: &Scene) {
    let ctx = ui.ctx().clone();
    let rows = command::ALL
        .iter()
        .filter(|command| command.group == name && command::applies(command, scene));
    let rows: Vec<(String, &str)> =
        rows.filter_map(|command| Some((key_name(&ctx, &command.key?), command.title))).collect();
    if !rows.is_empty() {
        table(ui, name, rows.iter().map(|(key, what)| (key.as_str(), *what)));
    }
}

fn table<'a>(ui: &mut Ui, name: &str, rows: impl Iterator<Item = (&'a str, &'a str)>) {
    let colors = Colors::of(ui.ctx());
    ui.label(strong(name, BODY).color(colors.accent()));
    Grid::new(name).num_columns(2).min_col_width(112.0).spacing([8.0, 4.0]).show(ui, |ui| {
        for (key, what) in rows {
            ui.label(number(key).color(colors.muted_ink()));
            ui.label(what);
            ui.end_row();
        }
    });
    ui.add_space(12.0);
}
