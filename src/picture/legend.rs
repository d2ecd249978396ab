//! The row under the map that says which color is what.

use tiny_skia::LineCap;

use super::canvas::Canvas;
use super::drawing::Painter;
use super::palette::{Rgba, time_color};
use super::text::Face;

/// What stands before a name in the legend.
#[derive(Clone, Copy, Debug)]
enum Sample {
    Start,
    Goal,
    Waypoint,
    Dot(Rgba),
    Line(Rgba),
    Time,
}

impl Sample {
    /// In units of the frame.
    fn width(self) -> f32 {
        match self {
            Self::Start | Self::Goal | Self::Waypoint | Self::Dot(_) => 12.0,
            Self::Line(_) => 24.0,
            Self::Time => 36.0,
        }
    }
}

impl<C: Canvas> Painter<'_, C> {
    /// Samples and names of what is drawn. What does not fit into one row goes
    /// into a second one within the margin.
    pub(super) fn legend(&mut self) {
        self.canvas.layer("legend");
        let unit = self.frame.unit;
        let [left, _, right, bottom] = self.frame.inner;
        let mut baseline = bottom - 4.0 * unit;
        let text = self.style(Face::Regular, 13.0, self.palette.ink);
        let mut x = left;
        for (sample, name) in self.legend_items() {
            let sample_width = sample.width() * unit;
            let width = sample_width + 7.0 * unit + text.face.width(&name, text.size);
            if x + width > right && x > left {
                (x, baseline) = (left, baseline + 18.0 * unit);
            }
            self.sample(sample, [x, baseline - 4.5 * unit], sample_width);
            self.canvas.text(&name, [x + sample_width + 7.0 * unit, baseline], text);
            x += width + 20.0 * unit;
        }
    }

    fn legend_items(&self) -> Vec<(Sample, String)> {
        let drawing = self.drawing;
        let visible = drawing.strengths.candidates > 0.0;
        let any = |wanted| visible && drawing.candidates.iter().any(|one| one.feasible == wanted);
        let time = match drawing.plan_secs {
            Some(secs) => format!("0 to {secs:.2} s"),
            None => "over time".to_owned(),
        };
        let chosen =
            if drawing.chosen.feasible { self.palette.chosen } else { self.palette.infeasible };
        let has_chosen = drawing.chosen.points.len() > 1 && drawing.strengths.chosen > 0.0;
        let has_noise = !drawing.noise.is_empty() && drawing.strengths.noise > 0.0;
        let has_pruned = drawing.twigs.iter().any(|twig| twig.gray > 0.0);
        let items = [
            (drawing.start.is_some(), Sample::Start, "start"),
            (drawing.goal.is_some(), Sample::Goal, "goal"),
            (!drawing.waypoints.is_empty(), Sample::Waypoint, "waypoint"),
            (has_chosen, Sample::Line(chosen), "chosen"),
            (drawing.trail.len() > 1, Sample::Line(self.palette.trail), "executed"),
            (any(true) || has_noise || !drawing.twigs.is_empty(), Sample::Time, time.as_str()),
            (has_pruned, Sample::Line(self.palette.noise.with_alpha(0.5)), "pruned"),
            (any(false), Sample::Line(self.palette.infeasible), "infeasible"),
            (has_noise, Sample::Dot(self.palette.noise), "noise"),
        ];
        let shown = items.into_iter().filter(|(is_shown, _, _)| *is_shown);
        shown.map(|(_, sample, name)| (sample, name.to_owned())).collect()
    }

    fn sample(&mut self, sample: Sample, [x, y]: [f32; 2], width: f32) {
        let unit = self.frame.unit;
        match sample {
            Sample::Start => {
                self.start_mark([x + width / 2.0, y], 6.0 * unit, self.palette.background);
            }
            Sample::Goal => {
                self.goal_mark([x + width / 2.0, y], 6.0 * unit, self.palette.background);
            }
            Sample::Waypoint => {
                self.canvas.fill_diamond([x + width / 2.0, y], 6.0 * unit, self.palette.guidance);
            }
            Sample::Dot(ink) => self.canvas.fill_circle([x + width / 2.0, y], 2.5 * unit, ink),
            Sample::Line(ink) => {
                let ends = [[x, y], [x + width, y]];
                self.canvas.polyline(&ends, 3.0 * unit, ink, LineCap::Butt);
            }
            Sample::Time => {
                for band in 0..24 {
                    let edge = |band: usize| x + width * band as f32 / 24.0;
                    let ink = time_color((band as f32 + 0.5) / 24.0);
                    let rows = [y - 2.0 * unit, y + 2.0 * unit];
                    self.canvas.fill_crisp([edge(band), rows[0], edge(band + 1), rows[1]], ink);
                }
            }
        }
    }
}
