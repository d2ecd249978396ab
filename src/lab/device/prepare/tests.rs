use super::*;
use crate::lab::{device, shipped};
use crate::model::buckets::Buckets;
use crate::plan::{Film, PlanRequest};

fn scene(name: &str) -> Scene {
    Scene::parse(shipped::find(name).unwrap().text).unwrap()
}

#[test]
fn the_cpu_prepares_for_every_kind_of_model_and_agrees_with_itself() {
    let names = ["maze2d-umaze-diffuser", "pendulum-diffuser", "pendulum-gamma"];
    for name in names.into_iter().chain(["four-rooms-transformer"]) {
        let mut parts = Vec::new();
        let finished = prepare(&scene(name), None, &device::cpu("a test"), true, &mut |part| {
            parts.push(part.to_string());
            ControlFlow::Continue(())
        });
        assert!(finished.unwrap(), "{name}");
        assert!(parts.len() > 1, "{name}: {parts:?}");
    }
}

#[test]
fn it_stops_when_it_is_told_to_and_says_why_it_cannot_begin() {
    let cpu = device::cpu("a test");
    let mut heard = 0;
    let scene = scene("maze2d-umaze-diffuser");
    let finished = prepare(&scene, None, &cpu, true, &mut |_| {
        heard += 1;
        if heard < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!((finished.unwrap(), heard), (false, 2));
    let mut broken = scene;
    broken.model.set_weights(Some("missing.safetensors".into()));
    let error = prepare(&broken, None, &cpu, true, &mut |_| ControlFlow::Continue(()));
    assert!(error.unwrap_err().to_string().contains("missing"));
}

#[test]
fn a_panic_is_an_error_with_its_words() {
    let scene = scene("maze2d-umaze-diffuser");
    let stopped =
        prepare(&scene, None, &device::cpu("a test"), true, &mut |_| panic!("device lost"));
    assert!(stopped.unwrap_err().to_string().contains("device lost"));
}

#[test]
fn samples_may_lie_across_a_seam_but_not_elsewhere() {
    let here = vec![0.5; 100];
    let mut there = here.clone();
    there[3] = 2.0;
    assert_eq!(share_apart(&here, &there), 0.0);
    there[..10].fill(2.0);
    assert!(!agrees(share_apart(&here, &there)));
    there[0] = f32::NAN;
    assert!(!agrees(share_apart(&here, &there)));
}

fn opened(name: &str) -> Opened {
    open::open(&scene(name), None, &Device::flex()).unwrap()
}

fn film(planner: &Planner, request: &Arc<PlanRequest>) -> Film {
    let mut go_on = |_: &Film| ControlFlow::Continue(());
    planner.plan(0, Arc::clone(request), &mut go_on).unwrap().unwrap()
}

/// Rounding may depend on how many rows are multiplied at once.
fn same(a: &[f32], b: &[f32]) -> bool {
    relative_difference(a, b) < 1e-4
}

#[test]
fn plans_in_filled_batches_are_the_same_plans() {
    for name in ["maze2d-umaze-diffuser", "pendulum-diffuser"] {
        let mut request = open::stage_request(&scene(name), opened(name).environment.spec());
        request.settings.durations = 5;
        request.settings.candidates_per_duration = 3;
        for near_duration in [None, Some(100.0)] {
            let request = Arc::new(PlanRequest { near_duration, ..request.clone() });
            let [exact, filled] = [Buckets::Exact, Buckets::Filled].map(|buckets| {
                let OpenedModel::Diffuser(planner) = opened(name).model else { panic!("{name}") };
                film(&planner.with_buckets(buckets), &request)
            });
            assert_eq!(exact.durations, filled.durations);
            assert_eq!(exact.steps.len(), filled.steps.len());
            for (exact, filled) in exact.steps.iter().zip(&filled.steps) {
                assert!(same(&exact.noisy, &filled.noisy) && same(&exact.clean, &filled.clean));
            }
            assert_eq!(exact.chosen, filled.chosen);
        }
    }
}

#[test]
fn draws_and_densities_in_filled_batches_are_the_same() {
    let name = "pendulum-gamma";
    let (scene, n) = (scene(name), 37);
    let [exact, filled] = [Buckets::Exact, Buckets::Filled].map(|buckets| {
        let OpenedModel::Gamma(model) = opened(name).model else { panic!("{name}") };
        model.with_buckets(buckets)
    });
    let query = |model: &GammaModel| Query {
        state: vec![3.0, 0.0],
        action: None,
        goal: Vec::new(),
        discount: scene.occupancy.discount.min(model.config.discount[1]),
        policy: 0,
    };
    let [a, b] = [&exact, &filled]
        .map(|model| model.sample(&[query(model)], n, &mut Rng::stream(1, "draws")).unwrap());
    assert_eq!(a.states.len(), n * 2);
    assert!(same(&a.states, &b.states) && same(&a.log_density, &b.log_density));
    let points = a.states;
    let [a, b] =
        [&exact, &filled].map(|model| model.log_density(&query(model), &points, 2).unwrap());
    assert!(a.len() == n && same(&a, &b));
    let queries = vec![query(&exact); n];
    let [a, b] = [&exact, &filled].map(|model| model.log_density_each(&queries, &points).unwrap());
    assert!(a.len() == n && same(&a, &b));
}

#[test]
fn planning_sends_no_other_shapes_through_the_network_than_it_says() {
    for name in ["maze2d-umaze-diffuser", "pendulum-diffuser", "four-rooms-diffuser"] {
        let scene = scene(name);
        let OpenedModel::Diffuser(planner) = opened(name).model else { panic!("{name}") };
        let planner = planner.with_buckets(Buckets::Filled);
        let shapes = planner.shapes(&scene.plan, true);
        assert!((1..=10).contains(&shapes.len()), "{name}: {shapes:?}");
        let request = open::stage_request(&scene, opened(name).environment.spec());
        for near_duration in [None, Some(30.0), Some(77.0), Some(1000.0)] {
            let request = Arc::new(PlanRequest { near_duration, ..request.clone() });
            let film = film(&planner, &request);
            let sizes: Vec<usize> = shapes
                .iter()
                .filter(|[_, waypoints]| *waypoints == film.waypoints)
                .map(|[plans, _]| *plans)
                .collect();
            assert!(!sizes.is_empty(), "{name}: {} waypoints, {shapes:?}", film.waypoints);
            if near_duration.is_some() {
                let n = Buckets::Filled.size(film.n_candidates());
                assert!(sizes.contains(&n), "{name}: {n} plans, {shapes:?}");
            }
        }
    }
}
