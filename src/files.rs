//! Reading and writing files so that nothing is lost and every failure says
//! what to do.
//!
//! Writes go to a temporary file in the target's folder and replace the target
//! in one rename, so a full disk or a crash leaves the old file intact. Reads
//! have a size limit, because a path may point at anything.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Why a file could not be read or written, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("{} does not exist; check the path", .0.display())]
    Missing(PathBuf),
    /// The folder a file should go to does not exist.
    #[error("the folder of {} does not exist; create it first", .0.display())]
    NoFolder(PathBuf),
    /// A folder stands where a file is needed.
    #[error("{} is a folder; name a file", .0.display())]
    IsFolder(PathBuf),
    /// The user may not read it.
    #[error("{} may not be read; change its permissions or copy it somewhere readable", .0.display())]
    Unreadable(PathBuf),
    /// The user may not write there.
    #[error("{} cannot be written because its folder or disk is read-only; choose another place", .0.display())]
    ReadOnly(PathBuf),
    /// No space is left.
    #[error("{} cannot be written because the disk is full; free some space or choose another place", .0.display())]
    DiskFull(PathBuf),
    /// The file is larger than anything this program would read.
    #[error("{} has {size} bytes and the limit is {limit}; it is probably not the file you meant", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes, or the number of bytes seen before giving up.
        size: u64,
        /// The most that would have been read, in bytes.
        limit: u64,
    },
    /// Text was expected.
    #[error("{} is not UTF-8 text; save it as UTF-8 or name another file", .0.display())]
    NotText(PathBuf),
    /// Anything else the system reports.
    #[error("{} could not be {action}: {source}; check the path and the disk", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl FileError {
    /// Classify an error met while reading `path`.
    pub fn reading(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::Missing(path),
            ErrorKind::PermissionDenied => Self::Unreadable(path),
            ErrorKind::IsADirectory => Self::IsFolder(path),
            _ => Self::Other { path, action: "read", source },
        }
    }

    /// Classify an error met while writing `path`.
    pub fn writing(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::NoFolder(path),
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull(path),
            ErrorKind::IsADirectory => Self::IsFolder(path),
            _ => Self::Other { path, action: "written", source },
        }
    }
}

/// Read a whole file of at most `max_bytes` bytes.
///
/// # Errors
/// A missing, unreadable or larger file. The limit holds for what is read, not
/// for what the system claims, so endless pseudo-files end in an error too.
pub fn read_limited(path: &Path, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::reading(path, source);
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(FileError::IsFolder(path.to_path_buf()));
    }
    let too_large = |size| FileError::TooLarge { path: path.to_path_buf(), size, limit: max_bytes };
    if metadata.len() > max_bytes {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    let mut limited = file.take(max_bytes.saturating_add(1));
    limited.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Read a text file of at most `max_bytes` bytes.
///
/// # Errors
/// Those of [`read_limited`], and bytes that are not UTF-8.
pub fn read_text_limited(path: &Path, max_bytes: u64) -> Result<String, FileError> {
    String::from_utf8(read_limited(path, max_bytes)?)
        .map_err(|_| FileError::NotText(path.to_path_buf()))
}

/// Replace `path` by `bytes` in one step.
///
/// # Errors
/// Whatever the disk refuses; the old file is then still there.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut writer = AtomicWriter::create(path)?;
    writer.write_all(bytes).map_err(|source| FileError::writing(path, source))?;
    writer.commit()
}

/// A file that appears at its path only when it is complete.
///
/// Dropping it without [`AtomicWriter::commit`] leaves the old file intact.
#[derive(Debug)]
pub struct AtomicWriter {
    file: BufWriter<NamedTempFile>,
    target: PathBuf,
}

