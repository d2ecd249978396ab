//! Hands on the stage: dragging, painting, zooming.

use eframe::egui::{
    Context, CursorIcon, EventFilter, Id, Key, PointerButton, Pos2, Rect, Response,
};
use eframe::egui::{Role, Sense, Ui, WidgetInfo, vec2};

use super::camera::Camera;
use super::{Drag, Handle, Tool, field};
use crate::plan::Via;
use crate::ui::app::App;
use crate::ui::history::EditTag;
use crate::ui::live::{Origin, Wish};
use crate::ui::overlays::notices::Notice;
use crate::ui::panels::waypoints;
use crate::ui::transport::Clock;

/// Side of the square that catches the pointer around a handle, in points.
const CATCH: f32 = 32.0;
/// How far an arrow key moves a focused handle, in world units.
const NUDGE: f32 = 0.1;
/// Magnification per point of wheel travel.
const WHEEL: f32 = 1.0 / 240.0;

/// The stage itself: zoom, pan, waypoints and walls.
pub fn background(app: &mut App, ui: &Ui, response: &Response, camera: &Camera) {
    if app.stage.is_mirror {
        return;
    }
    match super::plane(app) {
        Some(pane) => field::input::zoom_and_pan(app, ui, response, &[pane]),
        None => zoom_and_pan(app, ui, response, camera),
    }
    let tool = if app.place.is_maze() { app.stage.tool } else { Tool::Move };
    match tool {
        Tool::Move => {
            let wants_waypoint = ui.input(|input| input.modifiers.shift) && app.place.has_goal();
            if response.clicked()
                && wants_waypoint
                && let Some(at) = response.interact_pointer_pos()
            {
                add_waypoint(app, camera.world_from_screen(at));
            }
        }
        Tool::Paint => stroke(app, ui, response, camera, true),
        Tool::Erase => stroke(app, ui, response, camera, false),
    }
}

fn zoom_and_pan(app: &mut App, ui: &Ui, response: &Response, camera: &Camera) {
    if let Some(at) = response.hover_pos() {
        let (scroll, pinch) = ui.input(|input| (input.smooth_scroll_delta().y, input.zoom_delta()));
        let factor = (scroll * WHEEL).exp() * pinch;
        if (factor - 1.0).abs() > 1e-4 {
            app.stage.camera.zoom_at(factor, at, super::inner(camera.rect));
        }
    }
    if response.dragged_by(PointerButton::Middle) {
        app.stage.camera.pan_by(response.drag_delta());
    }
    if response.double_clicked() && app.stage.tool == Tool::Move {
        app.stage.camera.reset();
    }
}

/// Paint or erase under the pointer while it is down.
fn stroke(app: &mut App, ui: &Ui, response: &Response, camera: &Camera, wall: bool) {
    if response.hovered() {
        ui.ctx().set_cursor_icon(CursorIcon::Crosshair);
    }
    let is_down =
        response.is_pointer_button_down_on() && ui.input(|input| input.pointer.primary_down());
    if is_down && let Some(at) = response.interact_pointer_pos() {
        if set_wall(app, camera.world_from_screen(at), wall) {
            app.stage.stroke += 1;
        }
    } else if app.stage.stroke > 0 && !is_down {
        app.stage.stroke = 0;
        app.live.want(Wish::full(Origin::Ball));
    }
}

fn set_wall(app: &mut App, position: [f32; 2], wall: bool) -> bool {
    let mut layout = app.place.layout.clone();
    let Some([w, h]) = layout.cell_at(position) else { return false };
    // The frame stays: beyond it there is nothing.
    let is_frame = w == 0 || h == 0 || w + 1 == layout.rows() || h + 1 == layout.columns();
    if is_frame || (wall && is_occupied(app, [w, h])) || !layout.set_wall(w, h, wall) {
        return false;
    }
    let mut scene = app.session.scene().clone();
    scene.environment.maze = layout.to_ascii();
    app.edit(EditTag::Walls, scene, Some(Wish::quick(Origin::Ball)))
}

