//! What floats over the stage: tools, notes, the legend, and words at branches.

use eframe::egui::{
    Align2, Area, Button, Color32, FontId, Frame, Id, Order, Painter, Pos2, Rect, Stroke, Ui, pos2,
    vec2,
};

use super::has_goal;
use crate::lab::Phase;
use crate::lab::branches::Branch;
use crate::ui::app::{App, Proposal};
use crate::ui::command;
use crate::ui::icons::{self, Icon};
use crate::ui::stage::field::axes::symbol;
use crate::ui::stage::field::pane::Pane;
use crate::ui::stage::overlay;
use crate::ui::theme::{Colors, GRID, SMALL, small};
use crate::ui::widgets::tip_of;

/// Size of the legend's color ramp.
const RAMP: eframe::egui::Vec2 = vec2(96.0, 6.0);
/// Room for the pointer's coordinates and for one word of the legend.
const LEGEND_END: f32 = 260.0;

/// Show tools, notes, the legend and what is said of branches.
pub fn show(app: &mut App, ui: &mut Ui, rect: Rect, strip: Rect, pane: &Pane) {
    let colors = Colors::of(ui.ctx());
    tools(app, ui, rect, colors);
    overlay::chips(ui, rect, &notes(app, colors), colors);
    let painter = ui.painter_at(strip);
    legend(app, &painter, strip, colors);
    pointer(app, ui, &painter, strip, pane, colors);
    popup(app, ui, pane, colors);
    tip(app, ui, rect, colors);
    overlay::drop_hint(ui, rect, colors);
}

fn tools(app: &mut App, ui: &Ui, rect: Rect, colors: Colors) {
    if app.stage.is_mirror {
        return;
    }
    let area = Area::new(Id::unique("tools")).order(Order::Middle);
    area.fixed_pos(rect.left_top() + vec2(8.0, 8.0)).show(ui.ctx(), |ui| {
        let frame = Frame::new().fill(colors.panel()).corner_radius(8).inner_margin(2);
        frame.show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing = vec2(0.0, 0.0);
                ui.set_height(icons::BUTTON_SIDE);
                for (icon, id, back) in [(Icon::Undo, "undo", true), (Icon::Redo, "redo", false)] {
                    let edit = if back { app.history.undoable() } else { app.history.redoable() };
                    let what = if app.tree.can_travel(back) {
                        Some("a prune or force".to_owned())
                    } else {
                        edit.map(|edit| edit.describe())
                    };
                    tool(app, ui, icon, id, what.as_deref(), what.is_some());
                }
                ui.add_space(GRID);
                tool(app, ui, Icon::Fit, "fit", None, true);
            })
        });
    });
}

fn tool(app: &mut App, ui: &mut Ui, icon: Icon, id: &str, what: Option<&str>, enabled: bool) {
    let tip = tip_of(ui.ctx(), id);
    let name = what.map_or(tip.clone(), |what| format!("{tip}: {what}"));
    let button = ui.add_enabled_ui(enabled, |ui| icons::button(ui, icon, &name, false)).inner;
    if button.clicked()
        && let Some(command) = command::find(id)
    {
        app.propose(Proposal::Run(command));
    }
}

/// Honest words about what is on the stage.
fn notes(app: &App, colors: Colors) -> Vec<(Color32, &'static str)> {
    let status = app.session.status();
    let mut notes = Vec::new();
    let is_open = matches!(status.phase, Phase::Ready | Phase::Planning);
    if is_open && status.model.as_ref().is_none_or(|model| model.trained_steps == 0) {
        notes.push((colors.warning(), "The weights are random: train this scene first"));
    } else if !status.is_maze_seen {
        notes.push((colors.warning(), "The model has not seen this maze"));
    }
    if let Some(frame) = &app.tree.frame
        && !app.place.spec.hidden_rates(&frame.bins.observation).is_empty()
    {
        let text = "The model sees no velocity: the one drawn is how far it moves";
        notes.push((colors.model(), text));
    }
    if app.tree.dream.is_on_stage(app) {
        notes.push((colors.truth(), "A dream lies over the tree: the inspector says whose lines"));
    }
    if !app.tree.edits.is_empty() {
        notes.push((colors.guidance(), "The first search was changed by hand"));
    }
    match status.phase {
        Phase::Loading => notes.push((colors.accent(), "Loading the weights")),
        Phase::Failed => notes.push((colors.error(), "There is no model to search with")),
        _ if app.tree.frame.is_none() => {
            notes.push((colors.accent(), "The first search is on its way"));
        }
        Phase::Planning if app.tree.is_waiting() => notes.push((colors.accent(), "Searching")),
        Phase::Ready | Phase::Planning => {}
    }
    notes
}

/// What the colors mean.
fn legend(app: &App, painter: &Painter, strip: Rect, colors: Colors) {
    let font = FontId::proportional(SMALL);
    let y = strip.center().y;
    let mut x = strip.left() + 16.0;
    let word = |x: &mut f32, text: &str, gap: f32| {
        let at = pos2(*x, y);
        let shown = painter.text(at, Align2::LEFT_CENTER, text, font.clone(), colors.muted_ink());
        *x = shown.right() + gap;
    };
    let Some(shown) = app.tree.shown(&app.transport) else {
        let hint = if has_goal(app) { "Click to set the goal" } else { "Click to set the start" };
        return word(&mut x, hint, 0.0);
    };
    let Some(frame) = &app.tree.frame else { return };
    let tree = &shown.tree;
    let ahead = tree.transition(tree.levels.len().saturating_sub(1));
    let secs = (ahead * frame.bins.stride) as f32 * frame.drive.dt_secs;
    word(&mut x, "now", 6.0);
    overlay::ramp(painter, Rect::from_min_size(pos2(x, y - RAMP.y / 2.0), RAMP));
    x += RAMP.x + 6.0;
    word(&mut x, &format!("+{secs:.1} s"), 20.0);
    for (ink, width, text) in [
        (colors.noise().gamma_multiply(0.5), 1.0, "pruned"),
        (colors.chosen(), 2.6, "chosen"),
        (colors.trail(), 3.2, "executed"),
    ] {
        if x > strip.right() - LEGEND_END {
            return;
        }
        painter.hline(x..=x + 16.0, y, Stroke::new(width, ink));
        x += 22.0;
        word(&mut x, text, 16.0);
    }
}

