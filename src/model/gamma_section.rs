//! A gamma-model's section of a scene, and the presets its numbers start from.
//!
//! `paper` holds the thesis's values (Table A.2), `code` those of the released
//! repository where the two differ (a lower discount for sampling than for the
//! target, a burn-in, weight decay; normalization by data, invertible 1x1
//! convolutions and doubly normalized knots in the flow), `quick` ours: maximum likelihood on
//! multi-step targets, one model for all discounts and for unknown actions.
//! All three put angles on a circle instead of in ambient space.

use serde::{Deserialize, Serialize};

use super::gamma_config::{GammaConfig, Objective};
use super::{ModelError, Preset};
use crate::env::EnvironmentSpec;

/// The model section of a gamma-model's scene.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GammaSection {
    /// Where unspecified numbers come from.
    pub preset: Preset,
    /// The Markov policy it predicts, a row of the environment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Several of them instead, for a network that is told which one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Weights file, relative to the scene file. Without it the weights are
    /// random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Smallest and largest discount it learns; equal for a single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount: Option<[f32; 2]>,
    /// Couplings per pair of coordinates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub couplings: Option<usize>,
    /// Bins per spline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bins: Option<usize>,
    /// Width of the conditioners' three hidden layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<usize>,
    /// Standard deviation of the target's Gaussian, as a share of half a
    /// coordinate's range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f32>,
    /// What it is fitted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// Most steps of a target before it bootstraps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_steps: Option<usize>,
    /// Pairs per training step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Adam's step size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

impl GammaSection {
    /// Every number, for an environment.
    ///
    /// # Errors
    /// Numbers no model can have, with what would do.
    pub fn resolve(&self, spec: &EnvironmentSpec) -> Result<GammaConfig, ModelError> {
        if self.policy.is_some() != self.policies.is_empty() {
            return Err(ModelError::Config(
                "give policy = \"...\" for one policy or policies = [\"...\", ...] for several, and not both"
                    .into(),
            ));
        }
        let adversarial = self.objective.is_some_and(Objective::is_adversarial);
        let mut config = match self.preset {
            Preset::QuickFixed => {
                return Err(ModelError::Config(
                    "a gamma-model has the presets paper, code and quick".into(),
                ));
            }
            _ if adversarial => self.generator(spec),
            Preset::Quick => self.quick(spec),
            Preset::Paper => self.paper(spec),
            Preset::Code => GammaConfig {
                sample_discount: Some(0.9),
                burn_in: 2000,
                weight_decay: 1e-5,
                as_released: true,
                ..self.paper(spec)
            },
        };
        config.discount = self.discount.unwrap_or(config.discount);
        config.couplings = self.couplings.unwrap_or(config.couplings);
        config.bins = self.bins.unwrap_or(config.bins);
        config.hidden = self.hidden.unwrap_or(config.hidden);
        config.objective = self.objective.unwrap_or(config.objective);
        config.target_steps = self.target_steps.unwrap_or(config.target_steps);
        config.batch = self.batch.unwrap_or(config.batch);
        config.learning_rate = self.learning_rate.unwrap_or(config.learning_rate);
        if let Some(noise) = self.noise {
            config.noise = relative_noise(spec, noise);
        }
        config.validate()?;
        Ok(config)
    }

    /// The policies it predicts, one or several.
    pub fn policies(&self) -> Vec<&str> {
        self.policy.iter().chain(&self.policies).map(String::as_str).collect()
    }

    fn paper(&self, spec: &EnvironmentSpec) -> GammaConfig {
        GammaConfig {
            preset: self.preset,
            policies: self.policies().into_iter().map(str::to_owned).collect(),
            state: spec.state.clone(),
            action_dim: spec.action.len(),
            goal_dims: spec.goal_dims.clone(),
            discount: [0.99; 2],
            sample_discount: None,
            burn_in: 0,
            couplings: 6,
            bins: 16,
            hidden: 256,
            layers: 3,
            harmonics: 1,
            // sigma^2 = 1e-2 in the coordinates' own units.
            noise: vec![0.1; spec.state.len()],
            objective: Objective::LogDensity,
            samples_per_pair: 1,
            target_steps: 1,
            masks_action: false,
            batch: 1024,
            learning_rate: 1e-4,
            decay_learning_rate: false,
            weight_decay: 0.0,
            ema_decay: 0.995,
            as_released: false,
        }
    }

