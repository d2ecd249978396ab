//! Which batches planning sends through the network: what a device that
//! compiles a program for every shape must have seen before it plans.

use super::film::{DurationSearch, PlanSettings};
use super::planner::Planner;
use crate::model::diffuser::DiffuserConfig;

/// Most lengths that plans of a fixed-duration model have while dragging.
const MOST_LENGTHS: usize = 8;

/// Shorter plans of a fixed-duration model have a multiple of this many
/// waypoints: few lengths, all of them legal.
pub(super) fn length_grain(config: &DiffuserConfig) -> usize {
    let multiple = config.network().length_multiple();
    multiple * config.waypoints.div_ceil(multiple * MOST_LENGTHS)
}

impl Planner {
    /// Every `[plans, waypoints]` that requests with these settings send
    /// through the network, as the device's batches are filled up; the full
    /// request's first, and with `drags` those made while a goal is dragged.
    pub fn shapes(&self, settings: &PlanSettings, drags: bool) -> Vec<[usize; 2]> {
        let config = &self.diffuser().config;
        let whole = config.waypoints;
        let mut shapes = Vec::new();
        if config.takes_duration() {
            let (durations, each) = (settings.durations, settings.candidates_per_duration);
            match settings.search {
                DurationSearch::Grid => shapes.push([durations * each, whole]),
                DurationSearch::Refine => {
                    shapes.push([durations, whole]);
                    shapes.push([durations * each.saturating_sub(1), whole]);
                }
            }
            if drags {
                shapes.push([settings.drag_candidates, whole]);
            }
        } else {
            shapes.push([settings.candidates_per_duration * 2, whole]);
            let has_goal = !self.spec.goal_dims.is_empty();
            let grain = length_grain(config);
            let shortest = if has_goal { 2 * config.network().length_multiple() } else { whole };
            let lengths = (1..=MOST_LENGTHS).map(|k| (k * grain).clamp(shortest, whole));
            let lengths = lengths.filter(|_| drags);
            shapes.extend(lengths.map(|length| [settings.candidates_per_duration, length]));
        }
        let buckets = self.diffuser().buckets();
        let mut filled = Vec::new();
        for [plans, waypoints] in shapes {
            let shape = [buckets.size(plans), waypoints];
            if plans > 0 && !filled.contains(&shape) {
                filled.push(shape);
            }
        }
        filled
    }
}
