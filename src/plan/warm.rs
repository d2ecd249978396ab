//! Starting from an earlier plan instead of pure noise (Janner's thesis, Section
//! 5.5, "Warm-starting diffusion for faster planning"): put back the noise of
//! an earlier diffusion time, x_t = sqrt(abar_t) x_prev + sqrt(1 - abar_t) eps,
//! and denoise from there. Only the steps after that time cost a forward pass.

use super::candidates::duration_grid;
use super::film::{Film, Plan};
use crate::env::StateView;

/// How much shorter and how much longer than expected samples may take, as
/// factors. More on the longer side where the way itself changes under a drag:
/// longer plans pass more often. A plan that is made again on its way would
/// arrive a little later every time.
const SHORTER: f32 = 1.2;
const LONGER: f32 = 1.5;
/// An earlier plan of which less than this share is left has nothing to give.
const LEAST_LEFT: f32 = 0.05;

/// The plan of an earlier request that a new one starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Previous {
    /// Its waypoints, `[waypoints, dims]` in environment units, actions before
    /// observations.
    pub rows: Vec<f32>,
    /// Numbers per waypoint.
    pub dims: usize,
    /// Its duration, environment steps.
    pub duration_steps: f32,
    /// Environment steps of it that have been executed since.
    pub elapsed_steps: f32,
    /// Whether some samples come from pure noise all the same, so that another
    /// way is found where the goal or the start has moved.
    pub explores: bool,
    /// How many warm requests in a row came before; what explores looks
    /// elsewhere in each.
    pub generation: u64,
}

/// Samples that start from an earlier plan.
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
    /// How long they should take; what is left of the earlier plan if absent.
    pub near_duration: Option<f32>,
    /// The durations a model takes; `None` where waypoints are a fixed time
    /// apart and all last `fixed_duration`.
    pub range: Option<[f32; 2]>,
    /// Duration of a plan of a fixed-duration model.
    pub fixed_duration: f32,
}

impl Previous {
    /// A plan that has been followed for `elapsed_steps`, to plan again from.
    pub fn of_plan(plan: &Plan, view: &StateView, elapsed_steps: f32) -> Option<Self> {
        let segments = plan.waypoints.len().saturating_sub(1).max(1) as f32;
        let mut rows: Vec<f32> = Vec::new();
        for (index, state) in plan.waypoints.iter().enumerate() {
            if let Some(actions) = &plan.actions {
                let step = (index as f32 / segments * plan.duration_steps).round() as usize;
                rows.extend(actions.get(step).or(actions.last())?);
            }
            rows.extend(view.observe(state));
        }
        Some(Self {
            dims: rows.len().checked_div(plan.waypoints.len())?,
            rows,
            duration_steps: plan.duration_steps,
            elapsed_steps,
            explores: false,
            generation: 0,
        })
    }

    /// The chosen plan of a film, to explore from while something is being
    /// dragged. `None` while the film is incomplete.
    pub fn of_film(film: &Film, elapsed_steps: f32) -> Option<Self> {
        let earlier = film.request.previous.as_ref();
        let generation = earlier.map_or(0, |earlier| earlier.generation.wrapping_add(1));
        let plan = Self::of_plan(film.plan.as_deref()?, &film.view, elapsed_steps)?;
        Some(Self { explores: true, generation, ..plan })
    }

    /// `shape.n` samples of what is left of the plan, at durations around what
    /// it should take. `None` where nothing is left.
    pub(super) fn samples(&self, shape: &WarmShape) -> Option<WarmSamples> {
        let left = self.duration_steps - self.elapsed_steps;
        if left.is_nan() || left < LEAST_LEFT * self.duration_steps {
            return None;
        }
        let target = shape.near_duration.unwrap_or(left);
        let longer = if self.explores { LONGER } else { SHORTER };
        let durations = match shape.range {
            Some([min, max]) => duration_grid([target / SHORTER, target * longer], shape.n)
                .into_iter()
                .map(|duration| duration.clamp(min, max))
                .collect(),
            None => vec![shape.fixed_duration; shape.n],
        };
        let rows = self.shifted(shape)?;
        Some(WarmSamples { plans: rows.repeat(shape.n), durations })
    }

