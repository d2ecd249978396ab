//! A workspace as a file holds it: a tree of panels, tabs, rows and columns.

use egui_tiles::{Container, Linear, LinearDir, Tabs, Tile, TileId, Tiles};
use serde::{Deserialize, Serialize};

use super::Pane;

/// Points of the sides in a new workspace, left and right.
const SIDES: [f32; 2] = [248.0, 312.0];
/// Points of the stage in a new workspace; it takes what the sides leave.
const STAGE: f32 = 880.0;
/// Deepest nesting read from a file.
const MAX_DEPTH: usize = 8;

/// A workspace as a file holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// A panel.
    Pane(Pane),
    /// Panels behind each other; the number of the front one.
    Tabs(Vec<Layout>, usize),
    /// Panels beside each other, with their shares.
    Row(Vec<(Layout, f32)>),
    /// Panels above each other, with their shares.
    Column(Vec<(Layout, f32)>),
}

impl Default for Layout {
    fn default() -> Self {
        let tabs = |panes: &[Pane]| Self::Tabs(panes.iter().copied().map(Self::Pane).collect(), 0);
        Self::Row(vec![
            (tabs(&[Pane::Controls, Pane::Training]), SIDES[0]),
            (Self::Pane(Pane::Stage), STAGE),
            (tabs(&[Pane::Inspector, Pane::Learning]), SIDES[1]),
        ])
    }
}

impl Layout {
    fn panes(&self, depth: usize, found: &mut Vec<Pane>) -> bool {
        if depth > MAX_DEPTH {
            return false;
        }
        match self {
            Self::Pane(pane) => {
                found.push(*pane);
                true
            }
            Self::Tabs(children, _) => children.iter().all(|child| child.panes(depth + 1, found)),
            Self::Row(children) | Self::Column(children) => {
                children.iter().all(|(child, share)| {
                    share.is_finite() && *share > 0.0 && child.panes(depth + 1, found)
                })
            }
        }
    }

    /// Whether it holds every panel once.
    pub(super) fn is_whole(&self) -> bool {
        let mut found = Vec::new();
        self.panes(0, &mut found)
            && found.len() == Pane::ALL.len()
            && Pane::ALL.iter().all(|pane| found.contains(pane))
    }

    /// Make its tiles; the root of them.
    pub(super) fn plant(&self, tiles: &mut Tiles<Pane>) -> TileId {
        match self {
            Self::Pane(pane) => tiles.insert_pane(*pane),
            Self::Tabs(children, front) => {
                let children: Vec<TileId> =
                    children.iter().map(|child| child.plant(tiles)).collect();
                let active = children.get(*front).or(children.first()).copied();
                let mut tabs = Tabs::new(children);
                tabs.active = active;
                tiles.insert_container(tabs)
            }
            Self::Row(children) | Self::Column(children) => {
                let dir = match self {
                    Self::Row(_) => LinearDir::Horizontal,
                    _ => LinearDir::Vertical,
                };
                let planted: Vec<(TileId, f32)> =
                    children.iter().map(|(child, share)| (child.plant(tiles), *share)).collect();
                let mut linear = Linear::new(dir, planted.iter().map(|(id, _)| *id).collect());
                for (id, share) in planted {
                    linear.shares.set_share(id, share);
                }
                tiles.insert_container(linear)
            }
        }
    }

    /// The layout of a tile and what is below it.
    pub(super) fn of(tiles: &Tiles<Pane>, id: TileId) -> Option<Self> {
        Some(match tiles.get(id)? {
            Tile::Pane(pane) => Self::Pane(*pane),
            Tile::Container(Container::Tabs(tabs)) => {
                let front = tabs.children.iter().position(|child| Some(*child) == tabs.active);
                let children = tabs.children.iter().filter_map(|child| Self::of(tiles, *child));
                Self::Tabs(children.collect(), front.unwrap_or(0))
            }
            Tile::Container(Container::Linear(linear)) => {
                let children = linear
                    .children
                    .iter()
                    .filter_map(|child| Some((Self::of(tiles, *child)?, linear.shares[*child])));
                match linear.dir {
                    LinearDir::Horizontal => Self::Row(children.collect()),
                    LinearDir::Vertical => Self::Column(children.collect()),
                }
            }
            Tile::Container(Container::Grid(grid)) => Self::Row(
                grid.children().filter_map(|child| Some((Self::of(tiles, *child)?, 1.0))).collect(),
            ),
        })
    }
}
