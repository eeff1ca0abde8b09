//! A disk that fails: what was acknowledged is there, what failed is nowhere, and it goes on when the disk does.

use std::io::ErrorKind;

use super::faults::Plan;
use super::*;

pub(super) fn open_on(config: &JournalConfig, disk: &disk::Disk) -> (Arc<Journal>, Reader) {
    recovery::open(config.clone(), NOW, disk.clone()).expect("open")
}

pub(super) fn plan(disk: &disk::Disk, plan: Plan) {
    *locked(&disk.faults.plan) = plan;
}

/// As if the process were killed: what is on disk now, seen by another life. The folder is a copy.
pub(super) fn killed(config: &JournalConfig) -> (Vec<u64>, (u64, u64)) {
    let copy = folder();
    for entry in std::fs::read_dir(&config.directory).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            std::fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("copy");
        }
    }
    let config = JournalConfig { directory: copy.path().to_owned(), ..config.clone() };
    let (journal, mut reader) = open(&config);
    (numbers(&mut reader), lost(&journal))
}

#[test]
fn one_failed_sync_costs_a_file_and_nothing_else() {
    let folder = folder();
    let config = config(folder.path());
    let disk = disk::Disk::default();
    let (journal, mut reader) = open_on(&config, &disk);
    for frame in 1..=3 {
        journal.append(&payload(frame, 40), 1).expect("room");
    }
    plan(&disk, Plan { sync: Some((0, 1, ErrorKind::Other)), ..Plan::default() });
    journal.append(&payload(4, 40), 1).expect("the fresh segment takes it");
    assert!(!journal.is_failed());
    journal.append(&payload(5, 40), 1).expect("room");
    assert_eq!(killed(&config), (vec![1, 2, 3, 4, 5], (0, 0)));
    assert_eq!(numbers(&mut reader), [1, 2, 3, 4, 5]);
    assert_eq!(folder::list(folder.path()).expect("list").segments.len(), 2);
}

#[test]
fn a_write_that_stops_anywhere_is_written_again_elsewhere() {
    for part in [0, 1, 55, 56, 57, 95, 96] {
        let folder = folder();
        let config = config(folder.path());
        let disk = disk::Disk::default();
        let (journal, mut reader) = open_on(&config, &disk);
        journal.append(&payload(1, 40), 1).expect("room");
        plan(&disk, Plan { write: Some((0, part, ErrorKind::Other)), ..Plan::default() });
        journal.append(&payload(2, 40), 1).expect("the fresh segment takes it");
        assert_eq!(killed(&config), (vec![1, 2], (0, 0)), "{part}");
        assert_eq!((numbers(&mut reader), lost(&journal)), (vec![1, 2], (0, 0)), "{part}");
    }
}

#[test]
fn what_failed_is_nowhere() {
    // The frames' own sync, the fresh header's, its folder's, the fresh frames': all fail from some point on.
    for good in 0..4 {
        let folder = folder();
        let config = config(folder.path());
        let disk = disk::Disk::default();
        let (journal, mut reader) = open_on(&config, &disk);
        for frame in 1..=3 {
            journal.append(&payload(frame, 40), 1).expect("room");
        }
        plan(&disk, Plan { sync: Some((0, 1000, ErrorKind::Other)), ..Plan::default() });
        if good > 0 {
            // The first sync fails, so the fresh segment is tried; then `good` more succeed.
            plan(
                &disk,
                Plan {
                    write: Some((0, 96, ErrorKind::Other)),
                    sync: Some((good, 1000, ErrorKind::Other)),
                    ..Plan::default()
                },
            );
        }
        let error = journal.append(&payload(4, 40), 1).expect_err("the disk fails");
        assert!(matches!(error, AppendError::Failed { .. }), "{error}");
        assert!(journal.is_failed());
        assert!(journal.append(&payload(4, 40), 1).is_err(), "nothing is tried for a while");
        assert_eq!(killed(&config), (vec![1, 2, 3], (0, 0)), "{good}");
        assert_eq!(journal.end(), Lsn(3));
        // The disk works again.
        plan(&disk, Plan::default());
        locked(&journal.writer).forget_failure();
        journal.append(&payload(5, 40), 1).expect("it works again");
        assert!(!journal.is_failed());
        assert_eq!(killed(&config), (vec![1, 2, 3, 5], (0, 0)), "{good}");
        assert_eq!((numbers(&mut reader), lost(&journal)), (vec![1, 2, 3, 5], (0, 0)), "{good}");
        drop((journal, reader));
        let (journal, mut reader) = open(&config);
        assert_eq!((numbers(&mut reader), lost(&journal)), (vec![1, 2, 3, 5], (0, 0)), "{good}");
    }
}

