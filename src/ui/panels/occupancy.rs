//! Where the policy will be: the discount, how the map is shown, how far off
//! it is.

use eframe::egui::{ComboBox, Ui};

use super::controls;
use crate::lab::occupancy::COMPARED_CELLS;
use crate::ui::app::App;
use crate::ui::layers::Scale;
use crate::ui::stage::field::{Compare, Map, asking, discounts};
use crate::ui::theme::small;
use crate::ui::widgets::{fact, muted, tip_of};

/// Show the section.
pub fn show(app: &mut App, ui: &mut Ui) {
    discount(app, ui);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        let is_shown = app.field.map == Map::Occupancy;
        for compare in Compare::ALL {
            let selected = is_shown && app.field.compare == compare;
            let response = ui.selectable_label(selected, small(compare.name()));
            if response.on_hover_text(tip_of(ui.ctx(), "compare")).clicked() {
                app.field.compare = compare;
                app.field.map = Map::Occupancy;
            }
        }
    });
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        for (as_samples, name) in [(false, "Density"), (true, "Samples")] {
            let selected = app.field.as_samples == as_samples;
            let response = ui.selectable_label(selected, small(name));
            if response.on_hover_text(tip_of(ui.ctx(), "samples")).clicked() {
                app.field.as_samples = as_samples;
            }
        }
        ui.add_space(8.0);
        scale(app, ui);
    });
    distance(app, ui);
}

fn discount(app: &mut App, ui: &mut Ui) {
    let [low, high] = discounts(app.session.scene(), &app.place.spec);
    let is_single = high <= low;
    ui.add_enabled_ui(!is_single, |ui| controls::knob(app, ui, "occupancy.discount"));
    let used = asking::settings(app).discount;
    if is_single {
        ui.label(muted(ui, format!("The model was trained for γ = {low:.3} alone.")));
    } else if used != app.session.scene().occupancy.discount {
        let text = format!("Asked with {used:.3}: the model was trained for {low} to {high}.");
        ui.label(muted(ui, text));
    }
    let steps = 1.0 / (1.0 - used.min(0.9999));
    let secs = steps * app.place.spec.dt_secs;
    fact(ui, "mean horizon 1/(1-γ)", format!("{steps:.1} steps, {secs:.2} s"))
        .on_hover_text("The time of a prediction is geometric: t = 1, 2, ... with (1-γ) γ^(t-1).");
}

fn scale(app: &mut App, ui: &mut Ui) {
    let mut index = Scale::ALL.iter().position(|scale| *scale == app.field.scale).unwrap_or(0);
    let response = ui.name_inputs("Color scale", |ui| {
        ComboBox::from_id_salt("color scale").width(104.0).show_index(
            ui,
            &mut index,
            Scale::ALL.len(),
            |i| small(Scale::ALL.get(i).map_or("", |scale| scale.name())),
        )
    });
    if response.on_hover_text(tip_of(ui.ctx(), "scale")).changed()
        && let Some(scale) = Scale::ALL.get(index)
    {
        app.field.scale = *scale;
    }
}

fn distance(app: &App, ui: &mut Ui) {
    let asking = &app.field.asking;
    let Some((frame, is_same)) = asking.truth() else {
        ui.label(muted(ui, "The distance to the truth comes when the mouse rests."));
        return;
    };
    let cells = COMPARED_CELLS;
    let text = match frame.total_variation {
        Some(distance) if is_same => format!("{distance:.3} (n {})", frame.rollouts),
        _ => "-".into(),
    };
    fact(ui, "total variation to truth", text).on_hover_text(format!(
        "Half the absolute difference of the two masses on {cells} x {cells} cells: 0 is the \
         same, 1 is nowhere the same. The n rollouts have noise of their own, which is in it."
    ));
    if let Some(distance) = frame.exact_total_variation.filter(|_| is_same) {
        fact(ui, "total variation to exact", format!("{distance:.3}"))
            .on_hover_text("Against the exact occupancy of the tabular twin, on the same cells.");
    }
    let n = frame.model_samples.len() / 2;
    fact(ui, "samples", format!("{n} model, {} real", frame.truth_samples.len() / 2));
}
