//! What the tokens of a search attend to: every head's map in small, one of
//! them in large, and what its pattern is called.
//!
//! [`answer`] knows what was asked and what came back, [`lens`] where cells are
//! on the screen; [`grid`], [`map`], [`axes`] and [`large`] draw, [`words`]
//! speaks. Nothing is computed while nobody looks.

mod answer;
mod axes;
mod grid;
mod large;
mod lens;
mod map;
mod words;

use std::sync::Arc;

use eframe::egui::{Align, Layout, Rect, Ui, vec2};

use crate::lab::beam::AttentionRequest;
use crate::ui::app::App;
use crate::ui::theme::{GRID, SMALL, small, strong};
use crate::ui::widgets::muted;
use answer::Asked;
pub use answer::{Answer, Head};
use lens::Lens;

/// The section's tooltip.
pub const HELP: &str = "What each token looks at when the next one is predicted: rows attend to \
    the columns before them, and every row sums to 100 %. Two patterns are common. A Markov head \
    (M) looks at its own and the last transition, all that a Markov process needs; a striated one \
    (S) looks at one number of many earlier transitions, which draws stripes. With a goal in front \
    of the sequence, some heads (G) look at that. Nobody looks at a reward-to-go, R.";

/// Height of the section before it was ever drawn.
const FIRST_HEIGHT: f32 = 420.0;

/// What is looked at, and what came back.
#[derive(Default)]
pub struct AttentionView {
    /// The head shown in large; the mean over all where none is picked.
    pub picked: Option<Head>,
    asked: Option<Asked>,
    answer: Option<Answer>,
    /// Whether a map lies over the stage.
    is_large: bool,
    lens: Lens,
    /// The row under the pointer on either map a frame ago: each marks the
    /// other's.
    pointed: Option<usize>,
    height: f32,
}

impl AttentionView {
    /// The newest answer.
    pub fn answer(&self) -> Option<&Answer> {
        self.answer.as_ref()
    }

    /// Whether a map lies over the stage.
    pub fn is_large(&self) -> bool {
        self.is_large
    }

    /// The head shown in large, where there is one.
    fn head(&self) -> Option<Head> {
        self.picked.filter(|head| self.answer.as_ref().is_some_and(|answer| answer.has(*head)))
    }

    /// Show that head, or the mean over all if it was shown.
    fn pick(&mut self, head: Head) {
        self.picked = (self.head() != Some(head)).then_some(head);
    }

    /// Ask about the search on the stage, and take what came back.
    fn follow(&mut self, app: &mut App) {
        // While something is dragged, the search changes faster than it is worth.
        if app.stage.drag().is_none()
            && let Some(beam) = app.tree.frame.clone()
            && let Some(search) = app.tree.shown(&app.transport)
            && search.tree.done
            && !self.asked.as_ref().is_some_and(|asked| Arc::ptr_eq(&asked.search, &search))
        {
            let best = search.tree.best_tokens().unwrap_or_default();
            let tokens: Vec<u16> = search.tree.context.iter().copied().chain(best).collect();
            let request =
                AttentionRequest { goal: Arc::clone(&search.goal), tokens: tokens.into() };
            let id = app.session.ask_attention(request);
            self.asked = Some(Asked { id, beam, search });
        }
        let Some(frame) = app.session.attention() else {
            if app.tree.frame.is_none() {
                // Another model loads.
                (self.asked, self.answer) = (None, None);
            }
            return;
        };
        let is_new = self.answer.as_ref().is_none_or(|answer| answer.frame.id != frame.id);
        if let Some(asked) = self.asked.as_ref().filter(|asked| is_new && asked.id == frame.id) {
            self.answer = Some(Answer::new(asked, frame, app.renderer()));
        }
    }
}

/// Show the section.
pub fn show(app: &mut App, ui: &mut Ui) {
    let mut view = std::mem::take(&mut app.tree.attention);
    section(&mut view, app, ui);
    app.tree.attention = view;
}

fn section(view: &mut AttentionView, app: &mut App, ui: &mut Ui) {
    let top = ui.cursor().min;
    let height = if view.height > 0.0 { view.height } else { FIRST_HEIGHT };
    let room = Rect::from_min_size(top, vec2(ui.available_width(), height));
    let is_seen = ui.is_rect_visible(room);
    // A picked token lights up on the stage, wherever this section is.
    if is_seen || view.is_large || app.tree.selected.is_some() {
        view.follow(app);
    }
    match &view.answer {
        None => {
            let why = if app.tree.frame.is_some() {
                "Reading the attention of the search on the stage."
            } else {
                "Waiting for the first search."
            };
            ui.label(muted(ui, why));
            // As tall as it will be, so that nothing below jumps.
            ui.allocate_space(vec2(1.0, (height - 24.0).max(0.0)));
            return;
        }
        Some(_) if is_seen => {
            content(view, app, ui);
            view.height = ui.cursor().min.y - top.y - ui.spacing().item_spacing.y;
        }
        Some(_) => {
            ui.allocate_space(room.size());
        }
    }
    if view.is_large {
        large::show(view, app, ui.ctx());
    }
}

fn content(view: &mut AttentionView, app: &mut App, ui: &mut Ui) {
    grid::show(view, app, ui);
    let Some(answer) = &view.answer else { return };
    ui.add_space(GRID / 2.0);
    let head = view.head();
    let mut wants_large = false;
    ui.horizontal(|ui| {
        ui.label(strong(words::head(head), SMALL));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let label = if view.is_large { "Close large map" } else { "Large map" };
            let button = ui.selectable_label(view.is_large, small(label));
            wants_large =
                button.on_hover_text("Over the stage, with room for every token.").clicked();
        });
    });
    let look = map::Look {
        answer,
        head,
        slot: map::INSET_SLOT,
        picture: answer.inset(head),
        lens: Lens::default(),
        renderer: app.renderer(),
        marked: [app.tree.selected, app.tree.hovered.or(view.pointed)],
    };
    let side = ui.available_width();
    let touched = map::show(ui, &look, vec2(side, side), None);
    axes::scale(ui, answer.end);
    let spoken = words::spoken(answer, head, touched.cell, app.tree.hovered.or(app.tree.selected));
    ui.label(muted(ui, spoken));
    let pattern = answer.measures(head).map(|measures| measures.sentence());
    if let Some(sentence) = pattern {
        ui.label(small(sentence)).on_hover_text(HELP);
    }
    let row = touched.cell.map(|[row, _]| row);
    touched.apply(app);
    view.pointed = row;
    if wants_large {
        view.is_large = !view.is_large;
        view.lens = Lens::default();
    }
}
