//! What `ack` costs: the bridge over TCP, four batches under way, beside the same servers with `ack = "memory"`.

use e2e::child::Scene;
use e2e::redis::Redis;
use e2e::servers::{KINDS, Server};

use crate::behind::Behind;
use crate::throughput::{Run, spread};
use crate::ways::{Set, against, run};

/// Batches under way.
const DEPTH: usize = 4;
/// So many syncs of `appendfsync everysec` are enough to tell.
const SYNCS: usize = 5;

/// What stands behind the bridge, what it waits for, and the row that it is compared with.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    ack: &'static str,
    place: Place,
    beside: usize,
}

/// The servers of a [`Case`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Alone,
    Replica,
    /// One that knows WAITAOF, with this `appendfsync`.
    Disk(&'static str),
}

const fn case(name: &'static str, ack: &'static str, place: Place, beside: usize) -> Case {
    Case { name, ack, place, beside }
}

const EVERYSEC: Place = Place::Disk("everysec");
const ALWAYS: Place = Place::Disk("always");

const CASES: [Case; 7] = [
    case("memory", "memory", Place::Alone, 0),
    case("memory, with a replica", "memory", Place::Replica, 0),
    case("replica:1", "replica:1", Place::Replica, 1),
    case("memory, appendfsync everysec", "memory", EVERYSEC, 3),
    case("aof, appendfsync everysec", "aof", EVERYSEC, 3),
    case("memory, appendfsync always", "memory", ALWAYS, 5),
    case("aof, appendfsync always", "aof", ALWAYS, 5),
];

/// Prints the table.
pub fn table(records: usize, runs: usize) {
    let newer = newer();
    match &newer {
        Ok((name, server)) => {
            println!("The rows of the append-only file: {name} {}; the others: the installed one.\n", server.version);
        }
        Err(reason) => println!("Left out: the rows of the append-only file. {reason}\n"),
    }
    let scene = Scene::new();
    let mut places: Vec<(Place, Behind)> = Vec::new();
    for place in [Place::Alone, Place::Replica, EVERYSEC, ALWAYS] {
        places
            .extend(start(place, &scene, newer.as_ref().ok().map(|(_, server)| server)).map(|behind| (place, behind)));
    }
    println!(
        "| ack | batch | k records/s | rate / memory there | bridge CPU ns/record | Redis CPU ns/record, replica included |"
    );
    println!("|---|---|---|---|---|---|");
    for batch in [25, 1024] {
        let mut of: Vec<Vec<Run>> = vec![Vec::new(); CASES.len()];
        for _ in 0..runs {
            for (case, of) in CASES.iter().zip(&mut of) {
                if let Some((_, behind)) = places.iter_mut().find(|(place, _)| *place == case.place) {
                    let set = Set { ack: case.ack, ..Set::plain(DEPTH, batch) };
                    // What is under way is confirmed once a second: more would take hours.
                    let few = if case.ack == "aof" && case.place == EVERYSEC { DEPTH * batch * SYNCS } else { records };
                    of.push(run(behind, few.min(records), set));
                }
            }
        }
        for (case, runs) in CASES.iter().zip(&of).filter(|(_, runs)| !runs.is_empty()) {
            println!(
                "| {} | {batch} | {} | {} | {} | {} |",
                case.name,
                spread(runs, |run| run.rate),
                against(runs, &of[case.beside], |run| run.rate),
                spread(runs, |run| run.cpu),
                spread(runs, |run| run.redis_cpu),
            );
        }
    }
    println!();
}

fn start(place: Place, scene: &Scene, newer: Option<&Server>) -> Option<Behind> {
    let setup = |name: &str| Redis::setup(scene).name(name).tcp();
    match place {
        Place::Alone => Some(Behind::tcp(scene)),
        Place::Replica => {
            let server = setup("master").start();
            let replica = Redis::setup(scene).name("replica").replica_of(&server).start();
            Some(Behind::over_tcp(server, Some(replica)))
        }
        Place::Disk(fsync) => {
            let setup = setup(fsync).program(&newer?.program).option("appendonly", "yes").option("appendfsync", fsync);
            Some(Behind::over_tcp(setup.start(), None))
        }
    }
}

/// A server that knows WAITAOF: Redis from 7.2, or Valkey. The installed one may be older.
fn newer() -> Result<(&'static str, Server), String> {
    let mut reasons = Vec::new();
    // Valkey looks for what is to be synced more often than Redis does: the figures of everysec are another there.
    let mut kinds = KINDS;
    kinds.sort_by_key(|kind| kind.name != "redis");
    for kind in kinds {
        match kind.get() {
            Ok(server) => return Ok((kind.name, server)),
            Err(reason) => reasons.push(format!("{} of {}: {reason}", kind.name, kind.suite)),
        }
    }
    Err(format!("None of the servers that know WAITAOF can be had: {}", reasons.join("; ")))
}
