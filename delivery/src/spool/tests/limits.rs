//! Room: the size of the spool, freeing, what is kept for a Redis that goes back, and a disk that is full.

use super::*;

#[test]
fn a_full_spool_says_so_and_has_room_again_once_something_is_confirmed() {
    let folder = folder();
    let mut config = config(folder.path());
    config.bytes_max = 350;
    config.retention_bytes = 1_000;
    config.retention = Duration::from_secs(1_000);
    let (spool, mut writer) = open(&config);
    let start = spool.opened();
    append(&mut writer, 350).expect("room");
    for _ in 0..3 {
        assert!(matches!(append(&mut writer, 1), Err(NoRoom::Full { bytes: 350, bytes_max: 350 })));
    }
    assert_eq!(read_all(&spool, start), [(start, bytes(0..350))]);
    // Less than a segment: nothing can be freed.
    spool.release(0, at(start.epoch, 99), Instant::now()).expect("release");
    assert!(matches!(append(&mut writer, 1), Err(NoRoom::Full { .. })));
    // Retention gives way to what is new.
    spool.release(0, at(start.epoch, 220), Instant::now()).expect("release");
    assert_eq!(spool.bytes(), 350);
    append(&mut writer, 200).expect("room");
    assert!(matches!(append(&mut writer, 1), Err(NoRoom::Full { .. })));
    assert_eq!(read_all(&spool, at(start.epoch, 220)), [(at(start.epoch, 220), bytes(220..550))]);
    assert_eq!(bytes_on_disk(folder.path()), 350);
}

/// The segment that is written to can be all there is, and all of it confirmed.
#[test]
fn a_spool_as_small_as_its_segment_goes_on_when_all_is_confirmed() {
    for bytes_max in [1, 50, 100, 101, 150] {
        let folder = folder();
        let mut config = config(folder.path());
        config.bytes_max = bytes_max;
        let (spool, mut writer) = open(&config);
        let epoch = spool.opened().epoch;
        let mut done = 0;
        for _ in 0..10 {
            while append(&mut writer, 1).is_ok() {
                done += 1;
            }
            assert_eq!(spool.end().offset, done);
            spool.release(0, at(epoch, done), Instant::now()).expect("release");
        }
        assert!(done >= 10 * bytes_max.min(50), "{done} of {bytes_max}");
        assert!(bytes_on_disk(folder.path()) <= bytes_max);
        assert!(segments_on_disk(folder.path()).len() <= 3);
    }
}

/// A disk that is full under a segment that is confirmed: nothing else can be freed, so that one has to go.
#[test]
fn a_full_disk_gives_room_again_when_all_is_confirmed() {
    let folder = folder();
    let (spool, mut writer) = open(&config(folder.path()));
    let epoch = spool.opened().epoch;
    append(&mut writer, 60).expect("room");
    let no_space = || io::Error::from(io::ErrorKind::StorageFull);
    for _ in 0..3 {
        assert!(matches!(writer.refused(no_space()), NoRoom::Broken(_)));
    }
    assert_eq!(bytes_on_disk(folder.path()), 60, "nothing of it is confirmed");
    assert_eq!(segments_on_disk(folder.path()).len(), 1);
    spool.release(0, at(epoch, 60), Instant::now()).expect("release");
    for _ in 0..3 {
        assert!(matches!(writer.refused(no_space()), NoRoom::Broken(_)));
    }
    assert_eq!(bytes_on_disk(folder.path()), 0);
    assert_eq!(segments_on_disk(folder.path()).len(), 1);
    append(&mut writer, 30).expect("room");
    assert_eq!(read_all(&spool, at(epoch, 60)), [(at(epoch, 60), bytes(60..90))]);
    drop((spool, writer));
    assert_eq!(open(&config(folder.path())).0.opened(), at(epoch, 90));
}

#[test]
fn a_segment_is_never_most_of_the_disk() {
    let folder = folder();
    let mut config = config(folder.path());
    config.segment_bytes = u64::MAX;
    let (spool, _writer) = open(&config);
    let disk = folder::disk_bytes(folder.path()).expect("the size of the disk");
    assert_eq!(spool.config().segment_bytes, (disk / 8).max(crate::limits::SEGMENT_BYTES_MIN));
}

