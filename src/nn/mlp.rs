//! Multilayer perceptrons.

use burn::module::Module;
use burn::tensor::{Tensor, activation};

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
