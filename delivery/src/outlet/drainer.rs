//! The thread that brings the spool into Redis, in order.
//!
//! It takes a window of frames and pushes it until all of it is in Redis or parked; then the frames are released. A window that was
//! in Redis already, because an earlier life or a lost answer left it there, is recognised by the cursors of its lanes. Lists that
//! are held (`held.rs`) are passed by.
//!
//! A panic costs no record: it is caught, and everything begins anew at the first frame that is not released.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::core::{Core, unix_seconds};
use super::held::Held;
use super::mishap::{self, Mishaps, Next};
use super::plan::Plan;
use super::push::{Sender, Setback};
use super::slot::Lanes;
use super::spool::Spool;
use super::window::Window;
use crate::fault::{self, Place};
use crate::journal::{Journal, Lsn, Reader};
use crate::spool::Sync;
use crate::wire::Patience;

/// How often a folder that cannot be used is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// An interval of syncs, and a wait for a list that is held, is kept down to this.
const SHORTEST: Duration = Duration::from_millis(10);
/// How long it sleeps when there is nothing to do.
const IDLE: Duration = Duration::from_millis(500);

mod intake;
mod passed;

use self::intake::Load;

pub(super) struct Drainer {
    core: Arc<Core>,
    sender: Sender,
    lanes: Lanes,
    /// What is new.
    front: Load,
    /// What was passed by.
    back: Load,
    held: Held,
    /// Lanes that are behind had their turn.
    turn: bool,
    /// What is known of dead letters was looked up.
    letters: bool,
    /// Files could not be freed, and that was told.
    unreleased: bool,
    /// The last frame that was taken in.
    looked_at: Lsn,
    /// The last frame of which everything is settled or held.
    passed: Lsn,
    key: String,
    said: String,
    /// A frame that is not understood was met: nothing behind it may be drained, and it must not be released.
    strange: Option<String>,
}

