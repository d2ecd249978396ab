//! From a scene to something that plans: environment, weights, planner.

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::Device;

use super::checkpoint::{Checkpoint, CheckpointError, Header};
use super::data_set::DataSource;
use super::scene::{Scene, SceneError};
use super::shipped;
use crate::data::DataConfig;
use crate::env::{Environment, EnvironmentSpec};
use crate::model::diffuser::{Diffuser, DiffuserConfig};
use crate::model::gamma::{GammaConfig, GammaModel, GammaNetwork};
use crate::model::guide::ReturnGuide;
use crate::model::trajectory::{TrajectoryConfig, TrajectoryModel};
use crate::model::{ModelError, ModelNumbers};
use crate::nn::init::Initializer;
use crate::nn::weights;
use crate::plan::{PlanRequest, Planner};

/// A scene made real.
pub struct Opened {
    /// The world.
    pub environment: Box<dyn Environment>,
    /// The model in it.
    pub model: OpenedModel,
    /// What the weights say of themselves; absent for random weights.
    pub header: Option<Header>,
    /// Hash of the weights file, or "untrained".
    pub hash: String,
}

/// A model, ready for what it is for.
pub enum OpenedModel {
    /// Plans by denoising.
    Diffuser(Box<Planner>),
    /// Predicts occupancies.
    Gamma(Box<GammaModel>),
    /// Plans by beam search.
    Trajectory(Box<TrajectoryModel>),
}

impl OpenedModel {
    /// "a Diffuser" and so on, for messages.
    pub fn with_article(&self) -> &'static str {
        match self {
            OpenedModel::Diffuser(_) => "a Diffuser",
            OpenedModel::Gamma(_) => "a \u{3b3}-model",
            OpenedModel::Trajectory(_) => "a Trajectory Transformer",
        }
    }
}

impl Opened {
    /// What plans by denoising.
    ///
    /// # Errors
    /// The scene holds another model.
    pub fn planner(&self) -> Result<&Planner, OpenError> {
        match &self.model {
            OpenedModel::Diffuser(planner) => Ok(planner),
            other => Err(OpenError::OtherModel("a Diffuser", other.with_article())),
        }
    }

    /// What predicts occupancies.
    ///
    /// # Errors
    /// The scene holds another model.
    pub fn gamma(&self) -> Result<&GammaModel, OpenError> {
        match &self.model {
            OpenedModel::Gamma(model) => Ok(model),
            other => Err(OpenError::OtherModel("a \u{3b3}-model", other.with_article())),
        }
    }

    /// What plans by beam search.
    ///
    /// # Errors
    /// The scene holds another model.
    pub fn trajectory(&self) -> Result<&TrajectoryModel, OpenError> {
        match &self.model {
            OpenedModel::Trajectory(model) => Ok(model),
            other => Err(OpenError::OtherModel("a Trajectory Transformer", other.with_article())),
        }
    }
}

/// Why a scene cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The scene.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// The weights.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The data that random weights take their bins from.
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    /// Another model was expected.
    #[error("this needs {0}, and the scene holds {1}; choose another scene")]
    OtherModel(&'static str, &'static str),
}

/// Build the environment and load the weights. `folder` is where the scene
/// file lies; a shipped scene has none and finds its weights in the program.
///
/// # Errors
/// A scene, model or weights file that cannot be used.
pub fn open(scene: &Scene, folder: Option<&Path>, device: &Device) -> Result<Opened, OpenError> {
    let checkpoint = match scene.model.weights() {
        Some(weights) => Some((weights, read_weights(weights, folder)?)),
        None => None,
    };
    build(scene, checkpoint, device)
}

/// Build the environment around weights that are at hand; `name` is for
/// messages.
///
/// # Errors
/// A scene or model that cannot be used, or weights of another one.
pub fn open_checkpoint(
    scene: &Scene,
    name: &str,
    checkpoint: Checkpoint,
    device: &Device,
) -> Result<Opened, OpenError> {
    build(scene, Some((name, checkpoint)), device)
}

