//! What all workers of an outlet share.

use std::collections::HashMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::config::OutletConfig;
use super::drainer;
use super::plan::{Plan, State};
use super::share::Share;
use super::slot::{Lane, Lanes, Slot};
use super::spool::Spool;
use super::water::Water;
use super::{Batch, Login, OnRefused};
use crate::counters::{Counters, add};
use crate::dead_letter::{DeadLetters, Reason};
use crate::error::{Disposition, Trouble};
use crate::journal::{Lsn, Reader};
use crate::position::{Epoch, Position};
use crate::push::Names;

/// How it is with an outlet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The last push was taken, or nothing was pushed yet and the connection stands.
    pub connected: bool,
    /// Batches go into the spool.
    pub spooling: bool,
    /// A person is needed: nothing is pushed until [`hup`](super::Outlet::hup).
    pub stopped: bool,
    /// What went wrong last.
    pub last_error: String,
    /// When, in seconds of the Unix epoch.
    pub last_error_time: u64,
    /// Why records are held back although Redis answers: a list is too long, or there is no memory. Empty if they are not.
    pub held_back: String,
}

pub(super) struct Core {
    pub config: OutletConfig,
    pub login: Login,
    pub counters: Arc<Counters>,
    pub share: Share,
    /// Grows when all connections are to be made anew.
    pub generation: AtomicU64,
    pub stopping: AtomicBool,
    /// One more than the generation in which something happened that a person has to look at; 0 if nothing did.
    stopped: AtomicU64,
    epoch: AtomicU64,
    spool: OnceLock<Arc<Spool>>,
    /// The spool takes nothing.
    spool_full: AtomicBool,
    /// What went wrong with the spool's folder last.
    spool_said: Mutex<String>,
    /// Wakes the drainer out of a pause.
    turn: Mutex<bool>,
    wake: Condvar,
    slots: Mutex<Slots>,
    /// Numbers for records that never got into a batch.
    aside: AtomicU64,
    /// There is trouble that was told.
    troubled: AtomicBool,
    telling: Mutex<Telling>,
    letters: Mutex<Option<DeadLetters>>,
    /// Lists that are held back.
    pub water: Water,
}

#[derive(Default)]
struct Slots {
    free: Vec<Slot>,
    made: u16,
}

/// That a list takes nothing is said again after this time.
const REFUSED_AGAIN: Duration = Duration::from_secs(600);
/// Two such lines do not follow each other faster.
const REFUSED_PACE: Duration = Duration::from_secs(10);
/// So many lists are known to take nothing.
const REFUSED_LISTS: usize = 1024;

