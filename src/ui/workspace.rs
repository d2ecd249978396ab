//! The workspace: which panels stand where. Tabs can be dragged to other
//! places, edges moved; both are remembered.

mod layout;

use eframe::egui::{self, Color32, Frame, Margin, Stroke, Ui, Visuals, WidgetText};
use egui_tiles::{
    Behavior, Container, EditAction, LinearDir, SimplificationOptions, TabState, Tile, TileId,
    Tiles, Tree, UiResponse,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

use super::app::App;
use super::theme::{self, small};
use super::{compare, panels};
use crate::files::read_text_limited;
use crate::lab::files::LAYOUT;

pub use layout::Layout;

/// A panel with a place of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pane {
    /// Settings of planner, control and environment.
    Controls,
    /// Start and steer a run.
    Training,
    /// Where everything happens.
    Stage,
    /// What the model did, in numbers.
    Inspector,
    /// What training looks like.
    Learning,
}

impl Pane {
    const ALL: [Self; 5] =
        [Self::Controls, Self::Training, Self::Stage, Self::Inspector, Self::Learning];

    fn title(self) -> &'static str {
        match self {
            Self::Controls => "Controls",
            Self::Training => "Training",
            Self::Stage => "Stage",
            Self::Inspector => "Inspect",
            Self::Learning => "Learning",
        }
    }
}

/// Narrowest panel.
const MIN_SIZE: f32 = 180.0;
const TAB_HEIGHT: f32 = 28.0;
/// Largest layout file read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Where every panel stands.
pub struct Workspace {
    tree: Tree<Pane>,
    /// Width of the workspace a frame ago.
    width: f32,
    /// Whether it changed since it was last kept.
    pub(super) is_changed: bool,
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new(&Layout::default())
    }
}

impl Workspace {
    /// A workspace as `layout` says; one that lacks a panel is not used.
    pub fn new(layout: &Layout) -> Self {
        let default = Layout::default();
        let layout = if layout.is_whole() { layout } else { &default };
        let mut tiles = Tiles::default();
        let root = layout.plant(&mut tiles);
        Self {
            tree: Tree::new(egui::Id::unique("workspace"), root, tiles),
            width: 0.0,
            is_changed: false,
        }
    }

    /// What stands in for a frame's own while that is drawn.
    fn empty() -> Self {
        let tree = Tree::empty(egui::Id::unique("workspace"));
        Self { tree, width: 0.0, is_changed: false }
    }

    /// What a file keeps of it.
    pub fn layout(&self) -> Layout {
        let root = self.tree.root();
        root.and_then(|root| Layout::of(&self.tree.tiles, root)).unwrap_or_default()
    }

    /// The workspace that a state folder remembers; the usual one if it
    /// remembers none, or none that can be used.
    pub fn remembered(folder: Option<&Path>) -> Self {
        let read = |folder: &Path| read_text_limited(&folder.join(LAYOUT), MAX_BYTES).ok();
        let layout = folder.and_then(read).and_then(|text| serde_json::from_str(&text).ok());
        Self::new(&layout.unwrap_or_default())
    }

    /// The text to remember it by, once after every change.
    pub(super) fn take_text(&mut self) -> Option<String> {
        std::mem::take(&mut self.is_changed).then(|| serde_json::to_string(&self.layout()).ok())?
    }

    /// Bring a panel to the front.
    pub fn show(&mut self, pane: Pane) {
        let id = self.tree.tiles.find_pane(&pane);
        self.tree.make_active(|tile, _| Some(tile) == id);
        self.is_changed = true;
    }

    /// Whether a panel is in front.
    pub fn is_front(&self, pane: Pane) -> bool {
        let id = self.tree.tiles.find_pane(&pane);
        id.is_some_and(|id| self.tree.active_tiles().contains(&id))
    }

    /// The largest part that holds `pane` and not the stage.
    fn side_of(&self, pane: Pane) -> Option<TileId> {
        let tiles = &self.tree.tiles;
        let stage = tiles.find_pane(&Pane::Stage)?;
        let holds_stage = |id: TileId| {
            std::iter::successors(Some(stage), |at| tiles.parent_of(*at)).any(|at| at == id)
        };
        let mut at = tiles.find_pane(&pane)?;
        while let Some(parent) = tiles.parent_of(at)
            && !holds_stage(parent)
        {
            at = parent;
        }
        Some(at)
    }

