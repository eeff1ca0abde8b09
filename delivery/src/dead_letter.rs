//! Records that Redis will never take, and lines that are no records: parked with their reason, one JSON line each.
//!
//! A letter carries the position of its last byte. A process that is killed between writing a letter and moving the cursor
//! past it meets the same bytes again; the positions in the file tell what is here already.
//!
//! Lines that are no records are parked when they are read, ahead of the cursor, in the order of the stream: of them the last one
//! tells all. Records that Redis refuses are parked later, from the cursor on; of them each position counts, for between two of them
//! there may be records that Redis has taken.

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::descriptor::above_standard;
use crate::fault::{self, Place};
use crate::position::{Epoch, Position};
use crate::push::Mode;

/// Why a record was parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The line was torn, or does not have the frame that was agreed.
    Torn,
    /// The record is longer than `frame.record-max`; parts of it follow each other.
    TooLong,
    /// The spool's file was damaged where the line stood.
    Damaged,
    /// Redis refuses this record or this list.
    Refused,
}

impl Reason {
    /// The word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::TooLong => "too-long",
            Self::Damaged => "damaged",
            Self::Refused => "refused",
        }
    }
}

/// Bytes that are read at a time when the file is searched.
const CHUNK_BYTES: usize = 64 << 10;

/// The file `dead-letters.jsonl` in a folder.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    /// Whose letters count, if not all.
    list: Option<String>,
    /// The last line of each epoch that was parked while reading. Epochs may come in any order: the file may outlive the
    /// spool and the clock.
    framed: HashMap<Epoch, u64>,
    /// Refused records behind the position at which the stream went on.
    refused: BTreeSet<Position>,
    durable: bool,
    /// For whoever brings them back: the field of the entries, if the lists are streams of Redis'.
    field: Option<String>,
}

impl DeadLetters {
    /// Opens or creates the file in `folder`. With `durable` a letter is on disk when [`write`](Self::write) returns.
    pub fn open(folder: &Path, durable: bool) -> io::Result<Self> {
        Self::open_for(folder, durable, None)
    }

    /// The same. With a `list` only its letters count: several lanes of one stream share the file, and each parks in an order of its own.
    pub fn open_for(folder: &Path, durable: bool, list: Option<&str>) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join("dead-letters.jsonl");
        let list = list.map(str::to_owned);
        let mut letters = Self { path, list, framed: HashMap::new(), refused: BTreeSet::new(), durable, field: None };
        from_the_end(&letters.file()?, letters.list.as_deref(), |(end, refused)| {
            if refused {
                return ControlFlow::Continue(());
            }
            letters.framed.insert(end.epoch, end.offset);
            ControlFlow::Break(())
        })?;
        Ok(letters)
    }

    /// They were for lists that are filled so.
    #[must_use]
    pub fn of(mut self, mode: &Mode) -> Self {
        self.field = mode.entry().map(|entry| entry.field.clone());
        self
    }

    /// The stream goes on at `at`: looks up what behind it was parked already.
    pub fn resume(&mut self, at: Position) -> io::Result<()> {
        self.refused.clear();
        // Whatever was parked behind `at` was written after everything that was parked before it.
        from_the_end(&self.file()?, self.list.as_deref(), |(end, refused)| {
            if end <= at {
                return ControlFlow::Break(());
            }
            if refused {
                self.refused.insert(end);
            } else {
                let last = self.framed.entry(end.epoch).or_default();
                *last = end.offset.max(*last);
            }
            ControlFlow::Continue(())
        })
    }

    /// True if the record that ends at `end` was parked because Redis refused it: it must not be pushed any more.
    pub fn is_refused(&self, end: Position) -> bool {
        self.refused.contains(&end)
    }

    /// The ends of the records behind `from`, up to `to`, that were parked because Redis refused them.
    pub fn refused_between(&self, from: Position, to: Position) -> impl Iterator<Item = Position> + '_ {
        use std::ops::Bound::{Excluded, Included};
        // A range must not be empty the wrong way round.
        self.refused.range((Excluded(from), Included(to))).copied()
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
        self.write_all(reason, list, detail, std::iter::once((end, record)), unix_seconds).map(|fresh| fresh == 1)
    }

    /// Parks several, all of them or none. Returns how many had not been parked before.
    pub fn write_all<'a>(
        &mut self,
        reason: Reason,
        list: &str,
        detail: &str,
        records: impl Iterator<Item = (Position, &'a [u8])>,
        unix_seconds: u64,
    ) -> io::Result<u64> {
        let mut ends = Vec::new();
        let mut lines = Vec::new();
        for (end, record) in records {
            let known = match reason {
                Reason::Refused => self.refused.contains(&end),
                Reason::Torn | Reason::TooLong | Reason::Damaged => {
                    self.framed.get(&end.epoch).is_some_and(|last| *last >= end.offset)
                }
            };
            if !known {
                lines.append(&mut render(reason, (list, self.field.as_deref()), detail, end, record, unix_seconds));
                ends.push(end);
            }
        }
        if ends.is_empty() {
            return Ok(0);
        }
        fault::pass(Place::DeadLetterBeforeWrite);
        let mut file = self.file()?;
        // Two bridges may share the file.
        file.lock()?;
        let size = file.metadata()?.len();
        if size > 0 && !ends_with_newline(&file, size)? {
            // A letter that was cut off by a full disk or a kill: it will be read as a damaged line of its own.
            lines.insert(0, b'\n');
        }
        let written = file.write_all(&lines).and_then(|()| if self.durable { file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            file.set_len(size)?;
            return Err(error);
        }
        fault::pass(Place::DeadLetterAfterWrite);
        for end in &ends {
            match reason {
                Reason::Refused => drop(self.refused.insert(*end)),
                Reason::Torn | Reason::TooLong | Reason::Damaged => drop(self.framed.insert(end.epoch, end.offset)),
            }
        }
        Ok(ends.len() as u64)
    }

    /// Nobody will ask any more for the refused records that are known.
    pub fn forget_refused(&mut self) {
        self.refused.clear();
    }

    /// The file as it is now: people move and remove it while we run.
    fn file(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).mode(0o640);
        match options.open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened.and_then(above_standard),
        }
        let file = above_standard(options.create(true).open(&self.path)?)?;
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

