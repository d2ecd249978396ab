//! Dreams as a whole: an ensemble learns what can be learned, a Transformer
//! that knows its corpus dreams it, a session can be told to stop, and the
//! command line prints the errors.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use burn::tensor::Device;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use foresight::data::{Binning, Paths, TokenWeights, TokenWindows, discretize};
use foresight::eval::dream::{
    DreamSettings, Dreamer, EnsembleDreamer, Episode, Manifold, Tally, TokenDreamer,
};
use foresight::lab::dream::{DreamRequest, DreamStage};
use foresight::lab::{DeviceChoice, Phase, Scene, Session, SessionOptions};
use foresight::model::ensemble::{Ensemble, EnsembleConfig, EnsembleLearner, Transitions};
use foresight::model::learner::Learner;
use foresight::model::trajectory::TrajectoryModel;
use foresight::model::trajectory_learner::TrajectoryLearner;
use foresight::rng::Rng;
use foresight::ui::{App, AppOptions, Prepared};
use serde_json::Value;

const PENDULUM: &str = r#"
format = 1
title = "Pendulum"

[environment]
id = "pendulum"
max_steps = 40

[data]
transitions = 2000

[model]
id = "trajectory"
preset = "quick"
policies = ["swing-up", "random"]
stride = 2
width = 16
layers = 1
heads = 2
bins = 12
transitions = 6
batch = 8

[train]
steps = 5

[beam]
mode = "reward"
beam = 4
horizon = 4
context = 3

[stage]
start = [3.0, 0.0]
goal = [0.0, 0.0]
seed = 7
"#;

/// Deviation of the noise of the linear system.
const NOISE: [f32; 2] = [0.05, 0.2];

/// `x' = 0.9 x + 0.3 a`, `y' = y - 0.5 x`, and noise.
fn linear(rng: &mut Rng, [x, y]: [f32; 2], action: f32) -> [f32; 2] {
    let next = [0.9 * x + 0.3 * action, y - 0.5 * x];
    [next[0] + NOISE[0] * rng.normal(), next[1] + NOISE[1] * rng.normal()]
}

fn linear_transitions(n: usize) -> Transitions {
    let mut rng = Rng::stream(1, "linear");
    let mut found =
        Transitions { observation_dim: 2, action_dim: 1, inputs: Vec::new(), changes: Vec::new() };
    for _ in 0..n {
        let state = [rng.normal(), 3.0 * rng.normal()];
        let action = rng.uniform(-1.0, 1.0) as f32;
        let next = linear(&mut rng, state, action);
        found.inputs.extend([state[0], state[1], action]);
        found.changes.extend([next[0] - state[0], next[1] - state[1]]);
    }
    found
}

fn linear_ensemble() -> (Ensemble, Vec<f32>) {
    let config = EnsembleConfig {
        members: 3,
        hidden: 32,
        layers: 2,
        batch: 128,
        learning_rate: 5e-3,
        steps: 500,
    };
    let data = linear_transitions(4000);
    let mut learner = EnsembleLearner::new(config, data, 5, Device::flex()).unwrap();
    let losses = (0..500).map(|_| learner.train_step().unwrap()).collect();
    (learner.finish().unwrap(), losses)
}

#[test]
fn an_ensemble_learns_mean_and_variance_of_a_linear_gaussian_system() {
    let (ensemble, losses) = linear_ensemble();
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    assert!(mean(&losses[480..]) < mean(&losses[..20]) - 1.0, "the likelihood grows");
    let mut rng = Rng::stream(2, "held out");
    let (mut off, mut shares, n) = ([0.0_f32; 2], [0.0_f32; 2], 200);
    let mut differs = 0.0_f32;
    for _ in 0..n {
        let (x, y) = (0.8 * rng.normal(), 2.4 * rng.normal());
        let action = rng.uniform(-0.9, 0.9) as f32;
        let expected = [0.9 * x + 0.3 * action, y - 0.5 * x];
        let found: Vec<_> =
            (0..3).map(|member| ensemble.predict(member, &[x, y], &[action])).collect();
        for dim in 0..2 {
            let mean = found.iter().map(|gaussians| gaussians.mean[dim]).sum::<f32>() / 3.0;
            off[dim] += (mean - expected[dim]).abs() / n as f32;
            let deviation = found[0].variance[dim].sqrt();
            shares[dim] += deviation / NOISE[dim] / n as f32;
        }
        differs += (found[0].mean[0] - found[1].mean[0]).abs() / n as f32;
    }
    assert!(off[0] < 0.5 * NOISE[0] && off[1] < 0.5 * NOISE[1], "{off:?}");
    assert!(shares.iter().all(|share| (share - 1.0).abs() < 0.2), "{shares:?}");
    assert!(differs > 0.0, "every member has its own bootstrap");
    // Rows do not depend on their neighbors.
    let alone = ensemble.predict(1, &[0.3, 0.1], &[0.5]);
    let rows: Vec<f32> = (0..40).flat_map(|_| [0.3, 0.1]).collect();
    let many = ensemble.predict(1, &rows, &[0.5; 40]);
    assert!(many.mean.chunks_exact(2).all(|mean| mean == alone.mean));
}

