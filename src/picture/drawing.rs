//! A maze with its plans as data, and the order in which it is painted: axes
//! with units, a legend, and the chosen plan above everything else.

use super::PictureError;
use super::canvas::{Canvas, Pixels};
use super::field::Axis;
use super::frame::{Frame, fitting_size};
use super::palette::{Mode, Palette};
use super::svg::Svg;

/// A wall of the map.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wall {
    /// `[x_min, y_min, x_max, y_max]`.
    pub rect: [f32; 4],
    /// Which corners are round, clockwise from `[x_min, y_min]`, which is the
    /// upper left one.
    pub round: [bool; 4],
}

/// A plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Polyline {
    /// Positions at equal steps of the plan's time.
    pub points: Vec<[f32; 2]>,
    /// Whether it keeps clear of walls and within the speed limit.
    pub feasible: bool,
}

/// A point of a plan that is still noise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Speck {
    /// Where it is.
    pub position: [f32; 2],
    /// When it is, as a fraction of the plan's duration.
    pub time: f32,
}

/// A point a plan has to pass.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Waypoint {
    /// Where.
    pub position: [f32; 2],
    /// When, as a fraction of the plan's duration.
    pub fraction: f32,
}

/// A straight wall with round ends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Capsule {
    /// Both ends of its center line.
    pub ends: [[f32; 2]; 2],
    /// Half its thickness.
    pub radius: f32,
}

/// A step of a search, in the order of drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Twig {
    /// From where to where.
    pub ends: [[f32; 2]; 2],
    /// When it is, as a fraction of the search's horizon.
    pub time: f32,
    /// How visible it is.
    pub alpha: f32,
    /// Width on a reference picture.
    pub width: f32,
    /// How much of its color is that of noise.
    pub gray: f32,
}

/// How visible the parts of a plan are, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strengths {
    /// Candidates.
    pub candidates: f32,
    /// Noise; as it goes, its points shrink and take on the color of their time.
    pub noise: f32,
    /// The chosen plan.
    pub chosen: f32,
}

impl Default for Strengths {
    fn default() -> Self {
        Self { candidates: 1.0, noise: 1.0, chosen: 1.0 }
    }
}

/// Everything one picture shows. Positions are in meters, x down and y to the
/// right, unless there are [`Drawing::axes`]; what is empty is not drawn and not
/// in the legend. A point that is not finite leaves a gap in a line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawing {
    /// `[x_min, y_min, x_max, y_max]` of the map.
    pub bounds: [f32; 4],
    /// What runs to the right and what runs up, where that is not y and x in
    /// meters: their ends are those of the map.
    pub axes: Option<[Axis; 2]>,
    /// Walls.
    pub walls: Vec<Wall>,
    /// Walls with round ends.
    pub capsules: Vec<Capsule>,
    /// A search.
    pub twigs: Vec<Twig>,
    /// Plans that were considered.
    pub candidates: Vec<Polyline>,
    /// Points that are still noise.
    pub noise: Vec<Speck>,
    /// The plan that was selected.
    pub chosen: Polyline,
    /// Where the body has been.
    pub trail: Vec<[f32; 2]>,
    /// How visible all that is.
    pub strengths: Strengths,
    /// Where plans start.
    pub start: Option<[f32; 2]>,
    /// Where they should end.
    pub goal: Option<[f32; 2]>,
    /// Distance from the goal that counts as there, in meters.
    pub goal_radius: f32,
    /// What plans have to pass on the way.
    pub waypoints: Vec<Waypoint>,
    /// Where the body is.
    pub agent: Option<[f32; 2]>,
    /// Its radius; it is drawn no smaller than can be seen.
    pub body_radius: f32,
    /// What the picture shows, in a few words.
    pub title: String,
    /// Seed, score and the like; parts between `" · "` stay on one line.
    pub caption: String,
    /// The moment shown, in a word or two.
    pub status: String,
    /// How long the chosen plan takes, for the legend.
    pub plan_secs: Option<f32>,
}

/// What every part of the drawing needs.
pub(super) struct Painter<'a, C> {
    pub canvas: C,
    pub frame: Frame,
    pub palette: &'static Palette,
    pub drawing: &'a Drawing,
}

