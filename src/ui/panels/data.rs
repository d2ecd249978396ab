//! The data set: its episodes as a list and a histogram, one of them to scrub
//! through, and demonstrations to record.

mod histogram;
mod record;

use eframe::egui::{Button, ScrollArea, Slider, Spinner, Ui};

use crate::lab::episodes::{EpisodesFrame, SeenEpisode, Stage};
use crate::ui::app::App;
use crate::ui::data::{self, Measure};
use crate::ui::theme::{Colors, GRID, SMALL, number, small};
use crate::ui::widgets::{fact, muted};

/// The section's tooltip.
pub const HELP: &str = "What the model learns from: episodes of behavior policies, of a file, or \
    of your own.";

/// Height of the list in points.
const LIST: f32 = 140.0;
/// Height of one of its rows.
const ROW: f32 = 20.0;

/// Show the section.
pub fn show(app: &mut App, ui: &mut Ui) {
    match app.data.frame() {
        None => {
            let button = ui.button("Show episodes");
            let tip = "Collects the first episodes again from the scene's seed, or reads its file.";
            if button.on_hover_text(tip).clicked() {
                data::browse(app);
            }
        }
        Some(frame) => browser(app, ui, &frame),
    }
    ui.add_space(GRID / 2.0);
    record::show(app, ui);
}

fn browser(app: &mut App, ui: &mut Ui, frame: &EpisodesFrame) {
    match &frame.stage {
        Stage::Loading => {
            ui.horizontal(|ui| {
                ui.add(Spinner::new().size(14.0));
                ui.label(muted(ui, "Collecting or reading the data set"));
            });
            return;
        }
        Stage::Failed(why) => {
            ui.label(small(why).color(Colors::of(ui.ctx()).error()));
            if ui.button("Close").clicked() {
                data::close(app);
            }
            return;
        }
        Stage::Done => {}
    }
    ui.label(muted(ui, first_upper(&frame.sample)));
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        for (measure, name) in [(Measure::Returns, "Returns"), (Measure::Lengths, "Lengths")] {
            if ui.selectable_label(app.data.measure == measure, small(name)).clicked() {
                app.data.measure = measure;
            }
        }
    });
    let values: Vec<f32> = frame.episodes.iter().map(|one| value(app.data.measure, one)).collect();
    let picked = app.data.selected.and_then(|index| values.get(index).copied());
    histogram::show(ui, app.data.measure, &values, picked);
    ui.scope(|ui| list(app, ui, frame));
    if let Some(episode) = app.data.episode(frame) {
        scrub(app, ui, episode);
    }
    ui.horizontal(|ui| {
        let mut is_shown = !app.data.is_hidden;
        ui.checkbox(&mut is_shown, small("On the stage"))
            .on_hover_text("The picked episode, and others as a faint layer.");
        app.data.is_hidden = !is_shown;
        if ui.button(small("Close")).clicked() {
            data::close(app);
        }
    });
}

/// What the histogram counts of an episode.
fn value(measure: Measure, episode: &SeenEpisode) -> f32 {
    match measure {
        Measure::Returns => episode.total(),
        Measure::Lengths => episode.steps() as f32,
    }
}

fn first_upper(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn list(app: &mut App, ui: &mut Ui, frame: &EpisodesFrame) {
    let head = format!("{:>4} {:>6} {:>9}  policy", "no.", "steps", "return");
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        // Rows are buttons, whose text is set in.
        ui.add_space(ui.spacing().button_padding.x);
        ui.label(number(head).size(SMALL).color(Colors::of(ui.ctx()).muted_ink()));
    });
    let spacing = ui.spacing_mut();
    (spacing.interact_size.y, spacing.item_spacing.y, spacing.button_padding.y) = (ROW, 0.0, 1.0);
    let area = ScrollArea::vertical()
        .id_salt("episodes")
        .max_height(LIST)
        .min_scrolled_height(LIST)
        .auto_shrink([false, true]);
    area.show_rows(ui, ROW, frame.episodes.len(), |ui, range| {
        for index in range {
            let Some(one) = frame.episodes.get(index) else { continue };
            let text =
                format!("{:>4} {:>6} {:>9.2}  {}", index + 1, one.steps(), one.total(), one.by);
            let is_picked = app.data.selected == Some(index);
            let button = Button::selectable(is_picked, number(text).size(SMALL)).truncate();
            let tip = "\"any+\" before a policy: the first action is any policy's.";
            if ui.add(button).on_hover_text(tip).clicked() {
                app.data.pick(index);
            }
        }
    });
}

/// The picked episode, step by step.
fn scrub(app: &mut App, ui: &mut Ui, episode: &SeenEpisode) {
    let last = episode.states.len().saturating_sub(1);
    let stride = episode.stride.max(1);
    let mut step = app.data.step.min(last);
    let secs = (step * stride) as f32 * app.place.spec.dt_secs;
    ui.horizontal(|ui| {
        let name = ui.label(muted(ui, "step")).id;
        ui.spacing_mut().slider_width = (ui.available_width() - 72.0).max(60.0);
        let slider = Slider::new(&mut step, 0..=last)
            .custom_formatter(move |step, _| format!("{:.0}", step * stride as f64))
            .custom_parser(move |text| Some(text.trim().parse::<f64>().ok()? / stride as f64));
        ui.add(slider).labelled_by(name).on_hover_text(format!("{secs:.2} s"));
    });
    app.data.step = step;
    let join = |values: &[f32]| {
        let texts: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
        texts.join("  ")
    };
    let names = |names: Vec<&str>| names.join(", ");
    let spec = &app.place.spec;
    if let Some(state) = episode.states.get(step) {
        let tip = names(spec.state.iter().map(|dim| dim.name.as_str()).collect());
        fact(ui, "state", join(state)).on_hover_text(tip);
    }
    match (episode.actions.get(step), episode.rewards.get(step)) {
        (Some(action), Some(reward)) => {
            let tip = names(spec.action.iter().map(|dim| dim.name).collect());
            fact(ui, "action", join(action)).on_hover_text(tip);
            fact(ui, "reward", format!("{reward:.2}"));
        }
        _ => {
            fact(ui, "action", "the end");
            fact(ui, "reward", "-");
        }
    }
}
