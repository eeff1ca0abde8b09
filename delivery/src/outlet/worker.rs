//! A thread of the host that hands in batches.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::calm::Calm;
use super::chance::Refusal;
use super::core::Core;
use super::memory::{Entry, Fate, Match, hash};
use super::plan::{Bounds, Plan, State};
use super::push::Sender;
use super::slot::Slot;
use super::spool::Spool;
use super::switch::{Situation, Way, way};
use super::{Batch, Outcome, Target};
use crate::counters::add;
use crate::error::Trouble;
use crate::fault::{self, Place};
use crate::journal::AppendError;
use crate::journal::frame::Encoder;
use crate::position::Position;
use crate::push::Names;
use crate::wire::Patience;

/// How long a batch waits for the last of the spool to be drained.
const HANDOVER: Duration = Duration::from_millis(100);

mod ahead;
mod launch;

use self::ahead::Ahead;

/// One thread of the host that hands in batches. It holds a slot while it lives.
pub struct Worker {
    pub(super) core: Arc<Core>,
    /// Always there, until the worker ends.
    pub(super) slot: Option<Slot>,
    pub(super) sender: Sender,
    plan: Plan,
    entries: Vec<Entry>,
    generation: u64,
    /// When a batch was last turned away.
    later: Calm,
    /// When waiting for the spool to be drained was in vain.
    vain: Option<Instant>,
    /// What the spool has refused; without one, what Redis has refused and is held.
    pub(super) refusal: Refusal,
    /// Bytes of the largest batch so far.
    pub(super) largest: usize,
    /// The host was told that there is no place for a batch.
    pub(super) sent_away: bool,
    /// Pushes of the batch are on their way: see [`launch`](Self::launch).
    launched: bool,
    /// The part of the batch that was planned before its commit: see [`send_ahead`](Self::send_ahead).
    ahead: Option<Ahead>,
    /// The lists because of whose length the last batch was turned away.
    pub(super) held: Vec<Names>,
    /// The last batch was turned away, and Redis did not say since that it would take one.
    pub(super) turned_away: bool,
    /// A list that the last batch that was turned away was for.
    pub(super) wanted: Option<(Names, Instant)>,
}

