//! `spool status` and `spool verify`.

use std::fmt::Write as _;
use std::path::Path;

use delivery::journal::{self, Count, JournalError};
use delivery::spool::{self, SpoolError};
use serde_json::{Map, Value, json};

use super::{Store, dead_letters, told};

/// What was found, for people and for programs.
#[derive(Debug)]
pub struct Report {
    /// The figures.
    pub values: Map<String, Value>,
    /// What is wrong: something is damaged or lost.
    pub faults: Vec<String>,
    /// What is worth a look.
    pub notes: Vec<String>,
}

impl Report {
    fn new(store: &Store, directory: &Path) -> Self {
        let mut values = Map::new();
        values.insert("spool".into(), directory.display().to_string().into());
        values.insert("kind".into(), store.kind().into());
        Self { values, faults: Vec::new(), notes: Vec::new() }
    }

    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.values.insert(key.into(), value.into());
    }

    /// As JSON.
    pub fn json(mut self) -> Value {
        self.put("faults", self.faults.clone());
        self.put("notes", self.notes.clone());
        Value::Object(self.values)
    }

    /// As text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let width = self.values.keys().map(String::len).max().unwrap_or(0);
        for (key, value) in &self.values {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            // A string takes it.
            let _ = writeln!(text, "{:width$}  {value}", key.replace('_', " "));
        }
        for line in self.faults.iter().chain(&self.notes) {
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

/// What is in the spool, from names and marks: fast.
pub fn status(store: &Store, directory: &Path) -> anyhow::Result<Report> {
    let mut report = Report::new(store, directory);
    match store {
        Store::Stream(look) => stream_status(look, &mut report),
        Store::Journal(look) => journal_status(look, &mut report),
    }
    report.put("dead_letters", dead_letters(directory)?);
    Ok(report)
}

fn stream_status(look: &spool::inspect::Inspection, report: &mut Report) {
    let place = |position: Option<delivery::position::Position>| position.map(|position| position.to_string());
    report.put("first", place(look.segments().next().map(|(at, _)| at)));
    report.put("acked", place(look.acked()));
    if look.lanes().count > 1 {
        report.put("lanes", look.lanes().to_string());
        report.put("acked_of_each", look.acked_of_each().iter().map(|acked| place(*acked)).collect::<Vec<_>>());
    }
    report.put("end", place(look.end()));
    report.put("unpushed_bytes", look.waiting());
    report.put("spool_bytes", look.segments().map(|(_, bytes)| bytes).sum::<u64>());
    report.put("segments", look.segments().len());
    foreign(look.foreign(), report);
}

fn journal_status(look: &journal::inspect::Inspection, report: &mut Report) {
    let summary = look.summary();
    report.put("epoch", summary.epoch.map(|epoch| format!("{epoch:016x}")));
    report.put("drained_frame", summary.released.0);
    report.put("last_frame", summary.end.0);
    report.put("unpushed_records", summary.records);
    report.put("spool_bytes", summary.segment_bytes + summary.spare_bytes);
    report.put("segments", summary.segments);
    report.put("spare_files", summary.spares);
    report.put("quarantined_files", summary.quarantined);
    if !summary.has_mark && summary.segments > 0 {
        report
            .notes
            .push("the mark is missing: all that is here counts as unpushed; redis recognises what it has".into());
    }
    for name in summary.unreadable {
        report.faults.push(format!("{name} holds nothing that can be read"));
    }
    foreign(&summary.foreign, report);
}

fn foreign(names: &[String], report: &mut Report) {
    if !names.is_empty() {
        report.notes.push(format!("not ours, left alone: {}", names.join(", ")));
    }
}

/// Reads everything and says what is damaged or lost.
pub fn verify(store: &Store, directory: &Path) -> anyhow::Result<Report> {
    let mut report = status(store, directory)?;
    match store {
        Store::Stream(look) => verify_stream(look, &mut report).map_err(|error| told(&error))?,
        Store::Journal(look) => verify_journal(look, &mut report)?,
    }
    Ok(report)
}

fn verify_stream(look: &spool::inspect::Inspection, report: &mut Report) -> Result<(), SpoolError> {
    use spool::inspect::Seen;
    let (mut bytes_read, mut lines, mut open_end) = (0, 0_u64, 0_u64);
    look.walk(|seen| {
        match seen {
            Seen::Bytes { at, bytes, good } => {
                bytes_read += bytes.len() as u64;
                lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
                open_end = match memchr::memrchr(b'\n', bytes) {
                    Some(last) => (bytes.len() - last - 1) as u64,
                    None => open_end + bytes.len() as u64,
                };
                if !good {
                    report.faults.push(format!("{} bytes at {at} are not what they were when they came", bytes.len()));
                }
            }
            Seen::Gap(at, to) => report.faults.push(format!("{} bytes at {at} are missing", to - at.offset)),
            Seen::Surplus(at, bytes) => {
                report.faults.push(format!("{bytes} bytes at {at} do not belong to the stream"));
            }
        }
        Ok::<(), SpoolError>(())
    })?;
    report.put("read_bytes", bytes_read);
    report.put("lines", lines);
    if open_end > 0 {
        report.notes.push(format!("{open_end} bytes at the end wait for the end of their line"));
    }
    Ok(())
}

fn verify_journal(look: &journal::inspect::Inspection, report: &mut Report) -> Result<(), JournalError> {
    use journal::inspect::Seen;
    let (mut frames, mut records, mut waiting, mut unknown) = (0_u64, 0, 0, 0_u64);
    let (mut lost_frames, mut lost_records) = (0, 0);
    let mut lost = |(from, to): (Count, Count)| {
        lost_frames += to.lsn - from.lsn;
        lost_records += to.record.saturating_sub(from.record);
        let (frames, records) = ((from.lsn, to.lsn - 1), (from.record, to.record.saturating_sub(1)));
        format!("frames {} to {}, records {} to {} are lost", frames.0, frames.1, records.0, records.1)
    };
    look.walk(|seen| {
        match seen {
            Seen::Frame { frame, waits } => {
                frames += 1;
                records += u64::from(frame.records);
                waiting += if waits { u64::from(frame.records) } else { 0 };
                unknown += u64::from(journal::frame::Batch::decode(frame.payload).is_err());
            }
            Seen::Damaged { segment, at, bytes, lost: range } if range.0 != range.1 => {
                let lost = lost(range);
                report.faults.push(format!("{bytes} bytes at {at} of segment {segment} are damaged: {lost}"));
            }
            Seen::Damaged { segment, at, bytes, .. } => report.notes.push(format!(
                "{bytes} bytes at {at} of segment {segment} hold no frame; nobody was told that they are safe, or they had been delivered"
            )),
            Seen::Missing(from, to) => report.faults.push(lost((from, to))),
        }
        Ok::<(), JournalError>(())
    })?;
    report.put("read_frames", frames);
    report.put("read_records", records);
    report.put("unpushed_records", waiting);
    report.put("lost_frames", json!(lost_frames));
    report.put("lost_records", json!(lost_records));
    if unknown > 0 {
        report.faults.push(format!("{unknown} frames are whole but of a form that this program does not know"));
    }
    Ok(())
}
