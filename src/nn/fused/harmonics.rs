//! A coordinate as waves: cosines and sines of its multiples, and itself where
//! it lives on a line. One pair is computed; each multiple is the last one
//! turned by the first, e^(i(k+1)p) = e^(ikp) e^(ip).

use rayon::prelude::*;

use super::HostOp;

/// Rows a thread takes at once.
const CHUNK: usize = 512;

/// Input: x `[rows, 1]`. Output `[rows, columns]`: `straight x` unless
/// `straight` is 0, then cos(kp) and sin(kp) with p = `pitch` x for k from 1.
#[derive(Clone, Copy, Debug)]
pub struct Harmonics {
    /// Rows.
    pub rows: usize,
    /// Multiples k.
    pub waves: usize,
    /// Radians per unit of x.
    pub pitch: f32,
    /// Factor of x itself; 0 leaves it out.
    pub straight: f32,
}

impl Harmonics {
    /// Numbers per row of the output.
    pub fn columns(&self) -> usize {
        2 * self.waves + usize::from(self.is_line())
    }

    fn is_line(&self) -> bool {
        self.straight != 0.0
    }

    /// Call `take` with k, cos(kp) and sin(kp).
    fn turn(&self, x: f32, mut take: impl FnMut(usize, f32, f32)) {
        let (sin, cos) = (self.pitch * x).sin_cos();
        let (mut c, mut s) = (cos, sin);
        for k in 1..=self.waves {
            take(k, c, s);
            (c, s) = (c * cos - s * sin, s * cos + c * sin);
        }
    }
}

impl HostOp<1> for Harmonics {
    fn output_shape(&self) -> Vec<usize> {
        vec![self.rows, self.columns()]
    }

    fn forward(&self, [x]: [&[f32]; 1]) -> Vec<f32> {
        assert_eq!(x.len(), self.rows);
        let columns = self.columns();
        let mut output = vec![0.0; self.rows * columns];
        output.par_chunks_mut(CHUNK * columns).zip(x.par_chunks(CHUNK)).for_each(|(output, x)| {
            for (row, x) in output.chunks_exact_mut(columns).zip(x) {
                let (first, waves) = row.split_at_mut(columns - 2 * self.waves);
                first.fill(self.straight * x);
                self.turn(*x, |k, c, s| waves[2 * k - 2..2 * k].copy_from_slice(&[c, s]));
            }
        });
        output
    }

    fn backward(&self, [x]: [&[f32]; 1], grad: &[f32]) -> [Vec<f32>; 1] {
        let columns = self.columns();
        let mut dx = vec![0.0; x.len()];
        let chunks = dx.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
        chunks.zip(grad.par_chunks(CHUNK * columns)).for_each(|((dx, x), grad)| {
            for ((dx, x), grad) in dx.iter_mut().zip(x).zip(grad.chunks_exact(columns)) {
                let (first, waves) = grad.split_at(columns - 2 * self.waves);
                let mut sum = first.iter().sum::<f32>() * self.straight;
                self.turn(*x, |k, c, s| {
                    let rate = k as f32 * self.pitch;
                    sum += rate * (waves[2 * k - 1] * c - waves[2 * k - 2] * s);
                });
                *dx = sum;
            }
        });
        [dx]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn waves_and_their_slopes_are_those_of_the_library() {
        let line = Harmonics { rows: 700, waves: 8, pitch: 0.3, straight: 0.2 };
        for op in [line, Harmonics { waves: 1, pitch: 1.0, straight: 0.0, ..line }] {
            let mut rng = Rng::stream(4, "harmonics");
            let x: Vec<f32> = rng.normals(700).iter().map(|x| 4.0 * x).collect();
            let upstream = rng.normals(700 * op.columns());
            let (y, [dx]) = (op.forward([&x]), op.backward([&x], &upstream));
            let rows = y.chunks(op.columns()).zip(upstream.chunks(op.columns()));
            for ((x, dx), (y, g)) in x.iter().zip(&dx).zip(rows) {
                let (x, mut expected, mut slope) = (f64::from(*x), Vec::new(), Vec::new());
                if op.straight != 0.0 {
                    expected.push(f64::from(op.straight) * x);
                    slope.push(f64::from(op.straight));
                }
                for k in 1..=op.waves {
                    let rate = k as f64 * f64::from(op.pitch);
                    let (sin, cos) = (rate * x).sin_cos();
                    expected.extend([cos, sin]);
                    slope.extend([-rate * sin, rate * cos]);
                }
                let total: f64 = slope.iter().zip(g).map(|(s, g)| s * f64::from(*g)).sum();
                assert!((f64::from(*dx) - total).abs() < 1e-4, "{dx} {total}");
                for (y, expected) in y.iter().zip(&expected) {
                    assert!((f64::from(*y) - expected).abs() < 1e-5, "{y} {expected}");
                }
            }
        }
    }
}
