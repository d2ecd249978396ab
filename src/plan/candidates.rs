//! Judging samples: free space, speed, duration.

use super::film::{Candidate, Selection};
use crate::env::Workspace;

/// Waypoint segments over which the mean speed is held to the limit.
const SPEED_WINDOW: usize = 6;
/// Points checked per waypoint segment; at 7 steps a segment and 5 units per
/// second they lie at most 0.06 apart.
const POINTS_PER_SEGMENT: usize = 6;

/// `n` durations over `[min, max]`, evenly spaced in their logarithm.
pub fn duration_grid([min, max]: [f32; 2], n: usize) -> Vec<f32> {
    let last = n.saturating_sub(1).max(1) as f32;
    (0..n).map(|i| min * (max / min).powf(i as f32 / last)).collect()
}

/// Highest mean speed over six consecutive segments on either axis, units per
/// second; positions are `secs` apart.
pub fn peak_speed(positions: &[[f32; 2]], secs: f32) -> f32 {
    let window = SPEED_WINDOW.min(positions.len().saturating_sub(1)).max(1);
    positions
        .windows(window + 1)
        .flat_map(|w| {
            let (first, last) = (w[0], w[window]);
            [last[0] - first[0], last[1] - first[1]]
        })
        .map(|distance| distance.abs() / (window as f32 * secs))
        .fold(0.0, f32::max)
}

/// Judge one sample from its waypoint positions.
pub fn score_candidate(
    positions: &[[f32; 2]],
    duration_steps: f32,
    dt_secs: f32,
    speed_limit: f32,
    workspace: &dyn Workspace,
) -> Candidate {
    let segments = positions.len().saturating_sub(1).max(1) as f32;
    let peak_speed = peak_speed(positions, duration_steps * dt_secs / segments);
    let mut points_in_walls = 0;
    for pair in positions.windows(2) {
        for i in 0..POINTS_PER_SEGMENT {
            let f = (i + 1) as f32 / POINTS_PER_SEGMENT as f32;
            let point: [f32; 2] = std::array::from_fn(|d| pair[0][d] + f * (pair[1][d] - pair[0][d]));
            points_in_walls += usize::from(!workspace.is_free(point));
        }
    }
    Candidate {
        duration_steps,
        points_in_walls,
        peak_speed,
        feasible: points_in_walls == 0 && peak_speed <= speed_limit,
    }
}

/// The shortest candidate that passes; if none does, the least bad.
///
/// [`Selection::Blind`] never reads `points_in_walls`.
pub fn select(candidates: &[Candidate], selection: Selection, speed_limit: f32) -> Option<usize> {
    let walls = |c: &Candidate| match selection {
        Selection::ReadsMap => c.points_in_walls,
        Selection::Blind => 0,
    };
    let key = |c: &Candidate| {
        let excess = c.peak_speed - speed_limit;
        // NaN must never win, and f32::max would turn it into 0.
        let excess = if excess.is_nan() { f32::MAX } else { excess.max(0.0) };
        (walls(c) as f32 + 10.0 * excess, c.duration_steps)
    };
    let order = |a: &(f32, f32), b: &(f32, f32)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1));
    (0..candidates.len()).min_by(|a, b| order(&key(&candidates[*a]), &key(&candidates[*b])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(duration_steps: f32, points_in_walls: usize, peak_speed: f32) -> Candidate {
        let feasible = points_in_walls == 0 && peak_speed <= 5.0;
        Candidate { duration_steps, points_in_walls, peak_speed, feasible }
    }

    #[test]
    fn the_shortest_feasible_candidate_wins() {
        let all = [
            candidate(50.0, 3, 2.0),
            candidate(60.0, 0, 9.0),
            candidate(90.0, 0, 2.0),
            candidate(80.0, 0, 2.0),
        ];
        assert_eq!(select(&all, Selection::ReadsMap, 5.0), Some(3));
    }

    #[test]
    fn blind_selection_ignores_walls() {
        let all = [candidate(50.0, 3, 2.0), candidate(80.0, 0, 2.0)];
        assert_eq!(select(&all, Selection::Blind, 5.0), Some(0));
    }

    #[test]
    fn without_a_feasible_candidate_the_least_bad_is_taken() {
        let all = [candidate(50.0, 9, 2.0), candidate(80.0, 1, 5.1), candidate(60.0, 0, f32::NAN)];
        assert_eq!(select(&all, Selection::ReadsMap, 5.0), Some(1));
        assert_eq!(select(&[], Selection::ReadsMap, 5.0), None);
    }

    #[test]
    fn the_duration_grid_is_even_in_logarithm_and_hits_both_ends() {
        let grid = duration_grid([24.0, 384.0], 5);
        for (duration, expected) in grid.iter().zip([24.0, 48.0, 96.0, 192.0, 384.0]) {
            assert!((duration - expected).abs() < 1e-3);
        }
        assert_eq!(duration_grid([30.0, 60.0], 1), vec![30.0]);
    }

    #[test]
    fn peak_speed_is_the_mean_over_six_segments_of_the_faster_axis() {
        let positions: Vec<[f32; 2]> = (0..10).map(|i| [0.1 * i as f32, -0.3 * i as f32]).collect();
        assert!((peak_speed(&positions, 0.1) - 3.0).abs() < 1e-4);
    }
}
