//! Gamma-models against systems whose occupancy is known in closed form.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::sync::Arc;

use burn::tensor::Device;
use foresight::data::{StretchSizes, Stretches};
use foresight::env::{MarkovPolicy, StateDimension};
use foresight::model::Preset;
use foresight::model::gamma::{GammaConfig, GammaModel, Objective, Query};
use foresight::model::gamma_learner::GammaLearner;
use foresight::model::learner::Learner;
use foresight::plan::horizon::Reweighting;
use foresight::plan::occupancy::{chain, gamma_mve};
use foresight::rng::Rng;

/// s' = DECAY s + PUSH a + NOISE n, with a policy that never acts.
const DECAY: f32 = 0.8;
const PUSH: f32 = 0.5;
const NOISE: f32 = 0.2;
/// Standard deviation of the learned Gaussian, in units of state.
const BLUR: f32 = 0.05;

struct Idle;

impl MarkovPolicy for Idle {
    fn act(&self, _state: &[f32], _goal: &[f32], _rng: &mut Rng) -> Vec<f32> {
        vec![0.0]
    }

    fn quadrature(&self, _state: &[f32], _goal: &[f32]) -> Vec<(Vec<f32>, f32)> {
        vec![(vec![0.0], 1.0)]
    }
}

fn config(discount: [f32; 2], objective: Objective, target_steps: usize) -> GammaConfig {
    GammaConfig {
        preset: Preset::Quick,
        policies: vec!["idle".into()],
        state: vec![StateDimension {
            name: "s".into(),
            unit: String::new(),
            low: -3.0,
            high: 3.0,
            periodic: false,
            rate_of: None,
        }],
        action_dim: 1,
        goal_dims: Vec::new(),
        discount,
        sample_discount: None,
        burn_in: 0,
        couplings: 2,
        bins: 16,
        hidden: 48,
        layers: 2,
        harmonics: 1,
        noise: vec![BLUR],
        objective,
        samples_per_pair: 1,
        target_steps,
        masks_action: objective == Objective::Likelihood,
        batch: 256,
        learning_rate: 3e-3,
        decay_learning_rate: true,
        weight_decay: 0.0,
        ema_decay: 0.99,
        as_released: false,
    }
}

fn stretches(n: usize, steps: usize) -> Stretches {
    let mut rng = Rng::stream(1, "linear system");
    let (mut states, mut actions) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let mut state = rng.uniform(-2.0, 2.0) as f32;
        for step in 0..steps {
            let action = if step == 0 { rng.uniform(-1.0, 1.0) as f32 } else { 0.0 };
            states.push(state);
            actions.push(action);
            state = DECAY * state + PUSH * action + NOISE * rng.normal();
        }
        states.push(state);
    }
    let sizes = StretchSizes { state: 1, action: 1, goal: 0 };
    let starts_on_policy = vec![false; n];
    let (goals, policies) = (Vec::new(), vec![0; n]);
    Stretches { sizes, steps, states, actions, goals, starts_on_policy, policies }
}

fn trained(config: GammaConfig, steps: usize) -> GammaModel {
    let data = Arc::new(stretches(4000, 30));
    let mut learner =
        GammaLearner::new(config, data, vec![Arc::new(Idle)], 2, Device::flex()).unwrap();
    for step in 0..steps {
        learner.train_step(step as f64 / steps as f64).unwrap();
    }
    learner.into_model()
}

/// The occupancy (1 - g) sum_t g^(t-1) N(mean_t, variance_t), blurred.
fn exact(state: f32, action: f32, discount: f64, at: f64) -> f64 {
    let (mut mean, mut variance) = (f64::from(DECAY * state + PUSH * action), 0.04_f64);
    let (mut weight, mut density) = (1.0 - discount, 0.0);
    for _ in 0..2000 {
        let total = variance + f64::from(BLUR * BLUR);
        let z = at - mean;
        density += weight * (-z * z / (2.0 * total)).exp() / (std::f64::consts::TAU * total).sqrt();
        mean *= f64::from(DECAY);
        variance = f64::from(DECAY * DECAY) * variance + f64::from(NOISE * NOISE);
        weight *= discount;
        if weight < 1e-12 {
            break;
        }
    }
    density
}

fn query(state: f32, action: Option<f32>, discount: f32) -> Query {
    let action = action.map(|action| vec![action]);
    Query { state: vec![state], action, goal: Vec::new(), discount, policy: 0 }
}

/// Half the integral of the absolute difference.
fn total_variation(model: &GammaModel, state: f32, action: f32, discount: f32) -> f64 {
    let points: Vec<f32> = (0..600).map(|i| -3.0 + 0.01 * (i as f32 + 0.5)).collect();
    let found = model.log_density(&query(state, Some(action), discount), &points, 1).unwrap();
    let off = points.iter().zip(found).map(|(x, found)| {
        (f64::from(found.exp()) - exact(state, action, f64::from(discount), f64::from(*x))).abs()
    });
    off.sum::<f64>() * 0.01 / 2.0
}

