//! Points the plan must pass on its way, as a list.

use eframe::egui;
use eframe::egui::{DragValue, Ui};

use crate::plan::Via;
use crate::ui::app::{App, Proposal};
use crate::ui::history::EditTag;
use crate::ui::icons::{self, Icon};
use crate::ui::live::{Origin, Wish};
use crate::ui::theme::{Colors, GRID, number};
use crate::ui::widgets::muted;

/// Most waypoints a scene may have from here.
pub const MAX: usize = 16;

/// List them, with when the plan passes each.
pub fn show(app: &mut App, ui: &mut Ui) {
    let scene = app.session.scene().clone();
    if scene.stage.via.is_empty() {
        ui.label(muted(ui, "Shift+click on the stage adds one."));
        return;
    }
    let colors = Colors::of(ui.ctx());
    for (index, via) in scene.stage.via.iter().enumerate() {
        ui.horizontal(|ui| {
            let (rect, _) = ui.allocate_exact_size(egui::vec2(GRID, GRID), egui::Sense::hover());
            ui.painter().circle_filled(rect.center(), 4.0, colors.guidance());
            let mut percent = via.fraction * 100.0;
            let name = format!("Waypoint {} at", index + 1);
            let field = DragValue::new(&mut percent)
                .range(1.0..=99.0)
                .speed(0.5)
                .max_decimals(0)
                .suffix(" % of the time");
            let changed = ui.name_inputs(name, |ui| ui.add(field)).changed();
            let place = format!("{:.1}, {:.1}", via.position[0], via.position[1]);
            ui.label(number(place).size(11.0).color(colors.muted_ink()));
            let name = format!("Remove waypoint {}", index + 1);
            if icons::button(ui, Icon::Close, &name, false).clicked() {
                propose(app, EditTag::ViaList, |via| {
                    via.remove(index);
                });
            } else if changed {
                propose(app, EditTag::Via(index), |via| via[index].fraction = percent / 100.0);
            }
        });
    }
}

fn propose(app: &mut App, tag: EditTag, change: impl FnOnce(&mut Vec<Via>)) {
    let mut scene = app.session.scene().clone();
    change(&mut scene.stage.via);
    app.propose(Proposal::Edit(tag, Box::new(scene), Some(Wish::full(Origin::Start))));
}
