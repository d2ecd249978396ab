//! Dreams: the model rolled a hundred transitions ahead with given actions,
//! beside what really happens and beside an ensemble that predicts step by
//! step; and how their errors grow (Figure 4.3 of Janner's thesis).

mod chart;
mod map;

use eframe::egui::{Align, Color32, Layout, Painter, ProgressBar, Sense, Slider, Stroke, Ui, vec2};

use crate::eval::dream::Curve;
use crate::lab::dream::{DreamCurves, DreamFrame, DreamRequest, DreamStage};
use crate::model::ensemble::EnsembleConfig;
use crate::ui::app::App;
use crate::ui::stage::field::pane::Pane;
use crate::ui::theme::{Colors, GRID, SMALL, number, small};
use crate::ui::widgets::{fact, muted};
use map::Drawing;

/// The section's tooltip.
pub const HELP: &str = "Given a start and the actions, where does the model believe to be after a \
    hundred transitions, without looking? Errors compound: every prediction is made from the one \
    before. The ensemble (PETS, Chua et al. 2018) learns one step at a time from the same data; \
    \"1 transition\" is this Transformer with its context cut to one transition; the oracle is the \
    best its bins allow.";

/// Transitions that are dreamt.
const HORIZON: usize = 100;
/// Episodes of the average, and sampled dreams of each.
const EPISODES: usize = 20;
const SAMPLES: usize = 32;

/// What the plot shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Distance to the truth.
    #[default]
    Distance,
    /// ln of the density of the truth.
    LogLikelihood,
}

impl Measure {
    const ALL: [Self; 2] = [Self::Distance, Self::LogLikelihood];

    fn name(self) -> &'static str {
        match self {
            Self::Distance => "Distance",
            Self::LogLikelihood => "ln p of the truth",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Distance => {
                "Root mean square over coordinates between the true state and the likeliest \
                 prediction, in standard deviations of the data. Two unrelated states are about \
                 1.4 apart. Lines are medians over episodes."
            }
            Self::LogLikelihood => {
                "ln of the probability density of the true state, in nats, under all sampled \
                 dreams; a bin counts as a uniform density. Lines are medians over episodes, and end \
                 40 below the oracle."
            }
        }
    }

    /// The line of a curve, one number per horizon.
    fn line(self, curve: &Curve) -> Vec<Option<f64>> {
        match self {
            Self::Distance => curve.median_distance.iter().copied().map(Some).collect(),
            Self::LogLikelihood => curve.median_log_likelihood.clone(),
        }
    }

    /// What a curve says at a horizon: median, and mean with standard error.
    fn words(self, curve: &Curve, index: usize) -> Option<[String; 2]> {
        let (median, mean) = match self {
            Self::Distance => (*curve.median_distance.get(index)?, *curve.distance.get(index)?),
            Self::LogLikelihood => {
                let median = (*curve.median_log_likelihood.get(index)?)?;
                (median, (*curve.log_likelihood.get(index)?)?)
            }
        };
        let digits = if self == Self::Distance { 3 } else { 1 };
        Some([
            format!("{median:.digits$}"),
            format!("mean {:.digits$} ± {:.digits$} (n {})", mean.mean, mean.se, mean.n),
        ])
    }
}

/// Who dreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Transformer,
    Markovian,
    Ensemble,
    Oracle,
}

impl Who {
    const ALL: [Self; 4] = [Self::Transformer, Self::Markovian, Self::Ensemble, Self::Oracle];

    fn name(self) -> &'static str {
        match self {
            Self::Transformer => "Transformer",
            Self::Markovian => "1 transition",
            Self::Ensemble => "ensemble",
            Self::Oracle => "discrete oracle",
        }
    }

    fn ink(self, colors: Colors) -> Color32 {
        match self {
            Self::Transformer => colors.model(),
            Self::Markovian => colors.short_memory(),
            Self::Ensemble => colors.ensemble(),
            Self::Oracle => colors.muted_ink(),
        }
    }

    fn curve(self, curves: &DreamCurves) -> Option<&Curve> {
        match self {
            Self::Transformer => Some(&curves.transformer),
            Self::Markovian => Some(&curves.markovian),
            Self::Ensemble => curves.ensemble.as_ref(),
            Self::Oracle => Some(&curves.oracle),
        }
    }
}

