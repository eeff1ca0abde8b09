//! `spool export`: the records on standard output.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use delivery::journal::{JournalError, frame, inspect as batches};
use delivery::position::Position;
use delivery::spool::{SpoolError, inspect as bytes};
use serde_json::{Map, Value};

use super::Store;

/// Why it ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The spool cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The spool cannot be read.
    #[error("{}", crate::chain(.0))]
    Stream(#[from] SpoolError),
    /// What was made cannot be written.
    #[error("cannot write: {0}")]
    Out(#[from] io::Error),
}

/// What is written, and how.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// Also what Redis has confirmed and is still there.
    pub all: bool,
    /// The bytes and a line feed, instead of a line of JSON.
    pub raw: bool,
}

/// Writes the records of `store` to `out`; how many.
pub fn export(store: &Store, form: Form, out: &mut impl Write) -> Result<u64, ExportError> {
    match store {
        Store::Stream(look) => stream(look, form, out),
        Store::Journal(look) => journal(look, form, out),
    }
}

fn journal(look: &batches::Inspection, form: Form, out: &mut impl Write) -> Result<u64, ExportError> {
    let mut count = 0;
    look.walk(|seen| {
        let batches::Seen::Frame { frame, waits } = seen else { return Ok(()) };
        let Ok(batch) = frame::Batch::decode(frame.payload) else { return Ok(()) };
        if !waits && !form.all {
            return Ok(());
        }
        for part in &batch.parts {
            for (index, record) in part.records.iter().enumerate() {
                count += 1;
                if form.raw {
                    out.write_all(record)?;
                    out.write_all(b"\n")?;
                    continue;
                }
                let at = Position { offset: part.start.offset + index as u64, ..part.start };
                let mut line = Map::new();
                line.insert("list".into(), part.list.into());
                line.insert("producer".into(), format!("{}:{}", batch.producer, part.slot).into());
                line.insert("position".into(), at.to_string().into());
                line.insert("frame".into(), frame.lsn.0.into());
                put(&mut line, "record", record);
                writeln!(out, "{}", Value::Object(line))?;
            }
        }
        Ok(())
    })
    .and_then(|()| Ok(out.flush()?))
    .map(|()| count)
}

/// Lines of the stream as they are put together from pieces.
struct Lines<'a, W> {
    out: &'a mut W,
    form: Form,
    acked: Option<Position>,
    /// A line without its end so far, and where it began.
    line: Vec<u8>,
    at: Option<Position>,
    damaged: bool,
    count: u64,
}

impl<W: Write> Lines<'_, W> {
    fn add(&mut self, at: Position, mut bytes: &[u8], good: bool) -> io::Result<()> {
        let mut offset = at.offset;
        while !bytes.is_empty() {
            let start = Position { epoch: at.epoch, offset };
            let begins = *self.at.get_or_insert(start);
            if begins.epoch != at.epoch {
                self.end(true)?;
                continue;
            }
            self.damaged |= !good;
            let end = memchr::memchr(b'\n', bytes);
            let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.line.extend_from_slice(piece);
            offset += piece.len() as u64;
            bytes = rest;
            if end.is_some() {
                (bytes, offset) = (&bytes[1..], offset + 1);
                self.end(false)?;
            }
        }
        Ok(())
    }

    /// The line ends here, whole or torn.
    fn end(&mut self, torn: bool) -> io::Result<()> {
        let Some(at) = self.at.take() else { return Ok(()) };
        let behind = Position { offset: at.offset + self.line.len() as u64 + 1, ..at };
        let line = std::mem::take(&mut self.line);
        let damaged = std::mem::take(&mut self.damaged);
        if self.acked.is_some_and(|acked| behind <= acked) && !self.form.all {
            return Ok(());
        }
        self.count += 1;
        if self.form.raw {
            self.out.write_all(&line)?;
            return self.out.write_all(b"\n");
        }
        let mut object = Map::new();
        object.insert("position".into(), at.to_string().into());
        put(&mut object, "line", &line);
        for (word, is) in [("torn", torn), ("damaged", damaged)] {
            if is {
                object.insert(word.into(), true.into());
            }
        }
        writeln!(self.out, "{}", Value::Object(object))
    }
}

fn stream(look: &bytes::Inspection, form: Form, out: &mut impl Write) -> Result<u64, ExportError> {
    let mut lines = Lines { out, form, acked: look.acked(), line: Vec::new(), at: None, damaged: false, count: 0 };
    look.walk(|seen| match seen {
        bytes::Seen::Bytes { at, bytes, good } => Ok::<(), ExportError>(lines.add(at, bytes, good)?),
        bytes::Seen::Gap(..) => Ok(lines.end(true)?),
        bytes::Seen::Surplus(..) => Ok(()),
    })?;
    lines.end(true)?;
    lines.out.flush()?;
    Ok(lines.count)
}

/// As text if it is some.
fn put(line: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => line.insert(key.into(), text.into()),
        Err(_) => line.insert(format!("{key}_base64"), STANDARD.encode(bytes).into()),
    };
}
