//! The one source of randomness: a seeded, splittable ChaCha8 stream.
//!
//! Everything random (data, noise, initial weights, resets) is drawn here, on
//! the host, so the same scene and seed give the same bits on the CPU, and the
//! same numbers enter a GPU.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// A deterministic stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The stream named `label` under `seed`. Streams with different labels
    /// are independent, so adding a draw to one never shifts another.
    pub fn stream(seed: u64, label: &str) -> Self {
        // FNV-1a: a stable hash, because streams must survive toolchain updates.
        let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut inner = ChaCha8Rng::seed_from_u64(seed);
        inner.set_stream(hash);
        Self(inner)
    }

    /// A child stream, independent of the parent's later draws.
    pub fn split(&mut self, label: &str) -> Self {
        Self::stream(self.0.random(), label)
    }

    /// Uniform in `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    /// Uniform in `0..n`; `0` when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.0.random_range(0..n) }
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f32 {
        self.0.sample(StandardNormal)
    }

    /// `n` standard normal numbers.
    pub fn normals(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.normal()).collect()
    }

    /// Where the stream stands, in 32-bit words; [`Rng::seek`] returns there.
    pub fn position(&self) -> u128 {
        self.0.get_word_pos()
    }

    /// Continue from a [`Rng::position`] of the same stream.
    pub fn seek(&mut self, position: u128) {
        self.0.set_word_pos(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_label_give_the_same_numbers() {
        let mut a = Rng::stream(7, "noise");
        let mut b = Rng::stream(7, "noise");
        assert_eq!(a.normals(16), b.normals(16));
    }

    #[test]
    fn labels_and_seeds_separate_streams() {
        let first = Rng::stream(7, "noise").normals(4);
        assert_ne!(first, Rng::stream(7, "data").normals(4));
        assert_ne!(first, Rng::stream(8, "noise").normals(4));
    }

    #[test]
    fn a_stream_resumes_at_a_recorded_position() {
        let mut rng = Rng::stream(1, "train");
        rng.normals(37);
        let mut resumed = Rng::stream(1, "train");
        resumed.seek(rng.position());
        assert_eq!(rng.normals(8), resumed.normals(8));
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_unit_variance() {
        let draws = Rng::stream(3, "moments").normals(20_000);
        let mean = draws.iter().sum::<f32>() / 20_000.0;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05);
    }
}
