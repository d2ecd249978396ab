//! Markov policies out of parts: a mean plus clipped Gaussian noise, uniform
//! actions, and a coin that chooses among policies at every decision.

use std::sync::Arc;

use super::{EnvError, MarkovPolicy, Policy};
use crate::rng::Rng;

/// Positive nodes and weights of the 7-node Gauss-Hermite rule for a standard
/// normal, exact for polynomials up to degree 13; the node 0 comes on top.
const HERMITE: [[f32; 2]; 3] =
    [[1.154_405_4, 0.240_123_18], [2.366_759_4, 0.030_757_124], [3.750_439_7, 0.000_548_268_86]];
const HERMITE_CENTER: f32 = 16.0 / 35.0;
/// The same for the 7-node Gauss-Legendre rule of the uniform law on `[-1, 1]`.
const LEGENDRE: [[f32; 2]; 3] =
    [[0.405_845_15, 0.190_915_03], [0.741_531_2, 0.139_852_7], [0.949_107_9, 0.064_742_48]];
const LEGENDRE_CENTER: f32 = 0.208_979_59;
/// Beyond this many deviations a normal law counts as over.
const FAR: f64 = 3.5;

/// What a policy does before noise: an action that may exceed `[-1, 1]`.
pub(super) trait Mean: Send + Sync {
    /// The action meant for `state`, one number per action coordinate.
    fn mean(&self, state: &[f32], goal: &[f32]) -> Vec<f32>;
}

/// `clip(mean(s, goal) + deviation * normal)` on every coordinate.
pub(super) struct GaussianPolicy<M> {
    pub(super) mean: M,
    pub(super) deviation: f32,
}

impl<M: Mean> MarkovPolicy for GaussianPolicy<M> {
    fn act(&self, state: &[f32], goal: &[f32], rng: &mut Rng) -> Vec<f32> {
        let mut action = self.mean.mean(state, goal);
        for value in &mut action {
            // A policy without noise leaves the stream alone.
            let noise = if self.deviation > 0.0 { self.deviation * rng.normal() } else { 0.0 };
            *value = (*value + noise).clamp(-1.0, 1.0);
        }
        action
    }

    fn quadrature(&self, state: &[f32], goal: &[f32]) -> Vec<(Vec<f32>, f32)> {
        let mean = self.mean.mean(state, goal);
        let nodes: Vec<_> = mean.iter().map(|&mean| clipped_normal(mean, self.deviation)).collect();
        tensor_product(&nodes)
    }
}

/// Uniform on `[-1, 1]` per coordinate, wherever it is.
pub(super) struct UniformPolicy {
    pub(super) dims: usize,
}

impl MarkovPolicy for UniformPolicy {
    fn act(&self, _state: &[f32], _goal: &[f32], rng: &mut Rng) -> Vec<f32> {
        (0..self.dims).map(|_| rng.uniform(-1.0, 1.0) as f32).collect()
    }

    fn quadrature(&self, _state: &[f32], _goal: &[f32]) -> Vec<(Vec<f32>, f32)> {
        let nodes = symmetric(LEGENDRE_CENTER, &LEGENDRE).collect::<Vec<_>>();
        tensor_product(&vec![nodes; self.dims])
    }
}

/// One of two policies, chosen anew at every decision.
pub(super) struct CoinPolicy {
    pub(super) first: Arc<dyn MarkovPolicy>,
    pub(super) second: Arc<dyn MarkovPolicy>,
    /// Probability of the first one.
    pub(super) share: f32,
}

impl MarkovPolicy for CoinPolicy {
    fn act(&self, state: &[f32], goal: &[f32], rng: &mut Rng) -> Vec<f32> {
        let chosen = match rng.uniform(0.0, 1.0) < f64::from(self.share) {
            true => &self.first,
            false => &self.second,
        };
        chosen.act(state, goal, rng)
    }

    fn quadrature(&self, state: &[f32], goal: &[f32]) -> Vec<(Vec<f32>, f32)> {
        let mut nodes = self.first.quadrature(state, goal);
        for (_, weight) in &mut nodes {
            *weight *= self.share;
        }
        let rest = self.second.quadrature(state, goal).into_iter();
        nodes.extend(rest.map(|(action, weight)| (action, weight * (1.0 - self.share))));
        nodes
    }
}

/// A Markov policy that makes an environment's data.
pub(super) struct MarkovBehavior {
    policy: Arc<dyn MarkovPolicy>,
    /// The goal is reached within this distance of it, in the first state
    /// coordinates; never if `None`.
    goal_radius: Option<f32>,
    goal: Vec<f32>,
    rng: Rng,
    done: bool,
}

impl MarkovBehavior {
    /// A behavior that follows `policy` from [`Policy::begin`] on.
    pub(super) fn new(policy: Arc<dyn MarkovPolicy>, goal_radius: Option<f32>) -> Self {
        let rng = Rng::stream(0, "behavior");
        Self { policy, goal_radius, goal: Vec::new(), rng, done: false }
    }
}

