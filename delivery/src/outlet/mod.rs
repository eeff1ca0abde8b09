//! Transactions: batches handed in by a host that waits for the answer, each record into its Redis list once and in order.
//!
//! One [`Outlet`] stands for one action of the host. Each thread of the host that hands in batches has a [`Worker`]; a worker holds the
//! lowest free *slot* while it lives, and a slot is a producer of its own: it has a cursor beside each list that it fills.
//! Slots stay when workers end. `docs/DELIVERY.md` says what a host may rely on.
//!
//! # The way of a batch
//!
//! ```text
//! commit -> held against what was turned away before (memory) -> cut into pushes (plan) -> Redis (push)
//!                                                   what Redis does not take, or not in time -> journal -> drainer -> Redis
//!                                                                                     no journal, or it is full -> memory, "later"
//! ```
//!
//! # Numbers
//!
//! Each record that a slot is given gets a number, and none is given out twice in an epoch; the upper sixteen bits are the slot's. A push ends
//! at the number behind its last record, and the cursor says which push was the last. Between the records of one list there may be gaps.
//! Records keep their numbers while their commit lasts and in the journal: they may be sent again at will, in other cuts too, for whatever
//! of them arrives late is recognised by the cursor. A batch that was turned away gets new numbers when it comes again. Before that
//! its old ones are made harmless: see `Doubt` in `slot.rs`.
//!
//! # A crash after each line of a commit
//!
//! | killed, or the connection broken, | Redis has | the journal has | the host | told apart by |
//! |---|---|---|---|---|
//! | before the send, in the middle of it | nothing | nothing | hands in again | nothing to tell |
//! | after the send, host lives | all, nothing, or the first chunks | what was not answered | heard "done" | the cursor, when the drainer comes to it |
//! | the same without a journal | the same | - | hands in again | the memory and the cursor, behind a fence |
//! | after the send, host dies | the same | nothing | was told nothing | nothing: see the holes |
//! | after the fence was sent | the same | - | hands in again | the fences that were noted before they were sent |
//! | after the append, before its sync | as before | all or nothing | was told nothing | the cursor, if the frame comes out |
//! | after the sync | as before | all | may have heard "done" | the cursor |
//! | drainer: after a push, before the release | all | all | heard "done" | the cursor: same epoch and further, or a later epoch of this store |
//! | drainer: past lists that are held | of the others what was pushed | from the first held frame on all | heard "done" | each lane's cursor |
//! | drainer: after a dead letter, before the release | nothing | all | heard "done" | the position in the letter |
//!
//! # What must stay true
//!
//! * Nothing of a slot is pushed while the journal may have a frame of it: neither of this life nor, when it begins, of an earlier one. Otherwise
//!   a later epoch in a cursor would not mean that the earlier ones were drained.
//! * A fence moves a cursor beyond numbers that were given out. So a slot in doubt has nothing in the journal: doubts arise from pushes,
//!   pushes need an empty journal, and as long as a slot is in doubt nothing of it is appended.
//! * What a push did is told by its answer or by the cursor, never guessed.

mod ask;
mod calm;
mod chance;
mod config;
mod core;
mod drainer;
mod fan;
mod held;
mod memory;
mod mishap;
mod plan;
mod port;
mod push;
mod share;
mod slot;
mod spool;
mod switch;
mod water;
mod window;
mod worker;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use self::core::{Core, lock};
use self::drainer::Drainer;
use self::share::Share;
use crate::counters::Counters;
use crate::link::Endpoint;
use crate::position::Epoch;

pub use self::config::{OnRefused, OutletConfig, OutletError};
pub use self::core::Health;
pub use self::fan::{Fan, FanWorker, NodeLogin};
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
    drainer: Mutex<Option<Drain>>,
}

/// The drainer's thread, and what tells that it is at its end.
struct Drain {
    thread: JoinHandle<()>,
    ended: Receiver<()>,
}

/// How long [`Outlet::stop`] waits for the drainer. Only the look-up of a host's name can take longer.
const FAREWELL: Duration = Duration::from_millis(900);

impl Outlet {
    /// Checks the configuration. Opens nothing: the host may fork before [`start`](Self::start).
    pub fn new(config: OutletConfig, login: Login) -> Result<Arc<Self>, OutletError> {
        Self::one_of_several(config, login, Share::alone())
    }

    /// The same for one that counts together with others.
    fn one_of_several(config: OutletConfig, login: Login, share: Share) -> Result<Arc<Self>, OutletError> {
        config.check()?;
        Ok(Arc::new(Self { core: Arc::new(Core::new(config, login, share)), drainer: Mutex::default() }))
    }

    /// Opens the spool and starts the thread that drains it. May be called again, and by several threads. The thread has the signal
    /// mask of its caller.
    ///
    /// A folder that cannot be used is logged, tried again later, and until then there is none: batches are turned away when Redis
    /// does not take them.
    pub fn start(&self) -> Result<(), OutletError> {
        let mut drainer = lock(&self.drainer);
        if drainer.is_some() || self.core.is_stopping() {
            return Ok(());
        }
        let reader = self.core.start();
        if self.core.config.journal.is_none() {
            return Ok(());
        }
        let core = Arc::clone(&self.core);
        let (end, ended) = channel::<()>();
        let thread = thread::Builder::new().name("drainer".into()).spawn(move || {
            let end = end;
            Drainer::new(core).run(reader);
            drop(end);
        });
        let thread = thread.map_err(|source| OutletError::Thread { source })?;
        *drainer = Some(Drain { thread, ended });
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
        self.core.nudge();
    }

    /// Ends everything that runs. Within a second, whatever Redis does. What is in the spool stays there for the next life.
    pub fn stop(&self) {
        self.ask_to_stop();
        let Some(Drain { thread, ended }) = lock(&self.drainer).take() else { return };
        match ended.recv_timeout(FAREWELL) {
            Err(RecvTimeoutError::Timeout) => log::warn!("{}: the drainer does not end", self.core.config.name),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                if thread.join().is_err() {
                    log::error!("{}: the drainer had ended in a panic", self.core.config.name);
                }
            }
        }
    }

    /// Everything that runs is told to end; nobody is waited for.
    fn ask_to_stop(&self) {
        self.core.stopping.store(true, Relaxed);
        self.core.nudge();
    }

    /// Records that wait in the spool; `None` if it is not open.
    pub fn waiting(&self) -> Option<u64> {
        let journal = &self.core.spool()?.journal;
        Some(if journal.is_empty() { 0 } else { journal.records().max(1) })
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
