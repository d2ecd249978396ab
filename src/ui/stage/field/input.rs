//! Hands on the stage: the state under the mouse, pins, goals, brushes.

use eframe::egui::{
    CursorIcon, EventFilter, Id, Key, PointerButton, Pos2, Rect, Response, Role, Sense, Ui,
    WidgetInfo, vec2,
};

use super::Map;
use super::pane::Pane;
use crate::ui::app::App;
use crate::ui::history::EditTag;
use crate::ui::stage::{Drag, Handle};

/// Side of the square that catches the pointer around a handle, in points.
const CATCH: f32 = 30.0;
/// How far an arrow key moves a focused handle, as a share of the map.
const NUDGE: f32 = 0.02;
/// Magnification per point of wheel travel.
const WHEEL: f32 = 1.0 / 240.0;

/// The stage itself: the state under the mouse, zoom and pan.
pub fn background(app: &mut App, ui: &Ui, response: &Response, panes: &[Pane]) {
    if app.stage.is_mirror {
        return;
    }
    zoom_and_pan(app, ui, response, panes);
    if app.field.map == Map::Value {
        return brush(app, ui, response, panes);
    }
    if let Some(at) = response.hover_pos()
        && app.stage.drag.is_none()
        && let Some(place) = place_at(app, panes, at)
    {
        app.field.hover = Some(place);
    }
    if response.clicked()
        && response.interact_pointer_pos().is_some_and(|at| pane_at(panes, at).is_some())
    {
        toggle_pin(app);
    }
}

fn pane_at(panes: &[Pane], at: Pos2) -> Option<&Pane> {
    panes.iter().find(|pane| pane.plot.contains(at))
}

/// The legal state nearest to a place on the screen.
fn place_at(app: &App, panes: &[Pane], at: Pos2) -> Option<[f32; 2]> {
    legal(app, pane_at(panes, at)?.world_from_screen(at))
}

/// The legal place nearest to a state.
pub fn legal(app: &App, place: [f32; 2]) -> Option<[f32; 2]> {
    app.place.legal(place).filter(|place| app.place.workspace.is_free(*place))
}

/// The wheel magnifies, the middle button moves the picture.
pub fn zoom_and_pan(app: &mut App, ui: &Ui, response: &Response, panes: &[Pane]) {
    if let Some(at) = response.hover_pos()
        && let Some(pane) = panes.iter().find(|pane| pane.rect.contains(at))
    {
        let (scroll, pinch) = ui.input(|input| (input.smooth_scroll_delta().y, input.zoom_delta()));
        let factor = (scroll * WHEEL).exp() * pinch;
        if (factor - 1.0).abs() > 1e-4 {
            app.stage.camera.zoom_at(factor, at, pane.rect);
        }
    }
    if response.dragged_by(PointerButton::Middle) {
        app.stage.camera.pan_by(response.drag_delta());
    }
    if response.double_clicked() {
        app.stage.camera.reset();
    }
}

/// Paint rewards under the pointer while it is down.
fn brush(app: &mut App, ui: &Ui, response: &Response, panes: &[Pane]) {
    if app.field.rewards.brush.is_none() {
        return;
    }
    if response.hovered() {
        ui.ctx().set_cursor_icon(CursorIcon::Crosshair);
    }
    let is_down =
        response.is_pointer_button_down_on() && ui.input(|input| input.pointer.primary_down());
    if is_down
        && let Some(at) = response.interact_pointer_pos()
        && let Some(pane) = pane_at(panes, at)
    {
        super::rewards::paint(app, pane.world_from_screen(at));
    }
    if !is_down {
        super::rewards::keep(app);
    }
}

/// The pinned source and the goal.
pub fn handles(app: &mut App, ui: &Ui, panes: &[Pane]) {
    if app.stage.is_mirror {
        return;
    }
    let stage = app.stage_now();
    for (index, pane) in panes.iter().enumerate() {
        if app.field.map == Map::Occupancy && app.field.is_pinned {
            handle(app, ui, pane, index, Handle::Start, stage.start);
        }
        if !app.place.spec.goal_dims.is_empty() {
            handle(app, ui, pane, index, Handle::Goal, stage.goal);
        }
    }
}

