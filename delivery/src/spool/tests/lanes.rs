//! Several lanes over one stream.

use super::*;

fn lanes(folder: &Path, count: usize) -> SpoolConfig {
    let rule = if count > 1 { "word:1, format bridge" } else { "" };
    SpoolConfig { lanes: Lanes { count, rule: rule.to_owned() }, ..config(folder) }
}

fn segments(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("folder").flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "seg")).count()
}

#[test]
fn what_all_lanes_have_is_freed_and_each_is_noted() {
    let folder = folder();
    let config = lanes(folder.path(), 3);
    let (spool, mut writer) = open(&config);
    let epoch = spool.opened().epoch;
    append(&mut writer, 550).expect("room");
    let release = |lane, offset| spool.release(lane, at(epoch, offset), Instant::now()).expect("release");
    release(0, 550);
    release(1, 450);
    assert_eq!((spool.acked(), segments(folder.path())), (None, 6));
    release(2, 250);
    assert_eq!((spool.acked(), segments(folder.path())), (Some(at(epoch, 250)), 4));
    assert!(spool.hold_from(1, at(epoch, 300)));
    release(2, 550);
    assert_eq!(segments(folder.path()), 3, "it is held for lane 1");
    release(1, 350);
    assert!(!spool.hold_from(1, at(epoch, 150)), "that is gone");
    spool.write_mark().expect("mark");
    drop((spool, writer));
    let (spool, writer) = open(&config);
    let each: Vec<_> = (0..3).map(|lane| spool.acked_of(lane)).collect();
    assert_eq!(each, [550, 350, 550].map(|offset| Some(at(epoch, offset))));
    assert_eq!(spool.acked(), Some(at(epoch, 350)));
    drop((spool, writer));
    let look = inspect::Inspection::open(folder.path()).expect("look");
    assert_eq!((look.acked_of_each(), look.lanes()), (each.as_slice(), &config.lanes));
    assert_eq!(look.waiting(), 200);
}

#[test]
fn the_way_it_is_split_changes_only_when_nothing_waits() {
    let folder = folder();
    let (two, three) = (lanes(folder.path(), 2), lanes(folder.path(), 3));
    let (spool, mut writer) = open(&two);
    let old = spool.opened().epoch;
    append(&mut writer, 250).expect("room");
    spool.release(0, at(old, 250), Instant::now()).expect("release");
    spool.release(1, at(old, 240), Instant::now()).expect("release");
    spool.write_mark().expect("mark");
    drop((spool, writer));
    let mut ruled = two.clone();
    ruled.lanes.rule.push('!');
    for other in [&three, &ruled, &lanes(folder.path(), 1)] {
        let refused = Spool::open(other.clone(), SECONDS, Instant::now()).expect_err("10 bytes wait");
        assert!(matches!(refused, SpoolError::OtherLanes { bytes: 10, .. }), "{refused}");
    }
    let (spool, writer) = open(&two);
    spool.release(0, at(old, 250), Instant::now()).expect("release");
    spool.release(1, at(old, 250), Instant::now()).expect("release");
    spool.write_mark().expect("mark");
    drop((spool, writer));
    let note = std::fs::read(folder.path().join("lanes")).expect("a note");
    let (spool, writer) = open(&three);
    let new = spool.opened();
    assert!(new.epoch > old && new.offset == 0);
    assert_eq!((spool.acked(), spool.acked_of(2), segments(folder.path())), (None, None, 1));
    drop((spool, writer));
    // Killed before the note was there: the old way goes on, and the change is made again.
    std::fs::write(folder.path().join("lanes"), &note).expect("write");
    let (spool, writer) = open(&two);
    assert_eq!(spool.opened().epoch, new.epoch);
    drop((spool, writer));
    let (spool, writer) = open(&three);
    assert!(spool.opened().epoch > new.epoch);
    drop((spool, writer));
    let (one, _writer) = open(&lanes(folder.path(), 1));
    assert_eq!(one.acked(), None);
}

#[test]
fn a_note_that_cannot_be_read_is_no_note_of_one_lane() {
    let folder = folder();
    drop(open(&lanes(folder.path(), 2)));
    let path = folder.path().join("lanes");
    let mut note = std::fs::read(&path).expect("a note");
    note[0] ^= 1;
    std::fs::write(&path, note).expect("write");
    for count in [1, 2, 3] {
        let refused = Spool::open(lanes(folder.path(), count), SECONDS, Instant::now()).expect_err("damaged");
        assert!(matches!(refused, SpoolError::NoLanes { .. }), "{refused}");
    }
}

#[test]
fn all_who_wait_are_woken() {
    let folder = folder();
    let (spool, mut writer) = open(&lanes(folder.path(), 3));
    let (start, long) = (spool.opened(), Duration::from_secs(60));
    let ready = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        let spool = &spool;
        let wait = |lane| {
            ready.wait();
            spool.wait(lane, start, long)
        };
        let waiters = [0, 1, 2].map(|lane| scope.spawn(move || wait(lane)));
        ready.wait();
        append(&mut writer, 10).expect("room");
        assert!(waiters.into_iter().all(|waiter| waiter.join().expect("a waiter")));
    });
    // A nudge is for each of them, whenever it comes.
    spool.nudge();
    for lane in 0..3 {
        assert!(!spool.wait(lane, spool.end(), long));
    }
}
