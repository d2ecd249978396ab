//! A scene's data set to look at: the first episodes of it, collected or read
//! on a thread of their own.

mod keeper;

use std::ops::ControlFlow;
use std::path::Path;

pub use keeper::EpisodeKeeper;

use super::data_set::{DataSource, path_options};
use super::scene::{Scene, SceneError};
use crate::data::{self, DataConfig, DataError, Episodes, Paths, Stretches};
use crate::env::{EnvError, Environment};
use crate::model::{ModelError, ModelNumbers};

/// The most episodes that are kept to look at.
pub const MOST_EPISODES: usize = 200;
/// The most environment steps that are collected for them.
pub const MOST_STEPS: usize = 40_000;

/// One episode.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenEpisode {
    /// Whose it is: a policy's name, "file" or "demonstration".
    pub by: String,
    /// Full states, one per entry.
    pub states: Vec<Vec<f32>>,
    /// The action of each entry; one less than states, or as many.
    pub actions: Vec<Vec<f32>>,
    /// What each entry paid, as many as actions.
    pub rewards: Vec<f32>,
    /// Environment steps per entry.
    pub stride: usize,
}

impl SeenEpisode {
    /// The sum of its rewards.
    pub fn total(&self) -> f32 {
        self.rewards.iter().sum()
    }

    /// Its length in environment steps.
    pub fn steps(&self) -> usize {
        self.actions.len() * self.stride
    }
}

/// Where looking at the data stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// Collecting or reading.
    Loading,
    /// Everything that will be shown is there.
    Done,
    /// It cannot be shown, with what would do.
    Failed(String),
}

/// The data set, as far as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct EpisodesFrame {
    /// Number of the question.
    pub id: u64,
    /// Where it stands.
    pub stage: Stage,
    /// The episodes; demonstrations come first.
    pub episodes: Vec<SeenEpisode>,
    /// What they are a part of, in a sentence.
    pub sample: String,
}