impl Worker {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let slot = core.take_slot();
        Self {
            generation: core.generation.load(Relaxed),
            slot: Some(slot),
            core,
            sender: Sender::default(),
            plan: Plan::default(),
            entries: Vec::new(),
            later: Calm::default(),
            vain: None,
            refusal: Refusal::default(),
            largest: 0,
            sent_away: false,
            launched: false,
            ahead: None,
            held: Vec::new(),
            turned_away: false,
            wanted: None,
        }
    }

    /// The number of its slot.
    pub fn slot(&self) -> u16 {
        self.slot.as_ref().map_or(0, |slot| slot.number)
    }

    /// Brings a batch into Redis, or to another safe place. Returns within the configured time, and soon after `interrupted` says true.
    ///
    /// After [`Outcome::Later`] and [`Outcome::Refused`] the same records are to be handed in again, whole or one by one.
    pub fn commit(&mut self, batch: &impl Batch, interrupted: &dyn Fn() -> bool) -> Outcome {
        if batch.is_empty() {
            return Outcome::Done;
        }
        let core = Arc::clone(&self.core);
        if !self.enter(&core) {
            return Outcome::Later;
        }
        let interrupted = || core.is_stopping() || interrupted();
        let limit = if core.spool().is_some() { core.config.delay } else { core.config.timeout };
        let patience = Patience { deadline: Instant::now() + limit, interrupted: &interrupted };
        self.held.clear();
        let outcome = self.attempt(&core, batch, patience);
        self.note_refusal(outcome);
        if let Some(slot) = self.slot.as_mut() {
            slot.open = false;
        }
        match outcome {
            Some(Outcome::Later) => {
                self.later.turn_away();
                Outcome::Later
            }
            Some(outcome) => outcome,
            None => Outcome::Later,
        }
    }

    /// Like [`commit`](Self::commit), for a host that keeps the positions itself: the batch, all of it for one list, stands at `at`.
    ///
    /// The same records may be handed in at the same positions as often as the host likes, in other cuts and in later lives too:
    /// those that Redis or the spool have are recognised by the cursor. In one list positions only go on. A worker is used in
    /// one of both ways.
    pub fn commit_at(&mut self, at: Position, batch: &impl Batch, interrupted: &dyn Fn() -> bool) -> Outcome {
        if batch.is_empty() {
            return Outcome::Done;
        }
        let core = Arc::clone(&self.core);
        if !self.enter(&core) {
            return Outcome::Later;
        }
        let interrupted = || core.is_stopping() || interrupted();
        let limit = if core.spool().is_some() { core.config.delay } else { core.config.timeout };
        let patience = Patience { deadline: Instant::now() + limit, interrupted: &interrupted };
        let outcome = self.attempt_at(&core, at, batch, patience);
        if let Some(slot) = self.slot.as_mut() {
            slot.open = false;
        }
        if outcome == Outcome::Later {
            self.later.turn_away();
        }
        outcome
    }

    fn attempt_at(&mut self, core: &Core, at: Position, batch: &impl Batch, patience: Patience<'_>) -> Outcome {
        if !self.launched {
            self.ahead = None;
        }
        if !self.plan_at(core, at, batch) {
            // Its positions mean something with the cursors of the spool only.
            return Outcome::Later;
        }
        self.ahead = None;
        if !self.plan.is_settled() {
            let epoch = self.slot.as_ref().map(|slot| slot.epoch);
            // One that was opened since the first records were sent is not ours yet.
            let spool = core.spool().filter(|spool| Some(spool.journal.epoch()) == epoch).cloned();
            self.bring(core, spool, batch, patience);
        }
        if self.plan.is_settled() {
            return Outcome::Done;
        }
        if self.is_refused(core) { Outcome::Refused } else { Outcome::Later }
    }

    /// What is in the spool from earlier lives is this worker's: [`is_drained`](Self::is_drained) tells when it is gone.
    pub fn take_over(&mut self) {
        let core = Arc::clone(&self.core);
        if let Some(slot) = self.slot.as_mut() {
            core.adopt_epoch(slot);
        }
    }

    /// What [`probe`](Self::probe) looks at after a batch was turned away: the lists that were too long, and one that it was for.
    fn note_refusal(&mut self, outcome: Option<Outcome>) {
        // Turned away only to keep the order, it says nothing of Redis.
        let Some((outcome, slot)) = outcome.zip(self.slot.as_ref()) else { return };
        self.turned_away = outcome == Outcome::Later;
        if !self.turned_away {
            self.wanted = None;
            if self.core.spool().is_none() {
                self.refusal.clear();
            }
            return;
        }
        // Held without a spool: Redis can be asked about the list, but not about each record.
        if self.core.spool().is_none() && self.plan.chunks.iter().any(|chunk| chunk.state == State::Refused) {
            self.refusal.note(0, Instant::now());
        }
        let names = |place: usize| slot.lanes[place].names.clone().ok();
        let unsettled = self.plan.chunks.iter().filter(|chunk| chunk.state != State::Settled);
        if let Some(names) = unsettled.clone().find_map(|chunk| names(chunk.lane)) {
            self.wanted = Some((names, Instant::now()));
        }
        let mut held: Vec<usize> =
            unsettled.filter(|chunk| chunk.state == State::Held).map(|chunk| chunk.lane).collect();
        held.sort_unstable();
        held.dedup();
        self.held.extend(held.into_iter().filter_map(names));
    }

    /// True if nothing of this worker is left in the spool.
    pub fn is_drained(&self) -> bool {
        let spooled = self.slot.as_ref().and_then(|slot| slot.spooled);
        spooled.is_none_or(|lsn| self.core.spool().is_none_or(|spool| spool.is_drained(lsn)))
    }

    /// A commit begins. False if it cannot.
    fn enter(&mut self, core: &Core) -> bool {
        let Some(slot) = self.slot.as_mut() else { return false };
        if std::mem::replace(&mut slot.open, true) {
            // The last commit ended in a panic.
            self.sender = Sender::default();
            self.launched = false;
            self.ahead = None;
            slot.lanes.forget_tips();
        }
        let generation = core.generation.load(Relaxed);
        if generation != std::mem::replace(&mut self.generation, generation) {
            slot.lanes.forget_tips();
        }
        true
    }

    /// Parks a record that the host could not even hand in. [`Outcome::Refused`] if there is no folder for it.
    pub fn set_aside(&self, list: &str, detail: &str, record: &[u8]) -> Outcome {
        let core = &self.core;
        if core.config.letters().is_none() {
            return Outcome::Refused;
        }
        match core.park(list, detail, core.aside(), std::iter::once(record)) {
            Ok(()) => Outcome::Done,
            Err(error) => {
                core.trouble(&Trouble::Away { text: format!("the dead letters: {error}") });
                Outcome::Later
            }
        }
    }

    /// `None`: turned away only to keep the order.
    fn attempt(&mut self, core: &Core, batch: &impl Batch, patience: Patience<'_>) -> Option<Outcome> {
        match self.prepare(core, batch, patience) {
            Recall::Known => self.carry_out(core, batch, patience),
            Recall::Wait => None,
            Recall::Unknown => Some(Outcome::Later),
        }
    }

    /// Plans what is to be pushed of the batch.
    fn prepare(&mut self, core: &Core, batch: &impl Batch, patience: Patience<'_>) -> Recall {
        let Some(slot) = self.slot.as_mut() else { return Recall::Unknown };
        // Only records in doubt are remembered by their place in the table.
        slot.lanes.begin(slot.memory.is_in_doubt());
        self.entries.clear();
        self.plan.clear();
        if !slot.memory.is_in_doubt() {
            slot.lanes.forget_doubts();
            core.adopt_epoch(slot);
        }
        if slot.memory.is_empty() {
            add(&core.counters.received, batch.len() as u64);
        } else {
            let recall = self.recall(core, batch, patience);
            if !matches!(recall, Recall::Known) {
                return recall;
            }
        }
        let Some(slot) = self.slot.as_mut() else { return Recall::Unknown };
        // What was in doubt is known now.
        core.adopt_epoch(slot);
        for index in 0..batch.len() {
            if self.entries.get(index).is_some_and(|entry| entry.fate.is_done()) {
                continue;
            }
            let (place, part) = lane(core, slot, batch.target(index));
            let part = part.unwrap_or_else(|| {
                let part = self.plan.part(place);
                slot.lanes[place].part = part;
                part
            });
            self.plan.add(index, part);
        }
        let bounds = Bounds { records: core.config.chunk_records, bytes: core.config.chunk_bytes };
        self.plan.cut(bounds, |records| slot.numbers(records), |index| batch.record(index).len());
        Recall::Known
    }

    /// Brings away what was planned.
    fn carry_out(&mut self, core: &Core, batch: &impl Batch, patience: Patience<'_>) -> Option<Outcome> {
        let slot = self.slot.as_ref()?;
        // A spool that was opened while records of an earlier epoch are in doubt is not ours yet.
        let spool = core.spool().filter(|spool| spool.journal.epoch() == slot.epoch).cloned();
        self.largest = self.largest.max(self.plan.bytes());
        self.bring(core, spool, batch, patience);
        if self.plan.is_settled() {
            return Some(Outcome::Done);
        }
        let refused = self.is_refused(core);
        // A single record that is refused never comes again.
        if !(refused && batch.len() == 1) {
            self.remember(core, batch);
        }
        Some(if refused { Outcome::Refused } else { Outcome::Later })
    }

    /// What is planned into Redis, or what is left of it into the spool. What is refused may be parked.
    fn bring(&mut self, core: &Core, spool: Option<Arc<Spool>>, batch: &impl Batch, patience: Patience<'_>) {
        if std::mem::take(&mut self.launched) || self.may_push(spool.as_deref(), patience) {
            let Some(slot) = self.slot.as_mut() else { return };
            let pushed = self.sender.push(core, &mut slot.lanes, &mut self.plan, batch, patience);
            if pushed.is_ok() && self.plan.is_settled() {
                return;
            }
            if let (Err(_), Some(spool)) = (pushed, &spool) {
                spool.set_away(&core.config.name);
            }
        }
        if let Some(spool) = spool
            && !self.plan.is_settled()
        {
            self.append(core, &spool, batch);
        }
    }

    /// True if waiting does not help: what is left will never be taken, and must neither wait nor be parked.
    fn is_refused(&self, core: &Core) -> bool {
        let open = self.plan.chunks.iter().any(|chunk| matches!(chunk.state, State::Open | State::Held));
        !open && !core.parks() && core.config.on_refused == super::OnRefused::DeadLetter
    }

    /// True if the batch goes to Redis first. May wait for the spool to be drained.
    fn may_push(&mut self, spool: Option<&Spool>, patience: Patience<'_>) -> bool {
        let Some((spool, slot)) = spool.zip(self.slot.as_mut()) else { return true };
        if slot.spooled.is_some_and(|lsn| spool.is_drained(lsn)) {
            slot.spooled = None;
            self.vain = None;
            // The drainer has got through: that Redis was away for us means nothing any more.
            self.sender.port.hurry();
        }
        let behind = slot.spooled;
        let situation = Situation {
            // What is behind a list that is held waits longer than a worker does.
            away: spool.is_away() || behind.is_some() && self.core.water.any_held(),
            behind: behind.is_some(),
            backlog: if behind.is_some() { spool.journal.records() } else { 0 },
            hurry: (patience.interrupted)(),
            in_vain: self.vain.map(|when| when.elapsed()),
        };
        match (way(situation), behind) {
            (Way::Push, _) | (Way::Wait, None) => true,
            (Way::Spool, _) => false,
            (Way::Wait, Some(lsn)) => {
                if spool.wait_drained(lsn, HANDOVER.min(self.core.config.delay), patience.interrupted) {
                    slot.spooled = None;
                    self.sender.port.hurry();
                    return true;
                }
                self.vain = Some(Instant::now());
                false
            }
        }
    }

    /// Puts what is not settled into the spool, at the places that it has. Pushes whose outcome is unknown are recognised by them.
    fn append(&mut self, core: &Core, spool: &Spool, batch: &impl Batch) {
        let Some(slot) = self.slot.as_mut() else { return };
        let mut frame = Encoder::new(&core.config.producer);
        for chunk in self.plan.chunks.iter().filter(|chunk| chunk.state != State::Settled) {
            let records = self.plan.indexes(chunk.places.clone()).map(|index| batch.record(index));
            frame.part(slot.number, &slot.lanes[chunk.lane].list, chunk.begin(), chunk.count(), records);
        }
        fault::pass(Place::OutletBeforeSpool);
        match spool.journal.append(frame.bytes(), frame.records()) {
            Ok(lsn) => {
                fault::pass(Place::OutletAfterSpool);
                for chunk in &mut self.plan.chunks {
                    if chunk.state != State::Settled {
                        chunk.state = State::Settled;
                        // The drainer moves its cursor now.
                        slot.lanes[chunk.lane].known = false;
                    }
                }
                slot.spooled = Some(lsn);
                spool.appended(lsn);
                self.refusal.clear();
                core.spool_takes(None);
                let records = u64::from(frame.records());
                add(&core.counters.spooled, records);
                add(&core.counters.accepted, records);
            }
            Err(error) => {
                // What is larger than the spool may be never fits; it may come in smaller pieces.
                let bytes = if matches!(error, AppendError::TooLarge { .. }) { 0 } else { frame.bytes().len() };
                self.refusal.note(bytes, Instant::now());
                core.spool_takes(Some(&error.to_string()));
            }
        }
    }

    /// Holds the batch against what was turned away before.
    fn recall(&mut self, core: &Core, batch: &impl Batch, patience: Patience<'_>) -> Recall {
        let Some(slot) = self.slot.as_mut() else { return Recall::Unknown };
        if slot.memory.is_in_doubt() && self.sender.fence(core, slot, patience).is_err() {
            turn_away(core, slot, batch, 0);
            return Recall::Unknown;
        }
        let (mut fresh, mut again) = (0, 0);
        for index in 0..batch.len() {
            let place = lane(core, slot, batch.target(index)).0;
            let hash = hash(&slot.lanes[place].list, batch.record(index));
            match slot.memory.take(hash) {
                Match::Known(entry) => {
                    again += u64::from(entry.fate == Fate::Done);
                    self.entries.push(entry);
                }
                Match::New => {
                    slot.memory.clear();
                    fresh += 1;
                    self.entries.push(Entry::new(hash, Fate::Absent));
                }
                Match::TooEarly => {
                    slot.memory.put_back(self.entries.drain(..));
                    turn_away(core, slot, batch, index);
                    return Recall::Wait;
                }
            }
        }
        add(&core.counters.received, fresh + again);
        add(&core.counters.duplicates_suppressed, again);
        // Parts are given anew.
        slot.lanes.begin(true);
        Recall::Known
    }

    /// Not everything is settled: notes what is known of each record.
    fn remember(&mut self, core: &Core, batch: &impl Batch) {
        let Some(slot) = self.slot.as_mut() else { return };
        if self.entries.is_empty() {
            for index in 0..batch.len() {
                let place = lane(core, slot, batch.target(index)).0;
                let hash = hash(&slot.lanes[place].list, batch.record(index));
                self.entries.push(Entry::new(hash, Fate::Done));
            }
        } else {
            for entry in self.entries.iter_mut().filter(|entry| !entry.fate.is_done()) {
                *entry = entry.with(Fate::Done);
            }
        }
        for chunk in self.plan.chunks.iter().filter(|chunk| chunk.state != State::Settled) {
            if chunk.doubt {
                slot.lanes.put_in_doubt(chunk.lane);
            }
            for (index, end) in self.plan.indexes(chunk.places.clone()).zip(chunk.start + 1..) {
                let fate = if chunk.doubt { Fate::Maybe { lane: chunk.lane, end } } else { Fate::Absent };
                self.entries[index] = self.entries[index].with(fate);
            }
        }
        slot.memory.put_back(self.entries.drain(..));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.core.give_back(slot);
        }
    }
}

