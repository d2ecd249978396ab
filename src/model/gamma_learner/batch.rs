//! What a training step is made of: questions, and states that answer them.

use std::sync::Arc;

use super::GammaLearner;
use crate::model::ModelError;
use crate::model::gamma::{Objective, Query};
use crate::rng::Rng;

/// Share of a batch that starts where a stretch does: later states crowd where
/// the policy settles.
const FIRST_STATES: f64 = 0.5;

/// Share of the policy's own actions that a model for unknown actions is not
/// told.
const HIDDEN: f64 = 0.7;

/// One batch on the host.
#[derive(Default)]
pub(super) struct Batch {
    /// What the network is asked.
    pub queries: Vec<Query>,
    /// One target state each, `[batch, state]`.
    pub targets: Vec<f32>,
    /// The next state's Gaussian and the bootstrap query, for log-densities.
    pub next: Vec<(Vec<f32>, Query)>,
}

/// A state-action pair of the data.
struct Pair {
    query: Query,
    stretch: usize,
    at: usize,
}

/// Where a row's target comes from.
enum Source {
    /// A state of the stretch.
    Seen(Vec<f32>),
    /// The target network, asked from further along.
    Bootstrap(Query),
}

impl GammaLearner {
    /// Discounts are spread evenly over the logarithm of their horizon.
    fn draw_discount(&mut self) -> f32 {
        let horizon = |discount: f32| -f64::from(-discount).ln_1p();
        let [low, high] = self.config.discount;
        let drawn = 1.0 - (-self.rng.uniform(horizon(low), horizon(high))).exp();
        let discount = if low < high { drawn as f32 } else { low };
        if self.step < self.config.burn_in { discount.min(0.5) } else { discount }
    }

    /// What is asked, and where in the data.
    fn draw_pair(&mut self) -> Pair {
        let stretches = Arc::clone(&self.stretches);
        let stretch = self.rng.below(stretches.len());
        let is_first = self.rng.uniform(0.0, 1.0) < FIRST_STATES;
        // A multi-step target needs steps ahead.
        let starts = match self.config.target_steps {
            1 => stretches.steps,
            _ => stretches.steps.div_ceil(2),
        };
        let at = if is_first { 0 } else { self.rng.below(starts) };
        let discount = self.draw_discount();
        // Hidden, it must be the policy's own.
        let is_own = at > 0 || stretches.starts_on_policy[stretch];
        let hides = self.config.masks_action && is_own && self.rng.uniform(0.0, 1.0) < HIDDEN;
        let query = Query {
            state: stretches.state(stretch, at).to_vec(),
            action: (!hides).then(|| stretches.action(stretch, at).to_vec()),
            goal: stretches.goal(stretch).to_vec(),
            discount,
            policy: stretches.policies[stretch],
        };
        Pair { query, stretch, at }
    }

    /// Where one sample of the pair's target comes from.
    fn draw_target(&mut self, pair: &Pair) -> Source {
        let (stretch, at, discount) = (pair.stretch, pair.at, pair.query.discount);
        let mixing = match (self.config.sample_discount, self.step < self.config.burn_in) {
            (Some(sampling), false) => sampling,
            _ => discount,
        };
        let ahead = geometric(mixing, &mut self.rng);
        let most = self.config.target_steps.min(self.stretches.steps - at);
        if ahead <= most {
            let seen = self.stretches.state(stretch, at + ahead).to_vec();
            Source::Seen(self.blurred(&seen))
        } else {
            Source::Bootstrap(self.continued(stretch, at + most, discount))
        }
    }

    /// The question the target network is asked `at` steps into a stretch.
    fn continued(&mut self, stretch: usize, at: usize, discount: f32) -> Query {
        let state = self.stretches.state(stretch, at).to_vec();
        let goal = self.stretches.goal(stretch).to_vec();
        let policy = self.stretches.policies[stretch];
        let action = match self.config.masks_action {
            true => None,
            false => Some(self.policies[policy].act(&state, &goal, &mut self.rng)),
        };
        Query { state, action, goal, discount, policy }
    }