    /// Algorithm 2: Table A.2's GAN under `paper` and `code`, fewer samples
    /// and one network for all discounts under `quick`.
    fn generator(&self, spec: &EnvironmentSpec) -> GammaConfig {
        let paper = GammaConfig {
            layers: 2,
            // A delta at s', as in the thesis.
            noise: vec![0.0; spec.state.len()],
            batch: 128,
            samples_per_pair: 512,
            ..self.paper(spec)
        };
        match self.preset {
            Preset::Quick => GammaConfig {
                discount: [0.0, 0.99],
                harmonics: 4,
                target_steps: 100,
                masks_action: true,
                samples_per_pair: 16,
                ..paper
            },
            _ => paper,
        }
    }

    fn quick(&self, spec: &EnvironmentSpec) -> GammaConfig {
        GammaConfig {
            discount: [0.0, 0.99],
            hidden: 128,
            harmonics: 8,
            noise: relative_noise(spec, 0.005),
            objective: Objective::Likelihood,
            target_steps: 100,
            masks_action: true,
            batch: 512,
            learning_rate: 1e-3,
            decay_learning_rate: true,
            ..self.paper(spec)
        }
    }
}

fn relative_noise(spec: &EnvironmentSpec, share: f32) -> Vec<f32> {
    spec.state.iter().map(|dimension| share * (dimension.high - dimension.low) / 2.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{self, EnvironmentConfig};

    fn resolve(text: &str) -> Result<GammaConfig, String> {
        let config = EnvironmentConfig {
            id: "pendulum".into(),
            maze: String::new(),
            door_width: None,
            max_steps: 200,
            reference_scores: None,
        };
        let pendulum = env::make(&config).unwrap();
        let section: GammaSection = toml::from_str(text).map_err(|error| error.to_string())?;
        section.resolve(pendulum.spec()).map_err(|error| error.to_string())
    }

    #[test]
    fn one_policy_or_several_and_each_a_number_more_in_the_condition() {
        let one = resolve("preset = \"quick\"\npolicy = \"random\"").unwrap();
        let same = resolve("preset = \"quick\"\npolicies = [\"random\"]").unwrap();
        assert_eq!(one, same);
        let two = resolve("preset = \"quick\"\npolicies = [\"random\", \"mixture\"]").unwrap();
        assert_eq!(two.n_condition(), one.n_condition() + 2);
        assert_eq!([None, Some("mixture")].map(|name| two.policy_row(name).unwrap()), [0, 1]);
        assert!(two.policy_row(Some("swing-up")).unwrap_err().to_string().contains("mixture"));
        for wrong in [
            "preset = \"quick\"",
            "preset = \"quick\"\npolicy = \"random\"\npolicies = [\"mixture\"]",
        ] {
            assert!(resolve(wrong).unwrap_err().contains("policies = ["), "{wrong}");
        }
        let twice = "preset = \"quick\"\npolicies = [\"random\", \"random\"]";
        assert!(resolve(twice).unwrap_err().contains("different"));
    }

    #[test]
    fn older_weights_name_their_policy_alone() {
        let config = resolve("preset = \"paper\"\npolicy = \"random\"").unwrap();
        let mut json = serde_json::to_value(&config).unwrap();
        let map = json.as_object_mut().unwrap();
        assert!(!map.contains_key("as_released"), "what older programs do not know is left out");
        map.remove("policies");
        map.insert("policy".into(), "random".into());
        assert_eq!(serde_json::from_value::<GammaConfig>(json).unwrap(), config);
    }

    #[test]
    fn only_the_preset_code_takes_over_the_released_flow_and_no_preset_is_silently_another() {
        let released = |preset: &str| {
            let text = format!("preset = \"{preset}\"\npolicy = \"random\"");
            resolve(&text).unwrap().network().as_released
        };
        assert_eq!([released("paper"), released("code"), released("quick")], [false, true, false]);
        for objective in ["gan", "likelihood"] {
            let text = format!(
                "preset = \"quick-fixed\"\npolicy = \"random\"\nobjective = \"{objective}\""
            );
            assert!(resolve(&text).unwrap_err().contains("paper, code and quick"), "{objective}");
        }
    }
}
