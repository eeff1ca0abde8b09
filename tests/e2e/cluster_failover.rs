//! Masters of a cluster die under load, and their replicas take over: with `ack="replica:1"` nothing is lost; without it what is lost is
//! what the dead master had confirmed to us and given to nobody.

use delivery::link::Ack;
use e2e::bridge::Bridge;
use e2e::child::{PATIENCE, Scene, until};
use e2e::cluster::Cluster;
use e2e::native::door::{Door, OMRUST};
use e2e::native::prog::OMPROG;
use e2e::native::rig::{Plan, Rig};
use e2e::native::scenario::end;

use crate::cluster::Load;
use crate::lanes::{Streams, judge};

fn masters_die(spool: bool) {
    let scene = Scene::new();
    let mut load = Load::start_with(&scene, spool, Ack::Replicas(1));
    for lane in 0..2 {
        let list = load.lists[lane].clone();
        load.cluster.fail_over(&list);
        load.flow(300);
    }
    load.judge();
}

#[test]
fn masters_die_and_nothing_is_lost_that_a_replica_has_confirmed() {
    masters_die(false);
}

#[test]
fn masters_die_and_nothing_is_lost_that_a_replica_has_confirmed_with_a_spool() {
    masters_die(true);
}

/// The replica of one master is cut off, and takes over all the same: what the master confirmed meanwhile is gone, and nothing else.
#[test]
fn what_a_failover_costs_without_ack_is_only_what_the_dead_master_had_confirmed() {
    for spool in [false, true] {
        let scene = Scene::new();
        let mut load = Load::start_with(&scene, spool, Ack::Memory);
        let list = load.lists[1].clone();
        let owner = load.cluster.owner(&list);
        load.cluster.cut_replica(owner);
        // Not the host's count: what is in the spool is not lost.
        let master = &load.cluster.nodes[owner];
        let before = master.llen(&list);
        until("records that only the master has", 2 * PATIENCE, || (master.llen(&list) >= before + 300).then_some(()));
        load.cluster.fail_over(&list);
        load.flow(300);
        let lost = load.losses();
        assert!(lost[1] >= 200, "nothing was lost: {lost:?}");
        assert_eq!((lost[0], lost[2]), (0, 0));
    }
}

/// The bridge brings again what it retains: nothing is lost with `ack="memory"` either.
fn bridge(ack: &str) {
    let scene = Scene::new();
    let mut cluster = Cluster::start(&scene, 3, true);
    let seeds: Vec<toml::Value> = cluster.seeds().into_iter().map(toml::Value::from).collect();
    let mut bridge = Bridge::config(&scene)
        .set("redis.server", seeds)
        .set("redis.cluster", true)
        .set("redis.ack", ack)
        .set("queue.producer", "p")
        .set("queue.lanes", 3)
        .set("queue.lane-field", "word:1")
        .start();
    let status = bridge.status();
    let name = |lane: usize| status["lanes"][lane]["list"].as_str().expect("a name").to_owned();
    let lists: Vec<String> = (0..3).map(name).collect();
    let load = Streams::start(&bridge);
    load.go_on(100);
    for list in &lists[..2] {
        if ack == "memory" {
            cluster.cut_replica(cluster.owner(list));
            load.go_on(100);
        }
        cluster.fail_over(list);
        load.go_on(100);
    }
    let written = load.stop();
    let length = |lane: usize| usize::try_from(cluster.try_llen(&lists[lane]).unwrap_or(0)).expect("few");
    judge(&bridge, &lists, &written, &length, &|lane| cluster.list(&lists[lane]));
    assert_eq!(bridge.counter("replayed") > 0, ack == "memory");
    bridge.term();
}

#[test]
fn masters_die_behind_the_bridge_that_waits_for_replicas() {
    bridge("replica:1");
}

#[test]
fn masters_die_behind_the_bridge_that_brings_again_what_is_gone() {
    bridge("memory");
}

/// Through rsyslogd.
fn through(door: &Door, lanes: u32, spool: bool) {
    let more = "timeout=\"1000\" connecttimeout=\"400\" ack=\"replica:1\"".to_owned();
    let mut rig = Rig::start(&Plan { cluster_lanes: lanes, spool, more, ..Plan::default() }, door);
    rig.send(&["a", "b", "c", "d"]);
    assert!(rig.flow(600, PATIENCE), "nothing arrives\n{}", rig.messages());
    let list = rig.keys().expect("names").remove(0);
    rig.cluster.as_mut().expect("a cluster").fail_over(&list);
    assert!(rig.flow(600, PATIENCE), "nothing arrives\n{}", rig.messages());
    let outcome = end(rig, door);
    assert!(outcome.is_clean(), "{} with {lanes} lanes: {outcome}", door.name);
    assert!(outcome.stopped.is_some(), "rsyslogd does not end");
}

#[test]
fn a_master_dies_behind_the_module() {
    through(&OMRUST, 3, true);
}

#[test]
fn a_master_dies_behind_the_module_without_a_spool() {
    through(&OMRUST, 3, false);
}

#[test]
fn a_master_dies_behind_the_program() {
    through(&OMPROG, 1, true);
}
