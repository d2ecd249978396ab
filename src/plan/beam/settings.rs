//! What a search is asked, and whether it can be answered.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::SearchError;
use crate::data::TokenLayout;

/// What the search looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SearchMode {
    /// The most likely continuation: imitation, and goal reaching where the
    /// model is given a goal.
    Likelihood,
    /// The highest predicted return among sampled actions: offline
    /// reinforcement learning.
    Reward,
    /// Independent samples of what the model believes, without selection.
    Sample,
    /// Samples of what the model believes, no two alike, and the most likely
    /// of them as the plan: stochastic beam search.
    Distinct,
}

/// How to search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BeamSettings {
    /// What the search looks for.
    pub mode: SearchMode,
    /// Continuations kept at a time; the number of samples for
    /// [`SearchMode::Sample`].
    pub beam: usize,
    /// Actions sampled per beam and transition, [`SearchMode::Reward`] only.
    pub expand: usize,
    /// Transitions planned.
    pub horizon: usize,
    /// Most transitions the model rereads, the one under way included. Less
    /// where the model's block is shorter.
    pub context: usize,
    /// Only this many of the most likely bins of a state number; 0 keeps all,
    /// 1 is greedy.
    pub observation_k: usize,
    /// Leave out the least likely bins of a state number while their mass is
    /// below this; 0 keeps all.
    pub observation_cdf: f32,
    /// As `observation_k`, for action numbers.
    pub action_k: usize,
    /// As `observation_cdf`, for action numbers.
    pub action_cdf: f32,
    /// Discount of rewards per transition.
    pub discount: f32,
    /// Divides logits before filters and sampling, never in recorded
    /// probabilities and expectations.
    pub temperature: f32,
    /// Transitions acted on before the next search; for the caller.
    pub replan_every: usize,
    /// Bins on either side of a pruned path that are pruned with it; see
    /// [`EditKind::Prune`].
    pub prune_reach: usize,
}

impl Default for BeamSettings {
    /// The released code's filters and horizon, with a beam a CPU can carry.
    fn default() -> Self {
        Self {
            mode: SearchMode::Likelihood,
            beam: 32,
            expand: 2,
            horizon: 15,
            context: 5,
            observation_k: 1,
            observation_cdf: 0.0,
            action_k: 0,
            action_cdf: 0.6,
            discount: 0.99,
            temperature: 1.0,
            replan_every: 1,
            prune_reach: 16,
        }
    }
}

/// Ask for a search.
#[derive(Clone, Debug, PartialEq)]
pub struct BeamRequest {
    /// One token per goal of the layout.
    pub goal: Vec<u16>,
    /// Whole transitions, oldest first, then the tokens of the present state.
    pub context: Vec<u16>,
    /// How to search.
    pub settings: BeamSettings,
    /// Seed of the samples.
    pub seed: u64,
    /// What a person changed.
    pub edits: Vec<Edit>,
    /// Whether the present state may be the goal's. If not, no continuation
    /// ends with the present transition, however sure the model is.
    pub may_have_arrived: bool,
    /// [`SearchMode::Reward`] only: also predict the states that rejected
    /// actions lead to. Costs up to `expand` times the work on state tokens
    /// and changes nothing else.
    pub shows_pruned: bool,
}

/// A person's change of a search. Several combine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The tokens after the context, down to a node: [`super::BeamTree::tokens`].
    pub path: Vec<u16>,
    /// What becomes of that node.
    pub kind: EditKind,
}

/// What becomes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditKind {
    /// No continuation passes through it. With a reach of some bins in
    /// [`BeamSettings::prune_reach`], neither does any whose states so far, and
    /// whose numbers of the node's own transition, are all that near.
    Prune,
    /// Every continuation passes through it, however unlikely, and even if it
    /// is near a pruned one.
    Force,
}

/// A request that can be answered.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    /// The newest part of the context, short enough for the next transition.
    pub context: Arc<[u16]>,
    /// Tokens per row that survive a crop, present state included.
    pub tail: usize,
    /// The longest forced path; empty where nothing is forced.
    pub forced: Vec<u16>,
    /// Paths that no continuation may start with.
    pub pruned: Vec<Vec<u16>>,
}

fn refuse<T>(why: impl Into<String>) -> Result<T, SearchError> {
    Err(SearchError(why.into()))
}