/// What was said last: one line per change.
#[derive(Default)]
struct Telling {
    class: String,
    since: Option<Instant>,
    failures: u64,
    /// Lists that take nothing, and when that was said of each.
    refused: HashMap<String, Instant>,
    refused_last: Option<Instant>,
    policy: String,
    health: Health,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Core {
    pub fn new(config: OutletConfig, login: Login, share: Share) -> Self {
        Self {
            water: Water::new(config.max_length),
            config,
            login,
            counters: Arc::clone(&share.counters),
            share,
            generation: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            stopped: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            spool: OnceLock::new(),
            spool_full: AtomicBool::new(false),
            spool_said: Mutex::default(),
            turn: Mutex::default(),
            wake: Condvar::new(),
            slots: Mutex::default(),
            aside: AtomicU64::new(0),
            troubled: AtomicBool::new(false),
            telling: Mutex::default(),
            letters: Mutex::default(),
        }
    }

    /// Begins an epoch and opens the spool, if there is one.
    pub fn start(&self) -> Option<Reader> {
        let reader = self.open_spool();
        self.epoch();
        reader
    }

    /// Opens the spool, if there is one and it is not open. `None` also if it cannot be: one log line per reason.
    pub fn open_spool(&self) -> Option<Reader> {
        let mut said = lock(&self.spool_said);
        if self.spool.get().is_some() {
            return None;
        }
        match drainer::open(self) {
            Ok(opened) => {
                let (journal, reader) = opened?;
                said.clear();
                let epoch = journal.epoch();
                log::info!("{}: {} records in the spool", self.config.name, journal.records());
                let _ = self.spool.set(Arc::new(Spool::new(journal)));
                self.epoch.store(epoch.0, Release);
                Some(reader)
            }
            Err(error) => {
                let text = error.to_string();
                if *said != text {
                    log::error!("{}: there is no spool for now: {text}", self.config.name);
                    *said = text;
                }
                None
            }
        }
    }

    /// The spool took a batch, or did not for this reason. One line per change.
    pub fn spool_takes(&self, trouble: Option<&str>) {
        if trouble.is_none() && !self.spool_full.load(Relaxed) {
            return;
        }
        let was = self.spool_full.swap(trouble.is_some(), Relaxed);
        let name = &self.config.name;
        match trouble {
            Some(text) => {
                let mut telling = lock(&self.telling);
                text.clone_into(&mut telling.health.last_error);
                telling.health.last_error_time = unix_seconds();
                if !was {
                    log::error!("{name}: batches are turned away: {text}");
                }
            }
            None => log::info!("{name}: the spool takes batches again"),
        }
    }

    /// The spool, if it is open.
    pub fn spool(&self) -> Option<&Arc<Spool>> {
        self.spool.get()
    }

    /// The epoch of this life. Without a spool nothing tells the lives of a producer apart but chance.
    pub fn epoch(&self) -> Epoch {
        if self.epoch.load(Relaxed) == 0 {
            let fresh = Epoch::after(None, unix_seconds(), fastrand::u32(..)).0;
            let _ = self.epoch.compare_exchange(0, fresh, Relaxed, Relaxed);
        }
        Epoch(self.epoch.load(Acquire))
    }

    /// Puts a slot into the present epoch. Nothing of it may be in doubt.
    pub fn adopt_epoch(&self, slot: &mut Slot) {
        // The spool is set before its epoch is.
        let epoch = self.epoch();
        if slot.epoch == epoch {
            return;
        }
        slot.epoch = epoch;
        // Cursors that say how much of a spool was drained must stay until it can be read: without it the slot has others.
        slot.bare = self.config.journal.is_some() && self.spool().is_none_or(|spool| spool.journal.epoch() != epoch);
        slot.lanes = Lanes::default();
        slot.lanes.begin(true);
        if let Some(spool) = self.spool() {
            slot.spooled = slot.spooled.max(Some(spool.opened)).filter(|lsn| *lsn > Lsn(0));
        }
    }

    /// Waits so long, or until something happens that the drainer has to look at.
    pub fn pause(&self, limit: Duration) {
        let turn = lock(&self.turn);
        let mut turn =
            self.wake.wait_timeout_while(turn, limit, |woken| !*woken).unwrap_or_else(PoisonError::into_inner).0;
        *turn = false;
    }

    /// Ends a pause of the drainer.
    pub fn nudge(&self) {
        *lock(&self.turn) = true;
        self.wake.notify_all();
        if let Some(spool) = self.spool() {
            spool.journal.nudge();
        }
    }

    /// A person is needed.
    pub fn stand(&self, why: &str) {
        let mut telling = lock(&self.telling);
        telling.health.stopped = true;
        why.clone_into(&mut telling.health.last_error);
        telling.health.last_error_time = unix_seconds();
    }

    /// A person has looked at it.
    pub fn stand_no_more(&self) {
        lock(&self.telling).health.stopped = false;
    }

    /// True if nothing is to be pushed until a person has looked at it and sent a HUP.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed) == self.generation.load(Relaxed) + 1
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Keys to ask a connection with. Whoever has no list of its own asks with any.
    pub fn names(&self, slot: u16) -> Option<Names> {
        let list = if self.config.list.is_empty() { "x" } else { &self.config.list };
        Names::new(list, &format!("{}:{slot}", self.config.producer)).ok()
    }

    /// The lowest free slot.
    pub fn take_slot(&self) -> Slot {
        let mut slots = lock(&self.slots);
        let lowest = (0..slots.free.len()).min_by_key(|at| slots.free[*at].number);
        if let Some(at) = lowest {
            return slots.free.swap_remove(at);
        }
        let number = slots.made;
        // The last number is that of records that never got into a batch.
        slots.made = number.checked_add(1).expect("no host has 65535 workers at a time");
        Slot::new(number)
    }

    /// The most workers that there were at a time.
    pub fn workers(&self) -> usize {
        usize::from(lock(&self.slots).made)
    }

    pub fn give_back(&self, slot: Slot) {
        lock(&self.slots).free.push(slot);
    }

    pub fn health(&self) -> Health {
        let mut health = lock(&self.telling).health.clone();
        health.held_back = self.water.why();
        health.spooling = self.spool().is_some_and(|spool| spool.is_away() || !spool.journal.is_empty());
        health
    }

    /// Something went wrong with Redis.
    pub fn trouble(&self, trouble: &Trouble) {
        add(&self.counters.retries, 1);
        self.share.set_connected(false);
        self.water.memory(trouble.class() == "OOM", &self.share);
        let mut telling = lock(&self.telling);
        let stopped = trouble.disposition() == Disposition::StopLane;
        if stopped {
            self.stopped.store(self.generation.load(Relaxed) + 1, Relaxed);
        }
        telling.failures += 1;
        telling.health.connected = false;
        telling.health.stopped |= stopped;
        telling.health.last_error = trouble.to_string();
        telling.health.last_error_time = unix_seconds();
        telling.since.get_or_insert_with(Instant::now);
        if telling.class != trouble.class() {
            trouble.class().clone_into(&mut telling.class);
            let name = &self.config.name;
            if stopped {
                log::error!("{name}: {trouble}: nothing is pushed until HUP or a restart");
            } else {
                log::warn!("{name}: redis takes nothing: {trouble}");
            }
        }
        self.troubled.store(true, Relaxed);
    }

    /// Redis has taken a push, or answers after it did not.
    pub fn well(&self) {
        if !self.troubled.load(Relaxed) && self.share.is_connected() {
            return;
        }
        self.share.set_connected(true);
        self.water.memory(false, &self.share);
        self.troubled.store(false, Relaxed);
        let mut telling = lock(&self.telling);
        telling.health.connected = true;
        telling.health.stopped = false;
        telling.class.clear();
        let failures = std::mem::take(&mut telling.failures);
        match telling.since.take() {
            Some(since) => log::info!(
                "{}: redis is back after {:.1} s and {failures} attempts",
                self.config.name,
                since.elapsed().as_secs_f64()
            ),
            None => log::info!("{}: connected to redis", self.config.name),
        }
    }

    /// Lists that took nothing may take something now: it is worth a line if they do not.
    pub fn forget_refused(&self) {
        lock(&self.telling).refused.clear();
    }

    /// Redis takes no records into this list. One line per list now and then, and one per ten seconds.
    pub fn refused(&self, list: &str, records: usize, trouble: &Trouble) {
        let mut telling = lock(&self.telling);
        telling.health.last_error = trouble.to_string();
        telling.health.last_error_time = unix_seconds();
        let said = telling.refused.get(list).is_some_and(|when| when.elapsed() < REFUSED_AGAIN);
        if said || telling.refused_last.is_some_and(|when| when.elapsed() < REFUSED_PACE) {
            return;
        }
        if telling.refused.len() >= REFUSED_LISTS {
            telling.refused.clear();
        }
        telling.refused.insert(list.to_owned(), Instant::now());
        telling.refused_last = Some(Instant::now());
        let fate = match self.config.on_refused {
            OnRefused::Hold => "they wait",
            OnRefused::DeadLetter if self.parks() => "they become dead letters",
            OnRefused::DeadLetter => "they are refused",
        };
        log::error!("{}: redis takes no records into {list:?}, {records} now, {fate}: {trouble}", self.config.name);
    }

    /// The eviction policy may drop cursors. One line per change.
    pub fn say_policy(&self, policy: &str) {
        let mut telling = lock(&self.telling);
        if telling.policy != policy {
            policy.clone_into(&mut telling.policy);
            log::error!(
                "{}: redis' maxmemory-policy is {policy}: it may drop records and cursors; set noeviction",
                self.config.name
            );
        }
    }

    /// A place for a record that never got into a batch. No slot has it.
    pub fn aside(&self) -> Position {
        let offset = Slot::new(u16::MAX).numbers(1).offset + self.aside.fetch_add(1, Relaxed);
        Position { epoch: self.epoch(), offset }
    }

    /// True if refused records are parked.
    pub fn parks(&self) -> bool {
        self.config.on_refused == OnRefused::DeadLetter && self.config.letters().is_some()
    }

    /// Parks records, all or none; the first of them stands at `first`.
    pub fn park<'a>(
        &self,
        list: &str,
        detail: &str,
        first: Position,
        records: impl Iterator<Item = &'a [u8]>,
    ) -> std::io::Result<()> {
        let mut letters = lock(&self.letters);
        let letters = self.open_letters(&mut letters)?;
        let ends = (first.offset + 1..).map(|offset| Position { offset, ..first });
        let fresh = letters.write_all(Reason::Refused, list, detail, ends.zip(records), unix_seconds())?;
        add(&self.counters.dead_letters, fresh);
        Ok(())
    }

