//! The cursor in Redis is gone, went back, or is somebody else's.

use std::os::unix::fs::symlink;

use e2e::bridge::Bridge;
use e2e::child::{PATIENCE, Scene, free_port, until};
use e2e::load::{Load, Pace};
use e2e::pipe::{Numbered, parse};
use e2e::redis::Redis;
use e2e::stage::{CURSOR, KEY, Stage};

fn pace() -> Pace {
    Pace { torn_every: 70, ..Pace::default() }
}

/// The numbers in the list.
fn numbers(redis: &Redis) -> Vec<u64> {
    redis.list(KEY).iter().map(|element| parse(element).expect("a record").1).collect()
}

/// A primary and a replica, and a socket path that leads to one of them.
struct Pair {
    scene: Scene,
    primary: Redis,
    replica: Redis,
    bridge: Bridge,
}

impl Pair {
    fn new() -> Self {
        let scene = Scene::new();
        let primary = Redis::setup(&scene).tcp().start();
        let replica = Redis::setup(&scene).name("replica").replica_of(&primary).start();
        until("the replica", PATIENCE, || {
            let redis::Value::BulkString(info) = replica.cmd(&["INFO", "replication"]) else { panic!("no text") };
            String::from_utf8_lossy(&info).contains("master_link_status:up").then_some(())
        });
        let front = scene.socket("front.sock");
        symlink(primary.socket(), &front).expect("a link");
        let bridge = Bridge::config(&scene)
            .server(&front)
            .set("queue.producer", "p")
            .set("spool.segment-size", "64k")
            .set("spool.retention-bytes", "64m")
            .start();
        Self { scene, primary, replica, bridge }
    }

    /// The replica hears nothing more, but keeps what it has.
    fn cut_off(&self) {
        self.replica.cmd(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    }

    /// The primary dies and the replica takes its place.
    fn fail_over(&mut self) {
        self.primary.kill9();
        self.replica.cmd(&["REPLICAOF", "NO", "ONE"]);
        let front = self.scene.file("front.sock");
        std::fs::remove_file(&front).expect("it is there");
        symlink(self.replica.socket(), &front).expect("a link");
    }
}

#[test]
fn a_replica_that_lacks_the_last_pushes_takes_over() {
    let mut pair = Pair::new();
    let records = Numbered::new("r", 100);
    let load = Load::start(&pair.bridge.fifo(), &records, pace());
    pair.replica.wait_llen(KEY, 1000, PATIENCE);
    pair.cut_off();
    let had = pair.replica.llen(KEY);
    pair.primary.wait_llen(KEY, had + 5000, PATIENCE);
    pair.fail_over();
    load.go_on(1000);
    let sent = load.stop();
    pair.replica.wait_llen(KEY, usize::try_from(sent.count).expect("few"), PATIENCE);
    until("the bridge to count all", PATIENCE, || {
        let arrived = pair.bridge.counter("pushed") + pair.bridge.counter("duplicates_suppressed");
        (arrived == sent.count).then_some(())
    });
    sent.ledger().judge(pair.replica.list(KEY)).assert_clean();
    assert!(pair.bridge.counter("replayed") >= 5000);
    assert_eq!(pair.bridge.said("redis went back to").len(), 1);
}

/// The same, but the bridge dies with the primary: it comes back to a Redis that has less than it remembers.
#[test]
fn the_bridge_dies_with_the_primary() {
    let mut pair = Pair::new();
    let records = Numbered::new("r", 100);
    let load = Load::start(&pair.bridge.fifo(), &records, pace());
    pair.replica.wait_llen(KEY, 1000, PATIENCE);
    pair.cut_off();
    let had = pair.replica.llen(KEY);
    pair.primary.wait_llen(KEY, had + 5000, PATIENCE);
    pair.bridge.kill9();
    pair.fail_over();
    pair.bridge.start();
    load.go_on(1000);
    let sent = load.stop();
    pair.replica.wait_llen(KEY, usize::try_from(sent.count).expect("few"), PATIENCE);
    pair.bridge.term();
    sent.ledger().judge(pair.replica.list(KEY)).assert_clean();
    assert_eq!(pair.bridge.said("redis went back to").len(), 1);
}

/// Redis goes back further than the retained spool reaches: what is there is sent again, and the gap is told.
#[test]
fn redis_goes_back_further_than_the_spool_reaches() {
    let stage = Stage::new(
        |redis| redis,
        |bridge| {
            let small = bridge.set("spool.segment-size", "64k").set("spool.maxsize", "1m");
            small.set("spool.retention-bytes", "64k").set("spool.retention-seconds", 0)
        },
    );
    let load = stage.load(Pace::default());
    stage.redis.wait_llen(KEY, 10, PATIENCE);
    let old = stage.redis.get(CURSOR).expect("a cursor");
    load.go_on(20_000);
    stage.redis.cmd(&[b"SET".as_slice(), CURSOR.as_bytes(), &old]);
    stage.bridge.wait_said("went back further than the spool reaches", 1);
    load.go_on(500);
    let sent = load.stop();
    let last = sent.count - 1;
    until("the last record", PATIENCE, || (numbers(&stage.redis).last() == Some(&last)).then_some(()));
    stage.rest();
    // Nothing is missing: what comes twice is what the spool still had.
    let mut found = numbers(&stage.redis);
    let again = found.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert_eq!(again, 1, "the list goes back once");
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len() as u64, sent.count);
    assert_eq!(stage.bridge.said("went back further").len(), 1);
}

