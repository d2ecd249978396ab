//! Grid mazes: ASCII art, cell geometry and shortest paths.
//!
//! Row `w` of the text runs along x, column `h` along y. As in D4RL, wall
//! `(w, h)` is a unit square centered at `(w - 0.2, h - 0.2)`, so an integer
//! position sits 0.2 off the middle of its corridor.

use std::collections::VecDeque;

use super::EnvError;

/// D4RL's U-Maze.
pub const U_MAZE: &str = "#####\n#GOO#\n###O#\n#OOO#\n#####";
/// D4RL's medium maze.
pub const MEDIUM: &str =
    "########\n#OO##OO#\n#OO#OOO#\n##OOO###\n#OO#OOO#\n#O#OO#O#\n#OOO#OG#\n########";
/// D4RL's large maze.
pub const LARGE: &str = "############\n#OOOO#OOOOO#\n#O##O#O#O#O#\n#OOOOOO#OOO#\n#O####O###O#\n\
#OO#O#OOOOO#\n##O#O#O#O###\n#OO#OOO#OGO#\n############";
/// D4RL's open room.
pub const OPEN: &str = "#######\n#OOOOO#\n#OOGOO#\n#OOOOO#\n#######";

/// The center of wall `(w, h)` is at `(w - WALL_OFFSET, h - WALL_OFFSET)`.
const WALL_OFFSET: f32 = 0.2;
/// Half the side of a cell.
pub(super) const HALF_CELL: f32 = 0.5;
/// The most rows and columns a maze may have.
const MAX_SIDE: usize = 64;
/// Neighbors in the order D4RL's planner prefers them: y down, y up, x down, x up.
const NEIGHBORS: [[isize; 2]; 4] = [[0, -1], [0, 1], [-1, 0], [1, 0]];

/// A grid of walls and free cells. Everything outside the grid is wall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MazeLayout {
    rows: usize,
    columns: usize,
    /// `rows * columns` flags, row by row.
    walls: Vec<bool>,
    goal: Option<[usize; 2]>,
}

impl MazeLayout {
    /// Read ASCII art: `#` wall, `O` free, `G` goal, one text line a row.
    /// Blank lines around it and spaces beside it are ignored.
    ///
    /// # Errors
    /// Other characters, ragged rows, more than one goal, no free cell, or more
    /// than 64 rows or columns. The message names the row and column.
    pub fn parse(text: &str) -> Result<Self, EnvError> {
        let lines: Vec<&str> = text.trim().lines().map(str::trim).collect();
        let columns = lines.first().map_or(0, |line| line.chars().count());
        check_size(lines.len(), columns)?;
        let mut layout = Self {
            rows: lines.len(),
            columns,
            walls: Vec::with_capacity(lines.len() * columns),
            goal: None,
        };
        for (row, line) in lines.iter().enumerate() {
            let length = line.chars().count();
            if length != columns {
                return Err(EnvError::Maze(format!(
                    "row {} has {length} cells and row 1 has {columns}; make all rows equally long",
                    row + 1
                )));
            }
            for (column, symbol) in line.chars().enumerate() {
                layout.push(symbol, row, column)?;
            }
        }
        if layout.walls.iter().all(|&wall| wall) {
            return Err(EnvError::Maze("it has no free cell; put an O somewhere".into()));
        }
        Ok(layout)
    }

    fn push(&mut self, symbol: char, row: usize, column: usize) -> Result<(), EnvError> {
        let place = || format!("row {}, column {}", row + 1, column + 1);
        match symbol {
            '#' => self.walls.push(true),
            'O' => self.walls.push(false),
            'G' if self.goal.is_none() => {
                self.walls.push(false);
                self.goal = Some([row, column]);
            }
            'G' => {
                return Err(EnvError::Maze(format!(
                    "there is a second goal at {}; keep one G and make the others O",
                    place()
                )));
            }
            other => {
                return Err(EnvError::Maze(format!(
                    "{other:?} at {} is not a cell; use # for walls, O for free cells, G for the goal",
                    place()
                )));
            }
        }
        Ok(())
    }

