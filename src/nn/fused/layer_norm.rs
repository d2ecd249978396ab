//! Layer normalization over the last axis in one pass per row.
//!
//! With xhat = (x - mean) r and r = 1 / sqrt(var + eps), y = weight xhat + bias
//! and, for h = weight dL/dy,
//! dL/dx = r (h - mean(h) - xhat mean(h xhat)).

use multiversion::multiversion;
use rayon::prelude::*;

use super::HostOp;

/// Variance floor, as in PyTorch.
pub const EPSILON: f32 = 1e-5;
/// Sums that a reduction keeps apart: strict floating point forbids the
/// compiler to reorder one sum, and one sum waits for itself at every step.
pub(super) const LANES: usize = 16;
/// Rows a thread takes at once; fixed, so that sums over rows do not depend on
/// the number of threads.
const CHUNK: usize = 64;

/// `y[i] = weight * (x[i] - mean_i) / sqrt(var_i + eps) + bias`, moments over
/// each row.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    /// Rows, every leading axis flattened.
    pub rows: usize,
    /// Numbers per row, at least 1.
    pub width: usize,
}

impl HostOp<3> for LayerNorm {
    fn output_shape(&self) -> Vec<usize> {
        vec![self.rows, self.width]
    }

    /// Inputs: x `[rows, width]`, weight and bias `[width]`.
    fn forward(&self, [x, weight, bias]: [&[f32]; 3]) -> Vec<f32> {
        assert!(x.len() == self.rows * self.width && weight.len() == self.width);
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(CHUNK * self.width)
            .zip(x.par_chunks(CHUNK * self.width))
            .for_each(|(y, x)| normalize(x, weight, bias, y));
        y
    }

    fn backward(&self, [x, weight, _bias]: [&[f32]; 3], grad: &[f32]) -> [Vec<f32>; 3] {
        assert!(x.len() == grad.len() && weight.len() == self.width);
        let width = self.width;
        let mut dx = vec![0.0; x.len()];
        let parts: Vec<[Vec<f32>; 2]> = dx
            .par_chunks_mut(CHUNK * width)
            .zip(x.par_chunks(CHUNK * width))
            .zip(grad.par_chunks(CHUNK * width))
            .map(|((dx, x), grad)| {
                let (mut weight_grad, mut bias_grad) = (vec![0.0; width], vec![0.0; width]);
                gradients(x, weight, grad, dx, [&mut weight_grad, &mut bias_grad]);
                [weight_grad, bias_grad]
            })
            .collect();
        let mut sums = [vec![0.0; width], vec![0.0; width]];
        for part in &parts {
            for (sum, part) in sums.iter_mut().zip(part) {
                add(sum, part);
            }
        }
        let [weight_grad, bias_grad] = sums;
        [dx, weight_grad, bias_grad]
    }
}

/// `sum += part`, element by element.
pub(super) fn add(sum: &mut [f32], part: &[f32]) {
    for (sum, part) in sum.iter_mut().zip(part) {
        *sum += part;
    }
}

/// The sum of `term` over the elements of equally long slices, in `LANES`
/// interleaved parts.
#[inline(always)]
pub(in crate::nn) fn total<const N: usize>(
    slices: [&[f32]; N],
    term: impl Fn([f32; N]) -> f32,
) -> f32 {
    let split = slices.map(|slice| slice.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for i in 0..split[0].0.len() {
        let values = split.map(|(whole, _)| &whole[i]);
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(values.map(|values| values[lane]));
        }
    }
    let mut rest = 0.0;
    for i in 0..split[0].1.len() {
        rest += term(split.map(|(_, rest)| rest[i]));
    }
    let halves: [f32; LANES / 2] = std::array::from_fn(|i| lanes[i] + lanes[i + LANES / 2]);
    let quarters: [f32; LANES / 4] = std::array::from_fn(|i| halves[i] + halves[i + LANES / 4]);
    (quarters[0] + quarters[1]) + (quarters[2] + quarters[3]) + rest
}

