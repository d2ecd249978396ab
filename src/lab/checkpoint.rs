//! Weights on disk: safetensors in the released network's layout, with the
//! model, its normalizer and where it came from in the header.

mod models;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data::{Discretizer, LimitsNormalizer};
use crate::env::EnvironmentConfig;
use crate::files::{self, FileError};
use crate::model::learner::LearnerState;
use crate::model::{ModelError, ModelNumbers};
use crate::nn::weights::{HostTensor, NamedTensors};

/// Largest checkpoint read, in bytes.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
/// The header key that holds ours.
const KEY: &str = "foresight";

/// Where weights come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Hash of the scene's environment, data, model and seed.
    pub scene_hash: String,
    /// Seed of the run.
    pub seed: u64,
    /// Optimizer steps.
    pub steps: usize,
    /// Wall time of training, seconds.
    pub wall_secs: f64,
    /// Device it trained on.
    pub device: String,
    /// Program version.
    pub version: String,
    /// Last training loss, averaged.
    pub loss: f32,
    /// What `foresight eval` measured, if it was recorded.
    #[serde(default)]
    pub evaluation: Option<String>,
}

/// Everything in the header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Every number of the model.
    pub model: ModelNumbers,
    /// Data limits, of a model that normalizes by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalizer: Option<LimitsNormalizer>,
    /// Bins, of a model of tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discretizer: Option<Discretizer>,
    /// The environment the data came from.
    pub environment: EnvironmentConfig,
    /// Where the weights come from.
    pub provenance: Provenance,
    /// Where the distilled network among them comes from, if there is one; its
    /// `scene_hash` knows the teacher and the distillation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub student: Option<Provenance>,
}

impl Header {
    /// Of what was trained last: a distilled network comes after its teacher.
    pub fn newest(&self) -> &Provenance {
        self.student.as_ref().unwrap_or(&self.provenance)
    }

    /// The same, to write.
    pub fn newest_mut(&mut self) -> &mut Provenance {
        self.student.as_mut().unwrap_or(&mut self.provenance)
    }
}

/// A model on the host.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Model, data limits, origin.
    pub header: Header,
    /// Averaged weights by PyTorch name.
    pub weights: NamedTensors,
    /// Hash of the whole file, first 12 hex digits.
    pub hash: String,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not safetensors, cut off or damaged.
    #[error(
        "{name} is damaged or not a checkpoint ({why}); take another file or train again with `foresight train`"
    )]
    Damaged {
        /// Which file.
        name: String,
        /// What the parser saw.
        why: String,
    },
    /// It does not fit the scene.
    #[error("{name} does not fit this scene: {why}")]
    Mismatch {
        /// Which file.
        name: String,
        /// What differs, and what to do.
        why: String,
    },
    /// The weights do not fit the network.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl Checkpoint {
    /// Parse the bytes of `name`.
    ///
    /// # Errors
    /// Bytes that are cut off, damaged or not ours.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let (header, tensors) = unpack(name, bytes)?;
        let weights =
            tensors.into_iter().filter(|(name, _)| !name.starts_with("resume.")).collect();
        Ok(Self { header, weights, hash: hash(bytes) })
    }

    /// Read a file.
    ///
    /// # Errors
    /// A file that is missing, oversized, cut off, damaged or not ours.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        Self::from_bytes(&path.display().to_string(), &files::read_limited(path, MAX_BYTES)?)
    }
}

/// Write averaged weights for planning.
///
/// # Errors
/// A folder that cannot be written, or a full disk.
pub fn write(path: &Path, header: &Header, weights: &NamedTensors) -> Result<(), CheckpointError> {
    let tensors = weights.iter().map(|(name, tensor)| (name.clone(), Array::Floats(tensor)));
    write_arrays(path, header, tensors.collect()).map(drop)
}

/// Write everything needed to continue a run; answers the file's hash.
///
/// # Errors
/// A folder that cannot be written, or a full disk.
pub fn write_resume(
    path: &Path,
    header: &Header,
    state: &LearnerState,
) -> Result<String, CheckpointError> {
    let mut arrays: Vec<(String, Array)> = Vec::new();
    for (name, tensor) in &state.average {
        arrays.push((name.clone(), Array::Floats(tensor)));
    }
    for (name, tensor) in &state.network {
        arrays.push((format!("resume.network.{name}"), Array::Floats(tensor)));
    }
    for (name, tensor) in &state.optimizer {
        arrays.push((format!("resume.adam.{name}"), Array::Floats(tensor)));
    }
    let position = state.rng_position.to_le_bytes();
    arrays.push(("resume.rng".into(), Array::Bytes(&position)));
    write_arrays(path, header, arrays)
}

/// Read a run to continue.
///
/// # Errors
/// As for [`Checkpoint::read`], and a file that holds only weights.
pub fn read_resume(path: &Path) -> Result<(Header, LearnerState), CheckpointError> {
    read_resume_checked(path, None)
}

