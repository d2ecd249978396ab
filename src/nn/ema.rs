//! Exponential moving averages of weights.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use std::collections::HashMap;

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
                let weights = weights.reshape(average.shape());
                average.clone() + (weights - average) * self.rate
            }
            None => average,
        };
        Param::from_mapped_value(id, average, mapper)
    }
}
