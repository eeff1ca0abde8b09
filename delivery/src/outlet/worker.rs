//! A thread of the host that hands in batches.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::core::Core;
use super::memory::{Entry, Fate, Match, hash};
use super::plan::{Bounds, Plan, State};
use super::push::{Sender, Setback};
use super::slot::{Doubt, Lanes, Slot};
use super::{Batch, Outcome, Target};
use crate::counters::add;
use crate::error::Trouble;
use crate::position::{Epoch, Position};
use crate::push::Reply;
use crate::wire::Patience;

/// Two refusals follow each other no faster than this: old hosts ask again at once.
const CALM: Duration = Duration::from_millis(20);

/// One thread of the host that hands in batches. It holds a slot while it lives.
pub struct Worker {
    core: Arc<Core>,
    /// Always there, until the worker ends.
    slot: Option<Slot>,
    sender: Sender,
    plan: Plan,
    entries: Vec<Entry>,
    generation: u64,
    /// When a batch was last turned away.
    later: Option<Instant>,
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
            later: None,
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
        let patience = Patience { deadline: Instant::now() + core.config.timeout, interrupted: &interrupted };
        let outcome = self.attempt(&core, batch, patience);
        if let Some(slot) = self.slot.as_mut() {
            slot.open = false;
        }
        match outcome {
            Some(Outcome::Later) => {
                self.calm();
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
        let patience = Patience { deadline: Instant::now() + core.config.timeout, interrupted: &interrupted };
        let outcome = self.attempt_at(&core, at, batch, patience);
        if let Some(slot) = self.slot.as_mut() {
            slot.open = false;
        }
        if outcome == Outcome::Later {
            self.calm();
        }
        outcome
    }

    fn attempt_at(&mut self, core: &Core, at: Position, batch: &impl Batch, patience: Patience<'_>) -> Outcome {
        let Some(slot) = self.slot.as_mut() else { return Outcome::Later };
        slot.lanes.begin(false);
        self.plan.clear();
        let place = lane(core, &mut slot.lanes, batch.target(0)).0;
        let part = self.plan.part(place);
        slot.lanes[place].part = part;
        for index in 0..batch.len() {
            self.plan.add(index, part);
        }
        let bounds = Bounds { records: core.config.chunk_records, bytes: core.config.chunk_bytes };
        self.plan.cut(bounds, |_| at.offset, |index| batch.record(index).len());
        let lane = &slot.lanes[place];
        if lane.known {
            let have = lane.have(&lane.tip, at.epoch);
            let found: usize = self.plan.chunks.iter_mut().map(|chunk| chunk.skip(have)).sum();
            add(&core.counters.duplicates_suppressed, found as u64);
        }
        if self.plan.is_settled() {
            return Outcome::Done;
        }
        let pushed = self.sender.push(core, &mut slot.lanes, &mut self.plan, batch, at.epoch, patience);
        if pushed.is_ok() && self.plan.is_settled() {
            return Outcome::Done;
        }
        self.park(core, at.epoch, batch);
        if self.plan.is_settled() {
            return Outcome::Done;
        }
        let open = self.plan.chunks.iter().any(|chunk| chunk.state == State::Open);
        if open || core.config.on_refused == super::OnRefused::Hold { Outcome::Later } else { Outcome::Refused }
    }

    /// A commit begins. False if it cannot.
    fn enter(&mut self, core: &Core) -> bool {
        let Some(slot) = self.slot.as_mut() else { return false };
        if std::mem::replace(&mut slot.open, true) {
            // The last commit ended in a panic.
            self.sender = Sender::default();
            slot.lanes.forget_tips();
        }
        let generation = core.generation.load(Relaxed);
        if generation != std::mem::replace(&mut self.generation, generation) {
            slot.lanes.forget_tips();
        }
        true
    }

    /// True if a batch that is handed in now has a chance: Redis answers.
    pub fn probe(&mut self, interrupted: &dyn Fn() -> bool) -> bool {
        let core = Arc::clone(&self.core);
        let Some(slot) = self.slot.as_mut() else { return false };
        if !self.sender.port.is_due(Instant::now()) {
            return false;
        }
        let interrupted = || core.is_stopping() || interrupted();
        let patience = Patience { deadline: Instant::now() + core.config.timeout, interrupted: &interrupted };
        slot.lanes.begin(true);
        let place = lane(&core, &mut slot.lanes, Target::Main).0;
        let Ok(names) = &slot.lanes[place].names else { return true };
        match self.sender.ping(&core, names, patience) {
            Ok(()) => true,
            Err(Setback::NotYet) => false,
            Err(Setback::Trouble(trouble)) => {
                core.trouble(&trouble);
                false
            }
        }
    }

    /// Parks a record that the host could not even hand in. [`Outcome::Refused`] if there is no folder for it.
    pub fn set_aside(&self, list: &str, detail: &str, record: &[u8]) -> Outcome {
        let core = &self.core;
        if core.config.dead_letters.is_none() {
            return Outcome::Refused;
        }
        let end = core.numbers(1) + 1;
        match core.park(list, detail, core.epoch(), std::iter::once((end, record))) {
            Ok(()) => Outcome::Done,
            Err(error) => {
                core.trouble(&Trouble::Away { text: format!("the dead letters: {error}") });
                Outcome::Later
            }
        }
    }

    /// True if there is a connection or one may be tried. Asks nobody.
    pub fn ready(&self) -> bool {
        self.sender.port.is_open() || self.sender.port.is_due(Instant::now())
    }

    /// `None`: turned away only to keep the order.
    fn attempt(&mut self, core: &Core, batch: &impl Batch, patience: Patience<'_>) -> Option<Outcome> {
        let slot = self.slot.as_mut()?;
        slot.lanes.begin(!slot.memory.is_empty());
        self.entries.clear();
        self.plan.clear();
        if slot.memory.is_empty() {
            add(&core.counters.received, batch.len() as u64);
        } else {
            match self.recall(core, batch, patience) {
                Recall::Known => {}
                Recall::Wait => return None,
                Recall::Unknown => return Some(Outcome::Later),
            }
        }
        let slot = self.slot.as_mut()?;
        let epoch = core.epoch();
        for index in 0..batch.len() {
            if self.entries.get(index).is_some_and(|entry| entry.fate.is_done()) {
                continue;
            }
            let (place, part) = lane(core, &mut slot.lanes, batch.target(index));
            let part = part.unwrap_or_else(|| {
                let part = self.plan.part(place);
                slot.lanes[place].part = part;
                part
            });
            self.plan.add(index, part);
        }
        let bounds = Bounds { records: core.config.chunk_records, bytes: core.config.chunk_bytes };
        self.plan.cut(bounds, |records| core.numbers(records), |index| batch.record(index).len());
        let pushed = self.sender.push(core, &mut slot.lanes, &mut self.plan, batch, epoch, patience);
        if pushed.is_ok() && self.plan.is_settled() {
            return Some(Outcome::Done);
        }
        self.park(core, core.epoch(), batch);
        if self.plan.is_settled() {
            return Some(Outcome::Done);
        }
        let open = |state| self.plan.chunks.iter().any(|chunk| chunk.state == state);
        let refused = !open(State::Open) && !core.parks() && core.config.on_refused == super::OnRefused::DeadLetter;
        // A single record that is refused never comes again.
        if !(refused && batch.len() == 1) {
            self.remember(core, batch);
        }
        Some(if refused { Outcome::Refused } else { Outcome::Later })
    }

    /// Holds the batch against what was turned away before.
    fn recall(&mut self, core: &Core, batch: &impl Batch, patience: Patience<'_>) -> Recall {
        let Some(slot) = self.slot.as_mut() else { return Recall::Unknown };
        if slot.memory.is_in_doubt() && self.sender.fence(core, slot, core.epoch(), patience).is_err() {
            turn_away(core, slot, batch, 0);
            return Recall::Unknown;
        }
        let (mut fresh, mut again) = (0, 0);
        for index in 0..batch.len() {
            let place = lane(core, &mut slot.lanes, batch.target(index)).0;
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

    /// Parks what Redis will never take, if there is a place for it.
    fn park(&mut self, core: &Core, epoch: Epoch, batch: &impl Batch) {
        let Some(slot) = self.slot.as_ref() else { return };
        if !core.parks() {
            return;
        }
        let refusal = self.sender.refusal.as_ref();
        for at in 0..self.plan.chunks.len() {
            let chunk = &self.plan.chunks[at];
            if chunk.state != State::Refused {
                continue;
            }
            let lane = &slot.lanes[chunk.lane];
            let detail = match (&lane.names, refusal) {
                (Err(why), _) => why.clone(),
                (Ok(_), Some(trouble)) => trouble.to_string(),
                (Ok(_), None) => String::new(),
            };
            let indexes = self.plan.indexes(chunk.places.clone());
            let records = indexes.zip(chunk.start + 1..).map(|(index, end)| (end, batch.record(index)));
            match core.park(&lane.list, &detail, epoch, records) {
                Ok(()) => self.plan.chunks[at].state = State::Settled,
                Err(error) => core.trouble(&Trouble::Away { text: format!("the dead letters: {error}") }),
            }
        }
    }

    /// Not everything is settled: notes what is known of each record.
    fn remember(&mut self, core: &Core, batch: &impl Batch) {
        let Some(slot) = self.slot.as_mut() else { return };
        if self.entries.is_empty() {
            for index in 0..batch.len() {
                let place = lane(core, &mut slot.lanes, batch.target(index)).0;
                let hash = hash(&slot.lanes[place].list, batch.record(index));
                self.entries.push(Entry::new(hash, Fate::Done));
            }
        } else {
            for entry in self.entries.iter_mut().filter(|entry| !entry.fate.is_done()) {
                *entry = entry.with(Fate::Done);
            }
        }
        for chunk in self.plan.chunks.iter().filter(|chunk| chunk.state != State::Settled) {
            let lane = &mut slot.lanes[chunk.lane];
            if chunk.doubt {
                lane.doubt.get_or_insert_with(Doubt::default);
                lane.known = false;
            }
            for (index, end) in self.plan.indexes(chunk.places.clone()).zip(chunk.start + 1..) {
                let fate = if chunk.doubt { Fate::Maybe { lane: chunk.lane, end } } else { Fate::Absent };
                self.entries[index] = self.entries[index].with(fate);
            }
        }
        slot.memory.put_back(self.entries.drain(..));
    }

    /// Hosts that ask again at once must not fill a processor.
    fn calm(&mut self) {
        if self.later.is_some_and(|last| last.elapsed() < CALM) {
            std::thread::sleep(CALM);
        }
        self.later = Some(Instant::now());
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
        let place = lane(core, &mut slot.lanes, batch.target(index)).0;
        let hash = hash(&slot.lanes[place].list, batch.record(index));
        near = slot.memory.turn_away(hash, near);
    }
}

/// The place of a record's lane in the table, and its part in this batch.
fn lane(core: &Core, lanes: &mut Lanes, target: Target<'_>) -> (usize, Option<u32>) {
    let list = &core.config.list;
    match target {
        Target::Main => lanes.find_numbered(0, || list.clone()),
        Target::Lane(number) => lanes.find_numbered(number as usize + 1, || format!("{list}:{number}")),
        Target::List(name) => lanes.find(name),
    }
}

impl Sender {
    fn ping(&mut self, core: &Core, names: &crate::push::Names, patience: Patience<'_>) -> Result<(), Setback> {
        let link = self.port.open(core, names, patience)?;
        let mut out = Vec::new();
        crate::push::command(&mut out, &["PING"]);
        let answered = link.send_within(&out, patience).and_then(|()| link.receive_within(patience));
        let trouble = match answered {
            Ok(Reply::Error { code, text }) => Trouble::Answered { code, text, connecting: true },
            Ok(_) => return Ok(()),
            Err(trouble) => trouble,
        };
        self.port.close();
        self.port.failed();
        Err(trouble.into())
    }
}