    fn blurred(&mut self, state: &[f32]) -> Vec<f32> {
        state
            .iter()
            .zip(&self.config.noise)
            .map(|(value, noise)| value + noise * self.rng.normal())
            .collect()
    }

    pub(super) fn batch(&mut self) -> Result<Batch, ModelError> {
        let dims = self.config.state.len();
        let mut batch = Batch::default();
        let (mut rows, mut bootstraps) = (Vec::new(), Vec::new());
        for _ in 0..self.config.batch {
            let asked = self.draw_pair();
            for _ in 0..self.config.samples_per_pair {
                let row = batch.queries.len();
                let source = self.draw_target(&asked);
                if self.config.objective == Objective::LogDensity {
                    let next = self.stretches.state(asked.stretch, asked.at + 1).to_vec();
                    let continued = match &source {
                        Source::Bootstrap(query) => query.clone(),
                        Source::Seen(_) => {
                            self.continued(asked.stretch, asked.at + 1, asked.query.discount)
                        }
                    };
                    batch.next.push((next, continued));
                }
                batch.queries.push(asked.query.clone());
                match source {
                    Source::Seen(state) => batch.targets.extend(state),
                    Source::Bootstrap(query) => {
                        batch.targets.extend(std::iter::repeat_n(0.0, dims));
                        rows.push(row);
                        bootstraps.push(query);
                    }
                }
            }
        }
        let drawn = self.average.draw(&bootstraps, 1, &mut self.rng)?;
        for (row, state) in rows.into_iter().zip(drawn.states.chunks_exact(dims)) {
            batch.targets[row * dims..(row + 1) * dims].copy_from_slice(state);
        }
        Ok(batch)
    }

    /// ln of the bootstrapped target density at the batch's targets, up to the
    /// flow's constant scale.
    pub(super) fn target_log_density(&self, batch: &Batch) -> Result<Vec<f32>, ModelError> {
        let dims = self.config.state.len();
        let queries: Vec<Query> = batch.next.iter().map(|(_, query)| query.clone()).collect();
        let bootstrap = self.average.log_density_each(&queries, &batch.targets)?;
        let scale = self.average.log_scale();
        let mixed = batch.next.iter().zip(batch.targets.chunks_exact(dims)).zip(bootstrap);
        Ok(mixed
            .map(|(((next, query), target), bootstrap)| {
                let gaussian = self.log_gaussian(next, target);
                let seen = (1.0 - query.discount).ln() + gaussian;
                let asked = query.discount.ln() + bootstrap;
                let most = seen.max(asked);
                most + ((seen - most).exp() + (asked - most).exp()).ln() - scale
            })
            .collect())
    }

    fn log_gaussian(&self, mean: &[f32], at: &[f32]) -> f32 {
        let dims = self.config.state.iter().zip(&self.config.noise);
        dims.zip(mean.iter().zip(at))
            .map(|((dimension, noise), (mean, at))| {
                let range = dimension.high - dimension.low;
                let mut off = at - mean;
                if dimension.periodic {
                    off -= range * (off / range).round();
                }
                let z = off / noise;
                -0.5 * z * z - noise.ln() - 0.5 * std::f32::consts::TAU.ln()
            })
            .sum()
    }

    /// Questions with the next state each, bootstrapping nothing.
    pub(super) fn next_states(&mut self) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..self.config.batch {
            let Pair { query, stretch, at } = self.draw_pair();
            let next = self.stretches.state(stretch, at + 1).to_vec();
            batch.targets.extend(self.blurred(&next));
            batch.queries.push(query);
        }
        batch
    }
}

/// Steps to a geometric target: 1 with probability 1 - g, and so on.
fn geometric(discount: f32, rng: &mut Rng) -> usize {
    if discount <= 0.0 {
        return 1;
    }
    let u = 1.0 - rng.uniform(0.0, 1.0);
    1 + (u.ln() / f64::from(discount).ln()) as usize
}
