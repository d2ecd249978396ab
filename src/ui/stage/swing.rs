//! The pendulum itself beside its phase plane: where it is at the clock, and
//! where the chosen plan swings it. Drag its bob to start elsewhere.

use eframe::egui::{CursorIcon, Id, PointerButton, Rect, Role, Sense, Ui, WidgetInfo, vec2};

use super::pendulum::{BOB, Pendulum, angle_of};
use super::{Handle, input};
use crate::ui::app::App;
use crate::ui::rollouts::state_at;
use crate::ui::theme::{self, Colors};

/// Draw the pendulum into `rect` and let its bob be dragged.
pub fn show(app: &mut App, ui: &Ui, rect: Rect) {
    let colors = Colors::of(ui.ctx());
    let painter = ui.painter_at(rect);
    let pendulum = Pendulum::in_rect(rect);
    let [theta, speed] = state(app);
    pendulum.circle(&painter, colors);
    if let Some(plan) = app.live.followed(&app.transport).and_then(|film| film.plan.as_ref()) {
        let last = plan.states.len().saturating_sub(1).max(1) as f32;
        for (index, state) in plan.states.iter().enumerate() {
            let Some(theta) = state.first() else { continue };
            let ink = theme::time(index as f32 / last).gamma_multiply(0.7);
            pendulum.faint(&painter, *theta, ink);
        }
    }
    pendulum.draw(&painter, [theta, speed], colors.agent(), colors);
    let catch = Rect::from_center_size(pendulum.bob(theta), vec2(BOB, BOB) * 2.4);
    let response = ui.interact(catch, Id::unique("swing bob"), Sense::drag());
    response.widget_info(|| {
        WidgetInfo::labeled(Role::Button, true, format!("Pendulum at {theta:.2} rad"))
    });
    if response.hovered() {
        ui.ctx().set_cursor_icon(CursorIcon::Grab);
    }
    if response.dragged_by(PointerButton::Primary)
        && let Some(at) = response.interact_pointer_pos()
    {
        ui.ctx().set_cursor_icon(CursorIcon::Grabbing);
        input::drag_to_place(app, Handle::Start, [angle_of(pendulum.pivot, at), 0.0]);
    }
    if response.drag_stopped() {
        input::drop_handle(app);
    }
}

/// Angle and angular velocity at the clock, or of the start while that is held.
fn state(app: &App) -> [f32; 2] {
    let played = app.live.rollout().filter(|_| app.stage.drag().is_none());
    let state = played.map(|rollout| state_at(rollout, app.transport.time_secs));
    match state.as_deref() {
        Some([theta, speed, ..]) => [*theta, *speed],
        _ => app.stage_now().start,
    }
}
