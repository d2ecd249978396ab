//! Driving an environment along plans.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::PlanError;
use super::control::{ControlLaw, ControlSettings, Replan, Rollout};
use super::film::{Film, Plan, PlanRequest};
use super::inverse::invert;
use super::planner::Planner;
use super::warm::Previous;
use crate::env::{Environment, EnvironmentSpec, StateView};

/// What happens while a plan is followed.
pub enum PursuitEvent<'a> {
    /// A new plan was made; a break refuses it, and the old one stays.
    Replanned(&'a Film),
    /// The episode so far, before a new plan is made; a break ends it there.
    Moved(&'a Rollout),
}

/// A plan for the rest of the way: from the episode so far, and what remains of
/// the plan that is followed. The first `None` ends the episode, the second keeps the
/// old plan.
type Replanner<'a> =
    dyn FnMut(&Rollout, Followed) -> Result<Option<Option<Arc<Plan>>>, PlanError> + 'a;

/// A plan on its way.
#[derive(Clone, Copy)]
struct Followed<'a> {
    plan: &'a Plan,
    /// Environment steps of it that have been taken.
    elapsed: f32,
}

impl Followed<'_> {
    /// Environment steps until it ends; negative after that.
    fn left(&self) -> f32 {
        self.plan.duration_steps - self.elapsed
    }
}

/// A plan to follow and the request that made it.
pub struct Pursuit<'a> {
    /// The film the plan came from.
    pub film_id: u64,
    /// The plan.
    pub plan: Arc<Plan>,
    /// What it answers; planning again asks the same from another state.
    pub request: &'a PlanRequest,
    /// Gains and when to plan again.
    pub control: &'a ControlSettings,
}

impl Planner {
    /// Follow a plan from the environment's present state to the end of the
    /// episode, planning again as `control` says. Where no goal ends a plan,
    /// every plan covers the whole horizon again. A broken off episode is not
    /// finished.
    ///
    /// # Errors
    /// Whatever planning again returns.
    pub fn pursue(
        &self,
        environment: &mut dyn Environment,
        task: Pursuit,
        on_event: &mut dyn FnMut(PursuitEvent) -> ControlFlow<()>,
    ) -> Result<Rollout, PlanError> {
        let mut seed = task.request.seed;
        let mut caution = Caution::default();
        let has_goal = !self.spec.goal_dims.is_empty();
        follow(environment, &task, &mut |rollout, followed| {
            let left = followed.left();
            let Some(state) = rollout.states.last() else { return Ok(None) };
            if on_event(PursuitEvent::Moved(rollout)).is_break() {
                return Ok(None);
            }
            seed = seed.wrapping_add(1);
            let mut settings = task.request.settings.clone();
            if task.control.replan == Replan::OnDeviation {
                settings.speed_limit *= caution.speed_share(state);
            }
            let again = PlanRequest {
                start: state.to_vec(),
                seed,
                // On time, what is left of the duration shrinks with every
                // plan, so the ball arrives; astray, it may take any time.
                near_duration: (task.control.replan == Replan::EveryNSteps
                    && left > 0.0
                    && has_goal)
                    .then_some(left)
                    .or(task.request.near_duration.filter(|_| !has_goal)),
                via: Vec::new(),
                previous: (settings.warm_steps > 0)
                    .then(|| Previous::of_plan(followed.plan, &rollout.view, followed.elapsed))
                    .flatten()
                    .map(Arc::new),
                settings,
                ..task.request.clone()
            };
            let film =
                self.plan(task.film_id, Arc::new(again), &mut |_| ControlFlow::Continue(()))?;
            let film = film.filter(|film| on_event(PursuitEvent::Replanned(film)).is_continue());
            Ok(Some(film.and_then(|film| film.plan)))
        })
    }
}

/// Remembers where the ball strayed. Astray again at the same place, it is
/// caught: fast plans pull it round a corner faster than it can follow, and it
/// presses against the wall while they run on. Slower ones it can follow.
#[derive(Default)]
struct Caution {
    last: Option<[f32; 2]>,
    times: i32,
}

