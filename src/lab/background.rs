//! One piece of work on a thread of its own, beside the planner's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

/// Work that runs, and how to break it off. Dropped, it is broken off and
/// waited for.
pub struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Start `work`, which looks at `stop`, once `before` has been broken off
    /// and has ended: its last words must not come after our first. Never
    /// waits.
    ///
    /// # Errors
    /// No thread is left, in words for people.
    pub fn start(
        name: &str,
        stop: Arc<AtomicBool>,
        before: Option<Self>,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<Self, String> {
        let before = before.and_then(|mut before| {
            before.stop();
            before.thread.take()
        });
        let started = Builder::new().name(name.to_owned()).spawn(move || {
            if let Some(before) = before {
                let _ = before.join();
            }
            work();
        });
        match started {
            Ok(thread) => Ok(Self { stop, thread: Some(thread) }),
            Err(error) => {
                Err(format!("no thread is left ({error}); close other programs and try again"))
            }
        }
    }

    /// Break it off; it ends soon.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::slot::Slot;

    #[test]
    fn what_comes_next_waits_for_the_last_words_of_what_came_before() {
        let said = Arc::new(Slot::<&str>::default());
        let until_stopped = |stop: &Arc<AtomicBool>| {
            let (stop, said) = (Arc::clone(stop), Arc::clone(&said));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                said.put(Some(Arc::new("before")));
            }
        };
        let stop = Arc::default();
        let work = until_stopped(&stop);
        let before = Background::start("before", stop, None, work).unwrap();
        let after = Arc::clone(&said);
        let next = move || {
            assert_eq!(after.get().as_deref(), Some(&"before"));
            after.put(Some(Arc::new("after")));
        };
        drop(Background::start("after", Arc::default(), Some(before), next));
        assert_eq!(said.get().as_deref(), Some(&"after"));
    }
}
