//! Connections to Redis that break, hang, lose replies or end in the middle of a push, and a Redis that dies.

use std::time::Duration;

use e2e::bridge::BridgeConfig;
use e2e::child::{PATIENCE, Scene, until};
use e2e::ledger::Ledger;
use e2e::load::{Load, Pace};
use e2e::pipe::{Numbered, PipeWriter};
use e2e::proxy::{Mode, Proxy};
use e2e::redis::{Redis, RedisSetup};
use e2e::stage::{CURSOR, KEY, Stage};
use redis::Value;

fn pace() -> Pace {
    Pace { torn_every: 70, ..Pace::default() }
}

/// A deadline that a test can wait for.
fn impatient(bridge: BridgeConfig) -> BridgeConfig {
    bridge.set("redis.timeout-ms", 150).set("redis.connect-timeout-ms", 150)
}

/// Waits until records flow.
#[track_caller]
fn flow(stage: &Stage) {
    stage.redis.wait_llen(KEY, stage.redis.llen(KEY) + 100, PATIENCE);
}

/// The end of a scenario that the bridge lived through, with at most `changes` lines about trouble.
#[track_caller]
fn finish(stage: &Stage, load: Load, changes: usize) {
    let sent = load.stop();
    stage.judge(&sent);
    stage.counted(&sent);
    let (begun, ended) = (stage.bridge.said("takes nothing"), stage.bridge.said("is back after"));
    assert!(begun.len() <= changes, "{} lines, {changes} expected: {begun:#?}", begun.len());
    assert!(ended.len() <= begun.len(), "{begun:#?}\n{ended:#?}");
}

#[test]
fn connections_are_killed_again_and_again() {
    let stage = Stage::new(|redis| redis, |bridge| bridge.set("queue.in-flight", 16));
    let load = stage.load(pace());
    for _ in 0..40 {
        flow(&stage);
        stage.redis.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }
    flow(&stage);
    finish(&stage, load, 40);
    assert!(stage.bridge.counter("reconnects") >= 30);
}

#[test]
fn clients_are_paused_for_longer_than_the_deadline() {
    let stage = Stage::new(|redis| redis, impatient);
    let load = stage.load(pace());
    for what in ["ALL", "WRITE", "ALL"] {
        flow(&stage);
        stage.redis.cmd(&["CLIENT", "PAUSE", "600", what]);
    }
    flow(&stage);
    finish(&stage, load, 3);
    assert!(stage.bridge.counter("unknown_outcome") > 0);
}

#[test]
fn redis_stands_still_for_longer_than_the_deadline() {
    let mut stage = Stage::new(|redis| redis, |bridge| impatient(bridge).set("queue.in-flight", 16));
    let load = stage.load(pace());
    for _ in 0..4 {
        flow(&stage);
        let retries = stage.bridge.counter("retries");
        stage.redis.sigstop();
        until("three attempts in vain", PATIENCE, || (stage.bridge.counter("retries") >= retries + 3).then_some(()));
        stage.redis.sigcont();
    }
    flow(&stage);
    finish(&stage, load, 4);
    // What had been under way was executed when Redis went on: the second copy was refused.
    assert!(stage.bridge.counter("duplicates_suppressed") > 0);
}

/// A bridge behind a proxy.
fn behind_proxy(redis: impl FnOnce(RedisSetup) -> RedisSetup, in_flight: i64) -> (Stage, Proxy) {
    let mut stage = Stage::prepare(redis, |bridge| impatient(bridge).set("queue.in-flight", in_flight));
    stage.redis.start();
    let proxy = Proxy::start(&stage.scene, stage.redis.socket());
    stage.bridge.reconfigure(|bridge| bridge.server(proxy.socket()));
    stage.bridge.start();
    (stage, proxy)
}

fn replies_are_swallowed(in_flight: i64) {
    let (stage, proxy) = behind_proxy(|redis| redis, in_flight);
    let load = stage.load(pace());
    for round in 1..=16 {
        flow(&stage);
        // Half of the connections are cut at once, the other half stay silent until the deadline.
        proxy.once(Mode::SwallowReplies(Duration::from_millis(if round % 2 == 0 { 0 } else { 300 })));
        until("a swallowed reply", PATIENCE, || (proxy.faults() >= round).then_some(()));
    }
    flow(&stage);
    finish(&stage, load, 16);
    assert!(stage.bridge.counter("duplicates_suppressed") > 0);
}

#[test]
fn replies_are_swallowed_one_in_flight() {
    replies_are_swallowed(1);
}

#[test]
fn replies_are_swallowed_four_in_flight() {
    replies_are_swallowed(4);
}

