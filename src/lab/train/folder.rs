//! A run on disk, readable by people:
//!
//! ```text
//! run.json             what it is and which checkpoints it has
//! scene.toml           the experiment as it trains now
//! weights.safetensors  the newest averaged weights, ready to plan
//! metrics.jsonl        one line of numbers per report
//! checkpoints/         everything to go on from, one file per checkpoint
//! ```
//!
//! A checkpoint is one file, written whole; `run.json` names it, with its hash
//! and how long `metrics.jsonl` was, and is replaced last, in one rename. A
//! process that dies at any moment leaves the last published state readable.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::metric::{Metric, Series};
use crate::files::{self, FileError};
use crate::lab::checkpoint::{self, CheckpointError, Header};
use crate::lab::scene::Scene;
use crate::model::learner::LearnerState;

/// The version of `run.json` written and understood.
const FORMAT: u32 = 1;
/// Checkpoints a run holds on to, besides those that were asked to stay.
const KEPT: usize = 24;
/// Bytes of them; large models keep fewer.
const KEPT_BYTES: u64 = 1 << 30;
const MANIFEST: &str = "run.json";
const METRICS: &str = "metrics.jsonl";
const SCENE: &str = "scene.toml";
/// The weights of a run, for planning.
pub const WEIGHTS: &str = "weights.safetensors";
const MAX_MANIFEST: u64 = 4 << 20;
const MAX_METRICS: u64 = 1 << 30;

/// A checkpoint of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1 on; later ones are larger.
    pub id: u64,
    /// Optimizer steps taken.
    pub step: usize,
    /// How often the run had gone back before.
    pub branch: u32,
    /// File in the run's folder.
    pub file: String,
    /// First 12 hex digits of the file's SHA-256.
    pub hash: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Mean training loss before it; none yet at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f32>,
    /// Loss on held-out data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<f32>,
    /// Wall time of the run, seconds.
    pub wall_secs: f64,
    /// Kept whatever comes: someone asked, or a change followed that cannot
    /// be undone.
    pub is_kept: bool,
}

/// `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// File version.
    pub format: u32,
    /// The scene's title.
    pub title: String,
    /// Identifies what is trained on what.
    pub scene_hash: String,
    /// Device it trains on.
    pub device: String,
    /// Program version.
    pub version: String,
    /// Whether it distills a Diffuser that is trained already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub distills: bool,
    /// How often it went back to an earlier checkpoint.
    pub branch: u32,
    /// Bytes of `metrics.jsonl` that belong to the newest checkpoint.
    pub metrics_bytes: u64,
    /// The newest checkpoint's number.
    pub latest: Option<u64>,
    /// The one with the lowest loss on held-out data.
    pub best: Option<u64>,
    /// Every checkpoint, oldest first.
    pub checkpoints: Vec<Entry>,
}

impl Manifest {
    /// The checkpoint with that number.
    pub fn entry(&self, id: u64) -> Option<&Entry> {
        self.checkpoints.iter().find(|entry| entry.id == id)
    }

    /// The newest checkpoint.
    pub fn newest(&self) -> Option<&Entry> {
        self.entry(self.latest?)
    }
}

/// A run's folder, open for writing by one run.
pub struct RunFolder {
    path: PathBuf,
    manifest: Manifest,
    metrics: File,
}

/// What to continue from.
pub struct Continued {
    /// What the checkpoint says of itself.
    pub header: Header,
    /// Everything to go on with.
    pub state: LearnerState,
    /// The numbers so far.
    pub series: Series,
}

impl RunFolder {
    /// Start a run at `path`; what another run left there is removed.
    ///
    /// # Errors
    /// A folder that cannot be made or written.
    pub fn create(path: &Path, scene: &Scene, device: &str) -> Result<Self, FileError> {
        let failed = |at: &Path, source| FileError::writing(at, source);
        let checkpoints = path.join("checkpoints");
        if path.join(MANIFEST).exists() {
            for old in [path.join(MANIFEST), path.join(METRICS)] {
                if old.exists() {
                    fs::remove_file(&old).map_err(|source| failed(&old, source))?;
                }
            }
            if checkpoints.exists() {
                fs::remove_dir_all(&checkpoints).map_err(|source| failed(&checkpoints, source))?;
            }
        }
        fs::create_dir_all(&checkpoints).map_err(|source| failed(&checkpoints, source))?;
        let manifest = Manifest {
            format: FORMAT,
            title: scene.title.clone(),
            scene_hash: scene.training_hash(),
            device: device.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            distills: false,
            branch: 0,
            metrics_bytes: 0,
            latest: None,
            best: None,
            checkpoints: Vec::new(),
        };
        let mut folder = Self { path: path.to_path_buf(), manifest, metrics: open(path)? };
        folder.write_scene(scene)?;
        Ok(folder)
    }

