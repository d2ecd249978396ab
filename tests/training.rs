//! Train, save, load, plan: the same function comes back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;
use foresight::lab::train::{Budget, Orders, TrainEvent, TrainOptions, train};
use foresight::lab::{Scene, checkpoint, open, shipped};
use foresight::model::ModelNumbers;
use foresight::model::diffuser_learner::DiffuserLearner;
use foresight::model::learner::Learner;
use foresight::plan::{Film, PlanRequest};

fn scene(preset: &str) -> Scene {
    let mut scene = Scene::parse(shipped::find("maze2d-umaze-diffuser").unwrap().text).unwrap();
    let text = scene.to_toml().replace("preset = \"quick\"", &format!("preset = \"{preset}\""));
    scene = Scene::parse(&text).unwrap();
    scene.data.transitions = 5000;
    scene.model.set_weights(None);
    scene.model.diffuser_mut().unwrap().waypoints = Some(16);
    scene.model.diffuser_mut().unwrap().horizon = Some(32);
    scene.model.diffuser_mut().unwrap().multipliers = Some(vec![1, 2]);
    scene.model.diffuser_mut().unwrap().diffusion_steps = Some(8);
    scene.model.diffuser_mut().unwrap().batch = Some(4);
    scene.plan.durations = 3;
    scene.plan.candidates_per_duration = 1;
    scene.plan.denoising_steps = 3;
    scene
}

fn run(scene: &Scene, out: &Path, steps: usize, resume: bool) {
    let options = TrainOptions { resume, ..TrainOptions::beside(out, "test") };
    let orders = Orders::new(Budget::Steps(steps));
    let mut saved = false;
    let summary = train(scene, &Device::flex(), &options, &orders, &mut |event| {
        saved |= matches!(event, TrainEvent::Saved(_));
    })
    .unwrap();
    assert!(saved && summary.steps == steps && summary.loss.is_finite());
}

fn plan(scene: &Scene, weights: &Path) -> Film {
    let mut scene = scene.clone();
    scene.model.set_weights(Some(weights.display().to_string()));
    let opened = open::open(&scene, Some(Path::new("/")), &Device::flex()).unwrap();
    let [x, y] = scene.stage.start;
    let request = PlanRequest {
        start: vec![x, y, 0.0, 0.0],
        goal: scene.stage.goal.to_vec(),
        via: Vec::new(),
        settings: scene.plan,
        seed: 5,
        near_duration: None,
        previous: None,
    };
    let film =
        opened.planner().unwrap().plan(1, Arc::new(request), &mut |_| ControlFlow::Continue(()));
    film.unwrap().unwrap()
}

#[test]
fn every_preset_trains_saves_loads_and_plans_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for preset in ["quick", "quick-fixed", "paper", "code"] {
        let scene = scene(preset);
        let weights = folder.path().join(format!("{preset}.safetensors"));
        run(&scene, &weights, 20, false);
        let (a, b) = (plan(&scene, &weights), plan(&scene, &weights));
        assert_eq!(a.plan, b.plan, "{preset}");
        assert!(a.is_complete() && a.steps.len() == 3);
        // The file itself is stable: reading and writing gives the same bytes.
        let bytes = std::fs::read(&weights).unwrap();
        let read = checkpoint::Checkpoint::from_bytes("w", &bytes).unwrap();
        let copy = folder.path().join("copy.safetensors");
        checkpoint::write(&copy, &read.header, &read.weights).unwrap();
        let copied = checkpoint::Checkpoint::read(&copy).unwrap();
        assert_eq!((copied.header, copied.weights), (read.header, read.weights));
    }
}

#[test]
fn a_resumed_learner_takes_the_same_steps_bit_for_bit() {
    let scene = scene("quick");
    let mut environment = scene.make_environment().unwrap();
    let ModelNumbers::Diffuser(config) = scene.model.resolve(environment.spec()).unwrap() else {
        panic!("the scene holds a Diffuser");
    };
    let episodes = foresight::data::collect(environment.as_mut(), &scene.data, &mut |_| {
        ControlFlow::Continue(())
    });
    let windows =
        foresight::data::Windows::new(Arc::new(episodes.unwrap()), config.windows()).unwrap();
    let mut unbroken = DiffuserLearner::new(config.clone(), windows.clone(), 3, Device::flex());
    for _ in 0..4 {
        unbroken.train_step(0.1).unwrap();
    }
    let state = unbroken.state().unwrap();
    let mut resumed = DiffuserLearner::new(config, windows, 3, Device::flex());
    resumed.restore(state).unwrap();
    for _ in 0..3 {
        unbroken.train_step(0.1).unwrap();
        resumed.train_step(0.1).unwrap();
    }
    let (a, b) = (unbroken.state().unwrap(), resumed.state().unwrap());
    assert_eq!(a.step, 7);
    assert!(a.network == b.network && a.average == b.average && a.rng_position == b.rng_position);
}

#[test]
fn training_lowers_the_loss() {
    let folder = tempfile::tempdir().unwrap();
    let scene = scene("quick");
    let options = TrainOptions {
        report_every: Duration::from_millis(20),
        ..TrainOptions::beside(&folder.path().join("w.safetensors"), "test")
    };
    let orders = Orders::new(Budget::Steps(300));
    let (mut losses, mut held_out) = (Vec::new(), Vec::new());
    train(&scene, &Device::flex(), &options, &orders, &mut |event| match event {
        TrainEvent::Training { metric, .. } => {
            losses.push(metric.loss);
            assert!(metric.gradient_norm.is_none_or(|norm| norm > 0.0));
        }
        TrainEvent::Saved(manifest) => held_out.push(manifest.newest().unwrap().held_out.unwrap()),
        _ => {}
    })
    .unwrap();
    let (first, last) = (held_out[0], held_out[held_out.len() - 1]);
    assert!(last < 0.7 * first, "held out: {first} to {last}");
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last < 0.7 * first, "{first} to {last}");
}
