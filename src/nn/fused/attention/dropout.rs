//! Dropout with a hash instead of a stream of random numbers, so that the
//! backward pass repeats it and vector code computes it.

/// Which attention weights are dropped, and what keeps the mean of the others.
#[derive(Clone, Copy)]
pub(super) struct Dropout {
    /// Hashes below it are dropped.
    threshold: u32,
    kept: f32,
}

impl Dropout {
    pub(super) fn new(probability: f32) -> Self {
        let threshold = (f64::from(probability) * 4_294_967_296.0) as u32;
        Dropout { threshold, kept: 1.0 / (1.0 - probability) }
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
