//! What a planning request computes, as plain host data that any thread may
//! hold: the denoising chain, the candidates and the chosen plan.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::guide::GuideSettings;
use super::sampler::Sampler;
use super::warm::Previous;
use crate::env::StateView;

/// Selects among the candidates of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// The shortest candidate that stays in free space and within the speed
    /// limit. This reads the map, which the published planners do not.
    ReadsMap,
    /// The shortest candidate that is smooth and within the speed limit; never
    /// looks at the map.
    Blind,
    /// The candidate of the highest predicted return, of a model that predicts
    /// it.
    Return,
}

/// How a request spreads its candidates over durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DurationSearch {
    /// The same number at every duration.
    Grid,
    /// One scout at every duration, all others around the shortest scout that
    /// passes.
    Refine,
}

/// A state coordinate constraint at one point of the plan: the plan passes
/// through `position` at `fraction` of its duration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Via {
    /// Where in the plan, 0 at the start and 1 at the end.
    pub fraction: f32,
    /// Position in environment units.
    pub position: [f32; 2],
}

/// Everything that decides what a request samples and selects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanSettings {
    /// Candidates drawn at each duration.
    pub candidates_per_duration: usize,
    /// Durations tried, log-spaced over the model's range.
    pub durations: usize,
    /// How candidates spread over durations.
    pub search: DurationSearch,
    /// Denoising steps, held to what the sampler takes.
    pub denoising_steps: usize,
    /// How noise becomes a plan.
    pub sampler: Sampler,
    /// A plan whose mean speed over any six waypoints exceeds this on either
    /// axis is infeasible. Units per second.
    pub speed_limit: f32,
    /// How the chosen plan is picked.
    pub selection: Selection,
    /// Candidates in the smaller request made while dragging.
    pub drag_candidates: usize,
    /// Of the denoising steps, how many the plans of a request take that start
    /// from earlier ones, while dragging and when planning again; 0 starts
    /// every request from pure noise.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warm_steps: usize,
    /// Guidance by the predicted return, of a model that predicts it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub guide: GuideSettings,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &usize) -> bool {
    *value == 0
}

fn is_default(settings: &GuideSettings) -> bool {
    *settings == GuideSettings::default()
}

impl Default for PlanSettings {
    /// What the shipped maze scenes use.
    fn default() -> Self {
        Self {
            candidates_per_duration: 4,
            durations: 24,
            search: DurationSearch::Refine,
            denoising_steps: 5,
            sampler: Sampler::Ddim,
            speed_limit: 6.0,
            selection: Selection::ReadsMap,
            drag_candidates: 16,
            warm_steps: 0,
            guide: GuideSettings::default(),
        }
    }
}

/// Ask for a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanRequest {
    /// The state to plan from, one number per state coordinate.
    pub start: Vec<f32>,
    /// Where the plan must end, one number per goal coordinate.
    pub goal: Vec<f32>,
    /// Further points the plan must pass.
    pub via: Vec<Via>,
    /// Sampling and selection.
    pub settings: PlanSettings,
    /// Seed of the noise.
    pub seed: u64,
    /// While dragging: the duration, in steps, around which the smaller
    /// request searches. `None` is the full request.
    pub near_duration: Option<f32>,
    /// An earlier plan to start from, if [`PlanSettings::warm_steps`] says so.
    pub previous: Option<Arc<Previous>>,
}

/// One step of the denoising chain, for every candidate that takes it. Those
/// that start from earlier plans come last and join late: the arrays of steps
/// before that are shorter.
#[derive(Clone, Debug)]
pub struct DenoisingStep {
    /// Diffusion time t before the step; a chain from pure noise runs from T - 1
    /// down.
    pub diffusion_time: usize,
    /// Standard deviation of the noise in `noisy`, sqrt(1 - abar_t).
    pub noise_level: f32,
    /// x_t, `[candidates, waypoints, dims]` in environment units.
    pub noisy: Arc<[f32]>,
    /// The clean plan predicted from x_t, same shape and units.
    pub clean: Arc<[f32]>,
}

