//! A probabilistic ensemble, which predicts one step at a time: what long
//! dreams of a sequence model are compared with.
//!
//! Chua, Calandra, McAllister, Levine: Deep Reinforcement Learning in a Handful
//! of Trials using Probabilistic Dynamics Models, NeurIPS 2018 (PETS).
//!
//!   member b   s' - s ~ N(mu_b(s, a), diag var_b(s, a))
//!   loss       (y - mu)^2 / var + ln var, each b on its own bootstrap
//!   bounds     ln var = min + softplus(ln var' - min),
//!              ln var' = max - softplus(max - ln var''), max and min learned
//!   rolling    TS1: every particle asks another member at every step
//!
//! `s` is what the model sees of the observation where a transition begins and
//! `a` the mean action over the transition's steps, as in
//! [`Paths`](crate::data::Paths). Inputs and outputs are standardized.

use rayon::prelude::*;

use super::ModelError;
use crate::data::Paths;
use crate::nn::weights::{HostTensor, NamedTensors};

pub use super::ensemble_learner::{EnsembleConfig, EnsembleLearner};

/// Rows that a thread predicts together.
const SHARE: usize = 16;

/// Means and standard deviations of the columns of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Standard {
    /// `[columns]`.
    pub mean: Vec<f32>,
    /// `[columns]`; 1 where a column does not vary.
    pub deviation: Vec<f32>,
}

impl Standard {
    /// Of `rows`, `[n, columns]`, in double precision.
    pub fn of(rows: &[f32], columns: usize) -> Self {
        let n = (rows.len() / columns.max(1)).max(1) as f64;
        let mut mean = vec![0.0_f64; columns];
        for row in rows.chunks_exact(columns.max(1)) {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value) / n);
        }
        let mut variance = vec![0.0_f64; columns];
        for row in rows.chunks_exact(columns.max(1)) {
            for ((sum, value), mean) in variance.iter_mut().zip(row).zip(&mean) {
                *sum += (f64::from(*value) - mean).powi(2) / n;
            }
        }
        let deviation = |variance: &f64| {
            let deviation = variance.sqrt() as f32;
            if deviation > 1e-6 { deviation } else { 1.0 }
        };
        Self {
            mean: mean.iter().map(|value| *value as f32).collect(),
            deviation: variance.iter().map(deviation).collect(),
        }
    }

    /// `value` of a column in standard deviations from its mean.
    pub fn encode(&self, column: usize, value: f32) -> f32 {
        (value - self.mean[column]) / self.deviation[column]
    }

    /// Root mean square difference of two rows in standard deviations; that of
    /// two unrelated rows of the table is about 1.4.
    pub fn distance(&self, a: &[f32], b: &[f32]) -> f64 {
        let squares = a.iter().zip(b).zip(&self.deviation);
        let sum: f64 = squares.map(|((a, b), d)| f64::from((a - b) / d).powi(2)).sum();
        (sum / self.deviation.len().max(1) as f64).sqrt()
    }
}

/// Transitions as an ensemble learns them.
#[derive(Clone, Debug, PartialEq)]
pub struct Transitions {
    /// Numbers per observation, N.
    pub observation_dim: usize,
    /// Numbers per action, M.
    pub action_dim: usize,
    /// `s, a`, `[n, N + M]`.
    pub inputs: Vec<f32>,
    /// `s' - s`, `[n, N]`.
    pub changes: Vec<f32>,
}

impl Transitions {
    /// Every transition of `paths`.
    pub fn of(paths: &Paths) -> Self {
        let mut inputs =
            Vec::with_capacity(paths.len() * (paths.observation_dim + paths.action_dim));
        let mut changes = Vec::with_capacity(paths.len() * paths.observation_dim);
        for path in 0..paths.paths() {
            let range = paths.range(path);
            for i in range.clone() {
                let here = paths.observation(i);
                let is_last = i + 1 == range.end;
                let next = if is_last { paths.last(path) } else { paths.observation(i + 1) };
                inputs.extend_from_slice(here);
                inputs.extend_from_slice(paths.action(i));
                changes.extend(next.iter().zip(here).map(|(next, here)| next - here));
            }
        }
        let (observation_dim, action_dim) = (paths.observation_dim, paths.action_dim);
        Self { observation_dim, action_dim, inputs, changes }
    }

