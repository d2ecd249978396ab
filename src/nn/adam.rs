//! Adam over a module, with moments that can be read, saved and restored.
//!
//! burn's `ModuleOptimizer` restores its state onto the default device, which
//! is the GPU even where there is none; here the moments stay where their
//! parameters are. The update rule is burn's own [`Adam`]; on the CPU, where
//! ten passes over every array cost a tenth of a training step, one pass of
//! our own does the same.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{Adam, AdamConfig, AdamState, AdaptiveMomentumState, GradientsParams, Optimizer};
use burn::tensor::{Device, Tensor, TensorData};

use super::fused::in_place::{AdamStep, OnHost};
use super::weights::{HostTensor, NamedTensors, WeightsError};

/// Added to the root of the second moment.
const EPSILON: f32 = 1e-8;

/// Adam with PyTorch's defaults: beta 0.9 and 0.999, epsilon 1e-8.
pub struct ModuleAdam {
    rule: Adam,
    /// Decays of both moments.
    beta: [f32; 2],
    /// The share of the weights that is added to their gradient.
    penalty: f32,
    moments: BTreeMap<ParamId, AdamState<1>>,
    /// Decoupled weight decay of matrices that multiply activations.
    decay: f64,
    /// Largest norm of the whole gradient.
    clip: Option<f32>,
    /// Whether the next step measures the gradient's norm.
    is_watched: bool,
    /// Squared norm of the last gradient that was measured.
    squared_norm: Option<Tensor<1>>,
}

impl Default for ModuleAdam {
    fn default() -> Self {
        Self::of([0.9, 0.999], 0.0)
    }
}

impl ModuleAdam {
    /// Adam with an L2 penalty added to the gradient, as PyTorch's `Adam` has
    /// it; 0 adds none.
    pub fn with_weight_decay(penalty: f32) -> Self {
        Self::of([0.9, 0.999], penalty.max(0.0))
    }

    /// AdamW as GPTs are trained (Loshchilov and Hutter 2019): beta 0.9 and
    /// 0.95, decoupled decay of the weights of linear layers and of heads, not
    /// of embeddings, norms and biases; the gradient is first scaled down to a
    /// norm of at most 1.
    pub fn gpt(decay: f64) -> Self {
        Self { decay, clip: Some(1.0), ..Self::of([0.9, 0.95], 0.0) }
    }

    fn of(beta: [f32; 2], penalty: f32) -> Self {
        let config = AdamConfig::new().with_beta_1(beta[0]).with_beta_2(beta[1]);
        let mut config = config.with_epsilon(EPSILON);
        if penalty > 0.0 {
            config = config.with_weight_decay(Some(WeightDecayConfig::new(penalty)));
        }
        Self {
            rule: config.build(),
            beta,
            penalty,
            moments: BTreeMap::new(),
            decay: 0.0,
            clip: None,
            is_watched: false,
            squared_norm: None,
        }
    }

    /// Measure the norm of the next gradient; one pass over it.
    pub fn watch(&mut self) {
        self.is_watched = true;
    }

    /// The norm of the watched gradient, before any clipping, once: where
    /// several modules step in turn, of the last one's. A sync point.
    pub fn take_norm(&mut self) -> Option<f32> {
        let data = self.squared_norm.take()?.try_into_data().ok()?;
        data.try_to_vec::<f32>().ok()?.first().map(|sum| sum.sqrt())
    }

    /// One step with `learning_rate`.
    pub fn step<M: Module>(&mut self, learning_rate: f64, module: M, grads: GradientsParams) -> M {
        let is_watched = std::mem::take(&mut self.is_watched);
        let sum = (is_watched || self.clip.is_some()).then(|| {
            let mut norm = SquaredNorm { grads: &grads, sum: None };
            module.visit(&mut norm);
            norm.sum
        });
        let sum = sum.flatten();
        if is_watched {
            self.squared_norm.clone_from(&sum);
        }
        // At most 1: `min(1, most / norm)`.
        let scale = self.clip.zip(sum);
        let scale =
            scale.map(|(most, sum)| (sum.sqrt() + 1e-6).recip().mul_scalar(most).clamp_max(1.0));
        // Where reading it back costs nothing, and nobody else would use it.
        let on_host = scale.clone().and_then(|scale| OnHost::take(scale).ok());
        let host_scale = on_host.map_or(1.0, |scale| scale.first());
        module.map(&mut Step {
            adam: self,
            grads,
            learning_rate,
            scale,
            host_scale,
            path: Vec::new(),
        })
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

/// Sums the squares of every gradient.
struct SquaredNorm<'a> {
    grads: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let squares = grad.inner().square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + squares,
                None => squares,
            });
        }
    }
}

struct Step<'a> {
    adam: &'a mut ModuleAdam,
    grads: GradientsParams,
    learning_rate: f64,
    /// What every gradient is multiplied by.
    scale: Option<Tensor<1>>,
    /// The same for parameters on the host.
    host_scale: f32,
    /// Fields and their holders, from the module down.
    path: Vec<(String, String)>,
}