#[test]
fn one_model_recovers_a_linear_gaussian_occupancy_at_every_discount() {
    let model = trained(config([0.0, 0.9], Objective::Likelihood, 30), 1500);
    let mut worst: f64 = 0.0;
    for discount in [0.0, 0.5, 0.9] {
        for (state, action) in [(1.5, 0.0), (-1.0, 1.0), (0.0, -0.5)] {
            worst = worst.max(total_variation(&model, state, action, discount));
        }
    }
    assert!(worst < 0.12, "total variation {worst}");
}

#[test]
fn one_step_bootstraps_reach_the_same_occupancy_with_both_objectives() {
    for (objective, bound) in [(Objective::Likelihood, 0.12), (Objective::LogDensity, 0.25)] {
        let mut config = config([0.7, 0.7], objective, 1);
        config.masks_action = false;
        let model = trained(config, 2500);
        let off = total_variation(&model, 1.5, 0.0, 0.7);
        assert!(off < bound, "total variation {off} with {objective:?}");
    }
}

#[test]
fn the_released_flow_learns_the_same_occupancy() {
    let mut config = config([0.7, 0.7], Objective::LogDensity, 1);
    (config.masks_action, config.as_released, config.couplings) = (false, true, 4);
    let off = total_variation(&trained(config, 2500), 1.5, 0.0, 0.7);
    assert!(off < 0.2, "total variation {off}");
}

#[test]
fn one_network_tells_two_policies_apart_and_predicts_both() {
    let mut config = config([0.5, 0.5], Objective::Likelihood, 30);
    config.policies = vec!["idle".into(), "push".into()];
    // Every other stretch pushes by 1 at every step: from s to DECAY s + PUSH.
    let mut data = stretches(4000, 30);
    let mut rng = Rng::stream(2, "pushing");
    for stretch in (1..4000).step_by(2) {
        data.policies[stretch] = 1;
        let states = &mut data.states[stretch * 31..(stretch + 1) * 31];
        let mut state = states[0] - 2.5;
        for place in states {
            *place = state;
            state = DECAY * state + PUSH + NOISE * rng.normal();
        }
        data.actions[stretch * 30..(stretch + 1) * 30].fill(1.0);
        data.starts_on_policy[stretch] = true;
    }
    let policies: Vec<Arc<dyn MarkovPolicy>> = vec![Arc::new(Idle), Arc::new(Idle)];
    let data = Arc::new(data);
    let mut learner =
        GammaLearner::new(config.clone(), data.clone(), policies, 2, Device::flex()).unwrap();
    for step in 0..1500 {
        learner.train_step(f64::from(step) / 1500.0).unwrap();
    }
    let model = learner.into_model();
    let mean = |policy: usize| {
        let query = Query { policy, ..query(-0.5, Some(if policy == 0 { 0.0 } else { 1.0 }), 0.5) };
        let samples = model.sample(&[query], 4000, &mut Rng::stream(3, "two")).unwrap();
        samples.states.iter().sum::<f32>() / 4000.0
    };
    // (1 - g) sum_t g^(t-1) (0.8^t s + c (1 - 0.8^t)) with the fixed point c.
    let expected = |fixed: f32| fixed + (0.5 * 0.8 / (1.0 - 0.4)) * (-0.5 - fixed);
    for (policy, fixed) in [(0, 0.0), (1, PUSH / (1.0 - DECAY))] {
        let (found, expected) = (mean(policy), expected(fixed));
        assert!((found - expected).abs() < 0.08, "{found} for {expected}, policy {policy}");
    }
    let nobody = Query { policy: 2, ..query(0.0, None, 0.5) };
    let refused = model.sample(&[nobody], 1, &mut Rng::stream(0, "x")).unwrap_err().to_string();
    assert!(refused.contains("2 policies"), "{refused}");
    let one = GammaLearner::new(config, data, vec![Arc::new(Idle)], 2, Device::flex());
    assert!(one.is_err(), "a policy is missing");
}

#[test]
fn at_discount_zero_the_model_is_the_maximum_likelihood_single_step_model() {
    let model = trained(config([0.0, 0.0], Objective::Likelihood, 30), 1200);
    // The best single-step density of this data, whatever the model.
    let mut rng = Rng::stream(9, "held-out");
    let (mut found, mut best) = (0.0, 0.0);
    for _ in 0..400 {
        let (state, action) = (rng.uniform(-2.0, 2.0) as f32, rng.uniform(-1.0, 1.0) as f32);
        let noise = NOISE * rng.normal() + BLUR * rng.normal();
        let next = DECAY * state + PUSH * action + noise;
        let query = query(state, Some(action), 0.0);
        found += f64::from(model.log_density(&query, &[next], 1).unwrap()[0]) / 400.0;
        best += exact(state, action, 0.0, f64::from(next)).ln() / 400.0;
    }
    assert!(best - found < 0.03, "{found} nats a step where {best} is possible");
}

