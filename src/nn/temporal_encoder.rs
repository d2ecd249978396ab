//! The first half of the temporal U-Net with a linear head: one number for a
//! noised trajectory (Janner et al. 2022, Appendix C).
//!
//! The released head flattens the last level into a vector whose length fits
//! two horizons alone. Here the last level is averaged over time with given
//! weights, so that the head has one size for every horizon.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use super::embedding::sinusoidal;
use super::init::Initializer;
use super::layers::{Linear, mish};
use super::temporal_unet::{Down, ResidualBlock, TemporalUnetConfig, TimeMlp};

impl TemporalUnetConfig {
    /// The half of the network on the way down, with initial weights for
    /// `seed`. It is not told the plan's duration.
    pub fn init_encoder(&self, seed: u64, device: &Device) -> TemporalEncoder {
        let init = &mut Initializer::new(seed, device);
        let widths: Vec<usize> = self.multipliers.iter().map(|m| m * self.width).collect();
        let middle = widths.last().copied().unwrap_or(self.width);
        TemporalEncoder {
            time_mlp: TimeMlp::new(self.width, init),
            downs: Down::levels(self.channels, &widths, self.width, init),
            mid1: ResidualBlock::new(middle, middle, self.width, init),
            mid2: ResidualBlock::new(middle, middle, self.width, init),
            head: Linear::new(middle, 1, init),
            width: self.width,
        }
    }
}

/// See the module.
#[derive(Module, Debug)]
pub struct TemporalEncoder {
    time_mlp: TimeMlp,
    downs: Vec<Down>,
    mid1: ResidualBlock,
    mid2: ResidualBlock,
    head: Linear,
    #[module(skip)]
    width: usize,
}

impl TemporalEncoder {
    /// `[batch, time, channels]` to `[batch]`.
    ///
    /// `diffusion_times` holds one number per sequence, `weights` one per time
    /// step: how much it counts in the average. They are summed over the time
    /// steps that the last level merges, and should sum to 1.
    pub fn forward(&self, x: Tensor<3>, diffusion_times: &[f32], weights: &[f32]) -> Tensor<1> {
        let device = x.device();
        let t = mish(self.time_mlp.forward(sinusoidal(diffusion_times, self.width, &device)));
        let mut x = x;
        for down in &self.downs {
            x = down.block1.forward(x, &t);
            x = down.block2.forward(x, &t);
            if let Some(halve) = &down.halve {
                x = halve.forward(x);
            }
        }
        x = self.mid1.forward(x, &t);
        x = self.mid2.forward(x, &t);
        let [batch, length, channels] = x.dims();
        let merged = weights.len().div_ceil(length.max(1)).max(1);
        let mut weights: Vec<f32> = weights.chunks(merged).map(|part| part.iter().sum()).collect();
        weights.resize(length, 0.0);
        let weights = Tensor::<3>::from_data(TensorData::new(weights, [1, length, 1]), &device);
        let mean = (x * weights).sum_dim(1).reshape([batch, channels]);
        self.head.forward(mean).reshape([batch])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> TemporalUnetConfig {
        TemporalUnetConfig {
            channels: 4,
            width: 32,
            multipliers: vec![1, 2, 4],
            with_duration: false,
        }
    }

    #[test]
    fn every_legal_horizon_gives_one_finite_number_a_plan() {
        let device = Device::flex();
        let encoder = config().init_encoder(0, &device);
        for length in (1..20).map(|k| k * config().length_multiple()) {
            let x = Tensor::ones([3, length, 4], &device);
            let weights = vec![1.0 / length as f32; length];
            let y = encoder.forward(x, &[0.0, 5.0, 19.0], &weights);
            assert_eq!(y.dims(), [3]);
            let y: Vec<f32> = y.into_data().try_to_vec().unwrap();
            assert!(y.iter().all(|value| value.is_finite()) && y[0] != y[1], "{length}: {y:?}");
        }
    }

    #[test]
    fn steps_without_weight_count_only_through_their_neighbors() {
        let device = Device::flex();
        let encoder = config().init_encoder(1, &device);
        let run = |weights: &[f32]| -> f32 {
            let values = (0..64 * 4).map(|i| (i as f32 * 0.37).sin()).collect();
            let x = Tensor::<3>::from_data(TensorData::new(values, [1, 64, 4]), &device);
            encoder.forward(x, &[0.0], weights).into_data().try_to_vec::<f32>().unwrap()[0]
        };
        let one = |k: usize| (0..64).map(|i| f32::from(u8::from(i == k))).collect::<Vec<_>>();
        // The average is linear in the weights.
        let both: Vec<f32> = one(3).iter().zip(one(50)).map(|(a, b)| (a + b) / 2.0).collect();
        assert!((run(&both) - (run(&one(3)) + run(&one(50))) / 2.0).abs() < 1e-5);
        assert!((run(&one(3)) - run(&one(50))).abs() > 1e-5);
    }
}
