//! Sixteen numbers at a time, on whatever the processor has.
//!
//! Compilers do not keep a tile of sums in registers by themselves: written
//! with plain arrays, the products of this module ran at a twentieth of this
//! speed. A [`Simd`] value is the proof that its instructions exist, so the
//! operations themselves are safe.

use std::ops::{Deref, DerefMut};

#[cfg(target_arch = "x86_64")]
mod x86;

/// Numbers in one [`Simd::Wide`].
pub const LANES: usize = 16;

/// What a [`Simd::Wide`] holds.
pub type Lanes = [f32; LANES];

/// Numbers that begin on a cache line. Elsewhere every register read takes two
/// lines, and reading is most of what attention does.
#[derive(Default)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line(Lanes);

impl Buffer {
    /// Hold `len` numbers: new ones are 0, others stay.
    pub fn resize(&mut self, len: usize) {
        self.lines.resize(len.div_ceil(LANES), Line([0.0; LANES]));
        self.len = len;
    }

    /// The numbers as whole [`Lanes`], the last one padded.
    pub fn lanes(&self) -> &[Lanes] {
        bytemuck::cast_slice(&self.lines)
    }

    /// The same, to be written.
    pub fn lanes_mut(&mut self) -> &mut [Lanes] {
        bytemuck::cast_slice_mut(&mut self.lines)
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.lanes().as_flattened()[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        let len = self.len;
        &mut self.lanes_mut().as_flattened_mut()[..len]
    }
}

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

    /// Sums of every `n`-th lane of each of `N` registers, `n N` = [`LANES`],
    /// one after another.
    #[inline(always)]
    fn fold_rows<const N: usize>(self, rows: [Self::Wide; N]) -> Self::Wide {
        fold_lanes(self, rows)
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

/// [`Simd::fold_rows`] lane by lane.
#[inline(always)]
fn fold_lanes<S: Simd, const N: usize>(simd: S, rows: [S::Wide; N]) -> S::Wide {
    let (mut lanes, mut sums) = ([0.0; LANES], [0.0; LANES]);
    for (row, sums) in rows.into_iter().zip(sums.chunks_exact_mut(LANES / N)) {
        simd.store(row, &mut lanes);
        for part in lanes.chunks_exact(LANES / N) {
            for (sum, lane) in sums.iter_mut().zip(part) {
                *sum += lane;
            }
        }
    }
    simd.load(&sums)
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
    struct Folds<'a, const N: usize>(&'a [Lanes; N]);

    impl<const N: usize> Kernel for Folds<'_, N> {
        type Output = [Lanes; 2];

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Self::Output {
            let sums = simd.fold_rows(self.0.map(|row| simd.load(&row)));
            let (first, _) = self.0[0].as_chunks::<N>();
            let mut lanes = [[0.0; LANES]; 2];
            simd.store(sums, &mut lanes[0]);
            simd.store(simd.repeat(&first[0]), &mut lanes[1]);
            lanes
        }
    }

    fn folds<const N: usize>() {
        // Powers of two: every sum is exact and tells which lanes are in it.
        let rows: [Lanes; N] = std::array::from_fn(|row| {
            std::array::from_fn(|lane| (row + 1) as f32 * (1 << lane) as f32)
        });
        let period = LANES / N;
        for [sums, repeated] in everywhere(&Folds(&rows)) {
            for lane in 0..LANES {
                let (row, first) = (lane / period, lane % period);
                let expected: f32 = rows[row].iter().skip(first).step_by(period).sum();
                assert_eq!(sums[lane], expected, "lane {lane} of {N} rows");
                assert_eq!(repeated[lane], rows[0][lane % N], "lane {lane} of {N} repeated");
            }
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
    fn buffers_begin_on_cache_lines_and_keep_their_numbers() {
        let mut buffer = Buffer::default();
        for len in [3, 40, 1000] {
            let before = buffer.to_vec();
            buffer.resize(len);
            assert_eq!(buffer.as_ptr().align_offset(64), 0);
            assert_eq!((buffer.len(), buffer.lanes().len()), (len, len.div_ceil(LANES)));
            assert_eq!(buffer[..before.len()], before);
            buffer.fill(len as f32);
        }
    }

    #[test]
    fn every_instruction_set_sums_every_nth_lane_and_repeats_n_numbers() {
        folds::<1>();
        folds::<2>();
        folds::<4>();
        folds::<8>();
        folds::<16>();
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
