//! `foresight occupancy`, and what the other commands say to a γ-model's scene,
//! through the real program.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use npyz::npz::NpzArchive;
use serde_json::Value;
use tempfile::TempDir;

/// A tiny γ-model with random weights over the pendulum.
const PENDULUM: &str = r#"
format = 1
title = "Pendulum"

[environment]
id = "pendulum"
max_steps = 200

[data]
transitions = 2000

[model]
id = "gamma"
preset = "quick"
policy = "swing-up"
discount = [0.0, 0.99]
couplings = 2
bins = 4
hidden = 8
batch = 16

[train]
steps = 5

[occupancy]
discount = 0.9
long_discount = 0.95
samples = 300

[stage]
start = [3.0, 0.5]
goal = [0.0, 0.0]
seed = 7
"#;

/// The same over four rooms, which have a goal and walls.
fn rooms() -> String {
    PENDULUM
        .replace("\"pendulum\"", "\"four-rooms\"")
        .replace("\"swing-up\"", "\"to-goal\"")
        .replace("start = [3.0, 0.5]", "start = [-0.4, -0.45]")
        .replace("goal = [0.0, 0.0]", "goal = [0.35, 0.4]")
}

struct Lab {
    folder: TempDir,
}

struct Output {
    ok: bool,
    out: String,
    err: String,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        lab.write("pendulum.toml", PENDULUM);
        lab.write("rooms.toml", &rooms());
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::cargo_bin("foresight").unwrap();
        command.current_dir(self.folder.path()).args(arguments);
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        let output = command.output().unwrap();
        let [out, err] =
            [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
        assert!(!err.contains("panicked"), "{arguments:?}: {err}");
        Output { ok: output.status.success(), out, err }
    }

    fn ask(&self, scene: &str, more: &[&str]) -> Output {
        self.run(&[&["occupancy", scene, "--device", "cpu"], more].concat())
    }

    fn summary(&self, scene: &str, more: &[&str]) -> Value {
        let output = self.ask(scene, &[&["--json"], more].concat());
        assert!(output.ok, "{more:?}: {}", output.err);
        serde_json::from_str(&output.out).unwrap()
    }

    /// The message of what must fail.
    fn refuse(&self, scene: &str, more: &[&str]) -> String {
        let output = self.ask(scene, more);
        assert!(!output.ok && output.out.is_empty(), "{more:?} should fail: {}", output.out);
        output.err
    }
}

/// Every array of an archive: its shape and its numbers.
fn arrays(path: &Path) -> BTreeMap<String, (Vec<u64>, Vec<f64>)> {
    let mut archive = NpzArchive::open(path).unwrap();
    let names: Vec<String> = archive.array_names().map(str::to_owned).collect();
    let mut found = BTreeMap::new();
    for name in names {
        let array = archive.by_name(&name).unwrap().unwrap();
        let shape = array.shape().to_vec();
        let values = match array.try_data::<f64>() {
            Ok(data) => data.map(Result::unwrap).collect(),
            Err(array) => {
                let singles = array.try_data::<f32>().unwrap_or_else(|_| panic!("{name}"));
                singles.map(|value| f64::from(value.unwrap())).collect()
            }
        };
        found.insert(name, (shape, values));
    }
    found
}

