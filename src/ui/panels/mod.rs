//! Panels: one file and one row in a table each.

pub mod attention;
pub mod candidates;
pub mod controls;
pub mod curves;
pub mod data;
pub mod denoise;
pub mod dream;
pub mod frontier;
pub mod horizon;
pub mod learning;
pub mod model_card;
pub mod occupancy;
pub mod plot;
pub mod question;
pub mod search;
pub mod status;
pub mod top_bar;
pub mod training;
pub mod value;
pub mod waypoints;

use eframe::egui::{CentralPanel, Frame, Margin, Panel, ScrollArea, Ui};

use super::app::App;
use super::theme::strong;
use super::{stage, theme, transport, workspace};
use crate::lab::Scene;
use crate::lab::knobs::{has_goal, is_diffuser, is_gamma, is_trajectory};

/// Sections of the inspector that hold the knobs of the group of that name.
const OCCUPANCY: &str = "Occupancy";
const HORIZON: &str = "Horizon";

fn always(_: &Scene) -> bool {
    true
}

/// A row of the inspector's or the controls' table.
pub struct Section {
    /// Stable name.
    pub id: &'static str,
    /// Shown above it.
    pub title: &'static str,
    /// One sentence, for the title's tooltip.
    pub help: &'static str,
    /// Whether it means anything in a scene.
    pub applies: fn(&Scene) -> bool,
    /// Draws it.
    pub show: fn(&mut App, &mut Ui),
}

/// The sections of the panel on the left.
pub const CONTROLS: &[Section] = &[
    Section {
        id: "question",
        title: "Question",
        help: "What the model is asked: from which state, with which goal and first action.",
        applies: is_gamma,
        show: question::show,
    },
    Section { id: "knobs", title: "", help: "", applies: always, show: controls::show },
    Section {
        id: "waypoints",
        title: "Waypoints",
        help: "Points the plan must pass: start and goal are two cases of the same constraint.",
        applies: has_goal,
        show: waypoints::show,
    },
];

/// The sections behind the controls: training.
pub const TRAINING: &[Section] = &[Section {
    id: "training",
    title: "",
    help: training::HELP,
    applies: always,
    show: training::show,
}];

/// The sections behind the inspector: what training looks like.
pub const LEARNING: &[Section] = &[Section {
    id: "learning",
    title: "",
    help: learning::HELP,
    applies: always,
    show: learning::show,
}];

/// The sections of the inspector on the right.
pub const INSPECTOR: &[Section] = &[
    Section {
        id: "occupancy",
        title: OCCUPANCY,
        help: "Where the policy will be over a discounted future: μ(s_e | s) = (1-γ) Σ γ^(t-1) p(s_t = s_e | s).",
        applies: is_gamma,
        show: occupancy::show,
    },
    Section {
        id: "value",
        title: "Value",
        help: "What every state is worth, from the same model: V(s) = 1/(1-γ) E[r(s_e)].",
        applies: is_gamma,
        show: value::show,
    },
    Section {
        id: "horizon",
        title: HORIZON,
        help: "How chained model steps become a longer horizon, exactly (Theorem 1).",
        applies: is_gamma,
        show: horizon::show,
    },
    Section {
        id: "search",
        title: "Beam search",
        help: search::HELP,
        applies: is_trajectory,
        show: search::show,
    },
    Section {
        id: "attention",
        title: "Attention",
        help: attention::HELP,
        applies: is_trajectory,
        show: attention::show,
    },
    Section {
        id: "dream",
        title: "Dream",
        help: dream::HELP,
        applies: is_trajectory,
        show: dream::show,
    },
    Section {
        id: "denoise",
        title: "Denoising",
        help: "From noise to plan, step by step. The chain is read from left to right.",
        applies: is_diffuser,
        show: denoise::show,
    },
    Section {
        id: "curves",
        title: "Chosen plan",
        help: "The plan's coordinates over time, and what the ball did.",
        applies: is_diffuser,
        show: curves::show,
    },
    Section {
        id: "candidates",
        title: "Candidates",
        help: "What was drawn, and what was picked.",
        applies: is_diffuser,
        show: candidates::show,
    },
    Section {
        id: "frontier",
        title: "Frontier",
        help: frontier::HELP,
        applies: is_diffuser,
        show: frontier::show,
    },
    Section { id: "data", title: "Data", help: data::HELP, applies: always, show: data::show },
    Section {
        id: "model",
        title: "Model",
        help: "Where the weights come from.",
        applies: always,
        show: model_card::show,
    },
];

const SCROLL_MARGIN: f32 = 16.0;
const TOP_HEIGHT: f32 = 48.0;
const STATUS_HEIGHT: f32 = 28.0;

/// Lay out the window.
pub fn show(app: &mut App, ui: &mut Ui) {
    // No fill: the window is cleared to the panels' color, and filling most of
    // it again is the dearest thing a software renderer can be asked for.
    let bar = |margin_y: i8| Frame::new().inner_margin(Margin::symmetric(16, margin_y));
    Panel::top("top bar")
        .exact_size(TOP_HEIGHT)
        .frame(bar(0))
        .show_separator_line(false)
        .show(ui, |ui| top_bar::show(app, ui));
    Panel::bottom("status")
        .exact_size(STATUS_HEIGHT)
        .frame(bar(0))
        .show_separator_line(false)
        .show(ui, |ui| {
            if stage::tree::is_here(app) {
                search::status_line(app, ui);
            } else {
                status::show(app, ui);
            }
        });
    Panel::bottom("transport")
        .exact_size(transport::bar::HEIGHT)
        .frame(bar(0))
        .show_separator_line(false)
        .show(ui, |ui| transport::bar::show(app, ui));
    CentralPanel::no_frame().frame(Frame::new()).show(ui, |ui| workspace::show(app, ui));
}

pub(super) fn sections(app: &mut App, ui: &mut Ui, id: &str, table: &[Section]) {
    ScrollArea::vertical().id_salt(id).auto_shrink(false).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 4.0;
        ui.set_max_width(ui.available_width() - SCROLL_MARGIN);
        for section in table {
            if !(section.applies)(app.session.scene()) {
                continue;
            }
            if !section.title.is_empty() {
                ui.add_space(theme::GRID);
                ui.label(strong(section.title, theme::BODY)).on_hover_text(section.help);
            }
            ui.push_id(section.id, |ui| (section.show)(app, ui));
        }
        ui.add_space(theme::GRID * 2.0);
    });
}
