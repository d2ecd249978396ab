//! The pendulum itself where it is at the clock, and where the plan swings it:
//! drag its bob to start elsewhere.

use eframe::egui::{Align2, FontId, Rect, Stroke, Ui, pos2, vec2};

use crate::ui::app::App;
use crate::ui::stage::field::pendulum::{BOB, arrow, bob_at, grab, lead};
use crate::ui::theme::{self, Colors, SMALL};

/// Draw the pendulum into `rect` and let its bob be dragged.
pub fn show(app: &mut App, ui: &Ui, rect: Rect) {
    let colors = Colors::of(ui.ctx());
    let painter = ui.painter_at(rect);
    let pivot = rect.center();
    let length = (rect.width().min(rect.height()) / 2.0 - 2.5 * BOB).max(20.0);
    let is_held = app.stage.drag().is_some();
    let state = super::state(app).filter(|_| !is_held);
    let [theta, speed] = match state.as_deref() {
        Some([theta, speed, ..]) => [*theta, *speed],
        _ => app.stage_now().start,
    };
    painter.circle_stroke(pivot, length, Stroke::new(1.0, colors.line()));
    planned(app, &painter, |length_share, theta| bob_at(pivot, length * length_share, theta));
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
    if lead(app, ui, pivot, rect) {
        return;
    }
    grab(app, ui, pivot, bob, theta);
    if app.stage.drag().is_some() {
        super::input::hold(app);
    } else if is_held {
        super::input::release(app);
    }
}

/// The planned angles as faint rods, colored by time.
fn planned(
    app: &App,
    painter: &eframe::egui::Painter,
    at: impl Fn(f32, f32) -> eframe::egui::Pos2,
) {
    let Some(shown) = app.tree.shown(&app.transport) else { return };
    let last = shown.plan.states.len().saturating_sub(1).max(1) as f32;
    for (index, state) in shown.plan.states.iter().enumerate() {
        if let Some(theta) = state.first() {
            let ink = theme::time(index as f32 / last).gamma_multiply(0.7);
            let rod = [at(0.82, *theta), at(1.0, *theta)];
            painter.line_segment(rod, Stroke::new(2.0, ink));
        }
    }
}
