//! Messages at the stage's upper edge, each with a way to dismiss it.

use eframe::egui;
use eframe::egui::{Align2, Area, Color32, Context, Frame, Id, Margin, Order, Stroke, Ui, vec2};

use crate::lab::device::preparer::Preparing;
use crate::ui::app::App;
use crate::ui::icons::{self, Icon};
use crate::ui::theme::{BODY, Colors, GRID, small, strong};

/// Most messages shown at once; older ones wait.
const MAX_SHOWN: usize = 3;
/// A message that needs no action leaves after this.
const DONE_SECS: f64 = 4.0;

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// It worked.
    Done,
    /// It did not.
    Failed,
}

/// A message to a person.
#[derive(Clone, Debug)]
pub struct Notice {
    /// What kind.
    pub kind: NoticeKind,
    /// What happened.
    pub title: String,
    /// Why, and what would help.
    pub text: String,
    shown_since: Option<f64>,
}

impl Notice {
    /// Something worked.
    pub fn done(title: impl Into<String>) -> Self {
        Self::new(NoticeKind::Done, title.into(), String::new())
    }

    /// Something did not.
    pub fn failed(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(NoticeKind::Failed, title.into(), text.into())
    }

    fn new(kind: NoticeKind, title: String, text: String) -> Self {
        Self { kind, title, text, shown_since: None }
    }
}

/// Show the window's notices and the session's problems.
pub fn show(app: &mut App, ctx: &Context) {
    expire(app, ctx);
    let problems = app.session.status().problems.clone();
    let preparing = app.session.status().preparing.clone();
    if app.notices.is_empty() && problems.is_empty() && preparing.is_none() {
        return;
    }
    let mut is_canceled = false;
    let mut dismissed_problem = None;
    let mut dismissed_notice = None;
    let top = app.stage.rect().map_or(56.0, |rect| rect.top() + 12.0);
    let center = app.stage.rect().map_or(ctx.content_rect().center().x, |rect| rect.center().x);
    Area::new(Id::unique("notices"))
        .order(Order::Foreground)
        .pivot(Align2::CENTER_TOP)
        .fixed_pos([center, top])
        .show(ctx, |ui| {
            ui.set_width(440.0);
            if let Some(preparing) = &preparing {
                is_canceled = preparing_card(ui, preparing);
            }
            for (index, problem) in problems.iter().enumerate().take(MAX_SHOWN) {
                if card(ui, NoticeKind::Failed, &problem.title, &problem.advice) {
                    dismissed_problem = Some(index);
                }
            }
            for (index, notice) in app.notices.iter().enumerate().rev().take(MAX_SHOWN) {
                if card(ui, notice.kind, &notice.title, &notice.text) {
                    dismissed_notice = Some(index);
                }
            }
        });
    if is_canceled {
        app.session.cancel_preparing();
    }
    if let Some(index) = dismissed_problem {
        app.session.dismiss_problem(index);
    }
    if let Some(index) = dismissed_notice {
        app.notices.remove(index);
    }
}

fn expire(app: &mut App, ctx: &Context) {
    let now = ctx.input(|input| input.time);
    app.notices.retain_mut(|notice| {
        let since = *notice.shown_since.get_or_insert(now);
        notice.kind == NoticeKind::Failed || now - since < DONE_SECS
    });
    if app.notices.iter().any(|notice| notice.kind == NoticeKind::Done) {
        ctx.request_repaint_after_secs(0.5);
    }
}

/// One message. Returns whether it was dismissed.
fn card(ui: &mut Ui, kind: NoticeKind, title: &str, text: &str) -> bool {
    let colors = Colors::of(ui.ctx());
    let mark = match kind {
        NoticeKind::Done => colors.success(),
        NoticeKind::Failed => colors.error(),
    };
    let name = format!("Dismiss: {title}");
    framed(ui, mark, [title, text], icons::BUTTON_SIDE, |ui| {
        icons::button(ui, Icon::Close, &name, false).clicked()
    })
}

/// A GPU that gets ready. Returns whether that was canceled.
fn preparing_card(ui: &mut Ui, preparing: &Preparing) -> bool {
    const BUTTON: f32 = 64.0;
    let title = format!("Preparing the GPU … {:.0} s", preparing.since.elapsed().as_secs_f32());
    let text = format!("Now: {}", preparing.progress);
    let mark = Colors::of(ui.ctx()).accent();
    framed(ui, mark, [&title, &text], BUTTON, |ui| {
        let tip = "The CPU plans meanwhile, and goes on if this is canceled; what the GPU has \
                   compiled is kept while the program runs.";
        ui.button("Cancel").on_hover_text(tip).clicked()
    })
}

/// A title over a text, and at the right a button of some width. Returns what
/// the button did.
fn framed(
    ui: &mut Ui,
    mark: Color32,
    [title, text]: [&str; 2],
    width: f32,
    button: impl FnOnce(&mut Ui) -> bool,
) -> bool {
    let colors = Colors::of(ui.ctx());
    let frame = Frame::popup(ui.style())
        .fill(colors.panel())
        .stroke(Stroke::new(1.0, colors.line()))
        .inner_margin(Margin::symmetric(12, 8));
    let mut pressed = false;
    frame.show(ui, |ui| {
        ui.horizontal(|ui| {
            let (rect, _) = ui.allocate_exact_size(vec2(GRID, GRID), egui::Sense::hover());
            ui.painter().circle_filled(rect.center(), 4.0, mark);
            ui.vertical(|ui| {
                ui.set_width(ui.available_width() - width - GRID);
                ui.spacing_mut().item_spacing.y = 2.0;
                ui.add(egui::Label::new(strong(title, BODY)).wrap());
                if !text.is_empty() {
                    ui.add(egui::Label::new(small(text).color(colors.muted_ink())).wrap());
                }
            });
            pressed = button(ui);
        });
    });
    ui.add_space(2.0);
    pressed
}
