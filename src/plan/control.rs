//! Following a plan: feedback laws and when to plan again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::film::{Film, Plan};
use crate::env::StateView;

/// How a plan becomes actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlLaw {
    /// Feedback on planned positions and velocities with adjustable gains;
    /// gains of 1 and 1 are the released code's. Where no goal fixes a
    /// position, the action whose step ends nearest to the planned next state.
    Track,
    /// Execute the actions the model planned, where it plans actions.
    Actions,
}

/// When to plan again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replan {
    /// Plan once.
    Never,
    /// Every `replan_every` steps, over the time that remains.
    EveryNSteps,
    /// When the ball strays farther than `replan_distance` from the plan.
    OnDeviation,
}

/// How a plan is followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSettings {
    /// Feedback or planned actions.
    pub law: ControlLaw,
    /// Action per unit of position error.
    pub position_gain: f32,
    /// Action per unit of velocity error.
    pub velocity_gain: f32,
    /// When to plan again.
    pub replan: Replan,
    /// Steps between plans for [`Replan::EveryNSteps`].
    pub replan_every: usize,
    /// Distance from the plan that triggers [`Replan::OnDeviation`].
    pub replan_distance: f32,
}

impl Default for ControlSettings {
    /// What the shipped maze scenes use.
    fn default() -> Self {
        Self {
            law: ControlLaw::Track,
            position_gain: 20.0,
            velocity_gain: 2.0,
            replan: Replan::OnDeviation,
            replan_every: 40,
            replan_distance: 0.6,
        }
    }
}

/// An episode (or the rest of one) that followed plans.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// The film whose plan it first followed.
    pub film_id: u64,
    /// States visited, the first before any action; one per environment step.
    pub states: Vec<Vec<f32>>,
    /// The planned state the controller aimed at, one per action.
    pub targets: Vec<Vec<f32>>,
    /// Rewards, one per action.
    pub rewards: Vec<f32>,
    /// Every plan followed with the step at which it took over.
    pub plans: Vec<(usize, Arc<Plan>)>,
    /// How the plans after the first came about, with the step at which each
    /// took over; empty where nobody looks.
    pub films: Vec<(usize, Arc<Film>)>,
    /// First step within the goal radius.
    pub arrival_step: Option<usize>,
    /// Steps at which the ball pressed against a wall.
    pub contact_steps: usize,
    /// Seconds between states.
    pub dt_secs: f32,
    /// Which of a state's coordinates are angles.
    pub view: StateView,
    /// Whether the episode has run to its end.
    pub finished: bool,
}