fn render(
    reason: Reason,
    (list, field): (&str, Option<&str>),
    detail: &str,
    end: Position,
    record: &[u8],
    unix_seconds: u64,
) -> Vec<u8> {
    let mut letter = serde_json::Map::new();
    letter.insert("time".into(), unix_seconds.into());
    letter.insert("lane".into(), list.into());
    if let Some(field) = field {
        letter.insert("stream_field".into(), field.into());
    }
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

/// Shows the whole letters of the file, or of one list in it, the last one first: where each ends, and whether Redis had refused it.
fn from_the_end(
    file: &File,
    list: Option<&str>,
    mut look: impl FnMut((Position, bool)) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut from = file.metadata()?.len();
    // The beginning of the file's part that was read, up to its first LF: its line begins further ahead.
    let mut rest = Vec::new();
    while from > 0 {
        let chunk = CHUNK_BYTES.min(usize::try_from(from).unwrap_or(CHUNK_BYTES));
        from -= chunk as u64;
        let mut bytes = vec![0; chunk];
        file.read_exact_at(&mut bytes, from)?;
        bytes.append(&mut rest);
        let begin = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) if from > 0 => end + 1,
            None if from > 0 => {
                rest = bytes;
                continue;
            }
            _ => 0,
        };
        let letters = bytes[begin..].split(|byte| *byte == b'\n').rev().filter_map(|line| parse(line, list));
        for letter in letters {
            if look(letter).is_break() {
                return Ok(());
            }
        }
        bytes.truncate(begin);
        rest = bytes;
    }
    Ok(())
}

