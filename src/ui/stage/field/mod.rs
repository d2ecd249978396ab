//! The stage of a gamma-model: where a policy will be from the state under the
//! mouse, as a density beside the truth, or what every state is worth.
//!
//! [`asking`] knows what was asked and what came back, [`pane`] where states are
//! on the screen, [`input`] the hands; [`shots`], [`paint`], [`axes`], [`pendulum`] and
//! [`words`] draw.

pub mod asking;
pub(in crate::ui) mod axes;
pub mod export;
pub mod input;
pub(in crate::ui) mod paint;
pub mod pane;
pub(super) mod pendulum;
pub mod rewards;
pub mod run;
mod shots;
mod words;

pub use axes::symbol;

use eframe::egui::{Rect, Sense, Ui};

use crate::lab::scene::StageConfig;
use crate::lab::{Scene, knobs};
use crate::ui::app::App;
use crate::ui::layers::Scale;
use crate::ui::stage::episodes;
use crate::ui::theme::Colors;
use asking::Asking;
use paint::Pictures;
use pane::{Arrangement, Pane};
use rewards::Rewards;
use run::Run;

/// What the stage shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Map {
    /// Where the policy will be from one state.
    #[default]
    Occupancy,
    /// What every state is worth.
    Value,
}

/// What an occupancy is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compare {
    /// Model and truth side by side, where there is room.
    #[default]
    Both,
    /// The model alone.
    Model,
    /// Real rollouts alone.
    Truth,
    /// Model minus truth.
    Difference,
}

impl Compare {
    /// Every comparison, in the order of buttons.
    pub const ALL: [Self; 4] = [Self::Both, Self::Model, Self::Truth, Self::Difference];

    /// Shown on its button.
    pub fn name(self) -> &'static str {
        match self {
            Self::Both => "Both",
            Self::Model => "Model",
            Self::Truth => "Truth",
            Self::Difference => "Difference",
        }
    }
}

/// Which value map is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValueOf {
    /// From the model's samples.
    #[default]
    Model,
    /// The same policy's, by policy evaluation.
    Evaluation,
    /// The best policy's, by value iteration.
    Optimal,
    /// Model minus policy evaluation.
    Difference,
}

impl ValueOf {
    /// Every map, in the order of buttons.
    pub const ALL: [Self; 4] = [Self::Model, Self::Evaluation, Self::Optimal, Self::Difference];

    /// Shown on its button.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "Model",
            Self::Evaluation => "Evaluation",
            Self::Optimal => "Iteration",
            Self::Difference => "Difference",
        }
    }

    /// One sentence for its tooltip.
    pub fn help(self) -> &'static str {
        match self {
            Self::Model => "From the model's samples: 1/(1-γ) times their mean reward.",
            Self::Evaluation => "The exact value of the same policy, by policy evaluation.",
            Self::Optimal => "The exact value of the best policy, by value iteration.",
            Self::Difference => "Model minus policy evaluation.",
        }
    }
}

/// What is asked, how it is shown, and what came back.
#[derive(Default)]
pub struct Field {
    /// What the stage shows.
    pub map: Map,
    /// What an occupancy is compared with.
    pub compare: Compare,
    /// Which value map is shown.
    pub value_of: ValueOf,
    /// States drawn from the densities instead of the densities.
    pub as_samples: bool,
    /// How densities become colors.
    pub scale: Scale,
    /// First action; the policy's own if absent.
    pub action: Option<Vec<f32>>,
    /// The brush that paints rewards, and what it paints now.
    pub rewards: Rewards,
    /// The real policy's run.
    pub run: Run,
    /// Questions and answers.
    pub asking: Asking,
    /// Where the mouse was last; the source unless one is pinned.
    hover: Option<[f32; 2]>,
    is_pinned: bool,
    arrangement: Option<Arrangement>,
    pictures: Pictures,
}

impl Field {
    /// Switch between occupancy and value map.
    pub fn next_map(&mut self) {
        self.map = match self.map {
            Map::Occupancy => Map::Value,
            Map::Value => Map::Occupancy,
        };
    }

    /// Show the next comparison of what the stage shows.
    pub fn next_comparison(&mut self) {
        match self.map {
            Map::Occupancy => self.compare = after(&Compare::ALL, self.compare),
            Map::Value => self.value_of = after(&ValueOf::ALL, self.value_of),
        }
    }

    /// Use the next color scale.
    pub fn next_scale(&mut self) {
        self.scale = after(&Scale::ALL, self.scale);
    }

    /// Whether the source stays while the mouse moves.
    pub fn is_pinned(&self) -> bool {
        self.is_pinned
    }

    /// The full source state.
    pub fn source(&self, stage: &StageConfig, n_dims: usize) -> Vec<f32> {
        let [x, y] = self.hover.filter(|_| !self.is_pinned).unwrap_or(stage.start);
        let rest = stage.rest.iter().copied().chain(std::iter::repeat(0.0));
        [x, y].into_iter().chain(rest).take(n_dims).collect()
    }