/// The state under the pointer.
fn pointer(app: &App, ui: &Ui, painter: &Painter, strip: Rect, pane: &Pane, colors: Colors) {
    let hover = ui.input(|input| input.pointer.hover_pos());
    let Some(at) = hover.filter(|at| pane.plot.intersect(pane.rect).contains(*at)) else { return };
    let place = pane.world_from_screen(at);
    let mut text = String::new();
    for (dimension, value) in app.place.spec.state.iter().zip(place) {
        text += &format!("{} {value:6.2}  ", symbol(&dimension.name));
    }
    let at = pos2(strip.right() - 16.0, strip.center().y);
    let font = FontId::monospace(SMALL);
    painter.text(at, Align2::RIGHT_CENTER, text.trim_end(), font, colors.muted_ink());
}

/// The branch a node belongs to.
fn branch_of(app: &App, node: Option<usize>) -> Option<Branch> {
    let branches = app.tree.pictures.branches()?;
    branches.all.get(branches.of(node?)?).copied()
}

/// What is known of a branch, line by line.
pub fn facts(branch: &Branch, last_depth: usize) -> Vec<String> {
    let mut lines =
        vec![format!("transition +{}", branch.transition), format!("ln p {:.2}", branch.total)];
    lines.extend(branch.value.map(|value| format!("value {value:.2}")));
    lines.push(
        match branch.lives_to {
            None => "rejected",
            Some(to) if to >= last_depth => "kept to the end",
            Some(_) => "given up later",
        }
        .to_owned(),
    );
    if branch.is_chosen {
        lines.push("on the chosen path".to_owned());
    }
    lines
}

/// Words beside the branch under the pointer.
fn tip(app: &App, ui: &Ui, rect: Rect, colors: Colors) {
    let at = ui.input(|input| input.pointer.hover_pos());
    let (Some(at), Some(branch)) = (at, branch_of(app, app.tree.pointed)) else { return };
    let Some(shown) = app.tree.shown(&app.transport) else { return };
    let lines = facts(&branch, shown.tree.levels.len().saturating_sub(1));
    let painter = ui.painter_at(rect);
    let font = FontId::monospace(SMALL);
    let galley = painter.layout_no_wrap(lines.join("\n"), font, colors.ink());
    let size = galley.size() + vec2(20.0, 12.0);
    let chip = Rect::from_min_size(beside(at, size, rect), size);
    painter.rect_filled(chip, 6.0, colors.panel());
    painter.rect_stroke(
        chip,
        6.0,
        Stroke::new(1.0, colors.line()),
        eframe::egui::StrokeKind::Inside,
    );
    painter.galley(chip.min + vec2(10.0, 6.0), galley, colors.ink());
}

/// A corner for something of `size` beside a place, inside of `rect`.
fn beside(at: Pos2, size: eframe::egui::Vec2, rect: Rect) -> Pos2 {
    let mut corner = at + vec2(16.0, 12.0);
    if corner.x + size.x > rect.right() {
        corner.x = at.x - 16.0 - size.x;
    }
    if corner.y + size.y > rect.bottom() {
        corner.y = at.y - 12.0 - size.y;
    }
    corner.max(rect.min)
}

/// Buttons at the picked branch.
fn popup(app: &mut App, ui: &Ui, pane: &Pane, colors: Colors) {
    if app.stage.is_mirror {
        return;
    }
    if !app.tree.shows_first(&app.transport) || app.stage.drag().is_some() {
        return;
    }
    let Some(branch) = branch_of(app, app.tree.node) else { return };
    let end = pane.screen_from_world(branch.to);
    if !pane.rect.contains(end) {
        return;
    }
    let corner = beside(end, vec2(132.0, 32.0), pane.rect);
    let area = Area::new(Id::unique("branch popup")).order(Order::Middle);
    area.fixed_pos(corner).show(ui.ctx(), |ui| {
        let frame = Frame::new().fill(colors.panel()).corner_radius(8).inner_margin(4);
        frame.stroke(Stroke::new(1.0, colors.line())).show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = 4.0;
                for (id, label, name) in [
                    ("prune", "Prune", "Prune this branch"),
                    ("force", "Force", "Force this branch"),
                ] {
                    let tip = tip_of(ui.ctx(), id);
                    let button = ui.add(Button::new(small(label)));
                    button.widget_info(|| {
                        eframe::egui::WidgetInfo::labeled(eframe::egui::Role::Button, true, name)
                    });
                    if button.on_hover_text(tip).clicked()
                        && let Some(command) = command::find(id)
                    {
                        app.propose(Proposal::Run(command));
                    }
                }
            });
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_on_the_stage() {
        let rect = Rect::from_min_max(pos2(0.0, 0.0), pos2(200.0, 100.0));
        let size = vec2(80.0, 40.0);
        for at in [pos2(10.0, 10.0), pos2(190.0, 90.0), pos2(190.0, 10.0), pos2(10.0, 95.0)] {
            assert!(rect.contains_rect(Rect::from_min_size(beside(at, size, rect), size)));
        }
    }
}