/// Whether something on the stage stands in a cell, or leans into it.
fn is_occupied(app: &App, cell: [usize; 2]) -> bool {
    let stage = &app.session.scene().stage;
    let ball = app.live.ball(&app.transport);
    let points = [stage.start, stage.goal]
        .into_iter()
        .chain(ball)
        .chain(stage.via.iter().map(|via| via.position));
    let lean = 0.11;
    let corners = [[0.0, 0.0], [lean, 0.0], [-lean, 0.0], [0.0, lean], [0.0, -lean]];
    points.into_iter().any(|[x, y]| {
        corners.iter().any(|[dx, dy]| app.place.layout.cell_at([x + dx, y + dy]) == Some(cell))
    })
}

/// Everything that can be dragged.
pub fn handles(app: &mut App, ui: &Ui, camera: &Camera) {
    if app.stage.is_mirror {
        return;
    }
    if app.stage.tool != Tool::Move && app.place.is_maze() {
        return;
    }
    let stage = app.stage_now();
    for (index, via) in stage.via.iter().enumerate() {
        let name = format!("Waypoint {}", index + 1);
        let response = handle(app, ui, camera, Handle::Via(index), via.position, &name);
        if response.clicked_by(PointerButton::Secondary) || response.middle_clicked() {
            remove_waypoint(app, index);
            return;
        }
    }
    handle(app, ui, camera, Handle::Start, stage.start, "Start");
    if app.place.has_goal() {
        handle(app, ui, camera, Handle::Goal, stage.goal, "Goal");
    }
}

fn handle(
    app: &mut App,
    ui: &Ui,
    camera: &Camera,
    which: Handle,
    position: [f32; 2],
    name: &str,
) -> Response {
    let center = camera.screen_from_world(position);
    let rect = Rect::from_center_size(center, vec2(CATCH, CATCH));
    let id = Id::unique(("stage handle", name));
    // A waypoint can be clicked away; the others start to drag at once.
    let sense = match which {
        Handle::Via(_) => Sense::click_and_drag(),
        Handle::Start | Handle::Goal => Sense::drag(),
    };
    let response = ui.interact(rect, id, sense);
    let [x, y] = position;
    response.widget_info(|| {
        WidgetInfo::labeled(Role::Button, true, format!("{name} at {x:.2}, {y:.2}"))
    });
    if response.hovered() {
        ui.ctx().set_cursor_icon(CursorIcon::Grab);
    }
    if response.dragged_by(PointerButton::Primary) {
        ui.ctx().set_cursor_icon(CursorIcon::Grabbing);
        if let Some(at) = response.interact_pointer_pos() {
            drag_to(app, which, camera, at);
        }
    }
    if response.drag_stopped() {
        drop_handle(app);
    }
    if response.has_focus() {
        match super::plane(app) {
            Some(pane) => {
                if let Some(position) = field::input::nudged(app, ui, id, &pane, position) {
                    place(app, which, position);
                }
            }
            None => nudge(app, ui.ctx(), id, which, position),
        }
    }
    response
}

fn drag_to(app: &mut App, handle: Handle, camera: &Camera, at: Pos2) {
    drag_to_place(app, handle, camera.world_from_screen(at));
}

/// Drag something to the legal place nearest to the wanted one.
pub(super) fn drag_to_place(app: &mut App, handle: Handle, wanted: [f32; 2]) {
    let Some(position) = app.place.legal(wanted) else { return };
    let drag = Drag { handle, position };
    if app.stage.drag == Some(drag) {
        return;
    }
    let begins = app.stage.drag.is_none();
    app.stage.drag = Some(drag);
    if begins {
        begin_drag(app, handle);
    }
    // Beyond a closed wall there is no plan; the last one stays.
    if handle != Handle::Goal || app.reaches(position) {
        app.live.want(Wish::quick(origin_of(handle)));
    }
}

/// A goal moves for the ball where it is; the others change the whole way.
fn origin_of(handle: Handle) -> Origin {
    if handle == Handle::Goal { Origin::Ball } else { Origin::Start }
}

fn begin_drag(app: &mut App, handle: Handle) {
    let extent = app.live.extent();
    let transport = &mut app.transport;
    let inspects_chain = transport.clock == Clock::Denoising && !transport.playing;
    if !inspects_chain {
        // No show while dragging: plans appear finished.
        transport.chain = extent.chain_steps as f32;
        transport.clock = Clock::Environment;
    }
    transport.held = handle != Handle::Goal;
    if handle == Handle::Goal && !inspects_chain && transport.time_secs >= extent.time_secs {
        // The ball had come to rest; it follows again.
        transport.playing = true;
    }
}

