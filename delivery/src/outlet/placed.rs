//! Batches whose positions the host keeps itself.
//!
//! A host that notes what it was handed, and at which position, may hand it in as often as it likes: over failures, over lives, in other cuts. What
//! Redis or the spool has of it is told by the cursor, so that there is nothing to remember here.
//!
//! | killed | who repeats it | what tells the repeat |
//! |---|---|---|
//! | before the push | the host's next life, at the same positions | the cursor stands before them |
//! | behind the push | the same | the cursor stands behind them |
//! | behind the append to the spool | the same: its frame is in the spool twice | the drainer, by the cursor |

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::plan::{Bounds, State};
use super::push::Sender;
use super::worker::{Worker, lane};
use super::{Batch, OnRefused, Outcome};
use crate::counters::add;
use crate::position::Position;
use crate::wire::Patience;

impl Worker {
    /// Like [`commit`](Self::commit) for a batch that stands at `at`, all of it for one list.
    ///
    /// Positions of one list only go on, and an epoch begins only when all of the one before was handed in with success. A worker is used
    /// in one of both ways.
    pub fn commit_at(&mut self, at: Position, batch: &impl Batch, interrupted: &dyn Fn() -> bool) -> Outcome {
        if batch.is_empty() {
            return Outcome::Done;
        }
        let core = Arc::clone(&self.core);
        let Some(slot) = self.slot.as_mut() else { return Outcome::Later };
        let generation = core.generation.load(Relaxed);
        if generation != std::mem::replace(&mut self.generation, generation) {
            slot.lanes.forget_tips();
        }
        if std::mem::replace(&mut slot.open, true) {
            // The last commit ended in a panic.
            self.sender = Sender::default();
            slot.lanes.forget_tips();
        }
        let interrupted = || core.is_stopping() || interrupted();
        let limit = if core.spool().is_some() { core.config.delay } else { core.config.timeout };
        let patience = Patience { deadline: Instant::now() + limit, interrupted: &interrupted };
        let outcome = self.attempt_at(at, batch, patience);
        if let Some(slot) = self.slot.as_mut() {
            slot.open = false;
        }
        if outcome == Outcome::Later {
            self.calm();
        }
        outcome
    }

    fn attempt_at(&mut self, at: Position, batch: &impl Batch, patience: Patience<'_>) -> Outcome {
        let core = Arc::clone(&self.core);
        let Some(slot) = self.slot.as_mut() else { return Outcome::Later };
        slot.lanes.begin(false);
        self.plan.clear();
        core.adopt_epoch(slot);
        let place = lane(&core, slot, batch.target(0)).0;
        let part = self.plan.part_at(place, at, None);
        slot.lanes[place].part = part;
        for index in 0..batch.len() {
            self.plan.add(index, part);
        }
        let bounds = Bounds { records: core.config.chunk_records, bytes: core.config.chunk_bytes };
        self.plan.cut(bounds, |_| at, |index| batch.record(index).len());
        let lane = &slot.lanes[place];
        if lane.known {
            let have = lane.have(&lane.tip, at.epoch, false);
            let found: usize = self.plan.chunks.iter_mut().map(|chunk| chunk.skip(have)).sum();
            add(&core.counters.duplicates_suppressed, found as u64);
        }
        if self.plan.is_settled() {
            return Outcome::Done;
        }
        let spool = core.spool().cloned();
        if self.may_push(spool.as_deref(), patience) {
            let Some(slot) = self.slot.as_mut() else { return Outcome::Later };
            let pushed = self.sender.push(&core, &mut slot.lanes, &mut self.plan, batch, patience);
            if let (Err(_), Some(spool)) = (&pushed, &spool)
                && spool.set_away()
            {
                log::warn!("{}: batches go into the spool", core.config.name);
            }
            self.park(&core, batch);
        }
        if let Some(spool) = spool
            && !self.plan.is_settled()
        {
            self.append(&core, &spool, batch);
        }
        if self.plan.is_settled() {
            return Outcome::Done;
        }
        let open = self.plan.chunks.iter().any(|chunk| chunk.state == State::Open);
        if open || core.parks() || core.config.on_refused == OnRefused::Hold {
            Outcome::Later
        } else {
            Outcome::Refused
        }
    }

    /// What is in the spool from earlier lives is this worker's: [`is_drained`](Self::is_drained) tells when it is gone.
    pub fn take_over(&mut self) {
        let core = Arc::clone(&self.core);
        if let Some(slot) = self.slot.as_mut() {
            core.adopt_epoch(slot);
        }
    }

    /// True if everything of this worker that went into the spool has left it.
    pub fn is_drained(&self) -> bool {
        let spooled = self.slot.as_ref().and_then(|slot| slot.spooled);
        spooled.is_none_or(|lsn| self.core.spool().is_none_or(|spool| spool.is_drained(lsn)))
    }
}
