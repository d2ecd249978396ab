//! Small pieces several panels use.

use eframe::egui;
use eframe::egui::{Context, KeyboardShortcut, Response, RichText, Ui};

use super::command::{self, Command};
use super::theme::{Colors, SMALL, number, small};

/// A name and its value on one line, the value at the right.
pub fn fact(ui: &mut Ui, name: &str, value: impl Into<String>) -> Response {
    let colors = Colors::of(ui.ctx());
    ui.spacing_mut().interact_size.y = 16.0;
    ui.horizontal(|ui| {
        ui.label(small(name).color(colors.muted_ink()));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.add(egui::Label::new(number(value).size(SMALL)).truncate());
        });
    })
    .response
}

/// Secondary words.
pub fn muted(ui: &Ui, text: impl Into<String>) -> RichText {
    small(text).color(Colors::of(ui.ctx()).muted_ink())
}

/// A tooltip's text: what a command does and its key.
pub fn tip(ctx: &Context, command: &Command) -> String {
    match &command.key {
        Some(key) => format!("{} ({})", command.title, key_name(ctx, key)),
        None => command.title.to_owned(),
    }
}

/// The tooltip of the command called `id`.
pub fn tip_of(ctx: &Context, id: &str) -> String {
    command::find(id).map_or_else(|| id.to_owned(), |command| tip(ctx, command))
}

/// A key in words: the fonts need not have arrows.
pub fn key_name(ctx: &Context, key: &KeyboardShortcut) -> String {
    let name = match key.logical_key {
        egui::Key::ArrowLeft => "Left",
        egui::Key::ArrowRight => "Right",
        egui::Key::OpenBracket => "[",
        egui::Key::CloseBracket => "]",
        egui::Key::Equals => "+",
        egui::Key::Minus => "-",
        other => other.name(),
    };
    let modifiers = ctx.format_modifiers(key.modifiers);
    if modifiers.is_empty() { name.to_owned() } else { format!("{modifiers}+{name}") }
}
