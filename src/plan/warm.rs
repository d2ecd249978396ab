//! Starting from earlier plans instead of pure noise (Janner's thesis, Section
//! 5.5, "Warm-starting diffusion for faster planning"): put back the noise of
//! an earlier diffusion time, x_t = sqrt(abar_t) x_prev + sqrt(1 - abar_t) eps,
//! and denoise from there. Only the steps after that time cost a forward pass.

use std::sync::Arc;

use super::candidates::{duration_grid, ranking};
use super::film::{Film, Plan};
use crate::env::StateView;

/// Half-width of the durations that samples of the best earlier plan take, as
/// a factor.
const SPREAD: f32 = 1.2;
/// An earlier plan of which less than this share is left has nothing to give.
const LEAST_LEFT: f32 = 0.05;

/// Plans of an earlier request that a new one starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Previous {
    /// Clean plans, `[plans, waypoints, dims]` in environment units, actions
    /// before observations.
    pub plans: Arc<[f32]>,
    /// Waypoints of each.
    pub waypoints: usize,
    /// Numbers per waypoint.
    pub dims: usize,
    /// Duration of each, environment steps.
    pub durations: Arc<[f32]>,
    /// Their numbers, the best first.
    pub ranking: Vec<usize>,
    /// Environment steps of them that have been executed since.
    pub elapsed_steps: f32,
    /// Whether some samples come from pure noise all the same, so that another
    /// way is found where the goal or the start has moved.
    pub explores: bool,
    /// How many warm requests in a row came before; what explores looks
    /// elsewhere in each.
    pub generation: u64,
}

/// Samples that start from earlier plans.
pub(super) struct WarmSamples {
    /// Duration of each, environment steps.
    pub durations: Vec<f32>,
    /// `[samples, waypoints, dims]` in environment units.
    pub plans: Vec<f32>,
}

/// What the samples of a request look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct WarmShape {
    /// Samples.
    pub n: usize,
    /// Waypoints of each.
    pub waypoints: usize,
    /// Where the best of them should last about as long as this.
    pub near_duration: Option<f32>,
    /// The durations a model takes; `None` where waypoints are a fixed time
    /// apart and all last `fixed_duration`.
    pub range: Option<[f32; 2]>,
    /// Duration of a plan of a fixed-duration model.
    pub fixed_duration: f32,
}

impl Previous {
    /// The candidates of a complete film, to explore from while something is
    /// being dragged. `None` while it is incomplete.
    pub fn of_film(film: &Film, elapsed_steps: f32) -> Option<Self> {
        let last = film.steps.last().filter(|_| film.is_complete())?;
        let settings = &film.request.settings;
        let mut ranking = ranking(&film.candidates, settings.selection, settings.speed_limit);
        ranking.retain(|index| *index < film.n_candidates());
        let earlier = film.request.previous.as_ref();
        Some(Self {
            plans: Arc::clone(&last.clean),
            waypoints: film.waypoints,
            dims: film.dims,
            durations: Arc::clone(&film.durations),
            ranking,
            elapsed_steps,
            explores: true,
            generation: earlier.map_or(0, |earlier| earlier.generation.wrapping_add(1)),
        })
    }

    /// One plan that has been followed for `elapsed_steps`.
    pub fn of_plan(plan: &Plan, view: &StateView, elapsed_steps: f32) -> Option<Self> {
        let waypoints = plan.waypoints.len();
        let segments = waypoints.saturating_sub(1).max(1) as f32;
        let mut rows: Vec<f32> = Vec::new();
        for (index, state) in plan.waypoints.iter().enumerate() {
            if let Some(actions) = &plan.actions {
                let step = (index as f32 / segments * plan.duration_steps).round() as usize;
                rows.extend(actions.get(step).or(actions.last())?);
            }
            rows.extend(view.observe(state));
        }
        Some(Self {
            dims: rows.len().checked_div(waypoints)?,
            plans: rows.into(),
            waypoints,
            durations: Arc::from([plan.duration_steps]),
            ranking: vec![0],
            elapsed_steps,
            explores: false,
            generation: 0,
        })
    }

    /// `shape.n` samples: half of them the best plan at durations around what
    /// it should take, the others the next best, each as it is. `None` where
    /// nothing is left of the best.
    pub(super) fn samples(&self, shape: &WarmShape) -> Option<WarmSamples> {
        let left = |plan: usize| Some(self.durations.get(plan)? - self.elapsed_steps);
        let best = *self.ranking.first()?;
        let best_left = left(best)?;
        if best_left < LEAST_LEFT * self.durations.get(best)? {
            return None;
        }
        let target = shape.near_duration.unwrap_or(best_left);
        let others: Vec<usize> = self.ranking.iter().copied().skip(1).collect();
        let n_best = if others.is_empty() { shape.n } else { shape.n.div_ceil(2) };
        let spread = match n_best {
            1 => vec![target],
            _ => duration_grid([target / SPREAD, target * SPREAD], n_best),
        };
        let mut sources: Vec<(usize, f32)> = spread.into_iter().map(|d| (best, d)).collect();
        for plan in others.iter().copied().cycle().take(shape.n - n_best) {
            sources.push((plan, left(plan)?.max(1.0) * target / best_left));
        }
        let mut samples = WarmSamples { durations: Vec::new(), plans: Vec::new() };
        for (plan, duration) in sources {
            let duration = match shape.range {
                Some([min, max]) => duration.clamp(min, max),
                None => shape.fixed_duration,
            };
            self.shifted(plan, duration, shape, &mut samples.plans)?;
            samples.durations.push(duration);
        }
        Some(samples)
    }

