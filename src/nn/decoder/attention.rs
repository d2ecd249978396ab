//! Attention of one token to keys and values that lie anywhere in a store.
//!
//! The channels of all heads are interleaved, `channel = coordinate * heads +
//! head`: products of query and key then add up lane by lane, and the heads'
//! scores are what remains, without a sum across each head.

use super::wide::{Kernel, LANES, Lanes, Simd, dispatch};

/// How heads share the lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLayout {
    /// Heads of the network.
    pub heads: usize,
    /// Coordinates of one head in the network.
    pub size: usize,
    /// Heads per repetition: a power of two that divides [`LANES`].
    pub period: usize,
    /// [`Lanes`] of a query, a key or a value, padded with zeros.
    pub lanes: usize,
}

impl HeadLayout {
    /// The layout for `heads` heads that share `width` channels evenly.
    ///
    /// # Panics
    /// For no or more than [`LANES`] heads, or a width they do not divide.
    pub fn new(heads: usize, width: usize) -> Self {
        assert!(
            (1..=LANES).contains(&heads) && width.is_multiple_of(heads),
            "{heads} attention heads cannot share {width} channels"
        );
        let (size, period) = (width / heads, heads.next_power_of_two());
        Self { heads, size, period, lanes: (size * period).div_ceil(LANES) }
    }

    /// Padded channels.
    pub fn channels(&self) -> usize {
        self.lanes * LANES
    }

    /// The network's channel at padded `channel`, if there is one.
    pub fn source(&self, channel: usize) -> Option<usize> {
        let (coordinate, head) = (channel / self.period, channel % self.period);
        (coordinate < self.size && head < self.heads).then(|| head * self.size + coordinate)
    }
}

/// Keys and values, `[slots, key lanes then value lanes]`, and those attended.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The store.
    pub store: &'a [Lanes],
    /// Slots in it.
    pub slots: &'a [u32],
}

/// Working memory.
#[derive(Default)]
pub struct Weights {
    /// `[slots, heads]`, not normalized.
    scores: Vec<Lanes>,
    /// What normalizes them, by head.
    scale: Lanes,
}

impl Weights {
    /// After [`attend`]: the weight of the `index`-th slot for `head`.
    pub fn get(&self, layout: &HeadLayout, index: usize, head: usize) -> f32 {
        self.scores.as_flattened()[index * layout.period + head] * self.scale[head]
    }
}

/// `out = sum_t softmax(query . key_t) value_t` for every head, over the
/// slots of both runs, at least one.
pub fn attend(
    layout: &HeadLayout,
    query: &[Lanes],
    runs: [Run; 2],
    weights: &mut Weights,
    out: &mut [Lanes],
) {
    dispatch(Attend { layout, query, runs, weights, out });
}

struct Attend<'a> {
    layout: &'a HeadLayout,
    query: &'a [Lanes],
    runs: [Run<'a>; 2],
    weights: &'a mut Weights,
    out: &'a mut [Lanes],
}

impl Kernel for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.layout.period {
            1 => self.heads::<S, 1>(simd),
            2 => self.heads::<S, 2>(simd),
            4 => self.heads::<S, 4>(simd),
            8 => self.heads::<S, 8>(simd),
            _ => self.heads::<S, LANES>(simd),
        }
    }
}

impl Attend<'_> {
    #[inline(always)]
    fn heads<S: Simd, const HEADS: usize>(self, simd: S) {
        let Self { layout, query, runs, weights: Weights { scores, scale }, out } = self;
        let lanes = layout.lanes;
        let attended = runs[0].slots.len() + runs[1].slots.len();
        // Pairs of registers; what pads the last one must not count.
        scores.resize((attended * HEADS).div_ceil(2 * LANES) * 2, [0.0; LANES]);
        scores.iter_mut().rev().take(2).for_each(|last| *last = [f32::NEG_INFINITY; LANES]);
        let (rows, _) = scores.as_flattened_mut().as_chunks_mut::<HEADS>();
        let (first, second) = rows[..attended].split_at_mut(runs[0].slots.len());
        for (run, scores) in runs.iter().zip([first, second]) {
            let mut at = 0;
            while at < lanes {
                let block = block::<S>(lanes - at);
                match block {
                    8 => products::<S, 8, HEADS>(simd, query, run, [lanes, at], scores),
                    4 => products::<S, 4, HEADS>(simd, query, run, [lanes, at], scores),
                    _ => products::<S, 1, HEADS>(simd, query, run, [lanes, at], scores),
                }
                at += block;
            }
        }
        *scale = softmax::<S, HEADS>(simd, scores);
        let (rows, _) = scores.as_flattened().as_chunks::<HEADS>();
        let (first, second) = rows[..attended].split_at(runs[0].slots.len());
        let runs = [(&runs[0], first), (&runs[1], second)];
        let mut at = 0;
        while at < lanes {
            let block = block::<S>(lanes - at);
            let (out, place) = (&mut out[at..at + block], [2 * lanes, lanes + at]);
            match block {
                8 => mixture::<S, 8, HEADS>(simd, runs, place, scale, out),
                4 => mixture::<S, 4, HEADS>(simd, runs, place, scale, out),
                _ => mixture::<S, 1, HEADS>(simd, runs, place, scale, out),
            }
            at += block;
        }
    }
}

