//! What a gamma-model is asked: the source state, the goal, the first action.

use eframe::egui::{Align, ComboBox, DragValue, Layout, Slider, Ui};

use crate::ui::app::{App, Proposal};
use crate::ui::command;
use crate::ui::history::EditTag;
use crate::ui::live::{Origin, Wish};
use crate::ui::stage::Handle;
use crate::ui::stage::field::{self, input};
use crate::ui::theme::{GRID, small};
use crate::ui::widgets::{fact, muted, tip_of};

/// Width of the choice of a policy.
const POLICY_WIDTH: f32 = 144.0;

/// Show the question.
pub fn show(app: &mut App, ui: &mut Ui) {
    policy(app, ui);
    ui.add_space(GRID / 2.0);
    ui.label(muted(ui, "From the state"));
    source(app, ui);
    if !app.place.spec.goal_dims.is_empty() {
        ui.add_space(GRID / 2.0);
        ui.label(muted(ui, "With the goal"));
        goal(app, ui);
    }
    ui.add_space(GRID / 2.0);
    action(app, ui);
}

/// Whose future it is: a choice where the model knows several policies.
fn policy(app: &mut App, ui: &mut Ui) {
    let scene = app.session.scene().clone();
    let crate::model::ModelConfig::Gamma(section) = &scene.model else { return };
    let policies = section.policies();
    let asked = scene.occupancy.policy.as_deref();
    let mut index = policies.iter().position(|id| Some(*id) == asked).unwrap_or(0);
    let row_of = |id: &str| app.place.policies.iter().find(|row| row.id == id);
    let row = policies.get(index).and_then(|id| row_of(id));
    let titles: Vec<&str> =
        policies.iter().map(|id| row_of(id).map_or(*id, |row| row.title)).collect();
    let help = row.map_or("", |row| row.help);
    let title = titles.get(index).copied().unwrap_or_default();
    if policies.len() < 2 {
        let id = policies.first().copied().unwrap_or_default();
        fact(ui, "policy", format!("{title} ({id})")).on_hover_text(help);
        ui.label(muted(ui, help));
        return;
    }
    let response = ui
        .horizontal(|ui| {
            ui.label(muted(ui, "policy"));
            let right = Layout::right_to_left(Align::Center);
            ui.with_layout(right, |ui| {
                ui.name_inputs("Policy", |ui| {
                    let title = |i: usize| small(titles.get(i).copied().unwrap_or_default());
                    let n = titles.len();
                    ComboBox::from_id_salt("policy")
                        .width(POLICY_WIDTH)
                        .show_index(ui, &mut index, n, title)
                })
            })
            .inner
        })
        .inner;
    let is_changed = response.on_hover_text(help).changed();
    ui.label(muted(ui, help));
    if is_changed && let Some(id) = policies.get(index) {
        let mut edited = scene.clone();
        edited.occupancy.policy = Some((*id).to_owned());
        let wish = Wish::full(Origin::Same);
        app.propose(Proposal::Edit(
            EditTag::Knob("occupancy.policy"),
            Box::new(edited),
            Some(wish),
        ));
    }
}

fn source(app: &mut App, ui: &mut Ui) {
    let mut state = field::source(app);
    let dimensions = app.place.spec.state.clone();
    let mut moved = false;
    for (value, dimension) in state.iter_mut().zip(&dimensions) {
        let name = format!("Source {}", dimension.name);
        if coordinate(
            ui,
            &name,
            &dimension.name,
            &dimension.unit,
            value,
            dimension.low,
            dimension.high,
        ) {
            moved = true;
        }
    }
    if moved {
        input::pin_at(app, &state);
    }
    let mut is_pinned = app.field.is_pinned();
    let tip = tip_of(ui.ctx(), "pin");
    if ui.checkbox(&mut is_pinned, "Pinned").on_hover_text(tip).changed()
        && let Some(command) = command::find("pin")
    {
        app.propose(Proposal::Run(command));
    }
}

fn goal(app: &mut App, ui: &mut Ui) {
    let mut goal = app.stage_now().goal;
    let dimensions = app.place.spec.state.clone();
    let mut moved = false;
    for (value, dimension) in goal.iter_mut().zip(&dimensions) {
        let name = format!("Goal {}", dimension.name);
        moved |= coordinate(
            ui,
            &name,
            &dimension.name,
            &dimension.unit,
            value,
            dimension.low,
            dimension.high,
        );
    }
    if moved && let Some(goal) = app.place.legal(goal) {
        input::put(app, Handle::Goal, goal);
    }
}

/// A number that can be dragged and typed. Returns whether it changed.
fn coordinate(
    ui: &mut Ui,
    name: &str,
    symbol: &str,
    unit: &str,
    value: &mut f32,
    low: f32,
    high: f32,
) -> bool {
    let suffix = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    ui.horizontal(|ui| {
        let (width, height) = (52.0, ui.spacing().interact_size.y);
        ui.add_sized([width, height], eframe::egui::Label::new(field::symbol(symbol)));
        let drag = DragValue::new(value)
            .range(low..=high)
            .speed(f64::from(high - low) / 400.0)
            .fixed_decimals(2)
            .suffix(suffix);
        ui.name_inputs(name, |ui| ui.add(drag)).changed()
    })
    .inner
}

fn action(app: &mut App, ui: &mut Ui) {
    let dims = app.place.spec.action.clone();
    let mut is_own = app.field.action.is_none();
    let response = ui.checkbox(&mut is_own, "The policy's own first action");
    if response.on_hover_text("Or ask what follows after an action you choose.").changed() {
        app.field.action = (!is_own).then(|| vec![0.0; dims.len()]);
    }
    let Some(action) = &mut app.field.action else { return };
    for (value, dimension) in action.iter_mut().zip(&dims) {
        let name = format!("Action {}", dimension.name);
        ui.spacing_mut().slider_width = 144.0;
        ui.label(muted(ui, &name));
        ui.name_inputs(name, |ui| ui.add(Slider::new(value, -1.0..=1.0).max_decimals(2)));
    }
}
