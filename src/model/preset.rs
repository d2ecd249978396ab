//! The Diffuser's section of a scene file and the presets it starts from.
//!
//! `paper` holds the thesis's values (Appendix C), `code` those of the released
//! repository where the two differ, `quick` ours: few waypoints over a variable
//! duration, small enough to train on two cores, and `quick-fixed` the same
//! budget at one fixed duration.

use serde::{Deserialize, Serialize};

use super::ModelError;
use super::diffuser::{DiffuserConfig, Parametrization};
use super::guide::GuideConfig;
use crate::data::Duration;
use crate::env::EnvironmentSpec;

/// Where a run's numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The thesis.
    Paper,
    /// The released code.
    Code,
    /// Ours: 64 waypoints over a variable duration.
    Quick,
    /// Ours: 64 waypoints over one fixed duration.
    QuickFixed,
}

impl Preset {
    /// The name in scene files and results.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Paper => "paper",
            Preset::Code => "code",
            Preset::Quick => "quick",
            Preset::QuickFixed => "quick-fixed",
        }
    }
}

/// The model section of a Diffuser's scene: a preset and what departs from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffuserSection {
    /// Where unspecified numbers come from.
    pub preset: Preset,
    /// Weights file, relative to the scene file. Without it the weights are
    /// random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Steps of a fixed-duration plan (`paper`, `code`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<usize>,
    /// Shortest and longest duration in environment steps (`quick`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<[f32; 2]>,
    /// Environment steps from one waypoint to the next (`quick-fixed`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// Waypoints per plan (`quick`, `quick-fixed`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waypoints: Option<usize>,
    /// Whether plans hold actions (`quick`, `quick-fixed`, which leave them out
    /// by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<bool>,
    /// Ids of the policies whose episodes are learned from; the environment's
    /// own behavior if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// The predictor of returns that guides plans; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guide: Option<GuideConfig>,
    /// Width of every U-Net level as a multiple of 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipliers: Option<Vec<usize>>,
    /// Diffusion times T.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diffusion_steps: Option<usize>,
    /// What the network predicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parametrization: Option<Parametrization>,
    /// Plans per training step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Adam's step size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

impl DiffuserSection {
    /// Every number of the model, for an environment.
    ///
    /// # Errors
    /// An unknown model, or numbers no network can have.
    pub fn resolve(&self, spec: &EnvironmentSpec) -> Result<DiffuserConfig, ModelError> {
        let mut config = match self.preset {
            Preset::Quick => self.quick(spec)?,
            Preset::QuickFixed => self.quick_fixed(spec),
            Preset::Paper => DiffuserConfig { learning_rate: 4e-5, ..self.released(spec)? },
            Preset::Code => self.released(spec)?,
        };
        if let Some(multipliers) = &self.multipliers {
            config.multipliers.clone_from(multipliers);
        }
        config.diffusion_steps = self.diffusion_steps.unwrap_or(config.diffusion_steps);
        config.parametrization = self.parametrization.unwrap_or(config.parametrization);
        config.batch = self.batch.unwrap_or(config.batch);
        config.learning_rate = self.learning_rate.unwrap_or(config.learning_rate);
        config.policies.clone_from(&self.policies);
        config.guide.clone_from(&self.guide);
        config.validate()?;
        Ok(config)
    }

    fn quick(&self, spec: &EnvironmentSpec) -> Result<DiffuserConfig, ModelError> {
        let [min, max] = self.duration.ok_or_else(|| {
            ModelError::Config(
                "the quick preset needs duration = [shortest, longest] in steps".into(),
            )
        })?;
        Ok(self.ours(spec, self.waypoints.unwrap_or(64), Duration::LogUniform { min, max }))
    }

    fn quick_fixed(&self, spec: &EnvironmentSpec) -> DiffuserConfig {
        let waypoints = self.waypoints.unwrap_or(64);
        let steps = ((waypoints.max(2) - 1) * self.stride.unwrap_or(6)) as f32;
        self.ours(spec, waypoints, Duration::Fixed { steps })
    }

    /// What both quick presets share: a small network, and states alone unless
    /// actions are asked for.
    fn ours(&self, spec: &EnvironmentSpec, waypoints: usize, duration: Duration) -> DiffuserConfig {
        DiffuserConfig {
            preset: self.preset,
            observation_dim: spec.observation.len(),
            action_dim: if self.actions == Some(true) { spec.action.len() } else { 0 },
            goal_dims: spec.goal_dims.len(),
            fixes_final_state: false,
            waypoints,
            duration,
            width: 32,
            multipliers: vec![1, 2, 4],
            diffusion_steps: 64,
            parametrization: Parametrization::Clean,
            clip: true,
            batch: 64,
            accumulate: 1,
            learning_rate: 4e-4,
            decay_learning_rate: true,
            ema_decay: 0.995,
            ema_every: 1,
            ema_start: 0,
            policies: Vec::new(),
            guide: None,
        }
    }

    /// Horizon at stride 1 with actions, as published.
    fn released(&self, spec: &EnvironmentSpec) -> Result<DiffuserConfig, ModelError> {
        let horizon = self.horizon.ok_or_else(|| {
            ModelError::Config(format!("the {} preset needs horizon = steps", self.preset.name()))
        })?;
        Ok(DiffuserConfig {
            preset: self.preset,
            observation_dim: spec.observation.len(),
            action_dim: spec.action.len(),
            goal_dims: spec.goal_dims.len(),
            fixes_final_state: true,
            waypoints: horizon,
            duration: Duration::Fixed { steps: (horizon.max(2) - 1) as f32 },
            width: 32,
            multipliers: vec![1, 4, 8],
            // The thesis does not give T for the mazes; the code does.
            diffusion_steps: if horizon <= 128 { 64 } else { 256 },
            parametrization: Parametrization::Clean,
            clip: true,
            batch: 32,
            accumulate: 2,
            learning_rate: 2e-4,
            decay_learning_rate: false,
            ema_decay: 0.995,
            ema_every: 10,
            ema_start: 2000,
            policies: Vec::new(),
            guide: None,
        })
    }
}
