//! omrust.so and its disk: power cuts, failing and full disks, damage in the spool. What was answered for is there.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::child::{PATIENCE, Scene};
use e2e::mount::Tmpfs;
use e2e::native::door::{OMHIREDIS, OMRUST};
use e2e::native::faults;
use e2e::native::rig::{Plan, Rig};
use e2e::native::scenario::end;

#[test]
fn the_power_is_cut() {
    faults::power_cut(false).assert_clean(&OMRUST);
}

#[test]
fn the_disk_fails() {
    faults::disk_fails(false).assert_clean(&OMRUST);
}

/// rsyslog's own queue, as careful as it can be, answers for what its disk has refused.
#[test]
fn the_disk_fails_under_rsyslogs_own_queue() {
    let outcome = faults::disk_fails(true).run(&OMHIREDIS);
    assert!(outcome.acked_lost > 0, "too weak: {outcome}");
}

#[test]
fn the_disk_is_full() {
    faults::disk_full().assert_clean(&OMRUST);
}

#[test]
fn the_disk_is_full_behind_relp() {
    faults::disk_full_behind_relp(false).assert_clean(&OMRUST);
}

#[test]
fn a_spool_that_cannot_be_written_is_as_good_as_none() {
    let scene = Scene::new();
    let memory = Tmpfs::mount(&scene, "disk", 64 << 20);
    scene.folder("disk/spool");
    memory.read_only();
    let aof = vec![("appendonly", "yes"), ("appendfsync", "always")];
    let plan = Plan { spool_at: "disk/spool", redis: aof, ..Plan::default() };
    let mut rig = Rig::prepare(&plan, &OMRUST, &scene);
    rig.start_rsyslogd();
    rig.send(&["a", "b"]);
    assert!(rig.flow(500, PATIENCE), "{}", rig.messages());
    rig.redis.kill9();
    assert!(rig.senders.as_ref().expect("senders").try_go_on(1_000, PATIENCE), "{}", rig.messages());
    rig.redis.start();
    assert!(rig.flow(1_000, PATIENCE), "{}", rig.messages());
    // It looks again by itself.
    memory.writable();
    rig.wait_said("0 records in the spool");
    assert!(rig.flow(1_000, PATIENCE), "{}", rig.messages());
    rig.redis.kill9();
    assert!(rig.senders.as_ref().expect("senders").try_go_on(1_000, PATIENCE), "{}", rig.messages());
    rig.statistics.wait(rig.mark, "out", "spooled", 1);
    rig.redis.start();
    assert!(rig.flow(1_000, PATIENCE), "{}", rig.messages());
    let outcome = end(rig, &OMRUST);
    assert!(outcome.is_clean(), "{outcome}");
    let complaints = outcome.messages.lines().filter(|line| line.contains("omrust")).count();
    assert!(complaints < 50, "{complaints} lines:\n{}", outcome.messages);
}

/// The largest file below a folder.
fn largest(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    files.max_by_key(|path| path.metadata().map_or(0, |meta| meta.len())).expect("a file")
}

/// A byte is not what it was: what it belongs to is set aside and reported, all else arrives.
#[test]
fn damage_in_the_spool_costs_what_is_damaged() {
    let plan = Plan { redis: vec![("appendonly", "yes"), ("appendfsync", "always")], ..Plan::default() };
    let mut rig = Rig::start(&plan, &OMRUST);
    rig.redis.kill9();
    for run in ["a", "b", "c", "d"] {
        rig.send_all(&[run], 2_000);
        rig.statistics.wait(rig.mark, "out", "spooled", rig.sent.count());
    }
    rig.rsyslogd.term();
    let path = largest(&rig.spool());
    let bytes = fs::read(&path).expect("a segment");
    let record = b"b 1000 ";
    let place = bytes.windows(record.len()).position(|window| window == record).expect("a record in the spool");
    let file = OpenOptions::new().write(true).open(&path).expect("a segment");
    file.write_all_at(b"X", place as u64).expect("it can be written");
    rig.start_rsyslogd();
    rig.redis.start();
    rig.send(&["e"]);
    assert!(rig.flow(6_500, PATIENCE), "{}", rig.messages());
    rig.finish();
    std::thread::sleep(Duration::from_millis(500));
    rig.rsyslogd.term();
    let verdict = rig.sent.ledger().judge(rig.elements());
    let others = [&verdict.doubled, &verdict.misordered, &verdict.foreign].map(|fault| fault.count);
    assert_eq!(others, [0; 3], "{verdict}");
    assert!((1..=2_000).contains(&verdict.lost.count), "{verdict}");
    assert!(verdict.lost.first.iter().all(|name| name.starts_with("b ")), "{verdict}");
    let messages = rig.messages();
    assert!(messages.lines().any(|line| line.contains("omrust") && line.contains("damage")), "not a word:\n{messages}");
}
