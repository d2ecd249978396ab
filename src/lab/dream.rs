//! Dreams of a scene: what really happens, what the Trajectory Transformer
//! predicts of it with all its context and with that of one transition, and
//! what a probabilistic ensemble predicts that learned from the same data; with
//! the errors of all three over many episodes (Figure 4.3 of Janner's thesis,
//! measured as [`crate::eval::dream`] says).
//!
//! An answer grows: the Transformer's dream of the first episode is there at
//! once, the ensemble's after its half minute of training, then the other
//! episodes one by one.

mod frame;
mod keeper;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
pub use frame::{DreamCurves, DreamFrame, DreamRequest, DreamStage, DreamtStates, Pictured};
pub use keeper::DreamKeeper;

use super::data_set::{self, DataSource};
use super::scene::Scene;
use super::train::token_data;
use crate::data::DataError;
use crate::env::{EnvError, Environment};
use crate::eval::dream::{
    Dream, DreamSettings, Dreamer, EnsembleDreamer, Episode, EpisodeRecipe, Manifold, Tally,
    TokenDreamer,
};
use crate::model::ModelError;
use crate::model::ensemble::{Ensemble, EnsembleLearner, Standard, Transitions};
use crate::model::trajectory::TrajectoryModel;
use crate::plan::beam::drive::{fill_rates, state_of};

/// Optimizer steps between two reports.
const REPORT_EVERY: usize = 20;

/// An ensemble and what it learned from.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Names the data and the ensemble's numbers.
    pub key: String,
    /// The ensemble.
    pub ensemble: Ensemble,
}

