//! Every shader parses and validates, so a broken one fails here and not in
//! somebody's window.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::path::Path;

use foresight::ui::layers;
use naga::valid::{Capabilities, ValidationFlags, Validator};

fn shaders() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wgsl"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn every_shader_parses_and_validates() {
    let shaders = shaders();
    assert!(shaders.len() >= layers::ALL.len());
    for (name, source) in shaders {
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
        Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
    }
}

#[test]
fn every_layer_has_its_shader_with_the_entry_points_it_needs() {
    let shaders = shaders();
    for layer in layers::ALL {
        let (_, source) = shaders
            .iter()
            .find(|(name, _)| name == layer.id)
            .unwrap_or_else(|| panic!("shaders/{}.wgsl is missing", layer.id));
        assert_eq!(source, layer.shader, "{} compiles another file", layer.id);
        let module = naga::front::wgsl::parse_str(source).unwrap();
        for entry in ["vs_main", "fs_gamma", "fs_linear"] {
            assert!(
                module.entry_points.iter().any(|point| point.name == entry),
                "{} has no {entry}",
                layer.id
            );
        }
    }
}
