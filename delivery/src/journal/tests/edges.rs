//! Two things that go wrong at once, and limits that are met exactly.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::failures::{killed, open_on, plan};
use super::faults::{Durable, Plan};
use super::*;

#[test]
fn an_epoch_is_on_disk_before_it_is_used() {
    for sync in [Sync::Always, Sync::Interval(Duration::from_secs(60)), Sync::Never] {
        let mut folder = folder();
        let mut durable = Durable::default();
        let mut last: Option<Epoch> = None;
        for life in 0..3 {
            let disk = disk::Disk::default();
            *locked(&disk.faults.durable) = Some(durable);
            let config = JournalConfig { sync, ..config(folder.path()) };
            // The clock goes back.
            let (journal, _reader) = recovery::open(config, NOW - 1000 * life, disk.clone()).expect("open");
            let epoch = journal.epoch();
            let later = last.is_none_or(|last| epoch > last && epoch.family() == last.family());
            assert!(later, "{epoch} after {last:?}, {sync:?}");
            last = Some(epoch);
            // The power goes, and takes all with it that may go.
            let left = super::folder();
            let kept = locked(&disk.faults.durable).take().expect("it is kept");
            durable = kept.cut_power(folder.path(), left.path(), &mut || false);
            folder = left;
        }
    }
}

#[test]
fn without_room_for_the_epoch_it_does_not_open_and_spare_files_make_room() {
    let folder = folder();
    let config = config(folder.path());
    let disk = disk::Disk::default();
    let full = |times| Plan { sync: Some((0, times, ErrorKind::StorageFull)), ..Plan::default() };
    plan(&disk, full(1000));
    let error = recovery::open(config.clone(), NOW, disk.clone()).expect_err("nobody would know of the epoch");
    assert!(matches!(&error, JournalError::Io { source, .. } if source.kind() == ErrorKind::StorageFull), "{error}");
    plan(&disk, Plan::default());
    let (journal, mut reader) = open_on(&config, &disk);
    for frame in 1..=50 {
        journal.append(&payload(frame, 4000), 1).expect("room");
    }
    journal.release(drain(&mut reader).last().expect("one").0).expect("release");
    drop((journal, reader));
    let spares = || folder::list(folder.path()).expect("list").spares.len();
    assert_eq!(spares(), 2);
    // The first sync is that of the last segment.
    plan(&disk, full(2));
    let (journal, _reader) = open_on(&config, &disk);
    assert_eq!(spares(), 1);
    assert!(journal.bytes() <= 2 * journal.config().segment_bytes);
}

#[test]
fn what_failed_is_overwritten_until_something_else_is_safe() {
    let folder = folder();
    let config = config(folder.path());
    let disk = disk::Disk::default();
    let (journal, mut reader) = open_on(&config, &disk);
    journal.append(&payload(1, 40), 1).expect("room");
    // The whole frame is written and the disk says that it is not; no zeros either. The fresh segment gets its name, not the frame.
    let write = Some((0, 96, ErrorKind::Other));
    plan(&disk, Plan { write, more: 1, sync: Some((3, 1000, ErrorKind::Other)), ..Plan::default() });
    let error = journal.append(&payload(2, 40), 1).expect_err("the disk fails");
    assert!(matches!(error, AppendError::Failed { .. }), "{error}");
    assert_eq!(folder::list(folder.path()).expect("list").segments.len(), 1, "the fresh one was removed");
    assert_eq!(killed(&config), (vec![1], (0, 0)));
    assert_eq!((numbers(&mut reader), lost(&journal)), (vec![1], (0, 0)));
}

#[test]
fn what_a_full_disk_has_taken_late_is_overwritten_also_if_all_is_drained() {
    let folder = folder();
    let config = config(folder.path());
    let disk = disk::Disk::default();
    let (journal, mut reader) = open_on(&config, &disk);
    journal.append(&payload(1, 40), 1).expect("room");
    journal.release(drain(&mut reader)[0].0).expect("release");
    // Its file cannot be given up either.
    std::fs::create_dir(folder::spare_path(folder.path(), 1)).expect("a folder");
    plan(&disk, Plan { sync: Some((0, 1000, ErrorKind::StorageFull)), ..Plan::default() });
    let error = journal.append(&payload(2, 40), 1).expect_err("it is full");
    assert!(matches!(error, AppendError::Full(_)), "{error}");
    assert_eq!(killed(&config), (vec![], (0, 0)));
}

