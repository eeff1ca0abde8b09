//! What the spool promises, tried.

mod files;
mod lanes;
mod limits;
mod model;
mod power;
mod stream;
mod sums;

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::*;

/// When all tests begin, in seconds since 1970.
const SECONDS: u64 = 1_700_000_000;

/// Small segments, and nothing is kept once it is confirmed.
fn config(folder: &Path) -> SpoolConfig {
    SpoolConfig {
        directory: folder.to_owned(),
        bytes_max: 1 << 20,
        segment_bytes: 100,
        sync: Sync::Never,
        retention_bytes: 0,
        retention: Duration::ZERO,
        lanes: Lanes::default(),
    }
}

fn open(config: &SpoolConfig) -> (Arc<Spool>, Writer) {
    Spool::open(config.clone(), SECONDS, Instant::now()).expect("the spool opens")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Byte `offset` of every stream. Neighbours differ, and so do the same places of neighbouring segments.
fn byte(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn bytes(range: std::ops::Range<u64>) -> Vec<u8> {
    range.map(byte).collect()
}

/// Appends the next `count` bytes of the stream, as far as there is room.
fn append(writer: &mut Writer, count: u64) -> Result<(), NoRoom> {
    let mut left = count;
    while left > 0 {
        let end = writer.spool.end().offset;
        let (file, at, room) = writer.target()?;
        let step = left.min(room as u64);
        assert!(step > 0, "a target without room");
        file.write_all_at(&bytes(end..end + step), at).expect("write");
        writer.grew(step, Instant::now())?;
        left -= step;
    }
    Ok(())
}

/// All that follows `from`: stretches with the position at which each begins.
fn read_all(spool: &Arc<Spool>, from: Position) -> Vec<(Position, Vec<u8>)> {
    let mut reader = Reader::new(Arc::clone(spool), from);
    let mut stretches = vec![(from, Vec::new())];
    let mut buffer = [0; 37];
    loop {
        match reader.read(&mut buffer).expect("read") {
            Read::Bytes(count) => {
                assert!(count > 0, "no bytes and no end");
                stretches.last_mut().expect("one").1.extend_from_slice(&buffer[..count]);
            }
            Read::Break(next) => stretches.push((next, Vec::new())),
            Read::Damaged(_) => panic!("nothing was damaged"),
            Read::End => return stretches,
        }
    }
}

fn at(epoch: Epoch, offset: u64) -> Position {
    Position { epoch, offset }
}

/// The segments in the folder and their sizes.
fn segments_on_disk(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let entries = std::fs::read_dir(folder).expect("list").map(|entry| entry.expect("entry"));
    let segments = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".seg"));
    segments.map(|entry| (entry.path(), entry.metadata().expect("metadata").len())).collect()
}

fn bytes_on_disk(folder: &Path) -> u64 {
    segments_on_disk(folder).values().sum()
}

/// Makes the next open believe that the machine was restarted.
fn reboot(folder: &Path) {
    std::fs::write(folder.join("boot"), "another run of the machine\n").expect("write");
}

fn cut(path: &Path, bytes: u64) {
    std::fs::File::options().write(true).open(path).expect("open").set_len(bytes).expect("cut");
}
