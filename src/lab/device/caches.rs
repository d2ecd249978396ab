//! What a GPU compiles and measures, and where it is kept until the next time.
//!
//! Before a GPU computes with a shape the first time, its driver compiles
//! shaders, and burn times several kernels to find the fastest. Both cost
//! seconds to minutes once and nothing afterwards if they are kept. Both are
//! kept in one folder of ours, `$XDG_CACHE_HOME/foresight` or
//! `~/.cache/foresight`, which may be deleted at any time: drivers are asked
//! to with environment variables, burn with its configuration.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use cubecl_runtime::config::cache::CacheConfig;
use cubecl_runtime::config::{CubeClRuntimeConfig, RuntimeConfig as _};
use serde::{Deserialize, Serialize};

use super::Adapter;

/// The variable that names the folder of a driver's shaders, and whose driver
/// it is (Mesa's and NVIDIA's lists of environment variables).
const DRIVERS: [(&str, &str); 2] =
    [("MESA_SHADER_CACHE_DIR", "Mesa"), ("__GL_SHADER_DISK_CACHE_PATH", "NVIDIA")];

/// burn's store, a database, and how one begins.
const STORE: &str = "default.db";
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

type Variable<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

/// Something that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// What is kept.
    pub what: String,
    /// Where, for people.
    pub place: String,
}

/// A variable of this process's environment.
pub(super) fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

/// Our folder; `None` where there is no home to put it in.
fn folder(variable: Variable) -> Option<PathBuf> {
    // A relative path is no path (XDG base directory specification).
    let given = |name: &str| variable(name).filter(|path| path.is_absolute());
    let base = given("XDG_CACHE_HOME").or_else(|| Some(given("HOME")?.join(".cache")))?;
    Some(base.join("foresight"))
}

fn measurements(variable: Variable) -> Option<PathBuf> {
    Some(folder(variable)?.join("kernels"))
}

/// Variables to set before the first driver is loaded, for those that are not
/// set: the folder for its shaders, which exists. A folder that cannot be made
/// is left out; the driver then uses its own.
pub fn driver_folders() -> Vec<(&'static str, PathBuf)> {
    folders_for_drivers(&variable)
}

fn folders_for_drivers(variable: Variable) -> Vec<(&'static str, PathBuf)> {
    let Some(folder) = folder(variable).map(|folder| folder.join("shaders")) else {
        return Vec::new();
    };
    if std::fs::create_dir_all(&folder).is_err() {
        return Vec::new();
    }
    let unset = DRIVERS.iter().filter(|(name, _)| variable(name).is_none());
    unset.map(|(name, _)| (*name, folder.clone())).collect()
}

/// Have burn keep which kernels are fastest in our folder, and read it from
/// there. Call it before anything computes; later it changes nothing. Whether
/// it was in time.
pub fn keep_measurements() -> bool {
    measurements(&variable).is_some_and(|folder| keep_measurements_in(&folder))
}

/// The same in a folder of the caller's.
pub fn keep_measurements_in(folder: &Path) -> bool {
    // burn does without a store it cannot open, and measures every time.
    std::fs::create_dir_all(folder).ok();
    forget_damaged(folder);
    // What the user's own variables say of burn stays.
    let mut config = CubeClRuntimeConfig::default().override_from_env();
    config.environment.path = CacheConfig::Directory(folder.to_owned());
    // Otherwise every start would leave a record of itself for ever.
    config.environment.records.keep_sessions = Some(1);
    CubeClRuntimeConfig::try_set(config)
}

/// Delete a store that is none: burn would do without it at every start.
fn forget_damaged(folder: &Path) {
    let store = folder.join(STORE);
    let mut begins = Vec::new();
    let read = std::fs::File::open(&store)
        .and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut begins));
    // A young store is empty: all it holds is in its log.
    if read.is_err() || begins.is_empty() || begins == MAGIC {
        return;
    }
    for suffix in ["", "-wal", "-tshm"] {
        std::fs::remove_file(folder.join(format!("{STORE}{suffix}"))).ok();
    }
}