#[test]
fn what_failed_is_void_also_if_the_zeros_are_lost() {
    let folder = folder();
    let config = config(folder.path());
    let disk = disk::Disk::default();
    let (journal, reader) = open_on(&config, &disk);
    journal.append(&payload(1, 40), 1).expect("room");
    let path = folder::segment_path(folder.path(), 1);
    plan(&disk, Plan { sync: Some((0, 1, ErrorKind::Other)), ..Plan::default() });
    journal.append(&payload(2, 40), 1).expect("the fresh segment takes it");
    // What the disk had taken before it said no: the whole frame. The zeros never arrived.
    let mut bytes = std::fs::read(&path).expect("read");
    assert!(bytes[4096 + 96..].iter().all(|byte| *byte == 0));
    let mut ghost = payload(2, 40);
    let header = format::FrameHeader {
        len: 40,
        records: 1,
        segment: 1,
        count: Count { lsn: 2, record: 1 },
        settled: 4096 + 96,
        payload_sum: crc32c::crc32c(&ghost),
    };
    let mut head = vec![0; format::FRAME_HEADER_BYTES];
    header.encode(journal.store.salt, &mut head);
    head.append(&mut ghost);
    bytes[4096 + 96..4096 + 192].copy_from_slice(&head);
    std::fs::write(&path, bytes).expect("write");
    drop((journal, reader));
    let (journal, mut reader) = open(&config);
    assert_eq!((numbers(&mut reader), lost(&journal)), (vec![1, 2], (0, 0)));
}

#[test]
fn a_disk_that_turns_out_to_be_full_is_only_full() {
    for late in [false, true] {
        let folder = folder();
        let config = config(folder.path());
        let disk = disk::Disk::default();
        let (journal, mut reader) = open_on(&config, &disk);
        journal.append(&payload(1, 40), 1).expect("room");
        // At once, as most file systems do, or not before the sync.
        let kind = ErrorKind::StorageFull;
        plan(
            &disk,
            match late {
                true => Plan { sync: Some((0, 1000, kind)), ..Plan::default() },
                false => Plan { write: Some((0, 10, kind)), ..Plan::default() },
            },
        );
        let big = payload(2, if late { 40 } else { 500_000 });
        let error = journal.append(&big, 1).expect_err("it is full");
        assert!(matches!(error, AppendError::Full(_)), "{error}");
        assert!(!journal.is_failed());
        assert_eq!(killed(&config), (vec![1], (0, 0)), "{late}");
        plan(&disk, Plan::default());
        journal.append(&payload(3, 40), 1).expect("there is room again");
        assert_eq!(killed(&config), (vec![1, 3], (0, 0)), "{late}");
        assert_eq!((numbers(&mut reader), lost(&journal)), (vec![1, 3], (0, 0)));
    }
}

#[test]
fn a_mark_that_cannot_be_written_keeps_files_and_nothing_stops() {
    let folder = folder();
    let config = config(folder.path());
    let disk = disk::Disk::default();
    let (journal, mut reader) = open_on(&config, &disk);
    for frame in 1..=100 {
        journal.append(&payload(frame, 4000), 1).expect("room");
    }
    let last = drain(&mut reader).last().expect("one").0;
    let before = folder::list(folder.path()).expect("list").segments.len();
    plan(&disk, Plan { sync: Some((0, 1, ErrorKind::Other)), ..Plan::default() });
    journal.release(last).expect_err("the mark is not on disk");
    assert_eq!(folder::list(folder.path()).expect("list").segments.len(), before, "nothing was given up");
    journal.release(last).expect("now it is");
    assert_eq!(folder::list(folder.path()).expect("list").segments.len(), 1);
    journal.append(&payload(101, 4000), 1).expect("room");
    assert_eq!(numbers(&mut reader), [101]);
}

#[test]
fn a_small_journal_can_be_filled_again_and_again() {
    for bytes_max in [70_000, 140_000, 300_000] {
        let folder = folder();
        let config = JournalConfig { bytes_max, ..config(folder.path()) };
        let (journal, mut reader) = open(&config);
        let mut appended = 0;
        for round in 0..5 {
            let before = appended;
            while journal.append(&payload(appended, 3000), 1).is_ok() {
                appended += 1;
            }
            assert!(appended > before + 15, "{bytes_max} {round}");
            assert!(journal.bytes() <= bytes_max);
            for (lsn, _) in drain(&mut reader) {
                journal.release(lsn).expect("release");
            }
            assert!(journal.is_empty());
        }
    }
}

#[test]
fn an_interval_syncs_what_came() {
    let folder = folder();
    let config = JournalConfig { sync: Sync::Interval(Duration::from_secs(3600)), ..config(folder.path()) };
    let disk = disk::Disk::default();
    let (journal, mut reader) = open_on(&config, &disk);
    journal.append(&payload(1, 40), 1).expect("room");
    // Nothing asks the disk before the time has come.
    plan(&disk, Plan { sync: Some((0, 1, ErrorKind::Other)), ..Plan::default() });
    journal.append(&payload(2, 40), 1).expect("room");
    journal.flush();
    assert!(locked(&disk.faults.plan).sync.is_none(), "a flush has synced, and it failed");
    journal.append(&payload(3, 40), 1).expect("a fresh segment");
    assert_eq!(killed(&config), (vec![1, 2, 3], (0, 0)));
    assert_eq!(numbers(&mut reader), [1, 2, 3]);
}
