//! Start, goal, waypoints and the body, above all lines.

use super::canvas::{Canvas, TextStyle};
use super::drawing::Painter;
use super::palette::Rgba;
use super::text::Face;

/// Radius of a mark.
const MARK_RADIUS: f32 = 8.5;
/// A body smaller than this could not be seen.
const LEAST_BODY_RADIUS: f32 = 6.0;

impl<C: Canvas> Painter<'_, C> {
    pub(super) fn marks(&mut self) {
        let radius = MARK_RADIUS * self.frame.unit;
        self.waypoints(radius);
        if let Some(start) = self.drawing.start {
            self.canvas.layer("start");
            let center = self.frame.place(start);
            self.start_mark(center, radius, self.palette.floor);
        }
        if let Some(goal) = self.drawing.goal {
            self.canvas.layer("goal");
            let center = self.frame.place(goal);
            self.goal_mark(center, radius, self.palette.floor);
        }
        if let Some(agent) = self.drawing.agent {
            self.canvas.layer("ball");
            self.body(self.frame.place(agent));
        }
    }

    /// A ring, open in the middle.
    pub(super) fn start_mark(&mut self, center: [f32; 2], radius: f32, under: Rgba) {
        let halo = shade(0.35);
        self.canvas.fill_circle(center, radius, under);
        self.canvas.ring(center, radius, 0.62 * radius, halo);
        self.canvas.ring(center, 0.95 * radius, 0.34 * radius, self.palette.start);
    }

    /// A disk with a dot in it.
    pub(super) fn goal_mark(&mut self, center: [f32; 2], radius: f32, under: Rgba) {
        self.canvas.fill_circle(center, 1.16 * radius, shade(0.35));
        self.canvas.fill_circle(center, radius, self.palette.goal);
        self.canvas.fill_circle(center, 0.58 * radius, under);
        self.canvas.fill_circle(center, 0.30 * radius, self.palette.goal);
    }

    fn waypoints(&mut self, radius: f32) {
        self.canvas.layer("waypoints");
        let unit = self.frame.unit;
        let label: TextStyle = self.style(Face::Regular, 12.5, self.palette.ink);
        for waypoint in &self.drawing.waypoints {
            let center = self.frame.place(waypoint.position);
            self.canvas.fill_diamond(center, radius + 2.0 * unit, shade(0.4));
            self.canvas.fill_diamond(center, radius, self.palette.guidance);
            self.canvas.fill_diamond(center, 0.5 * radius, self.palette.floor);
            let text = format!("{:.0} %", 100.0 * waypoint.fraction);
            let at = [center[0] + radius + 6.0 * unit, center[1] + 4.5 * unit];
            self.canvas.text(&text, at, label);
        }
    }

    /// A ball, true to size where that can be seen, lit from the upper left.
    fn body(&mut self, [x, y]: [f32; 2]) {
        let unit = self.frame.unit;
        let radius = (self.drawing.body_radius * self.frame.scale).max(LEAST_BODY_RADIUS * unit);
        self.canvas.fill_circle([x, y + 0.30 * radius], 1.22 * radius, shade(0.16));
        self.canvas.fill_circle([x, y + 0.22 * radius], 1.12 * radius, shade(0.16));
        self.canvas.fill_circle([x, y], radius + 1.5 * unit, self.palette.chosen_halo);
        self.canvas.fill_circle([x, y], radius, self.palette.agent);
        let light = [x - 0.30 * radius, y - 0.35 * radius];
        self.canvas.fill_circle(light, 0.28 * radius, self.palette.floor.with_alpha(0.35));
    }
}

fn shade(alpha: f32) -> Rgba {
    Rgba::hex(0x05070a).with_alpha(alpha)
}
