//! The growing end: one segment at a time, written over blocks that are on disk already, so that a sync has no metadata to write and
//! the disk cannot turn out to be full in the middle of a frame.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::commit::{AppendError, Pending};
use super::format::{Count, FrameHeader, HEADER_BYTES, SegmentHeader};
use super::{Journal, Lsn, Segment, folder, locked};
use crate::fault::{self, Place};
use crate::spool::Sync;

/// A segment grows by so many zeros at a time.
const CHUNK_BYTES: u64 = 1 << 20;
/// After a failure nothing is tried for so long: a disk that fails may take a long time for each answer.
const RETRY: Duration = Duration::from_secs(2);

/// The segment that is being written.
#[derive(Debug)]
struct Current {
    number: u64,
    file: Arc<File>,
    path: PathBuf,
    /// Where the next frame goes.
    at: u64,
    /// Up to here the file has blocks.
    size: u64,
    /// Frames were written that no sync has covered.
    unsynced: bool,
}

/// What was written and must not be found.
#[derive(Debug)]
struct Void {
    file: Arc<File>,
    path: PathBuf,
    from: u64,
    to: u64,
}

/// Held by whoever writes.
#[derive(Debug)]
pub(super) struct Writer {
    current: Option<Current>,
    /// The number of the next segment.
    number: u64,
    /// Counting at the next frame. Numbers of frames that failed are not given again.
    next: Count,
    /// The last segment with frames, where it ends, and counting there.
    last: (u64, u64, Count),
    void: Vec<Void>,
    /// Since when everything fails, and why.
    broken: Option<(Instant, String, io::ErrorKind)>,
    synced_at: Instant,
    /// A group is being written: still set after that if the one who wrote it has panicked.
    busy: bool,
    group: Vec<u8>,
}

/// Why a group was not written.
enum Failure {
    Full(String),
    Io(&'static str, PathBuf, io::Error),
}

impl Failure {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io(what, path, error)
    }

    fn text(&self) -> String {
        match self {
            Self::Full(text) => text.clone(),
            Self::Io(what, path, error) => format!("{what} {}: {error}", path.display()),
        }
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Full(_) => io::ErrorKind::StorageFull,
            Self::Io(_, _, error) => error.kind(),
        }
    }

    fn is_full(&self) -> bool {
        is_full(self.kind())
    }
}

/// No room, which is an answer and no failure.
pub(super) fn is_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// How large a segment becomes that has blocks for `size` bytes and needs them up to `end`.
pub(super) fn grown(size: u64, end: u64, segment_bytes: u64) -> u64 {
    if end <= size { size } else { end.max((size + CHUNK_BYTES).min(segment_bytes)) }
}

/// How many bytes of frames fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    here: u64,
    fresh: u64,
}

impl Room {
    /// How many go together with a first frame of `bytes`.
    pub fn for_frame(self, bytes: usize) -> usize {
        let room = if bytes as u64 <= self.here { self.here } else { self.fresh };
        usize::try_from(room).unwrap_or(usize::MAX)
    }
}

impl Writer {
    pub fn new(number: u64, next: Count, last: (u64, u64, Count)) -> Self {
        let synced_at = Instant::now();
        let (current, void, group) = (None, Vec::new(), Vec::new());
        Self { current, number, next, last, void, broken: None, synced_at, busy: false, group }
    }

    pub fn room(&self, journal: &Journal) -> Room {
        let segment = journal.config.segment_bytes;
        let here = self.current.as_ref().map_or(0, |current| segment.max(current.size).saturating_sub(current.at));
        Room { here, fresh: segment - HEADER_BYTES }
    }

