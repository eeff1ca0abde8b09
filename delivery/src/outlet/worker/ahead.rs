//! The first pushes of a batch on their way while its last records are still to come, for a host that keeps the positions itself.
//!
//! Nothing is waited for and no answer is read before the commit: Redis works while the host makes its records. Whatever is sent ahead stands at
//! the positions that its records have for good, so that it is no other push than the one the commit would have made.
//!
//! | killed, or the connection broken, | Redis has | who repeats it | told apart by |
//! |---|---|---|---|
//! | before or in the middle of a send | what was sent before, in order | the commit, or the host's next life | the cursor |
//! | after a send | that too, or nothing of it | the same | the cursor |
//! | a push was refused, later ones are on the way | nothing of the later ones: they lose the compare | the commit | the cursor |
//! | the commit comes, the answers are there | all of it | nobody | |
//! | the commit comes, an answer is lost | all or nothing of what it was for | the commit, over the next connection; the drainer | the cursor |

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Worker, lane};
use crate::counters::add;
use crate::outlet::Batch;
use crate::outlet::core::Core;
use crate::outlet::plan::Bounds;
use crate::outlet::push::Sender;
use crate::position::Position;
use crate::wire::Patience;

/// Pushes that are under way before the commit. Their answers have to lie somewhere until then.
const UNDER_WAY: usize = 64;

/// How long a send may take: a server that stands still is left to the commit.
const SEND: Duration = Duration::from_millis(500);

/// What of a batch was planned before its commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    at: Position,
    /// The place of its list in the slot's table.
    place: usize,
    /// So many records, from the front.
    records: usize,
}

impl Worker {
    /// Sends the records that `batch`, which stands at `at`, has had since the last call, if nothing at all has to be waited for or asked before. Reads no answer. True if
    /// they were sent.
    ///
    /// [`commit_at`](Self::commit_at) has to follow, with these records and any number behind them, at the same place. Until then the worker
    /// is asked for nothing else.
    pub fn send_ahead(&mut self, at: Position, batch: &impl Batch, interrupted: &dyn Fn() -> bool) -> bool {
        let core = Arc::clone(&self.core);
        let interrupted = || core.is_stopping() || interrupted();
        let patience = Patience { deadline: Instant::now() + self.limit().min(SEND), interrupted: &interrupted };
        let is_free = self.sender.under_way() < UNDER_WAY && self.may_launch(patience);
        if batch.is_empty() || !is_free || !self.enter(&core) {
            return false;
        }
        let sent = self.plan_at(&core, at, batch) && self.send_planned(&core, batch, patience);
        if let Some(slot) = self.slot.as_mut() {
            slot.open = false;
        }
        sent
    }

    /// What could not be sent stays in the plan, for the commit.
    fn send_planned(&mut self, core: &Core, batch: &impl Batch, patience: Patience<'_>) -> bool {
        let Some(slot) = self.slot.as_mut() else { return false };
        let sent = self.sender.launch(core, &mut slot.lanes, &self.plan, batch, false, patience);
        self.launched |= self.sender.has_launched();
        sent
    }

    /// Plans what `batch` has behind the part that was planned before. False if nothing may be pushed or spooled at these positions now.
    pub(super) fn plan_at(&mut self, core: &Core, at: Position, batch: &impl Batch) -> bool {
        let known = self.ahead.filter(|ahead| ahead.at == at && ahead.records <= batch.len());
        if known.is_none() && self.ahead.take().is_some() {
            // Not what was announced. What is on its way is found by the cursor.
            self.sender = Sender::default();
            self.launched = false;
            if let Some(slot) = self.slot.as_mut() {
                slot.lanes.forget_tips();
            }
        }
        let Some(mut ahead) = known.or_else(|| self.begin_at(core, at, batch)) else { return false };
        let Some(slot) = self.slot.as_ref() else { return false };
        let first = Position { offset: at.offset + ahead.records as u64, ..at };
        let bounds = Bounds { records: core.config.chunk_records, bytes: core.config.chunk_bytes };
        let planned = self.plan.chunks.len();
        let fresh = ahead.records..batch.len();
        self.plan.append(ahead.place, fresh, first, bounds, |index| batch.record(index).len());
        let lane = &slot.lanes[ahead.place];
        if lane.known {
            let have = lane.have(&lane.tip, at.epoch, false);
            let found: usize = self.plan.chunks[planned..].iter_mut().map(|chunk| chunk.skip(have)).sum();
            add(&core.counters.duplicates_suppressed, found as u64);
        }
        ahead.records = batch.len();
        self.ahead = Some(ahead);
        true
    }

    fn begin_at(&mut self, core: &Core, at: Position, batch: &impl Batch) -> Option<Ahead> {
        let slot = self.slot.as_mut()?;
        slot.lanes.begin(false);
        self.plan.clear();
        core.adopt_epoch(slot);
        if slot.bare {
            return None;
        }
        let place = lane(core, slot, batch.target(0)).0;
        Some(Ahead { at, place, records: 0 })
    }
}
