//! What is found at the start. Nothing here refuses to start because of damage: what is good is kept, the rest is put aside.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::disk::Disk;
use super::folder::{self, Found};
use super::format::{BadHeader, Count, GRID, HEADER_BYTES, SegmentHeader, Store};
use super::mark::{self, Mark, MarkFile};
use super::release::SPARES_MAX;
use super::scan::{Stamp, Survey, survey};
use super::writer::Writer;
use super::{
    Damage, Journal, JournalConfig, JournalError, Marking, Reader, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, Segment, State,
};
use crate::position::Epoch;
use crate::spool::Sync;

/// Counting begins here: no frame has the number 0.
const BEGIN: Count = Count { lsn: 1, record: 0 };

/// What the folder says about the journal.
#[derive(Debug)]
pub(super) struct Stock {
    pub mark: Option<Mark>,
    pub store: Option<Store>,
    pub segments: Vec<Segment>,
    /// Files that hold nothing, and why they are no segments.
    pub void: Vec<u64>,
    pub bad: Vec<u64>,
    pub spares: BTreeMap<u64, u64>,
    pub foreign: Vec<String>,
    /// The highest number that any file had, and the latest epoch.
    pub number: u64,
    pub epoch: Option<u64>,
    /// Counting behind all numbers that were ever given out, as far as it is known.
    pub next: Count,
}

impl Stock {
    /// Where the last acknowledged frame ends, and counting there.
    pub fn end(&self) -> ((u64, u64), Count) {
        let marked = self.mark.map(|mark| (mark.settled_at, mark.settled));
        let tail = self.segments.last().map(|last| ((last.number, last.end), last.after));
        let latest = marked.into_iter().chain(tail).max_by_key(|(at, count)| (*count, *at));
        latest.unwrap_or(((0, 0), self.next))
    }

    /// Counting at the first frame that was not drained.
    pub fn released(&self) -> Count {
        let oldest = || self.segments.first().map_or(self.end().1, |first| first.before.max(BEGIN).min(first.first));
        self.mark.map_or_else(oldest, |mark| mark.released)
    }
}

/// Reads the header of a segment. The error is that of the disk.
fn header(path: &Path) -> io::Result<Result<SegmentHeader, BadHeader>> {
    let mut block = Vec::new();
    File::open(path)?.take(HEADER_BYTES).read_to_end(&mut block)?;
    Ok(SegmentHeader::decode(&block))
}

fn survey_file(path: &Path, stamp: Stamp) -> io::Result<Survey> {
    let bytes = std::fs::read(path)?;
    Ok(survey(bytes.get(HEADER_BYTES as usize..).unwrap_or_default(), stamp))
}

