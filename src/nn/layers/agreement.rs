//! How far fused operations are from their compositions, on any device.

use burn::tensor::{Device, Tensor, TensorData};

use super::{convolve_composed, norm_mish_composed, upsample_composed};
use crate::nn::fused::HostOp;
use crate::nn::fused::beside::Beside;
use crate::nn::fused::convolution::Convolution;
use crate::nn::fused::norm_mish::NormMish;
use crate::nn::fused::residual::{Residual, TAPS};
use crate::nn::fused::upsampling::Upsampling;
use crate::rng::Rng;

/// Largest absolute difference between a fused op and its composition on
/// `device`, over outputs and every gradient; part of the device self-test.
pub fn fused_difference(device: &Device) -> f32 {
    let device = device.clone().autodiff();
    let mut worst: f32 = 0.0;
    for (kernel, stride) in [(5, 1), (3, 1), (1, 1), (3, 2)] {
        let op = Convolution { batch: 3, time: 8, channels: 6, outputs: 5, kernel, stride };
        let shapes = vec![vec![3, 8, 6], vec![kernel, 6, 5], vec![5]];
        let composed = |t: &[Leaf]| convolve_composed(t[0].to(), t[1].to(), t[2].to(), &op);
        worst = larger(worst, host_against_composed(&op, &shapes, &device, composed));
    }
    let op = Upsampling { batch: 2, time: 4, channels: 20 };
    let shapes = vec![vec![2, 4, 20], vec![4, 20, 20], vec![20]];
    let composed = |t: &[Leaf]| upsample_composed(t[0].to(), t[1].to(), t[2].to(), &op);
    worst = larger(worst, host_against_composed(&op, &shapes, &device, composed));
    let op = Beside { batch: 3, time: 70, channels: [5, 3] };
    let shapes = vec![vec![3, 70, 5], vec![3, 70, 3]];
    let composed = |t: &[Leaf]| Tensor::cat(vec![t[0].to(), t[1].to()], 2);
    worst = larger(worst, host_against_composed(&op, &shapes, &device, composed));
    let op = NormMish { batch: 3, time: 8, channels: 16, groups: 4 };
    let shapes = vec![vec![3, 8, 16], vec![16], vec![16], vec![3, 16]];
    let composed = |t: &[Leaf]| norm_mish_composed(t[0].to(), [t[1].to(), t[2].to()], t[3].to(), 4);
    worst = larger(worst, host_against_composed(&op, &shapes, &device, composed));
    larger(worst, residual_difference(&device))
}

/// The same of residual blocks, with and without a skip convolution.
fn residual_difference(device: &Device) -> f32 {
    let mut worst: f32 = 0.0;
    for channels in [6, 16] {
        let op = Residual { batch: 3, time: 12, channels, outputs: 16, groups: 4 };
        let half = |channels| vec![vec![TAPS, channels, 16], vec![16], vec![16], vec![16]];
        let mut shapes = vec![vec![3, 12, channels], vec![3, 16]];
        shapes.extend(half(channels));
        shapes.extend(half(16));
        let composed = |t: &[Leaf]| {
            let conv = op.convolution(channels, TAPS);
            let y = convolve_composed(t[0].to(), t[2].to(), t[3].to(), &conv);
            let y = norm_mish_composed(y, [t[4].to(), t[5].to()], t[1].to(), 4);
            let y = convolve_composed(y, t[6].to(), t[7].to(), &op.convolution(16, TAPS));
            let y = norm_mish_composed(y, [t[8].to(), t[9].to()], t[1].to::<2>() * 0.0, 4);
            match t.get(10..12) {
                Some([weight, bias]) => {
                    let conv = op.convolution(channels, 1);
                    y + convolve_composed(t[0].to(), weight.to(), bias.to(), &conv)
                }
                _ => y + t[0].to(),
            }
        };
        let difference = if channels == 16 {
            host_against_composed::<_, 10>(&op, &shapes, device, composed)
        } else {
            shapes.extend([vec![1, channels, 16], vec![16]]);
            host_against_composed::<_, 12>(&op, &shapes, device, composed)
        };
        worst = larger(worst, difference);
    }
    worst
}

/// Largest absolute difference of two arrays; infinite if their lengths
/// differ, NaN if any number is.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, larger)
}

/// The larger of two differences; NaN, which `f32::max` would hide, is the
/// largest.
pub fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// A flat leaf tensor that reshapes to any rank.
struct Leaf {
    flat: Tensor<1>,
    shape: Vec<usize>,
}

impl Leaf {
    fn to<const D: usize>(&self) -> Tensor<D> {
        let mut shape = [1; D];
        shape.copy_from_slice(&self.shape);
        self.flat.clone().reshape(shape)
    }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap_or_default()
}

fn host_against_composed<O: HostOp<N>, const N: usize>(
    op: &O,
    shapes: &[Vec<usize>],
    device: &Device,
    composed: impl Fn(&[Leaf]) -> Tensor<3>,
) -> f32 {
    let mut rng = Rng::stream(11, "fused against composed");
    let values: Vec<Vec<f32>> =
        shapes.iter().map(|shape| rng.normals(shape.iter().product())).collect();
    let leaves: Vec<Leaf> = values
        .iter()
        .zip(shapes)
        .map(|(values, shape)| Leaf {
            flat: Tensor::from_data(TensorData::new(values.clone(), [values.len()]), device)
                .require_grad(),
            shape: shape.clone(),
        })
        .collect();
    let expected = composed(&leaves);
    let dims = expected.dims();
    let cotangent = rng.normals(dims.iter().product());
    let weights = Tensor::<3>::from_data(TensorData::new(cotangent.clone(), dims), device);
    let grads = (expected.clone() * weights).sum().backward();

    let inputs: [&[f32]; N] = std::array::from_fn(|i| values[i].as_slice());
    let mut worst = largest_difference(&op.forward(inputs), &host(expected));
    for (leaf, grad) in leaves.iter().zip(op.backward(inputs, &cotangent)) {
        let expected = leaf.flat.grad(&grads).map(host).unwrap_or_default();
        worst = larger(worst, largest_difference(&grad, &expected));
    }
    worst
}
