//! What the three models compute with, on another device against the CPU:
//! layers, whole networks and their gradients. A driver that is wrong is often
//! wrong in one kernel alone, so that everything that is used is compared.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::data::TokenLayout;
use crate::lab::bench;
use crate::lab::planner_thread::panic_text;
use crate::nn::decoder::DecoderShape;
use crate::nn::fused::spline::Topology;
use crate::nn::init::Initializer;
use crate::nn::layers::{fused_difference, larger};
use crate::nn::spline_flow::SplineFlowConfig;
use crate::nn::temporal_unet::TemporalUnetConfig;
use crate::nn::transformer::{TokenRows, cross_entropy};
use crate::rng::Rng;

/// Largest difference from the CPU that counts as agreement, absolute for
/// numbers up to 1 and relative above: single precision over sums of a few
/// hundred terms.
pub const TOLERANCE: f32 = 2e-3;

/// How our layers and networks do on a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SelfTest {
    /// What was compared, up to the first that disagrees.
    pub differences: Vec<Difference>,
    /// Training step of the quick network, milliseconds.
    pub gpu_step_ms: Option<f64>,
    /// The same on the CPU.
    pub cpu_step_ms: Option<f64>,
    /// What went wrong, if anything.
    pub error: Option<String>,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// What was compared.
    pub what: String,
    /// Largest difference from the CPU; absent if a number was none.
    pub largest: Option<f32>,
}

impl Difference {
    /// Whether the numbers are the CPU's; NaN never is.
    pub fn agrees(&self) -> bool {
        agrees(self.largest.unwrap_or(f32::NAN))
    }
}

/// Whether a difference is rounding alone; NaN is not.
pub fn agrees(difference: f32) -> bool {
    difference < TOLERANCE
}

/// Something to compare.
pub struct Check {
    /// What it is.
    pub name: &'static str,
    /// Whether a Trajectory Transformer trains with it.
    pub trains_tokens: bool,
    difference: fn(&Device) -> f32,
}

/// Everything that is compared, simplest first.
pub const CHECKS: &[Check] = &[
    check("convolution, norm, Mish and their gradients", fused_difference),
    check("temporal U-Net", |device| against_cpu(temporal_unet, device)),
    check("its gradients", |device| against_cpu(unet_gradients, device)),
    Check {
        trains_tokens: true,
        ..check("transformer and its gradients", |device| against_cpu(transformer, device))
    },
    check("spline flow and its gradients", |device| against_cpu(spline_flow, device)),
];

const fn check(name: &'static str, difference: fn(&Device) -> f32) -> Check {
    Check { name, trains_tokens: false, difference }
}

impl Check {
    /// Largest difference between `device` and the CPU, relative above 1; NaN
    /// if any number is none.
    pub fn difference(&self, device: &Device) -> f32 {
        (self.difference)(device)
    }
}

/// Largest difference of two arrays, relative for numbers above 1; infinite if
/// their lengths differ, NaN if any number is.
pub fn relative_difference(expected: &[f32], found: &[f32]) -> f32 {
    if expected.len() != found.len() {
        return f32::INFINITY;
    }
    let pairs = expected.iter().zip(found);
    pairs.map(|(a, b)| (a - b).abs() / a.abs().max(1.0)).fold(0.0, larger)
}

/// Compare everything, then time a training step on both sides.
pub(super) fn self_test(device: &Device) -> SelfTest {
    let mut test = SelfTest::default();
    let differences = &mut test.differences;
    // burn panics where a driver lacks a feature or loses the device.
    let times = catch_unwind(AssertUnwindSafe(|| {
        for check in CHECKS {
            let difference = check.difference(device);
            let largest = Some(difference).filter(|difference| !difference.is_nan());
            differences.push(Difference { what: check.name.to_owned(), largest });
            if !agrees(difference) {
                return None;
            }
        }
        let gpu = bench::train_step_ms(device, 3, 5);
        Some([gpu, bench::train_step_ms(&Device::flex(), 1, 3)])
    }));
    match times {
        Ok(Some([gpu, cpu])) => (test.gpu_step_ms, test.cpu_step_ms) = (Some(gpu), Some(cpu)),
        Ok(None) => {}
        Err(panic) => test.error = Some(panic_text(panic.as_ref())),
    }
    test
}

fn against_cpu(compute: fn(&Device) -> Vec<f32>, device: &Device) -> f32 {
    relative_difference(&compute(&Device::flex()), &compute(device))
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    // What cannot be read has the wrong length.
    tensor.try_into_data().ok().and_then(|data| data.try_to_vec().ok()).unwrap_or_default()
}

