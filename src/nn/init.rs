//! Initial weights, drawn on the host from our own stream so that a seed
//! means the same network on every device.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

use crate::rng::Rng;

/// Makes parameters in a fixed order, with ids that survive a restart.
pub struct Initializer<'a> {
    rng: Rng,
    device: &'a Device,
    next_id: u64,
}

impl<'a> Initializer<'a> {
    /// Weights for `seed` on `device`.
    pub fn new(seed: u64, device: &'a Device) -> Self {
        Self { rng: Rng::stream(seed, "initial weights"), device, next_id: 1 }
    }

    /// Uniform in `[-1/sqrt(fan_in), 1/sqrt(fan_in)]`, PyTorch's default for
    /// linear and convolution layers.
    pub fn uniform<const D: usize>(
        &mut self,
        shape: [usize; D],
        fan_in: usize,
    ) -> Param<Tensor<D>> {
        self.scaled_uniform(shape, fan_in, 1.0)
    }

    /// As [`Initializer::uniform`], times `scale`.
    pub fn scaled_uniform<const D: usize>(
        &mut self,
        shape: [usize; D],
        fan_in: usize,
        scale: f64,
    ) -> Param<Tensor<D>> {
        let bound = scale / (fan_in as f64).sqrt();
        let n = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|_| self.rng.uniform(-bound, bound) as f32).collect();
        self.param(values, shape)
    }

    /// Normal with mean 0 and that standard deviation.
    pub fn normal<const D: usize>(
        &mut self,
        shape: [usize; D],
        deviation: f32,
    ) -> Param<Tensor<D>> {
        let n = shape.iter().product();
        let values = self.rng.normals(n).into_iter().map(|value| value * deviation).collect();
        self.param(values, shape)
    }

    /// Zeros.
    pub fn zeros<const D: usize>(&mut self, shape: [usize; D]) -> Param<Tensor<D>> {
        self.param(vec![0.0; shape.iter().product()], shape)
    }

    /// A vector of one repeated value.
    pub fn constant(&mut self, n: usize, value: f32) -> Param<Tensor<1>> {
        self.param(vec![value; n], [n])
    }

    /// Given values of that shape.
    pub fn given<const D: usize>(
        &mut self,
        values: Vec<f32>,
        shape: [usize; D],
    ) -> Param<Tensor<D>> {
        self.param(values, shape)
    }

    /// Standard normal numbers to make a start from.
    pub fn normals(&mut self, n: usize) -> Vec<f32> {
        self.rng.normals(n)
    }

    fn param<const D: usize>(&mut self, values: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        let id = ParamId::from(self.next_id);
        self.next_id += 1;
        let tensor = Tensor::from_data(TensorData::new(values, shape), self.device);
        let tensor = if self.device.is_autodiff() { tensor.require_grad() } else { tensor };
        Param::initialized(id, tensor)
    }
}
