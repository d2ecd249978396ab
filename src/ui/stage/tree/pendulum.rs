//! The pendulum itself where it is at the clock, and where the plan swings it:
//! drag its bob to start elsewhere.

use eframe::egui::{Painter, Rect, Ui};

use crate::ui::app::App;
use crate::ui::stage::field::pendulum::{grab, lead};
use crate::ui::stage::pendulum::Pendulum;
use crate::ui::theme::{self, Colors};

/// Draw the pendulum into `rect` and let its bob be dragged.
pub fn show(app: &mut App, ui: &Ui, rect: Rect) {
    let colors = Colors::of(ui.ctx());
    let painter = ui.painter_at(rect);
    let pendulum = Pendulum::in_rect(rect);
    let is_held = app.stage.drag().is_some();
    let state = super::state(app).filter(|_| !is_held);
    let [theta, speed] = match state.as_deref() {
        Some([theta, speed, ..]) => [*theta, *speed],
        _ => app.stage_now().start,
    };
    pendulum.circle(&painter, colors);
    planned(app, &painter, &pendulum);
    pendulum.draw(&painter, [theta, speed], colors.agent(), colors);
    if lead(app, ui, pendulum.pivot, rect) {
        return;
    }
    grab(app, ui, &pendulum, theta);
    if app.stage.drag().is_some() {
        super::input::hold(app);
    } else if is_held {
        super::input::release(app);
    }
}

/// The planned angles as faint rods, colored by time.
fn planned(app: &App, painter: &Painter, pendulum: &Pendulum) {
    let Some(shown) = app.tree.shown(&app.transport) else { return };
    let last = shown.plan.states.len().saturating_sub(1).max(1) as f32;
    for (index, state) in shown.plan.states.iter().enumerate() {
        if let Some(theta) = state.first() {
            let ink = theme::time(index as f32 / last).gamma_multiply(0.7);
            pendulum.faint(painter, *theta, ink);
        }
    }
}
