//! A student of a small random teacher.

use std::sync::Arc;

use super::*;
use crate::data::{Duration, Episodes, LimitsNormalizer};
use crate::model::diffuser::DiffuserConfig;
use crate::model::diffuser_learner::DiffuserLearner;
use crate::model::preset::Preset;

fn teacher_config() -> DiffuserConfig {
    DiffuserConfig {
        preset: Preset::Quick,
        observation_dim: 4,
        action_dim: 0,
        goal_dims: 2,
        fixes_final_state: false,
        waypoints: 8,
        duration: Duration::LogUniform { min: 8.0, max: 16.0 },
        width: 8,
        multipliers: vec![1, 2],
        diffusion_steps: 16,
        parametrization: Parametrization::Clean,
        clip: true,
        batch: 8,
        accumulate: 1,
        learning_rate: 1e-3,
        decay_learning_rate: true,
        ema_decay: 0.9,
        ema_every: 1,
        ema_start: 0,
        policies: Vec::new(),
        guide: None,
    }
}

fn windows() -> Windows {
    let mut episodes = Episodes::with_capacity(4, 2, 0);
    let mut rng = Rng::stream(0, "walk");
    let mut state = [0.0_f32; 4];
    for step in 0..400 {
        state.iter_mut().for_each(|x| *x = (*x + 0.2 * rng.normal()).clamp(-2.0, 3.0));
        episodes.observations.extend(state);
        episodes.actions.extend([0.0; 2]);
        episodes.rewards.push(0.0);
        episodes.terminals.push(step % 100 == 99);
        episodes.timeouts.push(false);
    }
    let limits = LimitsNormalizer { low: vec![-2.0; 4], high: vec![3.0; 4] };
    let episodes = Arc::new(episodes);
    Windows::normalized(&episodes, teacher_config().windows(), limits).unwrap()
}

fn teacher(config: &DiffuserConfig) -> Diffuser {
    let device = Device::flex();
    let network = config.network().init(4, &device);
    Diffuser::new(config.clone(), windows().normalizer().clone(), network, device)
}

/// A teacher that has learned a little: a random one's plans are noise to
/// anybody.
fn taught() -> Diffuser {
    let mut learner = DiffuserLearner::new(teacher_config(), windows(), 1, Device::flex());
    for _ in 0..300 {
        learner.train_step(0.0).unwrap();
    }
    learner.diffuser().unwrap()
}

fn learner(seed: u64) -> StudentLearner {
    learner_of(seed, teacher(&teacher_config()))
}

fn learner_of(seed: u64, teacher: Diffuser) -> StudentLearner {
    let config = DistillConfig { seed, steps: 100, batch: 8, learning_rate: 1e-3 };
    let weights = NamedTensors::new();
    StudentLearner::new(config, teacher, weights, windows(), &Device::flex()).unwrap()
}

#[test]
fn chains_are_the_teachers_own_and_keep_what_is_known() {
    let learner = learner(0);
    let chains = learner.chains(70, &mut Rng::stream(1, "test")).unwrap();
    let (schedule, size) = (&learner.teacher.schedule, 8 * 4);
    let [[noisy, first], [half, last]] = &chains.levels[..] else { panic!("two steps") };
    let clean =
        learner.teacher.predict(Which::Teacher, &noisy[..size], 8, 15, &chains.durations[..1]);
    let clean = clean.unwrap();
    for (at, clean) in clean.iter().enumerate() {
        if chains.mask[at] == 0.0 {
            // Known from the first noise to the last plan.
            assert_eq!([noisy[at], first[at], half[at]], [last[at]; 3]);
        } else {
            assert!((clean - first[at]).abs() < 1e-5, "{at}");
        }
    }
    let mut next = noisy.clone();
    schedule.ddim(15, 7).apply(&mut next, first, None);
    let unknown = |at: &usize| chains.mask[*at] > 0.0;
    assert!((0..next.len()).filter(unknown).all(|at| (next[at] - half[at]).abs() < 1e-6));
    // Start and goal are known of every plan, and a point on the way of some.
    let known: Vec<usize> = chains
        .mask
        .chunks_exact(size)
        .map(|mask| mask.iter().filter(|m| **m == 0.0).count())
        .collect();
    assert!(known.iter().all(|n| [6, 8].contains(n)), "{known:?}");
    assert!(known.contains(&8) && known.contains(&6));
    assert!(chains.durations.iter().all(|d| (8.0..=16.0).contains(d)));
    // Some starts are at rest: zero in units of the data.
    let rest = learner.teacher.normalizer.normalize_one(2, 0.0);
    let resting = last.chunks_exact(size).filter(|plan| plan[2] == rest && plan[3] == rest);
    assert!((15..55).contains(&resting.count()));
}

