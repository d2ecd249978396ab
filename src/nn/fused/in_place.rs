//! Updates of whole parameters in one pass by all threads, in place: a step of
//! Adam, and a moving average.

use burn::backend::DispatchDevice;
use burn::backend::flex::FlexTensor;
use burn::backend::{BackendTensor, DispatchKindConversion, DispatchTensor, Flex};
use burn::tensor::{Tensor, TensorData};
use multiversion::multiversion;
use rayon::prelude::*;

/// Numbers that one task updates.
const CHUNK: usize = 1 << 14;

/// The numbers of one step.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// Decays of both moments.
    pub beta: [f32; 2],
    /// Added to the root of the second moment, which is corrected for its
    /// start.
    pub epsilon: f32,
    /// Step size.
    pub rate: f32,
    /// What the parameter is multiplied by first: decoupled decay.
    pub keep: f32,
    /// What the gradient is multiplied by.
    pub scale: f32,
    /// The share of the parameter that is added to the gradient.
    pub penalty: f32,
    /// Which step this is, from 1.
    pub time: i32,
}

impl AdamStep {
    /// Step `parameter` and its moments; the first step has none yet. Memory
    /// that nobody else holds is used again.
    pub fn apply(
        &self,
        OnHost(mut parameter): OnHost,
        grad: Tensor<1>,
        moments: Option<[Tensor<1>; 2]>,
    ) -> (Tensor<1>, [Tensor<1>; 2]) {
        let n = parameter.layout().num_elements();
        let [mut first, mut second] = moments.map_or_else(
            || [(); 2].map(|()| FlexTensor::from_data(TensorData::new(vec![0.0_f32; n], [n]))),
            |moments| moments.map(from_anywhere),
        );
        let grad = from_anywhere(grad);
        let moments = [first.storage_mut::<f32>(), second.storage_mut::<f32>()];
        self.run(grad.storage::<f32>(), parameter.storage_mut::<f32>(), moments);
        (to_tensor(parameter), [to_tensor(first), to_tensor(second)])
    }

    /// Step a parameter and its moments, all of one length.
    fn run(&self, grad: &[f32], parameter: &mut [f32], [first, second]: [&mut [f32]; 2]) {
        // As the paper's last lines, with both corrections in two factors.
        let root = (1.0 - self.beta[1].powi(self.time)).sqrt();
        let factor = self.rate * root / (1.0 - self.beta[0].powi(self.time));
        let floor = self.epsilon * root;
        if grad.len() <= CHUNK {
            // Waking another thread would take longer than the step.
            return step(self, [factor, floor], grad, parameter, first, second);
        }
        grad.par_chunks(CHUNK)
            .zip(parameter.par_chunks_mut(CHUNK))
            .zip(first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK)))
            .for_each(|((grad, parameter), (first, second))| {
                step(self, [factor, floor], grad, parameter, first, second);
            });
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn step(
    with: &AdamStep,
    [factor, floor]: [f32; 2],
    grad: &[f32],
    parameter: &mut [f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let AdamStep { beta: [b1, b2], keep, scale, penalty, .. } = *with;
    let moments = first.iter_mut().zip(second);
    for ((parameter, grad), (first, second)) in parameter.iter_mut().zip(grad).zip(moments) {
        let kept = *parameter * keep;
        let grad = grad * scale + penalty * kept;
        *first = b1 * *first + (1.0 - b1) * grad;
        *second = b2 * *second + (1.0 - b2) * (grad * grad);
        *parameter = kept - factor * *first / (second.sqrt() + floor);
    }
}

/// `average + (weights - average) rate`, in the average's memory unless
/// somebody else holds it.
pub fn mix(OnHost(mut average): OnHost, weights: Tensor<1>, rate: f32) -> Tensor<1> {
    let weights = from_anywhere(weights);
    let mix = |(average, weights): (&mut [f32], &[f32])| {
        for (average, weight) in average.iter_mut().zip(weights) {
            *average += (weight - *average) * rate;
        }
    };
    let (numbers, weights) = (average.storage_mut::<f32>(), weights.storage::<f32>());
    if weights.len() <= CHUNK {
        mix((numbers, weights));
    } else {
        numbers.par_chunks_mut(CHUNK).zip(weights.par_chunks(CHUNK)).for_each(mix);
    }
    to_tensor(average)
}

/// A tensor on burn's CPU backend, contiguous from its memory's beginning.
pub struct OnHost(FlexTensor);

impl OnHost {
    /// Take the tensor if it is there, or give it back.
    ///
    /// # Errors
    /// Another backend.
    #[expect(clippy::result_large_err, reason = "what was given comes back")]
    pub fn take(tensor: Tensor<1>) -> Result<Self, Tensor<1>> {
        if !matches!(tensor.device().as_dispatch(), DispatchDevice::Flex(_)) {
            return Err(tensor);
        }
        let kept = tensor.clone();
        let tensor = tensor.into_dispatch();
        match <DispatchTensor as DispatchKindConversion<Flex>>::try_into_backend(tensor) {
            Ok(BackendTensor::Float(tensor)) => {
                // Nobody else holds it any more: it can be written in place.
                drop(kept);
                let n = tensor.layout().num_elements();
                let tensor = tensor.to_contiguous();
                let is_whole = tensor.storage::<f32>().len() == n;
                Ok(Self(if is_whole { tensor } else { FlexTensor::from_data(tensor.into_data()) }))
            }
            _ => Err(kept),
        }
    }

    /// The first number; 0 of nothing.
    pub fn first(&self) -> f32 {
        self.0.storage::<f32>().first().copied().unwrap_or_default()
    }
}

fn from_anywhere(tensor: Tensor<1>) -> FlexTensor {
    match OnHost::take(tensor) {
        Ok(OnHost(tensor)) => tensor,
        Err(tensor) => FlexTensor::from_data(tensor.into_data()),
    }
}

fn to_tensor(tensor: FlexTensor) -> Tensor<1> {
    let tensor = BackendTensor::Float(tensor);
    Tensor::from_dispatch(<DispatchTensor as DispatchKindConversion<Flex>>::from_backend(tensor))
}
