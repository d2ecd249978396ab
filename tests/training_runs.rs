//! Runs in the hands of people and of bad luck: stopped, resumed, tuned, sent
//! back, gone wrong, killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;
use foresight::lab::open::{self, OpenedModel};
use foresight::lab::pairs::{WORLDS, pair};
use foresight::lab::train::folder::{self, RunFolder};
use foresight::lab::train::{Budget, Orders, Rest, TrainEvent, TrainOptions, train};
use foresight::lab::{Checkpoint, Scene, checkpoint, shipped};
use foresight::model;
use foresight::model::gamma::Query;
use foresight::plan::PlanRequest;
use foresight::plan::beam::drive::{DriveRequest, drive};
use foresight::rng::Rng;

/// Shipped scenes of all three models that train in no time.
fn scenes() -> Vec<Scene> {
    let names = ["maze2d-umaze-diffuser", "pendulum-gamma", "four-rooms-transformer"];
    names.map(|name| tiny(Scene::parse(shipped::find(name).unwrap().text).unwrap())).into()
}

/// A scene with a network and data that train in no time.
fn tiny(mut scene: Scene) -> Scene {
    scene.model.set_weights(None);
    scene.data.transitions = 3000;
    if let Some(section) = scene.model.diffuser_mut() {
        section.waypoints = Some(16);
        section.multipliers = Some(vec![1, 2]);
        section.batch = Some(4);
    }
    if let Some(section) = scene.model.gamma_mut() {
        section.hidden = Some(16);
        section.couplings = Some(2);
        section.bins = Some(4);
        section.batch = Some(16);
    }
    if let Some(section) = scene.model.trajectory_mut() {
        section.layers = Some(1);
        section.width = Some(16);
        section.heads = Some(2);
        section.transitions = Some(8);
        section.batch = Some(4);
    }
    scene.plan.durations = scene.plan.durations.min(2);
    scene.plan.candidates_per_duration = 2;
    scene.beam.beam = 2;
    scene.beam.horizon = 3;
    scene
}

/// What the trained scene answers to its own question, as numbers.
fn answer(scene: &Scene) -> Vec<f32> {
    let go_on = || ControlFlow::Continue(());
    let mut opened = open::open(scene, Some(Path::new("/")), &Device::flex()).unwrap();
    let spec = opened.environment.spec().clone();
    let mut start = scene.stage.start.to_vec();
    start.resize(spec.state.len(), 0.0);
    let goal: Vec<f32> = scene.stage.goal.into_iter().take(spec.goal_dims.len()).collect();
    match &opened.model {
        OpenedModel::Diffuser(planner) => {
            let request = PlanRequest {
                start,
                goal,
                via: Vec::new(),
                settings: scene.plan.clone(),
                seed: 5,
                near_duration: None,
                previous: None,
            };
            let film = planner.plan(1, Arc::new(request), &mut |_| go_on()).unwrap().unwrap();
            film.plan.unwrap().states.concat()
        }
        OpenedModel::Gamma(model) => {
            let discount = model.config.discount[1];
            let query = Query { state: start, action: None, goal, discount, policy: 0 };
            let samples = model.sample(&[query], 32, &mut Rng::stream(1, "test")).unwrap();
            samples.states
        }
        OpenedModel::Trajectory(model) => {
            let request = DriveRequest {
                start,
                goal,
                beam: scene.beam.clone(),
                control: scene.control.clone(),
                seed: 5,
                edits: Vec::new(),
                shows_pruned: false,
                max_steps: 6,
            };
            let environment = opened.environment.as_mut();
            let episode = drive(environment, model, &request, None, &mut |_| go_on());
            episode.unwrap().unwrap().states.concat()
        }
    }
}

#[test]
fn every_model_trains_in_every_world_and_what_was_saved_answers_as_it_did() {
    let folder = tempfile::tempdir().unwrap();
    for world in WORLDS {
        if ["maze2d-medium", "maze2d-large"].contains(&world.id) {
            continue;
        }
        for row in model::ALL {
            let mut scene = tiny(pair(world, row.id).unwrap().scene);
            let run = folder.path().join(format!("{}-{}", world.id, row.id));
            let options = options(&run);
            go(&scene, &options, &Orders::new(Budget::Steps(20)), &mut |_| {});
            scene.model.set_weights(Some(options.weights().display().to_string()));
            let first = answer(&scene);
            assert!(!first.is_empty() && first.iter().all(|value| value.is_finite()));
            assert_eq!(first, answer(&scene), "{} in {}", row.id, world.id);
            // A checkpoint of the run holds the same weights.
            let entry = folder::read_manifest(&run).unwrap().newest().unwrap().clone();
            scene.model.set_weights(Some(run.join(entry.file).display().to_string()));
            assert_eq!(first, answer(&scene), "{} in {}", row.id, world.id);
        }
    }
}

fn options(run: &Path) -> TrainOptions {
    TrainOptions {
        run: run.to_path_buf(),
        out: None,
        resume: false,
        device_name: "test".into(),
        report_every: Duration::ZERO,
        show_every: None,
        save_every: Duration::from_secs(3600),
        waits: false,
    }
}

