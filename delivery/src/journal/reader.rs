//! Taking frames out, in order. Every frame is checked again when it is read; what is damaged is passed over, kept aside and told.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::format::{Count, FRAME_HEADER_BYTES, FrameHeader, GRID, HEADER_BYTES};
use super::scan::{self, Stamp};
use super::{Journal, Lsn, Segment, folder, locked};
use crate::descriptor::above_standard;

/// Bytes that are read at a time.
const WINDOW_BYTES: u64 = 1 << 20;

/// A frame as it was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its number.
    pub lsn: Lsn,
    /// Records in it.
    pub records: u32,
    /// The number of its first record, counted over all lives of the journal.
    pub first_record: u64,
    /// What was appended.
    pub payload: &'a [u8],
}

/// The disk could not be read. Nothing was passed over: the next call tries again.
#[derive(Debug, thiserror::Error)]
#[error("the spool cannot read {}: {source}", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Reads a journal from where it was drained up to. There is one.
#[derive(Debug)]
pub struct Reader {
    journal: Arc<Journal>,
    /// The segment, and where in it the next frame begins.
    number: u64,
    at: u64,
    open: Option<(u64, File)>,
    /// Counting at the next frame, if all is well.
    expected: Count,
    /// Frames before it were drained in an earlier life.
    skip_below: u64,
    /// Damage that was told already: segment, beginning and end, or what is missing before a frame.
    told: HashSet<(u64, u64, u64)>,
    /// A part of the file, and where it begins in it.
    buffer: Vec<u8>,
    base: u64,
}

/// What stands at a place.
enum Here {
    Good(FrameHeader),
    /// A header whose payload is not what it was.
    Spoiled(FrameHeader),
    Nothing,
}

impl Reader {
    pub(super) fn new(journal: Arc<Journal>, from: (u64, u64), released: Count) -> Self {
        let skip_below = released.lsn;
        let (number, at) = from;
        let (open, buffer, told) = (None, Vec::new(), HashSet::new());
        Self { journal, number, at, open, expected: released, skip_below, told, buffer, base: 0 }
    }

    /// Goes back to the first frame that is not released: all that was given out since comes again.
    pub fn rewind(&mut self) {
        let (from, released) = {
            let mut state = locked(&self.journal.state);
            state.trail.clear();
            (state.from, state.released)
        };
        self.go(from, released);
    }

    /// Goes on with the first frame behind `last` that was given out and is not released, or that was not given out yet. What comes again
    /// is given out once: it need not be released twice.
    pub fn seek(&mut self, last: Lsn) {
        let (from, count) = {
            let state = locked(&self.journal.state);
            let before = state.trail.partition_point(|(count, _)| count.lsn <= last.0 + 1);
            let place = before.checked_sub(1).and_then(|at| state.trail.get(at));
            place.map_or((state.from, state.released), |(count, place)| (*place, *count))
        };
        self.go(from, count);
    }

    /// Goes on at a place, where counting stands at `count`.
    fn go(&mut self, (number, at): (u64, u64), count: Count) {
        // Within a file what was loaded is of use, if it reaches there.
        if self.number != number {
            self.open = None;
            self.buffer.clear();
            self.base = 0;
        }
        (self.number, self.at) = (number, at);
        self.expected = count;
        self.skip_below = self.skip_below.max(locked(&self.journal.state).released.lsn);
    }

