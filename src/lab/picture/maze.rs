//! A maze's walls as shapes.

use crate::env::{MazeLayout, Workspace as _};
use crate::picture::Wall;

/// What is shown of a maze: a closed frame of walls says as much at half its
/// thickness.
pub(super) fn shown_bounds(layout: &MazeLayout) -> [f32; 4] {
    let (rows, columns) = (layout.rows(), layout.columns());
    let is_closed = (0..rows).all(|w| layout.is_wall(w, 0) && layout.is_wall(w, columns - 1))
        && (0..columns).all(|h| layout.is_wall(0, h) && layout.is_wall(rows - 1, h));
    let cut = if is_closed { 0.5 } else { 0.0 };
    let [x_min, y_min, x_max, y_max] = layout.bounds();
    [x_min + cut, y_min + cut, x_max - cut, y_max - cut]
}

/// A maze's walls, round where they end.
pub(super) fn walls(layout: &MazeLayout) -> Vec<Wall> {
    let shown = shown_bounds(layout);
    let cells = (0..layout.rows()).flat_map(|w| (0..layout.columns()).map(move |h| [w, h]));
    let wall = |cell: [usize; 2]| {
        let [x, y] = layout.center_of_cell(cell);
        let [x_min, y_min] = [(x - 0.5).max(shown[0]), (y - 0.5).max(shown[1])];
        let rect = [x_min, y_min, (x + 0.5).min(shown[2]), (y + 0.5).min(shown[3])];
        let joins = |step| joins(layout, cell, step);
        let (up, down) = (joins([-1, 0]), joins([1, 0]));
        let (left, right) = (joins([0, -1]), joins([0, 1]));
        let round = [!(up || left), !(up || right), !(down || right), !(down || left)];
        Wall { rect, round }
    };
    cells.filter(|&[w, h]| layout.is_wall(w, h)).map(wall).collect()
}

/// Whether the cell a step away is a wall of the map.
fn joins(layout: &MazeLayout, [w, h]: [usize; 2], [dw, dh]: [isize; 2]) -> bool {
    match (w.checked_add_signed(dw), h.checked_add_signed(dh)) {
        (Some(w), Some(h)) if w < layout.rows() && h < layout.columns() => layout.is_wall(w, h),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::U_MAZE;

    #[test]
    fn closed_mazes_lose_half_their_frame_and_open_ones_nothing() {
        let near = |a: [f32; 4], b: [f32; 4]| (0..4).all(|i| (a[i] - b[i]).abs() < 1e-5);
        let closed = MazeLayout::parse(U_MAZE).unwrap();
        assert!(near(shown_bounds(&closed), [-0.2, -0.2, 3.8, 3.8]));
        let open = MazeLayout::parse("OO#").unwrap();
        assert!(near(shown_bounds(&open), [-0.7, -0.7, 0.3, 2.3]));
    }

    #[test]
    fn walls_are_round_where_they_end() {
        let layout = MazeLayout::parse(U_MAZE).unwrap();
        let walls = walls(&layout);
        assert_eq!(walls.len(), 18);
        // The end of the U's bar is free above, below and to the right.
        let at = |wall: &&Wall| (wall.rect[0] - 1.3).abs() < 1e-5 && wall.rect[3] > 2.2;
        let bar = walls.iter().find(at).unwrap();
        assert!((bar.rect[3] - 2.3).abs() < 1e-5, "{bar:?}");
        assert_eq!(bar.round, [false, true, true, false]);
    }
}
