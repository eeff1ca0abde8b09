//! The spool: bytes of one stream on disk, until Redis has them.
//!
//! A folder holds segments, named by epoch and by the offset of their first byte. Bytes are appended to the last one
//! and never change. The size of the last file is the length of the stream: there is no other record of it, so
//! a killed process leaves nothing to repair. The format is in `docs/SPOOL.md`.
//!
//! One [`Writer`] grows the stream, one [`Reader`] for each lane follows it, and [`Spool`] is what they share. What all lanes have is freed.

mod age;
mod folder;
pub mod inspect;
mod lanes;
mod mark;
mod reader;
mod sums;
mod writer;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use lanes::Lanes;
pub use reader::{Read, Reader};
pub use sums::Summer;
pub use writer::{NoRoom, Writer};

use crate::fault::{self, Place};
use crate::limits::SEGMENT_BYTES_MIN;
use crate::position::{Epoch, Position};
use crate::resume::Span;

/// When bytes are forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// After each append: a power loss costs nothing that had been appended.
    Always,
    /// Every so often: a power loss costs at most this much time.
    Interval(Duration),
    /// Never: a power loss costs what the kernel had not written back, some 30 seconds.
    Never,
}

/// How a spool behaves.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    /// The folder. It is created if it is missing.
    pub directory: PathBuf,
    /// Bytes on disk, at most; then the writer has no room.
    pub bytes_max: u64,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// When bytes are forced to the disk.
    pub sync: Sync,
    /// Confirmed bytes that are kept for a Redis that goes back to an earlier state, at most.
    pub retention_bytes: u64,
    /// How long they are kept, at most.
    pub retention: Duration,
    /// Who follows the stream.
    pub lanes: Lanes,
}

/// Why a spool cannot be used. Each says what and where.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder or a file in it cannot be used.
    #[error("the spool {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds bytes that other lanes have not delivered yet.
    #[error(
        "the spool {} holds {bytes} bytes that are not in redis yet and were split over {was}; to split them over {wanted} would lose some \
         and double others: run it once more with the old settings until nothing is unpushed, then change them",
        path.display()
    )]
    OtherLanes {
        /// Its folder.
        path: PathBuf,
        /// How many bytes.
        bytes: u64,
        /// What they were split by.
        was: Lanes,
        /// What is asked for.
        wanted: Lanes,
    },
    /// The note of how it is split cannot be read.
    #[error("the spool's note {} is damaged: it says how many lanes share the spool; if the spool is of no more use, move it away", path.display())]
    NoLanes {
        /// The file.
        path: PathBuf,
    },
    /// Another process works on it.
    #[error("the spool {} is in use by another process", path.display())]
    InUse {
        /// Its folder.
        path: PathBuf,
    },
}

impl SpoolError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// One file of the stream.
#[derive(Debug, Clone, Copy)]
struct Segment {
    epoch: Epoch,
    start: u64,
    end: u64,
    /// When all of it had been confirmed.
    acked: Option<Instant>,
}

impl Segment {
    fn bytes(&self) -> u64 {
        self.end - self.start
    }

    fn last(&self) -> Position {
        Position { epoch: self.epoch, offset: self.end }
    }

    /// Its bytes behind `position`; all of them if there is none.
    fn bytes_after(&self, position: Option<Position>) -> u64 {
        match position {
            Some(position) if self.last() <= position => 0,
            Some(position) if self.epoch == position.epoch => self.end - position.offset.clamp(self.start, self.end),
            _ => self.bytes(),
        }
    }
}

#[derive(Debug)]
struct State {
    /// Oldest first, never empty.
    segments: VecDeque<Segment>,
    ages: age::Ages,
    /// Never empty.
    lanes: Vec<Following>,
    /// The lanes' confirmed positions are on disk.
    acked_written: bool,
    /// A file that interval syncing still has to force out.
    unsynced: Option<Arc<File>>,
    /// How many readers sleep: waking them is a system call that is saved while they are busy.
    waiting: usize,
}

