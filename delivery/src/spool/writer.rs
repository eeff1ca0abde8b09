//! The growing end of the spool.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::{Segment, Spool, SpoolError, Sync, folder};
use crate::fault::{self, Place};
use crate::position::{Epoch, Position};

/// Why nothing can be appended now. Nothing is lost: the producer keeps what it has.
#[derive(Debug, thiserror::Error)]
pub enum NoRoom {
    /// The spool has reached its size, and nothing in it is confirmed.
    #[error("the spool is full: {bytes} of {bytes_max} bytes (spool.maxsize)")]
    Full {
        /// Bytes in it.
        bytes: u64,
        /// Bytes allowed.
        bytes_max: u64,
    },
    /// The file system refuses.
    #[error(transparent)]
    Broken(#[from] SpoolError),
}

/// Appends to the stream. There is one.
#[derive(Debug)]
pub struct Writer {
    pub(super) spool: Arc<Spool>,
    file: Arc<File>,
    epoch: Epoch,
    start: u64,
    end: u64,
    /// The disk failed under this file: what was written stays readable, the next append goes elsewhere.
    poisoned: bool,
}

impl Writer {
    pub(super) fn new(spool: Arc<Spool>, file: File, epoch: Epoch, start: u64, end: u64) -> Self {
        Self { spool, file: Arc::new(file), epoch, start, end, poisoned: false }
    }

    /// The file to append to, where in it, and how many bytes at most. Begins a new segment when the last one is full.
    pub fn target(&mut self) -> Result<(&File, u64, usize), NoRoom> {
        let (bytes_max, segment_bytes) = (self.spool.config.bytes_max, self.spool.config.segment_bytes);
        let mut bytes = self.spool.bytes();
        if bytes >= bytes_max {
            self.make_room()?;
            bytes = self.spool.bytes();
            if bytes >= bytes_max {
                return Err(NoRoom::Full { bytes, bytes_max });
            }
        }
        if self.poisoned || self.end - self.start >= segment_bytes {
            self.rotate()?;
        }
        let room = (segment_bytes - (self.end - self.start)).min(bytes_max - bytes);
        Ok((&self.file, self.end - self.start, usize::try_from(room).unwrap_or(usize::MAX)))
    }

    /// `bytes` were appended at the place that [`target`](Self::target) named.
    pub fn grew(&mut self, bytes: u64, now: Instant) -> Result<(), NoRoom> {
        self.end += bytes;
        let synced = match self.spool.config.sync {
            Sync::Always => self.file.sync_data(),
            Sync::Interval(_) | Sync::Never => Ok(()),
        };
        let wake = {
            let mut state = self.spool.state();
            let end = self.end;
            if let Some(last) = state.segments.back_mut() {
                last.end = end;
                let position = last.last();
                state.ages.grew(position, now);
            }
            if matches!(self.spool.config.sync, Sync::Interval(_)) && state.unsynced.is_none() {
                state.unsynced = Some(Arc::clone(&self.file));
            }
            state.waiting > 0
        };
        if wake {
            self.spool.news.notify_all();
        }
        synced.map_err(|source| {
            // Nobody knows which pages reached the disk, and a second sync may say "fine" (Rebello et al., ATC 2020).
            self.poisoned = true;
            NoRoom::Broken(SpoolError::io("cannot be synced in", &self.spool.config.directory)(source))
        })
    }

    /// The file system refused an append: frees what can be freed, so that the next attempt may succeed.
    pub fn refused(&mut self, error: io::Error) -> NoRoom {
        let path = folder::path(&self.spool.config.directory, self.epoch, self.start);
        if let Err(error) = self.make_room() {
            return error.into();
        }
        NoRoom::Broken(SpoolError::io("cannot grow", &path)(error))
    }

    /// Frees all that is confirmed. The segment that is written to is left for a new one if it is all confirmed, too:
    /// on a small disk it may be all there is.
    fn make_room(&mut self) -> Result<(), SpoolError> {
        if self.end > self.start && self.spool.is_released(Position { epoch: self.epoch, offset: self.end }) {
            self.rotate()?;
        }
        self.spool.free_all_released()
    }

    /// The last byte of the stream, `None` if the segment has none.
    pub fn last_byte(&self) -> io::Result<Option<u8>> {
        use std::os::unix::fs::FileExt as _;
        let Some(at) = (self.end - self.start).checked_sub(1) else { return Ok(None) };
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, at)?;
        Ok(Some(byte[0]))
    }

    /// A crash in here leaves the last segment the last, or an empty one behind it: both are where the stream ends.
    fn rotate(&mut self) -> Result<(), SpoolError> {
        fault::pass(Place::DrainBeforeRotate);
        let spool = &self.spool;
        let durable = spool.config.sync != Sync::Never;
        if matches!(spool.config.sync, Sync::Interval(_)) {
            spool.sync_now()?;
        }
        let file = folder::create(&spool.config.directory, &spool.folder, self.epoch, self.end, durable)?;
        fault::pass(Place::DrainAfterRotate);
        self.start = self.end;
        self.file = Arc::new(file);
        self.poisoned = false;
        let segment = Segment { epoch: self.epoch, start: self.start, end: self.end, acked: None };
        spool.state().segments.push_back(segment);
        Ok(())
    }
}
