//! A multilayer perceptron in one operation: linear layers with (leaky) ReLU
//! between them and none at the end. A thread takes a few rows through all of
//! them while they stay in its cache.

use multiversion::multiversion;
use rayon::prelude::*;

use super::HostOp;
use super::convolution::{column_sums, total};
use super::panels::{OuterSum, Panels, pack_blocks, pack_panels, packed_blocks, packed_panels};
use super::workspace::{self, in_pool};

/// Rows a thread takes at once; fixed, so that sums over rows do not depend on
/// the number of threads.
const CHUNK: usize = 64;

/// Sizes of a perceptron. Inputs: x `[rows, widths[0]]`, then of every layer
/// weight `[inputs, outputs]` and bias `[outputs]`.
#[derive(Clone, Debug)]
pub struct Perceptron {
    /// Rows.
    pub rows: usize,
    /// Numbers per row of the input, of every hidden layer and of the output.
    pub widths: Vec<usize>,
    /// Slope below zero, 0 to 1; 0 is ReLU.
    pub leak: f32,
}

impl Perceptron {
    /// Inputs and outputs of every layer.
    fn sizes(&self) -> impl DoubleEndedIterator<Item = [usize; 2]> + ExactSizeIterator + '_ {
        self.widths.windows(2).map(|pair| [pair[0], pair[1]])
    }

    fn ends(&self) -> [usize; 2] {
        [self.widths.first(), self.widths.last()].map(|width| width.copied().unwrap_or(0))
    }

    fn hidden(&self) -> &[usize] {
        self.widths.get(1..self.widths.len().saturating_sub(1)).unwrap_or_default()
    }

    fn check(&self, inputs: &[&[f32]]) {
        let layers = inputs[1..].chunks_exact(2).zip(self.sizes());
        let fits = |(layer, [a, b]): (&[&[f32]], [usize; 2])| {
            layer[0].len() == a * b && layer[1].len() == b
        };
        assert!(
            inputs.len() == 2 * self.widths.len() - 1
                && inputs[0].len() == self.rows * self.ends()[0]
                && layers.into_iter().all(fits)
                && (0.0..=1.0).contains(&self.leak),
            "no perceptron is {self:?}"
        );
    }

    /// The output, and in `keep`, if it is not empty, what every hidden layer
    /// gives: of every chunk one layer after another.
    fn run(&self, inputs: &[&[f32]], keep: &mut [f32]) -> Vec<f32> {
        self.check(inputs);
        let [first, last] = self.ends();
        let hidden: usize = self.hidden().iter().sum();
        let layers: Vec<(Panels, &[f32])> = self
            .sizes()
            .zip(inputs[1..].chunks_exact(2))
            .map(|(size, layer)| (Panels::pack(layer[0], size), layer[1]))
            .collect();
        let pass = |x: &[f32], mut between: &mut [f32], y: &mut [f32]| {
            let rows = x.len() / first.max(1);
            let mut x = x;
            let (end, before) = layers.split_last()?;
            for ((weight, bias), width) in before.iter().zip(self.hidden()) {
                let (to, rest) = between.split_at_mut(rows * width);
                weight.apply(x, x.len() / rows, bias, to);
                activate(to, self.leak);
                (x, between) = (to, rest);
            }
            end.0.apply(x, x.len() / rows, end.1, y);
            Some(())
        };
        let mut y = vec![0.0; self.rows * last];
        let chunks = y.par_chunks_mut(CHUNK * last).zip(inputs[0].par_chunks(CHUNK * first));
        if keep.is_empty() {
            chunks.for_each_init(
                || vec![0.0; CHUNK * hidden],
                |between, (y, x)| {
                    pass(x, between, y);
                },
            );
        } else {
            chunks.zip(keep.par_chunks_mut(CHUNK * hidden)).for_each(|((y, x), keep)| {
                pass(x, keep, y);
            });
        }
        y
    }

    fn gradients<const N: usize>(
        &self,
        inputs: [&[f32]; N],
        kept: &[f32],
        grad: &[f32],
    ) -> [Vec<f32>; N] {
        let [first, last] = self.ends();
        let hidden: usize = self.hidden().iter().sum();
        let n_chunks = self.rows.div_ceil(CHUNK);
        let backward: Vec<Panels> = self
            .sizes()
            .zip(inputs[1..].chunks_exact(2))
            .map(|([a, b], layer)| Panels::pack_reversed(layer[0], [1, a, b]))
            .collect();
        // Of every layer what it reads, then the gradient of what it gives.
        let mut lengths = [0; N];
        for (pair, [a, b]) in lengths[1..].chunks_exact_mut(2).zip(self.sizes()) {
            pair.copy_from_slice(&[packed_blocks(CHUNK, a), packed_panels(CHUNK, b)]);
        }
        let mut dx = vec![0.0; inputs[0].len()];
        workspace::with(lengths.map(|length| n_chunks * length), |mut packed| {
            let mut owned: Vec<Vec<&mut [f32]>> =
                (0..n_chunks).map(|_| Vec::with_capacity(N)).collect();
            for (array, length) in packed.iter_mut().zip(lengths).skip(1) {
                for (owned, part) in owned.iter_mut().zip(array.chunks_exact_mut(length)) {
                    owned.push(part);
                }
            }
            let work = dx
                .par_chunks_mut(CHUNK * first)
                .zip(inputs[0].par_chunks(CHUNK * first))
                .zip(grad.par_chunks(CHUNK * last))
                .zip(owned)
                .enumerate();
            let biases: Vec<Vec<Vec<f32>>> = work
                .map_init(Scratch::default, |scratch, (at, (((dx, x), grad), packed))| {
                    // One layer keeps nothing.
                    let kept = &kept[(at * CHUNK * hidden).min(kept.len())..];
                    self.chunk(&backward, [x, kept, grad], scratch, packed, dx)
                })
                .collect();
            let mut grads: [Vec<f32>; N] = std::array::from_fn(|_| Vec::new());
            for (layer, size) in self.sizes().enumerate() {
                let sum = OuterSum::linear(n_chunks, CHUNK, size);
                grads[1 + 2 * layer] = sum.sum(packed[1 + 2 * layer], packed[2 + 2 * layer]);
                let parts: Vec<Vec<f32>> =
                    biases.iter().map(|chunk| chunk[layer].clone()).collect();
                grads[2 + 2 * layer] = total(&parts);
            }
            grads[0] = dx;
            grads
        })
    }

    /// One chunk of rows: writes dx and what the weights' gradients need, and
    /// returns those of the biases.
    fn chunk(
        &self,
        backward: &[Panels],
        [x, kept, grad]: [&[f32]; 3],
        scratch: &mut Scratch,
        mut packed: Vec<&mut [f32]>,
        dx: &mut [f32],
    ) -> Vec<Vec<f32>> {
        let rows = dx.len() / self.ends()[0];
        let mut read = vec![x];
        let mut rest = kept;
        for width in self.hidden() {
            let (layer, more) = rest.split_at(rows * width);
            read.push(layer);
            rest = more;
        }
        let Scratch { grad: now, next, rows: padded } = scratch;
        filled(grad, self.ends()[1], now);
        let mut biases = vec![Vec::new(); backward.len()];
        for (layer, [inputs, outputs]) in self.sizes().enumerate().rev() {
            pack_panels(now, outputs, packed[2 * layer + 1]);
            biases[layer] = column_sums(now, outputs);
            filled(read[layer], inputs, padded);
            pack_blocks(padded, inputs, 0, packed[2 * layer]);
            next.resize(CHUNK * inputs, 0.0);
            backward[layer].apply(now, outputs, &[], next);
            if layer > 0 {
                pass_back(next, padded, self.leak);
            }
            std::mem::swap(now, next);
        }
        dx.copy_from_slice(&now[..dx.len()]);
        biases
    }
}

