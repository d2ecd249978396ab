//! What lies over the window: dialogs and notices.

pub mod key_map;
pub mod notices;
pub mod palette;
pub mod path_dialog;

use eframe::egui::{Context, Frame, Id, Modal, Ui};

use super::app::App;
use super::theme::{Colors, TITLE, strong};

/// The dialog that is open.
pub enum Overlay {
    /// All commands.
    Palette(palette::Palette),
    /// All keys.
    Keys,
    /// A path to open or to write to.
    Path(path_dialog::PathDialog),
}

/// Something to do once the dialog is gone.
pub type Act = Box<dyn FnOnce(&mut App, &Context)>;

/// What a dialog asks of its owner.
pub enum Outcome {
    /// Stay open.
    Stay,
    /// Go away.
    Close,
    /// Go away and run this.
    Then(Act),
}

/// Show notices and the open dialog.
pub fn show(app: &mut App, ctx: &Context) {
    notices::show(app, ctx);
    // Taken out while it runs, so that what it starts may open another.
    let Some(mut overlay) = app.overlay.take() else { return };
    let outcome = match &mut overlay {
        Overlay::Palette(palette) => palette.show(ctx, app.session.scene()),
        Overlay::Keys => key_map::show(ctx, app.session.scene()),
        Overlay::Path(dialog) => dialog.show(ctx, app.files.is_picking()),
    };
    match outcome {
        Outcome::Stay => app.overlay = Some(overlay),
        Outcome::Close => {}
        Outcome::Then(act) => act(app, ctx),
    }
}

/// A dialog of `width` in the middle of the window. Returns what `content`
/// returned, or [`Outcome::Close`] after Escape or a click beside it.
fn dialog(
    ctx: &Context,
    id: &str,
    width: f32,
    content: impl FnOnce(&mut Ui) -> Outcome,
) -> Outcome {
    let colors = Colors::of(ctx);
    let style = ctx.global_style();
    let frame = Frame::window(&style).inner_margin(16.0);
    let modal = Modal::new(Id::unique(id)).frame(frame).backdrop_color(colors.shade(0.45));
    let response = modal.show(ctx, |ui| {
        ui.set_width(width);
        content(ui)
    });
    if response.should_close() && matches!(response.inner, Outcome::Stay) {
        Outcome::Close
    } else {
        response.inner
    }
}

/// The title of a dialog.
fn title(ui: &mut Ui, text: &str) {
    ui.label(strong(text, TITLE));
}
