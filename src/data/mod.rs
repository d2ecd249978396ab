//! Data sets: episodes from behavior policies, windows over them, normalizers
//! and file formats. Plain arrays throughout; nothing here knows tensors.

mod arrays;
mod collect;
mod discretizer;
mod episodes;
mod import;
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
pub use collect::{collect, collect_episodes};
pub use discretizer::{Binning, Discretizer};
pub use episodes::{Episodes, MAX_TRANSITIONS};
pub use import::import;
pub use normalizer::LimitsNormalizer;
pub use npz::{npz_bytes, read_npz, write_npz};
pub use paths::{PathOptions, Paths, collect_paths, recorded_paths};
pub use stretches::{STRETCH_STEPS, StretchSizes, Stretches, collect_stretches};
pub use token_windows::{TokenBatch, TokenWeights, TokenWindows, discretize};
pub use tokens::{TokenKind, TokenLayout};
pub use windows::{Duration, WindowBatch, WindowConfig, Windows};

/// How a scene's data set is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Environment steps to collect; of a file, those to keep from its
    /// beginning, or all for 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub transitions: usize,
    /// Seed of resets, goals and controller jitter.
    #[serde(default)]
    pub seed: u64,
    /// A file to read instead of collecting, relative to the scene's folder;
    /// see [`import`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A file of demonstrations to add, relative to the scene's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demonstrations: Option<String>,
    /// How often each demonstration counts; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demonstration_weight: Option<usize>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
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

/// The D4RL file that holds `episodes`, for tests of other modules.
#[cfg(test)]
pub(crate) fn hdf5_for_tests(episodes: &Episodes) -> Vec<u8> {
    import::testing::file(import::testing::d4rl(episodes))
}
