//! One map with its axes: a cell for every pair of tokens, grouped by
//! transition, and what is marked on it.

use eframe::egui::epaint::CornerRadius;
use eframe::egui::{
    CursorIcon, EventFilter, Key, Painter, Rect, Response, Role, Sense, Stroke, StrokeKind, Ui,
    Vec2, WidgetInfo, pos2, vec2,
};

use super::answer::{Answer, Head, Picture};
use super::lens::{Lens, Plot};
use super::{axes, words};
use crate::ui::app::App;
use crate::ui::layers::{self, Batch, Points, Renderer, fallback};
use crate::ui::theme::Colors;

/// Buffer slots: thumbnails begin at the first.
pub const THUMBNAIL_SLOT: u64 = 500;
pub const INSET_SLOT: u64 = 498;
pub const LARGE_SLOT: u64 = 499;
/// What is drawn.
pub struct Look<'a> {
    /// Where the numbers are.
    pub answer: &'a Answer,
    /// Which head; the mean over all if `None`.
    pub head: Option<Head>,
    /// Its buffer.
    pub slot: u64,
    /// Its picture.
    pub picture: Option<&'a Picture>,
    /// The part that is shown.
    pub lens: Lens,
    /// What paints the window.
    pub renderer: Renderer,
    /// The picked token, and the one under the pointer anywhere.
    pub marked: [Option<usize>; 2],
}

/// What a person did to a map.
#[derive(Default)]
pub struct Touched {
    /// Row and column under the pointer.
    pub cell: Option<[usize; 2]>,
    /// A row was picked, or the picked one let go.
    selects: Option<Option<usize>>,
}

impl Touched {
    /// Link it with the strip and the stage.
    pub fn apply(&self, app: &mut App) {
        if let Some([row, _]) = self.cell {
            app.tree.hovered = Some(row);
            app.tree.hovered_next = Some(row);
        }
        if let Some(token) = self.selects {
            app.tree.select(token, &app.transport);
        }
    }
}

/// Draw a map in a square of `size`, axes included. The wheel magnifies where
/// there is a lens to change.
pub fn show(ui: &mut Ui, look: &Look, size: Vec2, lens: Option<&mut Lens>) -> Touched {
    let colors = Colors::of(ui.ctx());
    let has_names = lens.is_some();
    let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
    let margin = axes::margin(has_names);
    let inner = Rect::from_min_max(rect.min + vec2(margin, 0.0), rect.max - vec2(0.0, margin));
    let side = inner.width().min(inner.height());
    let place = Rect::from_min_size(inner.min, Vec2::splat(side));
    let plot = Plot { rect: place, n: look.answer.frame.n, lens: look.lens };
    let response = ui.interact(place, ui.scope_id().with(look.slot), Sense::click_and_drag());
    response.widget_info(|| {
        WidgetInfo::labeled(
            Role::Canvas,
            true,
            format!("Attention map: {}", words::head(look.head)),
        )
    });
    let touched = touch(ui, look, &plot, &response, lens);
    if ui.is_rect_visible(rect) {
        let painter = ui.painter_at(rect.expand(1.0));
        let cells = painter.with_clip_rect(place.intersect(painter.clip_rect()));
        picture(&cells, &plot, look.picture, look.slot, look.renderer);
        transitions(&cells, &plot, look.answer, colors);
        axes::legend(&cells, &plot, colors);
        axes::show(&painter, &plot, look.answer, has_names, colors);
        // Outlines reach beyond the outermost rows.
        let around = painter.with_clip_rect(place.expand(2.5).intersect(painter.clip_rect()));
        marks(&around, &plot, look, &touched, colors);
        if response.has_focus() {
            let stroke = Stroke::new(1.0, colors.accent());
            painter.rect_stroke(place, CornerRadius::ZERO, stroke, StrokeKind::Outside);
        }
    }
    touched
}

