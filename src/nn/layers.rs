//! Layers over `[batch, time, channel]`: linear, convolution, its transpose,
//! and group norm with Mish.

mod agreement;

pub use agreement::{fused_difference, larger, largest_difference};

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::softplus;

use super::fused::apply;
use super::fused::beside::Beside;
use super::fused::convolution::Convolution;
use super::fused::norm_mish::{EPSILON, NormMish};
use super::fused::upsampling::Upsampling;
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

    /// Weight and bias.
    pub(super) fn values(&self) -> (Tensor<2>, Tensor<1>) {
        (self.weight.val(), self.bias.val())
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
    /// Weight `[kernel, channels, outputs]` and bias.
    pub(super) fn values(&self) -> (Tensor<3>, Tensor<1>) {
        (self.weight.val(), self.bias.val())
    }

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

    /// Input steps per output step.
    pub(super) fn stride(&self) -> usize {
        self.stride
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

    /// Weight `[4, channels, channels]` and bias.
    pub(super) fn values(&self) -> (Tensor<3>, Tensor<1>) {
        (self.weight.val(), self.bias.val())
    }

    /// `[batch, time, channels]` to `[batch, 2 time, channels]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, time, channels] = x.dims();
        let op = Upsampling { batch, time, channels };
        let device = x.device();
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let inputs = [
            x.clone().into_dispatch(),
            weight.clone().into_dispatch(),
            bias.clone().into_dispatch(),
        ];
        apply(&op, &device, inputs).unwrap_or_else(|| upsample_composed(x, weight, bias, &op))
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
    /// Scale and shift.
    pub(super) fn values(&self) -> [Tensor<1>; 2] {
        [self.weight.val(), self.bias.val()]
    }

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

/// The channels of `a` and `b` `[batch, time, channels]` side by side.
pub fn beside(a: Tensor<3>, b: Tensor<3>) -> Tensor<3> {
    let [batch, time, left] = a.dims();
    let op = Beside { batch, time, channels: [left, b.dims()[2]] };
    let device = a.device();
    let inputs = [a.clone().into_dispatch(), b.clone().into_dispatch()];
    apply(&op, &device, inputs).unwrap_or_else(|| Tensor::cat(vec![a, b], 2))
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

/// [`Upsampling`] from burn's operations.
fn upsample_composed(
    x: Tensor<3>,
    weight: Tensor<3>,
    bias: Tensor<1>,
    op: &Upsampling,
) -> Tensor<3> {
    let Upsampling { batch, time, channels } = *op;
    let tap = |k: usize| weight.clone().slice([k..k + 1, 0..channels, 0..channels]);
    let zero = tap(0).zeros_like();
    let even = Tensor::cat(vec![tap(3), tap(1), zero.clone()], 0);
    let odd = Tensor::cat(vec![zero, tap(2), tap(0)], 0);
    let weight = Tensor::cat(vec![even, odd], 2);
    let bias = Tensor::cat(vec![bias.clone(), bias], 0);
    convolve_composed(x, weight, bias, &op.convolution()).reshape([batch, 2 * time, channels])
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

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
