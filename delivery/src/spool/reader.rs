//! Following the stream from a position.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::sums::Sums;
use super::{Segment, Spool, SpoolError, folder};
use crate::position::{Epoch, Position};

/// What reading on brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// This many bytes.
    Bytes(usize),
    /// This many bytes, of which at least one is not what it was when it came: the file was damaged while it waited.
    Damaged(usize),
    /// Nothing for now: the end of the stream.
    End,
    /// The stream is interrupted; it goes on at this position. What was read before and is incomplete stays so.
    Break(Position),
}

/// Reads the stream in order. There is one.
#[derive(Debug)]
pub struct Reader {
    spool: Arc<Spool>,
    pub(super) at: Position,
    open: Option<(Epoch, u64, File, Sums)>,
}

impl Reader {
    /// A reader that begins at `at`.
    pub fn new(spool: Arc<Spool>, at: Position) -> Self {
        Self { spool, at, open: None }
    }

    /// Where the next byte comes from.
    pub fn at(&self) -> Position {
        self.at
    }

    /// Goes on at `at`.
    pub fn seek(&mut self, at: Position) {
        self.at = at;
        self.open = None;
    }

    /// Reads into `buffer`.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<Read, SpoolError> {
        loop {
            let segment = match self.find() {
                Ok(segment) => segment,
                Err(None) => {
                    self.let_go();
                    return Ok(Read::End);
                }
                Err(Some(next)) => {
                    self.seek(next);
                    return Ok(Read::Break(next));
                }
            };
            let left = usize::try_from(segment.end - self.at.offset).unwrap_or(usize::MAX);
            let wanted = left.min(buffer.len());
            if wanted == 0 {
                return Ok(Read::Bytes(0));
            }
            let path = folder::path(&self.spool.config.directory, segment.epoch, segment.start);
            let failed = |error| SpoolError::io("cannot be read in", &path)(error);
            let directory = &self.spool.config.directory;
            let (file, mut sums) = match self.open.take() {
                Some((epoch, start, file, sums)) if (epoch, start) == (segment.epoch, segment.start) => (file, sums),
                _ => match File::open(&path) {
                    // It was freed since it was found.
                    Err(error)
                        if error.kind() == io::ErrorKind::NotFound
                            && !self.spool.has_segment(segment.epoch, segment.start) =>
                    {
                        continue;
                    }
                    opened => {
                        let sums = Sums::load(directory, segment.epoch, segment.start);
                        (opened.map_err(failed)?, sums)
                    }
                },
            };
            let count = file.read_at(&mut buffer[..wanted], self.at.offset - segment.start).map_err(failed)?;
            if count == 0 {
                // The file is shorter than it was: somebody cut it while we run.
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            let offset = self.at.offset - segment.start;
            let mut judged = sums.judge(&file, offset, &buffer[..count]);
            if !judged.1 {
                // The sums may have been read in the middle of a write: nothing is condemned on one look.
                sums = Sums::load(directory, segment.epoch, segment.start);
                judged = sums.judge(&file, offset, &buffer[..count]);
            }
            let (count, good) = judged;
            self.open = Some((segment.epoch, segment.start, file, sums));
            self.at.offset += count as u64;
            return Ok(if good { Read::Bytes(count) } else { Read::Damaged(count) });
        }
    }

    /// The segment that holds the next byte; if there is none, where the stream goes on.
    fn find(&self) -> Result<Segment, Option<Position>> {
        let state = self.spool.state();
        let here = |s: &&Segment| s.epoch == self.at.epoch && s.start <= self.at.offset && self.at.offset < s.end;
        let ahead = |s: &&Segment| (s.epoch, s.start) > (self.at.epoch, self.at.offset) && s.end > s.start;
        let found = state.segments.iter().find(here).copied();
        found.ok_or_else(|| state.segments.iter().find(ahead).map(|s| Position { epoch: s.epoch, offset: s.start }))
    }

    /// Closes a file that was freed: until then the disk does not have its room back.
    fn let_go(&mut self) {
        let spool = &self.spool;
        self.open.take_if(|(epoch, start, ..)| !spool.has_segment(*epoch, *start));
    }
}