    /// The sides keep their width when the window's changes; the stage takes
    /// the rest.
    fn keep_sides(&mut self, width: f32) {
        let was = std::mem::replace(&mut self.width, width);
        if (was - width).abs() < 0.5 {
            return;
        }
        let stage = self.side_root(Pane::Stage);
        let Some(root) = self.tree.root() else { return };
        let Some(Tile::Container(Container::Linear(linear))) = self.tree.tiles.get(root) else {
            return;
        };
        if linear.dir != LinearDir::Horizontal {
            return;
        }
        let children = linear.children.clone();
        let total: f32 = children.iter().map(|child| linear.shares[*child]).sum();
        // Before the first frame shares are points; from then on relative.
        let scale = if was > 0.0 { was / total } else { 1.0 };
        let points: Vec<f32> = children.iter().map(|id| linear.shares[*id] * scale).collect();
        let sides: f32 = children
            .iter()
            .zip(&points)
            .filter(|(id, _)| Some(**id) != stage)
            .map(|(_, points)| points)
            .sum();
        let Some(Tile::Container(Container::Linear(linear))) = self.tree.tiles.get_mut(root) else {
            return;
        };
        for (id, points) in children.into_iter().zip(points) {
            let rest = (width - sides).max(MIN_SIZE);
            linear.shares.set_share(id, if Some(id) == stage { rest } else { points });
        }
    }

    /// The child of the root that holds `pane`.
    fn side_root(&self, pane: Pane) -> Option<TileId> {
        let tiles = &self.tree.tiles;
        let mut at = tiles.find_pane(&pane)?;
        while let Some(parent) = tiles.parent_of(at)
            && Some(parent) != self.tree.root()
        {
            at = parent;
        }
        Some(at)
    }
}

/// Lay out the panels and show them.
pub fn show(app: &mut App, ui: &mut Ui) {
    let mut workspace = std::mem::replace(&mut app.workspace, Workspace::empty());
    for (pane, is_shown) in
        [(Pane::Controls, app.show_controls), (Pane::Inspector, app.show_inspector)]
    {
        if let Some(side) = workspace.side_of(pane)
            && workspace.tree.tiles.is_visible(side) != is_shown
        {
            workspace.tree.set_visible(side, is_shown);
        }
    }
    workspace.keep_sides(ui.available_width());
    let mut shown = Shown { app, is_edited: false };
    workspace.tree.ui(&mut shown, ui);
    workspace.is_changed |= shown.is_edited;
    app.workspace = workspace;
}

struct Shown<'a> {
    app: &'a mut App,
    is_edited: bool,
}