    /// What is left, stretched over the waypoints of a model that is told the
    /// duration; of a fixed-duration model shifted along, with the last waypoint
    /// repeated.
    fn shifted(&self, shape: &WarmShape) -> Option<Vec<f32>> {
        let last = self.rows.len().checked_div(self.dims)?.checked_sub(1)?;
        let whole = self.duration_steps.max(1e-6);
        let begin = self.elapsed_steps.clamp(0.0, whole);
        let span = if shape.range.is_some() { whole - begin } else { shape.fixed_duration };
        let mut shifted = Vec::with_capacity(shape.waypoints * self.dims);
        for waypoint in 0..shape.waypoints {
            let along = waypoint as f32 / shape.waypoints.saturating_sub(1).max(1) as f32;
            let at = ((begin + along * span) / whole).min(1.0) * last as f32;
            let left = (at.floor() as usize).min(last);
            let f = at - left as f32;
            let row = |index: usize| self.rows.get(index * self.dims..(index + 1) * self.dims);
            let (a, b) = (row(left)?, row((left + 1).min(last))?);
            shifted.extend(a.iter().zip(b).map(|(a, b)| a + f * (b - a)));
        }
        Some(shifted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five waypoints, x = 10..14, in 80 steps.
    fn previous(elapsed_steps: f32) -> Previous {
        Previous {
            rows: vec![10.0, 11.0, 12.0, 13.0, 14.0],
            dims: 1,
            duration_steps: 80.0,
            elapsed_steps,
            explores: true,
            generation: 0,
        }
    }

    fn shape(n: usize, range: Option<[f32; 2]>) -> WarmShape {
        WarmShape { n, waypoints: 5, near_duration: None, range, fixed_duration: 80.0 }
    }

    fn durations(samples: &WarmSamples, expected: &[f32]) {
        assert_eq!(samples.durations.len(), expected.len());
        for (duration, expected) in samples.durations.iter().zip(expected) {
            assert!((duration - expected).abs() < 1e-3, "{:?}", samples.durations);
        }
    }

    #[test]
    fn a_plan_of_which_nothing_was_executed_is_taken_as_it_is_at_several_durations() {
        let samples = previous(0.0).samples(&shape(2, Some([10.0, 400.0]))).unwrap();
        assert_eq!(samples.plans[..5], [10.0, 11.0, 12.0, 13.0, 14.0]);
        assert_eq!(samples.plans[..5], samples.plans[5..]);
        durations(&samples, &[80.0 / SHORTER, 80.0 * LONGER]);
    }

    #[test]
    fn a_plan_made_again_on_its_way_does_not_take_longer_and_longer() {
        let again = Previous { explores: false, ..previous(0.0) };
        let samples = again.samples(&shape(3, Some([10.0, 400.0]))).unwrap();
        durations(&samples, &[80.0 / SHORTER, 80.0, 80.0 * SHORTER]);
    }

    #[test]
    fn the_executed_part_is_cut_off_and_the_rest_stretched_or_shifted() {
        let stretched = previous(40.0).samples(&shape(2, Some([10.0, 400.0]))).unwrap();
        assert_eq!(stretched.plans[..5], [12.0, 12.5, 13.0, 13.5, 14.0]);
        durations(&stretched, &[40.0 / SHORTER, 40.0 * LONGER]);
        // A quarter of the plan: waypoints stay 20 steps apart there.
        let shifted = previous(20.0).samples(&shape(1, None)).unwrap();
        assert_eq!(shifted.plans, [11.0, 12.0, 13.0, 14.0, 14.0]);
        durations(&shifted, &[80.0]);
        assert!(previous(79.0).samples(&shape(1, None)).is_none(), "nothing is left");
    }

    #[test]
    fn durations_follow_where_the_goal_went_and_stay_within_the_model() {
        let near = WarmShape { near_duration: Some(160.0), ..shape(2, Some([24.0, 170.0])) };
        durations(&previous(0.0).samples(&near).unwrap(), &[160.0 / SHORTER, 170.0]);
    }
}
