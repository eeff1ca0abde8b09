//! Checksums beside a segment, for bytes that wait: the file `E-O.sum` has one entry for each block of `E-O.seg`.
//!
//! The stream itself is taken in without being looked at, so its checksums are made afterwards, by a thread that has the time, and only
//! for bytes that Redis has not confirmed: while Redis takes records at once none are made. They tell damage that comes to a file
//! while it waits, a flipped bit above all. They are a help: a missing entry means that nothing is known.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use super::{Segment, Spool, SpoolError, folder};
use crate::position::Epoch;

/// Bytes that one checksum covers: what a disk and the page cache lose together.
pub(super) const BLOCK_BYTES: u64 = 4096;
/// Bytes of an entry: how many bytes of the block it covers, and their CRC-32C, both little endian.
const ENTRY_BYTES: u64 = 8;
/// Bytes that are read at a time.
const CHUNK_BYTES: u64 = 256 << 10;

/// What is known of one segment.
#[derive(Debug, Default)]
pub(super) struct Sums {
    entries: Vec<(u32, u32)>,
}

impl Sums {
    /// Reads what there is. A file that is missing or cannot be read says nothing.
    pub fn load(folder: &Path, epoch: Epoch, start: u64) -> Self {
        let bytes = std::fs::read(folder::sum_path(folder, epoch, start)).unwrap_or_default();
        let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let entries = bytes.chunks_exact(ENTRY_BYTES as usize).map(|entry| (word(entry), word(&entry[4..]))).collect();
        Self { entries }
    }

    /// Takes back what was said of bytes that `segment` does not have any more: nothing is known against those that are left.
    /// How many bytes are missing, at least.
    pub fn fit(folder: &Path, segment: &Segment) -> io::Result<u64> {
        let sums = Self::load(folder, segment.epoch, segment.start);
        let (whole, rest) = (segment.bytes() / BLOCK_BYTES, segment.bytes() % BLOCK_BYTES);
        let fits = sums.entry(whole).is_some_and(|(length, _)| length as u64 <= rest);
        let entries = whole + u64::from(fits);
        if sums.entries.len() as u64 > entries {
            let file = File::options().write(true).open(folder::sum_path(folder, segment.epoch, segment.start))?;
            file.set_len(entries * ENTRY_BYTES)?;
        }
        Ok(sums.covered().saturating_sub(segment.bytes()))
    }

    /// How many bytes of `block` are covered, and by which sum.
    fn entry(&self, block: u64) -> Option<(usize, u32)> {
        let (length, sum) = *self.entries.get(usize::try_from(block).ok()?)?;
        (1..=BLOCK_BYTES as u32).contains(&length).then_some((length as usize, sum))
    }

    /// One past the last byte that is covered.
    fn covered(&self) -> u64 {
        let last = self.entries.len() as u64;
        let block = (0..last).rev().find(|block| self.entry(*block).is_some());
        block.map_or(0, |block| block * BLOCK_BYTES + self.entry(block).map_or(0, |(length, _)| length as u64))
    }

    /// How many of `bytes`, which stand at `offset` of `file`, are of the same kind, and whether that is undamaged.
    pub fn judge(&self, file: &File, offset: u64, bytes: &[u8]) -> (usize, bool) {
        if self.entries.is_empty() {
            return (bytes.len(), true);
        }
        let mut kind = None;
        let mut count = 0;
        while count < bytes.len() {
            let at = offset + count as u64;
            let block = at / BLOCK_BYTES;
            let good = self.is_good(file, block, offset, bytes);
            if *kind.get_or_insert(good) != good {
                break;
            }
            count = bytes.len().min(((block + 1) * BLOCK_BYTES - offset) as usize);
        }
        (count, kind.unwrap_or(true))
    }

