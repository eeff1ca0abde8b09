//! The thread that brings the spool into Redis, in order.
//!
//! It takes a window of frames and pushes it until all of it is in Redis or parked; then the frames are released. A window that was
//! in Redis already, because an earlier life or a lost answer left it there, is recognised by the cursors of its lanes. Lists that
//! are held (`held.rs`) are passed by.
//!
//! A panic costs no record: it is caught, and everything begins anew at the first frame that is not released.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::core::{Core, unix_seconds};
use super::held::{Head, Held, key_of, lane_of};
use super::mishap::{self, Mishaps, Next};
use super::plan::{Plan, State};
use super::push::{Sender, Setback};
use super::slot::Lanes;
use super::spool::Spool;
use super::window::{self, Window};
use super::{Batch, OnRefused, water};
use crate::fault::{self, Place};
use crate::journal::frame::{self, Malformed};
use crate::journal::{Journal, Lsn, Reader};
use crate::position::Position;
use crate::spool::Sync;
use crate::wire::Patience;

/// How often a folder that cannot be used is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// An interval of syncs is kept down to this.
const SHORTEST: Duration = Duration::from_millis(10);
/// How long it sleeps when there is nothing to do.
const IDLE: Duration = Duration::from_millis(500);

pub(super) struct Drainer {
    core: Arc<Core>,
    sender: Sender,
    lanes: Lanes,
    plan: Plan,
    window: Window,
    held: Held,
    /// What is known of dead letters was looked up.
    letters: bool,
    /// Files could not be freed, and that was told.
    unreleased: bool,
    /// The last frame that was taken in.
    looked_at: Lsn,
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
            plan: Plan::default(),
            window: Window::default(),
            held: Held::default(),
            letters: false,
            unreleased: false,
            looked_at: Lsn(0),
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
                    let site = (spool.journal.released(), self.window.first);
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
        if self.held.is_due(Instant::now()) {
            self.try_held(spool, reader);
        }
        if self.window.last.is_none() && !self.held.is_full(spool.journal.given_out()) {
            match self.fill(reader) {
                Ok(()) => self.said.clear(),
                Err(text) => {
                    tell(&mut self.said, &self.core, &text);
                    return Some(RETRY);
                }
            }
        }
        let Some(last) = self.window.last else { return self.rest(spool, end) };
        let core = Arc::clone(&self.core);
        let begun = Instant::now();
        let pushed = match self.plan.is_settled() {
            true => Ok(()),
            false => push(&mut self.sender, &core, &mut self.lanes, &mut self.plan, &self.window),
        };
        if let (Ok(()), Some(wait)) = (&pushed, core.water.holds(&self.plan)) {
            self.plan.reopen();
            return Some(wait);
        }
        let goes_on = self.plan.is_settled() || pushed.is_ok() && self.hold();
        if !goes_on {
            // What is refused is tried again like anything else that failed.
            self.plan.reopen();
            if pushed.is_ok() {
                self.sender.port.failed();
            }
            return Some(if core.is_stopped() { IDLE } else { self.sender.port.wait() });
        }
        self.held.note_settled(&self.lanes, &self.plan);
        fault::pass(Place::OutletBeforeRelease);
        let upto = self.held.release(last);
        self.release(spool, upto);
        fault::pass(Place::OutletAfterRelease);
        self.window.clear();
        spool.released();
        if begun.elapsed() < core.config.delay {
            spool.set_back(&core.config.name);
        }
        None
    }

    /// Nothing is there that could be pushed.
    fn rest(&mut self, spool: &Arc<Spool>, end: Lsn) -> Option<Duration> {
        if self.held.is_empty() {
            return self.idle(spool, end);
        }
        let wait = self.held.wait(Instant::now()).min(IDLE);
        if self.held.is_full(spool.journal.given_out()) {
            return Some(wait);
        }
        spool.journal.wait(end, wait);
        None
    }

    /// Everything of the window is settled but what was refused: its lanes wait, the others go on. False if all have to wait.
    fn hold(&mut self) -> bool {
        if self.core.config.on_refused != OnRefused::Hold {
            return false;
        }
        let Some(frame) = self.window.first else { return false };
        let mut heads: Vec<(Box<str>, Head)> = Vec::new();
        let mut seen = HashSet::new();
        for chunk in self.plan.chunks.iter().filter(|chunk| chunk.state != State::Settled) {
            if seen.insert(chunk.lane)
                && let Some(first) = self.plan.indexes(chunk.places.clone()).next()
            {
                let record = self.window.record(first).to_vec();
                heads.push((self.lanes[chunk.lane].key().into(), Head { frame, at: chunk.begin(), record }));
            }
        }
        self.held.hold(heads, Instant::now())
    }

    /// Tries the heads of what is held. If one is taken, everything that is not released is read again.
    fn try_held(&mut self, spool: &Spool, reader: &mut Reader) {
        let (mut heads, mut plan) = (Window::default(), Plan::default());
        // The places of a window that waits stay what they are.
        self.lanes.begin(true);
        for (index, (key, head)) in self.held.heads().enumerate() {
            let place = self.lanes.find(key, || lane_of(key)).0;
            let part = plan.part_at(place, head.at, None);
            plan.add(index, part);
            heads.push(&head.record);
        }
        heads.cut(&mut plan, &self.core);
        let begun = Instant::now();
        let pushed = push(&mut self.sender, &self.core, &mut self.lanes, &mut plan, &heads);
        if plan.chunks.iter().any(|chunk| chunk.state == State::Settled) {
            self.held.note_settled(&self.lanes, &self.plan);
            self.held.note_settled(&self.lanes, &plan);
            self.held.go_back(self.looked_at);
            self.core.forget_refused();
            self.window.clear();
            self.strange = None;
            reader.rewind();
        } else {
            self.held.put_off(Instant::now(), fastrand::f64());
        }
        if pushed.is_ok() && begun.elapsed() < self.core.config.delay {
            spool.set_back(&self.core.config.name);
        }
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
        match self.sender.try_out(&core, &names, patience) {
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

    /// Takes in the next frames. After an error there is no window; what stands before the place of the error is one before it is told.
    fn fill(&mut self, reader: &mut Reader) -> Result<(), String> {
        self.window.clear();
        self.plan.clear();
        self.lanes.begin(false);
        let most = if self.core.water.is_on() { water::WINDOW_RECORDS } else { window::RECORDS };
        while !self.window.is_full(most) {
            if self.strange.is_some() {
                break;
            }
            let frame = match reader.next() {
                Ok(Some(frame)) => frame,
                Err(error) if self.window.last.is_none() => return Err(error.to_string()),
                // An error comes again.
                Ok(None) | Err(_) => break,
            };
            let lsn = frame.lsn;
            let base = self.window.bytes.len();
            self.window.bytes.extend_from_slice(frame.payload);
            if let Err(error) = self.take(base) {
                // Nobody else may drain it: this program or its version does not fit the folder.
                self.strange = Some(format!("frame {} of the spool: {error}", lsn.0));
                break;
            }
            self.window.first.get_or_insert(lsn);
            self.window.last = Some(lsn);
            self.looked_at = lsn;
        }
        if let (Some(text), None) = (&self.strange, self.window.last) {
            self.core.stand(text);
            return Err(text.clone());
        }
        self.window.cut(&mut self.plan, &self.core);
        Ok(())
    }

    /// Takes the frame apart that begins at `base`.
    fn take(&mut self, base: usize) -> Result<(), Malformed> {
        let payload = &self.window.bytes[base..];
        let batch = frame::Batch::decode(payload)?;
        for part in batch.parts {
            if !std::mem::replace(&mut self.letters, true) {
                // Without it, what was parked would be pushed: there is no way around.
                while let Err(error) = self.core.look_up_letters(part.start.epoch) {
                    tell(&mut self.said, &self.core, &format!("the dead letters: {error}"));
                    self.core.pause(RETRY);
                    if self.core.is_stopping() {
                        return Ok(());
                    }
                }
            }
            key_of(&mut self.key, batch.producer, part.slot, part.list);
            let had = usize::try_from(self.held.had(&self.key, part.start)).unwrap_or(usize::MAX);
            if self.held.holds(&self.key) || had >= part.records.len() {
                continue;
            }
            let (place, last) = self.lanes.find(&self.key, || lane_of(&self.key));
            let start = Position { offset: part.start.offset + had as u64, ..part.start };
            // An earlier life may have parked some of it, and ended before it released the frame.
            let parked = self.core.parked_between(start, part.end());
            let mut in_plan = self.plan.part_at(place, start, last);
            for (record, offset) in part.records.iter().zip(part.start.offset..).skip(had) {
                if parked.binary_search(&(offset + 1)).is_ok() {
                    let next = Position { offset: offset + 1, ..part.start };
                    in_plan = self.plan.part_at(place, next, None);
                    continue;
                }
                let from = base + (record.as_ptr() as usize - payload.as_ptr() as usize);
                self.plan.add(self.window.records.len(), in_plan);
                self.window.records.push((from, from + record.len()));
            }
            self.lanes[place].part = in_plan;
        }
        Ok(())
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
