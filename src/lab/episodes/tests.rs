use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::lab::shipped::{self, SHIPPED};

fn go_on(_: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn scene(name: &str) -> Scene {
    let mut scene = Scene::parse(shipped::find(name).unwrap().text).unwrap();
    scene.data.transitions = 3000;
    scene
}

#[test]
fn every_scene_shows_a_bounded_sample_of_its_own_data() {
    for shipped in SHIPPED {
        let scene = scene(shipped.name);
        let (episodes, sample) = first_episodes(&scene, None, &mut go_on).unwrap();
        let n = episodes.len();
        assert!((1..=MOST_EPISODES).contains(&n), "{}: {n}", shipped.name);
        assert!(sample.contains(&format!("first {n} episodes of 3000")), "{sample}");
        let dims = scene.make_environment().unwrap().spec().state.len();
        for episode in &episodes {
            assert!(episode.states.iter().all(|state| state.len() == dims));
            assert_eq!(episode.actions.len(), episode.rewards.len());
            assert!(episode.states.len() - episode.actions.len() <= 1);
        }
    }
}

#[test]
fn the_sample_is_the_beginning_of_what_training_collects() {
    let scene = scene("maze2d-umaze-diffuser");
    let mut environment = scene.make_environment().unwrap();
    let all = data::collect(environment.as_mut(), &scene.data, &mut go_on).unwrap();
    let (episodes, _) = first_episodes(&scene, None, &mut go_on).unwrap();
    let mut at = 0;
    for episode in &episodes {
        for (state, reward) in episode.states.iter().zip(&episode.rewards) {
            assert_eq!((state.as_slice(), *reward), (all.observation(at), all.rewards[at]));
            at += 1;
        }
    }
    assert_eq!(at, all.len());
    let transformer = self::scene("pendulum-transformer");
    let (episodes, _) = first_episodes(&transformer, None, &mut go_on).unwrap();
    let known = ["swing-up", "mixture", "random"];
    assert!(episodes.iter().all(|episode| known.contains(&episode.by.as_str())));
}

#[test]
fn a_newer_question_supersedes_and_a_bad_file_is_told() {
    let wake: crate::lab::session::Wake = Arc::new(|| {});
    let mut keeper = EpisodeKeeper::default();
    let mut scene = scene("maze2d-umaze-diffuser");
    keeper.start(&scene, None, &wake);
    scene.data.file = Some("nowhere.hdf5".into());
    let id = keeper.start(&scene, None, &wake);
    let deadline = Instant::now() + Duration::from_secs(20);
    let frame = loop {
        let frame = keeper.frame().unwrap();
        assert_eq!(frame.id, id);
        if frame.stage != Stage::Loading {
            break frame;
        }
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(matches!(&frame.stage, Stage::Failed(why) if why.contains("nowhere.hdf5")));
    keeper.clear();
    assert!(keeper.frame().is_none());
}
