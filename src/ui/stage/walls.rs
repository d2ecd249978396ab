//! The maze: floor, soft walls and the shade they cast.

use eframe::egui;
use eframe::egui::{Color32, CornerRadius, Mesh, Painter, Pos2, Rect, Shape, pos2};

use super::camera::Camera;
use crate::env::{MazeLayout, Workspace as _};
use crate::ui::theme::Colors;

/// Radius of a wall's corners, in cells.
const CORNER: f32 = 0.22;
/// How far a wall's shade reaches, in cells.
const SHADE: f32 = 0.16;
/// Slices of a rounded corner of shade.
const SLICES: usize = 6;

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

/// Paint the maze.
pub fn paint(painter: &Painter, layout: &MazeLayout, camera: &Camera, colors: Colors) {
    let outline = shown_rect(layout, camera);
    let radius = CORNER * camera.scale;
    painter.rect_filled(outline, corner(radius), colors.floor());
    painter.add(Shape::mesh(shade(layout, camera, colors)));
    for w in 0..layout.rows() {
        for h in 0..layout.columns() {
            if layout.is_wall(w, h) {
                // At most 64 by 64, and only the walls.
                painter.extend(wall(layout, camera, [w, h], outline, colors.wall()));
            }
        }
    }
}

/// The maze without depth, for small pictures.
pub fn flat(layout: &MazeLayout, camera: &Camera, colors: Colors) -> Mesh {
    let mut mesh = Mesh::default();
    let shown = shown_rect(layout, camera);
    for w in 0..layout.rows() {
        for h in 0..layout.columns() {
            if layout.is_wall(w, h) {
                let square = cell_rect(layout, camera, [w, h], shown);
                mesh.add_colored_rect(square, colors.wall());
            }
        }
    }
    mesh
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

/// A wall is round where it has no wall beside it, and reaches into its wall
/// neighbors, once along each axis, so that no seam shows between them.
fn wall(
    layout: &MazeLayout,
    camera: &Camera,
    cell: [usize; 2],
    shown: Rect,
    ink: Color32,
) -> [Shape; 2] {
    let square = cell_rect(layout, camera, cell, shown);
    let reach = camera.scale * 0.5;
    let (up, down) = (neighbor(layout, cell, [-1, 0]), neighbor(layout, cell, [1, 0]));
    let (left, right) = (neighbor(layout, cell, [0, -1]), neighbor(layout, cell, [0, 1]));
    let radius = corner(CORNER * camera.scale);
    let round = |is_joined: bool| if is_joined { 0 } else { radius };
    let corners = CornerRadius {
        nw: round(up || left),
        ne: round(up || right),
        sw: round(down || left),
        se: round(down || right),
    };
    let (mut tall, mut wide) = (square, square);
    tall.min.y -= if up { reach } else { 0.0 };
    tall.max.y += if down { reach } else { 0.0 };
    wide.min.x -= if left { reach } else { 0.0 };
    wide.max.x += if right { reach } else { 0.0 };
    [Shape::rect_filled(tall, corners, ink), Shape::rect_filled(wide, corners, ink)]
}

fn corner(radius: f32) -> u8 {
    radius.clamp(0.0, 64.0) as u8
}

/// Shade on the floor along walls: darkest at the wall, gone a little way off.
fn shade(layout: &MazeLayout, camera: &Camera, colors: Colors) -> Mesh {
    let mut mesh = Mesh::default();
    let depth = SHADE * camera.scale;
    let dark = colors.shade(if colors.is_dark() { 0.42 } else { 0.13 });
    let shown = shown_rect(layout, camera);
    for [w, h] in layout.free_cells() {
        let rect = cell_rect(layout, camera, [w, h], shown);
        let wall = |step| neighbor(layout, [w, h], step);
        let (up, down, left, right) =
            (wall([-1, 0]), wall([1, 0]), wall([0, -1]), wall([0, 1]));
        if up {
            strip(&mut mesh, rect.left_top(), rect.right_top(), egui::vec2(0.0, depth), dark);
        }
        if down {
            strip(&mut mesh, rect.left_bottom(), rect.right_bottom(), egui::vec2(0.0, -depth), dark);
        }
        if left {
            strip(&mut mesh, rect.left_top(), rect.left_bottom(), egui::vec2(depth, 0.0), dark);
        }
        if right {
            strip(&mut mesh, rect.right_top(), rect.right_bottom(), egui::vec2(-depth, 0.0), dark);
        }
        // A wall that only touches the corner shades a quarter disk.
        for (step, at, from) in [
            ([-1, -1], rect.left_top(), 0.0),
            ([-1, 1], rect.right_top(), 90.0),
            ([1, 1], rect.right_bottom(), 180.0),
            ([1, -1], rect.left_bottom(), 270.0),
        ] {
            let beside = wall([step[0], 0]) || wall([0, step[1]]);
            if wall(step) && !beside {
                fan(&mut mesh, at, depth, from, dark);
            }
        }
    }
    mesh
}

fn strip(mesh: &mut Mesh, a: Pos2, b: Pos2, inward: egui::Vec2, dark: Color32) {
    let first = mesh.vertices.len() as u32;
    mesh.colored_vertex(a, dark);
    mesh.colored_vertex(b, dark);
    mesh.colored_vertex(b + inward, Color32::TRANSPARENT);
    mesh.colored_vertex(a + inward, Color32::TRANSPARENT);
    mesh.add_triangle(first, first + 1, first + 2);
    mesh.add_triangle(first, first + 2, first + 3);
}

fn fan(mesh: &mut Mesh, at: Pos2, radius: f32, from_degrees: f32, dark: Color32) {
    let first = mesh.vertices.len() as u32;
    mesh.colored_vertex(at, dark);
    for slice in 0..=SLICES {
        let angle = (from_degrees + 90.0 * slice as f32 / SLICES as f32).to_radians();
        let rim = pos2(at.x + radius * angle.cos(), at.y + radius * angle.sin());
        mesh.colored_vertex(rim, Color32::TRANSPARENT);
        if slice > 0 {
            mesh.add_triangle(first, first + slice as u32, first + slice as u32 + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::U_MAZE;

    #[test]
    fn walls_join_their_neighbors_and_are_round_where_free() {
        let layout = MazeLayout::parse(U_MAZE).unwrap();
        let rect = Rect::from_min_size(pos2(0.0, 0.0), egui::vec2(500.0, 500.0));
        let camera = Camera::fit(rect, layout.bounds());
        let [Shape::Rect(tall), Shape::Rect(wide)] = wall(&layout, &camera, [2, 2], rect, Color32::WHITE)
        else {
            panic!("not rectangles")
        };
        // The end of the U's bar joins the wall to its left and is round to the right.
        assert_eq!((wide.corner_radius.nw, wide.corner_radius.sw), (0, 0));
        assert!(wide.corner_radius.ne > 0 && wide.corner_radius.se > 0);
        assert!((wide.rect.width() - camera.scale * 1.5).abs() < 1e-3);
        // It reaches sideways only, or it would cover the free cell across the corner.
        assert!((wide.rect.height() - camera.scale).abs() < 1e-3);
        assert!((tall.rect.height() - camera.scale).abs() < 1e-3);
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
