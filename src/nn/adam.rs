//! Adam over a module, with moments that can be read, saved and restored.
//!
//! burn's `ModuleOptimizer` restores its state onto the default device, which
//! is the GPU even where there is none; here the moments stay where their
//! parameters are. The update rule is burn's own [`Adam`].

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{Adam, AdamConfig, AdamState, AdaptiveMomentumState, GradientsParams, Optimizer};
use burn::tensor::{Device, Tensor, TensorData};

use super::weights::{HostTensor, NamedTensors, WeightsError};

/// Adam with PyTorch's defaults: beta 0.9 and 0.999, epsilon 1e-8.
pub struct ModuleAdam {
    rule: Adam,
    moments: BTreeMap<ParamId, AdamState<1>>,
}

impl Default for ModuleAdam {
    fn default() -> Self {
        Self { rule: AdamConfig::new().with_epsilon(1e-8).build(), moments: BTreeMap::new() }
    }
}

impl ModuleAdam {
    /// Adam with an L2 penalty added to the gradient, as PyTorch's `Adam` has
    /// it; 0 adds none.
    pub fn with_weight_decay(penalty: f32) -> Self {
        let mut config = AdamConfig::new().with_epsilon(1e-8);
        if penalty > 0.0 {
            config = config.with_weight_decay(Some(WeightDecayConfig::new(penalty)));
        }
        Self { rule: config.build(), moments: BTreeMap::new() }
    }

    /// One step with `learning_rate`.
    pub fn step<M: Module>(&mut self, learning_rate: f64, module: M, grads: GradientsParams) -> M {
        module.map(&mut Step { adam: self, grads, learning_rate })
    }

    /// The moments by parameter number, `first.N` and `second.N`.
    ///
    /// # Errors
    /// A lost device.
    pub fn export(&self) -> Result<NamedTensors, WeightsError> {
        let mut named = NamedTensors::new();
        for (id, state) in &self.moments {
            for (which, moment) in
                [("first", &state.momentum.moment_1), ("second", &state.momentum.moment_2)]
            {
                let name = format!("{which}.{}", id.val());
                let data = moment.clone().try_into_data().ok();
                let values = data.and_then(|data| data.try_to_vec::<f32>().ok());
                let values = values.ok_or_else(|| WeightsError::Device(name.clone()))?;
                named.insert(name, HostTensor { shape: vec![values.len()], values });
            }
        }
        Ok(named)
    }

    /// Take up exported moments after `steps` steps.
    ///
    /// # Errors
    /// A first moment without its second, or names that are not ours.
    pub fn import(
        &mut self,
        named: &NamedTensors,
        steps: usize,
        device: &Device,
    ) -> Result<(), WeightsError> {
        self.moments.clear();
        for (name, first) in named.iter().filter(|(name, _)| name.starts_with("first.")) {
            let number = name.trim_start_matches("first.");
            let id: u64 = number.parse().map_err(|_| WeightsError::Unknown(name.clone()))?;
            let pair = format!("second.{number}");
            let second = named.get(&pair).ok_or_else(|| WeightsError::Missing(pair.clone()))?;
            if first.values.len() != second.values.len() {
                let (found, expected) = (second.shape.clone(), first.shape.clone());
                return Err(WeightsError::Shape { name: pair, found, expected });
            }
            let tensor = |moment: &HostTensor| {
                let data = TensorData::new(moment.values.clone(), [moment.values.len()]);
                Tensor::<1>::from_data(data, device)
            };
            let momentum = AdaptiveMomentumState::new(steps, tensor(first), tensor(second));
            self.moments.insert(ParamId::from(id), AdamState::new(momentum));
        }
        Ok(())
    }
}

struct Step<'a> {
    adam: &'a mut ModuleAdam,
    grads: GradientsParams,
    learning_rate: f64,
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let Some(grad) = self.grads.remove::<D>(id) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let shape = tensor.dims();
        let n: usize = shape.iter().product();
        // Flat, so that one kind of state serves every rank.
        let flat = tensor.inner().reshape([n]);
        let state = self.adam.moments.remove(&id).filter(|s| s.momentum.moment_1.dims() == [n]);
        let (flat, state) =
            self.adam.rule.step(self.learning_rate, flat, grad.inner().reshape([n]), state);
        if let Some(state) = state {
            self.adam.moments.insert(id, state);
        }
        let tensor = Tensor::from_inner(flat.reshape(shape)).require_grad();
        Param::from_mapped_value(id, tensor, mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::init::Initializer;
    use crate::nn::layers::Linear;
    use crate::nn::weights::export;

    fn grads(layer: &Linear, device: &Device) -> GradientsParams {
        let x = Tensor::<2>::ones([3, 4], device);
        GradientsParams::from_grads(layer.forward(x).square().sum().backward(), layer)
    }

    #[test]
    fn the_first_step_moves_every_weight_by_the_learning_rate() {
        // m / sqrt(v) is the sign of the gradient after bias correction.
        let device = Device::flex().autodiff();
        let layer = Linear::new(4, 2, &mut Initializer::new(1, &device));
        let before = export(&layer.valid()).unwrap();
        let mut adam = ModuleAdam::default();
        let grads = grads(&layer, &device);
        let after = export(&adam.step(0.01, layer, grads).valid()).unwrap();
        for (name, tensor) in &before {
            for (a, b) in tensor.values.iter().zip(&after[name].values) {
                assert!(((a - b).abs() - 0.01).abs() < 1e-4, "{name}: {a} {b}");
            }
        }
    }

    #[test]
    fn restored_moments_take_the_same_next_step() {
        let device = Device::flex().autodiff();
        let mut layer = Linear::new(4, 2, &mut Initializer::new(1, &device));
        let mut adam = ModuleAdam::default();
        for _ in 0..3 {
            let grads = grads(&layer, &device);
            layer = adam.step(0.01, layer, grads);
        }
        let mut restored = ModuleAdam::default();
        restored.import(&adam.export().unwrap(), 3, &Device::flex()).unwrap();
        let next = |adam: &mut ModuleAdam| {
            let layer = layer.clone();
            let grads = grads(&layer, &device);
            export(&adam.step(0.01, layer, grads).valid()).unwrap()
        };
        assert_eq!(next(&mut adam), next(&mut restored));
    }
}
