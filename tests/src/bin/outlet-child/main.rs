//! A host of an outlet that dies: commits numbered records as rsyslog does, and writes into a ledger what it was told is done.
//!
//! Each record carries its worker, the life in which it was handed in, and its number. A later life hands in again from the first
//! number that was not acknowledged, under its own life: so what comes twice because of it is told apart from what is doubled.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use delivery::journal::{JournalConfig, SEGMENT_BYTES};
use delivery::link::{Address, Endpoint, Topology};
use delivery::outlet::{Batch, OnRefused, Outcome, Outlet, OutletConfig, Target, Worker};
use delivery::spool::Sync;

/// Commits numbered records through an outlet.
#[derive(Debug, Parser)]
struct Args {
    /// Redis' socket.
    #[arg(long)]
    server: PathBuf,
    /// The folder of the ledger.
    #[arg(long)]
    ledger: PathBuf,
    /// The folder of the spool; none without it.
    #[arg(long)]
    spool: Option<PathBuf>,
    /// Bytes of the spool.
    #[arg(long, default_value_t = 256 << 20)]
    spool_max: u64,
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Records of a batch: one of these, by chance.
    #[arg(long, value_delimiter = ',', default_value = "1,128,1024")]
    batch: Vec<usize>,
    /// Records go in turn to `list0`, `list1`, ...; to `main` if it is 0.
    #[arg(long, default_value_t = 0)]
    lists: usize,
    /// How long to wait between batches, in microseconds.
    #[arg(long, default_value_t = 500)]
    pause: u64,
    /// Hand in until each worker has come to this number, wait for the spool to be empty, and end.
    #[arg(long)]
    until: Option<u64>,
    /// What Redis refuses for good waits, in place of becoming a dead letter.
    #[arg(long)]
    hold: bool,
    /// High water of each list.
    #[arg(long, default_value_t = 0)]
    max_length: u64,
    #[arg(long, default_value_t = 150)]
    delay: u64,
    #[arg(long, default_value_t = 400)]
    timeout: u64,
}

/// Records of one worker for lists in turn.
struct Numbered<'a> {
    records: Vec<(u64, &'a [u8])>,
    names: &'a [String],
}

impl Batch for Numbered<'_> {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn target(&self, index: usize) -> Target<'_> {
        match self.names.len() {
            0 => Target::Main,
            count => Target::List(&self.names[self.records[index].0 as usize % count]),
        }
    }

    fn record(&self, index: usize) -> &[u8] {
        self.records[index].1
    }
}

/// What one worker was told, line by line.
struct Ledger {
    file: File,
    life: u64,
}

impl Ledger {
    fn open(folder: &Path, worker: usize, life: u64) -> (Self, u64) {
        let path = folder.join(format!("done-{worker}"));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let next = text.lines().filter_map(|line| line.split(' ').nth(2)?.parse().ok()).max().unwrap_or(0);
        let file = OpenOptions::new().create(true).append(true).open(path).expect("a ledger");
        (Self { file, life }, next)
    }

    /// One call, so that a kill leaves all of it or none.
    fn done(&mut self, records: &[(u64, &[u8])]) {
        let mut lines = String::new();
        for run in records.chunk_by(|before, after| before.0 + 1 == after.0) {
            let _ = writeln!(lines, "{} {} {}", self.life, run[0].0, run[0].0 + run.len() as u64);
        }
        self.file.write_all(lines.as_bytes()).expect("the ledger is written");
    }
}

/// Log lines go where the test shows them when it fails.
struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let _ = writeln!(std::io::stderr(), "{} {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

fn main() {
    log::set_logger(&Lines).expect("the first logger");
    log::set_max_level(log::LevelFilter::Info);
    let args = Arc::new(Args::parse());
    let life = begin_life(&args.ledger);
    let outlet = outlet(&args);
    log::info!("life {life}");
    outlet.start().expect("a start");
    // In order, so that worker n has slot n in each life.
    let workers: Vec<Worker> = (0..args.workers).map(|_| outlet.worker()).collect();
    let threads: Vec<_> = workers
        .into_iter()
        .enumerate()
        .map(|(number, worker)| {
            let args = Arc::clone(&args);
            std::thread::spawn(move || host(&args, number, life, worker))
        })
        .collect();
    for thread in threads {
        thread.join().expect("a worker ends");
    }
    while outlet.health().spooling {
        std::thread::sleep(Duration::from_millis(5));
    }
    outlet.stop();
}

fn begin_life(ledger: &Path) -> u64 {
    let path = ledger.join("life");
    let life = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0) + 1;
    let fresh = ledger.join("life.new");
    std::fs::write(&fresh, life.to_string()).expect("the life is noted");
    std::fs::rename(fresh, path).expect("the life is noted");
    life
}

