//! Lanes on a real cluster of three masters and three replicas: slots move, masters go and come, and nothing is lost, doubled or out of order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use delivery::counters::get;
use delivery::journal::JournalConfig;
use delivery::link::{Ack, Address, Endpoint, Topology};
use delivery::lists::lists;
use delivery::outlet::{Batch, Fan, NodeLogin, Outcome, OutletConfig, Target};
use delivery::spool::Sync;
use e2e::child::{PATIENCE, Scene, until};
use e2e::cluster::{Cluster, wait_llen};
use e2e::native::door::{Door, KEY, OMRUST};
use e2e::native::prog::OMPROG;
use e2e::native::rig::{Plan, Rig};
use e2e::native::scenario::end;

const LANES: u64 = 3;

/// Numbered records, dealt out to the lanes.
struct Numbers(std::ops::Range<u64>, Vec<String>);

impl Numbers {
    fn new(range: std::ops::Range<u64>) -> Self {
        let texts = range.clone().map(|number| number.to_string()).collect();
        Self(range, texts)
    }
}

impl Batch for Numbers {
    fn len(&self) -> usize {
        self.1.len()
    }

    fn target(&self, index: usize) -> Target<'_> {
        Target::Lane(((self.0.start + index as u64) % LANES) as u32)
    }

    fn record(&self, index: usize) -> &[u8] {
        self.1[index].as_bytes()
    }
}

/// A host that hands in batches until it is stopped.
pub struct Load {
    pub cluster: Cluster,
    pub lists: Vec<String>,
    fan: Arc<Fan>,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    host: Option<JoinHandle<()>>,
}

impl Load {
    fn start(scene: &Scene, spool: bool) -> Self {
        Self::start_with(scene, spool, Ack::Memory)
    }

