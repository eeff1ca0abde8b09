//! What is found after the process was killed, the machine lost its power, or the clock went back.

use super::*;
use crate::resume::{Resume, resume};

#[test]
fn a_restart_of_the_machine_begins_a_new_epoch() {
    let folder = folder();
    let config = config(folder.path());
    let (spool, mut writer) = open(&config);
    let first = spool.opened().epoch;
    append(&mut writer, 150).expect("room");
    drop((spool, writer));
    reboot(folder.path());
    let (spool, mut writer) = open(&config);
    let second = spool.opened().epoch;
    assert!(second > first);
    append(&mut writer, 20).expect("room");
    assert_eq!(read_all(&spool, at(first, 0)), [(at(first, 0), bytes(0..150)), (at(second, 0), bytes(0..20))]);
    drop((spool, writer));
    let (spool, _writer) = open(&config);
    assert_eq!(spool.opened(), at(second, 20), "the same run of the machine goes on");
}

#[test]
fn epochs_without_bytes_are_passed_over() {
    let folder = folder();
    let config = config(folder.path());
    let (spool, mut writer) = open(&config);
    let first = spool.opened().epoch;
    append(&mut writer, 10).expect("room");
    drop((spool, writer));
    for _ in 0..3 {
        reboot(folder.path());
        drop(open(&config));
    }
    reboot(folder.path());
    let (spool, mut writer) = open(&config);
    let last = spool.opened();
    assert_eq!(read_all(&spool, at(first, 0)), [(at(first, 0), bytes(0..10))]);
    assert!(!spool.wait(0, at(first, 10), Duration::ZERO));
    append(&mut writer, 5).expect("room");
    assert!(spool.wait(0, at(first, 10), Duration::ZERO));
    assert_eq!(read_all(&spool, at(first, 10)), [(at(first, 10), vec![]), (last, bytes(0..5))]);
    spool.release(0, at(last.epoch, 5), Instant::now()).expect("release");
    assert_eq!(segments_on_disk(folder.path()).len(), 1);
}

#[test]
fn the_clock_may_go_back() {
    let folder = folder();
    let config = config(folder.path());
    let (spool, mut writer) = open(&config);
    let first = spool.opened().epoch;
    append(&mut writer, 10).expect("room");
    spool.release(0, at(first, 10), Instant::now()).expect("release");
    spool.write_mark().expect("mark");
    drop((spool, writer));
    reboot(folder.path());
    let (spool, writer) = Spool::open(config.clone(), 5, Instant::now()).expect("open");
    assert!(spool.opened().epoch > first);
    drop((spool, writer));
    // Also if somebody removed the segments and left the mark.
    for path in segments_on_disk(folder.path()).into_keys() {
        std::fs::remove_file(path).expect("remove");
    }
    let (spool, mut writer) = Spool::open(config, 5, Instant::now()).expect("open");
    let second = spool.opened();
    assert!(second.epoch > first);
    append(&mut writer, 10).expect("room");
    let cursor = at(first, 10).to_string();
    let (Resume::Continue(next) | Resume::Rewound(next) | Resume::Lost(next, _)) =
        resume(cursor.as_bytes(), &spool.held(), spool.opened(), spool.acked());
    assert_eq!(next, second, "what came since is delivered");
}

#[test]
fn a_last_file_that_was_cut_below_the_mark_begins_a_new_epoch() {
    let folder = folder();
    let config = config(folder.path());
    let (spool, mut writer) = open(&config);
    let first = spool.opened().epoch;
    append(&mut writer, 250).expect("room");
    spool.release(0, at(first, 240), Instant::now()).expect("release");
    spool.write_mark().expect("mark");
    drop((spool, writer));
    let last = segments_on_disk(folder.path()).into_keys().next_back().expect("a segment");
    cut(&last, 30);
    let (spool, mut writer) = open(&config);
    let second = spool.opened();
    assert!(second.epoch > first && second.offset == 0);
    append(&mut writer, 20).expect("room");
    // Redis has 240 of the old epoch: the new bytes do not stand at positions that it has seen.
    let cursor = at(first, 240).to_string();
    let go_on = resume(cursor.as_bytes(), &spool.held(), spool.opened(), spool.acked());
    assert_eq!(go_on, Resume::Continue(second));
    assert_eq!(read_all(&spool, second), [(second, bytes(0..20))]);
}

#[test]
fn a_last_file_that_was_cut_behind_the_mark_goes_on() {
    let folder = folder();
    let config = config(folder.path());
    let (spool, mut writer) = open(&config);
    let epoch = spool.opened().epoch;
    append(&mut writer, 90).expect("room");
    spool.release(0, at(epoch, 40), Instant::now()).expect("release");
    spool.write_mark().expect("mark");
    drop((spool, writer));
    cut(&segments_on_disk(folder.path()).into_keys().next().expect("a segment"), 60);
    let (spool, _writer) = open(&config);
    assert_eq!(spool.opened(), at(epoch, 60));
    assert_eq!(read_all(&spool, at(epoch, 40)), [(at(epoch, 40), bytes(40..60))]);
}