impl BeamRequest {
    /// The request as the search uses it, for a model of this layout whose
    /// rows hold `block` tokens.
    pub(super) fn check(&self, layout: TokenLayout, block: usize) -> Result<Checked, SearchError> {
        check_layout(layout)?;
        self.settings.check(layout)?;
        if self.goal.len() != layout.goals {
            return refuse(format!(
                "the model reads {} goal tokens, not {}",
                layout.goals,
                self.goal.len()
            ));
        }
        let per_transition = layout.per_transition();
        if self.context.len() % per_transition != layout.states {
            return refuse(format!(
                "{} context tokens are not whole transitions of {per_transition} and a state of {}",
                self.context.len(),
                layout.states
            ));
        }
        if let Some(token) =
            self.goal.iter().chain(&self.context).find(|token| **token >= layout.stop())
        {
            return refuse(format!("token {token} is not one of {} bins", layout.bins));
        }
        let fitting = block.saturating_sub(layout.states) / per_transition;
        if fitting == 0 {
            return refuse(format!(
                "{block} tokens are too few for a state and a transition of {per_transition}"
            ));
        }
        let transitions = self.settings.context.min(fitting);
        let tail = (transitions - 1) * per_transition + layout.states;
        let newest = self.context.len().saturating_sub(tail);
        let (forced, pruned) = check_edits(&self.edits, layout)?;
        Ok(Checked { context: self.context[newest..].into(), tail, forced, pruned })
    }
}

fn check_layout(layout: TokenLayout) -> Result<(), SearchError> {
    if layout.states == 0 || layout.actions == 0 {
        return refuse("a transition needs a state and an action");
    }
    if layout.bins == 0 || layout.bins >= usize::from(u16::MAX) {
        return refuse(format!("{} bins do not fit a token", layout.bins));
    }
    Ok(())
}

impl BeamSettings {
    /// What is searched for and how far, in a few words.
    pub fn describe(&self) -> String {
        let mode = match self.mode {
            SearchMode::Likelihood => "likelihood",
            SearchMode::Reward => "reward",
            SearchMode::Sample => "samples",
            SearchMode::Distinct => "distinct samples",
        };
        format!("{mode}, beam {}, horizon {}, context {}", self.beam, self.horizon, self.context)
    }

    /// Whether a model of this layout can be searched so.
    ///
    /// # Errors
    /// Numbers no search can have, with what would do.
    pub fn check(&self, layout: TokenLayout) -> Result<(), SearchError> {
        for (name, value, most) in [
            ("beam", self.beam, 4096),
            ("expand", self.expand, 256),
            ("horizon", self.horizon, 1000),
            ("context", self.context, 1000),
            ("replan_every", self.replan_every, 100_000),
        ] {
            if !(1..=most).contains(&value) {
                return refuse(format!("{name} of {value}; use 1 to {most}"));
            }
        }
        if self.prune_reach > 1000 {
            return refuse(format!("prune_reach of {}; use 0 to 1000", self.prune_reach));
        }
        for (name, value) in
            [("observation_cdf", self.observation_cdf), ("action_cdf", self.action_cdf)]
        {
            if !(0.0..1.0).contains(&value) {
                return refuse(format!("{name} must lie in [0, 1), not {value}"));
            }
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return refuse(format!("temperature must be above 0, not {}", self.temperature));
        }
        if !(self.discount > 0.0 && self.discount <= 1.0) {
            return refuse(format!("discount must lie in (0, 1], not {}", self.discount));
        }
        if self.mode == SearchMode::Reward && !layout.rewards {
            return refuse("the model does not know rewards; search by likelihood");
        }
        // Nodes are numbered with 32 bits, of which the last is no node.
        let nodes = self.expand.max(2).checked_mul(self.beam).and_then(|width| {
            width.checked_mul(self.horizon)?.checked_mul(layout.per_transition())
        });
        if nodes.is_none_or(|nodes| nodes >= u32::MAX as usize) {
            return refuse("beam times expand times horizon is too large");
        }
        Ok(())
    }
}

/// The forced path, and the pruned ones.
fn check_edits(
    edits: &[Edit],
    layout: TokenLayout,
) -> Result<(Vec<u16>, Vec<Vec<u16>>), SearchError> {
    let mut forced: &[u16] = &[];
    let mut pruned = Vec::new();
    for edit in edits {
        check_path(&edit.path, layout)?;
        match edit.kind {
            EditKind::Prune => pruned.push(edit.path.clone()),
            EditKind::Force => {
                let shared = forced.len().min(edit.path.len());
                if forced[..shared] != edit.path[..shared] {
                    return refuse("two forced paths contradict each other");
                }
                if edit.path.len() > forced.len() {
                    forced = &edit.path;
                }
            }
        }
    }
    if pruned.iter().any(|path| forced.starts_with(path)) {
        return refuse("a forced path leads through a pruned one");
    }
    Ok((forced.to_vec(), pruned))
}

fn check_path(path: &[u16], layout: TokenLayout) -> Result<(), SearchError> {
    if path.is_empty() {
        return refuse("an edit needs a path of at least one token");
    }
    for (depth, token) in path.iter().enumerate() {
        let is_first = (layout.states + depth).is_multiple_of(layout.per_transition());
        let may_stop = is_first && depth + 1 == path.len();
        if *token > layout.stop() || (*token == layout.stop() && !may_stop) {
            return refuse(format!("an edit has token {token} at depth {depth}"));
        }
    }
    Ok(())
}