    /// A cluster of three masters and three replicas, and a push counts as `ack` says.
    pub fn start_with(scene: &Scene, spool: bool, ack: Ack) -> Self {
        let cluster = Cluster::start(scene, 3, true);
        let folder = spool.then(|| scene.folder("spool"));
        let lists = lists(&Topology::Cluster, "logs", LANES as u32).expect("names");
        let fan = fan(&cluster, &lists, folder.as_deref(), ack);
        let (done, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let host = std::thread::spawn({
            let (fan, done, stop) = (Arc::clone(&fan), Arc::clone(&done), Arc::clone(&stop));
            move || hand_in(&fan, &done, &stop)
        });
        let load = Self { cluster, lists, fan, done, stop, host: Some(host) };
        load.flow(500);
        let mut owners: Vec<usize> = load.lists.iter().map(|list| load.cluster.owner(list)).collect();
        owners.sort_unstable();
        assert_eq!(owners, [0, 1, 2], "the lanes are not on all masters");
        load
    }

    /// Waits until so many more records are done.
    #[track_caller]
    pub fn flow(&self, more: u64) {
        let goal = self.done.load(Ordering::Relaxed) + more;
        until("the host to go on", 2 * PATIENCE, || (self.done.load(Ordering::Relaxed) >= goal).then_some(()));
    }

    /// Ends the host and judges what the lists hold.
    #[track_caller]
    pub fn judge(mut self) {
        let all = self.end();
        for (list, lane) in self.lists.iter().zip(0..) {
            let want: Vec<u64> = (0..all).filter(|number| number % LANES == lane).collect();
            wait_llen(&self.cluster, list, want.len() as u64);
            let have = self.numbers(list);
            let first = have.iter().zip(&want).position(|(have, want)| have != want);
            assert!(
                have == want,
                "{list}: {} elements, not {}; {:?} at {first:?}",
                have.len(),
                want.len(),
                first.map(|at| &have[at.saturating_sub(2)..(at + 3).min(have.len())])
            );
        }
        self.counted();
    }

    /// The same where Redis lost records that it had confirmed: nothing else is missing, nothing is there twice or out of order. Gives how
    /// many each lane lost.
    #[track_caller]
    pub fn losses(mut self) -> Vec<u64> {
        let all = self.end();
        let lost = self.lists.iter().zip(0..).map(|(list, lane)| {
            let have = self.numbers(list);
            assert!(have.is_sorted_by(|one, next| one < next), "{list}: something comes twice or out of order");
            assert!(have.iter().all(|number| *number < all && number % LANES == lane), "{list}: what is foreign");
            (0..all).filter(|number| number % LANES == lane).count() as u64 - have.len() as u64
        });
        let lost = lost.collect();
        self.counted();
        lost
    }

    /// Ends the host. Gives how many records are done.
    #[track_caller]
    fn end(&mut self) -> u64 {
        self.flow(100);
        self.stop.store(true, Ordering::Relaxed);
        self.host.take().expect("it runs").join().expect("the host ends well");
        until("the spools to be empty", 2 * PATIENCE, || (!self.fan.health().spooling).then_some(()));
        self.done.load(Ordering::Relaxed)
    }

    fn numbers(&self, list: &str) -> Vec<u64> {
        let number = |element: Vec<u8>| String::from_utf8(element).expect("text").parse().expect("a number");
        self.cluster.list(list).into_iter().map(number).collect()
    }

    /// What came in was pushed.
    #[track_caller]
    fn counted(&self) {
        let counters = self.fan.counters();
        let arrived = get(&counters.pushed) + get(&counters.duplicates_suppressed);
        assert_eq!(get(&counters.received), arrived);
    }
}

fn fan(cluster: &Cluster, lists: &[String], spool: Option<&Path>, ack: Ack) -> Arc<Fan> {
    let servers = cluster.seeds();
    let address = Address { servers: &servers, port: 6379, db: 0, topology: Topology::Cluster };
    let endpoint = Endpoint::parse(address, Duration::from_secs(1), Duration::from_secs(2)).expect("addresses");
    let endpoint = endpoint.with_ack(ack);
    let login: NodeLogin = Arc::new(move |lane| Ok(endpoint.for_lane(lane)));
    let config = OutletConfig {
        name: "out".into(),
        producer: "p".into(),
        timeout: Duration::from_secs(2),
        delay: Duration::from_millis(300),
        journal: spool.map(|folder| JournalConfig {
            directory: folder.into(),
            bytes_max: 256 << 20,
            segment_bytes: 1 << 20,
            sync: Sync::Always,
        }),
        ..OutletConfig::default()
    };
    let fan = Fan::several(&config, lists, &login).expect("a configuration");
    fan.start().expect("a start");
    fan
}

/// Whole again and again, or one by one as rsyslog does it until 8.2604.
fn hand_in(fan: &Arc<Fan>, done: &AtomicU64, stop: &AtomicBool) {
    let mut worker = fan.worker();
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let size = [1, 2, 7, 40, 300, 2000][fastrand::usize(..6)];
        let batch = next..next + size;
        let mut rest: Vec<Numbers> = vec![Numbers::new(batch)];
        while !rest.is_empty() {
            rest.retain(|batch| worker.commit(batch, &|| false) != Outcome::Done);
            if rest.len() == 1 && fastrand::bool() {
                rest = rest[0].0.clone().map(|number| Numbers::new(number..number + 1)).collect();
            }
        }
        next += size;
        done.store(next, Ordering::Relaxed);
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn slots_move(spool: bool) {
    let scene = Scene::new();
    let load = Load::start(&scene, spool);
    for round in 0..6 {
        let list = &load.lists[round % 3];
        let to = (load.cluster.owner(list) + 1) % 3;
        load.cluster.move_slot(list, to);
        load.flow(300);
        assert_eq!(load.cluster.owner(list), to);
    }
    load.judge();
}

#[test]
fn slots_move_under_load() {
    slots_move(false);
}

#[test]
fn slots_move_under_load_with_a_spool() {
    slots_move(true);
}

/// A move that nobody finishes holds one lane back, until it is finished.
#[test]
fn a_slot_that_stays_between_two_nodes_holds_its_lane_back_only() {
    let scene = Scene::new();
    let load = Load::start(&scene, true);
    let (list, other) = (&load.lists[0], &load.lists[1]);
    let (from, to) = (load.cluster.owner(list), (load.cluster.owner(list) + 1) % 3);
    load.cluster.begin_move(list, from, to);
    load.cluster.move_keys(list, from, to);
    let before = load.cluster.try_llen(other).expect("it is served");
    load.flow(600);
    wait_llen(&load.cluster, other, before + 200);
    assert!(load.fan.health().spooling);
    load.cluster.end_move(list, from, to);
    load.judge();
}

#[test]
fn a_lane_whose_master_is_away_spools_and_the_others_flow() {
    let scene = Scene::new();
    let mut load = Load::start(&scene, true);
    let away = load.cluster.owner(&load.lists[1]);
    // Without its replica nobody takes over.
    load.cluster.nodes[3 + away].kill9();
    load.cluster.nodes[away].kill9();
    for lane in [0, 2] {
        let list = &load.lists[lane];
        // The cluster answers CLUSTERDOWN as soon as a slot is served by nobody: see the setting of the nodes.
        let before = load.cluster.try_llen(list).expect("it is served");
        load.flow(900);
        wait_llen(&load.cluster, list, before + 300);
    }
    assert!(load.fan.health().spooling);
    assert!(load.fan.waiting().is_some_and(|records| records >= 600));
    load.cluster.nodes[away].start();
    load.cluster.nodes[3 + away].start();
    load.judge();
}

fn masters_are_killed(spool: bool) {
    let scene = Scene::new();
    let mut load = Load::start(&scene, spool);
    for round in 0..3 {
        let node = load.cluster.owner(&load.lists[round]);
        load.cluster.nodes[node].kill9();
        std::thread::sleep(Duration::from_millis(200));
        // Back before a replica takes over, with all that it has answered.
        load.cluster.nodes[node].start();
        load.flow(300);
    }
    load.judge();
}

#[test]
fn masters_are_killed_and_come_back() {
    masters_are_killed(false);
}

#[test]
fn masters_are_killed_and_come_back_with_a_spool() {
    masters_are_killed(true);
}

#[test]
fn replicas_take_over_by_command() {
    let scene = Scene::new();
    let load = Load::start(&scene, true);
    for (lane, list) in load.lists.iter().enumerate() {
        let master = load.cluster.owner(list);
        until("a failover", PATIENCE, || {
            load.cluster.nodes[3 + lane].try_cmd(&["CLUSTER", "FAILOVER"]).is_ok().then_some(())
        });
        load.cluster.wait_failover(master, list);
        load.flow(300);
    }
    load.judge();
}

#[test]
fn the_whole_cluster_is_away_and_comes_back() {
    for spool in [true, false] {
        let scene = Scene::new();
        let mut load = Load::start(&scene, spool);
        load.cluster.nodes.iter_mut().for_each(e2e::redis::Redis::kill9);
        if spool {
            load.flow(2000);
        }
        load.cluster.nodes.iter_mut().for_each(e2e::redis::Redis::start);
        load.judge();
    }
}

/// Through rsyslogd: a slot moves, a master is killed and comes back, another hands over to its replica, and all of them go and come.
fn through(door: &Door, lanes: u32, spool: bool) {
    let more = "timeout=\"400\" connecttimeout=\"400\"".to_owned();
    let plan = Plan { cluster_lanes: lanes, spool, more, ..Plan::default() };
    let of = |rig: &mut Rig, what: fn(&mut Cluster, &[String])| {
        let names = lists(&Topology::Cluster, KEY, rig.plan.cluster_lanes).expect("names");
        what(rig.cluster.as_mut().expect("a cluster"), &names);
        assert!(rig.flow(600, PATIENCE), "nothing arrives\n{}", rig.messages());
    };
    let mut rig = Rig::start(&plan, door);
    rig.send(&["a", "b", "c", "d", "e", "f"]);
    of(&mut rig, |_, _| {});
    of(&mut rig, |cluster, names| {
        for name in names {
            cluster.move_slot(name, (cluster.owner(name) + 1) % 3);
        }
    });
    of(&mut rig, |cluster, names| {
        let node = cluster.owner(&names[0]);
        cluster.nodes[node].kill9();
        std::thread::sleep(Duration::from_millis(200));
        cluster.nodes[node].start();
    });
    of(&mut rig, |cluster, names| {
        let master = cluster.owner(&names[0]);
        until("a failover", PATIENCE, || {
            cluster.nodes[3 + master].try_cmd(&["CLUSTER", "FAILOVER"]).is_ok().then_some(())
        });
        cluster.wait_failover(master, &names[0]);
    });
    of(&mut rig, |cluster, _| {
        cluster.nodes.iter_mut().for_each(e2e::redis::Redis::kill9);
        std::thread::sleep(Duration::from_millis(300));
        cluster.nodes.iter_mut().for_each(e2e::redis::Redis::start);
    });
    let outcome = end(rig, door);
    assert!(outcome.is_clean(), "{} with {lanes} lanes: {outcome}", door.name);
    assert!(outcome.stopped.is_some(), "rsyslogd does not end");
}

#[test]
fn the_module_fills_three_lanes() {
    through(&OMRUST, 3, true);
}

#[test]
fn the_module_fills_three_lanes_without_a_spool() {
    through(&OMRUST, 3, false);
}

#[test]
fn the_program_fills_one_lane() {
    through(&OMPROG, 1, true);
}

#[test]
fn the_program_fills_three_lanes() {
    through(&OMPROG, 3, true);
}

#[test]
fn the_program_fills_three_lanes_without_a_spool() {
    through(&OMPROG, 3, false);
}