#[test]
fn replies_are_swallowed_sixteen_in_flight() {
    replies_are_swallowed(16);
}

/// Nothing is left to push: that Redis has everything is enough to say that it is back.
#[test]
fn the_last_reply_is_swallowed_and_nothing_follows() {
    let (stage, proxy) = behind_proxy(|redis| redis, 4);
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    writer.write(&stage.records.record(0));
    until("a first push", PATIENCE, || (stage.bridge.counter("pushed") == 1).then_some(()));
    proxy.once(Mode::SwallowReplies(Duration::ZERO));
    writer.write_all((1..40).map(|n| stage.records.record(n)));
    stage.bridge.wait_said("is back after", 1);
    stage.rest();
    Ledger::new().sent(&stage.records, 0..40).judge(stage.redis.list(KEY)).assert_clean();
    let status = stage.bridge.status();
    assert!(status["connected"] == true && stage.bridge.counter("connected") == 1, "{status:#}");
    assert!(stage.bridge.counter("duplicates_suppressed") > 0);
}

/// A connection dies with pushes on their way, the next one reads the cursor, and only then the pushes of the dead one arrive.
#[test]
fn late_writes_of_a_dead_connection() {
    let (stage, proxy) = behind_proxy(|redis| redis, 4);
    // Few records at a time: the batches that come late end elsewhere than those that are packed from the backlog.
    let load = stage.load(Pace { burst: 2, pause: Duration::from_millis(3), torn_every: 17 });
    let mut late = 0;
    for _ in 0..6 {
        proxy.set(Mode::Pass);
        flow(&stage);
        proxy.set(Mode::DelayReplies(Duration::from_millis(100)));
        proxy.hold();
        let before = stage.redis.get(CURSOR);
        until("the next connection to read the cursor", PATIENCE, || {
            let Value::BulkString(clients) = stage.redis.cmd(&["CLIENT", "LIST"]) else { panic!("no text") };
            String::from_utf8_lossy(&clients).contains(" cmd=get ").then_some(())
        });
        proxy.release();
        // The bridge knows the old cursor when this one is written.
        until("the late writes", PATIENCE, || (stage.redis.get(CURSOR) != before).then_some(()));
        late += 1;
    }
    proxy.set(Mode::Pass);
    flow(&stage);
    finish(&stage, load, late);
    assert!(stage.bridge.counter("duplicates_suppressed") > 0);
}

/// Swallowed replies and a pusher that simply sends again what had no answer: this is what a test that can fail looks like.
#[test]
fn a_plain_pusher_doubles_when_replies_are_swallowed() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let proxy = Proxy::start(&scene, redis.socket());
    let connect = || {
        let url = format!("unix://{}", proxy.socket().display());
        redis::Client::open(url).and_then(|client| client.get_connection()).expect("a connection")
    };
    let records = Numbered::new("plain", 100);
    let mut connection = connect();
    for from in (0..1000).step_by(25) {
        if from % 250 == 0 {
            proxy.once(Mode::SwallowReplies(Duration::ZERO));
        }
        loop {
            let mut push = redis::cmd("RPUSH");
            push.arg(KEY);
            for n in from..from + 25 {
                push.arg(records.element(n));
            }
            if push.query::<u64>(&mut connection).is_ok() {
                break;
            }
            connection = connect();
        }
    }
    let verdict = Ledger::new().sent(&records, 0..1000).judge(redis.list(KEY));
    assert_eq!((verdict.lost.count, verdict.doubled.count), (0, 100), "{verdict}");
}

#[test]
fn requests_are_cut_in_the_middle() {
    let (stage, proxy) = behind_proxy(|redis| redis, 4);
    let load = stage.load(pace());
    for round in 1..=25 {
        flow(&stage);
        proxy.once(Mode::CutRequest(fastrand::u64(0..20_000)));
        until("a cut request", PATIENCE, || (proxy.faults() >= round).then_some(()));
    }
    flow(&stage);
    finish(&stage, load, 25);
}

#[test]
fn redis_is_killed_and_has_its_append_only_file() {
    let mut stage = Stage::new(RedisSetup::aof, |bridge| bridge.set("queue.in-flight", 16));
    let load = stage.load(pace());
    for _ in 0..5 {
        flow(&stage);
        stage.redis.restart();
    }
    flow(&stage);
    // It may be met while it loads its data: that is another trouble than none at all.
    finish(&stage, load, 10);
}

#[test]
fn scripts_are_flushed_again_and_again() {
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    let load = stage.load(pace());
    for _ in 0..50 {
        flow(&stage);
        stage.redis.cmd(&["SCRIPT", "FLUSH"]);
    }
    flow(&stage);
    finish(&stage, load, 0);
}
