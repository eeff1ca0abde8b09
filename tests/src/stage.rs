//! The usual set of a fault test: one Redis, one bridge, one writer, and the verdict in the end.

use std::time::{Duration, Instant};

use crate::bridge::{Bridge, BridgeConfig};
use crate::child::Scene;
use crate::ledger::Ledger;
use crate::load::{Load, Pace, Sent};
use crate::pipe::Numbered;
use crate::redis::{Redis, RedisSetup};

/// The list.
pub const KEY: &str = "rsyslog";
/// The bridge's cursor beside it.
pub const CURSOR: &str = "{rsyslog}:cursor:p";
/// Everything that was written has arrived by then, whatever happened before.
const ARRIVAL: Duration = Duration::from_secs(60);
/// When the last record has arrived, the bridge knows soon.
const REST: Duration = Duration::from_secs(10);

/// One Redis, one bridge, and the records that a writer sends.
#[derive(Debug)]
pub struct Stage {
    /// The folder of all of it.
    pub scene: Scene,
    /// The server.
    pub redis: Redis,
    /// The bridge.
    pub bridge: Bridge,
    /// What a [`load`](Self::load) writes.
    pub records: Numbered,
}

impl Stage {
    /// Redis and the bridge run.
    pub fn new(
        redis: impl FnOnce(RedisSetup) -> RedisSetup,
        bridge: impl FnOnce(BridgeConfig) -> BridgeConfig,
    ) -> Self {
        let mut stage = Self::prepare(redis, bridge);
        stage.redis.start();
        stage.bridge.start();
        stage
    }

    /// Nothing runs yet.
    pub fn prepare(
        redis: impl FnOnce(RedisSetup) -> RedisSetup,
        bridge: impl FnOnce(BridgeConfig) -> BridgeConfig,
    ) -> Self {
        let scene = Scene::new();
        let redis = redis(Redis::setup(&scene)).prepare();
        let config = Bridge::config(&scene).redis(&redis).set("queue.producer", "p");
        let bridge = bridge(config).prepare();
        Self { scene, redis, bridge, records: Numbered::new("r", 100) }
    }

    /// A writer in the background.
    pub fn load(&self, pace: Pace) -> Load {
        Load::start(&self.bridge.fifo(), &self.records, pace)
    }

    /// Waits until everything that was sent has arrived, and judges the list and the dead letters.
    #[track_caller]
    pub fn judge(&self, sent: &Sent) {
        self.bridge.wait_letters(sent.torn.len(), ARRIVAL);
        self.redis.wait_llen(KEY, usize::try_from(sent.count).expect("so many fit"), ARRIVAL);
        // What comes too much may come late: the bridge must have nothing left to push.
        self.rest();
        sent.ledger().judge(self.redis.list(KEY)).assert_clean();
        let letters = self.bridge.dead_letters();
        let parked = letters.iter().map(|letter| letter["record"].as_str().expect("text").as_bytes());
        Ledger::new().sent_exactly(&sent.torn).judge(parked).assert_clean();
    }

    /// Waits until the bridge has pushed all that it has, and checks the equation of its counters.
    #[track_caller]
    pub fn rest(&self) {
        rest(&self.bridge);
    }

    /// The process lived through everything: it has counted every record once.
    #[track_caller]
    pub fn counted(&self, sent: &Sent) {
        let torn = sent.torn.len() as u64;
        let counters = ["received", "dead_letters", "torn"].map(|word| self.bridge.counter(word));
        assert_eq!(counters, [sent.count + torn, torn, torn], "received, dead_letters, torn");
        let arrived = self.bridge.counter("pushed") + self.bridge.counter("duplicates_suppressed");
        assert_eq!(arrived, sent.count, "pushed + duplicates_suppressed");
    }
}

/// Waits until `bridge` has pushed all that it has, and checks the equation of its counters.
#[track_caller]
pub fn rest(bridge: &Bridge) {
    let start = Instant::now();
    loop {
        let status = bridge.status();
        let count = |word: &str| status[word].as_u64().unwrap_or_else(|| panic!("no {word} in {status}"));
        let settled = count("pushed") + count("duplicates_suppressed") + count("dead_letters");
        if count("unpushed_bytes") == 0 && count("received") == settled {
            return;
        }
        assert!(start.elapsed() < REST, "the bridge does not come to rest, or has lost count: {status:#}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
