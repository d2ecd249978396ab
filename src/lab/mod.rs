//! The lab: scene files, checkpoints, training runs and the session that both
//! the window and the command line hold.

pub mod attention;
mod background;
pub mod beam;
pub mod bench;
pub mod branches;
mod card;
pub mod checkpoint;
pub mod data_set;
pub mod demonstration;
pub mod device;
mod devices;
pub mod dream;
pub mod episodes;
pub mod files;
pub mod frontier;
pub mod knobs;
mod mailbox;
pub mod occupancy;
pub mod open;
pub mod painting;
pub mod pairs;
pub mod picture;
mod planner_thread;
pub mod policy_run;
pub mod scene;
pub mod session;
pub mod shipped;
mod slot;
pub mod train;
pub mod training;
pub mod twin;
pub mod values;

pub use checkpoint::{Checkpoint, CheckpointError, Provenance};
pub use device::DeviceChoice;
pub use knobs::{Effect, Knob, KnobKind};
pub use scene::{Scene, SceneError};
pub use session::{LabError, ModelCard, Phase, Problem, Session, SessionOptions, Status, Wake};
pub use shipped::{SHIPPED, ShippedScene};
