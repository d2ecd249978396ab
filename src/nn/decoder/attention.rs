//! Attention of a few tokens to keys and values that lie anywhere in a store.
//!
//! The channels of all heads are interleaved, `channel = coordinate * heads +
//! head`: products of query and key then add up lane by lane, and the heads'
//! scores are what remains, without a sum across each head. As many tokens as
//! it takes for their scores to fill a register go together: then nothing
//! happens to part of one, and beams that grew apart lately find their common
//! past in the nearest cache.

use super::wide::{Buffer, Kernel, LANES, Lanes, Simd, dispatch};

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

/// The slots one row attends to, at least one: those read earlier, of which
/// rows that go together have equally many, and those of its own block.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Read earlier.
    pub old: &'a [u32],
    /// Written by the block itself.
    pub own: &'a [u32],
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

    /// Rows whose scores fill a register.
    pub fn rows(&self) -> usize {
        LANES / self.period
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

/// Keys and values, `[slots, key lanes then value lanes]`.
#[derive(Clone, Copy)]
pub struct Stores<'a> {
    /// Read earlier.
    pub old: &'a [Lanes],
    /// Of the block itself.
    pub own: &'a [Lanes],
}

/// Working memory.
#[derive(Default)]
pub struct Weights {
    /// `[slots, rows, heads]`, not normalized.
    scores: Buffer,
    /// What normalizes them, `[rows, heads]`.
    scale: Lanes,
}

impl Weights {
    /// After [`attend`]: the weight of the `index`-th slot for `head` of the
    /// `row`-th row.
    pub fn get(&self, layout: &HeadLayout, index: usize, [row, head]: [usize; 2]) -> f32 {
        let lane = row * layout.period + head;
        self.scores.lanes()[index][lane] * self.scale[lane]
    }
}

/// `out = sum_t softmax(query . key_t) value_t` for every head of every row:
/// at least one row and at most [`HeadLayout::rows`], one view each.
pub fn attend(
    layout: &HeadLayout,
    query: &[Lanes],
    views: &[View],
    stores: Stores,
    weights: &mut Weights,
    out: &mut [Lanes],
) {
    dispatch(Attend { layout, query, views, stores, weights, out });
}

struct Attend<'a> {
    layout: &'a HeadLayout,
    query: &'a [Lanes],
    views: &'a [View<'a>],
    stores: Stores<'a>,
    weights: &'a mut Weights,
    out: &'a mut [Lanes],
}

impl Kernel for Attend<'_> {
    type Output = ();

    /// Blocks of lanes are as wide as the registers hold for all rows.
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let is_roomy = S::ROWS >= 8;
        match self.layout.period {
            1 => self.group::<S, 1, 16, 1>(simd),
            2 if is_roomy => self.group::<S, 2, 8, 2>(simd),
            2 => self.group::<S, 2, 8, 1>(simd),
            4 if is_roomy => self.group::<S, 4, 4, 4>(simd),
            4 => self.group::<S, 4, 4, 1>(simd),
            8 if is_roomy => self.group::<S, 8, 2, 8>(simd),
            8 => self.group::<S, 8, 2, 2>(simd),
            _ if is_roomy => self.group::<S, LANES, 1, 8>(simd),
            _ => self.group::<S, LANES, 1, 4>(simd),
        }
    }
}

