//! Ribbons along polylines: candidates, the chosen plan and the trail.

use eframe::egui_wgpu::wgpu;

use super::Layer;

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
    shader: include_str!("../../../shaders/trajectories.wgsl"),
    stride: STRIDE,
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
};

/// Polylines back to back in the layout the shader reads.
#[derive(Clone, Debug, Default)]
pub struct Ribbons {
    points: Vec<RibbonPoint>,
    lines: u32,
}

impl Ribbons {
    /// Append a polyline of `(position, color, width in points)`. Points that
    /// are not finite are left out; fewer than two draw nothing.
    pub fn line(&mut self, points: impl IntoIterator<Item = ([f32; 2], [u8; 4], f32)>) {
        let line = self.lines;
        let begin = self.points.len();
        for (position, color, width) in points {
            if position.iter().all(|value| value.is_finite()) {
                let point = RibbonPoint { position, color, width, line };
                if self.points.len() == begin {
                    // The first segment of a line needs a point before it.
                    self.points.push(point);
                }
                self.points.push(point);
            }
        }
        match self.points.last() {
            // A doubled start and one more point make a segment.
            Some(&last) if self.points.len() >= begin + 3 => {
                self.points.push(last);
                self.lines += 1;
            }
            _ => self.points.truncate(begin),
        }
    }

    /// All points, ends doubled.
    pub fn points(&self) -> &[RibbonPoint] {
        &self.points
    }
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
        ribbons.line([at(2.0), at(f32::INFINITY), at(3.0), at(4.0)]);
        let xs: Vec<_> = ribbons.points().iter().map(|p| (p.position[0], p.line)).collect();
        assert_eq!(
            xs,
            [
                (0.0, 0), (0.0, 0), (1.0, 0), (1.0, 0),
                (2.0, 1), (2.0, 1), (3.0, 1), (4.0, 1), (4.0, 1),
            ]
        );
    }
}
