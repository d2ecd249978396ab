//! Independent episodes, as many at a time as there are environments.
//!
//! An episode computes the same bits whichever thread runs it: it resets its
//! environment and draws from a stream of its own. What does depend on company
//! is how long things take, so the first episodes have the machine to
//! themselves, and times are read off those alone.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use rayon::ThreadPoolBuilder;

use crate::env::Environment;
use crate::plan::PlanError;
use crate::rng::Rng;

/// Of so many episodes, one runs with nothing beside it, on all threads.
const ALONE_OF: usize = 10;

/// What episodes came to.
pub(super) struct Episodes<T> {
    /// One per episode, in order.
    pub outcomes: Vec<T>,
    /// How many of them, the first, had the machine to themselves.
    alone: usize,
}

impl<T> Episodes<T> {
    /// Those that had the machine to themselves.
    pub fn alone(&self) -> impl Iterator<Item = &T> {
        self.outcomes.iter().take(self.alone)
    }
}

/// Begin an episode: the environment's own goal, or with `multi` one of the
/// episode's own.
///
/// # Errors
/// An environment that refuses its own goal.
pub(super) fn begin(
    environment: &mut dyn Environment,
    multi: bool,
    rng: &mut Rng,
) -> Result<(), PlanError> {
    environment.set_goal(&environment.default_goal())?;
    environment.reset(rng);
    if multi {
        environment.randomize_goal(rng);
    }
    Ok(())
}

/// Do `episode(environment, index)` for every index below `episodes`, the
/// first tenth of them one after another, then one per environment at a time,
/// each on one thread. `on_episode` hears how many are done and may stop early,
/// which keeps those before the first that is not.
///
/// # Errors
/// That of the first episode that has one.
pub(super) fn run<T: Send>(
    environments: &mut [Box<dyn Environment>],
    episodes: usize,
    episode: &(dyn Fn(&mut dyn Environment, usize) -> Result<T, PlanError> + Sync),
    on_episode: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Episodes<T>, PlanError> {
    let due = match environments.len() {
        1 => episodes,
        _ => episodes.div_ceil(ALONE_OF),
    };
    let Some(first) = environments.first_mut() else {
        return Err(PlanError::Request("there is no environment to act in".into()));
    };
    let mut outcomes = Vec::with_capacity(episodes);
    for index in 0..due {
        outcomes.push(episode(first.as_mut(), index)?);
        if on_episode(index + 1).is_break() {
            return Ok(Episodes { alone: outcomes.len(), outcomes });
        }
    }
    let mut found: Vec<Option<Result<T, PlanError>>> = Vec::new();
    found.resize_with(episodes - due, || None);
    let (next, stop) = (AtomicUsize::new(due), AtomicBool::new(false));
    // Handed over one by one: nobody runs ahead of a request to stop.
    let (sender, receiver) = mpsc::sync_channel(0);
    std::thread::scope(|scope| {
        for environment in environments.iter_mut().take(episodes - due) {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || {
                on_one_thread(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= episodes {
                            break;
                        }
                        let outcome = episode(environment.as_mut(), index);
                        // Nobody listens any more: somebody panicked.
                        if sender.send((index, outcome)).is_err() {
                            break;
                        }
                    }
                });
            });
        }
        drop(sender);
        let mut done = due;
        for (index, outcome) in receiver {
            done += 1;
            let has_failed = outcome.is_err();
            found[index - due] = Some(outcome);
            if on_episode(done).is_break() || has_failed {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    for outcome in found.into_iter().map_while(|outcome| outcome) {
        outcomes.push(outcome?);
    }
    Ok(Episodes { outcomes, alone: due })
}

/// Work that finds one thread where it would split itself over all of them;
/// where no thread can be had for that, it splits itself.
fn on_one_thread(work: impl FnOnce() + Send) {
    match ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(pool) => pool.install(work),
        Err(_) => work(),
    }
}
