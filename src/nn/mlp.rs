//! Multilayer perceptrons.

use burn::module::Module;
use burn::tensor::{Tensor, activation};

use super::fused::apply;
use super::fused::perceptron::Perceptron;
use super::init::Initializer;
use super::layers::Linear;

/// Linear layers with (leaky) ReLU between them and none at the end.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    /// Slope below zero; 0 is ReLU.
    #[module(skip)]
    leak: f64,
}

impl Mlp {
    /// `inputs` to `outputs` through `layers` hidden layers of `hidden`. The
    /// last layer starts a hundred times smaller than PyTorch's default, so
    /// that a flow starts near the identity.
    pub fn new(
        inputs: usize,
        [hidden, layers]: [usize; 2],
        outputs: usize,
        init: &mut Initializer,
    ) -> Self {
        let mut sizes = vec![inputs];
        sizes.extend(std::iter::repeat_n(hidden, layers));
        let mut all: Vec<Linear> =
            sizes.windows(2).map(|pair| Linear::new(pair[0], pair[1], init)).collect();
        let last = *sizes.last().unwrap_or(&inputs);
        all.push(Linear::with_scale(last, outputs, 0.01, init));
        Self { layers: all, leak: 0.0 }
    }

    /// As [`Mlp::new`], with leaky ReLU of slope 0.2 and PyTorch's default
    /// start in the last layer too.
    pub fn leaky(
        inputs: usize,
        [hidden, layers]: [usize; 2],
        outputs: usize,
        init: &mut Initializer,
    ) -> Self {
        let mut sizes = vec![inputs];
        sizes.extend(std::iter::repeat_n(hidden, layers));
        sizes.push(outputs);
        let layers = sizes.windows(2).map(|pair| Linear::new(pair[0], pair[1], init));
        Self { layers: layers.collect(), leak: 0.2 }
    }

    /// `[rows, inputs]` to `[rows, outputs]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let fused = match self.layers.len() {
            1 => self.fused::<3>(&x),
            2 => self.fused::<5>(&x),
            3 => self.fused::<7>(&x),
            4 => self.fused::<9>(&x),
            5 => self.fused::<11>(&x),
            _ => None,
        };
        fused.unwrap_or_else(|| self.composed(x))
    }

    /// In one operation of `N` inputs, if this device has it.
    fn fused<const N: usize>(&self, x: &Tensor<2>) -> Option<Tensor<2>> {
        let [rows, inputs] = x.dims();
        let mut widths = vec![inputs];
        let mut tensors = vec![x.clone().into_dispatch()];
        for layer in &self.layers {
            let (weight, bias) = layer.values();
            widths.push(bias.dims()[0]);
            tensors.extend([weight.into_dispatch(), bias.into_dispatch()]);
        }
        let op = Perceptron { rows, widths, leak: self.leak as f32 };
        apply::<_, N, 2>(&op, &x.device(), tensors.try_into().ok()?)
    }

    /// The same from burn's operations.
    fn composed(&self, x: Tensor<2>) -> Tensor<2> {
        let last = self.layers.len().saturating_sub(1);
        self.layers.iter().enumerate().fold(x, |x, (index, layer)| {
            let y = layer.forward(x);
            match index < last {
                true if self.leak > 0.0 => activation::leaky_relu(y, self.leak),
                true => activation::relu(y),
                false => y,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn the_fused_perceptron_is_the_composed_one_forward_and_backward() {
        let device = Device::flex().autodiff();
        let mut init = Initializer::new(3, &device);
        for mlp in [Mlp::new(7, [24, 3], 5, &mut init), Mlp::leaky(7, [24, 2], 5, &mut init)] {
            let mut rng = Rng::stream(4, "perceptrons");
            let data = |n: usize, values| TensorData::new(values, [70, n]);
            let x = Tensor::<2>::from_data(data(7, rng.normals(490)), &device).require_grad();
            let cotangent = Tensor::<2>::from_data(data(5, rng.normals(350)), &device);
            let run = |y: Tensor<2>| {
                let grads = (y.clone() * cotangent.clone()).sum().backward();
                let host = |tensor: Tensor<2>| tensor.into_data().try_to_vec::<f32>().unwrap();
                let mut all = vec![host(y.inner()), host(x.grad(&grads).unwrap())];
                for layer in &mlp.layers {
                    let (weight, bias) = layer.values();
                    all.push(host(weight.grad(&grads).unwrap()));
                    all.push(bias.grad(&grads).unwrap().into_data().try_to_vec().unwrap());
                }
                all
            };
            let fused = run(mlp.forward(x.clone()));
            for (a, b) in fused.iter().zip(run(mlp.composed(x.clone()))) {
                let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(a.len() == b.len() && worst < 1e-4, "largest difference {worst}");
            }
        }
    }
}
