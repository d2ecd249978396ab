//! A beam search on the stage: which episode is shown, which token a person
//! looks at, and what they changed.
//!
//! [`asking`] sends a request whenever what is wanted differs from what was
//! asked last, so nothing here has to be told about sliders or undo.

mod asking;
mod edits;

use std::sync::Arc;

use crate::lab::beam::{BeamFrame, SequenceToken};
use crate::plan::beam::Edit;
use crate::plan::beam::drive::SearchRecord;

use super::panels::attention::AttentionView;
use super::panels::dream::DreamView;
use super::stage::tree::{Pictures, export::Pending};
use super::transport::{Clock, Extent, SEARCH_SECS, Transport};
use asking::Asking;
use edits::Edits;

/// See the module's documentation.
#[derive(Default)]
pub struct Tree {
    /// The newest episode for what was asked last; until its first search is
    /// there, the one before.
    pub frame: Option<Arc<BeamFrame>>,
    /// A person's prunes and forces of the first search.
    pub edits: Vec<Edit>,
    /// The node picked on the stage, in the shown search.
    pub node: Option<usize>,
    /// The picked token, an index into [`Tree::sequence`].
    pub selected: Option<usize>,
    /// The token under the pointer, set anew each frame.
    pub hovered: Option<usize>,
    /// What is shown of the attention.
    pub attention: AttentionView,
    /// Dreams, and how they are looked at.
    pub dream: DreamView,
    /// The node under the pointer on the stage.
    pub(super) pointed: Option<usize>,
    /// What the pointer was over in this frame: whatever is drawn before that
    /// sees it in the next.
    pub(super) hovered_next: Option<usize>,
    /// What is drawn, made again when it changes.
    pub(super) pictures: Pictures,
    /// A picture of the stage that is on its way to a file.
    pub(super) export: Pending,
    asking: Asking,
    past_edits: Edits,
    sequence: Option<(Arc<SearchRecord>, Arc<[SequenceToken]>)>,
}

impl Tree {
    /// The search that is under way at the environment clock.
    pub fn shown(&self, transport: &Transport) -> Option<Arc<SearchRecord>> {
        let frame = self.frame.as_ref()?;
        frame.search_at(step_at(frame, transport)).cloned()
    }

    /// Everything the shown search read and planned.
    pub fn sequence(&mut self, transport: &Transport) -> Option<Arc<[SequenceToken]>> {
        let shown = self.shown(transport)?;
        match &self.sequence {
            Some((record, tokens)) if Arc::ptr_eq(record, &shown) => Some(tokens.clone()),
            _ => {
                let tokens: Arc<[_]> = self.frame.as_ref()?.sequence(&shown).into();
                self.sequence = Some((shown, tokens.clone()));
                Some(tokens)
            }
        }
    }

    /// Whether the shown search is the first, which alone can be changed.
    pub fn shows_first(&self, transport: &Transport) -> bool {
        let first = self.frame.as_ref().and_then(|frame| frame.drive.searches.first());
        match (first, self.shown(transport)) {
            (Some(first), Some(shown)) => Arc::ptr_eq(first, &shown),
            _ => false,
        }
    }

    /// The environment step at the clock, and what part of the next has passed.
    pub fn moment(&self, transport: &Transport) -> Option<(usize, f32)> {
        let frame = self.frame.as_ref()?;
        let last = frame.drive.states.len().checked_sub(1)?;
        let at = transport.time_secs / frame.drive.dt_secs.max(1e-6);
        let step = (at.max(0.0).floor() as usize).min(last);
        Some((step, if step < last { at.fract() } else { 0.0 }))
    }

