//! Data sets in HDF5, with D4RL's or Minari's names.

use std::path::Path;

use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions};

use super::super::Episodes;
use super::super::episodes::MAX_TRANSITIONS;
use super::super::npz::{MAX_BYTES, MAX_DIM};
use super::Convention;

/// The most episodes of a Minari file.
const MAX_EPISODES: usize = 10_000_000;
/// No filter of ours makes data smaller than this; a shape that promises more
/// is damage.
const MOST_COMPRESSION: u64 = 1100;
/// Names of Minari's groups begin like this, their number follows.
const EPISODE: &str = "episode_";

/// Read a file.
///
/// # Errors
/// What is wrong with it and what would do, without its name.
pub(super) fn read(path: &Path) -> Result<(Episodes, Convention), String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    let options = OpenOptions::default()
        .with_max_read_bytes(usize::try_from(MAX_BYTES).unwrap_or(usize::MAX))
        .with_chunk_cache_bytes(0);
    let file = Hdf5File::open_with_options(path, options).map_err(damaged)?;
    Source { file, length, budget: MAX_BYTES }.read()
}

fn damaged(error: hdf5_reader::error::Error) -> String {
    format!("{error}; the file may be damaged or incomplete, get it again")
}

/// `[steps, dim]` numbers.
struct Table {
    steps: usize,
    dim: usize,
    values: Vec<f32>,
}

struct Source {
    file: Hdf5File,
    /// Bytes of the file.
    length: u64,
    /// Bytes of arrays that may still be read.
    budget: u64,
}

impl Source {
    fn read(mut self) -> Result<(Episodes, Convention), String> {
        let root = self.file.root_group().map_err(damaged)?;
        let (groups, arrays) = root.member_names().map_err(damaged)?;
        if arrays.iter().any(|name| name == "observations") {
            return Ok((self.d4rl(&arrays)?, Convention::D4rl));
        }
        let mut numbers: Vec<u64> =
            groups.iter().filter_map(|name| name.strip_prefix(EPISODE)?.parse().ok()).collect();
        if numbers.is_empty() {
            let found: Vec<&str> =
                groups.iter().chain(&arrays).map(String::as_str).take(8).collect();
            return Err(format!(
                "it has neither an array \"observations\" (D4RL) nor a group \"episode_0\" \
                 (Minari), only: {}",
                if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }
            ));
        }
        if numbers.len() > MAX_EPISODES {
            return Err(format!("it has more than {MAX_EPISODES} episodes"));
        }
        numbers.sort_unstable();
        Ok((self.minari(&numbers)?, Convention::Gymnasium))
    }

    fn d4rl(&mut self, names: &[String]) -> Result<Episodes, String> {
        let observations = self.table("observations")?;
        let actions = self.table("actions")?;
        let rewards = self.column("rewards")?;
        let terminals = self.flags("terminals")?;
        let has_timeouts = names.iter().any(|name| name == "timeouts");
        let timeouts =
            if has_timeouts { self.flags("timeouts")? } else { vec![false; rewards.len()] };
        let episodes = Episodes {
            observation_dim: observations.dim,
            action_dim: actions.dim,
            observations: observations.values,
            actions: actions.values,
            rewards,
            terminals,
            timeouts,
        };
        episodes.validate().map_err(|error| error.to_string())?;
        Ok(episodes)
    }

    fn minari(&mut self, numbers: &[u64]) -> Result<Episodes, String> {
        let mut all = Episodes::default();
        for number in numbers {
            let group = format!("{EPISODE}{number}");
            let episode = self.episode(&group)?;
            if all.is_empty() {
                all = episode;
                continue;
            }
            if (episode.observation_dim, episode.action_dim)
                != (all.observation_dim, all.action_dim)
            {
                return Err(format!("{group} has other numbers per step than those before it"));
            }
            all.append(&episode);
            if all.len() > MAX_TRANSITIONS {
                return Err(format!("it has more than {MAX_TRANSITIONS} steps"));
            }
        }
        all.validate().map_err(|error| error.to_string())?;
        Ok(all)
    }

    /// One of Minari's episodes. Its last observation, which no action follows,
    /// is left out.
    fn episode(&mut self, group: &str) -> Result<Episodes, String> {
        let inside = format!("{group}/observations");
        // A group where observations are dictionaries.
        let is_dictionary = self.file.group(&inside).is_ok();
        let path = if is_dictionary { format!("{inside}/observation") } else { inside };
        let mut observations = self.table(&path)?;
        let actions = self.table(&format!("{group}/actions"))?;
        let rewards = self.column(&format!("{group}/rewards"))?;
        let ended = self.flags(&format!("{group}/terminations"))?;
        let cut = self.flags(&format!("{group}/truncations"))?;
        let steps = rewards.len();
        if observations.steps != steps + 1 {
            return Err(format!(
                "{path} has {} steps where {steps} rewards need {}: Minari stores one \
                 observation more than actions",
                observations.steps,
                steps + 1
            ));
        }
        observations.values.truncate(steps * observations.dim);
        let mut episode = Episodes {
            observation_dim: observations.dim,
            action_dim: actions.dim,
            observations: observations.values,
            actions: actions.values,
            rewards,
            terminals: ended,
            timeouts: cut,
        };
        episode.validate().map_err(|error| format!("{group}: {error}"))?;
        // The next episode starts somewhere else, however this one ended.
        if let Some(last) = episode.terminals.last_mut() {
            *last = true;
        }
        Ok(episode)
    }

    fn dataset(&self, name: &str) -> Result<Dataset, String> {
        self.file.dataset(name).map_err(|error| {
            format!("it has no usable array \"{name}\" ({error}); D4RL's and Minari's files do")
        })
    }

    /// `[steps, numbers]`; one number a step may lack the second extent.
    fn table(&mut self, name: &str) -> Result<Table, String> {
        let dataset = self.dataset(name)?;
        let (steps, dim) = match *dataset.shape() {
            [steps] => (steps, 1),
            [steps, dim] => (steps, dim),
            ref shape => {
                return Err(format!("{name} has shape {shape:?} and must have [steps, numbers]"));
            }
        };
        let values = self.numbers(&dataset, name, steps, dim)?;
        Ok(Table { steps: steps as usize, dim: dim as usize, values })
    }

    fn column(&mut self, name: &str) -> Result<Vec<f32>, String> {
        let dataset = self.dataset(name)?;
        match *dataset.shape() {
            [steps] | [steps, 1] => self.numbers(&dataset, name, steps, 1),
            ref shape => Err(format!("{name} has shape {shape:?} and must have [steps]")),
        }
    }

    fn flags(&mut self, name: &str) -> Result<Vec<bool>, String> {
        Ok(self.column(name)?.into_iter().map(|value| value != 0.0).collect())
    }

    fn numbers(
        &mut self,
        dataset: &Dataset,
        name: &str,
        steps: u64,
        dim: u64,
    ) -> Result<Vec<f32>, String> {
        if dim == 0 || dim > MAX_DIM || steps > MAX_TRANSITIONS as u64 {
            return Err(format!(
                "{name} has {steps} steps of {dim} numbers; at most {MAX_TRANSITIONS} steps of 1 \
                 to {MAX_DIM} numbers fit"
            ));
        }
        let kind = Kind::of(dataset.dtype(), name)?;
        // No overflow: every factor is bounded.
        let bytes = steps * dim * kind.bytes() as u64;
        if bytes > MOST_COMPRESSION.saturating_mul(self.length) {
            return Err(format!(
                "{name} claims {bytes} bytes and the whole file has {}; it is damaged",
                self.length
            ));
        }
        self.budget = self
            .budget
            .checked_sub(bytes)
            .ok_or_else(|| format!("with {name} it has more than {} GiB", MAX_BYTES >> 30))?;
        let raw =
            dataset.read_native_bytes().map_err(|error| format!("{name}: {}", damaged(error)))?;
        if raw.len() as u64 != bytes {
            return Err(format!(
                "{name} has {} bytes instead of {bytes}; it is damaged",
                raw.len()
            ));
        }
        Ok(kind.decode(&raw))
    }
}

