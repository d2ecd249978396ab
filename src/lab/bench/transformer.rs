//! Trajectory Transformer rows.

use std::ops::ControlFlow;
use std::sync::Arc;

use burn::tensor::Device;

use super::{BenchRow, finish};
use crate::data::{DataConfig, TokenWindows};
use crate::env::{self, EnvironmentConfig};
use crate::lab::data_set::DataSource;
use crate::lab::device::median_ms;
use crate::lab::train::{TrainError, token_data};
use crate::model::learner::Learner as _;
use crate::model::trajectory::{TrajectoryConfig, TrajectoryModel, TrajectorySection};
use crate::model::trajectory_learner::TrajectoryLearner;
use crate::model::{ModelError, Preset};
use crate::nn::init::Initializer;
use crate::nn::weights;
use crate::plan::beam::predictor::{CachedModel, UncachedModel};
use crate::plan::beam::{BeamRequest, BeamSettings, SearchMode, TokenModel, search};

/// Steps the bins and the training row are made of.
const TRANSITIONS: usize = 5000;
/// Most searches without a cache; each takes seconds.
const UNCACHED_SAMPLES: usize = 3;

/// Eight tokens a transition: Maze2D with rewards.
fn section(width: usize) -> TrajectorySection {
    TrajectorySection {
        preset: Preset::Quick,
        weights: None,
        policies: None,
        rewards: Some(true),
        observation: None,
        stride: None,
        transitions: None,
        markov: None,
        layers: None,
        heads: None,
        width: Some(width),
        bins: None,
        binning: None,
        dropout: None,
        batch: None,
        learning_rate: None,
        action_weight: None,
    }
}

/// One action (beam 32, horizon 15, context 5, 8 tokens a transition, two
/// actions per beam) at both widths, the same without a cache, and a training
/// step of the quick preset.
///
/// # Errors
/// A lost device.
pub fn transformer_rows(device: &Device, samples: usize) -> Result<Vec<BenchRow>, TrainError> {
    let mut maze = env::make(&EnvironmentConfig {
        id: "maze2d".into(),
        maze: env::U_MAZE.into(),
        door_width: None,
        max_steps: 300,
        reference_scores: None,
    })?;
    let data = DataConfig { transitions: TRANSITIONS, seed: 0, ..DataConfig::default() };
    let config = section(64).resolve(maze.spec())?;
    let go_on = &mut |_| ControlFlow::Continue(());
    let (paths, discretizer) =
        token_data(&config, maze.as_mut(), DataSource::new(&data, None), go_on)?;
    let model = |config: TrajectoryConfig| -> Result<TrajectoryModel, ModelError> {
        let network = config.network().init(&mut Initializer::new(0, device));
        let weights = weights::export(&network)?;
        TrajectoryModel::new(config, discretizer.clone(), &weights)
    };
    let narrow = model(config.clone())?;
    let wide = model(section(128).resolve(maze.spec())?)?;
    let row = |name, median, n| BenchRow { name, median, unit: "ms", n };
    let mut rows = vec![
        row("transformer_action_w64", action_ms(&mut CachedModel::new(&narrow), samples), samples),
        row("transformer_action_w128", action_ms(&mut CachedModel::new(&wide), samples), samples),
    ];
    let n = samples.min(UNCACHED_SAMPLES);
    let uncached = action_ms(&mut UncachedModel::new(&narrow), n);
    rows.push(row("transformer_action_w64_uncached", uncached, n));
    let windows = TokenWindows::new(
        Arc::new(paths),
        discretizer,
        config.goal_dims.clone(),
        config.transitions,
        config.weights,
    )?;
    let mut learner = TrajectoryLearner::new(config, windows, 0, device.clone());
    finish(learner.train_step(0.0)?);
    let training = median_ms(1, samples, || {
        if let Ok(loss) = learner.train_step(0.5) {
            finish(loss);
        }
    });
    rows.push(row("transformer_train_step", training, samples));
    Ok(rows)
}

fn action_ms(model: &mut dyn TokenModel, samples: usize) -> f64 {
    let layout = model.layout();
    let settings = BeamSettings { mode: SearchMode::Reward, ..BeamSettings::default() };
    let past = (settings.context - 1) * layout.per_transition() + layout.states;
    let context: Vec<u16> = (0..past).map(|at| (at * 37 % layout.bins) as u16).collect();
    let mut seed = 0;
    let warm_up = usize::from(samples > UNCACHED_SAMPLES) * 2;
    median_ms(warm_up, samples, || {
        seed += 1;
        let request = BeamRequest {
            goal: Vec::new(),
            context: context.clone(),
            settings: settings.clone(),
            seed,
            edits: Vec::new(),
            may_have_arrived: false,
            shows_pruned: false,
        };
        // A failure shows in the plan command; here only time counts.
        let _ = search(model, &request, None, &mut |_| ControlFlow::Continue(()));
    })
}
