//! `spool replay`: what waits goes into Redis, while no door runs.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use delivery::counters::get;
use delivery::dead_letter::DeadLetters;
use delivery::position::Position;
use delivery::spool::{Spool, SpoolError, Sync, inspect};

use super::{Store, told};
use crate::batcher::Batcher;
use crate::check;
use crate::pusher::Pusher;
use crate::settings::Settings;
use crate::shared::Shared;

/// How often it is looked whether all has arrived.
const LOOK: Duration = Duration::from_millis(20);

/// Pushes what waits in `directory`, at the positions that it has: what Redis has already is recognised. Returns how many records were pushed.
///
/// It may be interrupted at any moment and run again.
pub fn replay(directory: &Path, settings: Settings) -> anyhow::Result<u64> {
    let store = Store::open(directory)?;
    let Store::Stream(look) = &store else {
        bail!("{} is a journal: the door that it belongs to empties it when it starts", directory.display());
    };
    let last = last_line(look).map_err(|error| told(&error))?;
    drop(store);
    let Some(last) = last else { return Ok(0) };
    let faults = check::redis(&settings).faults;
    if let Some(fault) = faults.first() {
        bail!("{fault}");
    }
    stream(settings, last)
}

/// The place behind the last whole line.
fn last_line(look: &inspect::Inspection) -> Result<Option<Position>, SpoolError> {
    let mut last = None;
    look.walk(|seen| {
        if let inspect::Seen::Bytes { at, bytes, .. } = seen
            && let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n')
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
    let folder = settings.dead_letter_directory.clone();
    let letters = DeadLetters::open(&folder, settings.spool.sync != Sync::Never)
        .with_context(|| format!("the dead letters in {} cannot be opened", folder.display()))?;
    let first = spool.held().first().map_or(spool.opened(), |span| Position { epoch: span.epoch, offset: span.start });
    let shared = Arc::new(Shared::new(settings, Arc::clone(&spool))?);
    let (current, _) = shared.settings();
    let batcher = Batcher::new(&spool, letters, Arc::clone(&shared.counters), &current, first);
    let pusher = Pusher::new(Arc::clone(&shared), batcher, first);
    let pushing = std::thread::Builder::new().name("pusher".into()).spawn(move || pusher.run())?;
    let outcome = loop {
        let health = shared.health();
        if health.connected && spool.acked().is_some_and(|acked| acked >= last) {
            break Ok(get(&shared.counters.pushed));
        }
        if health.stopped {
            break Err(anyhow::anyhow!("{}", health.last_error));
        }
        if pushing.is_finished() {
            break Err(anyhow::anyhow!("the thread that pushes has ended"));
        }
        std::thread::sleep(LOOK);
    };
    shared.stop();
    anyhow::ensure!(pushing.join().is_ok(), "the thread that pushes has panicked");
    outcome
}