/// A file that is removed and still open takes its room all the same.
#[test]
fn nobody_keeps_a_freed_segment_open() {
    let folder = folder();
    let config = SpoolConfig { sync: Sync::Interval(Duration::from_secs(1)), ..config(folder.path()) };
    let (spool, mut writer) = open(&config);
    let start = spool.opened();
    append(&mut writer, 60).expect("room");
    let mut reader = Reader::new(Arc::clone(&spool), start);
    assert_eq!(reader.read(&mut [0; 100]).expect("read"), Read::Bytes(60));
    spool.release(0, at(start.epoch, 60), Instant::now()).expect("release");
    writer.refused(io::ErrorKind::StorageFull.into());
    assert_eq!(reader.read(&mut [0; 100]).expect("read"), Read::End);
    let open = std::fs::read_dir("/proc/self/fd").expect("list");
    let open = open.filter_map(|entry| std::fs::read_link(entry.expect("entry").path()).ok());
    let removed: Vec<_> =
        open.filter(|path| path.starts_with(folder.path()) && path.to_string_lossy().ends_with(" (deleted)")).collect();
    assert_eq!(removed, Vec::<PathBuf>::new());
    append(&mut writer, 10).expect("room");
    let mut buffer = [0; 100];
    assert_eq!(reader.read(&mut buffer).expect("read"), Read::Bytes(10));
    assert_eq!(buffer[..10], bytes(60..70));
}

/// The note of what is confirmed may need room itself. It is a hint; freeing goes on without it.
#[test]
fn freeing_does_not_depend_on_the_mark() {
    let folder = folder();
    // A write to this file fails as one to a full disk does.
    std::os::unix::fs::symlink("/dev/full", folder.path().join("acked")).expect("link");
    let (spool, mut writer) = open(&config(folder.path()));
    let epoch = spool.opened().epoch;
    append(&mut writer, 350).expect("room");
    assert!(spool.release(0, at(epoch, 320), Instant::now()).is_err(), "it is told");
    assert_eq!(bytes_on_disk(folder.path()), 50);
    assert!(spool.write_mark().is_err(), "and tried again");
}

#[test]
fn a_disk_that_is_full_at_the_start_is_no_reason_not_to_start() {
    let folder = folder();
    let config = config(folder.path());
    let (spool, mut writer) = open(&config);
    let first = spool.opened().epoch;
    append(&mut writer, 50).expect("room");
    drop((spool, writer));
    // The note of the machine's run cannot be written, as on a full disk.
    std::fs::remove_file(folder.path().join("boot")).expect("remove");
    std::fs::create_dir(folder.path().join("boot")).expect("folder");
    let (spool, _writer) = open(&config);
    assert_eq!(read_all(&spool, at(first, 0))[0], (at(first, 0), bytes(0..50)));
    assert!(spool.opened().epoch > first, "without the note nobody knows that the end is whole");
}

#[test]
fn confirmed_bytes_are_kept_up_to_a_size() {
    let folder = folder();
    let mut config = config(folder.path());
    config.retention_bytes = 250;
    config.retention = Duration::from_secs(1_000);
    let (spool, mut writer) = open(&config);
    let start = spool.opened();
    append(&mut writer, 850).expect("room");
    let now = Instant::now();
    for (confirmed, left) in [(0, 850), (199, 850), (250, 850), (299, 850), (300, 750), (800, 250), (850, 250)] {
        spool.release(0, at(start.epoch, confirmed), now).expect("release");
        assert_eq!((spool.bytes(), bytes_on_disk(folder.path())), (left, left), "{confirmed}");
    }
    assert_eq!(spool.held(), [Span { epoch: start.epoch, start: 600, end: 850 }]);
}

#[test]
fn confirmed_bytes_are_kept_for_a_time() {
    let folder = folder();
    let mut config = config(folder.path());
    config.retention_bytes = 1 << 30;
    config.retention = Duration::from_secs(60);
    let (spool, mut writer) = open(&config);
    let epoch = spool.opened().epoch;
    append(&mut writer, 850).expect("room");
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    spool.release(0, at(epoch, 200), after(0)).expect("release");
    spool.release(0, at(epoch, 400), after(30)).expect("release");
    spool.release(0, at(epoch, 400), after(59)).expect("release");
    assert_eq!(spool.bytes(), 850);
    spool.release(0, at(epoch, 400), after(60)).expect("release");
    assert_eq!(spool.bytes(), 650);
    // A clock that stands still or goes back frees nothing and breaks nothing.
    spool.release(0, at(epoch, 400), start).expect("release");
    assert_eq!(spool.bytes(), 650);
    spool.release(0, at(epoch, 800), after(90)).expect("release");
    assert_eq!(spool.bytes(), 450);
    spool.release(0, at(epoch, 850), after(10_000)).expect("release");
    assert_eq!(spool.bytes(), 50, "the segment that is written to stays");
}

