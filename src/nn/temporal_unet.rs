//! The temporal U-Net of Diffuser (Janner et al. 2022, Appendix C), layer for
//! layer the released network: `[batch, time, channels]` in and out.

mod host;

pub use host::HostUnet;

use burn::backend::DispatchTensor;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::embedding::sinusoidal;
use super::fused::apply;
use super::fused::residual::Residual;
use super::init::Initializer;
use super::layers::{Conv1d, GroupNormMish, Linear, Upsample1d, beside, mish};

const GROUPS: usize = 8;

/// Sizes of a [`TemporalUnet`].
#[derive(Clone, Debug, PartialEq)]
pub struct TemporalUnetConfig {
    /// Numbers per time step.
    pub channels: usize,
    /// Width of the first level and of the time embedding.
    pub width: usize,
    /// Width of every level as a multiple of `width`.
    pub multipliers: Vec<usize>,
    /// Whether the network is told the plan's duration.
    pub with_duration: bool,
}

impl TemporalUnetConfig {
    /// Sequence lengths must be a multiple of this.
    pub fn length_multiple(&self) -> usize {
        1 << self.multipliers.len().saturating_sub(1)
    }

    /// The network with initial weights for `seed`.
    pub fn init(&self, seed: u64, device: &Device) -> TemporalUnet {
        let init = &mut Initializer::new(seed, device);
        let widths: Vec<usize> = self.multipliers.iter().map(|m| m * self.width).collect();
        let last = widths.len() - 1;
        let downs = Down::levels(self.channels, &widths, self.width, init);
        let middle = widths[last];
        let mid1 = ResidualBlock::new(middle, middle, self.width, init);
        let mid2 = ResidualBlock::new(middle, middle, self.width, init);
        let ups = (1..=last)
            .rev()
            .map(|level| Up {
                block1: ResidualBlock::new(2 * widths[level], widths[level - 1], self.width, init),
                block2: ResidualBlock::new(widths[level - 1], widths[level - 1], self.width, init),
                double: Upsample1d::new(widths[level - 1], init),
            })
            .collect();
        TemporalUnet {
            time_mlp: TimeMlp::new(self.width, init),
            downs,
            mid1,
            mid2,
            ups,
            final_block: ConvBlock::new(widths[0], self.width, init),
            final_conv: Conv1d::new(self.width, self.channels, 1, 1, init),
            // Last, so that a network without it has the same other weights.
            duration_mlp: self.with_duration.then(|| TimeMlp::new(self.width, init)),
            width: self.width,
        }
    }
}

/// A U-Net over time with a time embedding in every residual block.
#[derive(Module, Debug)]
pub struct TemporalUnet {
    time_mlp: TimeMlp,
    duration_mlp: Option<TimeMlp>,
    downs: Vec<Down>,
    mid1: ResidualBlock,
    mid2: ResidualBlock,
    ups: Vec<Up>,
    final_block: ConvBlock,
    final_conv: Conv1d,
    #[module(skip)]
    width: usize,
}

impl TemporalUnet {
    /// `[batch, time, channels]` to the same shape.
    ///
    /// `diffusion_times` and `durations` hold one number per sequence;
    /// durations are ignored by a network that does not take them.
    pub fn forward(&self, x: Tensor<3>, diffusion_times: &[f32], durations: &[f32]) -> Tensor<3> {
        let device = x.device();
        let mut t = self.time_mlp.forward(sinusoidal(diffusion_times, self.width, &device));
        if let Some(mlp) = &self.duration_mlp {
            t = t + mlp.forward(sinusoidal(durations, self.width, &device));
        }
        // Every residual block starts from the same activation of t.
        let t = mish(t);

        let mut x = x;
        let mut skips = Vec::new();
        for down in &self.downs {
            x = down.block1.forward(x, &t);
            x = down.block2.forward(x, &t);
            skips.push(x.clone());
            if let Some(halve) = &down.halve {
                x = halve.forward(x);
            }
        }
        x = self.mid1.forward(x, &t);
        x = self.mid2.forward(x, &t);
        // The first level's skip is never used, as in the released network.
        for up in &self.ups {
            if let Some(skip) = skips.pop() {
                x = beside(x, skip);
            }
            x = up.block1.forward(x, &t);
            x = up.block2.forward(x, &t);
            x = up.double.forward(x);
        }
        self.final_conv.forward(self.final_block.forward(x, None))
    }
}

/// width -> 4 width -> width with Mish between.
#[derive(Module, Debug)]
pub(super) struct TimeMlp {
    input: Linear,
    output: Linear,
}

impl TimeMlp {
    pub(super) fn new(width: usize, init: &mut Initializer) -> Self {
        Self {
            input: Linear::new(width, 4 * width, init),
            output: Linear::new(4 * width, width, init),
        }
    }

    pub(super) fn forward(&self, embedded: Tensor<2>) -> Tensor<2> {
        self.output.forward(mish(self.input.forward(embedded)))
    }
}

/// One level on the way down: two residual blocks, then half the length.
#[derive(Module, Debug)]
pub(super) struct Down {
    pub(super) block1: ResidualBlock,
    pub(super) block2: ResidualBlock,
    pub(super) halve: Option<Conv1d>,
}