/// What is kept for these adapters, with the environment's variables.
pub(super) fn caches(adapters: &[Adapter], variable: Variable) -> Vec<Cache> {
    if adapters.is_empty() {
        return Vec::new();
    }
    let of_driver = |(name, maker): &(&str, &str)| {
        let is_used = adapters.iter().any(|adapter| adapter.driver.contains(maker));
        variable(name).filter(|_| is_used)
    };
    let shaders = match DRIVERS.iter().find_map(of_driver) {
        Some(folder) => format!("by the driver, in {}", folder.display()),
        None => "by the driver, where it keeps them".into(),
    };
    let kernels = match measurements(variable) {
        Some(folder) => format!("by burn, in {}", folder.display()),
        None => "in memory, until the program ends; set HOME to keep it".into(),
    };
    vec![
        Cache { what: "compiled shaders".into(), place: shaders },
        Cache { what: "which kernels are fastest".into(), place: kernels },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(driver: &str) -> Adapter {
        Adapter {
            name: "a card".into(),
            kind: "discrete".into(),
            backend: "vulkan".into(),
            driver: driver.into(),
        }
    }

    /// Look variables up in a list.
    fn of<'a>(list: &'a [(&'a str, &'a Path)]) -> impl Fn(&str) -> Option<PathBuf> + 'a {
        |name| list.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn everything_is_kept_in_one_folder_that_follows_the_variables() {
        let home = ("HOME", Path::new("/home/a"));
        let place = |list: &[(&str, &Path)]| folder(&of(list));
        assert_eq!(place(&[home]), Some("/home/a/.cache/foresight".into()));
        let xdg = ("XDG_CACHE_HOME", Path::new("/caches"));
        assert_eq!(place(&[home, xdg]), Some("/caches/foresight".into()));
        let bad = ("XDG_CACHE_HOME", Path::new("caches"));
        assert_eq!(place(&[home, bad]), Some("/home/a/.cache/foresight".into()));
        assert_eq!(place(&[]), None);
    }

    #[test]
    fn drivers_get_a_folder_that_exists_unless_the_user_gave_them_another() {
        let base = tempfile::tempdir().unwrap();
        let home = ("XDG_CACHE_HOME", base.path());
        let found = folders_for_drivers(&of(&[home]));
        assert_eq!(found.len(), DRIVERS.len());
        assert!(found.iter().all(|(_, folder)| folder.is_dir() && folder.starts_with(base.path())));
        let given = (DRIVERS[0].0, Path::new("/own"));
        let found = folders_for_drivers(&of(&[home, given]));
        assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [DRIVERS[1].0]);
        // Where nothing can be written, drivers are left alone.
        let file = base.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(folders_for_drivers(&of(&[("XDG_CACHE_HOME", &file)])).is_empty());
    }

    #[test]
    fn a_damaged_store_is_forgotten_and_a_good_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join(STORE);
        let wal = folder.path().join(format!("{STORE}-wal"));
        std::fs::write(&store, [&MAGIC[..], &[0; 99]].concat()).unwrap();
        std::fs::write(&wal, "kept").unwrap();
        forget_damaged(folder.path());
        assert!(store.exists() && wal.exists());
        std::fs::write(&store, "").unwrap();
        forget_damaged(folder.path());
        assert!(store.exists() && wal.exists(), "a young one");
        for damaged in [&b"SQLite"[..], b"something else that is longer"] {
            std::fs::write(&store, damaged).unwrap();
            std::fs::write(&wal, "of another store").unwrap();
            forget_damaged(folder.path());
            assert!(!store.exists() && !wal.exists());
        }
        forget_damaged(folder.path());
    }

    #[test]
    fn people_are_told_the_place_of_the_driver_they_have_and_of_no_other() {
        let list = [
            ("HOME", Path::new("/home/a")),
            ("MESA_SHADER_CACHE_DIR", Path::new("/mesa")),
            ("__GL_SHADER_DISK_CACHE_PATH", Path::new("/nvidia")),
        ];
        let shaders = |driver| caches(&[adapter(driver)], &of(&list))[0].place.clone();
        assert!(shaders("llvmpipe Mesa 22.3.6").ends_with("/mesa"));
        assert!(shaders("NVIDIA 580.65").ends_with("/nvidia"));
        assert!(!shaders("MoltenVK 1.2").contains('/'));
        let kernels = &caches(&[adapter("any")], &of(&list))[1].place;
        assert!(kernels.ends_with("/home/a/.cache/foresight/kernels"), "{kernels}");
        assert!(caches(&[], &of(&list)).is_empty());
    }
}