/// Redis went back, and what it lost is needed again: neither retention nor a full disk may take it now.
#[test]
fn what_redis_went_back_on_is_no_longer_confirmed() {
    let folder = folder();
    let mut config = config(folder.path());
    config.bytes_max = 1_000;
    config.retention_bytes = 500;
    config.retention = Duration::from_secs(60);
    let (spool, mut writer) = open(&config);
    let start = spool.opened();
    let now = Instant::now();
    append(&mut writer, 950).expect("room");
    spool.release(0, at(start.epoch, 900), now).expect("release");
    let held = spool.held()[0].start;
    assert_eq!(held, 400);
    assert!(!spool.hold_from(0, at(start.epoch, 399)), "that is gone");
    // A failover: the new master has the first 450.
    let back = at(start.epoch, 450);
    assert!(spool.hold_from(0, back));
    while append(&mut writer, 1).is_ok() {}
    assert_eq!(read_all(&spool, back)[0].1[..500], bytes(450..950));
    spool.release(0, back, now).expect("release");
    assert_eq!(spool.acked(), Some(back));
    let much_later = now + Duration::from_secs(1_000);
    spool.release(0, back, much_later).expect("release");
    while append(&mut writer, 1).is_ok() {}
    writer.refused(io::ErrorKind::StorageFull.into());
    let end = spool.end().offset;
    assert_eq!(read_all(&spool, back), [(back, bytes(450..end))]);
    spool.write_mark().expect("mark");
    drop((spool, writer));
    assert_eq!(open(&config).0.acked(), Some(back), "the mark knows it, too");
}

/// The mark is what Redis had once. Until it says so again, the bytes before it stay.
#[test]
fn nothing_is_freed_on_the_word_of_an_earlier_process() {
    let folder = folder();
    let mut config = config(folder.path());
    config.bytes_max = 500;
    config.retention_bytes = 500;
    config.retention = Duration::from_secs(60);
    let (spool, mut writer) = open(&config);
    let start = spool.opened();
    append(&mut writer, 450).expect("room");
    spool.release(0, at(start.epoch, 450), Instant::now()).expect("release");
    spool.write_mark().expect("mark");
    drop((spool, writer));
    let (spool, mut writer) = open(&config);
    assert!(matches!(append(&mut writer, 51), Err(NoRoom::Full { .. })));
    writer.refused(io::ErrorKind::StorageFull.into());
    assert_eq!(read_all(&spool, start), [(start, bytes(0..500))]);
    spool.release(0, at(start.epoch, 450), Instant::now()).expect("release");
    append(&mut writer, 51).expect("room");
}

#[test]
fn a_reader_whose_segment_is_freed_meanwhile_goes_on_behind_it() {
    let folder = folder();
    let (spool, mut writer) = open(&config(folder.path()));
    let start = spool.opened();
    append(&mut writer, 250).expect("room");
    let mut reader = Reader::new(Arc::clone(&spool), start);
    let mut buffer = [0; 10];
    assert_eq!(reader.read(&mut buffer).expect("read"), Read::Bytes(10));
    spool.release(0, at(start.epoch, 200), Instant::now()).expect("release");
    assert_eq!(reader.read(&mut buffer).expect("read"), Read::Break(at(start.epoch, 200)));
}

#[test]
fn synced_as_configured_all_of_it_works_the_same() {
    for sync in [Sync::Always, Sync::Interval(Duration::from_secs(1)), Sync::Never] {
        let folder = folder();
        let mut config = config(folder.path());
        config.sync = sync;
        let (spool, mut writer) = open(&config);
        let start = spool.opened();
        append(&mut writer, 350).expect("room");
        spool.sync_now().expect("sync");
        append(&mut writer, 10).expect("room");
        assert_eq!(spool.state().unsynced.is_some(), matches!(sync, Sync::Interval(_)));
        spool.sync_now().expect("sync");
        assert!(spool.state().unsynced.is_none());
        assert_eq!(read_all(&spool, start), [(start, bytes(0..360))]);
    }
}
