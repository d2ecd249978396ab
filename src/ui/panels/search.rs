//! The shown search: what it found, the tokens it read and planned, and what a
//! person changed about it.

mod strip;

use eframe::egui::{Align, Button, Layout, Ui};

use super::status;
use crate::lab::beam::BeamFrame;
use crate::plan::beam::drive::SearchRecord;
use crate::plan::beam::{Edit, EditKind};
use crate::ui::app::{App, Proposal};
use crate::ui::command;
use crate::ui::icons::{self, Icon};
use crate::ui::theme::{Colors, GRID, small};
use crate::ui::widgets::{fact, muted, tip_of};

/// The section's tooltip.
pub const HELP: &str = "Beam search over tokens: every continuation kept so far grows by one \
    token, and the best of all of them are kept. The plan is the best at the end.";

/// Most edits listed one by one.
const MAX_LISTED: usize = 6;

/// Show the section.
pub fn show(app: &mut App, ui: &mut Ui) {
    let shown = app.tree.shown(&app.transport);
    let (Some(frame), Some(shown)) = (app.tree.frame.clone(), shown) else {
        ui.label(muted(ui, "Waiting for the first search."));
        return;
    };
    plan_facts(ui, &frame, &shown);
    episode_facts(app, ui, &frame, &shown);
    ui.add_space(GRID / 2.0);
    strip::show(app, ui, &frame, &shown);
    buttons(app, ui);
    edits(app, ui, &frame);
}

fn plan_facts(ui: &mut Ui, frame: &BeamFrame, shown: &SearchRecord) {
    let (plan, tree) = (&shown.plan, &shown.tree);
    let tokens = tree.best_tokens().map_or(0, |tokens| tokens.len());
    let per_token = plan.log_prob / tokens.max(1) as f32;
    fact(ui, "ln p of the plan", format!("{:.2}", plan.log_prob))
        .on_hover_text(format!("{per_token:.3} for each of its {tokens} tokens."));
    if let Some(value) = plan.value {
        fact(ui, "value", format!("{value:.2}")).on_hover_text(
            "Discounted rewards the model expects along the plan, and its reward-to-go behind it.",
        );
    }
    if frame.bins.layout.goals > 0 {
        fact(ui, "expects to arrive", if plan.ends { "yes" } else { "beyond its horizon" })
            .on_hover_text("Whether the plan ends with the token that says it is there.");
    }
    let kept = tree.nodes.iter().filter(|node| node.kept).count();
    let levels = tree.levels.len().max(1);
    fact(ui, "nodes", format!("{} ({kept} kept)", status::thousands(tree.nodes.len())))
        .on_hover_text(format!(
            "{:.1} kept for each of {levels} tokens.",
            kept as f32 / levels as f32
        ));
    if let Some(spread) = tree.spread(&|dim, token| frame.bins.center(dim, token)) {
        fact(ui, "width of the beam", format!("{spread:.3}")).on_hover_text(
            "How far apart the continuations kept at a time are: root mean square distance of \
             their states to the mean of these, on average over transitions.",
        );
    }
    fact(ui, "searched in", format!("{:.0} ms", shown.wall_ms));
}

fn episode_facts(app: &App, ui: &mut Ui, frame: &BeamFrame, shown: &SearchRecord) {
    let drive = &frame.drive;
    let known = drive.searches.iter().position(|search| std::ptr::eq(&**search, shown));
    // One that still grows comes after all others.
    let number = known.map_or(drive.searches.len(), |index| index) + 1;
    let more = if drive.finished { "" } else { ", going on" };
    fact(ui, "search", format!("{number} of {}{more}", drive.searches.len().max(number)))
        .on_hover_text(format!("Made at step {} of the episode.", shown.at_step));
    if frame.bins.layout.goals > 0 {
        let arrival = match drive.arrival_step {
            Some(step) => format!("{:.2} s", step as f32 * drive.dt_secs),
            None if drive.finished => "never".to_owned(),
            None => "-".to_owned(),
        };
        fact(ui, "arrival within the radius", arrival);
    } else {
        let step = app.tree.moment(&app.transport).map_or(0, |(step, _)| step);
        let so_far = drive.rewards.iter().take(step).fold(0.0, |sum, reward| sum + reward);
        fact(ui, "return so far", format!("{so_far:.1}"))
            .on_hover_text(format!("The undiscounted rewards of the first {step} steps."));
    }
}

