//! The spool as all threads of an outlet see it.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::core::lock;
use crate::journal::{Journal, Lsn};

/// How often a wait looks up.
const SLICE: Duration = Duration::from_millis(20);
/// The age of the backlog is known to this precision.
const AGES: Duration = Duration::from_millis(500);

/// Changes of the way are told no more often than this.
const TELL: Duration = Duration::from_secs(2);

/// A journal, and what its users tell each other.
pub(super) struct Spool {
    pub journal: Arc<Journal>,
    /// What was in it when it was opened ends here. It may be of any slot.
    pub opened: Lsn,
    /// Redis is believed to take nothing, or too slowly.
    away: AtomicBool,
    /// Somebody waits for something to be drained.
    waiting: AtomicBool,
    drained: Condvar,
    turn: Mutex<()>,
    ages: Mutex<VecDeque<(Lsn, Instant)>>,
    /// When a change of the way was last told.
    told: Mutex<Option<Instant>>,
}

impl Spool {
    pub fn new(journal: Arc<Journal>) -> Self {
        Self {
            opened: journal.end(),
            journal,
            away: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            drained: Condvar::new(),
            turn: Mutex::new(()),
            ages: Mutex::default(),
            told: Mutex::default(),
        }
    }

    pub fn is_away(&self) -> bool {
        self.away.load(Relaxed)
    }

    /// Redis takes nothing, or not in time.
    pub fn set_away(&self, name: &str) {
        if !self.away.swap(true, Relaxed) {
            // The drainer finds out when it is over.
            self.journal.nudge();
            if self.may_tell() {
                log::warn!("{name}: batches go into the spool");
            }
        }
    }

    /// Redis takes pushes in good time.
    pub fn set_back(&self, name: &str) {
        if self.away.load(Relaxed) && self.away.swap(false, Relaxed) && self.may_tell() {
            log::info!("{name}: redis takes batches again, {} records are left in the spool", self.journal.records());
        }
    }

    /// A Redis that comes and goes must not fill the log.
    fn may_tell(&self) -> bool {
        let mut told = lock(&self.told);
        let may = told.is_none_or(|when| when.elapsed() >= TELL);
        if may {
            *told = Some(Instant::now());
        }
        may
    }

    /// Everything up to `lsn` was drained.
    pub fn is_drained(&self, lsn: Lsn) -> bool {
        self.journal.released() >= lsn
    }

    /// Waits until everything up to `lsn` was drained, `limit` has passed, Redis goes away, or `interrupted` says so. True if it was.
    pub fn wait_drained(&self, lsn: Lsn, limit: Duration, interrupted: &dyn Fn() -> bool) -> bool {
        let until = Instant::now() + limit;
        let mut turn = lock(&self.turn);
        loop {
            self.waiting.store(true, Relaxed);
            if self.is_drained(lsn) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_away() || interrupted() {
                return false;
            }
            turn = self.drained.wait_timeout(turn, left.min(SLICE)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Frames were appended up to `lsn`.
    pub fn appended(&self, lsn: Lsn) {
        let mut ages = lock(&self.ages);
        if ages.back().is_none_or(|(_, when)| when.elapsed() >= AGES) {
            ages.push_back((lsn, Instant::now()));
        }
    }

    /// Frames were released.
    pub fn released(&self) {
        if self.waiting.swap(false, Relaxed) {
            drop(lock(&self.turn));
            self.drained.notify_all();
        }
    }

    /// Age of the oldest frame that waits.
    pub fn age(&self) -> Duration {
        let released = self.journal.released();
        let mut ages = lock(&self.ages);
        if self.journal.is_empty() {
            ages.clear();
        }
        // A frame is as old as the last note before it.
        while ages.get(1).is_some_and(|(lsn, _)| *lsn <= released) {
            ages.pop_front();
        }
        ages.front().map_or(Duration::ZERO, |(_, when)| when.elapsed())
    }
}
