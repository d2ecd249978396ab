//! Threads that stand by for the next token of a search.
//!
//! A token is a tenth of a millisecond of work, and as long passes until a
//! sleeping thread is awake. rayon's threads go to sleep between two tokens,
//! and so does whoever waits for them; these look out for work a little longer
//! than the search takes to choose tokens. What nobody has begun, the caller
//! does: on a busy machine a search is no slower than on one thread.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Most threads for one token; more have too little to do each.
const HANDS: usize = 8;
/// Looks for work before a thread lies down, some 0.1 ms in all.
const LOOKS: usize = 300;
/// Pauses between two looks.
const PAUSES: usize = 16;

/// Threads that work on a token, the caller's included: one within a rayon
/// pool of one thread, where others keep the processor busy.
pub fn hands() -> usize {
    rayon::current_num_threads().min(HANDS)
}

/// Do `work` on all items, on this thread and whichever stand by.
pub fn run<T: Send>(items: Vec<T>, work: &(impl Fn(T) + Sync)) {
    if items.len() < 2 {
        items.into_iter().for_each(work);
        return;
    }
    let items: Vec<Mutex<Option<T>>> =
        items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    let next = AtomicUsize::new(0);
    let task = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            let item = lock(item).take();
            item.into_iter().for_each(work);
        }
    };
    let crew = Crew::get();
    // Another search has the threads: it is no use to wait for them.
    match crew.captain.try_lock() {
        Ok(_captain) => crew.all_hands(&task),
        Err(_) => task(),
    }
}

type Task<'a> = &'a (dyn Fn() + Sync);

/// Every thread there is, and how they hear of work.
struct Crew {
    /// Held by the one search that they work for.
    captain: Mutex<()>,
    post: Mutex<Post>,
    /// Rung for those who sleep.
    bell: Condvar,
    /// Tasks so far.
    tasks: AtomicUsize,
    /// Threads within the task.
    busy: AtomicUsize,
}

struct Post {
    task: Option<Task<'static>>,
    asleep: usize,
    panic: Option<Box<dyn Any + Send>>,
}

impl Crew {
    /// The one crew, which waits from its first task to the end of the
    /// program.
    fn get() -> &'static Self {
        static CREW: OnceLock<Crew> = OnceLock::new();
        static THREADS: OnceLock<()> = OnceLock::new();
        let crew = CREW.get_or_init(|| Crew {
            captain: Mutex::new(()),
            post: Mutex::new(Post { task: None, asleep: 0, panic: None }),
            bell: Condvar::new(),
            tasks: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
        });
        THREADS.get_or_init(|| {
            for index in 1..hands() {
                // Without the thread, the others do its share.
                let name = format!("search {index}");
                let _ = std::thread::Builder::new().name(name).spawn(move || crew.stand_by());
            }
        });
        crew
    }

    /// Have `task` run here and by every thread that comes in time.
    fn all_hands(&self, task: Task) {
        // SAFETY: only the lifetime changes. No thread holds the reference
        // after `Recall` is dropped, which is before `task` ends: it takes the
        // task off the post and waits for those who took it from there.
        #[expect(unsafe_code, reason = "lends a borrow to threads and takes it back")]
        let lent: Task<'static> = unsafe { std::mem::transmute::<Task<'_>, Task<'static>>(task) };
        let recall = Recall(self);
        let mut post = lock(&self.post);
        (post.task, post.panic) = (Some(lent), None);
        self.tasks.fetch_add(1, Ordering::Release);
        if post.asleep > 0 {
            self.bell.notify_all();
        }
        drop(post);
        task();
        drop(recall);
        if let Some(panic) = lock(&self.post).panic.take() {
            resume_unwind(panic);
        }
    }

    /// What a thread does all its life.
    fn stand_by(&self) {
        let mut seen = 0;
        loop {
            seen = self.wait(seen);
            let post = lock(&self.post);
            let Some(task) = post.task else { continue };
            // Under the lock, so that whoever recalls the task knows.
            self.busy.fetch_add(1, Ordering::Relaxed);
            drop(post);
            let outcome = catch_unwind(AssertUnwindSafe(task));
            if let Err(panic) = outcome {
                lock(&self.post).panic = Some(panic);
            }
            self.busy.fetch_sub(1, Ordering::Release);
        }
    }

    /// Wait for a task after the `seen`-th; returns its number.
    fn wait(&self, seen: usize) -> usize {
        for _ in 0..LOOKS {
            let tasks = self.tasks.load(Ordering::Acquire);
            if tasks != seen {
                return tasks;
            }
            pause();
        }
        let mut post = lock(&self.post);
        post.asleep += 1;
        while self.tasks.load(Ordering::Acquire) == seen {
            post = self.bell.wait(post).unwrap_or_else(PoisonError::into_inner);
        }
        post.asleep -= 1;
        self.tasks.load(Ordering::Acquire)
    }
}

/// Takes the task back when dropped, by a panic too.
struct Recall<'a>(&'a Crew);

impl Drop for Recall<'_> {
    fn drop(&mut self) {
        lock(&self.0.post).task = None;
        while self.0.busy.load(Ordering::Acquire) > 0 {
            pause();
        }
    }
}

/// A moment, in which another thread may have the processor.
fn pause() {
    for _ in 0..PAUSES {
        std::hint::spin_loop();
    }
    std::thread::yield_now();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests share the one crew.
    fn squares(n: usize) -> Vec<usize> {
        let mut out = vec![0; n];
        let items: Vec<(usize, &mut usize)> = out.iter_mut().enumerate().collect();
        run(items, &|(index, out)| *out = index * index);
        out
    }

    #[test]
    fn every_item_is_done_once_task_after_task_and_by_searches_side_by_side() {
        let expected = |n: usize| (0..n).map(|index| index * index).collect::<Vec<_>>();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 0..300 {
                        assert_eq!(squares(round % 9), expected(round % 9));
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_comes_back_to_the_caller_and_the_crew_goes_on() {
        for _ in 0..20 {
            let outcome = catch_unwind(|| {
                run((0..8).collect(), &|index: usize| assert!(index != 5, "item five"));
            });
            assert!(outcome.is_err());
            assert_eq!(squares(3), [0, 1, 4]);
        }
    }
}
