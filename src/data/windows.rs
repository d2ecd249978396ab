//! Windows over recorded transitions: the plans a model learns to make.
//!
//! A window has a fixed number of waypoints and covers a duration in steps.
//! Waypoint `k` is the state at `start + k * duration / (waypoints - 1)`,
//! linearly interpolated between neighboring transitions. With a duration of
//! `waypoints - 1` steps that is the usual window of consecutive transitions.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::segments::Segments;
use super::{DataError, Episodes, LimitsNormalizer};
use crate::rng::Rng;

/// How many steps a window covers from its first to its last waypoint.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Duration {
    /// Always the same.
    Fixed {
        /// Steps.
        steps: f32,
    },
    /// Drawn so that its logarithm is uniform.
    LogUniform {
        /// Shortest, in steps.
        min: f32,
        /// Longest, in steps.
        max: f32,
    },
}

impl Duration {
    /// Shortest and longest, in steps.
    pub fn range(&self) -> [f32; 2] {
        match *self {
            Self::Fixed { steps } => [steps, steps],
            Self::LogUniform { min, max } => [min, max],
        }
    }

    fn draw(&self, rng: &mut Rng) -> f32 {
        match *self {
            Self::Fixed { steps } => steps,
            Self::LogUniform { min, max } => {
                let log = rng.uniform(f64::from(min).ln(), f64::from(max).ln());
                // Rounding may step over either end.
                (log.exp() as f32).clamp(min, max)
            }
        }
    }
}

/// What a window looks like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowConfig {
    /// Waypoints in a window; at least 2.
    pub waypoints: usize,
    /// Steps it covers.
    pub duration: Duration,
    /// Whether a waypoint holds the action, in front of the observation.
    #[serde(default)]
    pub actions: bool,
}

impl WindowConfig {
    /// Check the numbers by themselves.
    ///
    /// # Errors
    /// Fewer than 2 waypoints, or a duration that is not positive or not in order.
    pub fn validate(&self) -> Result<(), DataError> {
        let [min, max] = self.duration.range();
        let complaint = match () {
            () if self.waypoints < 2 => format!(
                "a window of {} waypoints has no beginning and end; use at least 2",
                self.waypoints
            ),
            () if !(min.is_finite() && max.is_finite() && min > 0.0 && min <= max) => format!(
                "durations from {min} to {max} steps make no window; use positive numbers in order"
            ),
            () => return Ok(()),
        };
        Err(DataError::Malformed(complaint))
    }
}

/// Windows drawn together.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowBatch {
    /// Normalized waypoints, `[n, waypoints, dims]`.
    pub plans: Vec<f32>,
    /// What each window covers, in steps, `[n]`.
    pub durations: Vec<f32>,
    /// The step each window starts at, `[n]`.
    pub starts: Vec<usize>,
}

/// Draws random windows from a data set.
#[derive(Clone, Debug)]
pub struct Windows {
    config: WindowConfig,
    normalizer: LimitsNormalizer,
    /// Normalized `[len, dims]`: actions first where they are wanted.
    rows: Vec<f32>,
    /// What each step paid.
    rewards: Vec<f32>,
    segments: Segments,
}

impl Windows {
    /// Prepare to draw windows from `episodes`.
    ///
    /// # Errors
    /// A configuration [`WindowConfig::validate`] refuses, malformed episodes,
    /// or no stretch of data as long as the longest window.
    pub fn new(episodes: Arc<Episodes>, config: WindowConfig) -> Result<Self, DataError> {
        config.validate()?;
        episodes.validate()?;
        let observations = LimitsNormalizer::fit(&episodes.observations, episodes.observation_dim)?;
        let normalizer = if config.actions {
            LimitsNormalizer::fit(&episodes.actions, episodes.action_dim)?.followed_by(observations)
        } else {
            observations
        };
        Self::normalized(&episodes, config, normalizer)
    }

    /// Windows of other episodes of the same sizes, normalized as these are.
    ///
    /// # Errors
    /// Those of [`Windows::new`].
    pub fn of_others(&self, episodes: &Episodes) -> Result<Self, DataError> {
        episodes.validate()?;
        Self::normalized(episodes, self.config.clone(), self.normalizer.clone())
    }

    /// Windows in the units of a model that is trained already.
    ///
    /// # Errors
    /// Those of [`Windows::new`].
    pub fn normalized(
        episodes: &Episodes,
        config: WindowConfig,
        normalizer: LimitsNormalizer,
    ) -> Result<Self, DataError> {
        config.validate()?;
        let segments = Segments::new(episodes.segments());
        let [_, longest] = config.duration.range();
        if segments.starts_for(longest) == 0 {
            return Err(DataError::TooShort(format!(
                "windows of {longest} steps do not fit: the longest stretch of data has {} \
                 transitions; collect more or shorten the windows",
                segments.longest()
            )));
        }
        let mut rows = Vec::with_capacity(episodes.len() * normalizer.dims());
        for i in 0..episodes.len() {
            if config.actions {
                rows.extend_from_slice(episodes.action(i));
            }
            rows.extend_from_slice(episodes.observation(i));
        }
        normalizer.normalize(&mut rows);
        let rewards = episodes.rewards.clone();
        Ok(Self { config, normalizer, rows, rewards, segments })
    }

