//! The controls: any list of knobs, drawn by what kind each is.

use eframe::egui::{
    Align, ComboBox, Layout, Response, Sense, Slider, SliderClamping, Stroke, Ui, vec2,
};

use super::INSPECTOR;
use crate::lab::{Effect, Knob, KnobKind, Scene, knobs};
use crate::ui::app::{App, Proposal};
use crate::ui::history::EditTag;
use crate::ui::live::{Origin, Wish};
use crate::ui::theme::{BODY, Colors, GRID, small, strong};
use crate::ui::widgets::muted;

/// Width of a choice.
const CHOICE_WIDTH: f32 = 96.0;

/// Draw every knob, by group.
pub fn show(app: &mut App, ui: &mut Ui) {
    let scene = app.session.scene().clone();
    let mut group = "";
    // Knobs of a group with a section of its own stand there.
    let is_here = |knob: &&Knob| {
        (knob.applies)(&scene)
            && knob.group != knobs::training::GROUP
            && !INSPECTOR.iter().any(|section| section.title == knob.group)
    };
    for knob in knobs::all().filter(is_here) {
        if knob.group != group {
            group = knob.group;
            ui.add_space(GRID);
            ui.label(strong(group, BODY));
        }
        one(app, ui, knob);
    }
    ui.add_space(GRID);
    marks(ui);
}

/// Draw the knob called `id`.
pub fn knob(app: &mut App, ui: &mut Ui, id: &str) {
    if let Some(knob) = knobs::find(id) {
        one(app, ui, knob);
    }
}

fn one(app: &mut App, ui: &mut Ui, knob: &'static Knob) {
    let scene = app.session.scene().clone();
    if let Some(value) = draw(ui, knob, &scene) {
        let mut edited = scene;
        (knob.set)(&mut edited, value);
        let tag = EditTag::Knob(knob.id);
        let wish = Wish::full(Origin::Same);
        app.propose(Proposal::Edit(tag, Box::new(edited), Some(wish)));
    }
}

/// Draw one knob. Returns the value it was given, if any.
fn draw(ui: &mut Ui, knob: &Knob, scene: &Scene) -> Option<f64> {
    let value = (knob.get)(scene);
    match &knob.kind {
        KnobKind::Number { min, max, step, decimals, unit } => {
            ui.horizontal(|ui| {
                ui.set_height(16.0);
                title(ui, knob, unit);
            });
            number(ui, knob, value, |value| {
                Slider::new(value, *min..=*max).step_by(*step).max_decimals(*decimals)
            })
        }
        KnobKind::Log { min, max } => {
            ui.horizontal(|ui| {
                ui.set_height(16.0);
                title(ui, knob, "");
            });
            number(ui, knob, value, |value| {
                Slider::new(value, *min..=*max)
                    .logarithmic(true)
                    .custom_formatter(|value, _| compact(value))
            })
        }
        KnobKind::Choice(labels) => {
            ui.horizontal(|ui| {
                title(ui, knob, "");
                let right = Layout::right_to_left(Align::Center);
                ui.with_layout(right, |ui| choice(ui, knob, scene, labels)).inner
            })
            .inner
        }
    }
}

fn title(ui: &mut Ui, knob: &Knob, unit: &str) {
    mark(ui, knob.effect);
    ui.label(small(knob.title)).on_hover_text(knob.help);
    if !unit.is_empty() {
        ui.label(muted(ui, unit));
    }
}

/// A dot for what acts at once, a ring for what starts something over.
fn mark(ui: &mut Ui, effect: Effect) {
    let colors = Colors::of(ui.ctx());
    let (rect, response) = ui.allocate_exact_size(vec2(GRID, GRID), Sense::hover());
    ui.spacing_mut().item_spacing.x = 6.0;
    match effect {
        Effect::Live => {
            ui.painter().circle_filled(rect.center(), 2.5, colors.muted_ink());
            response.on_hover_text("Acts live, on the next plan.");
        }
        Effect::Restart => {
            let stroke = Stroke::new(1.5, colors.warning());
            ui.painter().circle_stroke(rect.center(), 3.0, stroke);
            response.on_hover_text("Restarts: the model or the episode begins anew.");
        }
    }
}

/// What the marks mean.
pub(super) fn marks(ui: &mut Ui) {
    ui.horizontal(|ui| {
        for (effect, word) in [(Effect::Live, "acts live"), (Effect::Restart, "restarts")] {
            mark(ui, effect);
            ui.label(muted(ui, word));
            ui.add_space(GRID);
        }
    });
}

/// A number over several decades, with the digits that matter.
pub(in crate::ui) fn compact(value: f64) -> String {
    match value {
        1e6.. => format!("{} M", rounded_to(value / 1e6, 2)),
        1e4.. => format!("{} k", rounded_to(value / 1e3, 0)),
        1.0.. => rounded_to(value, 0),
        0.0 => "0".to_owned(),
        _ => format!("{value:.1e}"),
    }
}

fn rounded_to(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn number(
    ui: &mut Ui,
    knob: &Knob,
    value: f64,
    slider: impl for<'v> FnOnce(&'v mut f64) -> Slider<'v>,
) -> Option<f64> {
    let mut edited = value;
    ui.spacing_mut().slider_width = 144.0;
    // A typed value may pass the slider's ends; the knob itself knows how far.
    let slider = slider(&mut edited).update_while_editing(false).clamping(SliderClamping::Never);
    let response = ui.name_inputs(knob.title, |ui| ui.add(slider));
    changed(&response.on_hover_text(knob.help), edited, value)
}

fn choice(ui: &mut Ui, knob: &Knob, scene: &Scene, labels: &[&str]) -> Option<f64> {
    let now = ((knob.get)(scene).max(0.0) as usize).min(labels.len().saturating_sub(1));
    let mut chosen = now;
    let response = ui.name_inputs(knob.title, |ui| {
        let selected = small(labels.get(now).copied().unwrap_or_default());
        ComboBox::from_id_salt(knob.id)
            .width(CHOICE_WIDTH)
            .selected_text(selected)
            .show_ui(ui, |ui| {
                for (i, label) in labels.iter().enumerate() {
                    // What this scene cannot have stays in sight, and says why.
                    let is_offered = i == now || knob.takes(scene, i as f64);
                    ui.add_enabled_ui(is_offered, |ui| {
                        let label = ui.selectable_label(i == now, small(*label));
                        if label.on_disabled_hover_text(knob.help).clicked() {
                            chosen = i;
                        }
                    });
                }
            })
            .response
    });
    response.on_hover_text(knob.help);
    (chosen != now).then_some(chosen as f64)
}

fn changed(response: &Response, edited: f64, value: f64) -> Option<f64> {
    (response.changed() && edited.is_finite() && (edited - value).abs() > f64::EPSILON)
        .then_some(edited)
}