fn list(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn the_summary_has_the_keys_that_help_names_and_defaults_from_the_scene() {
    let lab = Lab::new();
    let help = lab.run(&["occupancy", "--help"]);
    assert!(help.ok);
    let summary = lab.summary("pendulum.toml", &[]);
    for key in summary.as_object().unwrap().keys() {
        assert!(help.out.contains(key.as_str()), "{key} is not in the help");
    }
    assert_eq!(summary["scene"], "pendulum");
    assert_eq!(summary["weights"], "untrained");
    assert_eq!(summary["policy"], "swing-up");
    assert_eq!(list(&summary["state"]), [3.0, 0.5]);
    assert_eq!((&summary["gamma"], &summary["seed"]), (&0.9.into(), &7.into()));
    assert_eq!((&summary["n"], &summary["steps"]), (&300.into(), &1.into()));
    assert!((summary["horizon_steps"].as_f64().unwrap() - 10.0).abs() < 1e-9);
    assert!((summary["horizon_secs"].as_f64().unwrap() - 0.5).abs() < 1e-9);
    assert_eq!(summary["coordinates"][1]["name"], "theta_dot");
    for key in ["action", "long_gamma", "total_variation", "rollouts"] {
        assert!(summary[key].is_null(), "{key}");
    }
    let words = lab.ask("pendulum.toml", &["--gamma", "0.5"]).out;
    for part in ["swing-up", "untrained", "theta 3 rad", "2.0 steps or 0.10 s", "300", " ms"] {
        assert!(words.contains(part), "{part} is not in {words}");
    }
}

#[test]
fn arrays_hold_samples_with_their_densities_and_a_map_with_its_edges() {
    let lab = Lab::new();
    let more = ["--cells", "24", "--truth", "--out", "a.npz", "--state", "-1.5,2"];
    let summary = lab.summary("pendulum.toml", &more);
    let found = arrays(&lab.path("a.npz"));
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let expected = [
        "density",
        "gamma",
        "log_density",
        "samples",
        "state",
        "truth",
        "weights",
        "x_edges",
        "y_edges",
    ];
    assert_eq!(names, expected);
    let shape = |name: &str| found[name].0.clone();
    assert_eq!((shape("samples"), shape("log_density")), (vec![300, 2], vec![300]));
    assert_eq!((shape("density"), shape("truth")), (vec![24, 24], vec![24, 24]));
    assert_eq!((shape("x_edges"), shape("gamma")), (vec![25], vec![]));
    assert_eq!((&found["gamma"].1[..], &found["weights"].1[..]), (&[0.9][..], &[1.0][..]));
    assert_eq!(found["state"].1, [-1.5, 2.0]);
    // The map is a density over the plane, and the truth too.
    let [x, y] = ["x_edges", "y_edges"].map(|name| found[name].1.clone());
    let area = (x[1] - x[0]) * (y[1] - y[0]);
    let [model, truth] = ["density", "truth"].map(|name| found[name].1.clone());
    let mass = |map: &[f64]| map.iter().sum::<f64>() * area;
    assert!((mass(&truth) - 1.0).abs() < 0.01, "{}", mass(&truth));
    assert!((0.3..1.2).contains(&mass(&model)), "{}", mass(&model));
    let off: f64 = model.iter().zip(&truth).map(|(a, b)| (a - b).abs() * area / 2.0).sum();
    assert!((off - summary["total_variation"].as_f64().unwrap()).abs() < 1e-4);
    // Plain coordinates have plain moments.
    let speeds: Vec<f64> = found["samples"].1.iter().skip(1).step_by(2).copied().collect();
    let mean = speeds.iter().sum::<f64>() / 300.0;
    assert!((mean - summary["mean"][1].as_f64().unwrap()).abs() < 1e-5);
    assert!(summary["rollouts"].as_u64().unwrap() >= 100);
}

#[test]
fn coarse_cells_hold_the_mean_of_the_fine_ones() {
    let lab = Lab::new();
    let map = |cells: &str| {
        let more = ["--cells", cells, "--samples", "2", "--out", "map.npz"];
        assert!(lab.ask("pendulum.toml", &more).ok);
        arrays(&lab.path("map.npz"))["density"].1.clone()
    };
    let (coarse, fine) = (map("8"), map("32"));
    for (index, value) in coarse.iter().enumerate() {
        let [row, column] = [4 * (index / 8), 4 * (index % 8)];
        let block = (0..16).map(|k| fine[(row + k / 4) * 32 + column + k % 4]);
        let mean = block.sum::<f64>() / 16.0;
        assert!((value - mean).abs() < 1e-5 * (1.0 + mean), "{index}: {value} {mean}");
    }
}

#[test]
fn a_chain_has_samples_of_every_step_and_weights_that_sum_to_one() {
    let lab = Lab::new();
    let more = ["--steps", "4", "--samples", "50", "--gamma", "0.8", "--out", "chain.npz"];
    let summary = lab.summary("pendulum.toml", &more);
    let found = arrays(&lab.path("chain.npz"));
    assert_eq!(found["samples"].0, [200, 2]);
    assert_eq!(found["log_density"].0, [200]);
    let weights = &found["weights"].1;
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    // Theorem 1: successive weights have the ratio (0.95 - 0.8) / (1 - 0.8).
    for pair in weights.windows(2) {
        assert!((pair[1] / pair[0] - 0.75).abs() < 1e-5, "{weights:?}");
    }
    assert!((summary["long_gamma"].as_f64().unwrap() - 0.95).abs() < 1e-9);
    assert!((summary["horizon_steps"].as_f64().unwrap() - 20.0).abs() < 1e-6);
    let speeds = found["samples"].1.iter().skip(1).step_by(2).enumerate();
    let mean: f64 = speeds.map(|(index, speed)| weights[index / 50] / 50.0 * speed).sum();
    assert!((mean - summary["mean"][1].as_f64().unwrap()).abs() < 1e-4);
}

#[test]
fn pictures_show_one_map_or_two_and_json_holds_everything() {
    let lab = Lab::new();
    for (name, more) in [("one.png", &[][..]), ("two.png", &["--truth", "--light"][..])] {
        let asked = [&["--cells", "16", "--out", name], more].concat();
        assert!(lab.ask("rooms.toml", &asked).ok, "{name}");
        let bytes = std::fs::read(lab.path(name)).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{name}");
    }
    // Width over height, from the PNG's header: two maps are wider than one.
    let proportions = |name: &str| {
        let bytes = std::fs::read(lab.path(name)).unwrap();
        let side = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        f64::from(side(16)) / f64::from(side(20))
    };
    assert!(proportions("two.png") > 1.2 * proportions("one.png"));
    let more = ["--cells", "8", "--goal", "-0.3,0.3", "--out", "all.json", "--truth"];
    assert!(lab.ask("rooms.toml", &more).ok);
    let all: Value = serde_json::from_slice(&std::fs::read(lab.path("all.json")).unwrap()).unwrap();
    assert_eq!(list(&all["goal"]), [-0.3, 0.3]);
    assert_eq!(all["samples"].as_array().unwrap().len(), 300);
    assert_eq!(all["log_density"].as_array().unwrap().len(), 300);
    for map in ["density", "truth"] {
        let rows = all[map].as_array().unwrap();
        assert!(rows.len() == 8 && rows.iter().all(|row| row.as_array().unwrap().len() == 8));
    }
    assert_eq!(list(&all["x_edges"]).len(), 9);
    assert!(all["scene_toml"].as_str().unwrap().contains("four-rooms"));
}

#[test]
fn the_same_seed_gives_the_same_file_and_another_seed_another() {
    let lab = Lab::new();
    let file = |name: &str, seed: &str| {
        let more = ["--seed", seed, "--cells", "8", "--truth", "--out", name];
        assert!(lab.ask("pendulum.toml", &more).ok);
        std::fs::read(lab.path(name)).unwrap()
    };
    let first = file("a.npz", "3");
    assert!(first == file("b.npz", "3"), "seed 3 gave two different files");
    assert!(first != file("c.npz", "4"), "seeds 3 and 4 gave the same file");
}

#[test]
fn the_first_action_changes_the_answer_and_angles_are_wrapped() {
    let lab = Lab::new();
    let mean = |more: &[&str]| list(&lab.summary("pendulum.toml", more)["mean"]);
    assert_ne!(mean(&["--action", "1"]), mean(&["--action", "-1"]));
    let wrapped = lab.summary("pendulum.toml", &["--state", "7,0", "--action=-0.5"]);
    let angle = list(&wrapped["state"])[0];
    assert!((angle - (7.0 - std::f64::consts::TAU)).abs() < 1e-5, "{angle}");
    assert_eq!(list(&wrapped["action"]), [-0.5]);
}

#[test]
fn settings_of_the_scene_can_be_changed_and_new_weights_are_used() {
    let lab = Lab::new();
    let trained = lab.run(&["train", "pendulum.toml", "--out", "w.safetensors", "--device", "cpu"]);
    assert!(trained.ok, "{}", trained.err);
    let summary = lab.summary("pendulum.toml", &["--weights", "w.safetensors"]);
    assert_ne!(summary["weights"], "untrained");
    assert_ne!(summary["mean"], lab.summary("pendulum.toml", &[])["mean"]);
}

#[test]
fn discounts_that_cannot_be_asked_for_are_refused_with_advice() {
    let lab = Lab::new();
    for gamma in ["1", "1.5", "-0.1", "nan", "inf"] {
        let message = lab.refuse("pendulum.toml", &["--gamma", gamma]);
        assert!(message.contains("from 0 to below 1"), "{gamma}: {message}");
    }
    let message = lab.refuse("pendulum.toml", &["--gamma", "0.995"]);
    assert!(message.contains("0 to 0.99") && message.contains("chain"), "{message}");
    let message = lab.refuse("pendulum.toml", &["--long-gamma", "0.99"]);
    // (0.09 / 0.1)^29 is the first tail below 5 %.
    assert!(message.contains("--steps") && message.contains("29 hold 95 %"), "{message}");
    let message = lab.refuse("pendulum.toml", &["--steps", "3", "--long-gamma", "0.5"]);
    assert!(message.contains("--long-gamma 0.9 or more"), "{message}");
    let message = lab.refuse("pendulum.toml", &["--steps", "3", "--long-gamma", "1"]);
    assert!(message.contains("from 0 to below 1"), "{message}");
}

#[test]
fn places_and_actions_that_are_none_are_refused_with_advice() {
    let lab = Lab::new();
    for (scene, flag, value, expected) in [
        ("pendulum.toml", "--state", "1", "theta, theta_dot"),
        ("pendulum.toml", "--state", "1,2,3", "theta, theta_dot"),
        ("pendulum.toml", "--state", "0,9", "-8 to 8"),
        ("pendulum.toml", "--state", "nan,0", "finite"),
        ("pendulum.toml", "--state", "a,b", "finite"),
        ("pendulum.toml", "--goal", "0,0", "no goal"),
        ("pendulum.toml", "--action", "0,0", "torque"),
        ("pendulum.toml", "--action", "1.5", "-1 to 1"),
        ("pendulum.toml", "--action", "inf", "finite"),
        ("rooms.toml", "--state", "0,0", "nearest free place"),
        ("rooms.toml", "--state", "5,0", "outside of the rooms"),
        ("rooms.toml", "--goal", "0,0.1", "nearest free place"),
        ("rooms.toml", "--goal", "0.1", "x, y"),
    ] {
        let message = lab.refuse(scene, &[flag, value]);
        assert!(message.contains(expected), "{flag} {value}: {message}");
        assert!(message.contains(flag), "{flag} {value}: {message}");
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let lab = Lab::new();
    for (more, expected) in [
        (&["--cells", "1"][..], "2 to 1024"),
        (&["--cells", "5000"], "2 to 1024"),
        (&["--samples", "0"], "1 to 1000000"),
        (&["--samples", "2000000"], "1 to 1000000"),
        (&["--steps", "0"], "1 to 1000"),
        (&["--steps", "1000", "--samples", "1000000"], "at most 10000 samples"),
        (&["--samples", "many"], "--samples"),
    ] {
        let message = lab.refuse("pendulum.toml", more);
        assert!(message.contains(expected), "{more:?}: {message}");
    }
}

#[test]
fn outputs_that_cannot_be_written_are_refused_before_the_work() {
    let lab = Lab::new();
    for (out, expected) in [
        ("a.pdf", ".csv, .png, .svg or .gif"),
        ("plain", ".csv, .png, .svg or .gif"),
        ("missing/a.npz", "create it first"),
        ("pendulum.toml/a.png", "folder"),
    ] {
        let message = lab.refuse("pendulum.toml", &["--out", out]);
        assert!(message.contains(expected), "{out}: {message}");
        assert!(!lab.path(out).exists(), "{out}");
    }
}

#[test]
fn a_diffuser_has_no_occupancy_and_a_gamma_model_in_rooms_no_plan() {
    let lab = Lab::new();
    let message = lab.refuse("maze2d-umaze-diffuser", &[]);
    assert!(message.contains("needs a γ-model"), "{message}");
    let plan = lab.run(&["plan", "rooms.toml", "--device", "cpu"]);
    assert!(!plan.ok && plan.err.contains("needs a Diffuser"), "{}", plan.err);
}

#[test]
fn weights_that_need_an_action_say_so_and_answer_with_one() {
    let lab = Lab::new();
    let text = PENDULUM
        .replace("\"quick\"", "\"paper\"")
        .replace("discount = [0.0, 0.99]", "discount = [0.9, 0.9]");
    lab.write("paper.toml", &text);
    assert!(lab.refuse("paper.toml", &[]).contains("--action"));
    assert!(lab.refuse("paper.toml", &["--action", "0.5", "--steps", "3"]).contains("--steps 1"));
    let message = lab.refuse("paper.toml", &["--action", "0.5", "--gamma", "0.5"]);
    assert!(message.contains("0.9 to 0.9"), "{message}");
    assert_eq!(lab.summary("paper.toml", &["--action", "0.5"])["n"], 300);
}

#[test]
fn collect_writes_what_the_policy_of_rooms_is_shown() {
    let lab = Lab::new();
    let output = lab.run(&["collect", "rooms.toml", "--out", "data.npz"]);
    assert!(output.ok, "{}", output.err);
    let episodes = foresight::data::read_npz(&lab.path("data.npz")).unwrap();
    assert_eq!((episodes.len(), episodes.observation_dim, episodes.action_dim), (2000, 2, 2));
    assert!(episodes.observations.iter().all(|place| place.abs() < 0.6));
}

#[test]
fn collect_writes_a_pendulum_as_cosine_sine_and_speed() {
    let lab = Lab::new();
    let output = lab.run(&["collect", "pendulum.toml", "--out", "data.npz"]);
    assert!(output.ok, "{}", output.err);
    let episodes = foresight::data::read_npz(&lab.path("data.npz")).unwrap();
    assert_eq!((episodes.len(), episodes.observation_dim, episodes.action_dim), (2000, 3, 1));
    for step in 0..episodes.len() {
        let &[cosine, sine, speed] = episodes.observation(step) else { panic!("{step}") };
        assert!((cosine.hypot(sine) - 1.0).abs() < 1e-5 && speed.abs() <= 8.0, "{step}");
    }
}
