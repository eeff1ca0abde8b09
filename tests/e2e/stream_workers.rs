//! The PHP worker for streams: stream.php reads in a consumer group and loses nothing when it dies.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use e2e::bridge::Bridge;
use e2e::child::{Guarded, PATIENCE, Scene, until};
use e2e::ledger::Ledger;
use e2e::load::{Load, Pace};
use e2e::pipe::Numbered;
use e2e::proxy::{Mode, Proxy};
use e2e::redis::Redis;
use redis::Value;

use crate::workers::{BATCH, ascending, count, drain, fast, folder, lines, numbers, slow, term, wait_lines, worker};

const KEY: &str = "rsyslog";
const FILE: &str = "stream.php";

fn add(redis: &Redis, records: &Numbered, numbers: std::ops::Range<u64>) {
    let mut connection = redis.connect().expect("a connection");
    let mut all = redis::pipe();
    for n in numbers {
        all.cmd("XADD").arg(&[KEY.as_bytes(), b"*", b"msg", &records.element(n)]).ignore();
    }
    all.query::<()>(&mut connection).expect("entries");
}

/// What the group has handed out and nobody has acknowledged; `None` if nobody can tell.
fn pending(redis: &Redis) -> Option<i64> {
    let Ok(Value::Array(summary)) = redis.try_cmd(&["XPENDING", KEY, "workers"]) else { return None };
    match summary.first() {
        Some(Value::Int(count)) => Some(*count),
        other => panic!("XPENDING answered {other:?}"),
    }
}

/// The stream is empty, and nothing is in anybody's hands.
#[track_caller]
fn wait_done(redis: &Redis) {
    let done = || (redis.llen(KEY) == 0 && pending(redis) == Some(0)).then_some(());
    until("the last entry to be taken out", PATIENCE, done);
}

fn start(scene: &Scene, socket: &Path, name: &str, options: &[&str]) -> Guarded {
    let options = [&["--worker", name], options].concat();
    scene.spawn(name, slow(scene, FILE, socket, &scene.file("out"), &options))
}

/// From the pipe to the worker, both killed again and again.
#[test]
fn a_bridge_and_a_worker_that_are_killed_lose_nothing() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let mut bridge = Bridge::config(&scene).redis(&redis).set("queue.mode", "stream").start();
    let records = Numbered::new("killed", 100);
    let load = Load::start(&bridge.fifo(), &records, Pace::default());
    let out = scene.file("out");
    let mut left = Vec::new();
    for round in 0..8 {
        let mut child = start(&scene, redis.socket(), "w", &[]);
        let enough = count(&out) + fastrand::usize(100..600);
        wait_lines(&out, enough);
        if round % 2 == 0 {
            bridge.kill9();
            bridge.launch();
        }
        child.kill9();
        left.push(usize::try_from(pending(&redis).expect("a group")).expect("a number"));
    }
    let sent = load.stop();
    bridge.ready();
    e2e::stage::rest(&bridge);
    let mut last = start(&scene, redis.socket(), "w", &[]);
    wait_done(&redis);
    term(&scene, "w", &mut last);
    let handled = numbers(&lines(&out));
    let mut times: BTreeMap<u64, usize> = BTreeMap::new();
    for n in &handled {
        *times.entry(*n).or_default() += 1;
    }
    assert!(times.keys().copied().eq(0..sent.count), "{} of {} were handled", times.len(), sent.count);
    assert!(left.iter().any(|n| *n > 0) && left.iter().all(|n| *n <= BATCH), "{left:?} in hand");
    let repeats = handled.len() - times.len();
    assert!(repeats <= left.iter().sum(), "{repeats} repeats and {left:?} in hand");
    // One worker under one name keeps the order, but for what it had in hand.
    let first: Vec<u64> = {
        let mut seen = std::collections::BTreeSet::new();
        handled.iter().copied().filter(|n| seen.insert(*n)).collect()
    };
    assert!(ascending(&first), "out of order");
}

#[test]
fn what_a_dead_worker_had_in_hand_goes_to_another() {
    const RECORDS: u64 = 3000;
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let records = Numbered::new("claim", 100);
    let out = scene.file("out");
    add(&redis, &records, 0..RECORDS);
    let mut one = start(&scene, redis.socket(), "one", &["--ttl", "1"]);
    wait_lines(&out, 300);
    one.kill9();
    let left = pending(&redis).expect("a group");
    assert!(left > 0, "the kill found nothing in hand");
    let mut two = start(&scene, redis.socket(), "two", &["--ttl", "1"]);
    wait_done(&redis);
    term(&scene, "two", &mut two);
    let handled = numbers(&lines(&out));
    let all: std::collections::BTreeSet<u64> = handled.iter().copied().collect();
    assert!(all.iter().copied().eq(0..RECORDS), "{} of {RECORDS}", all.len());
    assert!(handled.len() - all.len() <= usize::try_from(left).expect("few"), "{} lines", handled.len());
}

