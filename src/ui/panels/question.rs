//! What a gamma-model is asked: the source state, the goal, the first action.

use eframe::egui::{DragValue, Slider, Ui};

use crate::ui::app::App;
use crate::ui::command;
use crate::ui::stage::Handle;
use crate::ui::stage::field::{self, input};
use crate::ui::theme::GRID;
use crate::ui::widgets::{fact, muted, tip_of};

/// Show the question.
pub fn show(app: &mut App, ui: &mut Ui) {
    policy(app, ui);
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

fn policy(app: &App, ui: &mut Ui) {
    let scene = app.session.scene();
    let crate::model::ModelConfig::Gamma(section) = &scene.model else { return };
    let row = app.place.policies.iter().find(|row| row.id == section.policy);
    let title = row.map_or(section.policy.as_str(), |row| row.title).to_owned();
    fact(ui, "policy", title).on_hover_text(row.map_or("", |row| row.help));
}

fn source(app: &mut App, ui: &mut Ui) {
    let mut state = field::source(app);
    let dimensions = app.place.spec.state.clone();
    let mut moved = false;
    for (index, (value, dimension)) in state.iter_mut().zip(&dimensions).enumerate() {
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
            if index >= 2 {
                app.field.rest.resize(dimensions.len() - 2, 0.0);
                if let Some(rest) = app.field.rest.get_mut(index - 2) {
                    *rest = *value;
                }
            }
        }
    }
    if moved && let [x, y, ..] = state[..] {
        input::pin_at(app, [x, y]);
    }
    let mut is_pinned = app.field.is_pinned();
    let tip = tip_of(ui.ctx(), "pin");
    if ui.checkbox(&mut is_pinned, "Pinned").on_hover_text(tip).changed()
        && let Some(command) = command::find("pin")
    {
        app.propose(crate::ui::app::Proposal::Run(command));
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
