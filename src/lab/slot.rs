//! The newest value of something one thread makes and another shows: writing
//! replaces, reading never waits for the writer's work.

use std::sync::{Arc, Mutex, PoisonError};

/// A latest-value slot.
pub struct Slot<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Slot<T> {
    /// Replace the value.
    pub fn put(&self, value: Option<Arc<T>>) {
        // A writer that panicked left an old value, which is still a value.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    /// The newest value.
    pub fn get(&self) -> Option<Arc<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