impl Down {
    /// Every level from `channels` to the widths given; all but the last halve.
    pub(super) fn levels(
        channels: usize,
        widths: &[usize],
        time_width: usize,
        init: &mut Initializer,
    ) -> Vec<Self> {
        let mut inputs = channels;
        let mut downs = Vec::with_capacity(widths.len());
        for (level, outputs) in widths.iter().enumerate() {
            let is_last = level + 1 == widths.len();
            downs.push(Self {
                block1: ResidualBlock::new(inputs, *outputs, time_width, init),
                block2: ResidualBlock::new(*outputs, *outputs, time_width, init),
                halve: (!is_last).then(|| Conv1d::new(*outputs, *outputs, 3, 2, init)),
            });
            inputs = *outputs;
        }
        downs
    }
}

#[derive(Module, Debug)]
struct Up {
    block1: ResidualBlock,
    block2: ResidualBlock,
    double: Upsample1d,
}

/// Convolution of 5 taps, group norm, Mish.
#[derive(Module, Debug)]
struct ConvBlock {
    conv: Conv1d,
    norm: GroupNormMish,
}

impl ConvBlock {
    fn new(channels: usize, outputs: usize, init: &mut Initializer) -> Self {
        Self {
            conv: Conv1d::new(channels, outputs, 5, 1, init),
            norm: GroupNormMish::new(outputs, GROUPS, init),
        }
    }

    /// Weight, bias, scale and shift.
    fn values(&self) -> [DispatchTensor; 4] {
        let (weight, bias) = self.conv.values();
        let [scale, shift] = self.norm.values();
        [weight.into_dispatch(), bias.into_dispatch(), scale.into_dispatch(), shift.into_dispatch()]
    }

    fn forward(&self, x: Tensor<3>, offset: Option<Tensor<2>>) -> Tensor<3> {
        let x = self.conv.forward(x);
        let [batch, _, channels] = x.dims();
        let offset = offset.unwrap_or_else(|| Tensor::zeros([batch, channels], &x.device()));
        self.norm.forward(x, offset)
    }
}

#[derive(Module, Debug)]
pub(super) struct ResidualBlock {
    block1: ConvBlock,
    block2: ConvBlock,
    time: Linear,
    residual: Option<Conv1d>,
}

impl ResidualBlock {
    pub(super) fn new(
        channels: usize,
        outputs: usize,
        time_width: usize,
        init: &mut Initializer,
    ) -> Self {
        Self {
            block1: ConvBlock::new(channels, outputs, init),
            block2: ConvBlock::new(outputs, outputs, init),
            time: Linear::new(time_width, outputs, init),
            residual: (channels != outputs).then(|| Conv1d::new(channels, outputs, 1, 1, init)),
        }
    }

    /// `t` is the activated time embedding `[batch, width]`.
    pub(super) fn forward(&self, x: Tensor<3>, t: &Tensor<2>) -> Tensor<3> {
        let offset = self.time.forward(t.clone());
        let device = x.device();
        let [batch, time, channels] = x.dims();
        let outputs = offset.dims()[1];
        let op = Residual { batch, time, channels, outputs, groups: GROUPS };
        let [w1, b1, s1, t1] = self.block1.values();
        let [w2, b2, s2, t2] = self.block2.values();
        let (input, added) = (x.clone().into_dispatch(), offset.clone().into_dispatch());
        let fused = match &self.residual {
            None => apply(&op, &device, [input, added, w1, b1, s1, t1, w2, b2, s2, t2]),
            Some(conv) => {
                let (weight, bias) = conv.values();
                let [wr, br] = [weight.into_dispatch(), bias.into_dispatch()];
                apply(&op, &device, [input, added, w1, b1, s1, t1, w2, b2, s2, t2, wr, br])
            }
        };
        fused.unwrap_or_else(|| self.composed(x, offset))
    }

    /// The same from its layers.
    fn composed(&self, x: Tensor<3>, offset: Tensor<2>) -> Tensor<3> {
        let y = self.block1.forward(x.clone(), Some(offset));
        let y = self.block2.forward(y, None);
        match &self.residual {
            Some(conv) => y + conv.forward(x),
            None => y + x,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(multipliers: &[usize], channels: usize) -> TemporalUnetConfig {
        TemporalUnetConfig {
            channels,
            width: 32,
            multipliers: multipliers.to_vec(),
            with_duration: false,
        }
    }

    #[test]
    fn parameter_counts_are_those_of_the_released_networks() {
        let device = Device::flex();
        assert_eq!(config(&[1, 4, 8], 6).init(0, &device).num_params(), 3_682_118);
        assert_eq!(config(&[1, 2, 4, 8], 14).init(0, &device).num_params(), 3_956_302);
    }

    #[test]
    fn the_output_is_as_long_as_the_input_for_every_legal_horizon() {
        let device = Device::flex();
        let config = config(&[1, 2, 4], 4);
        let net = config.init(0, &device);
        for time in (1..12).map(|k| k * config.length_multiple()) {
            let x = Tensor::zeros([2, time, 4], &device);
            assert_eq!(net.forward(x, &[3.0, 4.0], &[]).dims(), [2, time, 4]);
        }
    }

    #[test]
    fn a_duration_changes_the_output_of_a_network_that_takes_one() {
        let device = Device::flex();
        let config = TemporalUnetConfig { with_duration: true, ..config(&[1, 2], 4) };
        let net = config.init(0, &device);
        let run = |duration| -> Vec<f32> {
            let x = Tensor::ones([1, 8, 4], &device);
            net.forward(x, &[3.0], &[duration]).into_data().try_to_vec().unwrap()
        };
        assert_ne!(run(40.0), run(200.0));
    }
}
