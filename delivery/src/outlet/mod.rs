//! Transactions: batches handed in by a host that waits for the answer, each record into its Redis list once and in order.
//!
//! One [`Outlet`] stands for one action of the host. Each thread of the host that hands in batches has a [`Worker`]; a worker holds the
//! lowest free *slot* while it lives, and a slot is a producer of its own: it has a cursor beside each list that it fills.

mod config;
mod core;
mod memory;
mod plan;
mod port;
mod push;
mod slot;
mod worker;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use xxhash_rust::xxh3::xxh3_64;

use self::core::Core;
use crate::counters::Counters;
use crate::link::Endpoint;
use crate::position::Epoch;

pub use self::config::{OnRefused, OutletConfig, OutletError};
pub use self::core::Health;
pub use self::worker::Worker;

/// Where Redis is and how to get in; asked at each connect, so that a password file is read again.
pub type Login = Box<dyn Fn() -> Result<Endpoint, String> + Send + Sync>;

/// The list that a record goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The list of the configuration.
    Main,
    /// The list of the configuration, a colon and this number.
    Lane(u32),
    /// A list by its name.
    List(&'a str),
}

/// Records that are handed in together. Nothing is copied before it is packed for the wire.
pub trait Batch {
    /// How many records.
    fn len(&self) -> usize;
    /// Where record `index` goes.
    fn target(&self, index: usize) -> Target<'_>;
    /// Record `index`.
    fn record(&self, index: usize) -> &[u8];

    /// True if there is no record.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Each record is in Redis, in the spool, or parked as a dead letter.
    Done,
    /// Not all of it. It has to be handed in again, whole or record by record, in the same order, to the same worker.
    Later,
    /// Redis will never take some of it, and there is no place to park them. Handed in record by record the others are told apart.
    Refused,
}

/// One action of the host.
pub struct Outlet {
    core: Arc<Core>,
}

impl Outlet {
    /// Checks the configuration. Opens nothing: the host may fork before [`start`](Self::start).
    pub fn new(config: OutletConfig, login: Login) -> Result<Arc<Self>, OutletError> {
        config.check()?;
        Ok(Arc::new(Self { core: Arc::new(Core::new(config, login)) }))
    }

    /// Opens what has to be open. May be called again, and by several threads.
    ///
    /// A folder that cannot be used is logged, tried again later, and until then there is none: batches are turned away when Redis
    /// does not take them.
    pub fn start(&self) -> Result<(), OutletError> {
        self.core.start();
        Ok(())
    }

    /// A worker on the lowest free slot. It connects when it has something to do.
    pub fn worker(self: &Arc<Self>) -> Worker {
        Worker::new(Arc::clone(&self.core))
    }

    /// The epoch of this life, for a host that keeps positions itself ([`Worker::commit_at`]).
    pub fn epoch(&self) -> Epoch {
        self.core.epoch()
    }

    /// All connections are made anew, the login is read again.
    pub fn hup(&self) {
        self.core.generation.fetch_add(1, Relaxed);
    }

    /// Ends everything that runs. Within a second, whatever Redis does.
    pub fn stop(&self) {
        self.core.stopping.store(true, Relaxed);
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.core.counters
    }

    /// How it is.
    pub fn health(&self) -> Health {
        self.core.health()
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The lane of a stream: the same for the same key, whatever machine and version.
pub fn lane_of(stream_key: &[u8], lanes: u32) -> u32 {
    (xxh3_64(stream_key) % u64::from(lanes.max(1))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_stays_in_its_lane() {
        assert_eq!(lane_of(b"host", 1), 0);
        assert_eq!(lane_of(b"host", 0), 0);
        // Fixed for all versions: another lane would break the order of the streams.
        assert_eq!([b"a", b"b", b"c", b"d"].map(|key| lane_of(key, 8)), [7, 7, 3, 2]);
    }
}
