//! What `ack` and Sentinel cost, side by side in one run: the bridge over TCP, four batches under way.

use std::time::{Duration, Instant};

use e2e::bridge::{Bridge, BridgeConfig, plain_binary};
use e2e::child::{Scene, until};
use e2e::measure::{Spread, cpu_nanoseconds};
use e2e::redis::Redis;
use e2e::sentinel::{MASTER, PASSWORD, Plan, Watched};

use crate::throughput::write;

/// What stands behind the bridge, and what it waits for.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    ack: &'static str,
    replica: bool,
    fsync: Option<&'static str>,
    sentinel: bool,
}

const PLAIN: Case = Case { name: "memory", ack: "memory", replica: false, fsync: None, sentinel: false };

const CASES: [Case; 8] = [
    PLAIN,
    Case { name: "memory, with a replica", replica: true, ..PLAIN },
    Case { name: "memory, with a replica, by Sentinel", replica: true, sentinel: true, ..PLAIN },
    Case { name: "replica:1", ack: "replica:1", replica: true, ..PLAIN },
    Case { name: "memory, appendfsync everysec", fsync: Some("everysec"), ..PLAIN },
    Case { name: "aof, appendfsync everysec", ack: "aof", fsync: Some("everysec"), ..PLAIN },
    Case { name: "memory, appendfsync always", fsync: Some("always"), ..PLAIN },
    Case { name: "aof, appendfsync always", ack: "aof", fsync: Some("always"), ..PLAIN },
];

/// The servers of a case.
enum Servers {
    Watched(Box<Watched>),
    Plain { master: Box<Redis>, _replica: Option<Redis> },
}

impl Servers {
    fn start(case: Case, scene: &Scene) -> Self {
        if case.sentinel {
            return Self::Watched(Box::new(Watched::start(scene, Plan { replicas: 1, least: 0, password: None })));
        }
        let setup = Redis::setup(scene).tcp();
        let master = match case.fsync {
            Some(when) => setup.option("appendonly", "yes").option("appendfsync", when),
            None => setup,
        };
        let master = master.start();
        let replica = case.replica.then(|| Redis::setup(scene).name("replica").replica_of(&master).start());
        Self::Plain { master: Box::new(master), _replica: replica }
    }

    fn master(&self) -> &Redis {
        match self {
            Self::Watched(watched) => &watched.servers[0],
            Self::Plain { master, .. } => master,
        }
    }

    fn tell(&self, config: BridgeConfig) -> BridgeConfig {
        match self {
            Self::Watched(watched) => config
                .set("redis.server", watched.addresses())
                .set("redis.sentinel-master", MASTER)
                .set("redis.password", PASSWORD),
            Self::Plain { master, .. } => {
                let port = i64::from(master.port().expect("it listens on TCP"));
                config.set("redis.server", "127.0.0.1").set("redis.port", port)
            }
        }
    }
}

/// Thousands of records a second and nanoseconds of the bridge's CPU for one; `None` if the server cannot do it.
fn run(case: Case, records: usize, batch: i64) -> Option<(f64, f64)> {
    let scene = Scene::new();
    let servers = Servers::start(case, &scene);
    if case.ack == "aof" && servers.master().try_cmd(&["WAITAOF", "1", "0", "1"]).is_err() {
        return None;
    }
    let config = servers.tell(Bridge::config(&scene).program(plain_binary())).set("redis.ack", case.ack);
    let mut bridge = config.set("batch.records-max", batch).set("metrics.listen", "").start();
    let (pid, fifo) = (bridge.child().pid(), bridge.fifo());
    let (before, start) = (cpu_nanoseconds(pid), Instant::now());
    let writer = std::thread::spawn(move || write(&fifo, records));
    // All but the last few have been confirmed by then.
    servers.master().wait_llen("rsyslog", records, Duration::from_secs(600));
    let took = start.elapsed().as_secs_f64();
    writer.join().expect("the writer");
    until("all records to count", Duration::from_secs(60), || {
        (bridge.counter("pushed") >= records as u64).then_some(())
    });
    assert_eq!(servers.master().llen("rsyslog"), records, "not what was written");
    Some((records as f64 / took / 1000.0, (cpu_nanoseconds(pid) - before) as f64 / records as f64))
}

/// Prints the table.
pub fn table(records: usize, runs: usize) {
    println!("| ack, over TCP, 4 in flight | batch | k records/s | bridge CPU ns/record |");
    println!("|---|---|---|---|");
    for batch in [25, 1024] {
        let mut found = vec![Vec::new(); CASES.len()];
        for _ in 0..runs {
            for (case, found) in CASES.iter().zip(&mut found) {
                found.extend(run(*case, records, batch));
            }
        }
        for (case, found) in CASES.iter().zip(found) {
            if found.is_empty() {
                println!("| {} | {batch} | this redis-server has no WAITAOF | |", case.name);
                continue;
            }
            let of = |figure: fn(&(f64, f64)) -> f64| Spread::of(&found.iter().map(figure).collect::<Vec<_>>());
            println!("| {} | {batch} | {:.0} | {:.0} |", case.name, of(|run| run.0), of(|run| run.1));
        }
    }
    println!();
}
