//! The trade-off between how good plans are and how long they take: every
//! sampler at several numbers of steps, planning again from the last plan and
//! from noise (Janner's thesis, Figure 5.7), and dragging.

pub mod keeper;
mod measure;
mod store;

pub use measure::{MeasureOptions, Parts, measure};
pub use store::{find, recorded, recorded_path, write};

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::checkpoint::{Header, Provenance};
use super::scene::Scene;
use crate::eval::{DragEvaluation, Estimate};
use crate::plan::{ControlSettings, Replan, Sampler};

/// The file version written and understood.
pub const FORMAT: u32 = 1;
/// A score within this share of the best is as good.
pub const AS_GOOD: f64 = 0.02;
/// Environment steps between plans where they are made by the clock.
pub const REPLAN_EVERY: usize = 15;

/// What the scores of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// D4RL-normalized score.
    Score,
    /// Episodes that reached the goal, percent.
    Reached,
    /// Undiscounted return of an episode.
    Return,
}

impl Measure {
    /// For axes and tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Reached => "reached (%)",
            Self::Return => "return",
        }
    }
}

/// One way to plan and what it gives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// How noise becomes a plan.
    pub sampler: Sampler,
    /// Denoising steps of a plan from pure noise.
    pub steps: usize,
    /// Of those, the steps of a plan that starts from the last one; 0 where
    /// every plan starts from pure noise.
    pub warm_steps: usize,
    /// Forward passes of such a plan.
    pub forwards: usize,
    /// What following these plans gives.
    pub score: Estimate,
    /// The same less what the best of the table gives, episode by episode: all
    /// of them see the same resets. Absent in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<Estimate>,
    /// Median time of a plan, milliseconds.
    pub plan_ms: f64,
    /// Plans timed.
    pub timed: usize,
}

impl Point {
    /// Put the sampler and the steps into a scene, and for a point of the
    /// replanning table the clock it was measured with.
    pub fn apply(&self, scene: &mut Scene, replan_every: Option<usize>) {
        scene.plan.sampler = self.sampler;
        scene.plan.denoising_steps = self.steps;
        if let Some(every) = replan_every {
            scene.plan.warm_steps = self.warm_steps;
            scene.control = by_the_clock(&scene.control, every);
        }
    }

    /// Whether a scene plans this way.
    pub fn is_of(&self, scene: &Scene, replans: bool) -> bool {
        let plan = &scene.plan;
        let held = |steps| self.sampler.held(steps);
        let same = plan.sampler == self.sampler && held(plan.denoising_steps) == held(self.steps);
        let by_clock = scene.control.replan == Replan::EveryNSteps;
        same && (!replans || (by_clock && plan.warm_steps == self.warm_steps))
    }
}

/// Plans made again every so many steps.
pub fn by_the_clock(control: &ControlSettings, every: usize) -> ControlSettings {
    ControlSettings { replan: Replan::EveryNSteps, replan_every: every, ..control.clone() }
}

/// What dragging gives with so many steps from the last plans; 0 is from pure
/// noise.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DragPoint {
    /// See [`crate::plan::PlanSettings::warm_steps`].
    pub warm_steps: usize,
    /// The measurements.
    pub drag: DragEvaluation,
}

/// The measured trade-off of one scene and one set of weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frontier {
    /// File version.
    pub format: u32,
    /// Name of the scene.
    pub scene: String,
    /// Which weights; see [`weights_id`].
    pub weights: String,
    /// What it was measured on.
    pub machine: String,
    /// Seed of resets and noise.
    pub seed: u64,
    /// Episodes a point.
    pub episodes: usize,
    /// What the scores are.
    pub measure: Measure,
    /// Every sampler at several numbers of steps, followed as the scene says.
    pub points: Vec<Point>,
    /// Environment steps between the plans of `replanning`.
    pub replan_every: usize,
    /// The scene's sampler, planning again all the time, from noise and from the
    /// last plan.
    pub replanning: Vec<Point>,
    /// Dragging with the scene's sampler and steps.
    #[serde(default)]
    pub drags: Vec<DragPoint>,
}

impl Frontier {
    /// A table by its kind.
    pub fn table(&self, replans: bool) -> &[Point] {
        if replans { &self.replanning } else { &self.points }
    }

    fn table_mut(&mut self, replans: bool) -> &mut Vec<Point> {
        if replans { &mut self.replanning } else { &mut self.points }
    }
}

/// What is stored of the trade-off of a scene's weights, and which weights are
/// in use.
#[derive(Clone, Debug)]
pub struct StoredFrontier {
    /// See [`weights_id`].
    pub weights: String,
    /// The record, of whichever weights.
    pub found: Option<Arc<Frontier>>,
}

