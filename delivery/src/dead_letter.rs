//! Records that Redis will never take, and lines that are no records: parked with their reason, one JSON line each.
//!
//! A letter carries the position of its last byte. A process that is killed between writing a letter and moving the cursor
//! past it meets the same bytes again; the positions of earlier letters tell that they are here already.
//!
//! Two orders have to be told apart. A line that is no record is parked when it is cut, ahead of the batches that are under
//! way; a record that Redis refuses is parked after its answer, when lines behind it may be parked already. Each order
//! alone only grows, within its epoch. Epochs may come in any order: the folder may outlive the spool and the clock.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::fault::{self, Place};
use crate::position::{Epoch, Position};

/// How far back the file is searched for letters of this stream, at least: further than a batch reaches.
const SEARCH_BYTES: u64 = 1 << 20;

/// Why a record was parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The line was torn, or does not have the frame that was agreed.
    Torn,
    /// The record is longer than `frame.record-max`; parts of it follow each other.
    TooLong,
    /// Redis refuses this record or this list.
    Refused,
}

impl Reason {
    const ALL: [Self; 3] = [Self::Torn, Self::TooLong, Self::Refused];

    /// The word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::TooLong => "too-long",
            Self::Refused => "refused",
        }
    }

    fn order(self) -> Order {
        match self {
            Self::Torn | Self::TooLong => Order::Cut,
            Self::Refused => Order::Answered,
        }
    }
}

/// When letters are written, in the order of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Order {
    Cut,
    Answered,
}

/// The last letter of each epoch and order.
type Last = HashMap<(Epoch, Order), u64>;

/// The file `dead-letters.jsonl` in a folder.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    last: Last,
    durable: bool,
}

impl DeadLetters {
    /// Opens or creates the file in `folder`. With `durable` a letter is on disk when [`write`](Self::write) returns.
    pub fn open(folder: &Path, durable: bool) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut letters = Self { path: folder.join("dead-letters.jsonl"), last: Last::new(), durable };
        letters.last = search(&mut letters.file()?)?;
        Ok(letters)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Parks `record`, whose last byte ends at `end`. False if it had been parked before.
    ///
    /// `list` is where it should have gone, `detail` what there is to say, `unix_seconds` the time.
    pub fn write(
        &mut self,
        reason: Reason,
        list: &str,
        detail: &str,
        (end, record): (Position, &[u8]),
        unix_seconds: u64,
    ) -> io::Result<bool> {
        let key = (end.epoch, reason.order());
        if self.last.get(&key).is_some_and(|last| *last >= end.offset) {
            return Ok(false);
        }
        let mut line = render(reason, list, detail, end, record, unix_seconds);
        fault::pass(Place::DeadLetterBeforeWrite);
        let mut file = self.file()?;
        // Two bridges may share the file.
        file.lock()?;
        let size = file.metadata()?.len();
        if size > 0 && !ends_with_newline(&file, size)? {
            // A letter that was cut off by a full disk or a kill: it will be read as a damaged line of its own.
            line.insert(0, b'\n');
        }
        let written = file.write_all(&line).and_then(|()| if self.durable { file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            file.set_len(size)?;
            return Err(error);
        }
        fault::pass(Place::DeadLetterAfterWrite);
        self.last.insert(key, end.offset);
        Ok(true)
    }

    /// The file as it is now: people move and remove it while we run.
    fn file(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).mode(0o640);
        match options.open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let file = options.create(true).open(&self.path)?;
        if let (true, Some(folder)) = (self.durable, self.path.parent()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(file)
    }
}

fn ends_with_newline(file: &File, size: u64) -> io::Result<bool> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, size - 1)?;
    Ok(byte[0] == b'\n')
}

fn render(reason: Reason, list: &str, detail: &str, end: Position, record: &[u8], unix_seconds: u64) -> Vec<u8> {
    let mut letter = serde_json::Map::new();
    letter.insert("time".into(), unix_seconds.into());
    letter.insert("lane".into(), list.into());
    letter.insert("reason".into(), reason.word().into());
    letter.insert("detail".into(), detail.into());
    letter.insert("end".into(), end.to_string().into());
    match std::str::from_utf8(record) {
        Ok(text) => letter.insert("record".into(), text.into()),
        Err(_) => letter.insert("record_base64".into(), STANDARD.encode(record).into()),
    };
    let mut line = serde_json::Value::Object(letter).to_string().into_bytes();
    line.push(b'\n');
    line
}

/// What the end of the file tells: at least one whole letter, if there is one.
fn search(file: &mut File) -> io::Result<Last> {
    let size = file.metadata()?.len();
    let mut window = SEARCH_BYTES;
    loop {
        let from = size.saturating_sub(window);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        (&*file).take(size - from).read_to_end(&mut tail)?;
        let mut last = Last::new();
        // The first line of the window may be the end of a longer one: it does not parse, or it is whole.
        for (end, order) in tail.split(|byte| *byte == b'\n').filter_map(parse) {
            let known = last.entry((end.epoch, order)).or_default();
            *known = end.offset.max(*known);
        }
        if !last.is_empty() || from == 0 {
            return Ok(last);
        }
        window = window.saturating_mul(4);
    }
}

