//! A scene's data set: collected, or read from a file, with demonstrations
//! added.
//!
//! Each model learns from data of another shape: episodes (Diffuser), paths
//! (Trajectory Transformer), stretches (gamma-model). Files hold episodes, of
//! which paths can be made; stretches need a policy that can be asked anywhere.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::scene::Scene;
use crate::data::{
    self, DataConfig, DataError, Episodes, PathOptions, Paths, Stretches, recorded_paths,
};
use crate::env::Environment;
use crate::files::FileError;
use crate::model::trajectory::TrajectoryConfig;

/// The most times a demonstration may count.
pub const MAX_WEIGHT: usize = 10_000;

/// Called with the transitions so far; a break stops collecting.
pub type OnCollected<'a> = &'a mut dyn FnMut(usize) -> ControlFlow<()>;

/// What a data set is made of, and where its files lie.
#[derive(Clone, Copy, Debug)]
pub struct DataSource<'a> {
    config: &'a DataConfig,
    folder: Option<&'a Path>,
    /// Of a file, so many of the steps that are not learned from instead of
    /// those that are.
    others: Option<usize>,
}

impl<'a> DataSource<'a> {
    /// The data set that `config` describes, with files relative to `folder`,
    /// or to where the program runs if there is none.
    pub fn new(config: &'a DataConfig, folder: Option<&'a Path>) -> Self {
        Self { config, folder, others: None }
    }

    /// Episodes: what windows are drawn from. Without a file they are collected
    /// from `policies`, or from the environment's own behavior if there is none.
    ///
    /// # Errors
    /// A file or an environment that refuses, or an unknown policy.
    pub fn episodes(
        self,
        environment: &mut dyn Environment,
        policies: &[String],
        on_collected: OnCollected<'_>,
    ) -> Result<Episodes, DataError> {
        let mut episodes = match self.file() {
            Some(path) => self.import(&path, environment)?,
            None => data::collect_episodes(environment, policies, self.config, on_collected)?,
        };
        if let Some(shown) = self.demonstrations(environment)? {
            // A demonstration starts where the person began, not where these end.
            if let Some(last) = episodes.terminals.last_mut() {
                *last = true;
            }
            (0..self.weight()).for_each(|_| episodes.append(&shown));
        }
        Ok(episodes)
    }

    /// Paths: what windows of tokens are drawn from. `options.policies` are
    /// those that are collected from.
    ///
    /// # Errors
    /// A file or an environment that refuses, or options that do not fit it.
    pub fn paths(
        self,
        environment: &mut dyn Environment,
        options: &PathOptions,
        on_collected: OnCollected<'_>,
    ) -> Result<Paths, DataError> {
        let mut paths = match self.file() {
            Some(path) => {
                let episodes = self.import(&path, environment)?;
                recorded_paths(&episodes, options, environment.spec())?
            }
            None => data::collect_paths(environment, options, self.config, on_collected)?,
        };
        if let Some(shown) = self.demonstrations(environment)? {
            let shown = recorded_paths(&shown, options, environment.spec())?;
            paths.append(&shown, self.weight())?;
        }
        Ok(paths)
    }

    /// Stretches of the policies of those rows, taking turns.
    ///
    /// # Errors
    /// A data set from a file, whose policy cannot be asked, or an environment
    /// that refuses.
    pub fn stretches(
        self,
        environment: &mut dyn Environment,
        policies: &[String],
        on_collected: OnCollected<'_>,
    ) -> Result<Stretches, DataError> {
        let key = match (&self.config.file, &self.config.demonstrations) {
            (Some(_), _) => "data.file",
            (None, Some(_)) => "data.demonstrations",
            (None, None) => {
                return data::collect_stretches(environment, policies, self.config, on_collected);
            }
        };
        Err(DataError::Malformed(format!(
            "a \u{3b3}-model learns where a policy goes from everywhere and has to ask it there, \
             which a recording cannot answer; take {key} out of the scene, or train a Diffuser or \
             a Trajectory Transformer on it"
        )))
    }

    /// Other data of the same kind, to measure on: `other` where data is
    /// collected, else what the file holds behind the part that is kept.
    #[must_use]
    pub fn others(self, other: &'a DataConfig) -> Self {
        let others = self.config.file.as_ref().map(|_| other.transitions);
        Self { config: if others.is_some() { self.config } else { other }, others, ..self }
    }

