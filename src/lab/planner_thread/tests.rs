use std::sync::mpsc::Receiver;

use burn::tensor::{Device, DeviceKind};

use super::*;
use crate::lab::scene::Scene;
use crate::lab::{open, shipped};

fn wait(events: &Receiver<Event>, mut is_it: impl FnMut(&Event) -> bool) -> Event {
    loop {
        let event = events.recv_timeout(Duration::from_secs(60)).unwrap();
        if is_it(&event) {
            return event;
        }
    }
}

#[test]
fn a_gpu_that_fails_gives_way_to_the_cpu_which_carries_out_the_request() {
    let mut scene = Scene::parse(shipped::find("maze2d-umaze-diffuser").unwrap().text).unwrap();
    scene.plan.durations = 3;
    let (shared, events) = Shared::new(Arc::new(|| ()));
    let thread = spawn(Arc::clone(&shared)).unwrap();
    let (device, folder) = (device::cpu("a test"), None);
    shared.push(Task::Load { scene: Box::new(scene.clone()), folder, device });
    wait(&events, |event| matches!(event, Event::Loaded { .. }));
    // There is no tenth GPU here: burn panics where it is first used.
    let lost = ChosenDevice {
        device: Device::wgpu(DeviceKind::DiscreteGpu(9)),
        name: "GPU (none)".into(),
        reason: String::new(),
    };
    shared.push(Task::Move(lost));
    let fell = wait(&events, |event| matches!(event, Event::FellBack { .. }));
    let Event::FellBack { device, why } = fell else { unreachable!() };
    assert!(device.name.starts_with("CPU") && !why.is_empty(), "{device:?} {why}");
    let environment = scene.make_environment().unwrap();
    let request = Arc::new(open::stage_request(&scene, environment.spec()));
    shared.push(Task::Plan(7, request));
    wait(&events, |event| matches!(event, Event::Planned { .. }));
    assert_eq!(shared.film.get().unwrap().id, 7);
    shared.quit();
    thread.join().unwrap();
}

#[test]
fn a_request_is_put_back_only_where_no_newer_one_waits() {
    let scene = Scene::parse(shipped::find("maze2d-umaze-diffuser").unwrap().text).unwrap();
    let environment = scene.make_environment().unwrap();
    let plan = |id| Task::Plan(id, Arc::new(open::stage_request(&scene, environment.spec())));
    let (shared, _events) = Shared::new(Arc::new(|| ()));
    shared.put_back(plan(1));
    shared.put_back(plan(0));
    assert!(matches!(shared.wait(), Some(Task::Plan(1, _))));
    shared.put_back(Task::Twin);
    assert!(!shared.has_work());
}