/// Read a run to continue whose file must have the hash `expected`.
///
/// # Errors
/// As for [`read_resume`], and other bytes than were written.
pub fn read_resume_checked(
    path: &Path,
    expected: Option<&str>,
) -> Result<(Header, LearnerState), CheckpointError> {
    let name = path.display().to_string();
    let bytes = files::read_limited(path, MAX_BYTES)?;
    if expected.is_some_and(|expected| expected != hash(&bytes)) {
        let why = "its bytes are not those that were written".to_owned();
        return Err(CheckpointError::Damaged { name, why });
    }
    let (header, tensors) = unpack(&name, &bytes)?;
    let mut state = LearnerState {
        step: header.newest().steps,
        network: NamedTensors::new(),
        average: NamedTensors::new(),
        optimizer: NamedTensors::new(),
        rng_position: 0,
    };
    let position = raw(&name, &bytes, "resume.rng")?;
    let position: [u8; 16] =
        position.as_slice().try_into().map_err(|_| CheckpointError::Damaged {
            name: name.clone(),
            why: "its random stream has no position".into(),
        })?;
    state.rng_position = u128::from_le_bytes(position);
    for (tensor_name, tensor) in tensors {
        if let Some(short) = tensor_name.strip_prefix("resume.network.") {
            state.network.insert(short.to_owned(), tensor);
        } else if let Some(short) = tensor_name.strip_prefix("resume.adam.") {
            state.optimizer.insert(short.to_owned(), tensor);
        } else {
            state.average.insert(tensor_name, tensor);
        }
    }
    Ok((header, state))
}

/// First 12 hex digits of SHA-256.
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

enum Array<'a> {
    Floats(&'a HostTensor),
    Bytes(&'a [u8]),
}

/// What safetensors needs to see of an array.
struct ArrayView<'a> {
    array: Array<'a>,
    shape: Vec<usize>,
}

impl View for ArrayView<'_> {
    fn dtype(&self) -> Dtype {
        match self.array {
            Array::Floats(_) => Dtype::F32,
            Array::Bytes(_) => Dtype::U8,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self.array {
            Array::Floats(tensor) => Cow::Borrowed(bytemuck::cast_slice(&tensor.values)),
            Array::Bytes(bytes) => Cow::Borrowed(bytes),
        }
    }

    fn data_len(&self) -> usize {
        match self.array {
            Array::Floats(tensor) => 4 * tensor.values.len(),
            Array::Bytes(bytes) => bytes.len(),
        }
    }
}

fn write_arrays(
    path: &Path,
    header: &Header,
    arrays: Vec<(String, Array)>,
) -> Result<String, CheckpointError> {
    let damaged = |why: String| CheckpointError::Damaged { name: path.display().to_string(), why };
    let text = serde_json::to_string(header).map_err(|error| damaged(error.to_string()))?;
    let views = arrays.into_iter().map(|(name, array)| {
        let shape = match &array {
            Array::Floats(tensor) => tensor.shape.clone(),
            Array::Bytes(bytes) => vec![bytes.len()],
        };
        (name, ArrayView { array, shape })
    });
    let metadata = HashMap::from([(KEY.to_owned(), text), ("format".to_owned(), "pt".to_owned())]);
    let bytes =
        safetensors::serialize(views, Some(metadata)).map_err(|e| damaged(e.to_string()))?;
    files::write_atomic(path, &bytes)?;
    Ok(hash(&bytes))
}

fn unpack(name: &str, bytes: &[u8]) -> Result<(Header, NamedTensors), CheckpointError> {
    let damaged = |why: String| CheckpointError::Damaged { name: name.to_owned(), why };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(e.to_string()))?;
    let text = metadata
        .metadata()
        .as_ref()
        .and_then(|map| map.get(KEY))
        .ok_or_else(|| damaged("its header says nothing about the model".into()))?;
    let header: Header = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
    let floats = tensors.iter().filter(|(_, view)| view.dtype() == Dtype::F32);
    let named = floats
        .map(|(name, view)| {
            // Copied number by number: a file's data need not be aligned.
            let values =
                view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let tensor = HostTensor { shape: view.shape().to_vec(), values: values.collect() };
            (name.to_owned(), tensor)
        })
        .collect();
    Ok((header, named))
}

fn raw(name: &str, bytes: &[u8], tensor: &str) -> Result<Vec<u8>, CheckpointError> {
    let missing = |_| CheckpointError::Mismatch {
        name: name.to_owned(),
        why: "it holds finished weights, not a run to continue; train without --resume".into(),
    };
    let tensors = SafeTensors::deserialize(bytes).map_err(missing)?;
    Ok(tensors.tensor(tensor).map_err(missing)?.data().to_vec())
}
