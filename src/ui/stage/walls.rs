//! The maze: floor, soft walls and the shade they cast.

use eframe::egui;
use eframe::egui::epaint::RectShape;
use eframe::egui::{Color32, CornerRadius, Mesh, Rect, Shape};

use super::camera::Camera;
use crate::env::{MazeLayout, Workspace as _};
use crate::ui::theme::Colors;

/// Radius of a wall's corners, in cells.
pub const CORNER: f32 = 0.22;
/// Width of the band over which a wall's shade fades, in cells.
const SHADE: f32 = 0.36;

/// What is shown of a maze, `[x_min, y_min, x_max, y_max]`: a closed frame of
/// walls says as much at half its thickness.
pub fn shown_bounds(layout: &MazeLayout) -> [f32; 4] {
    let cut = frame_cut(layout);
    let [x_min, y_min, x_max, y_max] = layout.bounds();
    [x_min + cut, y_min + cut, x_max - cut, y_max - cut]
}

fn shown_rect(layout: &MazeLayout, camera: &Camera) -> Rect {
    let [x_min, y_min, x_max, y_max] = shown_bounds(layout);
    Rect::from_two_pos(
        camera.screen_from_world([x_min, y_min]),
        camera.screen_from_world([x_max, y_max]),
    )
}

fn frame_cut(layout: &MazeLayout) -> f32 {
    let (rows, columns) = (layout.rows(), layout.columns());
    let closed = (0..rows).all(|w| layout.is_wall(w, 0) && layout.is_wall(w, columns - 1))
        && (0..columns).all(|h| layout.is_wall(0, h) && layout.is_wall(rows - 1, h));
    if closed { 0.5 } else { 0.0 }
}

/// The maze and the ground around it, as shapes that cover the camera's
/// rectangle.
pub fn shapes(layout: &MazeLayout, camera: &Camera, colors: Colors) -> Vec<Shape> {
    let outline = shown_rect(layout, camera);
    let radius = CORNER * camera.scale;
    let blur = SHADE * camera.scale;
    let mut shapes = vec![
        Shape::rect_filled(camera.rect, 0.0, colors.background()),
        RectShape::filled(outline, corner(radius), colors.shade(0.5)).with_blur_width(blur).into(),
        Shape::rect_filled(outline, corner(radius), colors.floor()),
    ];
    shapes.extend(raised(layout, camera, colors));
    shapes
}

/// The walls alone and the shade they cast, for what lies under them.
pub fn raised(layout: &MazeLayout, camera: &Camera, colors: Colors) -> Vec<Shape> {
    let outline = shown_rect(layout, camera);
    let blur = SHADE * camera.scale;
    let mut shapes = Vec::new();
    let runs = runs(layout);
    // Shade first, so that no wall lies in another's.
    for run in &runs {
        let mut shade = wall(layout, camera, *run, outline, colors.shade(0.6));
        shade.rect = shaded_part(layout, *run, shade.rect, outline, blur / 2.0);
        shapes.push(shade.with_blur_width(blur).into());
    }
    for run in runs {
        shapes.push(wall(layout, camera, run, outline, colors.wall()).into());
    }
    shapes
}

/// The part of a run that casts shade: not the band along the maze's outline,
/// nor ends that lie in a wall across, or its shade would show beyond them.
fn shaded_part(
    layout: &MazeLayout,
    [first, last]: [[usize; 2]; 2],
    mut rect: Rect,
    outline: Rect,
    band: f32,
) -> Rect {
    let crossed = |cell, a, b| neighbor(layout, cell, a) || neighbor(layout, cell, b);
    let (up, down, left, right) = ([-1, 0], [1, 0], [0, -1], [0, 1]);
    if first[0] == last[0] {
        rect.min.x += if crossed(first, up, down) { band } else { 0.0 };
        rect.max.x -= if crossed(last, up, down) { band } else { 0.0 };
    } else {
        rect.min.y += if crossed(first, left, right) { band } else { 0.0 };
        rect.max.y -= if crossed(last, left, right) { band } else { 0.0 };
    }
    rect.intersect(outline.shrink(band))
}

/// Straight rows of walls, first and last cell, that together cover all walls.
fn runs(layout: &MazeLayout) -> Vec<[[usize; 2]; 2]> {
    let mut runs = Vec::new();
    let (rows, columns) = (layout.rows(), layout.columns());
    for w in 0..rows {
        stretches(
            columns,
            |h| layout.is_wall(w, h),
            |from, to| {
                // A wall alone in its row is part of a column, or stands alone.
                let alone = from == to
                    && (neighbor(layout, [w, from], [-1, 0])
                        || neighbor(layout, [w, from], [1, 0]));
                if !alone {
                    runs.push([[w, from], [w, to]]);
                }
            },
        );
    }
    for h in 0..columns {
        stretches(
            rows,
            |w| layout.is_wall(w, h),
            |from, to| {
                if from != to {
                    runs.push([[from, h], [to, h]]);
                }
            },
        );
    }
    runs
}

/// Call `found` with the first and last index of every stretch of walls.
fn stretches(count: usize, is_wall: impl Fn(usize) -> bool, mut found: impl FnMut(usize, usize)) {
    let mut begin = None;
    for index in 0..=count {
        let wall = index < count && is_wall(index);
        match (begin, wall) {
            (None, true) => begin = Some(index),
            (Some(from), false) => {
                found(from, index - 1);
                begin = None;
            }
            _ => {}
        }
    }
}

