//! Exponential moving averages of weights.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use std::collections::HashMap;

use super::fused::in_place::{OnHost, mix};

/// `average + (weights - average) (1 - decay)`, parameter by parameter.
///
/// `average` must be free of autodiff (see [`Module::valid`]).
pub fn update<M: Module>(average: M, weights: &M, decay: f32) -> M {
    let mut collect = Collect(HashMap::new());
    weights.visit(&mut collect);
    average.map(&mut Mix { weights: collect.0, rate: 1.0 - decay })
}

struct Collect(HashMap<ParamId, Tensor<1>>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let n = value.shape().num_elements();
        self.0.insert(param.id, value.inner().reshape([n]));
    }
}

struct Mix {
    weights: HashMap<ParamId, Tensor<1>>,
    rate: f32,
}

impl ModuleMapper for Mix {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, average, mapper) = param.consume();
        let average = match self.weights.remove(&id) {
            Some(weights) => {
                let shape = average.dims();
                let average = average.reshape([shape.iter().product::<usize>()]);
                let mixed = match OnHost::take(average) {
                    Ok(average) => mix(average, weights, self.rate),
                    Err(average) => average.clone() + (weights - average) * self.rate,
                };
                mixed.reshape(shape)
            }
            None => average,
        };
        Param::from_mapped_value(id, average, mapper)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::nn::init::Initializer;
    use crate::nn::layers::Linear;
    use crate::nn::weights::export;

    #[test]
    fn an_average_moves_by_its_rate_and_leaves_shared_copies_alone() {
        let layer = |seed| Linear::new(3, 40, &mut Initializer::new(seed, &Device::flex()));
        let (start, weights) = (layer(1), layer(2));
        let before = export(&start).unwrap();
        let average = export(&update(start.clone(), &weights, 0.75)).unwrap();
        assert_eq!(export(&start).unwrap(), before);
        let weights = export(&weights).unwrap();
        for (name, tensor) in &average {
            let both = before[name].values.iter().zip(&weights[name].values);
            for (value, (start, weight)) in tensor.values.iter().zip(both) {
                assert_eq!(*value, start + (weight - start) * 0.25);
            }
        }
    }
}