fn build(
    scene: &Scene,
    checkpoint: Option<(&str, Checkpoint)>,
    device: &Device,
) -> Result<Opened, OpenError> {
    let mut environment = scene.make_environment()?;
    let header = checkpoint.as_ref().map(|(_, found)| found.header.clone());
    let hash = checkpoint.as_ref().map_or("untrained", |(_, found)| &found.hash).to_owned();
    let seed = scene.train.seed;
    let model = match scene.model.resolve(environment.spec())? {
        ModelNumbers::Diffuser(config) => {
            let diffuser = match checkpoint {
                Some((name, found)) => found.diffuser(name, &config, device.clone())?,
                None => random_diffuser(config, environment.as_ref(), seed, device),
            };
            let planner =
                Planner::new(diffuser, environment.workspace(), environment.spec().clone());
            OpenedModel::Diffuser(Box::new(planner))
        }
        ModelNumbers::Gamma(config) => OpenedModel::Gamma(Box::new(match checkpoint {
            Some((name, found)) => found.gamma(name, &config, device.clone())?,
            None => random_gamma(config, seed, device),
        })),
        ModelNumbers::Trajectory(config) => OpenedModel::Trajectory(Box::new(match checkpoint {
            Some((name, found)) => found.trajectory(name, &config)?,
            None => random_trajectory(config, environment.as_mut(), seed, device)?,
        })),
    };
    Ok(Opened { environment, model, header, hash })
}

/// The scene's stage as a request in an environment with that `spec`.
pub fn stage_request(scene: &Scene, spec: &EnvironmentSpec) -> PlanRequest {
    let mut start = vec![0.0; spec.state.len()];
    for (value, given) in start.iter_mut().zip(scene.stage.start) {
        *value = given;
    }
    PlanRequest {
        start,
        goal: scene.stage.goal.iter().copied().take(spec.goal_dims.len()).collect(),
        via: scene.stage.via.clone(),
        settings: scene.plan.clone(),
        seed: scene.stage.seed,
        near_duration: None,
        previous: None,
    }
}

fn random_diffuser(
    config: DiffuserConfig,
    environment: &dyn Environment,
    seed: u64,
    device: &Device,
) -> Diffuser {
    let network = config.network().init(seed, device);
    let normalizer = untrained_limits(environment, config.action_dim);
    let tracked = device.clone().autodiff();
    let guide =
        config.guide.as_ref().map(|guide| ReturnGuide::random(&config, guide, seed, &tracked));
    Diffuser::new(config, normalizer, network, device.clone()).with_guide(guide)
}

fn random_gamma(config: GammaConfig, seed: u64, device: &Device) -> GammaModel {
    let network = GammaNetwork::init(&config, &mut Initializer::new(seed, device));
    GammaModel::new(config, network, device.clone())
}

/// Random weights over bins of a few transitions.
fn random_trajectory(
    config: TrajectoryConfig,
    environment: &mut dyn Environment,
    seed: u64,
    device: &Device,
) -> Result<TrajectoryModel, OpenError> {
    const TRANSITIONS: usize = 5000;
    let data = DataConfig { transitions: TRANSITIONS, seed, ..DataConfig::default() };
    let go_on = &mut |_| ControlFlow::Continue(());
    let (_, discretizer) =
        super::train::token_data(&config, environment, DataSource::new(&data, None), go_on)?;
    let network = config.network().init(&mut Initializer::new(seed, device));
    let weights = weights::export(&network).map_err(ModelError::from)?;
    Ok(TrajectoryModel::new(config, discretizer, &weights)?)
}

/// Read the weights file that a scene in `folder` names.
///
/// # Errors
/// A file that is missing or not a checkpoint.
pub fn read_weights(weights: &str, folder: Option<&Path>) -> Result<Checkpoint, CheckpointError> {
    let path = folder.unwrap_or(Path::new("")).join(weights);
    if let (true, Some(bytes)) = (folder.is_none() || !path.exists(), shipped::weights(weights)) {
        return Checkpoint::from_bytes(weights, bytes);
    }
    Checkpoint::read(&path)
}

/// Data limits for random weights: the map and the speed limit.
fn untrained_limits(
    environment: &dyn Environment,
    action_dim: usize,
) -> crate::data::LimitsNormalizer {
    let [x0, y0, x1, y1] = environment.workspace().bounds();
    let n = environment.spec().observation.len();
    let mut low = vec![-1.0; action_dim];
    let mut high = vec![1.0; action_dim];
    if n != environment.spec().state.len() {
        // Angles are shown as cosine and sine, what follows them as it is.
        let bound = x1.abs().max(y1.abs());
        for dimension in &environment.spec().observation {
            let bound = if dimension.unit.is_empty() { 1.0 } else { bound };
            low.push(-bound);
            high.push(bound);
        }
        return crate::data::LimitsNormalizer { low, high };
    }
    for dim in 0..n {
        let (a, b) = match dim {
            0 => (x0, x1),
            1 => (y0, y1),
            _ => (-5.0, 5.0),
        };
        low.push(a);
        high.push(b);
    }
    crate::data::LimitsNormalizer { low, high }
}
