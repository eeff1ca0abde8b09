//! kill -9 of the bridge at every step, of Redis beside it, and the gentler signals under load.
//!
//! `E2E_TORTURE=N` in the environment makes N times as many rounds (`make torture`).

use std::time::{Duration, Instant};

use delivery::fault::Place;
use e2e::bridge::BridgeConfig;
use e2e::child::{PATIENCE, until};
use e2e::load::Pace;
use e2e::redis::RedisSetup;
use e2e::stage::{KEY, Stage};

/// So many times `rounds`.
pub fn rounds(rounds: u64) -> u64 {
    let times = std::env::var("E2E_TORTURE").map_or(1, |times| times.parse().expect("E2E_TORTURE is a number"));
    rounds * times
}

/// Small segments that are freed at once, so that every step of a spool's life happens all the time.
fn small_segments(bridge: BridgeConfig) -> BridgeConfig {
    bridge
        .set("spool.segment-size", "64k")
        .set("spool.maxsize", "64m")
        .set("spool.retention-bytes", "64k")
        .set("spool.retention-seconds", 0)
}

fn some_torn() -> Pace {
    Pace { torn_every: 50, ..Pace::default() }
}

/// Mostly short, so that starts are hit too; sometimes long enough for segments to be freed.
fn random_pause(longest: Duration) {
    std::thread::sleep(longest.mul_f64(fastrand::f64().powi(2)));
}

#[test]
fn killed_at_random_moments() {
    let mut stage = Stage::new(|redis| redis, small_segments);
    let load = stage.load(some_torn());
    for _ in 0..rounds(100) {
        stage.bridge.kill9();
        // Each life cuts its batches elsewhere than the one before.
        let sync = fastrand::choice(["none", "interval", "always"]).expect("three");
        let (records, in_flight) = (fastrand::i64(1..100), fastrand::i64(1..16));
        stage.bridge.reconfigure(|bridge| {
            let bridge = bridge.set("spool.sync", sync).set("spool.sync-interval-ms", 10);
            bridge.set("batch.records-max", records).set("queue.in-flight", in_flight)
        });
        stage.bridge.launch();
        random_pause(Duration::from_millis(200));
        stage.bridge.kill9();
    }
    stage.bridge.start();
    stage.judge(&load.stop());
}

#[test]
fn killed_at_every_fault_point() {
    let mut stage = Stage::new(|redis| redis, small_segments);
    let load = stage.load(some_torn());
    let mut kills = 0;
    for place in Place::ALL {
        let most = match place {
            Place::SpoolBeforeFree | Place::SpoolAfterFree | Place::StartBeforeCursor => 2,
            Place::DrainBeforeRotate | Place::DrainAfterRotate => 3,
            _ => 12,
        };
        for _ in 0..rounds(30) {
            stage.bridge.kill9();
            stage.bridge.launch_with_fault(place.name(), fastrand::u64(1..=most));
            if place == Place::StartBeforeCursor {
                // A bridge whose connection stays connects once.
                until("the bridge to connect twice or to die", PATIENCE, || {
                    let clients = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
                    stage.redis.cmd(&clients);
                    stage.bridge.child().ended()
                });
            }
            let status = stage.bridge.wait_exit(PATIENCE);
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{}: {status}", place.name());
            kills += 1;
        }
    }
    assert!(kills >= 390, "{kills} kills");
    stage.bridge.start();
    stage.judge(&load.stop());
}

#[test]
fn killed_together_with_redis() {
    let mut stage = Stage::new(RedisSetup::aof, small_segments);
    let load = stage.load(some_torn());
    for _ in 0..rounds(15) {
        let arrived = stage.redis.llen(KEY);
        stage.bridge.launch();
        stage.redis.wait_llen(KEY, arrived + 200, PATIENCE);
        random_pause(Duration::from_millis(200));
        if fastrand::bool() {
            stage.redis.kill9();
            random_pause(Duration::from_millis(5));
            stage.bridge.kill9();
        } else {
            stage.bridge.kill9();
            random_pause(Duration::from_millis(5));
            stage.redis.kill9();
        }
        stage.redis.start();
    }
    stage.bridge.start();
    stage.judge(&load.stop());
}

#[test]
fn stopped_under_load() {
    let mut stage = Stage::new(|redis| redis, small_segments);
    let load = stage.load(some_torn());
    for _ in 0..rounds(15) {
        load.go_on(500);
        let start = Instant::now();
        stage.bridge.term();
        assert!(start.elapsed() < Duration::from_secs(3), "it took {:?} to stop", start.elapsed());
        stage.bridge.start();
    }
    assert_eq!(stage.bridge.said("SIGTERM: stopping").len() as u64, rounds(15));
    stage.judge(&load.stop());
}

/// The stop does not wait for a Redis that hangs.
#[test]
fn stopped_while_redis_hangs() {
    let mut stage = Stage::new(
        |redis| redis,
        |bridge| small_segments(bridge).set("redis.timeout-ms", 300).set("redis.connect-timeout-ms", 300),
    );
    let load = stage.load(some_torn());
    for _ in 0..rounds(4) {
        load.go_on(500);
        stage.redis.sigstop();
        load.go_on(500);
        let start = Instant::now();
        stage.bridge.term();
        assert!(start.elapsed() < Duration::from_secs(3), "it took {:?} to stop", start.elapsed());
        stage.redis.sigcont();
        stage.bridge.start();
    }
    stage.judge(&load.stop());
}

#[test]
fn reloaded_under_load() {
    let mut stage = Stage::new(|redis| redis, small_segments);
    let load = stage.load(some_torn());
    for round in 1..=rounds(60) {
        let records = fastrand::i64(1..200);
        let in_flight = fastrand::i64(1..20);
        stage.bridge.reconfigure(|bridge| bridge.set("batch.records-max", records).set("queue.in-flight", in_flight));
        stage.bridge.hup();
        stage.bridge.wait_said("the settings were read again", usize::try_from(round).expect("few"));
    }
    let sent = load.stop();
    stage.judge(&sent);
    stage.counted(&sent);
}
