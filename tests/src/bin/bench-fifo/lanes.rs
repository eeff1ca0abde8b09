//! Several lanes, into one server and into several: how the rate and the cost grow.

use std::path::Path;
use std::time::{Duration, Instant};

use e2e::bridge::{Bridge, plain_binary};
use e2e::child::{Scene, until};
use e2e::measure::{cpu_nanoseconds, status_kib};
use e2e::pipe::PipeWriter;
use e2e::redis::Redis;

use crate::throughput::{Run, spread};

/// So many hosts write, each a stream.
const HOSTS: usize = 32;

/// Lanes and servers.
const CASES: [(usize, usize); 6] = [(1, 1), (2, 1), (4, 1), (8, 1), (2, 2), (4, 4)];

/// The table.
pub fn table(records: usize, runs: usize, batch: usize) {
    println!(
        "| batch {batch}, 4 in flight | lanes | servers | k records/s | bridge CPU ns/record | Redis CPU ns/record, all together | memory MiB |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut of: Vec<Vec<Run>> = vec![Vec::new(); CASES.len()];
    for _ in 0..runs {
        for (place, (lanes, servers)) in CASES.into_iter().enumerate() {
            of[place].push(run(records, lanes, servers, batch));
        }
    }
    for ((lanes, servers), runs) in CASES.into_iter().zip(&of) {
        println!(
            "| fifo-bridge | {lanes} | {servers} | {} | {} | {} | {} |",
            spread(runs, |run| run.rate),
            spread(runs, |run| run.cpu),
            spread(runs, |run| run.redis_cpu),
            spread(runs, |run| run.memory),
        );
    }
    println!();
}

fn run(records: usize, lanes: usize, servers: usize, batch: usize) -> Run {
    let scene = Scene::new();
    let mut servers: Vec<Redis> =
        (0..servers).map(|number| Redis::setup(&scene).name(&format!("redis{number}")).start()).collect();
    let sockets: Vec<toml::Value> =
        servers.iter().map(|redis| redis.socket().to_str().expect("a plain path").into()).collect();
    let mut config = Bridge::config(&scene)
        .program(plain_binary())
        .set("redis.server", sockets)
        .set("queue.in-flight", 4)
        .set("batch.records-max", batch as i64)
        .set("metrics.listen", "");
    if lanes > 1 {
        config = config.set("queue.lanes", lanes as i64).set("queue.lane-field", "word:1");
    }
    if servers.len() > 1 {
        config = config.set("redis.shard", true);
    }
    let mut bridge = config.start();
    let pid = bridge.child().pid();
    let pids: Vec<u32> = servers.iter_mut().map(|redis| redis.child().pid()).collect();
    let of_servers = || pids.iter().map(|pid| cpu_nanoseconds(*pid)).sum::<u64>();
    let (before, servers_before) = (cpu_nanoseconds(pid), of_servers());
    let start = Instant::now();
    let fifo = bridge.fifo();
    let writer = std::thread::spawn(move || write(&fifo, records));
    let name = |lane: usize| if lanes == 1 { "rsyslog".to_owned() } else { format!("rsyslog:{lane}") };
    let arrived = || (0..lanes).map(|lane| servers[lane % servers.len()].llen(&name(lane))).sum::<usize>();
    until("all records to arrive", Duration::from_secs(120), || (arrived() >= records).then_some(()));
    let took = start.elapsed().as_secs_f64();
    writer.join().expect("the writer");
    let each = |after: u64, before: u64| (after - before) as f64 / records as f64;
    let run = Run {
        rate: records as f64 / took / 1000.0,
        cpu: each(cpu_nanoseconds(pid), before),
        redis_cpu: each(of_servers(), servers_before),
        memory: status_kib(pid, "VmHWM") as f64 / 1024.0,
    };
    assert_eq!(arrived(), records, "more than was written");
    bridge.term();
    run
}

fn write(fifo: &Path, records: usize) {
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
