//! The Trajectory Transformer's network (Janner et al. 2021, Section 3) on the
//! host, for search: plain `f32`, a cache of keys and values, no gradients.
//!
//! A pre-normalized decoder: `x += proj(attention(norm1(x)))`, `x +=
//! contract(gelu(expand(norm2(x))))`, a final normalization, and one linear
//! head per dimension of the input token, which predicts the next token.
//! Training runs the same network in burn; here a beam search takes a hundred
//! steps of some tens of rows each, and what counts is the time of one step.
//! So weights are packed once, rows are split over threads once per token, and
//! reordering beams copies indices only.
//!
//! Attention is causal over goals and tokens; nobody attends to a
//! reward-to-go, not even itself; with `markov` a token attends to goals and
//! its own transition only.

mod attention;
mod cache;
mod crew;
mod forward;
mod kernels;
mod pack;
#[cfg(test)]
mod tests;
pub(super) mod wide;

pub use cache::Cache;

use attention::{HeadLayout, View};
use cache::{LayerStore, Part};
use forward::Map;
use pack::Packed;

use crate::data::tokens::TokenLayout;
use crate::nn::weights::{NamedTensors, WeightsError};

/// A thread takes a multiple of this many rows: the products work on as many
/// at once, and for fewer a second thread costs more than it saves.
const THREAD_ROWS: usize = 8;
/// Rows taken through a layer together, so that they stay in the cache.
const BLOCK_ROWS: usize = 64;

/// Sizes of a [`Decoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderShape {
    /// Blocks.
    pub layers: usize,
    /// Attention heads, 16 at most; they share `width` evenly.
    pub heads: usize,
    /// Channels of the residual stream.
    pub width: usize,
    /// How transitions read as tokens.
    pub layout: TokenLayout,
    /// Tokens a row can hold, goals not counted.
    pub positions: usize,
    /// Whether a token sees no earlier transition.
    pub markov: bool,
}

/// The network with packed weights.
///
/// Goals and tokens must be in the vocabulary, rows must fit the positions,
/// and a cache must have been restarted by the decoder that steps it: anything
/// else is a programming error, on which the methods panic.
pub struct Decoder {
    shape: DecoderShape,
    heads: HeadLayout,
    packed: Packed,
}

/// After which tokens of a row logits are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Last,
    Every,
}

/// What one thread does: some of the rows.
struct Job<'a> {
    part: Part<'a>,
    /// Its first row.
    first: usize,
    logits: &'a mut [f32],
    map: Option<&'a mut Map>,
}

impl Decoder {
    /// Pack `weights`, whose names are `tokens`, `goals`, `positions`,
    /// `blocks.I.{norm1,qkv,proj,norm2,expand,contract}.{weight,bias}`,
    /// `norm.{weight,bias}` and `heads`, linear ones `[out, in]` and `heads`
    /// `[D, width, V + 1]`.
    ///
    /// # Errors
    /// Weights that are missing, unknown, misshapen or not finite.
    ///
    /// # Panics
    /// For more than 16 heads, or a width they do not divide.
    pub fn new(shape: DecoderShape, weights: &NamedTensors) -> Result<Self, WeightsError> {
        let heads = HeadLayout::new(shape.heads, shape.width);
        let packed = Packed::new(&shape, &heads, weights)?;
        Ok(Self { shape, heads, packed })
    }

    /// Its sizes.
    pub fn shape(&self) -> &DecoderShape {
        &self.shape
    }

    /// Forget everything and read `goal` (as many bins as the layout has
    /// goals) and one or more rows of equally many tokens, one at least, from
    /// position 0. Logits `[rows, V + 1]` of the token after each row's last.
    pub fn restart(&self, cache: &mut Cache, goal: &[u16], rows: &[&[u16]]) -> Vec<f32> {
        self.read_goal(cache, goal, None);
        self.read_rows(cache, rows, Wanted::Last, None)
    }

