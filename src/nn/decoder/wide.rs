//! Sixteen numbers at a time, on whatever the processor has.
//!
//! Compilers do not keep a tile of sums in registers by themselves: written
//! with plain arrays, the products of this module ran at a twentieth of this
//! speed. A [`Simd`] value is the proof that its instructions exist, so the
//! operations themselves are safe.

/// Numbers in one [`Simd::Wide`].
pub const LANES: usize = 16;

/// What a [`Simd::Wide`] holds.
pub type Lanes = [f32; LANES];

/// An instruction set, present on this machine.
pub trait Simd: Copy {
    /// Registers that hold [`LANES`] numbers.
    type Wide: Copy;
    /// Rows of a tile of two [`Simd::Wide`] whose sums fit in the registers.
    const ROWS: usize;
    /// Read.
    fn load(self, from: &Lanes) -> Self::Wide;
    /// Write.
    fn store(self, from: Self::Wide, to: &mut Lanes);
    /// One number in every lane.
    fn splat(self, value: f32) -> Self::Wide;
    /// `a b + c`.
    fn fma(self, a: Self::Wide, b: Self::Wide, c: Self::Wide) -> Self::Wide;
    /// `a + b`.
    fn add(self, a: Self::Wide, b: Self::Wide) -> Self::Wide;
    /// The greater of each two lanes.
    fn max(self, a: Self::Wide, b: Self::Wide) -> Self::Wide;
    /// `a 2^n` for whole `n` of `-126..=127`.
    fn scale(self, a: Self::Wide, n: Self::Wide) -> Self::Wide;

    /// `values` over and over; their number divides [`LANES`].
    #[inline(always)]
    fn repeat<const N: usize>(self, values: &[f32; N]) -> Self::Wide {
        self.load(&std::array::from_fn(|lane| values[lane % N]))
    }

    /// Sums of every `N`-th lane; the inverse of [`Simd::repeat`], in a way.
    #[inline(always)]
    fn fold<const N: usize>(self, a: Self::Wide) -> [f32; N] {
        let mut lanes = [0.0; LANES];
        self.store(a, &mut lanes);
        let mut half = LANES / 2;
        while half >= N {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
            half /= 2;
        }
        std::array::from_fn(|lane| lanes[lane])
    }

    /// `e^a` for `a <= 0` to about 2 ulp, from `e^a = 2^n e^r` with `n =
    /// round(a / ln 2)` found by adding `1.5 * 2^23`.
    #[inline(always)]
    fn exp(self, a: Self::Wide) -> Self::Wide {
        const ROUND: f32 = 12_582_912.0;
        let a = self.max(a, self.splat(-80.0));
        let n = self.fma(a, self.splat(std::f32::consts::LOG2_E), self.splat(ROUND));
        let n = self.add(n, self.splat(-ROUND));
        let r = self.fma(n, self.splat(-0.693_359_4), a);
        let r = self.fma(n, self.splat(2.121_944_4e-4), r);
        let mut p = self.splat(1.987_569_1e-4);
        for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5, 1.0, 1.0] {
            p = self.fma(p, r, self.splat(c));
        }
        self.scale(p, n)
    }
}

/// Work to do with the best instructions there are.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// Do it. Implementations are `#[inline(always)]`: only then are they
    /// compiled for the instructions of `simd`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Run `kernel` with the best instructions of this machine.
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions, as just checked.
            #[expect(unsafe_code, reason = "instructions the target may lack; checked above")]
            return unsafe { x86::with_avx512(kernel) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the instructions, as just checked.
            #[expect(unsafe_code, reason = "instructions the target may lack; checked above")]
            return unsafe { x86::with_avx2(kernel) };
        }
    }
    kernel.run(Plain)
}

/// Whatever the compiler makes of arrays.
#[derive(Clone, Copy)]
pub struct Plain;

impl Simd for Plain {
    type Wide = Lanes;
    const ROWS: usize = 1;

    #[inline(always)]
    fn load(self, from: &Lanes) -> Lanes {
        *from
    }

