//! The model card: what the weights are and where they come from.

use eframe::egui;
use eframe::egui::Ui;

use super::status::thousands;
use crate::lab::Phase;
use crate::ui::app::App;
use crate::ui::widgets::{fact, muted};

/// Show the card.
pub fn show(app: &mut App, ui: &mut Ui) {
    let status = app.session.status();
    let Some(card) = status.model.clone() else {
        let text = match status.phase {
            Phase::Failed => "No model. The message on the stage says what to do.",
            Phase::Loading => "Loading the weights.",
            _ => "Random weights: `foresight train` with this scene makes better ones.",
        };
        ui.label(muted(ui, text));
        return;
    };
    fact(ui, "preset", card.preset);
    fact(ui, "parameters", thousands(card.parameters));
    fact(ui, "trained", format!("{} steps", thousands(card.trained_steps)));
    for (name, value) in card.facts {
        fact(ui, name, value);
    }
    fact(ui, "weights", card.hash);
    wrapped(ui, "Trained on", &card.trained_on);
    if let Some(evaluation) = &card.evaluation {
        wrapped(ui, "Evaluation", evaluation);
    }
}

fn wrapped(ui: &mut Ui, name: &str, text: &str) {
    if !text.is_empty() {
        let text = muted(ui, format!("{name}: {text}"));
        ui.add(egui::Label::new(text).wrap());
    }
}
