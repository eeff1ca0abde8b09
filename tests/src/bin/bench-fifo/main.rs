//! Benchmarks of fifo-bridge, side by side with its peers in one run: `make bench-fifo`.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod acks;
mod behind;
mod burst;
mod lanes;
mod peers;
mod steady;
mod throughput;
mod ways;

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use throughput::{Who, run, spread};

/// What is measured, and for how long.
#[derive(Debug, Parser)]
#[command(about = "Measures fifo-bridge beside its peers, and its ways to Redis beside each other. Prints Markdown.")]
struct Options {
    /// Records of 100 bytes in one run
    #[arg(long, default_value_t = 2_000_000)]
    records: usize,
    /// Runs of each, in turn
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds of each steady rate
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Records of a batch in the table of the lanes
    #[arg(long, default_value_t = 25)]
    batch: usize,
    /// Only these tables: peers, ways, acks, lanes, bursts, steady
    #[arg(long)]
    only: Vec<String>,
}

impl Options {
    fn wants(&self, table: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| word == table)
    }
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == "--peer") {
        return peer(&words[2..]);
    }
    if words.get(1).is_some_and(|word| word == "--sleepers") {
        return steady::sleep_for_ever();
    }
    let options = Options::parse();
    let (records, runs) = (options.records, options.runs);
    println!("records of 100 bytes, one pipe of 1 MiB; {records} records, {runs} runs in turn; median [low-high]\n");
    if options.wants("peers") {
        table(records, runs, 25, &[1, 4, 16]);
        table(records, runs, 250, &[4]);
    }
    if options.wants("ways") {
        ways::table(records, runs);
    }
    if options.wants("acks") {
        acks::table(records, runs);
    }
    if options.wants("lanes") {
        lanes::table(records, runs, options.batch);
    }
    if options.wants("bursts") {
        bursts(runs);
    }
    if options.wants("steady") {
        steady_state(options.seconds);
    }
}

/// With rsyslogd in front.
fn bursts(runs: usize) {
    println!(
        "| rsyslogd, imptcp, ompipe | k records/s | times suspended | bridge CPU ns/record | rsyslogd CPU ns/record | memory MiB | lost, doubled, misordered, foreign |"
    );
    println!("|---|---|---|---|---|---|---|");
    let cases = [("burst of 500 000", None, 0), ("100 000/s, redis stands still for 3 s", Some(100_000), 3)];
    for (name, rate, pause) in cases {
        for _ in 0..runs {
            let b = burst::run(500_000, rate, Duration::from_secs(pause));
            println!(
                "| {name} | {:.0} | {} | {:.0} | {:.0} | {:.1} | {:?} |",
                b.rate, b.suspended, b.cpu, b.rsyslog_cpu, b.memory, b.faults
            );
        }
    }
    println!();
}

/// A row for each peer, in turn, beside the reference.
fn table(records: usize, runs: usize, batch: usize, depths: &[usize]) {
    println!(
        "| unix socket; who, batch | in flight | k records/s | bridge CPU ns/record | Redis CPU ns/record | memory MiB | rate / reference |"
    );
    println!("|---|---|---|---|---|---|---|");
    for depth in depths {
        let mut of = Who::ALL.map(|_| Vec::new());
        for _ in 0..runs {
            for (who, of) in Who::ALL.into_iter().zip(&mut of) {
                of.push(run(who, records, *depth, batch));
            }
        }
        for (who, runs) in Who::ALL.into_iter().zip(&of) {
            println!(
                "| {}, {batch} | {depth} | {} | {} | {} | {} | {} |",
                who.name(),
                spread(runs, |run| run.rate),
                spread(runs, |run| run.cpu),
                spread(runs, |run| run.redis_cpu),
                spread(runs, |run| run.memory),
                ways::against(runs, &of[1], |run| run.rate),
            );
        }
    }
    println!();
}

fn steady_state(seconds: u64) {
    println!("| steady | figure |\n|---|---|");
    let bare = steady::share_of_sleepers(seconds);
    println!("| two threads that sleep as often and do nothing | {bare:.2} % of one core |");
    for rate in [1_000, 10_000, 100_000] {
        let (share, memory) = steady::share_of_a_core(rate, seconds);
        println!("| {rate} records/s | {share:.2} % of one core, {memory:.1} MiB |");
    }
    for rate in [20, 100, 300] {
        let (median, tail) = steady::median_and_tail(&steady::latencies(rate, (rate * seconds) as usize));
        println!("| latency at about {rate} records/s | median {median:.2} ms, 99th percentile {tail:.2} ms |");
    }
}

fn peer(words: &[String]) {
    let [kind, fifo, redis, folder, depth, batch] = words else { panic!("--peer KIND FIFO REDIS FOLDER DEPTH BATCH") };
    peers::run(&peers::Peer {
        safe: kind == "safe",
        fifo: Path::new(fifo),
        redis: Path::new(redis),
        folder: Path::new(folder),
        depth: depth.parse().expect("a number"),
        batch: batch.parse().expect("a number"),
    });
}