    /// Writes a group. It is all there, or none of it ever will be.
    pub fn commit(&mut self, journal: &Journal, group: &mut [Pending]) -> Result<Lsn, AppendError> {
        if let Some((since, text, kind)) = &self.broken
            && since.elapsed() < RETRY
        {
            return Err(AppendError::Failed { text: text.clone(), kind: *kind });
        }
        self.busy = true;
        let (mut left, mut reclaimed) = (false, false);
        let first = loop {
            let first = self.write(journal, group);
            let Err(failure) = &first else { break first };
            let mut again = false;
            if let Failure::Io(..) = failure {
                // Nobody knows which pages reached the disk, and a second sync of that file may say "fine": never ask it again.
                self.abandon(journal, Some(failure));
                again = !std::mem::replace(&mut left, true);
            }
            if failure.is_full() && !std::mem::replace(&mut reclaimed, true) {
                again |= self.reclaim(journal);
            }
            if !again {
                break first;
            }
        };
        self.busy = false;
        match first {
            Ok(lsn) => {
                if self.broken.take().is_some() {
                    log::info!("the spool {} takes records again", journal.config.directory.display());
                    journal.failed.store(false, Relaxed);
                }
                Ok(lsn)
            }
            Err(failure) if failure.is_full() => Err(AppendError::Full(failure.text())),
            Err(failure) => {
                let (text, kind) = (failure.text(), failure.kind());
                if self.broken.is_none() {
                    log::error!("the spool has failed, it takes nothing until the disk works again: {text}");
                }
                journal.failed.store(true, Relaxed);
                self.broken = Some((Instant::now(), text.clone(), kind));
                Err(AppendError::Failed { text, kind })
            }
        }
    }

    fn write(&mut self, journal: &Journal, group: &mut [Pending]) -> Result<Lsn, Failure> {
        let need: u64 = group.iter().map(|pending| pending.bytes.len() as u64).sum();
        self.make_place(journal, need)?;
        let Some(current) = &mut self.current else { unreachable!("make_place has made one") };
        let (first, start) = (self.next, current.at);
        for pending in group.iter_mut() {
            let header = FrameHeader {
                len: pending.len,
                records: pending.records,
                segment: current.number,
                count: self.next,
                settled: start,
                payload_sum: pending.payload_sum,
            };
            header.encode(journal.store.salt, &mut pending.bytes);
            self.next = header.after();
        }
        let bytes = match group {
            [one] => &one.bytes,
            several => {
                self.group.clear();
                for pending in several.iter() {
                    self.group.extend_from_slice(&pending.bytes);
                }
                &self.group
            }
        };
        fault::pass(Place::JournalBeforeWrite);
        current.at += need;
        current.unsynced = true;
        journal
            .disk
            .write(&current.file, &current.path, bytes, start)
            .map_err(Failure::io("cannot write", &current.path))?;
        fault::pass(Place::JournalAfterWrite);
        let due = match journal.config.sync {
            Sync::Always => true,
            Sync::Interval(interval) => self.synced_at.elapsed() >= interval,
            Sync::Never => false,
        };
        if due {
            journal.disk.sync(&current.file, &current.path).map_err(Failure::io("cannot sync", &current.path))?;
            current.unsynced = false;
            self.synced_at = Instant::now();
        }
        fault::pass(Place::JournalAfterSync);
        let place = (current.number, current.at);
        self.last = (place.0, place.1, self.next);
        // The header of this segment says where the one before ends, and now it stays: what was to be void is.
        self.void.clear();
        let mut state = locked(&journal.state);
        state.end = self.next;
        state.end_at = place;
        if let Some(segment) = state.segments.back_mut() {
            (segment.end, segment.settled, segment.after) = (place.1, place.1, self.next);
        }
        if state.waiting {
            journal.news.notify_all();
        }
        Ok(Lsn(first.lsn))
    }

    /// Gives up the current segment if all is drained: in a small journal it may be most of what there is. True if that was so.
    fn reclaim(&mut self, journal: &Journal) -> bool {
        let end = {
            let mut state = locked(&journal.state);
            if state.released.lsn < state.end.lsn || state.segments.is_empty() {
                return false;
            }
            if self.current.as_ref().is_some_and(|current| current.at > HEADER_BYTES) {
                self.current = None;
                state.writing = None;
            }
            state.end
        };
        journal.release(Lsn(end.lsn - 1)).is_ok()
    }

