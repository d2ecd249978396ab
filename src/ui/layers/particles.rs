//! Soft round points: waypoints that are still mostly noise.

use eframe::egui_wgpu::wgpu;

use super::device::{SURFACE, VIEW};
use super::{Geometry, Layer};

/// One point.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Particle {
    /// World position.
    pub position: [f32; 2],
    /// Straight alpha, sRGB, at the center; the rim is clear.
    pub color: [u8; 4],
    /// Radius in points.
    pub radius: f32,
}

pub(super) const LAYER: Layer = Layer {
    id: "particles",
    help: "Soft round points for noise that has not become a plan yet.",
    shader: &[VIEW, SURFACE, include_str!("../../../shaders/particles.wgsl")],
    stride: size_of::<Particle>(),
    geometry: Geometry::Strips {
        corners: 3,
        taps: &[&wgpu::vertex_attr_array![0 => Float32x2, 1 => Unorm8x4, 2 => Float32]],
    },
};

/// Points in the layout the shader reads.
#[derive(Clone, Debug, Default)]
pub struct Particles {
    points: Vec<Particle>,
}

impl Particles {
    /// Append a point unless its position is not finite.
    pub fn push(&mut self, position: [f32; 2], color: [u8; 4], radius: f32) {
        if position.iter().all(|value| value.is_finite()) {
            self.points.push(Particle { position, color, radius });
        }
    }

    /// All points.
    pub fn points(&self) -> &[Particle] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_that_are_nowhere_are_left_out() {
        let mut particles = Particles::default();
        particles.push([0.0, f32::NAN], [255; 4], 1.0);
        particles.push([0.0, 1.0], [255; 4], 1.0);
        assert_eq!(particles.points().len(), 1);
        assert_eq!(size_of::<Particle>(), 16);
    }
}
