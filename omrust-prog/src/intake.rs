//! The file in which an instance notes what it accepts, until rsyslog has been told that it is safe.
//!
//! It is memory that the kernel keeps: what is stored before the answer is there for the next life of a program that was killed, though not after
//! a power loss. The same bytes are written over and over; a generation in each entry tells those of this transaction from earlier ones.
//!
//! ```text
//! header   magic 4, generation 4, answered 4, state 4
//! entry    generation 4, length 4, crc32c 4, kind 4, payload
//! ```
//!
//! | killed | the next life finds |
//! |---|---|
//! | while an entry is written | a wrong checksum: the record was not answered, rsyslog hands it in again |
//! | before the answer, or behind it | the record: it is brought to Redis at the position that it has, and told apart when it comes again |
//! | while it is pushed | the same: the cursor tells how much of it Redis has |
//! | behind the answer OK | the state `Done`: nothing is left. Killed between the two, rsyslog hands nothing in again and what it hands in next is other bytes |

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use delivery::position::{Epoch, Position};
use mapped::Mapped;

use crate::held::Section;
use crate::recall::{Unfinished, mark};

const MAGIC: u32 = u32::from_le_bytes(*b"omi1");
const HEADER: usize = 16;
const ENTRY: usize = 16;
/// The file has at least this many bytes.
const BYTES_MIN: usize = 1 << 20;
/// A file that grew over this is cut when nothing in it is needed.
const BYTES_KEPT: usize = 64 << 20;

/// Kinds of entries, in the low byte. Above it a record has the number of its section among those of the generation, from 1; 0 is the last one.
const SECTION: u32 = 1;
const RECORD: u32 = 2;
const KIND: u32 = 0xff;

/// What the last transaction has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Records are coming in.
    Open,
    /// All are there and are brought to Redis; an error may have been answered.
    Settling,
    /// Safe, and rsyslog knows.
    Done,
}

impl State {
    fn number(self) -> u32 {
        match self {
            Self::Open => 0,
            Self::Settling => 1,
            Self::Done => 2,
        }
    }
}

/// The file of this life.
#[derive(Debug)]
pub struct Intake {
    file: File,
    /// `None` if there was no room.
    map: Option<Mapped>,
    generation: u32,
    /// The end of what was written.
    end: usize,
    /// Sections of the generation.
    sections: u32,
    state: State,
    /// The last generation and kind, and what a checksum of them begins with.
    seed: (u32, u32, u32),
}

/// What an earlier life has left.
#[derive(Debug, Default)]
pub struct Left {
    /// Its records, with their positions.
    pub sections: Vec<Section>,
    /// The same for telling them apart.
    pub unfinished: Unfinished,
    /// The transaction's own number.
    pub generation: u32,
}

