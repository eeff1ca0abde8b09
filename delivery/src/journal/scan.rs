//! Walking over the frames of a segment, whatever state it is in. Bytes in, places out: no files.

use super::format::{Count, FRAME_MAGIC, FrameHeader, GRID};

/// How frames of one segment are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub segment: u64,
    pub salt: u32,
}

impl Stamp {
    /// The header of a frame at the start of `bytes`.
    pub fn header(self, bytes: &[u8]) -> Option<FrameHeader> {
        FrameHeader::decode(bytes, self.segment, self.salt)
    }

    /// The place of the first whole header at or behind `from`, which is a multiple of [`GRID`].
    pub fn find(self, bytes: &[u8], from: usize) -> Option<usize> {
        (from..bytes.len()).step_by(GRID).find(|at| {
            let here = &bytes[*at..];
            here.starts_with(&FRAME_MAGIC) && self.header(here).is_some()
        })
    }
}

/// The payload of the frame that begins `bytes`, if it is all there and undamaged.
pub(super) fn payload<'a>(header: &FrameHeader, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let start = super::format::FRAME_HEADER_BYTES;
    let payload = bytes.get(start..start + header.len as usize)?;
    (crc32c::crc32c(payload) == header.payload_sum).then_some(payload)
}

/// What the frames of a segment tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Survey {
    /// Where the last good frame ends.
    pub end: usize,
    /// Counting at the first good frame, and behind the last one.
    pub first: Option<Count>,
    pub after: Count,
    /// The highest count that any header implies: those numbers were given out.
    pub highest: Count,
    /// Everything before this offset of the file had been acknowledged.
    pub settled: u64,
    /// Good frames.
    pub frames: u64,
}

/// Looks at all of `bytes`, the part of a segment behind its header.
pub(super) fn survey(bytes: &[u8], stamp: Stamp) -> Survey {
    let mut found = Survey::default();
    let mut at = 0;
    while at < bytes.len() {
        let here = &bytes[at..];
        let Some(header) = stamp.header(here) else {
            match stamp.find(bytes, at + GRID) {
                Some(next) => at = next,
                None => break,
            }
            continue;
        };
        found.settled = found.settled.max(header.settled);
        found.highest = found.highest.max(header.after());
        if payload(&header, here).is_some() {
            found.first.get_or_insert(header.count);
            found.after = header.after();
            found.end = (at + header.size()).min(bytes.len());
            found.frames += 1;
        }
        at += header.size();
    }
    found
}
