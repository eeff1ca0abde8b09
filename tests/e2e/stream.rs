//! fifo-bridge fills a stream of Redis' (`queue.mode = "stream"`): every record is an entry once, in order, with IDs that grow.

use std::time::Duration;

use e2e::bridge::{Bridge, BridgeConfig};
use e2e::child::{PATIENCE, until};
use e2e::load::{Load, Pace};
use e2e::pipe::Numbered;
use e2e::proxy::{Mode, Proxy};
use e2e::redis::{Redis, RedisSetup};
use e2e::stage::{CURSOR, KEY, Stage, rest};
use e2e::stream::{FIELD, entries, last_id};

fn streaming(bridge: BridgeConfig) -> BridgeConfig {
    let bridge = bridge.set("queue.mode", "stream").set("spool.segment-size", "64k").set("spool.maxsize", "64m");
    bridge.set("spool.retention-bytes", "64k").set("spool.retention-seconds", 0)
}

fn pace() -> Pace {
    Pace { torn_every: 50, ..Pace::default() }
}

fn is_stream(redis: &Redis) -> bool {
    redis.cmd(&["TYPE", KEY]) == redis::Value::SimpleString("stream".into())
}

#[track_caller]
fn judge(stage: &Stage, load: Load) {
    stage.judge(&load.stop());
    assert!(is_stream(&stage.redis));
}

#[test]
fn the_bridge_is_killed_at_random_moments() {
    let mut stage = Stage::new(|redis| redis, streaming);
    let load = stage.load(pace());
    for _ in 0..crate::kills::rounds(30) {
        stage.bridge.kill9();
        let (records, in_flight) = (fastrand::i64(1..100), fastrand::i64(1..16));
        stage.bridge.reconfigure(|bridge| bridge.set("batch.records-max", records).set("queue.in-flight", in_flight));
        stage.bridge.launch();
        std::thread::sleep(Duration::from_millis(200).mul_f64(fastrand::f64().powi(2)));
    }
    stage.bridge.kill9();
    stage.bridge.start();
    judge(&stage, load);
}

#[test]
fn the_bridge_is_killed_around_each_push() {
    let mut stage = Stage::new(|redis| redis, streaming);
    let load = stage.load(pace());
    for place in ["push-before-send", "push-mid-send", "push-after-send", "push-after-reply"] {
        for _ in 0..crate::kills::rounds(8) {
            stage.bridge.kill9();
            stage.bridge.launch_with_fault(place, fastrand::u64(1..=12));
            let status = stage.bridge.wait_exit(PATIENCE);
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{place}: {status}");
        }
    }
    stage.bridge.start();
    judge(&stage, load);
}

#[test]
fn redis_is_killed_and_the_bridge_with_it() {
    let mut stage = Stage::new(RedisSetup::aof, streaming);
    let load = stage.load(pace());
    for round in 0..crate::kills::rounds(12) {
        let arrived = stage.redis.llen(KEY);
        stage.redis.wait_llen(KEY, arrived + 200, PATIENCE);
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..100)));
        stage.redis.kill9();
        if round % 2 == 0 {
            stage.bridge.kill9();
            stage.bridge.launch();
        }
        stage.redis.start();
    }
    judge(&stage, load);
}

#[test]
fn replies_are_swallowed_and_pushes_arrive_late() {
    let stage = Stage::prepare(|redis| redis, |bridge| streaming(bridge).set("queue.in-flight", 16));
    let mut stage = stage;
    stage.redis.start();
    let proxy = Proxy::start(&stage.scene, stage.redis.socket());
    let front = proxy.socket().to_owned();
    stage.bridge.reconfigure(|bridge| bridge.server(&front).set("redis.timeout-ms", 200));
    stage.bridge.start();
    let load = stage.load(pace());
    for round in 1..=30 {
        load.go_on(100);
        proxy.once(match round % 3 {
            0 => Mode::CutRequest(fastrand::u64(0..6000)),
            1 => Mode::SwallowReplies(Duration::ZERO),
            _ => Mode::SwallowReplies(Duration::from_millis(300)),
        });
        until("the fault to happen", PATIENCE, || (proxy.faults() >= round).then_some(()));
    }
    let sent = load.stop();
    stage.judge(&sent);
    stage.counted(&sent);
    assert!(stage.bridge.counter("duplicates_suppressed") > 0, "no repeat was told apart");
}

