//! What the journal promises, tried out.

mod basic;
mod damage;
mod edges;
mod failures;
pub(super) mod faults;
#[cfg(not(feature = "fault-points"))]
mod kills;
mod model;
mod rewind;
mod room;

mod threads;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::*;

pub(super) const NOW: u64 = 1_700_000_000;

fn config(directory: &Path) -> JournalConfig {
    JournalConfig { directory: directory.to_owned(), bytes_max: 1 << 20, segment_bytes: 64 << 10, sync: Sync::Always }
}

fn open(config: &JournalConfig) -> (Arc<Journal>, Reader) {
    once_free(|| Journal::open(config.clone(), NOW))
}

/// What `open` brings once nobody holds the folder: a child that another test starts holds every lock of this process for the
/// moment between fork and exec.
fn once_free<T>(mut open: impl FnMut() -> Result<T, JournalError>) -> T {
    let begun = std::time::Instant::now();
    loop {
        match open() {
            Err(JournalError::InUse { .. }) if begun.elapsed().as_secs() < 10 => std::thread::yield_now(),
            opened => return opened.expect("open"),
        }
    }
}

/// In memory where there is such a place: the disk's own pace would be most of the time.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder")
}

/// A payload that tells its number and is `len` bytes long, at least 8.
fn payload(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(len.max(8), number as u8);
    bytes
}

fn number(payload: &[u8]) -> u64 {
    let number = format::u64_at(payload, 0);
    assert_eq!(payload, super::tests::payload(number, payload.len()), "a payload that nobody appended");
    number
}

/// The numbers of all payloads that are there to be read.
fn drain(reader: &mut Reader) -> Vec<(Lsn, u64)> {
    let mut found = Vec::new();
    while let Some(frame) = reader.next().expect("read") {
        found.push((frame.lsn, number(frame.payload)));
    }
    found
}

fn numbers(reader: &mut Reader) -> Vec<u64> {
    drain(reader).into_iter().map(|(_, number)| number).collect()
}

fn lost(journal: &Journal) -> (u64, u64) {
    (journal.damage().lost_frames.load(Relaxed), journal.damage().lost_records.load(Relaxed))
}