fn parse(line: &[u8]) -> Option<(Position, Order)> {
    let letter: serde_json::Value = serde_json::from_slice(line).ok()?;
    let end = Position::parse(letter.get("end")?.as_str()?.as_bytes())?;
    let word = letter.get("reason")?.as_str()?;
    let reason = Reason::ALL.into_iter().find(|reason| reason.word() == word)?;
    Some((end, reason.order()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Epoch;

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch(1), offset }
    }

    #[test]
    fn a_letter_is_parked_once_also_after_a_restart() {
        let folder = tempfile::tempdir().expect("folder");
        let mut letters = DeadLetters::open(folder.path(), true).expect("open");
        assert!(letters.write(Reason::Torn, "l", "d", (at(5), b"half"), 7).expect("write"));
        assert!(!letters.write(Reason::Torn, "l", "d", (at(5), b"half"), 7).expect("write"));
        let mut again = DeadLetters::open(folder.path(), false).expect("open");
        assert!(!again.write(Reason::Torn, "l", "d", (at(5), b"half"), 7).expect("write"));
        assert!(again.write(Reason::TooLong, "l", "d", (at(9), &[0xff, 0]), 7).expect("write"));
        let text = std::fs::read_to_string(letters.path()).expect("read");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["record"], "half");
        assert_eq!(lines[1]["record_base64"], "/wA=");
        assert_eq!(lines[1]["reason"], "too-long");
    }

    fn park(letters: &mut DeadLetters, reason: Reason, end: Position) -> bool {
        letters.write(reason, "l", "d", (end, b"r"), 7).expect("write")
    }

    fn count(letters: &DeadLetters) -> usize {
        std::fs::read_to_string(letters.path()).expect("read").lines().count()
    }

    #[test]
    fn a_refused_record_is_parked_although_a_torn_line_behind_it_was_first() {
        let folder = tempfile::tempdir().expect("folder");
        let mut letters = DeadLetters::open(folder.path(), false).expect("open");
        assert!(park(&mut letters, Reason::Torn, at(500)));
        assert!(park(&mut letters, Reason::Refused, at(400)));
        assert!(park(&mut letters, Reason::TooLong, at(600)));
        for mut letters in [letters, DeadLetters::open(folder.path(), false).expect("open")] {
            assert!(!park(&mut letters, Reason::Torn, at(500)));
            assert!(!park(&mut letters, Reason::Refused, at(400)));
            assert!(!park(&mut letters, Reason::TooLong, at(600)));
            assert_eq!(count(&letters), 3);
        }
    }

    /// A new spool under a clock that went back, or another bridge that shares the folder.
    #[test]
    fn an_earlier_epoch_has_letters_of_its_own() {
        let folder = tempfile::tempdir().expect("folder");
        let mut letters = DeadLetters::open(folder.path(), false).expect("open");
        let later = Position { epoch: Epoch(9), offset: 5 };
        assert!(park(&mut letters, Reason::Torn, later));
        let mut other = DeadLetters::open(folder.path(), false).expect("open");
        assert!(park(&mut other, Reason::Torn, at(5)));
        assert!(!park(&mut other, Reason::Torn, later));
        let mut again = DeadLetters::open(folder.path(), false).expect("open");
        assert!(!park(&mut again, Reason::Torn, at(5)));
        assert!(!park(&mut again, Reason::Torn, later));
        assert!(park(&mut letters, Reason::Torn, at(6)));
        assert_eq!(count(&letters), 3);
    }

    #[test]
    fn a_file_that_was_moved_or_removed_is_made_again() {
        let folder = tempfile::tempdir().expect("folder");
        let mut letters = DeadLetters::open(folder.path(), true).expect("open");
        assert!(park(&mut letters, Reason::Torn, at(1)));
        let moved = folder.path().join("old");
        std::fs::rename(letters.path(), &moved).expect("rename");
        assert!(park(&mut letters, Reason::Torn, at(2)));
        assert!(!park(&mut letters, Reason::Torn, at(1)));
        std::fs::remove_file(letters.path()).expect("remove");
        assert!(park(&mut letters, Reason::Torn, at(3)));
        assert_eq!(count(&letters), 1);
        assert_eq!(std::fs::read_to_string(moved).expect("read").lines().count(), 1);
    }

    #[test]
    fn a_letter_that_cannot_be_written_is_an_error_and_comes_later() {
        let folder = tempfile::tempdir().expect("folder");
        let mut letters = DeadLetters::open(folder.path(), false).expect("open");
        assert!(park(&mut letters, Reason::Torn, at(1)));
        let good = folder.path().join("good");
        std::fs::rename(letters.path(), &good).expect("rename");
        std::fs::create_dir(letters.path()).expect("folder");
        assert!(letters.write(Reason::Torn, "l", "d", (at(2), b"r"), 7).is_err());
        std::fs::remove_dir(letters.path()).expect("remove");
        std::fs::rename(&good, letters.path()).expect("rename");
        assert!(park(&mut letters, Reason::Torn, at(2)));
        assert_eq!(count(&letters), 2);
    }

    #[test]
    fn a_letter_that_was_cut_off_is_written_again() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("dead-letters.jsonl");
        let whole = render(Reason::Torn, "l", "d", at(5), b"a", 7);
        let cut = render(Reason::Torn, "l", "d", at(9), &vec![b'x'; 100_000], 7);
        std::fs::write(&path, [&whole[..], &cut[..cut.len() - 10]].concat()).expect("prepare");
        let mut letters = DeadLetters::open(folder.path(), false).expect("open");
        assert_eq!(letters.last, Last::from([((Epoch(1), Order::Cut), 5)]));
        assert!(letters.write(Reason::Torn, "l", "d", (at(9), b"b"), 7).expect("write"));
        assert_eq!(
            DeadLetters::open(folder.path(), false).expect("open").last,
            Last::from([((Epoch(1), Order::Cut), 9)])
        );
    }
}
