//! The planner thread: owns the environment, the model and the running plan.

use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::device::{self, ChosenDevice, DeviceChoice};
use super::occupancy::{self, OccupancyFrame, OccupancyRequest};
use super::open::{self, Opened, OpenedModel};
use super::policy_run::{self, PolicyRun, RunRequest};
use super::scene::Scene;
use super::session::{ModelCard, Problem, Wake};
use super::slot::Slot;
use super::twin::TwinKeeper;
use super::values::{self, ValueFrame, ValueRequest};
use crate::env::EnvironmentConfig;
use crate::plan::{ControlSettings, Film, PlanError, PlanRequest, Pursuit, Replan, Rollout};

/// Events that fit before the front looks; more are dropped.
const EVENTS: usize = 256;

/// Something to do.
pub enum Task {
    /// Build the environment and load the weights.
    Load {
        /// The scene.
        scene: Box<Scene>,
        /// Where its file lies.
        folder: Option<PathBuf>,
        /// Where to compute.
        device: DeviceChoice,
    },
    /// Build the environment again, keep the weights.
    Rebuild(Box<Scene>),
    /// Carry out a request.
    Plan(u64, Arc<PlanRequest>),
    /// Say where the policy will be.
    Occupancy(u64, Arc<OccupancyRequest>),
    /// Say what every state is worth.
    Values(u64, Arc<ValueRequest>),
    /// Let the real policy run.
    Run(u64, Arc<RunRequest>),
    /// Add what the tabular twin knows to the newest answers.
    Twin,
}

/// Something that happened.
pub enum Event {
    /// The scene is ready.
    Loaded {
        /// The weights' own words; absent for random weights.
        card: Option<Box<ModelCard>>,
        /// Where it computes.
        device: ChosenDevice,
        /// Whether the weights were trained in this maze.
        is_maze_seen: bool,
    },
    /// The environment is rebuilt.
    Rebuilt {
        /// Whether the weights were trained in this maze.
        is_maze_seen: bool,
    },
    /// A request is being carried out.
    Started,
    /// A plan is complete.
    Planned {
        /// How long it took.
        wall_ms: f32,
    },
    /// A full request was followed to the end of its episode.
    Followed {
        /// Whether the goal was reached.
        reached: bool,
    },
    /// Nothing left to do.
    Idle,
    /// The scene could not be opened.
    Failed(Problem),
    /// A request failed; the session goes on.
    Trouble(Problem),
    /// A GPU was found that agrees with the CPU and is faster.
    FoundGpu,
}

#[derive(Default)]
struct Inbox {
    load: Option<Task>,
    plan: Option<(u64, Arc<PlanRequest>)>,
    occupancy: Option<(u64, Arc<OccupancyRequest>)>,
    values: Option<(u64, Arc<ValueRequest>)>,
    run: Option<(u64, Arc<RunRequest>)>,
    twin: bool,
    control: Option<ControlSettings>,
    quit: bool,
}

/// What both sides see.
pub struct Shared {
    /// The newest film.
    pub film: Slot<Film>,
    /// The newest rollout.
    pub rollout: Slot<Rollout>,
    /// The newest occupancy.
    pub occupancy: Slot<OccupancyFrame>,
    /// The newest value map.
    pub values: Slot<ValueFrame>,
    /// The newest run of the real policy.
    pub run: Slot<PolicyRun>,
    inbox: Mutex<Inbox>,
    rung: Condvar,
    events: SyncSender<Event>,
    wake: Wake,
}