/// What the memory says to a batch.
enum Recall {
    /// Each record is new, or it is known what became of it.
    Known,
    /// Records that come before it have to be handed in first.
    Wait,
    /// What Redis has of the records in doubt cannot be found out.
    Unknown,
}

/// The records from `from` on are turned away before they were tried.
fn turn_away(core: &Core, slot: &mut Slot, batch: &impl Batch, from: usize) {
    let mut near = 0;
    for index in from..batch.len() {
        let record = batch.record(index);
        let hash = match batch.target(index) {
            // The table does not shrink while records are in doubt: what is not tried gets no place in it.
            Target::List(list) => hash(list, record),
            target => {
                let place = lane(core, slot, target).0;
                hash(&slot.lanes[place].list, record)
            }
        };
        near = slot.memory.turn_away(hash, near);
    }
}

/// The place of a record's lane in the table, and its part in this batch.
#[inline]
fn lane(core: &Core, slot: &mut Slot, target: Target<'_>) -> (usize, Option<u32>) {
    let number = match target {
        Target::Main => 0,
        Target::Lane(number) => number as usize + 1,
        Target::List(list) => {
            let producer = (slot.number, slot.bare);
            return slot.lanes.find(list, || (list, Slot::name(producer, &core.config.producer)));
        }
    };
    match slot.lanes.find_numbered(number) {
        Some(found) => found,
        None => number_lane(core, slot, number),
    }
}