#[test]
fn particles_of_an_ensemble_spread_as_the_system_does() {
    let (ensemble, _) = linear_ensemble();
    let horizon = 10;
    let mut rng = Rng::stream(3, "truth");
    let mut episode = Episode { seen: vec![vec![0.5, 0.0]], ..Episode::default() };
    for t in 0..horizon {
        let action = (t as f32).sin();
        let last = &episode.seen[t];
        let next = linear(&mut rng, [last[0], last[1]], action);
        episode.seen.push(next.to_vec());
        episode.actions.push(vec![action]);
        episode.goals.push(Vec::new());
    }
    let settings = DreamSettings { samples: 600, seed: 1 };
    let dream = EnsembleDreamer { ensemble: &ensemble }
        .dream(&episode, &settings, &mut Manifold::flat(), &mut || true)
        .unwrap();
    // x is an autoregression: var_h = noise^2 (1 - 0.81^h) / 0.19.
    let variance = |h: usize| {
        let at = |sample: &Vec<Vec<f32>>| sample[h][0];
        let mean = dream.samples.iter().map(at).sum::<f32>() / 600.0;
        dream.samples.iter().map(|sample| (at(sample) - mean).powi(2)).sum::<f32>() / 600.0
    };
    for h in [1, 5, 10] {
        let expected = NOISE[0].powi(2) * (1.0 - 0.81_f32.powi(h as i32)) / 0.19;
        let share = variance(h) / expected;
        assert!((0.6..1.7).contains(&share), "at {h}: {share}");
    }
    // The true path is about as likely as paths of this system are.
    let best = -(std::f64::consts::TAU.sqrt() * f64::from(NOISE[0])).ln()
        - (std::f64::consts::TAU.sqrt() * f64::from(NOISE[1])).ln();
    assert!(dream.log_density.iter().all(|density| *density < best + 1.0));
    assert!(dream.log_density.iter().sum::<f64>() / horizon as f64 > best - 4.0);
    let mut stopped = EnsembleDreamer { ensemble: &ensemble };
    assert!(stopped.dream(&episode, &settings, &mut Manifold::flat(), &mut || false).is_none());
}

#[test]
fn what_an_ensemble_cannot_learn_from_is_refused() {
    let refuse = |config: EnsembleConfig, data: Transitions| {
        EnsembleLearner::new(config, data, 1, Device::flex()).err().unwrap().to_string()
    };
    let config = EnsembleConfig::default();
    assert!(refuse(config.clone(), linear_transitions(0)).contains("1 to"));
    let mut broken = linear_transitions(10);
    broken.changes[3] = f32::NAN;
    assert!(refuse(config.clone(), broken).contains("not finite"));
    let none = EnsembleConfig { members: 0, ..config };
    assert!(refuse(none, linear_transitions(10)).contains("a member"));
}

/// A clockwork of 11 states and 3 actions: `s' = s + 1 + a` modulo 11. It pays
/// the action, and what it will pay is the state.
fn clockwork(paths: usize, steps: usize) -> Paths {
    let mut rng = Rng::stream(6, "clockwork");
    let mut found = Paths::new(1, 1, 1);
    for _ in 0..paths {
        let mut state = rng.below(11);
        for _ in 0..steps {
            let action = rng.below(3);
            found.observations.push(state as f32);
            found.actions.push(action as f32);
            found.rewards.push(action as f32);
            found.returns.push(state as f32);
            state = (state + 1 + action) % 11;
        }
        found.starts.push(found.rewards.len());
        found.finals.push(state as f32);
        found.arrived.push(false);
    }
    found
}

