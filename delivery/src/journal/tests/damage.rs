//! Whatever happens to the files: never a panic, never a wrong record, and what is good is delivered.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::*;

/// The files of a folder with what is in them.
type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(&path).expect("a file"))).collect()
}

fn restore(folder: &Path, files: &Files) {
    let _ = fs::remove_dir_all(folder.join("quarantine"));
    for path in self::files(folder).into_keys().filter(|path| !files.contains_key(path)) {
        fs::remove_file(path).expect("remove");
    }
    for (path, bytes) in files {
        fs::write(path, bytes).expect("write");
    }
}

fn segments(files: &Files) -> Vec<PathBuf> {
    files.keys().filter(|path| path.to_string_lossy().contains("journal-")).cloned().collect()
}

fn quarantined(folder: &Path) -> usize {
    fs::read_dir(folder.join("quarantine")).map_or(0, Iterator::count)
}

/// A store of some lives and some segments: frames 1 to 12, of which 2 were released.
fn small(folder: &Path) -> (JournalConfig, Files) {
    let config = config(folder);
    for life in 0..3 {
        let (journal, mut reader) = open(&config);
        for frame in 1..=4 {
            journal.append(&payload(life * 4 + frame, 40), 2).expect("room");
        }
        let read = drain(&mut reader);
        if life == 2 {
            journal.release(read[1].0).expect("release");
        }
    }
    let files = files(folder);
    assert_eq!(segments(&files).len(), 3);
    (config, files)
}

const HELD: [u64; 10] = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

/// What somebody sees who only looks: the frames that wait, and the frames and records that are lost.
fn looked_at(folder: &Path) -> (Vec<u64>, (u64, u64)) {
    let look = once_free(|| inspect::Inspection::open(folder));
    let (mut held, mut lost) = (Vec::new(), (0, 0));
    let mut add = |from: Count, to: Count| lost = (lost.0 + to.lsn - from.lsn, lost.1 + to.record - from.record);
    let walked: Result<(), JournalError> = look.walk(|seen| {
        match seen {
            inspect::Seen::Frame { frame, waits } => held.extend(waits.then(|| number(frame.payload))),
            inspect::Seen::Damaged { lost: (from, to), .. } | inspect::Seen::Missing(from, to) => add(from, to),
        }
        Ok(())
    });
    walked.expect("it can be read");
    (held, lost)
}

/// What comes out now, after frames that may come again.
fn outcome(config: &JournalConfig) -> (Vec<u64>, (u64, u64)) {
    let seen = looked_at(&config.directory);
    let outcome = opened(config);
    let seen = (seen.0.into_iter().filter(|number| *number > 2).collect(), seen.1);
    assert_eq!(seen, outcome, "who looks sees what will be delivered");
    outcome
}

fn opened(config: &JournalConfig) -> (Vec<u64>, (u64, u64)) {
    let (journal, mut reader) = open(config);
    let read = drain(&mut reader);
    assert!(read.windows(2).all(|pair| pair[0] < pair[1]), "out of order: {read:?}");
    assert!(reader.next().expect("read").is_none());
    // It goes on: what comes now comes out.
    journal.append(&payload(99, 30), 1).expect("room");
    assert_eq!(numbers(&mut reader), [99]);
    journal.release(journal.end()).expect("release");
    assert!(journal.is_empty());
    (read.into_iter().map(|(_, number)| number).filter(|number| *number > 2).collect(), lost(&journal))
}

/// The frame that byte `at` of a segment belongs to: 0 for the header, 5 for what is behind the last one.
fn frame_of(at: usize) -> u64 {
    match at.checked_sub(4096) {
        None => 0,
        Some(at) => (at as u64 / 96).min(4) + 1,
    }
}

#[test]
fn a_flipped_bit_costs_at_most_its_frame() {
    let folder = folder();
    let (config, files) = small(folder.path());
    for (index, path) in segments(&files).into_iter().enumerate() {
        let used = 4096 + 5 * 96;
        for at in (0..160).chain(4000..used) {
            restore(folder.path(), &files);
            let mut bytes = files[&path].clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, bytes).expect("write");
            let hit = index as u64 * 4 + frame_of(at);
            let (read, lost) = outcome(&config);
            let is_frame = (1..=4).contains(&frame_of(at)) && hit > 2;
            let wanted: Vec<u64> = HELD.into_iter().filter(|number| !is_frame || *number != hit).collect();
            assert_eq!(read, wanted, "{} at {at}", path.display());
            assert_eq!(lost, if is_frame { (1, 2) } else { (0, 0) }, "{} at {at}", path.display());
            assert_eq!(quarantined(folder.path()), usize::from(is_frame), "{} at {at}", path.display());
        }
    }
}

