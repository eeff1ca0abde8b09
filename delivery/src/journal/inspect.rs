//! Looking at a journal that nobody uses, without changing anything in it.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::format::{Count, FRAME_HEADER_BYTES, GRID, HEADER_BYTES};
use super::recovery::{self, Stock};
use super::scan::{self, Stamp};
use super::{Frame, JournalError, Lsn, Segment, folder};

/// A journal that is looked at. Nobody else can use it meanwhile.
#[derive(Debug)]
pub struct Inspection {
    directory: PathBuf,
    stock: Stock,
    _lock: File,
}

/// A journal in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The latest life of it; `None` if nothing tells.
    pub epoch: Option<u64>,
    /// Files with frames, and their bytes.
    pub segments: usize,
    /// Bytes of those files.
    pub segment_bytes: u64,
    /// Files that wait for their next use.
    pub spares: usize,
    /// Bytes of those files.
    pub spare_bytes: u64,
    /// The last frame that was drained, and the last one that was acknowledged.
    pub released: Lsn,
    /// The last frame that was acknowledged.
    pub end: Lsn,
    /// Records that wait to be drained.
    pub records: u64,
    /// True if there is a mark. Without one everything counts as waiting.
    pub has_mark: bool,
    /// Files that hold nothing that can be read.
    pub unreadable: Vec<String>,
    /// Names that are not ours.
    pub foreign: Vec<String>,
    /// Files in `quarantine`.
    pub quarantined: usize,
}

/// What a walk comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen<'a> {
    /// A frame.
    Frame {
        /// It.
        frame: Frame<'a>,
        /// It waits to be drained.
        waits: bool,
    },
    /// A range of a file that holds no frame although it should, or may.
    Damaged {
        /// The segment.
        segment: u64,
        /// Where in its file.
        at: u64,
        /// How many bytes.
        bytes: u64,
        /// Frames and records that are lost with it: counting before and behind. Equal if nobody was told that they are safe, or
        /// if they had been drained.
        lost: (Count, Count),
    },
    /// Frames of which nothing is left, for a file or the end of one is missing: counting before and behind.
    Missing(Count, Count),
}

impl Inspection {
    /// Takes the lock of `directory` and looks at what is there.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        let lock = folder::lock(directory)?;
        let stock = recovery::take_stock(directory)?;
        Ok(Self { directory: directory.to_owned(), stock, _lock: lock })
    }

    /// True if there is a journal in `directory`, as far as the names tell.
    pub fn is_here(directory: &Path) -> Result<bool, JournalError> {
        let found = folder::list(directory)?;
        Ok(!found.segments.is_empty() || !found.spares.is_empty() || directory.join(super::mark::NAME).exists())
    }

    /// The journal in figures.
    pub fn summary(&self) -> Summary {
        let stock = &self.stock;
        let (released, end) = (stock.released(), stock.end().1);
        let unreadable = stock.bad.iter().map(|number| format!("journal-{number:020}.seg"));
        let quarantined = std::fs::read_dir(self.directory.join("quarantine")).map_or(0, Iterator::count);
        Summary {
            epoch: stock.epoch,
            segments: stock.segments.len(),
            segment_bytes: stock.segments.iter().map(|segment| segment.bytes).sum(),
            spares: stock.spares.len(),
            spare_bytes: stock.spares.values().sum(),
            released: Lsn(released.lsn - 1),
            end: Lsn(end.lsn - 1),
            records: end.record.saturating_sub(released.record),
            has_mark: stock.mark.is_some(),
            unreadable: unreadable.collect(),
            foreign: stock.foreign.clone(),
            quarantined,
        }
    }

    /// Shows all that is in the files to `visit`, in order; what was drained and is still there, too.
    pub fn walk<E: From<JournalError>>(&self, mut visit: impl FnMut(Seen<'_>) -> Result<(), E>) -> Result<(), E> {
        let released = self.stock.released();
        let first = self.stock.segments.first().map_or(released, |first| first.before.max(first.first));
        let mut expected = released.min(first);
        for segment in &self.stock.segments {
            miss(&mut expected, segment.before, released, &mut visit)?;
            expected = expected.max(segment.first);
            self.walk_segment(segment, &mut expected, released, &mut visit)?;
            miss(&mut expected, segment.after, released, &mut visit)?;
        }
        miss(&mut expected, self.stock.end().1, released, &mut visit)
    }

    fn walk_segment<E: From<JournalError>>(
        &self,
        segment: &Segment,
        expected: &mut Count,
        released: Count,
        visit: &mut impl FnMut(Seen<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = folder::segment_path(&self.directory, segment.number);
        let bytes = std::fs::read(&path).map_err(JournalError::io("cannot read", &path))?;
        let salt = self.stock.store.map_or(0, |store| store.salt);
        let stamp = Stamp { segment: segment.number, salt };
        let end = usize::try_from(segment.end).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(end)];
        let mut at = HEADER_BYTES as usize;
        while at < end {
            let here = bytes.get(at..).unwrap_or_default();
            let header = stamp.header(here);
            if let Some(header) = header
                && let Some(payload) = scan::payload(&header, here)
            {
                let frame = Frame {
                    lsn: Lsn(header.count.lsn),
                    records: header.records,
                    first_record: header.count.record,
                    payload,
                };
                miss(expected, header.count, released, visit)?;
                *expected = (*expected).max(header.after());
                visit(Seen::Frame { frame, waits: header.count.lsn >= released.lsn })?;
                at += header.size();
                continue;
            }
            let (to, count) = match header {
                Some(header) => ((at + header.size()).min(end), header.after()),
                None => match stamp.find(bytes, at + GRID) {
                    Some(next) => (next, stamp.header(&bytes[next..]).map_or(segment.after, |header| header.count)),
                    None => (end, segment.after),
                },
            };
            let from = (*expected).max(released);
            let is_lost = (at as u64) < segment.settled && from.lsn < count.lsn;
            let lost = if is_lost { (from, count) } else { (count, count) };
            visit(Seen::Damaged { segment: segment.number, at: at as u64, bytes: (to - at) as u64, lost })?;
            *expected = (*expected).max(count);
            at = to;
        }
        Ok(())
    }
}

/// Everything up to `count` should have come.
fn miss<E>(
    expected: &mut Count,
    count: Count,
    released: Count,
    visit: &mut impl FnMut(Seen<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let from = (*expected).max(released);
    *expected = (*expected).max(count);
    if from.lsn < count.lsn { visit(Seen::Missing(from, count)) } else { Ok(()) }
}

const _: () = assert!(FRAME_HEADER_BYTES.is_multiple_of(GRID), "frames stand on the grid");