/// Why there is no dream.
#[derive(Debug, thiserror::Error)]
pub enum DreamError {
    /// The scene cannot be opened.
    #[error(transparent)]
    Open(#[from] super::open::OpenError),
    /// A start, a goal or a policy the environment does not have.
    #[error(transparent)]
    Environment(#[from] EnvError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The ensemble.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A request that cannot be answered.
    #[error("{0}")]
    Request(String),
}

/// What dreams need of a scene.
pub struct Bedroom<'a> {
    /// The scene: its data and seeds.
    pub scene: &'a Scene,
    /// Where the scene's file lies, for its data files.
    pub folder: Option<&'a Path>,
    /// The world of the scene.
    pub environment: &'a mut dyn Environment,
    /// The world the weights know, where their data came from.
    pub origin: &'a mut dyn Environment,
    /// The model.
    pub model: &'a TrajectoryModel,
    /// An ensemble of earlier, taken if it learned from the same.
    pub trained: Option<Arc<Trained>>,
}

/// Dream. `on_frame` hears of everything new; `is_stopped` is asked before
/// every optimizer step and transition. Returns the newest frame, and the
/// ensemble if it was trained to its end.
///
/// # Errors
/// See [`DreamError`].
pub fn dream(
    bedroom: Bedroom,
    id: u64,
    request: &Arc<DreamRequest>,
    on_frame: &mut dyn FnMut(&DreamFrame),
    is_stopped: &dyn Fn() -> bool,
) -> Result<(DreamFrame, Option<Arc<Trained>>), DreamError> {
    check(request)?;
    let Bedroom { scene, folder, environment, origin, model, trained } = bedroom;
    let frame = DreamFrame {
        id,
        request: Arc::clone(request),
        stage: DreamStage::Dreaming,
        picture: None,
        curves: None,
    };
    let hash = data_set::training_hash(scene, folder)?;
    let key = format!("{hash} {:?} {:?}", model.config.layout, request.ensemble);
    let tallies = Tallies::default();
    let trained = trained.filter(|trained| trained.key == key);
    let mut night = Night {
        scene,
        folder,
        environment,
        model,
        key,
        frame,
        tallies,
        on_frame,
        is_stopped,
        trained,
    };
    let whole = night.run(origin)?;
    night.show(if whole.is_some() { DreamStage::Done } else { DreamStage::Stopped });
    Ok((night.frame, night.trained))
}

fn check(request: &DreamRequest) -> Result<(), DreamError> {
    for (name, value, most) in [
        ("horizon", request.horizon, 1000),
        ("episodes", request.episodes, 10_000),
        ("samples", request.samples, 4096),
        ("context", request.context, 1000),
    ] {
        if !(1..=most).contains(&value) {
            return Err(DreamError::Request(format!("{name} of {value}; use 1 to {most}")));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Tallies {
    transformer: Tally,
    markovian: Tally,
    ensemble: Tally,
    oracle: Tally,
}

/// Dreams under way. Methods answer `None` once it is stopped.
struct Night<'a> {
    scene: &'a Scene,
    folder: Option<&'a Path>,
    environment: &'a mut dyn Environment,
    model: &'a TrajectoryModel,
    key: String,
    frame: DreamFrame,
    tallies: Tallies,
    on_frame: &'a mut dyn FnMut(&DreamFrame),
    is_stopped: &'a dyn Fn() -> bool,
    trained: Option<Arc<Trained>>,
}

impl Night<'_> {
    fn show(&mut self, stage: DreamStage) {
        self.frame.stage = stage;
        (self.on_frame)(&self.frame);
    }

    fn run(&mut self, origin: &mut dyn Environment) -> Result<Option<()>, DreamError> {
        self.show(DreamStage::Dreaming);
        let first = self.record(0)?;
        let Some(found) = self.tokens(&first) else { return Ok(None) };
        self.picture(&first, &found);
        let mut learner = None;
        let spread = match &self.trained {
            Some(trained) => trained.ensemble.spread(),
            None => {
                let Some(fresh) = self.learner(origin)? else { return Ok(None) };
                learner.insert(fresh).spread()
            }
        };
        self.tally(&first, &found, &spread);
        if let Some(learner) = learner {
            let Some(trained) = self.train(learner)? else { return Ok(None) };
            self.trained = Some(trained);
        }
        if self.particles(&first, &spread).is_none() {
            return Ok(None);
        }
        let total = self.frame.request.episodes;
        for done in 1..total {
            self.show(DreamStage::Averaging { done, total });
            let episode = self.record(done)?;
            let Some(found) = self.tokens(&episode) else { return Ok(None) };
            self.tally(&episode, &found, &spread);
            if self.particles(&episode, &spread).is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    /// A learner on the data that the weights learned from.
    fn learner(
        &mut self,
        origin: &mut dyn Environment,
    ) -> Result<Option<EnsembleLearner>, DreamError> {
        let (config, data, is_stopped) = (&self.model.config, &self.scene.data, self.is_stopped);
        let total = data.transitions;
        let (on_frame, frame) = (&mut self.on_frame, &mut self.frame);
        let mut on_collected = |done: usize| {
            frame.stage = DreamStage::Collecting { done: done.min(total), total };
            on_frame(frame);
            if is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        if on_collected(0).is_break() {
            return Ok(None);
        }
        let source = DataSource::new(data, self.folder);
        let (paths, _) = token_data(config, origin, source, &mut on_collected)?;
        if is_stopped() {
            return Ok(None);
        }
        let (numbers, seed) = (self.frame.request.ensemble.clone(), self.scene.train.seed);
        let data = Transitions::of(&paths);
        // Batches of a few hundred rows lose more on the way to a GPU than they
        // gain there.
        Ok(Some(EnsembleLearner::new(numbers, data, seed, Device::flex())?))
    }

    fn train(&mut self, mut learner: EnsembleLearner) -> Result<Option<Arc<Trained>>, DreamError> {
        let steps = self.frame.request.ensemble.steps;
        let mut sum = 0.0;
        while learner.step() < steps {
            if (self.is_stopped)() {
                return Ok(None);
            }
            sum += learner.train_step()?;
            let step = learner.step();
            if step.is_multiple_of(REPORT_EVERY) || step == steps {
                let n = (step - 1) % REPORT_EVERY + 1;
                self.show(DreamStage::Training { step, steps, loss: sum / n as f32 });
                sum = 0.0;
            }
        }
        let (key, ensemble) = (self.key.clone(), learner.finish()?);
        Ok(Some(Arc::new(Trained { key, ensemble })))
    }

    fn record(&mut self, index: usize) -> Result<Episode, DreamError> {
        let (config, request) = (&self.model.config, &self.frame.request);
        let recipe = EpisodeRecipe {
            policies: config.policies.clone(),
            stride: config.stride,
            observation: config.observation.clone(),
            horizon: request.horizon,
        };
        let from = request.from.as_ref().filter(|_| index == 0);
        let from = from.map(|(state, goal)| (state.as_slice(), goal.as_slice()));
        let seed = request.seed.wrapping_add(index as u64);
        Ok(Episode::record(self.environment, &recipe, from, seed)?)
    }

    /// The Transformer's dreams with long and short context.
    fn tokens(&mut self, episode: &Episode) -> Option<[Dream; 2]> {
        let (model, context) = (self.model, self.frame.request.context);
        let long = self.ask(&mut TokenDreamer { model, context }, episode)?;
        let short = self.ask(&mut TokenDreamer { model, context: 1 }, episode)?;
        Some([long, short])
    }

    fn picture(&mut self, episode: &Episode, [long, short]: &[Dream; 2]) {
        self.frame.picture = Some(Arc::new(Pictured {
            truth: episode.states.clone(),
            transformer: self.states(long),
            markovian: self.states(short),
            ensemble: None,
        }));
    }

    fn tally(&mut self, episode: &Episode, [long, short]: &[Dream; 2], spread: &Standard) {
        self.tallies.transformer.add(episode, long, spread);
        self.tallies.markovian.add(episode, short, spread);
        self.tallies.oracle.add_oracle(episode, &self.model.discretizer, spread);
        self.count();
    }

    /// The ensemble's dreams, counted and, of the first episode, shown.
    fn particles(&mut self, episode: &Episode, spread: &Standard) -> Option<()> {
        let trained = self.trained.clone()?;
        let dream = self.ask(&mut EnsembleDreamer { ensemble: &trained.ensemble }, episode)?;
        self.tallies.ensemble.add(episode, &dream, spread);
        let picture = self.frame.picture.as_deref().filter(|known| known.ensemble.is_none());
        if let Some(picture) = picture {
            let ensemble = Some(self.states(&dream));
            self.frame.picture = Some(Arc::new(Pictured { ensemble, ..picture.clone() }));
        }
        self.count();
        Some(())
    }

    fn ask(&mut self, dreamer: &mut dyn Dreamer, episode: &Episode) -> Option<Dream> {
        let request = &self.frame.request;
        let seed = request.seed.wrapping_add(self.tallies.transformer.episodes() as u64);
        let settings = DreamSettings { samples: request.samples, seed };
        let mut manifold = Manifold::new(&mut *self.environment, &self.model.config.observation);
        let is_stopped = self.is_stopped;
        dreamer.dream(episode, &settings, &mut manifold, &mut || !is_stopped())
    }

    fn states(&self, dream: &Dream) -> DreamtStates {
        let environment = &*self.environment;
        let path = |path: &Vec<Vec<f32>>| -> Vec<Vec<f32>> {
            let states = path.iter().map(|seen| state_of(self.model, environment, seen));
            let mut states: Vec<Vec<f32>> = states.collect();
            fill_rates(self.model, environment, &mut states);
            states
        };
        DreamtStates {
            point: path(&dream.point),
            samples: dream.samples.iter().map(path).collect(),
        }
    }

    fn count(&mut self) {
        let Tallies { transformer, markovian, ensemble, oracle } = &self.tallies;
        self.frame.curves = Some(Arc::new(DreamCurves {
            episodes: transformer.episodes(),
            transformer: transformer.curve(),
            markovian: markovian.curve(),
            ensemble: (ensemble.episodes() > 0).then(|| ensemble.curve()),
            oracle: oracle.curve(),
        }));
    }
}
