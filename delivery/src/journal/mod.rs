//! The journal: batches on disk, as frames with length and checksum, until they are drained.
//!
//! Many threads append, each waiting until its frame is durable; whoever comes first writes for all that wait (group commit, no thread
//! of its own). One [`Reader`] takes the frames out in order, and what was drained is [released](Journal::release). The format
//! is in `docs/SPOOL.md`.
//!
//! # An append that failed is nowhere
//!
//! Whoever gets an error hands the records in again, somewhere else; so a frame of a failed append must never come out of here.
//! * No room: found out before a byte of a frame is written.
//! * A write or sync failed in segment N behind offset `a`: N ends at `a`, for this process at once. Zeros are written
//!   over what was written there, so that a process killed later leaves nothing to be found. The group goes into a fresh segment,
//!   whose header says "N ends at `a`" and is on disk before anything else in it: that voids what the disk may still have behind `a`,
//!   even if the zeros are lost. If it succeeds, the append succeeds.
//! * The fresh segment fails as well: it is overwritten and removed, and nothing more is written until some seconds have passed.
//!   What is left is a disk that took the frame, said it did not, takes no zeros and no new file, and then loses power.
//!   Then the positions in the frame are all that tells; Redis skips it if the caller got the same records there meanwhile.
//! * Killed while it waits: the caller is gone, nobody was told anything.

mod commit;
mod disk;
mod folder;
pub mod format;
pub mod frame;
pub mod inspect;
mod mark;
mod reader;
mod recovery;
mod release;
mod room;
mod scan;
mod writer;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use commit::AppendError;
pub use format::Count;
pub use reader::{Frame, ReadError, Reader};

use crate::position::Epoch;
use crate::spool::Sync;

/// Bytes of a segment if nothing else is said.
pub const SEGMENT_BYTES: u64 = 16 << 20;
/// A segment is at least this large.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// A segment is at most this large: the last one is read whole at the start.
pub const SEGMENT_BYTES_MAX: u64 = 256 << 20;

/// How a journal behaves.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// The folder. It is created if it is missing.
    pub directory: PathBuf,
    /// Bytes on disk, at most, spare files included.
    pub bytes_max: u64,
    /// Bytes of a segment; at most an eighth of `bytes_max` and of the file system.
    pub segment_bytes: u64,
    /// When bytes are forced to the disk.
    pub sync: Sync,
}

/// Why a journal cannot be used. Each says what and where.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder or a file in it cannot be used.
    #[error("the spool {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process works on it.
    #[error("the spool {} is in use by another process", path.display())]
    InUse {
        /// Its folder.
        path: PathBuf,
    },
    /// A later program wrote it.
    #[error("the spool's file {} has version {version}: it was written by a later program", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

impl JournalError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

impl PartialEq for JournalError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// The number of a frame. Greater means later, over all lives of the journal. Numbers may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

/// What has gone wrong with the bytes of a journal since it was opened.
#[derive(Debug, Default)]
pub struct Damage {
    /// Frames that had been acknowledged and cannot be delivered.
    pub lost_frames: AtomicU64,
    /// Records in them.
    pub lost_records: AtomicU64,
    /// Damaged ranges that were passed over.
    pub ranges: AtomicU64,
    /// Whole files that were put aside.
    pub files: AtomicU64,
}

/// One file of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    number: u64,
    /// Its first frame and record.
    first: Count,
    /// What must have been seen before its first frame.
    before: Count,
    /// Where its frames end.
    end: u64,
    /// Everything before this offset had been acknowledged: if it is missing, it is lost.
    settled: u64,
    /// Counting at its end.
    after: Count,
    /// Bytes of the file.
    bytes: u64,
}

