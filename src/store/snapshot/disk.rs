//! What a snapshot asks of a disk, and the disk that there is. Every step that may fail or be the last
//! one is a call of its own, so that a test can have it fail.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where files are written.
pub(super) trait Disk: fmt::Debug + Send + Sync {
    /// A new file that only its owner may read, in the place of one that was left there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Writing>>;
    /// Gives a file another's name. Holds after a crash only once the directory is synced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Lets go of a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Has the names in this file's directory hold after a crash.
    fn sync_directory(&self, of: &Path) -> io::Result<()>;
}

/// A file that is written.
pub(super) trait Writing: Write + Send {
    /// Has what was written hold after a crash.
    fn sync(&mut self) -> io::Result<()>;
}

/// The disk of this machine.
#[derive(Debug)]
pub(super) struct Real;

impl Disk for Real {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Writing>> {
        // What was left there is not written into: it may be readable by others, or a link.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        for_owner_only(&mut options);
        Ok(Box::new(options.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, of: &Path) -> io::Result<()> {
        sync_directory(&directory(of))
    }
}

impl Writing for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(unix)]
pub(super) fn for_owner_only(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600);
}

/// Access lists of other systems are left as they are.
#[cfg(not(unix))]
pub(super) fn for_owner_only(_options: &mut OpenOptions) {}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Other systems do not open directories.
#[cfg(not(unix))]
fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}

/// The directory of a file.
fn directory(of: &Path) -> PathBuf {
    match of.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// The file's name with more at its end.
pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Writes a file as a whole: who reads it sees what was there before or all that is there now, also
/// after a crash. Gives the file, still open.
pub(super) fn replace(
    disk: &dyn Disk,
    path: &Path,
    fill: impl FnOnce(&mut dyn Writing) -> io::Result<()>,
) -> io::Result<Box<dyn Writing>> {
    let new = beside(path, ".new");
    let written = disk.create(&new).and_then(|mut file| {
        fill(file.as_mut())?;
        file.sync()?;
        disk.rename(&new, path)?;
        disk.sync_directory(path)?;
        Ok(file)
    });
    if written.is_err() {
        // It may fill a disk that is full. When it cannot be removed, the next one takes its place.
        drop(disk.remove(&new));
    }
    written
}
