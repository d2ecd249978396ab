//! Sums of outer products over the rows of many sequences: gradients of
//! weights.

use rayon::prelude::*;

use super::{LibraryProduct, PANEL};
use crate::nn::decoder::wide::{Kernel, LANES, Lanes, Simd, dispatch};

/// Rows of gradients a tile sums at once: with the inputs beside them they fit
/// into the first-level cache.
const CHUNK_ROWS: usize = 128;

/// `w[tap, channel, output] = sum over sequences and rows r of
/// x[first_row + a tap + r * stride, channel] g[b tap + r, output]` with a and b
/// the `tap_rows`.
///
/// `x` is in blocks of [`LANES`] channels (see [`pack_blocks`]), `g` in panels
/// (see [`pack_panels`]); every thread owns some channels of the result and
/// sums over all sequences in order, so the bits do not depend on threads.
#[derive(Clone, Copy, Debug)]
pub struct OuterSum {
    /// Sequences.
    pub batch: usize,
    /// Rows of a packed input sequence.
    pub input_rows: usize,
    /// Rows of a gradient sequence that a tap sums over.
    pub rows: usize,
    /// Input rows from one row to the next.
    pub stride: usize,
    /// The first tap's first input row.
    pub first_row: usize,
    /// Taps.
    pub taps: usize,
    /// Rows from one tap to the next, of inputs and of gradients.
    pub tap_rows: [usize; 2],
    /// Channels of the input.
    pub channels: usize,
    /// Channels of the gradient.
    pub outputs: usize,
}

/// Length of a sequence of `rows` packed by [`pack_blocks`].
pub fn packed_blocks(rows: usize, channels: usize) -> usize {
    rows * channels.next_multiple_of(LANES)
}

/// Length of a sequence of `rows` packed by [`pack_panels`].
pub fn packed_panels(rows: usize, channels: usize) -> usize {
    rows * channels.next_multiple_of(PANEL)
}

/// Write `x` `[rows, channels]` as blocks `[channels / LANES, rows + 2 lead,
/// LANES]`, with `lead` rows of zeros before and after.
pub fn pack_blocks(x: &[f32], channels: usize, lead: usize, blocks: &mut [f32]) {
    pack::<LANES>(x, channels, lead, blocks);
}

/// Write `x` `[rows, channels]` as panels `[channels / PANEL, rows, PANEL]`.
pub fn pack_panels(x: &[f32], channels: usize, panels: &mut [f32]) {
    pack::<PANEL>(x, channels, 0, panels);
}

fn pack<const N: usize>(x: &[f32], channels: usize, lead: usize, to: &mut [f32]) {
    let rows = x.len() / channels;
    for (index, block) in to.chunks_exact_mut((rows + 2 * lead) * N).enumerate() {
        let columns = index * N..channels.min((index + 1) * N);
        let block = block.as_chunks_mut::<N>().0;
        block[..lead].fill([0.0; N]);
        block[lead + rows..].fill([0.0; N]);
        for (to, row) in block[lead..].iter_mut().zip(x.chunks_exact(channels)) {
            let row = &row[columns.clone()];
            match <&[f32; N]>::try_from(row) {
                Ok(row) => *to = *row,
                Err(_) => to[..row.len()].copy_from_slice(row),
            }
        }
    }
}

impl OuterSum {
    /// The gradient of a linear layer's weight from sequences of `rows`.
    pub fn linear(batch: usize, rows: usize, [channels, outputs]: [usize; 2]) -> Self {
        Self {
            batch,
            input_rows: rows,
            rows,
            stride: 1,
            first_row: 0,
            taps: 1,
            tap_rows: [1, 0],
            channels,
            outputs,
        }
    }

    /// Rows of a packed gradient sequence.
    fn gradient_rows(&self) -> usize {
        self.rows + self.taps.saturating_sub(1) * self.tap_rows[1]
    }

