//! Weighted cross-entropy of integer targets, without the table of
//! log-probabilities that a composition of softmax, logarithm and gather
//! writes and reads.

use std::sync::Arc;

use multiversion::multiversion;
use rayon::prelude::*;

use super::HostOp;
use super::gelu::exp;
use super::layer_norm::total;

/// Rows a thread takes at once; fixed, so that the loss does not depend on the
/// number of threads.
const CHUNK: usize = 64;

/// `sum_i weights[i] (logsumexp(logits[i]) - logits[i, targets[i]]) / rows`: a
/// mean over all rows, whatever their weights. Rows of weight 0 are not read.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// Rows, every leading axis flattened.
    pub rows: usize,
    /// Logits per row.
    pub classes: usize,
    /// `[rows]`, each below `classes` unless its weight is 0.
    pub targets: Arc<[u32]>,
    /// `[rows]`.
    pub weights: Arc<[f32]>,
}

impl CrossEntropy {
    fn check(&self, logits: &[f32]) {
        assert!(
            logits.len() == self.rows * self.classes
                && self.targets.len() == self.rows
                && self.weights.len() == self.rows,
            "cross-entropy of {} rows of {} classes",
            self.rows,
            self.classes
        );
    }
}

impl HostOp<1> for CrossEntropy {
    fn output_shape(&self) -> Vec<usize> {
        vec![1]
    }

    /// Input: logits `[rows, classes]`. Output `[1]`.
    fn forward(&self, [logits]: [&[f32]; 1]) -> Vec<f32> {
        self.check(logits);
        let parts: Vec<f64> = logits
            .par_chunks(CHUNK * self.classes)
            .zip(self.targets.par_chunks(CHUNK))
            .zip(self.weights.par_chunks(CHUNK))
            .map(|((logits, targets), weights)| losses(logits, targets, weights))
            .collect();
        vec![(parts.iter().sum::<f64>() / self.rows as f64) as f32]
    }

    fn backward(&self, [logits]: [&[f32]; 1], grad: &[f32]) -> [Vec<f32>; 1] {
        self.check(logits);
        let scale = grad[0] / self.rows as f32;
        let mut dlogits = vec![0.0; logits.len()];
        dlogits
            .par_chunks_mut(CHUNK * self.classes)
            .zip(logits.par_chunks(CHUNK * self.classes))
            .zip(self.targets.par_chunks(CHUNK))
            .zip(self.weights.par_chunks(CHUNK))
            .for_each(|(((dlogits, logits), targets), weights)| {
                gradients(logits, targets, (weights, scale), dlogits);
            });
        [dlogits]
    }
}

