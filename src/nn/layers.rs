//! Layers over `[batch, time, channel]`: linear, convolution, its transpose,
//! and group norm with Mish.

use burn::module::{Module, Param};
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor};

use super::fused::convolution::Convolution;
use super::fused::norm_mish::{EPSILON, NormMish};
use super::fused::{HostOp, apply};
use super::init::Initializer;

/// `y = x W + b`, W `[inputs, outputs]`.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Linear {
    /// A linear layer with PyTorch's default initialization.
    pub fn new(inputs: usize, outputs: usize, init: &mut Initializer) -> Self {
        Self {
            weight: init.uniform([inputs, outputs], inputs),
            bias: init.uniform([outputs], inputs),
        }
    }

    /// A linear layer whose initial weights and biases are `scale` times
    /// PyTorch's.
    pub fn with_scale(inputs: usize, outputs: usize, scale: f64, init: &mut Initializer) -> Self {
        Self {
            weight: init.scaled_uniform([inputs, outputs], inputs, scale),
            bias: init.scaled_uniform([outputs], inputs, scale),
        }
    }

    /// A linear layer that starts with N(0, 0.02) weights and no bias, as GPT
    /// does.
    pub fn gpt(inputs: usize, outputs: usize, init: &mut Initializer) -> Self {
        Self { weight: init.normal([inputs, outputs], 0.02), bias: init.zeros([outputs]) }
    }

    /// `[batch, inputs]` to `[batch, outputs]`, without the bias.
    pub fn product(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.val())
    }

    /// The bias, `[outputs]`.
    pub fn bias(&self) -> Tensor<1> {
        self.bias.val()
    }

    /// `[batch, inputs]` to `[batch, outputs]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.val()) + self.bias.val().unsqueeze()
    }
}

/// Convolution with `kernel / 2` zeros on both sides.
#[derive(Module, Debug)]
pub struct Conv1d {
    /// `[kernel, channels, outputs]`.
    weight: Param<Tensor<3>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    stride: usize,
}

impl Conv1d {
    /// A convolution from `channels` to `outputs` with an odd `kernel`.
    pub fn new(
        channels: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
        init: &mut Initializer,
    ) -> Self {
        let fan_in = channels * kernel;
        Self {
            weight: init.uniform([kernel, channels, outputs], fan_in),
            bias: init.uniform([outputs], fan_in),
            stride,
        }
    }

    /// `[batch, time, channels]` to `[batch, time / stride, outputs]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        convolve(x, self.weight.val(), self.bias.val(), self.stride)
    }
}

/// Transposed convolution with kernel 4, stride 2 and padding 1: doubles the
/// sequence.
#[derive(Module, Debug)]
pub struct Upsample1d {
    /// `[kernel = 4, channels, outputs]`.
    weight: Param<Tensor<3>>,
    bias: Param<Tensor<1>>,
}

impl Upsample1d {
    /// Doubles sequences of `channels`.
    pub fn new(channels: usize, init: &mut Initializer) -> Self {
        let fan_in = channels * 4;
        Self {
            weight: init.uniform([4, channels, channels], fan_in),
            bias: init.uniform([channels], fan_in),
        }
    }

    /// `[batch, time, channels]` to `[batch, 2 time, channels]`.
    ///
    /// Output 2t sums taps 3 and 1 at inputs t - 1 and t; output 2t + 1 sums
    /// taps 2 and 0 at t and t + 1. Both at once are a 3-tap convolution with
    /// twice the outputs, whose rows then read as pairs of steps.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, time, channels] = x.dims();
        let weight = self.weight.val();
        let tap = |k: usize| weight.clone().slice([k..k + 1, 0..channels, 0..channels]);
        let zero = tap(0).zeros_like();
        let even = Tensor::cat(vec![tap(3), tap(1), zero.clone()], 0);
        let odd = Tensor::cat(vec![zero, tap(2), tap(0)], 0);
        let weight = Tensor::cat(vec![even, odd], 2);
        let bias = self.bias.val();
        let bias = Tensor::cat(vec![bias.clone(), bias], 0);
        convolve(x, weight, bias, 1).reshape([batch, 2 * time, channels])
    }
}

/// Group normalization over channels-in-group and time, then Mish.
#[derive(Module, Debug)]
pub struct GroupNormMish {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    groups: usize,
}

