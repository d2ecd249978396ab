//! The session both fronts hold: a scene, its planner thread, and the newest
//! of everything that thread makes.
//!
//! Requests supersede. A waiting request is replaced by the next one; a
//! running full request stops after its present denoising step. A running
//! drag request is small and is let finish, or a stream of mouse moves would
//! cancel every plan before the person sees one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use super::Checkpoint;
use super::beam::{AttentionFrame, AttentionRequest, BeamFrame};
use super::device::preparer::{Preparer, Preparing};
use super::device::{self, ChosenDevice, DeviceChoice};
use super::dream::{DreamFrame, DreamKeeper, DreamRequest};
use super::frontier::StoredFrontier;
use super::frontier::keeper::{FrontierKeeper, MeasureFrame};
use super::mailbox::{Event, Shared, Task};
use super::occupancy::{OccupancyFrame, OccupancyRequest};
use super::planner_thread;
use super::policy_run::{PolicyRun, RunRequest};
use super::scene::{Scene, SceneError};
use super::train::keeper::TrainKeeper;
use super::training::Shown;
use super::values::{ValueFrame, ValueRequest};
use crate::plan::beam::drive::DriveRequest;
use crate::plan::{Film, PlanRequest, Rollout};

/// Wakes the front when there is something new to show.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// How to open a session.
#[derive(Clone)]
pub struct SessionOptions {
    /// Where to compute.
    pub device: DeviceChoice,
    /// Called, from any thread, when something new is there.
    pub wake: Wake,
}

/// Why a session cannot be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The scene.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// The planner thread could not be started.
    #[error("the planner thread could not be started ({0}); close other programs and try again")]
    Thread(#[from] std::io::Error),
}

/// What the planner thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading weights.
    Loading,
    /// Waiting for a request.
    Ready,
    /// Denoising or following.
    Planning,
    /// The scene could not be opened; see the problems.
    Failed,
}

/// Something the person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What happened.
    pub title: String,
    /// What to do.
    pub advice: String,
}

/// What the weights say of themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelCard {
    /// `paper`, `code`, `quick` or `quick-fixed`.
    pub preset: String,
    /// Number of weights.
    pub parameters: usize,
    /// Optimizer steps.
    pub trained_steps: usize,
    /// Start of the weights file's hash.
    pub hash: String,
    /// What this kind of model says of itself, name and value.
    pub facts: Vec<(&'static str, String)>,
    /// What was measured, if it was recorded.
    pub evaluation: Option<String>,
    /// Device, wall time and scene of the training run.
    pub trained_on: String,
}

/// Everything but the big arrays.
#[derive(Clone, Debug)]
pub struct Status {
    /// What the planner thread is doing.
    pub phase: Phase,
    /// Device in use.
    pub device: String,
    /// Why that one.
    pub device_reason: String,
    /// The model, once loaded.
    pub model: Option<ModelCard>,
    /// Newest last.
    pub problems: Vec<Problem>,
    /// Time of the last plan, milliseconds.
    pub plan_ms: Option<f32>,
    /// Plans per second at that time.
    pub plans_per_sec: Option<f32>,
    /// Full requests followed to the end.
    pub trials: usize,
    /// Those that reached the goal.
    pub reached: usize,
    /// Whether the weights were trained in this very maze.
    pub is_maze_seen: bool,
    /// How often other weights of the model were put in place.
    pub reweighted: u64,
    /// A GPU that gets ready while the CPU plans.
    pub preparing: Option<Preparing>,
    /// How long the GPU took that has just been put in use.
    pub(super) prepared: Option<Duration>,
}

/// A scene in use.
pub struct Session {
    pub(super) scene: Scene,
    pub(super) folder: Option<PathBuf>,
    /// What was asked for.
    pub(super) device: DeviceChoice,
    /// Where the planner computes.
    pub(super) in_use: ChosenDevice,
    pub(super) preparer: Preparer,
    /// Why the GPU that was found is better than the CPU.
    pub(super) gpu_reason: Option<String>,
    pub(super) shared: Arc<Shared>,
    events: Receiver<Event>,
    pub(super) status: Status,
    next_id: u64,
    dreams: DreamKeeper,
    frontiers: FrontierKeeper,
    pub(super) trainer: TrainKeeper,
    pub(super) shown: Shown,
    /// The weights in training that were shown last.
    pub(super) last_snapshot: Option<Arc<Checkpoint>>,
    thread: Option<JoinHandle<()>>,
}