fn memorized(paths: &Paths) -> TrajectoryModel {
    let scene = Scene::parse(PENDULUM).unwrap();
    let environment = scene.make_environment().unwrap();
    let foresight::model::ModelNumbers::Trajectory(mut config) =
        scene.model.resolve(environment.spec()).unwrap()
    else {
        panic!("another model");
    };
    config.layout =
        foresight::data::TokenLayout { states: 1, actions: 1, rewards: true, goals: 0, bins: 11 };
    (config.observation, config.goal_dims) = (vec![0], Vec::new());
    (config.width, config.layers, config.batch) = (32, 2, 32);
    let discretizer = discretize(paths, config.layout, Binning::Uniform).unwrap();
    let weights = TokenWeights { state: 1.0, action: 0.1, ..TokenWeights::default() };
    let windows = TokenWindows::new(
        Arc::new(paths.clone()),
        discretizer.clone(),
        Vec::new(),
        config.transitions,
        weights,
    );
    let mut learner = TrajectoryLearner::new(config.clone(), windows.unwrap(), 1, Device::flex());
    for step in 0..600 {
        learner.train_step(f64::from(step) / 600.0).unwrap();
    }
    TrajectoryModel::new(config, discretizer, &learner.state().unwrap().average).unwrap()
}

#[test]
fn a_dream_of_a_memorized_deterministic_corpus_is_the_truth() {
    let paths = clockwork(40, 60);
    let model = memorized(&paths);
    let test = clockwork(41, 101);
    // The last path is not one of the corpus.
    let range = test.range(40);
    let mut episode = Episode::default();
    for i in range {
        episode.seen.push(test.observation(i).to_vec());
        episode.actions.push(test.action(i).to_vec());
        episode.goals.push(Vec::new());
    }
    episode.seen.push(test.last(40).to_vec());
    let standard = foresight::model::ensemble::Standard::of(&paths.observations, 1);
    for context in [1, 3] {
        let mut tally = Tally::default();
        let dream = TokenDreamer { model: &model, context }
            .dream(
                &episode,
                &DreamSettings { samples: 4, seed: 2 },
                &mut Manifold::flat(),
                &mut || true,
            )
            .unwrap();
        tally.add(&episode, &dream, &standard);
        let tokens = |path: &[Vec<f32>]| -> Vec<u16> {
            path.iter().map(|seen| model.discretizer.encode(0, seen[0])).collect()
        };
        assert_eq!(tokens(&dream.point), tokens(&episode.seen), "context {context}");
        let curve = tally.curve();
        // Bins decode to their middles, the oracle's error.
        let mut oracle = Tally::default();
        oracle.add_oracle(&episode, &model.discretizer, &standard);
        let oracle = oracle.curve();
        for h in 0..101 {
            assert!((curve.distance[h].mean - oracle.distance[h].mean).abs() < 1e-6);
            let (found, best) =
                (curve.log_likelihood[h].unwrap(), oracle.log_likelihood[h].unwrap());
            assert!(found.mean <= best.mean + 1e-6, "nobody beats the oracle");
        }
        let first = curve.log_likelihood[0].unwrap().mean;
        assert!(first > oracle.log_likelihood[0].unwrap().mean - 0.5, "{first}");
    }
}

fn request(ensemble_steps: usize) -> DreamRequest {
    DreamRequest {
        from: Some((vec![3.0, 0.0], Vec::new())),
        horizon: 12,
        episodes: 3,
        samples: 4,
        context: 3,
        seed: 7,
        ensemble: EnsembleConfig { hidden: 16, steps: ensemble_steps, ..EnsembleConfig::default() },
    }
}

fn open() -> Session {
    let options = SessionOptions { device: DeviceChoice::Cpu, wake: Arc::new(|| ()) };
    let mut session = Session::open(Scene::parse(PENDULUM).unwrap(), None, options).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while session.status().phase != Phase::Ready {
        assert!(Instant::now() < deadline, "{:?}", session.status().problems);
        session.poll();
        std::thread::sleep(Duration::from_millis(5));
    }
    session
}

