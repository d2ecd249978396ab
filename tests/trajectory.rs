//! The Trajectory Transformer as a whole: it learns, its cache changes
//! nothing, it acts, and a session and the command line answer for it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use burn::tensor::Device;
use foresight::data::{
    Binning, Paths, TokenKind, TokenLayout, TokenWeights, TokenWindows, discretize,
};
use foresight::env;
use foresight::lab::beam::AttentionRequest;
use foresight::lab::open::{self, OpenedModel};
use foresight::lab::{DeviceChoice, Phase, Scene, Session, SessionOptions};
use foresight::model::learner::Learner;
use foresight::model::trajectory::{TrajectoryModel, TrajectorySection};
use foresight::model::trajectory_learner::TrajectoryLearner;
use foresight::plan::beam::drive::{DriveEvent, DriveRequest, drive};
use foresight::plan::beam::predictor::{CachedModel, UncachedModel};
use foresight::plan::beam::{BeamRequest, BeamSettings, SearchMode, TokenModel, search};
use serde_json::Value;

const ROOMS: &str = r#"
format = 1
title = "Rooms"

[environment]
id = "four-rooms"
max_steps = 20

[data]
transitions = 2000

[model]
id = "trajectory"
preset = "quick"
width = 16
layers = 2
heads = 2
bins = 12
transitions = 6
batch = 8

[train]
steps = 5

[beam]
beam = 4
horizon = 8
context = 3

[stage]
start = [-0.4, -0.45]
goal = [0.35, 0.4]
seed = 7
"#;

fn pendulum() -> String {
    ROOMS
        .replace("\"four-rooms\"", "\"pendulum\"")
        .replace("start = [-0.4, -0.45]", "start = [3.0, 0.5]")
        .replace("goal = [0.35, 0.4]", "goal = [0.0, 0.0]")
        .replace("[beam]", "[beam]\nmode = \"reward\"")
}

/// A scene's model with random weights.
fn model(text: &str) -> TrajectoryModel {
    let scene = Scene::parse(text).unwrap();
    let opened = open::open(&scene, None, &Device::flex()).unwrap();
    match opened.model {
        OpenedModel::Trajectory(model) => *model,
        _ => panic!("another model"),
    }
}

#[test]
fn a_tiny_corpus_is_memorized() {
    // Four paths whose tokens repeat with different periods.
    let (n_paths, steps) = (4, 12);
    let mut paths = Paths::new(1, 1, 1);
    for path in 0..n_paths {
        for step in 0..steps {
            paths.observations.push(((step * (path + 1)) % 5) as f32);
            paths.actions.push(((step + path) % 3) as f32 - 1.0);
            paths.rewards.push(0.0);
        }
        paths.starts.push(paths.rewards.len());
        paths.finals.push(((steps * (path + 1)) % 5) as f32);
        paths.arrived.push(false);
    }
    let layout = TokenLayout { states: 1, actions: 1, rewards: false, goals: 1, bins: 5 };
    let discretizer = discretize(&paths, layout, Binning::Uniform).unwrap();
    let weights = TokenWeights { state: 1.0, action: 1.0, reward: 1.0, value: 1.0 };
    let windows = TokenWindows::new(Arc::new(paths), discretizer, vec![0], 4, weights).unwrap();
    let scene = Scene::parse(ROOMS).unwrap();
    let environment = scene.make_environment().unwrap();
    let text = "preset = \"quick\"\nwidth = 32\nlayers = 2\nheads = 2\nbatch = 16\ntransitions = 4";
    let section: TrajectorySection = toml_section(text);
    let mut config = section.resolve(environment.spec()).unwrap();
    (config.layout, config.goal_dims, config.observation) = (layout, vec![0], vec![0]);
    let mut learner = TrajectoryLearner::new(config, windows, 1, Device::flex());
    let mut losses = Vec::new();
    for step in 0..300 {
        let loss = learner.train_step(f64::from(step) / 300.0).unwrap();
        losses.push(loss.into_data().try_to_vec::<f32>().unwrap()[0]);
    }
    let mean = |range: std::ops::Range<usize>| {
        losses[range.clone()].iter().sum::<f32>() / range.len() as f32
    };
    let (first, last) = (mean(0..10), mean(280..300));
    // The goal and a window's first token leave some futures open.
    assert!(last < 0.35 * first, "from {first} to {last}");
}