/// What `FLUSHALL` leaves in the list of a bridge that resumes: the newest records, without a gap.
#[test]
fn redis_is_emptied_and_the_bridge_resumes() {
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    let load = stage.load(pace());
    for _ in 0..3 {
        stage.redis.wait_llen(KEY, 500, PATIENCE);
        stage.redis.cmd(&["FLUSHALL"]);
    }
    load.go_on(500);
    let sent = load.stop();
    until("the last record", PATIENCE, || (numbers(&stage.redis).last() == Some(&(sent.count - 1))).then_some(()));
    stage.rest();
    stage.counted(&sent);
    let found = numbers(&stage.redis);
    assert!(found.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap, or out of order: {found:?}");
    // Three times in a row are one line.
    assert_eq!(stage.bridge.said("redis has no cursor").len(), 1);
}

/// Nothing that Redis had confirmed before it was emptied comes again.
#[test]
fn redis_is_emptied_at_rest_and_the_bridge_restarts() {
    let mut stage = Stage::new(|redis| redis, |bridge| bridge);
    let load = stage.load(Pace::default());
    load.go_on(2000);
    let sent = load.stop();
    stage.judge(&sent);
    let later = Numbered::new("later", 100);
    for run in 0..2 {
        stage.redis.cmd(&["FLUSHALL"]);
        if run == 1 {
            stage.bridge.term();
            stage.bridge.start();
        }
        let load = Load::start(&stage.bridge.fifo(), &later, Pace::default());
        load.go_on(300);
        let sent = load.stop();
        stage.judge(&sent);
        assert_eq!(stage.bridge.said("redis has no cursor").len(), run + 1);
    }
}

#[test]
fn redis_is_emptied_and_the_bridge_stops_until_a_person_looks() {
    let mut stage = Stage::new(|redis| redis, |bridge| bridge.set("queue.on-lost-cursor", "stop"));
    let load = stage.load(pace());
    load.go_on(1000);
    let first = load.stop();
    stage.judge(&first);
    stage.redis.cmd(&["FLUSHALL"]);
    let later = Numbered::new("later", 100);
    let load = Load::start(&stage.bridge.fifo(), &later, pace());
    stage.bridge.wait_said("nothing is pushed until SIGHUP", 1);
    load.go_on(2000);
    // A HUP that changes nothing changes nothing, nor does a restart.
    stage.bridge.hup();
    stage.bridge.wait_said("the settings were read again", 1);
    load.go_on(500);
    stage.bridge.wait_said("nothing is pushed until SIGHUP", 2);
    assert_eq!(stage.redis.llen(KEY), 0);
    let status = stage.bridge.status();
    assert!(status["stopped"] == true && status["connected"] == false, "{status:#}");
    stage.bridge.kill9();
    stage.bridge.start();
    stage.bridge.wait_said("nothing is pushed until SIGHUP", 3);
    load.go_on(500);
    assert_eq!(stage.redis.llen(KEY), 0);
    stage.bridge.reconfigure(|bridge| bridge.set("queue.on-lost-cursor", "resume"));
    stage.bridge.hup();
    stage.redis.wait_llen(KEY, 1000, PATIENCE);
    let sent = load.stop();
    let letters = first.torn.len() + sent.torn.len();
    stage.redis.wait_llen(KEY, usize::try_from(sent.count).expect("few"), PATIENCE);
    stage.bridge.wait_letters(letters, PATIENCE);
    stage.rest();
    sent.ledger().judge(stage.redis.list(KEY)).assert_clean();
    assert_eq!(stage.bridge.dead_letters().len(), letters);
    let status = stage.bridge.status();
    assert!(status["stopped"] == false && status["connected"] == true, "{status:#}");
}

#[test]
fn somebody_writes_to_the_cursor() {
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    let load = stage.load(pace());
    for value in ["hello", "", "ffffffffffffffff:7", "0000000000000001:7", "\0"] {
        stage.redis.wait_llen(KEY, stage.redis.llen(KEY) + 200, PATIENCE);
        stage.redis.cmd(&["SET", CURSOR, value]);
    }
    load.go_on(500);
    let sent = load.stop();
    stage.judge(&sent);
    stage.counted(&sent);
    assert_eq!(stage.bridge.said("Going on at").len(), 3, "not ours, then missing, then not ours for some time");
}

/// The cursor's key holds something else than a string: nothing can be pushed, nothing is lost.
#[test]
fn the_cursor_is_no_string() {
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    let load = stage.load(pace());
    stage.redis.wait_llen(KEY, 500, PATIENCE);
    let aside = "redis.call('RENAME', KEYS[1], 'aside') redis.call('LPUSH', KEYS[1], 'x')";
    stage.redis.cmd(&["EVAL", aside, "1", CURSOR]);
    stage.bridge.wait_said("WRONGTYPE", 1);
    let before = stage.redis.llen(KEY);
    load.go_on(1000);
    assert_eq!(stage.redis.llen(KEY), before);
    stage.redis.cmd(&["RENAME", "aside", CURSOR]);
    load.go_on(500);
    let sent = load.stop();
    stage.judge(&sent);
    stage.counted(&sent);
    assert_eq!(stage.bridge.said("WRONGTYPE").len(), 1);
}

#[test]
fn two_bridges_fill_one_list() {
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    let other = Bridge::config(&stage.scene).name("other").redis(&stage.redis).set("queue.producer", "q").start();
    let load = stage.load(pace());
    let others = Numbered::new("other", 100);
    let other_load = Load::start(&other.fifo(), &others, Pace::default());
    load.go_on(3000);
    stage.redis.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    load.go_on(1000);
    let (sent, other_sent) = (load.stop(), other_load.stop());
    let all = usize::try_from(sent.count + other_sent.count).expect("few");
    stage.redis.wait_llen(KEY, all, PATIENCE);
    stage.rest();
    let ledger = sent.ledger().sent(&others, 0..other_sent.count);
    ledger.judge(stage.redis.list(KEY)).assert_clean();
    stage.counted(&sent);
}

/// Two bridges that share a name by mistake. Each believes that the cursor is its own, and takes it over.
#[test]
fn two_bridges_with_one_name() {
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    let other = Bridge::config(&stage.scene).name("other").redis(&stage.redis).set("queue.producer", "p").start();
    let load = stage.load(Pace { burst: 2, ..Pace::default() });
    let others = Numbered::new("other", 100);
    let other_load = Load::start(&other.fifo(), &others, Pace { burst: 2, ..Pace::default() });
    load.go_on(3000);
    let (sent, other_sent) = (load.stop(), other_load.stop());
    let all = usize::try_from(sent.count + other_sent.count).expect("few");
    stage.redis.wait_llen(KEY, all, PATIENCE);
    stage.rest();
    let ledger = sent.ledger().sent(&others, 0..other_sent.count);
    let verdict = ledger.judge(stage.redis.list(KEY));
    verdict.assert_clean();
    for bridge in [&stage.bridge, &other] {
        let lines = bridge.said("is not one of ours: another bridge uses the same queue.producer");
        assert!((1..=4).contains(&lines.len()), "{lines:#?}");
    }
}