impl AtomicWriter {
    /// Start writing what is to become `path`.
    ///
    /// # Errors
    /// A missing or read-only folder, a read-only target, or a folder at `path`.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        if path.is_dir() {
            return Err(FileError::IsFolder(path.to_path_buf()));
        }
        let failed = |source| FileError::writing(path, source);
        // A link keeps pointing where it did: replace what it points at.
        let target = match path.canonicalize() {
            Ok(resolved) => resolved,
            Err(_) => path.to_path_buf(),
        };
        if target.exists() {
            // A rename would replace even a file its owner has locked.
            OpenOptions::new().append(true).open(&target).map_err(failed)?;
        }
        let folder = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = temporary(folder, &target).map_err(failed)?;
        Ok(Self { file: BufWriter::with_capacity(1 << 16, file), target })
    }

    /// Put the file in its place, after everything is on the disk.
    ///
    /// # Errors
    /// Whatever the disk refuses; the old file is then still there.
    pub fn commit(self) -> Result<(), FileError> {
        let Self { file, target } = self;
        let failed = |source| FileError::writing(&target, source);
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&target).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

impl Write for AtomicWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for AtomicWriter {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

/// A temporary file with the permissions of `target`, or those any new file
/// gets; temporary files are otherwise private to their owner.
fn temporary(folder: &Path, target: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".foresight-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // At creation the process's umask still applies to this.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let file = builder.tempfile_in(folder)?;
    if let Ok(metadata) = target.metadata() {
        file.as_file().set_permissions(metadata.permissions())?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_written_file_reads_back_and_leaves_nothing_else_behind() {
        let folder = folder();
        let path = folder.path().join("scene.toml");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(read_text_limited(&path, 10).unwrap(), "new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_abandoned_write_keeps_the_old_file() {
        let folder = folder();
        let path = folder.path().join("data.npz");
        write_atomic(&path, b"old").unwrap();
        let mut writer = AtomicWriter::create(&path).unwrap();
        writer.write_all(&[0; 100_000]).unwrap();
        drop(writer);
        assert_eq!(read_limited(&path, 10).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_as_readable_as_any_other_and_an_old_one_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let plain = folder.path().join("plain");
        File::create(&plain).unwrap();
        let path = folder.path().join("ours");
        write_atomic(&path, b"x").unwrap();
        assert_eq!(mode(&path), mode(&plain));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        write_atomic(&path, b"y").unwrap();
        assert_eq!(mode(&path), 0o640);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_still_points_at_its_file_after_a_write() {
        let folder = folder();
        let (path, link) = (folder.path().join("real"), folder.path().join("link"));
        write_atomic(&path, b"old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write_atomic(&link, b"new").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(read_limited(&path, 10).unwrap(), b"new");
    }

    #[test]
    fn reading_names_what_is_wrong() {
        let folder = folder();
        let path = folder.path().join("file");
        assert!(matches!(read_limited(&path, 10), Err(FileError::Missing(_))));
        assert!(matches!(read_limited(folder.path(), 10), Err(FileError::IsFolder(_))));
        write_atomic(&path, &[0xff; 20]).unwrap();
        assert!(matches!(read_limited(&path, 10), Err(FileError::TooLarge { size: 20, .. })));
        assert!(matches!(read_text_limited(&path, 20), Err(FileError::NotText(_))));
        let message = read_limited(&path, 10).unwrap_err().to_string();
        assert!(message.contains("file") && message.contains("limit is 10"));
    }

    #[test]
    fn writing_names_what_is_wrong() {
        let folder = folder();
        let nowhere = folder.path().join("missing/file");
        assert!(matches!(write_atomic(&nowhere, b"x"), Err(FileError::NoFolder(_))));
        assert!(matches!(write_atomic(folder.path(), b"x"), Err(FileError::IsFolder(_))));
        let file = folder.path().join("file");
        write_atomic(&file, b"x").unwrap();
        assert!(write_atomic(&file.join("child"), b"x").is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_endless_file_ends_at_the_limit() {
        let endless = Path::new("/dev/zero");
        assert!(matches!(read_limited(endless, 1000), Err(FileError::TooLarge { .. })));
    }

    #[test]
    fn system_errors_become_advice() {
        let path = Path::new("plan.png");
        let full = FileError::writing(path, ErrorKind::StorageFull.into());
        assert!(full.to_string().contains("disk is full"));
        let locked = FileError::writing(path, ErrorKind::ReadOnlyFilesystem.into());
        assert!(locked.to_string().contains("read-only"));
        let hidden = FileError::reading(path, ErrorKind::PermissionDenied.into());
        assert!(hidden.to_string().contains("permissions"));
    }
}
