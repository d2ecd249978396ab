//! Noise, candidates, the chosen plan and the body's trail.

use tiny_skia::LineCap;

use super::canvas::Canvas;
use super::drawing::{Painter, Polyline};
use super::palette::{Rgba, time_color};

/// Colors a plan passes through from its start to its end.
const TIME_BANDS: usize = 48;
/// How opaque a feasible candidate is among many, and at most.
const CANDIDATE_ALPHA: [f32; 2] = [0.34, 0.65];
/// How opaque an infeasible one is next to that.
const INFEASIBLE_SHARE: f32 = 0.6;
/// How opaque the trail is at its oldest and at its newest.
const TRAIL_ALPHA: [f32; 2] = [0.2, 0.95];
/// Pieces of the trail with an opacity of their own.
const TRAIL_BANDS: usize = 24;

impl<C: Canvas> Painter<'_, C> {
    /// Everything there is besides the chosen plan.
    pub(super) fn cloud(&mut self) {
        self.canvas.layer("candidates");
        // Many candidates lie over one another; a few have to carry alone.
        let [among_many, alone] = CANDIDATE_ALPHA;
        let many = self.drawing.candidates.len().max(1) as f32;
        let alpha = (6.0 / many).clamp(among_many, alone) * self.drawing.strengths.candidates;
        // Infeasible ones first, so that they never hide a feasible one.
        for feasible in [false, true] {
            for candidate in &self.drawing.candidates {
                if candidate.feasible == feasible && alpha > 0.0 {
                    self.candidate(candidate, alpha);
                }
            }
        }
        self.noise();
    }

    /// Points shrink and take on the color of their time as they condense.
    fn noise(&mut self) {
        self.canvas.layer("noise");
        let amount = self.drawing.strengths.noise.clamp(0.0, 1.0);
        let radius = 2.4 * (0.55 + 0.45 * amount) * self.frame.unit;
        for speck in &self.drawing.noise {
            if amount > 0.0 && self.on_map(speck.position) {
                let tone = time_color(speck.time).mix(self.palette.noise, 0.35 * amount);
                let center = self.frame.place(speck.position);
                self.canvas.fill_circle(center, radius, tone.with_alpha(0.75 * amount));
            }
        }
    }

    /// The steps of a search.
    pub(super) fn twigs(&mut self) {
        self.canvas.layer("tree");
        for twig in &self.drawing.twigs {
            let ends = self.placed(&twig.ends);
            let tone = time_color(twig.time).mix(self.palette.noise, twig.gray);
            let ink = tone.with_alpha(twig.alpha);
            self.canvas.polyline(&ends, twig.width * self.frame.unit, ink, LineCap::Round);
        }
    }

    fn candidate(&mut self, candidate: &Polyline, alpha: f32) {
        let points = self.placed(&candidate.points);
        let width = 1.7 * self.frame.unit;
        if candidate.feasible {
            let ink = |time: f32| time_color(time).with_alpha(alpha);
            self.banded(&points, width, TIME_BANDS, ink);
        } else {
            let ink = self.palette.infeasible.with_alpha(INFEASIBLE_SHARE * alpha);
            self.canvas.polyline(&points, width, ink, LineCap::Butt);
        }
    }

    pub(super) fn chosen(&mut self) {
        let strength = self.drawing.strengths.chosen;
        if strength <= 0.0 {
            return;
        }
        self.canvas.layer("chosen");
        let chosen = &self.drawing.chosen;
        let points = self.placed(&chosen.points);
        let unit = self.frame.unit;
        let halo = self.palette.chosen_halo.with_alpha(0.65 * strength);
        self.canvas.polyline(&points, 6.5 * unit, halo, LineCap::Round);
        let ink = if chosen.feasible { self.palette.chosen } else { self.palette.infeasible };
        self.canvas.polyline(&points, 2.8 * unit, ink.with_alpha(strength), LineCap::Round);
    }

    /// Older parts fade.
    pub(super) fn trail(&mut self) {
        self.canvas.layer("executed");
        let points = self.placed(&self.drawing.trail);
        let [oldest, newest] = TRAIL_ALPHA;
        let tone = self.palette.trail;
        let ink = |age: f32| tone.with_alpha(oldest + (newest - oldest) * age);
        self.banded(&points, 3.2 * self.frame.unit, TRAIL_BANDS, ink);
    }

    /// A line in pieces, with the ink of the fraction each lies at.
    fn banded(&mut self, points: &[[f32; 2]], width: f32, most: usize, ink: impl Fn(f32) -> Rgba) {
        let steps = points.len().saturating_sub(1);
        let bands = most.min(steps);
        for band in 0..bands {
            // Neighboring bands share a point, so the line has no gaps.
            let (from, to) = (band * steps / bands, (band + 1) * steps / bands);
            let ink = ink((band as f32 + 0.5) / bands as f32);
            self.canvas.polyline(&points[from..=to], width, ink, LineCap::Butt);
        }
    }

    fn on_map(&self, [x, y]: [f32; 2]) -> bool {
        let [x_min, y_min, x_max, y_max] = self.drawing.bounds;
        (x_min..=x_max).contains(&x) && (y_min..=y_max).contains(&y)
    }
}
