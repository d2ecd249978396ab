//! Episodes by beam search and looks inside its attention, as the planner
//! thread answers them.

use std::sync::Arc;

use crate::data::{TokenKind, TokenLayout};
use crate::env::EnvironmentSpec;
use crate::model::trajectory::TrajectoryModel;
use crate::plan::beam::drive::{Drive, DriveRequest, SearchRecord};

/// An episode so far.
#[derive(Clone, Debug)]
pub struct BeamFrame {
    /// Which request this answers; grows with every request.
    pub id: u64,
    /// The request.
    pub request: Arc<DriveRequest>,
    /// Searches, states and rewards so far.
    pub drive: Drive,
    /// The search under way, as far as it has grown.
    pub growing: Option<Arc<SearchRecord>>,
    /// How numbers are decoded.
    pub bins: Arc<Bins>,
}

/// What a token stands for, shared by every frame of a scene.
#[derive(Clone, Debug, PartialEq)]
pub struct Bins {
    /// How a transition reads as tokens.
    pub layout: TokenLayout,
    /// Bin centers, `[dims][bins]`.
    pub centers: Vec<Vec<f32>>,
    /// Short name of every dim (`x`, `a_x`, `r`, `R`).
    pub names: Vec<String>,
    /// State dims that a goal fixes.
    pub goal_dims: Vec<usize>,
    /// Environment steps per transition.
    pub stride: usize,
    /// Observation coordinates the model sees.
    pub observation: Vec<usize>,
}

impl Bins {
    /// The center of a bin; the last one's for the stop token.
    pub fn center(&self, dim: usize, token: u16) -> f32 {
        let centers = self.centers.get(dim).map(Vec::as_slice).unwrap_or_default();
        let last = centers.len().saturating_sub(1);
        centers.get(usize::from(token).min(last)).copied().unwrap_or(0.0)
    }
}

/// One token of what a search read and planned.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceToken {
    /// What it stands for; `None` for a token of the goal.
    pub kind: Option<TokenKind>,
    /// Its place within a transition, or within the goal.
    pub dim: usize,
    /// Its transition, 0 for the present one, below 0 for the past; that of
    /// the goal is meaningless.
    pub transition: i32,
    /// The bin.
    pub token: u16,
    /// The bin's center; absent for a stop token.
    pub value: Option<f32>,
}

impl BeamFrame {
    /// The search that was under way at an environment step.
    pub fn search_at(&self, step: usize) -> Option<&Arc<SearchRecord>> {
        let searches = &self.drive.searches;
        let growing = self.growing.as_ref();
        if let Some(growing) = growing.filter(|new| new.at_step <= step || searches.is_empty()) {
            return Some(growing);
        }
        searches.iter().rev().find(|search| search.at_step <= step).or(searches.first())
    }

    /// Everything a search read and planned, in the order the model reads it:
    /// goal, context, plan.
    pub fn sequence(&self, search: &SearchRecord) -> Vec<SequenceToken> {
        let (bins, layout) = (&self.bins, self.bins.layout);
        let d = layout.per_transition();
        let goal = search.goal.iter().enumerate().map(|(index, token)| {
            let dim = bins.goal_dims.get(index).copied().unwrap_or(index);
            let value = Some(bins.center(dim, *token));
            SequenceToken { kind: None, dim, transition: 0, token: *token, value }
        });
        let past = (search.tree.context.len() / d) as i32;
        let read = search
            .tree
            .context
            .iter()
            .copied()
            .chain(search.tree.best_tokens().unwrap_or_default());
        let read = read.enumerate().map(|(at, token)| {
            let dim = at % d;
            SequenceToken {
                kind: Some(layout.kind(dim)),
                dim,
                transition: (at / d) as i32 - past,
                token,
                value: (token != layout.stop()).then(|| bins.center(dim, token)),
            }
        });
        goal.chain(read).collect()
    }