    /// Sees to it that the current segment has blocks for `need` bytes more.
    fn make_place(&mut self, journal: &Journal, need: u64) -> Result<(), Failure> {
        let segment_bytes = journal.config.segment_bytes;
        // One without frames becomes as large as it has to be: another one would not fit better.
        let fits =
            |current: &Current| current.at == HEADER_BYTES || current.at + need <= segment_bytes.max(current.size);
        if !self.current.as_ref().is_some_and(fits) {
            self.roll(journal, need)?;
        }
        let Some(current) = &mut self.current else { unreachable!("a segment was begun") };
        let size = grown(current.size, current.at + need, segment_bytes);
        if size == current.size {
            return Ok(());
        }
        let added = size - current.size;
        journal.charge(added)?;
        let mut grown = journal.disk.zero(&current.file, &current.path, current.size, size);
        while grown.as_ref().is_err_and(|error| is_full(error.kind())) && journal.drop_spare() {
            grown = journal.disk.zero(&current.file, &current.path, current.size, size);
        }
        // What was written of it may be used, also if it is less than was wanted.
        let is = if grown.is_ok() { size } else { current.file.metadata().map_or(size, |meta| meta.len()) };
        current.size = is.clamp(current.size, size);
        let mut state = locked(&journal.state);
        state.bytes -= size - current.size;
        if let Some(segment) = state.segments.back_mut() {
            segment.bytes = current.size;
        }
        drop(state);
        match grown {
            // Not a byte of a frame was written: nothing is wrong with the file.
            Err(error) if is_full(error.kind()) => {
                Err(Failure::Full(format!("cannot grow {}: {error}", current.path.display())))
            }
            grown => grown.map_err(Failure::io("cannot grow", &current.path)),
        }
    }

    /// Begins a segment. Its header is on disk before it gets its name, and its name before its first frame.
    fn roll(&mut self, journal: &Journal, need: u64) -> Result<(), Failure> {
        if matches!(journal.config.sync, Sync::Interval(_)) {
            self.sync(journal)?;
        }
        let directory = &journal.config.directory;
        let durable = journal.config.sync != Sync::Never;
        let spare = locked(&journal.state).spares.pop();
        let (from, mut bytes) = spare.map_or((self.number, 0), |(number, bytes)| (number, bytes));
        let path = folder::spare_path(directory, from);
        if bytes < HEADER_BYTES {
            // Room for the header and what is wanted now: a segment that cannot hold it is of no use.
            if let Err(full) = journal.has_room(HEADER_BYTES + need) {
                if let Some(spare) = spare {
                    locked(&journal.state).spares.push(spare);
                }
                return Err(full);
            }
            locked(&journal.state).bytes += HEADER_BYTES - bytes;
            bytes = HEADER_BYTES;
        }
        let number = self.number;
        self.number += 1;
        let header = SegmentHeader {
            store: journal.store,
            number,
            epoch: journal.epoch.0,
            first: self.next,
            before: self.last.0,
            before_end: self.last.1,
            before_count: self.last.2,
            created: journal.epoch.0 >> 32,
        };
        let target = folder::segment_path(directory, number);
        let mut named = false;
        let begun = (|| {
            let file = folder::open_file(&path, true)?;
            journal.disk.write(&file, &path, &header.encode(), 0)?;
            if durable {
                journal.disk.sync(&file, &path)?;
            }
            fault::pass(Place::JournalBeforeRename);
            std::fs::rename(&path, &target)?;
            named = true;
            if durable {
                journal.disk.sync_folder(&journal.folder, directory)?;
            }
            Ok(file)
        })();
        let file = begun.map_err(|error: io::Error| {
            let gone = folder::remove(&path).and(folder::remove(&target));
            let mut state = locked(&journal.state);
            state.bytes -= if gone.is_ok() { bytes } else { 0 };
            if named {
                // A power loss may undo the removal, and its header says that the segment before has ended. So it has.
                self.current = None;
                state.writing = None;
            }
            match is_full(error.kind()) {
                true => Failure::Full(format!("cannot create {}: {error}", target.display())),
                false => Failure::io("cannot create", &target)(error),
            }
        })?;
        fault::pass(Place::JournalAfterRename);
        let segment = Segment {
            number,
            first: self.next,
            before: self.last.2,
            end: HEADER_BYTES,
            settled: HEADER_BYTES,
            // Without a frame it is where the one before has ended, whatever numbers were given out in vain.
            after: self.last.2,
            bytes,
        };
        let mut state = locked(&journal.state);
        state.segments.push_back(segment);
        state.writing = Some(number);
        drop(state);
        let file = Arc::new(file);
        self.current = Some(Current { number, file, path: target, at: HEADER_BYTES, size: bytes, unsynced: false });
        Ok(())
    }