    /// Continue the run at `path` from its newest checkpoint that is whole.
    ///
    /// # Errors
    /// No run there, or none of its checkpoints can be read; the error is the
    /// newest one's.
    pub fn resume(path: &Path) -> Result<(Self, Continued), CheckpointError> {
        let manifest = read_manifest(path)?;
        let mut order: Vec<u64> = manifest.checkpoints.iter().map(|entry| entry.id).collect();
        order.reverse();
        if let Some(latest) = manifest.latest {
            order.sort_by_key(|id| *id != latest);
        }
        let mut folder = Self { path: path.to_path_buf(), manifest, metrics: open(path)? };
        let mut first_error = None;
        for id in order {
            match folder.read(id) {
                Ok((header, state)) => {
                    // Lines behind the checkpoint belong to steps that are lost.
                    let bytes = folder.manifest.metrics_bytes;
                    let cut = |source| FileError::writing(&path.join(METRICS), source);
                    if folder.metrics.metadata().map_err(cut)?.len() > bytes {
                        folder.metrics.set_len(bytes).map_err(cut)?;
                    }
                    let mut lines = read_metrics(path)?;
                    let step = state.step;
                    let branch = folder.manifest.entry(id).map_or(0, |entry| entry.branch);
                    lines.retain(|line| line.branch < branch || line.step <= step);
                    folder.manifest.latest = Some(id);
                    let series = lines.into_iter().collect();
                    return Ok((folder, Continued { header, state, series }));
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| CheckpointError::Mismatch {
            name: path.display().to_string(),
            why: "the run ended before its first checkpoint; train without --resume".into(),
        }))
    }

    /// Say in `run.json`, when it is written next, that the run distills.
    #[must_use]
    pub fn distilling(mut self) -> Self {
        self.manifest.distills = true;
        self
    }

    /// What `run.json` says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where the run lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Add a line of numbers.
    ///
    /// # Errors
    /// A full disk.
    pub fn log(&mut self, metric: &Metric) -> Result<(), FileError> {
        let mut line = serde_json::to_string(metric).unwrap_or_default();
        line.push('\n');
        let failed = |source| FileError::writing(&self.path.join(METRICS), source);
        self.metrics.write_all(line.as_bytes()).map_err(failed)
    }

    /// The experiment as it trains from now on.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn write_scene(&mut self, scene: &Scene) -> Result<(), FileError> {
        let mut scene = scene.clone();
        scene.model.set_weights(Some(WEIGHTS.to_owned()));
        self.manifest.scene_hash = scene.training_hash();
        files::write_atomic(&self.path.join(SCENE), scene.to_toml().as_bytes())
    }

    /// Publish a checkpoint: its file, the weights, and last the manifest.
    /// Older ones beyond [`KEPT`] are then removed, those first that stand
    /// closest to their neighbors.
    ///
    /// # Errors
    /// A folder that cannot be written, or a full disk; what was published
    /// before stays.
    pub fn publish(
        &mut self,
        header: &Header,
        state: &LearnerState,
        held_out: Option<f32>,
        is_kept: bool,
    ) -> Result<u64, CheckpointError> {
        let id = self.manifest.checkpoints.iter().map(|entry| entry.id).max().unwrap_or(0) + 1;
        let file = format!("checkpoints/{id:05}-step-{}.safetensors", state.step);
        let path = self.path.join(&file);
        let hash = checkpoint::write_resume(&path, header, state)?;
        checkpoint::write(&self.path.join(WEIGHTS), header, &state.average)?;
        let unreadable = |source| FileError::reading(&path, source);
        let bytes = fs::metadata(&path).map_err(unreadable)?.len();
        let failed = |source| FileError::writing(&self.path.join(METRICS), source);
        self.metrics.sync_data().map_err(failed)?;
        self.manifest.metrics_bytes = self.metrics.metadata().map_err(failed)?.len();
        self.manifest.checkpoints.push(Entry {
            id,
            step: state.step,
            branch: self.manifest.branch,
            file,
            hash,
            bytes,
            loss: (state.step > 0).then_some(header.newest().loss),
            held_out,
            wall_secs: header.newest().wall_secs,
            is_kept,
        });
        self.manifest.latest = Some(id);
        let measured = self.manifest.checkpoints.iter().filter(|entry| entry.held_out.is_some());
        let key = |entry: &&Entry| entry.held_out.unwrap_or(f32::INFINITY);
        let best = measured.min_by(|a, b| key(a).total_cmp(&key(b)));
        self.manifest.best = best.map(|entry| entry.id);
        let dropped = thin(&mut self.manifest);
        self.write_manifest()?;
        for entry in dropped {
            // One that cannot be removed costs space and nothing else.
            let _ = fs::remove_file(self.path.join(entry.file));
        }
        Ok(id)
    }

    /// Read checkpoint `id` and go on from it in a branch of its own.
    ///
    /// # Errors
    /// No such checkpoint, or a damaged one; the run then stays where it is.
    pub fn go_back(&mut self, id: u64) -> Result<(Header, LearnerState), CheckpointError> {
        let found = self.read(id)?;
        self.manifest.branch += 1;
        self.manifest.latest = Some(id);
        self.write_manifest()?;
        Ok(found)
    }

