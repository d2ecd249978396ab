//! Between the session and its planner thread: tasks one way, of which the
//! newest of a kind counts, events and the newest results the other.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Checkpoint;
use super::beam::{AttentionFrame, AttentionRequest, BeamFrame};
use super::device::ChosenDevice;
use super::frontier::StoredFrontier;
use super::occupancy::{OccupancyFrame, OccupancyRequest};
use super::policy_run::{PolicyRun, RunRequest};
use super::scene::Scene;
use super::session::{ModelCard, Problem, Wake};
use super::slot::Slot;
use super::values::{ValueFrame, ValueRequest};
use crate::plan::beam::drive::DriveRequest;
use crate::plan::{ControlSettings, Film, PlanRequest, Rollout};

/// Events that fit before the front looks; more are dropped.
const EVENTS: usize = 256;

/// Something to do.
#[derive(Clone)]
pub enum Task {
    /// Build the environment and load the weights.
    Load {
        /// The scene.
        scene: Box<Scene>,
        /// Where its file lies.
        folder: Option<PathBuf>,
        /// Where to compute.
        device: ChosenDevice,
    },
    /// Compute somewhere else, with the same weights.
    Move(ChosenDevice),
    /// Build the environment again, keep the weights.
    Rebuild(Box<Scene>),
    /// Go on with other weights of the same model.
    Weights {
        /// The scene.
        scene: Box<Scene>,
        /// Which weights.
        source: WeightsSource,
    },
    /// Carry out a request.
    Plan(u64, Arc<PlanRequest>),
    /// Say where the policy will be.
    Occupancy(u64, Arc<OccupancyRequest>),
    /// Say what every state is worth.
    Values(u64, Arc<ValueRequest>),
    /// Let the real policy run.
    Run(u64, Arc<RunRequest>),
    /// Search and act.
    Beam(u64, Arc<DriveRequest>),
    /// Look inside the attention.
    Attention(u64, Arc<AttentionRequest>),
    /// Add what the tabular twin knows to the newest answers.
    Twin,
}