impl Session {
    /// Open `scene`; its weights load on the planner thread. `folder` is where
    /// the scene file lies, `None` for a shipped scene.
    ///
    /// # Errors
    /// A scene that cannot be used.
    pub fn open(
        scene: Scene,
        folder: Option<PathBuf>,
        options: SessionOptions,
    ) -> Result<Self, LabError> {
        scene.check()?;
        let (shared, events) = Shared::new(options.wake);
        let thread = planner_thread::spawn(Arc::clone(&shared))?;
        let mut session = Self {
            scene,
            folder,
            device: options.device,
            in_use: device::cpu(""),
            preparer: Preparer::default(),
            gpu_reason: None,
            shared,
            events,
            status: Status {
                phase: Phase::Loading,
                device: String::new(),
                device_reason: String::new(),
                model: None,
                problems: Vec::new(),
                plan_ms: None,
                plans_per_sec: None,
                trials: 0,
                reached: 0,
                is_maze_seen: true,
                reweighted: 0,
                preparing: None,
                prepared: None,
            },
            next_id: 1,
            dreams: DreamKeeper::default(),
            frontiers: FrontierKeeper::default(),
            trainer: TrainKeeper::default(),
            shown: Shown::Own,
            last_snapshot: None,
            thread: Some(thread),
        };
        session.seek_device()?;
        session.load();
        Ok(session)
    }

    /// The experiment.
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Change the experiment. Planner, control and stage act on the next
    /// request; another maze keeps the weights; another model reloads them.
    ///
    /// # Errors
    /// A scene that cannot be used; the old one then stays.
    pub fn apply(&mut self, scene: Scene) -> Result<(), LabError> {
        scene.check()?;
        let before = self.scene.model.clone();
        // A step size changes no weights that are loaded.
        let reload = {
            let (mut a, mut b) = (scene.model.clone(), before.clone());
            a.clear_live();
            b.clear_live();
            a != b
        };
        let rebuild = scene.environment != self.scene.environment;
        self.scene = scene;
        if self.scene.model != before
            && self.trains_this()
            && let Some(orders) = self.training_orders()
        {
            orders.tune(self.scene.clone());
        }
        if reload || rebuild {
            self.frontiers.clear();
        }
        if reload {
            self.dreams.clear();
            self.seek_device()?;
            self.load();
        } else if rebuild {
            self.dreams.clear();
            self.shared.push(Task::Rebuild(Box::new(self.scene.clone())));
        } else {
            self.shared.set_scene(&self.scene);
        }
        Ok(())
    }

    pub(super) fn load(&mut self) {
        self.status.phase = Phase::Loading;
        self.shared.set_scene(&self.scene);
        let scene = Box::new(self.scene.clone());
        self.shared.push(Task::Load {
            scene,
            folder: self.folder.clone(),
            device: self.in_use.clone(),
        });
        self.show_again();
    }

