//! What plans lie on: floor, walls and the shade they cast, the axes, and the
//! words above.

use tiny_skia::LineCap;

use super::canvas::{Align, Canvas, TextStyle};
use super::drawing::Painter;
use super::field::{Axis, named, ticks::ticks};
use super::palette::{Palette, Rgba};
use super::text::Face;

/// Radius of a wall's round corners, in meters.
const CORNER: f32 = 0.22;
/// How far a wall's shade reaches, in meters.
const SHADE: f32 = 0.16;
/// Layers of shade, one over the other.
const SHADE_LAYERS: usize = 12;
/// Most lines of a caption.
const CAPTION_LINES: usize = 2;

impl<C: Canvas> Painter<'_, C> {
    pub(super) fn map(&mut self) {
        self.canvas.layer("floor");
        let is_maze = self.drawing.axes.is_none();
        let radius = if is_maze { CORNER * self.frame.scale } else { 0.0 };
        self.canvas.fill_round(self.frame.plot, [radius; 4], self.palette.floor);
        self.canvas.layer("shade");
        self.shade();
        self.canvas.layer("walls");
        for wall in &self.drawing.walls {
            let radii = wall.round.map(|is_round| if is_round { radius } else { 0.0 });
            self.canvas.fill_round(self.edges(wall.rect), radii, self.palette.wall);
        }
        self.capsules();
        if let Some(goal) = self.drawing.goal
            && self.drawing.goal_radius > 0.0
        {
            self.canvas.layer("goal-region");
            let center = self.frame.place(goal);
            let radius = self.drawing.goal_radius * self.frame.scale;
            self.canvas.fill_circle(center, radius, self.palette.goal.with_alpha(0.10));
            let line = self.palette.goal.with_alpha(0.35);
            self.canvas.ring(center, radius, 1.2 * self.frame.unit, line);
        }
    }

    /// Walls with round ends, cut off at the map's edge.
    fn capsules(&mut self) {
        for capsule in &self.drawing.capsules {
            let line = self.placed(&capsule.ends);
            let width = 2.0 * capsule.radius * self.frame.scale;
            self.canvas.polyline(&line, width, self.palette.wall, LineCap::Round);
        }
        let reach = self.drawing.capsules.iter().map(|capsule| capsule.radius);
        let reach = reach.fold(0.0, f32::max) * self.frame.scale + 2.0;
        if !self.drawing.capsules.is_empty() {
            for strip in around(self.frame.plot, reach) {
                self.canvas.fill_crisp(strip, self.palette.background);
            }
        }
    }

    /// Left, top, right and bottom of a rectangle on the map.
    fn edges(&self, [x_min, y_min, x_max, y_max]: [f32; 4]) -> [f32; 4] {
        let [left, top] = self.frame.place([x_min, y_min]);
        let [right, bottom] = self.frame.place([x_max, y_max]);
        [left, top, right, bottom]
    }

    /// Darkest at the wall, gone a little way off: ever narrower layers, each
    /// the union of all walls, so that neighbors do not add up.
    fn shade(&mut self) {
        let is_dark = std::ptr::eq(self.palette, Palette::of(super::Mode::Dark));
        let deepest: f32 = if is_dark { 0.42 } else { 0.13 };
        let alpha = 1.0 - (1.0 - deepest).powf(1.0 / SHADE_LAYERS as f32);
        let ink = Rgba::hex(0x05070a).with_alpha(alpha);
        let walls: Vec<_> =
            self.drawing.walls.iter().map(|wall| (self.edges(wall.rect), wall.round)).collect();
        let corner = CORNER * self.frame.scale;
        for layer in 1..=SHADE_LAYERS {
            let reach = SHADE * self.frame.scale * layer as f32 / SHADE_LAYERS as f32;
            let grown = walls.iter().map(|&(edges, round)| {
                let (edges, by) = grown(edges, reach, self.frame.plot);
                let radius = |index: usize, sides: [usize; 2]| {
                    let round = if round[index] { corner } else { 0.0 };
                    round + by[sides[0]].min(by[sides[1]])
                };
                (
                    edges,
                    [radius(0, [0, 1]), radius(1, [1, 2]), radius(2, [2, 3]), radius(3, [3, 0])],
                )
            });
            self.canvas.fill_union(grown, ink);
        }
    }

    pub(super) fn axes(&mut self) {
        self.canvas.layer("axes");
        if let Some(axes) = &self.drawing.axes {
            return self.own_axes(axes);
        }
        let unit = self.frame.unit;
        let [left, top, right, bottom] = self.frame.plot;
        let [x_ticks, y_ticks] = self.frame.ticks();
        let label = self.style(Face::Regular, 13.0, self.palette.muted_ink);
        let to_right = TextStyle { align: Align::Right, ..label };
        let center = TextStyle { align: Align::Center, ..label };
        let width = 1.2 * unit;
        for x in x_ticks {
            let [_, at] = self.frame.place([x, 0.0]);
            let mark = [[left - 5.0 * unit, at], [left, at]];
            self.canvas.polyline(&mark, width, self.palette.muted_ink, LineCap::Butt);
            self.canvas.text(&number(x), [left - 9.0 * unit, at + 4.5 * unit], to_right);
        }
        // The axis' name has the end of the row to itself.
        let name_width = label.face.width("y (m)", label.size);
        let last = right - name_width - 12.0 * unit;
        for y in y_ticks {
            let [at, _] = self.frame.place([0.0, y]);
            let mark = [[at, bottom], [at, bottom + 5.0 * unit]];
            self.canvas.polyline(&mark, width, self.palette.muted_ink, LineCap::Butt);
            if at <= last {
                self.canvas.text(&number(y), [at, bottom + 20.0 * unit], center);
            }
        }
        self.canvas.text("x (m)", [left - 9.0 * unit, top - 8.0 * unit], to_right);
        self.canvas.text("y (m)", [right, bottom + 20.0 * unit], to_right);
    }

    /// What runs to the right along the lower edge, what runs up at the left.
    fn own_axes(&mut self, [across, up]: &[Axis; 2]) {
        let unit = self.frame.unit;
        let muted = self.palette.muted_ink;
        let [left, top, right, bottom] = self.frame.plot;
        let label = self.style(Face::Regular, 13.0, muted);
        let to_right = TextStyle { align: Align::Right, ..label };
        let center = TextStyle { align: Align::Center, ..label };
        let share = |axis: &Axis, value: f32| (value - axis.low) / (axis.high - axis.low);
        let least = |pixels: f32, axis: &Axis| 44.0 * unit * (axis.high - axis.low) / pixels;
        let name = named(across);
        // The axis' name has the end of the row to itself.
        let last = right - label.face.width(&name, label.size) - 12.0 * unit;
        for (value, text) in ticks(across, least(right - left, across)) {
            let at = left + share(across, value) * (right - left);
            let mark = [[at, bottom], [at, bottom + 5.0 * unit]];
            self.canvas.polyline(&mark, 1.2 * unit, muted, LineCap::Butt);
            if at <= last {
                self.canvas.text(&text, [at, bottom + 20.0 * unit], center);
            }
        }
        self.canvas.text(&name, [right, bottom + 20.0 * unit], to_right);
        for (value, text) in ticks(up, least(bottom - top, up)) {
            let at = bottom - share(up, value) * (bottom - top);
            let mark = [[left - 5.0 * unit, at], [left, at]];
            self.canvas.polyline(&mark, 1.2 * unit, muted, LineCap::Butt);
            self.canvas.text(&text, [left - 9.0 * unit, at + 4.5 * unit], to_right);
        }
        let corner = [self.frame.inner[0], top - 11.0 * unit];
        self.canvas.text(&named(up), corner, label);
    }

    /// Title, moment and caption. The caption ends right above the map.
    pub(super) fn words(&mut self) {
        self.canvas.layer("words");
        let unit = self.frame.unit;
        let [left, top, right, _] = self.frame.inner;
        let caption = self.style(Face::Regular, 13.5, self.palette.muted_ink);
        let lines =
            caption.face.wrap(&self.drawing.caption, caption.size, right - left, CAPTION_LINES);
        let missing = CAPTION_LINES.saturating_sub(lines.len().max(1));
        let mut baseline = top + (17.0 + 12.0 * missing as f32) * unit;
        let status = TextStyle {
            align: Align::Right,
            ..self.style(Face::SemiBold, 15.0, self.palette.muted_ink)
        };
        self.canvas.text(&self.drawing.status, [right, baseline], status);
        let taken = match self.drawing.status.as_str() {
            "" => 0.0,
            text => status.face.width(text, status.size) + 16.0 * unit,
        };
        let title = self.style(Face::SemiBold, 19.0, self.palette.ink);
        let text = title.face.fit(&self.drawing.title, title.size, right - left - taken);
        self.canvas.text(&text, [left, baseline], title);
        baseline += 21.0 * unit;
        for line in lines {
            self.canvas.text(&line, [left, baseline], caption);
            baseline += 18.0 * unit;
        }
    }

    pub(super) fn style(&self, face: Face, size: f32, color: Rgba) -> TextStyle {
        TextStyle { face, size: size * self.frame.unit, color, align: Align::Left }
    }
}

/// What lies beyond a rectangle, so far out.
fn around([left, top, right, bottom]: [f32; 4], reach: f32) -> [[f32; 4]; 4] {
    [
        [left - reach, top - reach, left, bottom + reach],
        [right, top - reach, right + reach, bottom + reach],
        [left, top - reach, right, top],
        [left, bottom, right, bottom + reach],
    ]
}

/// Edges moved out by `reach` but not beyond a limit, and how far each moved.
fn grown(edges: [f32; 4], reach: f32, limit: [f32; 4]) -> ([f32; 4], [f32; 4]) {
    let moved = [
        (edges[0] - reach).max(limit[0]),
        (edges[1] - reach).max(limit[1]),
        (edges[2] + reach).min(limit[2]),
        (edges[3] + reach).min(limit[3]),
    ];
    (moved, [0, 1, 2, 3].map(|i| (moved[i] - edges[i]).abs().round()))
}

/// A number without needless zeros.
pub(super) fn number(value: f32) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_no_needless_zeros() {
        assert_eq!([0.0, 0.5, 10.0, -1.25].map(number), ["0", "0.5", "10", "-1.25"]);
    }
}