    #[inline(always)]
    fn store(self, from: Lanes, to: &mut Lanes) {
        *to = from;
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Lanes {
        [value; LANES]
    }

    #[inline(always)]
    fn fma(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        // Where the fused instruction is absent, `mul_add` is a slow call.
        std::array::from_fn(|lane| a[lane] * b[lane] + c[lane])
    }

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        std::array::from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    fn scale(self, a: Lanes, n: Lanes) -> Lanes {
        std::array::from_fn(|lane| a[lane] * f32::from_bits(((n[lane] as i32 + 127) << 23) as u32))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![expect(unsafe_code, reason = "intrinsics; a value of the type proves that they exist")]

    use std::arch::x86_64::*;

    use super::{Kernel, LANES, Lanes, Simd};

    /// AVX-512; made by [`with_avx512`] only.
    #[derive(Clone, Copy)]
    pub struct Avx512(());

    /// AVX2 and FMA; made by [`with_avx2`] only.
    #[derive(Clone, Copy)]
    pub struct Avx2(());

    #[target_feature(enable = "avx512f")]
    pub fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx512(()))
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx2(()))
    }

    // SAFETY, for all blocks below: the value exists only where its
    // instructions do, and references to `LANES` numbers cover every access.
    impl Simd for Avx512 {
        type Wide = __m512;
        const ROWS: usize = 8;

        #[inline(always)]
        fn load(self, from: &Lanes) -> __m512 {
            unsafe { _mm512_loadu_ps(from.as_ptr()) }
        }

        #[inline(always)]
        fn store(self, from: __m512, to: &mut Lanes) {
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), from) }
        }

        #[inline(always)]
        fn splat(self, value: f32) -> __m512 {
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn add(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }

        #[inline(always)]
        fn max(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }

        #[inline(always)]
        fn scale(self, a: __m512, n: __m512) -> __m512 {
            unsafe { _mm512_scalef_ps(a, n) }
        }

        #[inline(always)]
        fn fold<const N: usize>(self, a: __m512) -> [f32; N] {
            let mut lanes = [0.0; LANES];
            unsafe {
                let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a)));
                let half = _mm256_add_ps(_mm512_castps512_ps256(a), high);
                let quarter =
                    _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
                match N {
                    4 => _mm_storeu_ps(lanes.as_mut_ptr(), quarter),
                    8 => _mm256_storeu_ps(lanes.as_mut_ptr(), half),
                    16 => _mm512_storeu_ps(lanes.as_mut_ptr(), a),
                    _ => {
                        let pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
                        let single = _mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair));
                        _mm_storeu_ps(lanes.as_mut_ptr(), if N == 2 { pair } else { single });
                    }
                }
            }
            std::array::from_fn(|lane| lanes[lane])
        }
    }

    impl Simd for Avx2 {
        type Wide = [__m256; 2];
        const ROWS: usize = 2;

        #[inline(always)]
        fn load(self, from: &Lanes) -> [__m256; 2] {
            let from = from.as_ptr();
            unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(LANES / 2))] }
        }

        #[inline(always)]
        fn store(self, from: [__m256; 2], to: &mut Lanes) {
            let to = to.as_mut_ptr();
            unsafe {
                _mm256_storeu_ps(to, from[0]);
                _mm256_storeu_ps(to.add(LANES / 2), from[1]);
            }
        }

        #[inline(always)]
        fn splat(self, value: f32) -> [__m256; 2] {
            unsafe { [_mm256_set1_ps(value); 2] }
        }

        #[inline(always)]
        fn fma(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
        }

        #[inline(always)]
        fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
        }

        #[inline(always)]
        fn max(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
        }

        #[inline(always)]
        fn scale(self, a: [__m256; 2], n: [__m256; 2]) -> [__m256; 2] {
            std::array::from_fn(|half| unsafe {
                let n = _mm256_add_epi32(_mm256_cvtps_epi32(n[half]), _mm256_set1_epi32(127));
                _mm256_mul_ps(a[half], _mm256_castsi256_ps(_mm256_slli_epi32::<23>(n)))
            })
        }
    }
}

/// Run `kernel` with each instruction set of this machine.
#[cfg(test)]
pub fn everywhere<K: Kernel + Clone>(kernel: &K) -> Vec<K::Output> {
    let mut outputs = vec![kernel.clone().run(Plain)];
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "instructions the target may lack; checked here")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the instructions, as just checked.
            outputs.push(unsafe { x86::with_avx2(kernel.clone()) });
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions, as just checked.
            outputs.push(unsafe { x86::with_avx512(kernel.clone()) });
        }
    }
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Folds(Lanes);

    impl Kernel for Folds {
        type Output = [Vec<f32>; 5];

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Self::Output {
            let a = simd.load(&self.0);
            [
                simd.fold::<1>(a).to_vec(),
                simd.fold::<2>(a).to_vec(),
                simd.fold::<4>(a).to_vec(),
                simd.fold::<8>(a).to_vec(),
                simd.fold::<16>(a).to_vec(),
            ]
        }
    }

    #[derive(Clone)]
    struct Exp(Lanes);

    impl Kernel for Exp {
        type Output = Lanes;

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Lanes {
            let mut out = [0.0; LANES];
            simd.store(simd.exp(simd.load(&self.0)), &mut out);
            out
        }
    }

    #[test]
    fn every_instruction_set_sums_every_nth_lane() {
        // Powers of two: every sum is exact and tells which lanes are in it.
        let lanes = std::array::from_fn(|lane| (1 << lane) as f32);
        for sums in everywhere(&Folds(lanes)) {
            for (sums, n) in sums.iter().zip([1, 2, 4, 8, 16]) {
                for (first, sum) in sums.iter().enumerate() {
                    let expected: f32 = lanes.iter().skip(first).step_by(n).sum();
                    assert_eq!(*sum, expected, "lane {first} of {n}");
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_takes_exponentials_to_single_precision() {
        let mut x = -60.0;
        while x < 0.0 {
            let lanes: Lanes = std::array::from_fn(|lane| x + lane as f32 * 1e-3);
            let lanes = lanes.map(|x: f32| x.min(0.0));
            for powers in everywhere(&Exp(lanes)) {
                for (x, power) in lanes.iter().zip(powers) {
                    let relative = f64::from(power) / f64::from(*x).exp() - 1.0;
                    assert!(relative.abs() < 4e-7, "exp({x}) is off by {relative}");
                }
            }
            x += 0.00917;
        }
        for powers in everywhere(&Exp([f32::NEG_INFINITY; LANES])) {
            assert!(powers.iter().all(|power| *power < 1e-30));
        }
    }
}
