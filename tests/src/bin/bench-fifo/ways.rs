//! The ways to Redis beside plain TCP: one bridge, one lane, the same records, in turn. And one run of a bridge over any of them.

use std::path::Path;
use std::time::{Duration, Instant};

use e2e::bridge::{Bridge, plain_binary};
use e2e::child::{Scene, until};
use e2e::measure::{Spread, cpu_nanoseconds, status_kib};
use e2e::pipe::PipeWriter;

use crate::behind::{Behind, KEY};
use crate::throughput::{Run, spread};

/// So many hosts write, each a stream.
const HOSTS: usize = 32;
/// No run takes longer.
const LIMIT: Duration = Duration::from_secs(300);

/// How the bridge is set.
#[derive(Debug, Clone, Copy)]
pub struct Set {
    /// Batches under way, of each lane.
    pub depth: usize,
    /// Records of a batch.
    pub batch: usize,
    /// Lanes.
    pub lanes: usize,
    /// `redis.ack`
    pub ack: &'static str,
}

impl Set {
    /// One lane, answered from memory.
    pub fn plain(depth: usize, batch: usize) -> Self {
        Self { depth, batch, lanes: 1, ack: "memory" }
    }
}

/// Prints the table.
pub fn table(records: usize, runs: usize) {
    let scene = Scene::new();
    let mut ways = [
        ("TCP", Behind::tcp(&scene)),
        ("unix socket", Behind::socket(&scene)),
        ("TLS, certificates on both sides", Behind::tls(&scene)),
        ("Sentinel", Behind::watched(&scene, 0)),
        ("Cluster of three masters, one lane", Behind::cluster(&scene, 3)),
    ];
    println!(
        "| way to Redis | batch | in flight | k records/s | rate / TCP | bridge CPU ns/record | bridge CPU / TCP | Redis CPU ns/record | memory MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (depth, batch) in [(1, 25), (4, 25), (4, 250)] {
        let mut of: Vec<Vec<Run>> = vec![Vec::new(); ways.len()];
        for _ in 0..runs {
            for ((_, behind), of) in ways.iter_mut().zip(&mut of) {
                of.push(run(behind, records, Set::plain(depth, batch)));
            }
        }
        for ((name, _), runs) in ways.iter().zip(&of) {
            println!(
                "| {name} | {batch} | {depth} | {} | {} | {} | {} | {} | {} |",
                spread(runs, |run| run.rate),
                against(runs, &of[0], |run| run.rate),
                spread(runs, |run| run.cpu),
                against(runs, &of[0], |run| run.cpu),
                spread(runs, |run| run.redis_cpu),
                spread(runs, |run| run.memory),
            );
        }
    }
    println!();
}

/// A figure of each run beside that of the other in the same round.
pub fn against(runs: &[Run], other: &[Run], figure: impl Fn(&Run) -> f64) -> Spread {
    Spread::of(&runs.iter().zip(other).map(|(mine, other)| figure(mine) / figure(other)).collect::<Vec<_>>())
}

/// `records` of 100 bytes through a bridge.
pub fn run(behind: &mut Behind, records: usize, set: Set) -> Run {
    let scene = Scene::new();
    behind.empty();
    let mut config = behind
        .tell(Bridge::config(&scene).program(plain_binary()))
        .set("redis.ack", set.ack)
        .set("queue.in-flight", set.depth as i64)
        .set("batch.records-max", set.batch as i64);
    if set.lanes > 1 {
        config = config.set("queue.lanes", set.lanes as i64).set("queue.lane-field", "word:1");
    }
    let mut bridge = config.start();
    let lists = lists(&bridge, set.lanes);
    let pid = bridge.child().pid();
    let (before, theirs, start) = (cpu_nanoseconds(pid), behind.cpu(), Instant::now());
    let fifo = bridge.fifo();
    let writer = std::thread::spawn(move || write(&fifo, records));
    let holders: Vec<_> = lists.iter().enumerate().map(|(lane, list)| (behind.holds(list, lane), list)).collect();
    let arrived = || holders.iter().map(|(server, list)| server.llen(list)).sum::<usize>();
    until("all records to arrive", LIMIT, || (arrived() >= records).then_some(()));
    // What is in the list may not count yet.
    if set.ack != "memory" {
        until("all records to count", LIMIT, || (bridge.counter("pushed") == records as u64).then_some(()));
    }
    let took = start.elapsed().as_secs_f64();
    writer.join().expect("the writer");
    assert_eq!(arrived(), records, "not what was written");
    let each = |after: u64, before: u64| (after - before) as f64 / records as f64;
    let run = Run {
        rate: records as f64 / took / 1000.0,
        cpu: each(cpu_nanoseconds(pid), before),
        redis_cpu: each(behind.cpu(), theirs),
        memory: status_kib(pid, "VmHWM") as f64 / 1024.0,
    };
    bridge.term();
    run
}

fn lists(bridge: &Bridge, lanes: usize) -> Vec<String> {
    if lanes == 1 {
        return vec![KEY.to_owned()];
    }
    let status = bridge.status();
    let list = |lane: usize| status["lanes"][lane]["list"].as_str().expect("a lane has a list").to_owned();
    (0..lanes).map(list).collect()
}

/// Writes in pieces of 64 KiB: the writer must not be what limits the bridge.
pub fn write(fifo: &Path, records: usize) {
    let mut pipe = PipeWriter::open(fifo);
    let mut piece = Vec::with_capacity(64 << 10);
    for n in 0..records {
        let start = piece.len();
        piece.extend_from_slice(format!("~16|6|Nov 21 10:00:00| host{} {n} ", n % HOSTS).as_bytes());
        piece.resize(start + 99, b'x');
        piece.push(b'\n');
        if piece.len() > (64 << 10) - 100 || n + 1 == records {
            pipe.write_whole(&piece);
            piece.clear();
        }
    }
}