    /// What there is to play.
    pub fn extent(&self, transport: &Transport) -> Extent {
        let Some(frame) = &self.frame else {
            return Extent { dt_secs: 0.05, is_growing: true, ..Extent::default() };
        };
        let shown = self.shown(transport);
        let ready = shown.as_ref().map_or(0, |shown| shown.tree.levels.len());
        // One that grows has so many tokens at most.
        let is_whole = shown.is_none_or(|shown| shown.tree.done);
        let most = frame.request.beam.horizon * frame.bins.layout.per_transition();
        let chain_steps = if is_whole { ready } else { most.max(ready) };
        let (drive, steps) = (&frame.drive, frame.drive.states.len().saturating_sub(1));
        Extent {
            chain_steps,
            chain_ready: ready as f32,
            chain_secs: SEARCH_SECS,
            time_secs: steps as f32 * drive.dt_secs,
            dt_secs: drive.dt_secs,
            is_growing: !drive.finished,
            checkpoints: 0,
        }
    }

    /// Where the states that the shown search considered are on the map.
    pub fn branch_ends(&self) -> Vec<[f32; 2]> {
        let branches = self.pictures.branches();
        branches.map_or_else(Vec::new, |known| known.all.iter().map(|branch| branch.to).collect())
    }

    /// Look at a node, and at its token if the plan goes through it.
    pub fn pick(&mut self, node: Option<usize>, transport: &Transport) {
        self.node = node;
        self.selected = node.and_then(|node| self.token_of(node, transport));
    }

    /// Look at a token, and at its node if it is planned.
    pub fn select(&mut self, token: Option<usize>, transport: &Transport) {
        self.selected = token;
        self.node = token.and_then(|token| self.node_of(token, transport));
    }

    /// The planned token that a node on the best path stands for.
    pub fn token_of(&self, node: usize, transport: &Transport) -> Option<usize> {
        let shown = self.shown(transport)?;
        let depth = shown.tree.path(shown.tree.best?).iter().position(|on| *on == node)?;
        Some(shown.goal.len() + shown.tree.context.len() + depth)
    }

    /// The node of a planned token.
    pub fn node_of(&self, token: usize, transport: &Transport) -> Option<usize> {
        let shown = self.shown(transport)?;
        let depth = token.checked_sub(shown.goal.len() + shown.tree.context.len())?;
        shown.tree.path(shown.tree.best?).get(depth).copied()
    }

    /// Follow the clocks: another search may be shown than a frame ago. What
    /// was picked stays picked where the new search has it too.
    pub(super) fn follow(&mut self, transport: &mut Transport) {
        self.hovered = self.hovered_next.take();
        self.pointed = None;
        let Some(shown) = self.shown(transport) else {
            (self.node, self.selected, self.sequence) = (None, None, None);
            return;
        };
        if self.sequence.as_ref().is_some_and(|(record, _)| Arc::ptr_eq(record, &shown)) {
            return;
        }
        let old = self.sequence.take();
        let new = self.sequence(transport).unwrap_or_default();
        let picked = old.as_ref().and_then(|(_, tokens)| tokens.get(self.selected?));
        let again = picked.and_then(|old| new.iter().position(|new| is_same(old, new)));
        self.select(again, transport);
        // A search that grows is followed at the pace of the clock.
        let was_whole = old.is_none_or(|(record, _)| {
            record.tree.done && transport.chain >= record.tree.levels.len() as f32
        });
        let end = shown.tree.levels.len() as f32;
        // Growth is for the search one looks into; the walk passes by whole ones.
        if transport.clock == Clock::Environment || (was_whole && transport.chain > 0.0) {
            transport.chain = end;
        }
        transport.chain = transport.chain.min(end);
    }
}

/// Whether two tokens stand for the same number of the same transition.
fn is_same(a: &SequenceToken, b: &SequenceToken) -> bool {
    (a.kind, a.dim, a.transition) == (b.kind, b.dim, b.transition)
}

fn step_at(frame: &BeamFrame, transport: &Transport) -> usize {
    // A hair more: a clock that stands on a step may read a little less.
    (transport.time_secs / frame.drive.dt_secs.max(1e-6) + 1e-3).max(0.0) as usize
}
