//! A maze with its plans, drawn to be read: axes with units, a legend, and the
//! chosen plan above everything else.

use tiny_skia::LineCap;

use super::PictureError;
use super::canvas::{Align, Canvas, TextStyle};
use super::frame::{Frame, fitting_size};
use super::palette::{Mode, Palette, Rgba, time_color};
use super::text::Face;

/// Colors a plan passes through from its start to its end.
const TIME_BANDS: usize = 48;

/// A candidate plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Polyline {
    /// Positions at equal steps of the plan's time.
    pub points: Vec<[f32; 2]>,
    /// Whether it keeps clear of walls and within the speed limit.
    pub feasible: bool,
}

/// Everything one picture shows. Positions are in meters, x to the right and y
/// up; what is empty is not drawn and not in the legend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawing {
    /// `[x_min, y_min, x_max, y_max]` of the map.
    pub bounds: [f32; 4],
    /// `[x_min, y_min, x_max, y_max]` of every wall.
    pub walls: Vec<[f32; 4]>,
    /// Plans that were considered.
    pub candidates: Vec<Polyline>,
    /// Points that are still noise.
    pub noise: Vec<[f32; 2]>,
    /// The plan that was selected.
    pub chosen: Vec<[f32; 2]>,
    /// Where the body has been.
    pub trail: Vec<[f32; 2]>,
    /// Where plans start.
    pub start: Option<[f32; 2]>,
    /// Where they should end.
    pub goal: Option<[f32; 2]>,
    /// Distance from the goal that counts as there, in meters.
    pub goal_radius: f32,
    /// Where the body is.
    pub agent: Option<[f32; 2]>,
    /// What the picture shows, in a few words.
    pub title: String,
    /// Seed, score and the like, in one line.
    pub caption: String,
    /// How long the chosen plan takes, for the legend.
    pub plan_secs: Option<f32>,
}

/// What every part of the drawing needs.
pub(super) struct Painter<'a> {
    pub canvas: Canvas,
    pub frame: Frame,
    pub palette: &'static Palette,
    pub drawing: &'a Drawing,
}

impl Drawing {
    /// A size with the given long side whose proportions suit the map.
    pub fn fitting_size(&self, long_side: u32) -> [u32; 2] {
        fitting_size(self.bounds, long_side)
    }

    /// The picture's pixels: red, green, blue, alpha, row by row.
    ///
    /// # Errors
    /// A size or bounds that make no picture.
    pub fn paint(&self, size: [u32; 2], mode: Mode) -> Result<Vec<u8>, PictureError> {
        let palette = Palette::of(mode);
        let canvas = Canvas::new(size, palette.background)?;
        let frame = Frame::new(self.bounds, size)?;
        let mut painter = Painter { canvas, frame, palette, drawing: self };
        painter.map();
        painter.axes();
        painter.plans();
        painter.marks();
        painter.words();
        painter.legend();
        Ok(painter.canvas.into_rgba())
    }
}

