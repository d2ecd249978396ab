//! A decoder's weights, checked and packed for the processor.
//!
//! The affine map of each layer normalization joins the product after it, and
//! the attention scale the queries.

use std::collections::BTreeSet;

use super::DecoderShape;
use super::attention::HeadLayout;
use super::kernels::Linear;
use crate::nn::weights::{HostTensor, NamedTensors, WeightsError};

/// One transformer block.
pub struct Block {
    /// To padded queries.
    pub query: Linear,
    /// To padded keys, then values.
    pub memory: Linear,
    /// From padded attention output.
    pub proj: Linear,
    /// Into the perceptron.
    pub expand: Linear,
    /// And out of it.
    pub contract: Linear,
}

/// The whole network.
pub struct Packed {
    /// Token embeddings `[V D + 1, width]`.
    pub tokens: Vec<f32>,
    /// Goal embeddings `[V G, width]`.
    pub goals: Vec<f32>,
    /// Position embeddings `[P, width]`.
    pub positions: Vec<f32>,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// Per dimension of the input token, `V + 1` logits.
    pub heads: Vec<Linear>,
}

impl Packed {
    /// Check and pack `weights`.
    ///
    /// # Errors
    /// Weights that are missing, unknown, misshapen or not finite.
    pub fn new(
        shape: &DecoderShape,
        heads: &HeadLayout,
        weights: &NamedTensors,
    ) -> Result<Self, WeightsError> {
        for (name, tensor) in weights {
            if !tensor.values.iter().all(|value| value.is_finite()) {
                return Err(WeightsError::NotFinite(name.clone()));
            }
        }
        let mut reader = Reader { weights, taken: BTreeSet::new() };
        let (layout, width) = (shape.layout, shape.width);
        let (dims, logits) = (layout.per_transition(), layout.bins + 1);
        let table = |tensor: &HostTensor| tensor.values.clone();
        let tokens = table(reader.take("tokens", &[layout.bins * dims + 1, width])?);
        let positions = table(reader.take("positions", &[shape.positions, width])?);
        let goals = match layout.goals {
            0 => Vec::new(),
            goals => table(reader.take("goals", &[layout.bins * goals, width])?),
        };
        let blocks = (0..shape.layers)
            .map(|index| block(&mut reader, &format!("blocks.{index}"), heads, width))
            .collect::<Result<_, _>>()?;
        let norm = reader.norm("norm", width)?;
        let stacked = &reader.take("heads", &[dims, width, logits])?.values;
        let heads = stacked
            .chunks_exact(width * logits)
            .map(|head| {
                norm.linear([width, logits], |output, input| head[input * logits + output], |_| 0.0)
            })
            .collect();
        match weights.keys().find(|name| !reader.taken.contains(*name)) {
            Some(name) => Err(WeightsError::Unknown(name.clone())),
            None => Ok(Self { tokens, goals, positions, blocks, heads }),
        }
    }
}

fn block(
    reader: &mut Reader,
    name: &str,
    heads: &HeadLayout,
    width: usize,
) -> Result<Block, WeightsError> {
    let norm1 = reader.norm(&format!("{name}.norm1"), width)?;
    let norm2 = reader.norm(&format!("{name}.norm2"), width)?;
    let (qkv, qkv_bias) = reader.linear(&format!("{name}.qkv"), [width, 3 * width])?;
    let (proj, proj_bias) = reader.linear(&format!("{name}.proj"), [width, width])?;
    let (expand, expand_bias) = reader.linear(&format!("{name}.expand"), [width, 4 * width])?;
    let (contract, contract_bias) =
        reader.linear(&format!("{name}.contract"), [4 * width, width])?;

    let channels = heads.channels();
    let scale = 1.0 / (heads.size as f32).sqrt();
    // The row of `qkv` for padded channel `channel` of queries, keys, values.
    let row = |channel: usize| {
        let part = channel / channels;
        heads.source(channel % channels).map(|source| part * width + source)
    };
    let weight = |channel, input| row(channel).map_or(0.0, |row| qkv[row * width + input]);
    let bias = |channel| row(channel).map_or(0.0, |row| qkv_bias[row]);
    Ok(Block {
        query: norm1.linear(
            [width, channels],
            |output, input| scale * weight(output, input),
            |output| scale * bias(output),
        ),
        memory: norm1.linear(
            [width, 2 * channels],
            |output, input| weight(channels + output, input),
            |output| bias(channels + output),
        ),
        proj: Linear::pack(
            [channels, width],
            |output, input| heads.source(input).map_or(0.0, |source| proj[output * width + source]),
            |output| proj_bias[output],
        ),
        expand: norm2.linear(
            [width, 4 * width],
            |output, input| expand[output * width + input],
            |output| expand_bias[output],
        ),
        contract: Linear::pack(
            [4 * width, width],
            |output, input| contract[output * 4 * width + input],
            |output| contract_bias[output],
        ),
    })
}

/// The affine map of a layer normalization.
struct Norm<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
}

impl Norm<'_> {
    /// `W (weight * x + bias) + b` as one linear map of `x`.
    fn linear(
        &self,
        [inputs, outputs]: [usize; 2],
        weight: impl Fn(usize, usize) -> f32,
        bias: impl Fn(usize) -> f32,
    ) -> Linear {
        let shifted = |output| {
            let shift: f64 = (0..inputs)
                .map(|input| f64::from(weight(output, input)) * f64::from(self.bias[input]))
                .sum();
            (f64::from(bias(output)) + shift) as f32
        };
        let scaled = |output, input| weight(output, input) * self.weight[input];
        Linear::pack([inputs, outputs], scaled, shifted)
    }
}

/// Hands out tensors and remembers which.
struct Reader<'a> {
    weights: &'a NamedTensors,
    taken: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, name: &str, expected: &[usize]) -> Result<&'a HostTensor, WeightsError> {
        let tensor =
            self.weights.get(name).ok_or_else(|| WeightsError::Missing(name.to_owned()))?;
        if tensor.shape != expected || tensor.values.len() != expected.iter().product::<usize>() {
            return Err(WeightsError::Shape {
                name: name.to_owned(),
                found: tensor.shape.clone(),
                expected: expected.to_vec(),
            });
        }
        self.taken.insert(name.to_owned());
        Ok(tensor)
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<Norm<'a>, WeightsError> {
        let weight = &self.take(&format!("{name}.weight"), &[width])?.values;
        let bias = &self.take(&format!("{name}.bias"), &[width])?.values;
        Ok(Norm { weight, bias })
    }

    fn linear(
        &mut self,
        name: &str,
        [inputs, outputs]: [usize; 2],
    ) -> Result<(&'a [f32], &'a [f32]), WeightsError> {
        let weight = &self.take(&format!("{name}.weight"), &[outputs, inputs])?.values;
        let bias = &self.take(&format!("{name}.bias"), &[outputs])?.values;
        Ok((weight, bias))
    }
}
