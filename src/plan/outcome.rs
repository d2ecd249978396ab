//! What becomes of a chain: samples in environment units, judged, and the
//! chosen one as a plan.

use std::sync::Arc;

use super::PlanError;
use super::candidates::score_candidate;
use super::denoise::Step;
use super::film::{Candidate, DenoisingStep, Film, Plan};
use super::fusing::fuse;
use super::planner::Planner;

impl Planner {
    /// A step in environment units, after the same step of an earlier round.
    pub(super) fn publish(
        &self,
        step: &Step,
        earlier: Option<&Arc<DenoisingStep>>,
    ) -> DenoisingStep {
        let units = |values: &[f32], earlier: Option<&Arc<[f32]>>| -> Arc<[f32]> {
            let mut values = values.to_vec();
            self.diffuser.normalizer.unnormalize(&mut values);
            match earlier {
                Some(earlier) => earlier.iter().chain(&values).copied().collect(),
                None => values.into(),
            }
        };
        DenoisingStep {
            diffusion_time: step.t,
            noise_level: self.diffuser.schedule.levels(step.t).1,
            noisy: units(step.noisy, earlier.map(|step| &step.noisy)),
            clean: units(step.clean, earlier.map(|step| &step.clean)),
        }
    }

    /// Judge every candidate of a complete chain.
    pub(super) fn judge(&self, film: &mut Film) -> Result<(), PlanError> {
        let Some(last) = film.steps.last().cloned() else { return Ok(()) };
        let limit = film.request.settings.speed_limit;
        film.candidates = (0..film.n_candidates())
            .map(|candidate| -> Candidate {
                let duration = film.durations[candidate];
                if self.spec.goal_dims.is_empty() {
                    return Candidate::unjudged(duration);
                }
                let states: Vec<&[f32]> = (0..film.waypoints)
                    .map(|waypoint| film.observation(&last.clean, candidate, waypoint))
                    .collect();
                let has_velocities = self.spec.has_velocities();
                let dt_secs = self.spec.dt_secs;
                score_candidate(&states, duration, dt_secs, limit, &*self.workspace, has_velocities)
            })
            .collect();
        if let Some(guide) = self.diffuser.guide() {
            let mut plans = last.clean.to_vec();
            self.diffuser.normalizer.normalize(&mut plans);
            let returns = guide.returns(&plans, film.waypoints, 0)?;
            for (candidate, value) in film.candidates.iter_mut().zip(returns) {
                candidate.predicted_return = Some(value);
            }
        }
        Ok(())
    }

    /// One sample as a plan: positions and velocities, if it has any, fused
    /// into one curve, then interpolated to every environment step.
    pub(super) fn extract(&self, film: &Film, chosen: usize) -> Option<Plan> {
        let size = film.waypoints * film.dims;
        let plans = &film.steps.last()?.clean;
        let sample = plans.get(chosen * size..(chosen + 1) * size)?;
        let duration_steps = *film.durations.get(chosen)?;
        let (mut states, mut actions) = (Vec::new(), Vec::new());
        for row in sample.chunks_exact(film.dims) {
            let (action, state) = row.split_at(film.observation_offset);
            states.push(state.to_vec());
            actions.push(action.to_vec());
        }
        let secs = duration_steps * self.spec.dt_secs / (states.len().max(2) - 1) as f32;
        if self.spec.has_velocities() {
            fuse(&mut states, secs);
        }
        let plans_actions = film.observation_offset > 0;
        // Angles are interpolated as pairs, which know no seam.
        let as_states = |rows: &[Vec<f32>]| -> Vec<Vec<f32>> {
            rows.iter().map(|row| self.view.state_of(row)).collect()
        };
        Some(Plan {
            states: as_states(&interpolate(&states, duration_steps)),
            waypoints: as_states(&states),
            actions: plans_actions.then(|| interpolate(&actions, duration_steps)),
            dt_secs: self.spec.dt_secs,
            duration_steps,
            feasible: film.candidates.get(chosen)?.feasible,
        })
    }
}

/// Rows spread over `duration` steps, linearly interpolated to every whole
/// step; the last row ends the list.
pub(super) fn interpolate(rows: &[Vec<f32>], duration: f32) -> Vec<Vec<f32>> {
    let segments = (rows.len() - 1) as f32;
    let steps = duration.ceil().max(1.0) as usize;
    (0..=steps)
        .map(|step| {
            let at = (step as f32 / duration.max(1e-6)).min(1.0) * segments;
            let left = (at.floor() as usize).min(rows.len() - 2);
            let f = at - left as f32;
            rows[left].iter().zip(&rows[left + 1]).map(|(a, b)| a + f * (b - a)).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_hits_every_waypoint_and_both_ends() {
        let rows: Vec<Vec<f32>> = (0..5).map(|i| vec![i as f32, 10.0 - i as f32]).collect();
        let dense = interpolate(&rows, 12.0);
        assert_eq!(dense.len(), 13);
        for i in 0..5 {
            assert!((dense[3 * i][0] - i as f32).abs() < 1e-5);
        }
        let fractional = interpolate(&rows, 10.5);
        assert_eq!(fractional.len(), 12);
        assert_eq!(fractional[11], vec![4.0, 6.0]);
    }
}