    fn is_good(&self, file: &File, block: u64, offset: u64, bytes: &[u8]) -> bool {
        let Some((length, sum)) = self.entry(block) else { return true };
        let begin = block * BLOCK_BYTES;
        let here = begin.checked_sub(offset).and_then(|from| bytes.get(from as usize..from as usize + length));
        if let Some(here) = here {
            return crc32c::crc32c(here) == sum;
        }
        let mut whole = vec![0; length];
        file.read_exact_at(&mut whole, begin).is_ok() && crc32c::crc32c(&whole) == sum
    }
}

/// Makes checksums for what waits. There is one.
#[derive(Debug)]
pub struct Summer {
    spool: Arc<Spool>,
    segments: HashMap<(Epoch, u64), Known>,
}

/// What the summer remembers of a segment, as offsets in it.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// One past the last byte that is covered, or was confirmed before it was.
    covered: u64,
    /// Its end at the last round: what came since then has not waited yet.
    seen: u64,
}

impl Summer {
    /// For `spool`.
    pub fn new(spool: Arc<Spool>) -> Self {
        Self { spool, segments: HashMap::new() }
    }

    /// Covers what had come at the last round and still waits. To be called now and then; an error costs only the help.
    pub fn round(&mut self) -> Result<(), SpoolError> {
        let (segments, acked) = self.spool.waiting_segments();
        self.segments.retain(|key, _| segments.iter().any(|segment| *key == (segment.epoch, segment.start)));
        for segment in segments {
            let confirmed = acked.filter(|acked| acked.epoch == segment.epoch);
            let confirmed = confirmed.map_or(0, |acked| acked.offset.saturating_sub(segment.start));
            self.cover(&segment, confirmed)?;
        }
        Ok(())
    }

    fn cover(&mut self, segment: &Segment, confirmed: u64) -> Result<(), SpoolError> {
        let directory = &self.spool.config.directory;
        let key = (segment.epoch, segment.start);
        let known = self.segments.get(&key).copied();
        let sums = match known {
            Some(known) if known.covered.max(confirmed) >= known.seen => Sums::default(),
            _ => Sums::load(directory, segment.epoch, segment.start),
        };
        let Known { covered, seen: end } = known.unwrap_or(Known { covered: sums.covered(), seen: 0 });
        let covered = covered.max(confirmed);
        self.segments.insert(key, Known { covered: covered.max(end), seen: segment.bytes() });
        let mut at = covered;
        if at >= end {
            return Ok(());
        }
        let path = folder::path(directory, segment.epoch, segment.start);
        let file = File::open(&path).map_err(SpoolError::io("cannot be read in", &path))?;
        let sum_path = folder::sum_path(directory, segment.epoch, segment.start);
        let out = File::options().write(true).create(true).truncate(false).mode(0o640).open(&sum_path);
        let out = out.map_err(SpoolError::io("cannot write its sums", &sum_path))?;
        let mut bytes = Vec::new();
        while at < end {
            let from = at / BLOCK_BYTES * BLOCK_BYTES;
            let to = end.min(from + CHUNK_BYTES);
            bytes.resize((to - from) as usize, 0);
            file.read_exact_at(&mut bytes, from).map_err(SpoolError::io("cannot be read in", &path))?;
            let block = from / BLOCK_BYTES;
            // A block that was covered in part must still be what it was: damage must not get a sum of its own.
            let grown = sums
                .entry(block)
                .is_none_or(|(length, sum)| bytes.get(..length).is_some_and(|before| crc32c::crc32c(before) == sum));
            let skip = usize::from(!grown);
            let entries = bytes
                .chunks(BLOCK_BYTES as usize)
                .skip(skip)
                .flat_map(|bytes| [(bytes.len() as u32).to_le_bytes(), crc32c::crc32c(bytes).to_le_bytes()].concat());
            let written = out.write_all_at(&entries.collect::<Vec<u8>>(), (block + skip as u64) * ENTRY_BYTES);
            written.map_err(SpoolError::io("cannot write its sums", &sum_path))?;
            at = to;
        }
        Ok(())
    }
}