/// The drag ended: the scene learns where.
pub(super) fn drop_handle(app: &mut App) {
    app.transport.held = false;
    let Some(drag) = app.stage.drag.take() else { return };
    place(app, drag.handle, drag.position);
}

fn place(app: &mut App, handle: Handle, position: [f32; 2]) {
    if handle == Handle::Goal && !app.reaches(position) {
        app.notify(Notice::failed(
            "No way leads there",
            "Walls close that place off. Erase one, or drop the goal elsewhere.",
        ));
        app.live.want(Wish::full(Origin::Ball));
        return;
    }
    let mut scene = app.session.scene().clone();
    let tag = match handle {
        Handle::Start => {
            scene.stage.start = position;
            EditTag::Start
        }
        Handle::Goal => {
            scene.stage.goal = position;
            EditTag::Goal
        }
        Handle::Via(index) => {
            let Some(via) = scene.stage.via.get_mut(index) else { return };
            via.position = position;
            EditTag::Via(index)
        }
    };
    let wish = match handle {
        Handle::Start => Wish::REPLAY,
        _ => Wish::full(origin_of(handle)),
    };
    app.edit(tag, scene, Some(wish));
    if handle != Handle::Goal && app.transport.clock == Clock::Environment {
        app.transport.playing = true;
    }
}

/// Arrow keys move a focused handle; Delete removes a waypoint.
fn nudge(app: &mut App, ctx: &Context, id: Id, handle: Handle, [x, y]: [f32; 2]) {
    let filter =
        EventFilter { horizontal_arrows: true, vertical_arrows: true, ..Default::default() };
    ctx.memory_mut(|memory| memory.set_focus_lock_filter(id, filter));
    let pressed = |key| ctx.input(|input| input.num_presses(key) as f32);
    let dx = pressed(Key::ArrowDown) - pressed(Key::ArrowUp);
    let dy = pressed(Key::ArrowRight) - pressed(Key::ArrowLeft);
    if (dx != 0.0 || dy != 0.0)
        && let Some(position) = app.place.legal([x + dx * NUDGE, y + dy * NUDGE])
    {
        place(app, handle, position);
    }
    if let Handle::Via(index) = handle
        && ctx.input(|input| input.key_pressed(Key::Delete))
    {
        remove_waypoint(app, index);
    }
}

/// Add a waypoint at a place, at the time the plan is nearest to it.
pub fn add_waypoint(app: &mut App, wanted: [f32; 2]) {
    let Some(position) = app.place.legal(wanted) else { return };
    let mut scene = app.session.scene().clone();
    if scene.stage.via.len() >= waypoints::MAX {
        app.notify(Notice::failed(
            "There are enough waypoints",
            format!("A plan can have {} from here; remove one first.", waypoints::MAX),
        ));
        return;
    }
    let fraction = nearest_fraction(app, position);
    scene.stage.via.push(Via { fraction, position });
    app.edit(EditTag::ViaList, scene, Some(Wish::full(Origin::Start)));
    resume(app);
}

fn nearest_fraction(app: &App, [x, y]: [f32; 2]) -> f32 {
    let plan = app.live.complete().and_then(|film| film.plan.as_ref());
    let Some(plan) = plan else { return 0.5 };
    let distance = |state: &Vec<f32>| match state.as_slice() {
        [px, py, ..] => (px - x).hypot(py - y),
        _ => f32::INFINITY,
    };
    let nearest = plan
        .states
        .iter()
        .enumerate()
        .min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)))
        .map_or(0, |(index, _)| index);
    let last = plan.states.len().saturating_sub(1).max(1);
    (nearest as f32 / last as f32).clamp(0.05, 0.95)
}

fn remove_waypoint(app: &mut App, index: usize) {
    app.stage.drag = None;
    let mut scene = app.session.scene().clone();
    if index < scene.stage.via.len() {
        scene.stage.via.remove(index);
        app.edit(EditTag::ViaList, scene, Some(Wish::full(Origin::Start)));
        resume(app);
    }
}

/// Remove every waypoint.
pub fn clear_waypoints(app: &mut App) {
    let mut scene = app.session.scene().clone();
    scene.stage.via.clear();
    app.edit(EditTag::ViaList, scene, Some(Wish::full(Origin::Start)));
    resume(app);
}

/// After a change of the whole way, the ball sets out again.
fn resume(app: &mut App) {
    if app.transport.clock == Clock::Environment {
        app.transport.playing = true;
    }
}
