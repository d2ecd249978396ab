//! Scores do not depend on how many episodes run at a time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::ops::ControlFlow;

use burn::tensor::Device;
use foresight::env::Environment;
use foresight::eval::beam::{BeamEvalOptions, evaluate_beam};
use foresight::eval::returns::evaluate_returns;
use foresight::eval::{EvalOptions, evaluate};
use foresight::lab::Scene;
use foresight::lab::open::{self, Opened, OpenedModel};
use serde_json::Value;

const EPISODES: usize = 7;

/// A shipped scene whose episodes are short.
fn open(name: &str) -> (Scene, Opened) {
    let (mut scene, folder) = Scene::open(name).unwrap();
    scene.environment.max_steps = 12;
    scene.beam.beam = 6;
    scene.beam.horizon = 4;
    scene.plan.candidates_per_duration = 4;
    let opened = open::open(&scene, folder.as_deref(), &Device::flex()).unwrap();
    (scene, opened)
}

fn environments(scene: &Scene, n: usize) -> Vec<Box<dyn Environment>> {
    (0..n).map(|_| scene.make_environment().unwrap()).collect()
}

/// What `foresight eval` prints of one scene with so many episodes at a time,
/// stopped when `stop_after` are done.
fn measure(name: &str, at_a_time: usize, stop_after: usize) -> Value {
    let (scene, opened) = open(name);
    let mut environments = environments(&scene, at_a_time);
    let mut heard = 0;
    let mut on_episode = |done: usize| {
        heard += 1;
        assert_eq!(done, heard, "episodes are counted one by one");
        match done < stop_after {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    };
    let options = EvalOptions {
        episodes: EPISODES,
        multi: true,
        seed: 3,
        settings: scene.plan.clone(),
        control: scene.control.clone(),
        blind: true,
    };
    let found = match &opened.model {
        OpenedModel::Trajectory(model) => {
            let options = BeamEvalOptions {
                episodes: EPISODES,
                multi: true,
                seed: 3,
                beam: scene.beam.clone(),
                control: scene.control.clone(),
            };
            let found = evaluate_beam(&mut environments, model, &options, &mut on_episode);
            serde_json::to_value(found.unwrap())
        }
        OpenedModel::Diffuser(planner) if opened.environment.spec().goal_dims.is_empty() => {
            let found = evaluate_returns(&mut environments, planner, &options, &mut on_episode);
            serde_json::to_value(found.unwrap())
        }
        OpenedModel::Diffuser(planner) => {
            let found = evaluate(&mut environments, planner, &options, &mut on_episode);
            serde_json::to_value(found.unwrap())
        }
        OpenedModel::Gamma(_) => panic!("a \u{3b3}-model has no episodes"),
    };
    found.unwrap()
}

/// Without its times, of which the number is returned.
fn scores(mut found: Value) -> (Value, u64) {
    let times = found.as_object_mut().unwrap().remove("plan_ms").unwrap();
    assert!(times["p50"].as_f64().unwrap() > 0.0, "{times}");
    (found, times["n"].as_u64().unwrap())
}

#[test]
fn episodes_side_by_side_score_what_they_score_one_by_one() {
    for name in [
        "pendulum-transformer",
        "four-rooms-transformer",
        "pendulum-diffuser",
        "maze2d-umaze-diffuser",
    ] {
        let (alone, n_alone) = scores(measure(name, 1, EPISODES));
        let (together, n_together) = scores(measure(name, 3, EPISODES));
        assert_eq!(alone, together, "{name}");
        assert_eq!(alone["episodes"], EPISODES);
        // Times are those of the first episode in ten.
        assert!((1..n_alone).contains(&n_together), "{name}: {n_together} of {n_alone}");
    }
}

#[test]
fn an_evaluation_that_is_stopped_keeps_the_first_episodes() {
    let found = measure("four-rooms-transformer", 3, 2);
    let n = found["episodes"].as_u64().unwrap();
    // Those on their way come through: one for each environment.
    assert!((2..=5).contains(&n), "{found}");
    assert_eq!(found["reach_rate"]["n"], n);
}

#[test]
fn an_evaluation_without_an_environment_is_refused() {
    let (scene, opened) = open("four-rooms-transformer");
    let OpenedModel::Trajectory(model) = &opened.model else { panic!("another model") };
    let options = BeamEvalOptions {
        episodes: 2,
        multi: false,
        seed: 0,
        beam: scene.beam.clone(),
        control: scene.control,
    };
    let error = evaluate_beam(&mut [], model, &options, &mut |_| ControlFlow::Continue(()));
    assert!(error.unwrap_err().to_string().contains("no environment"));
}
