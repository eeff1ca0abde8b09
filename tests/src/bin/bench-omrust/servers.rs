//! Lanes on one server, on several, and on the nodes of a cluster: the outlet alone, without rsyslogd.

use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::link::{Address, Endpoint, Topology};
use delivery::lists::lists;
use delivery::outlet::{Batch, Fan, NodeLogin, Outcome, OutletConfig, Target};
use e2e::child::Scene;
use e2e::cluster::Cluster;
use e2e::measure::cpu_nanoseconds;
use e2e::redis::Redis;

use crate::{Options, spread};

/// Masters of the cluster.
const MASTERS: usize = 3;

/// Lanes, servers, and whether they are a cluster. The first is what all are compared with.
const ROWS: [(u32, usize, bool); 10] = [
    (1, 1, false),
    (2, 1, false),
    (4, 1, false),
    (2, 2, false),
    (4, 2, false),
    (4, 4, false),
    (1, MASTERS, true),
    (3, MASTERS, true),
    (6, MASTERS, true),
    (12, MASTERS, true),
];

/// Batches as rsyslog makes them by default, and large ones.
const BATCHES: [usize; 2] = [128, 1024];

#[derive(Clone, Copy, Debug)]
struct Run {
    rate: f64,
    ours: f64,
    redis: f64,
}

/// Equal records, dealt out to the lanes in turn.
struct Equal {
    record: Vec<u8>,
    count: usize,
    lanes: u32,
}

impl Batch for Equal {
    fn len(&self) -> usize {
        self.count
    }

    fn target(&self, index: usize) -> Target<'_> {
        if self.lanes == 1 { Target::Main } else { Target::Lane(index as u32 % self.lanes) }
    }

    fn record(&self, _index: usize) -> &[u8] {
        &self.record
    }
}

/// What the rows need, started once.
struct Places {
    shards: Vec<Redis>,
    cluster: Cluster,
}

/// Prints the tables.
pub fn table(options: &Options) {
    let scene = Scene::new();
    let most = ROWS.iter().filter(|(_, _, cluster)| !cluster).map(|(_, servers, _)| *servers).max().unwrap_or(1);
    let shard = |number: usize| Redis::setup(&scene).name(&format!("redis{number}")).tcp().start();
    let mut places = Places { shards: (0..most).map(shard).collect(), cluster: Cluster::without_aof(&scene, MASTERS) };
    for batch in BATCHES {
        let mut runs: Vec<Vec<Run>> = vec![Vec::new(); ROWS.len()];
        for _ in 0..options.runs {
            for (runs, row) in runs.iter_mut().zip(ROWS) {
                runs.push(run(&mut places, row, batch, options));
            }
        }
        println!(
            "Batches of {batch} records of {} bytes, one worker, no spool, {} s each\n",
            options.size, options.seconds
        );
        println!(
            "| lanes | servers | k records/s | rate / the first | our CPU ns/record | Redis CPU ns/record, all together | CPU in all / the first |"
        );
        println!("|---|---|---|---|---|---|---|");
        for (mine, (lanes, servers, cluster)) in runs.iter().zip(ROWS) {
            let against = |figure: fn(&Run) -> f64| {
                let pairs: Vec<(&Run, &Run)> = mine.iter().zip(&runs[0]).collect();
                spread(&pairs, |(mine, first)| figure(mine) / figure(first))
            };
            println!(
                "| {lanes} | {servers}{} | {} | {} | {} | {} | {} |",
                if cluster { ", a cluster" } else { "" },
                spread(mine, |run| run.rate / 1000.0),
                against(|run| run.rate),
                spread(mine, |run| run.ours),
                spread(mine, |run| run.redis),
                against(|run| run.ours + run.redis),
            );
        }
        println!();
    }
}

fn run(places: &mut Places, (lanes, servers, cluster): (u32, usize, bool), batch: usize, options: &Options) -> Run {
    let nodes = if cluster { &mut places.cluster.nodes[..] } else { &mut places.shards[..servers] };
    let pids: Vec<u32> = nodes.iter_mut().map(|node| node.child().pid()).collect();
    for node in &*nodes {
        node.cmd(&["FLUSHALL"]);
    }
    let fan = fan(nodes, lanes, cluster);
    let mut worker = fan.worker();
    let records = Equal { record: vec![b'x'; options.size], count: batch, lanes };
    // The connections are made.
    while worker.commit(&records, &|| false) != Outcome::Done {}
    let redis = || pids.iter().map(|pid| cpu_nanoseconds(*pid)).sum::<u64>();
    let (ours, theirs, begun) = (cpu_nanoseconds(std::process::id()), redis(), Instant::now());
    let mut count = 0_u64;
    while begun.elapsed() < Duration::from_secs(options.seconds) {
        assert_eq!(worker.commit(&records, &|| false), Outcome::Done, "nothing is wrong here");
        count += batch as u64;
    }
    let took = begun.elapsed().as_secs_f64();
    let each = |after: u64, before: u64| (after - before) as f64 / count as f64;
    Run {
        rate: count as f64 / took,
        ours: each(cpu_nanoseconds(std::process::id()), ours),
        redis: each(redis(), theirs),
    }
}

fn fan(nodes: &[Redis], lanes: u32, cluster: bool) -> Arc<Fan> {
    let topology = match (cluster, nodes.len()) {
        (true, _) => Topology::Cluster,
        (false, 1) => Topology::Direct,
        (false, _) => Topology::Shards,
    };
    let servers: Vec<String> = nodes.iter().filter_map(|node| Some(format!("127.0.0.1:{}", node.port()?))).collect();
    let names = lists(&topology, "logs", lanes).expect("names");
    let address = Address { servers: &servers, port: 6379, db: 0, topology: topology.clone() };
    let limit = Duration::from_secs(5);
    let endpoint = Endpoint::parse(address, limit, limit).expect("addresses");
    let login: NodeLogin = Arc::new(move |lane| Ok(endpoint.for_lane(lane)));
    let config = OutletConfig { producer: "p".into(), list: "logs".into(), lanes, ..OutletConfig::default() };
    let alone = lanes == 1 || topology == Topology::Direct;
    let fan = if alone { Fan::single(config, login) } else { Fan::several(&config, &names, &login) };
    let fan = fan.expect("a configuration");
    fan.start().expect("a start");
    fan
}
