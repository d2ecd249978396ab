//! Where fused operations work: on the threads of one pool, in memory that they
//! use again and again, so that the system does not have to map and clear it
//! for every call.

use std::sync::{Mutex, PoisonError};

/// Sets of arrays that wait for their next use: as many as operations ever ran
/// at once, which is one or two.
static WAITING: Mutex<Vec<Vec<Vec<f32>>>> = Mutex::new(Vec::new());

/// Arrays that were kept from a forward pass to the backward pass, and wait for
/// the next one.
static KEPT: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());
/// Most numbers that wait there, 64 MiB: more than the shipped scenes keep.
const MOST_KEPT: usize = 16 << 20;

/// An array of that length and unknown contents, to keep and
/// [`give_back`]. Fresh memory would cost a page fault every 4 KiB, a tenth of
/// a training step of the transformer where faults are dear (measured in a
/// virtual machine).
pub(super) fn take(length: usize) -> Vec<f32> {
    let mut waiting = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    // Of those that are large enough, the one that wastes least.
    let fitting = (0..waiting.len()).filter(|at| waiting[*at].len() >= length);
    let best = fitting.min_by_key(|at| waiting[*at].len());
    match best.filter(|at| waiting[*at].len() / 2 <= length) {
        Some(at) => {
            let mut array = waiting.swap_remove(at);
            array.truncate(length);
            array
        }
        None => vec![0.0; length],
    }
}

/// Let the next [`take`] have an array.
pub(super) fn give_back(mut array: Vec<f32>) {
    if array.is_empty() {
        return;
    }
    // As long as when it was made.
    array.resize(array.capacity(), 0.0);
    let mut waiting = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.push(array);
    let mut total: usize = waiting.iter().map(Vec::len).sum();
    // The longest unused ones go first.
    let surplus = waiting.iter().take_while(|array| {
        let is_surplus = total > MOST_KEPT;
        total -= array.len();
        is_surplus
    });
    let surplus = surplus.count();
    waiting.drain(..surplus);
}

/// Call `run` with arrays of those lengths and unknown contents.
pub(super) fn with<const N: usize, T>(
    lengths: [usize; N],
    run: impl FnOnce([&mut [f32]; N]) -> T,
) -> T {
    let waiting = || WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut arrays = waiting().pop().unwrap_or_default();
    arrays.resize_with(N.max(arrays.len()), Vec::new);
    let mut unused = arrays.iter_mut();
    let answer = run(lengths.map(|length| match unused.next() {
        Some(array) => {
            if array.len() < length {
                array.resize(length, 0.0);
            }
            &mut array[..length]
        }
        None => Default::default(),
    }));
    waiting().push(arrays);
    answer
}

/// Run on a thread of the pool, where one parallel loop after another starts
/// at once: each that starts outside costs two hand-overs between threads.
pub(super) fn in_pool<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| run())
}

/// `x` with `lead` zeros before and after, in `buffer`.
pub(super) fn padded<'a>(x: &[f32], lead: usize, buffer: &'a mut Vec<f32>) -> &'a [f32] {
    buffer.resize(x.len() + 2 * lead, 0.0);
    buffer[..lead].fill(0.0);
    buffer[lead + x.len()..].fill(0.0);
    buffer[lead..lead + x.len()].copy_from_slice(x);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_taken_again_and_never_more_than_there_is_room_for() {
        // Lengths that no other test keeps.
        let mut array = take(1_000_003);
        array[1_000_002] = 7.0;
        let place = array.as_ptr();
        give_back(array);
        let again = take(1_000_001);
        assert_eq!((again.as_ptr(), again.len()), (place, 1_000_001));
        give_back(again);
        assert!(take(5).len() == 5, "a large array does not serve a small wish");
        for _ in 0..20 {
            give_back(vec![0.0; 1_000_003]);
        }
        let waiting = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(waiting.iter().map(Vec::len).sum::<usize>() <= MOST_KEPT);
    }
}
