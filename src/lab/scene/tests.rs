//! Scene files, shipped and wrong ones.

use super::*;
use crate::lab::shipped::{self, SHIPPED};

#[test]
fn every_scene_parses_and_is_shipped() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes");
    let mut n = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        Scene::read(&path).unwrap();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(shipped::find(&stem).is_some(), "{stem}");
        n += 1;
    }
    assert_eq!(n, SHIPPED.len());
}

#[test]
fn a_scene_survives_being_written_and_read() {
    for shipped in SHIPPED {
        let scene = Scene::parse(shipped.text).unwrap();
        assert_eq!(Scene::parse(&scene.to_toml()).unwrap(), scene);
    }
}

#[test]
fn shipped_weights_fit_their_scenes_and_say_where_they_come_from() {
    for shipped in SHIPPED {
        let scene = Scene::parse(shipped.text).unwrap();
        let device = burn::tensor::Device::flex();
        let opened = crate::lab::open::open(&scene, None, &device).unwrap();
        let header = opened.header.unwrap();
        assert_eq!(header.provenance.scene_hash, scene.training_hash(), "{}", shipped.name);
        assert_eq!(header.provenance.steps, scene.train.steps, "{}", shipped.name);
        let distilled = header.student.map(|student| (student.steps, student.seed));
        assert_eq!(distilled, scene.distill.map(|d| (d.steps, d.seed)), "{}", shipped.name);
        assert!(shipped.weights.len() <= 8 * 1024 * 1024);
    }
}

#[test]
fn the_training_hash_ignores_the_stage_and_follows_the_data() {
    let scene = Scene::parse(SHIPPED[0].text).unwrap();
    let mut moved = scene.clone();
    moved.stage.goal = [1.0, 2.0];
    moved.plan.denoising_steps = 9;
    assert_eq!(moved.training_hash(), scene.training_hash());
    moved.data.seed += 1;
    assert_ne!(moved.training_hash(), scene.training_hash());
}