#[cold]
fn number_lane(core: &Core, slot: &mut Slot, number: usize) -> (usize, Option<u32>) {
    let list = &core.config.list;
    let list = if number == 0 { list.clone() } else { format!("{list}:{}", number - 1) };
    let producer = (slot.number, slot.bare);
    let found = slot.lanes.find(&list, || (&list, Slot::name(producer, &core.config.producer)));
    slot.lanes.number(number, found.0);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::{Outlet, OutletConfig};

    struct Lists(std::ops::Range<u32>, Vec<String>);

    impl Lists {
        fn new(range: std::ops::Range<u32>) -> Self {
            let names = range.clone().map(|n| n.to_string()).collect();
            Self(range, names)
        }
    }

    impl Batch for Lists {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn target(&self, index: usize) -> Target<'_> {
            Target::List(&self.1[index])
        }

        fn record(&self, _index: usize) -> &[u8] {
            b"r"
        }
    }

    #[test]
    fn an_outage_with_ever_new_lists_needs_no_more_memory() {
        let config = OutletConfig { producer: "p".into(), ..OutletConfig::default() };
        let outlet = Outlet::new(config, Box::new(|| Err("away".into()))).expect("a configuration");
        let mut worker = outlet.worker();
        let lanes = |worker: &Worker| worker.slot.as_ref().map_or(0, |slot| slot.lanes.len());
        // A host that gives up: nothing comes a second time.
        for at in 0..8 {
            assert_eq!(worker.commit(&Lists::new(at * 8_000..(at + 1) * 8_000), &|| false), Outcome::Later);
        }
        assert!(lanes(&worker) <= super::super::slot::LANES_MAX + 8_000, "{}", lanes(&worker));
        // The same while something is in doubt.
        let slot = worker.slot.as_mut().expect("a slot");
        let place = lane(&worker.core, slot, Target::List("doubtful")).0;
        slot.lanes.put_in_doubt(place);
        slot.memory.put_back([Entry::new(1, Fate::Maybe { lane: place, end: 1 })].into_iter());
        for at in 100..108 {
            assert_eq!(worker.commit(&Lists::new(at * 8_000..(at + 1) * 8_000), &|| false), Outcome::Later);
        }
        assert!(lanes(&worker) <= super::super::slot::LANES_MAX + 8_000, "{}", lanes(&worker));
    }
}
