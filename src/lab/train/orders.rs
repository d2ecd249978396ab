//! What a run is told while it runs. Every order is looked at between two
//! optimizer steps, so all of them act within one.

use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Budget;
use crate::lab::scene::Scene;

/// Shared between a run and whoever steers it.
pub struct Orders {
    state: Mutex<State>,
    rung: Condvar,
}

struct State {
    is_paused: bool,
    is_stopped: bool,
    budget: Budget,
    pace: f32,
    scene: Option<Box<Scene>>,
    keep: bool,
    go_back: Option<u64>,
}

/// What a run does next.
#[derive(Debug)]
pub(super) enum Order {
    /// Take a step.
    Step,
    /// Wait for another order.
    Wait,
    /// Save and end.
    Stop,
    /// Go on with another scene's live numbers.
    Tune(Box<Scene>),
    /// Save a checkpoint that no later one displaces.
    Keep,
    /// Take up an earlier checkpoint.
    GoBack(u64),
}

impl Orders {
    /// Run until `budget` is spent.
    pub fn new(budget: Budget) -> Self {
        let state = State {
            is_paused: false,
            is_stopped: false,
            budget,
            pace: 1.0,
            scene: None,
            keep: false,
            go_back: None,
        };
        Self { state: Mutex::new(state), rung: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.rung.notify_all();
    }

    /// Rest after the present step.
    pub fn pause(&self) {
        self.change(|state| state.is_paused = true);
    }

    /// Go on.
    pub fn resume(&self) {
        self.change(|state| state.is_paused = false);
    }

    /// Save and end after the present step.
    pub fn stop(&self) {
        self.change(|state| state.is_stopped = true);
    }

    /// Another budget; a run that had spent its own goes on.
    pub fn set_budget(&self, budget: Budget) {
        self.change(|state| state.budget = budget);
    }

    /// The budget as it stands.
    pub fn budget(&self) -> Budget {
        self.state().budget
    }

    /// The share of the time that is spent on steps, from a hundredth to 1;
    /// the rest leaves the processor to others.
    pub fn set_pace(&self, pace: f32) {
        let pace = if pace.is_finite() { pace.clamp(0.01, 1.0) } else { 1.0 };
        self.change(|state| state.pace = pace);
    }

    /// The pace as it stands.
    pub fn pace(&self) -> f32 {
        self.state().pace
    }

    /// Go on with the live numbers of `scene`.
    pub fn tune(&self, scene: Scene) {
        self.change(|state| state.scene = Some(Box::new(scene)));
    }

    /// Save a checkpoint that stays.
    pub fn keep(&self) {
        self.change(|state| state.keep = true);
    }

    /// Take up checkpoint number `id`; what came after it stays on disk.
    pub fn go_back(&self, id: u64) {
        self.change(|state| state.go_back = Some(id));
    }

    /// The next order. `is_done` says that the budget is spent.
    pub(super) fn next(&self, is_done: bool) -> Order {
        let mut state = self.state();
        if state.is_stopped {
            return Order::Stop;
        }
        if let Some(scene) = state.scene.take() {
            return Order::Tune(scene);
        }
        if std::mem::take(&mut state.keep) {
            return Order::Keep;
        }
        if let Some(id) = state.go_back.take() {
            return Order::GoBack(id);
        }
        if state.is_paused || is_done { Order::Wait } else { Order::Step }
    }

    /// Whether it was told to end.
    pub fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// Whether it was told to rest.
    pub fn is_paused(&self) -> bool {
        self.state().is_paused
    }

    /// Wait out a pause in the middle of other work, and say whether that work
    /// should go on.
    pub(super) fn hold(&self) -> ControlFlow<()> {
        while self.is_paused() && !self.is_stopped() {
            self.wait();
        }
        if self.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Sleep until an order may have changed.
    pub(super) fn wait(&self) {
        /// A wake-up that was missed costs no more than this.
        const LONGEST: std::time::Duration = std::time::Duration::from_millis(100);
        let state = self.state();
        drop(self.rung.wait_timeout(state, LONGEST));
    }
}