    /// Parks what of the plan Redis will never take, if that is wanted. `why` tells it of a lane.
    pub fn park_refused(&self, plan: &mut Plan, lanes: &Lanes, why: impl Fn(&Lane) -> String, batch: &impl Batch) {
        if !self.parks() {
            return;
        }
        for at in 0..plan.chunks.len() {
            let chunk = &plan.chunks[at];
            if chunk.state != State::Refused {
                continue;
            }
            let lane = &lanes[chunk.lane];
            let records = plan.indexes(chunk.places.clone()).map(|index| batch.record(index));
            match self.park(&lane.list, &why(lane), chunk.begin(), records) {
                Ok(()) => plan.chunks[at].state = State::Settled,
                Err(error) => self.trouble(&Trouble::Away { text: format!("the dead letters: {error}") }),
            }
        }
    }

    /// The ends of the records behind `from`, up to `to`, that are parked.
    pub fn parked_between(&self, from: Position, to: Position) -> Vec<u64> {
        let letters = lock(&self.letters);
        let letters = letters.as_ref().map(|letters| letters.refused_between(from, to));
        letters.into_iter().flatten().map(|end| end.offset).collect()
    }

    /// The drainer begins with a frame of this epoch: what of it was parked in an earlier life is looked up.
    pub fn look_up_letters(&self, epoch: Epoch) -> std::io::Result<()> {
        if !self.parks() {
            return Ok(());
        }
        let mut letters = lock(&self.letters);
        self.open_letters(&mut letters)?.resume(Position::start(epoch))
    }

    /// Everything was drained: what of it was parked is not asked for any more.
    pub fn forget_letters(&self) {
        if let Some(letters) = &mut *lock(&self.letters) {
            letters.forget_refused();
        }
    }

    fn open_letters<'a>(&self, letters: &'a mut Option<DeadLetters>) -> std::io::Result<&'a mut DeadLetters> {
        match letters {
            Some(letters) => Ok(letters),
            none => {
                let folder = self.config.letters().ok_or_else(|| std::io::Error::other("there is no folder"))?;
                Ok(none.insert(DeadLetters::open(folder, true)?.of(&self.config.mode)))
            }
        }
    }
}
