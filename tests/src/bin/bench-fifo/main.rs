//! Benchmarks of fifo-bridge, side by side with its peers in one run: `make bench-fifo`.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod acks;
mod burst;
mod lanes;
mod peers;
mod steady;
mod throughput;

use std::path::Path;
use std::time::Duration;

use e2e::measure::Spread;
use throughput::{Who, run, spread};

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == "--peer") {
        return peer(&words[2..]);
    }
    if words.get(1).is_some_and(|word| word == "--sleepers") {
        return steady::sleep_for_ever();
    }
    let number = |name: &str, default: usize| {
        let given = words.iter().position(|word| word == name).and_then(|at| words.get(at + 1)?.parse().ok());
        given.unwrap_or(default)
    };
    let (records, runs) = (number("--records", 2_000_000), number("--runs", 5));
    println!(
        "records of 100 bytes, unix socket, one pipe of 1 MiB; {records} records, {runs} runs in turn; median [low-high]\n"
    );
    if words.iter().any(|word| word == "--lanes") {
        return lanes::table(records, runs, number("--batch", 25));
    }
    if !words.iter().any(|word| word == "--no-table") {
        table(records, runs, 25, &[1, 4, 16]);
        table(records, runs, 250, &[4]);
    }
    ways(records, runs);
    acks::table(number("--ack-records", 300_000), runs);
    if words.iter().any(|word| word == "--acks-only") {
        return;
    }
    bursts(runs);
    steady_state(number("--seconds", 10) as u64);
}

/// What TCP and TLS cost.
fn ways(records: usize, runs: usize) {
    println!(
        "| way to Redis, batch | in flight | k records/s | bridge CPU ns/record | Redis CPU ns/record | memory MiB | rate / TCP |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (depth, batch) in [(1, 25), (4, 25), (4, 250)] {
        rows(&Who::WAYS, 1, records, runs, depth, batch);
    }
    println!();
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

fn table(records: usize, runs: usize, batch: usize, depths: &[usize]) {
    println!(
        "| who, batch | in flight | k records/s | bridge CPU ns/record | Redis CPU ns/record | memory MiB | rate / reference |"
    );
    println!("|---|---|---|---|---|---|---|");
    for depth in depths {
        rows(&Who::ALL, 1, records, runs, *depth, batch);
    }
    println!();
}

/// A row for each of `who`, in turn, beside the one at `reference`.
fn rows(who: &[Who], reference: usize, records: usize, runs: usize, depth: usize, batch: usize) {
    let mut of: Vec<Vec<throughput::Run>> = vec![Vec::new(); who.len()];
    for _ in 0..runs {
        for (index, who) in who.iter().enumerate() {
            of[index].push(run(*who, records, depth, batch));
        }
    }
    for (index, who) in who.iter().enumerate() {
        let ratios: Vec<f64> =
            of[index].iter().zip(&of[reference]).map(|(mine, reference)| mine.rate / reference.rate).collect();
        println!(
            "| {}, {batch} | {depth} | {} | {} | {} | {} | {} |",
            who.name(),
            spread(&of[index], |run| run.rate),
            spread(&of[index], |run| run.cpu),
            spread(&of[index], |run| run.redis_cpu),
            spread(&of[index], |run| run.memory),
            Spread::of(&ratios),
        );
    }
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
