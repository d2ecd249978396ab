//! Data sets as NumPy archives with D4RL's array names.

use std::io::{BufReader, Read, Seek};
use std::path::Path;

use npyz::npz::NpzArchive;
use npyz::{Deserialize, NpyFile, Order};

use super::arrays::{NamedArray, Values, write_all, write_arrays};
use super::episodes::MAX_TRANSITIONS;
use super::{DataError, Episodes};
use crate::files::FileError;

/// The most numbers a step may have; more means the file is something else.
pub(super) const MAX_DIM: u64 = 4096;
/// The most bytes of arrays to read, which bounds the memory a file can ask for.
pub(super) const MAX_BYTES: u64 = 16 << 30;

/// Write `observations`, `actions`, `rewards` (32-bit floats), `terminals` and
/// `timeouts` (bools) to an `.npz` file. It appears only when it is complete.
///
/// # Errors
/// Malformed episodes, or whatever the disk refuses.
pub fn write_npz(path: &Path, episodes: &Episodes) -> Result<(), DataError> {
    episodes.validate()?;
    Ok(write_arrays(path, &named(episodes))?)
}

/// What [`write_npz`] would write.
///
/// # Errors
/// Malformed episodes.
pub fn npz_bytes(episodes: &Episodes) -> Result<Vec<u8>, DataError> {
    episodes.validate()?;
    let mut bytes = std::io::Cursor::new(Vec::new());
    write_all(&mut bytes, &named(episodes))
        .map_err(|error| DataError::Malformed(error.to_string()))?;
    Ok(bytes.into_inner())
}

fn named(episodes: &Episodes) -> [NamedArray<'_>; 5] {
    let steps = episodes.len() as u64;
    let observation_shape = vec![steps, episodes.observation_dim as u64];
    let action_shape = vec![steps, episodes.action_dim as u64];
    let array = |name, shape, values| NamedArray { name, shape, values };
    [
        array("observations", observation_shape, Values::Single(&episodes.observations)),
        array("actions", action_shape, Values::Single(&episodes.actions)),
        array("rewards", vec![steps], Values::Single(&episodes.rewards)),
        array("terminals", vec![steps], Values::Flags(&episodes.terminals)),
        array("timeouts", vec![steps], Values::Flags(&episodes.timeouts)),
    ]
}

/// Read a data set written by [`write_npz`] or converted from D4RL. Floats may
/// have 32 or 64 bits, flags may be bools or bytes, `timeouts` may be absent.
///
/// # Errors
/// Names the file and the array: missing, of the wrong shape or type, of
/// unequal length, too large, or holding NaN.
pub fn read_npz(path: &Path) -> Result<Episodes, DataError> {
    let failed = |source| FileError::reading(path, source);
    let file = std::fs::File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(FileError::IsFolder(path.to_path_buf()).into());
    }
    read_arrays(BufReader::new(file)).map_err(|complaint| {
        DataError::Malformed(format!("{} is not a usable data set: {complaint}", path.display()))
    })
}

fn read_arrays(reader: impl Read + Seek) -> Result<Episodes, String> {
    let mut archive =
        NpzArchive::new(reader).map_err(|error| format!("{error}; it must be an .npz archive"))?;
    let mut budget = MAX_BYTES;
    let observations = read_floats(&mut archive, "observations", true, &mut budget)?;
    let actions = read_floats(&mut archive, "actions", true, &mut budget)?;
    let rewards = read_floats(&mut archive, "rewards", false, &mut budget)?;
    let terminals =
        read_flags(&mut archive, "terminals", &mut budget)?.ok_or_else(|| missing("terminals"))?;
    let timeouts = read_flags(&mut archive, "timeouts", &mut budget)?
        .unwrap_or_else(|| vec![false; rewards.values.len()]);
    let lengths = [
        ("observations", observations.steps),
        ("actions", actions.steps),
        ("terminals", terminals.len()),
        ("timeouts", timeouts.len()),
    ];
    for (name, steps) in lengths {
        if steps != rewards.steps {
            return Err(format!("{name} has {steps} steps and rewards has {}", rewards.steps));
        }
    }
    let episodes = Episodes {
        observation_dim: observations.dim,
        action_dim: actions.dim,
        observations: observations.values,
        actions: actions.values,
        rewards: rewards.values,
        terminals,
        timeouts,
    };
    episodes.validate().map_err(|error| error.to_string())?;
    Ok(episodes)
}

