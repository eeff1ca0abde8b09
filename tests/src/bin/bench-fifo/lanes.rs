//! Several lanes, into one server and into several: how the rate and the cost grow.

use e2e::child::Scene;

use crate::behind::Behind;
use crate::throughput::{Run, spread};
use crate::ways::{Set, against, run};

/// Lanes and servers. The first is what all are compared with.
const CASES: [(usize, usize); 6] = [(1, 1), (2, 1), (4, 1), (2, 2), (4, 2), (4, 4)];

/// Masters of the cluster, and the lanes that fill it.
const MASTERS: usize = 3;
const LANES: [usize; 2] = [1, 3];

/// Prints the table.
pub fn table(records: usize, runs: usize, batch: usize) {
    let scene = Scene::new();
    let mut rows: Vec<(usize, String, usize)> = Vec::new();
    let mut places: Vec<Behind> = Vec::new();
    for count in [1, 2, 4] {
        places.push(Behind::shards(&scene, count));
    }
    places.push(Behind::cluster(&scene, MASTERS));
    for (lanes, servers) in CASES {
        let place = places[..3].iter().position(|place| place.servers().len() == servers).expect("it was started");
        rows.push((lanes, servers.to_string(), place));
    }
    rows.extend(LANES.map(|lanes| (lanes, format!("{MASTERS}, a cluster"), 3)));
    let mut of: Vec<Vec<Run>> = vec![Vec::new(); rows.len()];
    for _ in 0..runs {
        for ((lanes, _, place), of) in rows.iter().zip(&mut of) {
            of.push(run(&mut places[*place], records, Set { lanes: *lanes, ..Set::plain(4, batch) }));
        }
    }
    println!(
        "| batch {batch}, TCP, 4 in flight: lanes | servers | k records/s | rate / the first | bridge CPU ns/record | Redis CPU ns/record, all together | CPU in all / the first | memory MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for ((lanes, servers, _), runs) in rows.iter().zip(&of) {
        println!(
            "| {lanes} | {servers} | {} | {} | {} | {} | {} | {} |",
            spread(runs, |run| run.rate),
            against(runs, &of[0], |run| run.rate),
            spread(runs, |run| run.cpu),
            spread(runs, |run| run.redis_cpu),
            against(runs, &of[0], |run| run.cpu + run.redis_cpu),
            spread(runs, |run| run.memory),
        );
    }
    println!();
}