impl Drainer {
    pub fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            sender: Sender::of_the_drainer(),
            lanes: Lanes::default(),
            front: Load::default(),
            back: Load::default(),
            held: Held::default(),
            turn: false,
            letters: false,
            unreleased: false,
            looked_at: Lsn(0),
            passed: Lsn(0),
            key: String::new(),
            said: String::new(),
            strange: None,
        }
    }

    /// Works until the outlet stops.
    pub fn run(mut self, reader: Option<Reader>) {
        let core = Arc::clone(&self.core);
        let mut mishaps = Mishaps::default();
        let Some(mut reader) = reader.or_else(|| self.open()) else { return };
        let Some(spool) = core.spool().cloned() else { return };
        // The generation in which it stands still.
        let mut standing = None;
        while !core.is_stopping() {
            if standing.is_some_and(|generation| generation == core.generation.load(Relaxed)) {
                spool.journal.tick();
                core.pause(paced(IDLE, &spool));
                continue;
            }
            if standing.take().is_some() {
                mishaps.forget();
                core.stand_no_more();
            }
            // Nothing that may be half done outlives it: the drainer and its place in the journal are made anew below, and what all
            // threads share is behind locks that expect it.
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn(&spool, &mut reader)));
            let pause = match turn {
                Ok(pause) => pause,
                Err(panic) => {
                    let site = (spool.journal.released(), self.front.window.first);
                    let next = mishaps.next(site);
                    self.complain(mishap::text(panic.as_ref()), mishaps.count, next);
                    if next == Next::StandStill {
                        standing = Some(core.generation.load(Relaxed));
                    }
                    reader.rewind();
                    self = Self::new(Arc::clone(&core));
                    Some(RETRY)
                }
            };
            if let Some(pause) = pause {
                core.pause(paced(pause, &spool));
            }
        }
        spool.journal.flush();
    }

    fn turn(&mut self, spool: &Arc<Spool>, reader: &mut Reader) -> Option<Duration> {
        let pause = self.step(spool, reader);
        self.gauges(spool);
        // What was appended last is synced in time also while nothing can be drained.
        spool.journal.tick();
        pause
    }

    /// A panic was caught. One line each: there is a pause behind each, and the second one at a place is the last.
    fn complain(&self, panic: &str, count: u32, next: Next) {
        let name = &self.core.config.name;
        match next {
            Next::StartOver => {
                log::error!("{name}: internal error {count} while draining the spool, it starts over: {panic}");
            }
            Next::StandStill => {
                log::error!(
                    "{name}: internal error {count} while draining the spool, at the same place as before: nothing is drained until \
                     HUP or a restart, what is in the spool stays there and batches go on into it: {panic}"
                );
                self.core.stand(panic);
            }
        }
    }

    /// The folder could not be used at the start: tries until it can.
    fn open(&mut self) -> Option<Reader> {
        while !self.core.is_stopping() {
            self.core.pause(RETRY);
            if let Some(reader) = self.core.open_spool() {
                return Some(reader);
            }
        }
        None
    }

    /// Does what is next. Returns how long to wait before the step after it.
    fn step(&mut self, spool: &Arc<Spool>, reader: &mut Reader) -> Option<Duration> {
        // What is acknowledged by now is read, or passed over because it is damaged, before there is nothing left to read.
        let end = spool.journal.end();
        self.try_held(spool);
        // In turn with what is new: neither has to wait for all of the other.
        if !std::mem::replace(&mut self.turn, false)
            && let Some(from) = self.held.lacks_from()
        {
            self.turn = true;
            return self.catch_up(spool, reader, from);
        }
        if self.front.window.last.is_none() && !self.held.is_full(spool.journal.given_out()) {
            match self.fill(reader) {
                Ok(()) => self.said.clear(),
                Err(text) => {
                    tell(&mut self.said, &self.core, &text);
                    return self.held.lacks_from().is_none().then_some(RETRY);
                }
            }
        }
        let Some(last) = self.front.window.last else { return self.rest(spool, end) };
        let core = Arc::clone(&self.core);
        let begun = Instant::now();
        let Load { window, plan } = &mut self.front;
        let pushed = match plan.is_settled() {
            true => Ok(()),
            false => push(&mut self.sender, &core, &mut self.lanes, plan, window),
        };
        let load = std::mem::take(&mut self.front);
        let goes_on = load.plan.is_settled() || pushed.is_ok() && self.hold(&load);
        self.front = load;
        if !goes_on {
            let wait = self.wait(pushed.is_ok(), core.water.holds(&self.front.plan));
            // What is refused or held is tried again like anything else that failed.
            self.front.plan.reopen();
            return Some(wait);
        }
        fault::pass(Place::OutletBeforeRelease);
        self.passed = last;
        self.release(spool, self.held.release(last));
        fault::pass(Place::OutletAfterRelease);
        self.front.window.clear();
        spool.released();
        if begun.elapsed() < core.config.delay {
            spool.set_back(&core.config.name);
        }
        None
    }

    /// Not all of a load was settled, and what is not cannot be passed by: how long to wait. `answered`: Redis has spoken of all of it;
    /// `held`: nothing but the length of lists is in the way, for so long.
    fn wait(&mut self, answered: bool, held: Option<Duration>) -> Duration {
        if answered {
            if let Some(wait) = held {
                return wait;
            }
            self.sender.port.failed();
        }
        if self.core.is_stopped() { IDLE } else { self.sender.port.wait() }
    }

    /// Nothing is there that could be pushed.
    fn rest(&mut self, spool: &Arc<Spool>, end: Lsn) -> Option<Duration> {
        if self.held.is_empty() {
            return self.idle(spool, end);
        }
        if self.held.lacks_from().is_some() {
            return None;
        }
        let now = Instant::now();
        let wait = match self.core.is_stopped() {
            true => IDLE,
            false => self.held.wait(now, |list| self.core.water.wait(list, now)).max(self.sender.port.wait()),
        };
        let wait = wait.clamp(SHORTEST, IDLE);
        if self.held.is_full(spool.journal.given_out()) {
            return Some(wait);
        }
        spool.journal.wait(end, wait);
        None
    }

    fn release(&mut self, spool: &Spool, lsn: Lsn) {
        match spool.journal.release(lsn) {
            Ok(()) => self.unreleased = false,
            Err(error) if !std::mem::replace(&mut self.unreleased, true) => {
                log::warn!("{}: room in the spool is not freed: {error}", self.core.config.name);
            }
            Err(_) => {}
        }
    }

    /// Nothing to drain: finds out whether Redis is back, or sleeps.
    fn idle(&mut self, spool: &Spool, end: Lsn) -> Option<Duration> {
        // Workers push now.
        self.lanes.forget_tips();
        let core = Arc::clone(&self.core);
        if !spool.is_drained(end) {
            self.release(spool, end);
        }
        core.forget_letters();
        if !spool.is_away() {
            spool.journal.wait(end, IDLE);
            return None;
        }
        if core.is_stopped() {
            return Some(IDLE);
        }
        let interrupted = || core.is_stopping();
        let begun = Instant::now();
        let patience = Patience { deadline: begun + core.config.timeout, interrupted: &interrupted };
        // The keys of a worker.
        let Some(names) = core.names(0) else { return Some(IDLE) };
        match self.sender.try_out(&core, &names, core.config.one_list, patience) {
            Ok(_) if begun.elapsed() < core.config.delay => {
                spool.set_back(&core.config.name);
                None
            }
            Ok(_) => Some(IDLE),
            Err(Setback::NotYet) => Some(self.sender.port.wait().min(IDLE)),
            Err(Setback::Trouble(trouble)) => {
                core.trouble(&trouble);
                Some(self.sender.port.wait().min(IDLE))
            }
        }
    }

    fn gauges(&self, spool: &Spool) {
        self.core.share.set_spool(spool.journal.bytes(), spool.age().as_millis() as u64);
    }
}

fn push(sender: &mut Sender, core: &Core, lanes: &mut Lanes, plan: &mut Plan, window: &Window) -> Result<(), Setback> {
    let interrupted = || core.is_stopping();
    let patience = Patience { deadline: Instant::now() + core.config.timeout, interrupted: &interrupted };
    sender.push(core, lanes, plan, window, patience)
}

/// A pause in which no interval of syncs is missed.
fn paced(pause: Duration, spool: &Spool) -> Duration {
    match spool.journal.config().sync {
        Sync::Interval(interval) => pause.min(interval.max(SHORTEST)),
        Sync::Always | Sync::Never => pause,
    }
}

/// One line per change of what keeps the spool from being drained.
fn tell(said: &mut String, core: &Core, text: &str) {
    if said != text {
        text.clone_into(said);
        log::error!("{}: nothing is drained: {text}", core.config.name);
    }
}

/// Opens the journal of `core`.
pub(super) fn open(core: &Core) -> Result<Option<(Arc<Journal>, Reader)>, crate::journal::JournalError> {
    let Some(config) = &core.config.journal else { return Ok(None) };
    Journal::open(config.clone(), unix_seconds()).map(Some)
}
