//! A private Redis Cluster on loopback: masters, and replicas that take over.

use std::time::Duration;

use redis::Value;

use crate::child::{PATIENCE, Scene, free_port, until};
use crate::redis::{Redis, RedisSetup};

/// Forming a cluster takes a few rounds of gossip on a machine that does other things too.
const FORMING: Duration = Duration::from_secs(60);

/// Milliseconds after which a node that is silent counts as gone.
const NODE_TIMEOUT: &str = "1000";

/// The nodes of one cluster. Masters come first, the replica of master `n` is node `masters + n`.
#[derive(Debug)]
pub struct Cluster {
    /// All nodes.
    pub nodes: Vec<Redis>,
    masters: usize,
}

impl Cluster {
    /// Starts so many masters, with even shares of the slots, and one replica for each if `replicas` is set. All write an append-only file and
    /// sync it before they answer.
    pub fn start(scene: &Scene, masters: usize, replicas: bool) -> Self {
        let count = if replicas { 2 * masters } else { masters };
        let nodes = (0..count).map(|number| node(scene, number).aof().start()).collect();
        Self::form(nodes, masters, replicas)
    }

    /// So many masters, without replicas, that keep nothing on disk: for benchmarks.
    pub fn without_aof(scene: &Scene, masters: usize) -> Self {
        Self::form((0..masters).map(|number| node(scene, number).start()).collect(), masters, false)
    }

    fn form(nodes: Vec<Redis>, masters: usize, replicas: bool) -> Self {
        let cluster = Self { nodes, masters };
        cluster.deal();
        cluster.introduce();
        if replicas {
            cluster.replicate();
        }
        cluster.wait_well();
        cluster
    }

