//! omrust.so whose messages name their lists, one of which is longer than it may be: it waits alone, through kills of everything.

use std::time::Duration;

use e2e::child::{PATIENCE, until};
use e2e::consumer::{Consumer, taken_from};
use e2e::native::door::{OMRUST, PREFIX};
use e2e::native::rig::{Plan, Queue, Rig};
use e2e::native::scenario::end;
use e2e::sender::Way;

const MARK: usize = 1_000;

fn plan(way: Way, queue: Queue) -> Plan {
    Plan {
        way,
        queue,
        redis: vec![("appendonly", "yes"), ("appendfsync", "always")],
        dynamic: true,
        more: format!("maxlength=\"{MARK}\" timeout=\"400\" connecttimeout=\"400\""),
        ..Plan::default()
    }
}

fn list(run: &str) -> String {
    format!("{PREFIX}{run}")
}

/// Waits until so many more records of `run`, of which workers take, have come.
#[track_caller]
fn flows(rig: &Rig, run: &str, more: usize) {
    let taken = || rig.redis.llen(&taken_from(&list(run)));
    let goal = taken() + more;
    until(&format!("records of {run} to flow"), PATIENCE, || (taken() >= goal).then_some(()));
}

/// Workers empty all lists; what they had is put back in front, and everything is judged.
fn judge(mut rig: Rig, runs: &[&str], consumer: Consumer) {
    rig.finish();
    let longest = consumer.stop();
    assert!((MARK..MARK + 1024 + 2 * 1024).contains(&longest), "{longest}");
    let keys: Vec<String> = runs.iter().map(|run| list(run)).collect();
    let each: Vec<(&str, usize)> = keys.iter().map(|key| (key.as_str(), 1_000)).collect();
    let quick = Consumer::of_each(&rig.redis, &each, Duration::from_millis(5));
    let count = rig.sent.count();
    let here = |key: &String| rig.redis.llen(&taken_from(key)) + rig.redis.llen(key);
    until("all records to arrive", PATIENCE * 2, || {
        (keys.iter().map(here).sum::<usize>() as u64 >= count).then_some(())
    });
    until("all records to be taken", PATIENCE, || keys.iter().all(|key| rig.redis.llen(key) == 0).then_some(()));
    quick.stop();
    for key in &keys {
        rig.redis.cmd(&["RENAME", &taken_from(key), key]);
    }
    let outcome = end(rig, &OMRUST);
    assert!(outcome.is_clean() && outcome.stopped.is_some(), "{outcome}");
}

#[test]
fn a_list_at_its_mark_holds_only_itself() {
    let mut rig = Rig::start(&plan(Way::Lines, Queue::Memory { workers: 1, batch: 256 }), &OMRUST);
    let (long, flowing) = (list("a"), list("b"));
    let consumer = Consumer::of_each(&rig.redis, &[(&flowing, 1_000)], Duration::from_millis(5));
    rig.send(&["a", "b"]);
    until("a list to be at its mark", PATIENCE, || (rig.redis.llen(&long) >= MARK).then_some(()));
    flows(&rig, "b", 5_000);
    assert!((MARK..MARK + 1024 + 512).contains(&rig.redis.llen(&long)));
    // Workers come back to it, a few records at a time.
    let slow = Consumer::of_each(&rig.redis, &[(&long, 20)], Duration::from_millis(10));
    flows(&rig, "a", 2_000);
    flows(&rig, "b", 5_000);
    consumer.stop();
    judge(rig, &["a", "b"], slow);
}

#[test]
fn killed_while_one_list_is_at_its_mark() {
    let mut rig = Rig::start(&plan(Way::Relp(1000), Queue::Direct), &OMRUST);
    let (long, flowing) = (list("a"), list("b"));
    let consumer = Consumer::of_each(&rig.redis, &[(&flowing, 1_000), (&long, 1)], Duration::from_millis(5));
    rig.send(&["a", "b"]);
    until("a list to be at its mark", PATIENCE, || (rig.redis.llen(&long) >= MARK).then_some(()));
    for round in 0..6 {
        flows(&rig, "b", 300);
        if round % 3 != 0 {
            rig.redis.kill9();
        }
        if round % 3 != 1 {
            rig.rsyslogd.kill9();
        }
        if round % 3 != 0 {
            rig.redis.start();
        }
        if round % 3 != 1 {
            rig.start_rsyslogd();
        }
    }
    flows(&rig, "b", 300);
    assert!(rig.redis.llen(&long) > 0);
    judge(rig, &["a", "b"], consumer);
}
