//! What floats over the stage: tools and honest words.

use eframe::egui::{Color32, Rect, Ui};

use crate::lab::Phase;
use crate::ui::app::App;
use crate::ui::stage::overlay;
use crate::ui::theme::Colors;

/// Show tools and notes.
pub fn show(app: &mut App, ui: &mut Ui, rect: Rect) {
    let colors = Colors::of(ui.ctx());
    overlay::tools(app, ui, rect, colors);
    overlay::chips(ui, rect, &notes(app, colors), colors);
    overlay::drop_hint(ui, rect, colors);
}

fn notes(app: &App, colors: Colors) -> Vec<(Color32, &'static str)> {
    let status = app.session.status();
    let mut notes = Vec::new();
    let is_open = matches!(status.phase, Phase::Ready | Phase::Planning);
    if is_open && status.model.as_ref().is_none_or(|model| model.trained_steps == 0) {
        notes.push((colors.warning(), "The weights are random: train this scene first"));
    } else if !status.is_maze_seen {
        notes.push((colors.warning(), "The model has not seen this maze"));
    }
    match status.phase {
        Phase::Loading => notes.push((colors.accent(), "Loading the weights")),
        Phase::Failed => notes.push((colors.error(), "There is no model to ask")),
        Phase::Ready | Phase::Planning => {}
    }
    notes
}
