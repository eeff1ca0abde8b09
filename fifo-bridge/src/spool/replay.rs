//! `spool replay`: what waits goes into Redis, while no door runs.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::bail;
use delivery::counters::get;
use delivery::journal::{JournalConfig, SEGMENT_BYTES};
use delivery::outlet::{OnRefused, Outlet, OutletConfig};
use delivery::position::Position;
use delivery::spool::{Spool, SpoolError, Sync, inspect};

use super::{Store, told};
use crate::check;
use crate::pusher::{self, LanePusher};
use crate::settings::Settings;
use crate::shared::Shared;

/// How often it is looked whether all has arrived.
const LOOK: Duration = Duration::from_millis(20);

/// Pushes what waits in `directory`, at the positions that it has: what Redis has already is recognised. Returns how many records were pushed.
///
/// It may be interrupted at any moment and run again.
pub fn replay(directory: &Path, settings: Settings) -> anyhow::Result<u64> {
    let store = Store::open(directory)?;
    let last = match &store {
        Store::Stream(look) => last_line(look).map_err(|error| told(&error))?,
        Store::Journal(_) => None,
    };
    let is_stream = matches!(store, Store::Stream(_));
    drop(store);
    let reachable = || match check::redis(&settings).faults.first() {
        Some(fault) => bail!("{fault}"),
        None => Ok(()),
    };
    match last {
        None if is_stream => Ok(0),
        None => reachable().and_then(|()| journal(directory, settings)),
        Some(last) => reachable().and_then(|()| stream(settings, last)),
    }
}

/// What a door does with a journal when it starts. The frames name producer, slots and lists themselves.
fn journal(directory: &Path, settings: Settings) -> anyhow::Result<u64> {
    let journal = JournalConfig {
        directory: directory.to_owned(),
        bytes_max: u64::MAX,
        segment_bytes: SEGMENT_BYTES,
        sync: Sync::Always,
    };
    let config = OutletConfig {
        name: "replay".into(),
        producer: "replay".into(),
        mode: settings.mode.clone(),
        journal: Some(journal),
        dead_letters: Some(settings.dead_letter_directory.clone()),
        on_refused: if settings.park_refused() { OnRefused::DeadLetter } else { OnRefused::Hold },
        max_length: settings.file.queue.max_length,
        ..OutletConfig::default()
    };
    let outlet = Outlet::new(config, Box::new(move || settings.login()))?;
    outlet.start()?;
    let outcome = loop {
        let health = outlet.health();
        match outlet.waiting() {
            Some(0) => break Ok(get(&outlet.counters().pushed)),
            // The folder was there a moment ago.
            None => break Err(anyhow::anyhow!("the spool {} cannot be used", directory.display())),
            Some(_) if health.stopped => break Err(anyhow::anyhow!("{}", health.last_error)),
            Some(_) => std::thread::sleep(LOOK),
        }
    };
    outlet.stop();
    outcome
}

/// The place behind the last whole line.
fn last_line(look: &inspect::Inspection) -> Result<Option<Position>, SpoolError> {
    let mut last = None;
    look.walk(|seen| {
        if let inspect::Seen::Bytes { at, bytes, .. } = seen
            && let Some(end) = memchr::memrchr(b'\n', bytes)
        {
            last = Some(Position { offset: at.offset + end as u64 + 1, ..at });
        }
        Ok::<(), SpoolError>(())
    })?;
    Ok(last)
}

/// What `run` does, without a pipe, until Redis has everything before `last`.
fn stream(settings: Settings, last: Position) -> anyhow::Result<u64> {
    let opened = Spool::open(settings.spool.clone(), crate::unix_seconds(), Instant::now());
    let (spool, _writer) = opened.map_err(|error| told(&error))?;
    let shared = Arc::new(Shared::new(settings, Arc::clone(&spool))?);
    let spawn = |pusher: LanePusher| std::thread::Builder::new().name(pusher.thread_name()).spawn(move || pusher.run());
    let pushing = pusher::all(&shared)?.into_iter().map(spawn).collect::<Result<Vec<_>, _>>()?;
    let outcome = loop {
        let health = shared.health();
        if health.connected && spool.acked().is_some_and(|acked| acked >= last) {
            break Ok(get(&shared.counters.pushed));
        }
        if health.stopped {
            break Err(anyhow::anyhow!("{}", health.last_error));
        }
        if pushing.iter().any(JoinHandle::is_finished) {
            break Err(anyhow::anyhow!("the thread that pushes has ended"));
        }
        std::thread::sleep(LOOK);
    };
    shared.stop();
    for pusher in pushing {
        anyhow::ensure!(pusher.join().is_ok(), "a thread that pushes has panicked");
    }
    outcome
}
