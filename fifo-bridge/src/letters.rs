//! `fifo-bridge dead-letters`: what was set aside, and bringing it back.
//!
//! A replay is a producer of its own: beside each list that it fills it has a cursor that names the file and the reason, and counts the
//! letters of that reason and list. So a replay that was interrupted, however it was, goes on where Redis has got, and one that was
//! finished pushes nothing when it is run again, but for letters that came since. The file stays as it is.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use delivery::counters::get;
use delivery::letters::{Letter, Letters, file, hash};
use delivery::outlet::{Batch, OnRefused, Outcome, Outlet, OutletConfig, Target, Worker};
use delivery::position::{Epoch, Position};
use delivery::push::{Entry, Mode};
use serde_json::{Value, json};

use crate::check;
use crate::settings::Settings;

/// The words that a letter's reason may be.
pub const REASONS: [&str; 4] = ["refused", "torn", "too-long", "damaged"];

/// Letters of one push, and their bytes, at most.
const BATCH_RECORDS: usize = 500;
const BATCH_BYTES: usize = 1 << 20;
/// How long Redis may take nothing until a replay gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Letters of one reason for one list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// How many.
    pub letters: u64,
    /// When the first and the last were parked.
    pub times: (u64, u64),
    /// The detail of the last.
    pub detail: String,
}

/// By reason and list.
pub type Kinds = BTreeMap<(String, String), Kind>;

/// What is in the file; and how many lines are no letters.
pub fn kinds(path: &Path) -> anyhow::Result<(Kinds, u64)> {
    let mut letters = open(path, false)?;
    let mut kinds = Kinds::new();
    while let Some(letter) = letters.next_letter()? {
        let kind = kinds.entry((letter.reason, letter.list)).or_default();
        let first = if kind.letters == 0 { letter.time } else { kind.times.0 };
        kind.letters += 1;
        kind.times = (first.min(letter.time), kind.times.1.max(letter.time));
        kind.detail = letter.detail;
    }
    Ok((kinds, letters.damaged()))
}

/// The same as JSON, a value for each reason and list.
pub fn as_json(kinds: &Kinds) -> Value {
    let kind = |((reason, list), kind): (&(String, String), &Kind)| json!({"reason": reason, "list": list, "letters": kind.letters, "first": kind.times.0, "last": kind.times.1, "detail": kind.detail});
    kinds.iter().map(kind).collect()
}

/// Which letters, and where they go.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Of these reasons.
    pub reasons: Vec<String>,
    /// For these lists; empty: all.
    pub lists: Vec<String>,
    /// Into this list, in place of their own.
    pub to: Option<String>,
}

impl Choice {
    /// What is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        if let Some(word) = self.reasons.iter().find(|word| !REASONS.contains(&word.as_str())) {
            bail!("{word:?} is no reason; {}", REASONS.join(", "));
        }
        if self.to.is_some() && self.lists.len() != 1 {
            bail!("--to needs the list that the letters were for: one --list");
        }
        Ok(())
    }

    fn takes(&self, letter: &Letter) -> bool {
        self.reasons.contains(&letter.reason) && (self.lists.is_empty() || self.lists.contains(&letter.list))
    }

    /// Whose cursor counts letters of this reason and list. Another target has cursors of its own.
    fn producer(&self, identity: u64, letter: &Letter) -> String {
        let producer = format!("dead-letters:{identity:016x}:{}", letter.reason);
        let producer = match &letter.field {
            Some(field) => format!("{producer}:stream:{:016x}", hash(field)),
            None => producer,
        };
        match &self.to {
            Some(to) if *to != letter.list => format!("{producer}:{:016x}", hash(&letter.list)),
            _ => producer,
        }
    }

    /// What the target is: what the letter was for. Another one is what the settings say.
    fn mode(&self, settings: &Settings, letter: &Letter) -> Mode {
        let ours = &settings.mode;
        match (&self.to, &letter.field) {
            (Some(to), _) if *to != letter.list => ours.clone(),
            (_, Some(field)) => {
                let max_entries = ours.entry().map_or(0, |entry| entry.max_entries);
                Mode::Stream(Entry { field: field.clone(), max_entries })
            }
            (_, None) if ours.entry().is_some() => Mode::default(),
            (_, None) => ours.clone(),
        }
    }
}

/// What a replay has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// Letters that were chosen.
    pub letters: u64,
    /// Of those, pushed by this run. The others were there.
    pub pushed: u64,
}