impl Caution {
    /// The share of the speed limit for a plan from here: 1 at a new place, 0.7
    /// of the last one where the ball has not got away from the last.
    fn speed_share(&mut self, state: &[f32]) -> f32 {
        const SAME_PLACE: f32 = 0.5;
        const MOST: i32 = 5;
        let here = [state[0], state[1]];
        let is_caught =
            self.last.is_some_and(|last| (last[0] - here[0]).hypot(last[1] - here[1]) < SAME_PLACE);
        self.times = if is_caught { (self.times + 1).min(MOST) } else { 0 };
        self.last = Some(here);
        0.7_f32.powi(self.times)
    }
}

/// Follow from the environment's present state to the end of the episode.
fn follow(
    environment: &mut dyn Environment,
    task: &Pursuit,
    replanner: &mut Replanner,
) -> Result<Rollout, PlanError> {
    let spec = environment.spec().clone();
    let (max_steps, dt_secs) = (spec.max_steps, spec.dt_secs);
    let workspace = environment.workspace();
    let mut rollout = Rollout {
        film_id: task.film_id,
        states: vec![environment.state()],
        targets: Vec::new(),
        rewards: Vec::new(),
        plans: vec![(0, Arc::clone(&task.plan))],
        films: Vec::new(),
        arrival_step: None,
        contact_steps: 0,
        dt_secs,
        view: StateView::of(&spec),
        finished: false,
    };
    let mut plan = Arc::clone(&task.plan);
    let mut begun = 0;
    for step in 0..max_steps {
        let state = environment.state();
        let followed = Followed { plan: &plan, elapsed: (step - begun) as f32 };
        if wants_replan(&spec, task.control, &plan, &state, step - begun, followed.left()) {
            let Some(next) = replanner(&rollout, followed)? else { return Ok(rollout) };
            if let Some(next) = next {
                plan = next;
                begun = step;
                rollout.plans.push((step, Arc::clone(&plan)));
            }
        }
        let (target, mut action) = command(&spec, task.control, &plan, &state, step - begun);
        if spec.goal_dims.is_empty() && task.control.law == ControlLaw::Track {
            action = invert(environment, &spec, &target)?;
        }
        let reward = environment.step(&action);
        let reached = environment.state();
        let position = [reached[0], reached[1]];
        rollout.contact_steps += usize::from(workspace.touches_wall(position));
        if !spec.goal_dims.is_empty() && reward > 0.0 && rollout.arrival_step.is_none() {
            rollout.arrival_step = Some(step + 1);
        }
        rollout.targets.push(target);
        rollout.rewards.push(reward);
        rollout.states.push(reached);
    }
    rollout.finished = true;
    Ok(rollout)
}

/// The planned state at `step` of the plan; the last one at rest afterwards.
fn planned(spec: &EnvironmentSpec, plan: &Plan, step: usize) -> Vec<f32> {
    match plan.states.get(step) {
        Some(state) => state.clone(),
        None => {
            let mut last = plan.states.last().cloned().unwrap_or_default();
            if spec.has_velocities() {
                let half = last.len() / 2;
                last[half..].fill(0.0);
            }
            last
        }
    }
}

/// Target and action: u = k_p (planned position - position) + k_v (planned
/// velocity - velocity) towards the planned next state. Where states have no
/// velocities the first term is all, and where a goal fixes no position the
/// planned action, or none.
pub(super) fn command(
    spec: &EnvironmentSpec,
    settings: &ControlSettings,
    plan: &Plan,
    state: &[f32],
    step: usize,
) -> (Vec<f32>, Vec<f32>) {
    let target = planned(spec, plan, step + 1);
    let positions = spec.goal_dims.len();
    if (settings.law == ControlLaw::Actions || positions == 0)
        && let Some(action) = plan.actions.as_ref().and_then(|actions| actions.get(step))
    {
        return (target, action.clone());
    }
    let has_velocities = spec.has_velocities();
    let error = |at: usize| match (target.get(at), state.get(at)) {
        (Some(target), Some(state)) => target - state,
        _ => 0.0,
    };
    let action = (0..spec.action.len())
        .map(|d| {
            let position = if d < positions { settings.position_gain * error(d) } else { 0.0 };
            let velocity = match has_velocities {
                true => settings.velocity_gain * error(positions + d),
                false => 0.0,
            };
            (position + velocity).clamp(-1.0, 1.0)
        })
        .collect();
    (target, action)
}

