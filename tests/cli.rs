//! Every command, and every bad input, through the real program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A small world with random weights: fast, and legal in every way.
const SCENE: &str = r##"
format = 1
title = "Test"

[environment]
id = "maze2d"
maze = """
#####
#OOG#
#O#O#
#OOO#
#####
"""
max_steps = 120
reference_scores = [1.0, 100.0]

[data]
transitions = 3000

[model]
id = "diffuser"
preset = "quick"
waypoints = 16
multipliers = [1, 2]
duration = [24.0, 100.0]
diffusion_steps = 8
batch = 8

[train]
steps = 20

[plan]
candidates_per_duration = 1
durations = 4
search = "refine"
denoising_steps = 2
sampler = "ddim"
speed_limit = 6.0
selection = "reads-map"
drag_candidates = 4

[control]
law = "track"
position_gain = 10.0
velocity_gain = 1.0
replan = "never"
replan_every = 20
replan_distance = 0.5

[stage]
start = [1.0, 1.0]
goal = [1.0, 3.0]
"##;

struct Lab {
    folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        lab.write("scene.toml", SCENE);
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The scene with one piece of text replaced.
    fn scene_with(&self, from: &str, to: &str) -> PathBuf {
        assert!(SCENE.contains(from), "{from}");
        self.write("changed.toml", &SCENE.replace(from, to))
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::cargo_bin("foresight").unwrap();
        command.current_dir(self.folder.path()).args(arguments);
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        let output = command.output().unwrap();
        Output {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Run what must fail; its message.
    fn refuse(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.ok, "{arguments:?} should fail: {}", output.out);
        assert!(!output.err.contains("panicked"), "{}", output.err);
        output.err
    }

    fn plan(&self, scene: &Path, more: &[&str]) -> Output {
        let scene = scene.to_str().unwrap();
        self.run(&[&["plan", scene, "--device", "cpu"], more].concat())
    }

    fn refuse_plan(&self, scene: &Path) -> String {
        self.refuse(&["plan", scene.to_str().unwrap(), "--device", "cpu"])
    }
}

struct Output {
    ok: bool,
    out: String,
    err: String,
}

impl Output {
    fn json(&self) -> Value {
        assert!(self.ok, "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn every_command_prints_help() {
    let lab = Lab::new();
    for command in ["", "collect", "train", "distill", "plan", "eval", "doctor", "bench"] {
        let arguments: Vec<&str> =
            [command, "--help"].into_iter().filter(|a| !a.is_empty()).collect();
        let output = lab.run(&arguments);
        assert!(output.ok && output.out.contains("Usage: foresight"), "{command}");
    }
}

#[test]
fn collect_writes_the_named_arrays_and_the_same_seed_the_same_file() {
    let lab = Lab::new();
    for name in ["a.npz", "b.npz"] {
        let line = lab.run(&["collect", "scene.toml", "--out", name, "--json"]).json();
        assert_eq!(line["transitions"], 3000);
    }
    assert_eq!(read(&lab.path("a.npz")), read(&lab.path("b.npz")));
    let episodes = foresight::data::read_npz(&lab.path("a.npz")).unwrap();
    assert_eq!((episodes.len(), episodes.observation_dim, episodes.action_dim), (3000, 4, 2));
}

#[test]
fn train_then_plan_and_eval_use_the_new_weights() {
    let lab = Lab::new();
    let trained =
        lab.run(&["train", "scene.toml", "--out", "w.safetensors", "--json", "--device", "cpu"]);
    assert!(trained.ok, "{}", trained.err);
    let last: Value = serde_json::from_str(trained.out.lines().last().unwrap()).unwrap();
    assert_eq!(last["steps"], 20);

    let scene = lab.path("scene.toml");
    let plan = lab.plan(&scene, &["--weights", "w.safetensors", "--json"]).json();
    assert_ne!(plan["weights"], "untrained");
    assert_eq!(plan["preset"], "quick");

    let eval = lab.run(&[
        "eval",
        "scene.toml",
        "--weights",
        "w.safetensors",
        "--episodes",
        "3",
        "--multi",
        "--json",
        "--device",
        "cpu",
    ]);
    let row = eval.json()["results"][0].clone();
    for key in ["score", "reach_rate", "collision_rate"] {
        assert!(row[key]["mean"].is_number() && row[key]["se"].is_number(), "{key}: {row}");
    }
    assert_eq!(row["episodes"], 3);
    assert!(row["plan_ms"]["p50"].is_number() && row["plan_ms"]["p95"].is_number());
    assert!(row["device"].is_string() && row["preset"].is_string() && row["seed"].is_number());
}

#[test]
fn distill_then_plan_in_one_step() {
    let lab = Lab::new();
    let scene = lab.scene_with(
        "[train]\nsteps = 20",
        "weights = \"w.safetensors\"\n[train]\nsteps = 20\n[distill]\nsteps = 6\nbatch = 4",
    );
    let scene = scene.to_str().unwrap();
    let one_step = ["plan", scene, "--device", "cpu", "--set", "plan.sampler=one-step", "--json"];
    let trained = lab.run(&["train", scene, "--json", "--device", "cpu"]);
    assert!(trained.ok, "{}", trained.err);
    assert!(lab.refuse(&one_step).contains("foresight distill"));
    let distilled = lab.run(&["distill", scene, "--json", "--device", "cpu"]);
    assert!(distilled.ok, "{}", distilled.err);
    let last: Value = serde_json::from_str(distilled.out.lines().last().unwrap()).unwrap();
    assert_eq!(last["steps"], 6);
    assert!(lab.path("w.student.run/run.json").exists());
    assert!(lab.run(&one_step).json()["duration_steps"].as_f64().unwrap() > 0.0);
    let more =
        lab.run(&["distill", scene, "--json", "--device", "cpu", "--resume", "--steps", "8"]);
    let last: Value = serde_json::from_str(more.out.lines().last().unwrap()).unwrap();
    assert_eq!(last["steps"], 8, "{}", more.err);
    // A scene that says nothing of it is told how to.
    let message = lab.refuse(&["distill", "scene.toml", "--device", "cpu"]);
    assert!(message.contains("names no weights"), "{message}");
    let set = ["plan", "scene.toml", "--device", "cpu", "--set", "plan.sampler=one-step"];
    assert!(lab.refuse(&set).contains("[distill]"));
}

#[test]
fn a_resumed_run_ends_where_an_unbroken_one_does() {
    let lab = Lab::new();
    let train = |out: &str, steps: &str, resume: bool| {
        let mut arguments = vec![
            "train",
            "scene.toml",
            "--out",
            out,
            "--steps",
            steps,
            "--device",
            "cpu",
            "--json",
        ];
        if resume {
            arguments.push("--resume");
        }
        let output = lab.run(&arguments);
        assert!(output.ok, "{}", output.err);
    };
    train("w.safetensors", "6", false);
    let output = lab.run(&[
        "train",
        "scene.toml",
        "--out",
        "w.safetensors",
        "--steps",
        "12",
        "--resume",
        "--device",
        "cpu",
    ]);
    assert!(output.ok && output.out.contains("12 steps"), "{}{}", output.out, output.err);
    // Another scene may not continue it.
    let other = lab.scene_with("transitions = 3000", "transitions = 4000");
    let message = lab.refuse(&[
        "train",
        other.to_str().unwrap(),
        "--out",
        "w.safetensors",
        "--resume",
        "--device",
        "cpu",
    ]);
    assert!(message.contains("without --resume"), "{message}");
}

#[test]
fn a_plan_file_holds_what_later_tools_rely_on() {
    let lab = Lab::new();
    let scene = lab.path("scene.toml");
    let output =
        lab.plan(&scene, &["--start", "1,1", "--goal", "3,3", "--out", "plan.json", "--chain"]);
    assert!(output.ok, "{}", output.err);
    let plan: Value = serde_json::from_slice(&read(&lab.path("plan.json"))).unwrap();
    let states = plan["states"].as_array().unwrap();
    assert_eq!(states[0].as_array().unwrap().len(), 4);
    assert_eq!(plan["waypoints"].as_array().unwrap().len(), 16);
    assert_eq!(plan["candidates"].as_array().unwrap().len(), 4);
    assert!((plan["dt_secs"].as_f64().unwrap() - 0.01).abs() < 1e-6);
    assert_eq!(plan["denoising"].as_array().unwrap().len(), 2);
    assert_eq!(plan["scene"], "scene");
    // Start and goal are inpainted exactly, whatever the weights.
    let first = &plan["waypoints"][0];
    let last = &plan["waypoints"][15];
    for (value, expected) in [(&first[0], 1.0), (&first[1], 1.0), (&last[0], 3.0), (&last[1], 3.0)]
    {
        assert!((value.as_f64().unwrap() - expected).abs() < 1e-3);
    }
}

#[test]
fn plans_come_as_table_and_picture_too() {
    let lab = Lab::new();
    let scene = lab.path("scene.toml");
    for (name, magic) in [
        ("plan.csv", &b"secs,x,y,vx,vy"[..]),
        ("plan.png", b"\x89PNG"),
        ("plan.svg", b"<svg"),
        ("plan.gif", b"GIF89a"),
    ] {
        let output = lab.plan(&scene, &["--out", name]);
        assert!(output.ok, "{}", output.err);
        assert!(read(&lab.path(name)).starts_with(magic), "{name}");
    }
    let message = lab.plan(&scene, &["--out", "plan.docx"]).err;
    assert!(message.contains(".json, .csv, .png, .svg or .gif"), "{message}");
}

#[test]
fn the_same_seed_gives_the_same_plan_and_another_seed_another() {
    let lab = Lab::new();
    let scene = lab.path("scene.toml");
    let plan = |seed: &str| -> Value {
        assert!(lab.plan(&scene, &["--seed", seed, "--out", "plan.json"]).ok);
        let plan: Value = serde_json::from_slice(&read(&lab.path("plan.json"))).unwrap();
        plan["states"].clone()
    };
    assert_eq!(plan("3"), plan("3"));
    assert_ne!(plan("3"), plan("4"));
}

#[test]
fn settings_can_be_changed_on_the_command_line() {
    let lab = Lab::new();
    let scene = lab.path("scene.toml");
    let plan = lab.plan(&scene, &["--set", "plan.durations=7", "--json"]).json();
    assert_eq!(plan["n_candidates"], 7);
    let message = lab.plan(&scene, &["--set", "plan.colour=7"]).err;
    assert!(message.contains("known ones") && message.contains("plan.durations"), "{message}");
}

#[test]
fn shipped_scenes_open_by_name_and_list_themselves() {
    let lab = Lab::new();
    let plan = lab.run(&["plan", "maze2d-umaze-diffuser", "--json", "--device", "cpu"]).json();
    assert_eq!(plan["scene"], "maze2d-umaze-diffuser");
    assert_ne!(plan["weights"], "untrained");
    let message = lab.refuse(&["plan", "maze3d"]);
    assert!(message.contains("maze2d-large-diffuser"), "{message}");
}

#[test]
fn doctor_reports_in_json_and_says_what_is_missing() {
    let lab = Lab::new();
    let report = lab.run(&["doctor", "--json"]).json();
    assert!(report["adapters"].is_array() && report["reason"].is_string());
    let missing = report["missing"].to_string();
    assert!(cfg!(not(target_os = "linux")) || missing.contains("no display"), "{missing}");
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_display_the_window_says_what_works() {
    let lab = Lab::new();
    let message = lab.refuse(&[]);
    assert!(message.contains("DISPLAY") && message.contains("train"), "{message}");
}

#[test]
fn a_scene_that_is_not_right_is_refused_with_advice() {
    let lab = Lab::new();
    let cases = [
        ("format = 1", "format = 9", "this version reads only"),
        ("title = \"Test\"", "title = \"Test\"\ncolour = 3", "unknown field"),
        ("title = \"Test\"", "title = \"Test", "cannot be read"),
        ("id = \"maze2d\"", "id = \"maze9d\"", "known ones: maze2d"),
        ("#O#O#", "#O#X#", "cannot be used"),
        ("#OOG#\n#O#O#\n#OOO#", "#####\n#####\n#####", "cannot be used"),
        ("#OOG#\n#O#O#\n#OOO#", "#O#G#\n#O#O#\n#O#O#", "no path"),
        ("start = [1.0, 1.0]", "start = [2.0, 2.0]", "nearest free place"),
        ("start = [1.0, 1.0]", "start = [90.0, 1.0]", "off the map"),
        ("goal = [1.0, 3.0]", "goal = [nan, 3.0]", "stage.goal"),
        ("transitions = 3000", "transitions = 0", "data.transitions"),
        ("multipliers = [1, 2]", "multipliers = []", "1 to 6 entries"),
        ("waypoints = 16", "waypoints = 15", "multiple of 2"),
        ("speed_limit = 6.0", "speed_limit = -1.0", "plan.speed_limit"),
        ("durations = 4", "durations = 999999", "plan.durations"),
        ("preset = \"quick\"", "preset = \"slow\"", "cannot be read"),
    ];
    for (from, to, expected) in cases {
        let scene = lab.scene_with(from, to);
        let message = lab.refuse_plan(&scene);
        assert!(message.contains(expected), "{to}: {message}");
    }
    let huge = lab.write("huge.toml", &format!("{SCENE}\n# {}", "x".repeat(300_000)));
    let message = lab.refuse_plan(&huge);
    assert!(message.contains("huge.toml"), "{message}");
}

#[test]
fn starts_and_goals_that_are_not_places_are_refused() {
    let lab = Lab::new();
    for (flag, value) in [
        ("--start", "nan,1"),
        ("--start", "1"),
        ("--goal", "2,2"),
        ("--goal", "-40,1"),
        ("--goal", "a,b"),
    ] {
        let message = lab.refuse(&["plan", "scene.toml", "--device", "cpu", flag, value]);
        assert!(!message.is_empty(), "{flag} {value}");
    }
}

#[test]
fn a_damaged_or_foreign_checkpoint_is_refused() {
    let lab = Lab::new();
    let output = lab.run(&[
        "train",
        "scene.toml",
        "--out",
        "w.safetensors",
        "--steps",
        "2",
        "--device",
        "cpu",
    ]);
    assert!(output.ok, "{}", output.err);
    let good = read(&lab.path("w.safetensors"));
    let refuse = |name: &str, bytes: &[u8]| {
        std::fs::write(lab.path(name), bytes).unwrap();
        lab.refuse(&["plan", "scene.toml", "--device", "cpu", "--weights", name])
    };
    assert!(refuse("cut", &good[..good.len() / 2]).contains("damaged"));
    assert!(refuse("empty", b"").contains("damaged"));
    assert!(refuse("text", b"these are not weights").contains("damaged"));
    let mut flipped = good;
    flipped[12] ^= 0xff;
    assert!(refuse("flipped", &flipped).contains("damaged"));
    let message = lab.refuse(&["plan", "scene.toml", "--device", "cpu", "--weights", "absent"]);
    assert!(message.contains("absent"), "{message}");

    let other = lab.scene_with("multipliers = [1, 2]", "multipliers = [1, 4]");
    let message = lab.refuse(&[
        "plan",
        other.to_str().unwrap(),
        "--device",
        "cpu",
        "--weights",
        "w.safetensors",
    ]);
    assert!(message.contains("does not fit"), "{message}");
}

#[test]
fn places_that_cannot_be_written_are_named_before_the_work_and_keep_old_files() {
    let lab = Lab::new();
    let message = lab.refuse(&["collect", "scene.toml", "--out", "no/such/folder/d.npz"]);
    assert!(message.contains("no/such/folder"), "{message}");
    let message =
        lab.refuse(&["train", "scene.toml", "--out", "no/w.safetensors", "--device", "cpu"]);
    assert!(message.contains("no/w.safetensors") || message.contains("no"), "{message}");
    lab.write("plan.json", "precious");
    let broken = lab.scene_with("format = 1", "format = 2");
    lab.refuse(&["plan", broken.to_str().unwrap(), "--out", "plan.json"]);
    assert_eq!(read(&lab.path("plan.json")), b"precious");
}
