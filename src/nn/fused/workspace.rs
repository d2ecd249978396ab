//! Where fused operations work: on the threads of one pool, in memory that they
//! use again and again, so that the system does not have to map and clear it
//! for every call.

use std::sync::{Mutex, PoisonError};

/// Sets of arrays that wait for their next use: as many as operations ever ran
/// at once, which is one or two.
static WAITING: Mutex<Vec<Vec<Vec<f32>>>> = Mutex::new(Vec::new());

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
    padded_for(x.len(), lead, buffer).copy_from_slice(x);
    buffer
}

/// Make `buffer` hold `length` numbers, the slice returned, with `lead` zeros
/// before and after.
pub(super) fn padded_for(length: usize, lead: usize, buffer: &mut Vec<f32>) -> &mut [f32] {
    buffer.resize(length + 2 * lead, 0.0);
    buffer[..lead].fill(0.0);
    buffer[lead + length..].fill(0.0);
    &mut buffer[lead..lead + length]
}
