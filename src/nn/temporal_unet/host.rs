//! The network on the host with weights packed once, for planning.
//!
//! A plan takes the same network over hundreds of sequences without gradients:
//! here a thread takes a few sequences from end to end, while they stay in its
//! cache, and nothing waits for another thread in between.

use std::ops::Range;

use burn::backend::DispatchDevice;
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::super::embedding;
use super::super::fused::convolution::Convolution;
use super::super::fused::norm_mish::{NormMish, mish};
use super::super::fused::panels::Panels;
use super::super::fused::residual::{PackedResidual, Residual, Scratch};
use super::super::fused::upsampling::Upsampling;
use super::super::layers::{Conv1d, Linear, Upsample1d};
use super::{GROUPS, ResidualBlock, TemporalUnet, TimeMlp};

/// A [`TemporalUnet`] for [`HostUnet::forward`].
pub struct HostUnet {
    width: usize,
    time_mlp: HostMlp,
    duration_mlp: Option<HostMlp>,
    downs: Vec<HostDown>,
    middle: [HostBlock; 2],
    ups: Vec<HostUp>,
    last: HostConvolution,
    /// Scale and shift.
    last_norm: [Vec<f32>; 2],
    output: HostConvolution,
    /// Blocks, so that each knows which offsets are its own.
    n_blocks: usize,
}

/// A packed matrix and its bias.
struct Affine {
    weight: Panels,
    bias: Vec<f32>,
    inputs: usize,
}

impl Affine {
    fn pack(linear: &Linear) -> Option<Self> {
        let (weight, bias) = linear.values();
        let [inputs, outputs] = weight.dims();
        let (weight, bias) = (values(weight)?, values(bias)?);
        Some(Self { weight: Panels::pack(&weight, [inputs, outputs]), bias, inputs })
    }

    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len() / self.inputs * self.bias.len()];
        self.weight.apply(x, self.inputs, &self.bias, &mut y);
        y
    }
}

struct HostMlp {
    input: Affine,
    output: Affine,
}

impl HostMlp {
    fn pack(mlp: &TimeMlp) -> Option<Self> {
        Some(Self { input: Affine::pack(&mlp.input)?, output: Affine::pack(&mlp.output)? })
    }

    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut hidden = self.input.forward(x);
        mish(&mut hidden);
        self.output.forward(&hidden)
    }
}

/// A convolution but for the length of its sequences.
struct HostConvolution {
    weight: Panels,
    bias: Vec<f32>,
    shape: Convolution,
}

impl HostConvolution {
    fn pack(conv: &Conv1d) -> Option<Self> {
        let (weight, bias) = conv.values();
        let [kernel, channels, outputs] = weight.dims();
        let stride = conv.stride();
        let shape = Convolution { batch: 1, time: 0, channels, outputs, kernel, stride };
        Some(Self { weight: shape.pack(&values(weight)?), bias: values(bias)?, shape })
    }

    fn pack_double(up: &Upsample1d) -> Option<Self> {
        let (weight, bias) = up.values();
        let op = Upsampling { batch: 1, time: 0, channels: bias.dims()[0] };
        let (weight, bias) = op.pack(&values(weight)?, &values(bias)?);
        Some(Self { weight, bias, shape: op.convolution() })
    }

    /// `[n, time, channels]` to `[n, time / stride, outputs]`.
    fn forward(&self, n: usize, x: &[f32], scratch: &mut Vec<f32>, y: &mut Vec<f32>) {
        let shape = Convolution { time: x.len() / (n * self.shape.channels), ..self.shape };
        let length = shape.output_time() * shape.outputs;
        y.resize(n * length, 0.0);
        for (x, y) in x.chunks_exact(x.len() / n).zip(y.chunks_exact_mut(length)) {
            shape.sequence(&self.weight, &self.bias, x, scratch, y);
        }
    }
}

struct HostBlock {
    shape: Residual,
    weights: PackedResidual,
    time: Affine,
    /// Its place among the blocks.
    index: usize,
}

impl HostBlock {
    fn pack(block: &ResidualBlock, index: &mut usize) -> Option<Self> {
        let half = |block: &super::ConvBlock| -> Option<[Vec<f32>; 4]> {
            let (weight, bias) = block.conv.values();
            let [scale, shift] = block.norm.values();
            Some([values(weight)?, values(bias)?, values(scale)?, values(shift)?])
        };
        let [_, channels, outputs] = block.block1.conv.values().0.dims();
        let shape = Residual { batch: 1, time: 0, channels, outputs, groups: GROUPS };
        let halves = [half(&block.block1)?, half(&block.block2)?];
        let skip = match &block.residual {
            Some(conv) => {
                let (weight, bias) = conv.values();
                Some([values(weight)?, values(bias)?])
            }
            None => None,
        };
        let halves = halves.each_ref().map(|half| half.each_ref().map(Vec::as_slice));
        let skip = skip.as_ref().map(|skip| skip.each_ref().map(Vec::as_slice));
        *index += 1;
        Some(Self {
            shape,
            weights: shape.pack(halves, skip),
            time: Affine::pack(&block.time)?,
            index: *index - 1,
        })
    }