    fn read(&self, id: u64) -> Result<(Header, LearnerState), CheckpointError> {
        let Some(entry) = self.manifest.entry(id) else {
            let why = format!("it has no checkpoint {id}");
            return Err(CheckpointError::Mismatch { name: self.path.display().to_string(), why });
        };
        checkpoint::read_resume_checked(&self.path.join(&entry.file), Some(&entry.hash))
    }

    fn write_manifest(&self) -> Result<(), FileError> {
        let text = serde_json::to_string_pretty(&self.manifest).unwrap_or_default();
        files::write_atomic(&self.path.join(MANIFEST), text.as_bytes())
    }
}

/// `metrics.jsonl`, open for adding lines.
fn open(path: &Path) -> Result<File, FileError> {
    let path = path.join(METRICS);
    let opened = OpenOptions::new().create(true).append(true).open(&path);
    opened.map_err(|source| FileError::writing(&path, source))
}

/// What `run.json` in `path` says.
///
/// # Errors
/// No run there, or not one of this version.
pub fn read_manifest(path: &Path) -> Result<Manifest, CheckpointError> {
    let file = path.join(MANIFEST);
    let text = files::read_text_limited(&file, MAX_MANIFEST)?;
    let damaged = |why: String| CheckpointError::Damaged { name: file.display().to_string(), why };
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    if manifest.format != FORMAT {
        return Err(damaged(format!("its format is {}, not {FORMAT}", manifest.format)));
    }
    // A file name that leads out of the folder is nobody's checkpoint.
    let leads_out = |entry: &Entry| {
        Path::new(&entry.file)
            .components()
            .any(|part| !matches!(part, std::path::Component::Normal(_)))
    };
    if manifest.checkpoints.iter().any(leads_out) {
        return Err(damaged("a checkpoint lies outside of the run".into()));
    }
    Ok(manifest)
}

/// The numbers of the run in `path`; a line that is cut off ends them.
///
/// # Errors
/// A file that cannot be read.
pub fn read_metrics(path: &Path) -> Result<Vec<Metric>, FileError> {
    let text = files::read_text_limited(&path.join(METRICS), MAX_METRICS)?;
    Ok(text.lines().map_while(|line| serde_json::from_str(line).ok()).collect())
}

/// Take out what is too much: never the newest, the best, or what was asked
/// to stay; of the others the one whose neighbors in time are closest.
fn thin(manifest: &mut Manifest) -> Vec<Entry> {
    let mut dropped = Vec::new();
    loop {
        let entries = &manifest.checkpoints;
        let bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let free = |entry: &Entry| {
            !entry.is_kept && Some(entry.id) != manifest.latest && Some(entry.id) != manifest.best
        };
        let kept = entries.iter().filter(|entry| entry.is_kept).count();
        if entries.len() - kept <= KEPT && bytes <= KEPT_BYTES {
            return dropped;
        }
        let gap = |index: usize| {
            let before = index.checked_sub(1).map_or(0.0, |before| entries[before].wall_secs);
            entries.get(index + 1).map_or(f64::INFINITY, |after| after.wall_secs) - before
        };
        let candidates = (0..entries.len()).filter(|index| free(&entries[*index]));
        match candidates.min_by(|a, b| gap(*a).total_cmp(&gap(*b))) {
            Some(index) => dropped.push(manifest.checkpoints.remove(index)),
            None => return dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64, wall_secs: f64) -> Entry {
        Entry {
            id,
            step: id as usize * 10,
            branch: 0,
            file: format!("checkpoints/{id}"),
            hash: String::new(),
            bytes: 100,
            loss: None,
            held_out: None,
            wall_secs,
            is_kept: id == 5,
        }
    }

    #[test]
    fn thinning_keeps_the_newest_the_best_and_the_kept_spread_over_the_run() {
        let mut manifest = Manifest {
            format: FORMAT,
            title: String::new(),
            scene_hash: String::new(),
            device: String::new(),
            version: String::new(),
            distills: false,
            branch: 0,
            metrics_bytes: 0,
            latest: None,
            best: Some(7),
            checkpoints: Vec::new(),
        };
        for id in 1..=300 {
            manifest.checkpoints.push(entry(id, id as f64));
            manifest.latest = Some(id);
            thin(&mut manifest);
        }
        let ids: Vec<u64> = manifest.checkpoints.iter().map(|entry| entry.id).collect();
        assert!(ids.len() <= KEPT + 1 && ids.len() >= KEPT, "{ids:?}");
        assert!([5, 7, 300].iter().all(|id| ids.contains(id)), "{ids:?}");
        let largest = ids.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(largest < 40, "{ids:?}");
        let mut large = manifest.clone();
        for entry in &mut large.checkpoints {
            entry.bytes = KEPT_BYTES / 3;
        }
        thin(&mut large);
        assert_eq!(large.checkpoints.len(), 3);
    }
}
