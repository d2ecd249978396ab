//! Reading in the background: whoever asks for numbers waits for all that the
//! device was told before, so somebody else asks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::model::ModelError;
use crate::model::reading::Pending;

/// A thread that reads one thing after another. It ends with what it was given
/// last, and nobody waits for that.
pub(super) struct Reads {
    send: Sender<Pending>,
    receive: Receiver<Result<Vec<f32>, ModelError>>,
}

impl Reads {
    /// # Errors
    /// The system has no thread left.
    pub(super) fn begin() -> Result<Self, ModelError> {
        let (send, given) = channel::<Pending>();
        let (answer, receive) = channel();
        let read = move || {
            for pending in given {
                // burn panics where the device is lost.
                let found = catch_unwind(AssertUnwindSafe(|| pending.read()));
                let lost = || Err(ModelError::Device("it was lost while plans were read".into()));
                if answer.send(found.unwrap_or_else(|_| lost())).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().name("device reads".into()).spawn(read).map_err(|error| {
            ModelError::Device(format!("no thread is left to read it: {error}"))
        })?;
        Ok(Self { send, receive })
    }

    /// Have something read.
    ///
    /// # Errors
    /// The thread is gone.
    pub(super) fn send(&self, pending: Pending) -> Result<(), ModelError> {
        self.send.send(pending).map_err(|_| gone())
    }

    /// What was read, in the order it was sent; waits for it.
    ///
    /// # Errors
    /// A lost device.
    pub(super) fn next(&self) -> Result<Vec<f32>, ModelError> {
        self.receive.recv().unwrap_or_else(|_| Err(gone()))
    }
}

fn gone() -> ModelError {
    ModelError::Device("nothing reads it any more".into())
}
