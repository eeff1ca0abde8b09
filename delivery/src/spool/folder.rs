//! The spool's folder: names of files, what is found there at the start, creation and removal.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::sums::Sums;
use super::{Segment, SpoolConfig, SpoolError, Sync};
use crate::position::Epoch;

/// Where the kernel says which run of the machine this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Files of ours that are no segments.
const OURS: [&str; 7] = ["acked", "boot", "lanes", "lanes.new", "lock", "dead-letters.jsonl", "status.sock"];

pub(super) struct Opened {
    pub folder: File,
    pub segments: Vec<Segment>,
    /// The machine was restarted since the spool was last used.
    pub restarted: bool,
    /// The last segment had more bytes once.
    pub cut: bool,
}

/// Locks the folder and takes stock of it.
pub(super) fn open(config: &SpoolConfig) -> Result<Opened, SpoolError> {
    let path = &config.directory;
    let is_new = !path.exists();
    fs::create_dir_all(path).map_err(SpoolError::io("cannot create its folder", path))?;
    if let (true, Some(parent)) = (is_new && config.sync != Sync::Never, path.parent()) {
        let synced = File::open(parent).and_then(|parent| parent.sync_all());
        synced.map_err(SpoolError::io("cannot sync the folder above", path))?;
    }
    let folder = lock(path)?;
    let (segments, cut) = scan(path)?;
    let restarted = restarted(path);
    if config.sync != Sync::Never {
        folder.sync_all().map_err(SpoolError::io("cannot sync its folder", path))?;
    }
    Ok(Opened { folder, segments, restarted, cut })
}

/// Locks a folder that is there.
pub(super) fn lock(path: &Path) -> Result<File, SpoolError> {
    let folder = File::open(path).map_err(SpoolError::io("cannot open its folder", path))?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(SpoolError::io("cannot lock its folder", path)(source)),
    }
}

/// Names, sizes and order of the segments, as they are. Nothing is changed.
pub(super) fn list(path: &Path) -> Result<(Vec<Segment>, Vec<String>), SpoolError> {
    let (mut segments, mut foreign) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(path).map_err(SpoolError::io("cannot list its folder", path))? {
        let entry = entry.map_err(SpoolError::io("cannot list its folder", path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let meta = entry.metadata().map_err(SpoolError::io("cannot look at", &entry.path()))?;
        match parse_name(&name) {
            Some((epoch, start)) if meta.is_file() => {
                segments.push(Segment { epoch, start, end: start.saturating_add(meta.len()), acked: None });
            }
            _ if OURS.contains(&name.as_str()) || parse_sum_name(&name).is_some() => {}
            _ => foreign.push(name),
        }
    }
    segments.sort_by_key(|segment| (segment.epoch, segment.start));
    foreign.sort();
    Ok((segments, foreign))
}

/// The segments found, in the order of the stream, and whether the last one was cut. Everything else is left alone and named once.
fn scan(path: &Path) -> Result<(Vec<Segment>, bool), SpoolError> {
    let mut segments = Vec::new();
    let (mut foreign, mut sums) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(path).map_err(SpoolError::io("cannot list its folder", path))? {
        let entry = entry.map_err(SpoolError::io("cannot list its folder", path))?;
        let name = entry.file_name();
        let meta = entry.metadata().map_err(SpoolError::io("cannot look at", &entry.path()))?;
        match name.to_str().and_then(parse_name) {
            Some((epoch, start)) if meta.is_file() => {
                segments.push(Segment { epoch, start, end: start.saturating_add(meta.len()), acked: None });
            }
            _ if name.to_str().is_some_and(|name| OURS.contains(&name)) => {}
            None if name.to_str().and_then(parse_sum_name).is_some() && meta.is_file() => sums.push(entry.path()),
            _ => foreign.push(name.to_string_lossy().into_owned()),
        }
    }
    if !foreign.is_empty() {
        foreign.sort();
        log::warn!("the spool {} holds what is not ours, left alone: {}", path.display(), foreign.join(", "));
    }
    for sum in sums.into_iter().filter(|sum| !sum.with_extension("seg").exists()) {
        // A kill came between the removal of a segment and that of its sums. What cannot be removed now is met again.
        let _ = fs::remove_file(sum);
    }
    segments.sort_by_key(|segment| (segment.epoch, segment.start));
    drop_empty_inside(&mut segments);
    trim(&mut segments);
    let mut cut = false;
    for segment in &segments {
        let missing = Sums::fit(path, segment).map_err(SpoolError::io("cannot shorten the sums in", path))?;
        cut = missing > 0;
    }
    if let (true, Some(last)) = (cut, segments.last()) {
        log::error!(
            "the spool's segment {} was cut, nobody knows by how much: what is missing is lost",
            name(last.epoch, last.start)
        );
    }
    Ok((segments, cut))
}

/// An empty file inside of another segment says nothing and must not end it.
fn drop_empty_inside(segments: &mut Vec<Segment>) {
    let mut end = None;
    segments.retain(|segment| {
        let inside = segment.bytes() == 0 && end.is_some_and(|end| segment.last() < end);
        if inside {
            log::error!(
                "the spool's segment {} is empty and out of place: left alone",
                name(segment.epoch, segment.start)
            );
        } else {
            end = Some(segment.last());
        }
        !inside
    });
}

/// A file may be longer than the place to the next one only if somebody wrote into it: the surplus is not ours.
fn trim(segments: &mut [Segment]) {
    for index in 1..segments.len() {
        let next = segments[index];
        let this = &mut segments[index - 1];
        if this.epoch != next.epoch {
            continue;
        }
        if this.end > next.start {
            log::error!(
                "the spool's segment {} is {} bytes too long: what lies behind its end is left alone",
                name(this.epoch, this.start),
                this.end - next.start
            );
            this.end = next.start;
        } else if this.end < next.start {
            log::error!(
                "the spool's segment {} is {} bytes too short: they are lost, what follows is delivered",
                name(this.epoch, this.start),
                next.start - this.end
            );
        }
    }
}

/// `0123456789abcdef-00000000000000000042.seg`
fn name(epoch: Epoch, start: u64) -> String {
    format!("{epoch}-{start:020}.seg")
}

fn parse_name(name: &str) -> Option<(Epoch, u64)> {
    let (epoch, start) = name.strip_suffix(".seg")?.split_once('-')?;
    let parsed = (Epoch(u64::from_str_radix(epoch, 16).ok()?), start.parse().ok()?);
    // A later epoch must be possible, and no stream gets that long.
    let possible = parsed.0.0 >> 32 < u64::from(u32::MAX) && parsed.1 < 1 << 62;
    (possible && self::name(parsed.0, parsed.1) == name).then_some(parsed)
}

fn parse_sum_name(name: &str) -> Option<(Epoch, u64)> {
    parse_name(&format!("{}.seg", name.strip_suffix(".sum")?))
}

/// The checksums of a segment.
pub(super) fn sum_path(folder: &Path, epoch: Epoch, start: u64) -> PathBuf {
    path(folder, epoch, start).with_extension("sum")
}

pub(super) fn path(folder: &Path, epoch: Epoch, start: u64) -> PathBuf {
    folder.join(name(epoch, start))
}

/// The size of the file system, if it tells.
pub(super) fn disk_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_blocks.checked_mul(disk.f_frsize).filter(|bytes| *bytes > 0)
}

/// Opens the segment that is being written. Not in append mode: splice(2) refuses it.
pub(super) fn reopen(folder: &Path, epoch: Epoch, start: u64) -> Result<File, SpoolError> {
    let path = path(folder, epoch, start);
    File::options().read(true).write(true).open(&path).map_err(SpoolError::io("cannot go on in", &path))
}

/// Creates a segment. With `durable` its name is on disk when this returns.
///
/// A file that is there already and empty is what an earlier attempt has left, one whose second half failed.
pub(super) fn create(
    folder: &Path,
    handle: &File,
    epoch: Epoch,
    start: u64,
    durable: bool,
) -> Result<File, SpoolError> {
    let path = path(folder, epoch, start);
    let file = match File::options().read(true).write(true).create_new(true).mode(0o640).open(&path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => left_over(&path).ok_or(error),
        created => created,
    };
    let file = file.map_err(SpoolError::io("cannot create", &path))?;
    if durable {
        handle.sync_all().map_err(SpoolError::io("cannot sync the folder of", &path))?;
    }
    Ok(file)
}

fn left_over(path: &Path) -> Option<File> {
    let empty = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == 0);
    empty.then(|| File::options().read(true).write(true).open(path).ok())?
}

