//! Where fused operations work: on the threads of one pool, in memory that they
//! use again and again, so that the system does not have to map and clear it
//! for every call.

use std::cell::RefCell;

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Call `run` with arrays of those lengths and unknown contents. The calling
/// thread keeps them.
pub(super) fn with<const N: usize, T>(
    lengths: [usize; N],
    run: impl FnOnce([&mut [f32]; N]) -> T,
) -> T {
    let mut kept = KEPT.take();
    kept.resize_with(N.max(kept.len()), Vec::new);
    let mut arrays: [Vec<f32>; N] = std::array::from_fn(|i| std::mem::take(&mut kept[i]));
    for (array, length) in arrays.iter_mut().zip(lengths) {
        if array.len() < length {
            array.resize(length, 0.0);
        }
    }
    let mut lengths = lengths.into_iter();
    let answer = run(arrays.each_mut().map(|array| {
        let length = lengths.next().unwrap_or_default();
        &mut array[..length]
    }));
    for (kept, array) in kept.iter_mut().zip(arrays) {
        *kept = array;
    }
    KEPT.set(kept);
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
