//! Distilling a trained Diffuser: into the same file, without touching what is
//! there, and planning with the result.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use foresight::lab::train::{
    Budget, Orders, TrainEvent, TrainOptions, distill, student_run_path, train,
};
use foresight::lab::{Checkpoint, Scene, open, shipped};
use foresight::model::student::DistillConfig;
use foresight::plan::{DurationSearch, Film, PlanRequest, Sampler};

fn scene() -> Scene {
    let mut scene = Scene::parse(shipped::find("maze2d-umaze-diffuser").unwrap().text).unwrap();
    scene.data.transitions = 5000;
    scene.model.set_weights(None);
    let section = scene.model.diffuser_mut().unwrap();
    section.waypoints = Some(16);
    section.multipliers = Some(vec![1, 2]);
    section.diffusion_steps = Some(16);
    section.batch = Some(8);
    scene.distill = Some(DistillConfig { batch: 16, steps: 40, ..DistillConfig::default() });
    scene.plan.search = DurationSearch::Grid;
    scene.plan.durations = 8;
    scene.plan.candidates_per_duration = 4;
    scene
}

fn options(out: &Path, resume: bool) -> TrainOptions {
    let run = student_run_path(out);
    TrainOptions { resume, run, ..TrainOptions::beside(out, "test") }
}

fn run(scene: &Scene, out: &Path, steps: usize, resume: bool) -> Result<usize, String> {
    let teacher = Checkpoint::read(out).map_err(|error| error.to_string())?;
    let orders = Orders::new(Budget::Steps(steps));
    let options = options(out, resume);
    distill(scene, teacher, &Device::flex(), &options, &orders, &mut |_| {})
        .map(|summary| summary.steps)
        .map_err(|error| error.to_string())
}

fn trained(scene: &Scene, folder: &Path, steps: usize) -> std::path::PathBuf {
    let out = folder.join("weights.safetensors");
    let orders = Orders::new(Budget::Steps(steps));
    let options = TrainOptions::beside(&out, "test");
    train(scene, &Device::flex(), &options, &orders, &mut |_| {}).unwrap();
    out
}

fn plan(scene: &Scene, weights: &Path, sampler: Sampler, steps: usize) -> Result<Film, String> {
    let mut scene = scene.clone();
    scene.model.set_weights(Some(weights.display().to_string()));
    let opened = open::open(&scene, Some(Path::new("/")), &Device::flex()).unwrap();
    let [x, y] = scene.stage.start;
    (scene.plan.sampler, scene.plan.denoising_steps) = (sampler, steps);
    let request = PlanRequest {
        start: vec![x, y, 0.0, 0.0],
        goal: scene.stage.goal.to_vec(),
        via: Vec::new(),
        settings: scene.plan,
        seed: 5,
        near_duration: None,
        previous: None,
    };
    let planner = opened.planner().unwrap();
    let film = planner.plan(1, Arc::new(request), &mut |_| ControlFlow::Continue(()));
    film.map(Option::unwrap).map_err(|error| error.to_string())
}

#[test]
fn distilling_adds_a_student_and_leaves_its_teacher_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let scene = scene();
    let weights = trained(&scene, folder.path(), 20);
    let before = Checkpoint::read(&weights).unwrap();
    assert!(plan(&scene, &weights, Sampler::OneStep, 1).unwrap_err().contains("distill"));
    let by_teacher = plan(&scene, &weights, Sampler::Ddim, 3).unwrap();

    assert_eq!(run(&scene, &weights, 12, false).unwrap(), 12);
    let after = Checkpoint::read(&weights).unwrap();
    assert_eq!(after.header.provenance, before.header.provenance);
    assert_eq!(
        (&after.header.model, &after.header.normalizer),
        (&before.header.model, &before.header.normalizer)
    );
    assert!(before.weights.iter().all(|(name, tensor)| after.weights[name] == *tensor));
    assert_eq!(after.weights.len(), 2 * before.weights.len());
    let student = after.header.student.clone().unwrap();
    assert_eq!((student.steps, student.seed, student.device.as_str()), (12, 0, "test"));
    assert!(student.wall_secs > 0.0 && student.loss > 0.0 && !student.scene_hash.is_empty());
    assert_eq!(plan(&scene, &weights, Sampler::Ddim, 3).unwrap().plan, by_teacher.plan);
    for steps in [1, 2, 9] {
        let film = plan(&scene, &weights, Sampler::OneStep, steps).unwrap();
        assert_eq!(film.steps.len(), steps.min(4));
        assert!(film.is_complete());
    }

    // Distilled again, the old student makes place; trained again, it goes.
    assert_eq!(run(&scene, &weights, 5, false).unwrap(), 5);
    let again = Checkpoint::read(&weights).unwrap();
    assert_eq!(
        (again.weights.len(), again.header.student.unwrap().steps),
        (after.weights.len(), 5)
    );
    trained(&scene, folder.path(), 20);
    let fresh = Checkpoint::read(&weights).unwrap();
    assert!(fresh.header.student.is_none() && fresh.weights == before.weights);
}

#[test]
fn a_distillation_continues_bit_for_bit_and_only_of_the_same_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let scene = scene();
    let weights = trained(&scene, folder.path(), 20);
    let (whole, parts) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
    std::fs::copy(&weights, &whole).unwrap();
    std::fs::copy(&weights, &parts).unwrap();
    // The step size follows the budget, so that both need the same one.
    assert_eq!(run(&scene, &whole, 30, false).unwrap(), 30);
    let orders = Orders::new(Budget::Steps(30));
    let hurried =
        TrainOptions { report_every: std::time::Duration::ZERO, ..options(&parts, false) };
    let teacher = Checkpoint::read(&parts).unwrap();
    let mut seen = 0;
    let stopped = distill(&scene, teacher, &Device::flex(), &hurried, &orders, &mut |event| {
        seen += usize::from(matches!(event, TrainEvent::Training { .. }));
        if seen > 7 {
            orders.stop();
        }
    })
    .unwrap();
    assert!(stopped.stopped && (1..30).contains(&stopped.steps), "{}", stopped.steps);
    assert_eq!(run(&scene, &parts, 30, true).unwrap(), 30);
    let (a, b) = (Checkpoint::read(&whole).unwrap(), Checkpoint::read(&parts).unwrap());
    assert_eq!(a.weights, b.weights);

    let other = trained(&scene, folder.path(), 21);
    std::fs::copy(&other, &parts).unwrap();
    assert!(run(&scene, &parts, 40, true).unwrap_err().contains("without --resume"));
    let mut silent = scene;
    silent.distill = None;
    assert!(run(&silent, &whole, 40, false).unwrap_err().contains("[distill]"));
}

#[test]
fn a_student_comes_closer_to_the_end_of_the_chain_than_one_step_of_its_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = scene();
    scene.distill.as_mut().unwrap().learning_rate = 1e-3;
    let weights = trained(&scene, folder.path(), 300);
    run(&scene, &weights, 400, false).unwrap();
    // The same seed draws the same noise for all of them.
    let clean = |sampler, steps| {
        let film = plan(&scene, &weights, sampler, steps).unwrap();
        film.steps.last().unwrap().clean.clone()
    };
    let end = clean(Sampler::DpmSolver, 2);
    let distance =
        |plans: &[f32]| -> f32 { plans.iter().zip(end.iter()).map(|(a, b)| (a - b).powi(2)).sum() };
    let (student, one) =
        (distance(&clean(Sampler::OneStep, 1)), distance(&clean(Sampler::Ddim, 1)));
    assert!(student < 0.6 * one, "{student} and {one}");
}
