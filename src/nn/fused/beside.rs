//! Two arrays side by side: `[rows, a]` and `[rows, b]` to `[rows, a + b]`, by
//! all threads.

use rayon::prelude::*;

use super::HostOp;

/// Rows a thread copies at once.
const CHUNK: usize = 64;

/// Sizes of two arrays `[batch, time, channels]` whose channels go side by
/// side.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    /// Sequences.
    pub batch: usize,
    /// Steps per sequence.
    pub time: usize,
    /// Channels of both.
    pub channels: [usize; 2],
}

impl HostOp<2> for Beside {
    fn output_shape(&self) -> Vec<usize> {
        vec![self.batch, self.time, self.channels.iter().sum()]
    }

    fn forward(&self, [a, b]: [&[f32]; 2]) -> Vec<f32> {
        let [left, right] = self.channels;
        let mut both = vec![0.0; self.batch * self.time * (left + right)];
        both.par_chunks_mut(CHUNK * (left + right))
            .zip(a.par_chunks(CHUNK * left).zip(b.par_chunks(CHUNK * right)))
            .for_each(|(both, (a, b))| {
                let rows = a.chunks_exact(left).zip(b.chunks_exact(right));
                for (both, (a, b)) in both.chunks_exact_mut(left + right).zip(rows) {
                    both[..left].copy_from_slice(a);
                    both[left..].copy_from_slice(b);
                }
            });
        both
    }

    fn backward(&self, [a, b]: [&[f32]; 2], grad: &[f32]) -> [Vec<f32>; 2] {
        let [left, right] = self.channels;
        let (mut da, mut db) = (vec![0.0; a.len()], vec![0.0; b.len()]);
        grad.par_chunks(CHUNK * (left + right))
            .zip(da.par_chunks_mut(CHUNK * left).zip(db.par_chunks_mut(CHUNK * right)))
            .for_each(|(grad, (da, db))| {
                let rows = da.chunks_exact_mut(left).zip(db.chunks_exact_mut(right));
                for (grad, (da, db)) in grad.chunks_exact(left + right).zip(rows) {
                    da.copy_from_slice(&grad[..left]);
                    db.copy_from_slice(&grad[left..]);
                }
            });
        [da, db]
    }
}