fn go(
    scene: &Scene,
    options: &TrainOptions,
    orders: &Orders,
    on_event: &mut dyn FnMut(TrainEvent),
) {
    train(scene, &Device::flex(), options, orders, on_event).unwrap();
}

#[test]
fn a_run_that_was_stopped_and_resumed_ends_with_the_bits_of_an_unbroken_one() {
    for scene in scenes() {
        let folder = tempfile::tempdir().unwrap();
        let [whole, broken] = ["whole", "broken"].map(|name| folder.path().join(name));
        go(&scene, &options(&whole), &Orders::new(Budget::Steps(20)), &mut |_| {});
        let orders = Orders::new(Budget::Steps(20));
        go(&scene, &options(&broken), &orders, &mut |event| {
            if matches!(event, TrainEvent::Training { metric, .. } if metric.step == 7) {
                orders.stop();
            }
        });
        assert_eq!(folder::read_manifest(&broken).unwrap().newest().unwrap().step, 7);
        let again = TrainOptions { resume: true, ..options(&broken) };
        go(&scene, &again, &Orders::new(Budget::Steps(20)), &mut |_| {});
        let read = |run: &Path| {
            let manifest = folder::read_manifest(run).unwrap();
            let entry = manifest.newest().unwrap().clone();
            let (_, state) = checkpoint::read_resume(&run.join(&entry.file)).unwrap();
            (entry.step, entry.held_out, state)
        };
        let ((a_step, a_held, a), (b_step, b_held, b)) = (read(&whole), read(&broken));
        assert_eq!((a_step, a_held), (b_step, b_held), "{}", scene.title);
        assert!(a_held.is_some_and(f32::is_finite), "{}", scene.title);
        assert!(a.network == b.network && a.average == b.average, "{}", scene.title);
        assert!(a.optimizer == b.optimizer && a.rng_position == b.rng_position, "{}", scene.title);
        // Weights for planning are those of the newest checkpoint.
        let weights = Checkpoint::read(&whole.join(folder::WEIGHTS)).unwrap();
        assert_eq!(weights.weights, a.average);
        // Every step has its line, once.
        let steps: Vec<usize> = folder::read_metrics(&broken)
            .unwrap()
            .iter()
            .filter(|line| line.held_out.is_none())
            .map(|line| line.step)
            .collect();
        assert_eq!(steps, (1..=20).collect::<Vec<_>>());
    }
}

#[test]
fn going_back_starts_a_branch_and_keeps_what_was_there() {
    let scene = scenes().remove(2);
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let orders = Orders::new(Budget::Steps(12));
    let mut went_back_to = None;
    go(&scene, &options(&run), &orders, &mut |event| match event {
        // A line with a held-out loss repeats the step before it.
        TrainEvent::Training { metric, .. } if metric.held_out.is_some() => {}
        TrainEvent::Training { metric, .. } if (metric.branch, metric.step) == (0, 3) => {
            orders.keep();
        }
        TrainEvent::Training { metric, .. } if (metric.branch, metric.step) == (0, 6) => {
            orders.go_back(2);
        }
        TrainEvent::WentBack(step) => went_back_to = Some(step),
        _ => {}
    });
    assert_eq!(went_back_to, Some(3));
    let manifest = folder::read_manifest(&run).unwrap();
    let entries: Vec<_> = manifest
        .checkpoints
        .iter()
        .map(|entry| (entry.id, entry.step, entry.branch, entry.is_kept))
        .collect();
    assert_eq!(entries, [(1, 0, 0, false), (2, 3, 0, true), (3, 6, 0, true), (4, 12, 1, false)]);
    let lines = folder::read_metrics(&run).unwrap();
    let of =
        |branch| lines.iter().filter(move |line| line.branch == branch && line.held_out.is_none());
    assert_eq!(of(0).count(), 6);
    assert_eq!(of(1).map(|line| line.step).collect::<Vec<_>>(), (4..=12).collect::<Vec<_>>());
}

#[test]
fn a_step_size_changes_on_the_way_and_another_network_does_not() {
    let scene = scenes().remove(0);
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let orders = Orders::new(Budget::Steps(10));
    let (mut rates, mut warnings) = (Vec::new(), 0);
    go(&scene, &options(&run), &orders, &mut |event| match event {
        TrainEvent::Training { metric, .. } => {
            rates.push(metric.learning_rate);
            let mut tuned = scene.clone();
            if metric.step == 4 {
                tuned.model.diffuser_mut().unwrap().learning_rate = Some(1e-7);
                orders.tune(tuned);
            } else if metric.step == 6 {
                tuned.model.diffuser_mut().unwrap().multipliers = Some(vec![1]);
                orders.tune(tuned);
            }
        }
        TrainEvent::Warning(_) => warnings += 1,
        _ => {}
    });
    assert!(rates[3] > 1e-5 && rates[5..].iter().all(|rate| *rate < 1e-6), "{rates:?}");
    assert_eq!(warnings, 1);
    // The scene in the folder says what trained last, and continues it.
    let written = Scene::read(&run.join("scene.toml")).unwrap();
    let again = TrainOptions { resume: true, ..options(&run) };
    go(&written, &again, &Orders::new(Budget::Steps(12)), &mut |_| {});
    // With other data it is another run.
    let mut other = scene;
    other.data.seed += 1;
    let refused = train(&other, &Device::flex(), &again, &orders, &mut |_| {}).unwrap_err();
    assert!(refused.to_string().contains("without --resume"), "{refused}");
}