/// Names the weights a header describes, however often their scores are
/// recorded in it: start of a hash of the model and of the runs that trained it.
pub fn weights_id(header: Option<&Header>) -> String {
    let Some(header) = header else { return "untrained".to_owned() };
    let run = |provenance: &Provenance| Provenance { evaluation: None, ..provenance.clone() };
    let runs = (run(&header.provenance), header.student.as_ref().map(run));
    let text = serde_json::to_string(&(&header.model, runs)).unwrap_or_default();
    Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Which points no other beats: none is at least as good and as fast, and
/// better in one of the two.
pub fn on_frontier(points: &[Point]) -> Vec<bool> {
    let beats = |a: &Point, b: &Point| {
        let (better, faster) = (a.score.mean - b.score.mean, b.plan_ms - a.plan_ms);
        better >= 0.0 && faster >= 0.0 && (better > 0.0 || faster > 0.0)
    };
    points.iter().map(|point| !points.iter().any(|other| beats(other, point))).collect()
}

/// Say of every point how far it is from the best, from the scores of its
/// episodes.
fn compare(points: &mut [Point], scores: &[Vec<f64>]) {
    let mean = |index: &usize| points[*index].score.mean;
    let best = (0..points.len()).max_by(|a, b| mean(a).total_cmp(&mean(b)));
    let Some(best) = best.and_then(|best| scores.get(best)) else { return };
    for (point, scores) in points.iter_mut().zip(scores) {
        point.behind = Estimate::difference(scores, best);
    }
}

/// The point of the fewest forwards whose score is within [`AS_GOOD`] of the
/// best; of equals the one of the higher score.
pub fn fewest(points: &[Point]) -> Option<usize> {
    let best = points.iter().map(|point| point.score.mean).fold(f64::NEG_INFINITY, f64::max);
    let enough = best - AS_GOOD * best.abs();
    (0..points.len()).filter(|index| points[*index].score.mean >= enough).min_by(|a, b| {
        let (a, b) = (&points[*a], &points[*b]);
        a.forwards.cmp(&b.forwards).then(b.score.mean.total_cmp(&a.score.mean))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(forwards: usize, mean: f64, plan_ms: f64) -> Point {
        Point {
            sampler: Sampler::Ddim,
            steps: forwards,
            warm_steps: 0,
            forwards,
            score: Estimate { mean, se: 1.0, n: 100 },
            behind: None,
            plan_ms,
            timed: 9,
        }
    }

    #[test]
    fn no_point_of_the_frontier_is_beaten_in_both_and_every_other_is() {
        let points = [
            point(1, 50.0, 10.0),
            point(2, 100.0, 20.0),
            point(3, 99.0, 30.0),
            point(5, 101.0, 50.0),
        ];
        assert_eq!(on_frontier(&points), [true, true, false, true]);
        // Equal points stand beside each other.
        assert_eq!(on_frontier(&[points[1], points[1]]), [true, true]);
    }

    #[test]
    fn the_fewest_steps_are_those_within_two_percent_of_the_best() {
        let points = [
            point(1, 50.0, 10.0),
            point(3, 98.1, 30.0),
            point(2, 97.9, 20.0),
            point(5, 100.0, 50.0),
        ];
        assert_eq!(fewest(&points), Some(1));
        let negative = [point(1, -300.0, 1.0), point(2, -101.0, 2.0), point(4, -100.0, 4.0)];
        assert_eq!(fewest(&negative), Some(1));
        assert_eq!(fewest(&[]), None);
    }

    #[test]
    fn points_are_compared_with_the_best_episode_by_episode() {
        let scores = [vec![10.0, 200.0, 90.0], vec![12.0, 202.0, 95.0]];
        let mean = |scores: &Vec<f64>| scores.iter().sum::<f64>() / 3.0;
        let mut points = [point(1, mean(&scores[0]), 1.0), point(2, mean(&scores[1]), 2.0)];
        compare(&mut points, &scores);
        let behind = points.map(|point| point.behind.unwrap());
        assert!((behind[0].mean + 3.0).abs() < 1e-9 && (behind[0].se - 1.0).abs() < 1e-9);
        assert_eq!((behind[1].mean, behind[1].se), (0.0, 0.0));
        compare(&mut [], &[]);
    }

    #[test]
    fn a_point_sets_what_it_was_measured_with() {
        let mut scene = Scene::parse(crate::lab::SHIPPED[0].text).unwrap();
        let warm = Point { steps: 20, warm_steps: 3, ..point(3, 1.0, 1.0) };
        warm.apply(&mut scene, Some(15));
        assert_eq!((scene.plan.denoising_steps, scene.plan.warm_steps), (20, 3));
        assert_eq!((scene.control.replan, scene.control.replan_every), (Replan::EveryNSteps, 15));
        assert!(warm.is_of(&scene, true) && !point(3, 1.0, 1.0).is_of(&scene, true));
    }
}