impl Step<'_> {
    /// One step of a flat parameter.
    fn update(&mut self, id: ParamId, parameter: Tensor<1>, grad: Tensor<1>) -> Tensor<1> {
        let state = self.adam.moments.remove(&id).map(|state| state.momentum);
        let state = state.filter(|state| state.moment_1.dims() == parameter.dims());
        let decay = if self.decays() { self.learning_rate * self.adam.decay } else { 0.0 };
        let time = state.as_ref().map_or(0, |state| state.time) + 1;
        let on_host = AdamStep {
            beta: self.adam.beta,
            epsilon: EPSILON,
            rate: self.learning_rate as f32,
            keep: (1.0 - decay) as f32,
            scale: self.host_scale,
            penalty: self.adam.penalty,
            time: i32::try_from(time).unwrap_or(i32::MAX),
        };
        let (parameter, state) = match OnHost::take(parameter) {
            Ok(parameter) => {
                let moments = state.map(|state| [state.moment_1, state.moment_2]);
                let (parameter, [first, second]) = on_host.apply(parameter, grad, moments);
                (parameter, AdaptiveMomentumState::new(time, first, second))
            }
            Err(parameter) => {
                let parameter = if decay > 0.0 { parameter * (1.0 - decay) } else { parameter };
                self.update_by_rule(parameter, grad, state)
            }
        };
        self.adam.moments.insert(id, AdamState::new(state));
        parameter
    }

    fn update_by_rule(
        &self,
        parameter: Tensor<1>,
        mut grad: Tensor<1>,
        state: Option<AdaptiveMomentumState<1>>,
    ) -> (Tensor<1>, AdaptiveMomentumState<1>) {
        if let Some(scale) = &self.scale {
            grad = grad * scale.clone();
        }
        let state = state.map(AdamState::new);
        let first = grad.clone();
        let (parameter, state) = self.adam.rule.step(self.learning_rate, parameter, grad, state);
        // Adam always answers with its state.
        let state = state.map(|state| state.momentum);
        let state = state.unwrap_or_else(|| AdaptiveMomentumState::new(0, first.clone(), first));
        (parameter, state)
    }

    fn decays(&self) -> bool {
        self.path.last().is_some_and(|(name, holder)| {
            name == "heads" || (name == "weight" && holder == "Struct:Linear")
        })
    }
}

impl ModuleMapper for Step<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push((name.to_owned(), container.to_owned()));
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let Some(grad) = self.grads.remove::<D>(id) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let shape = tensor.dims();
        let n: usize = shape.iter().product();
        // Flat, so that one kind of state serves every rank.
        let flat = self.update(id, tensor.inner().reshape([n]), grad.inner().reshape([n]));
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
    fn a_watched_step_tells_the_gradients_norm_once() {
        let device = Device::flex().autodiff();
        let layer = Linear::new(4, 2, &mut Initializer::new(1, &device));
        let mut adam = ModuleAdam::default();
        let layer = adam.step(0.01, layer.clone(), grads(&layer, &device));
        assert_eq!(adam.take_norm(), None);
        adam.watch();
        let x = Tensor::<2>::ones([3, 4], &device);
        let output = layer.forward(x).into_data().try_to_vec::<f32>().unwrap();
        // d/dw of sum y^2 with x = 1 is sum over rows of 2 y, for 4 weights
        // and a bias each.
        let sums = [0, 1]
            .map(|column| -> f32 { output.iter().skip(column).step_by(2).map(|y| 2.0 * y).sum() });
        let expected = (5.0 * sums.iter().map(|sum| sum * sum).sum::<f32>()).sqrt();
        let _ = adam.step(0.01, layer.clone(), grads(&layer, &device));
        let norm = adam.take_norm().unwrap();
        assert!((norm - expected).abs() < 1e-4 * expected, "{norm} {expected}");
        assert_eq!(adam.take_norm(), None);
    }

    #[test]
    fn one_pass_on_the_host_takes_the_steps_of_burns_rule() {
        let numbers = |values: Vec<f32>| {
            let n = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [n]), &Device::flex())
        };
        for (mut adam, scale) in [
            (ModuleAdam::default(), None),
            (ModuleAdam::with_weight_decay(0.1), None),
            (ModuleAdam::gpt(0.2), Some(0.3)),
        ] {
            let mut rng = crate::rng::Rng::stream(4, "steps");
            let start = rng.normals(40_000);
            let (mut fast, mut plain) = (numbers(start.clone()), numbers(start));
            let mut state = None;
            for step in 1..6 {
                let grad = rng.normals(40_000);
                let decay = 0.01 * adam.decay;
                let mut by = Step {
                    adam: &mut adam,
                    grads: GradientsParams::new(),
                    learning_rate: 0.01,
                    scale: scale.map(|scale| numbers(vec![scale])),
                    host_scale: scale.unwrap_or(1.0),
                    path: vec![("weight".into(), "Struct:Linear".into())],
                };
                fast = by.update(ParamId::from(7), fast, numbers(grad.clone()));
                let (next, moments) =
                    by.update_by_rule(plain * (1.0 - decay), numbers(grad), state.take());
                (plain, state) = (next, Some(moments));
                let worst = (fast.clone() - plain.clone()).abs().max().into_scalar::<f32>();
                assert!(worst < 2e-6, "step {step}: {worst}");
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