    fn forward(&self, x: &mut Vec<f32>, work: &mut Work, offsets: &Offsets) {
        let n = offsets.sequences.len();
        let shape = Residual { time: x.len() / (n * self.shape.channels), ..self.shape };
        let Some(offset) = offsets.of(self.index, shape.outputs) else { return };
        work.next.resize(n * shape.time * shape.outputs, 0.0);
        shape.sequences(&self.weights, [x, offset], &mut work.scratch, None, &mut work.next);
        std::mem::swap(x, &mut work.next);
    }
}

struct HostDown {
    blocks: [HostBlock; 2],
    halve: Option<HostConvolution>,
}

struct HostUp {
    blocks: [HostBlock; 2],
    double: HostConvolution,
}

/// What every block adds to some sequences.
struct Offsets<'a> {
    blocks: &'a [Vec<f32>],
    sequences: Range<usize>,
}

impl Offsets<'_> {
    fn of(&self, block: usize, outputs: usize) -> Option<&[f32]> {
        let Range { start, end } = self.sequences;
        self.blocks.get(block)?.get(start * outputs..end * outputs)
    }
}

/// Memory for a few sequences at a time.
#[derive(Default)]
struct Work {
    scratch: Scratch,
    padded: Vec<f32>,
    x: Vec<f32>,
    next: Vec<f32>,
    skips: Vec<Vec<f32>>,
}

impl TemporalUnet {
    /// The network on the host; `None` where it is on another device.
    pub fn on_host(&self) -> Option<HostUnet> {
        let index = &mut 0;
        let mut downs = Vec::with_capacity(self.downs.len());
        for down in &self.downs {
            let blocks =
                [HostBlock::pack(&down.block1, index)?, HostBlock::pack(&down.block2, index)?];
            let halve = match &down.halve {
                Some(conv) => Some(HostConvolution::pack(conv)?),
                None => None,
            };
            downs.push(HostDown { blocks, halve });
        }
        let middle = [HostBlock::pack(&self.mid1, index)?, HostBlock::pack(&self.mid2, index)?];
        let mut ups = Vec::with_capacity(self.ups.len());
        for up in &self.ups {
            let blocks = [HostBlock::pack(&up.block1, index)?, HostBlock::pack(&up.block2, index)?];
            ups.push(HostUp { blocks, double: HostConvolution::pack_double(&up.double)? });
        }
        let [scale, shift] = self.final_block.norm.values();
        Some(HostUnet {
            width: self.width,
            time_mlp: HostMlp::pack(&self.time_mlp)?,
            duration_mlp: match &self.duration_mlp {
                Some(mlp) => Some(HostMlp::pack(mlp)?),
                None => None,
            },
            downs,
            middle,
            ups,
            last: HostConvolution::pack(&self.final_block.conv)?,
            last_norm: [values(scale)?, values(shift)?],
            output: HostConvolution::pack(&self.final_conv)?,
            n_blocks: *index,
        })
    }
}

/// A tensor of burn's CPU backend on the host.
fn values<const D: usize>(tensor: Tensor<D>) -> Option<Vec<f32>> {
    matches!(tensor.device().as_dispatch(), DispatchDevice::Flex(_))
        .then(|| tensor.try_into_data().ok()?.try_to_vec().ok())?
}

impl HostUnet {
    /// [`TemporalUnet::forward`] over `x` `[batch, time, channels]`.
    pub fn forward(&self, x: &[f32], diffusion_times: &[f32], durations: &[f32]) -> Vec<f32> {
        let batch = diffusion_times.len().max(1);
        let length = x.len() / batch;
        let offsets = self.offsets(diffusion_times, durations);
        let n = Residual::together(batch);
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut((n * length).max(1))
            .zip(x.par_chunks((n * length).max(1)))
            .enumerate()
            .for_each_init(Work::default, |work, (group, (y, x))| {
                let sequences = group * n..batch.min((group + 1) * n);
                self.sequences(x, work, &Offsets { blocks: &offsets, sequences }, y);
            });
        y
    }

    /// Every block's offsets `[batch, outputs]`.
    fn offsets(&self, diffusion_times: &[f32], durations: &[f32]) -> Vec<Vec<f32>> {
        let embedded = |values: &[f32]| embedding::sinusoidal_values(values, self.width);
        let mut t = self.time_mlp.forward(&embedded(diffusion_times));
        if let Some(mlp) = &self.duration_mlp {
            let more = mlp.forward(&embedded(durations));
            t.iter_mut().zip(more).for_each(|(t, more)| *t += more);
        }
        mish(&mut t);
        let mut offsets = vec![Vec::new(); self.n_blocks];
        let downs = self.downs.iter().flat_map(|down| &down.blocks);
        let ups = self.ups.iter().flat_map(|up| &up.blocks);
        for block in downs.chain(&self.middle).chain(ups) {
            offsets[block.index] = block.time.forward(&t);
        }
        offsets
    }