/// Weights other than the scene's own.
#[derive(Clone)]
pub enum WeightsSource {
    /// Weights in training. They wait for what runs.
    Memory(Arc<Checkpoint>),
    /// A checkpoint that somebody looks at. What runs stops for it.
    File(PathBuf),
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
    /// Other weights of the same model are in use.
    Reweighted {
        /// The weights' own words.
        card: Option<Box<ModelCard>>,
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
    /// It computes somewhere else from now on.
    Moved {
        /// Where.
        device: ChosenDevice,
    },
    /// The GPU failed, and it computes on the CPU from now on.
    FellBack {
        /// Where.
        device: ChosenDevice,
        /// What happened.
        why: String,
    },
    /// A GPU was found that agrees with the CPU and is faster.
    FoundGpu {
        /// By how much.
        reason: String,
    },
}

#[derive(Default)]
pub(super) struct Inbox {
    load: Option<Task>,
    weights: Option<(Box<Scene>, WeightsSource)>,
    device: Option<ChosenDevice>,
    plan: Option<(u64, Arc<PlanRequest>)>,
    occupancy: Option<(u64, Arc<OccupancyRequest>)>,
    values: Option<(u64, Arc<ValueRequest>)>,
    run: Option<(u64, Arc<RunRequest>)>,
    beam: Option<(u64, Arc<DriveRequest>)>,
    attention: Option<(u64, Arc<AttentionRequest>)>,
    twin: bool,
    pub(super) control: Option<ControlSettings>,
    quit: bool,
}

impl Inbox {
    /// Whether something waits that ends whatever runs.
    fn is_urgent(&self) -> bool {
        let is_looked_at = matches!(self.weights, Some((_, WeightsSource::File(_))));
        self.quit || self.load.is_some() || is_looked_at
    }
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
    /// The newest episode by beam search.
    pub beam: Slot<BeamFrame>,
    /// The newest look inside the attention.
    pub attention: Slot<AttentionFrame>,
    /// What is stored of the trade-off between score and time.
    pub frontier: Slot<StoredFrontier>,
    /// Whether the planner thread is at work.
    pub(super) is_busy: AtomicBool,
    inbox: Mutex<Inbox>,
    rung: Condvar,
    events: SyncSender<Event>,
    pub(super) wake: Wake,
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
            beam: Slot::default(),
            attention: Slot::default(),
            frontier: Slot::default(),
            is_busy: AtomicBool::new(false),
            inbox: Mutex::default(),
            rung: Condvar::new(),
            events,
            wake,
        };
        (Arc::new(shared), receiver)
    }

    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
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
            Task::Beam(id, request) => inbox.beam = Some((id, request)),
            Task::Attention(id, request) => inbox.attention = Some((id, request)),
            Task::Twin => inbox.twin = true,
            Task::Move(device) => inbox.device = Some(device),
            Task::Weights { scene, source } => inbox.weights = Some((scene, source)),
            // A waiting load must not be lost to a rebuild of the same scene.
            Task::Rebuild(scene) => match &mut inbox.load {
                Some(Task::Load { scene: waiting, .. }) => *waiting = scene,
                _ => inbox.load = Some(Task::Rebuild(scene)),
            },
            task @ Task::Load { .. } => {
                inbox.load = Some(task);
                // They were for the model before, and it says itself where.
                inbox.weights = None;
                inbox.device = None;
            }
        }
        self.rung.notify_one();
    }

    /// Put a request back that could not be carried out, unless a newer one of
    /// its kind waits.
    pub(super) fn put_back(&self, task: Task) {
        let inbox = self.inbox();
        let is_replaced = match &task {
            Task::Plan(..) => inbox.plan.is_some(),
            Task::Occupancy(..) => inbox.occupancy.is_some(),
            Task::Values(..) => inbox.values.is_some(),
            _ => true,
        };
        drop(inbox);
        if !is_replaced {
            self.push(task);
        }
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

    pub(super) fn wait(&self) -> Option<Task> {
        let mut inbox = self.inbox();
        loop {
            if inbox.quit {
                return None;
            }
            if let Some(task) = inbox.load.take() {
                return Some(task);
            }
            if let Some(device) = inbox.device.take() {
                return Some(Task::Move(device));
            }
            if let Some((scene, source)) = inbox.weights.take() {
                return Some(Task::Weights { scene, source });
            }
            if let Some((id, request)) = inbox.plan.take() {
                return Some(Task::Plan(id, request));
            }
            if let Some((id, request)) = inbox.run.take() {
                return Some(Task::Run(id, request));
            }
            if let Some((id, request)) = inbox.attention.take() {
                return Some(Task::Attention(id, request));
            }
            if let Some((id, request)) = inbox.beam.take() {
                return Some(Task::Beam(id, request));
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
    pub(super) fn is_superseded(&self, running: &PlanRequest) -> bool {
        let inbox = self.inbox();
        let is_drag = running.near_duration.is_some();
        inbox.is_urgent() || (inbox.plan.is_some() && !is_drag)
    }

    /// Whether an episode by beam search should stop for what waits.
    pub(super) fn ends_episode(&self) -> bool {
        let inbox = self.inbox();
        inbox.is_urgent() || inbox.beam.is_some()
    }

    /// A waiting look inside the attention, which an episode answers on its
    /// way.
    pub(super) fn take_attention(&self) -> Option<(u64, Arc<AttentionRequest>)> {
        self.inbox().attention.take()
    }

    pub(super) fn has_work(&self) -> bool {
        let inbox = self.inbox();
        inbox.load.is_some()
            || inbox.device.is_some()
            || inbox.weights.is_some()
            || inbox.plan.is_some()
            || inbox.occupancy.is_some()
            || inbox.values.is_some()
            || inbox.run.is_some()
            || inbox.beam.is_some()
            || inbox.attention.is_some()
    }

    /// Whether anything waits that a slow answer must give way to. A waiting
    /// value map does not stop an occupancy.
    pub(super) fn must_yield(&self, to_values: bool) -> bool {
        let inbox = self.inbox();
        inbox.is_urgent() || inbox.occupancy.is_some() || (to_values && inbox.values.is_some())
    }
}