    fn import(self, path: &Path, environment: &mut dyn Environment) -> Result<Episodes, DataError> {
        let kept = self.config.transitions;
        let Some(most) = self.others else { return data::import(path, environment, kept) };
        let whole = data::import(path, environment, 0)?;
        let first = if kept == 0 { whole.len() } else { kept.min(whole.len()) };
        match whole.slice(first..(first + most).min(whole.len())) {
            rest if rest.is_empty() => Err(DataError::TooShort(
                "the file holds nothing behind the part that is learned from".into(),
            )),
            rest => Ok(rest),
        }
    }

    /// The data file's path.
    pub fn file(self) -> Option<PathBuf> {
        self.config.file.as_deref().map(|name| self.path(name))
    }

    /// The path of the demonstrations.
    pub fn demonstrations_file(self) -> Option<PathBuf> {
        self.config.demonstrations.as_deref().map(|name| self.path(name))
    }

    fn path(self, name: &str) -> PathBuf {
        self.folder.unwrap_or(Path::new("")).join(name)
    }

    fn weight(self) -> usize {
        self.config.demonstration_weight.unwrap_or(1).clamp(1, MAX_WEIGHT)
    }

    fn demonstrations(
        self,
        environment: &mut dyn Environment,
    ) -> Result<Option<Episodes>, DataError> {
        // All of them are learned from.
        if self.others.is_some() {
            return Ok(None);
        }
        self.demonstrations_file().map(|path| data::import(&path, environment, 0)).transpose()
    }
}

/// What paths a Trajectory Transformer learns from.
pub fn path_options(config: &TrajectoryConfig, environment: &dyn Environment) -> PathOptions {
    let policies = match config.policies.is_empty() {
        true => environment.policies().iter().take(1).map(|row| row.id.to_owned()).collect(),
        false => config.policies.clone(),
    };
    PathOptions {
        policies,
        stride: config.stride,
        observation: config.observation.clone(),
        ends_at_goal: config.layout.goals > 0,
        discount: config.layout.rewards.then_some(config.discount),
    }
}

/// What a training run is known by: the scene's hash, with what its data files
/// hold in place of what they are called.
///
/// # Errors
/// A data file that cannot be read.
pub fn training_hash(scene: &Scene, folder: Option<&Path>) -> Result<String, DataError> {
    let source = DataSource::new(&scene.data, folder);
    if !has_files(scene) {
        return Ok(scene.training_hash());
    }
    let (file, demonstrations) = (source.file(), source.demonstrations_file());
    let mut named = scene.clone();
    named.data.file = file.as_deref().map(hash_of).transpose()?;
    named.data.demonstrations = demonstrations.as_deref().map(hash_of).transpose()?;
    Ok(named.training_hash())
}

/// Whether every setting of a data set can be used.
///
/// # Errors
/// The dotted key of the first that cannot, and what would do.
pub fn check(data: &DataConfig) -> Result<(), (&'static str, &'static str)> {
    let is_all = data.file.is_some() && data.transitions == 0;
    if !is_all && !(100..=20_000_000).contains(&data.transitions) {
        let why = match data.file {
            None => "use 100 to 20000000",
            Some(_) => "use 100 to 20000000, or 0 for all of the file",
        };
        return Err(("data.transitions", why));
    }
    for (key, name) in [("data.file", &data.file), ("data.demonstrations", &data.demonstrations)] {
        if name.as_ref().is_some_and(|name| name.trim().is_empty()) {
            return Err((key, "name a file, or leave it out"));
        }
    }
    match data.demonstration_weight {
        Some(weight) if !(1..=MAX_WEIGHT).contains(&weight) => {
            Err(("data.demonstration_weight", "use 1 to 10000"))
        }
        _ => Ok(()),
    }
}

/// Whether some of the data is read from a file.
pub fn has_files(scene: &Scene) -> bool {
    scene.data.file.is_some() || scene.data.demonstrations.is_some()
}

/// The scene with whole paths of its data files, which lie relative to
/// `folder`: what a run keeps beside its weights, and can be continued from.
pub fn located(scene: &Scene, folder: Option<&Path>) -> Scene {
    let mut scene = scene.clone();
    let folder = folder.unwrap_or(Path::new(""));
    for name in [&mut scene.data.file, &mut scene.data.demonstrations].into_iter().flatten() {
        // Without a present folder the name has to do.
        if let Ok(whole) = std::path::absolute(folder.join(&*name)) {
            *name = whole.to_string_lossy().into_owned();
        }
    }
    scene
}

fn hash_of(path: &Path) -> Result<String, DataError> {
    let failed = |source| FileError::reading(path, source);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut digest = Sha256::new();
    std::io::copy(&mut file, &mut digest).map_err(failed)?;
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
