//! The pendulum itself at the source state: drag its bob to ask from there.

use std::f32::consts::PI;

use eframe::egui::{
    Align2, CursorIcon, FontId, Id, Painter, PointerButton, Pos2, Rect, Role, Sense, Shape, Stroke,
    Ui, WidgetInfo, pos2, vec2,
};

use super::{input, run, source};
use crate::ui::app::App;
use crate::ui::stage::{Drag, Handle, episodes};
use crate::ui::theme::{Colors, SMALL};

/// Most faint pendulums, drawn from the model's samples.
const GHOSTS: usize = 96;
/// Radius of the bob in points.
pub const BOB: f32 = 13.0;
/// Angular velocity that a full half turn of the arrow stands for, in rad/s.
const FULL_SPEED: f32 = 8.0;

/// Draw the pendulum into `rect` and let its bob be dragged.
pub fn show(app: &mut App, ui: &Ui, rect: Rect) {
    let colors = Colors::of(ui.ctx());
    let painter = ui.painter_at(rect);
    let pivot = rect.center();
    let length = (rect.width().min(rect.height()) / 2.0 - 2.5 * BOB).max(20.0);
    let played = run::now(app).and_then(|(run, step)| run.states.get(step).cloned());
    let recorded = app.data.agent().map(<[f32]>::to_vec);
    let shown = recorded.or(played).unwrap_or_else(|| source(app));
    let (theta, speed) = match shown.as_slice() {
        [theta, speed, ..] => (*theta, *speed),
        _ => return,
    };
    painter.circle_stroke(pivot, length, Stroke::new(1.0, colors.line()));
    ghosts(app, &painter, pivot, length, colors);
    let bob = bob_at(pivot, length, theta);
    painter.line_segment([pivot, bob], Stroke::new(5.0, colors.wall()));
    painter.circle_filled(pivot, 5.0, colors.muted_ink());
    arrow(&painter, pivot, length + BOB + 7.0, theta, speed, colors);
    painter.circle_filled(bob, BOB + 2.0, colors.chosen_halo());
    painter.circle_filled(bob, BOB, colors.start());
    let place = pos2(rect.left() + 16.0, rect.bottom() - 30.0);
    for (line, text) in
        [format!("θ     {theta:5.2} rad"), format!("dθ/dt {speed:5.2} rad/s")].iter().enumerate()
    {
        let at = place + vec2(0.0, 16.0 * line as f32);
        let font = FontId::monospace(SMALL);
        painter.text(at, Align2::LEFT_CENTER, text, font, colors.muted_ink());
    }
    if !lead(app, ui, pivot, rect) {
        grab(app, ui, pivot, bob, theta);
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

/// Where the bob is; positive angles are counterclockwise from the top.
pub fn bob_at(pivot: Pos2, length: f32, theta: f32) -> Pos2 {
    pivot + vec2(-theta.sin(), -theta.cos()) * length
}

/// The angle of a bob at a place.
pub fn angle_of(pivot: Pos2, at: Pos2) -> f32 {
    let off = pivot - at;
    off.x.atan2(off.y)
}

/// Where the model says the pendulum will be.
fn ghosts(app: &App, painter: &Painter, pivot: Pos2, length: f32, colors: Colors) {
    // Samples come with the full answers; until then the last ones stand for
    // another state, and are not shown.
    let Some(frame) = app.field.asking.frame() else { return };
    let samples = frame.model_samples.as_chunks::<2>().0;
    let stride = samples.len().div_ceil(GHOSTS).max(1);
    for [theta, _] in samples.iter().step_by(stride) {
        let end = bob_at(pivot, length, *theta);
        let start = bob_at(pivot, length * 0.82, *theta);
        let ink = colors.model().gamma_multiply(0.3);
        painter.line_segment([start, end], Stroke::new(2.0, ink));
    }
}

/// An arc from the bob as long as it is fast.
pub fn arrow(painter: &Painter, pivot: Pos2, radius: f32, theta: f32, speed: f32, colors: Colors) {
    let turn = (speed / FULL_SPEED).clamp(-1.0, 1.0) * PI / 2.0;
    if turn.abs() < 0.03 {
        return;
    }
    let points: Vec<Pos2> =
        (0..=24).map(|i| bob_at(pivot, radius, theta + turn * i as f32 / 24.0)).collect();
    let stroke = Stroke::new(2.5, colors.trail());
    painter.add(Shape::line(points, stroke));
    let tip = theta + turn;
    let back = tip - 0.09 * turn.signum();
    let head = [bob_at(pivot, radius, tip), bob_at(pivot, radius + 5.0, back)];
    painter.line_segment(head, stroke);
    painter.line_segment([head[0], bob_at(pivot, radius - 5.0, back)], stroke);
}

pub fn grab(app: &mut App, ui: &Ui, pivot: Pos2, bob: Pos2, theta: f32) {
    if app.stage.is_mirror {
        return;
    }
    let rect = Rect::from_center_size(bob, vec2(BOB, BOB) * 2.4);
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
            let position = [angle_of(pivot, at), 0.0];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bob_is_where_its_angle_says_and_up_is_zero() {
        let pivot = pos2(100.0, 100.0);
        assert!(bob_at(pivot, 50.0, 0.0).distance(pos2(100.0, 50.0)) < 1e-4);
        for theta in [-3.0, -1.0, 0.0, 0.5, 2.9] {
            assert!((angle_of(pivot, bob_at(pivot, 50.0, theta)) - theta).abs() < 1e-5);
        }
    }
}