/// What lies under the chosen plan: it takes the longest to paint and often
/// stays the same from one picture of a film to the next.
#[derive(Default)]
pub(super) struct Ground {
    painted: Option<(Drawing, Pixels)>,
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
        self.paint_over(&mut Ground::default(), size, mode)
    }

    /// The same as [`Drawing::paint`], quicker if `ground` was painted for a
    /// drawing like this one in the same size and mode.
    pub(super) fn paint_over(
        &self,
        ground: &mut Ground,
        size: [u32; 2],
        mode: Mode,
    ) -> Result<Vec<u8>, PictureError> {
        let palette = Palette::of(mode);
        let frame = Frame::new(self.bounds, size)?;
        let known = ground.painted.take().filter(|(painted, _)| self.has_ground_of(painted));
        let is_known = known.is_some();
        let canvas = match known {
            Some((_, canvas)) => canvas,
            None => Pixels::new(size, palette.background)?,
        };
        let mut painter = Painter { canvas, frame, palette, drawing: self };
        if !is_known {
            painter.ground();
        }
        ground.painted = Some((self.clone(), painter.canvas.clone()));
        painter.top();
        Ok(painter.canvas.into_rgba())
    }

    /// The picture as SVG.
    pub(super) fn write(&self, size: [u32; 2], mode: Mode) -> Result<String, PictureError> {
        let palette = Palette::of(mode);
        let frame = Frame::new(self.bounds, size)?;
        let canvas = Svg::new(size, palette.background)?;
        let mut painter = Painter { canvas, frame, palette, drawing: self };
        painter.ground();
        painter.top();
        Ok(painter.canvas.finish(&self.title, &self.caption))
    }

    fn has_ground_of(&self, other: &Self) -> bool {
        self.bounds == other.bounds
            && self.axes == other.axes
            && self.walls == other.walls
            && self.capsules == other.capsules
            && self.twigs == other.twigs
            && (self.goal, self.goal_radius) == (other.goal, other.goal_radius)
            && self.noise == other.noise
            && self.candidates == other.candidates
            && self.strengths.noise == other.strengths.noise
            && self.strengths.candidates == other.strengths.candidates
    }
}

