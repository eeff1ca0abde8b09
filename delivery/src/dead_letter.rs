//! Records that Redis will never take, and lines that are no records: parked with their reason, one JSON line each.
//!
//! A letter carries the position of its last byte. A process that is killed between writing a letter and moving the cursor
//! past it meets the same bytes again; the last letter's position tells that they are here already.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::fault::{self, Place};
use crate::position::Position;

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
    /// The word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::TooLong => "too-long",
            Self::Refused => "refused",
        }
    }
}

/// The file `dead-letters.jsonl` of one spool.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    file: File,
    last: Option<Position>,
    durable: bool,
}

impl DeadLetters {
    /// Opens or creates the file in `folder`. With `durable` a letter is on disk when [`write`](Self::write) returns.
    pub fn open(folder: &Path, durable: bool) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join("dead-letters.jsonl");
        let mut file = File::options().read(true).append(true).create(true).open(&path)?;
        let last = last_position(&mut file)?;
        Ok(Self { path, file, last, durable })
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
        if self.last.is_some_and(|last| last >= end) {
            return Ok(false);
        }
        let mut line = render(reason, list, detail, end, record, unix_seconds);
        fault::pass(Place::DeadLetterBeforeWrite);
        let size = self.file.metadata()?.len();
        if size > 0 && !self.ends_with_newline(size)? {
            // A letter that was cut off by a full disk or a kill: it will be read as a damaged line of its own.
            line.insert(0, b'\n');
        }
        if let Err(error) = self.file.write_all(&line) {
            self.file.set_len(size)?;
            return Err(error);
        }
        if self.durable {
            self.file.sync_data()?;
        }
        fault::pass(Place::DeadLetterAfterWrite);
        self.last = Some(end);
        Ok(true)
    }

    fn ends_with_newline(&self, size: u64) -> io::Result<bool> {
        use std::os::unix::fs::FileExt as _;
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, size - 1)?;
        Ok(byte[0] == b'\n')
    }
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

/// The position of the last whole letter, looked for from the end of the file.
fn last_position(file: &mut File) -> io::Result<Option<Position>> {
    let size = file.metadata()?.len();
    let mut window = 64 << 10;
    loop {
        let from = size.saturating_sub(window);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        (&*file).take(size - from).read_to_end(&mut tail)?;
        // The first line of the window may be the end of a longer one: it does not parse, or it is whole.
        let found = tail.split(|byte| *byte == b'\n').rev().find_map(|line| {
            let letter: serde_json::Value = serde_json::from_slice(line).ok()?;
            Position::parse(letter.get("end")?.as_str()?.as_bytes())
        });
        if found.is_some() || from == 0 {
            return Ok(found);
        }
        window = window.saturating_mul(4);
    }
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

    #[test]
    fn a_letter_that_was_cut_off_is_written_again() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("dead-letters.jsonl");
        let whole = render(Reason::Torn, "l", "d", at(5), b"a", 7);
        let cut = render(Reason::Torn, "l", "d", at(9), &vec![b'x'; 100_000], 7);
        std::fs::write(&path, [&whole[..], &cut[..cut.len() - 10]].concat()).expect("prepare");
        let mut letters = DeadLetters::open(folder.path(), false).expect("open");
        assert_eq!(letters.last, Some(at(5)));
        assert!(letters.write(Reason::Torn, "l", "d", (at(9), b"b"), 7).expect("write"));
        assert_eq!(DeadLetters::open(folder.path(), false).expect("open").last, Some(at(9)));
    }
}