impl Policy for MarkovBehavior {
    fn begin(&mut self, _state: &[f32], goal: &[f32], rng: &mut Rng) -> Result<(), EnvError> {
        self.goal = goal.to_vec();
        self.rng = rng.split("behavior");
        self.done = false;
        Ok(())
    }

    fn act(&mut self, state: &[f32]) -> Vec<f32> {
        if let Some(radius) = self.goal_radius {
            let squares = state.iter().zip(&self.goal).map(|(a, b)| (a - b).powi(2));
            self.done = squares.sum::<f32>() <= radius * radius;
        }
        self.policy.act(state, &self.goal, &mut self.rng)
    }

    fn done(&self) -> bool {
        self.done
    }
}

/// Nodes and weights of `clip(mean + deviation * normal)`.
///
/// A bound within 3.5 deviations takes an atom of its own with the exact mass
/// of the tail beyond it; between the bounds the density is integrated by the
/// Gauss-Legendre rule. The Hermite rule alone would put the mean of an action
/// that is half clipped off by 0.05 deviations, which adds up over a path.
fn clipped_normal(mean: f32, deviation: f32) -> Vec<(f32, f32)> {
    let bounds = [-1.0, 1.0].map(|bound: f32| f64::from(bound - mean) / f64::from(deviation));
    if deviation <= 0.0 || bounds.iter().any(|bound| bound.is_nan()) {
        return vec![(mean.clamp(-1.0, 1.0), 1.0)];
    }
    if bounds.iter().all(|bound| bound.abs() > FAR) {
        let nodes = symmetric(HERMITE_CENTER, &HERMITE);
        return nodes
            .map(|(node, weight)| ((mean + deviation * node).clamp(-1.0, 1.0), weight))
            .collect();
    }
    let [low, high] = bounds.map(|bound| bound.clamp(-FAR, FAR));
    let [below, above] = [normal_cdf(bounds[0]), 1.0 - normal_cdf(bounds[1])];
    let (middle, half) = (0.5 * (low + high), 0.5 * (high - low));
    let density = |(node, weight): (f32, f32)| {
        let at = middle + half * f64::from(node);
        (at, f64::from(weight) * (-0.5 * at * at).exp())
    };
    let inner: Vec<_> = symmetric(LEGENDRE_CENTER, &LEGENDRE).map(density).collect();
    let total: f64 = inner.iter().map(|node| node.1).sum();
    // All mass may be in one tail, with nothing left between the bounds.
    let scale = if total > 0.0 { (1.0 - below - above).max(0.0) / total } else { 0.0 };
    let action = |at: f64| (mean + deviation * at as f32).clamp(-1.0, 1.0);
    let mut nodes: Vec<_> =
        inner.into_iter().map(|(at, mass)| (action(at), (mass * scale) as f32)).collect();
    nodes.extend([(-1.0, below as f32), (1.0, above as f32)]);
    nodes.retain(|&(_, mass)| mass > 1e-7);
    nodes
}

/// The distribution function of the standard normal law, to 1e-7: formula
/// 7.1.26 of Abramowitz and Stegun for the error function.
fn normal_cdf(x: f64) -> f64 {
    let z = x.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let terms = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let tail = 0.5 * (-z * z).exp() * terms.into_iter().fold(0.0, |sum, term| (sum + term) * t);
    if x > 0.0 { 1.0 - tail } else { tail }
}

fn symmetric(center: f32, positive: &[[f32; 2]]) -> impl Iterator<Item = (f32, f32)> + '_ {
    let sides = positive.iter().flat_map(|&[node, weight]| [(node, weight), (-node, weight)]);
    std::iter::once((0.0, center)).chain(sides)
}