    /// The sums, `[taps, channels, outputs]`.
    pub fn sum(&self, x: &[f32], g: &[f32]) -> Vec<f32> {
        let mut weight = vec![0.0; self.taps * self.channels * self.outputs];
        let n_blocks = self.channels.div_ceil(LANES);
        let mut owned: Vec<Vec<&mut [f32]>> =
            (0..n_blocks).map(|_| Vec::with_capacity(self.taps)).collect();
        for tap in weight.chunks_exact_mut(self.channels * self.outputs) {
            for (block, rows) in tap.chunks_mut(LANES * self.outputs).enumerate() {
                owned[block].push(rows);
            }
        }
        owned.into_par_iter().enumerate().for_each(|(block, mut taps)| {
            let mut sums = vec![[[0.0; LANES]; 2]; LANES * self.taps];
            for panel in 0..self.outputs.div_ceil(PANEL) {
                sums.fill([[0.0; LANES]; 2]);
                dispatch(Block { op: self, x, g, block, panel, sums: &mut sums });
                let columns = panel * PANEL..self.outputs.min((panel + 1) * PANEL);
                for (rows, sums) in taps.iter_mut().zip(sums.chunks_exact(LANES)) {
                    for (row, sums) in rows.chunks_exact_mut(self.outputs).zip(sums) {
                        let sums = &sums.as_flattened()[..columns.len()];
                        row[columns.clone()].copy_from_slice(sums);
                    }
                }
            }
        });
        weight
    }
}

/// All taps of [`LANES`] channels and one panel of outputs.
struct Block<'a> {
    op: &'a OuterSum,
    x: &'a [f32],
    g: &'a [f32],
    block: usize,
    panel: usize,
    /// `[taps, LANES, PANEL]`.
    sums: &'a mut [[Lanes; 2]],
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { op, x, g, block, panel, sums } = self;
        let g_rows = op.gradient_rows();
        let [x_length, g_length] =
            [packed_blocks(op.input_rows, op.channels), packed_panels(g_rows, op.outputs)];
        let (x, g) = (&x[..op.batch * x_length], &g[..op.batch * g_length]);
        let per_chunk = CHUNK_ROWS.div_ceil(op.rows);
        let chunks = x.chunks(per_chunk * x_length).zip(g.chunks(per_chunk * g_length));
        for (x, g) in chunks {
            let sequences = Sequences {
                simd,
                stride: op.stride,
                x: (
                    x,
                    x_length,
                    block * op.input_rows * LANES..(block + 1) * op.input_rows * LANES,
                ),
                g: (g, g_length, panel * g_rows * PANEL..(panel + 1) * g_rows * PANEL),
                rows: op.rows,
            };
            let [by_x, by_g] = op.tap_rows;
            for (tap, sums) in sums.chunks_exact_mut(LANES).enumerate() {
                let first = [op.first_row + tap * by_x, tap * by_g];
                match S::ROWS {
                    1 => sequences.by_library(first, sums),
                    8.. => sequences.add_to::<8>(first, sums),
                    _ => sequences.add_to::<2>(first, sums),
                }
            }
        }
    }
}

