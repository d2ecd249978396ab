//! What a run needs before its first step: data, data it never trains on, and
//! a fresh learner.

use std::ops::ControlFlow;
use std::sync::Arc;

use burn::tensor::Device;

use super::TrainError;
use crate::data::{
    self, DataConfig, DataError, Discretizer, LimitsNormalizer, Paths, TokenWindows, Windows,
};
use crate::env::Environment;
use crate::lab::data_set::{DataSource, OnCollected, path_options};
use crate::lab::scene::Scene;
use crate::model::ModelNumbers;
use crate::model::diffuser_learner::DiffuserLearner;
use crate::model::gamma_learner::GammaLearner;
use crate::model::learner::Learner;
use crate::model::trajectory::TrajectoryConfig;
use crate::model::trajectory_learner::TrajectoryLearner;

/// One in so many transitions is collected on top, to measure on.
const HELD_OUT_SHARE: usize = 50;
/// Fewest and most transitions to measure on.
const HELD_OUT: [usize; 2] = [1000, 20_000];

/// A fresh learner and what its weights' header says of the data.
pub(super) struct Prepared {
    pub(super) learner: Box<dyn Learner>,
    pub(super) normalizer: Option<LimitsNormalizer>,
    pub(super) discretizer: Option<Discretizer>,
}

/// Collect the scene's data and make a fresh learner on it.
///
/// What is held out comes from a seed of its own, so that measuring changes
/// nothing of what is learned.
pub(super) fn prepare(
    scene: &Scene,
    model: &ModelNumbers,
    environment: &mut dyn Environment,
    device: &Device,
    on_collected: OnCollected<'_>,
) -> Result<Prepared, TrainError> {
    let (seed, device) = (scene.train.seed, device.clone());
    let others = &held_out(&scene.data);
    let source = DataSource::new(&scene.data, None);
    let others = source.others(others);
    let silent = &mut |_| ControlFlow::Continue(());
    Ok(match model {
        ModelNumbers::Diffuser(config) => {
            let episodes = source.episodes(environment, &config.policies, on_collected)?;
            let windows = Windows::new(Arc::new(episodes), config.windows())?;
            let others = others.episodes(environment, &config.policies, silent);
            let normalizer = windows.normalizer().clone();
            let held_out = others.and_then(|others| windows.of_others(&others));
            let learner = DiffuserLearner::new(config.clone(), windows, seed, device)
                .with_held_out(long_enough(held_out)?);
            Prepared { learner: Box::new(learner), normalizer: Some(normalizer), discretizer: None }
        }
        ModelNumbers::Gamma(config) => {
            let policies: Result<Vec<_>, _> =
                config.policies.iter().map(|id| environment.policy(id)).collect();
            let policies = policies?;
            let mut collect = |source: DataSource<'_>, on_collected: OnCollected<'_>| {
                source.stretches(environment, &config.policies, on_collected).map(Arc::new)
            };
            let stretches = collect(source, on_collected)?;
            let held_out = collect(others, silent)?;
            let learner = GammaLearner::new(config.clone(), stretches, policies, seed, device)?
                .with_held_out(Some(held_out));
            Prepared { learner: Box::new(learner), normalizer: None, discretizer: None }
        }
        ModelNumbers::Trajectory(config) => {
            let options = path_options(config, environment);
            let paths = source.paths(environment, &options, on_collected)?;
            let discretizer = data::discretize(&paths, config.layout, config.binning)?;
            let windows = |paths: Paths| {
                TokenWindows::new(
                    Arc::new(paths),
                    discretizer.clone(),
                    config.goal_dims.clone(),
                    config.transitions,
                    config.weights,
                )
            };
            let others = others.paths(environment, &options, silent);
            let held_out = others.and_then(windows);
            let learner = TrajectoryLearner::new(config.clone(), windows(paths)?, seed, device)
                .with_held_out(long_enough(held_out)?);
            Prepared {
                learner: Box::new(learner),
                normalizer: None,
                discretizer: Some(discretizer),
            }
        }
    })
}

/// Other data of the same kind, where it is collected.
fn held_out(data: &DataConfig) -> DataConfig {
    let transitions = (data.transitions / HELD_OUT_SHARE).clamp(HELD_OUT[0], HELD_OUT[1]);
    // Any seed but the run's; the golden ratio's bits are nobody's favorite.
    let seed = data.seed ^ 0x9e37_79b9_7f4a_7c15;
    DataConfig { transitions, seed, ..DataConfig::default() }
}

/// Without windows to measure on, a run goes on unmeasured.
fn long_enough<T>(windows: Result<T, DataError>) -> Result<Option<T>, DataError> {
    match windows {
        Ok(windows) => Ok(Some(windows)),
        Err(DataError::TooShort(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Paths of a Trajectory Transformer's policies, and their bins.
///
/// # Errors
/// An unknown policy, or data without two different numbers.
pub fn token_data(
    config: &TrajectoryConfig,
    environment: &mut dyn Environment,
    source: DataSource<'_>,
    on_collected: OnCollected<'_>,
) -> Result<(Paths, Discretizer), DataError> {
    let options = path_options(config, environment);
    let paths = source.paths(environment, &options, on_collected)?;
    let discretizer = data::discretize(&paths, config.layout, config.binning)?;
    Ok((paths, discretizer))
}
