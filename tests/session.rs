//! The session under the hands of an impatient person.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use foresight::lab::{DeviceChoice, Phase, Scene, Session, SessionOptions, shipped};
use foresight::plan::{Film, PlanRequest};

/// The U-Maze with small random weights.
fn scene() -> Scene {
    let mut scene = Scene::parse(shipped::find("maze2d-umaze-diffuser").unwrap().text).unwrap();
    scene.model.set_weights(None);
    scene.model.diffuser_mut().unwrap().waypoints = Some(16);
    scene.model.diffuser_mut().unwrap().multipliers = Some(vec![1, 2]);
    scene.plan.durations = 4;
    scene.plan.candidates_per_duration = 2;
    scene
}

fn open(scene: Scene) -> (Session, Receiver<()>) {
    let (sender, woken) = channel();
    let sender = std::sync::Mutex::new(sender);
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        wake: Arc::new(move || {
            let _ = sender.lock().unwrap().send(());
        }),
    };
    (Session::open(scene, None, options).unwrap(), woken)
}

/// Poll until `done`, woken by the session itself.
fn wait(session: &mut Session, woken: &Receiver<()>, mut done: impl FnMut(&Session) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        session.poll();
        if done(session) {
            return;
        }
        let _ = woken.recv_timeout(Duration::from_millis(200));
    }
    panic!("the session never got there: {:?}", session.status());
}

fn request(session: &Session, goal: [f32; 2], near_duration: Option<f32>) -> PlanRequest {
    let [x, y] = session.scene().stage.start;
    PlanRequest {
        start: vec![x, y, 0.0, 0.0],
        goal: goal.to_vec(),
        via: Vec::new(),
        settings: session.scene().plan.clone(),
        seed: 1,
        near_duration,
        previous: None,
    }
}

fn complete(session: &Session, id: u64) -> Option<Arc<Film>> {
    session.film().filter(|film| film.id == id && film.is_complete())
}

#[test]
fn a_request_becomes_a_film_and_a_rollout() {
    let (mut session, woken) = open(scene());
    let id = session.request(request(&session, [1.0, 1.0], None));
    wait(&mut session, &woken, |s| s.rollout().is_some_and(|r| r.film_id == id));
    let film = complete(&session, id).unwrap();
    assert_eq!(film.steps.len(), film.total_steps);
    let rollout = session.rollout().unwrap();
    assert!(rollout.finished);
    assert_eq!(rollout.states.len(), session.scene().environment.max_steps + 1);
    wait(&mut session, &woken, |s| s.status().phase == Phase::Ready);
    assert_eq!(session.status().trials, 1);
    assert!(session.status().plan_ms.unwrap() > 0.0);
}

#[test]
fn the_newest_of_many_requests_wins_and_few_are_carried_out() {
    let (mut session, woken) = open(scene());
    wait(&mut session, &woken, |s| s.status().phase == Phase::Ready);
    let mut last = 0;
    for _ in 0..200 {
        last = session.request(request(&session, [1.0, 1.0], None));
    }
    wait(&mut session, &woken, |s| s.rollout().is_some_and(|r| r.film_id == last));
    wait(&mut session, &woken, |s| s.status().phase == Phase::Ready);
    assert!(session.status().trials < 20, "{} were carried out", session.status().trials);
}

#[test]
fn drag_requests_show_while_they_keep_coming() {
    let (mut session, woken) = open(scene());
    wait(&mut session, &woken, |s| s.status().phase == Phase::Ready);
    // Far more often than plans can be made: some must still be finished.
    let mut seen = std::collections::BTreeSet::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut step = 0;
    while seen.len() < 6 {
        assert!(Instant::now() < deadline, "{} plans in a minute of dragging", seen.len());
        step += 1;
        let goal = [1.0, 1.0 + (step % 20) as f32 / 10.0];
        session.request(request(&session, goal, Some(80.0)));
        std::thread::sleep(Duration::from_millis(1));
        if let Some(film) = session.film().filter(|film| film.is_complete()) {
            seen.insert(film.id);
        }
    }
    wait(&mut session, &woken, |s| s.status().phase == Phase::Ready);
    assert_eq!(session.status().trials, 0, "drags are not trials");
}

#[test]
fn a_changed_maze_is_planned_in_and_noted() {
    let (mut session, woken) =
        open(Scene::parse(shipped::find("maze2d-umaze-diffuser").unwrap().text).unwrap());
    wait(&mut session, &woken, |s| s.status().phase == Phase::Ready);
    assert!(session.status().is_maze_seen && session.status().model.is_some());
    let mut changed = session.scene().clone();
    changed.environment.maze = "#####\n#GOO#\n#OOO#\n#OOO#\n#####".into();
    session.apply(changed).unwrap();
    wait(&mut session, &woken, |s| !s.status().is_maze_seen);
    // The model knows nothing of the opened wall, but the ball may cross it.
    let id = session.request(request(&session, [1.0, 1.0], None));
    wait(&mut session, &woken, |s| s.rollout().is_some_and(|r| r.film_id == id));
}

#[test]
fn what_cannot_be_applied_changes_nothing() {
    let (mut session, _woken) = open(scene());
    let before = session.scene().clone();
    let mut broken = before.clone();
    broken.environment.maze = "#####".into();
    assert!(session.apply(broken).is_err());
    assert_eq!(session.scene(), &before);
}

#[test]
fn bad_weights_and_bad_requests_are_reported_and_the_session_goes_on() {
    let mut missing = scene();
    missing.model.set_weights(Some("/nowhere/w.safetensors".into()));
    let (mut session, woken) = open(missing);
    wait(&mut session, &woken, |s| s.status().phase == Phase::Failed);
    assert!(session.status().problems[0].title.contains("nowhere"));
    session.dismiss_problem(0);
    assert!(session.status().problems.is_empty());

    session.apply(scene()).unwrap();
    wait(&mut session, &woken, |s| s.status().phase == Phase::Ready);
    session.request(request(&session, [f32::NAN, 1.0], None));
    wait(&mut session, &woken, |s| !s.status().problems.is_empty());
    let id = session.request(request(&session, [1.0, 1.0], None));
    wait(&mut session, &woken, |s| s.rollout().is_some_and(|r| r.film_id == id));
}

#[test]
fn waypoints_are_inpainted_like_start_and_goal() {
    let (mut session, woken) = open(scene());
    let mut asked = request(&session, [1.0, 1.0], None);
    asked.via.push(foresight::plan::Via { fraction: 0.5, position: [2.0, 3.0] });
    let id = session.request(asked);
    wait(&mut session, &woken, |s| complete(s, id).is_some());
    let film = complete(&session, id).unwrap();
    let last = film.steps.last().unwrap();
    for candidate in 0..film.n_candidates() {
        for (waypoint, expected) in [(0, [3.0, 1.0]), (8, [2.0, 3.0]), (15, [1.0, 1.0])] {
            let [x, y] = film.position(&last.clean, candidate, waypoint);
            assert!((x - expected[0]).abs() < 1e-3 && (y - expected[1]).abs() < 1e-3);
        }
    }
}