/// The maze without depth, for small pictures.
pub fn flat(layout: &MazeLayout, camera: &Camera, colors: Colors) -> Vec<Shape> {
    let shown = shown_rect(layout, camera);
    let mut mesh = Mesh::default();
    mesh.add_colored_rect(camera.rect, colors.floor());
    for [first, last] in runs(layout) {
        let run =
            cell_rect(layout, camera, first, shown).union(cell_rect(layout, camera, last, shown));
        mesh.add_colored_rect(run, colors.wall());
    }
    vec![Shape::mesh(mesh)]
}

/// A cell's square on the screen, cut where the frame is.
fn cell_rect(layout: &MazeLayout, camera: &Camera, cell: [usize; 2], shown: Rect) -> Rect {
    let center = camera.screen_from_world(layout.center_of_cell(cell));
    Rect::from_center_size(center, egui::Vec2::splat(camera.scale)).intersect(shown)
}

/// Whether the cell `step` away is a wall of the map; beyond the map is not, so
/// that the map's own corners are round.
fn neighbor(layout: &MazeLayout, [w, h]: [usize; 2], step: [isize; 2]) -> bool {
    match (w.checked_add_signed(step[0]), h.checked_add_signed(step[1])) {
        (Some(w), Some(h)) if w < layout.rows() && h < layout.columns() => layout.is_wall(w, h),
        _ => false,
    }
}

/// A run of walls, round where nothing joins its corners.
fn wall(
    layout: &MazeLayout,
    camera: &Camera,
    run: [[usize; 2]; 2],
    shown: Rect,
    ink: Color32,
) -> RectShape {
    let [first, last] = run.map(|cell| cell_rect(layout, camera, cell, shown));
    let radius = corner(CORNER * camera.scale);
    let [nw, ne, se, sw] = round_corners(layout, run).map(|round| if round { radius } else { 0 });
    RectShape::filled(first.union(last), CornerRadius { nw, ne, sw, se }, ink)
}

/// Which corners of a run are round, clockwise from the upper left.
fn round_corners(layout: &MazeLayout, [first, last]: [[usize; 2]; 2]) -> [bool; 4] {
    let (up, down, left, right) = ([-1, 0], [1, 0], [0, -1], [0, 1]);
    let free = |cell, a, b| !neighbor(layout, cell, a) && !neighbor(layout, cell, b);
    // The upper left corner is the first cell's; two depend on the direction.
    let is_row = first[0] == last[0];
    let (upper_right, lower_left) = if is_row { (last, first) } else { (first, last) };
    [
        free(first, up, left),
        free(upper_right, up, right),
        free(last, down, right),
        free(lower_left, down, left),
    ]
}

/// The walls as data for a picture, cut to what is shown.
pub fn for_picture(layout: &MazeLayout) -> Vec<crate::picture::Wall> {
    let [x_min, y_min, x_max, y_max] = shown_bounds(layout);
    runs(layout)
        .into_iter()
        .map(|run| {
            let [first, last] = run.map(|cell| layout.center_of_cell(cell));
            let rect = [
                (first[0] - 0.5).max(x_min),
                (first[1] - 0.5).max(y_min),
                (last[0] + 0.5).min(x_max),
                (last[1] + 0.5).min(y_max),
            ];
            crate::picture::Wall { rect, round: round_corners(layout, run) }
        })
        .collect()
}

fn corner(radius: f32) -> u8 {
    radius.clamp(0.0, 64.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::U_MAZE;
    use eframe::egui::pos2;

    #[test]
    fn walls_join_their_neighbors_and_are_round_where_free() {
        let layout = MazeLayout::parse(U_MAZE).unwrap();
        let rect = Rect::from_min_size(pos2(0.0, 0.0), egui::vec2(500.0, 500.0));
        let camera = Camera::fit(rect, layout.bounds());
        let bar = wall(&layout, &camera, [[2, 0], [2, 2]], rect, Color32::WHITE);
        // The U's bar joins the frame to its left and is round to the right.
        assert_eq!((bar.corner_radius.nw, bar.corner_radius.sw), (0, 0));
        assert!(bar.corner_radius.ne > 0 && bar.corner_radius.se > 0);
        assert!((bar.rect.width() - camera.scale * 3.0).abs() < 1e-3);
        assert!((bar.rect.height() - camera.scale).abs() < 1e-3);
    }

    #[test]
    fn runs_cover_every_wall_and_nothing_else() {
        for text in [U_MAZE, crate::env::LARGE, "###O\nOO#O\n#OOO"] {
            let layout = MazeLayout::parse(text).unwrap();
            let mut covered = vec![false; layout.rows() * layout.columns()];
            for [[w0, h0], [w1, h1]] in runs(&layout) {
                for w in w0..=w1 {
                    for h in h0..=h1 {
                        assert!(layout.is_wall(w, h));
                        covered[w * layout.columns() + h] = true;
                    }
                }
            }
            let walls = covered.len() - layout.free_cells().len();
            assert_eq!(covered.iter().filter(|&&covered| covered).count(), walls, "{text}");
        }
    }

    #[test]
    fn a_cell_is_one_unit_and_holds_its_center() {
        let layout = MazeLayout::parse(U_MAZE).unwrap();
        let rect = Rect::from_min_size(pos2(0.0, 0.0), egui::vec2(500.0, 500.0));
        let camera = Camera::fit(rect, layout.bounds());
        let cell = cell_rect(&layout, &camera, [1, 1], rect);
        assert!((cell.width() - camera.scale).abs() < 1e-4);
        assert_eq!(layout.cell_at(camera.world_from_screen(cell.center())), Some([1, 1]));
    }
}