/// The model section of a scene, parsed as a scene is.
fn toml_section(text: &str) -> TrajectorySection {
    let from = ROOMS.find("preset = ").unwrap();
    let to = ROOMS.find("[train]").unwrap();
    let scene = format!("{}{text}\n\n{}", &ROOMS[..from], &ROOMS[to..]);
    let mut scene = Scene::parse(&scene).unwrap();
    scene.model.trajectory_mut().unwrap().clone()
}

#[test]
fn a_cached_search_equals_an_uncached_one_before_and_after_a_crop() {
    for (text, mode) in [
        (ROOMS.to_owned(), SearchMode::Likelihood),
        (ROOMS.to_owned(), SearchMode::Sample),
        (pendulum(), SearchMode::Reward),
    ] {
        let model = model(&text);
        let layout = model.config.layout;
        // Windows of 6 transitions, a context of 3 and 8 more: it must crop.
        let settings = BeamSettings {
            mode,
            beam: 4,
            horizon: 8,
            context: 3,
            observation_k: 3,
            ..BeamSettings::default()
        };
        let d = layout.per_transition();
        let context = (0..2 * d + layout.states).map(|i| (i * 5 % 12) as u16).collect();
        let goal = (0..layout.goals).map(|i| (i * 7 % 12) as u16).collect();
        let request = BeamRequest {
            goal,
            context,
            settings,
            seed: 3,
            edits: vec![],
            may_have_arrived: true,
            shows_pruned: false,
        };
        let run = |predictor: &mut dyn TokenModel| {
            let go_on = &mut |_: &_| ControlFlow::Continue(());
            search(predictor, &request, None, go_on).unwrap().unwrap()
        };
        let cached = run(&mut CachedModel::new(&model));
        let uncached = run(&mut UncachedModel::new(&model));
        assert_eq!(cached.nodes.len(), uncached.nodes.len());
        assert!(cached.levels.len() > 4 * d, "{mode:?} ended early");
        for (a, b) in cached.nodes.iter().zip(&uncached.nodes) {
            assert_eq!((a.token, a.parent, a.kept), (b.token, b.parent, b.kept), "{mode:?}");
            assert!((a.total - b.total).abs() < 1e-4 * (1.0 + a.total.abs()), "{mode:?}");
        }
        assert_eq!(cached.best_tokens(), uncached.best_tokens());
    }
}

#[test]
fn an_episode_starts_where_it_should_obeys_the_environment_and_repeats() {
    for text in [ROOMS.to_owned(), pendulum()] {
        let scene = Scene::parse(&text).unwrap();
        let model = model(&text);
        let mut environment = scene.make_environment().unwrap();
        let request = request(&scene, environment.as_ref());
        let mut run = || {
            let go_on = &mut |_: DriveEvent| ControlFlow::Continue(());
            drive(environment.as_mut(), &model, &request, None, go_on).unwrap().unwrap()
        };
        let (first, again) = (run(), run());
        assert_eq!(first.states, again.states);
        assert_eq!(first.states[0], request.start);
        assert!(first.finished && !first.searches.is_empty());
        let mut replayed = env::make(&scene.environment).unwrap();
        replayed.set_state(&first.states[0]).unwrap();
        for (action, state) in first.actions.iter().zip(&first.states[1..]) {
            replayed.step(action);
            assert_eq!(&replayed.state(), state);
        }
        let plan = &first.searches[0].plan;
        assert_eq!(plan.states.len(), plan.actions.len() + usize::from(!plan.ends));
    }
}

fn request(scene: &Scene, environment: &dyn env::Environment) -> DriveRequest {
    let has_goal = !environment.spec().goal_dims.is_empty();
    DriveRequest {
        start: scene.stage.start.to_vec(),
        goal: if has_goal { scene.stage.goal.to_vec() } else { Vec::new() },
        beam: scene.beam.clone(),
        control: scene.control.clone(),
        seed: 3,
        edits: Vec::new(),
        shows_pruned: true,
        max_steps: 12,
    }
}