#[test]
fn a_segment_that_another_has_declared_ended_is_not_written_to() {
    let folder = folder();
    let config = config(folder.path());
    let disk = disk::Disk::default();
    let (journal, mut reader) = open_on(&config, &disk);
    journal.append(&payload(1, 40), 1).expect("room");
    // It has its header and its name, but nobody knows whether the name is on disk; it is removed again.
    plan(&disk, Plan { sync: Some((1, 1, ErrorKind::StorageFull)), ..Plan::default() });
    let error = journal.append(&payload(2, 61_300), 1).expect_err("it is full");
    assert!(matches!(error, AppendError::Full(_)), "{error}");
    plan(&disk, Plan::default());
    journal.append(&payload(3, 40), 1).expect("room");
    assert_eq!(numbers(&mut reader), [1, 3]);
    // A power loss undoes the removal.
    let header = format::SegmentHeader {
        store: journal.store,
        number: 2,
        epoch: journal.epoch().0,
        first: Count { lsn: 2, record: 1 },
        before: 1,
        before_end: 4096 + 96,
        before_count: Count { lsn: 2, record: 1 },
        created: NOW,
    };
    drop((journal, reader));
    std::fs::write(folder::segment_path(folder.path(), 2), header.encode()).expect("write");
    let (journal, mut reader) = open(&config);
    assert_eq!((numbers(&mut reader), lost(&journal)), (vec![1, 3], (0, 0)));
}

#[test]
fn a_frame_for_which_there_is_no_room_takes_none() {
    let folder = folder();
    let config = config(folder.path());
    let (journal, _reader) = open(&config);
    for frame in 1..=100 {
        journal.append(&payload(frame, 5000), 1).expect("room");
    }
    let mut held = Vec::new();
    for _ in 0..5 {
        let error = journal.append(&payload(0, 600_000), 1).expect_err("no room");
        assert!(matches!(error, AppendError::Full(_)), "{error}");
        held.push((journal.bytes(), folder::list(folder.path()).expect("list").segments.len()));
    }
    assert!(held.iter().all(|now| *now == held[0]), "{held:?}");
}

#[test]
fn the_largest_frame_fits_as_soon_as_all_is_drained() {
    let folder = folder();
    let config = config(folder.path());
    let (journal, mut reader) = open(&config);
    let largest = (config.bytes_max - format::HEADER_BYTES) as usize - format::FRAME_HEADER_BYTES;
    for round in 0..3 {
        for frame in 1..=60 {
            journal.append(&payload(frame, 5000), 1).expect("room");
        }
        assert!(journal.append(&payload(0, largest), 1).is_err(), "something waits");
        journal.release(drain(&mut reader).last().expect("one").0).expect("release");
        journal.append(&payload(77, largest), 1).unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(journal.bytes(), config.bytes_max);
        assert!(matches!(journal.append(&payload(1, largest + 1), 1), Err(AppendError::TooLarge { .. })));
        let read = drain(&mut reader);
        assert_eq!(read.iter().map(|(_, number)| *number).collect::<Vec<_>>(), [77]);
        journal.release(read[0].0).expect("release");
    }
}

#[test]
fn a_quota_is_only_full_too() {
    let folder = folder();
    let config = JournalConfig { bytes_max: 64 << 20, segment_bytes: 4 << 20, ..config(folder.path()) };
    let disk = disk::Disk::default();
    let (journal, mut reader) = open_on(&config, &disk);
    journal.append(&payload(1, 40), 1).expect("room");
    plan(&disk, Plan { write: Some((0, 10, ErrorKind::QuotaExceeded)), ..Plan::default() });
    let error = journal.append(&payload(2, 1_500_000), 1).expect_err("it is full");
    assert!(matches!(error, AppendError::Full(_)), "{error}");
    journal.append(&payload(3, 40), 1).expect("room");
    assert_eq!(folder::list(folder.path()).expect("list").segments.len(), 1, "its file is as good as before");
    assert_eq!(numbers(&mut reader), [1, 3]);
}

#[test]
fn a_drained_file_that_somebody_removed_is_given_up() {
    let folder = folder();
    let (journal, mut reader) = open(&config(folder.path()));
    for frame in 1..=100 {
        journal.append(&payload(frame, 4000), 1).expect("room");
    }
    let last = drain(&mut reader).last().expect("one").0;
    std::fs::remove_file(folder::segment_path(folder.path(), 1)).expect("remove");
    journal.release(last).expect("it is gone, as it should be");
    assert_eq!(locked(&journal.state).segments.len(), 1);
}

#[test]
fn a_writer_that_panics_leaves_nothing_behind() {
    let folder = folder();
    let config = config(folder.path());
    let disk = disk::Disk::default();
    let (journal, mut reader) = open_on(&config, &disk);
    journal.append(&payload(1, 40), 1).expect("room");
    plan(&disk, Plan { panic: true, ..Plan::default() });
    catch_unwind(AssertUnwindSafe(|| journal.append(&payload(2, 40), 1))).expect_err("it panics");
    assert_eq!(killed(&config), (vec![1], (0, 0)));
    journal.append(&payload(3, 40), 1).expect("room");
    assert_eq!((numbers(&mut reader), lost(&journal)), (vec![1, 3], (0, 0)));
    assert_eq!(killed(&config), (vec![1, 3], (0, 0)));
}
