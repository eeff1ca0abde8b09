//! Damage to files that wait.

use std::fs;

use super::*;
use crate::spool::sums::{BLOCK_BYTES, Summer};

const BLOCK: usize = BLOCK_BYTES as usize;

fn open_large(folder: &Path) -> (Arc<Spool>, Writer) {
    open(&SpoolConfig { segment_bytes: 1 << 20, bytes_max: 8 << 20, ..config(folder) })
}

fn put(writer: &mut Writer, bytes: &[u8]) {
    let (file, at, room) = writer.target().expect("room");
    assert!(room >= bytes.len(), "one segment is enough");
    file.write_all_at(bytes, at).expect("write");
    writer.grew(bytes.len() as u64, Instant::now()).expect("grew");
}

/// A spool of one segment with `bytes` that have sums, closed; and its segment's path.
fn summed(folder: &Path, bytes: &[u8]) -> PathBuf {
    let (spool, mut writer) = open_large(folder);
    put(&mut writer, bytes);
    let mut summer = Summer::new(Arc::clone(&spool));
    summer.round().expect("the first round only looks");
    summer.round().expect("the second covers what still waits");
    let end = spool.end();
    crate::spool::folder::path(folder, end.epoch, 0)
}

/// Undamaged and damaged stretches as they are read.
fn kinds(folder: &Path) -> Vec<(bool, Vec<u8>)> {
    let (spool, _writer) = open_large(folder);
    let at = Position { epoch: spool.held()[0].epoch, offset: spool.held()[0].start };
    let mut reader = Reader::new(Arc::clone(&spool), at);
    let (mut buffer, mut kinds) = (vec![0; 3 * BLOCK - 100], Vec::<(bool, Vec<u8>)>::new());
    loop {
        let (good, count) = match reader.read(&mut buffer).expect("read") {
            Read::Bytes(count) => (true, count),
            Read::Damaged(count) => (false, count),
            Read::End => return kinds,
            Read::Break(_) => panic!("one segment"),
        };
        match kinds.last_mut() {
            Some((kind, bytes)) if *kind == good => bytes.extend_from_slice(&buffer[..count]),
            _ => kinds.push((good, buffer[..count].to_vec())),
        }
    }
}

