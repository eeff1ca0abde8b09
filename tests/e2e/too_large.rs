//! Records larger than Redis' `proto-max-bulk-len`: Redis says so and closes the connection. They are found, whatever is under way
//! beside them, and become dead letters once; the others arrive once and in order.

use std::time::Duration;

use e2e::bridge::BridgeConfig;
use e2e::child::PATIENCE;
use e2e::ledger::Ledger;
use e2e::pipe::PipeWriter;
use e2e::redis::RedisSetup;
use e2e::stage::{KEY, Stage};

fn narrow(redis: RedisSetup) -> RedisSetup {
    redis.option("proto-max-bulk-len", "1mb")
}

fn lines(bridge: BridgeConfig) -> BridgeConfig {
    bridge.set("frame.format", "line").set("frame.record-max", "4m").set("queue.on-refused", "dead-letter")
}

/// Record `n`; each tenth is too large, by a little or by much.
fn record(n: usize) -> Vec<u8> {
    let mut record = format!("record {n} ").into_bytes();
    if n % 10 == 7 {
        record.resize((1 << 20) + 1 + (n % 3) * (1 << 20), b'x');
    }
    record
}

fn write(writer: &mut PipeWriter, numbers: std::ops::Range<usize>) {
    for n in numbers {
        writer.write_whole(&[record(n), b"\n".to_vec()].concat());
    }
}

#[track_caller]
fn judge(stage: &Stage, count: usize) {
    let (large, small): (Vec<usize>, Vec<usize>) = (0..count).partition(|n| n % 10 == 7);
    stage.redis.wait_llen(KEY, small.len(), PATIENCE * 2);
    stage.bridge.wait_letters(large.len(), PATIENCE * 2);
    stage.rest();
    Ledger::new().sent_exactly(small.into_iter().map(record)).judge(stage.redis.list(KEY)).assert_clean();
    let letters = stage.bridge.dead_letters();
    for letter in &letters {
        assert_eq!(letter["reason"], "refused");
        assert_eq!(letter["detail"], "redis answered ERR the record is larger than redis' proto-max-bulk-len");
    }
    let parked = letters.iter().map(|letter| letter["record"].as_str().expect("text").as_bytes());
    Ledger::new().sent_exactly(large.into_iter().map(record)).judge(parked).assert_clean();
}

#[test]
fn they_become_dead_letters_and_the_others_arrive() {
    // In batches that may be larger than one of them, and one after the other.
    for (bytes_max, in_flight) in [("1m", 4), ("16m", 1), ("64k", 16)] {
        let stage = Stage::new(narrow, |bridge| {
            lines(bridge).set("batch.bytes-max", bytes_max).set("queue.in-flight", in_flight)
        });
        let mut writer = PipeWriter::open(&stage.bridge.fifo());
        write(&mut writer, 0..60);
        judge(&stage, 60);
        assert_eq!(stage.bridge.counter("dead_letters"), 6);
        assert_eq!((stage.bridge.counter("received"), stage.bridge.counter("pushed")), (60, 54));
    }
}

#[test]
fn they_wait_if_that_is_wanted() {
    let stage = Stage::new(narrow, |bridge| lines(bridge).set("queue.on-refused", "hold"));
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    write(&mut writer, 0..20);
    stage.bridge.wait_said("waits in the spool: redis answered ERR the record is larger", 1);
    stage.redis.wait_llen(KEY, 7, PATIENCE);
    assert_eq!((stage.redis.llen(KEY), stage.bridge.dead_letters().len()), (7, 0));
    stage.redis.cmd(&["CONFIG", "SET", "proto-max-bulk-len", "512mb"]);
    stage.redis.wait_llen(KEY, 20, PATIENCE);
    let all = stage.redis.list(KEY);
    Ledger::new().sent_exactly((0..20).map(record)).judge(all).assert_clean();
    assert_eq!(stage.bridge.said("larger than redis' proto-max-bulk-len").len(), 1);
}

#[test]
fn killed_while_they_become_dead_letters() {
    let mut stage = Stage::new(narrow, |bridge| lines(bridge).set("spool.maxsize", "256m"));
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    let mut next = 0;
    for place in
        ["dead-letter-before-write", "dead-letter-after-write", "push-before-send", "start-before-cursor"].repeat(3)
    {
        stage.bridge.kill9();
        stage.bridge.launch_with_fault(place, fastrand::u64(1..=3));
        // The pipe is full while nobody reads it.
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| write(&mut writer, next..next + 40));
            stage.bridge.wait_exit(PATIENCE);
            stage.bridge.start();
            writing.join().expect("all is written");
        });
        next += 40;
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..60)));
    }
    judge(&stage, next);
}