#[test]
fn chained_steps_with_their_weights_reach_the_longer_horizon() {
    let model = trained(config([0.5, 0.5], Objective::Likelihood, 30), 1500);
    let reweighting = Reweighting::new(0.5, 0.9, 20).unwrap();
    let mut rng = Rng::stream(4, "chain");
    let chain = chain(&model, &query(1.5, None, 0.5), &reweighting, 2000, &mut rng).unwrap();
    let (states, weights) = chain.mixture();
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    // Mean of the g = 0.9 occupancy: (1 - g) sum_t g^(t-1) 0.8^t 1.5.
    let mean: f64 = states.iter().zip(&weights).map(|(s, w)| f64::from(*s) * w).sum();
    let expected = 0.1 * 0.8 * 1.5 / (1.0 - 0.9 * 0.8);
    // One model step alone would say half of 0.8 * 1.5 / (1 - 0.4) = 1.
    assert!((mean - expected).abs() < 0.06, "{mean} where {expected} is exact");
}

#[test]
fn gamma_mve_with_the_right_tail_is_the_value_at_the_longer_discount() {
    let model = trained(config([0.5, 0.5], Objective::Likelihood, 30), 1500);
    let mut rng = Rng::stream(4, "mve");
    // r(s) = s is worth 0.8 s / (1 - 0.95 * 0.8) at a discount of 0.95.
    let value = |state: f32| 0.8 * f64::from(state) / (1.0 - 0.95 * 0.8);
    for steps in [1, 2, 5] {
        let reweighting = Reweighting::new(0.5, 0.95, steps).unwrap();
        let chain = chain(&model, &query(1.5, None, 0.5), &reweighting, 4000, &mut rng).unwrap();
        let found =
            gamma_mve(&chain, &reweighting, &|s: &[f32]| s[0], &|s: &[f32]| value(s[0])).unwrap();
        let expected = value(1.5);
        assert!((found - expected).abs() < 0.25, "{found} for {expected} after {steps} steps");
    }
}

#[test]
fn generators_with_either_loss_learn_where_the_next_state_lies_and_own_no_density() {
    for objective in [Objective::Gan, Objective::LeastSquaresGan] {
        let mut config = config([0.5, 0.5], objective, 30);
        config.noise = vec![0.0];
        config.batch = 64;
        config.samples_per_pair = 8;
        config.learning_rate = 1e-3;
        config.masks_action = false;
        let model = trained(config, 1500);
        for state in [-1.5, 1.5] {
            let query = query(state, Some(0.0), 0.5);
            let samples =
                model.sample(std::slice::from_ref(&query), 2000, &mut Rng::stream(3, "g"));
            let samples = samples.unwrap();
            assert!(samples.log_density.is_empty());
            let mean = samples.states.iter().sum::<f32>() / 2000.0;
            // (1 - g) sum_t g^(t-1) 0.8^t s.
            let expected = 0.5 * 0.8 * state / (1.0 - 0.5 * 0.8);
            assert!((mean - expected).abs() < 0.3, "{mean} for {expected} with {objective:?}");
            let refused = model.log_density(&query, &[0.0], 1).unwrap_err().to_string();
            assert!(refused.contains("no density"), "{refused}");
        }
    }
}

#[test]
fn questions_that_make_no_sense_are_refused_with_advice() {
    let model = trained(config([0.0, 0.9], Objective::Likelihood, 30), 1);
    let refused = |query: Query| {
        let error = model.sample(&[query], 4, &mut Rng::stream(0, "x")).unwrap_err();
        error.to_string()
    };
    assert!(refused(query(0.0, None, 0.95)).contains("0 to 0.9"));
    assert!(refused(query(0.0, None, -0.1)).contains("discount"));
    assert!(refused(query(0.0, None, f32::NAN)).contains("discount"));
    assert!(refused(query(f32::NAN, None, 0.5)).contains("not finite"));
    let mut long = query(0.0, None, 0.5);
    long.state.push(1.0);
    assert!(refused(long).contains("a state has 1 numbers"));
    let mut needs_action = config([0.5, 0.5], Objective::LogDensity, 1);
    needs_action.masks_action = false;
    let model = trained(needs_action, 1);
    let error = model.sample(&[query(0.0, None, 0.5)], 1, &mut Rng::stream(0, "x")).unwrap_err();
    assert!(error.to_string().contains("need an action"));
    assert!(config([0.5, 1.0], Objective::Likelihood, 1).validate().is_err());
    assert!(config([0.9, 0.5], Objective::Likelihood, 1).validate().is_err());
    assert!(config([0.5, 0.9], Objective::LogDensity, 5).validate().is_err());
}
