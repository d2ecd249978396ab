//! What was asked, and how its answer comes onto the stage.

use crate::lab::scene::StageConfig;
use crate::lab::{Phase, Scene, Session};
use crate::plan::beam::drive::DriveRequest;
use crate::plan::beam::{BeamSettings, EditKind};
use crate::ui::place::Place;
use crate::ui::transport::{Clock, Transport};

use super::Tree;

/// After this long without an answer, a request no longer holds back the next.
const PATIENCE_SECS: f64 = 2.0;

/// How the first answer to a request comes onto the stage.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Entrance {
    /// The search grows from this token on, then the agent walks.
    Grow(f32),
    /// At once, and the agent stays where it starts: something is being dragged.
    Whole,
    /// As the last one was looked at: another setting, the same question.
    #[default]
    Same,
}

/// The newest request.
#[derive(Default)]
pub(super) struct Asking {
    request: Option<DriveRequest>,
    id: u64,
    sent_secs: f64,
    entrance: Entrance,
    was_loading: bool,
    /// The token that the newest edit is about, until it is asked.
    edited_at: Option<f32>,
}

impl Asking {
    pub(super) fn edited(&mut self, depth: usize) {
        self.edited_at = Some(depth as f32);
    }
}

/// What the scene asks, without a person's edits.
fn wanted(scene: &Scene, place: &Place, stage: &StageConfig) -> DriveRequest {
    let spec = &place.spec;
    let mut start = stage.start.to_vec();
    start.resize(spec.state.len(), 0.0);
    DriveRequest {
        start,
        goal: stage.goal.into_iter().take(spec.goal_dims.len()).collect(),
        beam: scene.beam.clone(),
        control: scene.control.clone(),
        seed: stage.seed,
        edits: Vec::new(),
        shows_pruned: true,
        max_steps: scene.environment.max_steps,
    }
}

impl Tree {
    /// Ask again what is asked already: another model answers.
    pub(in crate::ui) fn ask_again(&mut self) {
        self.asking.request = None;
    }

    /// Ask for what is now wanted, if that is not what was asked last. Returns
    /// in how many seconds to look again, if the last request holds it back.
    pub(in crate::ui) fn pump(
        &mut self,
        session: &mut Session,
        place: &Place,
        stage: &StageConfig,
        is_dragging: bool,
        now_secs: f64,
    ) -> Option<f64> {
        let phase = session.status().phase;
        if phase == Phase::Failed {
            return None;
        }
        let is_loading = phase == Phase::Loading;
        if is_loading && !self.asking.was_loading {
            // A load drops what was being computed.
            self.asking.request = None;
        }
        self.asking.was_loading = is_loading;
        let mut wanted = wanted(session.scene(), place, stage);
        let entrance = self.entrance(&mut wanted, is_dragging);
        if self.asking.request.as_ref() == Some(&wanted) {
            return None;
        }
        if self.is_awaited(now_secs) {
            return Some(PATIENCE_SECS - (now_secs - self.asking.sent_secs));
        }
        self.asking.request = Some(wanted.clone());
        self.asking.entrance = entrance;
        self.asking.edited_at = None;
        self.asking.sent_secs = now_secs;
        self.asking.id = session.ask_beam(wanted);
        None
    }

    /// Give `wanted` the edits it still has, and say how its answer enters.
    /// Another question takes back what was changed by hand.
    fn entrance(&mut self, wanted: &mut DriveRequest, is_dragging: bool) -> Entrance {
        let Some(asked) = &self.asking.request else {
            wanted.edits.clone_from(&self.edits);
            let is_first = self.frame.is_none();
            return if is_first { Entrance::Grow(0.0) } else { Entrance::Same };
        };
        let is_moved =
            (&asked.start, &asked.goal, asked.seed) != (&wanted.start, &wanted.goal, wanted.seed);
        // What is pruned around an edit is looked at, not another search.
        let beam = BeamSettings { prune_reach: asked.beam.prune_reach, ..wanted.beam.clone() };
        let is_widened = beam != wanted.beam;
        let is_set = (&asked.beam, &asked.control, asked.max_steps)
            != (&beam, &wanted.control, wanted.max_steps);
        if is_moved || is_set {
            self.forget_edits();
            self.pick_nothing();
        }
        wanted.edits.clone_from(&self.edits);
        if !self.edits.iter().any(|edit| edit.kind == EditKind::Prune) {
            // There is nothing around which it could be.
            wanted.beam = beam;
        }
        match (is_moved, is_dragging) {
            (_, true) => Entrance::Whole,
            (true, false) => Entrance::Grow(0.0),
            (false, false) if is_set || is_widened => Entrance::Same,
            (false, false) => Entrance::Grow(self.asking.edited_at.unwrap_or(0.0)),
        }
    }

    /// Whether the last request still has no answer. Asked at every move of a
    /// mouse, each would cancel the one before, and none would ever be seen.
    fn is_awaited(&self, now_secs: f64) -> bool {
        let waited = now_secs - self.asking.sent_secs;
        self.asking.request.is_some()
            && !self.is_answered()
            && (0.0..PATIENCE_SECS).contains(&waited)
    }