    /// Number of cells along x.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of cells along y.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Whether cell `(w, h)` is a wall. Cells outside the map are.
    pub fn is_wall(&self, w: usize, h: usize) -> bool {
        w >= self.rows || h >= self.columns || self.walls[w * self.columns + h]
    }

    /// Build or remove a wall, and say whether that changed the maze. The last
    /// free cell stays free, cells outside the map stay walls, and a goal that
    /// is walled in is forgotten.
    pub fn set_wall(&mut self, w: usize, h: usize, wall: bool) -> bool {
        let outside = w >= self.rows || h >= self.columns;
        if outside || self.is_wall(w, h) == wall || (wall && self.free_cells().len() == 1) {
            return false;
        }
        self.walls[w * self.columns + h] = wall;
        if wall && self.goal == Some([w, h]) {
            self.goal = None;
        }
        true
    }

    /// Every cell that is not a wall, row by row.
    pub fn free_cells(&self) -> Vec<[usize; 2]> {
        self.cells().filter(|&[w, h]| !self.is_wall(w, h)).collect()
    }

    /// The cell marked `G`, else the last free one.
    pub fn goal_cell(&self) -> [usize; 2] {
        self.goal
            .or_else(|| self.cells().filter(|&[w, h]| !self.is_wall(w, h)).last())
            .unwrap_or([0, 0])
    }

    /// The cell that holds a position, or `None` off the map and for NaN.
    pub fn cell_at(&self, position: [f32; 2]) -> Option<[usize; 2]> {
        let index = |value: f32, count: usize| {
            let cell = (value + WALL_OFFSET + HALF_CELL).floor();
            (cell >= 0.0 && cell < count as f32).then_some(cell as usize)
        };
        Some([index(position[0], self.rows)?, index(position[1], self.columns)?])
    }

    /// The middle of a cell, which for a free one is the middle of its corridor.
    pub fn center_of_cell(&self, [w, h]: [usize; 2]) -> [f32; 2] {
        [w as f32 - WALL_OFFSET, h as f32 - WALL_OFFSET]
    }

    /// The ASCII art, without a line break at the end.
    pub fn to_ascii(&self) -> String {
        let symbol = |w, h| match () {
            () if self.is_wall(w, h) => '#',
            () if self.goal == Some([w, h]) => 'G',
            () => 'O',
        };
        let line = |w| (0..self.columns).map(|h| symbol(w, h)).collect::<String>();
        (0..self.rows).map(line).collect::<Vec<_>>().join("\n")
    }

    /// The cells of a shortest path through side-by-side neighbors, both ends
    /// included, or `None` if there is none. Among equal paths it is the one
    /// that prefers y down, y up, x down, x up at every step.
    pub fn shortest_path(&self, from: [usize; 2], to: [usize; 2]) -> Option<Vec<[usize; 2]>> {
        let distances = self.distances_to(to);
        let distance = |[w, h]: [usize; 2]| distances.get(w * self.columns + h).copied().flatten();
        let mut remaining = (!self.is_wall(from[0], from[1])).then(|| distance(from))??;
        let mut path = vec![from];
        let mut cell = from;
        while remaining > 0 {
            remaining -= 1;
            cell = self.neighbors(cell).find(|&next| distance(next) == Some(remaining))?;
            path.push(cell);
        }
        Some(path)
    }

    /// The cell after every cell, row by row, on its [`MazeLayout::shortest_path`]
    /// to `target`; `None` at `target` itself and where no path leads.
    pub(super) fn next_cells(&self, target: [usize; 2]) -> Vec<Option<[usize; 2]>> {
        let distances = self.distances_to(target);
        let distance = |[w, h]: [usize; 2]| distances.get(w * self.columns + h).copied().flatten();
        let next = |cell| {
            let nearer = distance(cell)?.checked_sub(1)?;
            self.neighbors(cell).find(|&next| distance(next) == Some(nearer))
        };
        self.cells().map(next).collect()
    }

