//! The planner thread: owns the environment, the model and the running plan.

mod opening;

use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::beam::{self, AttentionRequest, BeamFrame};
use super::device::{self, ChosenDevice};
use super::mailbox::{Event, Shared, Task, WeightsSource};
use super::occupancy::{self, OccupancyRequest};
use super::open::{Opened, OpenedModel};
use super::policy_run::{self, RunRequest};
use super::scene::Scene;
use super::session::Problem;
use super::twin::TwinKeeper;
use super::values::{self, ValueRequest};
use crate::env::EnvironmentConfig;
use crate::model::ModelError;
use crate::plan::beam::drive::{Drive, DriveEvent, DriveRequest, SearchRecord, drive};
use crate::plan::{
    ControlSettings, Film, PlanError, PlanRequest, Pursuit, PursuitEvent, Replan, Rollout,
};

/// A search that takes longer than this is shown while it grows, as often.
const GROWTH: Duration = Duration::from_millis(33);

/// Start the thread.
///
/// # Errors
/// The system has no thread left.
pub fn spawn(shared: Arc<Shared>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("planner".into()).spawn(move || {
        let mut worker = Worker {
            shared,
            opened: None,
            control: None,
            device: device::cpu("nothing is open"),
            source: None,
            config: None,
            twins: TwinKeeper::default(),
        };
        while let Some(task) = worker.shared.wait() {
            if let Some(control) = worker.shared.inbox().control.take() {
                worker.control = Some(control);
            }
            let again = task.clone();
            // A panic in a library must not take the window down.
            worker.shared.is_busy.store(true, Ordering::Relaxed);
            let result = catch_unwind(AssertUnwindSafe(|| worker.carry_out(task)));
            worker.shared.is_busy.store(false, Ordering::Relaxed);
            let failure = match result {
                Ok(Ok(())) => None,
                Ok(Err(Stopped(why))) => Some(why),
                Err(panic) => Some(panic_text(panic.as_ref())),
            };
            match failure {
                None => {}
                Some(why) if worker.device.is_gpu() => worker.fall_back(why, again),
                Some(why) => worker.shared.send(Event::Trouble(Problem {
                    title: format!("the planner stopped: {why}"),
                    advice: "Open the scene again.".into(),
                })),
            }
            if !worker.shared.has_work() {
                worker.shared.send(Event::Idle);
            }
        }
    })
}

/// The message of a panic.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

/// The device stopped answering: why.
struct Stopped(String);

struct Worker {
    shared: Arc<Shared>,
    opened: Option<Opened>,
    control: Option<ControlSettings>,
    device: ChosenDevice,
    /// Where the model came from: a scene and its folder, and the weights that
    /// took the place of its own.
    source: Option<(Scene, Option<PathBuf>, Option<WeightsSource>)>,
    /// What the environment was made of.
    config: Option<EnvironmentConfig>,
    twins: TwinKeeper,
}

impl Worker {
    fn carry_out(&mut self, task: Task) -> Result<(), Stopped> {
        match task {
            Task::Load { scene, folder, device } => self.load(*scene, folder, device),
            Task::Move(device) => self.move_to(device),
            Task::Rebuild(scene) => self.rebuild(*scene),
            Task::Weights { scene, source } => self.reweigh(*scene, source),
            Task::Plan(id, request) => return self.report(|worker| worker.plan(id, request)),
            Task::Occupancy(id, request) => {
                return self.report(|worker| worker.occupancy(id, &request));
            }
            Task::Values(id, request) => return self.report(|worker| worker.values(id, &request)),
            Task::Run(id, request) => return self.report(|worker| worker.run(id, &request)),
            Task::Beam(id, request) => return self.report(|worker| worker.beam(id, &request)),
            Task::Attention(id, request) => {
                return self.report(|worker| {
                    worker.attention(id, &request);
                    Ok(())
                });
            }
            Task::Twin => return self.report(|worker| worker.complete()),
        }
        Ok(())
    }

