//! Plain colored triangles: what is large and still, like the maze.

use eframe::egui::epaint::{TessellationOptions, Tessellator};
use eframe::egui::{Mesh, Rect, Shape};
use eframe::egui_wgpu::wgpu;

use super::device::{SURFACE, VIEW};
use super::{Geometry, Layer, View};

/// One corner of a triangle.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct GroundVertex {
    /// Screen position in points.
    pub position: [f32; 2],
    /// Premultiplied alpha, sRGB.
    pub color: [u8; 4],
}

pub(super) const LAYER: Layer = Layer {
    id: "ground",
    help: "Plain triangles for the maze: no texture, so cheap to fill in software.",
    shader: &[VIEW, SURFACE, include_str!("../../../shaders/ground.wgsl")],
    stride: size_of::<GroundVertex>(),
    geometry: Geometry::Triangles(&wgpu::vertex_attr_array![0 => Float32x2, 1 => Unorm8x4]),
};

/// Shapes turned into triangles once, to be drawn many times.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    vertices: Vec<GroundVertex>,
    indices: Vec<u32>,
    shapes: Vec<Shape>,
}

impl Ground {
    /// Triangles for untextured shapes.
    pub fn new(shapes: Vec<Shape>, pixels_per_point: f32) -> Self {
        let options = TessellationOptions::default();
        let mut tessellator = Tessellator::new(pixels_per_point, options, [1, 1], Vec::new());
        let mut mesh = Mesh::default();
        for shape in &shapes {
            tessellator.tessellate_shape(shape.clone(), &mut mesh);
        }
        let vertices = mesh
            .vertices
            .iter()
            .map(|vertex| GroundVertex {
                position: [vertex.pos.x, vertex.pos.y],
                color: vertex.color.to_array(),
            })
            .collect();
        Self { vertices, indices: mesh.indices, shapes }
    }

    /// Corners of all triangles.
    pub fn vertices(&self) -> &[GroundVertex] {
        &self.vertices
    }

    /// Three per triangle.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// What the triangles came from.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }
}

/// The view under which screen points stay where they are in `rect`.
pub fn screen_view(rect: Rect, pixels_per_point: f32) -> View {
    let (to_x, to_y) = (2.0 / rect.width(), -2.0 / rect.height());
    View {
        row_x: [to_x, 0.0, -rect.center().x * to_x, 0.0],
        row_y: [0.0, to_y, -rect.center().y * to_y, 0.0],
        extent: [
            rect.width() * pixels_per_point,
            rect.height() * pixels_per_point,
            pixels_per_point,
            1.0,
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eframe::egui::{Color32, pos2};

    #[test]
    fn shapes_become_triangles_of_their_color() {
        let rect = Rect::from_min_max(pos2(10.0, 10.0), pos2(20.0, 30.0));
        let ground = Ground::new(vec![Shape::rect_filled(rect, 0.0, Color32::RED)], 1.0);
        assert!(ground.indices().len() >= 6 && ground.indices().len().is_multiple_of(3));
        assert!(ground.vertices().iter().any(|vertex| vertex.color == [255, 0, 0, 255]));
    }

    #[test]
    fn the_view_maps_the_rectangle_to_the_whole_viewport() {
        let rect = Rect::from_min_max(pos2(100.0, 50.0), pos2(300.0, 150.0));
        let view = screen_view(rect, 2.0);
        let clip = |x: f32, y: f32| {
            [
                view.row_x[0] * x + view.row_x[1] * y + view.row_x[2],
                view.row_y[0] * x + view.row_y[1] * y + view.row_y[2],
            ]
        };
        assert_eq!(clip(100.0, 50.0), [-1.0, 1.0]);
        assert_eq!(clip(300.0, 150.0), [1.0, -1.0]);
    }
}
