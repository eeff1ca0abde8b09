//! Lanes on several servers: one is away, the others flow; and whatever the host does with a batch of which a part was done.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::counters::get;
use delivery::journal::{JournalConfig, SEGMENT_BYTES};
use delivery::link::Topology;
use delivery::lists::lists;
use delivery::outlet::{Batch, Fan, FanWorker, NodeLogin, Outcome, OutletConfig, Target};
use delivery::spool::Sync;

use crate::server::{Server, list, until};
use crate::setup::{config, record};

/// Numbered records, dealt out to lanes.
#[derive(Clone)]
struct Dealt {
    numbers: Vec<usize>,
    texts: Vec<Vec<u8>>,
    lanes: usize,
}

impl Dealt {
    fn new(numbers: impl IntoIterator<Item = usize>, lanes: usize) -> Self {
        let numbers: Vec<usize> = numbers.into_iter().collect();
        Self { texts: numbers.iter().map(|n| record(*n)).collect(), numbers, lanes }
    }
}

impl Batch for Dealt {
    fn len(&self) -> usize {
        self.numbers.len()
    }

    fn target(&self, index: usize) -> Target<'_> {
        Target::Lane((self.numbers[index] % self.lanes) as u32)
    }

    fn record(&self, index: usize) -> &[u8] {
        &self.texts[index]
    }
}

fn servers(count: usize) -> Vec<Server> {
    (0..count).map(|_| Server::start(&["--appendonly", "yes", "--appendfsync", "always"])).collect()
}

fn spooled(folder: &Path) -> OutletConfig {
    let journal = JournalConfig {
        directory: folder.into(),
        bytes_max: 64 << 20,
        segment_bytes: SEGMENT_BYTES,
        sync: Sync::Always,
    };
    OutletConfig { journal: Some(journal), delay: Duration::from_millis(300), ..config() }
}

fn fan(servers: &[Server], lanes: u32, config: &OutletConfig) -> Arc<Fan> {
    let endpoints: Vec<_> = servers.iter().map(Server::endpoint).collect();
    let login: NodeLogin = Arc::new(move |lane| Ok(endpoints[lane % endpoints.len()].clone()));
    let names = lists(&Topology::Shards, &config.list, lanes).expect("names");
    let fan = Fan::several(config, &names, &login).expect("a configuration");
    fan.start().expect("a start");
    fan
}

fn commit(worker: &mut FanWorker, batch: &Dealt) -> Outcome {
    worker.commit(batch, &|| false)
}

/// Each lane's list holds exactly its numbers below `end`, in order.
#[track_caller]
fn assert_all(servers: &[Server], lanes: usize, end: usize) {
    for lane in 0..lanes {
        let have = list(&mut servers[lane % servers.len()].link(), &format!("main:{lane}"));
        let want: Vec<Vec<u8>> = (0..end).filter(|n| n % lanes == lane).map(record).collect();
        let first = have.iter().zip(&want).position(|(have, want)| have != want);
        assert!(have == want, "lane {lane}: {} elements, not {}, another one at {first:?}", have.len(), want.len());
    }
}

fn length(server: &Server, lane: usize) -> usize {
    list(&mut server.link(), &format!("main:{lane}")).len()
}

#[test]
fn a_lane_whose_server_is_away_spools_and_the_others_flow() {
    let mut servers = servers(2);
    let folder = tempfile::tempdir().expect("a folder");
    let fan = fan(&servers, 4, &spooled(folder.path()));
    let mut worker = fan.worker();
    let mut next = 0;
    let mut give = |size: usize| {
        assert_eq!(commit(&mut worker, &Dealt::new(next..next + size, 4)), Outcome::Done);
        next += size;
        next
    };
    give(400);
    servers[0].kill();
    for size in [1, 2, 3, 1000, 40, 4000] {
        let end = give(size);
        // Nothing of the lanes of the server that is there waits for the other.
        assert_eq!(length(&servers[1], 1) + length(&servers[1], 3), (0..end).filter(|n| n % 2 == 1).count());
    }
    assert!(fan.health().spooling && !fan.health().connected);
    assert!(fan.waiting().is_some_and(|records| records > 2000));
    assert!(get(&fan.counters().spool_bytes) > 0);
    servers[0].restart();
    until("the spools to be empty", || (!fan.health().spooling).then_some(()));
    let end = give(10);
    assert_all(&servers, 4, end);
    assert!(fan.health().connected);
    let counters = fan.counters();
    let arrived = get(&counters.pushed) + get(&counters.duplicates_suppressed);
    assert_eq!((get(&counters.received), arrived), (end as u64, end as u64));
}

/// What rsyslog does until 8.2604: one by one, and what was turned away of those once more, together.
fn one_by_one(worker: &mut FanWorker, batch: &Dealt) -> Vec<usize> {
    let left = |number: &usize| commit(worker, &Dealt::new([*number], batch.lanes)) != Outcome::Done;
    batch.numbers.iter().copied().filter(left).collect()
}

