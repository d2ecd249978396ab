//! Dropout with a hash instead of a stream of random numbers, so that the
//! backward pass repeats it and vector code computes it.

use multiversion::multiversion;

/// What is dropped with some probability, and what keeps the mean of the rest.
#[derive(Clone, Copy)]
pub(super) struct Hashed {
    /// Hashes below it are dropped.
    threshold: u32,
    kept: f32,
}

impl Hashed {
    pub(super) fn new(probability: f32) -> Self {
        let threshold = (f64::from(probability) * 4_294_967_296.0) as u32;
        Hashed { threshold, kept: 1.0 / (1.0 - probability) }
    }

    /// Multiplications and shifts of 32 bits only, for vector code; constants
    /// of Wellons's hash-prospector.
    #[inline(always)]
    pub(super) fn factor(self, [first, second]: [u32; 2], column: u32) -> f32 {
        let mut hash = column.wrapping_mul(0x9e37_79b9).wrapping_add(first);
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x21f0_aaad) ^ second;
        hash = (hash ^ (hash >> 15)).wrapping_mul(0x735a_2d97);
        hash ^= hash >> 15;
        if hash < self.threshold { 0.0 } else { self.kept }
    }
}

/// Steele et al. 2014, "Fast splittable pseudorandom number generators".
pub(super) fn split_mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Two numbers to hash with, from a key of 64 bits.
pub(super) fn halves(key: u64) -> [u32; 2] {
    [key as u32, (key >> 32) as u32]
}

/// Dropout of the numbers of a matrix, a function of the seed, the row and the
/// column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RowDropout {
    /// Probability to drop a number, in `[0, 1)`.
    pub share: f32,
    /// Seed of what is dropped.
    pub seed: u64,
}

impl RowDropout {
    /// Multiply rows of `width`, of which the first is row `first`, by 0 or
    /// `1 / (1 - share)`.
    pub fn apply(self, first: usize, width: usize, rows: &mut [f32]) {
        if self.share > 0.0 {
            drop_rows(self, first, width, rows);
        }
    }

    /// The factors of `rows` rows of `width`; `None` where nothing is dropped.
    pub fn mask(self, rows: usize, width: usize) -> Option<Vec<f32>> {
        let mut mask = vec![1.0; if self.share > 0.0 { rows * width } else { 0 }];
        self.apply(0, width, &mut mask);
        (self.share > 0.0).then_some(mask)
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn drop_rows(dropout: RowDropout, first: usize, width: usize, rows: &mut [f32]) {
    let hashed = Hashed::new(dropout.share);
    for (row, numbers) in rows.chunks_exact_mut(width.max(1)).enumerate() {
        let keys = halves(split_mix(dropout.seed ^ split_mix((first + row) as u64)));
        for (column, number) in numbers.iter_mut().enumerate() {
            *number *= hashed.factor(keys, column as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_dropped_alike_one_by_one_and_together_and_the_mean_stays() {
        let dropout = RowDropout { share: 0.3, seed: 7 };
        let (rows, width) = (500, 40);
        let mask = dropout.mask(rows, width).unwrap();
        for (row, factors) in mask.chunks(width).enumerate().step_by(97) {
            let mut alone = vec![1.0; width];
            dropout.apply(row, width, &mut alone);
            assert_eq!(alone, factors);
        }
        assert!(mask.iter().all(|factor| *factor == 0.0 || (factor - 1.0 / 0.7).abs() < 1e-6));
        // Standard deviation of one factor: sqrt(0.3 / 0.7) = 0.65.
        let n = (rows * width) as f32;
        assert!((mask.iter().sum::<f32>() / n - 1.0).abs() < 5.0 * 0.65 / n.sqrt());
        assert_ne!(RowDropout { seed: 8, ..dropout }.mask(rows, width).unwrap(), mask);
        assert_ne!(mask[..width], mask[width..2 * width]);
    }

    #[test]
    fn without_a_share_nothing_is_touched() {
        let mut rows = [1.0, f32::NAN, -3.0];
        RowDropout::default().apply(0, 3, &mut rows);
        assert!(rows[0] == 1.0 && rows[1].is_nan() && rows[2] == -3.0);
        assert!(RowDropout::default().mask(1, 3).is_none());
    }
}
