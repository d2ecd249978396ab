//! One block of rows through the network.

use super::Decoder;
use super::attention::{HeadLayout, Stores, View, Weights, attend};
use super::cache::{LayerStore, Scratch};
use super::kernels::{gelu, normalize};

/// Attention weights `[layers, heads, side, side]`, entered block by block.
pub struct Map {
    /// Goals and tokens.
    pub side: usize,
    /// Slot of the next block's first row.
    pub first: usize,
    /// The weights.
    pub values: Vec<f32>,
}

impl Map {
    /// Enter a group of rows, of which `row` is the first.
    fn record(
        &mut self,
        layer: usize,
        row: usize,
        views: &[View],
        attended: (&HeadLayout, &Weights),
    ) {
        for (nth, view) in views.iter().enumerate() {
            self.record_row(layer, [row, nth], view, attended);
        }
    }

    fn record_row(
        &mut self,
        layer: usize,
        [group, nth]: [usize; 2],
        view: &View,
        (layout, weights): (&HeadLayout, &Weights),
    ) {
        let row = group + nth;
        let own = view.own.iter().map(|slot| self.first + *slot as usize);
        for (index, column) in view.old.iter().map(|slot| *slot as usize).chain(own).enumerate() {
            for head in 0..layout.heads {
                let line = (layer * layout.heads + head) * self.side + self.first + row;
                self.values[line * self.side + column] = weights.get(layout, index, [nth, head]);
            }
        }
    }
}

impl Decoder {
    /// Embedding of `token` at `position`.
    pub(super) fn embed(&self, token: u16, position: usize, x: &mut [f32]) {
        let layout = self.shape.layout;
        assert!(
            token <= layout.stop() && position < self.shape.positions,
            "token {token} at position {position}: the network knows {} bins and {} positions",
            layout.bins,
            self.shape.positions
        );
        let dim = position % self.dims();
        let id = match token {
            token if token == layout.stop() => layout.bins * self.dims(),
            token => dim * layout.bins + usize::from(token),
        };
        let token = self.packed.tokens.chunks_exact(x.len()).nth(id).unwrap_or_default();
        let place = self.packed.positions.chunks_exact(x.len()).nth(position).unwrap_or_default();
        for ((x, token), place) in x.iter_mut().zip(token).zip(place) {
            *x = token + place;
        }
    }

    /// Embedding of the `index`-th number of a goal.
    pub(super) fn embed_goal(&self, bin: u16, index: usize, x: &mut [f32]) {
        let bins = self.shape.layout.bins;
        assert!(usize::from(bin) < bins, "goal bin {bin}: the network knows {bins} bins");
        let start = (index * bins + usize::from(bin)) * x.len();
        x.copy_from_slice(&self.packed.goals[start..start + x.len()]);
    }

    /// Take the rows in `scratch.x` through all blocks; row `i` attends to
    /// `views[i]`. Writes their keys and values to `layers`.
    pub(super) fn forward(
        &self,
        scratch: &mut Scratch,
        layers: &mut [LayerStore],
        views: &[View],
        mut map: Option<&mut Map>,
    ) {
        let (width, lanes) = (self.shape.width, self.heads.lanes);
        let Scratch { x, normal, query, mixed, hidden, weights } = scratch;
        for (layer, (block, store)) in self.packed.blocks.iter().zip(layers).enumerate() {
            normalize(x, width, normal);
            block.query.apply(normal, query);
            block.memory.apply(normal, store.own.as_flattened_mut());
            let (group, stores) = (self.heads.rows(), Stores { old: store.old, own: store.own });
            let mixed_rows = mixed.lanes_mut().chunks_mut(group * lanes);
            let rows = query.lanes().chunks(group * lanes).zip(mixed_rows);
            for (nth, ((query, mixed), views)) in rows.zip(views.chunks(group)).enumerate() {
                attend(&self.heads, query, views, stores, weights, mixed);
                if let Some(map) = &mut map {
                    map.record(layer, nth * group, views, (&self.heads, weights));
                }
            }
            block.proj.add(mixed, x);
            normalize(x, width, normal);
            block.expand.apply(normal, hidden);
            gelu(hidden);
            block.contract.add(hidden, x);
        }
    }

    /// Logits of the tokens after rows `x`, all of dimension `dim`.
    pub(super) fn predict(&self, x: &[f32], dim: usize, normal: &mut [f32], logits: &mut [f32]) {
        let normal = &mut normal[..x.len()];
        normalize(x, self.shape.width, normal);
        self.packed.heads[dim].apply(normal, logits);
    }
}