#[test]
fn a_broken_off_episode_stops_within_a_token() {
    let scene = Scene::parse(ROOMS).unwrap();
    let model = model(ROOMS);
    let mut environment = scene.make_environment().unwrap();
    let request = request(&scene, environment.as_ref());
    let mut heard = 0;
    let stopped = drive(environment.as_mut(), &model, &request, None, &mut |_| {
        heard += 1;
        if heard < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert!(stopped.unwrap().is_none());
    assert_eq!(heard, 3);
}

fn wait<T>(session: &mut Session, find: impl Fn(&Session) -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        session.poll();
        if let Some(found) = find(session) {
            return found;
        }
        let problems = &session.status().problems;
        assert!(started.elapsed() < Duration::from_secs(120), "nothing came: {problems:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_session_answers_the_newest_request_and_looks_inside_its_attention() {
    let options = SessionOptions { device: DeviceChoice::Cpu, wake: Arc::new(|| {}) };
    let scene = Scene::parse(ROOMS).unwrap();
    let environment = scene.make_environment().unwrap();
    let mut session = Session::open(scene.clone(), None, options).unwrap();
    wait(&mut session, |session| (session.status().phase == Phase::Ready).then_some(()));
    let mut asked = request(&scene, environment.as_ref());
    session.ask_beam(asked.clone());
    asked.goal = vec![-0.3, 0.3];
    let newest = session.ask_beam(asked.clone());
    let frame = wait(&mut session, |session| {
        session.beam().filter(|frame| frame.id == newest && frame.drive.finished)
    });
    assert_eq!(frame.request.goal, asked.goal);
    let record = frame.search_at(0).unwrap();
    let sequence = frame.sequence(record);
    // Two tokens of the goal, then the present state, then what is planned.
    let of = |kind: Option<TokenKind>| sequence.iter().filter(|token| token.kind == kind).count();
    assert_eq!(of(None), 2);
    assert_eq!((sequence[2].kind, sequence[2].transition), (Some(TokenKind::State), 0));
    assert_eq!(of(Some(TokenKind::Action)), 2 * record.plan.actions.len());
    assert_eq!(frame.place_of(record, 0).unwrap(), record.present);
    let tokens: Vec<u16> =
        record.tree.context.iter().copied().chain(record.tree.best_tokens().unwrap()).collect();
    let goal = Arc::clone(&record.goal);
    let id = session.ask_attention(AttentionRequest { goal, tokens: tokens.into() });
    let seen = wait(&mut session, |session| session.attention().filter(|frame| frame.id == id));
    assert_eq!((seen.layers, seen.heads), (2, 2));
    for layer in 0..2 {
        for row in seen.map(layer, 1).chunks_exact(seen.n) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        }
    }
}

#[test]
fn the_command_line_trains_evaluates_and_writes_tree_and_attention() {
    let folder = tempfile::tempdir().unwrap();
    let scene = folder.path().join("rooms.toml");
    let text = ROOMS.replace("batch = 8", "batch = 8\nweights = \"rooms.safetensors\"");
    std::fs::write(&scene, text).unwrap();
    let foresight = |arguments: &[&str]| {
        let mut command = Command::cargo_bin("foresight").unwrap();
        let output = command
            .args(arguments)
            .args(["--device", "cpu"])
            .current_dir(&folder)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    };
    foresight(&["train", "rooms.toml", "--json"]);
    let text = foresight(&["eval", "rooms.toml", "--episodes", "3", "--json"]);
    let results: Value = serde_json::from_str(&text).unwrap();
    let row = &results["results"][0];
    assert_eq!(row["reach_rate"]["n"], 3);
    assert_eq!(row["beam"]["beam"], 4);
    let arguments = ["plan", "rooms.toml", "--json", "--tree", "tree.json"];
    let text = foresight(&[&arguments[..], &["--attention", "a.npz", "--out", "e.csv"]].concat());
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert!(summary["plan_ms"].as_f64().unwrap() > 0.0);
    let tree = std::fs::read_to_string(folder.path().join("tree.json")).unwrap();
    let tree: Value = serde_json::from_str(&tree).unwrap();
    let nodes = tree["nodes"].as_array().unwrap();
    assert!(nodes.iter().any(|node| node["chosen"] == true));
    assert!(nodes.iter().any(|node| node["kept"] == false));
    assert!(folder.path().join("a.npz").exists());
    let csv = std::fs::read_to_string(folder.path().join("e.csv")).unwrap();
    assert!(csv.starts_with("time_s,x,y"), "{csv}");
}

#[test]
fn wrong_searches_are_refused_with_what_would_do() {
    let refused = |text: String| Scene::parse(&text).unwrap_err().to_string();
    let reward = refused(ROOMS.replace("[beam]", "[beam]\nmode = \"reward\""));
    assert!(reward.contains("rewards"), "{reward}");
    let width = refused(ROOMS.replace("width = 16", "width = 17"));
    assert!(width.contains("heads"), "{width}");
    let beam = refused(ROOMS.replace("beam = 4", "beam = 0"));
    assert!(beam.contains("beam"), "{beam}");
    let unknown = refused(ROOMS.replace("layers = 2", "layerz = 2"));
    assert!(unknown.contains("layerz"), "{unknown}");
}