/// Whether it is time to plan again. Near the end the old plan stays: a new
/// one could only repeat it. Well past its end a plan that left the ball
/// elsewhere has failed, and another is made. Without a goal a plan has no end
/// to be near to; it is replaced by the clock, and when it is used up.
fn wants_replan(
    spec: &EnvironmentSpec,
    settings: &ControlSettings,
    plan: &Plan,
    state: &[f32],
    step: usize,
    left: f32,
) -> bool {
    const TOO_LATE_STEPS: f32 = 12.0;
    if spec.goal_dims.is_empty() {
        let is_time = settings.replan == Replan::EveryNSteps
            && step.is_multiple_of(settings.replan_every.max(1));
        return step > 0 && (is_time || left <= 0.0);
    }
    if step == 0 || left.abs() < TOO_LATE_STEPS {
        return false;
    }
    let expected = planned(spec, plan, step);
    let is_astray =
        (expected[0] - state[0]).hypot(expected[1] - state[1]) > settings.replan_distance;
    match settings.replan {
        Replan::Never => false,
        _ if left < 0.0 => is_astray,
        Replan::EveryNSteps => step.is_multiple_of(settings.replan_every.max(1)),
        Replan::OnDeviation => is_astray,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{self, EnvironmentConfig};

    fn spec(id: &str) -> EnvironmentSpec {
        let config = EnvironmentConfig {
            id: id.into(),
            maze: env::U_MAZE.into(),
            door_width: None,
            max_steps: 100,
            reference_scores: None,
        };
        env::make(&config).unwrap().spec().clone()
    }

    fn plan(duration_steps: f32) -> Plan {
        let states: Vec<Vec<f32>> = (0..=20).map(|i| vec![0.1 * i as f32, 0.0, 1.0, 0.0]).collect();
        Plan {
            waypoints: states.clone(),
            states,
            actions: Some(vec![vec![0.5, -0.5]; 21]),
            dt_secs: 0.01,
            duration_steps,
            feasible: true,
        }
    }

    fn settings(replan: Replan) -> ControlSettings {
        ControlSettings {
            law: ControlLaw::Track,
            position_gain: 1.0,
            velocity_gain: 1.0,
            replan,
            replan_every: 5,
            replan_distance: 0.3,
        }
    }

    #[test]
    fn unit_gains_give_the_released_feedback_law() {
        let state = [0.05, 0.2, 0.7, 0.1];
        let (_, action) =
            command(&spec("maze2d"), &settings(Replan::Never), &plan(20.0), &state, 0);
        assert!((action[0] - (0.05 + 0.3)).abs() < 1e-6);
        assert!((action[1] - (-0.2 - 0.1)).abs() < 1e-6);
    }

    #[test]
    fn after_the_plan_the_last_state_is_held_at_rest() {
        assert_eq!(planned(&spec("maze2d"), &plan(20.0), 99), vec![2.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn positions_alone_are_tracked_where_states_have_no_velocities() {
        let mut by_position = settings(Replan::Never);
        by_position.position_gain = 25.0;
        let rooms = Plan { states: vec![vec![0.0, 0.0], vec![0.02, -0.1]], ..plan(20.0) };
        let (_, action) = command(&spec("four-rooms"), &by_position, &rooms, &[0.0, 0.0], 0);
        assert!((action[0] - 0.5).abs() < 1e-6 && action[1] == -1.0, "{action:?}");
        // Past its end the last position is held.
        let (target, _) = command(&spec("four-rooms"), &by_position, &rooms, &[0.0, 0.0], 50);
        assert_eq!(target, [0.02, -0.1]);
    }

    #[test]
    fn without_a_goal_actions_are_executed_and_plans_replaced_by_the_clock() {
        let spec = spec("pendulum");
        let swing = Plan { actions: Some(vec![vec![0.25]; 3]), ..plan(20.0) };
        let (_, action) = command(&spec, &settings(Replan::Never), &swing, &[3.0, 0.0], 1);
        assert_eq!(action, [0.25]);
        let (_, action) = command(&spec, &settings(Replan::Never), &swing, &[3.0, 0.0], 9);
        assert_eq!(action, [0.0], "there is no position to track");
        let wants = |replan, step, left| {
            wants_replan(&spec, &settings(replan), &swing, &[9.0, 9.0], step, left)
        };
        assert!(wants(Replan::EveryNSteps, 5, 3.0) && !wants(Replan::EveryNSteps, 6, 3.0));
        assert!(!wants(Replan::OnDeviation, 5, 3.0) && wants(Replan::Never, 20, 0.0));
    }

    #[test]
    fn planned_actions_are_executed_where_the_plan_has_them() {
        let mut by_actions = settings(Replan::Never);
        by_actions.law = ControlLaw::Actions;
        let (_, action) = command(&spec("maze2d"), &by_actions, &plan(20.0), &[0.0; 4], 3);
        assert_eq!(action, vec![0.5, -0.5]);
    }

    #[test]
    fn a_ball_caught_at_one_place_gets_slower_plans_until_it_gets_away() {
        let mut caution = Caution::default();
        assert_eq!(caution.speed_share(&[1.0, 1.0, 0.0, 0.0]), 1.0);
        assert!((caution.speed_share(&[1.1, 1.1, 0.0, 0.0]) - 0.7).abs() < 1e-6);
        assert!((caution.speed_share(&[1.2, 1.1, 0.0, 0.0]) - 0.49).abs() < 1e-6);
        assert_eq!(caution.speed_share(&[2.2, 1.1, 0.0, 0.0]), 1.0);
        for _ in 0..50 {
            caution.speed_share(&[2.2, 1.1, 0.0, 0.0]);
        }
        assert!(caution.speed_share(&[2.2, 1.1, 0.0, 0.0]) > 0.1);
    }

    #[test]
    fn replanning_waits_for_its_occasion_and_stops_near_the_end() {
        let on_plan = [0.5, 0.0, 1.0, 0.0];
        let astray = [0.5, 0.4, 1.0, 0.0];
        let plan = plan(40.0);
        let wants = |replan, state: &[f32], step, left| {
            wants_replan(&spec("maze2d"), &settings(replan), &plan, state, step, left)
        };
        assert!(!wants(Replan::Never, &astray, 5, 30.0));
        assert!(wants(Replan::EveryNSteps, &on_plan, 5, 30.0));
        assert!(!wants(Replan::EveryNSteps, &on_plan, 6, 30.0));
        assert!(wants(Replan::OnDeviation, &astray, 5, 30.0));
        assert!(!wants(Replan::OnDeviation, &on_plan, 5, 30.0));
        assert!(!wants(Replan::OnDeviation, &astray, 5, 3.0));
        // The plan is over, and the ball is not where it should be.
        assert!(!wants(Replan::OnDeviation, &astray, 45, -5.0));
        assert!(wants(Replan::OnDeviation, &astray, 55, -15.0));
        assert!(wants(Replan::EveryNSteps, &astray, 56, -16.0));
        assert!(!wants(Replan::Never, &astray, 55, -15.0));
        assert!(!wants(Replan::OnDeviation, &[2.0, 0.1, 0.0, 0.0], 55, -15.0));
    }
}
