//! From a checkpoint to a model that fits the scene.

use burn::tensor::Device;

use super::{Checkpoint, CheckpointError};
use crate::model::diffuser::{Diffuser, DiffuserConfig};
use crate::model::gamma::{GammaConfig, GammaModel, GammaNetwork};
use crate::model::guide::{ReturnGuide, take_prefixed};
use crate::model::student;
use crate::model::trajectory::{TrajectoryConfig, TrajectoryModel};
use crate::model::{ModelError, ModelNumbers};
use crate::nn::init::Initializer;
use crate::nn::weights;

impl Checkpoint {
    /// The model, checked against what a scene asks for.
    ///
    /// # Errors
    /// Another architecture, or weights that are not finite.
    pub fn diffuser(
        mut self,
        name: &str,
        asked: &DiffuserConfig,
        device: Device,
    ) -> Result<Diffuser, CheckpointError> {
        let ModelNumbers::Diffuser(found) = self.header.model else {
            return Err(other_model(name, &self.header.model, "a Diffuser"));
        };
        found.validate()?;
        let same = found.dims() == asked.dims()
            && found.action_dim == asked.action_dim
            && found.multipliers == asked.multipliers
            && found.width == asked.width
            && found.takes_duration() == asked.takes_duration()
            && found.guide.as_ref().map(|guide| guide.width)
                == asked.guide.as_ref().map(|guide| guide.width);
        if !same {
            let guided = |config: &DiffuserConfig| match &config.guide {
                Some(guide) => format!("with a guide of width {}", guide.width),
                None => "without a guide".to_owned(),
            };
            let why = format!(
                "it holds a {} network with multipliers {:?} over {} numbers {}, the scene asks for {} with {:?} over {} {}; \
                 change the scene's model section or its weights",
                found.preset.name(),
                found.multipliers,
                found.dims(),
                guided(&found),
                asked.preset.name(),
                asked.multipliers,
                asked.dims(),
                guided(asked),
            );
            return Err(CheckpointError::Mismatch { name: name.to_owned(), why });
        }
        let normalizer = self.header.normalizer.filter(|limits| limits.dims() == found.dims());
        let Some(normalizer) = normalizer else {
            let why = "its data limits are absent or have another size".to_owned();
            return Err(CheckpointError::Damaged { name: name.to_owned(), why });
        };
        let of_guide = take_prefixed(&mut self.weights);
        let guide = found
            .guide
            .as_ref()
            .map(|guide| ReturnGuide::load(&found, guide, of_guide, &device.clone().autodiff()))
            .transpose()?;
        let of_student = self.header.student.as_ref().map(|_| student::take(&mut self.weights));
        let student = of_student
            .map(|named| weights::import(found.network().init(0, &device), named))
            .transpose()
            .map_err(ModelError::from)?;
        let network = found.network().init(0, &device);
        let network = weights::import(network, self.weights).map_err(ModelError::from)?;
        let diffuser = Diffuser::new(found, normalizer, network, device);
        Ok(diffuser.with_guide(guide).with_student(student))
    }

    /// The gamma-model, checked against what a scene asks for.
    ///
    /// # Errors
    /// Another architecture, policy or state space, or weights that are not
    /// finite.
    pub fn gamma(
        self,
        name: &str,
        asked: &GammaConfig,
        device: Device,
    ) -> Result<GammaModel, CheckpointError> {
        let ModelNumbers::Gamma(found) = self.header.model else {
            return Err(other_model(name, &self.header.model, "a \u{3b3}-model"));
        };
        found.validate()?;
        let names = |config: &GammaConfig| -> Vec<String> {
            config.state.iter().map(|dimension| dimension.name.clone()).collect()
        };
        let mismatch = |why: String| CheckpointError::Mismatch { name: name.to_owned(), why };
        let same = found.objective.is_adversarial() == asked.objective.is_adversarial()
            && found.network() == asked.network()
            && found.gan() == asked.gan();
        if !same || names(&found) != names(asked) {
            return Err(mismatch(format!(
                "it holds a {} network of {} couplings, {} bins and width {} over {}, the scene asks for {} with {}, {} and {} over {}; \
                 change the scene's model section or its weights",
                found.preset.name(),
                found.couplings,
                found.bins,
                found.hidden,
                names(&found).join(", "),
                asked.preset.name(),
                asked.couplings,
                asked.bins,
                asked.hidden,
                names(asked).join(", "),
            )));
        }
        if found.policies != asked.policies {
            return Err(mismatch(format!(
                "it predicts {}, the scene asks for {}; train again or change the scene's policies",
                found.policies.join(", "),
                asked.policies.join(", ")
            )));
        }
        let network = GammaNetwork::init(&found, &mut Initializer::new(0, &device));
        let network = weights::import(network, self.weights).map_err(ModelError::from)?;
        Ok(GammaModel::new(found, network, device))
    }

    /// The Trajectory Transformer, checked against what a scene asks for.
    ///
    /// # Errors
    /// Another architecture, or weights that are not finite.
    pub fn trajectory(
        self,
        name: &str,
        asked: &TrajectoryConfig,
    ) -> Result<TrajectoryModel, CheckpointError> {
        let ModelNumbers::Trajectory(found) = self.header.model else {
            return Err(other_model(name, &self.header.model, "a Trajectory Transformer"));
        };
        found.validate()?;
        if found.network() != asked.network()
            || found.observation != asked.observation
            || found.stride != asked.stride
        {
            let why = format!(
                "it holds {} layers of width {} over {} tokens a transition of {} steps, the scene asks for {}, {}, {} and {}; \
                 change the scene's model section or its weights",
                found.layers,
                found.width,
                found.layout.per_transition(),
                found.stride,
                asked.layers,
                asked.width,
                asked.layout.per_transition(),
                asked.stride,
            );
            return Err(CheckpointError::Mismatch { name: name.to_owned(), why });
        }
        let Some(discretizer) = self.header.discretizer else {
            let why = "it lacks the bins its tokens stand for".to_owned();
            return Err(CheckpointError::Damaged { name: name.to_owned(), why });
        };
        Ok(TrajectoryModel::new(found, discretizer, &self.weights)?)
    }
}

fn other_model(name: &str, found: &ModelNumbers, asked: &str) -> CheckpointError {
    let found = found.with_article();
    let why =
        format!("it holds {found}, the scene asks for {asked}; change model.id or the weights");
    CheckpointError::Mismatch { name: name.to_owned(), why }
}
