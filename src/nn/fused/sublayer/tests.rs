//! Sublayers against double precision: outputs, and gradients by central
//! differences, with an inner function that shows who calls it how.

use super::*;
use crate::nn::fused::attention::CausalAttention;
use crate::nn::fused::gelu::Gelu;
use crate::rng::Rng;

/// From two numbers to their product, `[a, b]` side by side in halves of a row.
#[derive(Clone, Copy, Debug)]
struct Product<const KEEPS: bool>(usize);

impl<const KEEPS: bool> Inner for Product<KEEPS> {
    type Plan = ();
    type Space = ();
    const KEEPS: bool = KEEPS;

    fn widths(&self) -> [usize; 2] {
        [2 * self.0, self.0]
    }

    fn plan(&self) {}

    fn space(&self, (): &()) {}

    fn forward(&self, _: (&(), &mut (), usize), wide: &[f32], inner: &mut [f32]) {
        for (row, inner) in wide.chunks(2 * self.0).zip(inner.chunks_mut(self.0)) {
            let (a, b) = row.split_at(self.0);
            inner.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y = a * b);
        }
    }

    fn backward(
        &self,
        at: (&(), &mut (), usize),
        wide: &[f32],
        inner: &mut [f32],
        grad: &[f32],
        wide_grad: &mut [f32],
    ) {
        if !KEEPS {
            self.forward(at, wide, inner);
        }
        let rows = wide.chunks(2 * self.0).zip(grad.chunks(self.0));
        for ((row, grad), wide_grad) in rows.zip(wide_grad.chunks_mut(2 * self.0)) {
            for i in 0..self.0 {
                wide_grad[i] = grad[i] * row[self.0 + i];
                wide_grad[self.0 + i] = grad[i] * row[i];
            }
        }
    }
}

fn lengths<I: Inner>(op: &Sublayer<I>) -> [usize; 7] {
    let [wide, inner] = op.inner.widths();
    let width = op.width;
    [op.batch * op.time * width, width, width, width * wide, wide, inner * width, width]
}

fn dense(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let inputs = weight.len() / bias.len();
    let row = |x: &[f64]| -> Vec<f64> {
        let entry = |o: usize| (0..inputs).map(|i| x[i] * weight[i * bias.len() + o]).sum::<f64>();
        (0..bias.len()).map(|o| entry(o) + bias[o]).collect()
    };
    x.chunks(inputs).flat_map(row).collect()
}

/// By the definition.
fn exact<const KEEPS: bool>(op: &Sublayer<Product<KEEPS>>, inputs: &[Vec<f64>]) -> Vec<f64> {
    let [x, weight, bias, w1, b1, w2, b2] = inputs else { return Vec::new() };
    let width = op.width as f64;
    let normal = |row: &[f64]| -> Vec<f64> {
        let mean = row.iter().sum::<f64>() / width;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width;
        let r = 1.0 / (variance + 1e-5).sqrt();
        row.iter().zip(weight).zip(bias).map(|((x, w), b)| (x - mean) * r * w + b).collect()
    };
    let n = op.inner.0;
    let product = |row: &[f64]| -> Vec<f64> { (0..n).map(|i| row[i] * row[n + i]).collect() };
    let wide = dense(&x.chunks(op.width).flat_map(normal).collect::<Vec<_>>(), w1, b1);
    let y = dense(&wide.chunks(2 * n).flat_map(product).collect::<Vec<_>>(), w2, b2);
    let mask = op.dropout.mask(op.batch * op.time, op.width);
    let factor = |at: usize| mask.as_ref().map_or(1.0, |mask| f64::from(mask[at]));
    y.iter().zip(x).enumerate().map(|(at, (y, x))| y * factor(at) + x).collect()
}

fn check<const KEEPS: bool>(op: &Sublayer<Product<KEEPS>>) {
    let mut rng = Rng::stream(8, "numeric gradients");
    let inputs = lengths(op).map(|n| rng.normals(n));
    let slices = inputs.each_ref().map(Vec::as_slice);
    let doubles: Vec<Vec<f64>> =
        inputs.iter().map(|values| values.iter().map(|v| f64::from(*v)).collect()).collect();
    let y = op.forward(slices);
    for (y, expected) in y.iter().zip(exact(op, &doubles)) {
        assert!((f64::from(*y) - expected).abs() < 2e-4 * (1.0 + expected.abs()), "{op:?}");
    }
    let (same, kept) = op.forward_keeping(slices);
    assert_eq!(y, same);
    let upstream = rng.normals(y.len());
    let grads = op.backward_keeping(slices, &kept, &upstream);
    for (which, grad) in grads.iter().enumerate() {
        assert_eq!(grad.len(), inputs[which].len(), "input {which}");
        for at in (0..grad.len()).step_by(1 + grad.len() / 9).chain([grad.len() - 1]) {
            let total = |by: f64| -> f64 {
                let mut moved = doubles.clone();
                moved[which][at] += by;
                exact(op, &moved).iter().zip(&upstream).map(|(y, g)| y * f64::from(*g)).sum()
            };
            let numeric = (total(1e-5) - total(-1e-5)) / 2e-5;
            let error = (f64::from(grad[at]) - numeric).abs();
            assert!(error < 5e-4 * (1.0 + numeric.abs()), "{op:?}, input {which} {at}: {error}");
        }
    }
}

#[test]
fn sublayers_have_the_output_and_the_numeric_gradient_of_their_definition() {
    let dropout = RowDropout { share: 0.3, seed: 4 };
    let op = Sublayer { batch: 2, time: 5, width: 18, inner: Product::<false>(7), dropout };
    check(&op);
    check(&Sublayer { dropout: RowDropout::default(), ..op });
    check(&Sublayer { batch: 3, time: 1, width: 6, inner: Product::<true>(33), dropout });
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    let attention = CausalAttention {
        batch: 5,
        time: 9,
        heads: 2,
        width: 24,
        goals: 1,
        per_transition: 4,
        hidden_dim: Some(3),
        markov: false,
        dropout: 0.2,
        seed: 3,
    };
    let dropout = RowDropout { share: 0.2, seed: 5 };
    let attend = Sublayer { batch: 5, time: 9, width: 24, inner: attention, dropout };
    let think = Sublayer { batch: 5, time: 9, width: 24, inner: Gelu { width: 96 }, dropout };
    let mut rng = Rng::stream(9, "threads");
    let upstream = rng.normals(5 * 9 * 24);
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let inputs = lengths(&attend).map(|n| rng.normals(n));
    let run = |threads| {
        let slices = inputs.each_ref().map(Vec::as_slice);
        pool(threads).install(|| attend.backward(slices, &upstream))
    };
    assert_eq!(run(1), run(3));
    let inputs = lengths(&think).map(|n| rng.normals(n));
    let run = |threads| {
        let slices = inputs.each_ref().map(Vec::as_slice);
        pool(threads).install(|| think.backward(slices, &upstream))
    };
    assert_eq!(run(1), run(3));
}