    /// Continue old row `parents[i]` with `tokens[i]` as row `i`; parents may
    /// repeat, and the number of rows may change. Logits `[parents, V + 1]`.
    pub fn step(&self, cache: &mut Cache, parents: &[usize], tokens: &[u16]) -> Vec<f32> {
        let (width, pitch, position) = (self.shape.width, self.logits_per_token(), cache.len());
        assert!(
            parents.len() == tokens.len() && parents.iter().all(|parent| *parent < cache.rows()),
            "one token per row, and parents among the {} rows of before",
            cache.rows()
        );
        assert!(
            cache.fits(self.shape.layers, 2 * self.heads.lanes),
            "the cache was restarted by another decoder"
        );
        let dim = position % self.dims();
        let forgets = self.shape.markov && dim == 0;
        let attended = if forgets { self.shape.layout.goals } else { cache.attended() };
        let order = cache.reorder(parents, attended);
        let tokens: Vec<u16> = order.iter().map(|row| tokens[*row]).collect();

        let visible = self.visible(position);
        let mut logits = vec![0.0; parents.len() * pitch];
        let share = share(parents.len());
        let (parts, lineage) = cache.parts(parents.len(), share, 1);
        crew::run(jobs(parts, &mut logits, share, pitch, None), &|job| {
            let Job { part: Part { scratch, mut layers }, first, logits, .. } = job;
            let tokens = &tokens[first..first + logits.len() / pitch];
            scratch.resize(tokens.len(), width, self.heads.lanes);
            for (token, x) in tokens.iter().zip(scratch.x.chunks_exact_mut(width)) {
                self.embed(*token, position, x);
            }
            let slots: Vec<u32> = (0..tokens.len() as u32).collect();
            let views: Vec<View> = (0..tokens.len())
                .map(|row| View {
                    old: lineage.of(first + row),
                    own: if visible { &slots[row..=row] } else { &[] },
                })
                .collect();
            self.forward(scratch, &mut layers, &views, None);
            self.predict(&scratch.x, dim, &mut scratch.normal, logits);
        });
        cache.keep_step(visible);
        let mut ordered = vec![0.0; logits.len()];
        for (logits, row) in logits.chunks_exact(pitch).zip(order) {
            ordered[row * pitch..(row + 1) * pitch].copy_from_slice(logits);
        }
        ordered
    }

    /// Logits `[tokens, V + 1]` after every token of one row.
    pub fn logits(&self, goal: &[u16], tokens: &[u16]) -> Vec<f32> {
        if tokens.is_empty() {
            return Vec::new();
        }
        let mut cache = Cache::default();
        self.read_goal(&mut cache, goal, None);
        self.read_rows(&mut cache, &[tokens], Wanted::Every, None)
    }

    /// Attention weights `[layers, heads, T, T]` of one row with `T` goals and
    /// tokens: rows attend to columns, and masked entries are exactly 0.
    pub fn attention(&self, goal: &[u16], tokens: &[u16]) -> Vec<f32> {
        let side = goal.len() + tokens.len();
        let values = vec![0.0; self.shape.layers * self.shape.heads * side * side];
        let mut map = Map { side, first: 0, values };
        let mut cache = Cache::default();
        self.read_goal(&mut cache, goal, Some(&mut map));
        if !tokens.is_empty() {
            map.first = goal.len();
            self.read_rows(&mut cache, &[tokens], Wanted::Last, Some(&mut map));
        }
        map.values
    }

    fn dims(&self) -> usize {
        self.shape.layout.per_transition()
    }

    fn logits_per_token(&self) -> usize {
        self.shape.layout.bins + 1
    }

    /// Whether anybody attends to the token at `position`.
    fn visible(&self, position: usize) -> bool {
        self.shape.layout.hidden_dim() != Some(position % self.dims())
    }

    /// Empty the cache and read the goal: slots 0 to its length.
    fn read_goal(&self, cache: &mut Cache, goal: &[u16], mut map: Option<&mut Map>) {
        let (goals, width) = (self.shape.layout.goals, self.shape.width);
        assert!(goal.len() == goals, "{} goal bins where {goals} are due", goal.len());
        cache.clear(self.shape.layers, 2 * self.heads.lanes, goals + self.shape.positions);
        if goals == 0 {
            return;
        }
        let slots: Vec<u32> = (0..goals as u32).collect();
        let views: Vec<View> =
            (0..goals).map(|row| View { old: &[], own: &slots[..=row] }).collect();
        for Part { scratch, mut layers } in cache.parts(goals, goals, 1).0 {
            scratch.resize(goals, width, self.heads.lanes);
            for (index, (bin, x)) in goal.iter().zip(scratch.x.chunks_exact_mut(width)).enumerate()
            {
                self.embed_goal(*bin, index, x);
            }
            self.forward(scratch, &mut layers, &views, map.take());
        }
        cache.keep_goals(goals);
    }

