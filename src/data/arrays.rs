//! Named arrays as a NumPy archive.

use std::io::{Seek, Write};
use std::path::Path;

use npyz::npz::NpzWriter;
use npyz::zip::{CompressionMethod, DateTime, write::FileOptions};
use npyz::{AutoSerialize, WriterBuilder};

use crate::files::{AtomicWriter, FileError};

/// An array with its name; no extents make a single number.
pub struct NamedArray<'a> {
    /// Its name in the archive.
    pub name: &'static str,
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// The numbers, row-major.
    pub values: Values<'a>,
}

/// What an array holds.
pub enum Values<'a> {
    /// 32-bit floats.
    Single(&'a [f32]),
    /// 64-bit floats.
    Double(&'a [f64]),
    /// Bools.
    Flags(&'a [bool]),
}

/// Write an archive that appears only when it is complete. Equal arrays give
/// equal files.
///
/// # Errors
/// Whatever the disk refuses.
pub fn write_arrays(path: &Path, arrays: &[NamedArray<'_>]) -> Result<(), FileError> {
    let mut writer = AtomicWriter::create(path)?;
    write_all(&mut writer, arrays).map_err(|source| FileError::writing(path, source))?;
    writer.commit()
}

pub(super) fn write_all(
    writer: impl Write + Seek,
    arrays: &[NamedArray<'_>],
) -> std::io::Result<()> {
    let mut archive = NpzWriter::new(writer);
    for NamedArray { name, shape, values } in arrays {
        match values {
            Values::Single(values) => write_one(&mut archive, name, shape, values)?,
            Values::Double(values) => write_one(&mut archive, name, shape, values)?,
            Values::Flags(values) => write_one(&mut archive, name, shape, values)?,
        }
    }
    archive.zip_writer().finish()?.flush()
}

pub(super) fn write_one<T: AutoSerialize + Copy, W: Write + Seek>(
    archive: &mut NpzWriter<W>,
    name: &str,
    shape: &[u64],
    values: &[T],
) -> std::io::Result<()> {
    // Stored like `numpy.savez` does, since floats hardly shrink, and without
    // the clock, so that equal data gives equal files.
    let options = FileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(true);
    let mut array = archive.array(name, options)?.default_dtype().shape(shape).begin_nd()?;
    array.extend(values.iter().copied())?;
    array.finish()
}