impl Intake {
    /// Opens or makes the file and reads what is left in it. What follows is written behind that, until [`done`](Self::done).
    pub fn open(path: &Path) -> io::Result<(Self, Left)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let Found { header, left, sections, end } = read(&file)?;
        let (generation, state) = header.unwrap_or((0, State::Done));
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let map = Some(Mapped::new(&file, bytes.max(BYTES_MIN))?);
        let mut intake = Self { file, map, generation, end, sections, state, seed: (0, 0, seed(0, 0)) };
        if header.is_none() {
            intake.state(State::Done)?;
            intake.word(0, MAGIC)?;
        }
        Ok((intake, left))
    }

    /// Reads what a file holds and leaves it as it is.
    pub fn peek(path: &Path) -> io::Result<Left> {
        Ok(read(&File::open(path)?)?.left)
    }

    /// True if the next life would find nothing.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Begins a section: its records stand in `list` from `at` on. Returns its number.
    pub fn section(&mut self, list: &str, at: Position) -> io::Result<u32> {
        self.reopen()?;
        let mut payload = [0; 16];
        payload[..8].copy_from_slice(&at.epoch.0.to_le_bytes());
        payload[8..].copy_from_slice(&at.offset.to_le_bytes());
        self.entry(SECTION, &[&payload, list.as_bytes()])?;
        self.sections += 1;
        Ok(self.sections)
    }

    /// The next record of the section with this number.
    pub fn record(&mut self, section: u32, record: &[u8]) -> io::Result<()> {
        let number = if section == self.sections { 0 } else { section };
        self.entry(RECORD | number << KIND.count_ones(), &[record])
    }

    /// So many records, all sections together, were answered `DEFER_COMMIT`.
    pub fn answered(&mut self, records: usize) -> io::Result<()> {
        self.word(8, records as u32)
    }

    /// All records of the transaction are there.
    pub fn settling(&mut self) -> io::Result<()> {
        self.state(State::Settling)
    }

    /// All of it is safe and rsyslog knows.
    pub fn done(&mut self) -> io::Result<()> {
        self.state(State::Done)?;
        if self.map.as_ref().is_none_or(|map| map.len() > BYTES_KEPT) {
            self.map = None;
            self.file.set_len(BYTES_MIN as u64)?;
            self.map = Some(Mapped::new(&self.file, BYTES_MIN)?);
        }
        Ok(())
    }

    /// Begins a new generation if the last one is done.
    fn reopen(&mut self) -> io::Result<()> {
        if self.state != State::Done {
            return Ok(());
        }
        self.generation = self.generation.wrapping_add(1).max(1);
        (self.end, self.sections) = (HEADER, 0);
        self.word(4, self.generation)?;
        self.word(8, 0)?;
        self.state(State::Open)
    }

    fn state(&mut self, state: State) -> io::Result<()> {
        self.state = state;
        self.word(12, state.number())
    }

    fn word(&mut self, at: usize, word: u32) -> io::Result<()> {
        let stored = self.map.as_mut().is_some_and(|map| map.store(at, &word.to_le_bytes()));
        if stored { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn entry(&mut self, kind: u32, parts: &[&[u8]]) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let end = self.end + ENTRY + length;
        self.reserve(end)?;
        let Some(map) = &mut self.map else { return Err(io::ErrorKind::StorageFull.into()) };
        let mut head = [0; ENTRY];
        if (self.seed.0, self.seed.1) != (self.generation, kind) {
            self.seed = (self.generation, kind, seed(self.generation, kind));
        }
        let sum = parts.iter().fold(self.seed.2, |sum, part| crc32c::crc32c_append(sum, part));
        let words = [self.generation, length as u32, sum, kind];
        for (place, word) in head.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let mut at = self.end;
        for part in std::iter::once(&head[..]).chain(parts.iter().copied()) {
            map.store(at, part);
            at += part.len();
        }
        self.end = end;
        Ok(())
    }

    /// Room for `bytes` in all.
    fn reserve(&mut self, bytes: usize) -> io::Result<()> {
        let have = self.map.as_ref().map_or(0, Mapped::len);
        if bytes > have {
            self.map = None;
            let mapped = Mapped::new(&self.file, bytes.max(2 * have).next_multiple_of(BYTES_MIN));
            // Without room for more: what is in there stays.
            self.map = match mapped {
                Ok(map) => Some(map),
                Err(error) => {
                    self.map = Mapped::new(&self.file, have.max(1)).ok();
                    return Err(error);
                }
            };
        }
        Ok(())
    }
}

fn seed(generation: u32, kind: u32) -> u32 {
    crc32c::crc32c_append(generation, &kind.to_le_bytes())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// What is in a file.
#[derive(Default)]
struct Found {
    header: Option<(u32, State)>,
    left: Left,
    /// Sections, those without records too.
    sections: u32,
    end: usize,
}

fn read(file: &File) -> io::Result<Found> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    if bytes.len() < HEADER || word(&bytes, 0) != MAGIC {
        return Ok(Found::default());
    }
    let (generation, answered) = (word(&bytes, 4), word(&bytes, 8));
    let state = match word(&bytes, 12) {
        0 => State::Open,
        1 => State::Settling,
        _ => return Ok(Found { header: Some((generation, State::Done)), end: HEADER, ..Found::default() }),
    };
    let mut left = Left { generation, ..Left::default() };
    let mut at = HEADER;
    while let Some((kind, payload)) = entry(&bytes, at, generation) {
        let number = match kind >> KIND.count_ones() {
            0 => left.sections.len(),
            number => number as usize,
        };
        match (kind & KIND, number.checked_sub(1).and_then(|at| left.sections.get_mut(at))) {
            (SECTION, _) => {
                let Some(section) = section(payload) else { break };
                left.sections.push(section);
            }
            (RECORD, Some(section)) => {
                section.push(payload);
                left.unfinished.marks.push(mark(payload));
            }
            _ => break,
        }
        at += ENTRY + payload.len();
    }
    let sections = left.sections.len() as u32;
    left.sections.retain(|section| !section.is_empty());
    left.unfinished.answered = answered as usize;
    left.unfinished.settling = state == State::Settling;
    Ok(Found { header: Some((generation, state)), left, sections, end: at })
}

fn entry(bytes: &[u8], at: usize, generation: u32) -> Option<(u32, &[u8])> {
    let head = bytes.get(at..at + ENTRY)?;
    let (length, sum, kind) = (word(head, 4) as usize, word(head, 8), word(head, 12));
    let payload = bytes.get(at + ENTRY..(at + ENTRY).checked_add(length)?)?;
    let right = word(head, 0) == generation && crc32c::crc32c_append(seed(generation, kind), payload) == sum;
    right.then_some((kind, payload))
}

