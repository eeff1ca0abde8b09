//! The stream itself: written, read, gone on with, waited for, measured.

use super::*;

#[test]
fn bytes_come_back_in_order_across_segments() {
    let folder = folder();
    let (spool, mut writer) = open(&config(folder.path()));
    let start = spool.opened();
    for count in [1, 99, 1, 250, 100, 49] {
        append(&mut writer, count).expect("room");
    }
    assert_eq!(spool.end(), at(start.epoch, 500));
    assert_eq!(read_all(&spool, start), [(start, bytes(0..500))]);
    assert_eq!(read_all(&spool, at(start.epoch, 123)), [(at(start.epoch, 123), bytes(123..500))]);
    assert_eq!(segments_on_disk(folder.path()).into_values().collect::<Vec<_>>(), [100, 100, 100, 100, 100]);
    assert_eq!((spool.bytes(), bytes_on_disk(folder.path())), (500, 500));
}

#[test]
fn a_reader_follows_the_writer_and_can_go_back() {
    let folder = folder();
    let (spool, mut writer) = open(&config(folder.path()));
    let epoch = spool.opened().epoch;
    let mut reader = Reader::new(Arc::clone(&spool), spool.opened());
    let mut buffer = [0; 1000];
    assert_eq!(reader.read(&mut buffer).expect("read"), Read::End);
    append(&mut writer, 30).expect("room");
    assert_eq!(reader.read(&mut buffer).expect("read"), Read::Bytes(30));
    assert_eq!(reader.read(&mut buffer).expect("read"), Read::End);
    append(&mut writer, 100).expect("room");
    assert_eq!(reader.read(&mut buffer[..0]).expect("read"), Read::Bytes(0));
    assert_eq!(reader.read(&mut buffer).expect("read"), Read::Bytes(70), "a read ends with its segment");
    assert_eq!(reader.read(&mut buffer).expect("read"), Read::Bytes(30));
    assert_eq!(reader.at(), at(epoch, 130));
    reader.seek(at(epoch, 90));
    assert_eq!(reader.read(&mut buffer).expect("read"), Read::Bytes(10));
    assert_eq!(buffer[..10], bytes(90..100));
}

#[test]
fn a_restart_of_the_process_goes_on_in_the_same_segment() {
    let folder = folder();
    let config = config(folder.path());
    let mut start = None;
    for n in 0..20u64 {
        let (spool, mut writer) = open(&config);
        let first = *start.get_or_insert(spool.opened());
        assert_eq!(spool.opened(), at(first.epoch, n * 33));
        append(&mut writer, 33).expect("room");
        assert_eq!(read_all(&spool, first), [(first, bytes(0..n * 33 + 33))]);
    }
    assert_eq!(segments_on_disk(folder.path()).len(), 7);
}

#[test]
fn a_segment_that_is_longer_than_the_setting_is_gone_on_behind() {
    let folder = folder();
    let mut config = config(folder.path());
    let (spool, mut writer) = open(&config);
    append(&mut writer, 90).expect("room");
    drop((spool, writer));
    config.segment_bytes = 50;
    let (spool, mut writer) = open(&config);
    let start = at(spool.opened().epoch, 0);
    append(&mut writer, 60).expect("room");
    assert_eq!(read_all(&spool, start), [(start, bytes(0..150))]);
    assert_eq!(segments_on_disk(folder.path()).into_values().collect::<Vec<_>>(), [90, 50, 10]);
}

#[test]
fn what_lies_behind_a_position_is_measured() {
    let folder = folder();
    let config = config(folder.path());
    let (spool, mut writer) = open(&config);
    let first = spool.opened().epoch;
    append(&mut writer, 250).expect("room");
    assert_eq!(spool.held(), [Span { epoch: first, start: 0, end: 250 }]);
    for (offset, left) in [(0, 250), (99, 151), (100, 150), (101, 149), (249, 1), (250, 0), (900, 0)] {
        assert_eq!(spool.bytes_after(at(first, offset)), left, "{offset}");
    }
    drop((spool, writer));
    reboot(folder.path());
    let (spool, mut writer) = open(&config);
    let second = spool.opened().epoch;
    append(&mut writer, 10).expect("room");
    assert_eq!(spool.held(), [Span { epoch: first, start: 0, end: 250 }, Span { epoch: second, start: 0, end: 10 }]);
    assert_eq!(spool.bytes_after(at(first, 200)), 60);
    assert_eq!(spool.bytes_after(at(first, 250)), 10);
    assert_eq!(spool.bytes_after(at(second, 3)), 7);
}

