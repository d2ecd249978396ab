//! Instructions of x86 processors.

#![expect(unsafe_code, reason = "intrinsics; a value of the type proves that they exist")]

use std::arch::x86_64::*;

use super::{Kernel, LANES, Lanes, Simd, fold_lanes};

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
    fn repeat<const N: usize>(self, values: &[f32; N]) -> __m512 {
        let from = values.as_ptr();
        unsafe {
            match N {
                1 => _mm512_set1_ps(values[0]),
                4 => _mm512_broadcast_f32x4(_mm_loadu_ps(from)),
                8 => _mm512_castpd_ps(_mm512_broadcast_f64x4(_mm256_loadu_pd(from.cast()))),
                LANES => _mm512_loadu_ps(from),
                _ => self.load(&std::array::from_fn(|lane| values[lane % N])),
            }
        }
    }

    #[inline(always)]
    fn fold_rows<const N: usize>(self, rows: [__m512; N]) -> __m512 {
        /// Quarters `[a0, a1, b0, b1] + [a2, a3, b2, b3]`.
        #[inline(always)]
        fn halves(a: __m512, b: __m512) -> __m512 {
            unsafe {
                let low = _mm512_shuffle_f32x4::<0x44>(a, b);
                _mm512_add_ps(low, _mm512_shuffle_f32x4::<0xee>(a, b))
            }
        }
        match N {
            1 => rows[0],
            2 => halves(rows[0], rows[1]),
            4 => {
                let (a, b) = (halves(rows[0], rows[1]), halves(rows[2], rows[3]));
                // Quarters `[a0, a2, b0, b2] + [a1, a3, b1, b3]`.
                unsafe {
                    let even = _mm512_shuffle_f32x4::<0x88>(a, b);
                    _mm512_add_ps(even, _mm512_shuffle_f32x4::<0xdd>(a, b))
                }
            }
            _ => fold_lanes(self, rows),
        }
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
    fn fold_rows<const N: usize>(self, rows: [[__m256; 2]; N]) -> [__m256; 2] {
        let halves = |row: usize| unsafe { _mm256_add_ps(rows[row][0], rows[row][1]) };
        let pair = |a: __m256, b: __m256| unsafe {
            let low = _mm256_permute2f128_ps::<0x20>(a, b);
            _mm256_add_ps(low, _mm256_permute2f128_ps::<0x31>(a, b))
        };
        match N {
            1 => rows[0],
            2 => [halves(0), halves(1)],
            4 => [pair(halves(0), halves(1)), pair(halves(2), halves(3))],
            _ => fold_lanes(self, rows),
        }
    }

    #[inline(always)]
    fn scale(self, a: [__m256; 2], n: [__m256; 2]) -> [__m256; 2] {
        std::array::from_fn(|half| unsafe {
            let n = _mm256_add_epi32(_mm256_cvtps_epi32(n[half]), _mm256_set1_epi32(127));
            _mm256_mul_ps(a[half], _mm256_castsi256_ps(_mm256_slli_epi32::<23>(n)))
        })
    }
}
