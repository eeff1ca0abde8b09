//! What all workers of an outlet share.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::config::OutletConfig;
use super::slot::Slot;
use super::{Login, OnRefused};
use crate::counters::{Counters, add};
use crate::dead_letter::{DeadLetters, Reason};
use crate::error::{Disposition, Trouble};
use crate::position::{Epoch, Position};

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
}

pub(super) struct Core {
    pub config: OutletConfig,
    pub login: Login,
    pub counters: Arc<Counters>,
    /// Grows when all connections are to be made anew.
    pub generation: AtomicU64,
    pub stopping: AtomicBool,
    epoch: AtomicU64,
    /// The number of the next record, of all slots: no two records of an epoch have the same.
    numbers: AtomicU64,
    slots: Mutex<Slots>,
    /// There is trouble that was told.
    troubled: AtomicBool,
    telling: Mutex<Telling>,
    letters: Mutex<Option<DeadLetters>>,
}

#[derive(Default)]
struct Slots {
    free: Vec<Slot>,
    made: u16,
}

/// What was said last: one line per change.
#[derive(Default)]
struct Telling {
    class: String,
    since: Option<Instant>,
    failures: u64,
    refused: Option<(String, Instant)>,
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
    pub fn new(config: OutletConfig, login: Login) -> Self {
        Self {
            config,
            login,
            counters: Arc::default(),
            generation: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            numbers: AtomicU64::new(0),
            slots: Mutex::default(),
            troubled: AtomicBool::new(false),
            telling: Mutex::default(),
            letters: Mutex::default(),
        }
    }

    pub fn start(&self) {
        // Without a spool nothing tells the lives of a producer apart but chance.
        let fresh = Epoch::after(None, unix_seconds(), fastrand::u32(..)).0;
        let _ = self.epoch.compare_exchange(0, fresh, Relaxed, Relaxed);
    }

    pub fn epoch(&self) -> Epoch {
        if self.epoch.load(Relaxed) == 0 {
            self.start();
        }
        Epoch(self.epoch.load(Relaxed))
    }

    /// Numbers for so many records: the first of them.
    pub fn numbers(&self, records: usize) -> u64 {
        self.numbers.fetch_add(records as u64, Relaxed)
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// The lowest free slot.
    pub fn take_slot(&self) -> Slot {
        let mut slots = lock(&self.slots);
        let lowest = (0..slots.free.len()).min_by_key(|at| slots.free[*at].number);
        if let Some(at) = lowest {
            return slots.free.swap_remove(at);
        }
        let number = slots.made;
        slots.made = slots.made.checked_add(1).expect("no host has 65536 workers at a time");
        Slot::new(number, &self.config.producer)
    }

    pub fn give_back(&self, slot: Slot) {
        lock(&self.slots).free.push(slot);
    }

    pub fn health(&self) -> Health {
        lock(&self.telling).health.clone()
    }

    /// Something went wrong with Redis.
    pub fn trouble(&self, trouble: &Trouble) {
        add(&self.counters.retries, 1);
        self.counters.connected.store(0, Relaxed);
        let mut telling = lock(&self.telling);
        let stopped = trouble.disposition() == Disposition::StopLane;
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
        if !self.troubled.load(Relaxed) && self.counters.connected.load(Relaxed) == 1 {
            return;
        }
        self.counters.connected.store(1, Relaxed);
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

    /// Redis takes no records into this list. One line per list, or per ten seconds.
    pub fn refused(&self, list: &str, records: usize, trouble: &Trouble) {
        let mut telling = lock(&self.telling);
        telling.health.last_error = trouble.to_string();
        telling.health.last_error_time = unix_seconds();
        if telling.refused.as_ref().is_some_and(|(said, when)| said == list || when.elapsed().as_secs() < 10) {
            return;
        }
        telling.refused = Some((list.to_owned(), Instant::now()));
        let fate = match self.config.on_refused {
            OnRefused::Hold => "they wait",
            OnRefused::DeadLetter if self.config.dead_letters.is_some() => "they become dead letters",
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

    /// True if refused records are parked.
    pub fn parks(&self) -> bool {
        self.config.on_refused == OnRefused::DeadLetter && self.config.dead_letters.is_some()
    }

    /// Parks records that end at these numbers.
    pub fn park<'a>(
        &self,
        list: &str,
        detail: &str,
        epoch: Epoch,
        records: impl Iterator<Item = (u64, &'a [u8])>,
    ) -> std::io::Result<()> {
        let mut letters = lock(&self.letters);
        let folder = self.config.dead_letters.as_ref().ok_or_else(|| std::io::Error::other("no folder"))?;
        let letters = match &mut *letters {
            Some(letters) => letters,
            none => none.insert(DeadLetters::open(folder, true)?),
        };
        let now = unix_seconds();
        for (offset, record) in records {
            if letters.write(Reason::Refused, list, detail, (Position { epoch, offset }, record), now)? {
                add(&self.counters.dead_letters, 1);
            }
        }
        Ok(())
    }
}