    /// Leaves a segment in which a write or a sync failed, and makes void what was written and not acknowledged.
    fn abandon(&mut self, journal: &Journal, failure: Option<&Failure>) {
        if let Some(failure) = failure {
            log::error!("the spool leaves a file: {}", failure.text());
        }
        let Some(current) = self.current.take() else { return };
        let mut state = locked(&journal.state);
        state.writing = None;
        let end = state.segments.back().map_or(HEADER_BYTES, |segment| segment.end);
        let empty = end == HEADER_BYTES;
        if empty && let Some(segment) = state.segments.pop_back() {
            state.bytes -= segment.bytes;
        }
        drop(state);
        // It cannot be told where the write stopped: the whole group.
        let to = current.at.min(current.size);
        self.void.push(Void { file: current.file, path: current.path.clone(), from: end, to });
        self.make_void(journal);
        if empty {
            match folder::remove(&current.path) {
                Ok(()) => self.void.retain(|void| void.path != current.path),
                Err(error) => log::error!("the spool cannot remove {}: {error}", current.path.display()),
            }
        }
    }

    /// Zeros over what must not be found. What cannot be written now is tried again later; the next segment's header makes it needless.
    fn make_void(&mut self, journal: &Journal) {
        self.void.retain(|void| {
            let zeroed = journal.disk.zero(&void.file, &void.path, void.from, void.to);
            // Of use only if the power goes before the next segment is there; whether it worked nobody can know.
            let _ = journal.disk.sync(&void.file, &void.path);
            if let Err(error) = &zeroed {
                log::error!("the spool cannot overwrite what failed in {}: {error}", void.path.display());
            }
            zeroed.is_err()
        });
    }

    /// Forces to the disk what interval syncing has left so far. A file in which that fails is left: what it holds stays readable.
    fn sync(&mut self, journal: &Journal) -> Result<(), Failure> {
        let Some(current) = self.current.as_mut().filter(|current| current.unsynced) else { return Ok(()) };
        self.synced_at = Instant::now();
        let synced = journal.disk.sync(&current.file, &current.path);
        synced.map(|()| current.unsynced = false).map_err(Failure::io("cannot sync", &current.path))
    }

    /// Syncs if it is due, or in any case.
    pub fn settle(&mut self, journal: &Journal, anyway: bool) {
        let due = match journal.config.sync {
            Sync::Interval(interval) => anyway || self.synced_at.elapsed() >= interval,
            Sync::Always | Sync::Never => false,
        };
        if due && let Err(failure) = self.sync(journal) {
            self.abandon(journal, Some(&failure));
        }
        if anyway {
            self.make_void(journal);
        }
    }

    /// The one who wrote has panicked: its group is answered with an error, so nothing of it may be found.
    pub fn forsake(&mut self, journal: &Journal) {
        if std::mem::take(&mut self.busy) {
            self.abandon(journal, None);
        }
    }

    /// The next append tries the disk at once.
    #[cfg(test)]
    pub fn forget_failure(&mut self) {
        if let Some((_, text, kind)) = self.broken.take() {
            let long_ago = Instant::now().checked_sub(RETRY).unwrap_or_else(Instant::now);
            self.broken = Some((long_ago, text, kind));
        }
    }

    /// True if a look now and then is worth a lock.
    pub fn is_busy(journal: &Journal) -> bool {
        matches!(journal.config.sync, Sync::Interval(_))
    }
}

impl Journal {
    /// Counts `bytes` more on disk, giving up spare files for them.
    fn charge(&self, bytes: u64) -> Result<(), Failure> {
        self.has_room(bytes)?;
        locked(&self.state).bytes += bytes;
        Ok(())
    }

    fn has_room(&self, bytes: u64) -> Result<(), Failure> {
        while locked(&self.state).bytes + bytes > self.config.bytes_max {
            if !self.drop_spare() {
                let (held, max) = (locked(&self.state).bytes, self.config.bytes_max);
                return Err(Failure::Full(format!("{held} of {max} bytes, {bytes} more are wanted (spool.maxsize)")));
            }
        }
        Ok(())
    }

    /// Gives a spare file back to the disk. False if there is none.
    pub(super) fn drop_spare(&self) -> bool {
        let Some((number, bytes)) = locked(&self.state).spares.pop() else { return false };
        let gone = folder::remove(&folder::spare_path(&self.config.directory, number));
        locked(&self.state).bytes -= if gone.is_ok() { bytes } else { 0 };
        true
    }
}
