//! Convolutions and gradients of kernels against double precision.

use super::*;
use crate::nn::decoder::wide::{Kernel, Simd, everywhere};
use crate::rng::Rng;

/// By the definition, in double precision.
fn exact(x: &[f32], weight: &[f32], [channels, outputs]: [usize; 2]) -> Vec<f64> {
    let time = x.len() / channels;
    let mut y = vec![0.0; time * outputs];
    for (at, y) in y.iter_mut().enumerate() {
        let (t, o) = (at / outputs, at % outputs);
        for tap in 0..TAPS {
            let Some(row) = (t + tap).checked_sub(LEAD).filter(|row| *row < time) else {
                continue;
            };
            for c in 0..channels {
                *y += f64::from(x[row * channels + c])
                    * f64::from(weight[(tap * channels + c) * outputs + o]);
            }
        }
    }
    y
}

#[test]
fn sequences_of_any_length_are_convolved_forth_and_back() {
    let mut space = Space::default();
    for size in [[48, 32], [32, 80], [3, 40], [40, 5]] {
        let [channels, outputs] = size;
        for time in [1, 2, 5, 16] {
            let mut rng = Rng::stream(1, "taps");
            let (x, g) = (rng.normals(time * channels), rng.normals(time * outputs));
            let weight = rng.normals(TAPS * channels * outputs);
            let bias = rng.normals(outputs);
            let mut y = vec![f32::NAN; time * outputs];
            Taps::pack(&weight, size).apply(&x, time, &mut space, &bias, &mut y);
            let expected = exact(&x, &weight, size);
            for (at, (y, expected)) in y.iter().zip(&expected).enumerate() {
                let expected = expected + f64::from(bias[at % outputs]);
                // Outputs deviate by 20.
                assert!((f64::from(*y) - expected).abs() < 5e-4, "{size:?} {time} {at}");
            }
            // <conv(x), g> = <x, back(g)>.
            let mut back = vec![f32::NAN; time * channels];
            Taps::pack_reversed(&weight, size).apply(&g, time, &mut space, &[], &mut back);
            let dot = |a: &[f32], b: &mut dyn Iterator<Item = f64>| -> f64 {
                a.iter().map(|a| f64::from(*a)).zip(b).map(|(a, b)| a * b).sum()
            };
            let left = dot(&g, &mut expected.iter().copied());
            let right = dot(&x, &mut back.iter().map(|v| f64::from(*v)));
            assert!((left - right).abs() < 1e-3 * (1.0 + left.abs()), "{size:?} {time}");
        }
    }
}

#[test]
fn sequences_side_by_side_are_those_one_by_one() {
    let mut space = Space::default();
    for size in [[32, 48], [3, 40]] {
        let mut rng = Rng::stream(3, "taps");
        let (x, bias) = (rng.normals(5 * 6 * size[0]), rng.normals(size[1]));
        let taps = Taps::pack(&rng.normals(TAPS * size[0] * size[1]), size);
        let mut all = vec![f32::NAN; 5 * 6 * size[1]];
        taps.apply(&x, 6, &mut space, &bias, &mut all);
        for (x, y) in x.chunks(6 * size[0]).zip(all.chunks(6 * size[1])) {
            let mut alone = vec![f32::NAN; y.len()];
            taps.apply(x, 6, &mut space, &bias, &mut alone);
            assert_eq!(alone, y);
        }
    }
}

#[test]
fn the_kernels_gradient_is_the_sum_of_outer_products() {
    let mut space = Space::default();
    for (size, time) in [([48, 32], 6), ([32, 80], 7), ([5, 40], 6)] {
        let [channels, outputs] = size;
        let op = TapsGradient { batch: 3, time, size };
        let mut rng = Rng::stream(2, "taps");
        let (x, g) = (rng.normals(3 * time * channels), rng.normals(3 * time * outputs));
        let [x_length, g_length] = op.lengths();
        let (mut blocks, mut panels) = (vec![7.0; 3 * x_length], vec![7.0; 3 * g_length]);
        for (x, to) in x.chunks(time * channels).zip(blocks.chunks_mut(x_length)) {
            op.pack_inputs(x, &mut space, to);
        }
        for (g, to) in g.chunks(time * outputs).zip(panels.chunks_mut(g_length)) {
            op.pack_gradients(g, &mut space, to);
        }
        let sums = op.sum(&blocks, &panels);
        for (at, sum) in sums.iter().enumerate() {
            let (tap, c, o) = (at / outputs / channels, at / outputs % channels, at % outputs);
            let mut expected = 0.0;
            for (b, t) in (0..3 * time).map(|i| (i / time, i % time)) {
                let row = (t + tap).checked_sub(LEAD).filter(|row| *row < time);
                let Some(row) = row else { continue };
                expected += f64::from(x[(b * time + row) * channels + c])
                    * f64::from(g[(b * time + t) * outputs + o]);
            }
            assert!((f64::from(*sum) - expected).abs() < 2e-4, "{size:?} {at}: {sum}");
        }
    }
}

/// Five steps of 32 channels there and back.
#[derive(Clone)]
struct Transforms<'a>(&'a [f32]);

impl Kernel for Transforms<'_> {
    type Output = [Vec<f32>; 3];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let [mut apart, mut spread] = [(); 2].map(|()| vec![f32::NAN; POINTS * 2 * 32]);
        let mut together = vec![f32::NAN; self.0.len()];
        TakeApart { x: self.0, channels: 32, rows: 0..2, to: &mut apart }.run(simd);
        Spread { g: self.0, outputs: 32, to: &mut spread }.run(simd);
        let out = &mut together;
        PutTogether { products: &apart, outputs: 32, first: 0, out }.run(simd);
        [apart, spread, together]
    }
}

#[test]
fn every_instruction_set_transforms_alike() {
    let x = Rng::stream(4, "taps").normals(5 * 32);
    let found = everywhere(&Transforms(&x));
    for (a, b) in found.iter().flatten().zip(found[0].iter().cycle()) {
        let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(a.len() == b.len() && worst < 1e-4, "{worst}");
    }
    // A gradient is spread as the transpose of what puts outputs together.
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let [apart, spread, together] = &found[0];
    let (left, right) = (dot(apart, spread), dot(together, &x));
    assert!((left - right).abs() < 1e-2, "{left} {right}");
}
