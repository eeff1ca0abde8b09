//! A number of this host's programs, with what keeps it over lives; and the outlet of that number.

use std::io;
use std::path::Path;
use std::sync::Arc;

use delivery::journal::JournalConfig;
use delivery::outlet::{Fan, NodeLogin, OnRefused, OutletConfig, OutletError};

use crate::estate::Estate;
use crate::instance::Instance;
use crate::intake::{Intake, Left};
use crate::settings::Settings;

/// Bytes of one file of the spool: disk comes back in these steps.
const SEGMENT_BYTES: u64 = 16 << 20;

/// A number, its notes, and what killed neighbours have left.
pub(crate) struct Seat {
    pub instance: Instance,
    pub intake: Intake,
    pub estate: Estate,
}

impl Seat {
    /// Takes the lowest number that is free. What its last life has not finished is in `left`.
    pub fn take(settings: &Settings, left: &mut Left) -> io::Result<Self> {
        let root = &settings.state_directory;
        let instance = Instance::take(root)?;
        // Before anything is accepted: whoever is handed the records of a killed neighbour finds them published.
        for number in Instance::known(root).into_iter().filter(|number| *number != instance.number) {
            if let Ok(Some(orphan)) = Instance::take_number(root, number) {
                publish(root, &orphan)?;
            }
        }
        publish(root, &instance)?;
        let (intake, found) = Intake::open(&instance.intake())?;
        *left = found;
        let estate = Estate::open(root, instance.number);
        Ok(Self { instance, intake, estate })
    }
}

/// Publishes what `instance`, which is locked, has not finished, and what it had claimed of others.
pub(crate) fn publish(root: &Path, instance: &Instance) -> io::Result<()> {
    let mut estate = Estate::open(root, instance.number);
    let Ok(left) = Intake::peek(&instance.intake()) else { return Ok(()) };
    if left.unfinished.marks.is_empty() {
        return Ok(());
    }
    estate.publish(left.generation, &left.unfinished)
}

/// The outlet of one number; with several lanes one for each, with a connection and a spool of its own.
pub(crate) fn outlet(settings: &Arc<Settings>, instance: Option<&Instance>) -> Result<Arc<Fan>, OutletError> {
    let number = instance.map(|instance| instance.number);
    let config = OutletConfig {
        name: number.map_or_else(|| "no instance".to_owned(), |number| format!("instance {number}")),
        // Without a number there is no earlier life either.
        producer: match number {
            Some(number) => format!("{}:{number}", settings.producer),
            None => format!("{}:{}", settings.producer, std::process::id()),
        },
        list: settings.lists[0].clone(),
        one_list: true,
        mode: settings.mode.clone(),
        timeout: settings.endpoint.timeout,
        delay: settings.delay,
        journal: instance.zip(settings.spool.as_ref()).map(|(instance, spool)| JournalConfig {
            directory: instance.spool(),
            bytes_max: spool.bytes_max,
            sync: spool.sync,
            segment_bytes: SEGMENT_BYTES,
        }),
        dead_letters: Some(settings.dead_letter_directory.clone()),
        on_refused: if settings.park_refused { OnRefused::DeadLetter } else { OnRefused::Hold },
        max_length: settings.file.queue.max_length,
        ..OutletConfig::default()
    };
    let login: NodeLogin = {
        let settings = Arc::clone(settings);
        Arc::new(move |lane| Ok(settings.login()?.for_lane(lane)))
    };
    match settings.lists.len() {
        1 => Fan::single(config, login),
        _ => Fan::several(&config, &settings.lists, &login),
    }
}