#[test]
fn two_bridges_fill_one_stream() {
    let stage = Stage::new(|redis| redis, streaming);
    let other = Bridge::config(&stage.scene).name("other").redis(&stage.redis);
    let mut other = streaming(other.set("queue.producer", "q")).start();
    let load = stage.load(Pace::default());
    let records = Numbered::new("other", 100);
    let second = Load::start(&other.fifo(), &records, Pace::default());
    for round in 0..12 {
        load.go_on(300);
        second.go_on(300);
        if round == 4 {
            // The server's clock was ahead until now.
            let ahead = format!("{}-7", 4_000_000_000_000_u64 + round);
            stage.redis.cmd(&["XADD", KEY, &ahead, FIELD, "stranger"]);
        }
        other.kill9();
        other.launch();
    }
    let (sent, more) = (load.stop(), second.stop());
    let all = usize::try_from(sent.count + more.count + 1).expect("so many fit");
    stage.redis.wait_llen(KEY, all, PATIENCE * 2);
    other.ready();
    rest(&other);
    stage.rest();
    let found = entries(&stage.redis, KEY, FIELD);
    let of = |run: &str| {
        let run = run.to_owned();
        let own = move |record: &[u8]| e2e::pipe::parse(record).is_some_and(|(name, _)| name == run);
        found.iter().map(|(_, record)| record.clone()).filter(move |record| own(record)).collect::<Vec<_>>()
    };
    sent.ledger().judge(of(stage.records.run())).assert_clean();
    more.ledger().judge(of("other")).assert_clean();
    assert_eq!(found.len(), all);
    assert_eq!(last_id(&stage.redis, KEY).0, 4_000_000_000_004);
}

#[test]
fn the_cursor_is_lost_or_the_stream_is_and_the_bridge_goes_on() {
    let mut stage = Stage::new(|redis| redis, streaming);
    let load = stage.load(Pace::default());
    for round in 0..6 {
        load.go_on(300);
        if round % 2 == 0 {
            stage.redis.cmd(&["XTRIM", KEY, "MAXLEN", "0"]);
        } else {
            stage.bridge.kill9();
            stage.bridge.start();
        }
    }
    let before = last_id(&stage.redis, KEY);
    load.go_on(100);
    let sent = load.stop();
    stage.rest();
    assert!(last_id(&stage.redis, KEY) > before, "the IDs of an emptied stream began anew");
    assert!(sent.count >= 1900 && stage.redis.get(CURSOR).is_some());
    // Now the cursor goes, at rest: what is in doubt at such a moment is the hole that docs/DELIVERY.md names.
    let (id, length) = (last_id(&stage.redis, KEY), stage.redis.llen(KEY));
    stage.bridge.term();
    stage.redis.cmd(&["DEL", CURSOR]);
    stage.bridge.start();
    stage.bridge.wait_said("redis has no cursor", 1);
    stage.rest();
    assert_eq!((last_id(&stage.redis, KEY), stage.redis.llen(KEY)), (id, length), "something came twice");
}

/// A list where a stream is wanted, and the reverse: nothing is mixed, nothing is lost.
#[test]
fn a_key_of_the_other_kind_makes_records_wait() {
    for (wanted, fill) in [("stream", ["RPUSH", KEY, "old"].as_slice()), ("queue", &["XADD", KEY, "*", "msg", "old"])] {
        let mut stage = Stage::prepare(|redis| redis, |bridge| streaming(bridge).set("queue.mode", wanted));
        stage.redis.start();
        stage.redis.cmd(fill);
        stage.bridge.start();
        let load = stage.load(pace());
        stage.bridge.wait_said("WRONGTYPE", 1);
        load.go_on(1000);
        assert_eq!(stage.redis.llen(KEY), 1);
        // Workers have finished what is there.
        stage.redis.cmd(&["DEL", KEY]);
        let sent = load.stop();
        stage.judge(&sent);
        stage.counted(&sent);
        assert_eq!(is_stream(&stage.redis), wanted == "stream");
        assert_eq!(stage.bridge.said("WRONGTYPE").len(), 1);
    }
}

