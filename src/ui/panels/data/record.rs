//! Recording a demonstration, and what becomes of it.

use eframe::egui::{DragValue, Ui};

use crate::lab::data_set::MAX_WEIGHT;
use crate::ui::app::App;
use crate::ui::data;
use crate::ui::history::EditTag;
use crate::ui::theme::small;
use crate::ui::widgets::muted;

/// Show the buttons of the present state of recording.
pub fn show(app: &mut App, ui: &mut Ui) {
    if app.data.recorder.is_some() {
        recording(app, ui);
    } else {
        idle(app, ui);
    }
    if app.session.scene().data.demonstrations.is_some() {
        weight(app, ui);
    }
}

fn recording(app: &mut App, ui: &mut Ui) {
    let Some(recorder) = &app.data.recorder else { return };
    let steps = recorder.states().len() - 1;
    let secs = steps as f32 * app.place.spec.dt_secs;
    let (total, what) = (recorder.total(), what(app));
    ui.label(small(format!("Recording: {secs:.1} s, {steps} steps, return {total:.2}")));
    ui.label(muted(ui, format!("{what} Time stands still while you let go.")));
    if ui.button("Stop").on_hover_text("Ends the episode.").clicked() {
        data::stop(app);
    }
}

fn what(app: &App) -> &'static str {
    match app.place.spec.id {
        "pendulum" => {
            "Hold the mouse button on the map or on the pendulum: the torque pulls towards the \
             angle you point at, as far as it is strong enough."
        }
        _ => "Hold the mouse button on the map: the agent follows the pointer by real actions.",
    }
}

fn idle(app: &mut App, ui: &mut Ui) {
    if let Some(shown) = app.data.finished.clone() {
        let (steps, total) = (shown.episode.len(), shown.episode.rewards.iter().sum::<f32>());
        ui.label(small(format!("Recorded: {steps} steps, return {total:.2}")));
        let refusal = data::refusal(app.session.scene());
        ui.horizontal(|ui| {
            let add = ui.add_enabled_ui(refusal.is_none(), |ui| ui.button("Add to data set")).inner;
            let add = add.on_hover_text("Training learns from it from the next run on.");
            if add.on_disabled_hover_text(refusal.unwrap_or_default()).clicked() {
                data::add(app);
            }
            if ui.button("Discard").clicked() {
                app.data.finished = None;
            }
        });
        if let Some(why) = refusal {
            ui.label(muted(ui, why));
        }
    }
    ui.horizontal(|ui| {
        let is_first = app.data.finished.is_none();
        let record = ui.button(if is_first { "Record" } else { "Record again" });
        let tip = match is_first {
            true => "You lead the agent with the mouse, from the start on the stage.",
            false => "Discards this recording.",
        };
        if record.on_hover_text(tip).clicked() {
            data::record(app);
        }
        if app.data.is_writing() {
            ui.label(muted(ui, "Writing the demonstrations"));
        } else if is_first {
            ui.label(muted(ui, "a demonstration of your own"));
        }
    });
}

/// How much demonstrations count in training.
fn weight(app: &mut App, ui: &mut Ui) {
    let mut scene = app.session.scene().clone();
    let mut weight = scene.data.demonstration_weight.unwrap_or(1);
    ui.horizontal(|ui| {
        let name = ui.label(muted(ui, "each demonstration counts")).id;
        let value = DragValue::new(&mut weight).range(1..=MAX_WEIGHT).suffix(" ×");
        let response = ui.add(value).labelled_by(name);
        let tip = "In the next training run; data.demonstration_weight in the scene file.";
        if response.on_hover_text(tip).changed() {
            scene.data.demonstration_weight = Some(weight);
            app.edit(EditTag::Knob("the weight of demonstrations"), scene, None);
        }
    });
}