    /// Where a transition of [`BeamFrame::sequence`] begins: a state that was
    /// visited, or one that is planned.
    pub fn place_of<'a>(&'a self, search: &'a SearchRecord, transition: i32) -> Option<&'a [f32]> {
        let state = match usize::try_from(transition) {
            Ok(ahead) => search.plan.states.get(ahead),
            Err(_) => {
                let back = transition.unsigned_abs() as usize * self.bins.stride;
                self.drive.states.get(search.at_step.checked_sub(back)?)
            }
        };
        state.map(Vec::as_slice)
    }
}

/// Ask what the tokens of a search attend to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttentionRequest {
    /// Tokens of the goal.
    pub goal: Arc<[u16]>,
    /// Context and plan.
    pub tokens: Arc<[u16]>,
}

/// Attention of every layer and head over one sequence.
#[derive(Clone, Debug)]
pub struct AttentionFrame {
    /// Which request this answers.
    pub id: u64,
    /// The request.
    pub request: Arc<AttentionRequest>,
    /// Blocks.
    pub layers: usize,
    /// Heads per block.
    pub heads: usize,
    /// Tokens, those of the goal included.
    pub n: usize,
    /// `[layers, heads, n, n]`: how much row attends to column.
    pub weights: Arc<[f32]>,
}

impl AttentionFrame {
    /// One head's map, `[n, n]`; empty if there is none.
    pub fn map(&self, layer: usize, head: usize) -> &[f32] {
        let size = self.n * self.n;
        let start = (layer * self.heads + head) * size;
        self.weights.get(start..start + size).unwrap_or_default()
    }
}

/// Look inside: every head's map over one sequence, cropped to what fits.
pub fn attention(
    id: u64,
    request: &Arc<AttentionRequest>,
    model: &TrajectoryModel,
) -> AttentionFrame {
    let shape = model.decoder().shape();
    let most = shape.positions.min(request.tokens.len());
    let weights = model.decoder().attention(&request.goal, &request.tokens[..most]);
    AttentionFrame {
        id,
        request: Arc::clone(request),
        layers: shape.layers,
        heads: shape.heads,
        n: request.goal.len() + most,
        weights: weights.into(),
    }
}

/// What the model's tokens stand for in an environment.
pub fn bins(model: &TrajectoryModel, spec: &EnvironmentSpec) -> Bins {
    let config = &model.config;
    let seen = config.observation.iter().map(|dim| spec.observation.get(*dim));
    let mut names: Vec<String> = seen.map(|seen| seen.map_or("s", |d| d.name).to_owned()).collect();
    names.extend(spec.action.iter().take(config.layout.actions).map(|d| d.name.to_owned()));
    if config.layout.rewards {
        names.extend(["r".to_owned(), "R".to_owned()]);
    }
    Bins {
        layout: config.layout,
        centers: model.discretizer.centers.clone(),
        names,
        goal_dims: config.goal_dims.clone(),
        stride: config.stride,
        observation: config.observation.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::branches::tests::{bins, record};

    #[test]
    fn a_search_that_grows_is_shown_from_its_own_step_on() {
        let at = |at_step| Arc::new(SearchRecord { at_step, ..SearchRecord::clone(&record()) });
        let request = DriveRequest {
            start: Vec::new(),
            goal: Vec::new(),
            beam: Default::default(),
            control: Default::default(),
            seed: 0,
            edits: Vec::new(),
            shows_pruned: false,
            max_steps: 9,
        };
        let mut frame = BeamFrame {
            id: 1,
            request: Arc::new(request),
            drive: Drive::default(),
            growing: Some(at(0)),
            bins: Arc::new(bins()),
        };
        let is_growing = |frame: &BeamFrame, step| {
            Arc::ptr_eq(frame.search_at(step).unwrap(), frame.growing.as_ref().unwrap())
        };
        assert!(is_growing(&frame, 0), "there is no other");
        frame.drive.searches = vec![at(0), at(2)];
        frame.growing = Some(at(4));
        assert!(!is_growing(&frame, 3) && is_growing(&frame, 4) && is_growing(&frame, 9));
        assert_eq!(frame.search_at(3).unwrap().at_step, 2);
        frame.growing = None;
        assert_eq!(frame.search_at(9).unwrap().at_step, 2);
    }
}
