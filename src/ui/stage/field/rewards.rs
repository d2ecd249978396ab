//! Rewards painted onto the map with a brush.

use crate::lab::painting::Painting;
use crate::lab::values::ValueReward;
use crate::ui::app::App;
use crate::ui::history::EditTag;

/// What the brush does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brush {
    /// Pays 1.
    Plus,
    /// Costs 1.
    Minus,
    /// Pays nothing.
    Clear,
}

impl Brush {
    /// Every brush, in the order of buttons.
    pub const ALL: [Self; 3] = [Self::Plus, Self::Minus, Self::Clear];

    /// Shown on its button.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plus => "Paint +1",
            Self::Minus => "Paint \u{2212}1",
            Self::Clear => "Erase",
        }
    }

    fn reward(self) -> i8 {
        match self {
            Self::Plus => 1,
            Self::Minus => -1,
            Self::Clear => 0,
        }
    }
}

/// The brush in hand, and its stroke.
#[derive(Clone, Debug, Default)]
pub struct Rewards {
    /// The brush, while one is in hand.
    pub brush: Option<Brush>,
    /// The painting as it is while the button is down; then the scene has it.
    stroke: Option<Painting>,
}

/// Paint at a place of state space.
pub fn paint(app: &mut App, at: [f32; 2]) {
    let Some(brush) = app.field.rewards.brush else { return };
    let mut painting = painting(app).cloned().unwrap_or_default();
    painting.paint(&app.place.spec.state, at, brush.reward());
    app.field.rewards.stroke = Some(painting);
}

/// The button is up: what was painted becomes part of the scene.
pub fn keep(app: &mut App) {
    if let Some(stroke) = app.field.rewards.stroke.take() {
        set(app, Some(stroke));
    }
}

/// The environment's own reward again.
pub fn reset(app: &mut App) {
    app.field.rewards = Rewards::default();
    set(app, None);
}

fn set(app: &mut App, rewards: Option<Painting>) {
    let mut scene = app.session.scene().clone();
    scene.stage.rewards = rewards;
    app.edit(EditTag::Rewards, scene, None);
}

/// What is painted, if anything.
pub fn painting(app: &App) -> Option<&Painting> {
    app.field.rewards.stroke.as_ref().or(app.session.scene().stage.rewards.as_ref())
}

/// What a state pays.
pub fn reward(app: &App) -> ValueReward {
    painting(app).map_or(ValueReward::Environment, |found| found.reward(&app.place.spec.state))
}