impl<C: Canvas> Painter<'_, C> {
    /// What lies under the chosen plan.
    fn ground(&mut self) {
        self.map();
        self.axes();
        self.twigs();
        self.cloud();
    }

    fn top(&mut self) {
        self.chosen();
        self.trail();
        self.marks();
        self.words();
        self.legend();
    }

    pub(super) fn placed(&self, points: &[[f32; 2]]) -> Vec<[f32; 2]> {
        points.iter().map(|&point| self.frame.place(point)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::palette::{Rgba, time_color};

    /// A maze with everything in it.
    fn full() -> Drawing {
        let line = |x: f32| (0..30).map(|i| [x, 0.5 + 0.1 * i as f32]).collect::<Vec<_>>();
        let wall = |rect| Wall { rect, round: [false, true, false, false] };
        let speck = |position| Speck { position, time: 0.5 };
        Drawing {
            bounds: [0.0, 0.0, 4.0, 4.0],
            walls: vec![wall([0.0, 0.0, 0.4, 4.0]), wall([3.6, 0.0, 4.0, 4.0])],
            candidates: vec![
                Polyline { points: line(1.0), feasible: true },
                Polyline { points: line(1.5), feasible: false },
            ],
            noise: [[2.5, 2.0], [99.0, 2.0], [f32::NAN, 1.0]].map(speck).to_vec(),
            chosen: Polyline { points: line(2.0), feasible: true },
            trail: line(2.2),
            strengths: Strengths::default(),
            start: Some([2.0, 0.5]),
            goal: Some([2.0, 3.4]),
            goal_radius: 0.5,
            waypoints: vec![Waypoint { position: [2.7, 1.0], fraction: 0.5 }],
            agent: Some([3.0, 1.5]),
            body_radius: 0.1,
            axes: None,
            capsules: Vec::new(),
            twigs: Vec::new(),
            title: "Title".into(),
            caption: "seed 0 · 2 candidates".into(),
            status: "1.50 s".into(),
            plan_secs: Some(0.3),
        }
    }

    fn pixel(pixels: &[u8], size: [u32; 2], position: [f32; 2]) -> [u8; 3] {
        let [x, y] = Frame::new([0.0, 0.0, 4.0, 4.0], size).unwrap().place(position);
        let at = 4 * (y as usize * size[0] as usize + x as usize);
        [pixels[at], pixels[at + 1], pixels[at + 2]]
    }

    fn rgb(ink: Rgba) -> [u8; 3] {
        [ink.r, ink.g, ink.b]
    }

    #[test]
    fn everything_is_where_it_belongs_in_its_color() {
        let size = [700, 800];
        for mode in [Mode::Dark, Mode::Light] {
            let pixels = full().paint(size, mode).unwrap();
            let palette = Palette::of(mode);
            assert_eq!(pixel(&pixels, size, [0.2, 2.0]), rgb(palette.wall));
            assert_eq!(pixel(&pixels, size, [3.2, 2.0]), rgb(palette.floor));
            assert_eq!(pixel(&pixels, size, [2.0, 2.0]), rgb(palette.chosen));
            assert_eq!(pixel(&pixels, size, [3.0, 1.5]), rgb(palette.agent));
            assert_ne!(pixel(&pixels, size, [1.0, 2.0]), pixel(&pixels, size, [1.5, 2.0]));
            assert_ne!(pixel(&pixels, size, [2.2, 2.0]), rgb(palette.floor));
            assert_eq!(pixel(&pixels, size, [2.74, 1.0]), rgb(palette.guidance));
        }
    }

    #[test]
    fn an_infeasible_choice_looks_like_one_and_a_hidden_one_is_not_there() {
        let size = [700, 800];
        let palette = Palette::of(Mode::Dark);
        let mut drawing = full();
        drawing.chosen.feasible = false;
        let pixels = drawing.paint(size, Mode::Dark).unwrap();
        assert_eq!(pixel(&pixels, size, [2.0, 2.0]), rgb(palette.infeasible));
        drawing.strengths.chosen = 0.0;
        let pixels = drawing.paint(size, Mode::Dark).unwrap();
        assert_eq!(pixel(&pixels, size, [2.0, 2.0]), rgb(palette.floor));
    }

    #[test]
    fn a_search_has_its_own_axes_and_its_steps_stand_where_they_belong() {
        let size = [700, 800];
        let twig = |x: f32, time, gray| Twig {
            ends: [[x, 0.5], [x, 3.5]],
            time,
            alpha: 1.0,
            width: 6.0,
            gray,
        };
        let axis = |name: &str, low, high| Axis {
            name: name.into(),
            unit: "rad/s".into(),
            low,
            high,
            is_angle: false,
        };
        let mut drawing = full();
        drawing.twigs = vec![twig(2.6, 0.5, 0.0), twig(3.3, 0.0, 1.0)];
        drawing.capsules = vec![Capsule { ends: [[1.2, 3.0], [1.3, 3.0]], radius: 0.2 }];
        drawing.axes = Some([axis("across", -8.0, 8.0), axis("above", 0.0, 1.0)]);
        drawing.waypoints.clear();
        let pixels = drawing.paint(size, Mode::Light).unwrap();
        let palette = Palette::of(Mode::Light);
        assert_eq!(pixel(&pixels, size, [2.6, 3.0]), rgb(time_color(0.5)));
        assert_eq!(pixel(&pixels, size, [3.3, 3.0]), rgb(palette.noise));
        assert_eq!(pixel(&pixels, size, [1.25, 3.1]), rgb(palette.wall));
        let text = drawing.write(size, Mode::Light).unwrap();
        for word in
            [">across (rad/s)</text>", ">above (rad/s)</text>", ">pruned</text>", ">-6</text>"]
        {
            assert!(text.contains(word), "{word}");
        }
        assert!(text.contains("<g id=\"tree\">") && !text.contains(">y (m)</text>"));
        // A known ground knows its tree.
        let mut ground = Ground::default();
        drawing.paint_over(&mut ground, size, Mode::Dark).unwrap();
        drawing.twigs.pop();
        let quick = drawing.paint_over(&mut ground, size, Mode::Dark).unwrap();
        assert_eq!(quick, drawing.paint(size, Mode::Dark).unwrap());
    }

    #[test]
    fn a_gap_in_a_line_stays_open() {
        let size = [700, 800];
        let mut drawing = full();
        drawing.chosen.points = vec![[2.0, 0.8], [2.0, 1.6], [f32::NAN; 2], [2.0, 2.8], [2.0, 3.2]];
        let pixels = drawing.paint(size, Mode::Dark).unwrap();
        let palette = Palette::of(Mode::Dark);
        assert_eq!(pixel(&pixels, size, [2.0, 1.2]), rgb(palette.chosen));
        assert_eq!(pixel(&pixels, size, [2.0, 2.2]), rgb(palette.floor));
    }

    #[test]
    fn a_known_ground_changes_no_pixel() {
        let size = [300, 320];
        let mut ground = Ground::default();
        let mut drawing = full();
        drawing.paint_over(&mut ground, size, Mode::Dark).unwrap();
        drawing.agent = Some([2.5, 2.5]);
        let quick = drawing.paint_over(&mut ground, size, Mode::Dark).unwrap();
        assert_eq!(quick, drawing.paint(size, Mode::Dark).unwrap());
        drawing.goal = Some([1.0, 1.0]);
        let moved = drawing.paint_over(&mut ground, size, Mode::Dark).unwrap();
        assert_eq!(moved, drawing.paint(size, Mode::Dark).unwrap());
    }

    #[test]
    fn the_vector_picture_has_every_part_in_a_layer_of_its_own() {
        let text = full().write([700, 800], Mode::Light).unwrap();
        let layers = text.match_indices("<g id=\"").map(|(at, tag)| {
            let name = &text[at + tag.len()..];
            &name[..name.find('"').unwrap()]
        });
        let expected = [
            "floor",
            "shade",
            "walls",
            "goal-region",
            "axes",
            "candidates",
            "noise",
            "chosen",
            "executed",
            "waypoints",
            "start",
            "goal",
            "ball",
            "words",
            "legend",
        ];
        assert_eq!(layers.collect::<Vec<_>>(), expected);
        assert_eq!(text.matches("</g>").count(), expected.len());
        // The chosen plan is one line from its start to its end.
        let frame = Frame::new([0.0, 0.0, 4.0, 4.0], [700, 800]).unwrap();
        let [x, y] = frame.place([2.0, 0.5]);
        let chosen = text.split("<g id=\"chosen\">").nth(1).unwrap();
        let numbers = chosen.split('"').nth(1).unwrap().trim_start_matches('M');
        let first: Vec<f32> =
            numbers.split(['L', ' ']).take(2).map(|number| number.parse().unwrap()).collect();
        assert!((first[0] - x).abs() < 0.06 && (first[1] - y).abs() < 0.06, "{first:?}");
        for word in [">Title</text>", ">y (m)</text>", ">infeasible</text>"] {
            assert!(text.contains(word), "{word}");
        }
    }

    #[test]
    fn an_empty_map_and_one_with_absurd_numbers_can_be_drawn() {
        let empty = Drawing { bounds: [0.0, 0.0, 1.0, 1.0], ..Drawing::default() };
        empty.paint([64, 64], Mode::Dark).unwrap();
        let mut absurd = full();
        let line = |points: Vec<[f32; 2]>| Polyline { points, feasible: true };
        absurd.chosen =
            line(vec![[f32::NAN, 0.0], [1e30, -1e30], [1.0, 1.0], [f32::INFINITY, 2.0]]);
        absurd.candidates =
            vec![line(vec![]), line(vec![[1e20, 3.0]]), line(vec![[1.0, 3.0], [-1e20, 3.0]])];
        absurd.walls.push(Wall { rect: [f32::NAN, 0.0, 1.0, f32::INFINITY], round: [true; 4] });
        absurd.start = Some([f32::NAN, 1.0]);
        absurd.goal = Some([1e30, f32::INFINITY]);
        absurd.goal_radius = 1e30;
        absurd.waypoints.push(Waypoint { position: [f32::NAN; 2], fraction: f32::NAN });
        absurd.title = "long ".repeat(500);
        absurd.caption = "long · ".repeat(500);
        absurd.paint([300, 200], Mode::Light).unwrap();
        let text = absurd.write([300, 200], Mode::Light).unwrap();
        assert!(!text.contains("NaN") && !text.contains("inf\""), "{text}");
    }
}
