//! The layers' batches as egui shapes, for windows without GPU state.

use eframe::egui::{Color32, Mesh, Pos2, Rect, Shape, Stroke};

use super::{Batch, ColorMap, Field, Matrix, Points, Scale, field_color};

/// Most shapes a batch may become: this path is for tests, not for speed.
const MAX_SHAPES: usize = 400;

/// Shapes for `batch`, placed by `screen_from_world`.
pub fn shapes(batch: &Batch, screen_from_world: impl Fn([f32; 2]) -> Pos2) -> Vec<Shape> {
    match &batch.points {
        Points::Ground(ground) => ground.shapes().to_vec(),
        Points::Ribbons(ribbons) => ribbons
            .points()
            .chunk_by(|a, b| a.line == b.line)
            .take(MAX_SHAPES)
            .filter_map(|line| {
                let middle = line.get(line.len() / 2)?;
                let stroke = Stroke::new(middle.width, color(middle.color));
                let points = line.iter().map(|point| screen_from_world(point.position)).collect();
                Some(Shape::line(points, stroke))
            })
            .collect(),
        Points::Particles(particles) => {
            let stride = particles.points().len().div_ceil(MAX_SHAPES).max(1);
            particles
                .points()
                .iter()
                .step_by(stride)
                .map(|point| {
                    let center = screen_from_world(point.position);
                    Shape::circle_filled(center, point.radius * 0.5, color(point.color))
                })
                .collect()
        }
        Points::Field(field) => vec![mesh(field, screen_from_world)],
        Points::Matrix(matrix) => vec![cells(matrix, screen_from_world)],
    }
}

/// One color a rectangle, that of its middle.
fn mesh(field: &Field, screen_from_world: impl Fn([f32; 2]) -> Pos2) -> Shape {
    let (map, scale) = field.look();
    let mut mesh = Mesh::default();
    for cell in field.cells() {
        let [x0, y0, x1, y1] = cell.corners;
        let share = cell.shares.iter().sum::<f32>() / 4.0;
        let ink = color(field_color(map, scale, share).to_array());
        let rect = Rect::from_two_pos(screen_from_world([x0, y0]), screen_from_world([x1, y1]));
        mesh.add_colored_rect(rect, ink);
    }
    Shape::mesh(mesh)
}

/// One color a cell, for some of the cells.
fn cells(matrix: &Matrix, screen_from_world: impl Fn([f32; 2]) -> Pos2) -> Shape {
    let mut mesh = Mesh::default();
    let side = matrix.side().max(1);
    for (index, share) in matrix.shares().iter().enumerate().filter(|(_, share)| **share >= 0.0) {
        let [x0, y0, x1, y1] = matrix.cell(index / side, index % side);
        let rect = Rect::from_two_pos(screen_from_world([x0, y0]), screen_from_world([x1, y1]));
        let ink = field_color(ColorMap::Density, Scale::SquareRoot, *share).to_array();
        mesh.add_colored_rect(rect, color(ink));
    }
    Shape::mesh(mesh)
}

fn color([r, g, b, a]: [u8; 4]) -> Color32 {
    Color32::from_rgba_unmultiplied(r, g, b, a)
}