fn wait(session: &Session, id: u64, what: &str, done: impl Fn(&DreamStage) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let frame = session.dream().filter(|frame| frame.id == id);
        if frame.is_some_and(|frame| done(&frame.stage)) {
            return;
        }
        assert!(Instant::now() < deadline, "{what} never came: {:?}", session.dream());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_session_dreams_and_an_ensemble_is_trained_once() {
    let mut session = open();
    let id = session.ask_dream(request(40));
    wait(&session, id, "the end", |stage| *stage == DreamStage::Done);
    let frame = session.dream().unwrap();
    let picture = frame.picture.as_ref().unwrap();
    assert_eq!(picture.truth.len(), 13);
    assert!((picture.truth[0][0] - 3.0).abs() < 1e-5);
    let ensemble = picture.ensemble.as_ref().unwrap();
    for dreamt in [&picture.transformer, &picture.markovian, ensemble] {
        assert_eq!([dreamt.point.len(), dreamt.samples.len()], [13, 4]);
        assert_eq!(dreamt.point[0].len(), 2, "states, not observations");
    }
    let curves = frame.curves.as_ref().unwrap();
    assert_eq!(curves.episodes, 3);
    let curve = curves.ensemble.as_ref().unwrap();
    assert!(curve.distance.iter().all(|distance| distance.n == 3 && distance.mean.is_finite()));
    let oracle = &curves.oracle.distance;
    assert!(curves.transformer.distance.iter().zip(oracle).all(|(a, b)| a.mean >= b.mean - 1e-6));

    // The second time nothing is collected and trained.
    let again = session.ask_dream(request(40));
    let mut has_trained = false;
    let deadline = Instant::now() + Duration::from_secs(60);
    while !session.dream().is_some_and(|frame| frame.id == again && frame.stage.is_over()) {
        if let Some(frame) = session.dream().filter(|frame| frame.id == again) {
            has_trained |= matches!(frame.stage, DreamStage::Training { .. });
        }
        assert!(Instant::now() < deadline);
    }
    assert!(!has_trained);
    let repeated = session.dream().unwrap();
    assert_eq!(repeated.curves, frame.curves, "the same seed dreams the same");
}

#[test]
fn a_dream_stops_when_told_and_keeps_what_it_has() {
    let mut session = open();
    let id = session.ask_dream(request(1_000_000));
    wait(&session, id, "training", |stage| matches!(stage, DreamStage::Training { .. }));
    let frame = session.dream().unwrap();
    let DreamStage::Training { steps, loss, .. } = frame.stage else { panic!("{:?}", frame.stage) };
    assert!(steps == 1_000_000 && loss.is_finite());
    assert!(frame.picture.as_ref().unwrap().ensemble.is_none(), "the others were there before");
    session.stop_dream();
    wait(&session, id, "the stop", |stage| *stage == DreamStage::Stopped);
    assert!(session.dream().unwrap().curves.is_some());
    // Another request stops the one before, and closing stops everything.
    session.ask_dream(request(1_000_000));
    let id = session.ask_dream(request(1_000_000));
    wait(&session, id, "training", |stage| matches!(stage, DreamStage::Training { .. }));
    let started = Instant::now();
    drop(session);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_dream_that_cannot_be_says_why_and_another_world_forgets_it() {
    let mut session = open();
    let bad = DreamRequest { from: Some((vec![3.0, 99.0], Vec::new())), ..request(5) };
    let id = session.ask_dream(bad);
    wait(&session, id, "the failure", |stage| match stage {
        DreamStage::Failed(why) => why.contains("-8 to 8"),
        _ => false,
    });
    let mut scene = session.scene().clone();
    scene.environment.max_steps = 41;
    session.apply(scene).unwrap();
    assert!(session.dream().is_none());
}

fn run(folder: &std::path::Path, arguments: &[&str]) -> (bool, String, String) {
    let scene = folder.join("p.toml");
    std::fs::write(&scene, PENDULUM).unwrap();
    let mut command = Command::cargo_bin("foresight").unwrap();
    let output = command.current_dir(folder).arg("dream").arg("p.toml").args(arguments).output();
    let output = output.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

const SMALL: [&str; 8] =
    ["--episodes", "2", "--horizon", "11", "--samples", "3", "--ensemble-steps", "10"];

#[test]
fn the_command_line_prints_writes_and_repeats() {
    let folder = tempfile::tempdir().unwrap();
    let (ok, table, error) = run(folder.path(), &SMALL);
    assert!(ok, "{error}");
    for part in ["transformer", "1 transition", "ensemble", "oracle", "n 2", "ln p"] {
        assert!(table.contains(part), "{part} is missing:\n{table}");
    }
    let rows: Vec<&str> =
        table.lines().filter(|line| line.trim_start().starts_with("10")).collect();
    assert_eq!(rows.len(), 2, "a distance and an ln p at 10 transitions:\n{table}");

    let json = |extra: &[&str]| -> Value {
        let arguments = [&SMALL[..], &["--json"], extra].concat();
        let (ok, text, error) = run(folder.path(), &arguments);
        assert!(ok, "{error}");
        serde_json::from_str(&text).unwrap()
    };
    let found = json(&["--out", "x.json"]);
    assert_eq!(found["curves"]["transformer"]["distance"].as_array().unwrap().len(), 11);
    assert_eq!(found["curves"]["ensemble"]["distance"][10]["n"], 2);
    let written = std::fs::read_to_string(folder.path().join("x.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), found);
    assert_eq!(json(&[]), found, "the same seed");
    assert_ne!(json(&["--seed", "1"])["curves"], found["curves"]);

    let (ok, _, error) = run(folder.path(), &[&SMALL[..], &["--out", "x.csv"]].concat());
    assert!(ok, "{error}");
    let csv = std::fs::read_to_string(folder.path().join("x.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 4 * 11);
    assert!(csv.lines().all(|line| line.split(',').count() == 11), "{csv}");
}

#[test]
fn the_command_line_refuses_what_it_cannot_do() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        (&["--out", "x.png"][..], ".json or .csv"),
        (&["--horizon", "0"], "use 1 to 1000"),
        (&["--episodes", "0"], "use 1 to"),
        (&["--samples", "99999"], "use 1 to 4096"),
        (&["--set", "model.nonsense=1"], "model.nonsense"),
    ] {
        let (ok, _, error) = run(folder.path(), arguments);
        assert!(!ok && error.contains(part), "{arguments:?}: {error}");
    }
    let mut command = Command::cargo_bin("foresight").unwrap();
    let output = command.args(["dream", "maze2d-umaze-diffuser"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("Trajectory Transformer"), "{error}");
}

#[test]
fn the_window_dreams_at_a_click_and_stops_at_another() {
    let prepared = Prepared::new(AppOptions {
        scene: Scene::parse(PENDULUM).unwrap(),
        name: "test".into(),
        folder: None,
        path: None,
        run: None,
        device: DeviceChoice::Cpu,
        state_folder: None,
        probe: None,
    });
    let prepared = prepared.unwrap();
    let mut window = Harness::builder()
        .with_size(eframe::egui::vec2(1440.0, 900.0))
        .with_max_steps(60)
        .build_eframe(move |cc| prepared.into_app(cc));
    let mut wait = |what: &str, click: Option<&str>, done: &dyn Fn(&Harness<App>) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !done(&window) {
            assert!(Instant::now() < deadline, "{what} never came");
            window.step();
            std::thread::sleep(Duration::from_millis(2));
        }
        if let Some(label) = click {
            window.get_by_label(label).click_accesskit();
            window.step();
        }
        window.step();
    };
    let has = |window: &Harness<App>, label: &str| window.query_by_label(label).is_some();
    let frame = |window: &Harness<App>| window.state().tree.dream.frame(window.state());
    wait("the section", Some("Dream from here"), &|window| has(window, "Dream from here"));
    wait("training", None, &|window| {
        frame(window).is_some_and(|frame| matches!(frame.stage, DreamStage::Training { .. }))
    });
    // The model's own dream is there before the ensemble's.
    wait("the map", Some("ln p of the truth"), &|window| {
        has(window, "Map of the dream") && has(window, "ensemble") && has(window, "discrete oracle")
    });
    wait("the button", Some("Stop dreaming"), &|window| has(window, "Stop dreaming"));
    wait("the end", None, &|window| {
        frame(window).is_some_and(|frame| frame.stage == DreamStage::Stopped)
            && has(window, "Stopped; what was there stays.")
    });
    wait("its place", None, &|window| !has(window, "Stop dreaming"));
}
