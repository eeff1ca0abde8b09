//! Benchmark of the journal beside a bare pwrite and fdatasync of the same bytes, in turn: `make bench-spool`.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use delivery::journal::frame::Encoder;
use delivery::journal::{Journal, JournalConfig, SEGMENT_BYTES};
use delivery::position::{Epoch, Position};
use delivery::spool::Sync;
use e2e::cc::slow_sync;
use e2e::measure::Spread;

/// Bytes of a record.
const RECORD_BYTES: usize = 100;
/// Bytes of the bare file: written once before, like a segment that is used again.
const FILE_BYTES: u64 = 64 << 20;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let value = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    let number = |name: &str, default: u64| value(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (runs, milliseconds) = (number("--runs", 7), number("--milliseconds", 500));
    // A disk that takes longer than this one: the same program once more, with a library that waits before each sync.
    if let Some(slow) = value("--slow-sync-us").filter(|_| std::env::var_os("SLOW_SYNC_US").is_none()) {
        let mut again = Command::new(&words[0]);
        again.args(&words[1..]).env("LD_PRELOAD", slow_sync()).env("SLOW_SYNC_US", slow);
        assert!(again.status().expect("it can be run").success());
        return;
    }
    let place = value("--directory").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(&place).expect("a folder");
    println!(
        "records of {RECORD_BYTES} bytes, {runs} runs of {milliseconds} ms each, in turn, in {}; median [low-high]\n",
        place.display()
    );
    println!("| appenders x records in a batch | journal, records/s | bare, records/s | journal / bare |");
    println!("|---|---|---|---|");
    for (appenders, records) in [(1, 1), (4, 1), (16, 1), (1, 25), (1, 1000)] {
        let payload = payload(records);
        let span = Duration::from_millis(milliseconds);
        let (mut mine, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..=runs {
            let journal = journal(&folder.path().join("journal"), appenders, records as u32, &payload, span);
            let bare = bare(folder.path(), appenders, &payload, span);
            // The first run makes the files.
            if run > 0 {
                mine.push(journal * records as f64);
                theirs.push(bare * records as f64);
                ratios.push(journal / bare);
            }
        }
        println!(
            "| {appenders} x {records} | {} | {} | {} |",
            Spread::of(&mine),
            Spread::of(&theirs),
            Spread::of(&ratios)
        );
    }
}

fn payload(records: usize) -> Vec<u8> {
    let mut encoder = Encoder::new("benchmark");
    let record = [b'x'; RECORD_BYTES];
    let start = Position { epoch: Epoch(1), offset: 0 };
    encoder.part(0, "rsyslog", start, records, std::iter::repeat_n(&record[..], records));
    encoder.bytes().to_vec()
}

/// How many batches a second all appenders together get on disk.
fn together(appenders: usize, span: Duration, append: impl Fn(usize, u64) + std::marker::Sync) -> f64 {
    let done = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for appender in 0..appenders {
            let (append, done) = (&append, &done);
            scope.spawn(move || {
                for number in 0.. {
                    if begun.elapsed() >= span {
                        break;
                    }
                    append(appender, number);
                    done.fetch_add(1, Relaxed);
                }
            });
        }
    });
    done.into_inner() as f64 / begun.elapsed().as_secs_f64()
}

fn journal(directory: &Path, appenders: usize, records: u32, payload: &[u8], span: Duration) -> f64 {
    let config = JournalConfig {
        directory: directory.to_owned(),
        bytes_max: 1 << 30,
        segment_bytes: SEGMENT_BYTES,
        sync: Sync::Always,
    };
    let (journal, _reader) = Journal::open(config, 1).expect("it opens");
    together(appenders, span, |appender, number| {
        let lsn = journal.append(payload, records).expect("room");
        // As if it were drained at once: files are used again.
        if appender == 0 && number % 64 == 0 {
            journal.release(lsn).expect("release");
        }
    })
}

/// Each appender has a file of its own.
fn bare(folder: &Path, appenders: usize, payload: &[u8], span: Duration) -> f64 {
    let open = |appender: usize| {
        let path = folder.join(format!("bare-{appender}"));
        let is_new = !path.exists();
        let file = File::options().create(true).truncate(false).write(true).open(path).expect("a file");
        if is_new {
            let zeros = vec![0; 1 << 20];
            for at in (0..FILE_BYTES).step_by(zeros.len()) {
                file.write_all_at(&zeros, at).expect("room");
            }
            file.sync_all().expect("sync");
        }
        file
    };
    let files: Vec<File> = (0..appenders).map(open).collect();
    let step = payload.len().next_multiple_of(8) as u64;
    together(appenders, span, |appender, number| {
        files[appender].write_all_at(payload, number * step % (FILE_BYTES - step)).expect("write");
        files[appender].sync_data().expect("sync");
    })
}