/// What a person does to a map.
fn touch(
    ui: &Ui,
    look: &Look,
    plot: &Plot,
    response: &Response,
    lens: Option<&mut Lens>,
) -> Touched {
    let mut touched = Touched::default();
    let [selected, _] = look.marked;
    touched.cell = response.hover_pos().and_then(|at| plot.at(at));
    if touched.cell.is_some() {
        ui.ctx().set_cursor_icon(CursorIcon::Crosshair);
    }
    if response.clicked()
        && let Some([row, _]) = response.interact_pointer_pos().and_then(|at| plot.at(at))
    {
        touched.selects = Some((selected != Some(row)).then_some(row));
    }
    if response.has_focus() {
        let filter = EventFilter { vertical_arrows: true, ..Default::default() };
        ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
        let pressed = |key| ui.input(|input| input.num_presses(key) as isize);
        let down = pressed(Key::ArrowDown) - pressed(Key::ArrowUp);
        if down != 0 && plot.n > 0 {
            let row = selected.map_or(0, |row| row.saturating_add_signed(down).min(plot.n - 1));
            touched.selects = Some(Some(row));
        }
    }
    if let Some(lens) = lens {
        if let Some(at) = response.hover_pos() {
            let wheel =
                ui.input(|input| input.smooth_scroll_delta().y + 100.0 * input.zoom_delta().ln());
            if wheel != 0.0 {
                lens.zoom_at((wheel * 0.003).exp(), at, plot.rect);
            }
        }
        if response.dragged() {
            lens.pan_by(response.drag_delta(), plot.rect);
        }
        if response.double_clicked() {
            *lens = Lens::default();
        }
    }
    touched
}

/// The cells.
pub fn picture(
    painter: &Painter,
    plot: &Plot,
    picture: Option<&Picture>,
    slot: u64,
    renderer: Renderer,
) {
    let Some(picture) = picture else { return };
    let points = Points::Matrix(picture.matrix.clone());
    let batch = Batch { slot, generation: picture.generation, points };
    if renderer == Renderer::Shapes {
        painter.extend(fallback::shapes(&batch, |[x, y]| pos2(plot.x(x), plot.y(y))));
        return;
    }
    // A viewport does not reach beyond the window, so a map that is partly
    // scrolled away is drawn into the part that is not.
    let shown = plot.rect.intersect(painter.clip_rect());
    if shown.is_positive() {
        let view = plot.view(shown, painter.pixels_per_point());
        painter.add(layers::callback(shown, batch, view, renderer));
    }
}

/// Thin lines between transitions, up to the diagonal.
fn transitions(painter: &Painter, plot: &Plot, answer: &Answer, colors: Colors) {
    let [line, _] = colors.on_map();
    let n = plot.n as f32;
    for (transition, from, _) in axes::blocks(answer).into_iter().skip(1) {
        // The present is where the plan begins.
        let strength = if transition == Some(0) { 0.55 } else { 0.16 };
        let stroke = Stroke::new(1.0, line.gamma_multiply(strength));
        let [x, y] = [plot.x(from as f32), plot.y(from as f32)];
        painter.line_segment([pos2(plot.x(0.0), y), pos2(x, y)], stroke);
        painter.line_segment([pos2(x, y), pos2(x, plot.y(n))], stroke);
    }
}

/// The picked row, the one under the pointer, and the crosshair.
fn marks(painter: &Painter, plot: &Plot, look: &Look, touched: &Touched, colors: Colors) {
    let [selected, hovered] = look.marked;
    // Maps have the same colors in both themes, and so has what is marked.
    let [line, shade] = colors.on_map();
    for (row, width, strength) in [(hovered, 1.0, 0.7), (selected, 1.5, 1.0)] {
        let Some(row) = row.filter(|row| *row < plot.n) else { continue };
        let band = plot.cells([0, row + 1], [row, row + 1]);
        // A row thinner than its outline would be hidden by it.
        let band = band.expand2(vec2(0.0, (2.0 - band.height() / 2.0).max(0.0)));
        painter.rect_stroke(band, 1.0, Stroke::new(width + 2.0, shade), StrokeKind::Outside);
        let stroke = Stroke::new(width, line.gamma_multiply(strength));
        painter.rect_stroke(band, 1.0, stroke, StrokeKind::Outside);
    }
    let Some([row, column]) = touched.cell else { return };
    let cell = plot.cells([column, column + 1], [row, row + 1]);
    let middle = cell.center();
    let to_left = [pos2(plot.rect.left(), middle.y), pos2(cell.left(), middle.y)];
    let to_bottom = [pos2(middle.x, cell.bottom()), pos2(middle.x, plot.rect.bottom())];
    // Beyond the diagonal there is no map, but the panel.
    let line = if column > row { colors.muted_ink() } else { line };
    for ends in [to_left, to_bottom] {
        painter.line_segment(ends, Stroke::new(2.5, shade.gamma_multiply(0.6)));
        painter.line_segment(ends, Stroke::new(1.0, line));
    }
    painter.rect_stroke(cell.expand(1.5), 1.0, Stroke::new(2.5, shade), StrokeKind::Outside);
    painter.rect_stroke(cell.expand(1.5), 1.0, Stroke::new(1.0, line), StrokeKind::Outside);
}
