//! Matrices of weights as color, one cell each: attention maps.
//!
//! The numbers are an image that the device keeps until they change, and a
//! frame draws one rectangle: a window of seventeen maps costs seventeen.

use eframe::egui_wgpu::wgpu;

use super::device::{SURFACE, VIEW, VIRIDIS};
use super::{Geometry, Layer};

/// Widest image that every device takes.
const MOST: usize = 2048;
/// What a cell without a number holds.
const NOTHING: f32 = -1.0;

/// The rectangle a matrix fills.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct MatrixCorners {
    /// World position of two opposite corners, `[x0, y0, x1, y1]`.
    pub corners: [f32; 4],
}

pub(super) const LAYER: Layer = Layer {
    id: "attention",
    help: "Matrices of weights: one rectangle over an image of numbers, a color for each cell.",
    shader: &[VIEW, SURFACE, VIRIDIS, include_str!("../../../shaders/attention.wgsl")],
    stride: size_of::<MatrixCorners>(),
    geometry: Geometry::Image(&wgpu::vertex_attr_array![0 => Float32x4]),
};

/// A square matrix whose rows look at the columns up to the diagonal.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    corners: MatrixCorners,
    side: usize,
    shares: Vec<f32>,
}

impl Matrix {
    /// The lower triangle of `weights` (`[n, n]`) as shares of `end`, in world
    /// coordinates from 0 to `n`: columns along x, rows along y. With more than
    /// `most` cells a side, the largest weight of those that fall together
    /// stands for them, so that a thin stripe stays.
    pub fn causal(weights: &[f32], n: usize, end: f32, most: usize) -> Self {
        if n == 0 || weights.len() != n * n {
            return Self::default();
        }
        let side = n.min(most.clamp(1, MOST));
        let end = if end > 0.0 { end } else { 1.0 };
        let mut shares = vec![NOTHING; side * side];
        for (row, weights) in weights.chunks_exact(n).enumerate() {
            let to = (row * side / n) * side;
            for (column, &weight) in weights[..=row].iter().enumerate() {
                let share = if weight.is_finite() { (weight / end).clamp(0.0, 1.0) } else { 0.0 };
                let cell = &mut shares[to + column * side / n];
                *cell = cell.max(share);
            }
        }
        let far = n as f32;
        Self { corners: MatrixCorners { corners: [0.0, 0.0, far, far] }, side, shares }
    }

    /// Cells a side.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Row by row: shares of the scale's end, below 0 where there is nothing.
    pub fn shares(&self) -> &[f32] {
        &self.shares
    }

    /// The one rectangle; none for an empty matrix.
    pub(super) fn points(&self) -> &[MatrixCorners] {
        if self.side > 0 { std::slice::from_ref(&self.corners) } else { &[] }
    }

    /// World position of a cell's corners, `[x0, y0, x1, y1]`.
    pub(super) fn cell(&self, row: usize, column: usize) -> [f32; 4] {
        let [_, _, far, _] = self.corners.corners;
        let size = far / self.side.max(1) as f32;
        let [x, y] = [column, row].map(|index| index as f32 * size);
        [x, y, x + size, y + size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_triangle_is_empty_and_weights_are_shares_of_the_end() {
        let matrix = Matrix::causal(&[1.0, 9.0, 0.1, 0.2], 2, 0.4, 100);
        assert_eq!(matrix.side(), 2);
        assert_eq!(matrix.shares(), [1.0, NOTHING, 0.25, 0.5]);
        assert_eq!(matrix.points().len(), 1);
        assert_eq!(matrix.cell(1, 0), [0.0, 1.0, 1.0, 2.0]);
    }

    #[test]
    fn what_falls_together_keeps_its_largest_weight_and_its_place() {
        let n = 10;
        let mut weights = vec![0.0; n * n];
        weights[7 * n + 2] = 1.0;
        let matrix = Matrix::causal(&weights, n, 1.0, 5);
        assert_eq!(matrix.side(), 5);
        assert_eq!(matrix.shares()[3 * 5 + 1], 1.0);
        assert_eq!(matrix.shares().iter().filter(|share| **share > 0.0).count(), 1);
        assert_eq!(matrix.cell(3, 1), [2.0, 6.0, 4.0, 8.0]);
    }

    #[test]
    fn broken_numbers_draw_nothing() {
        for matrix in [Matrix::causal(&[], 0, 1.0, 9), Matrix::causal(&[1.0], 2, 1.0, 9)] {
            assert!(matrix.points().is_empty() && matrix.shares().is_empty());
        }
        assert_eq!(Matrix::causal(&[f32::NAN], 1, f32::NAN, 9).shares(), [0.0]);
    }
}
