//! The row under the map that says which color is what.

use tiny_skia::LineCap;

use super::palette::{Rgba, time_color};
use super::scene_picture::Painter;
use super::text::Face;

/// What stands before a name in the legend.
#[derive(Clone, Copy, Debug)]
enum Sample {
    Mark(Rgba),
    Dot(Rgba),
    Line(Rgba),
    Time,
}

impl Sample {
    /// In units of the frame.
    fn width(self) -> f32 {
        match self {
            Self::Mark(_) | Self::Dot(_) => 12.0,
            Self::Line(_) => 24.0,
            Self::Time => 36.0,
        }
    }
}

impl Painter<'_> {
    /// Samples and names of what is drawn. What does not fit into one row goes
    /// into a second one within the margin.
    pub(super) fn legend(&mut self) {
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
        let feasible = drawing.candidates.iter().any(|candidate| candidate.feasible);
        let infeasible = drawing.candidates.iter().any(|candidate| !candidate.feasible);
        let plan = match drawing.plan_secs {
            Some(secs) => format!("plan, {secs:.2} s"),
            None => "plan".to_owned(),
        };
        let items = [
            (drawing.start.is_some(), Sample::Mark(self.palette.start), "start".to_owned()),
            (drawing.goal.is_some(), Sample::Mark(self.palette.goal), "goal".to_owned()),
            (drawing.chosen.len() > 1, Sample::Line(self.palette.chosen), plan),
            (drawing.trail.len() > 1, Sample::Line(self.palette.trail), "trail".to_owned()),
            (feasible, Sample::Time, "candidates over time".to_owned()),
            (infeasible, Sample::Line(self.palette.infeasible), "infeasible".to_owned()),
            (!drawing.noise.is_empty(), Sample::Dot(self.palette.noise), "noise".to_owned()),
        ];
        items.into_iter().filter(|item| item.0).map(|(_, sample, name)| (sample, name)).collect()
    }

    fn sample(&mut self, sample: Sample, [x, y]: [f32; 2], width: f32) {
        let unit = self.frame.unit;
        match sample {
            Sample::Mark(ink) => {
                self.canvas.fill_circle([x + width / 2.0, y], 5.5 * unit, ink);
                let hole = self.palette.background;
                self.canvas.fill_circle([x + width / 2.0, y], 2.1 * unit, hole);
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