/// What became of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// Planned duration in environment steps.
    pub duration_steps: f32,
    /// Interpolated points that lie in a wall.
    pub points_in_walls: usize,
    /// Highest mean speed over six waypoints on either axis, units per second.
    pub peak_speed: f32,
    /// How far the planned velocities are from the slopes of the planned
    /// positions, root mean square, units per second. Small where the model is
    /// sure of the plan.
    pub roughness: f32,
    /// In free space and within the speed limit.
    pub feasible: bool,
    /// Discounted return that the model predicts, in units of reward.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted_return: Option<f32>,
}

impl Candidate {
    /// A sample where there is neither a wall nor a goal to judge it by.
    pub(super) fn unjudged(duration_steps: f32) -> Self {
        Self {
            duration_steps,
            points_in_walls: 0,
            peak_speed: 0.0,
            roughness: 0.0,
            feasible: true,
            predicted_return: None,
        }
    }
}

/// The plan a request settled on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The model's waypoints as states; for mazes `x, y, vx, vy` each.
    pub waypoints: Vec<Vec<f32>>,
    /// The waypoints interpolated to every environment step.
    pub states: Vec<Vec<f32>>,
    /// Actions at every environment step, if the model plans them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<Vec<f32>>>,
    /// Seconds between `states`.
    pub dt_secs: f32,
    /// Duration in environment steps.
    pub duration_steps: f32,
    /// Whether it stays in free space and within the speed limit.
    pub feasible: bool,
}

/// Everything one request has computed so far.
#[derive(Clone, Debug)]
pub struct Film {
    /// Which request this answers; grows with every request.
    pub id: u64,
    /// The request.
    pub request: Arc<PlanRequest>,
    /// Waypoints per candidate.
    pub waypoints: usize,
    /// Numbers per waypoint in [`DenoisingStep`] arrays.
    pub dims: usize,
    /// Where the observation starts within those numbers (after actions).
    pub observation_offset: usize,
    /// How those observations show states.
    pub view: StateView,
    /// Planned duration of each candidate, in environment steps.
    pub durations: Arc<[f32]>,
    /// The chain so far, first step first.
    pub steps: Vec<Arc<DenoisingStep>>,
    /// How many steps the chain will have.
    pub total_steps: usize,
    /// Filled once the chain is complete, in sample order.
    pub candidates: Vec<Candidate>,
    /// Index of the chosen candidate.
    pub chosen: Option<usize>,
    /// The chosen plan.
    pub plan: Option<Arc<Plan>>,
    /// Planning time so far, milliseconds.
    pub wall_ms: f32,
}

impl Film {
    /// Whether the chain is complete and a plan is chosen.
    pub fn is_complete(&self) -> bool {
        self.plan.is_some()
    }

    /// How many candidates the request drew.
    pub fn n_candidates(&self) -> usize {
        self.durations.len()
    }

    /// How many candidates a chain array holds; at an early step those that
    /// start from earlier plans are not there yet.
    pub fn n_in(&self, array: &[f32]) -> usize {
        array.len() / (self.waypoints * self.dims).max(1)
    }

    /// The first two state coordinates of one waypoint of one candidate in a
    /// chain array: a position, or a place in the phase plane.
    pub fn position(&self, array: &[f32], candidate: usize, waypoint: usize) -> [f32; 2] {
        self.view.plane(self.observation(array, candidate, waypoint))
    }

    /// Observation of one waypoint of one candidate in a chain array; empty outside.
    pub fn observation<'a>(
        &self,
        array: &'a [f32],
        candidate: usize,
        waypoint: usize,
    ) -> &'a [f32] {
        let row = (candidate * self.waypoints + waypoint) * self.dims;
        array.get(row + self.observation_offset..row + self.dims).unwrap_or_default()
    }
}
