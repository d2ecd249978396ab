//! About how long a plan will take, before it is made.

use super::film::Film;
use crate::env::Workspace;

/// Typical steps a plan spends on one cell, before any plan says otherwise.
const STEPS_PER_CELL: f32 = 22.0;
/// The same per unit of length where there are no cells.
const STEPS_PER_UNIT: f32 = 30.0;

/// Guess the duration, in steps, of a plan from `from` to `to` from an earlier
/// film: plans take about equally long per cell, or per length of the straight
/// line where there are no cells.
pub fn guess_duration(
    workspace: &dyn Workspace,
    from: [f32; 2],
    to: [f32; 2],
    earlier: Option<&Film>,
) -> f32 {
    let known = earlier.and_then(|film| {
        let (start, goal) = (&film.request.start, &film.request.goal);
        let goal = if goal.is_empty() { start } else { goal };
        let place = |state: &[f32]| Some([*state.first()?, *state.get(1)?]);
        Some((place(start)?, place(goal)?, film.plan.as_ref()?.duration_steps))
    });
    let cells = |from, to| {
        let between = workspace.cells_between(from, to)?;
        Some((between as f32 + 0.5).max(0.5))
    };
    let Some(way) = cells(from, to) else { return straight(from, to, known) };
    let pace = known.and_then(|(from, to, steps)| Some(steps / cells(from, to)?));
    (way * pace.unwrap_or(STEPS_PER_CELL).clamp(10.0, 60.0)).max(10.0)
}

fn straight(from: [f32; 2], to: [f32; 2], known: Option<([f32; 2], [f32; 2], f32)>) -> f32 {
    let length = |from: [f32; 2], to: [f32; 2]| (from[0] - to[0]).hypot(from[1] - to[1]).max(0.05);
    let pace = known.map_or(STEPS_PER_UNIT, |(from, to, steps)| steps / length(from, to));
    (length(from, to) * pace.clamp(20.0, 80.0)).max(2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{self, EnvironmentConfig};

    #[test]
    fn a_way_around_a_wall_takes_longer_than_the_straight_line() {
        let config = EnvironmentConfig {
            id: "maze2d".into(),
            maze: env::U_MAZE.into(),
            door_width: None,
            max_steps: 100,
            reference_scores: None,
        };
        let maze = env::make(&config).unwrap().workspace();
        let along = guess_duration(&*maze, [1.0, 1.0], [1.0, 3.0], None);
        let around = guess_duration(&*maze, [1.0, 1.0], [3.0, 1.0], None);
        assert_eq!((along, around), (2.5 * STEPS_PER_CELL, 6.5 * STEPS_PER_CELL));
        assert_eq!(guess_duration(&*maze, [1.0, 1.0], [1.0, 1.0], None), 11.0);
    }
}