impl Shared {
    /// Slots, an inbox, and the receiving end of the events.
    pub fn new(wake: Wake) -> (Arc<Self>, Receiver<Event>) {
        let (events, receiver) = sync_channel(EVENTS);
        let shared = Self {
            film: Slot::default(),
            rollout: Slot::default(),
            occupancy: Slot::default(),
            values: Slot::default(),
            run: Slot::default(),
            inbox: Mutex::default(),
            rung: Condvar::new(),
            events,
            wake,
        };
        (Arc::new(shared), receiver)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replace the waiting task of the same kind.
    pub fn push(&self, task: Task) {
        let mut inbox = self.inbox();
        match task {
            Task::Plan(id, request) => inbox.plan = Some((id, request)),
            Task::Occupancy(id, request) => inbox.occupancy = Some((id, request)),
            Task::Values(id, request) => inbox.values = Some((id, request)),
            Task::Run(id, request) => inbox.run = Some((id, request)),
            Task::Twin => inbox.twin = true,
            // A waiting load must not be lost to a rebuild of the same scene.
            Task::Rebuild(scene) => match &mut inbox.load {
                Some(Task::Load { scene: waiting, .. }) => *waiting = scene,
                _ => inbox.load = Some(Task::Rebuild(scene)),
            },
            task @ Task::Load { .. } => inbox.load = Some(task),
        }
        self.rung.notify_one();
    }

    /// Follow by these settings from the next rollout on.
    pub fn set_scene(&self, scene: &Scene) {
        self.inbox().control = Some(scene.control.clone());
    }

    /// End the thread.
    pub fn quit(&self) {
        self.inbox().quit = true;
        self.rung.notify_one();
    }

    /// Report something; dropped if nobody listens any more.
    pub fn send(&self, event: Event) {
        let _ = self.events.try_send(event);
        (self.wake)();
    }

    fn wait(&self) -> Option<Task> {
        let mut inbox = self.inbox();
        loop {
            if inbox.quit {
                return None;
            }
            if let Some(task) = inbox.load.take() {
                return Some(task);
            }
            if let Some((id, request)) = inbox.plan.take() {
                return Some(Task::Plan(id, request));
            }
            if let Some((id, request)) = inbox.run.take() {
                return Some(Task::Run(id, request));
            }
            // The map under the mouse comes before the slower one.
            if let Some((id, request)) = inbox.occupancy.take() {
                return Some(Task::Occupancy(id, request));
            }
            if let Some((id, request)) = inbox.values.take() {
                return Some(Task::Values(id, request));
            }
            if std::mem::take(&mut inbox.twin) {
                return Some(Task::Twin);
            }
            inbox = self.rung.wait(inbox).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether the running request should stop for what waits.
    fn is_superseded(&self, running: &PlanRequest) -> bool {
        let inbox = self.inbox();
        let is_drag = running.near_duration.is_some();
        inbox.quit || inbox.load.is_some() || (inbox.plan.is_some() && !is_drag)
    }

    fn has_work(&self) -> bool {
        let inbox = self.inbox();
        inbox.load.is_some()
            || inbox.plan.is_some()
            || inbox.occupancy.is_some()
            || inbox.values.is_some()
            || inbox.run.is_some()
    }

    /// Whether anything waits that a slow answer must give way to. A waiting
    /// value map does not stop an occupancy.
    fn must_yield(&self, to_values: bool) -> bool {
        let inbox = self.inbox();
        inbox.quit
            || inbox.load.is_some()
            || inbox.occupancy.is_some()
            || (to_values && inbox.values.is_some())
    }
}

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
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| worker.carry_out(task))) {
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
            Task::Plan(id, request) => self.report(|worker| worker.plan(id, request)),
            Task::Occupancy(id, request) => self.report(|worker| worker.occupancy(id, &request)),
            Task::Values(id, request) => self.report(|worker| worker.values(id, &request)),
            Task::Run(id, request) => self.report(|worker| worker.run(id, &request)),
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
            && frame.truth.is_some()
            && frame.exact.is_none()
        {
            match self.twins.get(&frame.request.goal) {
                Some(twin) => {
                    let mut frame = (*frame).clone();
                    let policy = environment.policy(&model.config.policy)?;
                    twin.complete_occupancy(&mut frame, environment, policy.as_ref())?;
                    self.shared.occupancy.put(Some(Arc::new(frame)));
                }
                None => wanted = Some(frame.request.goal.clone()),
            }
        }
        if let Some(frame) = self.shared.values.get()
            && frame.done >= 1.0
            && frame.evaluation.is_none()
        {
            match self.twins.get(&frame.request.goal) {
                Some(twin) => {
                    let mut frame = (*frame).clone();
                    twin.complete_values(&mut frame, environment)?;
                    self.shared.values.put(Some(Arc::new(frame)));
                }
                None => wanted = Some(frame.request.goal.clone()),
            }
        }
        (self.shared.wake)();
        if let (Some(goal), Some(config)) = (wanted, &self.config) {
            let shared = Arc::clone(&self.shared);
            let again = Box::new(move || shared.push(Task::Twin));
            self.twins.prepare(config, &model.config.policy, &goal, again);
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
        let policy = &model.config.policy;
        let run = policy_run::answer(id, request, opened.environment.as_mut(), policy)?;
        self.shared.run.put(Some(Arc::new(run)));
        (self.shared.wake)();
        Ok(())
    }

    fn load(&mut self, scene: &Scene, folder: Option<PathBuf>, choice: DeviceChoice) {
        self.shared.film.put(None);
        self.shared.rollout.put(None);
        self.shared.occupancy.put(None);
        self.shared.values.put(None);
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
        if request.near_duration.is_some() {
            // The next mouse move plans again anyway.
            control.replan = Replan::Never;
        }
        let environment = opened.environment.as_mut();
        environment.set_goal(&request.goal)?;
        environment.set_state(&request.start)?;
        let task = Pursuit { film_id: id, plan, request: &request, control: &control };
        let rollout =
            planner.pursue(environment, task, &mut |_| go_on(!shared.is_superseded(&request)))?;
        let reached = rollout.arrival_step.is_some();
        shared.rollout.put(Some(Arc::new(rollout)));
        if request.near_duration.is_none() {
            shared.send(Event::Followed { reached });
        }
        (shared.wake)();
        Ok(())
    }
}

fn go_on(yes: bool) -> ControlFlow<()> {
    if yes { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// Whether the weights were trained in the scene's maze; random weights have
/// seen nothing, and there is nothing to warn of.
fn sees(opened: &Opened, scene: &Scene) -> bool {
    let maze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join("\n");
    opened
        .header
        .as_ref()
        .is_none_or(|header| maze(&header.environment.maze) == maze(&scene.environment.maze))
}

fn card(opened: &Opened) -> Option<ModelCard> {
    let provenance = opened.header.as_ref().map(|h| h.provenance.clone()).unwrap_or_default();
    let (preset, parameters, facts) = match &opened.model {
        OpenedModel::Diffuser(planner) => {
            let diffuser = planner.diffuser();
            let [shortest, longest] = diffuser.config.duration_range();
            let facts = vec![
                ("waypoints", diffuser.config.waypoints.to_string()),
                ("durations", format!("{shortest:.0} to {longest:.0} steps")),
                ("diffusion times", diffuser.config.diffusion_steps.to_string()),
            ];
            (diffuser.config.preset, diffuser.n_parameters(), facts)
        }
        OpenedModel::Gamma(model) => {
            let config = &model.config;
            let [low, high] = config.discount;
            let discount =
                if high > low { format!("{low} to {high}") } else { format!("{high} alone") };
            let facts = vec![
                ("policy", config.policy.clone()),
                ("discount", discount),
                ("couplings", config.couplings.to_string()),
                ("bins per spline", config.bins.to_string()),
                ("hidden layers", format!("{} of {}", config.layers, config.hidden)),
            ];
            (config.preset, model.n_parameters(), facts)
        }
    };
    Some(ModelCard {
        preset: preset.name().to_owned(),
        parameters,
        trained_steps: provenance.steps,
        hash: opened.hash.clone(),
        facts,
        evaluation: provenance.evaluation,
        trained_on: format!(
            "{}, {:.0} min, scene {}",
            provenance.device,
            provenance.wall_secs / 60.0,
            provenance.scene_hash
        ),
    })
}
