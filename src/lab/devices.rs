//! The session's side of devices: it plans on the CPU until a GPU is prepared
//! for the scene, moves over then, and comes back if the GPU fails.

use std::sync::Arc;
use std::time::Duration;

use super::device::{self, ChosenDevice, DeviceChoice};
use super::mailbox::Task;
use super::session::{Problem, Session};

/// What helps where a GPU does not.
const ADVICE: &str = "Planning goes on with the CPU. `foresight doctor --device gpu` tests the GPU; \
                      a newer driver may help.";

/// The CPU while something else is wanted.
fn meanwhile(choice: DeviceChoice) -> ChosenDevice {
    device::cpu(match choice {
        DeviceChoice::Cpu => "you asked for it",
        DeviceChoice::Gpu => "until the GPU is prepared",
        DeviceChoice::Auto => "a GPU is looked for in the background",
    })
}

impl Session {
    /// Which device was asked for; the CPU once a GPU was canceled or failed.
    pub fn device_choice(&self) -> DeviceChoice {
        self.device
    }

    /// Whether the device in use is a GPU.
    pub fn uses_gpu(&self) -> bool {
        self.in_use.is_gpu()
    }

    /// Compute somewhere else. The CPU plans at once and until a GPU is
    /// prepared; everything on the stage stays.
    ///
    /// # Errors
    /// The system has no thread left to look for a GPU.
    pub fn set_device(&mut self, choice: DeviceChoice) -> std::io::Result<()> {
        self.device = choice;
        self.preparer.cancel();
        self.gpu_reason = None;
        if choice != DeviceChoice::Gpu || !self.in_use.is_gpu() {
            self.move_to(meanwhile(choice));
        }
        self.seek_gpu()
    }

    /// Give up preparing a GPU; the CPU stays in use.
    pub fn cancel_preparing(&mut self) {
        self.device = DeviceChoice::Cpu;
        self.preparer.cancel();
        self.status.preparing = None;
        self.move_to(meanwhile(DeviceChoice::Cpu));
    }

    /// Begin with the CPU and prepare what was asked for, as every new model
    /// needs.
    pub(super) fn seek_device(&mut self) -> std::io::Result<()> {
        self.in_use = meanwhile(self.device);
        self.seek_gpu()
    }

    fn seek_gpu(&mut self) -> std::io::Result<()> {
        match (self.device, self.in_use.is_gpu()) {
            (DeviceChoice::Gpu, false) => self.prepare("you asked for it"),
            (DeviceChoice::Auto, _) => match self.gpu_reason.clone() {
                Some(reason) => self.prepare(&reason),
                None => device::probe_in_background(Arc::clone(&self.shared))?,
            },
            _ => {}
        }
        Ok(())
    }

    /// A GPU agrees with the CPU and is faster, in a process of its own.
    pub(super) fn found_gpu(&mut self, reason: String) {
        if self.device == DeviceChoice::Auto && !self.in_use.is_gpu() {
            self.prepare(&reason);
            self.gpu_reason = Some(reason);
        }
    }

    fn prepare(&mut self, reason: &str) {
        let wake = Arc::clone(&self.shared.wake);
        let started = self.preparer.start(&self.scene, self.folder.as_deref(), reason, &wake);
        if let Err(error) = started {
            self.stay_on_cpu(&format!("no thread is left ({error})"));
        }
    }

    /// Say why the GPU that was asked for is not used.
    fn stay_on_cpu(&mut self, why: &str) {
        self.device = DeviceChoice::Cpu;
        self.move_to(meanwhile(DeviceChoice::Cpu));
        let title = format!("The GPU is not used: {why}");
        self.report(Problem { title, advice: ADVICE.into() });
    }

    /// Take in what the preparation has come to.
    pub(super) fn follow_preparation(&mut self) {
        if let Some((found, took)) = self.preparer.take() {
            match found {
                Ok(device) => {
                    self.move_to(device);
                    self.status.prepared = Some(took);
                }
                Err(why) => self.stay_on_cpu(&why),
            }
        }
        self.status.preparing = self.preparer.now();
    }

    /// The planner went back to the CPU by itself.
    pub(super) fn fell_back(&mut self, device: ChosenDevice, why: &str) {
        self.device = DeviceChoice::Cpu;
        self.in_use = device;
        self.status.prepared = None;
        let title = format!("The GPU failed while it planned: {why}");
        self.report(Problem { title, advice: ADVICE.into() });
    }

    /// How long the GPU took to get ready, once after it did.
    pub fn take_prepared(&mut self) -> Option<Duration> {
        self.status.prepared.take()
    }

    fn move_to(&mut self, device: ChosenDevice) {
        self.in_use = device.clone();
        self.shared.push(Task::Move(device));
    }
}
