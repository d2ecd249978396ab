//! Scene files: a whole experiment as data. The only file that knows their
//! syntax (TOML).
//!
//! Raw in, checked inside: [`Scene::parse`] refuses unknown keys, sizes beyond
//! the limits and an environment that cannot be built, and says what to do.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::data_set;
use super::painting::Painting;
use crate::data::DataConfig;
use crate::env::{self, Environment, EnvironmentConfig, StateDimension};
use crate::files;
use crate::model::student::DistillConfig;
use crate::model::{ModelConfig, ModelNumbers};
use crate::plan::beam::BeamSettings;
use crate::plan::{ControlSettings, PlanSettings, Via};

/// Largest scene file read, in bytes.
pub const MAX_SCENE_BYTES: u64 = 256 * 1024;
/// The scene file version written and understood.
pub const FORMAT: u32 = 1;

/// Training budget and seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of weights, batches and noise.
    #[serde(default)]
    pub seed: u64,
    /// Optimizer steps.
    pub steps: usize,
}

/// Where the stage stands when the scene opens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// Start position, in environment units.
    pub start: [f32; 2],
    /// Goal position.
    pub goal: [f32; 2],
    /// Points the plan must pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<Via>,
    /// The start's state coordinates after the first two, velocities for one;
    /// zeros where there are fewer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rest: Vec<f32>,
    /// Seed of the noise.
    #[serde(default)]
    pub seed: u64,
    /// Rewards painted onto the map, instead of the environment's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewards: Option<Painting>,
}

/// What is asked of a gamma-model when the scene opens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OccupancySettings {
    /// Discount of one model step, within what the weights were trained for.
    pub discount: f32,
    /// Model steps chained (Theorem 1); 1 asks the model directly.
    pub steps: usize,
    /// Discount the chain is reweighted to, at least `discount`.
    pub long_discount: f32,
    /// Samples of model and truth.
    pub samples: usize,
    /// Whose future, where the model knows several policies; the first if
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

impl Default for OccupancySettings {
    fn default() -> Self {
        Self { discount: 0.95, steps: 1, long_discount: 0.95, samples: 2048, policy: None }
    }
}

impl OccupancySettings {
    /// The discount of the whole answer: that of the chain if there is one.
    pub fn total_discount(&self) -> f32 {
        if self.steps > 1 { self.long_discount.max(self.discount) } else { self.discount }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A whole experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// File version.
    pub format: u32,
    /// Shown in menus and the window's title.
    pub title: String,
    /// A sentence or two for the person who opens it.
    #[serde(default)]
    pub notes: String,
    /// The world.
    pub environment: EnvironmentConfig,
    /// The data set.
    pub data: DataConfig,
    /// The model and its weights.
    pub model: ModelConfig,
    /// The training budget.
    pub train: TrainConfig,
    /// The distilled network of a Diffuser; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distill: Option<DistillConfig>,
    /// Sampling and selection.
    #[serde(default, skip_serializing_if = "is_default")]
    pub plan: PlanSettings,
    /// Following the plan.
    #[serde(default, skip_serializing_if = "is_default")]
    pub control: ControlSettings,
    /// What is asked of a gamma-model.
    #[serde(default, skip_serializing_if = "is_default")]
    pub occupancy: OccupancySettings,
    /// Search over tokens.
    #[serde(default, skip_serializing_if = "is_default")]
    pub beam: BeamSettings,
    /// Start, goal and seed.
    pub stage: StageConfig,
}

/// What is wrong with a scene.
#[derive(Debug, thiserror::Error)]
pub enum SceneError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] crate::files::FileError),
    /// Not TOML, an unknown key, a missing key or a wrong type.
    #[error("the scene cannot be read: {0}")]
    Syntax(String),
    /// A value that cannot be used.
    #[error("the scene's {key} cannot be used: {why}")]
    Value {
        /// Dotted key.
        key: &'static str,
        /// Why, and what would do.
        why: String,
    },
    /// The environment refused its description.
    #[error(transparent)]
    Environment(#[from] env::EnvError),
    /// No such shipped scene or file.
    #[error("there is no scene \"{0}\"; give a .toml file or one of: {known}", known = super::shipped::names())]
    Unknown(String),
}

