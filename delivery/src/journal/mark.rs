//! The file `mark`: how far the journal was drained, and how far it had been acknowledged, as far as it was noted.
//!
//! Two slots in two blocks, written in turn: a torn write leaves the other one. It may lag: what is read again is recognised by the
//! cursors in Redis. It is forced to disk before a segment is given up.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::format::{self, Count, Store, VERSION, put_u32, put_u64, u32_at, u64_at};
use super::{JournalError, disk::Disk};
use crate::descriptor::above_standard;

const MAGIC: [u8; 8] = *b"OMRMARK1";
/// Bytes of a slot, and how far the two are apart.
const SLOT_BYTES: usize = 512;
const SLOT_STEP: u64 = 4096;
/// The file's name.
pub(super) const NAME: &str = "mark";

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The store that it is about.
    pub store: Store,
    /// Grows by one with each mark.
    pub generation: u64,
    /// The latest life of the store.
    pub epoch: u64,
    /// Everything before was drained.
    pub released: Count,
    /// Where the next frame to drain begins, or a place before it.
    pub from: (u64, u64),
    /// Where the last acknowledged frame ends: segment and offset.
    pub settled_at: (u64, u64),
    /// Where counting stood there.
    pub settled: Count,
}

impl Mark {
    fn encode(&self) -> Vec<u8> {
        let mut slot = vec![0; SLOT_BYTES];
        slot[..8].copy_from_slice(&MAGIC);
        put_u32(&mut slot, 8, VERSION);
        put_u32(&mut slot, 16, self.store.family);
        put_u32(&mut slot, 20, self.store.salt);
        let numbers = [
            self.generation,
            self.epoch,
            self.released.lsn,
            self.released.record,
            self.from.0,
            self.from.1,
            self.settled_at.0,
            self.settled_at.1,
            self.settled.lsn,
            self.settled.record,
        ];
        for (index, number) in numbers.into_iter().enumerate() {
            put_u64(&mut slot, 24 + 8 * index, number);
        }
        format::seal(&mut slot);
        slot
    }

    /// A slot; the error is the version of a later program.
    fn decode(slot: &[u8]) -> Result<Option<Self>, u32> {
        let Some(slot) = slot.get(..SLOT_BYTES) else { return Ok(None) };
        match format::sealed_version(slot, MAGIC) {
            Some(VERSION) => {}
            Some(version) => return Err(version),
            None => return Ok(None),
        }
        let number = |index: usize| u64_at(slot, 24 + 8 * index);
        Ok(Some(Self {
            store: Store { family: u32_at(slot, 16), salt: u32_at(slot, 20) },
            generation: number(0),
            epoch: number(1),
            released: Count { lsn: number(2), record: number(3) },
            from: (number(4), number(5)),
            settled_at: (number(6), number(7)),
            settled: Count { lsn: number(8), record: number(9) },
        }))
    }
}

/// The later of the two slots that `bytes` of a mark file hold.
fn latest(bytes: &[u8]) -> Result<Option<Mark>, u32> {
    let first = Mark::decode(bytes)?;
    let second = bytes.get(SLOT_STEP as usize..).map_or(Ok(None), Mark::decode)?;
    Ok(first.into_iter().chain(second).max_by_key(|mark| mark.generation))
}

/// Reads the mark in `folder` without touching it.
pub(super) fn read(folder: &Path) -> Result<Option<Mark>, JournalError> {
    let path = folder.join(NAME);
    match std::fs::read(&path) {
        Ok(bytes) => latest(&bytes).map_err(|version| JournalError::Version { path, version }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(JournalError::io("cannot read its mark in", &path)(error)),
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: File,
    path: PathBuf,
}

impl MarkFile {
    /// Opens or creates it. A full disk is found out when it is written.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(NAME);
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).and_then(above_standard);
        Ok(Self { file: file.map_err(JournalError::io("cannot keep its mark in", &path))?, path })
    }

    /// Writes `mark` into the slot that is its turn.
    pub fn write(&self, disk: &Disk, mark: &Mark) -> Result<(), JournalError> {
        let at = (mark.generation % 2) * SLOT_STEP;
        let written = disk.write(&self.file, &self.path, &mark.encode(), at);
        written.map_err(JournalError::io("cannot write its mark", &self.path))
    }

    /// Forces it to the disk.
    pub fn sync(&self, disk: &Disk) -> Result<(), JournalError> {
        disk.sync(&self.file, &self.path).map_err(JournalError::io("cannot sync its mark", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(generation: u64) -> Mark {
        Mark {
            store: Store { family: 1, salt: 2 },
            generation,
            epoch: 3,
            released: Count { lsn: 4, record: 5 },
            from: (6, 7),
            settled_at: (8, 9),
            settled: Count { lsn: 10, record: 11 },
        }
    }

    #[test]
    fn a_damaged_slot_leaves_the_one_before() {
        let mut file = vec![0; SLOT_STEP as usize + SLOT_BYTES];
        file[..SLOT_BYTES].copy_from_slice(&mark(8).encode());
        file[SLOT_STEP as usize..].copy_from_slice(&mark(9).encode());
        assert_eq!(latest(&file), Ok(Some(mark(9))));
        for bit in 0..SLOT_BYTES * 8 {
            let mut bad = file.clone();
            bad[SLOT_STEP as usize + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(latest(&bad), Ok(Some(mark(8))), "bit {bit}");
        }
        for cut in 0..file.len() {
            let left = latest(&file[..cut]).expect("no version");
            assert_eq!(left, (cut >= SLOT_BYTES).then(|| mark(8)), "cut at {cut}");
        }
    }
}
