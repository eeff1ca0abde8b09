//! Redis is away for so long that the spool fills, then the pipe; and nothing is dropped.

use std::path::Path;
use std::time::Duration;

use e2e::bridge::plain_binary;
use e2e::child::{PATIENCE, until};
use e2e::load::{Load, Pace};
use e2e::pipe::Numbered;
use e2e::stage::{KEY, Stage};

const MIB: u64 = 1 << 20;
const SEGMENT: u64 = 64 << 10;
/// What an outage may cost in memory.
const RESIDENT_MAX: u64 = 20 * MIB;

#[test]
fn the_spool_fills_and_then_the_pipe_and_nothing_is_dropped() {
    let mut stage = Stage::prepare(
        |redis| redis,
        |bridge| {
            let plain = bridge.program(plain_binary());
            let small = plain.set("spool.segment-size", "64k").set("spool.maxsize", "8m");
            small.set("spool.retention-bytes", "256k").set("fifo.pipe-size", "256k")
        },
    );
    stage.bridge.start();
    let records = Numbered::new("r", 200);
    let load = Load::start(&stage.bridge.fifo(), &records, Pace { burst: 500, ..Pace::default() });
    stage.bridge.wait_said("the spool is full: 8388608 of 8388608 bytes", 1);
    assert_eq!(stage.bridge.spool_files(), 8 * MIB);
    let full = stage.bridge.child().resident();
    assert!(full < RESIDENT_MAX, "{full} bytes of memory");
    // The pipe is full too when the writer stops going on.
    let mut written = load.written();
    until("the pipe to be full", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(100));
        let before = std::mem::replace(&mut written, load.written());
        (before == written).then_some(())
    });
    let before = stage.bridge.child().cpu_time();
    std::thread::sleep(Duration::from_secs(1));
    let used = stage.bridge.child().cpu_time().saturating_sub(before);
    assert!(used <= Duration::from_millis(200), "{used:?} of processor time in 1 s with everything full");
    let later = stage.bridge.child().resident();
    assert!(later < full + MIB, "memory grows in an outage: {full} bytes, then {later}");
    stage.redis.start();
    stage.redis.wait_llen(KEY, usize::try_from(written).expect("few"), PATIENCE);
    stage.bridge.wait_said("there is room in the spool again", 1);
    let sent = load.stop();
    assert!(sent.writer.stalls > 0);
    stage.judge(&sent);
    stage.counted(&sent);
    let most = (256 << 10) + SEGMENT;
    until("the disk to be free again", PATIENCE, || (stage.bridge.spool_files() <= most).then_some(()));
    assert!(stage.bridge.child().resident() < RESIDENT_MAX);
    assert_eq!(stage.bridge.said("the spool is full").len(), 1);
    assert_eq!(stage.bridge.said("there is room in the spool again").len(), 1);
    assert_eq!(stage.bridge.said("takes nothing").len(), 1);
}

/// Memory does not follow the length of an outage.
#[test]
fn memory_stays_flat_while_the_spool_grows() {
    let mut stage = Stage::prepare(|redis| redis, |bridge| bridge.program(plain_binary()));
    stage.bridge.start();
    let records = Numbered::new("r", 500);
    let load = Load::start(&stage.bridge.fifo(), &records, Pace { burst: 500, ..Pace::default() });
    let grown_to = |bytes: u64, path: &Path| {
        until("the spool to grow", PATIENCE, || (spool_bytes(path) >= bytes).then_some(()));
    };
    grown_to(4 * MIB, &stage.bridge.spool());
    let early = stage.bridge.child().resident();
    grown_to(80 * MIB, &stage.bridge.spool());
    let late = stage.bridge.child().resident();
    let sent = load.stop();
    assert!(late < RESIDENT_MAX && late < early + MIB, "{early} bytes of memory, then {late}");
    stage.redis.start();
    stage.judge(&sent);
    stage.counted(&sent);
    let after = stage.bridge.child().resident();
    assert!(after < RESIDENT_MAX, "{after} bytes of memory");
}

fn spool_bytes(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}