/// A few sequences: the numbers, the length of one, and the part of each that
/// counts.
struct Sequences<'a, S> {
    simd: S,
    stride: usize,
    x: (&'a [f32], usize, std::ops::Range<usize>),
    g: (&'a [f32], usize, std::ops::Range<usize>),
    /// Rows of gradients that are summed.
    rows: usize,
}

impl<S: Simd> Sequences<'_, S> {
    /// Of each, from its own first row on.
    fn pairs(&self, first: [usize; 2]) -> impl Iterator<Item = (&[Lanes], &[[Lanes; 2]])> {
        let [first_x, first_g] = first;
        let (x, x_length, block) = &self.x;
        let (g, g_length, panel) = &self.g;
        x.chunks_exact(*x_length).zip(g.chunks_exact(*g_length)).map(move |(x, g)| {
            let g = g[panel.clone()].as_chunks::<LANES>().0.as_chunks::<2>().0;
            let g = &g[first_g..first_g + self.rows];
            (&x[block.clone()].as_chunks::<LANES>().0[first_x..], g)
        })
    }

    /// Add to the sums of [`LANES`] channels, `ROWS` of them at a time.
    #[inline(always)]
    fn add_to<const ROWS: usize>(&self, first: [usize; 2], sums: &mut [[Lanes; 2]]) {
        let (simd, stride) = (self.simd, self.stride);
        for (part, sums) in sums.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
            let mut tile = [[simd.splat(0.0); 2]; ROWS];
            for (tile, sums) in tile.iter_mut().zip(sums.iter()) {
                *tile = [simd.load(&sums[0]), simd.load(&sums[1])];
            }
            for (x, g) in self.pairs(first) {
                // From the first number of this part on, one row after another.
                let mut x = &x.as_flattened()[part * ROWS..];
                for g in g {
                    let g = [simd.load(&g[0]), simd.load(&g[1])];
                    let Some(factors) = x.first_chunk::<ROWS>() else { break };
                    for row in 0..ROWS {
                        let factor = simd.splat(factors[row]);
                        tile[row][0] = simd.fma(factor, g[0], tile[row][0]);
                        tile[row][1] = simd.fma(factor, g[1], tile[row][1]);
                    }
                    x = x.get(stride * LANES..).unwrap_or_default();
                }
            }
            for (sums, tile) in sums.iter_mut().zip(tile) {
                simd.store(tile[0], &mut sums[0]);
                simd.store(tile[1], &mut sums[1]);
            }
        }
    }

    /// The same by another library's kernels.
    fn by_library(&self, first: [usize; 2], sums: &mut [[Lanes; 2]]) {
        for (x, g) in self.pairs(first) {
            let product = LibraryProduct {
                size: [LANES, PANEL, g.len()],
                lhs: (x.as_flattened(), [1, self.stride * LANES]),
                rhs: (g.as_flattened().as_flattened(), [PANEL, 1]),
            };
            product.add_to(sums.as_flattened_mut().as_flattened_mut(), PANEL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::decoder::wide::everywhere;
    use crate::rng::Rng;

    #[derive(Clone)]
    struct Case<'a> {
        op: &'a OuterSum,
        x: &'a [f32],
        g: &'a [f32],
        block: usize,
        panel: usize,
    }

    impl Kernel for Case<'_> {
        type Output = Vec<[Lanes; 2]>;

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Self::Output {
            let Self { op, x, g, block, panel } = self;
            let mut sums = vec![[[0.0; LANES]; 2]; LANES * op.taps];
            Block { op, x, g, block, panel, sums: &mut sums }.run(simd);
            sums
        }
    }

    /// Sequences in plain order and packed over memory that held other things.
    fn packed(op: &OuterSum, lead: usize) -> [Vec<f32>; 4] {
        let mut rng = Rng::stream(3, "outer sums");
        let rows = op.input_rows - 2 * lead;
        let (x, g) = (
            rng.normals(op.batch * rows * op.channels),
            rng.normals(op.batch * op.rows * op.outputs),
        );
        let lengths =
            [packed_blocks(op.input_rows, op.channels), packed_panels(op.rows, op.outputs)];
        let [mut blocks, mut panels] = lengths.map(|length| vec![7.0; op.batch * length]);
        for (x, to) in x.chunks(rows * op.channels).zip(blocks.chunks_mut(lengths[0])) {
            pack_blocks(x, op.channels, lead, to);
        }
        for (g, to) in g.chunks(op.rows * op.outputs).zip(panels.chunks_mut(lengths[1])) {
            pack_panels(g, op.outputs, to);
        }
        [x, g, blocks, panels]
    }

    #[test]
    fn every_instruction_set_sums_the_same_products() {
        for (channels, outputs, stride) in [(5, 3, 1), (16, 32, 1), (40, 70, 1), (20, 33, 2)] {
            let rows = 9;
            let op = OuterSum {
                batch: 17,
                input_rows: rows * stride + 4,
                rows,
                stride,
                first_row: 1,
                taps: 3,
                tap_rows: [1, 0],
                channels,
                outputs,
            };
            let [x, g, blocks, panels] = packed(&op, 2);
            let whole = op.sum(&blocks, &panels);
            for (at, sum) in whole.iter().enumerate() {
                let (tap, channel) = (at / outputs / channels, at / outputs % channels);
                let mut expected = 0.0;
                for b in 0..op.batch {
                    for r in 0..rows {
                        let at_row = (op.first_row + tap + r * stride).checked_sub(2);
                        let Some(row) = at_row.filter(|row| *row < rows * stride) else { continue };
                        expected += x[(b * rows * stride + row) * channels + channel]
                            * g[(b * rows + r) * outputs + at % outputs];
                    }
                }
                assert!((sum - expected).abs() < 1e-3, "{op:?} {at}: {sum} {expected}");
            }
            for block in 0..channels.div_ceil(LANES) {
                for panel in 0..outputs.div_ceil(PANEL) {
                    let case = Case { op: &op, x: &blocks, g: &panels, block, panel };
                    for sums in everywhere(&case) {
                        for (tap, sums) in sums.chunks(LANES).enumerate() {
                            for (channel, sums) in (block * LANES..channels).zip(sums) {
                                let sums = sums.as_flattened().iter();
                                for (output, sum) in (panel * PANEL..outputs).zip(sums) {
                                    let at = (tap * channels + channel) * outputs + output;
                                    assert!((sum - whole[at]).abs() < 1e-3);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