#[test]
fn a_pause_takes_no_step_and_a_spent_budget_waits_to_be_extended() {
    let scene = scenes().remove(1);
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let orders = Orders::new(Budget::Steps(6));
    let mut rests = Vec::new();
    let mut last = 0;
    std::thread::scope(|scope| {
        go(
            &scene,
            &TrainOptions { waits: true, ..options(&run) },
            &orders,
            &mut |event| match event {
                TrainEvent::Training { metric, .. } => {
                    last = metric.step;
                    if metric.step == 3 && rests.is_empty() {
                        orders.pause();
                    }
                }
                TrainEvent::Resting(why) => {
                    rests.push((last, why));
                    let orders = &orders;
                    let turn = rests.len();
                    scope.spawn(move || {
                        std::thread::sleep(Duration::from_millis(50));
                        match turn {
                            1 => orders.resume(),
                            2 => orders.set_budget(Budget::Steps(9)),
                            _ => orders.stop(),
                        }
                    });
                }
                _ => {}
            },
        );
    });
    assert_eq!(rests, [(3, Rest::Asked), (6, Rest::Spent), (9, Rest::Spent)]);
}

#[test]
fn a_loss_that_leaps_rests_and_the_last_good_checkpoint_goes_on() {
    /// Far more than it takes to go wrong.
    const PATIENCE: usize = 400;
    let scene = scenes().remove(0);
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let orders = Orders::new(Budget::Steps(100_000));
    let with_rate = |rate: f64| {
        let mut scene = scene.clone();
        scene.model.diffuser_mut().unwrap().learning_rate = Some(rate);
        scene
    };
    let (mut trouble, mut back) = (None, None);
    let options = TrainOptions { waits: true, ..options(&run) };
    go(&scene, &options, &orders, &mut |event| match event {
        TrainEvent::Resting(Rest::Trouble(why)) if trouble.is_none() => {
            trouble = Some(why);
            orders.tune(with_rate(1e-5));
            orders.go_back(1);
            orders.resume();
        }
        TrainEvent::WentBack(step) => back = Some(step),
        TrainEvent::Training { metric, .. } if back.is_none() => match metric.step {
            30 => orders.tune(with_rate(1.0)),
            PATIENCE.. => orders.stop(),
            _ => {}
        },
        TrainEvent::Training { metric, .. } if metric.step >= 5 => {
            assert!(metric.loss.is_finite());
            orders.stop();
        }
        _ => {}
    });
    assert_eq!(back, Some(0));
    let why = trouble.unwrap();
    assert!(why.contains("learning rate"), "{why}");
}

#[test]
fn a_process_killed_while_it_saves_leaves_its_last_checkpoint_readable() {
    const KILLS: usize = 50;
    let folder = tempfile::tempdir().unwrap();
    let scene = scenes().remove(2);
    std::fs::write(folder.path().join("scene.toml"), scene.to_toml()).unwrap();
    let program = assert_cmd::cargo::cargo_bin!("foresight");
    let run = folder.path().join("w.run");
    let mut rng = Rng::stream(3, "kills");
    let (mut step, mut published) = (0, 0);
    for kill in 0..KILLS {
        let mut command = Command::new(program);
        command.current_dir(folder.path()).args(["train", "scene.toml", "--out", "w.safetensors"]);
        command.args(["--steps", "1000000", "--device", "cpu", "--checkpoint-every", "0"]);
        if published > 0 {
            command.arg("--resume");
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(150 + rng.below(350) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        let Ok(manifest) = folder::read_manifest(&run) else {
            assert_eq!(published, 0, "kill {kill}: the run is gone");
            continue;
        };
        let Some(newest) = manifest.newest() else { continue };
        // The newest checkpoint is the one that is continued, and time never
        // runs backwards.
        let found = newest.clone();
        let (_, continued) = RunFolder::resume(&run).unwrap();
        assert_eq!(continued.state.step, found.step, "kill {kill}");
        assert!(found.step >= step, "kill {kill}");
        let weights = Checkpoint::read(&run.join(folder::WEIGHTS)).unwrap();
        assert!(weights.header.provenance.steps >= found.step);
        assert!(Checkpoint::read(&folder.path().join("w.safetensors")).is_ok());
        (step, published) = (found.step, published + 1);
    }
    assert!(published > KILLS / 2 && step > 10, "{published} published, step {step}");
}
