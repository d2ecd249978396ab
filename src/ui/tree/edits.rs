//! A person's changes to the first search, with undo and redo of their own:
//! they belong to one search, not to the scene.

use crate::data::TokenKind;
use crate::plan::beam::{BeamTree, Edit, EditKind};

use super::Tree;

/// The edits before and after.
#[derive(Default)]
pub(super) struct Edits {
    past: Vec<Vec<Edit>>,
    future: Vec<Vec<Edit>>,
}

impl Tree {
    /// Add an edit; what contradicts it gives way.
    pub(super) fn change_edits(&mut self, tree: &BeamTree, node: usize, kind: EditKind) {
        let path = match kind {
            EditKind::Force => tree.tokens(node),
            EditKind::Prune => tree.tokens(cut(tree, node)),
        };
        let mut edits = self.edits.clone();
        edits.retain(|old| match (kind, old.kind) {
            (EditKind::Prune, _) => !old.path.starts_with(&path),
            (EditKind::Force, EditKind::Prune) => !path.starts_with(&old.path),
            // One way at a time.
            (EditKind::Force, EditKind::Force) => false,
        });
        self.asking.edited(path.len().saturating_sub(1));
        edits.push(Edit { path, kind });
        self.set_edits(edits);
    }

    /// Take back every edit; that can be undone.
    pub fn clear_edits(&mut self) {
        if !self.edits.is_empty() {
            self.set_edits(Vec::new());
        }
    }

    fn set_edits(&mut self, edits: Vec<Edit>) {
        self.past_edits.past.push(std::mem::replace(&mut self.edits, edits));
        self.past_edits.future.clear();
    }

    /// Take one edit back.
    pub fn remove_edit(&mut self, index: usize) {
        let mut edits = self.edits.clone();
        if index < edits.len() {
            edits.remove(index);
            self.set_edits(edits);
        }
    }

    /// Undo or redo an edit. Returns whether there was one.
    pub fn travel(&mut self, back: bool) -> bool {
        let Edits { past, future } = &mut self.past_edits;
        let (from, to) = if back { (past, future) } else { (future, past) };
        let Some(edits) = from.pop() else { return false };
        to.push(std::mem::replace(&mut self.edits, edits));
        self.pick_nothing();
        true
    }

    /// Whether [`Tree::travel`] has somewhere to go.
    pub fn can_travel(&self, back: bool) -> bool {
        let Edits { past, future } = &self.past_edits;
        if back { !past.is_empty() } else { !future.is_empty() }
    }

    /// Another question: its search has no edits.
    pub(super) fn forget_edits(&mut self) {
        self.edits.clear();
        self.past_edits = Edits::default();
    }

    pub(super) fn pick_nothing(&mut self) {
        (self.node, self.selected) = (None, None);
    }
}

/// Where a branch is cut: at the action that leads to a state, because without
/// it the next best bin of the same state would take its place.
fn cut(tree: &BeamTree, node: usize) -> usize {
    let is_action = |node: &usize| {
        let dim = tree.dim(tree.nodes[*node].depth as usize);
        tree.layout.kind(dim) == TokenKind::Action
    };
    let stops = tree.nodes[node].token == tree.layout.stop();
    let path = tree.path(node);
    if stops { node } else { path.into_iter().rev().find(is_action).unwrap_or(node) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::TokenLayout;
    use crate::plan::beam::{NONE, Node};
    use std::sync::Arc;

    /// One path of tokens 0, 1, 2, ... behind a state of two numbers.
    fn line(n: u16) -> BeamTree {
        let layout = TokenLayout { states: 2, actions: 1, rewards: false, goals: 0, bins: 50 };
        let nodes = (0..n).map(|token| Node {
            parent: if token == 0 { NONE } else { u32::from(token) - 1 },
            token,
            depth: u32::from(token),
            log_prob: -1.0,
            total: -1.0,
            value: f32::NAN,
            kept: true,
        });
        BeamTree {
            layout,
            context: Arc::new([0, 0]),
            nodes: nodes.collect(),
            levels: (0..usize::from(n)).map(|depth| depth..depth + 1).collect(),
            best: Some(usize::from(n) - 1),
            done: true,
        }
    }

    #[test]
    fn a_state_is_cut_at_the_action_that_leads_there_and_forced_as_it_is() {
        let (mut tree, search) = (Tree::default(), line(6));
        // Depths: action, state, state, action, state, state.
        tree.change_edits(&search, 5, EditKind::Prune);
        assert_eq!(tree.edits, [Edit { path: vec![0, 1, 2, 3], kind: EditKind::Prune }]);
        tree.change_edits(&search, 2, EditKind::Force);
        assert_eq!(tree.edits.len(), 2, "a force above a prune leaves it");
        tree.change_edits(&search, 5, EditKind::Force);
        assert_eq!(tree.edits, [Edit { path: (0..6).collect(), kind: EditKind::Force }]);
        tree.change_edits(&search, 0, EditKind::Prune);
        assert_eq!(tree.edits, [Edit { path: vec![0], kind: EditKind::Prune }]);
    }

    #[test]
    fn edits_are_undone_and_redone_one_by_one() {
        let (mut tree, search) = (Tree::default(), line(6));
        tree.change_edits(&search, 0, EditKind::Prune);
        tree.clear_edits();
        assert!(tree.edits.is_empty() && tree.travel(true));
        assert_eq!(tree.edits.len(), 1);
        assert!(tree.travel(true) && tree.edits.is_empty() && !tree.can_travel(true));
        assert!(tree.travel(false) && tree.travel(false) && !tree.travel(false));
        tree.travel(true);
        tree.remove_edit(0);
        assert!(tree.edits.is_empty() && !tree.can_travel(false));
    }
}