    /// Between physical units and the numbers in a [`WindowBatch`].
    pub fn normalizer(&self) -> &LimitsNormalizer {
        &self.normalizer
    }

    /// Numbers per waypoint.
    pub fn dims(&self) -> usize {
        self.normalizer.dims()
    }

    /// What the windows look like.
    pub fn config(&self) -> &WindowConfig {
        &self.config
    }

    /// Draw `n` windows: first the duration, then a start uniformly among all
    /// from which that duration fits.
    pub fn batch(&self, n: usize, rng: &mut Rng) -> WindowBatch {
        let mut plans = Vec::with_capacity(n * self.config.waypoints * self.dims());
        let mut durations = Vec::with_capacity(n);
        let mut starts = Vec::with_capacity(n);
        for _ in 0..n {
            let duration = self.config.duration.draw(rng);
            let start =
                self.segments.start(rng.below(self.segments.starts_for(duration)), duration);
            self.push_window(&mut plans, start, duration);
            durations.push(duration);
            starts.push(start);
        }
        WindowBatch { plans, durations, starts }
    }

    /// The discounted mean reward of the steps `start..=start + duration`,
    /// `sum_k g^k r_k / sum_k g^k`: the window's discounted return, whatever
    /// its length, in units of one step's reward.
    pub fn mean_reward(&self, start: usize, duration: f32, discount: f32) -> f32 {
        let steps = duration.max(0.0) as usize + 1;
        let (mut total, mut weights, mut weight) = (0.0, 0.0, 1.0);
        for reward in self.rewards.iter().skip(start).take(steps) {
            total += weight * f64::from(*reward);
            weights += weight;
            weight *= f64::from(discount);
        }
        if weights > 0.0 { (total / weights) as f32 } else { 0.0 }
    }