/// What was asked, and how its answer is looked at.
#[derive(Default)]
pub struct DreamView {
    /// What the plot shows.
    pub measure: Measure,
    /// Whether the dream is drawn on the stage too.
    pub on_stage: bool,
    asked: Option<u64>,
    /// The horizon that is looked at, in transitions; the last if `None`.
    picked: Option<usize>,
    drawing: Drawing,
}

impl DreamView {
    /// The newest answer to what was asked last.
    pub fn frame(&self, app: &App) -> Option<std::sync::Arc<DreamFrame>> {
        app.session.dream().filter(|frame| Some(frame.id) == self.asked)
    }

    /// Whether a dream lies over the stage.
    pub fn is_on_stage(&self, app: &App) -> bool {
        self.on_stage && self.frame(app).is_some_and(|frame| frame.picture.is_some())
    }

    /// The horizon that is looked at.
    fn at(&self, frame: &DreamFrame) -> usize {
        let horizon = frame.request.horizon;
        self.picked.unwrap_or(horizon).clamp(1, horizon)
    }
}

/// Dream from the start on the stage, and show it.
pub fn start(app: &mut App) {
    let mut view = std::mem::take(&mut app.tree.dream);
    ask(&mut view, app);
    (view.on_stage, app.show_inspector) = (true, true);
    app.tree.dream = view;
}

/// Draw the dream over the stage, if it is wanted there.
pub fn on_stage(app: &mut App, painter: &Painter, pane: &Pane) {
    let mut view = std::mem::take(&mut app.tree.dream);
    if let Some(frame) = view.frame(app).filter(|_| view.on_stage)
        && let Some(picture) = &frame.picture
    {
        let at = view.at(&frame);
        map::large(&mut view.drawing, app, painter, pane, picture, at);
    }
    app.tree.dream = view;
}

/// Show the section.
pub fn show(app: &mut App, ui: &mut Ui) {
    let mut view = std::mem::take(&mut app.tree.dream);
    section(&mut view, app, ui);
    app.tree.dream = view;
}

fn section(view: &mut DreamView, app: &mut App, ui: &mut Ui) {
    let frame = view.frame(app);
    buttons(view, app, ui, frame.as_deref());
    let Some(frame) = frame else {
        let text = "Rolls the model 100 transitions ahead from the start on the stage, beside the \
                    truth and beside an ensemble that learns from the same data for half a minute.";
        ui.label(muted(ui, text));
        return;
    };
    progress(ui, &frame.stage);
    let horizon = frame.request.horizon;
    let at = view.at(&frame);
    if let Some(picture) = &frame.picture {
        map::show(&mut view.drawing, app, ui, picture, at);
        let layer = ui.checkbox(&mut view.on_stage, small("On the stage, over the tree"));
        layer.on_hover_text("Draws the dream over the tree, as large as the map.");
    }
    let Some(curves) = frame.curves.clone() else { return };
    slider(view, app, ui, at, horizon);
    legend(view, ui, &curves, at);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        for measure in Measure::ALL {
            let response = ui.selectable_label(view.measure == measure, small(measure.name()));
            if response.on_hover_text(measure.help()).clicked() {
                view.measure = measure;
            }
        }
    });
    if let Some(pointed) = chart::show(ui, view.measure, &curves, at) {
        view.picked = Some(pointed.clamp(1, horizon));
    }
    let n = curves.episodes;
    let each = if n == 1 { "episode" } else { "episodes" };
    let samples = frame.request.samples;
    ui.label(muted(
        ui,
        format!("Medians over {n} {each} of the data's policies, {samples} samples each."),
    ));
}

fn buttons(view: &mut DreamView, app: &mut App, ui: &mut Ui, frame: Option<&DreamFrame>) {
    let is_running = view.asked.is_some() && frame.is_none_or(|frame| !frame.stage.is_over());
    ui.horizontal(|ui| {
        let start = ui.button("Dream from here");
        let tip = "From the start on the stage, with its seed. Anything that is still running \
                   stops; a trained ensemble is kept.";
        if start.on_hover_text(tip).clicked() {
            ask(view, app);
        }
        if is_running && frame.is_some() {
            let stop = ui.button("Stop dreaming");
            if stop.on_hover_text("Keeps what is there.").clicked() {
                app.session.stop_dream();
            }
        }
    });
}

