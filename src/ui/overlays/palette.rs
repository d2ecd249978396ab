//! The command palette: every command and shipped scene, found by typing a few
//! of its letters.

use eframe::egui;
use eframe::egui::{Align2, vec2};
use eframe::egui::{
    Context, FontId, Key, Modifiers, Response, Role, ScrollArea, Sense, Ui, WidgetInfo,
};

use super::{Outcome, dialog};
use crate::lab::{SHIPPED, Scene, ShippedScene};
use crate::ui::command::{self, Command};
use crate::ui::panels::top_bar::open_shipped;
use crate::ui::theme::{BODY, Colors, SMALL};

const ROW_HEIGHT: f32 = 32.0;
const MAX_ROWS: f32 = 11.0;

/// What can be run from the palette.
#[derive(Clone, Copy)]
enum Entry {
    Command(&'static Command),
    Scene(&'static ShippedScene),
}

impl Entry {
    fn title(self) -> String {
        match self {
            Self::Command(command) => command.title.to_owned(),
            Self::Scene(scene) => format!("Open {}", scene.title),
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Command(command) => command.help,
            Self::Scene(_) => "A shipped scene.",
        }
    }
}

/// Search text and selection.
#[derive(Default)]
pub struct Palette {
    query: String,
    selected: usize,
    scroll: bool,
}

impl Palette {
    /// Show it.
    pub fn show(&mut self, ctx: &Context, scene: &Scene) -> Outcome {
        dialog(ctx, "palette", 560.0, |ui| self.content(ui, scene))
    }

    fn content(&mut self, ui: &mut Ui, scene: &Scene) -> Outcome {
        let (up, down, enter) = ui.ctx().input_mut(|input| {
            (
                input.consume_key(Modifiers::NONE, Key::ArrowUp),
                input.consume_key(Modifiers::NONE, Key::ArrowDown),
                input.consume_key(Modifiers::NONE, Key::Enter),
            )
        });
        let field = egui::TextEdit::singleline(&mut self.query)
            .hint_text("Search commands")
            .desired_width(f32::INFINITY)
            .margin(vec2(10.0, 8.0));
        let response = ui.add(field);
        response.request_focus();
        let found = matches(&self.query, scene);
        if response.changed() {
            self.selected = 0;
            self.scroll = true;
        }
        if down {
            self.selected += 1;
        }
        if up {
            self.selected = self.selected.saturating_sub(1);
        }
        self.scroll |= up || down;
        self.selected = self.selected.min(found.len().saturating_sub(1));
        if found.is_empty() {
            ui.weak("No command is called that. Clear the field to see all of them.");
        }
        let mut chosen = found.get(self.selected).filter(|_| enter).copied();
        ui.spacing_mut().item_spacing.y = 0.0;
        ScrollArea::vertical().max_height(ROW_HEIGHT * MAX_ROWS).auto_shrink([false, true]).show(
            ui,
            |ui| {
                for (index, &entry) in found.iter().enumerate() {
                    let is_selected = index == self.selected;
                    let response = row(ui, entry, is_selected);
                    if is_selected && self.scroll {
                        response.scroll_to_me(None);
                    }
                    if response.clicked() {
                        chosen = Some(entry);
                    }
                }
            },
        );
        self.scroll = false;
        match chosen {
            Some(Entry::Command(command)) => Outcome::Then(Box::new(command.run)),
            Some(Entry::Scene(scene)) => Outcome::Then(Box::new(|app, _| open_shipped(app, scene))),
            None => Outcome::Stay,
        }
    }
}

fn row(ui: &mut Ui, entry: Entry, is_selected: bool) -> Response {
    let title = entry.title();
    let (rect, response) =
        ui.allocate_exact_size(vec2(ui.available_width(), ROW_HEIGHT), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::MenuItem, true, is_selected, &title));
    if !ui.is_rect_visible(rect) {
        return response;
    }
    let colors = Colors::of(ui.ctx());
    if is_selected {
        ui.painter().rect_filled(rect, 5.0, colors.accent_fill());
    } else if response.hovered() {
        ui.painter().rect_filled(rect, 5.0, colors.raised());
    }
    let inner = rect.shrink2(vec2(10.0, 0.0));
    let painter = ui.painter();
    let body = FontId::proportional(BODY);
    let shown = painter.text(inner.left_center(), Align2::LEFT_CENTER, &title, body, colors.ink());
    let key = key_text(ui.ctx(), entry);
    let key_font = FontId::monospace(SMALL);
    let key_rect =
        painter.text(inner.right_center(), Align2::RIGHT_CENTER, key, key_font, colors.muted_ink());
    let help = painter.layout_no_wrap(
        entry.help().to_owned(),
        FontId::proportional(SMALL),
        colors.muted_ink(),
    );
    let left = shown.right() + 12.0;
    // Help that would run into the key is left out rather than cut.
    if left + help.size().x + 12.0 < key_rect.left() {
        let top = inner.center().y - help.size().y / 2.0;
        painter.galley(egui::pos2(left, top), help, colors.muted_ink());
    }
    response
}

fn key_text(ctx: &Context, entry: Entry) -> String {
    match entry {
        Entry::Command(command) => {
            command.key.map_or_else(String::new, |key| crate::ui::widgets::key_name(ctx, &key))
        }
        Entry::Scene(_) => String::new(),
    }
}

fn matches(query: &str, scene: &Scene) -> Vec<Entry> {
    let all = command::ALL
        .iter()
        .filter(|command| command.id != "palette" && command::applies(command, scene))
        .map(Entry::Command)
        .chain(SHIPPED.iter().map(Entry::Scene));
    let mut found: Vec<(i32, Entry)> =
        all.filter_map(|entry| Some((score(query, &entry.title())?, entry))).collect();
    // Stable, so equal scores keep the table's order.
    found.sort_by_key(|(score, _)| -score);
    found.into_iter().map(|(_, entry)| entry).collect()
}

/// How well `query`'s letters appear in `title`, in order; `None` if they do
/// not. Letters that begin words or follow each other count more.
fn score(query: &str, title: &str) -> Option<i32> {
    let title = title.to_lowercase();
    let wanted = query.trim().to_lowercase();
    let whole = title.find(&wanted).filter(|_| !wanted.is_empty());
    let mut total = if whole.is_some() { 50 } else { 0 };
    // A whole word counts where it stands, not where its letters first occur.
    let mut from = whole.map_or(0, |at| title[..at].chars().count());
    let title: Vec<char> = title.chars().collect();
    let mut previous = None;
    for letter in query.to_lowercase().chars().filter(|letter| !letter.is_whitespace()) {
        let at = (from..title.len()).find(|&at| title[at] == letter)?;
        let begins_word = at == 0 || !title[at - 1].is_alphanumeric();
        let follows = previous.is_some_and(|previous: usize| previous + 1 == at);
        total += 1 + if begins_word { 4 } else { 0 } + if follows { 3 } else { 0 };
        total -= (at - from).min(3) as i32;
        previous = Some(at);
        from = at + 1;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_in_order_match_and_words_beat_scraps() {
        assert!(score("xyz", "Undo").is_none());
        assert!(score("sw", "Save scene").is_none());
        assert!(score("new", "New seed") > score("new", "Another ewe"));
        assert_eq!(score("", "Anything"), Some(0));
    }

    #[test]
    fn the_obvious_query_finds_its_command_first() {
        let scene = crate::ui::testing::tiny_scene();
        for (query, id) in [("undo", "undo"), ("gif", "gif-chain"), ("paint", "tool-paint")] {
            let found = matches(query, &scene);
            assert!(
                matches!(found.first(), Some(Entry::Command(command)) if command.id == id),
                "{query}"
            );
        }
        let n_commands = command::ALL.iter().filter(|row| command::applies(row, &scene)).count();
        assert_eq!(matches("", &scene).len(), n_commands - 1 + SHIPPED.len());
    }
}