#[test]
fn a_middle_file_that_was_cut_or_removed_leaves_a_gap_and_nothing_else() {
    for (left, removed) in [(0, false), (1, false), (70, false), (0, true)] {
        let folder = folder();
        let config = config(folder.path());
        let (spool, mut writer) = open(&config);
        let start = spool.opened();
        append(&mut writer, 350).expect("room");
        drop((spool, writer));
        let path = segments_on_disk(folder.path()).into_keys().nth(1).expect("the second segment");
        if removed {
            std::fs::remove_file(path).expect("remove");
        } else {
            cut(&path, left);
        }
        let (spool, mut writer) = open(&config);
        append(&mut writer, 10).expect("room");
        let behind = (at(start.epoch, 200), bytes(200..360));
        assert_eq!(read_all(&spool, start), [(start, bytes(0..100 + left)), behind.clone()], "{left} {removed}");
        // A cursor that points into the gap.
        let inside = at(start.epoch, 180);
        assert_eq!(read_all(&spool, inside), [(inside, vec![]), behind]);
        assert_eq!(spool.held(), [Span { epoch: start.epoch, start: 0, end: 360 }]);
        assert_eq!(spool.bytes_after(start), 260 + left);
        spool.release(0, at(start.epoch, 360), Instant::now()).expect("release");
        assert_eq!(bytes_on_disk(folder.path()), 60);
    }
}

#[test]
fn a_middle_file_that_is_too_long_is_read_to_its_end_only() {
    let folder = folder();
    let config = config(folder.path());
    let (spool, mut writer) = open(&config);
    let start = spool.opened();
    append(&mut writer, 350).expect("room");
    drop((spool, writer));
    let path = segments_on_disk(folder.path()).into_keys().nth(1).expect("the second segment");
    cut(&path, 130);
    let (spool, _writer) = open(&config);
    assert_eq!(read_all(&spool, start), [(start, bytes(0..350))]);
}

#[test]
fn a_start_in_the_middle_of_a_change_of_segments() {
    let folder = folder();
    let config = config(folder.path());
    let (spool, mut writer) = open(&config);
    let start = spool.opened();
    append(&mut writer, 100).expect("room");
    // The next segment is there, and nothing is in it yet.
    writer.target().expect("room");
    drop((spool, writer));
    let sizes: Vec<u64> = segments_on_disk(folder.path()).into_values().collect();
    assert_eq!(sizes, [100, 0]);
    let (spool, mut writer) = open(&config);
    assert_eq!(spool.opened(), at(start.epoch, 100));
    append(&mut writer, 30).expect("room");
    assert_eq!(read_all(&spool, start), [(start, bytes(0..130))]);
}

#[test]
fn a_next_segment_that_was_made_and_not_taken_into_use_is_used() {
    let folder = folder();
    let (spool, mut writer) = open(&config(folder.path()));
    let start = spool.opened();
    append(&mut writer, 100).expect("room");
    // As left by an attempt that made the file and could not sync its folder.
    let next = folder::path(folder.path(), start.epoch, 100);
    std::fs::write(&next, "").expect("write");
    append(&mut writer, 30).expect("room");
    assert_eq!(read_all(&spool, start), [(start, bytes(0..130))]);
    // Somebody else's file is not written to.
    append(&mut writer, 70).expect("room");
    let next = folder::path(folder.path(), start.epoch, 200);
    std::fs::write(&next, "foreign").expect("write");
    assert!(matches!(append(&mut writer, 1), Err(NoRoom::Broken(_))));
    assert_eq!(std::fs::read(&next).expect("read"), b"foreign");
    std::fs::remove_file(&next).expect("remove");
    append(&mut writer, 1).expect("room");
    assert_eq!(read_all(&spool, start), [(start, bytes(0..201))]);
}

#[test]
fn a_damaged_mark_counts_as_none() {
    let folder = folder();
    let config = config(folder.path());
    let (spool, mut writer) = open(&config);
    let epoch = spool.opened().epoch;
    append(&mut writer, 50).expect("room");
    spool.release(0, at(epoch, 20), Instant::now()).expect("release");
    spool.write_mark().expect("mark");
    drop((spool, writer));
    let (spool, writer) = open(&config);
    assert_eq!(spool.acked(), Some(at(epoch, 20)));
    drop((spool, writer));
    let good = std::fs::read(folder.path().join("acked")).expect("read");
    let mut flipped = good.clone();
    flipped[20] ^= 4;
    for bad in [&b""[..], b"\0", &good[..25], &flipped, &[0xff; 64], &[0; 200]] {
        std::fs::write(folder.path().join("acked"), bad).expect("write");
        let (spool, writer) = open(&config);
        assert_eq!(spool.acked(), None);
        assert_eq!(spool.opened(), at(epoch, 50));
        // It is written anew, whole.
        spool.release(0, at(epoch, 30), Instant::now()).expect("release");
        spool.write_mark().expect("mark");
        drop((spool, writer));
        assert_eq!(open(&config).0.acked(), Some(at(epoch, 30)));
    }
}
