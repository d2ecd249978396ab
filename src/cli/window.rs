//! `foresight [SCENE]`: the window.

use std::time::Instant;

use anyhow::bail;
use clap::Args;

use super::DeviceArgument;
use crate::lab::device::{NO_DISPLAY, has_display, preparer};
use crate::lab::{SHIPPED, Scene};
use crate::ui::{self, UiOptions};

#[derive(Args, Debug)]
pub struct Window {
    /// A scene file, or the name of a shipped scene; the last one, as it was
    /// left, if absent.
    scene: Option<String>,
    #[command(flatten)]
    device: DeviceArgument,
    /// Measure start-up, drag latency and frame time, print JSON and close.
    #[arg(long, hide = true)]
    probe: bool,
    /// The same while the scene's model trains.
    #[arg(long, hide = true)]
    probe_training: bool,
}

impl Window {
    pub fn run(self, started: Instant) -> anyhow::Result<()> {
        if !has_display() {
            bail!("{NO_DISPLAY}");
        }
        let is_measured = self.probe || self.probe_training;
        let last = ui::last().filter(|_| self.scene.is_none() && !is_measured);
        let run = last.as_ref().and_then(|last| last.run.clone());
        let (scene, folder, name) = match last {
            // Saving it asks where to: it is not the file it came from.
            Some(last) => (last.scene.clone(), Some(last.folder), last.scene.title),
            None => {
                let name = self.scene.unwrap_or_else(|| SHIPPED[0].name.to_owned());
                let (scene, folder) = Scene::open(&name)?;
                (scene, folder, super::scene_name(&name))
            }
        };
        let closed = ui::run(UiOptions {
            scene,
            name,
            folder,
            run,
            device: self.device.device,
            started,
            probe: is_measured,
            trains: self.probe_training,
        });
        // Nobody sees this: the window is gone.
        preparer::finish();
        closed
    }
}
