//! Training a probabilistic ensemble by maximum likelihood (Chua et al. 2018,
//! Section 4): every member on its own bootstrap of the transitions.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor, TensorData};

use super::ModelError;
use super::ensemble::{Ensemble, Standard, Transitions};
use super::learner::decayed;
use super::reading::read_one;
use crate::nn::adam::ModuleAdam;
use crate::nn::init::Initializer;
use crate::nn::mlp::Mlp;
use crate::nn::weights;
use crate::rng::Rng;

/// Pulls the bounds of ln var together, as in the released code.
const BOUND_PULL: f32 = 0.01;
/// Where the bounds of ln var start, as in the released code.
const BOUNDS: [f32; 2] = [0.5, -10.0];

/// Every number of an ensemble and its training.
#[derive(Clone, Debug, PartialEq)]
pub struct EnsembleConfig {
    /// Members; 5 in the paper.
    pub members: usize,
    /// Width of hidden layers.
    pub hidden: usize,
    /// Hidden layers; 3 in the paper.
    pub layers: usize,
    /// Transitions per member and step.
    pub batch: usize,
    /// Adam's step size at the start; it falls along a half cosine.
    pub learning_rate: f64,
    /// Optimizer steps.
    pub steps: usize,
}

impl Default for EnsembleConfig {
    /// Half a minute on one core.
    fn default() -> Self {
        Self { members: 5, hidden: 200, layers: 3, batch: 256, learning_rate: 2e-3, steps: 5000 }
    }
}

#[derive(Module, Debug)]
struct Members {
    members: Vec<Member>,
}

#[derive(Module, Debug)]
struct Member {
    network: Mlp,
    /// Soft bounds of ln var, `[N]`.
    max: Param<Tensor<1>>,
    min: Param<Tensor<1>>,
}

impl Member {
    /// Negative log-likelihood of standardized changes `y`, `[batch, N]`, per
    /// number and without its constant.
    fn loss(&self, x: Tensor<2>, y: Tensor<2>) -> Tensor<1> {
        let [rows, n] = y.dims();
        let out = self.network.forward(x);
        let mean = out.clone().slice([0..rows, 0..n]);
        let raw = out.slice([0..rows, n..2 * n]);
        let (max, min) = (self.max.val().unsqueeze::<2>(), self.min.val().unsqueeze::<2>());
        let below = max.clone() - softplus(max - raw, 1.0);
        let log_variance = min.clone() + softplus(below - min, 1.0);
        let off = (mean - y).square() * log_variance.clone().neg().exp();
        (off + log_variance).mean()
    }

    /// What keeps the bounds from drifting apart.
    fn pull(&self) -> Tensor<1> {
        (self.max.val().sum() - self.min.val().sum()).mul_scalar(BOUND_PULL)
    }
}

/// An ensemble in training.
pub struct EnsembleLearner {
    config: EnsembleConfig,
    data: Transitions,
    inputs: Standard,
    changes: Standard,
    /// Per member, transitions drawn with replacement.
    bootstraps: Vec<Vec<u32>>,
    members: Members,
    optimizer: ModuleAdam,
    rng: Rng,
    device: Device,
    step: usize,
}

