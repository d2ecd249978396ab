//! Judging samples: free space, speed, duration.

use super::film::{Candidate, Selection};
use crate::env::Workspace;

/// Waypoint segments over which the mean speed is held to the limit.
const SPEED_WINDOW: usize = 6;
/// Points checked per waypoint segment; at 7 steps a segment and 5 units per
/// second they lie at most 0.06 apart.
const POINTS_PER_SEGMENT: usize = 6;
/// Roughness up to which a blind selection trusts a plan, units per second.
/// Plans clear of walls mostly lie below it, plans through walls above.
const ROUGHNESS_LIMIT: f32 = 2.0;

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

/// Root mean square of slope minus mean planned velocity over all segments of
/// states `x, y, vx, vy` that are `secs` apart.
pub fn roughness(states: &[&[f32]], secs: f32) -> f32 {
    let mut sum = 0.0;
    let mut n = 0;
    for pair in states.windows(2) {
        let half = pair[0].len() / 2;
        for d in 0..half {
            let slope = (pair[1][d] - pair[0][d]) / secs;
            let velocity = (pair[0][half + d] + pair[1][half + d]) / 2.0;
            sum += (slope - velocity).powi(2);
        }
        n += 1;
    }
    (sum / n.max(1) as f32).sqrt()
}

/// Judge one sample from its waypoint states. Without velocities a plan says
/// nothing of its own roughness.
pub fn score_candidate(
    states: &[&[f32]],
    duration_steps: f32,
    dt_secs: f32,
    speed_limit: f32,
    workspace: &dyn Workspace,
    has_velocities: bool,
) -> Candidate {
    let positions: Vec<[f32; 2]> = states.iter().map(|state| [state[0], state[1]]).collect();
    let segments = positions.len().saturating_sub(1).max(1) as f32;
    let secs = duration_steps * dt_secs / segments;
    let peak_speed = peak_speed(&positions, secs);
    let mut points_in_walls = 0;
    for pair in positions.windows(2) {
        for i in 0..POINTS_PER_SEGMENT {
            let f = (i + 1) as f32 / POINTS_PER_SEGMENT as f32;
            let point: [f32; 2] =
                std::array::from_fn(|d| pair[0][d] + f * (pair[1][d] - pair[0][d]));
            points_in_walls += usize::from(!workspace.is_free(point));
        }
    }
    Candidate {
        duration_steps,
        points_in_walls,
        peak_speed,
        roughness: if has_velocities { roughness(states, secs) } else { 0.0 },
        feasible: points_in_walls == 0 && peak_speed <= speed_limit,
        predicted_return: None,
    }
}

/// Whether a candidate passes as far as the selection may look.
/// [`Selection::Blind`] never reads `points_in_walls`; a plan the model is not
/// sure of, mostly one through a wall, gives itself away by its roughness.
pub fn passes(candidate: &Candidate, selection: Selection, speed_limit: f32) -> bool {
    badness(candidate, selection, speed_limit) == 0.0
}

fn badness(candidate: &Candidate, selection: Selection, speed_limit: f32) -> f32 {
    let excess = |value: f32, limit: f32| {
        // NaN must never win, and f32::max would turn it into 0.
        if value.is_nan() { f32::MAX } else { (value - limit).max(0.0) }
    };
    let trouble = match selection {
        Selection::ReadsMap => candidate.points_in_walls as f32,
        Selection::Blind => 10.0 * excess(candidate.roughness, ROUGHNESS_LIMIT),
        Selection::Return => return 0.0,
    };
    trouble + 10.0 * excess(candidate.peak_speed, speed_limit)
}

/// The shortest candidate that passes, or the least bad if none does; with
/// [`Selection::Return`] the one of the highest predicted return.
pub fn select(candidates: &[Candidate], selection: Selection, speed_limit: f32) -> Option<usize> {
    let key = |c: &Candidate| match (selection, c.predicted_return) {
        (Selection::Return, Some(value)) if value.is_finite() => (-value, c.duration_steps),
        (Selection::Return, _) => (f32::MAX, c.duration_steps),
        _ => (badness(c, selection, speed_limit), c.duration_steps),
    };
    let order = |a: &(f32, f32), b: &(f32, f32)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1));
    (0..candidates.len()).min_by(|a, b| order(&key(&candidates[*a]), &key(&candidates[*b])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(duration_steps: f32, points_in_walls: usize, peak_speed: f32) -> Candidate {
        let feasible = points_in_walls == 0 && peak_speed <= 5.0;
        Candidate {
            duration_steps,
            points_in_walls,
            peak_speed,
            roughness: 0.5,
            feasible,
            predicted_return: None,
        }
    }

    #[test]
    fn blind_selection_takes_smooth_plans_only() {
        let rough = Candidate { roughness: 9.0, ..candidate(50.0, 0, 2.0) };
        let all = [rough, candidate(80.0, 5, 2.0)];
        assert_eq!(select(&all, Selection::Blind, 5.0), Some(1));
        assert_eq!(select(&all, Selection::ReadsMap, 5.0), Some(0));
    }

    #[test]
    fn a_plan_whose_slopes_are_its_velocities_is_not_rough() {
        let smooth: Vec<Vec<f32>> = (0..9).map(|i| vec![0.2 * i as f32, 0.0, 2.0, 0.0]).collect();
        let states: Vec<&[f32]> = smooth.iter().map(Vec::as_slice).collect();
        assert!(roughness(&states, 0.1) < 1e-4);
        assert!((roughness(&states, 0.2) - 1.0).abs() < 1e-4);
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
    fn the_highest_predicted_return_wins_and_nan_never_does() {
        let worth = |predicted_return| Candidate { predicted_return, ..candidate(60.0, 9, 9.0) };
        let all = [worth(Some(f32::NAN)), worth(Some(-20.0)), worth(Some(-3.0)), worth(None)];
        assert_eq!(select(&all, Selection::Return, 5.0), Some(2));
        assert_eq!(select(&all[..1], Selection::Return, 5.0), Some(0));
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