/// What a chunk passes through on the way back.
#[derive(Default)]
struct Scratch {
    grad: Vec<f32>,
    next: Vec<f32>,
    rows: Vec<f32>,
}

/// `rows` of `width` in `buffer`, filled up to a whole chunk with zeros, which
/// add nothing to any sum.
fn filled(rows: &[f32], width: usize, buffer: &mut Vec<f32>) {
    buffer.resize(CHUNK * width, 0.0);
    buffer[..rows.len()].copy_from_slice(rows);
    buffer[rows.len()..].fill(0.0);
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn activate(values: &mut [f32], leak: f32) {
    for value in values {
        *value *= if *value > 0.0 { 1.0 } else { leak };
    }
}

/// Through the activation that gave `values`: they have the signs of what it
/// was given.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn pass_back(grad: &mut [f32], values: &[f32], leak: f32) {
    for (grad, value) in grad.iter_mut().zip(values) {
        *grad *= if *value > 0.0 { 1.0 } else { leak };
    }
}

impl<const N: usize> HostOp<N> for Perceptron {
    fn output_shape(&self) -> Vec<usize> {
        vec![self.rows, self.ends()[1]]
    }

    fn forward(&self, inputs: [&[f32]; N]) -> Vec<f32> {
        in_pool(|| self.run(&inputs, &mut []))
    }