    /// Steps from every cell to `target`; `None` where no path leads.
    fn distances_to(&self, target: [usize; 2]) -> Vec<Option<usize>> {
        let mut distances = vec![None; self.walls.len()];
        if self.is_wall(target[0], target[1]) {
            return distances;
        }
        distances[target[0] * self.columns + target[1]] = Some(0);
        let mut queue = VecDeque::from([(target, 0)]);
        while let Some((cell, distance)) = queue.pop_front() {
            for [w, h] in self.neighbors(cell) {
                let slot = &mut distances[w * self.columns + h];
                if slot.is_none() {
                    *slot = Some(distance + 1);
                    queue.push_back(([w, h], distance + 1));
                }
            }
        }
        distances
    }

    /// The free cells side by side with this one.
    fn neighbors(&self, [w, h]: [usize; 2]) -> impl Iterator<Item = [usize; 2]> + '_ {
        NEIGHBORS.iter().filter_map(move |[dw, dh]| {
            let next = [w.checked_add_signed(*dw)?, h.checked_add_signed(*dh)?];
            (!self.is_wall(next[0], next[1])).then_some(next)
        })
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = [usize; 2]> {
        let columns = self.columns;
        (0..self.rows).flat_map(move |w| (0..columns).map(move |h| [w, h]))
    }

    /// Indices of the walls a body can touch: those with a free cell beside or
    /// across from them, including the ring just outside the map.
    pub(super) fn touchable_walls(&self) -> Vec<[i64; 2]> {
        let wall = |w: i64, h: i64| match (usize::try_from(w), usize::try_from(h)) {
            (Ok(w), Ok(h)) => self.is_wall(w, h),
            _ => true,
        };
        let (rows, columns) = (self.rows as i64, self.columns as i64);
        let ring = (-1..=rows).flat_map(|w| (-1..=columns).map(move |h| [w, h]));
        ring.filter(|&[w, h]| {
            let mut around = (w - 1..=w + 1).flat_map(|w| (h - 1..=h + 1).map(move |h| (w, h)));
            wall(w, h) && around.any(|(w, h)| !wall(w, h))
        })
        .collect()
    }

    /// The lower corner of the map, which is that of cell `(0, 0)`.
    pub(super) fn corner(&self) -> [f32; 2] {
        [-WALL_OFFSET - HALF_CELL; 2]
    }
}

