//! Hands on the stage: branches to pick, start and goal to move.

use eframe::egui::{
    CursorIcon, Id, Key, PointerButton, Pos2, Rect, Response, Role, Sense, Ui, WidgetInfo, vec2,
};

use super::{Pictures, has_goal};
use crate::lab::branches::{Branch, Branches, life, pieces};
use crate::plan::beam::EditKind;
use crate::ui::app::App;
use crate::ui::overlays::notices::Notice;
use crate::ui::stage::field::input::{legal, nudged, put, zoom_and_pan};
use crate::ui::stage::field::pane::Pane;
use crate::ui::stage::{Drag, Handle};
use crate::ui::transport::Clock;

/// Side of the square that catches the pointer around a handle, in points.
const CATCH: f32 = 30.0;
/// How near the pointer has to come to a branch, in points.
const REACH: f32 = 7.0;

/// From the picked branch to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// The next one of the transition, the likelier first.
    Next,
    /// The one before it.
    Previous,
    /// A transition later.
    Out,
    /// A transition earlier.
    In,
}

/// The stage itself: zoom, pan, branches, and where a click moves things.
pub fn background(app: &mut App, ui: &Ui, response: &Response, pane: &Pane) {
    if app.stage.is_mirror {
        return;
    }
    Pictures::follow(app);
    zoom_and_pan(app, ui, response, std::slice::from_ref(pane));
    let at = response.hover_pos().filter(|_| app.stage.drag().is_none());
    app.tree.pointed = at.and_then(|at| nearest(app, pane, at));
    if let Some(node) = app.tree.pointed {
        ui.ctx().set_cursor_icon(CursorIcon::PointingHand);
        let token = app.tree.token_of(node, &app.transport);
        app.tree.hovered_next = token.or(app.tree.hovered_next);
        app.tree.hovered = token.or(app.tree.hovered);
    }
    if response.clicked()
        && let Some(at) = response.interact_pointer_pos()
    {
        click(app, pane, at);
    }
    let escapes = app.overlay.is_none() && ui.input(|input| input.key_pressed(Key::Escape));
    if escapes && !ui.ctx().any_popup_open() {
        app.tree.pick(None, &app.transport);
    }
}

fn click(app: &mut App, pane: &Pane, at: Pos2) {
    if let Some(node) = nearest(app, pane, at) {
        return app.tree.pick(Some(node), &app.transport);
    }
    if !pane.plot.contains(at) {
        return;
    }
    let which = if has_goal(app) { Handle::Goal } else { Handle::Start };
    if let Some(place) = legal(app, pane.world_from_screen(at)) {
        place_handle(app, which, place);
    }
}