impl Scene {
    /// Read scene text.
    ///
    /// # Errors
    /// See [`SceneError`]; the message names the key and says what would do.
    pub fn parse(text: &str) -> Result<Self, SceneError> {
        if text.len() as u64 > MAX_SCENE_BYTES {
            let why =
                format!("it is {} bytes long; at most {MAX_SCENE_BYTES} are read", text.len());
            return Err(SceneError::Value { key: "text", why });
        }
        let scene: Self =
            toml::from_str(text).map_err(|error| SceneError::Syntax(error.to_string()))?;
        scene.check()?;
        Ok(scene)
    }

    /// Read a scene file; weights are relative to its folder.
    ///
    /// # Errors
    /// See [`SceneError`].
    pub fn read(path: &Path) -> Result<Self, SceneError> {
        Self::parse(&files::read_text_limited(path, MAX_SCENE_BYTES)?)
    }

    /// Open a shipped scene by name, or a file by path. The folder is `None`
    /// for a shipped scene.
    ///
    /// # Errors
    /// See [`SceneError`].
    pub fn open(name: &str) -> Result<(Self, Option<PathBuf>), SceneError> {
        if let Some(folder) = Self::folder(name) {
            return Ok((Self::read(Path::new(name))?, Some(folder)));
        }
        match super::shipped::find(name) {
            Some(shipped) => Ok((Self::parse(shipped.text)?, None)),
            None => Err(SceneError::Unknown(name.to_owned())),
        }
    }

    /// Where the scene file called `name` lies; `None` if there is none, as for
    /// a shipped scene.
    pub fn folder(name: &str) -> Option<PathBuf> {
        let path = Path::new(name);
        path.exists().then(|| path.parent().map(Path::to_path_buf).unwrap_or_default())
    }

    /// The scene as TOML.
    pub fn to_toml(&self) -> String {
        // Plain strings, numbers and tables always have a TOML form.
        toml::to_string_pretty(self).unwrap_or_default()
    }

    /// Write the scene atomically.
    ///
    /// # Errors
    /// A folder that cannot be written, or a full disk.
    pub fn write(&self, path: &Path) -> Result<(), SceneError> {
        Ok(files::write_atomic(path, self.to_toml().as_bytes())?)
    }