    /// Read rows of tokens after the goal.
    fn read_rows(
        &self,
        cache: &mut Cache,
        rows: &[&[u16]],
        wanted: Wanted,
        map: Option<&mut Map>,
    ) -> Vec<f32> {
        let len = rows.first().map_or(0, |row| row.len());
        assert!(
            len > 0 && rows.iter().all(|row| row.len() == len),
            "rows must have equally many tokens, one at least"
        );
        let pitch = match wanted {
            Wanted::Last => self.logits_per_token(),
            Wanted::Every => len * self.logits_per_token(),
        };
        let mut logits = vec![0.0; rows.len() * pitch];
        let share = share(rows.len() * len).div_ceil(len);
        let (parts, _) = cache.parts(rows.len(), share, len);
        crew::run(jobs(parts, &mut logits, share, pitch, map), &|mut job| {
            let share = job.logits.len() / pitch;
            self.read_share(&rows[job.first..job.first + share], wanted, &mut job);
        });
        let visible: Vec<u32> = self.sees(len - 1, len).collect();
        cache.keep_rows(rows.len(), len, &visible);
        logits
    }

    /// The tokens before `end` that the one at `position` may attend to.
    fn sees(&self, position: usize, end: usize) -> impl Iterator<Item = u32> {
        let start = if self.shape.markov { position - position % self.dims() } else { 0 };
        (start..end).filter(|token| self.visible(*token)).map(|token| token as u32)
    }

    /// One thread's rows of [`Decoder::read_rows`], a few at a time.
    fn read_share(&self, rows: &[&[u16]], wanted: Wanted, job: &mut Job) {
        let (len, width) = (rows[0].len(), self.shape.width);
        let (pitch, lanes) = (job.logits.len() / rows.len(), 2 * self.heads.lanes);
        let goals: Vec<u32> = (0..self.shape.layout.goals as u32).collect();
        let block = (BLOCK_ROWS / len).max(1);
        let Part { scratch, layers } = &mut job.part;
        for (index, rows) in rows.chunks(block).enumerate() {
            let slots: Vec<Vec<u32>> = (0..rows.len() * len)
                .map(|at| {
                    let (row, position) = ((at / len * len) as u32, at % len);
                    self.sees(position, position + 1).map(|token| row + token).collect()
                })
                .collect();
            let views: Vec<View> = slots.iter().map(|own| View { old: &goals, own }).collect();
            let from = index * block * len * lanes;
            let mut layers: Vec<LayerStore> = layers
                .iter_mut()
                .map(|layer| LayerStore {
                    old: layer.old,
                    own: &mut layer.own[from..from + rows.len() * len * lanes],
                })
                .collect();
            scratch.resize(rows.len() * len, width, self.heads.lanes);
            let tokens = rows.iter().flat_map(|row| row.iter().enumerate());
            for ((position, token), x) in tokens.zip(scratch.x.chunks_exact_mut(width)) {
                self.embed(*token, position, x);
            }
            self.forward(scratch, &mut layers, &views, job.map.as_deref_mut());

            let logits = &mut job.logits[index * block * pitch..][..rows.len() * pitch];
            let first = if wanted == Wanted::Last { len - 1 } else { 0 };
            let wanted = (0..rows.len() * len).filter(|at| at % len >= first);
            for (at, logits) in wanted.zip(logits.chunks_exact_mut(self.logits_per_token())) {
                let x = &scratch.x[at * width..(at + 1) * width];
                self.predict(x, at % len % self.dims(), &mut scratch.normal, logits);
            }
        }
    }
}

/// Rows per thread.
fn share(rows: usize) -> usize {
    rows.max(1).div_ceil(crew::hands()).next_multiple_of(THREAD_ROWS)
}

fn jobs<'a>(
    parts: Vec<Part<'a>>,
    logits: &'a mut [f32],
    share: usize,
    pitch: usize,
    mut map: Option<&'a mut Map>,
) -> Vec<Job<'a>> {
    parts
        .into_iter()
        .zip(logits.chunks_mut(share * pitch))
        .enumerate()
        .map(|(index, (part, logits))| Job { part, first: index * share, logits, map: map.take() })
        .collect()
}
