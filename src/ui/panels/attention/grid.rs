//! Every head's map in small: layers down, heads across.

use eframe::egui::{
    Align2, FontId, Rect, Role, Sense, Stroke, StrokeKind, Ui, Vec2, WidgetInfo, pos2, vec2,
};

use super::answer::{Answer, Head};
use super::lens::{Lens, Plot};
use super::{AttentionView, map, words};
use crate::lab::attention::Pattern;
use crate::ui::app::App;
use crate::ui::layers::Renderer;
use crate::ui::theme::{Colors, SMALL, strong_family};

/// Between maps, and beside them for the layers' numbers.
const GAP: f32 = 6.0;
const MARGIN: f32 = 16.0;
/// Largest side of a map in points.
const MOST: f32 = 96.0;

/// Draw the grid and take a pick.
pub fn show(view: &mut AttentionView, app: &App, ui: &mut Ui) {
    let Some(answer) = &view.answer else { return };
    let colors = Colors::of(ui.ctx());
    let (layers, heads) = (answer.frame.layers, answer.frame.heads.max(1));
    let free = ui.available_width() - MARGIN - GAP * (heads - 1) as f32;
    let side = (free / heads as f32).floor().clamp(16.0, MOST);
    let pitch = side + GAP;
    let size = vec2(MARGIN + pitch * heads as f32 - GAP, MARGIN + pitch * layers as f32 - GAP);
    let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
    let font = FontId::proportional(SMALL);
    let painter = ui.painter_at(rect);
    for head in 0..heads {
        let at = pos2(rect.left() + MARGIN + pitch * head as f32 + side / 2.0, rect.top());
        let text = if head == 0 { "head 1".into() } else { (head + 1).to_string() };
        painter.text(at, Align2::CENTER_TOP, text, font.clone(), colors.muted_ink());
    }
    let shown = view.head();
    let mut picked = None;
    for layer in 0..layers {
        let top = rect.top() + MARGIN + pitch * layer as f32;
        let at = pos2(rect.left(), top + side / 2.0);
        let text = format!("L{}", layer + 1);
        painter.text(at, Align2::LEFT_CENTER, text, font.clone(), colors.muted_ink());
        for head in 0..heads {
            let corner = pos2(rect.left() + MARGIN + pitch * head as f32, top);
            let place = Rect::from_min_size(corner, Vec2::splat(side));
            let head = Head { layer, head };
            if thumbnail(ui, answer, head, place, shown == Some(head), app.renderer()) {
                picked = Some(head);
            }
        }
    }
    if let Some(head) = picked {
        view.pick(head);
    }
}

/// One head's map. Returns whether it was clicked.
fn thumbnail(
    ui: &Ui,
    answer: &Answer,
    head: Head,
    place: Rect,
    is_picked: bool,
    renderer: Renderer,
) -> bool {
    let name = words::head(Some(head));
    let slot = map::THUMBNAIL_SLOT + (head.layer * answer.frame.heads + head.head) as u64;
    let response = ui.interact(place, ui.scope_id().with(("head", slot)), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, is_picked, &name));
    let measures = answer.measures(Some(head));
    if ui.is_rect_visible(place) {
        let colors = Colors::of(ui.ctx());
        let painter = ui.painter_at(place.expand(2.0));
        let cells = painter.with_clip_rect(place.intersect(painter.clip_rect()));
        painter.rect_filled(place, 0.0, colors.floor());
        let plot = Plot { rect: place, n: answer.frame.n, lens: Lens::default() };
        map::picture(&cells, &plot, answer.small(head), slot, renderer);
        let letter = match measures.map(|measures| measures.pattern()) {
            Some(Pattern::Markov) => "M",
            Some(Pattern::Striated) => "S",
            Some(Pattern::Goal) => "G",
            Some(Pattern::Mixed) | None => "",
        };
        let at = place.right_top() + vec2(-5.0, 4.0);
        let font = FontId::new(SMALL, strong_family());
        painter.text(at, Align2::RIGHT_TOP, letter, font, colors.muted_ink());
        let stroke = if is_picked {
            Stroke::new(2.0, colors.accent())
        } else if response.hovered() || response.has_focus() {
            Stroke::new(1.0, colors.accent())
        } else {
            Stroke::new(1.0, colors.line())
        };
        painter.rect_stroke(place, 0.0, stroke, StrokeKind::Outside);
    }
    let is_clicked = response.clicked();
    let tip = match measures {
        Some(measures) => format!("{name}: {}", measures.sentence()),
        None => name,
    };
    response.on_hover_text(tip);
    is_clicked
}