    /// The journal that it reads.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The next acknowledged frame; `None` if there is none for now.
    #[expect(clippy::should_implement_trait, reason = "a frame borrows from its reader")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, ReadError> {
        loop {
            let (segment, next, is_written) = self.journal.around(self.number);
            let Some(segment) = segment else {
                self.caught_up(true);
                return Ok(None);
            };
            if segment.number != self.number {
                self.enter(&segment);
                continue;
            }
            if self.at >= segment.end {
                if !is_written {
                    self.miss_before(segment.after, "the end of a file is missing");
                }
                match next {
                    Some(next) => self.enter(&next),
                    None => {
                        self.caught_up(!is_written);
                        return Ok(None);
                    }
                }
                continue;
            }
            let Some(here) = self.look(&segment)? else { continue };
            match here {
                Here::Good(header) => {
                    let from = (self.at - self.base) as usize + FRAME_HEADER_BYTES;
                    self.miss_before(header.count, "they are not where they should be");
                    self.at += header.size() as u64;
                    self.expected = self.expected.max(header.after());
                    if header.count.lsn < self.skip_below {
                        continue;
                    }
                    let after = header.after();
                    let trail = &mut locked(&self.journal.state).trail;
                    // It may have been given out before.
                    if trail.back().is_none_or(|(last, _)| last.lsn < after.lsn) {
                        trail.push_back((after, (self.number, self.at)));
                    }
                    return Ok(Some(Frame {
                        lsn: Lsn(header.count.lsn),
                        records: header.records,
                        first_record: header.count.record,
                        payload: &self.buffer[from..from + header.len as usize],
                    }));
                }
                Here::Spoiled(header) => {
                    let to = (self.at + header.size() as u64).min(segment.end);
                    self.pass_over(&segment, to, header.after())?;
                }
                Here::Nothing => {
                    let (to, count) = self.search(&segment)?;
                    self.pass_over(&segment, to, count)?;
                }
            }
        }
    }

    /// There is no frame behind this place. With `closed` none will come here.
    fn caught_up(&mut self, closed: bool) {
        let mut state = locked(&self.journal.state);
        let (end, released) = (state.end, state.released);
        // Of what was lost at the end there is no frame that somebody could release.
        let is_last = state.segments.back().is_none_or(|last| last.number <= self.number && last.end <= self.at);
        if state.trail.is_empty() && is_last && (closed || self.expected >= end) {
            (state.released, state.from) = (end, state.end_at);
        }
        drop(state);
        if closed && is_last {
            self.miss(end, released, "their file is missing");
        }
    }

    fn enter(&mut self, segment: &Segment) {
        self.miss_before(segment.before, "the file before is missing");
        self.expected = self.expected.max(segment.first);
        (self.number, self.at) = (segment.number, HEADER_BYTES);
    }

    /// What stands at the present place; `None` if the file was given up meanwhile.
    fn look(&mut self, segment: &Segment) -> Result<Option<Here>, ReadError> {
        let stamp = Stamp { segment: segment.number, salt: self.journal.store.salt };
        if !self.load(segment, FRAME_HEADER_BYTES)? {
            return Ok(None);
        }
        let Some(header) = stamp.header(self.loaded()) else { return Ok(self.still_there().then_some(Here::Nothing)) };
        if !self.load(segment, header.size())? {
            return Ok(None);
        }
        let good = scan::payload(&header, self.loaded()).is_some();
        // A file that was given up may have got other bytes under our eyes.
        Ok((good || self.still_there()).then_some(if good { Here::Good(header) } else { Here::Spoiled(header) }))
    }

    fn still_there(&self) -> bool {
        self.journal.around(self.number).0.is_some_and(|segment| segment.number == self.number)
    }

    /// What is in memory from the present place on.
    fn loaded(&self) -> &[u8] {
        self.at.checked_sub(self.base).and_then(|from| self.buffer.get(from as usize..)).unwrap_or_default()
    }

    /// Gets `count` bytes from the present place on into memory, or as many as there are. False if the file was given up.
    fn load(&mut self, segment: &Segment, count: usize) -> Result<bool, ReadError> {
        let is_open = self.open.as_ref().is_some_and(|(number, _)| *number == segment.number);
        if is_open && self.loaded().len() >= count {
            return Ok(true);
        }
        let path = folder::segment_path(&self.journal.config.directory, segment.number);
        if !is_open {
            self.buffer.clear();
            self.base = self.at;
            self.open = None;
            match File::open(&path).and_then(above_standard) {
                Ok(file) => self.open = Some((segment.number, file)),
                // Gone, and not by us: what was in it is damage like any other.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self.still_there()),
                Err(source) => return Err(ReadError { path, source }),
            }
        }
        let Some((_, file)) = &self.open else { return Ok(true) };
        // Only what is acknowledged: what lies behind may change.
        let wanted = (segment.end - self.at).min(WINDOW_BYTES.max(count as u64)) as usize;
        let kept = self.at.checked_sub(self.base).map_or(0, |from| self.buffer.len().saturating_sub(from as usize));
        self.buffer.drain(..self.buffer.len() - kept);
        self.base = self.at;
        self.buffer.resize(wanted.max(kept), 0);
        let mut filled = kept;
        while filled < self.buffer.len() {
            match file.read_at(&mut self.buffer[filled..], self.base + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    self.buffer.truncate(filled);
                    return Err(ReadError { path, source });
                }
            }
        }
        self.buffer.truncate(filled);
        Ok(true)
    }

    /// Where the next frame begins, and counting there.
    fn search(&mut self, segment: &Segment) -> Result<(u64, Count), ReadError> {
        self.load(segment, (segment.end - self.at) as usize)?;
        let stamp = Stamp { segment: segment.number, salt: self.journal.store.salt };
        let found = stamp.find(self.loaded(), GRID);
        let header = found.and_then(|at| stamp.header(&self.loaded()[at..]));
        Ok(match (found, header) {
            (Some(at), Some(header)) => (self.at + at as u64, header.count),
            _ => (segment.end, segment.after),
        })
    }

    /// Goes on at `to`, where counting stands at `count`.
    fn pass_over(&mut self, segment: &Segment, to: u64, count: Count) -> Result<(), ReadError> {
        let length = to - self.at;
        self.load(segment, length as usize)?;
        let again = !self.told.insert((segment.number, self.at, to));
        let bytes = self.loaded();
        let bytes = &bytes[..bytes.len().min(length as usize)];
        let directory = &self.journal.config.directory;
        let place = format!("{} bytes at {} of the spool's file {}", length, self.at, segment.number);
        let from = self.expected.max(locked(&self.journal.state).released);
        if bytes.iter().all(|byte| *byte == 0) && self.at >= segment.settled {
            log::debug!("{place} are empty");
        } else if again {
            log::debug!("{place} are damaged, as was told");
        } else if count.lsn <= self.skip_below {
            log::warn!("{place} are damaged: they had been delivered");
        } else if self.at >= segment.settled {
            log::warn!("{place} were being written when the machine stopped: nobody was told that they are safe");
        } else {
            self.journal.damage.ranges.fetch_add(1, Relaxed);
            self.journal.lost(from, count);
            let kept = match folder::keep_range(directory, segment.number, self.at, bytes) {
                Ok(Some(path)) => format!("kept in {}", path.display()),
                Ok(None) => "not kept".into(),
                Err(error) => format!("not kept: {error}"),
            };
            log::error!("{place} are damaged, {kept}: {} are lost", told(from, count));
        }
        self.expected = self.expected.max(count);
        self.at = to;
        Ok(())
    }

    fn miss_before(&mut self, count: Count, why: &str) {
        if self.expected.lsn < count.lsn {
            let released = locked(&self.journal.state).released;
            self.miss(count, released, why);
        }
    }

    /// Everything up to `count` should have come and did not.
    fn miss(&mut self, count: Count, released: Count, why: &str) {
        let from = self.expected.max(released);
        // No segment has the number 0.
        if from.lsn < count.lsn && self.told.insert((0, count.lsn, 0)) {
            self.journal.lost(from, count);
            log::error!("the spool {} has lost {}: {why}", self.journal.config.directory.display(), told(from, count));
        }
        self.expected = self.expected.max(count);
    }
}

fn told(from: Count, to: Count) -> String {
    let last = |next: u64| next.saturating_sub(1);
    format!("frames {} to {}, records {} to {}", from.lsn, last(to.lsn), from.record, last(to.record))
}

impl Journal {
    /// The segment with this number or the first one behind it, the one behind that, and whether the first may still grow.
    fn around(&self, number: u64) -> (Option<Segment>, Option<Segment>, bool) {
        let state = locked(&self.state);
        let at = state.segments.partition_point(|segment| segment.number < number);
        let segment = state.segments.get(at).copied();
        let is_written = segment.is_some_and(|segment| state.writing == Some(segment.number));
        (segment, state.segments.get(at + 1).copied(), is_written)
    }
}
