//! Frames go in and come out, over lives, segments and releases.

use super::*;

#[test]
fn what_was_appended_comes_out_in_order_also_in_the_next_life() {
    let folder = folder();
    let config = config(folder.path());
    let (journal, mut reader) = open(&config);
    assert!(journal.is_empty() && reader.next().expect("read").is_none());
    let first = journal.append(&payload(1, 20), 3).expect("room");
    assert_eq!(first, Lsn(1));
    let frame = reader.next().expect("read").expect("a frame");
    assert_eq!((frame.lsn, frame.records, frame.first_record, number(frame.payload)), (first, 3, 0, 1));
    for index in 2..200 {
        journal.append(&payload(index, 1000), 1).expect("room");
    }
    assert_eq!(journal.end(), Lsn(199));
    assert_eq!(numbers(&mut reader), (2..200).collect::<Vec<_>>());
    let epoch = journal.epoch();
    drop((journal, reader));
    let (journal, mut reader) = open(&config);
    assert!(journal.epoch() > epoch && journal.family() == epoch.family());
    assert_eq!((journal.end(), journal.released(), journal.records()), (Lsn(199), Lsn(0), 201));
    assert_eq!(numbers(&mut reader), (1..200).collect::<Vec<_>>());
    assert_eq!(journal.append(&payload(200, 9), 1).expect("room"), Lsn(200));
    assert_eq!(numbers(&mut reader), [200]);
    assert_eq!(lost(&journal), (0, 0));
}

#[test]
fn what_was_released_does_not_come_again_and_its_room_comes_back() {
    let folder = folder();
    let config = config(folder.path());
    let (journal, mut reader) = open(&config);
    let mut appended = 0;
    let mut fill = || loop {
        match journal.append(&payload(appended + 1, 4000), 1) {
            Ok(_) => appended += 1,
            Err(AppendError::Full(_)) => return appended,
            Err(error) => panic!("{error}"),
        }
    };
    let most = fill();
    assert!(journal.bytes() <= config.bytes_max, "{}", journal.bytes());
    assert!(most > 220, "{most}");
    let read = drain(&mut reader);
    assert_eq!(read.len() as u64, most);
    journal.release(read[99].0).expect("release");
    assert_eq!(journal.released(), read[99].0);
    let more = fill() - most;
    assert!((80..=100).contains(&more), "{more}");
    let last = drain(&mut reader).last().expect("one").0;
    journal.release(last).expect("release");
    assert!(journal.is_empty());
    assert!(journal.bytes() <= 3 * journal.config().segment_bytes, "{}", journal.bytes());
    let spares = || folder::list(folder.path()).expect("a folder").spares.len();
    assert_eq!(spares(), 2);
    drop((journal, reader));
    let (journal, mut reader) = open(&config);
    assert!(journal.is_empty());
    assert_eq!((numbers(&mut reader), lost(&journal), spares()), (vec![], (0, 0), 2));
    assert_eq!(journal.append(&payload(7, 9), 1).expect("room"), Lsn(last.0 + 1));
    assert_eq!(numbers(&mut reader), [7]);
}

#[test]
fn a_frame_may_be_larger_than_a_segment() {
    let folder = folder();
    let config = config(folder.path());
    let (journal, mut reader) = open(&config);
    for index in 0..3 {
        journal.append(&payload(index, 10), 1).expect("room");
    }
    journal.append(&payload(3, 300_000), 1).expect("room");
    journal.append(&payload(4, 10), 1).expect("room");
    assert!(matches!(journal.append(&payload(5, 2 << 20), 1), Err(AppendError::TooLarge { .. })));
    assert_eq!(numbers(&mut reader), [0, 1, 2, 3, 4]);
    drop((journal, reader));
    let (journal, mut reader) = open(&config);
    assert_eq!((numbers(&mut reader), lost(&journal)), (vec![0, 1, 2, 3, 4], (0, 0)));
}

#[test]
fn one_process_at_a_time() {
    let folder = folder();
    let config = config(folder.path());
    let held = open(&config);
    let error = Journal::open(config.clone(), NOW).expect_err("it is in use");
    assert_eq!(error.to_string(), format!("the spool {} is in use by another process", folder.path().display()));
    drop(held);
    open(&config);
}

#[test]
fn a_wait_ends_with_a_frame_or_a_nudge() {
    let folder = folder();
    let (journal, _reader) = open(&config(folder.path()));
    assert!(!journal.wait(Lsn(0), Duration::ZERO));
    std::thread::scope(|scope| {
        scope.spawn(|| journal.append(&payload(1, 9), 1).expect("room"));
        while !journal.wait(Lsn(0), Duration::from_secs(60)) {}
        scope.spawn(|| journal.nudge());
        assert!(!journal.wait(Lsn(1), Duration::from_secs(60)));
    });
}