fn check_size(rows: usize, columns: usize) -> Result<(), EnvError> {
    match () {
        () if rows == 0 || columns == 0 => {
            Err(EnvError::Maze("it is empty; draw it with #, O and G".into()))
        }
        () if rows > MAX_SIDE || columns > MAX_SIDE => Err(EnvError::Maze(format!(
            "it has {rows} rows and {columns} columns and the limit is {MAX_SIDE} each"
        ))),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::Rng;

    fn complaint(text: &str) -> String {
        MazeLayout::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_known_mazes_have_their_sizes_goals_and_text() {
        for (text, rows, columns, goal, free) in [
            (U_MAZE, 5, 5, [1, 1], 7),
            (MEDIUM, 8, 8, [6, 6], 26),
            (LARGE, 9, 12, [7, 9], 46),
            (OPEN, 5, 7, [2, 3], 15),
        ] {
            let layout = MazeLayout::parse(text).unwrap();
            assert_eq!((layout.rows(), layout.columns()), (rows, columns));
            assert_eq!((layout.goal_cell(), layout.free_cells().len()), (goal, free));
            assert_eq!(layout.to_ascii(), text);
        }
    }

    #[test]
    fn indented_art_reads_the_same() {
        let layout = MazeLayout::parse("\n    ####\r\n    #OG#  \n    ####\n\n").unwrap();
        assert_eq!(layout.to_ascii(), "####\n#OG#\n####");
    }

    #[test]
    fn what_is_not_a_maze_is_refused_with_its_place() {
        assert!(complaint("###\n#x#\n###").contains("'x' at row 2, column 2"));
        assert!(complaint("####\n#O#").contains("row 2 has 3 cells"));
        assert!(complaint("###\n###").contains("no free cell"));
        assert!(complaint("GOG").contains("second goal at row 1, column 3"));
        assert!(complaint("").contains("empty") && complaint(" \n \n").contains("empty"));
        assert!(complaint(&"O".repeat(65)).contains("65 columns"));
        assert!(complaint(&"O\n".repeat(65)).contains("65 rows"));
        assert!(complaint("O\n\nO").contains("row 2"));
    }

    #[test]
    fn without_a_mark_the_goal_is_the_last_free_cell() {
        let layout = MazeLayout::parse("#####\n#OOO#\n#####").unwrap();
        assert_eq!(layout.goal_cell(), [1, 3]);
    }

    #[test]
    fn cells_reach_from_minus_0_7_to_0_3_around_their_integer() {
        let layout = MazeLayout::parse(U_MAZE).unwrap();
        assert_eq!(layout.cell_at([0.31, 1.29]), Some([1, 1]));
        assert_eq!(layout.cell_at([0.29, 1.31]), Some([0, 2]));
        assert_eq!(layout.cell_at([-0.71, 1.0]), None);
        assert_eq!(layout.cell_at([1.0, 4.31]), None);
        assert_eq!(layout.cell_at([f32::NAN, 1.0]), None);
        assert_eq!(layout.center_of_cell([1, 3]), [0.8, 2.8]);
    }

    #[test]
    fn walls_can_be_drawn_but_the_last_free_cell_stays() {
        let mut layout = MazeLayout::parse("####\n#OG#\n####").unwrap();
        assert!(layout.set_wall(1, 2, true));
        assert_eq!(layout.to_ascii(), "####\n#O##\n####");
        assert!(!layout.set_wall(1, 1, true) && !layout.is_wall(1, 1));
        assert!(!layout.set_wall(9, 9, false) && layout.is_wall(9, 9));
        assert!(layout.set_wall(0, 1, false) && !layout.is_wall(0, 1));
        assert!(!layout.set_wall(0, 1, false));
    }

    #[test]
    fn paths_are_shortest_and_stop_at_walls() {
        let layout = MazeLayout::parse(U_MAZE).unwrap();
        let path = layout.shortest_path([3, 1], [1, 1]).unwrap();
        assert_eq!(path, [[3, 1], [3, 2], [3, 3], [2, 3], [1, 3], [1, 2], [1, 1]]);
        assert_eq!(layout.shortest_path([1, 1], [1, 1]), Some(vec![[1, 1]]));
        assert_eq!(layout.shortest_path([0, 0], [1, 1]), None);
        assert_eq!(layout.shortest_path([1, 1], [50, 50]), None);
        let split = MazeLayout::parse("OO#OO").unwrap();
        assert_eq!(split.shortest_path([0, 0], [0, 4]), None);
    }

    #[test]
    fn equal_paths_prefer_y_before_x() {
        let layout = MazeLayout::parse(OPEN).unwrap();
        let path = layout.shortest_path([1, 1], [3, 3]).unwrap();
        assert_eq!(path, [[1, 1], [1, 2], [1, 3], [2, 3], [3, 3]]);
    }

    proptest! {
        #[test]
        fn drawing_and_reading_a_maze_gives_it_back(
            rows in 1_usize..12,
            columns in 1_usize..12,
            seed: u64,
        ) {
            let mut rng = Rng::stream(seed, "draw");
            let mut layout = MazeLayout::parse(&vec!["O".repeat(columns); rows].join("\n")).unwrap();
            for _ in 0..rows * columns {
                layout.set_wall(rng.below(rows), rng.below(columns), rng.below(3) > 0);
            }
            let read = MazeLayout::parse(&layout.to_ascii()).unwrap();
            prop_assert_eq!(&read, &layout);
            prop_assert!(!read.free_cells().is_empty());
        }
    }
}