fn handle(app: &mut App, ui: &Ui, pane: &Pane, index: usize, which: Handle, place: [f32; 2]) {
    let center = pane.screen_from_world(place);
    if !pane.plot.expand(CATCH).contains(center) {
        return;
    }
    let rect = Rect::from_center_size(center, vec2(CATCH, CATCH));
    let name = if which == Handle::Goal { "Goal" } else { "Source state" };
    let id = Id::unique(("field handle", name, index));
    let sense = if which == Handle::Goal { Sense::drag() } else { Sense::click_and_drag() };
    let response = ui.interact(rect, id, sense);
    let [x, y] = place;
    let on = if index == 0 { "" } else { ", second map" };
    response.widget_info(|| {
        WidgetInfo::labeled(Role::Button, true, format!("{name} at {x:.2}, {y:.2}{on}"))
    });
    if response.hovered() {
        ui.ctx().set_cursor_icon(CursorIcon::Grab);
    }
    if response.dragged_by(PointerButton::Primary) {
        ui.ctx().set_cursor_icon(CursorIcon::Grabbing);
        if let Some(at) = response.interact_pointer_pos()
            && let Some(position) = legal(app, pane.world_from_screen(at))
        {
            app.stage.drag = Some(Drag { handle: which, position });
        }
    }
    if response.drag_stopped()
        && let Some(drag) = app.stage.drag.take()
    {
        put(app, drag.handle, drag.position);
    }
    if which == Handle::Start && response.clicked() {
        release(app);
    }
    if response.has_focus() {
        nudge(app, ui, id, pane, which, place);
    }
}

/// Arrow keys move a focused handle.
fn nudge(app: &mut App, ui: &Ui, id: Id, pane: &Pane, which: Handle, place: [f32; 2]) {
    if let Some(place) = nudged(app, ui, id, pane, place) {
        put(app, which, place);
    }
}

/// Where the arrow keys move the focused handle `id` from `place`, if one is
/// pressed.
pub fn nudged(app: &App, ui: &Ui, id: Id, pane: &Pane, place: [f32; 2]) -> Option<[f32; 2]> {
    let filter =
        EventFilter { horizontal_arrows: true, vertical_arrows: true, ..Default::default() };
    ui.ctx().memory_mut(|memory| memory.set_focus_lock_filter(id, filter));
    let pressed = |key| ui.input(|input| input.num_presses(key) as f32);
    let across = pressed(Key::ArrowRight) - pressed(Key::ArrowLeft);
    let down = pressed(Key::ArrowDown) - pressed(Key::ArrowUp);
    if across == 0.0 && down == 0.0 {
        return None;
    }
    let step = vec2(across * pane.plot.width(), down * pane.plot.height()) * NUDGE;
    legal(app, pane.world_from_screen(pane.screen_from_world(place) + step))
}

/// Write a new place into the scene.
pub fn put(app: &mut App, which: Handle, place: [f32; 2]) {
    let mut scene = app.session.scene().clone();
    let tag = if which == Handle::Goal {
        scene.stage.goal = place;
        EditTag::Goal
    } else {
        scene.stage.start = place;
        EditTag::Start
    };
    app.edit(tag, scene, None);
}

/// Hold the source where it is.
pub fn pin(app: &mut App) {
    if app.field.is_pinned {
        return;
    }
    if let [x, y, ..] = super::source(app)[..] {
        put(app, Handle::Start, [x, y]);
        app.field.is_pinned = true;
    }
}

/// Put the whole source state somewhere and hold it there.
pub fn pin_at(app: &mut App, state: &[f32]) {
    if let [x, y, ref rest @ ..] = *state
        && let Some(place) = legal(app, [x, y])
    {
        let mut scene = app.session.scene().clone();
        scene.stage.start = place;
        let is_plain = rest.iter().all(|value| *value == 0.0);
        scene.stage.rest = if is_plain { Vec::new() } else { rest.to_vec() };
        app.edit(EditTag::Start, scene, None);
        app.field.is_pinned = true;
    }
}

/// Let the source follow the mouse again, and put the brush away.
pub fn release(app: &mut App) {
    if app.field.is_pinned {
        // Until the mouse moves, nothing jumps.
        app.field.hover = Some(app.session.scene().stage.start);
        app.field.is_pinned = false;
    }
    super::rewards::keep(app);
    app.field.rewards.brush = None;
}

/// Pin the source, or release it.
pub fn toggle_pin(app: &mut App) {
    if app.field.is_pinned { release(app) } else { pin(app) }
}