    fn sequences(&self, input: &[f32], work: &mut Work, offsets: &Offsets, y: &mut [f32]) {
        let n = offsets.sequences.len();
        let mut x = std::mem::take(&mut work.x);
        let mut skips = std::mem::take(&mut work.skips);
        skips.resize_with(self.downs.len(), Vec::new);
        x.clear();
        x.extend_from_slice(input);
        for (down, skip) in self.downs.iter().zip(&mut skips) {
            down.blocks.iter().for_each(|block| block.forward(&mut x, work, offsets));
            skip.clone_from(&x);
            if let Some(halve) = &down.halve {
                halve.forward(n, &x, &mut work.padded, &mut work.next);
                std::mem::swap(&mut x, &mut work.next);
            }
        }
        self.middle.iter().for_each(|block| block.forward(&mut x, work, offsets));
        // The first level's skip is never used, as in the released network.
        for (up, skip) in self.ups.iter().zip(skips.iter().rev()) {
            side_by_side(&x, skip, up.blocks[0].shape.channels, &mut work.next);
            std::mem::swap(&mut x, &mut work.next);
            up.blocks.iter().for_each(|block| block.forward(&mut x, work, offsets));
            up.double.forward(n, &x, &mut work.padded, &mut work.next);
            std::mem::swap(&mut x, &mut work.next);
        }
        self.last.forward(n, &x, &mut work.padded, &mut work.next);
        let channels = self.last.shape.outputs;
        let length = work.next.len() / n;
        let time = length / channels;
        let norm = NormMish { batch: 1, time, channels, groups: GROUPS };
        x.resize(work.next.len(), 0.0);
        let [scale, shift] = &self.last_norm;
        let no_offset = vec![0.0; channels];
        for (from, to) in work.next.chunks_exact(length).zip(x.chunks_exact_mut(length)) {
            norm.sequence(from, [scale, shift, &no_offset], to);
        }
        self.output.forward(n, &x, &mut work.padded, &mut work.next);
        y.copy_from_slice(&work.next);
        (work.x, work.skips) = (x, skips);
    }
}

/// Rows of `a` and `b`, which have half the `width` each, one after another.
fn side_by_side(a: &[f32], b: &[f32], width: usize, both: &mut Vec<f32>) {
    both.clear();
    for (a, b) in a.chunks_exact(width / 2).zip(b.chunks_exact(width / 2)) {
        both.extend_from_slice(a);
        both.extend_from_slice(b);
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::tensor::{Device, TensorData};

    use super::super::TemporalUnetConfig;
    use super::*;
    use crate::nn::layers::largest_difference;
    use crate::rng::Rng;

    #[test]
    fn the_network_on_the_host_is_the_network_on_burns_backend() {
        for (multipliers, with_duration) in [(vec![1, 2, 4], true), (vec![1, 4], false)] {
            let config = TemporalUnetConfig { channels: 5, width: 32, multipliers, with_duration };
            let network = config.init(3, &Device::flex());
            let host = network.on_host().unwrap();
            for time in [8, 20] {
                let x = Rng::stream(4, "host").normals(3 * time * 5);
                let (times, durations) = ([0.0, 7.0, 63.0], [40.0, 90.0, 700.0]);
                let tensor = TensorData::new(x.clone(), [3, time, 5]);
                let expected: Vec<f32> = network
                    .forward(Tensor::from_data(tensor, &Device::flex()), &times, &durations)
                    .into_data()
                    .try_to_vec()
                    .unwrap();
                let worst = largest_difference(&host.forward(&x, &times, &durations), &expected);
                assert!(worst < 2e-5, "{time}: {worst}");
            }
        }
    }

    #[test]
    fn a_sequence_does_not_depend_on_those_beside_it() {
        let config = TemporalUnetConfig {
            channels: 4,
            width: 32,
            multipliers: vec![1, 2],
            with_duration: true,
        };
        let host = config.init(3, &Device::flex()).on_host().unwrap();
        let x = Rng::stream(5, "host").normals(4 * 16 * 4);
        let (times, durations) = ([9.0; 4], [40.0, 50.0, 60.0, 70.0]);
        let all = host.forward(&x, &times, &durations);
        for (i, (x, y)) in x.chunks(64).zip(all.chunks(64)).enumerate() {
            assert_eq!(host.forward(x, &times[..1], &durations[i..=i]), y);
        }
    }

    #[test]
    fn a_tracked_network_stays_with_burn() {
        let config = TemporalUnetConfig {
            channels: 4,
            width: 32,
            multipliers: vec![1, 2],
            with_duration: false,
        };
        let network = config.init(0, &Device::flex().autodiff());
        assert!(network.on_host().is_none() && network.valid().on_host().is_some());
    }
}
