//! The session's side of training: start and steer a run, and show its
//! weights, newest or earlier, in place of the scene's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::CheckpointError;
use super::frontier::keeper::MeasuredWeights;
use super::mailbox::{Task, WeightsSource};
use super::scene::Scene;
use super::session::Session;
use super::train::Orders;
use super::train::keeper::{Start, TrainFrame};

/// Which weights plan and predict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// The scene's own.
    #[default]
    Own,
    /// Those in training, as they learn.
    Newest,
    /// A checkpoint of the run.
    Checkpoint(u64),
}

impl Session {
    /// Train the scene's model; what trains now stops with a checkpoint. The
    /// weights in training are shown from then on.
    pub fn start_training(&mut self, start: Start) {
        let wake = Arc::clone(&self.shared.wake);
        self.last_snapshot = None;
        self.trainer.start(start, &wake);
        self.show_weights(Shown::Newest);
    }

    /// What the run is told; `None` if none is in memory.
    pub fn training_orders(&self) -> Option<&Orders> {
        let is_alive = self.trainer.frame().is_some_and(|frame| frame.stage.is_alive());
        self.trainer.orders().filter(|_| is_alive)
    }

    /// The newest state of the run.
    pub fn training(&self) -> Option<Arc<TrainFrame>> {
        self.trainer.frame()
    }

    /// Look at the run in a folder; its scene. Nothing trains until
    /// [`Session::start_training`] continues it.
    ///
    /// # Errors
    /// No run there.
    pub fn look_at_run(&mut self, path: &Path) -> Result<Scene, CheckpointError> {
        self.last_snapshot = None;
        self.trainer.look_at(path)
    }

    /// Forget a run that has ended.
    pub fn forget_run(&mut self) {
        self.trainer.clear();
        self.show_weights(Shown::Own);
    }

    /// Which weights plan and predict.
    pub fn shown_weights(&self) -> &Shown {
        &self.shown
    }

    /// Plan and predict with other weights of the same model. Without a run of
    /// this model the scene's own stay.
    pub fn show_weights(&mut self, shown: Shown) {
        if shown == self.shown && shown != Shown::Newest {
            return;
        }
        let was = std::mem::replace(&mut self.shown, shown);
        match &self.shown {
            Shown::Own if was != Shown::Own => self.load(),
            Shown::Own => {}
            Shown::Newest => {
                self.last_snapshot = None;
                if !self.follow_training()
                    && let Some(path) = self.newest_file()
                {
                    self.push_weights(WeightsSource::File(path));
                }
            }
            Shown::Checkpoint(id) => match self.checkpoint_file(*id) {
                Some(path) => self.push_weights(WeightsSource::File(path)),
                None => self.shown = was,
            },
        }
    }

    /// Whether the run trains the model that is open.
    pub fn trains_this(&self) -> bool {
        self.trainer.frame().is_some_and(|frame| is_same_model(&frame.scene, &self.scene))
    }

    /// Take over what another session trains.
    pub fn adopt_training(&mut self, other: &mut Session) {
        std::mem::swap(&mut self.trainer, &mut other.trainer);
    }

    /// See the run of another session as it goes on.
    pub fn watch_training(&mut self, other: &Session) {
        self.last_snapshot = None;
        self.trainer.watch(&other.trainer);
    }

    /// Whether this session's own thread trains; one that watches has none.
    pub fn owns_training(&self) -> bool {
        self.trainer.owns_run() && self.training_orders().is_some()
    }

    /// Hand the newest weights in training to the planner, once each.
    pub(super) fn follow_training(&mut self) -> bool {
        if self.shown != Shown::Newest || !self.trains_this() {
            return false;
        }
        let Some(newest) = self.trainer.weights() else { return false };
        if self.last_snapshot.as_ref().is_none_or(|last| !Arc::ptr_eq(last, &newest)) {
            self.last_snapshot = Some(Arc::clone(&newest));
            self.push_weights(WeightsSource::Memory(newest));
        }
        true
    }

    /// After the scene's own weights were asked for: those shown instead.
    pub(super) fn show_again(&mut self) {
        match std::mem::take(&mut self.shown) {
            Shown::Own => {}
            _ if !self.trains_this() => {}
            shown => self.show_weights(shown),
        }
    }

    /// The weights that are shown, for who opens them on another thread;
    /// `folder` is where the scene file lies.
    pub(super) fn measured_weights(&self, folder: Option<&Path>) -> MeasuredWeights {
        let own = || MeasuredWeights::Own(folder.map(Path::to_path_buf));
        match &self.shown {
            Shown::Own => own(),
            Shown::Newest => match &self.last_snapshot {
                Some(found) => MeasuredWeights::Memory(Arc::clone(found)),
                None => self.newest_file().map_or_else(own, MeasuredWeights::File),
            },
            Shown::Checkpoint(id) => {
                self.checkpoint_file(*id).map_or_else(own, MeasuredWeights::File)
            }
        }
    }

    fn push_weights(&self, source: WeightsSource) {
        self.shared.push(Task::Weights { scene: Box::new(self.scene.clone()), source });
    }

    fn newest_file(&self) -> Option<PathBuf> {
        let frame = self.trainer.frame()?;
        self.checkpoint_file(frame.manifest.as_ref()?.latest?)
    }

    fn checkpoint_file(&self, id: u64) -> Option<PathBuf> {
        let frame = self.trainer.frame().filter(|_| self.trains_this())?;
        let entry = frame.manifest.as_ref()?.entry(id)?;
        Some(frame.run.join(&entry.file))
    }
}

/// Whether weights of one scene's training are weights for the other: the same
/// world and the same model, whatever the step size.
fn is_same_model(a: &Scene, b: &Scene) -> bool {
    let model = |scene: &Scene| {
        let mut model = scene.model.clone();
        model.set_weights(None);
        model.clear_live();
        model
    };
    a.environment.id == b.environment.id && model(a) == model(b)
}