/// Mean and 1 / sqrt(var + eps) of a row. Two passes: the mean of squares less
/// the square of the mean loses all digits when the mean is large.
#[inline(always)]
fn moments(x: &[f32]) -> (f32, f32) {
    let count = x.len() as f32;
    let mean = total([x], |[x]| x) / count;
    let variance = total([x], |[x]| (x - mean) * (x - mean)) / count;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

/// Writes y.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub(super) fn normalize(x: &[f32], weight: &[f32], bias: &[f32], y: &mut [f32]) {
    let width = weight.len();
    let bias = &bias[..width];
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        let (mean, r) = moments(x);
        for i in 0..width {
            y[i] = (x[i] - mean) * r * weight[i] + bias[i];
        }
    }
}

/// Writes dx and adds to the gradients of weight and bias.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub(super) fn gradients(
    x: &[f32],
    weight: &[f32],
    grad: &[f32],
    dx: &mut [f32],
    [weight_grad, bias_grad]: [&mut [f32]; 2],
) {
    let width = weight.len();
    let (weight_grad, bias_grad) = (&mut weight_grad[..width], &mut bias_grad[..width]);
    let rows = x.chunks_exact(width).zip(grad.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
    for ((x, grad), dx) in rows {
        let (mean, r) = moments(x);
        let mean_h = total([grad, weight], |[grad, weight]| grad * weight) / width as f32;
        let mean_hx = total([grad, weight, x], |[grad, weight, x]| grad * weight * (x - mean)) * r
            / width as f32;
        for i in 0..width {
            let normalized = (x[i] - mean) * r;
            dx[i] = r * (grad[i] * weight[i] - mean_h - normalized * mean_hx);
            weight_grad[i] += grad[i] * normalized;
            bias_grad[i] += grad[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn draw(rows: usize, width: usize) -> [Vec<f32>; 4] {
        let mut rng = Rng::stream(11, "layer norm");
        [
            rng.normals(rows * width),
            rng.normals(width),
            rng.normals(width),
            rng.normals(rows * width),
        ]
    }

    fn exact(width: usize, [x, weight, bias]: [&[f64]; 3]) -> Vec<f64> {
        let mut y = Vec::new();
        for x in x.chunks(width) {
            let mean = x.iter().sum::<f64>() / width as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            let r = 1.0 / (variance + 1e-5).sqrt();
            y.extend(x.iter().zip(weight).zip(bias).map(|((x, w), b)| (x - mean) * r * w + b));
        }
        y
    }

    fn double(values: &[f32]) -> Vec<f64> {
        values.iter().map(|v| f64::from(*v)).collect()
    }

    #[test]
    fn rows_are_normalized_as_by_the_definition_at_any_width_and_offset() {
        for (rows, width, offset) in [(3, 1, 0.0), (70, 37, 0.0), (130, 64, 1000.0)] {
            let [mut x, weight, bias, _] = draw(rows, width);
            x.iter_mut().for_each(|x| *x += offset);
            let y = LayerNorm { rows, width }.forward([&x, &weight, &bias]);
            let inputs = [&x, &weight, &bias].map(|values| double(values));
            let expected = exact(width, inputs.each_ref().map(Vec::as_slice));
            for (y, expected) in y.iter().zip(&expected) {
                assert!((f64::from(*y) - expected).abs() < 1e-3, "{y} {expected} at {width}");
            }
        }
    }

    #[test]
    fn gradients_are_those_of_the_difference_quotients() {
        for (rows, width) in [(5, 7), (66, 20)] {
            let [x, weight, bias, upstream] = draw(rows, width);
            let grads = LayerNorm { rows, width }.backward([&x, &weight, &bias], &upstream);
            let inputs = [&x, &weight, &bias].map(|values| double(values));
            for (which, grad) in grads.iter().enumerate() {
                for at in (0..grad.len()).step_by(1 + grad.len() / 100) {
                    let total = |by: f64| -> f64 {
                        let mut inputs = inputs.clone();
                        inputs[which][at] += by;
                        let y = exact(width, inputs.each_ref().map(Vec::as_slice));
                        y.iter().zip(&upstream).map(|(y, g)| y * f64::from(*g)).sum()
                    };
                    let numeric = (total(1e-5) - total(-1e-5)) / 2e-5;
                    let error = (f64::from(grad[at]) - numeric).abs();
                    assert!(error < 1e-4 * (1.0 + numeric.abs()), "{which} {at}: {error}");
                }
            }
        }
    }
}