/// The node of the visible branch nearest to a place on the screen.
fn nearest(app: &App, pane: &Pane, at: Pos2) -> Option<usize> {
    let branches = app.tree.pictures.branches()?;
    let per_transition = branches.record.tree.layout.per_transition();
    let visible = app.transport.chain.max(0.0) as usize;
    let near = branches.all.iter().filter_map(|branch| {
        let life = life(branch, visible, per_transition)?;
        let away = pieces(branch.from, branch.to, &app.place.spec)
            .into_iter()
            .map(|piece| distance(at, piece.map(|end| pane.screen_from_world(end))))
            .fold(f32::INFINITY, f32::min);
        // Of branches on top of each other the one that is drawn on top.
        let order = (away.round(), !branch.is_chosen, -life, -branch.share);
        (away <= REACH).then_some((order, branch.node))
    });
    let best = near.min_by(|(a, _), (b, _)| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    best.map(|(_, node)| node)
}

/// From a point to the segment between two others.
fn distance(at: Pos2, [from, to]: [Pos2; 2]) -> f32 {
    let along = to - from;
    let share = (at - from).dot(along) / along.length_sq().max(1e-6);
    at.distance(from + along * share.clamp(0.0, 1.0))
}

/// Start and goal.
pub fn handles(app: &mut App, ui: &Ui, pane: &Pane) {
    if app.stage.is_mirror {
        return;
    }
    let stage = app.stage_now();
    handle(app, ui, pane, Handle::Start, stage.start);
    if has_goal(app) {
        handle(app, ui, pane, Handle::Goal, stage.goal);
    }
}

fn handle(app: &mut App, ui: &Ui, pane: &Pane, which: Handle, place: [f32; 2]) {
    let center = pane.screen_from_world(place);
    if !pane.plot.expand(CATCH).contains(center) {
        return;
    }
    let rect = Rect::from_center_size(center, vec2(CATCH, CATCH));
    let name = if which == Handle::Goal { "Goal" } else { "Start" };
    let id = Id::unique(("tree handle", name));
    let response = ui.interact(rect, id, Sense::drag());
    let [x, y] = place;
    response.widget_info(|| {
        WidgetInfo::labeled(Role::Button, true, format!("{name} at {x:.2}, {y:.2}"))
    });
    if response.hovered() {
        ui.ctx().set_cursor_icon(CursorIcon::Grab);
    }
    if response.dragged_by(PointerButton::Primary) {
        ui.ctx().set_cursor_icon(CursorIcon::Grabbing);
        if let Some(at) = response.interact_pointer_pos()
            && let Some(position) = legal(app, pane.world_from_screen(at))
            && joins(app, which, position)
        {
            app.stage.drag = Some(Drag { handle: which, position });
            hold(app);
        }
    }
    if response.drag_stopped()
        && let Some(drag) = app.stage.drag.take()
    {
        place_handle(app, drag.handle, drag.position);
        release(app);
    }
    if response.has_focus()
        && let Some(place) = nudged(app, ui, id, pane, place)
    {
        place_handle(app, which, place);
    }
}

/// Whether a way joins start and goal with one of them at `place`.
fn joins(app: &App, which: Handle, place: [f32; 2]) -> bool {
    let stage = &app.session.scene().stage;
    let other = if which == Handle::Goal { stage.start } else { stage.goal };
    !has_goal(app) || app.place.workspace.connected(place, other)
}

fn place_handle(app: &mut App, which: Handle, place: [f32; 2]) {
    if joins(app, which, place) {
        put(app, which, place);
    } else {
        let advice = "Walls close that place off. Choose another one.";
        app.notify(Notice::failed("No way leads there", advice));
    }
}

/// While something is dragged, the first search is shown as soon as it is
/// there, and the agent waits at its start.
pub fn hold(app: &mut App) {
    if app.transport.held {
        return;
    }
    let chain = app.extent().chain_steps as f32;
    let transport = &mut app.transport;
    transport.held = true;
    transport.clock = Clock::Environment;
    transport.time_secs = 0.0;
    transport.chain = chain;
}

/// The drag ended: its last search grows and is carried out.
pub fn release(app: &mut App) {
    app.tree.dropped(&mut app.transport);
}

/// Pick another branch.
pub fn walk(app: &mut App, walk: Walk) {
    let Some(branches) = app.tree.pictures.branches() else { return };
    let now = app.tree.node.and_then(|node| branches.of(node));
    if let Some(node) = walked(branches, now, walk) {
        app.tree.pick(Some(node), &app.transport);
    }
}

fn walked(branches: &Branches, now: Option<usize>, walk: Walk) -> Option<usize> {
    let by_total = |wanted: &dyn Fn(&Branch) -> bool| {
        let mut found: Vec<&Branch> = branches.all.iter().filter(|branch| wanted(branch)).collect();
        found.sort_by(|a, b| b.total.total_cmp(&a.total));
        found
    };
    let Some(now) = now else {
        let first = branches.all.iter().map(|branch| branch.transition).min()?;
        let found = by_total(&|branch| branch.transition == first);
        let chosen = found.iter().find(|branch| branch.is_chosen).or(found.first());
        return chosen.map(|branch| branch.node);
    };
    let here = branches.all.get(now)?;
    match walk {
        Walk::In => branches.all.get(here.parent?).map(|branch| branch.node),
        Walk::Out => {
            let found = by_total(&|branch| branch.parent == Some(now));
            let chosen = found.iter().find(|branch| branch.is_chosen).or(found.first());
            chosen.map(|branch| branch.node)
        }
        Walk::Next | Walk::Previous => {
            let found = by_total(&|branch| branch.transition == here.transition);
            let at = found.iter().position(|branch| branch.node == here.node)?;
            let to = if walk == Walk::Next { at + 1 } else { at.checked_sub(1)? };
            found.get(to).map(|branch| branch.node)
        }
    }
}

/// Prune or force the picked node, or say why that cannot be.
pub fn edit(app: &mut App, kind: EditKind) {
    if app.tree.edit(kind, &app.transport) {
        return;
    }
    let advice = if app.tree.node.is_none() {
        "Pick a branch on the stage or a planned token first."
    } else {
        "Only the first search can be changed: go to the beginning of the time (Home)."
    };
    app.notify(Notice::failed("There is nothing to change", advice));
}
