//! Plans that start from earlier ones: the same every time, as short as they
//! claim to be, and nothing to those that start from noise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::ops::ControlFlow;
use std::sync::Arc;

use burn::tensor::Device;
use foresight::eval::{DragOptions, evaluate_drags};
use foresight::lab::open::{Opened, open};
use foresight::lab::{Scene, shipped};
use foresight::plan::{
    Film, PlanRequest, PlanSettings, Previous, Pursuit, PursuitEvent, Replan, guess_duration,
};

/// The shipped U-Maze with its weights, and fewer candidates.
fn umaze() -> (Scene, Opened) {
    let mut scene = Scene::parse(shipped::find("maze2d-umaze-diffuser").unwrap().text).unwrap();
    scene.plan.durations = 12;
    scene.plan.candidates_per_duration = 2;
    let opened = open(&scene, None, &Device::flex()).unwrap();
    (scene, opened)
}

fn request(scene: &Scene, warm_steps: usize) -> PlanRequest {
    let [x, y] = scene.stage.start;
    PlanRequest {
        start: vec![x, y, 0.0, 0.0],
        goal: scene.stage.goal.to_vec(),
        via: Vec::new(),
        settings: PlanSettings { warm_steps, ..scene.plan.clone() },
        seed: 3,
        near_duration: None,
        previous: None,
    }
}

fn plan(opened: &Opened, request: PlanRequest) -> Film {
    let mut go_on = |_: &Film| ControlFlow::Continue(());
    opened.planner().unwrap().plan(1, Arc::new(request), &mut go_on).unwrap().unwrap()
}

/// The small request for a goal a little further on, from `film`.
fn next(scene: &Scene, opened: &Opened, film: &Film, warm_steps: usize) -> PlanRequest {
    let goal = [1.0, 1.3];
    let here = scene.stage.start;
    let workspace = opened.environment.workspace();
    PlanRequest {
        goal: goal.to_vec(),
        near_duration: Some(guess_duration(&*workspace, here, goal, Some(film))),
        previous: Previous::of_film(film, 0.0).map(Arc::new),
        ..request(scene, warm_steps)
    }
}

#[test]
fn warm_requests_are_the_same_for_the_same_seed_and_show_the_steps_that_ran() {
    let (scene, opened) = umaze();
    let first = plan(&opened, request(&scene, 2));
    assert_eq!(first.steps.len(), 5, "a first plan starts from noise");
    let warm = plan(&opened, next(&scene, &opened, &first, 2));
    let again = plan(&opened, next(&scene, &opened, &first, 2));
    assert_eq!(warm.plan, again.plan);
    assert!(warm.plan.as_ref().unwrap().feasible);
    // Fresh candidates take all five steps, those from the last film two.
    let schedule = &opened.planner().unwrap().diffuser().schedule;
    assert_eq!((warm.n_candidates(), warm.steps.len()), (16, 5));
    let present: Vec<usize> = warm.steps.iter().map(|step| warm.n_in(&step.clean)).collect();
    assert_eq!(present, [4, 4, 4, 16, 16]);
    for step in &warm.steps {
        assert_eq!(step.noise_level, schedule.levels(step.diffusion_time).1);
        assert_eq!(step.noisy.len(), step.clean.len());
    }
}

#[test]
fn without_fresh_candidates_as_many_steps_run_as_are_asked_for() {
    let (scene, opened) = umaze();
    let first = plan(&opened, request(&scene, 3));
    let view = opened.planner().unwrap().view();
    let previous = Previous::of_plan(first.plan.as_ref().unwrap(), view, 10.0);
    let again = PlanRequest { previous: previous.map(Arc::new), ..request(&scene, 3) };
    let again = PlanRequest { start: first.plan.as_ref().unwrap().states[10].clone(), ..again };
    let film = plan(&opened, again);
    assert_eq!((film.steps.len(), film.total_steps), (3, 3));
    assert!(film.plan.as_ref().unwrap().feasible);
}

#[test]
fn a_request_from_noise_does_not_know_of_warm_starts() {
    let (scene, opened) = umaze();
    let cold = plan(&opened, request(&scene, 0));
    let able = plan(&opened, request(&scene, 3));
    let bits = |film: &Film| -> Vec<u32> {
        film.steps.last().unwrap().clean.iter().map(|value| value.to_bits()).collect()
    };
    assert_eq!(bits(&cold), bits(&able));
    // Earlier plans that are not asked for change nothing either.
    let given = PlanRequest { previous: None, ..next(&scene, &opened, &cold, 0) };
    let unused = next(&scene, &opened, &cold, 0);
    assert!(unused.previous.is_some());
    assert_eq!(bits(&plan(&opened, given)), bits(&plan(&opened, unused)));
}

#[test]
fn an_episode_that_plans_again_all_the_time_starts_from_the_last_plan_and_arrives() {
    let (scene, mut opened) = umaze();
    let request = request(&scene, 2);
    let film = plan(&opened, request.clone());
    let mut control = scene.control;
    (control.replan, control.replan_every) = (Replan::EveryNSteps, 20);
    opened.environment.set_state(&request.start).unwrap();
    opened.environment.set_goal(&request.goal).unwrap();
    let task =
        Pursuit { film_id: 1, plan: film.plan.unwrap(), request: &request, control: &control };
    let mut steps = Vec::new();
    let Opened { environment, model, .. } = &mut opened;
    let foresight::lab::open::OpenedModel::Diffuser(planner) = model else { panic!() };
    let rollout = planner
        .pursue(environment.as_mut(), task, &mut |event| {
            if let PursuitEvent::Replanned(film) = event {
                steps.push(film.steps.len());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(rollout.arrival_step.is_some());
    assert!(steps.len() > 2 && steps[0] == 2, "{steps:?}");
}

#[test]
fn under_a_drag_warm_plans_are_feasible_and_stay_closer_to_each_other() {
    let (scene, mut opened) = umaze();
    let settings = [0, 2].map(|warm_steps| PlanSettings { warm_steps, ..scene.plan.clone() });
    let Opened { environment, model, .. } = &mut opened;
    let foresight::lab::open::OpenedModel::Diffuser(planner) = model else { panic!() };
    let options = DragOptions { drags: 4, moves: 8, stride: 0.2, seed: 1 };
    let mut go_on = |_| ControlFlow::Continue(());
    let found =
        evaluate_drags(environment.as_mut(), planner, &settings, &options, &mut go_on).unwrap();
    let [cold, warm] = found.as_slice() else { panic!() };
    assert!(cold.moves > 8 && cold.moves == warm.moves);
    assert!(warm.feasible.unwrap().mean > 0.9, "{warm:?}");
    assert!(warm.duration_ratio.unwrap().mean < cold.duration_ratio.unwrap().mean + 0.1);
    assert!(warm.jump.unwrap().mean < 1.2 * cold.jump.unwrap().mean, "{cold:?} {warm:?}");
}
