//! Rewards painted onto a map by hand, as part of a scene.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::values::ValueReward;
use crate::env::StateDimension;
use crate::plan::occupancy::MapGrid;

/// Cells along each side of a new painting.
const CELLS: usize = 48;
/// Most cells along a side of one that is read.
const MAX_CELLS: usize = 256;
/// Radius of the brush, as a share of each side.
const RADIUS: f32 = 0.06;

/// What the cells of a map pay: 1, -1 or nothing.
///
/// In a scene file it is text: a line for every cell of the second coordinate,
/// from its upper end down, and in it a character for every cell of the first,
/// `+` for 1, `-` for -1, `.` for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Painting {
    cells: [usize; 2],
    /// The second coordinate runs fastest.
    rewards: Arc<Vec<i8>>,
}

impl Default for Painting {
    fn default() -> Self {
        Self { cells: [CELLS; 2], rewards: Arc::new(vec![0; CELLS * CELLS]) }
    }
}

impl Painting {
    /// Let the cells around a place of a state space pay `reward`: 1, -1 or 0.
    pub fn paint(&mut self, state: &[StateDimension], at: [f32; 2], reward: i8) {
        let grid = self.grid(state);
        let spans = [0, 1].map(|axis| grid.high[axis] - grid.low[axis]);
        let cells = Arc::make_mut(&mut self.rewards);
        for (index, cell) in cells.iter_mut().enumerate() {
            let center = grid.center(index);
            let off = [0, 1].map(|axis| {
                let off = (center[axis] - at[axis]).abs() / spans[axis].max(1e-6);
                let is_periodic = state.get(axis).is_some_and(|dimension| dimension.periodic);
                if is_periodic { off.min(1.0 - off) } else { off }
            });
            if off[0].hypot(off[1]) <= RADIUS {
                *cell = reward.signum();
            }
        }
    }

    /// The map it is painted on.
    pub fn grid(&self, state: &[StateDimension]) -> MapGrid {
        MapGrid::of(state, self.cells)
    }

    /// What every cell pays, the second coordinate running fastest.
    pub fn rewards(&self) -> Vec<f32> {
        self.rewards.iter().map(|reward| f32::from(*reward)).collect()
    }

    /// The reward of a value map.
    pub fn reward(&self, state: &[StateDimension]) -> ValueReward {
        ValueReward::Painted { grid: self.grid(state), rewards: Arc::new(self.rewards()) }
    }
}

impl TryFrom<String> for Painting {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let lines: Vec<Vec<char>> =
            text.trim().lines().map(|l| l.trim().chars().collect()).collect();
        let cells = [lines.first().map_or(0, Vec::len), lines.len()];
        if !cells.iter().all(|side| (1..=MAX_CELLS).contains(side)) {
            return Err(format!(
                "painted rewards need 1 to {MAX_CELLS} lines of 1 to {MAX_CELLS} characters"
            ));
        }
        let mut rewards = vec![0; cells[0] * cells[1]];
        for (line, below_top) in lines.iter().zip(0..) {
            if line.len() != cells[0] {
                return Err("all lines of painted rewards must be equally long".into());
            }
            for (cell, across) in line.iter().zip(0..) {
                let place = across * cells[1] + (cells[1] - 1 - below_top);
                if let Some(reward) = rewards.get_mut(place) {
                    *reward = match cell {
                        '+' => 1,
                        '-' => -1,
                        '.' => 0,
                        other => {
                            return Err(format!(
                                "\"{other}\" is no painted reward; use +, - and ."
                            ));
                        }
                    };
                }
            }
        }
        Ok(Self { cells, rewards: Arc::new(rewards) })
    }
}

impl From<Painting> for String {
    fn from(painting: Painting) -> Self {
        let [across, up] = painting.cells;
        let sign = |x: usize, y: usize| match painting.rewards.get(x * up + y) {
            Some(1..) => '+',
            Some(..=-1) => '-',
            _ => '.',
        };
        let line = |y: usize| (0..across).map(|x| sign(x, y)).chain(['\n']).collect::<String>();
        (0..up).rev().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> Vec<StateDimension> {
        let pi = std::f32::consts::PI;
        let dimension = |low: f32, periodic: bool| StateDimension {
            name: "q".into(),
            unit: String::new(),
            low,
            high: -low,
            periodic,
            rate_of: None,
        };
        vec![dimension(-pi, true), dimension(-8.0, false)]
    }

    #[test]
    fn the_brush_pays_around_it_and_goes_around_angles() {
        let mut painting = Painting::default();
        painting.paint(&state(), [3.1, 0.0], 1);
        let at = |painting: &Painting, place| {
            painting.rewards()[painting.grid(&state()).cell_of(place).unwrap()]
        };
        assert_eq!(
            [[3.1, 0.0], [-3.1, 0.0], [0.0, 0.0]].map(|p| at(&painting, p)),
            [1.0, 1.0, 0.0]
        );
        painting.paint(&state(), [0.0, 4.0], -1);
        assert_eq!(at(&painting, [0.0, 4.0]), -1.0);
        painting.paint(&state(), [3.1, 0.0], 0);
        assert_eq!(at(&painting, [3.1, 0.0]), 0.0);
    }

    #[test]
    fn text_shows_the_upper_end_first_and_comes_back_the_same() {
        let text = "+..\n.-.\n";
        let painting = Painting::try_from(text.to_owned()).unwrap();
        let pays = |place| {
            let grid = painting.grid(&state());
            painting.rewards()[grid.cell_of(place).unwrap()]
        };
        assert_eq!((pays([-3.0, 7.0]), pays([0.0, -7.0]), pays([3.0, 7.0])), (1.0, -1.0, 0.0));
        assert_eq!(String::from(painting), text);
        for (wrong, why) in [("", "1 to"), ("+\n++", "equally long"), ("+x", "\"x\"")] {
            assert!(Painting::try_from(wrong.to_owned()).unwrap_err().contains(why), "{wrong}");
        }
    }
}