/// Lanes to take at once of `left`: as many as registers can hold.
#[inline(always)]
fn block<S: Simd>(left: usize) -> usize {
    match left {
        8.. if S::ROWS >= 8 => 8,
        4.. => 4,
        _ => 1,
    }
}

/// Scores of the slots from `BLOCK` lanes, from lane `at` on; the first block
/// replaces what is there, the others add to it.
#[inline(always)]
fn products<S: Simd, const BLOCK: usize, const HEADS: usize>(
    simd: S,
    query: &[Lanes],
    run: &Run,
    [lanes, at]: [usize; 2],
    scores: &mut [[f32; HEADS]],
) {
    let query: [S::Wide; BLOCK] = std::array::from_fn(|lane| simd.load(&query[at + lane]));
    for (slot, score) in run.slots.iter().zip(scores) {
        let start = *slot as usize * 2 * lanes + at;
        let key = &run.store[start..start + BLOCK];
        let mut sum = simd.splat(0.0);
        for lane in 0..BLOCK {
            sum = simd.fma(query[lane], simd.load(&key[lane]), sum);
        }
        let sum = simd.fold::<HEADS>(sum);
        if at == 0 {
            *score = sum;
        } else {
            for head in 0..HEADS {
                score[head] += sum[head];
            }
        }
    }
}

/// `e^(score - max)` in place; returns what normalizes each head's.
#[inline(always)]
fn softmax<S: Simd, const HEADS: usize>(simd: S, scores: &mut [Lanes]) -> Lanes {
    let (pairs, _) = scores.as_chunks_mut::<2>();
    let mut high = [simd.splat(f32::NEG_INFINITY); 2];
    for pair in pairs.iter() {
        high = [simd.max(high[0], simd.load(&pair[0])), simd.max(high[1], simd.load(&pair[1]))];
    }
    let mut lanes = [0.0; LANES];
    simd.store(simd.max(high[0], high[1]), &mut lanes);
    let mut half = LANES / 2;
    while half >= HEADS {
        for lane in 0..half {
            lanes[lane] = lanes[lane].max(lanes[lane + half]);
        }
        half /= 2;
    }
    let minus_high: Lanes = std::array::from_fn(|lane| -lanes[lane % HEADS]);
    let minus_high = simd.load(&minus_high);

    let mut total = [simd.splat(0.0); 2];
    for pair in pairs {
        for half in 0..2 {
            let weight = simd.exp(simd.add(simd.load(&pair[half]), minus_high));
            simd.store(weight, &mut pair[half]);
            total[half] = simd.add(total[half], weight);
        }
    }
    let total: [f32; HEADS] = simd.fold(simd.add(total[0], total[1]));
    std::array::from_fn(|lane| 1.0 / total[lane % HEADS])
}

/// The weighted sum, times `scale`, of `BLOCK` lanes of the values, from lane
/// `at` of a slot.
#[inline(always)]
fn mixture<S: Simd, const BLOCK: usize, const HEADS: usize>(
    simd: S,
    runs: [(&Run, &[[f32; HEADS]]); 2],
    [pitch, at]: [usize; 2],
    scale: &Lanes,
    out: &mut [Lanes],
) {
    let mut sums = [simd.splat(0.0); BLOCK];
    for (run, weights) in runs {
        for (slot, weight) in run.slots.iter().zip(weights) {
            let weight = simd.repeat(weight);
            let start = *slot as usize * pitch + at;
            let value = &run.store[start..start + BLOCK];
            for lane in 0..BLOCK {
                sums[lane] = simd.fma(weight, simd.load(&value[lane]), sums[lane]);
            }
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        simd.store(simd.fma(sum, simd.load(scale), simd.splat(0.0)), out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::wide::everywhere;
    use super::*;
    use crate::rng::Rng;

    #[derive(Clone)]
    struct Attended<'a>(&'a HeadLayout, &'a [Lanes], [Run<'a>; 2]);

    impl Kernel for Attended<'_> {
        type Output = Vec<Lanes>;

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Vec<Lanes> {
            let Self(layout, query, runs) = self;
            let (mut weights, mut out) = (Weights::default(), vec![[0.0; LANES]; layout.lanes]);
            Attend { layout, query, runs, weights: &mut weights, out: &mut out }.run(simd);
            out
        }
    }

    #[test]
    fn every_instruction_set_attends_alike() {
        let mut rng = Rng::stream(1, "attention");
        for (heads, width) in [(1, 16), (2, 48), (4, 64), (4, 144), (7, 84), (8, 128), (16, 96)] {
            let layout = HeadLayout::new(heads, width);
            let mut lanes = |n: usize| -> Vec<Lanes> {
                (0..n * layout.lanes).map(|_| std::array::from_fn(|_| 0.4 * rng.normal())).collect()
            };
            let (query, old, own) = (lanes(1), lanes(2 * 9), lanes(2 * 3));
            for (n_old, n_own) in [(0, 1), (1, 0), (9, 3), (5, 1)] {
                let slots: Vec<u32> = (0..9).rev().collect();
                let runs = [
                    Run { store: &old, slots: &slots[..n_old] },
                    Run { store: &own, slots: &slots[6..6 + n_own] },
                ];
                let outputs = everywhere(&Attended(&layout, &query, runs));
                for output in &outputs[1..] {
                    for (a, b) in outputs[0].as_flattened().iter().zip(output.as_flattened()) {
                        assert!((a - b).abs() < 1e-5, "{heads} heads: {a} and {b}");
                    }
                }
            }
        }
    }
}
