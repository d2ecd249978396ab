//! Diffusers beyond mazes: through rooms to a goal, and along the gradient of a
//! predicted return where there is no goal; in the planner, the session, and a
//! run from training to a plan.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use foresight::lab::train::{Budget, Orders, TrainOptions, train};
use foresight::lab::{DeviceChoice, Scene, Session, SessionOptions, open};
use foresight::plan::{
    ControlLaw, Film, GuideMethod, PlanRequest, Pursuit, PursuitEvent, Replan, Rollout, Selection,
};

/// A scene with small random weights.
fn scene(environment: &str, model: &str, plan: &str, stage: &str) -> Scene {
    let text = format!(
        "format = 1\ntitle = \"Test\"\n[environment]\nid = \"{environment}\"\nmax_steps = 24\n\
         [data]\ntransitions = 2000\n[model]\nid = \"diffuser\"\nactions = true\n\
         multipliers = [1, 2]\ndiffusion_steps = 8\nbatch = 4\n{model}\n[train]\nsteps = 4\n\
         {plan}\n[stage]\n{stage}\n"
    );
    Scene::parse(&text).unwrap()
}

fn pendulum() -> Scene {
    let mut scene = scene(
        "pendulum",
        "preset = \"quick-fixed\"\nwaypoints = 16\nstride = 1\n\
         policies = [\"swing-up\", \"random\"]\n[model.guide]\ndiscount = 0.95\nwidth = 8",
        "",
        "start = [3.0, 0.0]\ngoal = [0.0, 0.0]",
    );
    scene.plan.candidates_per_duration = 3;
    scene.plan.selection = Selection::Return;
    scene.plan.denoising_steps = 4;
    scene.control.law = ControlLaw::Actions;
    scene.control.replan = Replan::EveryNSteps;
    scene.control.replan_every = 5;
    scene
}

fn rooms() -> Scene {
    let mut scene = scene(
        "four-rooms",
        "preset = \"quick\"\nwaypoints = 16\nduration = [4.0, 20.0]",
        "",
        "start = [-0.3, -0.3]\ngoal = [0.3, 0.3]",
    );
    scene.plan.durations = 3;
    scene.plan.candidates_per_duration = 2;
    scene
}

fn request(scene: &Scene) -> PlanRequest {
    let n_goal = if scene.environment.id == "pendulum" { 0 } else { 2 };
    PlanRequest {
        start: scene.stage.start.to_vec(),
        goal: scene.stage.goal[..n_goal].to_vec(),
        via: Vec::new(),
        settings: scene.plan.clone(),
        seed: 4,
        near_duration: None,
        previous: None,
    }
}

fn plan(scene: &Scene) -> Film {
    let opened = open::open(scene, None, &Device::flex()).unwrap();
    let planner = opened.planner().unwrap();
    let film = planner.plan(1, Arc::new(request(scene)), &mut |_| ControlFlow::Continue(()));
    film.unwrap().unwrap()
}

fn follow(scene: &Scene) -> (Rollout, usize) {
    let mut opened = open::open(scene, None, &Device::flex()).unwrap();
    let request = request(scene);
    opened.environment.set_goal(&request.goal).unwrap();
    opened.environment.set_state(&request.start).unwrap();
    let foresight::lab::open::OpenedModel::Diffuser(planner) = &opened.model else { panic!() };
    let film = planner.plan(1, Arc::new(request.clone()), &mut |_| ControlFlow::Continue(()));
    let plan = film.unwrap().unwrap().plan.unwrap();
    let task = Pursuit { film_id: 1, plan, request: &request, control: &scene.control };
    let mut grown = 0;
    let rollout = planner
        .pursue(opened.environment.as_mut(), task, &mut |event| {
            grown += usize::from(matches!(event, PursuitEvent::Moved(_)));
            ControlFlow::Continue(())
        })
        .unwrap();
    (rollout, grown)
}