/// `[steps, dim]` numbers.
struct Table {
    steps: usize,
    dim: usize,
    values: Vec<f32>,
}

fn missing(name: &str) -> String {
    format!("it has no array \"{name}\"")
}

fn read_floats<R: Read + Seek>(
    archive: &mut NpzArchive<R>,
    name: &str,
    is_table: bool,
    budget: &mut u64,
) -> Result<Table, String> {
    let array = open(archive, name)?.ok_or_else(|| missing(name))?;
    let [steps, dim] = check_shape(&array, name, is_table, 8, budget)?;
    let values = match array.try_data::<f32>() {
        Ok(data) => take(data, name)?,
        Err(array) => match array.try_data::<f64>() {
            Ok(data) => take(data, name)?.into_iter().map(|value| value as f32).collect(),
            Err(_) => return Err(format!("{name} must hold 32-bit or 64-bit floats")),
        },
    };
    Ok(Table { steps, dim, values })
}

fn read_flags<R: Read + Seek>(
    archive: &mut NpzArchive<R>,
    name: &str,
    budget: &mut u64,
) -> Result<Option<Vec<bool>>, String> {
    let Some(array) = open(archive, name)? else {
        return Ok(None);
    };
    check_shape(&array, name, false, 1, budget)?;
    let flags = match array.try_data::<bool>() {
        Ok(data) => take(data, name)?,
        Err(array) => match array.try_data::<u8>() {
            Ok(data) => take(data, name)?.into_iter().map(|value| value != 0).collect(),
            Err(_) => return Err(format!("{name} must hold bools or bytes")),
        },
    };
    Ok(Some(flags))
}

type Entry<'a> = NpyFile<BufReader<npyz::zip::read::ZipFile<'a>>>;

fn open<'a, R: Read + Seek>(
    archive: &'a mut NpzArchive<R>,
    name: &str,
) -> Result<Option<Entry<'a>>, String> {
    let array = archive.by_name(name).map_err(|error| format!("{name}: {error}"))?;
    // Buffered, because the reader asks for one number at a time.
    Ok(array.map(|array| {
        let header = array.header().clone();
        NpyFile::with_header(header, BufReader::new(array.into_inner()))
    }))
}

/// Steps and numbers per step, checked before any memory is asked for.
fn check_shape(
    array: &Entry<'_>,
    name: &str,
    is_table: bool,
    bytes_each: u64,
    budget: &mut u64,
) -> Result<[usize; 2], String> {
    let shape = array.shape();
    let (steps, dim) = match *shape {
        [steps] if !is_table => (steps, 1),
        [steps, dim] if is_table => (steps, dim),
        _ => {
            let wanted = if is_table { "[steps, numbers]" } else { "[steps]" };
            return Err(format!("{name} has shape {shape:?} and must have {wanted}"));
        }
    };
    if is_table && array.order() != Order::C {
        return Err(format!("{name} is in Fortran order; save it in C order"));
    }
    if dim == 0 || dim > MAX_DIM || steps > MAX_TRANSITIONS as u64 {
        return Err(format!(
            "{name} has shape {shape:?}; at most {MAX_TRANSITIONS} steps of 1 to {MAX_DIM} \
             numbers fit"
        ));
    }
    // No overflow: both factors were just bounded.
    let bytes = steps * dim * bytes_each;
    *budget = budget
        .checked_sub(bytes)
        .ok_or_else(|| format!("with {name} it has more than {} GiB", MAX_BYTES >> 30))?;
    Ok([steps as usize, dim as usize])
}