fn stream(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

#[test]
fn a_flipped_bit_condemns_its_block_and_nothing_else() {
    let whole = stream(10 * BLOCK + 77);
    for flipped in [0, BLOCK - 1, BLOCK, 5 * BLOCK + 9, 10 * BLOCK, 10 * BLOCK + 76] {
        let dir = tempfile::tempdir().expect("folder");
        let path = summed(dir.path(), &whole);
        let mut bytes = fs::read(&path).expect("read");
        bytes[flipped] ^= 0x10;
        fs::write(&path, &bytes).expect("write");
        let kinds = kinds(dir.path());
        let joined: Vec<u8> = kinds.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        assert_eq!(joined, bytes, "nothing is swallowed");
        let bad: Vec<&Vec<u8>> = kinds.iter().filter(|(good, _)| !good).map(|(_, bytes)| bytes).collect();
        let begin = flipped / BLOCK * BLOCK;
        assert_eq!(bad, [&bytes[begin..bytes.len().min(begin + BLOCK)].to_vec()], "flipped {flipped}");
    }
}

#[test]
fn what_is_whole_stays_whole_and_what_has_no_sum_is_believed() {
    let dir = tempfile::tempdir().expect("folder");
    let whole = stream(7 * BLOCK + 1);
    let path = summed(dir.path(), &whole);
    assert_eq!(kinds(dir.path()), [(true, whole.clone())]);
    // It grows on: the part of a block that is new is not known, the part that was is.
    let (spool, mut writer) = open_large(dir.path());
    put(&mut writer, &[7; 100]);
    drop((spool, writer));
    assert_eq!(kinds(dir.path()), [(true, [&whole[..], &[7; 100]].concat())]);
    fs::write(path.with_extension("sum"), b"garbage").expect("write");
    assert_eq!(kinds(dir.path()).len(), 1);
    fs::remove_file(path.with_extension("sum")).expect("remove");
    assert_eq!(kinds(dir.path()).len(), 1);
}

#[test]
fn damage_does_not_get_a_sum_of_its_own() {
    let dir = tempfile::tempdir().expect("folder");
    let path = summed(dir.path(), &stream(BLOCK / 2));
    let mut bytes = fs::read(&path).expect("read");
    bytes[3] ^= 1;
    fs::write(&path, &bytes).expect("write");
    let (spool, mut writer) = open_large(dir.path());
    put(&mut writer, &stream(4 * BLOCK));
    let mut summer = Summer::new(Arc::clone(&spool));
    summer.round().expect("look");
    summer.round().expect("cover");
    drop((spool, writer, summer));
    let kinds = kinds(dir.path());
    assert!(
        !kinds[0].0 && kinds[0].1.len() == BLOCK,
        "{:?}",
        kinds.iter().map(|k| (k.0, k.1.len())).collect::<Vec<_>>()
    );
    assert!(kinds[1].0 && kinds.len() == 2);
}

#[test]
fn what_redis_takes_at_once_gets_no_sums() {
    let dir = tempfile::tempdir().expect("folder");
    let (spool, mut writer) = open_large(dir.path());
    let mut summer = Summer::new(Arc::clone(&spool));
    for _ in 0..10 {
        put(&mut writer, &stream(BLOCK));
        summer.round().expect("round");
        spool.release(0, spool.end(), Instant::now()).expect("release");
    }
    let sums = fs::read_dir(dir.path()).expect("list").filter_map(Result::ok);
    assert_eq!(sums.filter(|file| file.path().extension().is_some_and(|e| e == "sum")).count(), 0);
}

/// A file that lost its end lost the bytes there, and nothing is known against those that are left.
#[test]
fn bytes_before_a_cut_are_good() {
    for left in [0, 1, 4095, 4096, 5000, 8192, 9999] {
        let folder = folder();
        let bytes = stream(10_000);
        let path = summed(folder.path(), &bytes);
        cut(&path, left);
        let read: Vec<u8> = kinds(folder.path())
            .into_iter()
            .flat_map(|(good, bytes)| {
                assert!(good, "{left}: damaged");
                bytes
            })
            .collect();
        assert_eq!(read, bytes[..left as usize], "{left}");
    }
}

/// A line may have lost its end there: what comes must not complete it.
#[test]
fn behind_a_cut_a_new_epoch_begins() {
    for left in [0, 4096, 5000, 9_999] {
        let folder = folder();
        let bytes = stream(10_000);
        let path = summed(folder.path(), &bytes);
        cut(&path, left);
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        let first = Epoch(u64::from_str_radix(&name[..16], 16).expect("an epoch"));
        let (spool, mut writer) = open_large(folder.path());
        assert!(spool.opened().epoch > first && spool.opened().offset == 0, "{left}");
        put(&mut writer, &[b'n'; 6_000]);
        let expected = [(at(first, 0), bytes[..left as usize].to_vec()), (spool.opened(), vec![b'n'; 6_000])];
        assert!(read_all(&spool, at(first, 0)) == expected, "{left}");
    }
}

/// What a reader knows may be older than what is written beside it: before it condemns bytes it looks again.
#[test]
fn a_sum_that_does_not_fit_is_looked_at_twice() {
    let folder = folder();
    let bytes = stream(10_000);
    let path = summed(folder.path(), &bytes);
    let sums = path.with_extension("sum");
    let good = std::fs::read(&sums).expect("read");
    let mut torn = good.clone();
    torn[4] ^= 1;
    std::fs::write(&sums, &torn).expect("write");
    let (spool, _writer) = open_large(folder.path());
    let mut reader = Reader::new(Arc::clone(&spool), at(spool.opened().epoch, 0));
    let mut buffer = vec![0; 4096];
    assert_eq!(reader.read(&mut buffer).expect("read"), Read::Damaged(4096));
    reader.at.offset = 0;
    std::fs::write(&sums, &good).expect("write");
    assert_eq!(reader.read(&mut buffer).expect("read"), Read::Bytes(4096));
}