#[test]
fn dead_letters_come_back_into_the_stream_whatever_the_settings_say() {
    let mut stage = Stage::prepare(
        |redis| redis,
        |bridge| streaming(bridge).set("queue.on-refused", "dead-letter").set("stream.field", "record"),
    );
    stage.redis.start();
    stage.redis.cmd(&["RPUSH", KEY, "old"]);
    stage.bridge.start();
    let load = stage.load(Pace::default());
    load.go_on(500);
    until("all to be parked", PATIENCE, || (stage.bridge.counter("dead_letters") >= 400).then_some(()));
    stage.redis.cmd(&["DEL", KEY]);
    let sent = load.stop();
    stage.rest();
    let letters = stage.bridge.dead_letters();
    assert!(letters.iter().all(|letter| letter["stream_field"] == "record"), "{:?}", letters[0]);
    stage.bridge.term();
    let came = if is_stream(&stage.redis) { entries(&stage.redis, KEY, "record").len() } else { 0 };
    assert_eq!((came + letters.len()) as u64, sent.count);
    // With settings that know of no stream, and killed in the middle.
    let folder = stage.bridge.spool();
    let server = stage.redis.socket().to_str().expect("a plain path").to_owned();
    let words = ["dead-letters", "replay", folder.to_str().expect("a plain path"), "--server", &server];
    let runtime = stage.scene.folder("runtime");
    let replay = || {
        let mut command = e2e::bridge::bare_command(e2e::bridge::binary(), &runtime);
        command.args(words);
        command
    };
    for place in ["push-before-send", "push-after-send", "push-after-reply"] {
        replay().env("FIFO_BRIDGE_FAULT", format!("{place}:1")).output().expect("it runs");
    }
    let output = replay().output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let records: Vec<Vec<u8>> = entries(&stage.redis, KEY, "record").into_iter().map(|(_, record)| record).collect();
    // Those that were refused stand behind those that were not.
    let (late, early) = (records[came..].to_vec(), records[..came].to_vec());
    sent.ledger().judge([late, early].concat()).assert_clean();
}

#[test]
fn a_stream_at_its_mark_is_held_back_until_entries_are_taken_out() {
    let stage = Stage::new(|redis| redis, |bridge| streaming(bridge).set("queue.max-length", 1000));
    let load = stage.load(Pace::default());
    until("the stream to be held back", PATIENCE, || (stage.bridge.counter("held_back") == 1).then_some(()));
    let length = stage.redis.llen(KEY);
    assert!((1000..1100).contains(&length), "{length}");
    load.go_on(3000);
    assert_eq!(stage.redis.llen(KEY), length);
    let status = stage.bridge.status();
    assert_eq!(status["list_length"], length, "{status:#}");
    let check = stage.bridge.run(&["check"]);
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success() && text.contains(&format!("the stream {KEY} has {length} records")), "{text}");
    // A worker that reads in a group and deletes what it has acknowledged.
    stage.redis.cmd(&["XGROUP", "CREATE", KEY, "workers", "0"]);
    let mut taken: Vec<Vec<u8>> = Vec::new();
    let sent = load.stop();
    while (taken.len() as u64) < sent.count {
        let found: Vec<_> = entries(&stage.redis, KEY, FIELD);
        assert!(found.len() < 1100, "{}", found.len());
        let ids: Vec<String> = found.iter().map(|((ms, seq), _)| format!("{ms}-{seq}")).collect();
        if !ids.is_empty() {
            let words: Vec<&str> = ["XDEL", KEY].into_iter().chain(ids.iter().map(String::as_str)).collect();
            stage.redis.cmd(&words);
        }
        taken.extend(found.into_iter().map(|(_, record)| record));
    }
    stage.rest();
    sent.ledger().judge(taken).assert_clean();
}