/// Every number of an array. The vector grows as numbers arrive, so a header
/// that promises more than the file holds costs nothing.
fn take<T: Deserialize, R: Read>(
    data: npyz::NpyReader<T, R>,
    name: &str,
) -> Result<Vec<T>, String> {
    let mut values = Vec::new();
    for value in data {
        values.push(value.map_err(|error| format!("{name} is cut off or damaged: {error}"))?);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use npyz::npz::NpzWriter;
    use npyz::zip::write::FileOptions;

    use super::super::arrays::write_one;
    use super::*;

    fn episodes() -> Episodes {
        Episodes {
            observation_dim: 2,
            action_dim: 1,
            observations: vec![0.0, 1.0, 2.0, 3.0, 4.0, -5.5],
            actions: vec![0.1, -0.2, 0.3],
            rewards: vec![0.0, 1.0, 0.0],
            terminals: vec![false, false, true],
            timeouts: vec![false, true, false],
        }
    }

    /// The complaint about an archive with these arrays.
    fn complaint(arrays: &[(&str, &[u64], &[f32])], flags: &[(&str, &[bool])]) -> String {
        let mut bytes = Cursor::new(Vec::new());
        let mut archive = NpzWriter::new(&mut bytes);
        for (name, shape, values) in arrays {
            write_one(&mut archive, name, shape, values).unwrap();
        }
        for (name, values) in flags {
            write_one(&mut archive, name, &[values.len() as u64], values).unwrap();
        }
        archive.zip_writer().finish().unwrap();
        drop(archive);
        read_arrays(bytes).unwrap_err()
    }

    #[test]
    fn a_data_set_survives_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.npz");
        write_npz(&path, &episodes()).unwrap();
        assert_eq!(read_npz(&path).unwrap(), episodes());
    }

    #[test]
    fn equal_data_gives_equal_files() {
        let bytes = || {
            let mut bytes = Cursor::new(Vec::new());
            write_all(&mut bytes, &named(&episodes())).unwrap();
            bytes.into_inner()
        };
        assert_eq!(bytes(), bytes());
    }

    #[test]
    fn every_truncation_is_an_error_and_none_panics() {
        let mut bytes = Cursor::new(Vec::new());
        write_all(&mut bytes, &named(&episodes())).unwrap();
        let bytes = bytes.into_inner();
        for length in 0..bytes.len() {
            assert!(read_arrays(Cursor::new(&bytes[..length])).is_err(), "{length}");
        }
    }

    #[test]
    fn a_flipped_byte_never_panics() {
        let mut bytes = Cursor::new(Vec::new());
        write_all(&mut bytes, &named(&episodes())).unwrap();
        let bytes = bytes.into_inner();
        for i in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[i] ^= 0x55;
            let _ = read_arrays(Cursor::new(damaged));
        }
    }

    #[test]
    fn unfitting_arrays_are_named() {
        let flags: &[(&str, &[bool])] = &[("terminals", &[false, false])];
        let missing = complaint(&[("observations", &[2, 1], &[0.0, 1.0])], flags);
        assert!(missing.contains("no array \"actions\""), "{missing}");
        let uneven = complaint(
            &[
                ("observations", &[3, 1], &[0.0; 3]),
                ("actions", &[2, 1], &[0.0; 2]),
                ("rewards", &[2], &[0.0; 2]),
            ],
            flags,
        );
        assert!(uneven.contains("observations has 3 steps"), "{uneven}");
        let flat = complaint(&[("observations", &[3], &[0.0; 3])], flags);
        assert!(flat.contains("shape [3]"), "{flat}");
        let bad = complaint(
            &[
                ("observations", &[2, 1], &[0.0, f32::NAN]),
                ("actions", &[2, 1], &[0.0; 2]),
                ("rewards", &[2], &[0.0; 2]),
            ],
            flags,
        );
        assert!(bad.contains("observations holds NaN at step 1"), "{bad}");
    }

    #[test]
    fn a_header_that_promises_too_much_costs_no_memory() {
        let header = |shape: &str| {
            let mut text = format!("{{'descr':'<f4','fortran_order':False,'shape':({shape})}}");
            while (text.len() + 11) % 64 != 0 {
                text.push(' ');
            }
            text.push('\n');
            let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
            bytes.extend((text.len() as u16).to_le_bytes());
            bytes.extend(text.bytes());
            bytes
        };
        for shape in ["90000000,4000", "99999999999999,4", "4294967296,4294967296", "90000000,4"] {
            let mut bytes = Cursor::new(Vec::new());
            let mut archive = NpzWriter::new(&mut bytes);
            archive.zip_writer().start_file("observations.npy", FileOptions::default()).unwrap();
            archive.zip_writer().write_all(&header(shape)).unwrap();
            archive.zip_writer().finish().unwrap();
            drop(archive);
            assert!(read_arrays(bytes).is_err(), "{shape}");
        }
    }

    #[test]
    fn reading_something_else_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.npz");
        assert!(matches!(read_npz(&path), Err(DataError::File(FileError::Missing(_)))));
        assert!(matches!(read_npz(folder.path()), Err(DataError::File(_))));
        std::fs::write(&path, "not an archive").unwrap();
        let message = read_npz(&path).unwrap_err().to_string();
        assert!(message.contains("data.npz") && message.contains(".npz archive"), "{message}");
    }
}
