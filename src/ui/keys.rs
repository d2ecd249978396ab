//! From key presses to commands.

use eframe::egui::Context;

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
        let is_plain = !shortcut.modifiers.command;
        // Plain keys belong to a focused widget; typing also needs Ctrl+Z.
        let is_text_key = matches!(row.id, "undo" | "redo");
        if (is_plain && has_focus) || (is_text_key && is_typing) {
            continue;
        }
        // Exact modifiers, so that Ctrl+Shift+Z does not also undo.
        let pressed = ctx.input_mut(|input| {
            let exact = input.modifiers.matches_exact(shortcut.modifiers);
            exact && input.consume_key(shortcut.modifiers, shortcut.logical_key)
        });
        if pressed {
            (row.run)(app, ctx);
        }
    }
}