    /// Identifies what was trained on what: a hash of everything but the
    /// stage, the planner and the title.
    pub fn training_hash(&self) -> String {
        let mut model = self.model.clone();
        model.set_weights(None);
        let parts = (&self.environment, &self.data, &model, self.train.seed);
        let text = serde_json::to_string(&parts).unwrap_or_default();
        let digest = Sha256::digest(text.as_bytes());
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Build the environment.
    ///
    /// # Errors
    /// An environment that refuses its description.
    pub fn make_environment(&self) -> Result<Box<dyn Environment>, SceneError> {
        Ok(env::make(&self.environment)?)
    }

    /// Whether every value can be used.
    ///
    /// # Errors
    /// The first value that cannot, with what would do.
    pub fn check(&self) -> Result<(), SceneError> {
        let refuse = |key, why: String| Err(SceneError::Value { key, why });
        if self.format != FORMAT {
            let why = format!("{} is not {FORMAT}; this version reads only that one", self.format);
            return refuse("format", why);
        }
        if !(1..=100_000).contains(&self.environment.max_steps) {
            return refuse("environment.max_steps", "use 1 to 100000".into());
        }
        data_set::check(&self.data)
            .map_err(|(key, why)| SceneError::Value { key, why: why.into() })?;
        if self
            .environment
            .reference_scores
            .is_some_and(|[low, high]| low >= high || low.is_nan() || high.is_nan())
        {
            return refuse("environment.reference_scores", "the first must be the smaller".into());
        }
        self.check_plan()?;
        self.check_distill()?;
        self.check_occupancy()?;
        let environment = self.make_environment()?;
        let spec = environment.spec();
        let numbers = self
            .model
            .resolve(spec)
            .map_err(|error| SceneError::Value { key: "model", why: error.to_string() })?;
        match numbers {
            ModelNumbers::Trajectory(config) => {
                if let Err(error) = self.beam.check(config.layout) {
                    return refuse("beam", error.to_string());
                }
            }
            ModelNumbers::Gamma(config) => {
                for policy in &config.policies {
                    environment.policy(policy)?;
                }
                let asked = self.occupancy.policy.as_deref();
                if config.policy_row(asked).is_err() {
                    let (asked, known) = (asked.unwrap_or_default(), config.policies.join(", "));
                    let why =
                        format!("the model does not predict \"{asked}\"; use one of: {known}");
                    return refuse("occupancy.policy", why);
                }
            }
            ModelNumbers::Diffuser(_) => {}
        }
        self.check_rest(&spec.state)?;
        let workspace = environment.workspace();
        for (key, position) in [("stage.start", self.stage.start), ("stage.goal", self.stage.goal)]
        {
            if !workspace.is_free(position) {
                let [x, y] = position;
                let near = workspace.nearest_free(position).map_or_else(
                    || "there is no free place in this maze".to_owned(),
                    |[x, y]| format!("the nearest free place is [{x:.2}, {y:.2}]"),
                );
                return refuse(key, format!("[{x}, {y}] is inside a wall or off the map; {near}"));
            }
        }
        if !workspace.connected(self.stage.start, self.stage.goal) {
            return refuse(
                "stage.goal",
                "no path leads there from the start; move one or open a wall".into(),
            );
        }
        Ok(())
    }

    fn check_rest(&self, state: &[StateDimension]) -> Result<(), SceneError> {
        let refuse = |why: String| Err(SceneError::Value { key: "stage.rest", why });
        let (rest, left) = (&self.stage.rest, state.get(2..).unwrap_or_default());
        if rest.len() > left.len() {
            let n = left.len();
            return refuse(format!("{} numbers; here it has at most {n}", rest.len()));
        }
        for (value, StateDimension { name, low, high, .. }) in rest.iter().zip(left) {
            if !(low..=high).contains(&value) {
                return refuse(format!("{name} of {value}; use {low} to {high}"));
            }
        }
        Ok(())
    }

    fn check_distill(&self) -> Result<(), SceneError> {
        if let Some(Err(error)) = self.distill.as_ref().map(DistillConfig::validate) {
            return Err(SceneError::Value { key: "distill", why: error.to_string() });
        }
        if self.plan.sampler.row().is_distilled && self.distill.is_none() {
            let why = "there is no distilled network; add a [distill] section with steps = 2000 \
                       and run `foresight distill`, or use ddim or dpm-solver++";
            return Err(SceneError::Value { key: "plan.sampler", why: why.to_owned() });
        }
        Ok(())
    }

    fn check_occupancy(&self) -> Result<(), SceneError> {
        let refuse = |key, why: String| Err(SceneError::Value { key, why });
        let occupancy = &self.occupancy;
        for (key, discount) in [
            ("occupancy.discount", occupancy.discount),
            ("occupancy.long_discount", occupancy.long_discount),
        ] {
            if !(0.0..1.0).contains(&discount) {
                return refuse(key, format!("{discount}; use a number from 0 to below 1"));
            }
        }
        for (key, value, most) in [
            ("occupancy.steps", occupancy.steps, 1000),
            ("occupancy.samples", occupancy.samples, 1_000_000),
        ] {
            if !(1..=most).contains(&value) {
                return refuse(key, format!("{value}; use 1 to {most}"));
            }
        }
        Ok(())
    }

    fn check_plan(&self) -> Result<(), SceneError> {
        let plan = &self.plan;
        let ranges = [
            ("plan.candidates_per_duration", plan.candidates_per_duration, 64),
            ("plan.durations", plan.durations, 256),
            ("plan.denoising_steps", plan.denoising_steps, 1000),
            ("plan.drag_candidates", plan.drag_candidates, 1024),
            ("plan.guide.steps", plan.guide.steps, 100),
            ("control.replan_every", self.control.replan_every, 100_000),
        ];
        for (key, value, most) in ranges {
            if !(1..=most).contains(&value) {
                return Err(SceneError::Value { key, why: format!("{value}; use 1 to {most}") });
            }
        }
        if plan.warm_steps > 1000 {
            let why = format!("{}; use 0 to 1000", plan.warm_steps);
            return Err(SceneError::Value { key: "plan.warm_steps", why });
        }
        let numbers = [
            ("plan.speed_limit", plan.speed_limit),
            ("plan.guide.scale", plan.guide.scale),
            ("control.position_gain", self.control.position_gain),
            ("control.velocity_gain", self.control.velocity_gain),
            ("control.replan_distance", self.control.replan_distance),
        ];
        for (key, value) in numbers {
            if !(value.is_finite() && (0.0..=1e6).contains(&value)) {
                return Err(SceneError::Value {
                    key,
                    why: format!("{value}; use a number from 0"),
                });
            }
        }
        if self.stage.via.iter().any(|via| !(0.0..=1.0).contains(&via.fraction)) {
            let why = "fractions run from 0 at the start to 1 at the end".to_owned();
            return Err(SceneError::Value { key: "stage.via", why });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
