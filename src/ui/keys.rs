//! From key presses to commands.

use eframe::egui::{Context, Event, KeyboardShortcut};

use super::app::App;
use super::command;

/// Run the commands whose keys were pressed this frame.
pub fn run(app: &mut App, ctx: &Context) {
    // A dialog has the keyboard to itself.
    if app.overlay.is_some() || ctx.any_popup_open() {
        return;
    }
    let has_focus = ctx.egui_wants_keyboard_input();
    let is_typing = ctx.text_edit_focused();
    for row in command::ALL {
        let Some(shortcut) = row.key else { continue };
        if !command::applies(row, app.session.scene()) {
            continue;
        }
        let is_plain = !shortcut.modifiers.command;
        // Plain keys belong to a focused widget; typing also needs Ctrl+Z.
        let is_text_key = matches!(row.id, "undo" | "redo");
        if (is_plain && has_focus) || (is_text_key && is_typing) {
            continue;
        }
        if ctx.input_mut(|input| take(&mut input.events, &shortcut)) {
            (row.run)(app, ctx);
        }
    }
}

/// Take a press of `shortcut` out of the events, if there is one. Its own
/// modifiers decide, exactly, so that Ctrl+Shift+Z does not also undo; those
/// held at the end of the frame may be others.
fn take(events: &mut Vec<Event>, shortcut: &KeyboardShortcut) -> bool {
    let found = events.iter().position(|event| {
        matches!(
            event,
            Event::Key { key, pressed: true, modifiers, .. }
                if *key == shortcut.logical_key && modifiers.matches_exact(shortcut.modifiers)
        )
    });
    found.map(|index| events.remove(index)).is_some()
}
