//! What fifo-bridge stands on: splice(2) from a pipe into a file is one step, also for a process that is killed in it.
//!
//! Linux does it so and promises it nowhere. This test tells when that changes.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::bridge::Bridge;
use e2e::child::{Guarded, PATIENCE, Scene};
use e2e::load::{Load, Pace};
use e2e::pipe::{Numbered, PipeReader, mkfifo};

use crate::kills::rounds;

/// As fast as the pipe takes it.
const FULL_SPEED: Pace = Pace { burst: 1000, pause: Duration::ZERO, torn_every: 0 };

/// The stream as it is now: the files, then what is left in the pipe.
fn stream(files: &[PathBuf], fifo: &Path) -> Vec<u8> {
    let mut found = Vec::new();
    for file in files {
        File::open(file).and_then(|mut file| file.read_to_end(&mut found)).expect("it can be read");
    }
    found.extend(PipeReader::open(fifo).rest());
    found
}

/// The number of the first record that is not where it belongs.
fn first_wrong(found: &[u8], records: &Numbered, count: u64) -> Option<u64> {
    let mut rest = found;
    let wrong = (0..count).find(|&n| match rest.strip_prefix(&records.record(n)[..]) {
        Some(behind) => {
            rest = behind;
            false
        }
        None => true,
    });
    wrong.or((!rest.is_empty()).then_some(count))
}

fn segments(spool: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(spool).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut segments: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "seg")).collect();
    segments.sort();
    segments
}

fn size(files: &[PathBuf]) -> u64 {
    files.iter().filter_map(|file| fs::metadata(file).ok()).map(|meta| meta.len()).sum()
}

/// Kills a reader of the pipe again and again, each time soon after it has begun to write its files.
fn kill_again_and_again(rounds: u64, files: impl Fn() -> Vec<PathBuf>, mut start: impl FnMut() -> Guarded) {
    for _ in 0..rounds {
        let before = size(&files());
        let mut reader = start();
        let begun = Instant::now();
        while size(&files()) == before {
            assert!(begun.elapsed() < PATIENCE, "nothing is taken from the pipe");
            std::thread::sleep(Duration::from_micros(100));
        }
        std::thread::sleep(Duration::from_millis(2).mul_f64(fastrand::f64()));
        reader.kill9();
    }
}

#[test]
fn splice_is_one_step() {
    // The spool of one round is a few hundred megabytes.
    for _ in 0..rounds(1) {
        killed_while_it_splices();
    }
}

fn killed_while_it_splices() {
    let scene = Scene::new();
    let bridge = Bridge::config(&scene)
        .server(&scene.file("no-redis.sock"))
        .set("fifo.pipe-size", "256k")
        .set("spool.segment-size", "1m")
        .set("batch.linger-ms", 0)
        .prepare();
    let (fifo, spool) = (bridge.fifo(), bridge.spool());
    mkfifo(&fifo);
    let records = Numbered::new("splice", 1000);
    let load = Load::start(&fifo, &records, FULL_SPEED);
    kill_again_and_again(250, || segments(&spool), || scene.spawn("bridge", bridge.command(&["run"])));
    let sent = load.stop();
    let found = stream(&segments(&spool), &fifo);
    assert_eq!(first_wrong(&found, &records, sent.count), None, "of {} records", sent.count);
}

/// The same for a program that reads and writes: this is what a test that can fail looks like.
#[test]
fn read_and_write_are_two_steps() {
    let scene = Scene::new();
    let fifo = scene.file("pipe");
    mkfifo(&fifo);
    let records = Numbered::new("dd", 1000);
    let load = Load::start(&fifo, &records, FULL_SPEED);
    let copy = || vec![scene.log_path("dd")];
    for attempt in 1.. {
        kill_again_and_again(50, copy, || {
            let mut dd = Command::new("dd");
            dd.args(["bs=64k", "status=none"]).arg(format!("if={}", fifo.display()));
            scene.spawn("dd", dd)
        });
        let found = fs::read(scene.log_path("dd")).expect("a copy");
        if first_wrong(&found, &records, load.written()).is_some_and(|n| (n + 1) * 1000 < found.len() as u64) {
            break;
        }
        assert!(attempt < 20, "dd lost nothing in {attempt} times 50 kills");
    }
    drop(load.stop());
}
