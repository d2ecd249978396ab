//! The planner thread: owns the environment, the model and the running plan.

use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::beam::{self, AttentionRequest, BeamFrame};
use super::card::{card, sees};
use super::checkpoint::Checkpoint;
use super::device::{self, ChosenDevice, DeviceChoice};
use super::frontier::{self, StoredFrontier};
use super::mailbox::{Event, Shared, Task, WeightsSource};
use super::occupancy::{self, OccupancyRequest};
use super::open::{self, Opened, OpenedModel};
use super::policy_run::{self, RunRequest};
use super::scene::Scene;
use super::session::Problem;
use super::twin::TwinKeeper;
use super::values::{self, ValueRequest};
use crate::env::EnvironmentConfig;
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
            device: None,
            config: None,
            twins: TwinKeeper::default(),
        };
        while let Some(task) = worker.shared.wait() {
            if let Some(control) = worker.shared.inbox().control.take() {
                worker.control = Some(control);
            }
            // A panic in a library must not take the window down.
            worker.shared.is_busy.store(true, Ordering::Relaxed);
            let carried_out = catch_unwind(AssertUnwindSafe(|| worker.carry_out(task)));
            worker.shared.is_busy.store(false, Ordering::Relaxed);
            if let Err(panic) = carried_out {
                worker.shared.send(Event::Trouble(Problem {
                    title: format!("the planner stopped: {}", panic_text(panic.as_ref())),
                    advice: "Open the scene again; if it happens again, choose the CPU.".into(),
                }));
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

struct Worker {
    shared: Arc<Shared>,
    opened: Option<Opened>,
    control: Option<ControlSettings>,
    device: Option<(DeviceChoice, ChosenDevice)>,
    /// What the environment was made of.
    config: Option<EnvironmentConfig>,
    twins: TwinKeeper,
}

impl Worker {
    fn carry_out(&mut self, task: Task) {
        match task {
            Task::Load { scene, folder, device } => self.load(&scene, folder, device),
            Task::Rebuild(scene) => self.rebuild(&scene),
            Task::Weights { scene, source } => self.reweigh(&scene, source),
            Task::Plan(id, request) => self.report(|worker| worker.plan(id, request)),
            Task::Occupancy(id, request) => self.report(|worker| worker.occupancy(id, &request)),
            Task::Values(id, request) => self.report(|worker| worker.values(id, &request)),
            Task::Run(id, request) => self.report(|worker| worker.run(id, &request)),
            Task::Beam(id, request) => self.report(|worker| worker.beam(id, &request)),
            Task::Attention(id, request) => {
                self.report(|worker| {
                    worker.attention(id, &request);
                    Ok(())
                });
            }
            Task::Twin => self.report(|worker| worker.complete()),
        }
    }

    fn report(&mut self, work: impl FnOnce(&mut Self) -> Result<(), PlanError>) {
        self.shared.send(Event::Started);
        if let Err(error) = work(self) {
            let advice = "Move the start or the goal, or open the scene again.".into();
            self.shared.send(Event::Trouble(Problem { title: error.to_string(), advice }));
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

    fn load(&mut self, scene: &Scene, folder: Option<PathBuf>, choice: DeviceChoice) {
        self.shared.film.put(None);
        self.shared.rollout.put(None);
        self.shared.occupancy.put(None);
        self.shared.values.put(None);
        self.shared.beam.put(None);
        self.shared.attention.put(None);
        self.shared.frontier.put(None);
        self.twins.clear();
        self.config = Some(scene.environment.clone());
        self.shared.run.put(None);
        let device = match self.device(choice) {
            Ok(device) => device,
            Err(problem) => return self.shared.send(Event::Failed(problem)),
        };
        match open::open(scene, folder.as_deref(), &device.device) {
            Ok(opened) => {
                let card = opened.header.as_ref().and_then(|_| card(&opened)).map(Box::new);
                let found = matches!(opened.model, OpenedModel::Diffuser(_))
                    .then(|| frontier::find(scene, folder.as_deref()))
                    .flatten();
                let weights = frontier::weights_id(opened.header.as_ref());
                let stored = StoredFrontier { weights, found: found.map(Arc::new) };
                self.shared.frontier.put(Some(Arc::new(stored)));
                let is_maze_seen = sees(&opened, scene);
                self.opened = Some(opened);
                self.shared.send(Event::Loaded { card, device, is_maze_seen });
            }
            Err(error) => {
                self.opened = None;
                let advice =
                    "Choose another scene, or train this one with `foresight train`.".into();
                self.shared.send(Event::Failed(Problem { title: error.to_string(), advice }));
            }
        }
    }

    /// The device for a choice. `auto` starts on the CPU, which is there at
    /// once; the probe tells later if a GPU is better.
    fn device(&mut self, choice: DeviceChoice) -> Result<ChosenDevice, Problem> {
        if let Some((known, device)) = &self.device
            && *known == choice
        {
            return Ok(device.clone());
        }
        let chosen = match choice {
            DeviceChoice::Auto => device::cpu("the CPU; a GPU is looked for in the background"),
            _ => device::choose(choice).map_err(|error| Problem {
                title: error.to_string(),
                advice: "`foresight doctor` says what was tried.".into(),
            })?,
        };
        self.device = Some((choice, chosen.clone()));
        Ok(chosen)
    }

    /// Other weights of the model that is open; on failure the old ones stay.
    fn reweigh(&mut self, scene: &Scene, source: WeightsSource) {
        let Ok(device) = self.device(self.device.as_ref().map_or_else(Default::default, |d| d.0))
        else {
            return;
        };
        let opened = match source {
            WeightsSource::Memory(found) => {
                open::open_checkpoint(scene, "the run", (*found).clone(), &device.device)
            }
            WeightsSource::File(path) => {
                Checkpoint::read(&path).map_err(Into::into).and_then(|found| {
                    let name = path.display().to_string();
                    open::open_checkpoint(scene, &name, found, &device.device)
                })
            }
        };
        match opened {
            Ok(opened) => {
                let card = card(&opened).map(Box::new);
                self.control = Some(scene.control.clone());
                self.config = Some(scene.environment.clone());
                let weights = frontier::weights_id(opened.header.as_ref());
                let found = self.shared.frontier.get().and_then(|stored| stored.found.clone());
                self.shared.frontier.put(Some(Arc::new(StoredFrontier { weights, found })));
                self.opened = Some(opened);
                self.shared.send(Event::Reweighted { card });
            }
            Err(error) => {
                let advice = "The weights in use stay; choose another checkpoint.".into();
                self.shared.send(Event::Trouble(Problem { title: error.to_string(), advice }));
            }
        }
    }

    fn rebuild(&mut self, scene: &Scene) {
        let Some(opened) = &mut self.opened else { return };
        self.control = Some(scene.control.clone());
        self.twins.clear();
        self.config = Some(scene.environment.clone());
        match scene.make_environment() {
            Ok(environment) => {
                if let OpenedModel::Diffuser(planner) = &mut opened.model {
                    planner.set_environment(environment.as_ref());
                }
                opened.environment = environment;
                let is_maze_seen = sees(opened, scene);
                self.shared.send(Event::Rebuilt { is_maze_seen });
            }
            Err(error) => {
                let advice = "Undo the last change.".into();
                self.shared.send(Event::Trouble(Problem { title: error.to_string(), advice }));
            }
        }
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