/// Pushes the chosen letters, each once, in the order of the file. It may be interrupted at any moment and run again.
pub fn replay(path: &Path, choice: &Choice, settings: Settings) -> anyhow::Result<Replayed> {
    choice.check()?;
    if let Some(fault) = check::redis(&settings).faults.iter().find(|fault| fault.starts_with("redis at")) {
        bail!("{fault}");
    }
    let mut letters = open(path, true)?;
    let identity = letters.identity();
    let mut replay = Replay { settings: Arc::new(settings), producers: HashMap::new(), places: HashMap::new() };
    let mut batch = Parcel::default();
    let mut count = 0;
    while let Some(letter) = letters.next_letter()? {
        if !choice.takes(&letter) {
            continue;
        }
        count += 1;
        let producer = choice.producer(identity, &letter);
        let list = choice.to.as_deref().unwrap_or(&letter.list);
        if !batch.fits(&producer, list, letter.record.len()) {
            replay.deliver(&mut batch, identity)?;
            let mode = choice.mode(&replay.settings, &letter);
            batch = Parcel { producer, mode, list: list.to_owned(), ..Parcel::default() };
        }
        batch.lines.1 = letter.line;
        batch.lines.0 = if batch.records.is_empty() { letter.line } else { batch.lines.0 };
        batch.bytes += letter.record.len();
        batch.records.push(letter.record);
    }
    replay.deliver(&mut batch, identity)?;
    let pushed = replay.producers.values().map(|(outlet, _)| get(&outlet.counters().pushed)).sum();
    Ok(Replayed { letters: count, pushed })
}

fn open(path: &Path, durable: bool) -> anyhow::Result<Letters> {
    let path = file(path);
    match Letters::open(&path, durable) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{} is not there: no dead letters", path.display())
        }
        opened => opened.with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Letters that go together.
#[derive(Debug, Default)]
struct Parcel {
    producer: String,
    /// The producer tells modes apart.
    mode: Mode,
    list: String,
    lines: (u64, u64),
    bytes: usize,
    records: Vec<Vec<u8>>,
}

impl Parcel {
    fn fits(&self, producer: &str, list: &str, bytes: usize) -> bool {
        let same = self.producer == producer && self.list == list;
        same && self.records.len() < BATCH_RECORDS && (self.records.is_empty() || self.bytes + bytes <= BATCH_BYTES)
    }
}

impl Batch for Parcel {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn target(&self, _index: usize) -> Target<'_> {
        Target::List(&self.list)
    }

    fn record(&self, index: usize) -> &[u8] {
        &self.records[index]
    }
}

struct Replay {
    settings: Arc<Settings>,
    /// One for each reason.
    producers: HashMap<String, (Arc<Outlet>, Worker)>,
    /// How many letters of a producer and list were delivered: the place of the next.
    places: HashMap<(String, String), u64>,
}

impl Replay {
    fn deliver(&mut self, batch: &mut Parcel, identity: u64) -> anyhow::Result<()> {
        if batch.records.is_empty() {
            return Ok(());
        }
        if !self.producers.contains_key(&batch.producer) {
            let outlet = self.outlet(&batch.producer, &batch.mode)?;
            let worker = outlet.worker();
            self.producers.insert(batch.producer.clone(), (outlet, worker));
        }
        let Some((outlet, worker)) = self.producers.get_mut(&batch.producer) else { return Ok(()) };
        let place = self.places.entry((batch.producer.clone(), batch.list.clone())).or_default();
        // Zero is no epoch.
        let at = Position { epoch: Epoch(identity.max(1)), offset: *place };
        let mut since = Instant::now();
        loop {
            match worker.commit_at(at, batch, &|| false) {
                Outcome::Done => break,
                Outcome::Refused => {
                    let (lines, why) = (batch.lines, outlet.health().last_error);
                    bail!(
                        "lines {} to {} cannot go into {:?}, nothing behind them was pushed: {why}",
                        lines.0,
                        lines.1,
                        batch.list
                    );
                }
                Outcome::Later => {}
            }
            let health = outlet.health();
            if health.stopped || since.elapsed() >= PATIENCE {
                bail!("redis takes nothing; run it again to go on: {}", health.last_error);
            }
            if !health.held_back.is_empty() {
                since = Instant::now();
            }
            std::thread::sleep(PAUSE);
        }
        *place += batch.records.len() as u64;
        Ok(())
    }

    fn outlet(&self, producer: &str, mode: &Mode) -> anyhow::Result<Arc<Outlet>> {
        let config = OutletConfig {
            name: "dead letters".into(),
            producer: producer.to_owned(),
            mode: mode.clone(),
            timeout: self.settings.endpoint.timeout,
            // Without a folder: what is refused again stays where it is.
            on_refused: OnRefused::DeadLetter,
            max_length: self.settings.file.queue.max_length,
            ..OutletConfig::default()
        };
        let login = Arc::clone(&self.settings);
        Ok(Outlet::new(config, Box::new(move || login.login()))?)
    }
}
