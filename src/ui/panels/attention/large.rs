//! A map over the stage, with room for every token.

use eframe::egui::{
    Align, Area, Context, Frame, Id, Key, Label, Layout, Modifiers, Order, Rect, Ui, vec2,
};

use super::{AttentionView, axes, map, words};
use crate::ui::app::App;
use crate::ui::theme::{TITLE, strong};
use crate::ui::widgets::muted;

/// Share of the stage it covers, and the least it needs.
const SHARE: f32 = 0.84;
const LEAST: f32 = 320.0;
/// Inner margin.
const MARGIN: f32 = 12.0;
/// Room for the title above the map, and for the scale and words below.
const ABOVE: f32 = 36.0;
const BELOW: f32 = 64.0;

/// Show it.
pub fn show(view: &mut AttentionView, app: &mut App, ctx: &Context) {
    let whole = app.stage.rect().unwrap_or_else(|| ctx.content_rect());
    let size = (whole.size() * SHARE).max(vec2(LEAST, LEAST)).min(whole.size());
    let inner = size - vec2(2.0, 2.0) * MARGIN;
    // The map is square: what it does not need is left to the stage.
    let side = inner.x.min(inner.y - ABOVE - BELOW).max(1.0);
    let inner = vec2(side, side + ABOVE + BELOW);
    let rect = Rect::from_center_size(whole.center(), inner + vec2(2.0, 2.0) * MARGIN);
    let mut is_closed = ctx.input_mut(|input| input.consume_key(Modifiers::NONE, Key::Escape));
    let frame = Frame::window(&ctx.global_style()).inner_margin(MARGIN);
    Area::new(Id::unique("large attention map")).order(Order::Middle).fixed_pos(rect.min).show(
        ctx,
        |ui| {
            frame.show(ui, |ui| {
                ui.set_min_size(inner);
                ui.set_max_size(inner);
                is_closed |= content(view, app, ui, side);
            });
        },
    );
    if is_closed {
        view.is_large = false;
    }
}

/// Returns whether it is to be closed.
fn content(view: &mut AttentionView, app: &mut App, ui: &mut Ui, side: f32) -> bool {
    let head = view.head();
    let mut lens = view.lens;
    let Some(answer) = &view.answer else { return false };
    let mut is_closed = false;
    ui.spacing_mut().item_spacing.y = 4.0;
    ui.allocate_ui_with_layout(
        vec2(side, ABOVE - 4.0),
        Layout::right_to_left(Align::Center),
        |ui| {
            let close = ui.button("Close").on_hover_text("Close the large map (Esc)");
            is_closed = close.clicked();
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.label(strong(words::head(head), TITLE));
                if let Some(measures) = answer.measures(head) {
                    ui.add(Label::new(muted(ui, measures.sentence())).truncate());
                }
            });
        },
    );
    let look = map::Look {
        answer,
        head,
        slot: map::LARGE_SLOT,
        picture: answer.full(head),
        lens,
        renderer: app.renderer(),
        marked: [app.tree.selected, app.tree.hovered],
    };
    let touched = map::show(ui, &look, vec2(side, side), Some(&mut lens));
    axes::scale(ui, answer.end);
    let marked = app.tree.hovered.or(app.tree.selected);
    ui.label(muted(ui, words::spoken(answer, head, touched.cell, marked)));
    ui.label(muted(ui, "Wheel zooms, dragging moves, double click shows all."));
    touched.apply(app);
    view.lens = lens;
    view.pointed = touched.cell.map(|[row, _]| row).or(view.pointed);
    is_closed
}