#[test]
fn lost_replies_and_a_redis_that_dies_cost_a_living_worker_nothing() {
    const RECORDS: u64 = 4000;
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).aof().start();
    let proxy = Proxy::start(&scene, redis.socket());
    let records = Numbered::new("proxy", 100);
    let out = scene.file("out");
    add(&redis, &records, 0..RECORDS);
    let mut child = start(&scene, proxy.socket(), "w", &[]);
    for fault in 1..=6_u64 {
        wait_lines(&out, usize::try_from(fault * 400).expect("few"));
        match fault % 3 {
            0 => {
                redis.restart();
                continue;
            }
            1 => proxy.once(Mode::CutRequest(fastrand::u64(0..500))),
            _ => proxy.once(Mode::SwallowReplies(Duration::from_millis(20))),
        }
        let seen = proxy.faults();
        until("the fault to happen", PATIENCE, || (proxy.faults() > seen || fault % 3 == 0).then_some(()));
    }
    wait_done(&redis);
    term(&scene, "w", &mut child);
    Ledger::new().sent(&records, 0..RECORDS).judge(lines(&out)).assert_clean();
}

#[test]
fn a_stream_that_is_new_or_was_emptied_gets_its_group_again() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let records = Numbered::new("new", 100);
    let out = scene.file("out");
    let mut child = scene.spawn("w", fast(FILE, redis.socket(), &out, &[]));
    for round in 0..3 {
        add(&redis, &records, round * 100..(round + 1) * 100);
        wait_lines(&out, usize::try_from((round + 1) * 100).expect("few"));
        redis.cmd(&["FLUSHALL"]);
    }
    term(&scene, "w", &mut child);
    Ledger::new().sent(&records, 0..300).judge(lines(&out)).assert_clean();
}

/// Two groups read all of it, and Redis throws away what is old; the words of `--keep`.
#[test]
fn entries_may_be_kept_for_other_groups() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let records = Numbered::new("keep", 100);
    add(&redis, &records, 0..500);
    for group in ["one", "two"] {
        let out = scene.file(group);
        drain(&scene, group, fast(FILE, redis.socket(), &out, &["--group", group, "--keep"]));
        Ledger::new().sent(&records, 0..500).judge(lines(&out)).assert_clean();
    }
    assert_eq!(redis.llen(KEY), 500);
}

/// The ACL line of the README is enough for everything that the worker does.
#[test]
fn the_readme_acl_is_enough_for_streams() {
    let readme = fs::read_to_string(folder().join("README.md")).expect("the README");
    let (_, rest) = readme.split_once("for `stream.php` `").expect("the README has the rule");
    let rule = rest.split('`').next().expect("a closing quote");
    let scene = Scene::new();
    let keys = format!("~{KEY} ~{{{KEY}}}:*");
    let redis = Redis::setup(&scene).acl("worker", &format!("on >word {keys} {rule}")).start();
    let password = scene.write("password", "word\n");
    let handler = "<?php return static function ($r): void { if ($r->raw === 'x') { usleep(1500000); throw new FifoBridge\\Workers\\Rejected('x'); } };";
    let handler = scene.write("handler.php", handler);
    // What another worker has had in hand, an entry that is gone, and one that takes long.
    redis.cmd(&["XGROUP", "CREATE", KEY, "workers", "0", "MKSTREAM"]);
    for record in ["gone", "dead"] {
        redis.cmd(&["XADD", KEY, "*", "msg", record]);
    }
    redis.cmd(&["XREADGROUP", "GROUP", "workers", "dead", "STREAMS", KEY, ">"]);
    let mut command = worker(FILE, redis.socket(), &["--user", "worker", "--ttl", "1", "--batch", "2"]);
    command.arg("--password-file").arg(&password).arg("--handler").arg(&handler);
    let mut child = scene.spawn("w", command);
    for record in ["a", "x", "b"] {
        redis.cmd(&["XADD", KEY, "*", "msg", record]);
    }
    wait_done(&redis);
    assert_eq!(redis.llen(&format!("{{{KEY}}}:failed")), 1);
    redis.cmd(&["FLUSHALL"]);
    redis.cmd(&["XADD", KEY, "*", "msg", "again"]);
    wait_done(&redis);
    term(&scene, "w", &mut child);
    assert!(!scene.log("w").contains("NOPERM"), "{}", scene.log("w"));
}
