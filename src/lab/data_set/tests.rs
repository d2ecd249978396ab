use burn::tensor::Device;

use super::*;
use crate::lab::checkpoint::Checkpoint;
use crate::lab::shipped;
use crate::lab::train::{Budget, Orders, TrainOptions, train};

fn go_on(_: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A shipped scene with a small network and little data.
fn scene(name: &str) -> Scene {
    let mut scene = Scene::parse(shipped::find(name).unwrap().text).unwrap();
    scene.model.set_weights(None);
    scene.data.transitions = 4000;
    if let Some(model) = scene.model.diffuser_mut() {
        model.waypoints = Some(16);
        model.multipliers = Some(vec![1, 2]);
        model.batch = Some(4);
    }
    scene
}

/// The weights after two steps, and the run's hash.
fn weights(scene: &Scene, folder: &Path) -> (Vec<(String, Vec<u8>)>, String) {
    let out = folder.join("w.safetensors");
    let options = TrainOptions::beside(&out, "test");
    let orders = Orders::new(Budget::Steps(2));
    let scene = located(scene, Some(folder));
    train(&scene, &Device::flex(), &options, &orders, &mut |_| ()).unwrap();
    let read = Checkpoint::read(&out).unwrap();
    let bytes = format!("{:?}", read.weights).into_bytes();
    (vec![("all".into(), bytes)], read.header.provenance.scene_hash)
}

fn collected(scene: &Scene, path: &Path) -> Episodes {
    let mut environment = scene.make_environment().unwrap();
    let episodes = data::collect(environment.as_mut(), &scene.data, &mut go_on).unwrap();
    data::write_npz(path, &episodes).unwrap();
    episodes
}

#[test]
fn training_on_a_collected_file_takes_the_same_steps_as_collecting_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let plain = scene("maze2d-umaze-diffuser");
    let (straight, hash) = weights(&plain, folder.path());
    assert_eq!(hash, plain.training_hash());
    collected(&plain, &folder.path().join("data.npz"));
    let mut from_file = plain;
    from_file.data.file = Some("data.npz".into());
    let from_file = Scene::parse(&from_file.to_toml()).unwrap();
    let (again, other_hash) = weights(&from_file, folder.path());
    assert_eq!(straight, again);
    assert_ne!(hash, other_hash);
}

#[test]
fn what_a_file_holds_behind_the_kept_part_is_measured_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = scene("maze2d-umaze-diffuser");
    let all = collected(&scene, &folder.path().join("data.npz"));
    scene.data.file = Some("data.npz".into());
    scene.data.transitions = 3000;
    let other = DataConfig { transitions: 600, seed: 9, ..DataConfig::default() };
    let mut environment = scene.make_environment().unwrap();
    let source = DataSource::new(&scene.data, Some(folder.path())).others(&other);
    let rest = source.episodes(environment.as_mut(), &[], &mut go_on).unwrap();
    assert_eq!(rest, all.slice(3000..3600));
    scene.data.transitions = 0;
    let source = DataSource::new(&scene.data, Some(folder.path())).others(&other);
    let nothing = source.episodes(environment.as_mut(), &[], &mut go_on).unwrap_err();
    assert!(matches!(nothing, DataError::TooShort(_)));
    scene.data.file = None;
    let source = DataSource::new(&scene.data, None).others(&other);
    assert_eq!(source.episodes(environment.as_mut(), &[], &mut go_on).unwrap().len(), 600);
}

#[test]
fn the_training_hash_follows_what_files_hold_and_not_what_they_are_called() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = scene("maze2d-umaze-diffuser");
    for (name, bytes) in [("a", b"one"), ("b", b"one"), ("c", b"two")] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let mut hash = |name: &str| {
        scene.data.file = Some(name.into());
        training_hash(&scene, Some(folder.path()))
    };
    assert_eq!(hash("a").unwrap(), hash("b").unwrap());
    assert_ne!(hash("a").unwrap(), hash("c").unwrap());
    assert!(hash("missing").unwrap_err().to_string().contains("missing"));
}

#[test]
fn demonstrations_are_repeated_behind_the_data_and_no_window_joins_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = scene("maze2d-umaze-diffuser");
    let all = collected(&scene, &folder.path().join("data.npz"));
    let mut shown = all.slice(0..200);
    shown.terminals[199] = true;
    data::write_npz(&folder.path().join("demonstrations.npz"), &shown).unwrap();
    scene.data.demonstrations = Some("demonstrations.npz".into());
    scene.data.demonstration_weight = Some(3);
    let scene = Scene::parse(&scene.to_toml()).unwrap();
    let source = DataSource::new(&scene.data, Some(folder.path()));
    let mut environment = scene.make_environment().unwrap();
    let episodes = source.episodes(environment.as_mut(), &[], &mut go_on).unwrap();
    assert_eq!(episodes.len(), all.len() + 3 * 200);
    assert_eq!(episodes.segments(), [0..4000, 4000..4200, 4200..4400, 4400..4600]);
    let options = PathOptions {
        policies: vec![environment.policies()[0].id.to_owned()],
        stride: 5,
        observation: vec![0, 1, 2, 3],
        ends_at_goal: true,
        discount: None,
    };
    let plain = DataConfig { demonstrations: None, ..scene.data.clone() };
    let plain = DataSource::new(&plain, None);
    let without = plain.paths(environment.as_mut(), &options, &mut go_on).unwrap();
    let with = source.paths(environment.as_mut(), &options, &mut go_on).unwrap();
    with.validate().unwrap();
    let own = recorded_paths(&shown, &options, environment.spec()).unwrap();
    assert_eq!(with.len(), without.len() + 3 * own.len());
    assert_eq!(with.observations[..without.observations.len()], without.observations);
}

#[test]
fn a_transformer_learns_from_a_d4rl_file_and_a_gamma_model_says_why_it_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = scene("maze2d-umaze-transformer");
    let mut environment = scene.make_environment().unwrap();
    let episodes = data::collect(environment.as_mut(), &scene.data, &mut go_on).unwrap();
    let bytes = data::hdf5_for_tests(&episodes);
    std::fs::write(folder.path().join("maze.hdf5"), bytes).unwrap();
    scene.data.file = Some("maze.hdf5".into());
    scene.data.transitions = 0;
    scene.check().unwrap();
    let (_, hash) = weights(&scene, folder.path());
    assert_eq!(hash, training_hash(&scene, Some(folder.path())).unwrap());

    let mut gamma = self::scene("maze2d-umaze-gamma");
    gamma.data.file = Some("maze.hdf5".into());
    let source = DataSource::new(&gamma.data, Some(folder.path()));
    let refused =
        source.stretches(environment.as_mut(), &["to-goal".into()], &mut go_on).unwrap_err();
    assert!(refused.to_string().contains("take data.file out"), "{refused}");
}

#[test]
fn unusable_settings_are_refused_with_their_key() {
    let good = scene("maze2d-umaze-diffuser");
    let refused = |change: &dyn Fn(&mut Scene)| {
        let mut scene = good.clone();
        change(&mut scene);
        scene.check().unwrap_err().to_string()
    };
    assert!(refused(&|s| s.data.transitions = 0).contains("data.transitions"));
    assert!(refused(&|s| s.data.file = Some(" ".into())).contains("data.file"));
    assert!(refused(&|s| s.data.demonstration_weight = Some(0)).contains("demonstration_weight"));
}