    /// Whether the first search of what was asked last is there.
    fn is_answered(&self) -> bool {
        let newest = self.frame.as_ref().filter(|frame| frame.id == self.asking.id);
        newest.is_some_and(|frame| !frame.drive.searches.is_empty())
    }

    /// Whether the episode shown is the one that was asked for last.
    pub fn is_fresh(&self) -> bool {
        let newest = self.frame.as_ref().filter(|frame| frame.id == self.asking.id);
        newest.is_some_and(|frame| Some(&*frame.request) == self.asking.request.as_ref())
    }

    /// Whether the first search of what was asked is still under way.
    pub fn is_waiting(&self) -> bool {
        self.asking.request.is_some() && !self.is_answered()
    }

    /// Take over what the session has computed since the last frame.
    pub(in crate::ui) fn take(&mut self, session: &Session, transport: &mut Transport) {
        let Some(frame) = session.beam().filter(|frame| frame.id == self.asking.id) else { return };
        if self.frame.as_ref().is_some_and(|old| std::sync::Arc::ptr_eq(old, &frame)) {
            return;
        }
        // Where a search is not watched as it grows, half of one would take the
        // place of the whole one before it.
        let is_watched = matches!(self.asking.entrance, Entrance::Grow(_));
        if frame.drive.searches.is_empty() && frame.growing.is_some() && !is_watched {
            return;
        }
        let before = self.extent(transport);
        let is_new = self.frame.as_ref().is_none_or(|old| old.id != frame.id);
        self.frame = Some(frame);
        if !is_new {
            return;
        }
        match self.asking.entrance {
            Entrance::Grow(from) => {
                transport.replay();
                transport.chain = from;
            }
            Entrance::Whole => {
                transport.clock = Clock::Environment;
                transport.time_secs = 0.0;
            }
            Entrance::Same => {
                let had_ended = transport.time_secs >= before.time_secs - 1e-4;
                if transport.clock == Clock::Environment && had_ended {
                    transport.playing = true;
                }
                transport.time_secs = 0.0;
            }
        }
    }

    /// A drag ended: what it asked for last grows and is carried out.
    pub(in crate::ui) fn dropped(&mut self, transport: &mut Transport) {
        transport.held = false;
        self.asking.entrance = Entrance::Grow(0.0);
        if self.is_answered() {
            transport.replay();
        }
    }

    /// Prune or force the picked node. Returns whether there was one that can
    /// be.
    pub fn edit(&mut self, kind: EditKind, transport: &Transport) -> bool {
        let (Some(node), true) = (self.node, self.shows_first(transport)) else { return false };
        let Some(shown) = self.shown(transport) else { return false };
        self.change_edits(&shown.tree, node, kind);
        self.pick_nothing();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::beam::Edit;
    use crate::ui::testing::tiny_scene;

    fn asked() -> (Tree, DriveRequest) {
        let scene = tiny_scene();
        let place = Place::new(&scene.environment).unwrap();
        let request = wanted(&scene, &place, &scene.stage);
        let asking = Asking { request: Some(request.clone()), id: 3, ..Asking::default() };
        (Tree { asking, ..Tree::default() }, request)
    }

    #[test]
    fn a_request_holds_back_the_next_until_it_is_answered_but_not_forever() {
        let (tree, _) = asked();
        assert!(tree.is_awaited(0.5) && !tree.is_awaited(PATIENCE_SECS));
        assert!(!Tree::default().is_awaited(0.5));
    }

    #[test]
    fn another_goal_takes_back_edits_and_grows_anew_but_not_during_a_drag() {
        let (mut tree, request) = asked();
        tree.edits = vec![Edit { path: vec![1], kind: EditKind::Prune }];
        let mut same = request.clone();
        assert_eq!(tree.entrance(&mut same, false), Entrance::Grow(0.0));
        assert_eq!(same.edits, tree.edits);
        let mut moved = DriveRequest { goal: vec![9.0, 9.0], ..request.clone() };
        assert_eq!(tree.entrance(&mut moved, true), Entrance::Whole);
        assert!(tree.edits.is_empty() && moved.edits.is_empty());
        assert_eq!(tree.entrance(&mut moved, false), Entrance::Grow(0.0));
        let mut set = request;
        set.beam.beam += 1;
        assert_eq!(tree.entrance(&mut set, false), Entrance::Same);
    }

    #[test]
    fn what_is_pruned_around_an_edit_can_be_changed_without_losing_it() {
        let (mut tree, request) = asked();
        let mut wider = request.clone();
        wider.beam.prune_reach += 5;
        let mut without = wider.clone();
        assert_eq!(tree.entrance(&mut without, false), Entrance::Same);
        assert_eq!(without, request, "nothing is pruned, so nothing is asked");
        tree.edits = vec![Edit { path: vec![1], kind: EditKind::Prune }];
        assert_eq!(tree.entrance(&mut wider, false), Entrance::Same);
        assert_eq!((tree.edits.len(), wider.edits.len()), (1, 1));
        assert_eq!(wider.beam.prune_reach, request.beam.prune_reach + 5);
    }
}
