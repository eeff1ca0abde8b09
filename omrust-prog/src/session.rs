//! One conversation with a host that hands records in by transactions: begin, message, commit. Program and C interface are made of it.
//!
//! Each record gets its position when it is accepted, and keeps it: bringing it to Redis may be tried as often as it takes, by this life and by
//! the next, and the cursor tells a repeat. What the host was not told of is in the [intake](crate::intake); what it may therefore hand in again
//! is told apart by [recall](crate::recall).

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use delivery::counters::{Counters, add};
use delivery::outlet::{Health, Outcome, Outlet, OutletError, Worker};
use delivery::position::{Epoch, Position};

use crate::ahead::{Ahead, PART_RECORDS};
use crate::fault::{self, Place};
use crate::held::{Records, Section};
use crate::intake::Left;
use crate::recall::{Mark, Recall, mark};
use crate::seat::{Seat, outlet};
use crate::settings::Settings;

/// So long after its start a program may be handed what belongs to another one's last life.
const YOUNG: Duration = Duration::from_secs(120);

/// Used sections that are kept for their memory.
const SPARE: usize = 16;

/// One conversation.
pub struct Session {
    name: String,
    list: String,
    outlet: Arc<Outlet>,
    /// Used by the thread too.
    worker: Arc<Mutex<Worker>>,
    ahead: Ahead,
    seat: Option<Seat>,
    /// What an earlier life had accepted, until it is safe.
    left: Vec<Section>,
    /// What this life has accepted since the last OK, but for the last part, each with whether it is safe.
    parts: VecDeque<(Section, bool)>,
    /// The last part.
    current: Section,
    /// Sections that were used, for their memory.
    spare: Vec<Section>,
    recall: Recall,
    epoch: Epoch,
    /// Records of this life.
    next: u64,
    /// Records that were handed in since the last answer, those told apart included.
    turn: usize,
    /// Those among them that were accepted as new.
    fresh: usize,
    /// All of it is safe; the host may not know yet.
    safe: bool,
    /// Records in the intake's file.
    noted: usize,
    sectioned: bool,
    /// The file could not be written; told once.
    blind: bool,
    born: Instant,
}

impl Session {
    /// Takes a number and finds what its last life has left. Asks Redis nothing.
    pub fn open(settings: &Arc<Settings>) -> Result<Self, OutletError> {
        let mut left = Left::default();
        let seat = match Seat::take(settings, &mut left) {
            Ok(seat) => Some(seat),
            Err(error) => {
                log::error!(
                    "no instance in {}: {error}: what is accepted while this program is killed comes twice or not at all",
                    settings.state_directory.display()
                );
                None
            }
        };
        let number = seat.as_ref().map(|seat| seat.instance.number);
        let outlet = outlet(settings, seat.as_ref().map(|seat| &seat.instance))?;
        outlet.start()?;
        let epoch = outlet.epoch();
        let noted = left.sections.iter().map(Section::len).sum();
        if noted > 0 {
            log::info!("{noted} records of a transaction that was not finished are brought to redis");
        }
        let worker = Arc::new(Mutex::new(outlet.worker()));
        Ok(Self {
            name: number.map_or_else(|| "-".to_owned(), |number| number.to_string()),
            list: settings.list.clone(),
            ahead: Ahead::with({
                let worker = Arc::clone(&worker);
                move |part, interrupted| bring(&mut lock(&worker), part, true, interrupted)
            }),
            worker,
            outlet,
            seat,
            left: left.sections,
            parts: VecDeque::new(),
            spare: Vec::new(),
            current: Section::new(&settings.list, Position::start(epoch)),
            recall: Recall::default(),
            epoch,
            next: 0,
            turn: 0,
            fresh: 0,
            safe: false,
            noted,
            sectioned: false,
            blind: false,
            born: Instant::now(),
        })
    }

    /// The number of its instance, `-` without one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of its instance.
    pub fn number(&self) -> Option<u16> {
        self.seat.as_ref().map(|seat| seat.instance.number)
    }