/// Takes stock without changing anything.
pub(super) fn take_stock(directory: &Path) -> Result<Stock, JournalError> {
    let mark = mark::read(directory)?;
    let Found { segments: files, spares, mut foreign } = folder::list(directory)?;
    let mut headers: BTreeMap<u64, Option<SegmentHeader>> = BTreeMap::new();
    for number in files.keys() {
        let path = folder::segment_path(directory, *number);
        let found = match header(&path).map_err(JournalError::io("cannot read", &path))? {
            Ok(header) if header.number == *number => Some(header),
            Err(BadHeader::Version(version)) => return Err(JournalError::Version { path, version }),
            _ => None,
        };
        headers.insert(*number, found);
    }
    let newest = headers.values().rev().flatten().next();
    let store = mark.map(|mark| mark.store).or(newest.map(|header| header.store));
    let number = files.keys().chain(spares.keys()).copied().chain(mark.map(|m| m.settled_at.0.max(m.from.0))).max();
    headers.retain(|number, header| {
        let is_ours = header.is_none_or(|header| Some(header.store) == store);
        if !is_ours {
            foreign.push(format!("journal-{number:020}.seg (of another spool)"));
        }
        is_ours
    });
    let good: Vec<SegmentHeader> = headers.values().flatten().copied().collect();
    let epoch = good.iter().map(|header| header.epoch).chain(mark.map(|mark| mark.epoch)).max();
    let mut next = good.iter().map(|header| header.first).chain(mark.map(|mark| mark.settled.max(mark.released)));
    let mut stock = Stock {
        mark,
        store,
        segments: Vec::new(),
        void: Vec::new(),
        bad: Vec::new(),
        spares,
        foreign,
        number: number.unwrap_or(0),
        epoch,
        next: next.by_ref().max().unwrap_or(BEGIN).max(BEGIN),
    };
    for (number, header) in headers {
        let size = files[&number];
        let behind = good.iter().find(|header| header.number > number);
        if behind.is_some_and(|behind| behind.before < number) {
            stock.void.push(number);
            continue;
        }
        let stamp = Stamp { segment: number, salt: store.map_or(0, |store| store.salt) };
        let ends = behind.filter(|behind| behind.before == number);
        let mut segment = Segment {
            number,
            first: header.map_or(BEGIN, |header| header.first),
            before: header.map_or(BEGIN, |header| header.before_count),
            end: 0,
            settled: HEADER_BYTES,
            after: BEGIN,
            bytes: size,
        };
        if let (Some(_), Some(ends)) = (header, ends) {
            (segment.end, segment.settled, segment.after) = (ends.before_end, ends.before_end, ends.before_count);
        } else {
            let path = folder::segment_path(directory, number);
            let found = survey_file(&path, stamp).map_err(JournalError::io("cannot read", &path))?;
            if header.is_none() {
                if found.frames == 0 {
                    stock.bad.push(number);
                    continue;
                }
                segment.first = found.first.unwrap_or(BEGIN);
                segment.before = segment.first;
            }
            segment.end = HEADER_BYTES + found.end as u64;
            segment.after = if found.frames > 0 { found.after } else { segment.before };
            segment.settled = found.settled.max(HEADER_BYTES);
            stock.next = stock.next.max(found.highest);
            if let Some(ends) = ends {
                (segment.settled, segment.after) = (ends.before_end, ends.before_count);
                segment.end = ends.before_end;
            } else if let Some(mark) = mark.filter(|mark| mark.settled_at.0 == number) {
                segment.settled = segment.settled.max(mark.settled_at.1);
                segment.after = segment.after.max(mark.settled);
            }
            segment.end = segment.end.max(segment.settled);
        }
        stock.next = stock.next.max(segment.after);
        stock.segments.push(segment);
    }
    Ok(stock)
}