/// A line that was cut off by a full disk or a kill is no letter.
fn parse(line: &[u8], list: Option<&str>) -> Option<(Position, bool)> {
    let letter: serde_json::Value = serde_json::from_slice(line).ok()?;
    if list.is_some_and(|list| letter["lane"] != list) {
        return None;
    }
    let end = Position::parse(letter.get("end")?.as_str()?.as_bytes())?;
    Some((end, letter.get("reason")?.as_str()? == Reason::Refused.word()))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_letter_that_was_cut_off_is_written_again() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("dead-letters.jsonl");
        let whole = render(Reason::Torn, ("l", None), "d", at(5), b"a", 7);
        let cut = render(Reason::Torn, ("l", None), "d", at(9), &vec![b'x'; 100_000], 7);
        std::fs::write(&path, [&whole[..], &cut[..cut.len() - 10]].concat()).expect("prepare");
        let mut letters = DeadLetters::open(folder.path(), false).expect("open");
        assert_eq!(letters.framed.get(&Epoch(1)), Some(&5));
        assert!(letters.write(Reason::Torn, "l", "d", (at(9), b"b"), 7).expect("write"));
        assert_eq!(DeadLetters::open(folder.path(), false).expect("open").framed.get(&Epoch(1)), Some(&9));
    }

    #[test]
    fn a_refused_record_is_parked_although_a_line_behind_it_was() {
        let folder = tempfile::tempdir().expect("folder");
        let mut letters = DeadLetters::open(folder.path(), false).expect("open");
        assert!(letters.write(Reason::Torn, "l", "d", (at(50), b"torn"), 7).expect("write"));
        for end in [10, 20, 30] {
            assert!(letters.write(Reason::Refused, "l", "d", (at(end), b"record"), 7).expect("write"));
            assert!(!letters.write(Reason::Refused, "l", "d", (at(end), b"record"), 7).expect("write"));
        }
        let mut again = DeadLetters::open(folder.path(), false).expect("open");
        assert!(!again.write(Reason::Torn, "l", "d", (at(40), b"torn"), 7).expect("write"));
        again.resume(at(10)).expect("resume");
        let refused: Vec<bool> = [10, 20, 25, 30, 50].map(|end| again.is_refused(at(end))).into();
        assert_eq!(refused, [false, true, false, true, false]);
    }

    #[test]
    fn lanes_share_the_file_and_each_knows_its_own_letters() {
        let folder = tempfile::tempdir().expect("folder");
        let open = |list| DeadLetters::open_for(folder.path(), false, Some(list)).expect("open");
        let park = |letters: &mut DeadLetters, list, offset| {
            let reason = if offset % 2 == 0 { Reason::Refused } else { Reason::Torn };
            letters.write(reason, list, "d", (at(offset), b"x"), 7).expect("write")
        };
        let (mut ahead, mut behind) = (open("l:0"), open("l:1"));
        assert!(park(&mut ahead, "l:0", 101) && park(&mut ahead, "l:0", 200));
        // A lane that is behind parks what comes earlier in the stream.
        assert!(park(&mut behind, "l:1", 51) && park(&mut behind, "l:1", 60));
        let (mut ahead, mut behind) = (open("l:0"), open("l:1"));
        ahead.resume(at(0)).expect("resume");
        behind.resume(at(0)).expect("resume");
        assert!(!park(&mut ahead, "l:0", 101) && !park(&mut ahead, "l:0", 200));
        assert!(!park(&mut behind, "l:1", 51) && !park(&mut behind, "l:1", 60));
        assert!(park(&mut behind, "l:1", 101) && park(&mut behind, "l:1", 200));
    }

    #[test]
    fn letters_are_found_from_the_end_whatever_their_size() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("dead-letters.jsonl");
        let sizes = [10, CHUNK_BYTES, 3 * CHUNK_BYTES, 1, 0, 2 * CHUNK_BYTES - 1, 500];
        let mut text = b"no letter\n\n".to_vec();
        for (index, size) in sizes.into_iter().enumerate() {
            text.extend(render(Reason::Refused, ("l", None), "d", at(index as u64), &vec![b'x'; size], 7));
        }
        std::fs::write(&path, text).expect("prepare");
        let mut found = Vec::new();
        let file = File::open(path).expect("open");
        from_the_end(&file, None, |(end, _)| {
            found.push(end.offset);
            ControlFlow::Continue(())
        })
        .expect("read");
        assert_eq!(found, [6, 5, 4, 3, 2, 1, 0]);
    }

    /// Opens it as a bridge does that goes on before everything.
    fn reopen(folder: &Path) -> DeadLetters {
        let mut letters = DeadLetters::open(folder, false).expect("open");
        letters.resume(Position::start(Epoch(0))).expect("resume");
        letters
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
        for mut letters in [letters, reopen(folder.path())] {
            assert!(!park(&mut letters, Reason::Torn, at(500)));
            assert!(!park(&mut letters, Reason::Refused, at(400)));
            assert!(!park(&mut letters, Reason::TooLong, at(600)));
            assert_eq!(count(&letters), 3);
        }
    }

    #[test]
    fn an_earlier_epoch_has_letters_of_its_own() {
        let folder = tempfile::tempdir().expect("folder");
        let mut letters = DeadLetters::open(folder.path(), false).expect("open");
        let later = Position { epoch: Epoch(9), offset: 5 };
        assert!(park(&mut letters, Reason::Torn, later));
        let mut other = DeadLetters::open(folder.path(), false).expect("open");
        assert!(park(&mut other, Reason::Torn, at(5)));
        assert!(!park(&mut other, Reason::Torn, later));
        let mut again = reopen(folder.path());
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
}