    fn forward_keeping(&self, inputs: [&[f32]; N]) -> (Vec<f32>, Vec<f32>) {
        let hidden: usize = self.hidden().iter().sum();
        let mut keep = workspace::take(self.rows * hidden);
        (in_pool(|| self.run(&inputs, &mut keep)), keep)
    }

    fn backward(&self, inputs: [&[f32]; N], grad: &[f32]) -> [Vec<f32>; N] {
        let (_, kept) = HostOp::<N>::forward_keeping(self, inputs);
        self.backward_keeping(inputs, &kept, grad)
    }

    fn backward_keeping(&self, inputs: [&[f32]; N], kept: &[f32], grad: &[f32]) -> [Vec<f32>; N] {
        in_pool(|| self.gradients(inputs, kept, grad))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// By the definition.
    fn exact(op: &Perceptron, inputs: &[Vec<f64>]) -> Vec<f64> {
        let last = op.widths.len() - 2;
        let mut x = inputs[0].clone();
        for (layer, [a, b]) in op.sizes().enumerate() {
            let (weight, bias) = (&inputs[1 + 2 * layer], &inputs[2 + 2 * layer]);
            let entry = |row: &[f64], o: usize| {
                let sum: f64 = (0..a).map(|i| row[i] * weight[i * b + o]).sum::<f64>() + bias[o];
                if layer < last && sum < 0.0 { f64::from(op.leak) * sum } else { sum }
            };
            x = x
                .chunks(a)
                .flat_map(|row| (0..b).map(|o| entry(row, o)).collect::<Vec<_>>())
                .collect();
        }
        x
    }

    fn check<const N: usize>(op: &Perceptron) {
        let mut rng = Rng::stream(6, "perceptrons");
        let mut lengths = vec![op.rows * op.widths[0]];
        lengths.extend(op.sizes().flat_map(|[a, b]| [a * b, b]));
        let inputs: [Vec<f32>; N] = std::array::from_fn(|i| rng.normals(lengths[i]));
        let slices = inputs.each_ref().map(Vec::as_slice);
        let doubles: Vec<Vec<f64>> =
            inputs.iter().map(|values| values.iter().map(|v| f64::from(*v)).collect()).collect();
        let y = HostOp::<N>::forward(op, slices);
        for (y, expected) in y.iter().zip(exact(op, &doubles)) {
            assert!((f64::from(*y) - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{op:?}");
        }
        let (same, kept) = HostOp::<N>::forward_keeping(op, slices);
        assert_eq!(y, same);
        let upstream = rng.normals(y.len());
        let grads = op.backward_keeping(slices, &kept, &upstream);
        for (which, grad) in grads.iter().enumerate() {
            assert_eq!(grad.len(), inputs[which].len());
            for at in (0..grad.len()).step_by(1 + grad.len() / 20) {
                let total = |by: f64| -> f64 {
                    let mut moved = doubles.clone();
                    moved[which][at] += by;
                    exact(op, &moved).iter().zip(&upstream).map(|(y, g)| y * f64::from(*g)).sum()
                };
                let numeric = (total(1e-6) - total(-1e-6)) / 2e-6;
                let error = (f64::from(grad[at]) - numeric).abs();
                assert!(error < 2e-3 * (1.0 + numeric.abs()), "{op:?} {which} {at}: {error}");
            }
        }
    }

    #[test]
    fn outputs_and_gradients_are_those_of_the_definition() {
        check::<7>(&Perceptron { rows: 3, widths: vec![5, 40, 17, 3], leak: 0.2 });
        check::<5>(&Perceptron { rows: 150, widths: vec![9, 33, 2], leak: 0.0 });
        check::<3>(&Perceptron { rows: 65, widths: vec![4, 6], leak: 0.0 });
        check::<9>(&Perceptron { rows: 64, widths: vec![3, 16, 16, 8, 1], leak: 0.0 });
    }

    #[test]
    fn gradients_do_not_depend_on_the_number_of_threads() {
        let op = Perceptron { rows: 300, widths: vec![7, 20, 20, 4], leak: 0.0 };
        let mut rng = Rng::stream(9, "threads");
        let lengths = [2100, 140, 20, 400, 20, 80, 4];
        let inputs = lengths.map(|n| rng.normals(n));
        let upstream = rng.normals(1200);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let slices = inputs.each_ref().map(Vec::as_slice);
            pool.install(|| HostOp::<7>::backward(&op, slices, &upstream))
        };
        assert_eq!(run(1), run(3));
    }
}
