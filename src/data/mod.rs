//! Data sets: episodes from behavior policies, windows over them, normalizers
//! and file formats. Plain arrays throughout; nothing here knows tensors.

mod arrays;
mod collect;
mod discretizer;
mod episodes;
mod normalizer;
mod npz;
mod paths;
mod segments;
mod stretches;
mod token_windows;
pub mod tokens;
mod windows;

use serde::{Deserialize, Serialize};

pub use arrays::{NamedArray, Values, write_arrays};
pub use collect::collect;
pub use discretizer::{Binning, Discretizer};
pub use episodes::{Episodes, MAX_TRANSITIONS};
pub use normalizer::LimitsNormalizer;
pub use npz::{read_npz, write_npz};
pub use paths::{PathOptions, Paths, collect_paths};
pub use stretches::{STRETCH_STEPS, StretchSizes, Stretches, collect_stretches};
pub use token_windows::{TokenBatch, TokenWeights, TokenWindows, discretize};
pub use tokens::{TokenKind, TokenLayout};
pub use windows::{Duration, WindowBatch, WindowConfig, Windows};

/// How a scene's data set is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Environment steps to collect.
    pub transitions: usize,
    /// Seed of resets, goals and controller jitter.
    #[serde(default)]
    pub seed: u64,
}

/// What went wrong with a data set.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The environment refused.
    #[error(transparent)]
    Environment(#[from] crate::env::EnvError),
    /// Too little data for the windows asked for.
    #[error("{0}")]
    TooShort(String),
    /// The arrays of a file do not fit together or hold bad numbers.
    #[error("{0}")]
    Malformed(String),
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] crate::files::FileError),
}
