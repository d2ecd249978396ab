//! Every shader parses and validates, so a broken one fails here and not in
//! somebody's window.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::path::Path;

use foresight::ui::layers;
use naga::valid::{Capabilities, ValidationFlags, Validator};

fn files() -> Vec<(String, String)> {
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

/// What is compiled: every layer's parts, and those of egui's triangles.
fn programs() -> Vec<(&'static str, &'static [&'static str])> {
    let layers = layers::ALL.iter().map(|layer| (layer.id, layer.shader));
    layers.chain([("widgets", layers::software::SHADER)]).collect()
}

#[test]
fn every_shader_parses_validates_and_has_the_entry_points_it_needs() {
    for (name, parts) in programs() {
        let source = parts.concat();
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
        Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
        for entry in ["vs_main", "fs_gamma", "fs_linear"] {
            let has_entry = module.entry_points.iter().any(|point| point.name == entry);
            assert!(has_entry, "{name} has no {entry}");
        }
    }
}

#[test]
fn every_program_has_a_file_of_its_name_and_every_file_is_a_part_of_a_program() {
    let files = files();
    for (name, parts) in programs() {
        let own = files.iter().find(|(file, _)| file == name);
        let (_, own) = own.unwrap_or_else(|| panic!("shaders/{name}.wgsl is missing"));
        assert_eq!(parts.last(), Some(&own.as_str()), "{name} compiles another file");
    }
    for (file, text) in &files {
        let is_used = programs().iter().any(|(_, parts)| parts.contains(&text.as_str()));
        assert!(is_used, "nothing compiles shaders/{file}.wgsl");
    }
}