impl Attend<'_> {
    #[inline(always)]
    fn group<S: Simd, const HEADS: usize, const ROWS: usize, const BLOCK: usize>(self, simd: S) {
        let Self { layout, query, views, stores, weights: Weights { scores, scale }, out } = self;
        let lanes = layout.lanes;
        // Where rows are missing, the last one stands in.
        let last = views.len() - 1;
        let views: [View; ROWS] = std::array::from_fn(|row| views[row.min(last)]);
        let queries: [&[Lanes]; ROWS] =
            std::array::from_fn(|row| &query[row.min(last) * lanes..][..lanes]);
        let n_old = views[0].old.len();
        let n_own = views.iter().map(|view| view.own.len()).max().unwrap_or(0);
        scores.resize((n_old + n_own) * LANES);
        let scores = scores.lanes_mut();
        let old = Run { store: stores.old, slots: views.map(|view| &view.old[..n_old]), n: n_old };
        let own = Run { store: stores.own, slots: views.map(|view| view.own), n: n_own };
        let mut at = 0;
        while at < lanes {
            let place = [2 * lanes, at];
            let (first, second) = scores.split_at_mut(n_old);
            at += if at + BLOCK <= lanes {
                products::<S, ROWS, BLOCK>(simd, &queries, &old, place, first);
                products::<S, ROWS, BLOCK>(simd, &queries, &own, place, second)
            } else {
                products::<S, ROWS, 1>(simd, &queries, &old, place, first);
                products::<S, ROWS, 1>(simd, &queries, &own, place, second)
            };
        }
        // Rows that see less than the longest of their group.
        for (row, view) in views.iter().enumerate() {
            for scores in &mut scores[n_old + view.own.len()..] {
                scores[row * HEADS..(row + 1) * HEADS].fill(f32::NEG_INFINITY);
            }
        }
        *scale = softmax(simd, scores);
        let rows = last + 1;
        let mut at = 0;
        while at < lanes {
            let place = [2 * lanes, lanes + at];
            let runs = [(&old, &scores[..n_old]), (&own, &scores[n_old..])];
            let out = Rows { out, rows, at, lanes };
            at += if at + BLOCK <= lanes {
                mixture::<S, HEADS, ROWS, BLOCK>(simd, runs, place, scale, out)
            } else {
                mixture::<S, HEADS, ROWS, 1>(simd, runs, place, scale, out)
            };
        }
    }
}

/// Slots of one store by row, the first `n` of which are visited; a row with
/// fewer visits one that it does not count.
struct Run<'a, const ROWS: usize> {
    store: &'a [Lanes],
    slots: [&'a [u32]; ROWS],
    n: usize,
}

impl<const ROWS: usize> Run<'_, ROWS> {
    #[inline(always)]
    fn slot(&self, row: usize, index: usize) -> usize {
        self.slots[row].get(index).map_or(0, |slot| *slot as usize)
    }
}

/// Scores of all slots and rows from `BLOCK` lanes, from lane `at` of a slot
/// of `pitch` on; the first block replaces what is there, the others add to it.
/// Returns `BLOCK`.
#[inline(always)]
fn products<S: Simd, const ROWS: usize, const BLOCK: usize>(
    simd: S,
    queries: &[&[Lanes]; ROWS],
    run: &Run<ROWS>,
    [pitch, at]: [usize; 2],
    scores: &mut [Lanes],
) -> usize {
    // Loops, because closures are not compiled for the instructions of `simd`.
    let mut query = [[simd.splat(0.0); BLOCK]; ROWS];
    for row in 0..ROWS {
        for lane in 0..BLOCK {
            query[row][lane] = simd.load(&queries[row][at + lane]);
        }
    }
    for (index, score) in scores.iter_mut().enumerate().take(run.n) {
        let mut sums = [simd.splat(0.0); ROWS];
        for row in 0..ROWS {
            let key = &run.store[run.slot(row, index) * pitch + at..][..BLOCK];
            for lane in 0..BLOCK {
                sums[row] = simd.fma(query[row][lane], simd.load(&key[lane]), sums[row]);
            }
        }
        let sum = simd.fold_rows(sums);
        let sum = if at == 0 { sum } else { simd.add(sum, simd.load(score)) };
        simd.store(sum, score);
    }
    BLOCK
}

/// `e^(score - max)` in place; returns what normalizes each lane's.
#[inline(always)]
fn softmax<S: Simd>(simd: S, scores: &mut [Lanes]) -> Lanes {
    let high = scores
        .iter()
        .fold(simd.splat(f32::NEG_INFINITY), |high, scores| simd.max(high, simd.load(scores)));
    let mut lanes = [0.0; LANES];
    simd.store(high, &mut lanes);
    let minus_high = simd.load(&lanes.map(|high| -high));
    let mut total = simd.splat(0.0);
    for scores in scores {
        let weight = simd.exp(simd.add(simd.load(scores), minus_high));
        simd.store(weight, scores);
        total = simd.add(total, weight);
    }
    simd.store(total, &mut lanes);
    lanes.map(|total| 1.0 / total)
}

