//! A list that must not grow for ever: at its high water records wait in the spool, then with rsyslog. Nothing is ever taken out of it.

use std::time::Duration;

use e2e::bridge::BridgeConfig;
use e2e::child::{PATIENCE, until};
use e2e::consumer::{Consumer, TAKEN};
use e2e::load::{Load, Pace};
use e2e::native::door::{Door, OMRUST};
use e2e::native::prog::OMPROG;
use e2e::native::rig::{Plan, Queue, Rig};
use e2e::native::scenario::{Scenario, Step};
use e2e::redis::{Redis, RedisSetup};
use e2e::stage::{KEY, Stage};

const MARK: usize = 1000;
/// What the bridge may have under way.
const OVERSHOOT: usize = 4 * 25;

fn marked(bridge: BridgeConfig) -> BridgeConfig {
    let mark = i64::try_from(MARK).expect("a small number");
    let bridge = bridge.set("queue.max-length", mark).set("queue.in-flight", 4).set("batch.records-max", 25);
    bridge.set("spool.segment-size", "64k").set("spool.retention-seconds", 0)
}

/// Waits until everything has arrived, with workers that take it. Returns the greatest length that was seen.
#[track_caller]
fn finish(stage: &Stage, load: Load, consumer: Consumer) -> usize {
    let sent = load.stop();
    let count = usize::try_from(sent.count).expect("few");
    until("all records in one of the lists", PATIENCE * 3, || {
        (stage.redis.llen(TAKEN) + stage.redis.llen(KEY) >= count).then_some(())
    });
    stage.rest();
    let longest = consumer.stop();
    let mut all = stage.redis.list(TAKEN);
    all.extend(stage.redis.list(KEY));
    sent.ledger().judge(all).assert_clean();
    longest
}

#[test]
fn a_list_grows_to_its_mark_and_goes_on_below_it() {
    let stage = Stage::new(|redis| redis, marked);
    let load = stage.load(Pace::default());
    until("the list to be held back", PATIENCE, || (stage.bridge.counter("held_back") == 1).then_some(()));
    let length = stage.redis.llen(KEY);
    assert!((MARK..MARK + OVERSHOOT).contains(&length), "{length}");
    load.go_on(5000);
    assert_eq!(stage.redis.llen(KEY), length, "the list grows beyond its mark");
    let status = stage.bridge.status();
    assert_eq!((&status["held_back"], &status["connected"]), (&1.into(), &true.into()), "{status:#}");
    assert_eq!(status["list_length"], length, "{status:#}");
    let text = String::from_utf8(stage.bridge.run(&["status"]).stdout).expect("text");
    assert!(text.contains("HELD BACK, records wait in the spool: list \"rsyslog\" is "), "{text}");
    // Below the high water and above the low one nothing comes.
    stage.redis.cmd(&["LTRIM", KEY, "0", &(MARK * 8 / 10).to_string()]);
    let questions = calls(&stage.redis, "llen");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(stage.redis.llen(KEY), MARK * 8 / 10 + 1);
    let asked = calls(&stage.redis, "llen") - questions;
    assert!(asked <= 8, "{asked} questions in 2.5 s");
    stage.redis.cmd(&["LTRIM", KEY, "0", "-2"]);
    until("records to come again", PATIENCE, || (stage.redis.llen(KEY) >= MARK).then_some(()));
    assert_eq!(stage.bridge.said("records wait in the spool until it is down to 800").len(), 1);
    assert_eq!(stage.bridge.said("records are pushed again").len(), 1);
    assert_eq!(stage.bridge.counter("retries"), 0);
    drop(load);
}

/// How often redis has run a command.
fn calls(redis: &Redis, command: &str) -> u64 {
    let redis::Value::VerbatimString { text, .. } = redis.cmd(&["INFO", "commandstats"]) else {
        let redis::Value::BulkString(bytes) = redis.cmd(&["INFO", "commandstats"]) else { panic!("no statistics") };
        return count(&String::from_utf8_lossy(&bytes), command);
    };
    count(&text, command)
}

fn count(text: &str, command: &str) -> u64 {
    let prefix = format!("cmdstat_{command}:calls=");
    let value = text.lines().find_map(|line| line.strip_prefix(&prefix)).and_then(|rest| rest.split(',').next());
    value.map_or(0, |value| value.parse().expect("a number"))
}

#[test]
fn without_a_limit_nobody_asks_for_the_length() {
    let mut stage = Stage::new(|redis| redis, |bridge| bridge);
    let load = stage.load(Pace::default());
    load.go_on(2000);
    stage.redis.wait_llen(KEY, 2000, PATIENCE);
    stage.judge(&load.stop());
    // One for each look of this test; the bridge asks never.
    let before = calls(&stage.redis, "llen");
    stage.bridge.kill9();
    stage.bridge.start();
    assert_eq!(calls(&stage.redis, "llen"), before);
}

#[test]
fn a_slow_worker_sees_no_more_than_the_mark_and_what_was_under_way() {
    let stage = Stage::new(|redis| redis, marked);
    let consumer = Consumer::start(&stage.redis, KEY, 60, Duration::from_millis(5));
    let load = stage.load(Pace::default());
    load.go_on(40_000);
    let longest = finish(&stage, load, consumer);
    assert!((MARK..MARK + OVERSHOOT).contains(&longest), "{longest}");
}

