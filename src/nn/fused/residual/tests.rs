//! Convolutions, upsampling and residual blocks against double precision:
//! outputs, and gradients by central differences.

use super::super::HostOp;
use super::super::upsampling::Upsampling;
use super::*;
use crate::rng::Rng;

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

/// A convolution as its definition has it.
fn convolve(op: &Convolution, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let (c, o, rows) = (op.channels, op.outputs, op.output_time());
    let mut y = Vec::with_capacity(op.batch * rows * o);
    for at in 0..op.batch * rows * o {
        let (b, t, output) = (at / o / rows, at / o % rows, at % o);
        let mut sum = bias[output];
        for tap in 0..op.kernel {
            let step = (t * op.stride + tap).checked_sub(op.kernel / 2);
            let Some(step) = step.filter(|step| *step < op.time) else { continue };
            for channel in 0..c {
                sum += x[(b * op.time + step) * c + channel]
                    * weight[(tap * c + channel) * o + output];
            }
        }
        y.push(sum);
    }
    y
}

/// A transposed convolution of kernel 4, stride 2 and padding 1.
fn upsample(op: &Upsampling, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let (c, time) = (op.channels, op.time);
    let mut y: Vec<f64> = bias.iter().copied().cycle().take(2 * op.batch * time * c).collect();
    for (at, x) in x.iter().enumerate() {
        let (b, t, channel) = (at / c / time, at / c % time, at % c);
        for tap in 0..4 {
            let step = (2 * t + tap).checked_sub(1);
            let Some(step) = step.filter(|step| *step < 2 * time) else { continue };
            for output in 0..c {
                y[(b * 2 * time + step) * c + output] +=
                    x * weight[(tap * c + channel) * c + output];
            }
        }
    }
    y
}

/// Group norm, affine map, Mish and offset.
fn norm_mish(op: &Residual, x: &[f64], scale: &[f64], shift: &[f64], offset: &[f64]) -> Vec<f64> {
    let (o, width) = (op.outputs, op.outputs / op.groups);
    let group_of = |at: usize| (at / o / op.time, at % o / width);
    let mean = |values: &dyn Fn(usize) -> f64, group| {
        let members = (0..x.len()).filter(|at| group_of(*at) == group);
        members.map(values).sum::<f64>() / (op.time * width) as f64
    };
    (0..x.len())
        .map(|at| {
            let group = group_of(at);
            let center = mean(&|at| x[at], group);
            let variance = mean(&|at| (x[at] - center).powi(2), group);
            let h = (x[at] - center) / (variance + 1e-5).sqrt() * scale[at % o] + shift[at % o];
            h * (1.0 + h.exp()).ln().tanh() + offset[at / o / op.time * o + at % o]
        })
        .collect()
}

fn residual(op: &Residual, inputs: &[Vec<f64>]) -> Vec<f64> {
    let [x, offset, w1, b1, s1, t1, w2, b2, s2, t2, skip @ ..] = inputs else { return Vec::new() };
    let y = convolve(&op.convolution(op.channels, TAPS), x, w1, b1);
    let y = norm_mish(op, &y, s1, t1, offset);
    let y = convolve(&op.convolution(op.outputs, TAPS), &y, w2, b2);
    let y = norm_mish(op, &y, s2, t2, &vec![0.0; offset.len()]);
    let skipped = match skip {
        [weight, bias] => convolve(&op.convolution(op.channels, 1), x, weight, bias),
        _ => x.clone(),
    };
    y.iter().zip(skipped).map(|(y, x)| y + x).collect()
}

/// Outputs, and gradients at some places of every input.
fn check<const N: usize>(
    op: &impl HostOp<N>,
    lengths: [usize; N],
    exact: impl Fn(&[Vec<f64>]) -> Vec<f64>,
) {
    let mut rng = Rng::stream(8, "numeric gradients");
    let inputs = lengths.map(|n| rng.normals(n));
    let slices = inputs.each_ref().map(Vec::as_slice);
    let doubles: Vec<Vec<f64>> = inputs.iter().map(|values| wide(values)).collect();
    let expected = exact(&doubles);
    let y = op.forward(slices);
    assert_eq!(y.len(), expected.len());
    for (y, expected) in y.iter().zip(&expected) {
        assert!((f64::from(*y) - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{op:?}");
    }
    let upstream = rng.normals(y.len());
    let grads = op.backward(slices, &upstream);
    for (which, grad) in grads.iter().enumerate() {
        assert_eq!(grad.len(), lengths[which], "input {which}");
        for at in (0..grad.len()).step_by(1 + grad.len() / 9).chain([grad.len() - 1]) {
            let total = |by: f64| -> f64 {
                let mut moved = doubles.clone();
                moved[which][at] += by;
                exact(&moved).iter().zip(&upstream).map(|(y, g)| y * f64::from(*g)).sum()
            };
            let numeric = (total(1e-5) - total(-1e-5)) / 2e-5;
            let error = (f64::from(grad[at]) - numeric).abs();
            assert!(error < 2e-4 * (1.0 + numeric.abs()), "{op:?}, input {which} {at}: {error}");
        }
    }
}

#[test]
fn convolutions_have_the_numeric_gradient() {
    for (kernel, stride, channels, outputs) in [(5, 1, 6, 5), (1, 1, 17, 33), (3, 2, 18, 4)] {
        let op = Convolution { batch: 2, time: 6, channels, outputs, kernel, stride };
        let lengths = [12 * channels, kernel * channels * outputs, outputs];
        check::<3>(&op, lengths, |inputs| convolve(&op, &inputs[0], &inputs[1], &inputs[2]));
    }
}

#[test]
fn upsampling_has_the_numeric_gradient() {
    let op = Upsampling { batch: 2, time: 5, channels: 17 };
    check::<3>(&op, [170, 4 * 17 * 17, 17], |inputs| {
        upsample(&op, &inputs[0], &inputs[1], &inputs[2])
    });
}

#[test]
fn residual_blocks_have_the_numeric_gradient() {
    let half = |channels: usize| [TAPS * channels * 8, 8, 8, 8];
    let op = Residual { batch: 2, time: 6, channels: 8, outputs: 8, groups: 4 };
    let [[w1, b1, s1, t1], [w2, b2, s2, t2]] = [half(8), half(8)];
    let lengths = [96, 16, w1, b1, s1, t1, w2, b2, s2, t2];
    check::<10>(&op, lengths, |inputs| residual(&op, inputs));
    let op = Residual { channels: 3, ..op };
    let lengths = [36, 16, half(3)[0], b1, s1, t1, w2, b2, s2, t2, 24, 8];
    check::<12>(&op, lengths, |inputs| residual(&op, inputs));
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    let op = Residual { batch: 5, time: 8, channels: 24, outputs: 40, groups: 8 };
    let mut rng = Rng::stream(9, "threads");
    let half = |channels: usize| [TAPS * channels * 40, 40, 40, 40];
    let mut lengths = vec![5 * 8 * 24, 5 * 40];
    lengths.extend(half(24).into_iter().chain(half(40)).chain([24 * 40, 40]));
    let inputs: Vec<Vec<f32>> = lengths.into_iter().map(|n| rng.normals(n)).collect();
    let upstream = rng.normals(5 * 8 * 40);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let slices: [&[f32]; 12] = std::array::from_fn(|i| inputs[i].as_slice());
        pool.install(|| HostOp::<12>::backward(&op, slices, &upstream))
    };
    assert_eq!(run(1), run(3));
}
