//! Ribbons along polylines: candidates, the chosen plan and the trail.

use eframe::egui_wgpu::wgpu;

use super::device::{SURFACE, VIEW};
use super::{Geometry, Layer};

/// One point of a polyline.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct RibbonPoint {
    /// World position.
    pub position: [f32; 2],
    /// Straight alpha, sRGB.
    pub color: [u8; 4],
    /// Width in points.
    pub width: f32,
    /// Points with the same number are joined.
    pub line: u32,
}

const STRIDE: usize = size_of::<RibbonPoint>();
const POSITION: u64 = 0;
const COLOR: u64 = 8;
const WIDTH: u64 = 12;
const LINE: u64 = 16;

const fn attribute(
    format: wgpu::VertexFormat,
    offset: u64,
    shader_location: u32,
) -> wgpu::VertexAttribute {
    wgpu::VertexAttribute { format, offset, shader_location }
}

pub(super) const LAYER: Layer = Layer {
    id: "trajectories",
    help: "Anti-aliased ribbons along polylines, colored by time.",
    shader: &[VIEW, SURFACE, include_str!("../../../shaders/trajectories.wgsl")],
    stride: STRIDE,
    geometry: Geometry::Strips {
        corners: 4,
        taps: &[
            &[
                attribute(wgpu::VertexFormat::Float32x2, POSITION, 0),
                attribute(wgpu::VertexFormat::Uint32, LINE, 1),
            ],
            &[
                attribute(wgpu::VertexFormat::Float32x2, POSITION, 2),
                attribute(wgpu::VertexFormat::Uint32, LINE, 3),
                attribute(wgpu::VertexFormat::Unorm8x4, COLOR, 4),
                attribute(wgpu::VertexFormat::Float32, WIDTH, 5),
            ],
            &[
                attribute(wgpu::VertexFormat::Float32x2, POSITION, 6),
                attribute(wgpu::VertexFormat::Uint32, LINE, 7),
                attribute(wgpu::VertexFormat::Unorm8x4, COLOR, 8),
                attribute(wgpu::VertexFormat::Float32, WIDTH, 9),
            ],
            &[
                attribute(wgpu::VertexFormat::Float32x2, POSITION, 10),
                attribute(wgpu::VertexFormat::Uint32, LINE, 11),
            ],
        ],
    },
};

/// How far, in world units, a ribbon may be off the polyline it stands for. On
/// a stage that is about half a pixel.
const TOLERANCE: f32 = 0.006;

/// Polylines back to back in the layout the shader reads.
#[derive(Clone, Debug, Default)]
pub struct Ribbons {
    points: Vec<RibbonPoint>,
    lines: u32,
}

impl Ribbons {
    /// Append a polyline of `(position, color, width in points)`, without the
    /// points it looks the same without: a software renderer pays by the
    /// triangle. Points that are not finite are left out; fewer than two draw
    /// nothing.
    pub fn line(&mut self, points: impl IntoIterator<Item = ([f32; 2], [u8; 4], f32)>) {
        let line = self.lines;
        let all: Vec<RibbonPoint> = points
            .into_iter()
            .filter(|(position, ..)| position.iter().all(|value| value.is_finite()))
            .map(|(position, color, width)| RibbonPoint { position, color, width, line })
            .collect();
        let (Some(&first), Some(&last)) = (all.first(), all.last()) else { return };
        if all.len() < 2 {
            return;
        }
        // The first segment needs a point before it, and the last one after.
        self.points.push(first);
        self.points.push(first);
        simplify(&all, &mut self.points);
        self.points.push(last);
        self.lines += 1;
    }

    /// All points, ends doubled.
    pub fn points(&self) -> &[RibbonPoint] {
        &self.points
    }
}

/// Douglas and Peucker's simplification: append every point after the first
/// that the line cannot do without.
fn simplify(points: &[RibbonPoint], out: &mut Vec<RibbonPoint>) {
    let last = points.len() - 1;
    let farthest = (1..last)
        .map(|index| (index, distance(points[index], points[0], points[last])))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    match farthest {
        Some((index, distance)) if distance > TOLERANCE => {
            simplify(&points[..=index], out);
            simplify(&points[index..], out);
        }
        _ => out.push(points[last]),
    }
}

/// From a point to the segment between two others.
fn distance(point: RibbonPoint, from: RibbonPoint, to: RibbonPoint) -> f32 {
    let [px, py] = [0, 1].map(|i| point.position[i] - from.position[i]);
    let [dx, dy] = [0, 1].map(|i| to.position[i] - from.position[i]);
    let length_squared = dx * dx + dy * dy;
    let along = if length_squared > 0.0 { (px * dx + py * dy) / length_squared } else { 0.0 };
    let along = along.clamp(0.0, 1.0);
    (px - along * dx).hypot(py - along * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attributes_match_the_memory_layout() {
        assert_eq!(std::mem::offset_of!(RibbonPoint, position) as u64, POSITION);
        assert_eq!(std::mem::offset_of!(RibbonPoint, color) as u64, COLOR);
        assert_eq!(std::mem::offset_of!(RibbonPoint, width) as u64, WIDTH);
        assert_eq!(std::mem::offset_of!(RibbonPoint, line) as u64, LINE);
        assert_eq!(STRIDE, 20);
    }

    #[test]
    fn lines_are_padded_and_broken_ones_dropped() {
        let mut ribbons = Ribbons::default();
        let at = |x: f32| ([x, 0.0], [255; 4], 1.0);
        ribbons.line([at(0.0)]);
        ribbons.line([at(f32::NAN), at(1.0)]);
        assert!(ribbons.points().is_empty());
        ribbons.line([at(0.0), at(1.0)]);
        ribbons.line([
            ([2.0, 0.0], [255; 4], 1.0),
            at(f32::INFINITY),
            at(3.0),
            ([4.0, 1.0], [255; 4], 1.0),
        ]);
        let xs: Vec<_> = ribbons.points().iter().map(|p| (p.position[0], p.line)).collect();
        let first = [(0.0, 0), (0.0, 0), (1.0, 0), (1.0, 0)];
        let second = [(2.0, 1), (2.0, 1), (3.0, 1), (4.0, 1), (4.0, 1)];
        assert_eq!(xs, [first.as_slice(), second.as_slice()].concat());
    }

    #[test]
    fn a_line_keeps_its_corners_and_drops_what_lies_between() {
        let mut ribbons = Ribbons::default();
        let corner = |i: i32| if i <= 50 { [i as f32, 0.0] } else { [50.0, (i - 50) as f32] };
        ribbons.line((0..=100).map(|i| (corner(i), [255; 4], 1.0)));
        let kept: Vec<_> = ribbons.points().iter().map(|p| p.position).collect();
        let expected = [[0.0, 0.0], [0.0, 0.0], [50.0, 0.0], [50.0, 50.0], [50.0, 50.0]];
        assert_eq!(kept, expected);
    }
}
