//! Looking after numbers that nobody holds any more: what they have left is brought to Redis by whoever has time.
//!
//! rsyslog may come back with fewer workers than it had. A number that stays free over two looks is locked, so that no program that begins
//! meanwhile takes it, and is given back when nothing is left.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::held::Records;
use crate::instance::{Instance, Orphans};
use crate::intake::Intake;
use crate::run::spawn;
use crate::seat::{outlet, publish};
use crate::settings::Settings;

/// Between two looks.
const ROUND: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Looks after the others from now on, until `stop`.
pub fn start(settings: &Arc<Settings>, own: u16, stop: Arc<AtomicBool>) -> anyhow::Result<JoinHandle<()>> {
    let settings = Arc::clone(settings);
    spawn("adopter", move || {
        let (mut orphans, mut empty) = (Orphans::default(), HashSet::<u16>::new());
        while pause(ROUND, &stop) {
            let free = orphans.look(&settings.state_directory, own, &empty);
            // Whoever held it may have left something again.
            empty.retain(|number| orphans.is_free(*number));
            if let Some(orphan) = free {
                let number = orphan.number;
                match adopt(&settings, &orphan, &stop) {
                    Ok(true) => drop(empty.insert(number)),
                    Ok(false) => {}
                    Err(error) => {
                        log::error!("instance {number} left something that cannot be brought away: {error:#}");
                    }
                }
            }
        }
    })
}

/// Brings away what `orphan` has left. True if nothing more can be done.
fn adopt(settings: &Arc<Settings>, orphan: &Instance, stop: &AtomicBool) -> anyhow::Result<bool> {
    publish(&settings.state_directory, orphan)?;
    let (mut intake, left) = Intake::open(&orphan.intake())?;
    if left.sections.is_empty() && !orphan.has_spool() {
        return Ok(true);
    }
    let outlet = outlet(settings, Some(orphan))?;
    outlet.start()?;
    if !outlet.is_clear() {
        // Records of other lanes: a person was told.
        return Ok(true);
    }
    let mut worker = outlet.worker();
    worker.take_over();
    let interrupted = || stop.load(Ordering::Relaxed);
    for section in &left.sections {
        log::info!("instance {} left {} records: bringing them to redis", orphan.number, section.len());
        let (lane, main) = settings.home_of(&section.list);
        let records = Records { section, main };
        while worker.commit_at(lane, section.at, &records, &interrupted) != delivery::outlet::Outcome::Done {
            if !pause(PAUSE, stop) {
                return Ok(false);
            }
        }
    }
    if !intake.is_done() {
        intake.done()?;
    }
    while !worker.is_drained() {
        if !pause(PAUSE, stop) {
            return Ok(false);
        }
    }
    outlet.stop();
    Ok(true)
}

/// False if it is time to stop.
fn pause(length: Duration, stop: &AtomicBool) -> bool {
    let end = Instant::now() + length;
    while Instant::now() < end {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        std::thread::sleep(PAUSE.min(length));
    }
    !stop.load(Ordering::Relaxed)
}