    /// What brings the records to Redis.
    pub fn outlet(&self) -> &Arc<Outlet> {
        &self.outlet
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Arc<Counters> {
        self.outlet.counters()
    }

    /// How it is.
    pub fn health(&self) -> Health {
        self.outlet.health()
    }

    /// Records that are accepted and not known to be safe.
    pub fn held(&self) -> usize {
        if self.safe {
            return 0;
        }
        let parts = self.parts.iter().filter(|(_, safe)| !safe).map(|(part, _)| part.len()).sum::<usize>();
        self.left.iter().map(Section::len).sum::<usize>() + parts + self.ahead.records() + self.current.len()
    }

    /// True if Redis answers.
    pub fn probe(&mut self, interrupted: &dyn Fn() -> bool) -> bool {
        lock(&self.worker).probe(interrupted)
    }

    /// True if nothing of it waits in the spool.
    pub fn is_drained(&self) -> bool {
        lock(&self.worker).is_drained()
    }

    /// Accepts a record: from here on it survives a kill.
    pub fn message(&mut self, record: &[u8]) {
        add(&self.outlet.counters().received, 1);
        self.turn += 1;
        if self.comes_again(record) {
            add(&self.outlet.counters().duplicates_suppressed, 1);
            return;
        }
        if self.current.is_empty() {
            self.current.restart(Position { epoch: self.epoch, offset: self.next });
        }
        self.current.push(record);
        self.fresh += 1;
        self.safe = false;
        fault::pass(Place::BeforeNote);
        if let Some(seat) = &mut self.seat {
            let written = if std::mem::replace(&mut self.sectioned, true) {
                Ok(())
            } else {
                seat.intake.section(&self.list, Position { epoch: self.epoch, offset: self.next })
            };
            let written = written.and_then(|()| seat.intake.record(record));
            self.told(written);
        }
        fault::pass(Place::AfterNote);
        self.next += 1;
        self.noted += 1;
        if self.current.len() >= PART_RECORDS {
            self.begin_early();
        }
    }

    /// Hands the part that has come together to the thread, if Redis takes pushes and nothing stands before it.
    fn begin_early(&mut self) {
        let well = self.left.is_empty()
            && self.outlet.counters().connected.load(Ordering::Relaxed) == 1
            && self.parts.iter().all(|(_, safe)| *safe);
        if !well {
            return;
        }
        let next = self.spare.pop().unwrap_or_else(|| Section::new(&self.list, self.current.at));
        let part = std::mem::replace(&mut self.current, next);
        self.current.restart(Position { epoch: self.epoch, offset: self.next });
        if let Err(part) = self.ahead.hand_over(part) {
            // One before it was turned away: all of them come back, in order.
            self.ahead.wait(&|| true, &mut self.parts);
            self.parts.push_back((part, false));
        }
    }

    /// The host was answered that the records are kept.
    pub fn deferred(&mut self) {
        let noted = self.noted;
        let Some(seat) = &mut self.seat else { return };
        let written = seat.intake.answered(noted);
        self.told(written);
    }

    /// Tries once to make safe what is held. True if all of it is.
    pub fn settle(&mut self, interrupted: &dyn Fn() -> bool) -> bool {
        if self.held() == 0 {
            return true;
        }
        if let Some(seat) = &mut self.seat
            && !seat.intake.is_done()
        {
            let written = seat.intake.settling();
            self.told(written);
        }
        fault::pass(Place::BeforeSettle);
        if self.ahead.is_out() {
            self.ahead.wait(interrupted, &mut self.parts);
        }
        let mut worker = lock(&self.worker);
        while let Some(section) = self.left.first() {
            if !bring(&mut worker, section, section.list == self.list, interrupted) {
                return false;
            }
            self.left.remove(0);
        }
        let open = self.parts.iter_mut().filter(|(_, safe)| !safe).map(|(part, safe)| (&*part, Some(safe)));
        for (section, safe) in open.chain([(&self.current, None)]) {
            if !bring(&mut worker, section, true, interrupted) {
                return false;
            }
            if let Some(safe) = safe {
                *safe = true;
            }
        }
        drop(worker);
        self.safe = true;
        fault::pass(Place::AfterSettle);
        true
    }

    /// The host was answered that everything is safe, or that it is not.
    pub fn answered(&mut self, safe: bool) {
        if safe {
            self.recall.answered(self.turn);
            if self.recall.is_empty()
                && let Some(seat) = &mut self.seat
            {
                seat.estate.finish();
                let written = if seat.intake.is_done() { Ok(()) } else { seat.intake.done() };
                self.told(written);
                self.noted = 0;
                self.sectioned = false;
            }
            self.current.restart(Position { epoch: self.epoch, offset: self.next });
            self.spare.extend(self.parts.drain(..).map(|(part, _)| part));
            self.spare.truncate(SPARE);
        } else {
            self.recall.turned_away();
            let sections = self.parts.iter().map(|(part, _)| part).chain([&self.current]);
            let all: usize = sections.clone().map(Section::len).sum();
            let fresh = sections.flat_map(|section| section.records(0)).skip(all - self.fresh);
            self.recall.remember(fresh.map(mark));
        }
        self.fresh = 0;
        self.turn = 0;
    }

    /// True if it was accepted before, by this life or by one that was killed.
    fn comes_again(&mut self, record: &[u8]) -> bool {
        // In a turn nothing comes again behind something new.
        let may_claim = self.fresh == 0;
        if self.recall.is_empty() && !may_claim {
            return false;
        }
        let mark = mark(record);
        self.recall.take(mark) || (may_claim && self.claim(mark) && self.recall.take(mark))
    }

    /// A record that may belong to what a killed program has left. It need not be the first of the turn: those that failed when rsyslog handed a
    /// batch in one by one come last, together, and each may have been in the hands of another life.
    fn claim(&mut self, mark: Mark) -> bool {
        let Some(seat) = &mut self.seat else { return false };
        if self.born.elapsed() > YOUNG {
            seat.estate.close();
            return false;
        }
        seat.estate.refresh();
        let claimed = if seat.estate.is_open() { seat.estate.claim(mark) } else { None };
        let found = claimed.is_some();
        self.recall.remember(claimed.into_iter().flatten());
        found
    }

    /// Says once that the file of what is accepted cannot be written, and once that it can again.
    fn told(&mut self, written: std::io::Result<()>) {
        match written {
            Ok(()) if self.blind => {
                self.blind = false;
                log::info!("what is accepted is noted again");
            }
            Ok(()) => {}
            Err(error) => {
                if !std::mem::replace(&mut self.blind, true) {
                    log::error!("what is accepted cannot be noted: {error}: it would not survive a kill");
                }
            }
        }
    }
}

/// Tries once to make `section` safe. True if it is.
fn bring(worker: &mut Worker, section: &Section, main: bool, interrupted: &dyn Fn() -> bool) -> bool {
    worker.commit_at(section.at, &Records { section, main }, interrupted) == Outcome::Done
}

fn lock(worker: &Mutex<Worker>) -> MutexGuard<'_, Worker> {
    // A commit that ended in a panic is noticed by the worker itself.
    worker.lock().unwrap_or_else(PoisonError::into_inner)
}
