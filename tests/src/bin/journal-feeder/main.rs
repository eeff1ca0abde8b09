//! Appends to a journal from several threads and drains it, until it is killed. What it was told goes into a ledger, a line each,
//! before it does anything that follows from it: `ok NUMBER`, `error NUMBER`, `full NUMBER`, `drained NUMBER`.
//!
//! Usage: journal-feeder DIRECTORY LEDGER LIFE THREADS always|interval|none MAXSIZE (drain)

use std::fs::File;
use std::io::{self, Write as _};
use std::time::Duration;

use delivery::journal::{AppendError, Journal, JournalConfig};
use delivery::spool::Sync;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [directory, ledger, life, threads, sync, bytes_max, rest @ ..] = words.as_slice() else {
        return Err("see the head of its source".into());
    };
    let sync = match sync.as_str() {
        "always" => Sync::Always,
        "interval" => Sync::Interval(Duration::from_millis(10)),
        _ => Sync::Never,
    };
    let ledger = File::options().create(true).append(true).open(ledger)?;
    let config =
        JournalConfig { directory: directory.into(), bytes_max: bytes_max.parse()?, segment_bytes: 256 << 10, sync };
    let (life, threads): (u64, u64) = (life.parse()?, threads.parse()?);
    let (journal, mut reader) = Journal::open(config, 1)?;
    note(&ledger, "open", life)?;
    std::thread::scope(|scope| -> io::Result<()> {
        for thread in 0..threads {
            let (journal, ledger) = (&journal, &ledger);
            scope.spawn(move || feed(journal, ledger, life << 48 | thread << 40));
        }
        if rest.is_empty() {
            return Ok(());
        }
        loop {
            match reader.next() {
                Ok(Some(frame)) => {
                    let (lsn, number) = (frame.lsn, number(frame.payload));
                    note(&ledger, "drained", number)?;
                    let _ = journal.release(lsn);
                }
                Ok(None) => {
                    journal.wait(journal.end(), Duration::from_millis(5));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    })?;
    Ok(())
}

fn feed(journal: &Journal, ledger: &File, first: u64) -> io::Result<()> {
    let mut payload = Vec::new();
    for number in first.. {
        payload.clear();
        payload.extend_from_slice(&number.to_le_bytes());
        payload.resize(8 + (number as u16 as usize * 7919) % 3000, number as u8);
        match journal.append(&payload, 1) {
            Ok(_) => note(ledger, "ok", number)?,
            Err(AppendError::Full(_)) => {
                note(ledger, "full", number)?;
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(_) => {
                note(ledger, "error", number)?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    Ok(())
}

fn number(payload: &[u8]) -> u64 {
    payload.get(..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// In one write: a kill leaves whole lines.
fn note(mut ledger: &File, word: &str, number: u64) -> io::Result<()> {
    ledger.write_all(format!("{word} {number}\n").as_bytes())
}