#[test]
fn a_point_of_a_chain_lies_on_the_way_to_its_next_time() {
    let learner = learner(0);
    let chains = learner.chains(2, &mut Rng::stream(1, "test")).unwrap();
    let schedule = &learner.teacher.schedule;
    let point = |plan: usize, t: usize| {
        let mut batch = Batch::default();
        chains.push_point(schedule, plan, t, &mut batch);
        assert_eq!(batch.ends, chains.levels[1][1][plan * 32..(plan + 1) * 32]);
        batch.x
    };
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(close(&point(1, 15), &chains.levels[0][0][32..]));
    assert!(close(&point(1, 7), &chains.levels[1][0][32..]));
    // Towards time 0 a point becomes the end itself.
    let gap = |t: usize| -> f32 {
        point(0, t).iter().zip(&chains.levels[1][1]).map(|(a, b)| (a - b).abs()).sum()
    };
    assert!(gap(0) < gap(4) && gap(4) < gap(7));
}

#[test]
fn a_student_starts_as_its_teacher_and_learns_where_chains_end() {
    let mut learner = learner_of(0, taught());
    let copied = weights::export(&learner.network.valid()).unwrap();
    assert_eq!(copied, weights::export(learner.teacher.network()).unwrap());
    let before = learner.held_out_loss().unwrap().unwrap();
    for step in 0..200 {
        learner.train_step(f64::from(step) / 200.0).unwrap();
    }
    let after = learner.held_out_loss().unwrap().unwrap();
    assert!(after < 0.85 * before, "{before} to {after}");
}

#[test]
fn a_run_continues_bit_by_bit_in_the_middle_of_its_chains() {
    let mut whole = learner(3);
    for _ in 0..STEPS_PER_POOL + 4 {
        whole.train_step(0.0).unwrap();
    }
    let mut first = learner(3);
    for _ in 0..STEPS_PER_POOL - 3 {
        first.train_step(0.0).unwrap();
    }
    // Measuring is not training.
    first.held_out_loss().unwrap();
    let mut second = learner(3);
    second.restore(first.state().unwrap()).unwrap();
    for _ in 0..7 {
        second.train_step(0.0).unwrap();
    }
    let (whole, second) = (whole.state().unwrap(), second.state().unwrap());
    assert_eq!(whole.network, second.network);
    assert_eq!(whole.average, second.average);
    assert!(whole.average.keys().all(|name| name.starts_with(PREFIX)));
}

#[test]
fn a_teacher_that_predicts_noise_is_refused() {
    let config = DiffuserConfig { parametrization: Parametrization::Noise, ..teacher_config() };
    let refused = StudentLearner::new(
        DistillConfig::default(),
        teacher(&config),
        NamedTensors::new(),
        windows(),
        &Device::flex(),
    );
    assert!(refused.err().unwrap().to_string().contains("parametrization"));
    for bad in [0.0, -1.0, f64::NAN] {
        assert!(
            DistillConfig { learning_rate: bad, ..DistillConfig::default() }.validate().is_err()
        );
    }
    assert!(DistillConfig { steps: 0, ..DistillConfig::default() }.validate().is_err());
}
