//! The pendulum itself at the source state: drag its bob to ask from there.

use eframe::egui::{
    CursorIcon, Id, Painter, PointerButton, Pos2, Rect, Role, Sense, Ui, WidgetInfo, vec2,
};

use super::{input, run, source};
use crate::ui::app::App;
use crate::ui::stage::pendulum::{BOB, Pendulum, angle_of};
use crate::ui::stage::{Drag, Handle, episodes};
use crate::ui::theme::Colors;

/// Most faint pendulums, drawn from the model's samples.
const GHOSTS: usize = 96;

/// Draw the pendulum into `rect` and let its bob be dragged.
pub fn show(app: &mut App, ui: &Ui, rect: Rect) {
    let colors = Colors::of(ui.ctx());
    let painter = ui.painter_at(rect);
    let pendulum = Pendulum::in_rect(rect);
    let played = run::now(app).and_then(|(run, step)| run.states.get(step).cloned());
    let recorded = app.data.agent().map(<[f32]>::to_vec);
    let shown = recorded.or(played).unwrap_or_else(|| source(app));
    let &[theta, speed, ..] = shown.as_slice() else { return };
    pendulum.circle(&painter, colors);
    ghosts(app, &painter, &pendulum, colors);
    pendulum.draw(&painter, [theta, speed], colors.start(), colors);
    if !lead(app, ui, pendulum.pivot, rect) {
        grab(app, ui, &pendulum, theta);
    }
}

/// While recording, the pole is pulled towards the pointer from anywhere.
pub fn lead(app: &mut App, ui: &Ui, pivot: Pos2, rect: Rect) -> bool {
    if app.stage.is_mirror {
        return false;
    }
    if app.data.recorder.is_none() {
        return false;
    }
    let response = ui.interact(rect, Id::unique("pendulum pull"), Sense::drag());
    episodes::lead(app, ui, &response, |at| Some([angle_of(pivot, at), 0.0]))
}

/// Where the model says the pendulum will be.
fn ghosts(app: &App, painter: &Painter, pendulum: &Pendulum, colors: Colors) {
    // Samples come with the full answers; until then the last ones stand for
    // another state, and are not shown.
    let Some(frame) = app.field.asking.frame() else { return };
    let samples = frame.model_samples.as_chunks::<2>().0;
    let stride = samples.len().div_ceil(GHOSTS).max(1);
    for [theta, _] in samples.iter().step_by(stride) {
        pendulum.faint(painter, *theta, colors.model().gamma_multiply(0.3));
    }
}

/// Let the bob be dragged.
pub fn grab(app: &mut App, ui: &Ui, pendulum: &Pendulum, theta: f32) {
    if app.stage.is_mirror {
        return;
    }
    let rect = Rect::from_center_size(pendulum.bob(theta), vec2(BOB, BOB) * 2.4);
    let response = ui.interact(rect, Id::unique("pendulum bob"), Sense::drag());
    response.widget_info(|| {
        WidgetInfo::labeled(Role::Button, true, format!("Pendulum at {theta:.2} rad"))
    });
    if response.hovered() {
        ui.ctx().set_cursor_icon(CursorIcon::Grab);
    }
    if response.drag_started() {
        // It is held, so it no longer follows the mouse over the plane.
        input::pin(app);
    }
    if response.dragged_by(PointerButton::Primary) {
        ui.ctx().set_cursor_icon(CursorIcon::Grabbing);
        if let Some(at) = response.interact_pointer_pos() {
            let position = [angle_of(pendulum.pivot, at), 0.0];
            if let Some(position) = app.place.legal(position) {
                app.stage.drag = Some(Drag { handle: Handle::Start, position });
            }
        }
    }
    if response.drag_stopped()
        && let Some(drag) = app.stage.drag.take()
    {
        input::put(app, drag.handle, drag.position);
    }
}
