//! `foresight bench --frontier` through the real program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::path::Path;

use assert_cmd::Command;
use foresight::lab::frontier::{Frontier, fewest, find, on_frontier};
use foresight::lab::{Scene, shipped};

/// The U-Maze with small random weights and short episodes, as text.
fn scene() -> String {
    let mut scene = Scene::parse(shipped::find("maze2d-umaze-diffuser").unwrap().text).unwrap();
    scene.model.set_weights(None);
    let section = scene.model.diffuser_mut().unwrap();
    (section.waypoints, section.multipliers) = (Some(16), Some(vec![1, 2]));
    section.diffusion_steps = Some(8);
    scene.data.transitions = 3000;
    scene.train.steps = 2;
    scene.plan.durations = 3;
    scene.plan.candidates_per_duration = 1;
    scene.plan.drag_candidates = 4;
    scene.environment.max_steps = 60;
    scene.distill = None;
    scene.to_toml()
}

fn run(folder: &Path, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::cargo_bin("foresight").unwrap();
    let output = command.current_dir(folder).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_trade_off_is_measured_recorded_beside_the_weights_and_found_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    std::fs::write(&file, scene()).unwrap();
    // There is nothing to record beside yet.
    let measure = ["bench", "--frontier", "mine.toml", "--episodes", "2", "--device", "cpu"];
    let (ok, _, err) = run(folder.path(), &[&measure[..], &["--record"]].concat());
    assert!(!ok && err.contains("weights file"), "{err}");
    let train = ["train", "mine.toml", "--out", "mine.safetensors", "--device", "cpu"];
    let (ok, _, err) = run(folder.path(), &train);
    assert!(ok, "{err}");
    let text =
        scene().replace("preset = \"quick\"", "preset = \"quick\"\nweights = \"mine.safetensors\"");
    std::fs::write(&file, &text).unwrap();
    let (ok, out, err) = run(folder.path(), &[&measure[..], &["--record", "--json"]].concat());
    assert!(ok, "{err}");
    let printed: Frontier = serde_json::from_str(&out).unwrap();
    let found = find(&Scene::parse(&text).unwrap(), Some(folder.path())).unwrap();
    assert_eq!(found.points, printed.points);
    assert_eq!(found.weights, printed.weights);
    assert_ne!(found.weights, "untrained");
    // Every step count that makes a difference once, DDPM's own among them.
    let steps = |sampler: &str| {
        let points = found.points.iter().filter(|point| point.sampler.row().id == sampler);
        points.map(|point| point.forwards).collect::<Vec<_>>()
    };
    assert_eq!((steps("ddim"), steps("ddpm")), (vec![1, 2, 3, 4, 5, 8], vec![8]));
    assert!(steps("one-step").is_empty(), "these weights hold no distilled network");
    assert!(found.points.iter().all(|point| point.score.n == 2 && point.plan_ms > 0.0));
    assert!(found.replanning.iter().any(|point| point.warm_steps > 0));
    assert!(found.replanning.iter().any(|point| point.warm_steps == 0));
    assert_eq!(found.drags.first().unwrap().warm_steps, 0);
    assert!(fewest(&found.points).is_some() && on_frontier(&found.points).contains(&true));

    let (ok, out, _) = run(folder.path(), &[&measure[..], &["--part", "samplers"]].concat());
    assert!(
        ok && out.contains("frontier") && out.contains("fewest within 2 % of the best"),
        "{out}"
    );
}

#[test]
fn the_trade_off_refuses_what_it_cannot_measure() {
    let folder = tempfile::tempdir().unwrap();
    let refuse = |arguments: &[&str], word: &str| {
        let (ok, _, err) = run(folder.path(), arguments);
        assert!(!ok && err.contains(word) && !err.contains("panicked"), "{arguments:?}: {err}");
    };
    refuse(&["bench", "--frontier", "nowhere"], "there is no scene");
    refuse(&["bench", "--frontier", "pendulum-gamma", "--device", "cpu"], "needs a Diffuser");
    refuse(&["bench", "--frontier", "--episodes", "0", "--device", "cpu"], "use 1 to");
    refuse(&["bench", "--record"], "--frontier");
}
