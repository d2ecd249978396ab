//! What a GPU compiles and measures, and where it is kept until the next time.
//!
//! burn's wgpu runtime keeps nothing on disk: shaders go to the driver as text,
//! without a pipeline cache, and which kernel is fastest for a shape is
//! measured anew by every process, because its store is an optional part of
//! burn that this program is built without. Drivers keep what they compiled in
//! folders of their own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Adapter;

/// Something that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// What is kept.
    pub what: String,
    /// Where, for people.
    pub place: String,
}

/// What is kept for these adapters, with the environment's variables.
pub(super) fn caches(
    adapters: &[Adapter],
    variable: &dyn Fn(&str) -> Option<PathBuf>,
) -> Vec<Cache> {
    if adapters.is_empty() {
        return Vec::new();
    }
    let place = match mesa_folder(variable) {
        Some(folder) if adapters.iter().any(|adapter| adapter.driver.contains("Mesa")) => {
            format!("by the driver, in {}", folder.display())
        }
        _ => "by the driver, where it keeps them".into(),
    };
    let timings = "in memory, until the program ends; the next start measures again";
    vec![
        Cache { what: "compiled shaders".into(), place },
        Cache { what: "which kernels are fastest".into(), place: timings.into() },
    ]
}

/// Where Mesa's drivers keep shaders (Mesa's environment variables page).
fn mesa_folder(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    const NAME: &str = "mesa_shader_cache";
    let given = |name: &str| variable(name).filter(|path| path.is_absolute());
    given("MESA_SHADER_CACHE_DIR")
        .or_else(|| given("XDG_CACHE_HOME"))
        .or_else(|| Some(given("HOME")?.join(".cache")))
        .map(|folder| folder.join(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesa() -> Adapter {
        Adapter {
            name: "llvmpipe".into(),
            kind: "software".into(),
            backend: "vulkan".into(),
            driver: "llvmpipe Mesa 22.3.6".into(),
        }
    }

    fn shaders(variables: &[(&str, &str)], adapter: Adapter) -> String {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        caches(&[adapter], &variable)[0].place.clone()
    }

    #[test]
    fn the_folder_follows_the_variables_that_the_driver_follows() {
        let home = ("HOME", "/home/a");
        assert!(shaders(&[home], mesa()).ends_with("/home/a/.cache/mesa_shader_cache"));
        let xdg = ("XDG_CACHE_HOME", "/caches");
        assert!(shaders(&[home, xdg], mesa()).ends_with("/caches/mesa_shader_cache"));
        let own = ("MESA_SHADER_CACHE_DIR", "/own");
        assert!(shaders(&[home, xdg, own], mesa()).ends_with("/own/mesa_shader_cache"));
        // A relative path is no path (XDG base directory specification).
        let bad = ("XDG_CACHE_HOME", "caches");
        assert!(shaders(&[home, bad], mesa()).ends_with("/home/a/.cache/mesa_shader_cache"));
    }

    #[test]
    fn of_other_drivers_and_without_a_gpu_nothing_is_claimed() {
        let other = Adapter { driver: "NVIDIA 580".into(), ..mesa() };
        assert!(!shaders(&[("HOME", "/home/a")], other).contains('/'));
        assert!(caches(&[], &|_| None).is_empty());
    }
}
