//! Following the stream from a position.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::{Spool, SpoolError, folder};
use crate::position::{Epoch, Position};

/// What reading on brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// This many bytes.
    Bytes(usize),
    /// Nothing for now: the end of the stream.
    End,
    /// The stream is interrupted; it goes on at this position. What was read before and is incomplete stays so.
    Break(Position),
}

/// Reads the stream in order. There is one.
#[derive(Debug)]
pub struct Reader {
    spool: Arc<Spool>,
    at: Position,
    open: Option<(Epoch, u64, File)>,
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
        let (segment, next) = {
            let state = self.spool.state();
            let found = state
                .segments
                .iter()
                .position(|s| s.epoch == self.at.epoch && s.start <= self.at.offset && self.at.offset < s.end);
            if let Some(index) = found {
                (Some(state.segments[index]), None)
            } else {
                let ahead =
                    |s: &&super::Segment| (s.epoch, s.start) > (self.at.epoch, self.at.offset) && s.end > s.start;
                (None, state.segments.iter().find(ahead).map(|s| Position { epoch: s.epoch, offset: s.start }))
            }
        };
        let Some(segment) = segment else {
            return Ok(next.map_or(Read::End, |next| {
                self.seek(next);
                Read::Break(next)
            }));
        };
        let left = usize::try_from(segment.end - self.at.offset).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        if wanted == 0 {
            return Ok(Read::Bytes(0));
        }
        let path = folder::path(&self.spool.config.directory, segment.epoch, segment.start);
        let failed = |error| SpoolError::io("cannot be read in", &path)(error);
        if self.open.as_ref().is_none_or(|(epoch, start, _)| (*epoch, *start) != (segment.epoch, segment.start)) {
            self.open = Some((segment.epoch, segment.start, File::open(&path).map_err(failed)?));
        }
        let file = self.open.as_ref().map(|(_, _, file)| file);
        let count = match file {
            Some(file) => file.read_at(&mut buffer[..wanted], self.at.offset - segment.start).map_err(failed)?,
            None => 0,
        };
        if count == 0 {
            // The file is shorter than it was: somebody cut it while we run.
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        self.at.offset += count as u64;
        Ok(Read::Bytes(count))
    }
}
