//! Words on the stage: tools, ticks, notes, the legend and where the pointer is.

use eframe::egui;
use eframe::egui::{Align2, Area, Color32, FontId, Frame, Id, Mesh, Order, Painter, Rect};
use eframe::egui::{Shape, Stroke, Ui, pos2, vec2};

use super::Tool;
use super::camera::Camera;
use super::field::axes::symbol;
use super::walls;
use crate::lab::Phase;
use crate::ui::app::{App, Proposal};
use crate::ui::command;
use crate::ui::icons::{self, Icon};
use crate::ui::theme::{self, Colors, GRID, SMALL};
use crate::ui::widgets::tip_of;

/// Ticks closer than this many points would run into each other.
const MIN_TICK_GAP: f32 = 24.0;
/// Width of a stage on which notes fit beside the tools.
const NOTES_BESIDE_TOOLS: f32 = 560.0;
/// Room for the pointer's coordinates and for one word of the legend.
const LEGEND_END: f32 = 230.0;
/// Size of the legend's color ramp.
const RAMP: egui::Vec2 = vec2(96.0, 6.0);

/// Numbers along the maze's left and lower edges.
pub fn ticks(app: &App, painter: &Painter, camera: &Camera, colors: Colors) {
    if camera.scale < MIN_TICK_GAP {
        return;
    }
    let layout = &app.place.layout;
    let [x_min, y_min, x_max, y_max] = walls::shown_bounds(layout);
    let font = FontId::monospace(10.0);
    let ink = colors.muted_ink();
    for x in 0..layout.rows() {
        let x = x as f32;
        if x > x_min && x < x_max {
            let at = camera.screen_from_world([x, y_min]) - vec2(GRID, 0.0);
            painter.text(at, Align2::RIGHT_CENTER, format!("{x:.0}"), font.clone(), ink);
        }
    }
    for y in 0..layout.columns() {
        let y = y as f32;
        if y > y_min && y < y_max {
            let at = camera.screen_from_world([x_max, y]) + vec2(0.0, 6.0);
            painter.text(at, Align2::CENTER_TOP, format!("{y:.0}"), font.clone(), ink);
        }
    }
    let name = FontId::proportional(SMALL);
    let x_name = camera.screen_from_world([x_min, y_min]) - vec2(GRID, 8.0);
    painter.text(x_name, Align2::RIGHT_CENTER, "x", name.clone(), ink);
    let y_name = camera.screen_from_world([x_max, y_max]) + vec2(-6.0, 6.0);
    painter.text(y_name, Align2::CENTER_TOP, "y", name, ink);
}

/// Everything that floats over the stage.
pub fn show(app: &mut App, ui: &mut Ui, rect: Rect, camera: &Camera) {
    let colors = Colors::of(ui.ctx());
    tools(app, ui, rect, colors);
    notes(app, ui, rect, colors);
    legend(app, ui, rect, colors);
    pointer(app, ui, rect, camera, colors);
    drop_hint(ui, rect, colors);
}

pub(super) fn tools(app: &mut App, ui: &Ui, rect: Rect, colors: Colors) {
    if app.stage.is_mirror {
        return;
    }
    Area::new(Id::unique("tools"))
        .order(Order::Middle)
        .fixed_pos(rect.left_top() + vec2(8.0, 8.0))
        .show(ui.ctx(), |ui| {
            let frame = Frame::new().fill(colors.panel()).corner_radius(8).inner_margin(2);
            frame.show(ui, |ui| {
                ui.horizontal(|ui| {
                    ui.spacing_mut().item_spacing = vec2(0.0, 0.0);
                    ui.set_height(icons::BUTTON_SIDE);
                    for (icon, id, tool) in [
                        (Icon::Move, "tool-move", Tool::Move),
                        (Icon::Brush, "tool-paint", Tool::Paint),
                        (Icon::Eraser, "tool-erase", Tool::Erase),
                    ] {
                        if !super::has_tools(app) {
                            continue;
                        }
                        let selected = app.stage.tool == tool;
                        tool_button(app, ui, icon, id, selected, true);
                    }
                    if super::has_tools(app) {
                        ui.add_space(GRID);
                    }
                    let (undo, redo) = (app.history.undoable(), app.history.redoable());
                    tool_button(app, ui, Icon::Undo, "undo", false, undo.is_some());
                    tool_button(app, ui, Icon::Redo, "redo", false, redo.is_some());
                    ui.add_space(GRID);
                    tool_button(app, ui, Icon::Fit, "fit", false, true);
                })
            });
        });
}

fn tool_button(app: &mut App, ui: &mut Ui, icon: Icon, id: &str, selected: bool, enabled: bool) {
    let mut name = tip_of(ui.ctx(), id);
    let edit = match id {
        "undo" => app.history.undoable(),
        "redo" => app.history.redoable(),
        _ => None,
    };
    if let Some(edit) = edit {
        name = format!("{name}: {}", edit.describe());
    }
    let clicked =
        ui.add_enabled_ui(enabled, |ui| icons::button(ui, icon, &name, selected)).inner.clicked();
    if clicked && let Some(command) = command::find(id) {
        app.propose(Proposal::Run(command));
    }
}

