//! Reading `dead-letters.jsonl`, to look at it and to bring letters back. Nothing is ever changed in it: the doors look up in it what
//! they have parked.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Take};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use xxhash_rust::xxh3::xxh3_64;

/// A record that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The line that it stands in, from 1.
    pub line: u64,
    /// When it was parked, in seconds since 1970.
    pub time: u64,
    /// Why, in a word.
    pub reason: String,
    /// The list that it was for.
    pub list: String,
    /// The field of an entry, if the list is a stream of Redis'.
    pub field: Option<String>,
    /// Why, in a sentence.
    pub detail: String,
    /// Its bytes.
    pub record: Vec<u8>,
}

/// The whole letters of a file as it was when it was opened, oldest first.
#[derive(Debug)]
pub struct Letters {
    lines: BufReader<Take<File>>,
    line: Vec<u8>,
    number: u64,
    damaged: u64,
    identity: u64,
}

/// A short stand-in for a list's name that may be long.
pub fn hash(list: &str) -> u64 {
    xxh3_64(list.as_bytes())
}

/// The file that `path` means: itself, or the letters in the folder that it is.
pub fn file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("dead-letters.jsonl") } else { path.to_owned() }
}

impl Letters {
    /// Opens the file. With `durable` everything that is seen is on disk: it will not be gone after a loss of power.
    pub fn open(path: &Path, durable: bool) -> io::Result<Self> {
        let file = File::open(path)?;
        // Whoever writes has the lock, and takes back what he could not write whole.
        file.lock_shared()?;
        let size = file.metadata()?.len();
        file.unlock()?;
        if durable {
            file.sync_data()?;
        }
        let mut first = Vec::new();
        BufReader::new(File::open(path)?.take(size)).read_until(b'\n', &mut first)?;
        let lines = BufReader::new(file.take(size));
        Ok(Self { lines, line: Vec::new(), number: 0, damaged: 0, identity: xxh3_64(&first) })
    }

    /// What tells this file from others: made of its first line, which stays as long as the file does, and has a position of its own.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// The next letter.
    pub fn next_letter(&mut self) -> io::Result<Option<Letter>> {
        loop {
            self.line.clear();
            self.lines.read_until(b'\n', &mut self.line)?;
            if !self.line.ends_with(b"\n") {
                return Ok(None);
            }
            self.number += 1;
            match parse(&self.line, self.number) {
                Some(letter) => return Ok(Some(letter)),
                None => self.damaged += u64::from(self.line.len() > 1),
            }
        }
    }

    /// Lines so far that are no letters: cut off by a full disk or a kill, and written again behind.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }
}

fn parse(line: &[u8], number: u64) -> Option<Letter> {
    let letter: serde_json::Value = serde_json::from_slice(line).ok()?;
    let text = |key: &str| letter.get(key)?.as_str();
    let record = match text("record") {
        Some(record) => record.as_bytes().to_vec(),
        None => STANDARD.decode(text("record_base64")?).ok()?,
    };
    Some(Letter {
        line: number,
        time: letter.get("time").and_then(serde_json::Value::as_u64).unwrap_or(0),
        reason: text("reason")?.to_owned(),
        list: text("lane")?.to_owned(),
        field: text("stream_field").map(str::to_owned),
        detail: text("detail").unwrap_or_default().to_owned(),
        record,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::{DeadLetters, Reason};
    use crate::position::{Epoch, Position};
    use crate::push::{Entry, Mode};

    fn read(path: &Path) -> (Vec<Letter>, u64, u64) {
        let mut letters = Letters::open(path, true).expect("open");
        let mut all = Vec::new();
        while let Some(letter) = letters.next_letter().expect("read") {
            all.push(letter);
        }
        (all, letters.damaged(), letters.identity())
    }

    #[test]
    fn what_was_parked_is_read_again() {
        let folder = tempfile::tempdir().expect("folder");
        let mut parked = DeadLetters::open(folder.path(), false).expect("open");
        let at = |offset| Position { epoch: Epoch(1), offset };
        parked.write(Reason::Refused, "l", "why", (at(5), b"one"), 7).expect("write");
        let path = file(folder.path());
        let first = read(&path).2;
        let text = std::fs::read(&path).expect("read");
        std::fs::write(&path, [&text[..], b"{\"cut\": \"of"].concat()).expect("damage");
        parked.write(Reason::Torn, "m", "", (at(9), &[0xff, b'\n']), 8).expect("write");
        let (letters, damaged, identity) = read(&path);
        let seen: Vec<_> = letters.iter().map(|l| (l.line, &*l.reason, &*l.list, &*l.record)).collect();
        assert_eq!(seen, [(1, "refused", "l", &b"one"[..]), (3, "torn", "m", &[0xff, b'\n'])]);
        assert_eq!((damaged, identity), (1, first));
        assert!(letters.iter().all(|letter| letter.field.is_none()));
        let mut parked = parked.of(&Mode::Stream(Entry::default()));
        parked.write(Reason::Refused, "s", "", (at(20), b"two"), 9).expect("write");
        assert_eq!(read(&path).0[2].field.as_deref(), Some("msg"));
    }
}
