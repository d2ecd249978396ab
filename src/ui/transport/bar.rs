//! The transport bar: one set of buttons, both clocks.

use eframe::egui;
use eframe::egui::{Align, DragValue, Layout, Response, Slider, Ui};

use super::{Clock, Extent, SPEEDS};
use crate::lab::knobs;
use crate::ui::app::{App, Proposal};
use crate::ui::command;
use crate::ui::icons::{self, Icon};
use crate::ui::panels::status::thousands;
use crate::ui::stage;
use crate::ui::theme::{Colors, GRID, number, small};
use crate::ui::widgets::tip_of;

/// Height of the bar in points.
pub const HEIGHT: f32 = 48.0;
/// Narrowest scrubber.
const MIN_SCRUB: f32 = 72.0;
/// Words of the training clock.
const TRAINING_WIDTH: f32 = 168.0;
/// Everything on the bar beside the scrubbers.
const FIXED_WIDTH: f32 = 620.0;

/// Show the bar.
pub fn show(app: &mut App, ui: &mut Ui) {
    let extent = app.extent();
    let has_chain = knobs::acts(app.session.scene());
    ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        buttons(app, ui);
        ui.spacing_mut().item_spacing.x = GRID;
        ui.add_space(GRID);
        let has_run = extent.checkpoints > 0;
        let clocks = 1 + usize::from(has_chain) + usize::from(has_run);
        let words = if has_run { TRAINING_WIDTH } else { 0.0 };
        let room = ui.available_width() - FIXED_WIDTH + 180.0 - words;
        let scrub = (room / clocks as f32).max(MIN_SCRUB);
        if has_run {
            training(app, ui, &extent, scrub);
            ui.add_space(GRID);
        }
        if has_chain {
            chain(app, ui, &extent, scrub);
            ui.add_space(GRID);
        }
        time(app, ui, &extent, scrub);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let looping = app.transport.looping;
            command_button(app, ui, Icon::Loop, "loop", looping);
            speed(app, ui);
        });
    });
}

fn buttons(app: &mut App, ui: &mut Ui) {
    command_button(app, ui, Icon::ToStart, "to-start", false);
    command_button(app, ui, Icon::StepBack, "step-back", false);
    let icon = if app.transport.playing { Icon::Pause } else { Icon::Play };
    command_button(app, ui, icon, "play", false);
    command_button(app, ui, Icon::StepForward, "step-forward", false);
    command_button(app, ui, Icon::ToEnd, "to-end", false);
}

fn command_button(app: &mut App, ui: &mut Ui, icon: Icon, id: &str, selected: bool) {
    let name = tip_of(ui.ctx(), id);
    if icons::button(ui, icon, &name, selected).clicked()
        && let Some(command) = command::find(id)
    {
        app.propose(Proposal::Run(command));
    }
}

/// What the chain's clock is called and counts.
struct ChainWords {
    name: &'static str,
    help: &'static str,
    scrubber: &'static str,
    unit: &'static str,
    text_width: f32,
}

const DENOISING: ChainWords = ChainWords {
    name: "Denoising",
    help: "Scrub the chain from noise to plan",
    scrubber: "Denoising step",
    unit: "",
    text_width: 40.0,
};

const SEARCH: ChainWords = ChainWords {
    name: "Search",
    help: "Scrub the shown search, token by token",
    scrubber: "Search token",
    unit: "Token ",
    text_width: 84.0,
};

fn chain(app: &mut App, ui: &mut Ui, extent: &Extent, width: f32) {
    let words = if stage::tree::is_here(app) { &SEARCH } else { &DENOISING };
    clock_label(app, ui, Clock::Denoising, words.name, words.help);
    let end = extent.chain_steps.max(1) as f64;
    let ready = f64::from(extent.chain_ready);
    let mut position = f64::from(app.transport.chain);
    let response = scrubber(ui, words.scrubber, &mut position, end, width);
    if response.changed() {
        app.transport.clock = Clock::Denoising;
        app.transport.playing = false;
        app.transport.chain = position.min(ready) as f32;
    }
    let text = if extent.chain_steps == 0 {
        "-".to_owned()
    } else {
        format!("{}{:.0}/{}", words.unit, app.transport.chain.floor(), extent.chain_steps)
    };
    fixed_text(ui, text, words.text_width);
}

/// The clock over the run's checkpoints; its end is whatever is newest.
fn training(app: &mut App, ui: &mut Ui, extent: &Extent, width: f32) {
    let help = "Scrub the checkpoints: the same question with the weights of that time";
    clock_label(app, ui, Clock::Training, "Training", help);
    let end = extent.checkpoints as f64;
    let mut position = f64::from(app.transport.checkpoint).min(end);
    let response = scrubber(ui, "Training checkpoint", &mut position, end, width);
    if response.changed() {
        app.transport.clock = Clock::Training;
        app.transport.playing = false;
        app.transport.checkpoint =
            if position >= end - 0.5 { f32::INFINITY } else { position.round() as f32 };
    }
    let frame = app.session.training();
    let entry = frame.as_ref().and_then(|frame| {
        frame.manifest.as_ref()?.checkpoints.get(app.transport.checkpoint as usize)
    });
    let text = match entry {
        Some(entry) => format!("step {}", thousands(entry.step)),
        None => "newest".to_owned(),
    };
    fixed_text(ui, text, 80.0);
}

fn time(app: &mut App, ui: &mut Ui, extent: &Extent, width: f32) {
    clock_label(app, ui, Clock::Environment, "Time", "Scrub what happened over time");
    let end = f64::from(extent.time_secs.max(1e-3));
    let mut position = f64::from(app.transport.time_secs);
    let response = scrubber(ui, "Environment time", &mut position, end, width);
    if response.changed() {
        app.transport.clock = Clock::Environment;
        app.transport.playing = false;
        app.transport.time_secs = position as f32;
    }
    let text = format!("{:.2}/{:.2} s", app.transport.time_secs, extent.time_secs);
    fixed_text(ui, text, 88.0);
}

fn scrubber(ui: &mut Ui, name: &str, value: &mut f64, end: f64, width: f32) -> Response {
    ui.spacing_mut().slider_width = width;
    ui.name_inputs(name, |ui| ui.add(Slider::new(value, 0.0..=end).show_value(false)))
}

/// The clock's name; the active one carries the accent, a click makes it so.
fn clock_label(app: &mut App, ui: &mut Ui, clock: Clock, name: &str, help: &str) {
    let colors = Colors::of(ui.ctx());
    let active = app.transport.clock == clock;
    let ink = if active { colors.accent() } else { colors.muted_ink() };
    let button = egui::Button::new(small(name).color(ink)).frame(false);
    if ui.add(button).on_hover_text(help).clicked() {
        app.transport.clock = clock;
    }
}

/// Text that changes all the time in a place that does not.
fn fixed_text(ui: &mut Ui, text: String, width: f32) {
    let size = egui::vec2(width, ui.available_height());
    ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
        ui.set_width(width);
        ui.label(number(text).size(11.0));
    });
}

fn speed(app: &mut App, ui: &mut Ui) {
    let mut speed = app.transport.speed;
    let field = DragValue::new(&mut speed)
        .range(SPEEDS[0]..=SPEEDS[1])
        .speed(0.01)
        .max_decimals(2)
        .suffix(" ×");
    let response = ui.name_inputs("Playback speed", |ui| ui.add(field));
    if response.on_hover_text("Playback speed; 1 is real time").changed() {
        app.transport.speed = speed;
    }
}