fn ask(view: &mut DreamView, app: &mut App) {
    let stage = app.stage_now();
    let spec = &app.place.spec;
    let mut start = stage.start.to_vec();
    start.resize(spec.state.len(), 0.0);
    let goal = stage.goal.into_iter().take(spec.goal_dims.len()).collect();
    let request = DreamRequest {
        from: Some((start, goal)),
        horizon: HORIZON,
        episodes: EPISODES,
        samples: SAMPLES,
        context: app.session.scene().beam.context,
        seed: stage.seed,
        ensemble: EnsembleConfig::default(),
    };
    view.asked = Some(app.session.ask_dream(request));
}

/// What is going on, with how far it is.
fn progress(ui: &mut Ui, stage: &DreamStage) {
    let colors = Colors::of(ui.ctx());
    let share = |done: usize, total: usize| done as f32 / total.max(1) as f32;
    let (text, part) = match stage {
        DreamStage::Collecting { done, total } => {
            (format!("Collecting the data: {done} of {total} transitions"), share(*done, *total))
        }
        DreamStage::Dreaming => ("Dreaming of the first episode".into(), 0.0),
        DreamStage::Training { step, steps, loss } => (
            format!("Training the ensemble: step {step} of {steps}, loss {loss:.2}"),
            share(*step, *steps),
        ),
        DreamStage::Averaging { done, total } => {
            (format!("Dreaming of episode {} of {total}", done + 1), share(*done, *total))
        }
        DreamStage::Done => return,
        DreamStage::Stopped => {
            ui.label(muted(ui, "Stopped; what was there stays."));
            return;
        }
        DreamStage::Failed(why) => {
            ui.label(small(why).color(colors.error()));
            return;
        }
    };
    ui.label(muted(ui, text));
    ui.add(ProgressBar::new(part).desired_height(4.0).fill(colors.accent()));
}

fn slider(view: &mut DreamView, app: &App, ui: &mut Ui, at: usize, horizon: usize) {
    let secs = at as f32 * stride(app) * app.place.spec.dt_secs;
    ui.horizontal(|ui| {
        let mut picked = at;
        let name = ui.label(muted(ui, "after")).id;
        ui.spacing_mut().slider_width = (ui.available_width() - 148.0).max(60.0);
        let slider = Slider::new(&mut picked, 1..=horizon).suffix(" transitions");
        let response = ui.add(slider).labelled_by(name);
        if response.on_hover_text(format!("{secs:.2} s; also picked on the plot.")).changed() {
            view.picked = Some(picked);
        }
    });
}

/// Environment steps per transition.
fn stride(app: &App) -> f32 {
    app.tree.frame.as_ref().map_or(1.0, |frame| frame.bins.stride as f32)
}

/// Who is who, and what the plot says at the picked horizon.
fn legend(view: &DreamView, ui: &mut Ui, curves: &DreamCurves, at: usize) {
    let colors = Colors::of(ui.ctx());
    ui.spacing_mut().interact_size.y = 16.0;
    let swatch = |ui: &mut Ui, ink: Color32, width: f32| {
        let (rect, _) = ui.allocate_exact_size(vec2(16.0, 12.0), Sense::hover());
        ui.painter().hline(rect.x_range(), rect.center().y, Stroke::new(width, ink));
    };
    ui.horizontal(|ui| {
        swatch(ui, map::truth_ink(colors), map::TRUTH_WIDTH);
        ui.label(muted(ui, "truth"));
    });
    for who in Who::ALL {
        let words = who.curve(curves).and_then(|curve| view.measure.words(curve, at - 1));
        let row = ui.horizontal(|ui| {
            swatch(ui, who.ink(colors), 2.0);
            ui.label(muted(ui, who.name()));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let text = words.as_ref().map_or("-", |[median, _]| median.as_str());
                ui.label(number(text).size(SMALL));
            });
        });
        if let Some([_, mean]) = words {
            row.response.on_hover_text(mean);
        }
    }
    let spread = |curve: &Curve| curve.spread.get(at - 1).copied().flatten();
    if let Some(own) = spread(&curves.transformer) {
        let other = curves.ensemble.as_ref().and_then(spread);
        let other = other.map_or("-".into(), |other| format!("{:.3}", other.mean));
        fact(ui, "spread, Transformer and ensemble", format!("{:.3}, {other}", own.mean))
            .on_hover_text(
                "Mean distance of sampled dreams to their center, in the same units: how unsure \
                 a model is, beside how wrong it is.",
            );
    }
    ui.add_space(GRID / 2.0);
}
