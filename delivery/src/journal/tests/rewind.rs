//! Going back to what is not released.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use super::*;

#[test]
fn what_was_given_out_and_not_released_comes_again() {
    let folder = folder();
    let (journal, mut reader) = open(&config(folder.path()));
    for index in 1..100 {
        journal.append(&payload(index, 5_000), 1).expect("room");
    }
    let read = drain(&mut reader);
    assert_eq!((read.len(), journal.given_out()), (99, 99));
    journal.release(read[39].0).expect("release");
    assert_eq!(journal.given_out(), 59);
    reader.rewind();
    assert_eq!(journal.given_out(), 0);
    assert_eq!(numbers(&mut reader), (41..100).collect::<Vec<_>>());
    // Everything, nothing, and again what comes behind it.
    reader.rewind();
    let last = drain(&mut reader).last().expect("one").0;
    journal.release(last).expect("release");
    reader.rewind();
    assert!(numbers(&mut reader).is_empty());
    journal.append(&payload(100, 9), 1).expect("room");
    reader.rewind();
    assert_eq!(numbers(&mut reader), [100]);
    assert_eq!(lost(&journal), (0, 0));
}

#[test]
fn damage_is_told_once_however_often_it_is_passed() {
    let folder = folder();
    let (journal, mut reader) = open(&config(folder.path()));
    for index in 1..60 {
        journal.append(&payload(index, 5_000), 1).expect("room");
    }
    let path = folder::segment_path(folder.path(), 1);
    let file = OpenOptions::new().write(true).open(path).expect("a segment");
    // Inside of the third frame.
    file.write_all_at(b"damage", format::HEADER_BYTES + 2 * 5_100 + 1_000).expect("writable");
    let first = numbers(&mut reader);
    assert_eq!(first.len(), 58);
    for _ in 0..3 {
        reader.rewind();
        assert_eq!(numbers(&mut reader), first);
        assert_eq!((lost(&journal), journal.damage().ranges.load(Relaxed)), ((1, 1), 1));
    }
    // What is damaged in between is told, too.
    file.write_all_at(b"damage", format::HEADER_BYTES + 6 * 5_100 + 1_000).expect("writable");
    reader.rewind();
    assert_eq!(numbers(&mut reader).len(), 57);
    assert_eq!((lost(&journal), journal.damage().ranges.load(Relaxed)), ((2, 2), 2));
}

#[test]
fn what_was_given_out_is_read_again_from_any_place_and_is_released_once() {
    let folder = folder();
    let (journal, mut reader) = open(&config(folder.path()));
    for index in 1..100 {
        journal.append(&payload(index, 5_000), 1).expect("room");
    }
    let read = drain(&mut reader);
    let lsn = |index: usize| read[index].0;
    for (behind, first) in [(49, 51), (0, 2), (98, 100), (97, 99), (3, 5)] {
        reader.seek(lsn(behind));
        assert_eq!(reader.next().expect("read").map(|frame| number(frame.payload)), (first < 100).then_some(first));
        // From there to the front, as far as it goes.
        reader.seek(lsn(70));
        assert_eq!(numbers(&mut reader), (72..100).collect::<Vec<_>>());
        assert_eq!(journal.given_out(), 99);
    }
    // What was released is gone: it goes on behind it.
    journal.release(lsn(39)).expect("release");
    reader.seek(lsn(3));
    assert_eq!((numbers(&mut reader), journal.given_out()), ((41..100).collect(), 59));
    journal.append(&payload(100, 9), 1).expect("room");
    reader.seek(lsn(60));
    assert_eq!((numbers(&mut reader), journal.given_out()), ((62..101).collect(), 60));
    journal.release(journal.end()).expect("release");
    reader.seek(lsn(60));
    assert!(numbers(&mut reader).is_empty() && journal.is_empty());
    journal.append(&payload(101, 9), 1).expect("room");
    assert_eq!(numbers(&mut reader), [101]);
    assert_eq!(lost(&journal), (0, 0));
}