    /// Look at what `other` looks at.
    pub(in crate::ui) fn link(&mut self, other: &Self) {
        self.map = other.map;
        (self.hover, self.is_pinned) = (other.hover, other.is_pinned);
        self.action.clone_from(&other.action);
    }

    /// The panes on the stage, once it was shown.
    pub fn panes(&self) -> &[Pane] {
        self.arrangement.as_ref().map_or(&[], |arrangement| &arrangement.panes)
    }

    /// Where the pendulum is drawn, if the scene has one.
    pub fn pendulum(&self) -> Option<Rect> {
        self.arrangement.as_ref()?.pendulum
    }

    /// How many panes there are on a stage of that width.
    fn n_panes(&self, width: f32) -> usize {
        let is_wide = width >= pane::WIDE;
        let is_both = self.map == Map::Occupancy && self.compare == Compare::Both;
        if is_both && is_wide { 2 } else { 1 }
    }
}

/// The choice after `now`, from the last to the first.
fn after<T: Copy + PartialEq>(all: &[T], now: T) -> T {
    let index = all.iter().position(|&choice| choice == now).map_or(0, |index| index + 1);
    all.get(index).or(all.first()).copied().unwrap_or(now)
}

/// Whether the open scene has this stage.
pub fn is_here(app: &App) -> bool {
    knobs::is_gamma(app.session.scene())
}

/// The smallest and largest discount the scene's model was trained for.
pub fn discounts(scene: &Scene, spec: &crate::env::EnvironmentSpec) -> [f32; 2] {
    match scene.model.resolve(spec) {
        Ok(crate::model::ModelNumbers::Gamma(config)) => config.discount,
        _ => [0.0, 1.0],
    }
}

/// The source state of an app's stage as it is this instant.
pub fn source(app: &App) -> Vec<f32> {
    app.field.source(&app.stage_now(), app.place.spec.state.len())
}

/// The goal as policies take it: empty where they have none.
pub fn goal(app: &App) -> Vec<f32> {
    let goal = app.stage_now().goal;
    goal.into_iter().take(app.place.spec.goal_dims.len()).collect()
}

/// Show the stage and let it be worked with.
pub fn show(app: &mut App, ui: &mut Ui) {
    let rect = ui.available_rect_before_wrap();
    app.stage.rect = Some(rect);
    let response = ui.allocate_rect(rect, Sense::click_and_drag());
    response.widget_info(|| {
        let label = "Stage: move the mouse to ask, click to pin the state";
        eframe::egui::WidgetInfo::labeled(eframe::egui::Role::Canvas, true, label)
    });
    let colors = Colors::of(ui.ctx());
    let n_panes = app.field.n_panes(rect.width());
    let arrangement = Arrangement::new(rect, n_panes, &app.place, &app.stage.camera);
    ui.painter_at(rect).rect_filled(rect, 0.0, colors.background());
    let panes = arrangement.panes.clone();
    let drawing = arrangement.pendulum;
    let strip = arrangement.strip;
    app.field.arrangement = Some(arrangement);

    let is_recording = episodes::lead(app, ui, &response, |at| {
        let pane = panes.iter().find(|pane| pane.plot.contains(at)).or(panes.first())?;
        Some(pane.world_from_screen(at))
    });
    if !is_recording {
        input::background(app, ui, &response, &panes);
    }
    let shots = shots::shots(app, panes.len());
    for (index, (pane, shot)) in panes.iter().zip(&shots).enumerate() {
        paint::pane(app, ui, pane, index, shot);
    }
    if !is_recording {
        input::handles(app, ui, &panes);
    }
    if let Some(drawing) = drawing {
        pendulum::show(app, ui, drawing);
    }
    axes::strip(app, ui, strip, shots.first(), &panes);
    words::show(app, ui, rect);
}

/// Ask what is now wanted; take what has come.
pub fn pump(app: &mut App, ctx: &eframe::egui::Context) {
    if is_here(app) {
        asking::pump(app, ctx);
        run::take(app);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_source_stays_where_the_scene_has_it() {
        let mut scene = crate::ui::testing::tiny_scene();
        scene.stage.rest = vec![0.5];
        let mut field = Field::default();
        let start = scene.stage.start;
        assert_eq!(field.source(&scene.stage, 4), [start[0], start[1], 0.5, 0.0]);
        field.hover = Some([1.0, 2.0]);
        assert_eq!(field.source(&scene.stage, 2), [1.0, 2.0]);
        field.is_pinned = true;
        assert_eq!(field.source(&scene.stage, 2), start);
    }

    #[test]
    fn choices_go_round() {
        let mut field = Field::default();
        for _ in 0..Compare::ALL.len() {
            field.next_comparison();
        }
        assert_eq!(field.compare, Compare::Both);
        field.next_map();
        field.next_comparison();
        assert_eq!((field.map, field.value_of), (Map::Value, ValueOf::Evaluation));
    }
}