/// The largest of `values`; `-inf` of none. As integers in the same order,
/// whose maximum compilers turn into vector code: that of floats is not
/// associative to them because of NaN, which is either the largest or ignored.
#[inline(always)]
pub(in crate::nn) fn most(values: &[f32]) -> f32 {
    let order = |bits: i32| bits ^ ((bits >> 31) & i32::MAX);
    let least = order(f32::NEG_INFINITY.to_bits() as i32);
    let most = values.iter().fold(least, |most, value| most.max(order(value.to_bits() as i32)));
    f32::from_bits(order(most) as u32)
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn losses(logits: &[f32], targets: &[u32], weights: &[f32]) -> f64 {
    let classes = logits.len() / targets.len();
    let mut loss = 0.0;
    for ((logits, target), weight) in logits.chunks_exact(classes).zip(targets).zip(weights) {
        if *weight != 0.0 {
            let most = most(logits);
            let sum = total([logits], |[logit]| exp(logit - most));
            let surprise = most - logits[*target as usize] + sum.ln();
            loss += f64::from(*weight * surprise);
        }
    }
    loss
}

/// `weight * scale * (softmax - onehot)`, row by row.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn gradients(
    logits: &[f32],
    targets: &[u32],
    (weights, scale): (&[f32], f32),
    dlogits: &mut [f32],
) {
    let classes = logits.len() / targets.len();
    let rows = logits.chunks_exact(classes).zip(dlogits.chunks_exact_mut(classes));
    for (((logits, dlogits), target), weight) in rows.zip(targets).zip(weights) {
        if *weight != 0.0 {
            let most = most(logits);
            for (grad, logit) in dlogits.iter_mut().zip(logits) {
                *grad = exp(*logit - most);
            }
            let factor = weight * scale;
            let share = factor / total([dlogits], |[value]| value);
            for grad in dlogits.iter_mut() {
                *grad *= share;
            }
            dlogits[*target as usize] -= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    const ROWS: usize = 131;
    const CLASSES: usize = 37;

    fn op() -> (CrossEntropy, Vec<f32>) {
        let mut rng = Rng::stream(4, "cross-entropy");
        let targets = (0..ROWS).map(|_| rng.below(CLASSES) as u32).collect();
        let weights = (0..ROWS).map(|i| [1.0, 5.0, 0.0, 0.25][i % 4]).collect();
        let logits = rng.normals(ROWS * CLASSES).iter().map(|l| 4.0 * l).collect();
        (CrossEntropy { rows: ROWS, classes: CLASSES, targets, weights }, logits)
    }

    fn exact(op: &CrossEntropy, logits: &[f64]) -> f64 {
        let mut loss = 0.0;
        for (i, logits) in logits.chunks(op.classes).enumerate() {
            let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
            loss += f64::from(op.weights[i]) * (sum.ln() - logits[op.targets[i] as usize]);
        }
        loss / op.rows as f64
    }

    #[test]
    fn the_loss_and_its_gradient_are_those_of_the_definition() {
        let (op, logits) = op();
        let exact_logits: Vec<f64> = logits.iter().map(|l| f64::from(*l)).collect();
        let loss = f64::from(op.forward([&logits])[0]);
        let expected = exact(&op, &exact_logits);
        assert!((loss - expected).abs() < 1e-6 * expected, "{loss} {expected}");
        let [grad] = op.backward([&logits], &[2.0]);
        for at in (0..grad.len()).step_by(3) {
            let moved = |by: f64| {
                let mut logits = exact_logits.clone();
                logits[at] += by;
                2.0 * exact(&op, &logits)
            };
            let numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((f64::from(grad[at]) - numeric).abs() < 1e-7, "{} {numeric}", grad[at]);
        }
    }

    #[test]
    fn rows_of_weight_zero_are_not_even_read() {
        let (op, mut logits) = op();
        let (loss, [grad]) = (op.forward([&logits]), op.backward([&logits], &[1.0]));
        let mut targets = op.targets.to_vec();
        for row in (2..ROWS).step_by(4) {
            logits[row * CLASSES..(row + 1) * CLASSES].fill(f32::NAN);
            targets[row] = u32::MAX;
            assert!(grad[row * CLASSES..(row + 1) * CLASSES].iter().all(|g| *g == 0.0));
        }
        let op = CrossEntropy { targets: targets.into(), ..op };
        assert_eq!(op.forward([&logits]), loss);
        assert_eq!(op.backward([&logits], &[1.0]), [grad]);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let op = CrossEntropy {
            rows: 2,
            classes: 3,
            targets: Arc::new([0, 1]),
            weights: Arc::new([1.0, 1.0]),
        };
        let logits = [1e30, -1e30, 1e30, 90.0, 190.0, -3e38];
        assert!((op.forward([&logits])[0] - 0.5 * std::f32::consts::LN_2).abs() < 1e-6);
        assert_eq!(op.backward([&logits], &[2.0]), [vec![-0.5, 0.0, 0.5, 0.0, 0.0, 0.0]]);
        let wrong = CrossEntropy { targets: Arc::new([1, 1]), ..op };
        assert_eq!(wrong.forward([&logits]), [1e30]);
    }
}