#[test]
fn a_guide_of_scale_zero_samples_the_unguided_plans() {
    for method in [GuideMethod::Mean, GuideMethod::Noisy] {
        let mut scene = pendulum();
        scene.plan.guide.method = method;
        scene.plan.guide.stop_below = 0;
        let still = plan(&scene);
        let mut bare = scene.clone();
        bare.model.diffuser_mut().unwrap().guide = None;
        let unguided = plan(&bare);
        assert_eq!(still.steps.last().unwrap().clean, unguided.steps.last().unwrap().clean);
        assert!(unguided.candidates.iter().all(|one| one.predicted_return.is_none()));
        scene.plan.guide.scale = 5.0;
        assert_ne!(plan(&scene).steps.last().unwrap().clean, still.steps.last().unwrap().clean);
    }
}

#[test]
fn a_trained_guide_pulls_plans_up_and_pushes_them_down() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("weights.safetensors");
    let mut scene = pendulum();
    scene.model.diffuser_mut().unwrap().batch = Some(16);
    scene.model.diffuser_mut().unwrap().learning_rate = Some(1e-3);
    let options = TrainOptions::beside(&out, "test");
    let orders = Orders::new(Budget::Steps(150));
    train(&scene, &Device::flex(), &options, &orders, &mut |_| {}).unwrap();
    scene.model.set_weights(Some(out.display().to_string()));
    scene.plan.candidates_per_duration = 16;
    scene.stage.start = [1.5, 0.0];
    let mut mean = |scale: f32, method| {
        scene.plan.guide.scale = scale;
        scene.plan.guide.method = method;
        let film = plan(&scene);
        let returns = film.candidates.iter().map(|one| one.predicted_return.unwrap());
        returns.sum::<f32>() / film.n_candidates() as f32
    };
    for method in [GuideMethod::Mean, GuideMethod::Noisy] {
        let [up, still, down] = [30.0, 0.0, -30.0].map(|scale| mean(scale, method));
        assert!(up > still && still > down, "{method:?}: {up} {still} {down}");
    }
}

#[test]
fn the_plan_of_the_highest_predicted_return_is_followed() {
    let film = plan(&pendulum());
    assert_eq!((film.n_candidates(), film.waypoints, film.dims), (6, 16, 4));
    let returns: Vec<f32> =
        film.candidates.iter().map(|one| one.predicted_return.unwrap()).collect();
    let best = returns.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    assert_eq!(returns[film.chosen.unwrap()], best);
    let plan = film.plan.unwrap();
    // States, not what the model sees of them; and the start is kept.
    assert!(plan.states.iter().all(|state| state.len() == 2));
    assert!((plan.states[0][0] - 3.0).abs() < 1e-3 && plan.states[0][1].abs() < 1e-3);
    assert_eq!(plan.actions.as_ref().unwrap()[0].len(), 1);
}

#[test]
fn receding_horizons_replan_by_the_clock_and_execute_planned_actions() {
    let scene = pendulum();
    let (rollout, grown) = follow(&scene);
    assert!(rollout.finished && rollout.states.len() == 25 && rollout.arrival_step.is_none());
    let steps: Vec<usize> = rollout.plans.iter().map(|(step, _)| *step).collect();
    assert_eq!((steps, grown), (vec![0, 5, 10, 15, 20], 4));
    // Every plan starts where the pendulum is and drives it by its actions.
    let mut environment = scene.make_environment().unwrap();
    for (begun, plan) in &rollout.plans {
        let from = &rollout.states[*begun];
        assert!((plan.states[0][1] - from[1]).abs() < 1e-2, "{begun}");
        environment.set_state(from).unwrap();
        let action = &plan.actions.as_ref().unwrap()[0];
        let paid = environment.step(action);
        assert!((paid - rollout.rewards[*begun]).abs() < 1e-3, "{begun}");
    }
}