#[test]
fn the_age_of_what_waits_is_known_also_for_what_came_right_behind() {
    let folder = folder();
    let (spool, mut writer) = open(&config(folder.path()));
    let epoch = spool.opened().epoch;
    let start = Instant::now();
    let after = |milliseconds| start + Duration::from_millis(milliseconds);
    let mut grow = |count: u64, milliseconds| {
        let end = writer.spool.end().offset;
        let (file, at, _) = writer.target().expect("room");
        file.write_all_at(&bytes(end..end + count), at).expect("write");
        writer.grew(count, after(milliseconds)).expect("grew");
    };
    // Exact to a step, on the side of "older".
    let old = |offset, milliseconds, wanted| {
        let age = spool.age_after(at(epoch, offset), after(milliseconds));
        let wanted = Duration::from_millis(wanted);
        assert!(age >= wanted && age <= wanted + Duration::from_millis(100), "{age:?} and not {wanted:?}");
    };
    grow(10, 0);
    grow(10, 1);
    old(0, 5_000, 5_000);
    // The first is confirmed, and the second waits alone.
    spool.release(0, at(epoch, 10), after(10)).expect("release");
    old(10, 5_001, 5_000);
    spool.release(0, at(epoch, 20), after(6_000)).expect("release");
    assert_eq!(spool.age_after(at(epoch, 20), after(9_000)), Duration::ZERO);
    grow(10, 9_000);
    old(20, 9_500, 500);
}

#[test]
fn waiting_ends_with_bytes_with_a_nudge_or_with_time() {
    let folder = folder();
    let (spool, mut writer) = open(&config(folder.path()));
    let start = spool.opened();
    let long = Duration::from_secs(30);
    assert!(!spool.wait(0, start, Duration::ZERO));
    spool.nudge();
    assert!(!spool.wait(0, start, long), "a nudge that came before the wait counts");
    assert!(!spool.wait(0, start, Duration::from_millis(1)), "and it counts once");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| spool.wait(0, start, long));
        append(&mut writer, 10).expect("room");
        assert!(waiter.join().expect("the waiter"));
        let waiter = scope.spawn(|| spool.wait(0, at(start.epoch, 10), long));
        spool.nudge();
        assert!(!waiter.join().expect("the waiter"));
        let waiter = scope.spawn(|| spool.wait(0, at(start.epoch, 100), long));
        append(&mut writer, 90).expect("room");
        // An empty segment is no news.
        writer.target().expect("the next segment");
        append(&mut writer, 1).expect("room");
        assert!(waiter.join().expect("the waiter"));
    });
    assert!(spool.wait(0, at(start.epoch, 5), Duration::ZERO));
    assert!(!spool.wait(0, at(start.epoch, 101), Duration::ZERO));
}

/// A writer, a reader that follows it and confirms what it has read, and freeing, all at once.
#[test]
fn writer_and_reader_work_side_by_side() {
    const TOTAL: u64 = 300_000;
    let folder = folder();
    let mut config = config(folder.path());
    // Tight: the writer has to free by itself, too.
    (config.segment_bytes, config.bytes_max, config.retention_bytes) = (1_000, 8_000, 5_000);
    let (spool, mut writer) = open(&config);
    let start = spool.opened();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut done = 0;
            while done < TOTAL {
                let step = fastrand::u64(1..700).min(TOTAL - done);
                match append(&mut writer, step) {
                    Ok(()) => {}
                    Err(NoRoom::Full { bytes, bytes_max }) => assert!(bytes >= bytes_max),
                    Err(NoRoom::Broken(error)) => panic!("{error}"),
                }
                done = writer.spool.end().offset;
            }
        });
        let mut reader = Reader::new(Arc::clone(&spool), start);
        let mut buffer = vec![0; 1_500];
        while reader.at().offset < TOTAL {
            let from = reader.at().offset;
            match reader.read(&mut buffer).expect("read") {
                Read::Bytes(count) => assert_eq!(buffer[..count], bytes(from..from + count as u64), "at {from}"),
                Read::Damaged(_) => panic!("nothing was damaged"),
                Read::End => drop(spool.wait(0, reader.at(), Duration::from_secs(10))),
                Read::Break(next) => panic!("a break before {next}"),
            }
            if fastrand::u8(..) < 100 {
                spool.release(0, reader.at(), Instant::now()).expect("release");
            }
        }
    });
    assert_eq!(spool.end().offset, TOTAL);
}