#[test]
fn what_a_killed_process_leaves_may_be_damaged_too() {
    let folder = folder();
    let config = config(folder.path());
    let files = {
        let (journal, _reader) = open(&config);
        for frame in 1..=4 {
            journal.append(&payload(frame, 40), 2).expect("room");
        }
        files(folder.path())
    };
    let path = segments(&files).remove(0);
    for at in 4096..4096 + 4 * 96 {
        restore(folder.path(), &files);
        let mut bytes = files[&path].clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, bytes).expect("write");
        let hit = frame_of(at);
        let (journal, mut reader) = open(&config);
        assert_eq!(numbers(&mut reader), (1..=4).filter(|number| *number != hit).collect::<Vec<_>>(), "{at}");
        // Nothing says that the last one had been acknowledged: it looks like the torn write of a crash.
        assert_eq!(lost(&journal), if hit == 4 { (0, 0) } else { (1, 2) }, "{at}");
    }
}

#[test]
fn a_look_changes_nothing_and_needs_the_lock() {
    let folder = folder();
    let (config, files) = small(folder.path());
    assert!(inspect::Inspection::is_here(folder.path()).expect("a folder"));
    let look = inspect::Inspection::open(folder.path()).expect("nobody uses it");
    let summary = look.summary();
    assert_eq!((summary.released, summary.end, summary.records, summary.segments), (Lsn(2), Lsn(12), 20, 3));
    let used = Journal::open(config.clone(), NOW).expect_err("somebody looks");
    assert!(matches!(used, JournalError::InUse { .. }), "{used}");
    drop(look);
    assert_eq!(looked_at(folder.path()).0.len(), 10);
    assert_eq!(self::files(folder.path()), files);
}

#[test]
fn a_damaged_mark_costs_nothing() {
    let folder = folder();
    let (config, files) = small(folder.path());
    let mark = folder.path().join("mark");
    for slots in [[0, 0], [0, 4096], [4096, 4096]] {
        for at in 0..130 {
            restore(folder.path(), &files);
            let mut bytes = files[&mark].clone();
            for slot in slots {
                bytes[slot + at] ^= 0x10;
            }
            fs::write(&mark, bytes).expect("write");
            assert_eq!(outcome(&config), (HELD.to_vec(), (0, 0)), "{slots:?} {at}");
        }
    }
    for cut in [0, 1, 511, 512, 513, 4095, 4096, 4607] {
        restore(folder.path(), &files);
        fs::write(&mark, &files[&mark][..cut]).expect("write");
        assert_eq!(outcome(&config), (HELD.to_vec(), (0, 0)), "cut at {cut}");
    }
    restore(folder.path(), &files);
    fs::remove_file(&mark).expect("remove");
    assert_eq!(outcome(&config), (HELD.to_vec(), (0, 0)), "no mark");
}

#[test]
fn a_file_that_was_cut_gives_what_it_still_has() {
    let folder = folder();
    let (config, files) = small(folder.path());
    for (index, path) in segments(&files).into_iter().enumerate() {
        for length in (0..4096).step_by(512).chain((4096..4096 + 400).step_by(3)) {
            restore(folder.path(), &files);
            fs::write(&path, &files[&path][..length]).expect("write");
            let whole = (length.saturating_sub(4096) / 96).min(4) as u64;
            let (read, lost) = outcome(&config);
            let first = index as u64 * 4;
            let gone: Vec<u64> = HELD.into_iter().filter(|n| (first + whole + 1..=first + 4).contains(n)).collect();
            let wanted: Vec<u64> = HELD.into_iter().filter(|number| !gone.contains(number)).collect();
            assert_eq!(read, wanted, "segment {index} cut to {length}");
            assert_eq!(lost, (gone.len() as u64, gone.len() as u64 * 2), "segment {index} cut to {length}");
        }
    }
}

#[test]
fn a_missing_file_is_reported_and_the_rest_delivered() {
    let folder = folder();
    let (config, files) = small(folder.path());
    for (index, path) in segments(&files).into_iter().enumerate() {
        restore(folder.path(), &files);
        fs::remove_file(&path).expect("remove");
        let first = index as u64 * 4;
        let wanted: Vec<u64> = HELD.into_iter().filter(|n| !(first + 1..=first + 4).contains(n)).collect();
        let gone = 10 - wanted.len() as u64;
        assert_eq!(outcome(&config), (wanted, (gone, 2 * gone)), "segment {index}");
    }
    restore(folder.path(), &files);
    for path in segments(&files) {
        fs::remove_file(path).expect("remove");
    }
    assert_eq!(outcome(&config), (vec![], (10, 20)), "all of them");
}