impl State {
    /// What all lanes have.
    fn acked(&self) -> Option<Position> {
        least(self.lanes.iter().map(|lane| lane.acked))
    }

    /// What all lanes were told in this life. Only that may be freed.
    fn released(&self) -> Option<Position> {
        least(self.lanes.iter().map(|lane| lane.released))
    }
}

/// The least of all, `None` if one of them is.
fn least(mut positions: impl Iterator<Item = Option<Position>>) -> Option<Position> {
    let first = positions.next()??;
    positions.try_fold(first, |least, position| Some(least.min(position?)))
}

/// How far one lane is.
#[derive(Debug, Clone, Copy, Default)]
struct Following {
    /// The confirmed position.
    acked: Option<Position>,
    /// What was confirmed to this process: since an earlier one noted its mark, Redis may have gone back.
    released: Option<Position>,
    /// Set when the owner wants the reader to look up.
    nudged: bool,
}

/// True if Redis has confirmed bytes behind the end of the last file: somebody cut it.
fn is_cut(last: &Segment, acked: Option<Position>) -> bool {
    acked.is_some_and(|acked| acked.epoch == last.epoch && acked > last.last())
}

/// What writer, reader and owner share.
#[derive(Debug)]
pub struct Spool {
    config: SpoolConfig,
    state: Mutex<State>,
    news: Condvar,
    opened: Position,
    mark: Mutex<mark::Mark>,
    /// Holds the lock on the folder as long as the spool lives.
    folder: File,
}