fn normals<const D: usize>(shape: [usize; D], name: &str, device: &Device) -> Tensor<D> {
    let values = Rng::stream(5, name).normals(shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The gradients of a module's weights, in its own order.
struct Gradients<'a> {
    grads: &'a GradientsParams,
    values: Vec<f32>,
}

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            self.values.extend(numbers(grad.inner()));
        }
    }
}

/// A loss's value and its gradients in `module`.
fn gradients<M: Module>(module: &M, loss: Tensor<1>) -> Vec<f32> {
    let grads = GradientsParams::from_grads(loss.backward(), module);
    let mut found = Gradients { grads: &grads, values: numbers(loss.inner()) };
    module.visit(&mut found);
    found.values
}

/// Plans and waypoints of the U-Net's batch.
const PLANS: [usize; 2] = [2, 16];

fn small_unet() -> TemporalUnetConfig {
    TemporalUnetConfig { channels: 4, width: 32, multipliers: vec![1, 2], with_duration: true }
}

fn temporal_unet(device: &Device) -> Vec<f32> {
    let [plans, waypoints] = PLANS;
    let x = normals([plans, waypoints, 4], "plans", device);
    numbers(small_unet().init(3, device).forward(x, &[5.0, 40.0], &[30.0, 200.0]))
}

fn unet_gradients(device: &Device) -> Vec<f32> {
    let device = device.clone().autodiff();
    let [plans, waypoints] = PLANS;
    let x = normals([plans, waypoints, 4], "plans", &device);
    let network = small_unet().init(3, &device);
    let y = network.forward(x, &[5.0, 40.0], &[30.0, 200.0]);
    gradients(&network, (y - 0.5).square().mean())
}

fn transformer(device: &Device) -> Vec<f32> {
    let device = device.clone().autodiff();
    let layout = TokenLayout { states: 2, actions: 1, rewards: true, goals: 1, bins: 7 };
    let (rows, d) = (2, layout.per_transition());
    let time = 3 * d - 1;
    let shape =
        DecoderShape { layers: 1, heads: 2, width: 8, layout, positions: time, markov: false };
    let network = shape.init(&mut Initializer::new(3, &device));
    let mut rng = Rng::stream(5, "tokens");
    let mut bins = |n: usize| -> Vec<u16> { (0..n).map(|_| rng.below(7) as u16).collect() };
    let (goals, tokens) = (bins(rows), bins(rows * time));
    let scores = network.forward(&TokenRows { goals: &goals, tokens: &tokens, rows }, None);
    let [dims, n, classes] = scores.dims();
    let targets = bins(dims * n).into_iter().map(u32::from).collect();
    let mut found = numbers(scores.clone().inner());
    let loss = cross_entropy(scores.reshape([dims * n, classes]), targets, vec![1.0; dims * n]);
    found.extend(gradients(&network, loss));
    found
}

fn spline_flow(device: &Device) -> Vec<f32> {
    let device = device.clone().autodiff();
    let coordinates = vec![Topology::Circle, Topology::Line];
    let config = SplineFlowConfig {
        couplings: SplineFlowConfig::take_turns(coordinates.len(), 2),
        coordinates,
        bins: 8,
        hidden: 16,
        layers: 1,
        condition: 3,
        harmonics: 2,
        as_released: true,
    };
    let flow = config.init(&mut Initializer::new(3, &device));
    let rows = 8;
    let condition = normals([rows, 3], "condition", &device);
    let x = normals([rows, 2], "points", &device);
    let log_density = flow.log_density(x.clone(), condition.clone());
    let mut found = gradients(&flow, log_density.mean().neg());
    let (sampled, log_density) = flow.sample(x, condition);
    found.extend(numbers(sampled.inner()));
    found.extend(numbers(log_density.inner()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_compares_numbers_and_finds_a_device_equal_to_itself() {
        for check in CHECKS {
            let difference = check.difference(&Device::flex());
            assert!(difference < 2e-4, "{}: {difference}", check.name);
        }
        for compute in [temporal_unet, unet_gradients, transformer, spline_flow] {
            let found = compute(&Device::flex());
            assert!(found.len() > 40 && found.iter().all(|value| value.is_finite()));
            let mean = found.iter().map(|value| value.abs()).sum::<f32>() / found.len() as f32;
            assert!(mean > 1e-4, "{mean}: there is nothing to compare");
        }
    }

    #[test]
    fn what_is_no_number_never_agrees() {
        assert!(!agrees(relative_difference(&[1.0, 2.0], &[1.0, f32::NAN])));
        assert!(!agrees(relative_difference(&[f32::NAN, 2.0], &[1.0, 2.0])));
        assert!(!agrees(relative_difference(&[1.0], &[])));
        assert!(!agrees(relative_difference(&[0.0], &[0.1])));
        assert!(agrees(relative_difference(&[1000.0], &[1000.5])));
        assert!(!Difference { what: "x".into(), largest: None }.agrees());
    }
}