#[test]
fn an_empty_file_or_one_of_zeros_is_put_aside() {
    for bytes in [vec![], vec![0; 4096], vec![0; 100_000], vec![0xff; 5000]] {
        let folder = folder();
        let (config, files) = small(folder.path());
        let last = folder.path().join(format!("journal-{:020}.seg", 7));
        fs::write(&last, &bytes).expect("write");
        assert_eq!(outcome(&config), (HELD.to_vec(), (0, 0)));
        assert!(!last.exists());
        assert_eq!(quarantined(folder.path()), 1);
        restore(folder.path(), &files);
        let path = segments(&files).remove(1);
        fs::write(path, &bytes).expect("write");
        assert_eq!(outcome(&config), (vec![3, 4, 9, 10, 11, 12], (4, 8)));
    }
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let folder = folder();
    let (config, files) = small(folder.path());
    // A segment of another spool, with a number of its own.
    let other = super::folder();
    {
        let (journal, _reader) = open(&super::config(other.path()));
        journal.append(&payload(77, 30), 1).expect("room");
    }
    let theirs = segments(&self::files(other.path())).remove(0);
    for name in ["journal-1.seg", "notes.txt", "00000000000000ab-00000000000000000042.seg"] {
        fs::write(folder.path().join(name), "text").expect("write");
    }
    fs::create_dir(folder.path().join(format!("journal-{:020}.seg", 50))).expect("a folder");
    assert!(fs::read(&theirs).expect("read") != files[&segments(&files)[0]]);
    assert_eq!(outcome(&config), (HELD.to_vec(), (0, 0)));
    assert_eq!(fs::read(folder.path().join("notes.txt")).expect("read"), b"text");
    let foreign = folder::list(folder.path()).expect("list").foreign;
    assert_eq!(foreign.len(), 4, "{foreign:?}");
    restore(folder.path(), &files);
}

#[test]
fn a_segment_of_another_spool_is_left_alone() {
    let other = super::folder();
    let theirs = {
        let (journal, _reader) = open(&super::config(other.path()));
        for _ in 0..30 {
            journal.append(&payload(77, 30_000), 1).expect("room");
        }
        drop(journal);
        segments(&self::files(other.path())).pop().expect("one")
    };
    let folder = folder();
    let (config, _) = small(folder.path());
    let copy = folder.path().join(theirs.file_name().expect("a name"));
    fs::copy(&theirs, &copy).expect("copy");
    assert_eq!(outcome(&config), (HELD.to_vec(), (0, 0)));
    assert_eq!(fs::read(&copy).expect("read"), fs::read(&theirs).expect("read"));
}

#[test]
fn a_later_version_is_refused() {
    let folder = folder();
    let (config, files) = small(folder.path());
    let first = segments(&files).remove(0);
    let mut bytes = files[&first].clone();
    format::put_u32(&mut bytes, 8, 2);
    format::seal(&mut bytes[..4096]);
    fs::write(&first, bytes).expect("write");
    let error = Journal::open(config, NOW).expect_err("a later version");
    let said = format!("the spool's file {} has version 2: it was written by a later program", first.display());
    assert_eq!(error.to_string(), said);
}

#[test]
fn frames_of_an_earlier_use_of_a_file_do_not_count() {
    let folder = folder();
    let config = config(folder.path());
    let (journal, mut reader) = open(&config);
    for round in 0..4 {
        // Full of frames of the same size, so that old ones stand where new ones would.
        for frame in 0..100 {
            journal.append(&payload(round * 100 + frame, 5000), 1).expect("room");
        }
        let last = drain(&mut reader).last().expect("one").0;
        journal.release(last).expect("release");
    }
    journal.append(&payload(1000, 5000), 1).expect("room");
    drop((journal, reader));
    let path = segments(&files(folder.path())).pop().expect("one");
    let stale =
        fs::read(&path).expect("read").chunks(8).filter(|chunk| chunk.starts_with(&format::FRAME_MAGIC)).count();
    assert!(stale > 3, "the file was used before");
    let (journal, mut reader) = open(&config);
    assert_eq!((numbers(&mut reader), lost(&journal)), (vec![1000], (0, 0)));
    // Also if the new frame is damaged and a search goes over the old ones.
    drop((journal, reader));
    let mut bytes = fs::read(&path).expect("read");
    let at = bytes.windows(8).position(|window| window == 1000u64.to_le_bytes()).expect("the frame");
    bytes[at - 20] ^= 1;
    fs::write(&path, bytes).expect("write");
    let (_journal, mut reader) = open(&config);
    assert_eq!(numbers(&mut reader), Vec::<u64>::new());
}

#[test]
fn a_record_cannot_pass_for_a_frame() {
    let folder = folder();
    let config = config(folder.path());
    {
        let (journal, _reader) = open(&config);
        journal.append(&payload(1, 40), 1).expect("room");
        // A whole frame as somebody could make it who knows all but the salt.
        let evil = payload(666, 40);
        let header = format::FrameHeader {
            len: 40,
            records: 1,
            segment: 1,
            count: Count { lsn: 3, record: 2 },
            settled: 4096,
            payload_sum: crc32c::crc32c(&evil),
        };
        let mut forged = vec![0; format::FRAME_HEADER_BYTES];
        header.encode(0, &mut forged);
        forged.extend_from_slice(&evil);
        journal.append(&forged, 1).expect("room");
        journal.append(&payload(4, 40), 1).expect("room");
    }
    let path = segments(&files(folder.path())).remove(0);
    let mut bytes = fs::read(&path).expect("read");
    bytes[4096 + 96 + 10] ^= 1;
    fs::write(&path, bytes).expect("write");
    let (journal, mut reader) = open(&config);
    assert_eq!((numbers(&mut reader), lost(&journal)), (vec![1, 4], (1, 1)));
}