fn outlet(args: &Args) -> Arc<Outlet> {
    let journal = args.spool.clone().map(|directory| JournalConfig {
        directory,
        bytes_max: args.spool_max,
        segment_bytes: SEGMENT_BYTES.min(args.spool_max / 8),
        sync: Sync::Always,
    });
    let config = OutletConfig {
        name: "child".into(),
        producer: "child".into(),
        list: "main".into(),
        delay: Duration::from_millis(args.delay),
        timeout: Duration::from_millis(args.timeout),
        dead_letters: Some(args.ledger.join("letters")),
        on_refused: if args.hold { OnRefused::Hold } else { OnRefused::DeadLetter },
        max_length: args.max_length,
        journal,
        ..OutletConfig::default()
    };
    let servers = [args.server.display().to_string()];
    let limit = Duration::from_millis(args.timeout);
    let address = Address { servers: &servers, port: 0, db: 0, topology: Topology::Direct };
    let endpoint = Endpoint::parse(address, limit, limit).expect("an address");
    Outlet::new(config, Box::new(move || Ok(endpoint.clone()))).expect("a configuration")
}

/// Hands in batches until it is enough.
fn host(args: &Args, number: usize, life: u64, mut worker: Worker) {
    assert_eq!(usize::from(worker.slot()), number);
    let names: Vec<String> = (0..args.lists).map(|list| format!("list{list}")).collect();
    let (mut ledger, mut next) = Ledger::open(&args.ledger, number, life);
    while args.until.is_none_or(|until| next < until) {
        let size = args.batch[fastrand::usize(..args.batch.len())];
        let texts: Vec<Vec<u8>> = (next..next + size as u64).map(|n| text(number, life, n)).collect();
        let records = texts.iter().zip(next..).map(|(text, n)| (n, text.as_slice())).collect();
        give(&mut worker, Numbered { records, names: &names }, &mut ledger);
        next += size as u64;
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..=args.pause)));
    }
}

fn text(worker: usize, life: u64, number: u64) -> Vec<u8> {
    // Sizes differ, so that commands and frames are cut everywhere.
    let fill = "x".repeat((number % 97) as usize);
    format!("{worker} {life} {number} {fill}").into_bytes()
}

/// Hands a batch in until it is done: whole again and again, or as rsyslog until 8.2604 does it, one by one, and what was turned
/// away of those once more together.
fn give(worker: &mut Worker, mut batch: Numbered<'_>, ledger: &mut Ledger) {
    let patience = Instant::now() + Duration::from_secs(60);
    let stop = AtomicBool::new(false);
    let interrupted = || stop.load(Ordering::Relaxed);
    let one_by_one = fastrand::bool();
    while !batch.records.is_empty() {
        assert!(Instant::now() < patience, "nothing goes on");
        if worker.commit(&batch, &interrupted) == Outcome::Done {
            return ledger.done(&batch.records);
        }
        // A caller in a hurry now and then, as in the last second of a host.
        stop.store(fastrand::u8(..8) == 0, Ordering::Relaxed);
        while !worker.probe(&interrupted) && fastrand::u8(..8) != 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        stop.store(false, Ordering::Relaxed);
        if one_by_one {
            let names = batch.names;
            let is_left = |record: &(u64, &[u8])| {
                let done = worker.commit(&Numbered { records: vec![*record], names }, &interrupted) == Outcome::Done;
                if done {
                    ledger.done(&[*record]);
                }
                !done
            };
            batch.records.retain(is_left);
        }
    }
}
