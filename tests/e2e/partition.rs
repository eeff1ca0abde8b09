//! Two masters for a moment: a network falls into two halves, and on each of them a server takes itself for the master.
//!
//! The halves are network namespaces with a cable between them. On the left: the master, its Sentinel, and whoever is cut off with them. On the
//! right: the replica and the two Sentinels that make it the master.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use e2e::bridge::{Bridge, binary};
use e2e::child::{PATIENCE, Scene, until};
use e2e::ledger::{Ledger, Verdict};
use e2e::load::{Load, Sent};
use e2e::native::door::KEY;
use e2e::native::prog::{self, Talk};
use e2e::net::Cable;
use e2e::pipe::Numbered;
use e2e::redis::usual;
use e2e::sentinel::{Ground, MASTER, PASSWORD, Plan, Spot, Watched};

use crate::sentinel::{arrived, config, pace};

/// A partition is over, and all agree again, by then.
const LIMIT: Duration = Duration::from_secs(60);
/// Batches and records that the bridge has under way.
const UNDER_WAY: usize = 4 * 25;

/// Two halves, and the servers in them.
struct Halves {
    scene: Scene,
    cable: Cable,
    watched: Watched,
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

impl Halves {
    /// `least` is `min-replicas-to-write`.
    fn new(least: usize) -> Self {
        let scene = Scene::new();
        let cable = Cable::new(&scene);
        let [left, right] = [0, 1].map(|side| Spot {
            host: Cable::addresses()[side].to_owned(),
            program: cable.sides[side].program(&usual()),
        });
        let plan = Plan { replicas: 1, least, password: None };
        let ground = Ground {
            servers: &[left.clone(), right.clone()],
            sentinels: &[left, right.clone(), right],
            ..Ground::default()
        };
        let mut watched = Watched::prepare_on(&scene, plan, ground);
        watched.start_sentinels();
        Self { scene, cable, watched }
    }

    fn bridge(&self, side: Side, ack: &str) -> Bridge {
        let program = self.cable.sides[side as usize].program(binary());
        config(&self.scene, &self.watched, ack)
            .program(&program)
            .set("redis.connect-timeout-ms", 1_000)
            .set("queue.in-flight", 4)
            .set("batch.records-max", 25)
            .start()
    }

    /// The cable is pulled, and there are two masters.
    #[track_caller]
    fn part(&self) {
        self.cable.pull();
        let right =
            |watched: &Watched| (1..3).all(|sentinel| watched.named(sentinel) == Some(1)) && watched.is_master(1);
        until("the right to have a master", LIMIT, || right(&self.watched).then_some(()));
        assert!(self.watched.is_master(0) && self.watched.named(0) == Some(0), "the left has lost its master");
    }

    /// The cable is plugged in again, and there is one: that of the right, as a rule. Where a Sentinel is not given the processor for a second it
    /// may be the left one once more.
    #[track_caller]
    fn join(&self) -> usize {
        self.cable.plug();
        until("one master with one replica", LIMIT, || {
            let master = self.watched.master()?;
            self.watched.is_replica(1 - master).then_some(master)
        })
    }

    fn length(&self, server: usize) -> usize {
        self.watched.servers[server].llen(KEY)
    }

