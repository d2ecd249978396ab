//! The pendulum itself beside its phase plane: where it is at the clock, and
//! where the chosen plan swings it. Drag its bob to start elsewhere.

use eframe::egui::{
    Align2, CursorIcon, FontId, Id, PointerButton, Rect, Role, Sense, Stroke, Ui, WidgetInfo, pos2,
    vec2,
};

use super::field::pendulum::{BOB, angle_of, arrow, bob_at};
use super::{Handle, input};
use crate::ui::app::App;
use crate::ui::rollouts::state_at;
use crate::ui::theme::{self, Colors, SMALL};

/// Draw the pendulum into `rect` and let its bob be dragged.
pub fn show(app: &mut App, ui: &Ui, rect: Rect) {
    let colors = Colors::of(ui.ctx());
    let painter = ui.painter_at(rect);
    let pivot = rect.center();
    let length = (rect.width().min(rect.height()) / 2.0 - 2.5 * BOB).max(20.0);
    let [theta, speed] = state(app);
    painter.circle_stroke(pivot, length, Stroke::new(1.0, colors.line()));
    if let Some(plan) = app.live.followed(&app.transport).and_then(|film| film.plan.as_ref()) {
        let last = plan.states.len().saturating_sub(1).max(1) as f32;
        for (index, state) in plan.states.iter().enumerate() {
            let Some(theta) = state.first() else { continue };
            let ink = theme::time(index as f32 / last).gamma_multiply(0.7);
            let rod = [bob_at(pivot, 0.82 * length, *theta), bob_at(pivot, length, *theta)];
            painter.line_segment(rod, Stroke::new(2.0, ink));
        }
    }
    let bob = bob_at(pivot, length, theta);
    painter.line_segment([pivot, bob], Stroke::new(5.0, colors.wall()));
    painter.circle_filled(pivot, 5.0, colors.muted_ink());
    arrow(&painter, pivot, length + BOB + 7.0, theta, speed, colors);
    painter.circle_filled(bob, BOB + 2.0, colors.chosen_halo());
    painter.circle_filled(bob, BOB, colors.agent());
    let lines = [format!("θ     {theta:5.2} rad"), format!("dθ/dt {speed:5.2} rad/s")];
    for (line, text) in lines.iter().enumerate() {
        let at = pos2(rect.left() + 16.0, rect.bottom() - 30.0) + vec2(0.0, 16.0 * line as f32);
        painter.text(at, Align2::LEFT_CENTER, text, FontId::monospace(SMALL), colors.muted_ink());
    }
    let catch = Rect::from_center_size(bob, vec2(BOB, BOB) * 2.4);
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
        input::drag_to_place(app, Handle::Start, [angle_of(pivot, at), 0.0]);
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