    /// What is left of a plan, stretched over the waypoints of a model that is
    /// told the duration; of a fixed-duration model shifted along, with the
    /// last waypoint repeated.
    fn shifted(
        &self,
        plan: usize,
        duration: f32,
        shape: &WarmShape,
        out: &mut Vec<f32>,
    ) -> Option<()> {
        let size = self.waypoints * self.dims;
        let rows = self.plans.get(plan * size..(plan + 1) * size)?;
        let whole = self.durations.get(plan)?.max(1e-6);
        let begin = self.elapsed_steps.clamp(0.0, whole);
        let span = if shape.range.is_some() { whole - begin } else { duration };
        let last = self.waypoints.checked_sub(1)?;
        for waypoint in 0..shape.waypoints {
            let along = waypoint as f32 / shape.waypoints.saturating_sub(1).max(1) as f32;
            let at = ((begin + along * span) / whole).min(1.0) * last as f32;
            let left = (at.floor() as usize).min(last);
            let right = (left + 1).min(last);
            let f = at - left as f32;
            let row = |index: usize| rows.get(index * self.dims..(index + 1) * self.dims);
            out.extend(row(left)?.iter().zip(row(right)?).map(|(a, b)| a + f * (b - a)));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two plans of five waypoints, x = 0..4 and x = 10..14.
    fn previous(elapsed_steps: f32) -> Previous {
        let plans = (0..2).flat_map(|p| (0..5).map(move |w| (10 * p + w) as f32));
        Previous {
            plans: plans.collect(),
            waypoints: 5,
            dims: 1,
            durations: Arc::from([40.0, 80.0]),
            ranking: vec![1, 0],
            elapsed_steps,
            explores: true,
            generation: 0,
        }
    }

    fn shape(n: usize, range: Option<[f32; 2]>) -> WarmShape {
        WarmShape { n, waypoints: 5, near_duration: None, range, fixed_duration: 40.0 }
    }

    #[test]
    fn plans_of_which_nothing_was_executed_are_taken_as_they_are_and_the_best_at_several_durations()
    {
        let samples = previous(0.0).samples(&shape(4, Some([10.0, 400.0]))).unwrap();
        assert_eq!(samples.plans[..5], [10.0, 11.0, 12.0, 13.0, 14.0]);
        assert_eq!(samples.plans[5..10], [10.0, 11.0, 12.0, 13.0, 14.0]);
        assert_eq!(samples.plans[10..15], [0.0, 1.0, 2.0, 3.0, 4.0]);
        let expected = [80.0 / SPREAD, 80.0 * SPREAD, 40.0, 40.0];
        for (duration, expected) in samples.durations.iter().zip(expected) {
            assert!((duration - expected).abs() < 1e-3, "{:?}", samples.durations);
        }
    }

    #[test]
    fn the_executed_part_is_cut_off_and_the_rest_stretched_or_shifted() {
        let half = previous(40.0);
        let stretched = half.samples(&shape(1, Some([10.0, 400.0]))).unwrap();
        assert_eq!(stretched.plans, [12.0, 12.5, 13.0, 13.5, 14.0]);
        assert_eq!(stretched.durations, [40.0]);
        // A quarter of the plan: waypoints stay 20 steps apart there.
        let fixed = WarmShape { fixed_duration: 80.0, ..shape(1, None) };
        let shifted = previous(20.0).samples(&fixed).unwrap();
        assert_eq!(shifted.plans, [11.0, 12.0, 13.0, 14.0, 14.0]);
        assert_eq!(shifted.durations, [80.0]);
        assert!(previous(79.0).samples(&fixed).is_none(), "nothing is left");
    }

    #[test]
    fn durations_follow_where_the_goal_went_and_stay_within_the_model() {
        let near = WarmShape { near_duration: Some(160.0), ..shape(3, Some([24.0, 170.0])) };
        let samples = previous(0.0).samples(&near).unwrap();
        let expected = [160.0 / SPREAD, 170.0, 80.0];
        for (duration, expected) in samples.durations.iter().zip(expected) {
            assert!((duration - expected).abs() < 1e-3, "{:?}", samples.durations);
        }
    }
}