/// Removes a segment; one that is gone already is no error.
pub(super) fn remove(folder: &Path, epoch: Epoch, start: u64) -> Result<(), SpoolError> {
    let path = path(folder, epoch, start);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(SpoolError::io("cannot remove", &path)(error)),
        _ => {
            // Mostly there is none. One that stays is removed at the next start.
            let _ = fs::remove_file(sum_path(folder, epoch, start));
            Ok(())
        }
    }
}

/// True if the spool was last used in another run of the machine, or nobody noted in which.
fn restarted(folder: &Path) -> bool {
    match (fs::read(BOOT_ID), fs::read(folder.join("boot"))) {
        (Ok(now), Ok(then)) => now != then,
        (Ok(_), Err(_)) => true,
        (Err(error), _) => {
            log::warn!("{BOOT_ID} cannot be read ({error}): a restart of the machine will not be noticed");
            false
        }
    }
}

/// Notes in which run of the machine the spool is used. Without the note the next start begins a new epoch, which is safe.
pub(super) fn note_boot(folder: &Path) {
    let Ok(now) = fs::read(BOOT_ID) else { return };
    let path = folder.join("boot");
    if fs::read(&path).is_ok_and(|then| then == now) {
        return;
    }
    // In place: a full disk has no room for a second file, and half a note is that of no run at all.
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let noted = file.and_then(|file| file.write_all_at(&now, 0).and_then(|()| file.set_len(now.len() as u64)));
    if let Err(error) = noted {
        log::warn!(
            "the machine's run cannot be noted in {} ({error}): the next start will begin a new epoch",
            path.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_like_positions_and_nothing_else_is_a_segment() {
        assert_eq!(name(Epoch(0xab), 42), "00000000000000ab-00000000000000000042.seg");
        assert_eq!(parse_name("00000000000000ab-00000000000000000042.seg"), Some((Epoch(0xab), 42)));
        for other in ["", "a.seg", "00000000000000ab-42.seg", "00000000000000AB-00000000000000000042.seg", "acked"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