    /// Number of transitions.
    pub fn len(&self) -> usize {
        self.changes.len() / self.observation_dim.max(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Gaussians over the next observation, in its units.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gaussians {
    /// `[rows, N]`.
    pub mean: Vec<f32>,
    /// `[rows, N]`.
    pub variance: Vec<f32>,
}

impl Gaussians {
    /// ln of the density of `observation` under row `row` of `n` numbers.
    pub fn log_density(&self, row: usize, observation: &[f32]) -> f64 {
        const LN_TAU: f64 = 1.837_877_066_409_345_3;
        let n = observation.len();
        let (mean, variance) = (&self.mean[row * n..], &self.variance[row * n..]);
        let terms = observation.iter().zip(mean).zip(variance).map(|((value, mean), variance)| {
            let (off, variance) = (f64::from(value - mean), f64::from(*variance));
            off * off / variance + variance.ln() + LN_TAU
        });
        -0.5 * terms.sum::<f64>()
    }
}

/// A trained ensemble on the host: it is asked for a few rows at a time.
#[derive(Clone, Debug)]
pub struct Ensemble {
    inputs: Standard,
    changes: Standard,
    members: Vec<Member>,
}

/// A member's layers.
#[derive(Clone, Debug)]
struct Member {
    layers: Vec<Dense>,
    /// Bounds of ln var of the standardized change, `[N]`.
    max: Vec<f32>,
    min: Vec<f32>,
}

/// `y = x W + b`, W `[inputs, outputs]`.
#[derive(Clone, Debug)]
struct Dense {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Ensemble {
    /// `n` members from `weights` named `members.B.network.layers.L.{weight,
    /// bias}`, linear ones `[out, in]`, and `members.B.{max,min}`.
    ///
    /// # Errors
    /// Weights that are missing or do not fit each other.
    pub(super) fn new(
        n: usize,
        inputs: Standard,
        changes: Standard,
        weights: &NamedTensors,
    ) -> Result<Self, ModelError> {
        let members: Result<Vec<Member>, ModelError> =
            (0..n).map(|index| Member::new(index, weights)).collect();
        let ensemble = Self { inputs, changes, members: members? };
        let [width, n] = [ensemble.inputs.mean.len(), ensemble.observation_dim()];
        match ensemble.members.iter().all(|member| member.fits(width, n)) {
            true => Ok(ensemble),
            false => Err(ModelError::Config("the ensemble's layers do not fit each other".into())),
        }
    }

    /// Number of members.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Numbers per observation, N.
    pub fn observation_dim(&self) -> usize {
        self.changes.mean.len()
    }

    /// How the data's observations spread, `[N]`.
    pub fn spread(&self) -> Standard {
        let n = self.observation_dim();
        Standard {
            mean: self.inputs.mean[..n].to_vec(),
            deviation: self.inputs.deviation[..n].to_vec(),
        }
    }

    /// What one member expects after `observations`, `[rows, N]`, and `actions`,
    /// `[rows, M]`.
    ///
    /// # Panics
    /// If there is no such member, or the rows are not as many.
    pub fn predict(&self, member: usize, observations: &[f32], actions: &[f32]) -> Gaussians {
        let n = self.observation_dim();
        let m = self.inputs.mean.len() - n;
        assert!(
            observations.len() * m == actions.len() * n,
            "{} observations and {} actions",
            observations.len() / n.max(1),
            actions.len() / m.max(1)
        );
        let member = &self.members[member];
        let mut found = Gaussians {
            mean: vec![0.0; observations.len()],
            variance: vec![0.0; observations.len()],
        };
        let outputs =
            found.mean.par_chunks_mut(SHARE * n).zip(found.variance.par_chunks_mut(SHARE * n));
        let rows = observations.par_chunks(SHARE * n).zip(actions.par_chunks(SHARE * m));
        outputs.zip(rows).for_each(|((means, variances), (observations, actions))| {
            let mut scratch = [Vec::new(), Vec::new()];
            let outputs = means.chunks_exact_mut(n).zip(variances.chunks_exact_mut(n));
            let rows = observations.chunks_exact(n).zip(actions.chunks_exact(m));
            for ((mean, variance), (observation, action)) in outputs.zip(rows) {
                self.row(member, observation, action, &mut scratch);
                for dim in 0..n {
                    let (raw, scale) = (scratch[0][n + dim], self.changes.deviation[dim]);
                    mean[dim] = observation[dim] + self.changes.mean[dim] + scale * scratch[0][dim];
                    variance[dim] = member.log_variance(dim, raw).exp() * scale * scale;
                }
            }
        });
        found
    }

    /// A member's raw outputs, `[2 N]`, into `scratch[0]`.
    fn row(
        &self,
        member: &Member,
        observation: &[f32],
        action: &[f32],
        scratch: &mut [Vec<f32>; 2],
    ) {
        let [x, y] = scratch;
        let values = observation.iter().chain(action).enumerate();
        x.clear();
        x.extend(values.map(|(column, value)| self.inputs.encode(column, *value)));
        let last = member.layers.len() - 1;
        for (index, layer) in member.layers.iter().enumerate() {
            layer.forward(x, y);
            if index < last {
                y.iter_mut().for_each(|value| *value = value.max(0.0));
            }
            std::mem::swap(x, y);
        }
    }
}

impl Member {
    fn new(index: usize, weights: &NamedTensors) -> Result<Self, ModelError> {
        let find = |name: &str| {
            let name = format!("members.{index}.{name}");
            let tensor = weights.get(&name).cloned();
            tensor.ok_or_else(|| ModelError::from(crate::nn::weights::WeightsError::Missing(name)))
        };
        let mut layers = Vec::new();
        while let Ok(weight) = find(&format!("network.layers.{}.weight", layers.len())) {
            let bias = find(&format!("network.layers.{}.bias", layers.len()))?;
            layers.push(Dense { weight: transposed(&weight), bias: bias.values });
        }
        Ok(Self { layers, max: find("max")?.values, min: find("min")?.values })
    }

    /// Whether it goes from `inputs` to `2 n` numbers.
    fn fits(&self, inputs: usize, n: usize) -> bool {
        let ends = self.layers.iter().try_fold(inputs, |width, layer| {
            (layer.weight.len() == width * layer.bias.len()).then_some(layer.bias.len())
        });
        !self.layers.is_empty() && ends == Some(2 * n) && self.max.len() == n && self.min.len() == n
    }

    /// ln var within its soft bounds.
    fn log_variance(&self, dim: usize, raw: f32) -> f32 {
        let [max, min] = [self.max[dim], self.min[dim]];
        let below = max - softplus(max - raw);
        min + softplus(below - min)
    }
}

impl Dense {
    fn forward(&self, x: &[f32], y: &mut Vec<f32>) {
        y.clear();
        y.extend_from_slice(&self.bias);
        for (value, weights) in x.iter().zip(self.weight.chunks_exact(self.bias.len())) {
            // Half of what follows a ReLU is zero.
            if *value != 0.0 {
                y.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value * weight);
            }
        }
    }
}

/// `[out, in]` as `[in, out]`.
fn transposed(tensor: &HostTensor) -> Vec<f32> {
    let outputs = tensor.shape.first().copied().unwrap_or(0);
    let inputs = tensor.values.len() / outputs.max(1);
    let at = |index: usize| tensor.values[index % outputs * inputs + index / outputs];
    (0..tensor.values.len()).map(at).collect()
}

fn softplus(x: f32) -> f32 {
    // ln(1 + e^x) without overflow.
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standard_knows_mean_and_deviation_and_how_far_rows_are_apart() {
        let rows = [1.0, 5.0, 3.0, 5.0, 5.0, 5.0, 7.0, 5.0];
        let standard = Standard::of(&rows, 2);
        assert_eq!(standard.mean, [4.0, 5.0]);
        assert!((standard.deviation[0] - 5.0_f32.sqrt()).abs() < 1e-6);
        assert_eq!(standard.deviation[1], 1.0, "a column that does not vary has no scale");
        let far = standard.distance(&[4.0, 5.0], &[4.0 + 5.0_f32.sqrt(), 6.0]);
        assert!((far - 1.0).abs() < 1e-6, "{far}");
        assert_eq!(standard.distance(&[4.0, 5.0], &[4.0, 5.0]), 0.0);
    }

    #[test]
    fn transitions_end_where_their_path_ends() {
        let mut paths = Paths::new(1, 1, 2);
        paths.observations = vec![1.0, 2.0, 10.0];
        paths.actions = vec![0.1, 0.2, 0.3];
        paths.rewards = vec![0.0; 3];
        paths.starts = vec![0, 2, 3];
        paths.finals = vec![4.0, 9.0];
        paths.arrived = vec![false; 2];
        let found = Transitions::of(&paths);
        assert_eq!(found.inputs, [1.0, 0.1, 2.0, 0.2, 10.0, 0.3]);
        assert_eq!(found.changes, [1.0, 2.0, -1.0]);
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn a_gaussian_has_the_density_of_the_formula() {
        let gaussians =
            Gaussians { mean: vec![0.0, 9.0, 1.0, 2.0], variance: vec![1.0, 1.0, 4.0, 0.25] };
        let tau = std::f64::consts::TAU;
        let expected = -(tau.sqrt() * 2.0).ln() - (tau.sqrt() * 0.5).ln() - 0.5 - 2.0;
        assert!((gaussians.log_density(1, &[3.0, 3.0]) - expected).abs() < 1e-6);
    }

    #[test]
    fn log_variances_stay_within_their_soft_bounds() {
        let member = Member { layers: Vec::new(), max: vec![0.5], min: vec![-10.0] };
        let at = |raw| member.log_variance(0, raw);
        assert!((at(-4.0) + 4.0).abs() < 0.02, "inside they change nothing");
        assert!(at(100.0) < 0.5 + 1e-3 && at(100.0) > 0.4 && at(-100.0) >= -10.0);
    }
}