#[test]
fn a_stream_with_a_limit_keeps_the_newest() {
    let stage = Stage::new(|redis| redis, |bridge| streaming(bridge).set("stream.maxlen", 500));
    let load = stage.load(Pace::default());
    load.go_on(5000);
    let sent = load.stop();
    stage.rest();
    assert_eq!(stage.bridge.counter("pushed"), sent.count);
    let left = entries(&stage.redis, KEY, FIELD);
    assert!((500..=620).contains(&left.len()), "{}", left.len());
    let first = sent.count - left.len() as u64;
    for (n, (_, record)) in (first..).zip(&left) {
        assert_eq!(*record, stage.records.element(n), "not the newest, in order");
    }
}

#[test]
fn an_outage_memory_and_a_replica_are_told_once() {
    let stage = Stage::new(|redis| redis, streaming);
    let load = stage.load(pace());
    for (word, begin, end) in [
        ("OOM", &["CONFIG", "SET", "maxmemory", "1"][..], &["CONFIG", "SET", "maxmemory", "0"][..]),
        ("READONLY", &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
        (
            "NOREPLICAS",
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
    ] {
        let back = stage.bridge.said("is back after").len();
        load.go_on(500);
        stage.redis.cmd(begin);
        stage.bridge.wait_said(word, 1);
        let length = stage.redis.llen(KEY);
        load.go_on(1000);
        assert_eq!(stage.redis.llen(KEY), length, "{word}");
        stage.redis.cmd(end);
        stage.bridge.wait_said("is back after", back + 1);
        assert_eq!(stage.bridge.said(word).len(), 1, "{word}");
    }
    let sent = load.stop();
    stage.judge(&sent);
    stage.counted(&sent);
}

#[test]
fn a_record_that_is_too_large_becomes_a_letter() {
    let stage = Stage::new(
        |redis| redis.option("proto-max-bulk-len", "1mb"),
        |bridge| {
            bridge.set("queue.mode", "stream").set("queue.on-refused", "dead-letter").set("frame.record-max", "2m")
        },
    );
    let mut pipe = e2e::pipe::PipeWriter::open(&stage.bridge.fifo());
    let large = [b"~16|6|Nov 22 10:00:00| ".to_vec(), vec![b'x'; 1_500_000]].concat();
    let records = Numbered::new("r", 100);
    pipe.write_all((0..50).map(|n| records.record(n)));
    for piece in [large.as_slice(), b"\n"].concat().chunks(4096) {
        pipe.wait_for_room(PATIENCE);
        pipe.write_whole(piece);
    }
    pipe.write_all((50..100).map(|n| records.record(n)));
    stage.redis.wait_llen(KEY, 100, PATIENCE);
    stage.bridge.wait_letters(1, PATIENCE);
    stage.rest();
    e2e::ledger::Ledger::new().sent(&records, 0..100).judge(stage.redis.list(KEY)).assert_clean();
    assert_eq!(stage.bridge.dead_letters()[0]["record"].as_str().map(str::len), Some(large.len()));
}

#[test]
fn lanes_are_streams_of_their_own() {
    let mut stage =
        Stage::new(|redis| redis, |bridge| streaming(bridge).set("queue.lanes", 3).set("queue.lane-field", "word:1"));
    let hosts: Vec<Numbered> = (0..8).map(|n| Numbered::new(&format!("h{n}"), 80)).collect();
    let mut pipe = e2e::pipe::PipeWriter::open(&stage.bridge.fifo());
    for round in 0..10 {
        for n in round * 50..(round + 1) * 50 {
            pipe.write_all(hosts.iter().map(|host| host.record(n)));
        }
        stage.bridge.kill9();
        stage.bridge.launch();
    }
    stage.bridge.ready();
    let keys = [0, 1, 2].map(|lane| format!("{KEY}:{lane}"));
    let length = |key: &String| stage.redis.llen(key);
    until("all records", PATIENCE, || (keys.iter().map(length).sum::<usize>() >= 8 * 500).then_some(()));
    stage.rest();
    let mut all = Vec::new();
    for key in keys.iter().filter(|key| stage.redis.llen(key) > 0) {
        assert_eq!(stage.redis.cmd(&["TYPE", key]), redis::Value::SimpleString("stream".into()));
        all.extend(stage.redis.list(key));
    }
    let ledger = hosts.iter().fold(e2e::ledger::Ledger::new(), |ledger, host| ledger.sent(host, 0..500));
    ledger.judge(all).assert_clean();
}