#[test]
fn a_part_that_was_done_is_recognised_however_the_batch_comes_again() {
    let mut servers = servers(3);
    let fan = fan(&servers, 3, &OutletConfig { timeout: Duration::from_millis(300), ..config() });
    let mut worker = fan.worker();
    let mut next = 0;
    for (round, size) in [3, 9, 100, 1, 2, 2000, 50, 7].into_iter().enumerate() {
        let batch = Dealt::new(next..next + size, 3);
        next += size;
        let away = round % 3;
        servers[away].kill();
        let mut rest = batch.clone();
        let mut whole = 0;
        while commit(&mut worker, &rest) != Outcome::Done {
            whole += 1;
            assert!(whole < 10_000, "nothing goes on");
            match whole % 4 {
                // Another server goes away while the first is: another set of parts is done.
                2 if round % 2 == 0 => {
                    servers[(away + 1) % 3].kill();
                    servers[away].restart();
                }
                3 if round % 4 < 2 => rest = Dealt::new(one_by_one(&mut worker, &rest), 3),
                0 => servers.iter_mut().for_each(|server| {
                    server.restart();
                }),
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        servers.iter_mut().for_each(Server::restart);
    }
    assert_all(&servers, 3, next);
    let counters = fan.counters();
    let arrived = get(&counters.pushed) + get(&counters.duplicates_suppressed);
    assert_eq!(get(&counters.received), arrived);
}

#[test]
fn records_that_the_host_gave_up_leave_nothing_behind() {
    let mut servers = servers(2);
    let fan = fan(&servers, 2, &OutletConfig { timeout: Duration::from_millis(300), ..config() });
    let mut worker = fan.worker();
    assert_eq!(commit(&mut worker, &Dealt::new(0..10, 2)), Outcome::Done);
    servers[0].kill();
    assert_eq!(commit(&mut worker, &Dealt::new(10..20, 2)), Outcome::Later);
    servers[0].restart();
    // 10..20 never come again; those of lane 1 were done.
    until("a batch to be taken", || (commit(&mut worker, &Dealt::new(20..30, 2)) == Outcome::Done).then_some(()));
    let numbers = |lane: usize| list(&mut servers[lane].link(), &format!("main:{lane}"));
    assert_eq!(numbers(0), (0..10).chain(20..30).filter(|n| n % 2 == 0).map(record).collect::<Vec<_>>());
    assert_eq!(numbers(1), (0..30).filter(|n| n % 2 == 1).map(record).collect::<Vec<_>>());
}

#[test]
fn one_that_stands_still_costs_the_others_nothing() {
    let servers = servers(3);
    let folder = tempfile::tempdir().expect("a folder");
    let fan = fan(&servers, 3, &spooled(folder.path()));
    let mut worker = fan.worker();
    assert_eq!(commit(&mut worker, &Dealt::new(0..30, 3)), Outcome::Done);
    servers[1].stop();
    // It was launched: two have answered, and what the third did not answer goes into its spool.
    assert_eq!(commit(&mut worker, &Dealt::new(30..300, 3)), Outcome::Done);
    assert_eq!((length(&servers[0], 0), length(&servers[2], 2)), (100, 100));
    let begun = Instant::now();
    for round in 0..20 {
        assert_eq!(commit(&mut worker, &Dealt::new(300 + round * 3..303 + round * 3, 3)), Outcome::Done);
    }
    assert!(get(&fan.counters().spooled) >= 90 && begun.elapsed() < Duration::from_secs(20));
    servers[1].go_on();
    until("the spools to be empty", || (!fan.health().spooling).then_some(()));
    assert_all(&servers, 3, 360);
}

#[test]
fn a_spool_of_another_number_of_lanes_comes_first() {
    let mut servers = servers(1);
    let folder = tempfile::tempdir().expect("a folder");
    let config = spooled(folder.path());
    {
        let three = fan(&servers, 3, &config);
        let mut worker = three.worker();
        assert_eq!(commit(&mut worker, &Dealt::new(0..30, 3)), Outcome::Done);
        servers[0].kill();
        assert_eq!(commit(&mut worker, &Dealt::new(30..60, 3)), Outcome::Done);
    }
    servers[0].restart();
    for lanes in [2, 4, 1] {
        let other = fan(&servers, lanes, &config);
        let mut worker = other.worker();
        assert_eq!(commit(&mut worker, &Dealt::new([60], lanes as usize)), Outcome::Later, "{lanes} lanes");
        assert!(!worker.probe(&|| false) && other.waiting().is_none());
    }
    {
        let three = fan(&servers, 3, &config);
        until("the spools to be empty", || (three.waiting() == Some(0)).then_some(()));
    }
    assert_all(&servers, 3, 60);
    for lanes in [4, 2] {
        let other = fan(&servers, lanes, &config);
        assert_eq!(commit(&mut other.worker(), &Dealt::new([60], lanes as usize)), Outcome::Done, "{lanes} lanes");
    }
}