/// Honest words about what is on the stage.
fn notes(app: &App, ui: &Ui, rect: Rect, colors: Colors) {
    let status = app.session.status();
    let mut notes: Vec<(Color32, &str)> = Vec::new();
    let is_open = matches!(status.phase, Phase::Ready | Phase::Planning);
    if is_open && status.model.as_ref().is_none_or(|model| model.trained_steps == 0) {
        // Random weights have seen no maze at all.
        notes.push((colors.warning(), "The weights are random: train this scene first"));
    } else if !status.is_maze_seen {
        notes.push((colors.warning(), "The model has not seen this maze"));
    }
    let chosen = app.live.complete().and_then(|film| film.plan.as_ref());
    if chosen.is_some_and(|plan| !plan.feasible) {
        notes.push((colors.infeasible(), "No candidate is feasible: this is the least bad"));
    }
    match status.phase {
        Phase::Loading => notes.push((colors.accent(), "Loading the weights")),
        Phase::Failed => notes.push((colors.error(), "There is no model to plan with")),
        _ if app.live.film().is_none() => {
            notes.push((colors.accent(), "The first plan is on its way"));
        }
        _ => {}
    }
    chips(ui, rect, &notes, colors);
}

/// Words with a colored dot at the stage's upper right.
pub(super) fn chips(ui: &Ui, rect: Rect, notes: &[(Color32, &str)], colors: Colors) {
    let painter = ui.painter_at(rect);
    // On a narrow stage they stand below the tools.
    let beside_tools = rect.width() > NOTES_BESIDE_TOOLS;
    let mut top = rect.top() + if beside_tools { 12.0 } else { 52.0 };
    for &(ink, text) in notes {
        let galley =
            painter.layout_no_wrap(text.to_owned(), FontId::proportional(12.0), colors.ink());
        let size = galley.size() + vec2(28.0, 10.0);
        let chip = Rect::from_min_size(pos2(rect.right() - 12.0 - size.x, top), size);
        painter.rect_filled(chip, chip.height() / 2.0, colors.panel());
        painter.circle_filled(chip.left_center() + vec2(12.0, 0.0), 3.5, ink);
        let text_at = pos2(chip.left() + 21.0, chip.center().y - galley.size().y / 2.0);
        painter.galley(text_at, galley, colors.ink());
        top = chip.bottom() + 6.0;
    }
}

/// What the colors mean.
fn legend(app: &App, ui: &Ui, rect: Rect, colors: Colors) {
    let Some(plan) = app.live.complete().and_then(|film| film.plan.clone()) else { return };
    let painter = ui.painter_at(rect);
    let font = FontId::proportional(SMALL);
    let y = rect.bottom() - 14.0;
    let mut x = rect.left() + 16.0;
    let word = |x: &mut f32, text: String, gap: f32| {
        let at = pos2(*x, y);
        let shown = painter.text(at, Align2::LEFT_CENTER, text, font.clone(), colors.muted_ink());
        *x = shown.right() + gap;
    };
    word(&mut x, "0 s".into(), 6.0);
    ramp(&painter, Rect::from_min_size(pos2(x, y - RAMP.y / 2.0), RAMP));
    x += RAMP.x + 6.0;
    word(&mut x, format!("{:.1} s", plan.duration_steps * plan.dt_secs), 20.0);
    for (ink, width, text) in [
        (colors.chosen(), 2.4, "chosen"),
        (colors.infeasible(), 1.5, "infeasible"),
        (colors.trail(), 3.0, "executed"),
    ] {
        // Without walls and a goal every plan can be followed.
        if text == "infeasible" && !app.place.has_goal() {
            continue;
        }
        if x > rect.right() - LEGEND_END {
            break;
        }
        painter.hline(x..=x + 16.0, y, Stroke::new(width, ink));
        x += 22.0;
        word(&mut x, text.into(), 16.0);
    }
}

pub(super) fn ramp(painter: &Painter, rect: Rect) {
    let mut mesh = Mesh::default();
    let slices = 16;
    for slice in 0..=slices {
        let fraction = slice as f32 / slices as f32;
        let x = egui::lerp(rect.left()..=rect.right(), fraction);
        let ink = theme::time(fraction);
        mesh.colored_vertex(pos2(x, rect.top()), ink);
        mesh.colored_vertex(pos2(x, rect.bottom()), ink);
        if slice > 0 {
            let at = 2 * slice as u32;
            mesh.add_triangle(at - 2, at - 1, at);
            mesh.add_triangle(at - 1, at, at + 1);
        }
    }
    painter.add(Shape::mesh(mesh));
}

fn pointer(app: &App, ui: &Ui, rect: Rect, camera: &Camera, colors: Colors) {
    let Some(at) = ui.input(|input| input.pointer.hover_pos()).filter(|at| rect.contains(*at))
    else {
        return;
    };
    if super::plane(app).is_some_and(|pane| !pane.plot.contains(at)) {
        return;
    }
    let names = app.place.spec.state.iter().map(|dimension| symbol(&dimension.name));
    let text: Vec<String> = names
        .zip(camera.world_from_screen(at))
        .map(|(name, value)| format!("{name} {value:5.2}"))
        .collect();
    let text = text.join("  ");
    let place = rect.right_bottom() - vec2(16.0, 14.0);
    let font = FontId::monospace(SMALL);
    ui.painter_at(rect).text(place, Align2::RIGHT_CENTER, text, font, colors.muted_ink());
}

/// While a file hovers over the window.
pub(super) fn drop_hint(ui: &Ui, rect: Rect, colors: Colors) {
    if ui.input(|input| input.raw.hovered_files.is_empty()) {
        return;
    }
    let painter = ui.painter_at(rect);
    painter.rect_filled(rect, 0.0, colors.shade(0.5));
    let font = FontId::proportional(theme::LARGE);
    painter.text(
        rect.center(),
        Align2::CENTER_CENTER,
        "Drop a scene to open it",
        font,
        colors.on_shade(),
    );
}