    fn deal(&self) {
        for (number, node) in self.nodes[..self.masters].iter().enumerate() {
            let edge = |number: usize| 16_384 * number / self.masters;
            let (first, last) = (edge(number).to_string(), (edge(number + 1) - 1).to_string());
            node.cmd(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            node.cmd(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
        }
    }

    fn introduce(&self) {
        let port = |node: &Redis| node.port().expect("it listens on TCP").to_string();
        for node in &self.nodes[1..] {
            let options = node.cluster_port().expect("a node of a cluster").to_string();
            self.nodes[0].cmd(&["CLUSTER", "MEET", "127.0.0.1", &port(node), &options]);
        }
        until("all nodes to know each other", FORMING, || {
            let known = format!("cluster_known_nodes:{}", self.nodes.len());
            self.nodes.iter().all(|node| info(node).contains(&known)).then_some(())
        });
    }

    fn replicate(&self) {
        for (number, node) in self.nodes[self.masters..].iter().enumerate() {
            let master = self.id(number);
            // It has to have heard of its master's slots.
            until("a node to take its master", FORMING, || {
                node.try_cmd(&["CLUSTER", "REPLICATE", &master]).is_ok().then_some(())
            });
        }
        let is_linked = |node: &Redis| text(node, &["INFO", "replication"]).contains("master_link_status:up");
        until("all replicas to follow", FORMING, || self.nodes[self.masters..].iter().all(is_linked).then_some(()));
    }

    /// Waits until all nodes that run say that the cluster is well, and agree on who serves what.
    #[track_caller]
    pub fn wait_well(&self) {
        until("the cluster to be well", FORMING, || {
            let running = || self.nodes.iter().filter(|node| node.try_cmd(&["PING"]).is_ok());
            let well = running().all(|node| info(node).contains("cluster_state:ok"));
            let mut maps: Vec<String> = running().map(|node| format!("{:?}", owners(node))).collect();
            maps.dedup();
            (well && maps.len() == 1).then_some(())
        });
    }

    /// The id of a node.
    pub fn id(&self, node: usize) -> String {
        text(&self.nodes[node], &["CLUSTER", "MYID"])
    }

    /// The node that serves the slot of a key: the one that answers for it.
    pub fn owner(&self, key: &str) -> usize {
        until(&format!("somebody to serve {key}"), FORMING, || self.try_owner(key))
    }

    fn try_owner(&self, key: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.try_length(key).is_ok())
    }

    /// The length of a list, if somebody serves it.
    pub fn try_llen(&self, key: &str) -> Option<u64> {
        self.nodes.iter().find_map(|node| match node.try_length(key) {
            Ok(Value::Int(length)) => u64::try_from(length).ok(),
            _ => None,
        })
    }

    /// All elements of a list, first to last.
    pub fn list(&self, key: &str) -> Vec<Vec<u8>> {
        self.nodes[self.owner(key)].list(key)
    }

    /// Where one may ask: the nodes' addresses.
    pub fn seeds(&self) -> Vec<String> {
        self.nodes.iter().filter_map(|node| Some(format!("127.0.0.1:{}", node.port()?))).collect()
    }

    /// Moves the slot of `key` to node `to`, key by key, as redis-cli does it.
    pub fn move_slot(&self, key: &str, to: usize) {
        let from = self.owner(key);
        self.begin_move(key, from, to);
        std::thread::sleep(Duration::from_millis(30));
        self.move_keys(key, from, to);
        std::thread::sleep(Duration::from_millis(30));
        self.end_move(key, from, to);
    }

    /// Both nodes are told that the slot is on its way.
    pub fn begin_move(&self, key: &str, from: usize, to: usize) {
        let slot = self.slot(key);
        self.nodes[to].cmd(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]);
        self.nodes[from].cmd(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)]);
    }

    /// All keys of the slot go over, one by one.
    pub fn move_keys(&self, key: &str, from: usize, to: usize) {
        let slot = self.slot(key);
        let port = self.nodes[to].port().expect("it listens on TCP").to_string();
        while let Value::Array(keys) = self.nodes[from].cmd(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"])
            && let Some(Value::BulkString(name)) = keys.first()
        {
            let name = String::from_utf8(name.clone()).expect("a name");
            self.nodes[from].cmd(&["MIGRATE", "127.0.0.1", &port, &name, "0", "5000", "REPLACE"]);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The slot is its new node's.
    pub fn end_move(&self, key: &str, from: usize, to: usize) {
        let (slot, id) = (self.slot(key), self.id(to));
        for node in [to, from] {
            self.nodes[node].cmd(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        }
    }

    fn slot(&self, key: &str) -> String {
        match self.nodes.iter().find_map(|node| node.try_cmd(&["CLUSTER", "KEYSLOT", key]).ok()) {
            Some(Value::Int(slot)) => slot.to_string(),
            other => panic!("CLUSTER KEYSLOT answered {other:?}"),
        }
    }

    /// Waits until a replica has taken over from node `node`, and serves `key`.
    #[track_caller]
    pub fn wait_failover(&self, node: usize, key: &str) -> usize {
        until("a replica to take over", FORMING, || self.try_owner(key).filter(|owner| *owner != node))
    }

    /// From here on the master `node` gives its replica nothing.
    pub fn cut_replica(&self, node: usize) {
        self.nodes[node].cmd(&["ACL", "SETUSER", "default", "-psync", "-sync"]);
        self.nodes[node].cmd(&["CLIENT", "KILL", "TYPE", "replica"]);
    }

    /// Kills the master that serves `key`, waits until its replica has taken over, and starts it again as a replica of that.
    #[track_caller]
    pub fn fail_over(&mut self, key: &str) {
        let old = self.owner(key);
        self.nodes[old].kill9();
        self.wait_failover(old, key);
        self.nodes[old].start();
        self.wait_follows(old);
    }

    /// Waits until node `node`, which came back, follows whoever took over from it.
    #[track_caller]
    pub fn wait_follows(&self, node: usize) {
        until("the old master to follow", FORMING, || {
            text(&self.nodes[node], &["INFO", "replication"]).contains("master_link_status:up").then_some(())
        });
    }
}

fn node(scene: &Scene, number: usize) -> RedisSetup {
    Redis::setup(scene)
        .name(&format!("node{number}"))
        .tcp()
        .cluster(free_port())
        .option("cluster-node-timeout", NODE_TIMEOUT)
        .option("cluster-replica-validity-factor", "0")
        // A slot that nobody serves is no reason not to serve the others.
        .option("cluster-require-full-coverage", "no")
}

fn info(node: &Redis) -> String {
    text(node, &["CLUSTER", "INFO"])
}

fn owners(node: &Redis) -> Vec<(i64, i64, i64)> {
    let Ok(Value::Array(ranges)) = node.try_cmd(&["CLUSTER", "SLOTS"]) else { return Vec::new() };
    let mut owners: Vec<(i64, i64, i64)> = ranges
        .iter()
        .filter_map(|range| {
            let Value::Array(parts) = range else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = parts.as_slice() else { return None };
            let Value::Int(port) = master[1] else { return None };
            Some((*first, *last, port))
        })
        .collect();
    owners.sort_unstable();
    owners
}

fn text(node: &Redis, words: &[&str]) -> String {
    match node.try_cmd(words) {
        Ok(Value::BulkString(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(Value::VerbatimString { text, .. }) => text,
        _ => String::new(),
    }
}

/// Waits until a list of the cluster has at least `n` elements.
#[track_caller]
pub fn wait_llen(cluster: &Cluster, key: &str, n: u64) {
    until(&format!("{n} elements in {key}"), 2 * PATIENCE, || cluster.try_llen(key).filter(|have| *have >= n));
}
