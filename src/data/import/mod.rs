//! Data sets from files: what `foresight collect` wrote, D4RL's HDF5 and
//! Minari's HDF5, turned into the coordinates of a scene's environment.
//!
//! - `.npz` (`npz.rs`) and D4RL's HDF5: flat arrays `observations`, `actions`,
//!   `rewards`, `terminals` and `timeouts`, in D4RL's coordinates, which are
//!   this crate's: a maze's wall `(w, h)` is centered at `(w - 0.2, h - 0.2)`.
//! - Minari's HDF5: groups `episode_0`, `episode_1`, ... with `observations`
//!   (one more than actions), `actions`, `rewards`, `terminations` and
//!   `truncations`. Observations may be a group `observation`,
//!   `achieved_goal`, `desired_goal`. Coordinates are Gymnasium's; see
//!   [`convention`].
//!
//! Files come from anywhere: their sizes are checked before memory is asked
//! for, and what is read is held against the environment.

mod convention;
mod hdf5;
#[cfg(test)]
pub(crate) mod testing;

use std::io::Read;
use std::path::Path;

use super::npz::read_npz;
use super::{DataError, Episodes};
use crate::env::Environment;
use crate::files::FileError;

/// How an HDF5 file begins, perhaps behind a user's own block.
const HDF5_MAGIC: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
/// How a zip archive begins, which `.npz` is.
const ZIP_MAGIC: &[u8; 2] = b"PK";
/// Where an HDF5 file may begin, besides 0.
const HDF5_OFFSETS: [usize; 3] = [512, 1024, 2048];

/// Whose coordinates and flags a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Convention {
    /// D4RL's, which are ours.
    D4rl,
    /// Gymnasium's and Gymnasium-Robotics', as Minari stores them.
    Gymnasium,
}

/// Read a data set for `environment`, of any kind the module knows. The
/// environment is put into states of the file to see that it can be in them.
///
/// The first `most` transitions are kept, or all for 0. An episode that ends
/// where the next one starts elsewhere ends with a terminal, so that no window
/// reaches over the jump.
///
/// # Errors
/// Names the file and what is wrong with it: not HDF5 and not `.npz`, a missing
/// array, another shape or type, bad numbers, too much, or steps that the
/// environment cannot take.
pub fn import(
    path: &Path,
    environment: &mut dyn Environment,
    most: usize,
) -> Result<Episodes, DataError> {
    let (mut episodes, convention) = read(path)?;
    let refused = |why: String| {
        DataError::Malformed(format!("{} does not fit this scene: {why}", path.display()))
    };
    if most > 0 {
        episodes.truncate(most);
    }
    if convention == Convention::Gymnasium {
        convention::from_gymnasium(&mut episodes, environment).map_err(refused)?;
    }
    convention::check(&episodes, environment).map_err(refused)?;
    convention::mark_jumps(&mut episodes, environment);
    Ok(episodes)
}

/// What a file holds, in its own coordinates.
fn read(path: &Path) -> Result<(Episodes, Convention), DataError> {
    let failed = |source| FileError::reading(path, source);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(FileError::IsFolder(path.to_path_buf()).into());
    }
    let mut head = Vec::new();
    let enough = (HDF5_OFFSETS[2] + HDF5_MAGIC.len()) as u64;
    (&mut file).take(enough).read_to_end(&mut head).map_err(failed)?;
    if head.starts_with(ZIP_MAGIC) {
        return Ok((read_npz(path)?, Convention::D4rl));
    }
    let is_hdf5 = head.starts_with(HDF5_MAGIC)
        || HDF5_OFFSETS.iter().any(|&at| head.get(at..).is_some_and(|s| s.starts_with(HDF5_MAGIC)));
    let read = match is_hdf5 {
        true => hdf5::read(path),
        false => Err("it is neither an .npz archive nor an HDF5 file; give a data set of \
                      `foresight collect`, D4RL's .hdf5 or Minari's main_data.hdf5"
            .to_owned()),
    };
    read.map_err(|why| {
        DataError::Malformed(format!("{} is not a usable data set: {why}", path.display()))
    })
}

#[cfg(test)]
mod tests;
