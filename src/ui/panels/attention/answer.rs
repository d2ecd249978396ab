//! What was asked, and what came back, made ready to be drawn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::lab::attention::Measures;
use crate::lab::beam::{AttentionFrame, BeamFrame, SequenceToken};
use crate::plan::beam::drive::SearchRecord;
use crate::ui::layers::{Matrix, Renderer};

/// Most cells a side: small maps, the map in the inspector, and any map without
/// GPU state.
const THUMBNAIL: usize = 64;
const INSET: usize = 256;
const SHAPES: usize = 40;
/// The color scale ends at the weight that so many of all exceed, which makes
/// the rest visible, and is made from about so many.
const BRIGHTEST: f32 = 0.02;
const SAMPLES: usize = 40_000;

/// Buffers tell their content by numbers that must never repeat, not even when
/// a scene closes and another opens.
static GENERATION: AtomicU64 = AtomicU64::new(1);

/// A layer and one of its heads, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Block.
    pub layer: usize,
    /// Head of the block.
    pub head: usize,
}

/// A question that is out, or whose answer is shown.
pub struct Asked {
    /// Its number.
    pub id: u64,
    /// The episode it is about.
    pub beam: Arc<BeamFrame>,
    /// The search it is about.
    pub search: Arc<SearchRecord>,
}

/// A matrix and the number of its content.
#[derive(Clone)]
pub struct Picture {
    /// Grows with every picture.
    pub generation: u64,
    /// What is drawn.
    pub matrix: Arc<Matrix>,
}

/// One map in every size, and what it looks like.
struct HeadMap {
    small: Picture,
    inset: Picture,
    full: Picture,
    measures: Option<Measures>,
}

/// Attention over one search, with everything that is drawn from it.
pub struct Answer {
    /// The weights.
    pub frame: Arc<AttentionFrame>,
    /// The episode.
    pub beam: Arc<BeamFrame>,
    /// The search.
    pub search: Arc<SearchRecord>,
    /// What rows and columns stand for.
    pub tokens: Vec<SequenceToken>,
    /// Weight at the upper end of the color scale, the same for every map.
    pub end: f32,
    /// Mean over all heads, `[n, n]`.
    mean: Vec<f32>,
    /// Every head's map, then that of the mean.
    maps: Vec<HeadMap>,
}

impl Answer {
    /// Make everything that is drawn, once.
    pub fn new(asked: &Asked, frame: Arc<AttentionFrame>, renderer: Renderer) -> Self {
        let mut tokens = asked.beam.sequence(&asked.search);
        // A plan longer than the model's block is read as far as it fits.
        tokens.truncate(frame.n);
        let (n, end, mean) = (frame.n, scale_end(&frame), mean(&frame));
        let heads = (0..frame.layers * frame.heads)
            .map(|index| frame.map(index / frame.heads.max(1), index % frame.heads.max(1)));
        let maps = heads
            .chain([mean.as_slice()])
            .map(|weights| HeadMap::new(weights, n, end, renderer, &tokens))
            .collect();
        let (beam, search) = (Arc::clone(&asked.beam), Arc::clone(&asked.search));
        Self { frame, beam, search, tokens, end, mean, maps }
    }

    /// Whether there is such a head.
    pub fn has(&self, head: Head) -> bool {
        head.layer < self.frame.layers && head.head < self.frame.heads
    }

    /// Weights `[n, n]` of a head, or their mean over all.
    pub fn weights(&self, head: Option<Head>) -> &[f32] {
        match head {
            Some(head) => self.frame.map(head.layer, head.head),
            None => &self.mean,
        }
    }

    /// What one token attends to; empty if there is none.
    pub fn row(&self, head: Option<Head>, row: usize) -> &[f32] {
        let n = self.frame.n;
        self.weights(head).get(row * n..(row + 1) * n).unwrap_or_default()
    }

    /// What one token attends to, summed over the goal and over transitions,
    /// these in order.
    pub fn by_transition(&self, head: Option<Head>, row: usize) -> (f32, Vec<(i32, f32)>) {
        let (mut goal, mut sums) = (0.0, Vec::<(i32, f32)>::new());
        for (token, weight) in self.tokens.iter().zip(self.row(head, row)) {
            if token.kind.is_none() {
                goal += weight;
                continue;
            }
            match sums.last_mut() {
                Some((transition, sum)) if *transition == token.transition => *sum += weight,
                _ => sums.push((token.transition, *weight)),
            }
        }
        (goal, sums)
    }

    fn map(&self, head: Option<Head>) -> Option<&HeadMap> {
        match head {
            Some(head) => self.maps.get(head.layer * self.frame.heads + head.head),
            None => self.maps.last(),
        }
    }

    /// What a map looks like.
    pub fn measures(&self, head: Option<Head>) -> Option<&Measures> {
        self.map(head)?.measures.as_ref()
    }

    /// A map in the size of a thumbnail.
    pub fn small(&self, head: Head) -> Option<&Picture> {
        Some(&self.map(Some(head))?.small)
    }

    /// A map in the inspector's size.
    pub fn inset(&self, head: Option<Head>) -> Option<&Picture> {
        Some(&self.map(head)?.inset)
    }

    /// A map with every cell.
    pub fn full(&self, head: Option<Head>) -> Option<&Picture> {
        Some(&self.map(head)?.full)
    }
}

