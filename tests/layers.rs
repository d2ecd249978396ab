//! The architecture's invariants, read off the source: what a module must not
//! name, and which way the arrows between modules point.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// From the ground up: a module may name those before it, not those after it.
/// The command line is on top because one of its commands opens the window.
const LAYERS: [&str; 9] = ["env", "data", "nn", "model", "plan", "eval", "lab", "ui", "cli"];
/// Modules that every layer may name and that name no layer.
const LEAVES: [&str; 3] = ["rng", "files", "picture"];

struct Source {
    /// The module at the top of its path: `env`, `ui`, `main`, ...
    module: String,
    path: PathBuf,
    /// Without comments and text in quotes.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&root).unwrap().to_path_buf();
                let first = below.components().next().unwrap().as_os_str();
                found.push(Source {
                    module: first.to_string_lossy().trim_end_matches(".rs").to_owned(),
                    code: code_of(&std::fs::read_to_string(&path).unwrap()),
                    path: below,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "only {} sources under {}", found.len(), root.display());
    found
}

/// Rust source without comments and the insides of string literals.
fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut i = 0;
    while i < bytes.len() {
        let rest = &text[i..];
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if rest.starts_with('"') {
            string(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            0
        };
        if skipped > 0 {
            code.push(' ');
            i += skipped;
        } else {
            let symbol = rest.chars().next().unwrap();
            code.push(symbol);
            i += symbol.len_utf8();
        }
    }
    code
}

/// Length of the string literal that `text` starts with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of the raw string literal that `text` starts with, if it does.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 1 + hashes + 1;
    Some(text[body..].find(&end).map_or(text.len(), |at| body + at + end.len()))
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|symbol: char| !(symbol.is_alphanumeric() || symbol == '_'))
        .filter(|word| !word.is_empty())
}

/// Every module named through `crate::`, alone or in braces.
fn named_modules(code: &str) -> BTreeSet<String> {
    let compact: String = code.split_whitespace().collect();
    let mut named = BTreeSet::new();
    for (at, _) in compact.match_indices("crate::") {
        let rest = &compact[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => named.extend(heads_of_group(group)),
            None => named.extend(words(rest).next().map(str::to_owned)),
        }
    }
    named
}

/// The first name of every entry of a braced import, up to its closing brace.
fn heads_of_group(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut heads = Vec::new();
    let mut entry = String::new();
    for symbol in group.chars() {
        match symbol {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(std::mem::take(&mut entry)),
            _ => {}
        }
        if symbol != ',' {
            entry.push(symbol);
        }
    }
    heads.push(entry);
    heads.iter().filter_map(|entry| words(entry).next().map(str::to_owned)).collect()
}

/// Complain about every file of `modules` that has one of `forbidden` as a word.
fn assert_never_names(modules: &[&str], forbidden: &[&str]) {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| modules.contains(&source.module.as_str())) {
        let named: BTreeSet<_> =
            words(&source.code).filter(|word| forbidden.contains(word)).collect();
        if !named.is_empty() {
            complaints.push(format!("src/{} names {named:?}", source.path.display()));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// The files that have `word` in their code.
fn files_naming(word: &str) -> Vec<String> {
    sources()
        .iter()
        .filter(|source| words(&source.code).any(|other| other == word))
        .map(|source| source.path.display().to_string())
        .collect()
}

const WINDOW: [&str; 6] = ["egui", "eframe", "egui_plot", "epaint", "winit", "egui_wgpu"];
const TENSORS: [&str; 5] = ["burn", "burn_wgpu", "burn_flex", "cubecl", "burn_autodiff"];

#[test]
fn environments_data_and_leaves_know_neither_tensors_nor_windows() {
    let modules = ["env", "data", "rng", "files", "picture"];
    assert_never_names(&modules, &WINDOW);
    assert_never_names(&modules, &TENSORS);
    assert_never_names(&modules, &["wgpu"]);
}

#[test]
fn learning_knows_no_window_no_gpu_library_and_no_concrete_environment() {
    let modules = ["nn", "model", "plan"];
    assert_never_names(&modules, &WINDOW);
    assert_never_names(&modules, &["wgpu", "Maze2d", "MazeLayout"]);
}

#[test]
fn evaluation_and_the_lab_know_no_window() {
    assert_never_names(&["eval", "lab"], &WINDOW);
}

#[test]
fn the_window_knows_no_tensors() {
    assert_never_names(&["ui"], &TENSORS);
    assert_never_names(&["ui"], &["Tensor"]);
}

#[test]
fn one_file_names_rapier_and_at_most_one_names_the_file_dialog() {
    assert_eq!(
        files_naming("rapier2d"),
        [Path::new("env").join("physics.rs").display().to_string()]
    );
    let dialogs = files_naming("rfd");
    assert!(dialogs.len() <= 1, "rfd is named by {dialogs:?}");
}

#[test]
fn arrows_between_modules_point_down() {
    let height = |module: &str| LAYERS.iter().position(|layer| *layer == module);
    let mut complaints = Vec::new();
    for source in sources() {
        let leaf = LEAVES.contains(&source.module.as_str());
        let Some(own) = height(&source.module).or(leaf.then_some(0)) else {
            // `main` and `lib` hold everything together.
            continue;
        };
        for named in named_modules(&source.code) {
            let Some(other) = height(&named).filter(|_| named != source.module) else {
                continue;
            };
            if leaf || other > own {
                complaints.push(format!("src/{} names crate::{named}", source.path.display()));
            }
        }
    }
    assert!(complaints.is_empty(), "arrows point up:\n{}", complaints.join("\n"));
}

#[test]
fn every_module_has_its_place() {
    let known: BTreeSet<&str> =
        LAYERS.iter().chain(&LEAVES).copied().chain(["lib", "main"]).collect();
    for source in sources() {
        let (module, path) = (source.module.as_str(), source.path.display());
        assert!(
            known.contains(module),
            "src/{path} belongs to no layer; add it to LAYERS or LEAVES"
        );
    }
}

#[test]
fn every_device_is_passed_in() {
    for source in sources() {
        let compact: String = source.code.split_whitespace().collect();
        for pattern in ["Device::default()", "Device>::default()", "DispatchDevice::default()"] {
            let path = source.path.display();
            assert!(!compact.contains(pattern), "src/{path} uses {pattern}; take a device instead");
        }
    }
}

#[test]
fn comments_and_text_do_not_count_as_code() {
    let code = code_of("a // egui\n/* burn */ b \"wgpu \\\" rfd\" r#\"x \" y\"# '\"' c /// d\n'e'");
    assert_eq!(words(&code).collect::<Vec<_>>(), ["a", "b", "c", "e"]);
}

#[test]
fn modules_are_found_alone_and_in_braces() {
    let code = "use crate::env::{self, Maze}; use crate :: { data::{Windows, x}, rng::Rng }; crate::lab::f()";
    let expected = ["data", "env", "lab", "rng"].map(str::to_owned);
    assert_eq!(named_modules(code), BTreeSet::from(expected));
}