fn buttons(app: &mut App, ui: &mut Ui) {
    let can_edit = app.tree.node.is_some() && app.tree.shows_first(&app.transport);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        for (id, label, enabled) in [
            ("prune", "Prune", can_edit),
            ("force", "Force", can_edit),
            ("clear-edits", "Clear edits", !app.tree.edits.is_empty()),
        ] {
            let button = ui.add_enabled(enabled, Button::new(small(label)));
            let tip = tip_of(ui.ctx(), id);
            let why = "Pick a branch or a planned token of the first search.";
            let button = button.on_hover_text(tip).on_disabled_hover_text(why);
            if button.clicked()
                && let Some(command) = command::find(id)
            {
                app.propose(Proposal::Run(command));
            }
        }
    });
}

/// What was changed, each to take back.
fn edits(app: &mut App, ui: &mut Ui, frame: &BeamFrame) {
    let edits = app.tree.edits.clone();
    for (index, edit) in edits.iter().enumerate().take(MAX_LISTED) {
        let words = words_of(edit, frame);
        ui.horizontal(|ui| {
            ui.label(small(&words).color(Colors::of(ui.ctx()).ink()));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if icons::button(ui, Icon::Close, &format!("Remove: {words}"), false).clicked() {
                    app.tree.remove_edit(index);
                }
            });
        });
    }
    if edits.len() > MAX_LISTED {
        ui.label(muted(ui, format!("and {} more", edits.len() - MAX_LISTED)));
    }
}

/// "Pruned: ux of transition +3".
fn words_of(edit: &Edit, frame: &BeamFrame) -> String {
    let bins = &frame.bins;
    let depth = bins.layout.states + edit.path.len().saturating_sub(1);
    let (dim, transition) =
        (depth % bins.layout.per_transition(), depth / bins.layout.per_transition());
    let what = match edit.kind {
        EditKind::Prune => "Pruned",
        EditKind::Force => "Forced",
    };
    let token = edit.path.last().copied().unwrap_or_default();
    if token == bins.layout.stop() {
        return format!("{what}: the end at transition +{transition}");
    }
    let name = bins.names.get(dim).map_or("", String::as_str);
    let value = bins.center(dim, token);
    let symbol = crate::ui::stage::field::symbol(name);
    let near = match (edit.kind, frame.request.beam.prune_reach) {
        (EditKind::Force, _) | (_, 0) => String::new(),
        (EditKind::Prune, reach) => format!(" ± {reach} bins"),
    };
    format!("{what}: {symbol} = {value:.2}{near}, transition +{transition}")
}

/// The status line of such a scene.
pub fn status_line(app: &App, ui: &mut Ui) {
    let colors = Colors::of(ui.ctx());
    let status = app.session.status();
    ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = 24.0;
        ui.label(status::figure(ui, &status::planning(status)))
            .on_hover_text("Time of the last search, which is that of an action.");
        if app.place.spec.goal_dims.is_empty() {
            let drive = app.tree.frame.as_ref().map(|frame| &frame.drive);
            let text = drive.map_or_else(
                || "return -".to_owned(),
                |drive| {
                    let total: f32 = drive.rewards.iter().sum();
                    format!("return {total:.1} (n {} steps)", drive.rewards.len())
                },
            );
            ui.label(status::figure(ui, &text))
                .on_hover_text("Undiscounted rewards of the episode as far as it is computed.");
        } else {
            ui.label(status::figure(ui, &status::success(status.reached, status.trials)))
                .on_hover_text("Episodes that reached their goal, with one standard error.");
        }
        ui.label(muted(ui, "searches without a map"))
            .on_hover_text("The model knows walls only from its data; nothing checks its plans.");
        status::weights(app, ui, colors);
    });
}

#[cfg(test)]
mod tests {
    use super::strip::tests::frame;
    use super::*;

    #[test]
    fn edits_are_named_by_the_number_they_are_about() {
        let frame = frame();
        let edit = |path: &[u16], kind| Edit { path: path.to_vec(), kind };
        let words = |path: &[u16], kind| words_of(&edit(path, kind), &frame);
        assert_eq!(words(&[3], EditKind::Prune), "Pruned: ux = 0.30 ± 16 bins, transition +0");
        assert_eq!(words(&[3, 1, 2], EditKind::Force), "Forced: y = 0.20, transition +1");
        assert_eq!(words(&[3, 10], EditKind::Prune), "Pruned: the end at transition +1");
    }
}