/// What an array's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Float32,
    Float64,
    /// Of that many bytes.
    Signed(u8),
    Unsigned(u8),
}

impl Kind {
    fn of(datatype: &Datatype, name: &str) -> Result<Self, String> {
        match datatype {
            Datatype::FloatingPoint { size: 4, .. } => Ok(Self::Float32),
            Datatype::FloatingPoint { size: 8, .. } => Ok(Self::Float64),
            Datatype::FixedPoint { size: size @ (1 | 2 | 4 | 8), signed, .. } => {
                Ok(if *signed { Self::Signed(*size) } else { Self::Unsigned(*size) })
            }
            Datatype::Bitfield { size: 1, .. } => Ok(Self::Unsigned(1)),
            // NumPy's bools are an enumeration of one byte.
            Datatype::Enum { base, .. } => match Self::of(base, name)? {
                kind @ (Self::Signed(1) | Self::Unsigned(1)) => Ok(kind),
                _ => Err(format!("{name} holds names for numbers; store numbers or bools")),
            },
            other => {
                let what = match other {
                    Datatype::String { .. } | Datatype::VarLen { .. } => "text or objects",
                    Datatype::Compound { .. } => "records",
                    Datatype::Reference { .. } => "references",
                    _ => "elements of an unusual type",
                };
                Err(format!("{name} holds {what}; store 32-bit or 64-bit floats, ints or bools"))
            }
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float64 => 8,
            Self::Signed(size) | Self::Unsigned(size) => usize::from(size),
        }
    }

    /// Numbers from bytes in this machine's order.
    fn decode(self, raw: &[u8]) -> Vec<f32> {
        fn each<const N: usize>(raw: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            raw.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)).collect()
        }
        match self {
            Self::Float32 => each(raw, f32::from_ne_bytes),
            Self::Float64 => each(raw, |bytes| f64::from_ne_bytes(bytes) as f32),
            Self::Signed(1) => each(raw, |bytes| f32::from(i8::from_ne_bytes(bytes))),
            Self::Signed(2) => each(raw, |bytes| f32::from(i16::from_ne_bytes(bytes))),
            Self::Signed(4) => each(raw, |bytes| i32::from_ne_bytes(bytes) as f32),
            Self::Signed(_) => each(raw, |bytes| i64::from_ne_bytes(bytes) as f32),
            Self::Unsigned(1) => each(raw, |bytes: [u8; 1]| f32::from(bytes[0])),
            Self::Unsigned(2) => each(raw, |bytes| f32::from(u16::from_ne_bytes(bytes))),
            Self::Unsigned(4) => each(raw, |bytes| u32::from_ne_bytes(bytes) as f32),
            Self::Unsigned(_) => each(raw, |bytes| u64::from_ne_bytes(bytes) as f32),
        }
    }
}