impl GroupNormMish {
    /// Over `channels`, in `groups`.
    pub fn new(channels: usize, groups: usize, init: &mut Initializer) -> Self {
        Self { weight: init.constant(channels, 1.0), bias: init.constant(channels, 0.0), groups }
    }

    /// Normalize and activate `[batch, time, channels]`, then add `offset`
    /// `[batch, channels]` to every step.
    pub fn forward(&self, x: Tensor<3>, offset: Tensor<2>) -> Tensor<3> {
        let [batch, time, channels] = x.dims();
        let op = NormMish { batch, time, channels, groups: self.groups };
        let device = x.device();
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let inputs = [
            x.clone().into_dispatch(),
            weight.clone().into_dispatch(),
            bias.clone().into_dispatch(),
            offset.clone().into_dispatch(),
        ];
        apply(&op, &device, inputs)
            .unwrap_or_else(|| norm_mish_composed(x, [weight, bias], offset, self.groups))
    }
}

fn convolve(x: Tensor<3>, weight: Tensor<3>, bias: Tensor<1>, stride: usize) -> Tensor<3> {
    let [batch, time, channels] = x.dims();
    let [kernel, _, outputs] = weight.dims();
    let op = Convolution { batch, time, channels, outputs, kernel, stride };
    let device = x.device();
    let inputs =
        [x.clone().into_dispatch(), weight.clone().into_dispatch(), bias.clone().into_dispatch()];
    apply(&op, &device, inputs).unwrap_or_else(|| convolve_composed(x, weight, bias, &op))
}

/// [`Convolution`] from burn's operations: shifted views side by side and one
/// wide matrix product.
fn convolve_composed(
    x: Tensor<3>,
    weight: Tensor<3>,
    bias: Tensor<1>,
    op: &Convolution,
) -> Tensor<3> {
    let [batch, time, channels] = [op.batch, op.time, op.channels];
    let (kernel, output_time) = (op.kernel, op.output_time());
    let side = Tensor::zeros([batch, kernel / 2, channels], &x.device());
    let x = if kernel > 1 { Tensor::cat(vec![side.clone(), x, side], 1) } else { x };
    let shifted = (0..kernel)
        .map(|tap| {
            let window = x.clone().slice([0..batch, tap..tap + time, 0..channels]);
            if op.stride == 1 {
                return window;
            }
            let pairs = window.reshape([batch, output_time, op.stride * channels]);
            pairs.slice([0..batch, 0..output_time, 0..channels])
        })
        .collect();
    let windows: Tensor<3> = Tensor::cat(shifted, 2);
    let rows = windows.reshape([batch * output_time, kernel * channels]);
    let y = rows.matmul(weight.reshape([kernel * channels, op.outputs])) + bias.unsqueeze();
    y.reshape([batch, output_time, op.outputs])
}

/// [`NormMish`] from burn's operations.
fn norm_mish_composed(
    x: Tensor<3>,
    [scale, shift]: [Tensor<1>; 2],
    offset: Tensor<2>,
    groups: usize,
) -> Tensor<3> {
    let [batch, time, channels] = x.dims();
    let width = channels / groups;
    let grouped = x.reshape([batch, time, groups, width]).swap_dims(1, 2).reshape([
        batch,
        groups,
        time * width,
    ]);
    let centered = grouped.clone() - grouped.mean_dim(2);
    let variance = centered.clone().square().mean_dim(2);
    let normalized: Tensor<3> = (centered / (variance + EPSILON).sqrt())
        .reshape([batch, groups, time, width])
        .swap_dims(1, 2)
        .reshape([batch, time, channels]);
    let h = normalized * scale.unsqueeze::<3>() + shift.unsqueeze::<3>();
    mish(h) + offset.unsqueeze_dim::<3>(1)
}

/// mish(x) = x tanh(softplus(x)), for tensors of any rank.
pub fn mish<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let softplus = softplus(x.clone(), 1.0);
    x * softplus.tanh()
}

