//! The controls: any list of knobs, drawn by what kind each is.

use eframe::egui::{Align, ComboBox, Layout, Response, Slider, SliderClamping, Ui};

use crate::lab::{Effect, KNOBS, Knob, KnobKind};
use crate::ui::app::{App, Proposal};
use crate::ui::history::EditTag;
use crate::ui::live::{Origin, Wish};
use crate::ui::theme::{BODY, Colors, GRID, small, strong};

/// Draw every knob, by group.
pub fn show(app: &mut App, ui: &mut Ui) {
    let scene = app.session.scene().clone();
    let mut group = "";
    for knob in KNOBS {
        if knob.group != group {
            group = knob.group;
            ui.add_space(GRID);
            ui.label(strong(group, BODY));
        }
        if let Some(value) = draw(ui, knob, (knob.get)(&scene)) {
            let mut edited = scene.clone();
            (knob.set)(&mut edited, value);
            let tag = EditTag::Knob(knob.id);
            let wish = Wish::full(Origin::Same);
            app.propose(Proposal::Edit(tag, Box::new(edited), Some(wish)));
        }
    }
}

/// Draw one knob. Returns the value it was given, if any.
fn draw(ui: &mut Ui, knob: &Knob, value: f64) -> Option<f64> {
    heading(ui, knob);
    let new_value = match &knob.kind {
        KnobKind::Number { min, max, step, decimals, .. } => {
            number(ui, knob, value, *min..=*max, *step, *decimals)
        }
        KnobKind::Choice(labels) => choice(ui, knob, value, labels),
    };
    ui.add_space(2.0);
    new_value
}

fn heading(ui: &mut Ui, knob: &Knob) {
    let colors = Colors::of(ui.ctx());
    ui.horizontal(|ui| {
        ui.set_height(16.0);
        ui.label(small(knob.title)).on_hover_text(knob.help);
        if let KnobKind::Number { unit, .. } = knob.kind
            && !unit.is_empty()
        {
            ui.label(small(unit).color(colors.muted_ink()));
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let (mark, ink, help) = match knob.effect {
                Effect::Live => ("live", colors.muted_ink(), "Acts at once."),
                Effect::Restart => ("restart", colors.warning(), "Starts the model anew."),
            };
            ui.label(small(mark).color(ink)).on_hover_text(help);
        });
    });
}

fn number(
    ui: &mut Ui,
    knob: &Knob,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
    step: f64,
    decimals: usize,
) -> Option<f64> {
    let mut edited = value;
    ui.spacing_mut().slider_width = 140.0;
    // A typed value may pass the slider's ends; the knob itself knows how far.
    let slider = Slider::new(&mut edited, range)
        .step_by(step)
        .max_decimals(decimals)
        .update_while_editing(false)
        .clamping(SliderClamping::Never);
    let response = ui.name_inputs(knob.title, |ui| ui.add(slider));
    changed(&response.on_hover_text(knob.help), edited, value)
}

fn choice(ui: &mut Ui, knob: &Knob, value: f64, labels: &[&str]) -> Option<f64> {
    let mut index = (value.max(0.0) as usize).min(labels.len().saturating_sub(1));
    let width = ui.available_width();
    let response = ui.name_inputs(knob.title, |ui| {
        ComboBox::from_id_salt(knob.id).width(width).show_index(ui, &mut index, labels.len(), |i| {
            labels.get(i).copied().unwrap_or_default()
        })
    });
    changed(&response.on_hover_text(knob.help), index as f64, value)
}

fn changed(response: &Response, edited: f64, value: f64) -> Option<f64> {
    (response.changed() && edited.is_finite() && (edited - value).abs() > f64::EPSILON)
        .then_some(edited)
}
