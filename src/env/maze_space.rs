//! The free space of a maze: where a body fits, how near the walls are.

use super::Workspace;
use super::maze_layout::{HALF_CELL, MazeLayout};

/// The radius of the body that has to fit.
pub(super) const BODY_RADIUS: f32 = 0.1;

impl MazeLayout {
    /// Whether a body of radius `margin` (at most 0.5) centered here touches
    /// no wall. False off the map and for NaN.
    pub fn is_free_with_margin(&self, position: [f32; 2], margin: f32) -> bool {
        self.clearance(position).is_some_and(|clearance| clearance >= margin)
    }

    /// Distance from a position in a free cell to the nearest wall, at most 0.5;
    /// `None` inside walls, off the map and for NaN.
    pub fn clearance(&self, position: [f32; 2]) -> Option<f32> {
        let [w, h] = self.cell_at(position)?;
        if self.is_wall(w, h) {
            return None;
        }
        let center = self.center_of_cell([w, h]);
        let offset = [position[0] - center[0], position[1] - center[1]];
        let mut nearest = HALF_CELL;
        for dw in -1..=1_isize {
            for dh in -1..=1_isize {
                let wall = match (w.checked_add_signed(dw), h.checked_add_signed(dh)) {
                    (Some(w), Some(h)) => self.is_wall(w, h),
                    _ => true,
                };
                if wall {
                    let gap = |offset: f32, side: isize| match side {
                        0 => 0.0,
                        _ => HALF_CELL - offset * side as f32,
                    };
                    nearest = nearest.min(gap(offset[0], dw).hypot(gap(offset[1], dh)));
                }
            }
        }
        Some(nearest)
    }

    /// Boxes `[x_min, y_min, x_max, y_max]` for the body's center that touch no
    /// wall: one a free cell, stretched over free neighbors towards larger
    /// indices. Together they cover all clear space but slivers at corners.
    fn clear_boxes(&self) -> impl Iterator<Item = [f32; 4]> + '_ {
        // A hair inside, so that rounding cannot put the body into a wall.
        const REACH: f32 = HALF_CELL - BODY_RADIUS - 1e-4;
        self.cells().filter(|&[w, h]| !self.is_wall(w, h)).flat_map(move |[w, h]| {
            let right = !self.is_wall(w + 1, h);
            let up = !self.is_wall(w, h + 1);
            let both = right && up && !self.is_wall(w + 1, h + 1);
            let [x, y] = self.center_of_cell([w, h]);
            [(true, 0.0, 0.0), (right, 1.0, 0.0), (up, 0.0, 1.0), (both, 1.0, 1.0)]
                .into_iter()
                .filter(|&(free, _, _)| free)
                .map(move |(_, dx, dy)| [x - REACH, y - REACH, x + dx + REACH, y + dy + REACH])
        })
    }
}

impl Workspace for MazeLayout {
    fn is_free(&self, position: [f32; 2]) -> bool {
        self.cell_at(position).is_some_and(|[w, h]| !self.is_wall(w, h))
    }

    fn nearest_free(&self, position: [f32; 2]) -> Option<[f32; 2]> {
        if self.is_free_with_margin(position, BODY_RADIUS) {
            return Some(position);
        }
        if !position.iter().all(|value| value.is_finite()) {
            return None;
        }
        let distance = |p: &[f32; 2]| (p[0] - position[0]).hypot(p[1] - position[1]);
        self.clear_boxes()
            .map(|[x_min, y_min, x_max, y_max]| {
                [position[0].clamp(x_min, x_max), position[1].clamp(y_min, y_max)]
            })
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
    }

    fn touches_wall(&self, position: [f32; 2]) -> bool {
        // Half a hundredth: contacts rest within the solver's slop of a wall.
        !self.is_free_with_margin(position, BODY_RADIUS + 0.005)
    }

    fn bounds(&self) -> [f32; 4] {
        let [x, y] = self.corner();
        [x, y, x + self.rows() as f32, y + self.columns() as f32]
    }

    fn connected(&self, from: [f32; 2], to: [f32; 2]) -> bool {
        self.cells_between(from, to).is_some()
    }

    fn cells_between(&self, from: [f32; 2], to: [f32; 2]) -> Option<usize> {
        let path = self.shortest_path(self.cell_at(from)?, self.cell_at(to)?)?;
        Some(path.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::env::{LARGE, U_MAZE};
    use crate::rng::Rng;

    #[test]
    fn the_map_reaches_from_minus_0_7() {
        let layout = MazeLayout::parse(U_MAZE).unwrap();
        assert_eq!(layout.bounds(), [-0.7, -0.7, 4.3, 4.3]);
    }

    #[test]
    fn walls_separate() {
        let split = MazeLayout::parse("OO#OO").unwrap();
        assert!(split.connected([-0.2, 0.1], [-0.2, 0.9]));
        assert!(!split.connected([-0.2, 0.1], [-0.2, 3.0]));
        assert!(!split.connected([f32::NAN, 0.1], [-0.2, 0.9]));
    }

    #[test]
    fn clearance_counts_sides_and_corners_of_walls() {
        let layout = MazeLayout::parse(U_MAZE).unwrap();
        // The corridor of row 1 spans x from 0.3 to 1.3.
        assert!((layout.clearance([0.4, 1.5]).unwrap() - 0.1).abs() < 1e-6);
        assert_eq!(layout.clearance([0.2, 1.5]), None);
        // The inner corner of the turn is at (1.3, 2.3).
        let corner = layout.clearance([1.27, 2.34]).unwrap();
        assert!((corner - 0.05).abs() < 1e-6, "{corner}");
        assert!(layout.is_free_with_margin([1.27, 2.34], 0.04));
        assert!(!layout.is_free_with_margin([1.27, 2.34], 0.06));
        // Outside the map is wall.
        let open = MazeLayout::parse("O").unwrap();
        assert!((open.clearance([-0.6, -0.2]).unwrap() - 0.1).abs() < 1e-6);
    }

    #[test]
    fn a_blocked_body_is_moved_to_the_nearest_clear_place() {
        let layout = MazeLayout::parse(U_MAZE).unwrap();
        let moved = layout.nearest_free([0.3, 1.8]).unwrap();
        assert!((moved[0] - 0.4).abs() < 1e-3 && (moved[1] - 1.8).abs() < 1e-6, "{moved:?}");
        assert_eq!(layout.nearest_free([0.8, 1.8]), Some([0.8, 1.8]));
        assert_eq!(layout.nearest_free([f32::NAN, 1.0]), None);
        assert_eq!(layout.nearest_free([1.0, f32::INFINITY]), None);
    }

    proptest! {
        #[test]
        fn the_nearest_free_place_is_clear_and_hardly_farther_than_any_other(
            x in -3.0_f32..12.0,
            y in -3.0_f32..15.0,
            seed: u64,
        ) {
            let layout = MazeLayout::parse(LARGE).unwrap();
            let [free_x, free_y] = layout.nearest_free([x, y]).unwrap();
            prop_assert!(layout.is_free_with_margin([free_x, free_y], BODY_RADIUS));
            let distance = (free_x - x).hypot(free_y - y);
            let mut rng = Rng::stream(seed, "nearest");
            for _ in 0..200 {
                let other = [rng.uniform(-1.0, 9.0) as f32, rng.uniform(-1.0, 12.0) as f32];
                if layout.is_free_with_margin(other, BODY_RADIUS) {
                    let reach = (other[0] - x).hypot(other[1] - y);
                    prop_assert!(distance <= reach + 0.05, "{other:?} is nearer");
                }
            }
        }
    }
}