    fn push_window(&self, plans: &mut Vec<f32>, start: usize, duration: f32) {
        let dims = self.dims();
        let stride = f64::from(duration) / (self.config.waypoints - 1) as f64;
        for k in 0..self.config.waypoints {
            let time = k as f64 * stride;
            let (step, fraction) = (time.floor(), (time - time.floor()) as f32);
            let row = (start + step as usize) * dims;
            let here = &self.rows[row..row + dims];
            // At a whole step the next row may belong to another segment.
            if fraction == 0.0 {
                plans.extend_from_slice(here);
            } else {
                let next = &self.rows[row + dims..row + 2 * dims];
                plans.extend(here.iter().zip(next).map(|(a, b)| a + (b - a) * fraction));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::Rng;

    /// Observation `[t, 2t]` and action `[-t]` at step `t`, with terminals at
    /// the given steps.
    fn ramp(len: usize, ends: &[usize]) -> Arc<Episodes> {
        let mut episodes = Episodes::with_capacity(2, 1, len);
        for t in 0..len {
            episodes.observations.extend([t as f32, 2.0 * t as f32]);
            episodes.actions.push(-(t as f32));
            episodes.rewards.push(0.0);
            episodes.terminals.push(ends.contains(&t));
            episodes.timeouts.push(false);
        }
        Arc::new(episodes)
    }

    fn config(waypoints: usize, duration: Duration, actions: bool) -> WindowConfig {
        WindowConfig { waypoints, duration, actions }
    }

    #[test]
    fn a_window_of_consecutive_steps_is_the_data_itself() {
        let windows =
            Windows::new(ramp(8, &[]), config(8, Duration::Fixed { steps: 7.0 }, true)).unwrap();
        assert_eq!(windows.dims(), 3);
        let mut plan = windows.batch(1, &mut Rng::stream(0, "test")).plans;
        windows.normalizer().unnormalize(&mut plan);
        for (t, row) in plan.chunks(3).enumerate() {
            let t = t as f32;
            for (value, expected) in row.iter().zip([-t, t, 2.0 * t]) {
                assert!((value - expected).abs() < 1e-5, "{row:?} at {t}");
            }
        }
    }

    #[test]
    fn log_uniform_durations_have_a_log_uniform_median() {
        let duration = Duration::LogUniform { min: 10.0, max: 1000.0 };
        let windows = Windows::new(ramp(2000, &[]), config(4, duration, false)).unwrap();
        let mut durations = windows.batch(4001, &mut Rng::stream(0, "test")).durations;
        durations.sort_by(f32::total_cmp);
        assert!((durations[2000] - 100.0).abs() < 8.0, "median {}", durations[2000]);
        assert!(durations[0] >= 10.0 && durations[4000] <= 1000.0);
    }

    #[test]
    fn every_start_that_fits_is_drawn_equally_often() {
        let windows =
            Windows::new(ramp(20, &[3, 9]), config(2, Duration::Fixed { steps: 5.0 }, false))
                .unwrap();
        let mut plans = windows.batch(60_000, &mut Rng::stream(0, "test")).plans;
        windows.normalizer().unnormalize(&mut plans);
        let mut counts = [0; 20];
        for window in plans.chunks(4) {
            counts[window[0].round() as usize] += 1;
        }
        // Steps 4..=9 offer the start 4, steps 10..=19 the starts 10..=14.
        for (start, count) in counts.into_iter().enumerate() {
            match start {
                4 | 10..=14 => assert!((9_500..10_500).contains(&count), "{start}: {count}"),
                _ => assert_eq!(count, 0, "{start}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_refused_with_a_reason() {
        let fixed = |steps| config(4, Duration::Fixed { steps }, false);
        let error = Windows::new(ramp(10, &[4]), fixed(5.0)).unwrap_err().to_string();
        assert!(error.contains("5 transitions"), "{error}");
        assert!(Windows::new(ramp(10, &[4]), fixed(4.0)).is_ok());
        assert!(Windows::new(ramp(0, &[]), fixed(4.0)).is_err());
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(Windows::new(ramp(10, &[]), fixed(bad)).is_err());
        }
        let reversed = Duration::LogUniform { min: 5.0, max: 2.0 };
        assert!(Windows::new(ramp(10, &[]), config(4, reversed, false)).is_err());
        let one = config(1, Duration::Fixed { steps: 2.0 }, false);
        assert!(Windows::new(ramp(10, &[]), one).is_err());
    }

    #[test]
    fn the_mean_reward_is_the_discounted_return_over_that_of_ones() {
        let mut episodes = Arc::unwrap_or_clone(ramp(20, &[]));
        episodes.rewards = (0..20).map(|t| t as f32).collect();
        let windows =
            Windows::new(Arc::new(episodes), config(4, Duration::Fixed { steps: 3.0 }, false))
                .unwrap();
        let expected = (5.0 + 0.5 * 6.0 + 0.25 * 7.0 + 0.125 * 8.0) / 1.875;
        assert!((windows.mean_reward(5, 3.0, 0.5) - expected).abs() < 1e-6);
        assert_eq!(windows.mean_reward(5, 0.0, 0.5), 5.0);
        // A constant reward has the same mean at every length and discount.
        let mut episodes = Arc::unwrap_or_clone(ramp(20, &[]));
        episodes.rewards = vec![-3.0; 20];
        let windows =
            Windows::new(Arc::new(episodes), config(4, Duration::Fixed { steps: 3.0 }, false))
                .unwrap();
        for (duration, discount) in [(3.0, 1.0), (9.0, 0.9), (15.0, 0.1)] {
            assert!((windows.mean_reward(2, duration, discount) + 3.0).abs() < 1e-6);
        }
    }

    #[test]
    fn a_seed_fixes_the_batch() {
        let duration = Duration::LogUniform { min: 3.0, max: 30.0 };
        let windows = Windows::new(ramp(100, &[]), config(16, duration, true)).unwrap();
        let draw = |seed| windows.batch(8, &mut Rng::stream(seed, "test"));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    proptest! {
        #[test]
        fn windows_follow_the_data_and_stay_within_one_segment(
            seed: u64,
            ends in prop::collection::btree_set(0_usize..300, 0..6),
            waypoints in 2_usize..40,
            min in 1.0_f32..20.0,
            factor in 1.0_f32..2.0,
        ) {
            let ends: Vec<usize> = ends.into_iter().collect();
            let duration = Duration::LogUniform { min, max: min * factor };
            // Six ends leave a stretch of at least 43 of 300 steps.
            let windows =
                Windows::new(ramp(300, &ends), config(waypoints, duration, false)).unwrap();
            let batch = windows.batch(20, &mut Rng::stream(seed, "test"));
            prop_assert!(batch.plans.iter().all(|value| value.abs() <= 1.0 + 1e-5));
            let mut plans = batch.plans;
            windows.normalizer().unnormalize(&mut plans);
            for (window, duration) in plans.chunks(2 * waypoints).zip(batch.durations) {
                let start = window[0];
                prop_assert!((start - start.round()).abs() < 1e-3);
                for k in 0..waypoints {
                    let time = start + k as f32 * duration / (waypoints - 1) as f32;
                    prop_assert!((window[2 * k] - time).abs() < 1e-2);
                    prop_assert!((window[2 * k + 1] - 2.0 * time).abs() < 2e-2);
                }
                let last = window[2 * (waypoints - 1)];
                let crossed = ends.iter().any(|&end| {
                    start.round() <= end as f32 && last > end as f32 + 1e-2
                });
                prop_assert!(!crossed, "{start} to {last} crosses one of {ends:?}");
            }
        }
    }
}