/// Why a data set cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum EpisodesError {
    /// The scene.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A policy.
    #[error(transparent)]
    Environment(#[from] EnvError),
    /// The model, whose data it is.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// The first episodes of a scene's data set and all demonstrations, with a
/// sentence that says how much of the whole they are. A break from `on_step`
/// leaves what there is.
///
/// # Errors
/// See [`EpisodesError`].
pub fn first_episodes(
    scene: &Scene,
    folder: Option<&Path>,
    on_step: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<(Vec<SeenEpisode>, String), EpisodesError> {
    let mut environment = scene.make_environment()?;
    let environment = environment.as_mut();
    let source = DataSource::new(&scene.data, folder);
    let mut all = Vec::new();
    if let Some(path) = source.demonstrations_file() {
        let shown = data::import(&path, environment, 0)?;
        all.extend(seen(&shown, "demonstration", environment));
        all.truncate(MOST_EPISODES);
    }
    let demonstrations = all.len();
    let whole = match source.file() {
        Some(path) => {
            let read = data::import(&path, environment, scene.data.transitions)?;
            let n = read.episodes().len();
            all.extend(seen(&read, "file", environment));
            format!("of {n} episodes in {}", path.display())
        }
        None => {
            let few = DataConfig {
                transitions: scene.data.transitions.min(MOST_STEPS),
                ..scene.data.clone()
            };
            all.extend(collected(scene, &few, environment, on_step)?);
            format!("of {} transitions, collected again from their seed", scene.data.transitions)
        }
    };
    all.truncate(demonstrations + MOST_EPISODES);
    let n = all.len() - demonstrations;
    let extra = match demonstrations {
        0 => String::new(),
        1 => "1 demonstration and ".to_owned(),
        _ => format!("{demonstrations} demonstrations and "),
    };
    Ok((all, format!("{extra}the first {n} episodes {whole}.")))
}

/// What the scene's model would collect.
fn collected(
    scene: &Scene,
    few: &DataConfig,
    environment: &mut dyn Environment,
    on_step: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Vec<SeenEpisode>, EpisodesError> {
    Ok(match scene.model.resolve(environment.spec())? {
        ModelNumbers::Diffuser(config) => {
            let by = if config.policies.is_empty() { "behavior" } else { "policies" };
            let episodes = data::collect_episodes(environment, &config.policies, few, on_step)?;
            seen(&episodes, by, environment)
        }
        ModelNumbers::Gamma(config) => {
            let stretches = data::collect_stretches(environment, &config.policies, few, on_step)?;
            of_stretches(&stretches, &config.policies, environment)?
        }
        ModelNumbers::Trajectory(config) => {
            let options = path_options(&config, environment);
            let paths = data::collect_paths(environment, &options, few, on_step)?;
            of_paths(&paths, &options.policies, &options.observation, environment)
        }
    })
}

fn seen(all: &Episodes, by: &str, environment: &dyn Environment) -> Vec<SeenEpisode> {
    let episode = |range: std::ops::Range<usize>| {
        // Where the world goes on, the next entry is where this one ends.
        let ends = all.terminals.get(range.end - 1).copied().unwrap_or(true);
        let last = if ends { range.end } else { (range.end + 1).min(all.len()) };
        SeenEpisode {
            by: by.to_owned(),
            states: (range.start..last).map(|i| environment.state_of(all.observation(i))).collect(),
            actions: range.clone().map(|i| all.action(i).to_vec()).collect(),
            rewards: all.rewards.get(range).unwrap_or_default().to_vec(),
            stride: 1,
        }
    };
    // More than are shown need not be copied.
    all.episodes().into_iter().take(MOST_EPISODES).map(episode).collect()
}

fn of_paths(
    paths: &Paths,
    policies: &[String],
    observation: &[usize],
    environment: &dyn Environment,
) -> Vec<SeenEpisode> {
    let n_dims = environment.spec().observation.len();
    let state = |part: &[f32]| {
        let mut whole = vec![0.0; n_dims];
        for (dim, value) in observation.iter().zip(part) {
            if let Some(slot) = whole.get_mut(*dim) {
                *slot = *value;
            }
        }
        environment.state_of(&whole)
    };
    let episode = |path: usize| {
        let range = paths.range(path);
        let ends = std::iter::once(state(paths.last(path)));
        let whose = paths.policies.get(path).and_then(|whose| policies.get(*whose));
        SeenEpisode {
            by: whose.cloned().unwrap_or_else(|| "file".into()),
            states: range.clone().map(|i| state(paths.observation(i))).chain(ends).collect(),
            actions: range.clone().map(|i| paths.action(i).to_vec()).collect(),
            rewards: paths.rewards.get(range).unwrap_or_default().to_vec(),
            stride: paths.stride,
        }
    };
    (0..paths.paths().min(MOST_EPISODES)).map(episode).collect()
}

/// Stretches with the reward of each state that they come to.
fn of_stretches(
    stretches: &Stretches,
    policies: &[String],
    environment: &mut dyn Environment,
) -> Result<Vec<SeenEpisode>, EnvError> {
    let mut all = Vec::new();
    for stretch in 0..stretches.len().min(MOST_EPISODES) {
        environment.set_goal(stretches.goal(stretch))?;
        let steps = stretches.steps;
        let reward = |step: usize| environment.state_reward(stretches.state(stretch, step + 1));
        let whose = stretches.policies.get(stretch).and_then(|row| policies.get(*row));
        let policy = whose.map_or("", String::as_str);
        let by = match stretches.starts_on_policy.get(stretch) {
            // The first action is another policy's.
            Some(false) => format!("any+{policy}"),
            _ => policy.to_owned(),
        };
        all.push(SeenEpisode {
            by,
            states: (0..=steps).map(|step| stretches.state(stretch, step).to_vec()).collect(),
            actions: (0..steps).map(|step| stretches.action(stretch, step).to_vec()).collect(),
            rewards: (0..steps).map(reward).collect(),
            stride: 1,
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