#[derive(Debug)]
struct State {
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// The segment that is being written, always the last of them.
    writing: Option<u64>,
    /// Files that wait for their next use: number and size.
    spares: Vec<(u64, u64)>,
    /// Bytes on disk, spares included.
    bytes: u64,
    /// Counting behind the last acknowledged frame, and where that is.
    end: Count,
    end_at: (u64, u64),
    /// Everything before was drained, and where the next frame begins.
    released: Count,
    from: (u64, u64),
    /// Frames that the reader gave out and that are not released: counting behind each, and where it ends.
    trail: VecDeque<(Count, (u64, u64))>,
    /// What the mark on disk says, and since when.
    marked: Count,
    marked_at: Instant,
    /// The reader sleeps: waking it is a system call that is saved while it is busy.
    waiting: bool,
    nudged: bool,
}

#[derive(Debug)]
struct Marking {
    file: mark::MarkFile,
    generation: u64,
}

/// A durable queue of frames.
#[derive(Debug)]
pub struct Journal {
    config: JournalConfig,
    store: format::Store,
    epoch: Epoch,
    disk: disk::Disk,
    state: Mutex<State>,
    news: Condvar,
    queue: Mutex<commit::Queue>,
    writer: Mutex<writer::Writer>,
    marking: Mutex<Marking>,
    /// Set while appends fail.
    failed: AtomicBool,
    /// Set once it has been opened, and there is something to note at the end.
    open: AtomicBool,
    damage: Damage,
    /// Holds the lock on the folder as long as the journal lives.
    folder: File,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic of another thread leaves plain numbers behind, each of them valid.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    /// Opens the journal in `config.directory`, creating it if there is none. `unix_seconds` is the time.
    ///
    /// Damage never keeps it from opening: what is bad is put aside and reported, the rest is delivered. Each opening begins a new epoch.
    pub fn open(config: JournalConfig, unix_seconds: u64) -> Result<(Arc<Self>, Reader), JournalError> {
        recovery::open(config, unix_seconds, disk::Disk::default())
    }

    /// How it is configured.
    pub fn config(&self) -> &JournalConfig {
        &self.config
    }

    /// This life of the store.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What all its lives have in common.
    pub fn family(&self) -> u32 {
        self.store.family
    }

    /// The last acknowledged frame.
    pub fn end(&self) -> Lsn {
        Lsn(locked(&self.state).end.lsn - 1)
    }

    /// Everything up to this frame was drained.
    pub fn released(&self) -> Lsn {
        Lsn(locked(&self.state).released.lsn - 1)
    }

    /// True if everything was drained.
    pub fn is_empty(&self) -> bool {
        let state = locked(&self.state);
        state.released.lsn >= state.end.lsn
    }

    /// Records that wait to be drained, at most: what was lost to damage counts until it is passed over.
    pub fn records(&self) -> u64 {
        let state = locked(&self.state);
        state.end.record.saturating_sub(state.released.record)
    }

    /// Bytes on disk, spare files included.
    pub fn bytes(&self) -> u64 {
        locked(&self.state).bytes
    }

    /// What has gone wrong.
    pub fn damage(&self) -> &Damage {
        &self.damage
    }

    /// True while appends fail for another reason than a lack of room.
    pub fn is_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    /// Waits until there is a frame behind `after`, somebody calls [`nudge`](Self::nudge), or `limit` has passed.
    /// True if there is one.
    pub fn wait(&self, after: Lsn, limit: Duration) -> bool {
        self.tick();
        let beyond = |state: &State| state.end.lsn > after.0 + 1;
        let mut guard = locked(&self.state);
        guard.waiting = true;
        let (mut state, _) = self
            .news
            .wait_timeout_while(guard, limit, |state| !beyond(state) && !state.nudged)
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting = false;
        state.nudged = false;
        beyond(&state)
    }

    /// Wakes the one who waits.
    pub fn nudge(&self) {
        locked(&self.state).nudged = true;
        self.news.notify_all();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.open.load(Relaxed) {
            self.flush();
        }
    }
}

#[cfg(test)]
mod tests;
