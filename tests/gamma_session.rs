//! A session with a gamma-model: occupancies with their truth, value maps with
//! theirs, and questions that replace each other.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use foresight::lab::occupancy::{OccupancyFrame, OccupancyRequest};
use foresight::lab::scene::OccupancySettings;
use foresight::lab::values::{ValueFrame, ValueRequest, ValueReward};
use foresight::lab::{DeviceChoice, Phase, Scene, Session, SessionOptions};

fn scene(environment: &str) -> Scene {
    let policy = if environment == "pendulum" { "swing-up" } else { "to-goal" };
    let goal = if environment == "pendulum" { "[0.0, 0.0]" } else { "[0.35, 0.4]" };
    let text = format!(
        r#"
        format = 1
        title = "test"
        [environment]
        id = "{environment}"
        max_steps = 50
        [data]
        transitions = 1000
        [model]
        id = "gamma"
        preset = "quick"
        policy = "{policy}"
        hidden = 8
        couplings = 2
        [train]
        steps = 1
        [stage]
        start = [-0.4, -0.45]
        goal = {goal}
        "#
    );
    Scene::parse(&text).unwrap()
}

fn session(environment: &str) -> Session {
    let options = SessionOptions { device: DeviceChoice::Cpu, wake: Arc::new(|| {}) };
    let mut session = Session::open(scene(environment), None, options).unwrap();
    wait(&mut session, |session| (session.status().phase == Phase::Ready).then_some(()));
    session
}

/// Poll until there is what `find` looks for.
fn wait<T>(session: &mut Session, find: impl Fn(&Session) -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        session.poll();
        if let Some(found) = find(session) {
            return found;
        }
        let problems = &session.status().problems;
        assert!(started.elapsed() < Duration::from_secs(120), "nothing came: {problems:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn question(goal: &[f32]) -> OccupancyRequest {
    OccupancyRequest {
        state: vec![-0.4, -0.45],
        goal: goal.to_vec(),
        action: None,
        settings: OccupancySettings { discount: 0.9, samples: 200, ..OccupancySettings::default() },
        cells: [24, 24],
        seed: 1,
        is_drag: false,
    }
}

fn answered(
    session: &mut Session,
    id: u64,
    find: impl Fn(&OccupancyFrame) -> bool,
) -> Arc<OccupancyFrame> {
    wait(session, |session| session.occupancy().filter(|frame| frame.id == id && find(frame)))
}

fn mass(frame: &OccupancyFrame, density: &[f32]) -> f32 {
    density.iter().sum::<f32>() * frame.grid.cell_area()
}

#[test]
fn an_occupancy_comes_first_alone_then_with_its_truth_then_with_the_exact_one() {
    let mut session = session("four-rooms");
    let id = session.ask_occupancy(question(&[0.35, 0.4]));
    let complete = answered(&mut session, id, |frame| frame.exact.is_some());
    let (truth, exact) = (complete.truth.as_ref().unwrap(), complete.exact.as_ref().unwrap());
    assert_eq!(complete.model.len(), 576);
    assert_eq!(complete.model_samples.len(), 400);
    assert!((mass(&complete, truth) - 1.0).abs() < 0.01);
    assert!((mass(&complete, exact) - 1.0).abs() < 1e-3);
    let off: f32 = truth.iter().zip(exact).map(|(a, b)| (a - b).abs()).sum();
    let off = off * complete.grid.cell_area() / 2.0;
    assert!(off < 0.1, "rollouts and the exact occupancy differ by {off}");
    // An untrained model is wrong, and is said to be.
    assert!(complete.exact_total_variation.unwrap() > 0.3);
    assert!(complete.total_variation.unwrap() > 0.3);
}

#[test]
fn a_question_while_dragging_is_answered_without_the_truth() {
    let mut session = session("pendulum");
    let id = session.ask_occupancy(OccupancyRequest { is_drag: true, ..question(&[]) });
    let frame = answered(&mut session, id, |_| true);
    assert!(frame.truth.is_none() && frame.model_samples.is_empty());
    assert!(frame.model.iter().all(|density| density.is_finite() && *density >= 0.0));
}

#[test]
fn a_chain_of_model_steps_reaches_for_the_longer_discount() {
    let mut session = session("pendulum");
    let settings = OccupancySettings {
        discount: 0.8,
        steps: 5,
        long_discount: 0.95,
        samples: 100,
        ..OccupancySettings::default()
    };
    let id = session.ask_occupancy(OccupancyRequest { settings, ..question(&[]) });
    let frame = answered(&mut session, id, |frame| frame.truth.is_some());
    assert_eq!(frame.chain_weights.len(), 5);
    assert!((frame.chain_weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    assert_eq!(frame.model_samples.len(), 2 * 5 * 100);
}

#[test]
fn a_value_map_gets_policy_evaluation_and_value_iteration_for_any_reward() {
    let mut session = session("four-rooms");
    let request = |reward| ValueRequest {
        discount: 0.9,
        goal: vec![0.35, 0.4],
        cells: [13, 13],
        samples: 16,
        reward,
        policy: None,
        seed: 1,
    };
    let id = session.ask_values(request(ValueReward::Environment));
    let find = |session: &Session, id: u64| -> Option<Arc<ValueFrame>> {
        session.values().filter(|frame| frame.id == id && frame.evaluation.is_some())
    };
    let frame = wait(&mut session, |session| find(session, id));
    let (policy, best) = (frame.evaluation.as_ref().unwrap(), frame.optimal.as_ref().unwrap());
    assert_eq!(frame.done, 1.0);
    for (policy, best) in policy.iter().zip(best) {
        assert!(policy.is_nan() || policy <= &(best + 0.05), "{policy} above the best, {best}");
    }
    // Reward 1 everywhere is worth 1 / (1 - g) whatever the policy does.
    let rewards = Arc::new(vec![1.0; 169]);
    let painted = ValueReward::Painted { grid: frame.grid.clone(), rewards };
    let id = session.ask_values(request(painted));
    let frame = wait(&mut session, |session| find(session, id));
    for value in frame.evaluation.as_ref().unwrap().iter().filter(|value| value.is_finite()) {
        assert!((value - 10.0).abs() < 1e-3, "{value}");
    }
}

#[test]
fn questions_that_make_no_sense_are_reported_and_the_session_goes_on() {
    let mut session = session("four-rooms");
    for broken in [
        OccupancyRequest { state: vec![0.0, 0.0], ..question(&[0.35, 0.4]) },
        OccupancyRequest { state: vec![f32::NAN, 0.0], ..question(&[0.35, 0.4]) },
        OccupancyRequest { state: vec![0.1], ..question(&[0.35, 0.4]) },
        OccupancyRequest {
            settings: OccupancySettings { discount: 0.999, ..OccupancySettings::default() },
            ..question(&[0.35, 0.4])
        },
    ] {
        let before = session.status().problems.len();
        session.ask_occupancy(broken);
        wait(&mut session, |session| (session.status().problems.len() > before).then_some(()));
    }
    let id = session.ask_occupancy(question(&[0.35, 0.4]));
    answered(&mut session, id, |frame| frame.truth.is_some());
}