impl HeadMap {
    fn new(
        weights: &[f32],
        n: usize,
        end: f32,
        renderer: Renderer,
        tokens: &[SequenceToken],
    ) -> Self {
        let most = if renderer == Renderer::Shapes { SHAPES } else { usize::MAX };
        let picture = |cells: usize| Picture {
            generation: GENERATION.fetch_add(1, Ordering::Relaxed),
            matrix: Arc::new(Matrix::causal(weights, n, end, cells.min(most))),
        };
        let full = picture(usize::MAX);
        let shrunk =
            |cells| if full.matrix.side() <= cells { full.clone() } else { picture(cells) };
        let (small, inset) = (shrunk(THUMBNAIL), shrunk(INSET));
        Self { small, inset, full, measures: Measures::new(weights, n, tokens) }
    }
}

/// Mean over all heads.
fn mean(frame: &AttentionFrame) -> Vec<f32> {
    let mut mean = vec![0.0; frame.n * frame.n];
    let maps = frame.layers * frame.heads;
    for map in frame.weights.chunks_exact(mean.len().max(1)).take(maps) {
        for (sum, weight) in mean.iter_mut().zip(map) {
            *sum += weight;
        }
    }
    mean.iter_mut().for_each(|sum| *sum /= maps.max(1) as f32);
    mean
}

/// A weight that few of all exceed.
fn scale_end(frame: &AttentionFrame) -> f32 {
    let stride = (frame.weights.len() / 2 / SAMPLES).max(1);
    let mut seen: Vec<f32> =
        frame.weights.iter().copied().filter(|weight| *weight > 0.0).step_by(stride).collect();
    if seen.is_empty() {
        return 1.0;
    }
    let above = ((seen.len() as f32 * BRIGHTEST) as usize).min(seen.len() - 1);
    let (_, end, _) = seen.select_nth_unstable_by(above, |a, b| b.total_cmp(a));
    end.clamp(1e-3, 1.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::TokenLayout;
    use crate::lab::beam::{AttentionRequest, Bins};
    use crate::plan::beam::BeamTree;
    use crate::plan::beam::drive::{Drive, DriveRequest, TokenPlan};

    /// An answer of one layer and two heads over a goal of 1 and three
    /// transitions `x, a_x`, the first of them past.
    pub fn answer() -> Answer {
        let layout = TokenLayout { states: 1, actions: 1, rewards: false, goals: 1, bins: 10 };
        let bins = Bins {
            layout,
            centers: (0..2).map(|_| (0..10).map(|bin| 0.1 * bin as f32).collect()).collect(),
            names: vec!["x".into(), "a_x".into()],
            goal_dims: vec![0],
            stride: 1,
            observation: vec![0],
        };
        let tree = BeamTree {
            layout,
            context: vec![1, 2, 3].into(),
            nodes: Vec::new(),
            levels: Vec::new(),
            best: None,
            done: true,
        };
        let search = Arc::new(SearchRecord {
            at_step: 1,
            present: vec![0.3],
            tree: Arc::new(tree),
            plan: Arc::new(TokenPlan { states: vec![vec![0.3]], ..TokenPlan::default() }),
            goal: vec![9].into(),
            wall_ms: 1.0,
        });
        let drive = Drive { states: vec![vec![0.1], vec![0.3]], ..Drive::default() };
        let request = DriveRequest {
            start: vec![0.1],
            goal: vec![0.9],
            beam: Default::default(),
            control: Default::default(),
            seed: 1,
            edits: Vec::new(),
            shows_pruned: false,
            max_steps: 10,
        };
        let beam = BeamFrame {
            id: 1,
            request: Arc::new(request),
            drive,
            growing: None,
            bins: Arc::new(bins),
        };
        let [sure, even]: [[f32; 16]; 2] = [
            [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.1, 0.2, 0.3, 0.4],
            [1.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.3, 0.3, 0.4, 0.0, 0.3, 0.2, 0.1, 0.4],
        ];
        let frame = AttentionFrame {
            id: 5,
            request: AttentionRequest { goal: vec![9].into(), tokens: vec![1, 2, 3].into() }.into(),
            layers: 1,
            heads: 2,
            n: 4,
            weights: [sure, even].concat().into(),
        };
        let asked = Asked { id: 5, beam: Arc::new(beam), search };
        Answer::new(&asked, Arc::new(frame), Renderer::Shapes)
    }

    #[test]
    fn the_mean_is_over_all_heads_and_every_map_has_its_pictures() {
        let answer = answer();
        let head = |head| Some(Head { layer: 0, head });
        for (got, want) in answer.row(None, 3).iter().zip([0.2, 0.2, 0.2, 0.4]) {
            assert!((got - want).abs() < 1e-6);
        }
        assert_eq!(answer.row(head(1), 3), [0.3, 0.2, 0.1, 0.4]);
        assert!(answer.row(head(0), 4).is_empty());
        assert!(!answer.has(Head { layer: 1, head: 0 }));
        let pictures = [head(0), head(1), None].map(|head| answer.full(head).unwrap().clone());
        assert!(pictures.iter().all(|picture| picture.matrix.side() == 4));
        assert_ne!(pictures[0].generation, pictures[1].generation);
        assert_eq!(answer.measures(None), None, "too short to tell");
    }

    #[test]
    fn attention_is_summed_over_the_goal_and_over_transitions() {
        let (goal, sums) = answer().by_transition(Some(Head { layer: 0, head: 0 }), 3);
        assert_eq!((goal, sums), (0.1, vec![(-1, 0.5), (0, 0.4)]));
    }

    #[test]
    fn the_scale_ends_where_few_weights_are_larger() {
        let mut frame = (*answer().frame).clone();
        let weights: Vec<f32> = (0..10_000).map(|index| index as f32 / 10_000.0).collect();
        frame.weights = weights.into();
        assert!((scale_end(&frame) - 0.98).abs() < 0.005, "{}", scale_end(&frame));
        frame.weights = vec![0.0; 4].into();
        assert_eq!(scale_end(&frame), 1.0);
    }
}