impl Behavior<Pane> for Shown<'_> {
    fn pane_ui(&mut self, ui: &mut Ui, _: TileId, pane: &mut Pane) -> UiResponse {
        // The scroll bar floats in the margin on the right.
        let side = Frame::new().inner_margin(Margin { left: 16, ..Margin::ZERO });
        let (id, sections) = match pane {
            Pane::Stage => {
                compare::show(self.app, ui);
                return UiResponse::None;
            }
            Pane::Controls => ("controls", panels::CONTROLS),
            Pane::Training => ("training", panels::TRAINING),
            Pane::Inspector => ("inspector", panels::INSPECTOR),
            Pane::Learning => ("learning", panels::LEARNING),
        };
        side.show(ui, |ui| panels::sections(self.app, ui, id, sections));
        UiResponse::None
    }

    fn tab_title_for_pane(&mut self, pane: &Pane) -> WidgetText {
        small(pane.title()).into()
    }

    fn tab_bar_height(&self, _: &egui::Style) -> f32 {
        TAB_HEIGHT
    }

    fn gap_width(&self, _: &egui::Style) -> f32 {
        2.0
    }

    fn min_size(&self) -> f32 {
        MIN_SIZE
    }

    fn tab_title_spacing(&self, _: &Visuals) -> f32 {
        theme::GRID
    }

    fn tab_bar_color(&self, _: &Visuals) -> Color32 {
        Color32::TRANSPARENT
    }

    fn tab_bg_color(
        &self,
        visuals: &Visuals,
        _: &Tiles<Pane>,
        _: TileId,
        state: &TabState,
    ) -> Color32 {
        if state.active { visuals.widgets.inactive.weak_bg_fill } else { Color32::TRANSPARENT }
    }

    fn tab_outline_stroke(&self, _: &Visuals, _: &Tiles<Pane>, _: TileId, _: &TabState) -> Stroke {
        Stroke::NONE
    }

    fn tab_bar_hline_stroke(&self, visuals: &Visuals) -> Stroke {
        visuals.widgets.noninteractive.bg_stroke
    }

    fn tab_text_color(
        &self,
        visuals: &Visuals,
        _: &Tiles<Pane>,
        _: TileId,
        state: &TabState,
    ) -> Color32 {
        if state.active { visuals.strong_text_color() } else { visuals.weak_text_color() }
    }

    fn resize_stroke(&self, style: &egui::Style, state: egui_tiles::ResizeState) -> Stroke {
        match state {
            egui_tiles::ResizeState::Idle => Stroke::NONE,
            _ => Stroke::new(2.0, style.visuals.selection.stroke.color),
        }
    }

    fn dragged_overlay_color(&self, visuals: &Visuals) -> Color32 {
        visuals.panel_fill.gamma_multiply(0.5)
    }

    fn simplification_options(&self) -> SimplificationOptions {
        SimplificationOptions {
            all_panes_must_have_tabs: false,
            ..SimplificationOptions::default()
        }
    }

    fn is_tile_draggable(&self, tiles: &Tiles<Pane>, id: TileId) -> bool {
        // Everything else stands around the stage.
        tiles.get_pane(&id) != Some(&Pane::Stage)
    }

    fn on_edit(&mut self, _: EditAction) {
        self.is_edited = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_reads_back_as_it_was_kept() {
        let layout = Layout::Column(vec![
            (Layout::Tabs(vec![Layout::Pane(Pane::Stage)], 0), 3.0),
            (
                Layout::Tabs(
                    [Pane::Controls, Pane::Training, Pane::Inspector, Pane::Learning]
                        .map(Layout::Pane)
                        .to_vec(),
                    2,
                ),
                1.0,
            ),
        ]);
        assert!(layout.is_whole());
        let text = serde_json::to_string(&layout).unwrap();
        let read: Layout = serde_json::from_str(&text).unwrap();
        assert_eq!(Workspace::new(&read).layout(), layout);
        assert!(Workspace::new(&read).is_front(Pane::Inspector));
    }

    #[test]
    fn a_workspace_without_every_panel_is_not_used() {
        for broken in [
            Layout::Pane(Pane::Stage),
            Layout::Row(vec![(Layout::default(), f32::NAN)]),
            Layout::Tabs(vec![Layout::default(), Layout::Pane(Pane::Stage)], 0),
        ] {
            assert_eq!(Workspace::new(&broken).layout(), Layout::default());
        }
    }

    #[test]
    fn a_changed_workspace_is_remembered_once_and_nonsense_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut workspace = Workspace::default();
        assert_eq!(workspace.take_text(), None);
        workspace.show(Pane::Learning);
        let text = workspace.take_text().unwrap();
        assert_eq!(workspace.take_text(), None);
        std::fs::write(folder.path().join(LAYOUT), text).unwrap();
        assert!(Workspace::remembered(Some(folder.path())).is_front(Pane::Learning));
        std::fs::write(folder.path().join(LAYOUT), "{]").unwrap();
        assert!(!Workspace::remembered(Some(folder.path())).is_front(Pane::Learning));
        assert!(Workspace::remembered(None).is_front(Pane::Inspector));
    }

    #[test]
    fn a_panel_comes_to_the_front() {
        let mut workspace = Workspace::default();
        assert!(!workspace.is_front(Pane::Training));
        workspace.show(Pane::Training);
        assert!(workspace.is_front(Pane::Training) && !workspace.is_front(Pane::Controls));
        assert!(workspace.is_front(Pane::Stage));
    }
}