impl Spool {
    /// Opens the spool in `config.directory`, creating it if there is none. `now` and `unix_seconds` are the time.
    ///
    /// After a restart of the machine, or when the last file is shorter than Redis has confirmed or its checksums reach, a new epoch
    /// begins: the old one may have lost its end, new bytes must not stand at positions that Redis has seen, and must not complete
    /// a line that lost its end.
    ///
    /// Segments are no larger than an eighth of the file system: disk comes back a segment at a time, and a line that waits for its
    /// end keeps one or two of them.
    pub fn open(mut config: SpoolConfig, unix_seconds: u64, now: Instant) -> Result<(Arc<Self>, Writer), SpoolError> {
        let opened = folder::open(&config)?;
        if let Some(disk) = folder::disk_bytes(&config.directory) {
            config.segment_bytes = config.segment_bytes.min((disk / 8).max(SEGMENT_BYTES_MIN));
        }
        let (mark, mut acked) = mark::Mark::open(&config.directory, config.lanes.count)?;
        let mut segments: VecDeque<Segment> = opened.segments.into();
        let durable = config.sync != Sync::Never;
        let noted = lanes::Noted::read(&config.directory)?;
        noted.cut_off(&config.directory, &mut segments, &mut acked);
        let change = noted.is_another(&config.lanes, &segments, &mark, &config.directory)?;
        let last = segments.back().copied();
        // Another lane may be further than the one that this process asks first.
        let furthest = acked.iter().copied().flatten().max();
        let (file, segment) = if let Some(last) =
            last.filter(|last| !change && !opened.restarted && !opened.cut && !is_cut(last, furthest))
        {
            (folder::reopen(&config.directory, last.epoch, last.start)?, last)
        } else {
            // The mark counts too: the segments that it is about may be gone.
            let latest = last.map(|last| last.epoch).max(mark.latest_epoch());
            let epoch = Epoch::after(latest, unix_seconds, fastrand::u32(..));
            if last.is_some() && !change {
                log::info!("the spool {} begins epoch {epoch}: its end may be missing", config.directory.display());
            }
            let file = folder::create(&config.directory, &opened.folder, epoch, 0, durable)?;
            let segment = Segment { epoch, start: 0, end: 0, acked: None };
            segments.push_back(segment);
            (file, segment)
        };
        if change {
            lanes::Noted::write(&config.directory, &config.lanes, segment.epoch)?;
            log::info!(
                "the spool {} is split over {} from epoch {} on",
                config.directory.display(),
                config.lanes,
                segment.epoch
            );
            // Redis has all of what was before.
            lanes::Noted { epoch: segment.epoch, ..noted }.cut_off(&config.directory, &mut segments, &mut acked);
        }
        folder::note_boot(&config.directory);
        let mut ages = age::Ages::default();
        ages.grew(segment.last(), now);
        let spool = Arc::new(Self {
            opened: segment.last(),
            state: Mutex::new(State {
                segments,
                ages,
                lanes: acked.into_iter().map(|acked| Following { acked, ..Following::default() }).collect(),
                acked_written: true,
                unsynced: None,
                waiting: 0,
            }),
            news: Condvar::new(),
            mark: Mutex::new(mark),
            folder: opened.folder,
            config,
        });
        let writer = Writer::new(Arc::clone(&spool), file, segment.epoch, segment.start, segment.end);
        Ok((spool, writer))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of the other thread leaves plain numbers behind, each of them valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_segment(&self, epoch: Epoch, start: u64) -> bool {
        self.state().segments.iter().any(|segment| (segment.epoch, segment.start) == (epoch, start))
    }

    /// How it is configured.
    pub fn config(&self) -> &SpoolConfig {
        &self.config
    }

    /// Where the stream ended when this process opened it.
    pub fn opened(&self) -> Position {
        self.opened
    }

    /// One past the last byte.
    pub fn end(&self) -> Position {
        let state = self.state();
        state.segments[state.segments.len() - 1].last()
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.state().segments.iter().map(Segment::bytes).sum()
    }

    /// Bytes that lie between `position` and the end.
    pub fn bytes_after(&self, position: Position) -> u64 {
        self.state().segments.iter().map(|segment| segment.bytes_after(Some(position))).sum()
    }

    /// What it has, oldest first, one entry for each epoch without the gaps within it.
    pub fn held(&self) -> Vec<Span> {
        let mut held: Vec<Span> = Vec::new();
        for segment in &self.state().segments {
            match held.last_mut() {
                Some(span) if span.epoch == segment.epoch => span.end = segment.end,
                _ => held.push(Span { epoch: segment.epoch, start: segment.start, end: segment.end }),
            }
        }
        held
    }

    /// How long the oldest byte after `position` has been here; zero if there is none.
    pub fn age_after(&self, position: Position, now: Instant) -> Duration {
        self.state().ages.after(position, now)
    }

    /// Up to here Redis is known to have everything; at the start, what an earlier process had noted. `None` if a lane never had
    /// a confirmation.
    pub fn acked(&self) -> Option<Position> {
        self.state().acked()
    }

    /// Up to here Redis is known to have everything of `lane`.
    pub fn acked_of(&self, lane: usize) -> Option<Position> {
        self.state().lanes[lane].acked
    }

    /// Lets `lane` wait until the stream reaches beyond `position`, somebody calls [`nudge`](Self::nudge), or `limit` has passed.
    /// True if there is something to read.
    pub fn wait(&self, lane: usize, position: Position, limit: Duration) -> bool {
        let beyond = |state: &State| {
            let filled = state.segments.iter().rev().find(|segment| segment.bytes() > 0);
            filled.is_some_and(|segment| segment.last() > position)
        };
        let waiting = |state: &mut State| !beyond(state) && !state.lanes[lane].nudged;
        let mut guard = self.state();
        guard.waiting += 1;
        let (mut state, _) =
            self.news.wait_timeout_while(guard, limit, waiting).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.lanes[lane].nudged = false;
        beyond(&state)
    }

    /// Wakes all who wait.
    pub fn nudge(&self) {
        self.state().lanes.iter_mut().for_each(|lane| lane.nudged = true);
        self.news.notify_all();
    }

    /// Redis has nothing of `lane` behind `position` after all, or nothing is known of it: what lies there is kept. False if it was
    /// freed before.
    pub fn hold_from(&self, lane: usize, position: Position) -> bool {
        let mut state = self.state();
        let following = &mut state.lanes[lane];
        following.released = following.released.map(|released| released.min(position));
        for segment in &mut state.segments {
            if segment.last() > position {
                segment.acked = None;
            }
        }
        let first = state.segments[0];
        (first.epoch, first.start) <= (position.epoch, position.offset)
    }

    /// Redis has everything of `lane` before `position`, and nothing behind it as far as it is known. Frees what no lane wants any
    /// more; the writer's segment stays.
    ///
    /// Called again with the same position, it frees what has been retained for long enough.
    ///
    /// Deleting happens outside of the lock, so the writer never waits for the disk. An error leaves the file for the next time.
    pub fn release(&self, lane: usize, position: Position, now: Instant) -> Result<(), SpoolError> {
        {
            let mut guard = self.state();
            let state = &mut *guard;
            let following = &mut state.lanes[lane];
            state.acked_written &= following.acked == Some(position);
            following.acked = Some(position);
            following.released = Some(position);
            let Some(released) = state.released() else { return Ok(()) };
            state.ages.forget_before(released);
            let writing = state.segments.len() - 1;
            for segment in state.segments.iter_mut().take(writing) {
                let confirmed = segment.last() <= released;
                segment.acked = confirmed.then(|| segment.acked.unwrap_or(now));
            }
        }
        self.free(|retained, segment| {
            retained > self.config.retention_bytes
                || segment.acked.is_some_and(|acked| now.duration_since(acked) >= self.config.retention)
        })
    }

    /// Frees all that was released, whatever the retention: there is no room.
    fn free_all_released(&self) -> Result<(), SpoolError> {
        self.free(|_, _| true)
    }

    fn free(&self, surplus: impl Fn(u64, &Segment) -> bool) -> Result<(), SpoolError> {
        let mut marked = Ok(());
        loop {
            let gone = {
                let mut state = self.state();
                let released = state.released();
                let confirmed = |segment: &&Segment| released.is_some_and(|released| segment.last() <= released);
                let retained = state.segments.iter().filter(confirmed).map(Segment::bytes).sum();
                let first = state.segments[0];
                if state.segments.len() < 2 || !confirmed(&&first) || !surplus(retained, &first) {
                    return marked;
                }
                // Before the file: a reader must not be sent to a file that is gone.
                state.segments.pop_front();
                first
            };
            // A mark that is older than all that is left is a poorer hint, and no reason to keep a full disk full.
            marked = marked.and(self.write_mark());
            fault::pass(Place::SpoolBeforeFree);
            if let Err(error) = folder::remove(&self.config.directory, gone.epoch, gone.start) {
                let mut state = self.state();
                let place = state.segments.partition_point(|s| (s.epoch, s.start) < (gone.epoch, gone.start));
                state.segments.insert(place, gone);
                return Err(error);
            }
            fault::pass(Place::SpoolAfterFree);
        }
    }

    /// The segments that hold bytes behind the confirmed position, and that position.
    fn waiting_segments(&self) -> (Vec<Segment>, Option<Position>) {
        let state = self.state();
        let acked = state.acked();
        let waiting = |segment: &&Segment| acked.is_none_or(|acked| segment.last() > acked);
        (state.segments.iter().filter(waiting).copied().collect(), acked)
    }

    /// True if everything before `position` was released.
    fn is_released(&self, position: Position) -> bool {
        self.state().released().is_some_and(|released| position <= released)
    }

    /// Writes the confirmed positions to disk if they moved. They are a hint that is needed only when Redis loses a cursor.
    pub fn write_mark(&self) -> Result<(), SpoolError> {
        // Whoever comes second writes what is newest by then.
        let mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        let acked: Vec<Option<Position>> = {
            let state = self.state();
            if state.acked_written {
                return Ok(());
            }
            state.lanes.iter().map(|lane| lane.acked).collect()
        };
        mark.write(&acked)?;
        let mut state = self.state();
        state.acked_written |= state.lanes.iter().map(|lane| lane.acked).eq(acked);
        Ok(())
    }

    /// Forces to disk what interval syncing has left so far.
    pub fn sync_now(&self) -> Result<(), SpoolError> {
        let file = self.state().unsynced.take();
        match file {
            Some(file) => file.sync_data().map_err(SpoolError::io("cannot be synced in", &self.config.directory)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
