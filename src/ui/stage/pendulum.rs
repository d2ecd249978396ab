//! What a pendulum looks like, wherever one is shown.

use std::f32::consts::PI;

use eframe::egui::{Align2, Color32, FontId, Painter, Pos2, Rect, Shape, Stroke, pos2, vec2};

use crate::ui::theme::{Colors, SMALL};

/// Radius of the bob in points.
pub const BOB: f32 = 13.0;
/// Angular velocity that a full half turn of the arrow stands for, in rad/s.
const FULL_SPEED: f32 = 8.0;
/// Where a faint rod begins, as a share of the length.
const FAINT_FROM: f32 = 0.82;

/// A pendulum in a rectangle of the screen.
#[derive(Clone, Copy)]
pub struct Pendulum {
    rect: Rect,
    /// Where it hangs.
    pub pivot: Pos2,
    length: f32,
}

impl Pendulum {
    /// As large as it can swing in `rect`.
    pub fn in_rect(rect: Rect) -> Self {
        let length = (rect.width().min(rect.height()) / 2.0 - 2.5 * BOB).max(20.0);
        Self { rect, pivot: rect.center(), length }
    }

    /// Where the bob is; positive angles are counterclockwise from the top.
    pub fn bob(&self, theta: f32) -> Pos2 {
        self.at(1.0, theta)
    }

    fn at(&self, share: f32, theta: f32) -> Pos2 {
        self.pivot + vec2(-theta.sin(), -theta.cos()) * (share * self.length)
    }

    /// The circle of the bob, behind everything else.
    pub fn circle(&self, painter: &Painter, colors: Colors) {
        painter.circle_stroke(self.pivot, self.length, Stroke::new(1.0, colors.line()));
    }

    /// The outer end of another pendulum.
    pub fn faint(&self, painter: &Painter, theta: f32, ink: Color32) {
        let rod = [self.at(FAINT_FROM, theta), self.bob(theta)];
        painter.line_segment(rod, Stroke::new(2.0, ink));
    }

    /// The pendulum with a bob of color `ink`, how fast it is, and both numbers
    /// in the corner.
    pub fn draw(&self, painter: &Painter, [theta, speed]: [f32; 2], ink: Color32, colors: Colors) {
        let bob = self.bob(theta);
        painter.line_segment([self.pivot, bob], Stroke::new(5.0, colors.wall()));
        painter.circle_filled(self.pivot, 5.0, colors.muted_ink());
        self.arrow(painter, theta, speed, colors);
        painter.circle_filled(bob, BOB + 2.0, colors.chosen_halo());
        painter.circle_filled(bob, BOB, ink);
        let lines = [format!("θ     {theta:5.2} rad"), format!("dθ/dt {speed:5.2} rad/s")];
        let place = pos2(self.rect.left() + 16.0, self.rect.bottom() - 30.0);
        for (line, text) in lines.iter().enumerate() {
            let at = place + vec2(0.0, 16.0 * line as f32);
            let font = FontId::monospace(SMALL);
            painter.text(at, Align2::LEFT_CENTER, text, font, colors.muted_ink());
        }
    }

    /// An arc from the bob as long as it is fast.
    fn arrow(&self, painter: &Painter, theta: f32, speed: f32, colors: Colors) {
        let turn = (speed / FULL_SPEED).clamp(-1.0, 1.0) * PI / 2.0;
        if turn.abs() < 0.03 {
            return;
        }
        let out = |by: f32, theta| self.at(1.0 + (BOB + by) / self.length, theta);
        let points: Vec<Pos2> =
            (0..=24).map(|i| out(7.0, theta + turn * i as f32 / 24.0)).collect();
        let stroke = Stroke::new(2.5, colors.trail());
        painter.add(Shape::line(points, stroke));
        let tip = theta + turn;
        let back = tip - 0.09 * turn.signum();
        for by in [12.0, 2.0] {
            painter.line_segment([out(7.0, tip), out(by, back)], stroke);
        }
    }
}

/// The angle of a bob at a place.
pub fn angle_of(pivot: Pos2, at: Pos2) -> f32 {
    let off = pivot - at;
    off.x.atan2(off.y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bob_is_where_its_angle_says_and_up_is_zero() {
        let pendulum = Pendulum::in_rect(Rect::from_min_size(pos2(0.0, 0.0), vec2(200.0, 300.0)));
        let up = pendulum.bob(0.0);
        assert!(up.x == pendulum.pivot.x && up.y < pendulum.pivot.y);
        for theta in [-3.0, -1.0, 0.0, 0.5, 2.9] {
            let bob = pendulum.bob(theta);
            assert!((angle_of(pendulum.pivot, bob) - theta).abs() < 1e-5);
            assert!(bob.distance(pendulum.pivot) + BOB < 100.0, "it fits");
        }
    }
}