impl Painter<'_> {
    fn map(&mut self) {
        self.canvas.fill_crisp(self.frame.plot, self.palette.floor);
        for &[x_min, y_min, x_max, y_max] in &self.drawing.walls {
            let [left, bottom] = self.frame.place([x_min, y_min]);
            let [right, top] = self.frame.place([x_max, y_max]);
            self.canvas.fill_crisp([left, top, right, bottom], self.palette.wall);
        }
        if let Some(goal) = self.drawing.goal
            && self.drawing.goal_radius > 0.0
        {
            let center = self.frame.place(goal);
            let radius = self.drawing.goal_radius * self.frame.scale;
            self.canvas.fill_circle(center, radius, self.palette.goal.with_alpha(0.10));
            let line = self.palette.goal.with_alpha(0.45);
            self.canvas.ring(center, radius, 1.2 * self.frame.unit, line);
        }
    }

    fn axes(&mut self) {
        let unit = self.frame.unit;
        let [left, top, right, bottom] = self.frame.plot;
        let [x_ticks, y_ticks] = self.frame.ticks();
        let label = self.style(Face::Regular, 13.0, self.palette.muted_ink);
        let width = 1.2 * unit;
        for x in x_ticks {
            let [at, _] = self.frame.place([x, 0.0]);
            let mark = [[at, bottom], [at, bottom + 5.0 * unit]];
            self.canvas.polyline(&mark, width, self.palette.muted_ink, LineCap::Butt);
            let style = TextStyle { align: Align::Center, ..label };
            self.canvas.text(&number(x), [at, bottom + 20.0 * unit], style);
        }
        for y in y_ticks {
            let [_, at] = self.frame.place([0.0, y]);
            let mark = [[left - 5.0 * unit, at], [left, at]];
            self.canvas.polyline(&mark, width, self.palette.muted_ink, LineCap::Butt);
            let style = TextStyle { align: Align::Right, ..label };
            self.canvas.text(&number(y), [left - 9.0 * unit, at + 4.5 * unit], style);
        }
        let end = TextStyle { align: Align::Right, ..label };
        self.canvas.text("x (m)", [right, bottom + 38.0 * unit], end);
        self.canvas.text(
            "y (m)",
            [left - 9.0 * unit, top - 8.0 * unit],
            TextStyle { align: Align::Center, ..label },
        );
    }

    fn plans(&mut self) {
        let unit = self.frame.unit;
        for point in &self.drawing.noise {
            let center = self.frame.place(*point);
            if self.on_map(*point) {
                self.canvas.fill_circle(center, 1.7 * unit, self.palette.noise.with_alpha(0.6));
            }
        }
        // Many candidates lie over one another; a few have to carry alone.
        let alpha = (6.0 / self.drawing.candidates.len().max(1) as f32).clamp(0.18, 0.65);
        // Infeasible ones first, so that they never hide a feasible one.
        for wanted in [false, true] {
            for candidate in &self.drawing.candidates {
                if candidate.feasible == wanted {
                    let points = self.placed(&candidate.points);
                    self.candidate(&points, candidate.feasible, alpha);
                }
            }
        }
        let trail = self.placed(&self.drawing.trail);
        let chosen = self.placed(&self.drawing.chosen);
        let palette = self.palette;
        self.canvas.polyline(
            &chosen,
            6.5 * unit,
            palette.chosen_halo.with_alpha(0.8),
            LineCap::Round,
        );
        self.canvas.polyline(&chosen, 3.0 * unit, palette.chosen, LineCap::Round);
        self.canvas.polyline(
            &trail,
            5.0 * unit,
            palette.chosen_halo.with_alpha(0.8),
            LineCap::Round,
        );
        self.canvas.polyline(&trail, 3.0 * unit, palette.trail, LineCap::Round);
    }

    fn candidate(&mut self, points: &[[f32; 2]], feasible: bool, alpha: f32) {
        let width = 1.9 * self.frame.unit;
        if !feasible {
            let ink = self.palette.infeasible.with_alpha(alpha + 0.12);
            self.canvas.polyline(points, width, ink, LineCap::Butt);
            return;
        }
        let steps = points.len().saturating_sub(1);
        let bands = TIME_BANDS.min(steps);
        for band in 0..bands {
            // Neighboring bands share a point, so the line has no gaps.
            let (from, to) = (band * steps / bands, (band + 1) * steps / bands);
            let ink = time_color((band as f32 + 0.5) / bands as f32).with_alpha(alpha);
            self.canvas.polyline(&points[from..=to], width, ink, LineCap::Butt);
        }
    }

    fn marks(&mut self) {
        let unit = self.frame.unit;
        let radius = (0.1 * self.frame.scale).clamp(4.0 * unit, 14.0 * unit);
        let palette = self.palette;
        if let Some(goal) = self.drawing.goal {
            self.mark(goal, radius, palette.goal);
        }
        if let Some(start) = self.drawing.start {
            self.mark(start, radius, palette.start);
        }
        if let Some(agent) = self.drawing.agent {
            let center = self.frame.place(agent);
            self.canvas.fill_circle(center, radius + 2.0 * unit, palette.chosen_halo);
            self.canvas.fill_circle(center, radius, palette.agent);
        }
    }

    fn mark(&mut self, position: [f32; 2], radius: f32, ink: Rgba) {
        let center = self.frame.place(position);
        let unit = self.frame.unit;
        self.canvas.fill_circle(center, radius + 2.0 * unit, self.palette.chosen_halo);
        self.canvas.fill_circle(center, radius, ink);
        self.canvas.fill_circle(center, 0.38 * radius, self.palette.chosen_halo);
    }

    fn words(&mut self) {
        let unit = self.frame.unit;
        let [left, top, right, _] = self.frame.inner;
        let title = self.style(Face::SemiBold, 19.0, self.palette.ink);
        let caption = self.style(Face::Regular, 13.5, self.palette.muted_ink);
        let room = right - left;
        let text = title.face.fit(&self.drawing.title, title.size, room);
        self.canvas.text(&text, [left, top + 16.0 * unit], title);
        let text = caption.face.fit(&self.drawing.caption, caption.size, room);
        self.canvas.text(&text, [left, top + 36.0 * unit], caption);
    }

    fn placed(&self, points: &[[f32; 2]]) -> Vec<[f32; 2]> {
        points.iter().map(|&point| self.frame.place(point)).collect()
    }

    fn on_map(&self, [x, y]: [f32; 2]) -> bool {
        let [x_min, y_min, x_max, y_max] = self.drawing.bounds;
        (x_min..=x_max).contains(&x) && (y_min..=y_max).contains(&y)
    }

    pub(super) fn style(&self, face: Face, size: f32, color: Rgba) -> TextStyle {
        TextStyle { face, size: size * self.frame.unit, color, align: Align::Left }
    }
}

