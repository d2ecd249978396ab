//! What is asked of dreams, and what comes back.

use std::sync::Arc;

use serde::Serialize;

use crate::eval::dream::Curve;
use crate::model::ensemble::EnsembleConfig;

/// Ask for dreams.
#[derive(Clone, Debug, PartialEq)]
pub struct DreamRequest {
    /// State and goal from which the first episode starts; drawn as those of
    /// the data if absent.
    pub from: Option<(Vec<f32>, Vec<f32>)>,
    /// Transitions.
    pub horizon: usize,
    /// Episodes.
    pub episodes: usize,
    /// Sampled dreams per episode and dreamer.
    pub samples: usize,
    /// Transitions the Transformer sees, the one under way included.
    pub context: usize,
    /// Seed of episodes and samples.
    pub seed: u64,
    /// The ensemble it is compared with.
    pub ensemble: EnsembleConfig,
}

/// How far an answer has come.
#[derive(Clone, Debug, PartialEq)]
pub enum DreamStage {
    /// The data for the ensemble are being made.
    Collecting {
        /// Transitions so far.
        done: usize,
        /// In all.
        total: usize,
    },
    /// The first episode is being dreamt.
    Dreaming,
    /// The ensemble is learning.
    Training {
        /// Optimizer steps so far.
        step: usize,
        /// In all.
        steps: usize,
        /// Negative log-likelihood per standardized number, without its
        /// constant.
        loss: f32,
    },
    /// More episodes are being dreamt.
    Averaging {
        /// Episodes so far.
        done: usize,
        /// In all.
        total: usize,
    },
    /// All is there.
    Done,
    /// It was broken off; what was there stays.
    Stopped,
    /// It could not go on.
    Failed(String),
}

impl DreamStage {
    /// Whether nothing more is to come.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Done | Self::Stopped | Self::Failed(_))
    }
}

/// A dream as states of the environment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DreamtStates {
    /// Point prediction, `[H + 1, state]`.
    pub point: Vec<Vec<f32>>,
    /// `[samples, H + 1, state]`.
    pub samples: Vec<Vec<Vec<f32>>>,
}

/// The first episode and what was dreamt of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pictured {
    /// What really happened, `[H + 1, state]`.
    pub truth: Vec<Vec<f32>>,
    /// The Transformer's dream.
    pub transformer: DreamtStates,
    /// The same weights with a context of one transition.
    pub markovian: DreamtStates,
    /// The ensemble's, once it is trained.
    pub ensemble: Option<DreamtStates>,
}

/// Errors against the horizon, over the episodes so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DreamCurves {
    /// Episodes.
    pub episodes: usize,
    /// The Transformer.
    pub transformer: Curve,
    /// The same weights with a context of one transition.
    pub markovian: Curve,
    /// The ensemble, once it is trained.
    pub ensemble: Option<Curve>,
    /// The best there is with the Transformer's bins.
    pub oracle: Curve,
}

/// An answer so far.
#[derive(Clone, Debug)]
pub struct DreamFrame {
    /// Which request this answers.
    pub id: u64,
    /// The request.
    pub request: Arc<DreamRequest>,
    /// How far it has come.
    pub stage: DreamStage,
    /// The first episode.
    pub picture: Option<Arc<Pictured>>,
    /// Errors so far.
    pub curves: Option<Arc<DreamCurves>>,
}
