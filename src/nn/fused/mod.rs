//! Fused operations for burn's CPU backend, with handwritten gradients.
//!
//! A [`HostOp`] works on plain slices; [`apply`] runs it on `flex` tensors and
//! records its gradient in burn's autodiff graph. On any other device it
//! returns `None`, and the caller composes the same result from burn's own
//! operations, so one model runs everywhere. Every op is tested against that
//! composition, forward and backward.

pub mod attention;
pub mod beside;
pub mod convolution;
pub mod cross_entropy;
pub mod dropout;
pub mod gelu;
pub mod harmonics;
pub mod in_place;
pub mod layer_norm;
pub mod norm_mish;
pub mod panels;
pub mod perceptron;
pub mod residual;
pub mod spline;
pub mod sublayer;
pub mod upsampling;
mod workspace;

use std::fmt::Debug;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{
    Autodiff, BackendTensor, DispatchDevice, DispatchKindConversion, DispatchTensor, Flex,
};
use burn::tensor::{Device, Tensor, TensorData};

type Tracked = Autodiff<Flex, NoCheckpointing>;

/// An operation on contiguous host slices with its gradient.
pub trait HostOp<const N: usize>: Clone + Debug + Send + 'static {
    /// Shape of the output.
    fn output_shape(&self) -> Vec<usize>;
    /// The output, in row-major order.
    fn forward(&self, inputs: [&[f32]; N]) -> Vec<f32>;
    /// The gradient with respect to every input, given that of the output.
    fn backward(&self, inputs: [&[f32]; N], grad: &[f32]) -> [Vec<f32>; N];

    /// The output, and what [`Self::backward_keeping`] need not compute again.
    fn forward_keeping(&self, inputs: [&[f32]; N]) -> (Vec<f32>, Vec<f32>) {
        (self.forward(inputs), Vec::new())
    }

    /// [`Self::backward`] with what [`Self::forward_keeping`] kept of the same
    /// inputs.
    fn backward_keeping(&self, inputs: [&[f32]; N], _kept: &[f32], grad: &[f32]) -> [Vec<f32>; N] {
        self.backward(inputs, grad)
    }
}

/// Run `op` on `flex` tensors, tracked or not; `None` on any other device.
pub fn apply<O: HostOp<N>, const N: usize, const D: usize>(
    op: &O,
    device: &Device,
    inputs: [DispatchTensor; N],
) -> Option<Tensor<D>> {
    let output = match device.as_dispatch() {
        DispatchDevice::Flex(_) => {
            let inputs = try_each(inputs.map(untracked))?;
            let output = run(op, &inputs);
            <DispatchTensor as DispatchKindConversion<Flex>>::from_backend(BackendTensor::Float(
                output,
            ))
        }
        DispatchDevice::Autodiff(_) => tracked(op, inputs)?,
        _ => return None,
    };
    Some(Tensor::from_dispatch(output))
}

fn tracked<O: HostOp<N>, const N: usize>(
    op: &O,
    inputs: [DispatchTensor; N],
) -> Option<DispatchTensor> {
    let inputs = try_each(inputs.map(|tensor| match <DispatchTensor as DispatchKindConversion<
        Tracked,
    >>::try_into_backend(tensor)
    {
        Ok(BackendTensor::Float(tensor)) => Some(tensor),
        _ => None,
    }))?;
    let nodes = inputs.each_ref().map(|tensor| tensor.node());
    let values = inputs.map(|tensor| tensor.into_primitive().to_contiguous());
    let step = HostStep(op.clone());
    let output = match step.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let (output, kept) = op.forward_keeping(values.each_ref().map(elements));
            let output = FlexTensor::from_data(TensorData::new(output, op.output_shape()));
            prep.finish(Saved { inputs: values, kept: Arc::new(Kept(kept)) }, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(run(op, &values)),
    };
    let output: BackendTensor<Tracked> = BackendTensor::Float(output);
    Some(<DispatchTensor as DispatchKindConversion<Tracked>>::from_backend(output))
}

fn untracked(tensor: DispatchTensor) -> Option<FlexTensor> {
    match <DispatchTensor as DispatchKindConversion<Flex>>::try_into_backend(tensor) {
        Ok(BackendTensor::Float(tensor)) => Some(tensor.to_contiguous()),
        _ => None,
    }
}

fn run<O: HostOp<N>, const N: usize>(op: &O, inputs: &[FlexTensor; N]) -> FlexTensor {
    let output = op.forward(inputs.each_ref().map(elements));
    FlexTensor::from_data(TensorData::new(output, op.output_shape()))
}

/// The elements of a contiguous tensor, its view's offset included.
fn elements(tensor: &FlexTensor) -> &[f32] {
    let start = tensor.layout().start_offset();
    &tensor.storage::<f32>()[start..start + tensor.layout().num_elements()]
}

fn try_each<T, const N: usize>(items: [Option<T>; N]) -> Option<[T; N]> {
    let items: Option<Vec<T>> = items.into_iter().collect();
    items?.try_into().ok()
}

#[derive(Clone, Debug)]
struct Saved<const N: usize> {
    inputs: [FlexTensor; N],
    /// Shared, so that burn may clone the state.
    kept: Arc<Kept>,
}

/// What training keeps of an operation; its memory serves the next one.
#[derive(Debug)]
struct Kept(Vec<f32>);

impl Drop for Kept {
    fn drop(&mut self) {
        workspace::give_back(std::mem::take(&mut self.0));
    }
}

#[derive(Debug)]
struct HostStep<O>(O);

impl<O: HostOp<N>, const N: usize> Backward<Flex, N> for HostStep<O> {
    type State = Saved<N>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
        let Saved { inputs, kept } = ops.state;
        let values = inputs.each_ref().map(elements);
        let input_grads = self.0.backward_keeping(values, &kept.0, elements(&grad));
        for ((parent, input), grad) in ops.parents.iter().zip(&inputs).zip(input_grads) {
            if let Some(parent) = parent {
                let grad = TensorData::new(grad, input.layout().shape().clone());
                grads.register::<Flex>(parent.id, FlexTensor::from_data(grad));
            }
        }
    }
}