    /// The number of the next request.
    fn number(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Ask for a plan; answers its id. See the module for what it supersedes.
    pub fn request(&mut self, request: PlanRequest) -> u64 {
        let id = self.number();
        self.shared.push(Task::Plan(id, Arc::new(request)));
        id
    }

    /// Ask where the policy will be; answers its number. A newer question
    /// replaces an older one.
    pub fn ask_occupancy(&mut self, request: OccupancyRequest) -> u64 {
        let id = self.number();
        self.shared.push(Task::Occupancy(id, Arc::new(request)));
        id
    }

    /// Ask what every state is worth, after any occupancy; answers its number.
    pub fn ask_values(&mut self, request: ValueRequest) -> u64 {
        let id = self.number();
        self.shared.push(Task::Values(id, Arc::new(request)));
        id
    }

    /// Ask for a run of the real policy; answers its number.
    pub fn ask_run(&mut self, request: RunRequest) -> u64 {
        let id = self.number();
        self.shared.push(Task::Run(id, Arc::new(request)));
        id
    }

    /// Ask for an episode by beam search; answers its number. A running one
    /// stops after its present token.
    pub fn ask_beam(&mut self, request: DriveRequest) -> u64 {
        let id = self.number();
        self.shared.push(Task::Beam(id, Arc::new(request)));
        id
    }

    /// Ask what tokens attend to; answers its number. A running episode
    /// answers between two transitions.
    pub fn ask_attention(&mut self, request: AttentionRequest) -> u64 {
        let id = self.number();
        self.shared.push(Task::Attention(id, Arc::new(request)));
        id
    }

    /// Ask for dreams, on a thread of their own; answers their number.
    pub fn ask_dream(&mut self, request: DreamRequest) -> u64 {
        let id = self.number();
        self.dreams.start(id, &self.scene, self.folder.as_deref(), request, &self.shared.wake);
        id
    }

    /// Break the running dreams off; what they found stays.
    pub fn stop_dream(&self) {
        self.dreams.stop();
    }

    /// The newest dreams, complete or growing.
    pub fn dream(&self) -> Option<Arc<DreamFrame>> {
        self.dreams.frame()
    }

    /// What is stored of the trade-off between score and time.
    pub fn stored_frontier(&self) -> Option<Arc<StoredFrontier>> {
        self.shared.frontier.get()
    }

    /// Measure that trade-off anew with the weights that are shown, on a thread
    /// of its own that rests while the planner is at work. What is measured now
    /// stops first.
    pub fn measure_frontier(&mut self, episodes: usize) {
        let shared = Arc::clone(&self.shared);
        let is_planning = Arc::new(move || shared.is_busy.load(Ordering::Relaxed));
        let weights = self.measured_weights(self.folder.as_deref());
        let wake = Arc::clone(&self.shared.wake);
        self.frontiers.start(self.scene.clone(), weights, episodes, is_planning, &wake);
    }

    /// Break off measuring; what was found stays.
    pub fn stop_measuring(&self) {
        self.frontiers.stop();
    }

    /// The newest measurement, complete or growing.
    pub fn measured_frontier(&self) -> Option<Arc<MeasureFrame>> {
        self.frontiers.frame()
    }

    /// The newest episode by beam search, finished or going on.
    pub fn beam(&self) -> Option<Arc<BeamFrame>> {
        self.shared.beam.get()
    }

    /// The newest look inside the attention.
    pub fn attention(&self) -> Option<Arc<AttentionFrame>> {
        self.shared.attention.get()
    }

    /// The newest run of the real policy.
    pub fn run(&self) -> Option<Arc<PolicyRun>> {
        self.shared.run.get()
    }

    /// The newest occupancy, without or with its truth.
    pub fn occupancy(&self) -> Option<Arc<OccupancyFrame>> {
        self.shared.occupancy.get()
    }

    /// The newest value map, complete or growing.
    pub fn values(&self) -> Option<Arc<ValueFrame>> {
        self.shared.values.get()
    }

    /// The newest film, complete or growing.
    pub fn film(&self) -> Option<Arc<Film>> {
        self.shared.film.get()
    }

    /// The ball following the newest complete plan.
    pub fn rollout(&self) -> Option<Arc<Rollout>> {
        self.shared.rollout.get()
    }

    /// Take in what the planner thread reported. Never waits.
    pub fn poll(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.take(event);
        }
        self.follow_preparation();
        self.follow_training();
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Loaded { card, device, is_maze_seen } => {
                self.status.phase = Phase::Ready;
                self.status.model = card.map(|card| *card);
                self.compute_on(device);
                self.status.is_maze_seen = is_maze_seen;
                self.reset_trials();
            }
            Event::Reweighted { card } => {
                self.status.model = card.map(|card| *card);
                self.status.reweighted += 1;
                self.status.phase = Phase::Ready;
                self.reset_trials();
            }
            Event::Rebuilt { is_maze_seen } => {
                self.status.is_maze_seen = is_maze_seen;
                self.reset_trials();
            }
            // A failed scene stays failed until another one loads.
            Event::Started | Event::Idle if self.status.phase == Phase::Failed => {}
            Event::Started => self.status.phase = Phase::Planning,
            Event::Planned { wall_ms } => {
                self.status.plan_ms = Some(wall_ms);
                self.status.plans_per_sec = (wall_ms > 0.0).then_some(1e3 / wall_ms);
            }
            Event::Idle => self.status.phase = Phase::Ready,
            Event::Followed { reached } => {
                self.status.trials += 1;
                self.status.reached += usize::from(reached);
            }
            Event::Failed(problem) => {
                self.status.phase = Phase::Failed;
                self.report(problem);
            }
            Event::Trouble(problem) => self.report(problem),
            Event::Moved { device } => self.compute_on(device),
            Event::FellBack { device, why } => {
                self.fell_back(device.clone(), &why);
                self.compute_on(device);
            }
            Event::FoundGpu { reason } => self.found_gpu(reason),
        }
    }

    fn compute_on(&mut self, device: ChosenDevice) {
        self.status.device = device.name;
        self.status.device_reason = device.reason;
    }

    pub(super) fn report(&mut self, problem: Problem) {
        const MOST: usize = 8;
        if self.status.problems.last() != Some(&problem) {
            self.status.problems.push(problem);
        }
        if self.status.problems.len() > MOST {
            self.status.problems.remove(0);
        }
    }

    /// What there is to say.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Take a problem off the list.
    pub fn dismiss_problem(&mut self, index: usize) {
        if index < self.status.problems.len() {
            self.status.problems.remove(index);
        }
    }

    /// Count successes from here.
    pub fn reset_trials(&mut self) {
        self.status.trials = 0;
        self.status.reached = 0;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.quit();
        if let Some(thread) = self.thread.take() {
            // It ends after its present denoising step.
            let _ = thread.join();
        }
    }
}