impl EnsembleLearner {
    /// Fresh members for `seed`; `device` must not track gradients itself.
    ///
    /// # Errors
    /// No transition, more than fit 32 bits, numbers that are not finite, or an
    /// ensemble of nothing.
    pub fn new(
        config: EnsembleConfig,
        data: Transitions,
        seed: u64,
        device: Device,
    ) -> Result<Self, ModelError> {
        let refuse = |why: &str| Err(ModelError::Config(why.to_owned()));
        if data.is_empty() || u32::try_from(data.len()).is_err() {
            return refuse("an ensemble learns from 1 to 4294967295 transitions");
        }
        let numbers = [config.members, config.hidden, config.batch, config.steps];
        if numbers.contains(&0) {
            return refuse("an ensemble needs a member, a hidden unit, a batch and a step");
        }
        if !data.inputs.iter().chain(&data.changes).all(|value| value.is_finite()) {
            return refuse("the transitions hold numbers that are not finite");
        }
        let n = data.observation_dim;
        let width = n + data.action_dim;
        let tracked = device.autodiff();
        let mut init = Initializer::new(seed, &tracked);
        let member = |init: &mut Initializer| Member {
            network: Mlp::new(width, [config.hidden, config.layers], 2 * n, init),
            max: init.constant(n, BOUNDS[0]),
            min: init.constant(n, BOUNDS[1]),
        };
        let members = Members { members: (0..config.members).map(|_| member(&mut init)).collect() };
        let mut rng = Rng::stream(seed, "ensemble");
        let bootstrap =
            |rng: &mut Rng| (0..data.len()).map(|_| rng.below(data.len()) as u32).collect();
        Ok(Self {
            bootstraps: (0..config.members).map(|_| bootstrap(&mut rng)).collect(),
            inputs: Standard::of(&data.inputs, width),
            changes: Standard::of(&data.changes, n),
            optimizer: ModuleAdam::default(),
            step: 0,
            config,
            data,
            members,
            rng,
            device: tracked,
        })
    }

    /// Optimizer steps taken.
    pub fn step(&self) -> usize {
        self.step
    }

    /// How the data's observations spread, `[N]`.
    pub fn spread(&self) -> Standard {
        let n = self.data.observation_dim;
        Standard {
            mean: self.inputs.mean[..n].to_vec(),
            deviation: self.inputs.deviation[..n].to_vec(),
        }
    }

    /// Take one step. Returns the mean negative log-likelihood per standardized
    /// number, without its constant.
    ///
    /// # Errors
    /// A loss that is no number, or a lost device.
    pub fn train_step(&mut self) -> Result<f32, ModelError> {
        let mut sum: Option<[Tensor<1>; 2]> = None;
        for index in 0..self.config.members {
            let (x, y) = self.batch(index);
            let member = &self.members.members[index];
            let (loss, pull) = (member.loss(x, y), member.pull());
            sum = Some(match sum {
                Some([losses, pulls]) => [losses + loss, pulls + pull],
                None => [loss, pull],
            });
        }
        let Some([losses, pulls]) = sum else { return Ok(f32::NAN) };
        let grads = (losses.clone() + pulls).backward();
        let grads = GradientsParams::from_grads(grads, &self.members);
        let progress = self.step as f64 / self.config.steps as f64;
        let rate = decayed(self.config.learning_rate, progress);
        self.members = self.optimizer.step(rate, self.members.clone(), grads);
        self.step += 1;
        let loss = read_one(losses.inner())? / self.config.members as f32;
        if loss.is_finite() { Ok(loss) } else { Err(ModelError::Diverged { step: self.step }) }
    }

    /// A batch of a member's bootstrap, standardized: `[batch, N + M]` and
    /// `[batch, N]`.
    fn batch(&mut self, member: usize) -> (Tensor<2>, Tensor<2>) {
        let n = self.data.observation_dim;
        let width = n + self.data.action_dim;
        let rows = self.config.batch;
        let mut x = Vec::with_capacity(rows * width);
        let mut y = Vec::with_capacity(rows * n);
        for _ in 0..rows {
            let drawn = self.rng.below(self.bootstraps[member].len());
            let row = self.bootstraps[member][drawn] as usize;
            let inputs = self.data.inputs[row * width..(row + 1) * width].iter().enumerate();
            x.extend(inputs.map(|(column, value)| self.inputs.encode(column, *value)));
            let changes = self.data.changes[row * n..(row + 1) * n].iter().enumerate();
            y.extend(changes.map(|(column, value)| self.changes.encode(column, *value)));
        }
        let x = Tensor::from_data(TensorData::new(x, [rows, width]), &self.device);
        let y = Tensor::from_data(TensorData::new(y, [rows, n]), &self.device);
        (x, y)
    }

    /// The ensemble as it is now, on the host.
    ///
    /// # Errors
    /// A lost device.
    pub fn finish(&self) -> Result<Ensemble, ModelError> {
        let weights = weights::export(&self.members.valid())?;
        Ensemble::new(self.config.members, self.inputs.clone(), self.changes.clone(), &weights)
    }
}