#[test]
fn planned_states_are_followed_by_the_torque_that_leads_to_them() {
    let mut scene = pendulum();
    scene.control.law = ControlLaw::Track;
    let (rollout, _) = follow(&scene);
    let mut environment = scene.make_environment().unwrap();
    // No other torque would have come nearer to the planned speed.
    for step in 0..24 {
        let (target, reached) = (&rollout.targets[step], &rollout.states[step + 1]);
        let away = (target[1] - reached[1]).abs();
        for torque in [-1.0, -0.5, 0.0, 0.5, 1.0] {
            environment.set_state(&rollout.states[step]).unwrap();
            environment.step(&[torque]);
            let other = (target[1] - environment.state()[1]).abs();
            assert!(other > away - 0.1, "{step}: {torque} ends {other} away, not {away}");
        }
    }
}

#[test]
fn planned_positions_are_tracked_through_rooms() {
    let mut scene = rooms();
    scene.control.position_gain = 24.8;
    scene.control.velocity_gain = 0.0;
    scene.control.replan = Replan::Never;
    let (rollout, _) = follow(&scene);
    assert!(rollout.finished && rollout.states.iter().all(|state| state.len() == 2));
    let film = plan(&scene);
    assert!(film.candidates.iter().all(|one| one.roughness == 0.0 && one.peak_speed > 0.0));
    let positions = &film.plan.unwrap().states;
    assert!(
        (positions[0][0] + 0.3).abs() < 1e-4 && (positions.last().unwrap()[0] - 0.3).abs() < 1e-4
    );
}

#[test]
fn a_question_of_the_wrong_size_is_refused_with_its_size() {
    let scene = pendulum();
    let opened = open::open(&scene, None, &Device::flex()).unwrap();
    let planner = opened.planner().unwrap();
    let asked = PlanRequest { start: vec![0.0; 3], ..request(&scene) };
    let refused = planner.plan(1, Arc::new(asked), &mut |_| ControlFlow::Continue(()));
    assert!(refused.unwrap_err().to_string().contains("it needs 2"));
}

#[test]
fn training_makes_weights_with_a_guide_that_load_and_plan() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("weights.safetensors");
    let mut scene = pendulum();
    let options = TrainOptions::beside(&out, "test");
    let orders = Orders::new(Budget::Steps(4));
    let summary = train(&scene, &Device::flex(), &options, &orders, &mut |_| {}).unwrap();
    assert!(summary.loss.is_finite());
    scene.model.set_weights(Some(out.display().to_string()));
    let film = plan(&scene);
    assert!(film.candidates.iter().all(|one| one.predicted_return.unwrap().is_finite()));
    // A scene without a guide, or with another one, does not fit these weights.
    scene.model.diffuser_mut().unwrap().guide = None;
    let error = open::open(&scene, None, &Device::flex()).err().unwrap().to_string();
    assert!(error.contains("with a guide of width 8") && error.contains("without"), "{error}");
}

fn session(scene: Scene) -> Session {
    let options = SessionOptions { device: DeviceChoice::Cpu, wake: Arc::new(|| {}) };
    Session::open(scene, None, options).unwrap()
}

fn wait(session: &mut Session, what: &str, done: impl Fn(&Session) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done(session) {
        assert!(Instant::now() < deadline, "{what} never came: {:?}", session.status());
        session.poll();
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn sessions_plan_and_follow_in_both_places() {
    for scene in [rooms(), pendulum()] {
        let has_goal = scene.environment.id == "four-rooms";
        let mut session = session(scene.clone());
        let id = session.request(request(&scene));
        let finished = |s: &Session| s.rollout().is_some_and(|r| r.film_id == id && r.finished);
        wait(&mut session, "the episode", finished);
        wait(&mut session, "the rest", |s| s.status().phase == foresight::lab::Phase::Ready);
        assert!(session.status().problems.is_empty(), "{:?}", session.status().problems);
        // Where nothing can be reached nothing is counted.
        assert_eq!(session.status().trials, usize::from(has_goal));
        // A drag is answered by its first plan alone.
        let quick = PlanRequest { near_duration: Some(8.0), ..request(&scene) };
        let id = session.request(quick);
        wait(&mut session, "the drag", |s| s.rollout().is_some_and(|r| r.film_id == id));
        assert!(has_goal || session.rollout().unwrap().plans.len() == 1);
    }
}
