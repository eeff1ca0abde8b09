//! Which node of a Redis Cluster serves a list.
//!
//! All keys of a list, its cursors included, share one of 16384 hash slots, and each slot is served by one node at a time. A [`Map`] holds
//! who serves what, as far as is known; all connections of one configuration share it. It is learnt from any node that answers
//! (`CLUSTER SLOTS`), corrected by each `MOVED`, and learnt anew when a node cannot be reached or answers `CLUSTERDOWN`.
//!
//! # What a wrong map does
//!
//! Nothing but time is lost. A node that does not serve the slot keeps nothing of a push: each of its commands is answered with `MOVED`,
//! and a transaction with `EXECABORT`. The cursor is read again on the connection to the right node, as after any refusal.
//!
//! # While a slot is moved
//!
//! The node that gives it away takes a push while it has list and cursor, and answers `ASK` or `TRYAGAIN` when it lacks one of them.
//! The node that gets it takes pushes behind `ASKING` only, and only if it has both keys already: an empty list is none.
//! A cursor that has not arrived yet reads as missing there, and everything would be pushed a second time from that. So nothing is asked of the new
//! node before the slot is its own: whoever is answered `ASK` or `TRYAGAIN` waits for a moment and tries again. Moving the keys
//! of one slot is a matter of milliseconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Endpoint, Link};
use crate::error::Trouble;
use crate::push::Reply;
use crate::wire::Patience;

/// Hash slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// The hash slot of a key: that of its hash tag if it has one.
pub fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    crc16(0, hashed.as_bytes()) % SLOTS
}

/// The beginning of many keys that have no hash tag.
pub(crate) struct Hashed(u16);

impl Hashed {
    pub fn new(beginning: &str) -> Self {
        Self(crc16(0, beginning.as_bytes()))
    }

    /// The hash slot of the key that ends with `rest`.
    pub fn slot_with(&self, rest: &str) -> u16 {
        crc16(self.0, rest.as_bytes()) % SLOTS
    }
}

/// CRC-16/XMODEM, which the specification of Redis Cluster names, going on from `crc`.
fn crc16(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, byte| {
        let crc = crc ^ u16::from(*byte) << 8;
        (0..8).fold(crc, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub host: String,
    pub port: u16,
}

/// Who serves what.
#[derive(Debug, Default)]
pub struct Map {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    nodes: Vec<Node>,
    /// The place in `nodes` of the one that serves a slot; empty if nothing is known.
    owners: Vec<Option<u16>>,
    /// It may be wrong.
    stale: bool,
    /// Whom to ask first: not always the same, which may be away.
    turn: usize,
}

impl Known {
    fn place(&mut self, node: Node) -> u16 {
        let at = self.nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        });
        at as u16
    }

    fn set(&mut self, slot: u16, node: Node) {
        if self.owners.is_empty() {
            self.owners = vec![None; usize::from(SLOTS)];
        }
        let place = self.place(node);
        self.owners[usize::from(slot % SLOTS)] = Some(place);
    }
}

/// A slot, and the map that tells its node.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub map: Arc<Map>,
    pub slot: u16,
}

impl Route {
    /// The endpoint of the node that serves the slot. Asks around if it is not known.
    pub fn find(&self, endpoint: &Endpoint, patience: Patience<'_>) -> Result<Endpoint, Trouble> {
        if let Some(node) = self.map.owner(self.slot) {
            return Ok(endpoint.at_node(&node));
        }
        self.map.learn(endpoint, self.slot, patience)?;
        match self.map.owner(self.slot) {
            Some(node) => Ok(endpoint.at_node(&node)),
            None => Err(Trouble::Answered {
                code: "CLUSTERDOWN".into(),
                text: format!("no node serves hash slot {}", self.slot),
                connecting: true,
            }),
        }
    }

    /// A node that serves the slot, as far as is known, could not be reached.
    pub fn unreachable(&self) {
        self.map.lock().stale = true;
    }

    /// `node` answered with an error: it may be news.
    pub fn heard(&self, node: &Endpoint, code: &str, text: &str) {
        match code {
            "MOVED" => {
                let Some((slot, to)) = moved(text, node) else { return };
                let mut known = self.map.lock();
                let was = known.owners.get(usize::from(slot)).copied().flatten();
                if was.is_none_or(|was| known.nodes[usize::from(was)] != to) {
                    log::info!("redis cluster: hash slot {slot} is served by {}:{} now", to.host, to.port);
                }
                known.set(slot, to);
            }
            "CLUSTERDOWN" => self.unreachable(),
            _ => {}
        }
    }
}

impl Map {
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node that serves the slot, if that is known.
    fn owner(&self, slot: u16) -> Option<Node> {
        let known = self.lock();
        if known.stale {
            return None;
        }
        let place = (*known.owners.get(usize::from(slot))?)?;
        known.nodes.get(usize::from(place)).cloned()
    }

    /// Asks the nodes that are known, then the seeds, until one answers.
    fn learn(&self, seeds: &Endpoint, slot: u16, patience: Patience<'_>) -> Result<(), Trouble> {
        let mut asked: Vec<Endpoint> = {
            let mut known = self.lock();
            known.turn = known.turn.wrapping_add(1);
            let mut nodes = known.nodes.clone();
            if !nodes.is_empty() {
                let turn = known.turn % nodes.len();
                nodes.rotate_left(turn);
            }
            nodes.iter().map(|node| seeds.at_node(node)).collect()
        };
        asked.extend(seeds.each());
        let mut last = Trouble::Away { text: "no node of the cluster is known".into() };
        for (index, endpoint) in asked.iter().enumerate() {
            let now = Instant::now();
            let left = patience.deadline.saturating_duration_since(now);
            if left.is_zero() || (patience.interrupted)() {
                break;
            }
            // One that does not answer must leave time for the others, and for the connection itself.
            let share = left / (asked.len() - index + 1).min(3) as u32;
            let patience = Patience { deadline: now + share.max(Duration::from_millis(1)), ..patience };
            match ask(endpoint, patience) {
                Ok(reply) => {
                    self.take(&reply, endpoint);
                    return Ok(());
                }
                // It may not be asked: MOVED will tell.
                Err(Trouble::Answered { code, .. }) if code == "NOPERM" => {
                    let Some(node) = endpoint.node() else { continue };
                    let mut known = self.lock();
                    known.stale = false;
                    known.set(slot, node);
                    return Ok(());
                }
                Err(trouble) => last = trouble,
            }
        }
        Err(last)
    }