/// Largest absolute difference between a fused op and its composition on
/// `device`, over outputs and every gradient; part of the device self-test.
pub fn fused_difference(device: &Device) -> f32 {
    let device = device.clone().autodiff();
    let mut worst: f32 = 0.0;
    for (kernel, stride) in [(5, 1), (3, 1), (1, 1), (3, 2)] {
        let op = Convolution { batch: 3, time: 8, channels: 6, outputs: 5, kernel, stride };
        let shapes = vec![vec![3, 8, 6], vec![kernel, 6, 5], vec![5]];
        worst = larger(
            worst,
            check::host_against_composed(&op, &shapes, &device, |t| {
                convolve_composed(t[0].to(), t[1].to(), t[2].to(), &op)
            }),
        );
    }
    let op = NormMish { batch: 3, time: 8, channels: 16, groups: 4 };
    let shapes = vec![vec![3, 8, 16], vec![16], vec![16], vec![3, 16]];
    larger(
        worst,
        check::host_against_composed(&op, &shapes, &device, |t| {
            norm_mish_composed(t[0].to(), [t[1].to(), t[2].to()], t[3].to(), 4)
        }),
    )
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

/// Comparing a host op with tensors of any backend.
mod check {
    use super::*;
    use crate::rng::Rng;
    use burn::tensor::TensorData;

    /// A flat leaf tensor that reshapes to any rank.
    pub struct Leaf {
        flat: Tensor<1>,
        shape: Vec<usize>,
    }

    impl Leaf {
        pub fn to<const D: usize>(&self) -> Tensor<D> {
            let mut shape = [1; D];
            shape.copy_from_slice(&self.shape);
            self.flat.clone().reshape(shape)
        }
    }

    fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec::<f32>().unwrap_or_default()
    }

    pub fn host_against_composed<O: HostOp<N>, const N: usize>(
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn fused_operations_equal_their_composition_forward_and_backward() {
        let worst = fused_difference(&Device::flex());
        assert!(worst < 2e-4, "largest difference {worst}");
    }

    #[test]
    fn a_fused_layer_in_the_graph_has_the_composed_gradient() {
        let device = Device::flex().autodiff();
        let mut init = Initializer::new(1, &device);
        let conv = Conv1d::new(4, 8, 5, 1, &mut init);
        let x = Tensor::<3>::from_data(
            TensorData::new(crate::rng::Rng::stream(2, "x").normals(2 * 8 * 4), [2, 8, 4]),
            &device,
        )
        .require_grad();
        let fused = conv.forward(x.clone()).square().sum().backward();
        let op = Convolution { batch: 2, time: 8, channels: 4, outputs: 8, kernel: 5, stride: 1 };
        let y = convolve_composed(x.clone(), conv.weight.val(), conv.bias.val(), &op);
        let composed = y.square().sum().backward();
        let difference = |a: Tensor<3>, b: Tensor<3>| (a - b).abs().max().into_scalar::<f32>();
        let at_input = difference(x.grad(&fused).unwrap(), x.grad(&composed).unwrap());
        let weight = conv.weight.val();
        let at_weight = difference(weight.grad(&fused).unwrap(), weight.grad(&composed).unwrap());
        assert!(at_input < 1e-4 && at_weight < 1e-3, "{at_input} {at_weight}");
    }

    #[test]
    fn upsampling_is_the_transpose_of_a_strided_convolution() {
        // <up(x), y> = <x, down(y)> where down is the kernel-4, stride-2,
        // padding-1 convolution with the same weights.
        let device = Device::flex();
        let mut init = Initializer::new(5, &device);
        let (time, c) = (6, 3);
        let up = Upsample1d::new(c, &mut init);
        let mut rng = crate::rng::Rng::stream(6, "transpose");
        let (x, y) = (rng.normals(time * c), rng.normals(2 * time * c));
        let tensor = |v: &Vec<f32>, t| {
            Tensor::<3>::from_data(TensorData::new(v.clone(), [1, t, c]), &device)
        };
        let upsampled = up.forward(tensor(&x, time)) - up.bias.val().unsqueeze::<3>();
        let upsampled: Vec<f32> = upsampled.into_data().try_to_vec().unwrap();
        let left: f32 = upsampled.iter().zip(&y).map(|(a, b)| a * b).sum();
        let weight: Vec<f32> = up.weight.val().into_data().try_to_vec().unwrap();
        let mut right = 0.0;
        for t in 0..time {
            for k in 0..4 {
                let Some(at) = (2 * t + k).checked_sub(1).filter(|at| *at < 2 * time) else {
                    continue;
                };
                for i in 0..c {
                    for o in 0..c {
                        right += x[t * c + i] * weight[(k * c + i) * c + o] * y[at * c + o];
                    }
                }
            }
        }
        assert!((left - right).abs() < 1e-3, "{left} {right}");
    }
}