/// Where a block of lanes from lane `at` on goes in every row.
struct Rows<'a> {
    out: &'a mut [Lanes],
    rows: usize,
    at: usize,
    lanes: usize,
}

/// The weighted sums, times `scale`, of `BLOCK` lanes of the values, from lane
/// `at` of a slot of `pitch`. Returns `BLOCK`.
#[inline(always)]
fn mixture<S: Simd, const HEADS: usize, const ROWS: usize, const BLOCK: usize>(
    simd: S,
    runs: [(&Run<ROWS>, &[Lanes]); 2],
    [pitch, at]: [usize; 2],
    scale: &Lanes,
    out: Rows,
) -> usize {
    let mut sums = [[simd.splat(0.0); BLOCK]; ROWS];
    for (run, weights) in runs {
        for (index, weights) in weights.iter().enumerate().take(run.n) {
            let (weights, _) = weights.as_chunks::<HEADS>();
            for row in 0..ROWS {
                let weight = simd.repeat(&weights[row]);
                let value = &run.store[run.slot(row, index) * pitch + at..][..BLOCK];
                for lane in 0..BLOCK {
                    sums[row][lane] = simd.fma(weight, simd.load(&value[lane]), sums[row][lane]);
                }
            }
        }
    }
    let (scale, _) = scale.as_chunks::<HEADS>();
    for (row, sums) in sums.into_iter().enumerate().take(out.rows) {
        let scale = simd.repeat(&scale[row]);
        let out = &mut out.out[row * out.lanes + out.at..][..BLOCK];
        for (out, sum) in out.iter_mut().zip(sums) {
            simd.store(simd.fma(sum, scale, simd.splat(0.0)), out);
        }
    }
    BLOCK
}

#[cfg(test)]
mod tests {
    use super::super::wide::everywhere;
    use super::*;
    use crate::rng::Rng;

    #[derive(Clone)]
    struct Attended<'a>(&'a HeadLayout, &'a [Lanes], &'a [View<'a>], Stores<'a>);

    impl Kernel for Attended<'_> {
        type Output = Vec<Lanes>;

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Vec<Lanes> {
            let Self(layout, query, views, stores) = self;
            let mut weights = Weights::default();
            let mut out = vec![[0.0; LANES]; views.len() * layout.lanes];
            Attend { layout, query, views, stores, weights: &mut weights, out: &mut out }.run(simd);
            out
        }
    }

    #[test]
    fn every_instruction_set_attends_alike_whatever_the_other_rows_see() {
        let mut rng = Rng::stream(1, "attention");
        for (heads, width) in [(1, 16), (2, 48), (4, 64), (4, 144), (7, 84), (8, 128), (16, 96)] {
            let layout = HeadLayout::new(heads, width);
            let mut lanes = |n: usize| -> Vec<Lanes> {
                (0..n * layout.lanes).map(|_| std::array::from_fn(|_| 0.4 * rng.normal())).collect()
            };
            let (query, old, own) = (lanes(layout.rows()), lanes(2 * 9), lanes(2 * 3));
            let stores = Stores { old: &old, own: &own };
            let slots: Vec<u32> = (0..9).rev().chain(0..9).collect();
            for (n_old, n_own) in [(0, 1), (1, 0), (9, 3), (5, 1)] {
                let views: Vec<View> = (0..layout.rows())
                    .map(|row| View {
                        old: &slots[row % 9..][..n_old],
                        own: &slots[6..6 + if row % 2 == 0 { n_own } else { n_own.min(1) }],
                    })
                    .collect();
                let outputs = everywhere(&Attended(&layout, &query, &views, stores));
                for (row, view) in views.iter().enumerate() {
                    let at = row * layout.lanes..(row + 1) * layout.lanes;
                    let view = std::slice::from_ref(view);
                    let alone = everywhere(&Attended(&layout, &query[at.clone()], view, stores));
                    for output in outputs.iter().map(|output| &output[at.clone()]) {
                        for (a, b) in alone[0].as_flattened().iter().zip(output.as_flattened()) {
                            assert!((a - b).abs() < 1e-5, "{heads} heads: {a} and {b}");
                        }
                    }
                }
            }
        }
    }
}
