//! Rewards painted onto the map with a brush.

use std::sync::Arc;

use super::Numbers;
use crate::env::StateDimension;
use crate::lab::values::ValueReward;
use crate::plan::occupancy::MapGrid;

/// Cells along each side of the painted map.
const CELLS: usize = 48;
/// Radius of the brush, as a share of each side.
const RADIUS: f32 = 0.06;

/// What the brush does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brush {
    /// Pays 1.
    Plus,
    /// Costs 1.
    Minus,
    /// Pays nothing.
    Clear,
}

impl Brush {
    /// Every brush, in the order of buttons.
    pub const ALL: [Self; 3] = [Self::Plus, Self::Minus, Self::Clear];

    /// Shown on its button.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plus => "Paint +1",
            Self::Minus => "Paint \u{2212}1",
            Self::Clear => "Erase",
        }
    }

    fn reward(self) -> f32 {
        match self {
            Self::Plus => 1.0,
            Self::Minus => -1.0,
            Self::Clear => 0.0,
        }
    }
}

/// Painted rewards and the brush in hand.
#[derive(Clone, Debug, Default)]
pub struct Rewards {
    /// The brush, while one is in hand.
    pub brush: Option<Brush>,
    painted: Option<(MapGrid, Numbers)>,
}

impl Rewards {
    /// Paint at a place of a state space.
    pub fn paint(&mut self, state: &[StateDimension], at: [f32; 2]) {
        let Some(brush) = self.brush else { return };
        let (grid, mut rewards) = self.painted.take().unwrap_or_else(|| {
            let grid = MapGrid::of(state, [CELLS; 2]);
            let empty = vec![0.0; grid.len()];
            (grid, Arc::new(empty))
        });
        let spans = [0, 1].map(|axis| grid.high[axis] - grid.low[axis]);
        let cells = Arc::make_mut(&mut rewards);
        for (index, reward) in cells.iter_mut().enumerate() {
            let center = grid.center(index);
            let off = [0, 1].map(|axis| {
                let off = (center[axis] - at[axis]).abs() / spans[axis].max(1e-6);
                let is_periodic = state.get(axis).is_some_and(|dimension| dimension.periodic);
                if is_periodic { off.min(1.0 - off) } else { off }
            });
            if off[0].hypot(off[1]) <= RADIUS {
                *reward = brush.reward();
            }
        }
        self.painted = Some((grid, rewards));
    }

    /// What a state pays.
    pub fn reward(&self) -> ValueReward {
        match &self.painted {
            Some((grid, rewards)) => {
                ValueReward::Painted { grid: grid.clone(), rewards: rewards.clone() }
            }
            None => ValueReward::Environment,
        }
    }

    /// What was painted.
    pub fn painted(&self) -> Option<(&MapGrid, &Numbers)> {
        self.painted.as_ref().map(|(grid, rewards)| (grid, rewards))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::stage::field::pane::tests::place;

    #[test]
    fn the_brush_pays_around_it_and_goes_around_angles() {
        let place = place("pendulum");
        let mut rewards = Rewards { brush: Some(Brush::Plus), ..Rewards::default() };
        assert_eq!(rewards.reward(), ValueReward::Environment);
        rewards.paint(&place.spec.state, [3.1, 0.0]);
        let (grid, painted) = rewards.painted().unwrap();
        let at = |place| painted[grid.cell_of(place).unwrap()];
        assert_eq!((at([3.1, 0.0]), at([-3.1, 0.0]), at([0.0, 0.0])), (1.0, 1.0, 0.0));
        rewards.brush = Some(Brush::Clear);
        rewards.paint(&place.spec.state, [3.1, 0.0]);
        let (_, painted) = rewards.painted().unwrap();
        assert!(painted.iter().all(|reward| *reward == 0.0));
    }
}
