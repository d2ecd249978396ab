//! What the planner thread plans with, and where: opening a scene, other
//! weights, another device.

use std::path::PathBuf;
use std::sync::Arc;

use super::Worker;
use crate::lab::card::{card, sees};
use crate::lab::checkpoint::Checkpoint;
use crate::lab::device::{self, ChosenDevice};
use crate::lab::frontier::{self, StoredFrontier};
use crate::lab::mailbox::{Event, Task, WeightsSource};
use crate::lab::open::{self, OpenError, Opened, OpenedModel};
use crate::lab::scene::Scene;
use crate::lab::session::Problem;

impl Worker {
    pub(super) fn load(&mut self, scene: Scene, folder: Option<PathBuf>, device: ChosenDevice) {
        self.shared.film.put(None);
        self.shared.rollout.put(None);
        self.shared.occupancy.put(None);
        self.shared.values.put(None);
        self.shared.beam.put(None);
        self.shared.attention.put(None);
        self.shared.frontier.put(None);
        self.twins.clear();
        self.config = Some(scene.environment.clone());
        self.shared.run.put(None);
        self.device = device;
        match open::open(&scene, folder.as_deref(), &self.device.device) {
            Ok(opened) => {
                let card = opened.header.as_ref().and_then(|_| card(&opened)).map(Box::new);
                let found = matches!(opened.model, OpenedModel::Diffuser(_))
                    .then(|| frontier::find(&scene, folder.as_deref()))
                    .flatten();
                let weights = frontier::weights_id(opened.header.as_ref());
                let stored = StoredFrontier { weights, found: found.map(Arc::new) };
                self.shared.frontier.put(Some(Arc::new(stored)));
                let is_maze_seen = sees(&opened, &scene);
                let device = shown(&self.device, &opened);
                self.opened = Some(opened);
                self.shared.send(Event::Loaded { card, device, is_maze_seen });
            }
            Err(error) => {
                self.opened = None;
                let advice =
                    "Choose another scene, or train this one with `foresight train`.".into();
                self.shared.send(Event::Failed(Problem { title: error.to_string(), advice }));
            }
        }
        self.source = Some((scene, folder, None));
    }

    /// Compute somewhere else. What has been planned stays, and so do the
    /// weights in use.
    pub(super) fn move_to(&mut self, device: ChosenDevice) {
        let is_elsewhere = device.is_gpu() != self.device.is_gpu();
        let before = std::mem::replace(&mut self.device, device);
        if is_elsewhere && !self.open_again() {
            self.device = before;
        }
        let device =
            self.opened.as_ref().map_or(self.device.clone(), |opened| shown(&self.device, opened));
        self.shared.send(Event::Moved { device });
    }

    /// The model that is open, on the device of now; whether that is so.
    fn open_again(&mut self) -> bool {
        let Some((scene, folder, source)) = &self.source else { return true };
        let opened = match source {
            Some(source) => open_source(scene, source, &self.device),
            None => open::open(scene, folder.as_deref(), &self.device.device),
        };
        match opened {
            Ok(opened) => {
                self.opened = Some(opened);
                true
            }
            // It was open before: its file must have gone since.
            Err(error) => {
                let advice = "Open the scene again.".into();
                self.shared.send(Event::Trouble(Problem { title: error.to_string(), advice }));
                false
            }
        }
    }

    /// Other weights of the model that is open; on failure the old ones stay.
    pub(super) fn reweigh(&mut self, scene: Scene, source: WeightsSource) {
        match open_source(&scene, &source, &self.device) {
            Ok(opened) => {
                let card = card(&opened).map(Box::new);
                self.control = Some(scene.control.clone());
                self.config = Some(scene.environment.clone());
                let weights = frontier::weights_id(opened.header.as_ref());
                let found = self.shared.frontier.get().and_then(|stored| stored.found.clone());
                self.shared.frontier.put(Some(Arc::new(StoredFrontier { weights, found })));
                self.opened = Some(opened);
                let folder = self.source.take().and_then(|(_, folder, _)| folder);
                self.source = Some((scene, folder, Some(source)));
                self.shared.send(Event::Reweighted { card });
            }
            Err(error) => {
                let advice = "The weights in use stay; choose another checkpoint.".into();
                self.shared.send(Event::Trouble(Problem { title: error.to_string(), advice }));
            }
        }
    }

    pub(super) fn rebuild(&mut self, scene: Scene) {
        let Some(opened) = &mut self.opened else { return };
        self.control = Some(scene.control.clone());
        self.twins.clear();
        self.config = Some(scene.environment.clone());
        match scene.make_environment() {
            Ok(environment) => {
                if let OpenedModel::Diffuser(planner) = &mut opened.model {
                    planner.set_environment(environment.as_ref());
                }
                opened.environment = environment;
                let is_maze_seen = sees(opened, &scene);
                if let Some((known, ..)) = &mut self.source {
                    *known = scene;
                }
                self.shared.send(Event::Rebuilt { is_maze_seen });
            }
            Err(error) => {
                let advice = "Undo the last change.".into();
                self.shared.send(Event::Trouble(Problem { title: error.to_string(), advice }));
            }
        }
    }

    /// The GPU failed: the CPU carries out what it could not.
    pub(super) fn fall_back(&mut self, why: String, task: Task) {
        // Tensors of a lost device may panic where they are dropped.
        std::mem::forget(self.opened.take());
        self.device = device::cpu("the GPU failed");
        self.shared.send(Event::FellBack { device: self.device.clone(), why });
        match task {
            Task::Load { scene, folder, .. } => self.load(*scene, folder, self.device.clone()),
            Task::Weights { scene, source } => self.reweigh(*scene, source),
            task => {
                self.open_again();
                self.shared.put_back(task);
            }
        }
    }
}

/// Weights other than the scene's own, on a device.
fn open_source(
    scene: &Scene,
    source: &WeightsSource,
    device: &ChosenDevice,
) -> Result<Opened, OpenError> {
    let (name, found) = match source {
        WeightsSource::Memory(found) => ("the run".to_owned(), (**found).clone()),
        WeightsSource::File(path) => (path.display().to_string(), Checkpoint::read(path)?),
    };
    open::open_checkpoint(scene, &name, found, &device.device)
}

/// What a device does for a model.
fn shown(device: &ChosenDevice, opened: &Opened) -> ChosenDevice {
    match &opened.model {
        OpenedModel::Trajectory(_) if device.is_gpu() => ChosenDevice {
            name: "CPU (beam search)".into(),
            reason: format!(
                "Beam search takes a hundred small steps and is faster on the processor; training \
                 uses the {}.",
                device.name
            ),
            ..device.clone()
        },
        _ => device.clone(),
    }
}