/// See [`Journal::open`].
pub(super) fn open(
    mut config: JournalConfig,
    unix_seconds: u64,
    disk: Disk,
) -> Result<(Arc<Journal>, Reader), JournalError> {
    let durable = config.sync != Sync::Never;
    let handle = folder::open(&config.directory, durable)?;
    config.segment_bytes = config.segment_bytes.min(config.bytes_max / 8);
    if let Some(bytes) = folder::disk_bytes(&config.directory) {
        config.segment_bytes = config.segment_bytes.min(bytes / 8);
    }
    config.segment_bytes = config.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX) / 4096 * 4096;
    let mut stock = take_stock(&config.directory)?;
    let damage = Damage::default();
    report(&config.directory, &stock);
    set_aside(&config.directory, &stock, &damage);
    let last_epoch = stock.epoch.map(Epoch);
    let epoch = Epoch::after(last_epoch, unix_seconds, stock.store.map_or_else(|| fastrand::u32(..), |s| s.family));
    let store = stock.store.unwrap_or_else(|| Store { family: epoch.family(), salt: fastrand::u32(..) });

    let (end_at, end) = stock.end();
    let released = stock.released();
    if let (true, Some(last)) = (durable, stock.segments.last()) {
        // What a killed process has left may be in memory only. The next segment's header will say that it is on disk.
        let path = folder::segment_path(&config.directory, last.number);
        if let Err(error) = File::open(&path).and_then(|file| disk.sync(&file, &path)) {
            log::error!("the spool cannot sync {}: {error}", path.display());
        }
    }
    // One without frames still says where the one before it ends.
    let drained = |s: &Segment| s.after.lsn <= released.lsn || (s.end <= HEADER_BYTES && s.before.lsn <= released.lsn);
    let (gone, kept): (Vec<Segment>, Vec<Segment>) = stock.segments.iter().partition(|segment| drained(segment));
    let void = stock.void.iter().map(|number| (*number, config.segment_bytes + 1));
    let held: u64 = kept.iter().map(|segment| segment.bytes).sum();
    let gone = gone.iter().map(|segment| (segment.number, segment.bytes)).chain(void);
    free(&config, held, &mut stock.spares, gone);
    let bytes = held + stock.spares.values().sum::<u64>();
    let file = MarkFile::open(&config.directory)?;
    let generation = stock.mark.map_or(0, |mark| mark.generation);
    let from = stock.mark.map_or((0, 0), |mark| mark.from);
    let start = kept.iter().find(|segment| segment.number == from.0);
    let is_good = start.is_some_and(|s| (HEADER_BYTES..=s.end).contains(&from.1) && from.1 % GRID as u64 == 0);
    let from = if is_good { from } else { (0, 0) };
    let state = State {
        segments: VecDeque::from(kept),
        writing: None,
        spares: stock.spares.iter().map(|(number, bytes)| (*number, *bytes)).collect(),
        bytes,
        end,
        end_at,
        released,
        from,
        trail: VecDeque::new(),
        marked: released,
        marked_at: Instant::now(),
        waiting: false,
        nudged: false,
    };
    let journal = Arc::new(Journal {
        config,
        store,
        epoch,
        disk,
        state: Mutex::new(state),
        news: Condvar::new(),
        queue: Mutex::default(),
        writer: Mutex::new(Writer::new(stock.number + 1, stock.next.max(end), (end_at.0, end_at.1, end))),
        marking: Mutex::new(Marking { file, generation }),
        failed: false.into(),
        open: false.into(),
        damage,
        folder: handle,
    });
    // The epoch is used from here on: the next life must open a later one.
    journal.note_epoch()?;
    journal.open.store(true, Relaxed);
    let reader = Reader::new(Arc::clone(&journal), from, released);
    Ok((journal, reader))
}

fn report(directory: &Path, stock: &Stock) {
    let directory = directory.display();
    if !stock.foreign.is_empty() {
        log::warn!("the spool {directory} holds what is not ours, left alone: {}", stock.foreign.join(", "));
    }
    if stock.mark.is_none() && !stock.segments.is_empty() {
        log::warn!("the spool {directory} has lost its mark: all of it is read again, redis recognises what it has");
    }
}

/// Files in which nothing can be recognised.
fn set_aside(directory: &Path, stock: &Stock, damage: &Damage) {
    for number in &stock.bad {
        let path = folder::segment_path(directory, *number);
        damage.files.fetch_add(1, Relaxed);
        match folder::set_aside(directory, &path) {
            Ok(to) => log::error!(
                "the spool's file {} holds nothing that can be read: put aside as {}",
                path.display(),
                to.display()
            ),
            Err(error) => log::error!("the spool's file {} holds nothing that can be read: {error}", path.display()),
        }
    }
}

/// Turns files into spare ones, or removes them. What fails is met again at the next start. `held` bytes are in segments.
fn free(config: &JournalConfig, held: u64, spares: &mut BTreeMap<u64, u64>, files: impl Iterator<Item = (u64, u64)>) {
    let directory = &config.directory;
    let mut bytes = held;
    let mut kept = 0;
    let mut fits = |size: u64| {
        let fits = kept < SPARES_MAX && size <= config.segment_bytes && bytes + size <= config.bytes_max;
        if fits {
            (kept, bytes) = (kept + 1, bytes + size);
        }
        fits
    };
    spares.retain(|number, size| fits(*size) || folder::remove(&folder::spare_path(directory, *number)).is_err());
    for (number, size) in files {
        let path = folder::segment_path(directory, number);
        let keep = fits(size);
        let freed = match keep {
            true => std::fs::rename(&path, folder::spare_path(directory, number)),
            false => folder::remove(&path),
        };
        match freed {
            Ok(()) if keep => drop(spares.insert(number, size)),
            Ok(()) => {}
            Err(error) => log::warn!("the spool cannot free {}: {error}", path.display()),
        }
    }
}
