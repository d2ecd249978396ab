//! How many samples a request draws, how long each takes and what it starts
//! from.

use super::candidates::{duration_grid, passes};
use super::denoise::{Joining, noised};
use super::film::{DurationSearch, Film, PlanRequest};
use super::planner::Planner;
use super::shapes::length_grain;
use super::warm::{Previous, WarmSamples, WarmShape};
use crate::rng::Rng;

/// Half-width of a dragging request's durations around the last one, as a
/// factor.
const DRAG_SPREAD: f32 = 1.35;
/// Of the samples of a warm request that explores, one in so many is fresh.
const FRESH_SHARE: usize = 4;
/// The golden ratio: the durations of fresh samples move by it from request to
/// request, which fills the range evenly.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// The samples of a request before they are judged.
pub(super) struct Shape {
    pub waypoints: usize,
    /// Durations of the samples from pure noise.
    pub durations: Vec<f32>,
    /// Samples from earlier plans, after those.
    pub warm: Option<WarmSamples>,
}

impl Planner {
    /// How many waypoints, which durations, and what starts from an earlier
    /// plan.
    pub(super) fn shape(&self, request: &PlanRequest) -> Shape {
        let cold = match self.diffuser().config.takes_duration() {
            true => self.duration_shape(request),
            false => self.fixed_shape(request),
        };
        let known = request.previous.as_ref().filter(|_| request.settings.warm_steps > 0);
        let warm = known.and_then(|previous| self.warm_shape(request, previous, &cold));
        warm.unwrap_or(cold)
    }

    /// The diffusion times that a chain from pure noise visits.
    pub(super) fn times(&self, request: &PlanRequest) -> Vec<usize> {
        let settings = &request.settings;
        settings.sampler.times(&self.diffuser().schedule, settings.denoising_steps)
    }

    /// Whether some candidate passes.
    pub(super) fn has_passed(&self, film: &Film) -> bool {
        let settings = &film.request.settings;
        film.candidates.iter().any(|c| passes(c, settings.selection, settings.speed_limit))
    }

    /// Earlier plans with the noise of the time their last steps begin at.
    pub(super) fn joining(
        &self,
        request: &PlanRequest,
        mut warm: WarmSamples,
    ) -> (Vec<f32>, Joining) {
        let times = self.times(request);
        let steps = request.settings.warm_steps.clamp(1, times.len().max(1));
        self.diffuser().normalizer.normalize(&mut warm.plans);
        // The same noise at every request: a plan that is asked for again
        // settles instead of flickering.
        let eps = Rng::stream(request.seed, "warm noise").normals(warm.plans.len());
        let t = times.get(times.len() - steps).copied().unwrap_or(0);
        let noisy = noised(&self.diffuser().schedule, t, &warm.plans, &eps);
        (warm.durations, Joining { steps, noisy })
    }

    fn duration_shape(&self, request: &PlanRequest) -> Shape {
        let config = &self.diffuser().config;
        let settings = &request.settings;
        let [min, max] = config.duration_range();
        let durations = match request.near_duration {
            None => {
                let each = match settings.search {
                    DurationSearch::Grid => settings.candidates_per_duration,
                    DurationSearch::Refine => 1,
                };
                let grid = duration_grid([min, max], settings.durations).into_iter();
                grid.flat_map(|duration| std::iter::repeat_n(duration, each)).collect()
            }
            Some(near) => {
                let near = near.clamp(min, max);
                let range = [(near / DRAG_SPREAD).max(min), (near * DRAG_SPREAD).min(max)];
                // Half look elsewhere: a goal that slips around a wall takes
                // another way of quite another length.
                let elsewhere = settings.drag_candidates / 2;
                let mut durations = duration_grid(range, settings.drag_candidates - elsewhere);
                durations.extend(duration_grid([min, max], elsewhere));
                durations
            }
        };
        Shape { waypoints: config.waypoints, durations, warm: None }
    }

    /// A fixed-duration model plans shorter by taking fewer waypoints: the
    /// network is convolutional and takes any legal length.
    fn fixed_shape(&self, request: &PlanRequest) -> Shape {
        let config = &self.diffuser().config;
        let stride = config.stride();
        let multiple = config.network().length_multiple();
        let waypoints = match request.near_duration {
            // Without a goal there is no arrival to be in time for.
            _ if self.spec.goal_dims.is_empty() => config.waypoints,
            None => config.waypoints,
            Some(near) => {
                let wanted = (near / stride).ceil() as usize + 1;
                let wanted = wanted.next_multiple_of(length_grain(config));
                wanted.clamp(2 * multiple, config.waypoints)
            }
        };
        let settings = &request.settings;
        let n = match request.near_duration {
            None => settings.candidates_per_duration * 2,
            Some(_) => settings.candidates_per_duration,
        };
        let durations = vec![stride * (waypoints - 1) as f32; n];
        Shape { waypoints, durations, warm: None }
    }

    /// Most samples from the earlier plans, some from noise where the request
    /// explores. `None` where those plans are of no use here.
    fn warm_shape(
        &self,
        request: &PlanRequest,
        previous: &Previous,
        cold: &Shape,
    ) -> Option<Shape> {
        let config = &self.diffuser().config;
        if previous.dims != config.dims() {
            return None;
        }
        let range = config.takes_duration().then(|| config.duration_range());
        let n =
            if range.is_some() { request.settings.drag_candidates } else { cold.durations.len() };
        let n_fresh = if previous.explores { n.div_ceil(FRESH_SHARE) } else { 0 };
        let fixed_duration = cold.durations.first().copied().unwrap_or_default();
        let samples = previous.samples(&WarmShape {
            n: n - n_fresh,
            waypoints: cold.waypoints,
            near_duration: request.near_duration,
            range,
            fixed_duration,
        })?;
        let durations = match range {
            Some(range) => {
                fresh_durations(range, request.near_duration, n_fresh, previous.generation)
            }
            None => vec![fixed_duration; n_fresh],
        };
        Some(Shape { waypoints: cold.waypoints, durations, warm: Some(samples) })
    }
}

/// Half of `n` durations near the guess, for another way of about that length;
/// the others anywhere, elsewhere in every `generation`.
fn fresh_durations([min, max]: [f32; 2], near: Option<f32>, n: usize, generation: u64) -> Vec<f32> {
    let offset = (generation as f64 * GOLDEN).fract() as f32;
    let n_near = near.map_or(0, |_| n / 2);
    let near = near.unwrap_or(min).clamp(min, max);
    let n_far = n - n_near;
    let around = (0..n_near).map(|i| {
        let along = (i as f32 + offset) / n_near as f32;
        (near / DRAG_SPREAD * DRAG_SPREAD.powf(2.0 * along)).clamp(min, max)
    });
    let far = (0..n_far).map(|i| min * (max / min).powf((i as f32 + offset) / n_far as f32));
    around.chain(far).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_samples_look_elsewhere_in_every_request_and_within_the_model() {
        let range = [24.0, 450.0];
        let first = fresh_durations(range, Some(100.0), 4, 0);
        let second = fresh_durations(range, Some(100.0), 4, 1);
        assert_ne!(first, second);
        let all: Vec<f32> =
            (0..20).flat_map(|generation| fresh_durations(range, None, 2, generation)).collect();
        assert!(all.iter().chain(&first).chain(&second).all(|d| (24.0..=450.0).contains(d)));
        // No stretch of the range is left out for long.
        for low in [24.0, 50.0, 100.0, 200.0, 350.0] {
            assert!(all.iter().any(|d| (low..low * 1.25).contains(d)), "none near {low}");
        }
    }
}