    #[track_caller]
    fn bridge_is_clean(&self, bridge: &Bridge, sent: &Sent) {
        sent.ledger().judge(arrived(&self.watched, bridge, sent.count)).assert_clean();
    }
}

/// Nothing tells the bridge that its master is one no longer but that nothing counts: it waits, and goes to the other one when it can.
#[test]
fn the_bridge_is_cut_off_with_the_old_master_and_waits() {
    let halves = Halves::new(0);
    let bridge = halves.bridge(Side::Left, "replica:1");
    let load = Load::start(&bridge.fifo(), &Numbered::new("r", 100), pace());
    halves.watched.flow(KEY, 300);
    halves.part();
    let before = halves.length(0);
    load.go_on(1_000);
    let after = halves.length(0);
    assert!(after - before <= UNDER_WAY, "{before} records, and then {after}");
    halves.join();
    halves.watched.flow(KEY, 1_000);
    halves.bridge_is_clean(&bridge, &load.stop());
}

/// It does not wait for replicas: what the old master confirmed until it took no more comes again from the retained spool.
#[test]
fn the_bridge_is_cut_off_with_the_old_master_and_brings_again_what_that_confirmed() {
    let halves = Halves::new(1);
    let bridge = halves.bridge(Side::Left, "memory");
    let load = Load::start(&bridge.fifo(), &Numbered::new("r", 100), pace());
    halves.watched.flow(KEY, 300);
    halves.part();
    bridge.wait_said("NOREPLICAS", 1);
    let confirmed = halves.length(0);
    load.go_on(500);
    assert_eq!(halves.length(0), confirmed, "a master without its replica takes nothing");
    assert!(halves.length(1) < confirmed, "nothing was confirmed to the left alone");
    let master = halves.join();
    halves.watched.flow(KEY, 1_000);
    halves.bridge_is_clean(&bridge, &load.stop());
    assert!(master == 0 || bridge.counter("replayed") > 0);
}

#[test]
fn the_bridge_on_the_other_side_goes_to_the_new_master() {
    let halves = Halves::new(0);
    let bridge = halves.bridge(Side::Right, "memory");
    let load = Load::start(&bridge.fifo(), &Numbered::new("r", 100), pace());
    halves.watched.flow(KEY, 300);
    halves.part();
    let before = halves.length(1);
    until("the new master to be filled", PATIENCE, || (halves.length(1) > before + 300).then_some(()));
    halves.join();
    halves.watched.flow(KEY, 300);
    halves.bridge_is_clean(&bridge, &load.stop());
}

/// omrust-prog, a spool before it, and a host that hands in a record after the other.
struct Host {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Host {
    fn start(halves: &Halves, ack: &str) -> Self {
        let servers = halves.watched.addresses().join("\", \"");
        let toml = format!(
            "[redis]\nserver = [\"{servers}\"]\nsentinel-master = \"{MASTER}\"\npassword = \"{PASSWORD}\"\nack = \"{ack}\"\n\
             timeout-ms = 1500\nconnect-timeout-ms = 1000\n[queue]\nkey = \"{KEY}\"\nproducer = \"p\"\n\
             [spool]\ndirectory = \"{}\"\ndelay-ms = 200\n",
            halves.scene.folder("spool").display()
        );
        let program = halves.cable.sides[0].program(prog::binary());
        let mut talk = Talk::start_as(&program, &halves.scene, &toml, &[]);
        let stop = Arc::<AtomicBool>::default();
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                assert_eq!(talk.answer(), "OK");
                let (records, mut count) = (Numbered::new("r", 100), 0);
                while !stop.load(Ordering::Relaxed) {
                    talk.put(&records.record(count));
                    assert_eq!(talk.answer(), "OK");
                    count += 1;
                    std::thread::sleep(Duration::from_micros(500));
                }
                assert!(talk.end().success());
                count
            }
        });
        Self { stop, thread }
    }

    /// Ends it. What has become of the records when all have come but those that may be lost.
    fn judge(self, halves: &Halves, lost: usize) -> Verdict {
        self.stop.store(true, Ordering::Relaxed);
        let count = self.thread.join().expect("the host ends well");
        let all = usize::try_from(count).expect("so many fit") - lost;
        until("all records", LIMIT, || halves.watched.length(KEY).filter(|have| *have >= all));
        let master = until("a master", LIMIT, || halves.watched.master());
        Ledger::new().sent(&Numbered::new("r", 100), 0..count).judge(halves.watched.servers[master].list(KEY))
    }
}

#[test]
fn the_program_is_cut_off_with_the_old_master_and_spools() {
    let halves = Halves::new(0);
    let host = Host::start(&halves, "replica:1");
    halves.watched.flow(KEY, 300);
    halves.part();
    halves.join();
    halves.watched.flow(KEY, 300);
    host.judge(&halves, 0).assert_clean();
}

/// Without `ack` a door that retains nothing loses what the old master alone had confirmed, and `min-replicas-to-write` says when that ends.
#[test]
fn what_a_master_confirms_that_is_cut_off_is_all_that_is_lost() {
    let halves = Halves::new(1);
    let host = Host::start(&halves, "memory");
    halves.watched.flow(KEY, 300);
    halves.part();
    let refused = || halves.watched.servers[0].try_cmd(&["SET", "x", "y"]).is_err();
    until("the old master to take nothing", PATIENCE, || refused().then_some(()));
    let lost = halves.length(0) - halves.length(1);
    assert_ne!(lost, 0, "nothing was confirmed to the left alone");
    let master = halves.join();
    halves.watched.flow(KEY, 300);
    let lost = if master == 1 { lost } else { 0 };
    let verdict = host.judge(&halves, lost);
    assert_eq!(verdict.lost.count, lost as u64, "{verdict}");
    assert_eq!((verdict.doubled.count, verdict.misordered.count, verdict.foreign.count), (0, 0, 0), "{verdict}");
}
