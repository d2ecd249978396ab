//! Keys and values of everything a search has read, and which of them each
//! row descends from.

use super::attention::Weights;
use super::wide::{Buffer, LANES, Lanes};

/// What one search has read so far. Its allocations outlive the search.
///
/// A key and its value lie in a slot. Rows own no slots, only the numbers of
/// those they attend to: beams that are reordered or split copy numbers, and a
/// beginning that rows share is stored once.
#[derive(Default)]
pub struct Cache {
    /// Per layer `[slots, pitch]`.
    layers: Vec<Buffer>,
    /// Lanes per slot.
    pitch: usize,
    used: usize,
    /// Slots that each row attends to, `[rows, stride]`, of which the first
    /// `attended` count.
    lineage: Vec<u32>,
    spare: Vec<u32>,
    /// Where each row lies: rows with a common past lie together, so that what
    /// one reads of it is still at hand for the next.
    places: Vec<usize>,
    stride: usize,
    attended: usize,
    rows: usize,
    len: usize,
    scratch: Vec<Scratch>,
}

/// Working memory of one thread.
#[derive(Default)]
pub struct Scratch {
    /// Residual stream `[rows, width]`.
    pub x: Buffer,
    /// Normalized `[rows, width]`.
    pub normal: Buffer,
    /// Queries, padded.
    pub query: Buffer,
    /// What attention returns, padded.
    pub mixed: Buffer,
    /// Inside the perceptron `[rows, 4 width]`.
    pub hidden: Buffer,
    /// Attention's own.
    pub weights: Weights,
}

impl Scratch {
    /// Make room for `rows` rows.
    pub fn resize(&mut self, rows: usize, width: usize, lanes: usize) {
        self.x.resize(rows * width);
        self.normal.resize(rows * width);
        self.query.resize(rows * lanes * LANES);
        self.mixed.resize(rows * lanes * LANES);
        self.hidden.resize(4 * rows * width);
    }
}

/// One layer's slots as one thread sees them.
pub struct LayerStore<'a> {
    /// Read earlier.
    pub old: &'a [Lanes],
    /// Being written by this thread.
    pub own: &'a mut [Lanes],
}

/// What one thread works with.
pub struct Part<'a> {
    /// Working memory.
    pub scratch: &'a mut Scratch,
    /// Per layer.
    pub layers: Vec<LayerStore<'a>>,
}

/// The slots that rows attend to.
#[derive(Clone, Copy)]
pub struct Lineage<'a> {
    slots: &'a [u32],
    stride: usize,
    attended: usize,
}

impl<'a> Lineage<'a> {
    /// Those of `row`.
    pub fn of(&self, row: usize) -> &'a [u32] {
        &self.slots[row * self.stride..][..self.attended]
    }
}

impl Cache {
    /// Tokens per row so far; goals do not count.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token has been read.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Slots a row attends to, before its next token.
    pub fn attended(&self) -> usize {
        self.attended
    }

    /// Whether the contents have this many layers and lanes per slot.
    pub fn fits(&self, layers: usize, pitch: usize) -> bool {
        self.layers.len() == layers && self.pitch == pitch
    }

    /// Forget everything; rows will attend to `stride` slots at most.
    pub fn clear(&mut self, layers: usize, pitch: usize, stride: usize) {
        if !self.fits(layers, pitch) {
            self.layers.clear();
            self.layers.resize_with(layers, Buffer::default);
        }
        (self.pitch, self.stride) = (pitch, stride);
        (self.used, self.attended, self.rows, self.len) = (0, 0, 0, 0);
    }

    /// Hand out the next `per_row` slots of each of `rows` rows, in parts of
    /// `share` rows.
    pub fn parts(
        &mut self,
        rows: usize,
        share: usize,
        per_row: usize,
    ) -> (Vec<Part<'_>>, Lineage<'_>) {
        let parts = rows.div_ceil(share.max(1));
        let needed = (self.used + rows * per_row) * self.pitch;
        if self.scratch.len() < parts {
            self.scratch.resize_with(parts, Scratch::default);
        }
        let mut parts: Vec<Part> = self
            .scratch
            .iter_mut()
            .take(parts)
            .map(|scratch| Part { scratch, layers: Vec::with_capacity(self.layers.len()) })
            .collect();
        for layer in &mut self.layers {
            if layer.lanes().len() < needed {
                let room = layer.lanes().len();
                layer.resize(needed.max(room + room / 2) * LANES);
            }
            let (old, new) = layer.lanes_mut()[..needed].split_at_mut(self.used * self.pitch);
            let owns = new.chunks_mut(share * per_row * self.pitch);
            for (part, own) in parts.iter_mut().zip(owns) {
                part.layers.push(LayerStore { old, own });
            }
        }
        let Self { ref lineage, stride, attended, .. } = *self;
        (parts, Lineage { slots: lineage, stride, attended })
    }

    /// Keep the slots just handed out to goals.
    pub fn keep_goals(&mut self, goals: usize) {
        self.used += goals;
    }

    /// Keep the slots just handed out to `rows` rows of `len` tokens each,
    /// which attend to the goals and to those of their tokens in `attended`.
    pub fn keep_rows(&mut self, rows: usize, len: usize, attended: &[u32]) {
        let goals = self.used;
        self.lineage.clear();
        self.lineage.resize(rows * self.stride, 0);
        for (row, slots) in self.lineage.chunks_exact_mut(self.stride).enumerate() {
            let first = goals + row * len;
            let ids = (0..goals).chain(attended.iter().map(|token| first + *token as usize));
            for (slot, id) in slots.iter_mut().zip(ids) {
                *slot = id as u32;
            }
        }
        self.attended = goals + attended.len();
        self.places = (0..rows).collect();
        (self.rows, self.len) = (rows, len);
        self.used += rows * len;
    }

    /// Row `i` becomes a copy of old row `parents[i]` that remembers its first
    /// `attended` slots. Returns the rows as they now lie.
    pub fn reorder(&mut self, parents: &[usize], attended: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..parents.len()).collect();
        order.sort_by_key(|row| self.places[parents[*row]]);
        self.spare.clear();
        self.spare.resize(parents.len() * self.stride, 0);
        for (slots, row) in self.spare.chunks_exact_mut(self.stride).zip(&order) {
            let from = &self.lineage[self.places[parents[*row]] * self.stride..][..attended];
            slots[..attended].copy_from_slice(from);
        }
        std::mem::swap(&mut self.lineage, &mut self.spare);
        self.places.resize(parents.len(), 0);
        for (place, row) in order.iter().enumerate() {
            self.places[*row] = place;
        }
        self.attended = attended;
        self.rows = parents.len();
        order
    }

    /// One more token per row; `visible` when later tokens attend to it.
    pub fn keep_step(&mut self, visible: bool) {
        self.len += 1;
        if visible {
            for row in 0..self.rows {
                self.lineage[row * self.stride + self.attended] = (self.used + row) as u32;
            }
            self.attended += 1;
            self.used += self.rows;
        }
    }
}
