//! One conversation with a host that hands records in by transactions: begin, message, commit. Program and C interface are made of it.
//!
//! Each record gets its position when it is accepted, and keeps it: bringing it to Redis may be tried as often as it takes, by this life and by
//! the next, and the cursor tells a repeat. What the host was not told of is in the [intake](crate::intake); what it may therefore hand in again
//! is told apart by [recall](crate::recall).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use delivery::counters::{Counters, add};
use delivery::journal::JournalConfig;
use delivery::outlet::{Batch, Health, OnRefused, Outcome, Outlet, OutletConfig, OutletError, Target};
use delivery::position::{Epoch, Position};

use crate::ahead::Ahead;
use crate::estate::Estate;
use crate::fault::{self, Place};
use crate::held::Section;
use crate::instance::Instance;
use crate::intake::{Intake, Left};
use crate::recall::{Recall, mark};
use crate::settings::Settings;

/// So long after its start a program may be handed what belongs to another one's last life.
const YOUNG: Duration = Duration::from_secs(120);

/// Bytes of one file of the spool: disk comes back in these steps.
const SEGMENT_BYTES: u64 = 16 << 20;

/// A part of a transaction that is brought to Redis ahead of the commit.
const EARLY_RECORDS: usize = 256;
/// Used sections that are kept for their memory.
const SPARE: usize = 16;

/// A number of this host's programs, with what keeps it over lives.
struct Seat {
    instance: Instance,
    intake: Intake,
    estate: Estate,
}

/// One conversation.
pub struct Session {
    name: String,
    list: String,
    outlet: Arc<Outlet>,
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
    /// Records that are with the thread.
    out: usize,
    /// All of it is safe; the host may not know yet.
    safe: bool,
    /// Records in the intake's file.
    noted: usize,
    sectioned: bool,
    /// The file could not be written; told once.
    blind: bool,
    born: Instant,
}

/// A section as the outlet takes it.
pub(crate) struct Records<'a> {
    pub section: &'a Section,
    /// Its list is the one of the settings.
    pub main: bool,
}

impl Batch for Records<'_> {
    fn len(&self) -> usize {
        self.section.len()
    }

    fn target(&self, _index: usize) -> Target<'_> {
        if self.main { Target::Main } else { Target::List(&self.section.list) }
    }

    fn record(&self, index: usize) -> &[u8] {
        self.section.record(index)
    }
}

/// The outlet of one number.
pub(crate) fn outlet(settings: &Arc<Settings>, instance: Option<&Instance>) -> Result<Arc<Outlet>, OutletError> {
    let number = instance.map(|instance| instance.number);
    let config = OutletConfig {
        name: number.map_or_else(|| "no instance".to_owned(), |number| format!("instance {number}")),
        // Without a number there is no earlier life either.
        producer: match number {
            Some(number) => format!("{}:{number}", settings.producer),
            None => format!("{}:{}", settings.producer, std::process::id()),
        },
        list: settings.list.clone(),
        side: settings.side,
        timeout: settings.endpoint.timeout,
        delay: settings.delay,
        journal: instance.zip(settings.spool.as_ref()).map(|(instance, spool)| JournalConfig {
            directory: instance.spool(),
            bytes_max: spool.bytes_max,
            sync: spool.sync,
            segment_bytes: SEGMENT_BYTES,
        }),
        dead_letters: Some(settings.dead_letter_directory.clone()),
        on_refused: if settings.park_refused { OnRefused::DeadLetter } else { OnRefused::Hold },
        ..OutletConfig::default()
    };
    let login = Arc::clone(settings);
    Outlet::new(config, Box::new(move || login.login()))
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
        Ok(Self {
            name: number.map_or_else(|| "-".to_owned(), |number| number.to_string()),
            list: settings.list.clone(),
            ahead: Ahead::new(outlet.worker()),
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
            out: 0,
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
        self.left.iter().map(Section::len).sum::<usize>() + parts + self.out + self.current.len()
    }

    /// True if Redis answers.
    pub fn probe(&mut self, interrupted: &dyn Fn() -> bool) -> bool {
        self.ahead.worker().probe(interrupted)
    }

    /// True if nothing of it waits in the spool.
    pub fn is_drained(&self) -> bool {
        self.ahead.worker().is_drained()
    }

    /// Accepts a record: from here on it survives a kill.
    pub fn message(&mut self, record: &[u8]) {
        add(&self.outlet.counters().received, 1);
        let first = self.turn == 0;
        self.turn += 1;
        if first {
            self.claim(record);
        }
        if !self.recall.is_empty() && self.recall.take(mark(record)) {
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
        if self.current.len() >= EARLY_RECORDS {
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
        let records = part.len();
        match self.ahead.hand_over(part, true) {
            Ok(()) => self.out += records,
            Err(part) => {
                // One before it was turned away: all of them come back, in order.
                self.take_back(&|| true);
                self.parts.push_back((part, false));
            }
        }
    }

    fn take_back(&mut self, interrupted: &dyn Fn() -> bool) {
        self.ahead.wait(interrupted, &mut self.parts);
        self.out = 0;
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
            self.take_back(interrupted);
        }
        let mut worker = self.ahead.worker();
        while let Some(section) = self.left.first() {
            let records = Records { section, main: section.list == self.list };
            if worker.commit_at(section.at, &records, interrupted) != Outcome::Done {
                return false;
            }
            self.left.remove(0);
        }
        let open = self.parts.iter_mut().filter(|(_, safe)| !safe).map(|(part, safe)| (&*part, Some(safe)));
        for (section, safe) in open.chain([(&self.current, None)]) {
            let records = Records { section, main: true };
            if !section.is_empty() && worker.commit_at(section.at, &records, interrupted) != Outcome::Done {
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

    /// The first record of a turn: it may belong to what a killed program has left.
    fn claim(&mut self, record: &[u8]) {
        let Some(seat) = &mut self.seat else { return };
        if self.born.elapsed() > YOUNG {
            seat.estate.close();
            return;
        }
        seat.estate.refresh();
        if seat.estate.is_open()
            && let Some(marks) = seat.estate.claim(mark(record))
        {
            self.recall.remember(marks);
        }
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

impl Seat {
    fn take(settings: &Settings, left: &mut Left) -> std::io::Result<Self> {
        let root = &settings.state_directory;
        let instance = Instance::take(root)?;
        // Before anything is accepted: whoever is handed the records of a killed neighbour finds them published.
        for number in Instance::known(root).into_iter().filter(|number| *number != instance.number) {
            if let Ok(Some(orphan)) = Instance::take_number(root, number) {
                publish(root, &orphan)?;
            }
        }
        publish(root, &instance)?;
        let (intake, found) = Intake::open(&instance.intake())?;
        *left = found;
        let estate = Estate::open(root, instance.number);
        Ok(Self { instance, intake, estate })
    }
}

/// Publishes what `instance`, which is locked, has not finished, and what it had claimed of others.
pub(crate) fn publish(root: &std::path::Path, instance: &Instance) -> std::io::Result<()> {
    let mut estate = Estate::open(root, instance.number);
    let Ok(left) = Intake::peek(&instance.intake()) else { return Ok(()) };
    if left.unfinished.marks.is_empty() {
        return Ok(());
    }
    estate.publish(left.generation, &left.unfinished)
}