fn section(payload: &[u8]) -> Option<Section> {
    let number = |at: usize| payload.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let at = Position { epoch: Epoch(number(0)?), offset: number(8)? };
    Some(Section::new(std::str::from_utf8(payload.get(16..)?).ok()?, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch(5), offset }
    }

    fn records(left: &Left) -> Vec<Vec<u8>> {
        left.sections.iter().flat_map(|section| section.records(0)).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn the_next_life_finds_what_was_not_done() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("intake");
        let (mut intake, left) = Intake::open(&path).expect("open");
        assert!(left.sections.is_empty() && intake.is_done());
        assert_eq!(intake.section("list", at(3)).expect("write"), 1);
        for record in [&b"a"[..], b"", b"\0\xff\n"] {
            intake.record(1, record).expect("write");
        }
        intake.answered(2).expect("write");
        let (mut again, left) = Intake::open(&path).expect("open");
        assert_eq!(records(&left), [&b"a"[..], b"", b"\0\xff\n"]);
        assert_eq!((left.sections[0].at, left.sections[0].list.as_str()), (at(3), "list"));
        assert_eq!((left.unfinished.answered, left.unfinished.settling), (2, false));
        // It goes on behind it.
        assert_eq!(again.section("list", Position { epoch: Epoch(6), offset: 0 }).expect("write"), 2);
        again.record(2, b"b").expect("write");
        again.settling().expect("write");
        let left = Intake::peek(&path).expect("read");
        assert_eq!(records(&left).len(), 4);
        assert_eq!(left.sections[1].at.epoch, Epoch(6));
        assert!(left.unfinished.settling);
        again.done().expect("write");
        assert!(records(&Intake::peek(&path).expect("read")).is_empty());
    }

    #[test]
    fn an_entry_that_was_cut_off_and_those_of_earlier_transactions_are_none() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("intake");
        let (mut intake, _) = Intake::open(&path).expect("open");
        for round in 0..3 {
            intake.section("list", at(round)).expect("write");
            for record in [&[b'x'; 50][..], &[b'y'; 50], &[b'z'; 50]].iter().take(3 - round as usize) {
                intake.record(1, record).expect("write");
            }
            let left = Intake::peek(&path).expect("read");
            assert_eq!(records(&left).len(), 3 - round as usize);
            intake.done().expect("write");
        }
        intake.section("list", at(9)).expect("write");
        intake.record(1, &[b'a'; 100]).expect("write");
        intake.record(1, &[b'b'; 100]).expect("write");
        let file = OpenOptions::new().write(true).open(&path).expect("open");
        let size = intake.end as u64;
        for cut in 1..=116 {
            file.write_all_at(b"!", size - cut).expect("write");
            assert_eq!(records(&Intake::peek(&path).expect("read")).len(), 1, "{cut}");
        }
    }

    #[test]
    fn records_of_several_lists_come_in_turn() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("intake");
        let (mut intake, _) = Intake::open(&path).expect("open");
        for (section, record) in [(1, b"a"), (1, b"b"), (2, b"c"), (1, b"d"), (2, b"e")] {
            if intake.sections < section {
                intake.section(&format!("list:{section}"), at(section.into())).expect("write");
            }
            intake.record(section, record).expect("write");
        }
        // The next life goes on with lists of its own.
        let (mut again, _) = Intake::open(&path).expect("open");
        assert_eq!(again.section("list:2", at(9)).expect("write"), 3);
        again.record(3, b"f").expect("write");
        again.record(2, b"g").expect("write");
        let left = Intake::peek(&path).expect("read");
        let told: Vec<(u64, &str, usize)> =
            left.sections.iter().map(|section| (section.at.offset, section.list.as_str(), section.len())).collect();
        assert_eq!(told, [(1, "list:1", 3), (2, "list:2", 3), (9, "list:2", 1)]);
        assert_eq!(records(&left), [b"a", b"b", b"d", b"c", b"e", b"g", b"f"]);
        assert_eq!(left.unfinished.marks, [b"a", b"b", b"c", b"d", b"e", b"f", b"g"].map(|record| mark(record)));
    }

    #[test]
    fn a_file_of_somebody_else_is_begun_anew() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("intake");
        for text in [&b""[..], b"x", &[0x55; 100]] {
            std::fs::write(&path, text).expect("write");
            let (mut intake, left) = Intake::open(&path).expect("open");
            assert!(left.sections.is_empty());
            intake.section("l", at(0)).expect("write");
            intake.record(1, b"r").expect("write");
            assert_eq!(records(&Intake::peek(&path).expect("read")).len(), 1);
        }
    }
}
