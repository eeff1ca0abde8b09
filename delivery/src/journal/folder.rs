//! The journal's folder: its lock, the names in it, and what is set aside.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{JournalError, mark};
use crate::descriptor::above_standard;

/// Files of ours that are no segments.
const OURS: [&str; 6] = [mark::NAME, "quarantine", "lock", "boot", "dead-letters.jsonl", "status.sock"];
/// Bytes that are kept in `quarantine`, at most: what is broken must not fill the disk.
const QUARANTINE_BYTES_MAX: u64 = 64 << 20;

/// Opens and locks the folder, creating it if it is missing.
pub(super) fn open(path: &Path, durable: bool) -> Result<File, JournalError> {
    let is_new = !path.exists();
    fs::create_dir_all(path).map_err(JournalError::io("cannot create its folder", path))?;
    if let (true, Some(parent)) = (is_new && durable, path.parent()) {
        let synced = File::open(parent).and_then(|parent| parent.sync_all());
        synced.map_err(JournalError::io("cannot sync the folder above", path))?;
    }
    lock(path)
}

/// Locks a folder that is there.
pub(super) fn lock(path: &Path) -> Result<File, JournalError> {
    let folder = File::open(path).and_then(above_standard).map_err(JournalError::io("cannot open its folder", path))?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(JournalError::io("cannot lock its folder", path)(source)),
    }
}

/// What is in the folder.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Number and size of each segment.
    pub segments: BTreeMap<u64, u64>,
    /// Number and size of files that wait for their next use.
    pub spares: BTreeMap<u64, u64>,
    /// What is not ours.
    pub foreign: Vec<String>,
}

/// Takes stock. Nothing is changed.
pub(super) fn list(path: &Path) -> Result<Found, JournalError> {
    let mut found = Found::default();
    for entry in fs::read_dir(path).map_err(JournalError::io("cannot list its folder", path))? {
        let entry = entry.map_err(JournalError::io("cannot list its folder", path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let meta = entry.metadata().map_err(JournalError::io("cannot look at", &entry.path()))?;
        if let (Some(number), true) = (parse(&name, "journal-"), meta.is_file()) {
            found.segments.insert(number, meta.len());
        } else if let (Some(number), true) = (parse(&name, "spare-"), meta.is_file()) {
            found.spares.insert(number, meta.len());
        } else if !OURS.contains(&name.as_str()) {
            found.foreign.push(name);
        }
    }
    found.foreign.sort();
    Ok(found)
}

fn parse(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(".seg")?;
    let number = (digits.len() == 20).then(|| digits.parse::<u64>().ok())??;
    // A later number must be possible.
    (number > 0 && number < 1 << 62 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(number)
}

pub(super) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("journal-{number:020}.seg"))
}

pub(super) fn spare_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("spare-{number:020}.seg"))
}

/// Opens a segment or spare to write it, creating it with `create`.
pub(super) fn open_file(path: &Path, create: bool) -> io::Result<File> {
    above_standard(File::options().read(true).write(true).create(create).truncate(false).mode(0o640).open(path)?)
}

/// Removes a file; one that is gone already is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The size of the file system, if it tells.
pub(super) fn disk_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_blocks.checked_mul(disk.f_frsize).filter(|bytes| *bytes > 0)
}

fn quarantine(folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join("quarantine");
    fs::create_dir_all(&path)?;
    Ok(path)
}

/// Puts a whole file aside. What cannot be moved is left alone; it says nothing to us either way.
pub(super) fn set_aside(folder: &Path, path: &Path) -> io::Result<PathBuf> {
    let aside = quarantine(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut to = aside.join(&name);
    for again in 1..1000 {
        if !to.exists() {
            break;
        }
        to = aside.join(format!("{name}.{again}"));
    }
    fs::rename(path, &to)?;
    Ok(to)
}

/// Keeps a copy of a damaged range of a segment. `None` if there is one already, or too much.
pub(super) fn keep_range(folder: &Path, number: u64, at: u64, bytes: &[u8]) -> io::Result<Option<PathBuf>> {
    let aside = quarantine(folder)?;
    let path = aside.join(format!("{number:020}.{at}-{}.bin", bytes.len()));
    let mut held = 0;
    for entry in fs::read_dir(&aside)? {
        held += entry?.metadata()?.len();
    }
    if path.exists() || held + bytes.len() as u64 > QUARANTINE_BYTES_MAX {
        return Ok(None);
    }
    fs::write(&path, bytes)?;
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let folder = Path::new("");
        for number in [1, 42, (1 << 62) - 1] {
            let name = segment_path(folder, number).to_string_lossy().into_owned();
            assert_eq!(parse(&name, "journal-"), Some(number));
        }
        for other in ["journal-1.seg", "journal-00000000000000000000.seg", "journal-+0000000000000000001.seg", "mark"] {
            assert_eq!(parse(other, "journal-"), None, "{other}");
        }
    }
}
