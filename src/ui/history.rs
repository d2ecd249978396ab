//! Undo and redo: the scenes before and after each edit.

use std::sync::Arc;

use crate::lab::Scene;

/// Most edits remembered.
const CAPACITY: usize = 200;

/// What an edit changed; edits of the same thing during one gesture are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditTag {
    /// The start.
    Start,
    /// The goal.
    Goal,
    /// The waypoint with this index.
    Via(usize),
    /// Waypoints added or removed.
    ViaList,
    /// Walls.
    Walls,
    /// The knob with this id.
    Knob(&'static str),
    /// The seed.
    Seed,
    /// The first demonstration.
    Demonstrations,
    /// Painted rewards.
    Rewards,
    /// Sampler and steps, by a point of the trade-off.
    Frontier,
}

impl EditTag {
    /// For the tooltip of undo: what it would take back.
    pub fn describe(self) -> String {
        match self {
            Self::Start => "moving the start".into(),
            Self::Goal => "moving the goal".into(),
            Self::Via(_) => "changing a waypoint".into(),
            Self::ViaList => "adding or removing a waypoint".into(),
            Self::Walls => "painting walls".into(),
            Self::Knob(id) => format!("changing {id}"),
            Self::Seed => "changing the seed".into(),
            Self::Demonstrations => "adding a demonstration".into(),
            Self::Rewards => "painting rewards".into(),
            Self::Frontier => "choosing sampler and steps".into(),
        }
    }
}

struct Entry {
    tag: EditTag,
    scene: Arc<Scene>,
}

/// The scenes one can go back and forth to.
#[derive(Default)]
pub struct History {
    past: Vec<Entry>,
    future: Vec<Entry>,
    /// The gesture in progress, whose further edits join its first.
    open: Option<EditTag>,
}

impl History {
    /// Remember the scene as it was before an edit.
    pub fn record(&mut self, tag: EditTag, before: &Scene) {
        self.future.clear();
        if self.open == Some(tag) {
            return;
        }
        self.open = Some(tag);
        self.past.push(Entry { tag, scene: Arc::new(before.clone()) });
        if self.past.len() > CAPACITY {
            self.past.remove(0);
        }
    }

    /// A gesture ended: the next edit is a new one.
    pub fn seal(&mut self) {
        self.open = None;
    }

    /// The scene before the last edit; `now` becomes what redo returns to.
    pub fn undo(&mut self, now: &Scene) -> Option<Arc<Scene>> {
        self.seal();
        let entry = self.past.pop()?;
        self.future.push(Entry { tag: entry.tag, scene: Arc::new(now.clone()) });
        Some(entry.scene)
    }

    /// The scene after the edit that was last taken back.
    pub fn redo(&mut self, now: &Scene) -> Option<Arc<Scene>> {
        self.seal();
        let entry = self.future.pop()?;
        self.past.push(Entry { tag: entry.tag, scene: Arc::new(now.clone()) });
        Some(entry.scene)
    }

    /// How many edits undo could take back.
    pub fn depth(&self) -> usize {
        self.past.len()
    }

    /// What undo would take back.
    pub fn undoable(&self) -> Option<EditTag> {
        self.past.last().map(|entry| entry.tag)
    }

    /// What redo would do again.
    pub fn redoable(&self) -> Option<EditTag> {
        self.future.last().map(|entry| entry.tag)
    }

    /// Another scene was opened.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(title: &str) -> Scene {
        let mut scene = crate::ui::testing::tiny_scene();
        scene.title = title.into();
        scene
    }

    #[test]
    fn a_gesture_is_one_edit() {
        let mut history = History::default();
        history.record(EditTag::Goal, &scene("a"));
        history.record(EditTag::Goal, &scene("b"));
        history.seal();
        history.record(EditTag::Goal, &scene("c"));
        let back = history.undo(&scene("d")).unwrap();
        assert_eq!(back.title, "c");
        assert_eq!(history.undo(&back).unwrap().title, "a");
        assert!(history.undo(&back).is_none());
    }

    #[test]
    fn redo_returns_what_undo_took_and_a_new_edit_forgets_it() {
        let mut history = History::default();
        history.record(EditTag::Seed, &scene("before"));
        let now = scene("after");
        let before = history.undo(&now).unwrap();
        assert_eq!(history.redoable(), Some(EditTag::Seed));
        assert_eq!(history.redo(&before).unwrap().title, "after");
        history.undo(&now);
        history.record(EditTag::Walls, &before);
        assert!(history.redo(&before).is_none());
    }
}