fn tensor_product(per_dim: &[Vec<(f32, f32)>]) -> Vec<(Vec<f32>, f32)> {
    let mut product = vec![(Vec::with_capacity(per_dim.len()), 1.0)];
    for nodes in per_dim {
        product = product
            .iter()
            .flat_map(|(action, mass)| {
                nodes.iter().map(move |&(node, weight)| {
                    let mut longer: Vec<f32> = action.clone();
                    longer.push(node);
                    (longer, mass * weight)
                })
            })
            .collect();
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Aims at the goal, whatever that is.
    struct Aim;

    impl Mean for Aim {
        fn mean(&self, _state: &[f32], goal: &[f32]) -> Vec<f32> {
            goal.to_vec()
        }
    }

    fn aim(deviation: f32) -> GaussianPolicy<Aim> {
        GaussianPolicy { mean: Aim, deviation }
    }

    /// Mean of `a_0^i a_1^j` under a quadrature.
    fn moment(nodes: &[(Vec<f32>, f32)], powers: [i32; 2]) -> f64 {
        let term = |(action, weight): &(Vec<f32>, f32)| {
            let value =
                action[0].powi(powers[0]) * action.get(1).map_or(1.0, |a| a.powi(powers[1]));
            f64::from(value * weight)
        };
        nodes.iter().map(term).sum()
    }

    #[test]
    fn quadratures_have_the_moments_of_their_laws() {
        // Far from the bounds nothing is clipped: moments of a normal law.
        let nodes = aim(0.1).quadrature(&[], &[0.2, -0.1]);
        assert_eq!(nodes.len(), 49);
        for (powers, exact) in [
            ([0, 0], 1.0),
            ([1, 0], 0.2),
            ([2, 0], 0.05),
            ([1, 1], -0.02),
            ([4, 0], 0.0016 + 6.0 * 0.04 * 0.01 + 3.0 * 0.0001),
        ] {
            assert!((moment(&nodes, powers) - exact).abs() < 1e-6, "{powers:?}");
        }
        let nodes = UniformPolicy { dims: 2 }.quadrature(&[], &[]);
        for (powers, exact) in [
            ([0, 0], 1.0),
            ([1, 0], 0.0),
            ([2, 0], 1.0 / 3.0),
            ([2, 2], 1.0 / 9.0),
            ([12, 0], 1.0 / 13.0),
        ] {
            assert!((moment(&nodes, powers) - exact).abs() < 1e-6, "{powers:?}");
        }
    }

    #[test]
    fn quadratures_agree_with_draws_when_actions_are_clipped() {
        let policies: [(&str, Arc<dyn MarkovPolicy>); 3] = [
            ("noise", Arc::new(aim(0.4))),
            ("uniform", Arc::new(UniformPolicy { dims: 2 })),
            ("coin", {
                let (first, second) = (Arc::new(aim(0.2)), Arc::new(UniformPolicy { dims: 2 }));
                Arc::new(CoinPolicy { first, second, share: 0.25 })
            }),
        ];
        let goal = [1.0, -0.3];
        let mut rng = Rng::stream(0, "draws");
        for (name, policy) in policies {
            let nodes = policy.quadrature(&[], &goal);
            assert!((moment(&nodes, [0, 0]) - 1.0).abs() < 1e-6);
            let n = 200_000;
            let mut sums = [0.0_f64; 3];
            for _ in 0..n {
                let action = policy.act(&[], &goal, &mut rng);
                assert!(action.iter().all(|value| value.abs() <= 1.0));
                for (sum, value) in
                    sums.iter_mut().zip([action[0], action[1], action[0] * action[0]])
                {
                    *sum += f64::from(value) / f64::from(n);
                }
            }
            for (sum, powers) in sums.into_iter().zip([[1, 0], [0, 1], [2, 0]]) {
                let quadrature = moment(&nodes, powers);
                assert!((sum - quadrature).abs() < 0.006, "{name}: {sum} and {quadrature}");
            }
        }
    }

    #[test]
    fn a_clipped_normal_has_the_mean_and_variance_of_the_closed_form() {
        for (mean, deviation) in [
            (1.0_f32, 0.4_f32),
            (0.0, 0.4),
            (-0.7, 0.35),
            (0.5, 0.1),
            (0.66, 0.1),
            (0.9, 3.0),
            (4.0, 0.4),
        ] {
            // Plain sums over a fine mesh of the normal law.
            let (mut mass, mut first, mut second) = (0.0_f64, 0.0, 0.0);
            for step in -80_000..=80_000 {
                let z = f64::from(step) * 1e-4;
                let weight = (-0.5 * z * z).exp();
                let action = (f64::from(mean) + f64::from(deviation) * z).clamp(-1.0, 1.0);
                mass += weight;
                first += weight * action;
                second += weight * action * action;
            }
            let nodes = aim(deviation).quadrature(&[], &[mean]);
            assert!(nodes.len() <= 9);
            let expected = [1.0, first / mass, second / mass];
            for (power, expected) in expected.into_iter().enumerate() {
                let found = moment(&nodes, [power as i32, 0]);
                assert!(
                    (found - expected).abs() < 5e-4,
                    "{mean} {deviation} {power}: {found}, not {expected}"
                );
            }
        }
        for (x, exact) in [(0.0, 0.5), (1.0, 0.841_344_75), (-2.0, 0.022_750_13)] {
            assert!((normal_cdf(x) - exact).abs() < 2e-7);
        }
    }

    #[test]
    fn without_noise_there_is_one_action_and_no_draw() {
        let policy = aim(0.0);
        assert_eq!(policy.quadrature(&[], &[0.3, 2.0]), [(vec![0.3, 1.0], 1.0)]);
        let mut rng = Rng::stream(0, "still");
        let before = rng.position();
        assert_eq!(policy.act(&[], &[0.3, 2.0], &mut rng), [0.3, 1.0]);
        assert_eq!(rng.position(), before);
    }
}
