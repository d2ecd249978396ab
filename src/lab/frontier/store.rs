//! Where measured trade-offs are kept: beside the weights, in a folder of their
//! own, and for the shipped scenes in the program.

use std::path::{Path, PathBuf};

use super::{FORMAT, Frontier};
use crate::files::{self, FileError};
use crate::lab::scene::Scene;

/// Largest file read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// The folder beside the weights.
const FOLDER: &str = "frontier";

/// What travels inside the program, by the name of the weights.
const RECORDED: &[(&str, &str)] = &[
    ("maze2d-umaze-diffuser", include_str!("../../../assets/frontier/maze2d-umaze-diffuser.json")),
    (
        "maze2d-medium-diffuser",
        include_str!("../../../assets/frontier/maze2d-medium-diffuser.json"),
    ),
    ("maze2d-large-diffuser", include_str!("../../../assets/frontier/maze2d-large-diffuser.json")),
];

/// The record of a scene's weights that travels inside the program. What cannot
/// be read is none.
pub fn recorded(weights: &str) -> Option<Frontier> {
    let stem = stem(weights)?;
    let (_, text) = RECORDED.iter().find(|(name, _)| *name == stem)?;
    parse(text)
}

fn stem(weights: &str) -> Option<&str> {
    weights.rsplit('/').next()?.strip_suffix(".safetensors")
}

fn parse(text: &str) -> Option<Frontier> {
    serde_json::from_str(text).ok().filter(|found: &Frontier| found.format == FORMAT)
}

/// Where the trade-off of a scene is recorded; `None` for a scene without a
/// weights file.
pub fn recorded_path(scene: &Scene, folder: Option<&Path>) -> Option<PathBuf> {
    let weights = folder?.join(scene.model.weights()?);
    let name = weights.file_stem()?.to_string_lossy().into_owned();
    Some(weights.parent()?.join(FOLDER).join(format!("{name}.json")))
}

/// The stored trade-off of a scene's weights: beside them, or in the program.
pub fn find(scene: &Scene, folder: Option<&Path>) -> Option<Frontier> {
    let beside = recorded_path(scene, folder)
        .and_then(|path| files::read_text_limited(&path, MAX_BYTES).ok())
        .and_then(|text| parse(&text));
    beside.or_else(|| recorded(scene.model.weights()?))
}

/// Write a trade-off as JSON.
///
/// # Errors
/// A folder that cannot be written, or a full disk.
pub fn write(path: &Path, frontier: &Frontier) -> Result<(), FileError> {
    if let Some(folder) = path.parent() {
        // Writing says it better if this fails.
        std::fs::create_dir_all(folder).ok();
    }
    let mut text = serde_json::to_vec_pretty(frontier).unwrap_or_default();
    text.push(b'\n');
    files::write_atomic(path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::SHIPPED;
    use crate::lab::frontier::Measure;

    fn frontier() -> Frontier {
        Frontier {
            format: FORMAT,
            scene: "mine".into(),
            weights: "0123".into(),
            machine: "a test".into(),
            seed: 0,
            episodes: 3,
            measure: Measure::Score,
            points: Vec::new(),
            replan_every: 15,
            replanning: Vec::new(),
            drags: Vec::new(),
        }
    }

    #[test]
    fn a_record_beside_the_weights_is_found_again_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut scene = Scene::parse(SHIPPED[0].text).unwrap();
        scene.model.set_weights(Some("mine.safetensors".into()));
        let path = recorded_path(&scene, Some(folder.path())).unwrap();
        assert!(find(&scene, Some(folder.path())).is_none());
        write(&path, &frontier()).unwrap();
        assert_eq!(find(&scene, Some(folder.path())).unwrap().scene, "mine");
        std::fs::write(&path, "{]").unwrap();
        assert!(find(&scene, Some(folder.path())).is_none());
        assert!(recorded_path(&scene, None).is_none());
    }

    #[test]
    fn every_record_in_the_program_can_be_read_and_belongs_to_a_shipped_scene() {
        for (name, text) in RECORDED {
            let found = parse(text).unwrap_or_else(|| panic!("{name} cannot be read"));
            assert!(SHIPPED.iter().any(|scene| scene.name == *name), "{name}");
            assert!(found.points.len() > 3 && found.episodes > 0, "{name} is empty");
            assert!(recorded(&format!("../assets/{name}.safetensors")).is_some());
        }
    }
}
