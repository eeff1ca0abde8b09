//! One conversation with a host that hands records in by transactions: begin, message, commit. Program and C interface are made of it.
//!
//! Each record gets its position when it is accepted, and keeps it: bringing it to Redis may be tried as often as it takes, by this life and by
//! the next, and the cursor tells a repeat. What the host was not told of is in the [intake](crate::intake); what it may therefore hand in again
//! is told apart by [recall](crate::recall).

use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::counters::{Counters, add};
use delivery::outlet::{Fan, FanWorker, Health, Outcome, OutletError};

use crate::fault::{self, Place};
use crate::held::{Records, Section};
use crate::intake::Left;
use crate::lane::Lane;
use crate::recall::{Mark, Recall, mark};
use crate::seat::{Seat, outlet};
use crate::settings::Settings;

/// So long after its start a program may be handed what belongs to another one's last life.
const YOUNG: Duration = Duration::from_secs(120);
/// How often a spool that holds records of other lanes is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// One conversation.
pub struct Session {
    name: String,
    settings: Arc<Settings>,
    outlet: Arc<Fan>,
    worker: FanWorker,
    seat: Option<Seat>,
    /// What an earlier life had accepted, until it is safe.
    left: Vec<Section>,
    /// What this life has accepted since the last OK.
    lanes: Vec<Lane>,
    /// The lane of the last record.
    lane: usize,
    recall: Recall,
    /// Records that were handed in since the last answer, those told apart included.
    turn: usize,
    /// Those among them that were accepted as new.
    fresh: usize,
    /// Records in the intake's file.
    noted: usize,
    /// The file could not be written; told once.
    blind: bool,
    born: Instant,
    /// When the spool was found to hold records of other lanes.
    looked: Instant,
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
        let noted = left.sections.iter().map(Section::len).sum();
        if noted > 0 {
            log::info!("{noted} records of a transaction that was not finished are brought to redis");
        }
        Ok(Self {
            name: number.map_or_else(|| "-".to_owned(), |number| number.to_string()),
            settings: Arc::clone(settings),
            lanes: lanes(settings, &outlet),
            lane: 0,
            worker: outlet.worker(),
            outlet,
            seat,
            left: left.sections,
            recall: Recall::default(),
            turn: 0,
            fresh: 0,
            noted,
            blind: false,
            born: Instant::now(),
            looked: Instant::now(),
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
    pub fn outlet(&self) -> &Arc<Fan> {
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
        self.left.iter().map(Section::len).sum::<usize>() + self.lanes.iter().map(Lane::held).sum::<usize>()
    }

    /// True if Redis answers.
    pub fn probe(&mut self, interrupted: &dyn Fn() -> bool) -> bool {
        self.worker.probe(interrupted)
    }

    /// True if records may be accepted. Not while the spool holds records of another number of lanes, or of other lists: whatever is accepted now
    /// would overtake them. That is looked at again now and then.
    pub fn is_clear(&mut self) -> bool {
        if !self.outlet.is_clear() && self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            if let Err(error) = self.outlet.start() {
                log::error!("{error}");
            }
            // The epochs are those of the spools from now on.
            self.lanes = lanes(&self.settings, &self.outlet);
        }
        self.outlet.is_clear()
    }

    /// True if nothing of it waits in the spool.
    pub fn is_drained(&self) -> bool {
        self.worker.is_drained()
    }

    /// Accepts a record: from here on it survives a kill.
    pub fn message(&mut self, record: &[u8]) {
        add(&self.outlet.counters().received, 1);
        self.turn += 1;
        if self.comes_again(record) {
            add(&self.outlet.counters().duplicates_suppressed, 1);
            return;
        }
        self.lane = self.settings.lane_of(record);
        let at = self.lanes[self.lane].next();
        self.lanes[self.lane].accept(record);
        self.fresh += 1;
        fault::pass(Place::BeforeNote);
        if let Some(seat) = &mut self.seat {
            let lane = &mut self.lanes[self.lane];
            let section = match lane.noted {
                Some(section) => Ok(section),
                None => seat.intake.section(&lane.section.list, at),
            };
            let written = section.and_then(|section| {
                lane.noted = Some(section);
                seat.intake.record(section, record)
            });
            match written {
                Ok(()) => self.noted += 1,
                // The positions of a section's records follow each other.
                Err(_) => lane.noted = None,
            }
            self.told(written);
        }
        fault::pass(Place::AfterNote);
    }

    /// The host was answered that the records are kept. While it makes the next one, those that have come together go ahead.
    pub fn deferred(&mut self) {
        if let Some(seat) = &mut self.seat {
            let written = seat.intake.answered(self.noted);
            self.told(written);
        }
        // Behind what an earlier life has left.
        if self.lanes[self.lane].is_due() && self.left.is_empty() {
            self.send_ahead(self.lane);
        }
    }

    /// Sends what there is of a lane, if Redis takes pushes and nothing has to be waited for.
    fn send_ahead(&mut self, number: usize) {
        let lane = &mut self.lanes[number];
        if !lane.safe && !lane.section.is_empty() {
            self.worker.send_ahead(number, lane.section.at, &Records { section: &lane.section, main: true }, &|| false);
        }
        lane.went_ahead();
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
        while let Some(section) = self.left.first() {
            let (lane, main) = self.settings.home_of(&section.list);
            if !bring(&mut self.worker, lane, section, main, interrupted) {
                return false;
            }
            self.left.remove(0);
        }
        if self.lanes.len() > 1 {
            // All of them work before the first is waited for.
            (0..self.lanes.len()).for_each(|lane| self.send_ahead(lane));
        }
        for (number, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.held() > 0) {
            lane.safe = bring(&mut self.worker, number, &lane.section, true, interrupted);
        }
        let safe = self.held() == 0;
        if safe {
            fault::pass(Place::AfterSettle);
        }
        safe
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
                self.lanes.iter_mut().for_each(|lane| lane.noted = None);
            }
        } else {
            self.recall.turned_away();
            self.recall.remember(self.lanes.iter().flat_map(Lane::fresh).map(mark));
        }
        self.lanes.iter_mut().for_each(|lane| lane.answered(safe));
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

fn lanes(settings: &Settings, outlet: &Fan) -> Vec<Lane> {
    settings.lists.iter().enumerate().map(|(lane, list)| Lane::new(list, outlet.epoch(lane))).collect()
}

/// Tries once to make `section` safe. True if it is.
fn bring(worker: &mut FanWorker, lane: usize, section: &Section, main: bool, interrupted: &dyn Fn() -> bool) -> bool {
    worker.commit_at(lane, section.at, &Records { section, main }, interrupted) == Outcome::Done
}