    /// Takes in what `CLUSTER SLOTS` answered.
    fn take(&self, reply: &Reply, from: &Endpoint) {
        let Reply::Many(ranges) = reply else { return };
        let mut fresh = Known { owners: vec![None; usize::from(SLOTS)], ..Known::default() };
        for range in ranges {
            let Reply::Many(parts) = range else { continue };
            let [Reply::Number(first), Reply::Number(last), Reply::Many(master), replicas @ ..] = parts.as_slice()
            else {
                continue;
            };
            let Some(node) = node_of(master, from) else { continue };
            let place = fresh.place(node);
            for slot in (*first).max(0)..=(*last).min(i64::from(SLOTS) - 1) {
                fresh.owners[slot as usize] = Some(place);
            }
            // They are known for the day on which their master is away.
            for replica in replicas {
                if let Reply::Many(replica) = replica
                    && let Some(node) = node_of(replica, from)
                {
                    fresh.place(node);
                }
            }
        }
        let mut known = self.lock();
        fresh.turn = known.turn;
        *known = fresh;
    }
}

fn ask(endpoint: &Endpoint, patience: Patience<'_>) -> Result<Reply, Trouble> {
    let mut link = Link::connect_within(endpoint, patience)?;
    link.ask_within(&["CLUSTER", "SLOTS"], patience)
}

/// A node in the answer to `CLUSTER SLOTS`. One that does not know its own address has the one under which it was asked.
fn node_of(words: &[Reply], from: &Endpoint) -> Option<Node> {
    let Some(Reply::Number(port)) = words.get(1) else { return None };
    let host = match words.first()? {
        Reply::Bytes(host) if !host.is_empty() && host != b"?" => String::from_utf8(host.clone()).ok()?,
        _ => from.node()?.host,
    };
    Some(Node { host, port: u16::try_from(*port).ok()? })
}

/// `3999 127.0.0.1:6381`
fn moved(text: &str, from: &Endpoint) -> Option<(u16, Node)> {
    let (slot, address) = text.split_once(' ')?;
    let (host, port) = address.trim().rsplit_once(':')?;
    let host = if host.is_empty() || host == "?" { from.node()?.host } else { host.to_owned() };
    let slot = slot.parse().ok().filter(|slot| *slot < SLOTS)?;
    Some((slot, Node { host, port: port.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Address, Topology};

    fn endpoint() -> Endpoint {
        let servers = ["h:7000".to_owned()];
        let address = Address { servers: &servers, port: 6379, db: 0, topology: Topology::Cluster };
        Endpoint::parse(address, Duration::from_secs(1), Duration::from_secs(1)).expect("an address")
    }

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(crc16(0, b"123456789"), 0x31C3);
        // As CLUSTER KEYSLOT answers.
        assert_eq!((slot("logs"), slot("foo"), slot("bar")), (15_859, 12_182, 5_061));
        assert_eq!(slot("{foo}:a"), slot("foo"));
        assert_eq!(slot("a{foo}{bar}"), slot("foo"));
        // An empty tag is none, and so is one that does not end.
        assert_eq!(slot("foo{}{bar}"), crc16(0, b"foo{}{bar}") % SLOTS);
        assert_eq!(slot("{foo"), crc16(0, b"{foo") % SLOTS);
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
    }

    #[test]
    fn a_map_is_learnt_and_corrected() {
        let map = Arc::new(Map::default());
        let route = Route { map: Arc::clone(&map), slot: 100 };
        let number = Reply::Number;
        let node = |host: &str, port| Reply::Many(vec![Reply::Bytes(host.into()), number(port)]);
        let range = |first, last, nodes: Vec<Reply>| Reply::Many([vec![number(first), number(last)], nodes].concat());
        let reply = Reply::Many(vec![
            range(0, 8_000, vec![node("a", 1), node("r", 9)]),
            range(8_001, 16_383, vec![node("", 2)]),
        ]);
        map.take(&reply, &endpoint());
        let owner = |slot| map.owner(slot).map(|node| (node.host, node.port));
        assert_eq!((owner(100), owner(16_383)), (Some(("a".into(), 1)), Some(("h".into(), 2))));
        route.heard(&endpoint(), "MOVED", "100 ::1:7001");
        assert_eq!((owner(100), owner(101)), (Some(("::1".into(), 7001)), Some(("a".into(), 1))));
        route.heard(&endpoint(), "MOVED", "101 :7002");
        assert_eq!(owner(101), Some(("h".into(), 7002)));
        for nonsense in ["", "101", "99999 a:1", "101 a", "101 a:x"] {
            route.heard(&endpoint(), "MOVED", nonsense);
        }
        assert_eq!(owner(101), Some(("h".into(), 7002)));
        route.heard(&endpoint(), "CLUSTERDOWN", "The cluster is down");
        assert_eq!(owner(100), None);
        map.take(&reply, &endpoint());
        assert_eq!(owner(100), Some(("a".into(), 1)));
    }
}