    /// Work on a request; what is wrong with it is told, and a device that
    /// stopped is the caller's trouble.
    fn report(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), PlanError>,
    ) -> Result<(), Stopped> {
        self.shared.send(Event::Started);
        match work(self) {
            Ok(()) => Ok(()),
            Err(PlanError::Model(ModelError::Device(why))) => Err(Stopped(why)),
            Err(error) => {
                let advice = "Move the start or the goal, or open the scene again.".into();
                self.shared.send(Event::Trouble(Problem { title: error.to_string(), advice }));
                Ok(())
            }
        }
    }

    fn occupancy(&mut self, id: u64, request: &Arc<OccupancyRequest>) -> Result<(), PlanError> {
        let shared = Arc::clone(&self.shared);
        let Some(opened) = &mut self.opened else { return Ok(()) };
        let OpenedModel::Gamma(model) = &opened.model else { return Ok(()) };
        let environment = opened.environment.as_mut();
        occupancy::answer(
            id,
            request,
            environment,
            model,
            &mut |frame| {
                shared.send(Event::Planned { wall_ms: frame.wall_ms });
                shared.occupancy.put(Some(Arc::new(frame)));
                (shared.wake)();
            },
            &mut || go_on(!shared.must_yield(false)),
        )?;
        if request.is_drag { Ok(()) } else { self.complete() }
    }

    /// Add the exact parts to the newest answers, or see to it that their twin
    /// is built.
    fn complete(&mut self) -> Result<(), PlanError> {
        if self.shared.must_yield(true) {
            return Ok(());
        }
        let Some(opened) = &mut self.opened else { return Ok(()) };
        let OpenedModel::Gamma(model) = &opened.model else { return Ok(()) };
        let environment = opened.environment.as_mut();
        if environment.spec().twin_cells.is_none() {
            return Ok(());
        }
        let mut wanted = None;
        if let Some(frame) = self.shared.occupancy.get()
            && environment.spec().twin_occupies
            && frame.truth.is_some()
            && frame.exact.is_none()
        {
            let name = model.config.policy_name(frame.request.settings.policy.as_deref())?;
            match self.twins.get(name, &frame.request.goal) {
                Some(twin) => {
                    let mut frame = (*frame).clone();
                    let policy = environment.policy(name)?;
                    twin.complete_occupancy(&mut frame, environment, policy.as_ref())?;
                    self.shared.occupancy.put(Some(Arc::new(frame)));
                }
                None => wanted = Some((name.to_owned(), frame.request.goal.clone())),
            }
        }
        if let Some(frame) = self.shared.values.get()
            && frame.done >= 1.0
            && frame.evaluation.is_none()
        {
            let name = model.config.policy_name(frame.request.policy.as_deref())?;
            match self.twins.get(name, &frame.request.goal) {
                Some(twin) => {
                    let mut frame = (*frame).clone();
                    twin.complete_values(&mut frame, environment)?;
                    self.shared.values.put(Some(Arc::new(frame)));
                }
                None => wanted = Some((name.to_owned(), frame.request.goal.clone())),
            }
        }
        (self.shared.wake)();
        if let (Some((policy, goal)), Some(config)) = (wanted, &self.config) {
            let shared = Arc::clone(&self.shared);
            let again = Box::new(move || shared.push(Task::Twin));
            self.twins.prepare(config, &policy, &goal, again);
        }
        Ok(())
    }

    fn values(&mut self, id: u64, request: &Arc<ValueRequest>) -> Result<(), PlanError> {
        let shared = Arc::clone(&self.shared);
        let Some(opened) = &mut self.opened else { return Ok(()) };
        let OpenedModel::Gamma(model) = &opened.model else { return Ok(()) };
        let environment = opened.environment.as_mut();
        values::answer(
            id,
            request,
            environment,
            model,
            &mut |frame| {
                shared.values.put(Some(Arc::new(frame)));
                (shared.wake)();
            },
            &mut || go_on(!shared.must_yield(true)),
        )?;
        self.complete()
    }

    fn run(&mut self, id: u64, request: &Arc<RunRequest>) -> Result<(), PlanError> {
        let Some(opened) = &mut self.opened else { return Ok(()) };
        let OpenedModel::Gamma(model) = &opened.model else { return Ok(()) };
        let policy = model.config.policy_name(request.policy.as_deref())?;
        let run = policy_run::answer(id, request, opened.environment.as_mut(), policy)?;
        self.shared.run.put(Some(Arc::new(run)));
        (self.shared.wake)();
        Ok(())
    }

    fn attention(&mut self, id: u64, request: &Arc<AttentionRequest>) {
        let Some(opened) = &self.opened else { return };
        let OpenedModel::Trajectory(model) = &opened.model else { return };
        self.shared.attention.put(Some(Arc::new(beam::attention(id, request, model))));
        (self.shared.wake)();
    }

    fn beam(&mut self, id: u64, request: &Arc<DriveRequest>) -> Result<(), PlanError> {
        let shared = Arc::clone(&self.shared);
        let Some(opened) = &mut self.opened else { return Ok(()) };
        let OpenedModel::Trajectory(model) = &opened.model else { return Ok(()) };
        let environment = opened.environment.as_mut();
        let bins = Arc::new(beam::bins(model, environment.spec()));
        let publish = |drive: &Drive, growing: Option<SearchRecord>| {
            let (request, bins, drive) = (Arc::clone(request), Arc::clone(&bins), drive.clone());
            let growing = growing.map(Arc::new);
            shared.beam.put(Some(Arc::new(BeamFrame { id, request, drive, growing, bins })));
            (shared.wake)();
        };
        let mut shown = Instant::now();
        let found = drive(environment, model, request, None, &mut |event| {
            match event {
                DriveEvent::Searching(growing) => {
                    if shown.elapsed() >= GROWTH {
                        publish(growing.drive, Some(growing.record()));
                        shown = Instant::now();
                    }
                }
                DriveEvent::Searched(drive) => {
                    publish(drive, None);
                    let wall_ms = drive.searches.last().map_or(0.0, |search| search.wall_ms);
                    shared.send(Event::Planned { wall_ms });
                }
                DriveEvent::Moved(drive) => {
                    publish(drive, None);
                    shown = Instant::now();
                    if let Some((id, request)) = shared.take_attention() {
                        let frame = beam::attention(id, &request, model);
                        shared.attention.put(Some(Arc::new(frame)));
                    }
                }
            }
            go_on(!shared.ends_episode())
        })?;
        if let Some(drive) = found
            && model.config.layout.goals > 0
        {
            shared.send(Event::Followed { reached: drive.arrival_step.is_some() });
        }
        Ok(())
    }

    fn plan(&mut self, id: u64, request: Arc<PlanRequest>) -> Result<(), PlanError> {
        let shared = Arc::clone(&self.shared);
        let Some(opened) = &mut self.opened else { return Ok(()) };
        let OpenedModel::Diffuser(planner) = &opened.model else { return Ok(()) };
        let publish = |film: &Film| {
            shared.film.put(Some(Arc::new(film.clone())));
            (shared.wake)();
        };
        let film = planner.plan(id, Arc::clone(&request), &mut |film| {
            // The pictures of a drag request would be replaced at once.
            if request.near_duration.is_none() {
                publish(film);
            }
            go_on(!shared.is_superseded(&request))
        })?;
        let Some(film) = film else { return Ok(()) };
        publish(&film);
        shared.send(Event::Planned { wall_ms: film.wall_ms });

        let (Some(plan), Some(control)) = (film.plan, &self.control) else { return Ok(()) };
        let mut control = control.clone();
        let environment = opened.environment.as_mut();
        if request.near_duration.is_some() {
            // The next mouse move plans again anyway.
            control.replan = Replan::Never;
        }
        let has_goal = !environment.spec().goal_dims.is_empty();
        environment.set_goal(&request.goal)?;
        environment.set_state(&request.start)?;
        let task = Pursuit { film_id: id, plan, request: &request, control: &control };
        let (mut films, mut step) = (Vec::new(), 0);
        let mut rollout = planner.pursue(environment, task, &mut |event| {
            match event {
                PursuitEvent::Replanned(film) => films.push((step, Arc::new(film.clone()))),
                PursuitEvent::Moved(rollout) => {
                    step = rollout.states.len().saturating_sub(1);
                    // With many plans in an episode its beginning is shown
                    // before its end is known.
                    if !has_goal {
                        let films = films.clone();
                        shared.rollout.put(Some(Arc::new(Rollout { films, ..rollout.clone() })));
                        (shared.wake)();
                    }
                }
            }
            // While dragging the first plan is enough.
            let is_enough = request.near_duration.is_some() && !has_goal;
            go_on(!is_enough && !shared.is_superseded(&request))
        })?;
        rollout.films = films;
        let reached = rollout.arrival_step.is_some();
        shared.rollout.put(Some(Arc::new(rollout)));
        if request.near_duration.is_none() && has_goal {
            shared.send(Event::Followed { reached });
        }
        (shared.wake)();
        Ok(())
    }
}

/// Go on or break off.
pub(super) fn go_on(yes: bool) -> ControlFlow<()> {
    if yes { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

#[cfg(test)]
mod tests;
