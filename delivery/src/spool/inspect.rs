//! Looking at a spool that nobody uses, without changing anything in it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::lanes::{Lanes, Noted};
use super::sums::Sums;
use super::{Segment, SpoolError, folder, mark};
use crate::position::Position;

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// A spool that is looked at. Nobody else can use it meanwhile.
#[derive(Debug)]
pub struct Inspection {
    directory: PathBuf,
    segments: Vec<Segment>,
    foreign: Vec<String>,
    acked: Option<Position>,
    /// The same for each lane.
    each: Vec<Option<Position>>,
    lanes: Lanes,
    _lock: File,
}

/// What a walk comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen<'a> {
    /// Bytes of the stream.
    Bytes {
        /// Where the first of them stands.
        at: Position,
        /// They.
        bytes: &'a [u8],
        /// False if they are not what they were when they came.
        good: bool,
    },
    /// Bytes that are missing: from here up to this offset.
    Gap(Position, u64),
    /// A file is longer than the place that it has: what begins here is left alone, so many bytes.
    Surplus(Position, u64),
}

impl Inspection {
    /// Takes the lock of `directory` and looks at what is there.
    pub fn open(directory: &Path) -> Result<Self, SpoolError> {
        let lock = folder::lock(directory)?;
        let (mut segments, foreign) = folder::list(directory)?;
        let noted = Noted::read(directory)?;
        // What is older waits for nobody, if it is still there.
        segments.retain(|segment| segment.epoch >= noted.epoch);
        let now = |acked: &Position| acked.epoch >= noted.epoch;
        let lines = mark::read(directory);
        let acked = lines.first().copied().flatten().filter(now);
        let each = match noted.lanes.count {
            1 => vec![acked],
            count => (1..=count).map(|lane| lines.get(lane).copied().flatten().filter(now)).collect(),
        };
        Ok(Self { directory: directory.to_owned(), segments, foreign, acked, each, lanes: noted.lanes, _lock: lock })
    }

    /// True if there is a stream in `directory`, as far as the names tell.
    pub fn is_here(directory: &Path) -> Result<bool, SpoolError> {
        Ok(!folder::list(directory)?.0.is_empty() || directory.join("acked").exists())
    }

    /// Up to here Redis had everything, as far as it was noted.
    pub fn acked(&self) -> Option<Position> {
        self.acked
    }

    /// The same for each lane.
    pub fn acked_of_each(&self) -> &[Option<Position>] {
        &self.each
    }

    /// By what the stream is split.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Where each segment begins, and its bytes.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = (Position, u64)> {
        self.segments.iter().map(|s| (Position { epoch: s.epoch, offset: s.start }, s.bytes()))
    }

    /// One past the last byte.
    pub fn end(&self) -> Option<Position> {
        self.segments.last().map(Segment::last)
    }

    /// Bytes behind the confirmed position.
    pub fn waiting(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes_after(self.acked)).sum()
    }

    /// Names that are not ours.
    pub fn foreign(&self) -> &[String] {
        &self.foreign
    }

    /// Shows all bytes to `visit`, in order.
    pub fn walk<E: From<SpoolError>>(&self, mut visit: impl FnMut(Seen<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut buffer = vec![0; CHUNK_BYTES];
        for (index, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(index + 1).filter(|next| next.epoch == segment.epoch);
            let end = next.map_or(segment.end, |next| next.start.min(segment.end));
            self.walk_segment(segment, end, &mut buffer, &mut visit)?;
            let place = Position { epoch: segment.epoch, offset: end };
            if segment.end > end {
                visit(Seen::Surplus(place, segment.end - end))?;
            } else if let Some(next) = next
                && next.start > end
            {
                visit(Seen::Gap(place, next.start))?;
            }
        }
        Ok(())
    }

    fn walk_segment<E: From<SpoolError>>(
        &self,
        segment: &Segment,
        end: u64,
        buffer: &mut [u8],
        visit: &mut impl FnMut(Seen<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = folder::path(&self.directory, segment.epoch, segment.start);
        let file = File::open(&path).map_err(SpoolError::io("cannot be read in", &path))?;
        let sums = Sums::load(&self.directory, segment.epoch, segment.start);
        let mut offset = 0;
        while offset < end - segment.start {
            let wanted = buffer.len().min((end - segment.start - offset) as usize);
            let chunk = &mut buffer[..wanted];
            file.read_exact_at(chunk, offset).map_err(SpoolError::io("cannot be read in", &path))?;
            let (count, good) = sums.judge(&file, offset, chunk);
            let at = Position { epoch: segment.epoch, offset: segment.start + offset };
            visit(Seen::Bytes { at, bytes: &buffer[..count], good })?;
            offset += count as u64;
        }
        Ok(())
    }
}