/// A tick's label without needless zeros.
fn number(value: f32) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A maze with everything in it.
    fn full() -> Drawing {
        let line = |y: f32| (0..30).map(|i| [0.5 + 0.1 * i as f32, y]).collect::<Vec<_>>();
        Drawing {
            bounds: [0.0, 0.0, 4.0, 4.0],
            walls: vec![[0.0, 0.0, 4.0, 0.4], [0.0, 3.6, 4.0, 4.0]],
            candidates: vec![
                Polyline { points: line(1.0), feasible: true },
                Polyline { points: line(1.5), feasible: false },
            ],
            noise: vec![[2.0, 2.5], [99.0, 2.0], [f32::NAN, 1.0]],
            chosen: line(2.0),
            trail: line(2.2),
            start: Some([0.5, 2.0]),
            goal: Some([3.4, 2.0]),
            goal_radius: 0.5,
            agent: Some([1.5, 3.0]),
            title: "Title".into(),
            caption: "seed 0".into(),
            plan_secs: Some(0.3),
        }
    }

    fn pixel(pixels: &[u8], size: [u32; 2], position: [f32; 2]) -> [u8; 3] {
        let [x, y] = Frame::new([0.0, 0.0, 4.0, 4.0], size).unwrap().place(position);
        let at = 4 * (y as usize * size[0] as usize + x as usize);
        [pixels[at], pixels[at + 1], pixels[at + 2]]
    }

    #[test]
    fn everything_is_where_it_belongs_in_its_color() {
        let size = [700, 800];
        for mode in [Mode::Dark, Mode::Light] {
            let pixels = full().paint(size, mode).unwrap();
            let palette = Palette::of(mode);
            let rgb = |ink: Rgba| [ink.r, ink.g, ink.b];
            assert_eq!(pixel(&pixels, size, [2.0, 0.2]), rgb(palette.wall));
            assert_eq!(pixel(&pixels, size, [2.0, 3.2]), rgb(palette.floor));
            assert_eq!(pixel(&pixels, size, [2.0, 2.0]), rgb(palette.chosen));
            assert_eq!(pixel(&pixels, size, [2.0, 2.2]), rgb(palette.trail));
            assert_eq!(pixel(&pixels, size, [1.5, 3.0]), rgb(palette.agent));
            assert_ne!(pixel(&pixels, size, [2.0, 1.0]), pixel(&pixels, size, [2.0, 1.5]));
        }
    }

    #[test]
    fn an_empty_map_and_one_with_absurd_numbers_can_be_drawn() {
        let empty = Drawing { bounds: [0.0, 0.0, 1.0, 1.0], ..Drawing::default() };
        empty.paint([64, 64], Mode::Dark).unwrap();
        let mut absurd = full();
        absurd.chosen = vec![[f32::NAN, 0.0], [1e30, -1e30], [1.0, 1.0], [f32::INFINITY, 2.0]];
        absurd.candidates = vec![
            Polyline { points: vec![], feasible: true },
            Polyline { points: vec![[1e20, 3.0]], feasible: true },
            Polyline { points: vec![[1.0, 3.0], [-1e20, 3.0]], feasible: true },
        ];
        absurd.walls.push([f32::NAN, 0.0, 1.0, f32::INFINITY]);
        absurd.start = Some([f32::NAN, 1.0]);
        absurd.goal = Some([1e30, f32::INFINITY]);
        absurd.goal_radius = 1e30;
        absurd.title = "long ".repeat(500);
        absurd.paint([300, 200], Mode::Light).unwrap();
    }

    #[test]
    fn labels_have_no_needless_zeros() {
        assert_eq!([0.0, 0.5, 10.0, -1.25].map(number), ["0", "0.5", "10", "-1.25"]);
    }
}
