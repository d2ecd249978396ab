//! From a scene to something that plans: environment, weights, planner.

use std::path::Path;

use burn::tensor::Device;

use super::checkpoint::{Checkpoint, CheckpointError, Header};
use super::scene::{Scene, SceneError};
use super::shipped;
use crate::env::Environment;
use crate::model::ModelError;
use crate::model::diffuser::Diffuser;
use crate::plan::Planner;

/// A scene made real.
pub struct Opened {
    /// The world.
    pub environment: Box<dyn Environment>,
    /// The model in it.
    pub planner: Planner,
    /// What the weights say of themselves; absent for random weights.
    pub header: Option<Header>,
    /// Hash of the weights file, or "untrained".
    pub hash: String,
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
}

/// Build the environment and load the weights. `folder` is where the scene
/// file lies; a shipped scene has none and finds its weights in the program.
///
/// # Errors
/// A scene, model or weights file that cannot be used.
pub fn open(scene: &Scene, folder: Option<&Path>, device: &Device) -> Result<Opened, OpenError> {
    let environment = scene.make_environment()?;
    let config = scene.model.resolve(environment.spec())?;
    let (diffuser, header, hash) = match &scene.model.weights {
        Some(weights) => {
            let checkpoint = read_weights(weights, folder)?;
            let (header, hash) = (checkpoint.header.clone(), checkpoint.hash.clone());
            (checkpoint.diffuser(weights, &config, device.clone())?, Some(header), hash)
        }
        None => {
            let network = config.network().init(scene.train.seed, device);
            let normalizer = untrained_limits(environment.as_ref(), config.action_dim);
            let diffuser = Diffuser::new(config, normalizer, network, device.clone());
            (diffuser, None, "untrained".to_owned())
        }
    };
    let planner = Planner::new(diffuser, environment.workspace(), environment.spec().clone());
    Ok(Opened { environment, planner, header, hash })
}

fn read_weights(weights: &str, folder: Option<&Path>) -> Result<Checkpoint, CheckpointError> {
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