#[test]
fn killed_while_the_list_is_held() {
    let mut stage = Stage::new(RedisSetup::aof, marked);
    let consumer = Consumer::start(&stage.redis, KEY, 20, Duration::from_millis(10));
    let load = stage.load(Pace::default());
    for round in 0..12 {
        stage.bridge.ready();
        until("the list to be held back", PATIENCE, || (stage.redis.llen(KEY) >= MARK).then_some(()));
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..150)));
        if round % 3 != 1 {
            stage.bridge.kill9();
        }
        if round % 3 != 0 {
            stage.redis.restart();
        }
        if round % 3 != 1 {
            stage.bridge.launch();
        }
    }
    stage.bridge.ready();
    let longest = finish(&stage, load, consumer);
    assert!((MARK..MARK + OVERSHOOT).contains(&longest), "{longest}");
}

#[test]
fn a_full_spool_pushes_back_into_the_pipe() {
    let stage =
        Stage::new(|redis| redis, |bridge| marked(bridge).set("spool.maxsize", "512k").set("frame.record-max", "64k"));
    let load = stage.load(Pace::default());
    until("the spool to be full", PATIENCE, || (!stage.bridge.said("the spool is full").is_empty()).then_some(()));
    until("the pipe to be full", PATIENCE, || {
        let before = load.written();
        std::thread::sleep(Duration::from_millis(300));
        (load.written() == before).then_some(())
    });
    let length = stage.redis.llen(KEY);
    assert!((MARK..MARK + OVERSHOOT).contains(&length), "{length}");
    let consumer = Consumer::start(&stage.redis, KEY, 400, Duration::from_millis(2));
    load.go_on(10_000);
    let longest = finish(&stage, load, consumer);
    assert!(longest < MARK + OVERSHOOT, "{longest}");
}

#[test]
fn a_new_limit_is_taken_over_while_the_list_is_held() {
    let mut stage = Stage::new(|redis| redis, marked);
    let load = stage.load(Pace::default());
    until("the list to be held back", PATIENCE, || (stage.bridge.counter("held_back") == 1).then_some(()));
    stage.bridge.reconfigure(|bridge| bridge.set("queue.max-length", 0));
    stage.bridge.hup();
    let sent = load.stop();
    stage.judge(&sent);
    assert_eq!(stage.bridge.counter("held_back"), 0);
}

#[test]
fn out_of_memory_is_shown_as_held_back() {
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    let load = stage.load(Pace::default());
    load.go_on(500);
    stage.redis.cmd(&["CONFIG", "SET", "maxmemory", "1"]);
    until("the bridge to say it", PATIENCE, || (stage.bridge.counter("held_back") == 1).then_some(()));
    let text = String::from_utf8(stage.bridge.run(&["status"]).stdout).expect("text");
    assert!(text.contains("HELD BACK, records wait in the spool: redis is out of memory"), "{text}");
    stage.redis.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
    stage.judge(&load.stop());
    assert_eq!(stage.bridge.counter("held_back"), 0);
    assert_eq!(stage.bridge.status()["held_back_reason"], "");
}

/// A worker of rsyslog's queue brings so many at a time.
const BATCH: usize = 256;

/// How long the list may get: a batch of the worker beyond its mark; and a window while a spool is emptied.
fn limit(rig: &Rig) -> usize {
    if rig.plan.spool { MARK + 1024 + 2 * BATCH } else { MARK + BATCH }
}

/// The list is at its mark and stays there, whatever comes.
fn at_the_mark(rig: &mut Rig) {
    until("the list to be at its mark", PATIENCE, || (rig.redis.llen(KEY) >= MARK).then_some(()));
    let before = rig.senders.as_ref().map_or(0, e2e::sender::Senders::done);
    until("the senders to go on", PATIENCE, || {
        (rig.senders.as_ref().map_or(0, e2e::sender::Senders::done) >= before + 5000).then_some(())
    });
    let length = rig.redis.llen(KEY);
    assert!((MARK..limit(rig)).contains(&length), "{length}");
}

/// Workers take everything, a little at a time; in the end it is all there again, in order.
fn take_all(rig: &mut Rig) {
    rig.finish();
    rig.taken();
    let consumer = Consumer::start(&rig.redis, KEY, 100, Duration::from_millis(2));
    let count = usize::try_from(rig.sent.count()).expect("few");
    until("all records to be taken", PATIENCE * 3, || (rig.redis.llen(TAKEN) >= count).then_some(()));
    let longest = consumer.stop();
    assert!(longest < limit(rig), "{longest}");
    assert_eq!(rig.redis.llen(KEY), 0);
    rig.redis.cmd(&["RENAME", TAKEN, KEY]);
}

fn held_behind_rsyslog(spool: bool, more: &str, door: &Door) {
    let plan =
        Plan { queue: Queue::Memory { workers: 1, batch: 256 }, spool, more: more.to_owned(), ..Plan::default() };
    let steps = vec![
        Step::Send(&["a"]),
        Step::Do(at_the_mark),
        Step::Finish,
        Step::Taken,
        Step::Term,
        Step::Start,
        Step::Send(&["b"]),
        Step::Do(at_the_mark),
        Step::Do(take_all),
    ];
    Scenario { name: "a list at its mark", plan, steps }.assert_clean(door);
}

#[test]
fn the_module_holds_a_list_back_into_its_spool() {
    held_behind_rsyslog(true, "maxlength=\"1000\"", &OMRUST);
}

#[test]
fn the_program_holds_a_list_back_into_its_spool() {
    held_behind_rsyslog(true, "maxlength=\"1000\"", &OMPROG);
}

/// Without a spool the messages stay in rsyslog's queue.
#[test]
fn the_module_holds_a_list_back_into_rsyslogs_queue() {
    let more = "maxlength=\"1000\"".to_owned();
    let plan = Plan { queue: Queue::Memory { workers: 1, batch: 256 }, spool: false, more, ..Plan::default() };
    let steps = vec![Step::Send(&["a"]), Step::Do(at_the_mark), Step::Do(take_all)];
    Scenario { name: "a list at its mark without a spool", plan, steps }.assert_clean(&OMRUST);
}
