//! Lanes over several servers, and over the nodes of a cluster.

use e2e::bridge::Bridge;
use e2e::child::{PATIENCE, Scene, until};
use e2e::cluster::Cluster;
use e2e::redis::Redis;

use crate::kills::rounds;
use crate::lanes::{Streams, judge};

fn toml_list(servers: impl IntoIterator<Item = String>) -> toml::Value {
    servers.into_iter().map(toml::Value::from).collect::<Vec<_>>().into()
}

#[test]
fn of_two_servers_one_is_killed_and_the_other_flows() {
    let scene = Scene::new();
    let mut servers = [0, 1].map(|number| Redis::setup(&scene).name(&format!("redis{number}")).aof().start());
    let sockets = servers.each_ref().map(|redis| redis.socket().to_str().expect("a plain path").to_owned());
    let mut bridge = Bridge::config(&scene)
        .set("redis.server", toml_list(sockets))
        .set("redis.shard", true)
        .set("queue.producer", "p")
        .set("queue.lanes", 4)
        .set("queue.lane-field", "word:1")
        .start();
    let lists: Vec<String> = (0..4).map(|lane| format!("rsyslog:{lane}")).collect();
    let load = Streams::start(&bridge);
    for round in 0..rounds(4) {
        load.go_on(200);
        servers[1].kill9();
        let (of, before) = (&lists[0], servers[0].llen(&lists[0]) + servers[0].llen(&lists[2]));
        load.go_on(200);
        let flowing = || servers[0].llen(of) + servers[0].llen(&lists[2]);
        until("the lanes of the other server to flow", PATIENCE, || (flowing() > before + 100).then_some(()));
        let status = bridge.status();
        let connected: Vec<bool> = (0..4).map(|lane| status["lanes"][lane]["connected"] == true).collect();
        assert_eq!(connected, [true, false, true, false], "{status:#}");
        if round % 2 == 1 {
            bridge.kill9();
            bridge.start();
        }
        servers[1].start();
    }
    let written = load.stop();
    judge(&bridge, &lists, &written, &|lane| servers[lane % 2].llen(&lists[lane]), &|lane| {
        servers[lane % 2].list(&lists[lane])
    });
    assert_eq!(servers[0].llen(&lists[1]) + servers[1].llen(&lists[0]), 0, "each lane is on its own server");
    let check = bridge.run(&["check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    bridge.term();
}

#[test]
fn lanes_spread_over_a_cluster_whose_slots_move() {
    let scene = Scene::new();
    let cluster = Cluster::start(&scene, 3, false);
    let mut bridge = Bridge::config(&scene)
        .set("redis.server", toml_list(cluster.seeds()))
        .set("redis.cluster", true)
        .set("queue.producer", "p")
        .set("queue.lanes", 3)
        .set("queue.lane-field", "word:1")
        .start();
    let status = bridge.status();
    let lists: Vec<String> =
        (0..3).map(|lane| status["lanes"][lane]["list"].as_str().expect("a name").to_owned()).collect();
    let mut owners: Vec<usize> = lists.iter().map(|list| cluster.owner(list)).collect();
    assert_eq!(owners, [0, 1, 2], "a lane for each master");
    let load = Streams::start(&bridge);
    for round in 0..rounds(3) {
        load.go_on(100);
        let lane = round as usize % 3;
        owners[lane] = (owners[lane] + 1) % 3;
        cluster.wait_well();
        cluster.move_slot(&lists[lane], owners[lane]);
        load.go_on(100);
        bridge.kill9();
        bridge.start();
    }
    let written = load.stop();
    judge(
        &bridge,
        &lists,
        &written,
        &|lane| usize::try_from(cluster.try_llen(&lists[lane]).unwrap_or(0)).expect("few"),
        &|lane| cluster.list(&lists[lane]),
    );
    bridge.term();
}
