//! Settings that were checked, in the types that the program uses.

use std::path::PathBuf;
use std::time::Duration;

use delivery::link::Endpoint;
use delivery::push::{Mode, Names};
use delivery::spool::Sync;
use settings::checks::{Invalid, absolute, invalid, within};

use crate::protocol::Marks;

use super::file::{Confirm, File, OnRefused, SyncWhen};

/// The folder of the instances if none is named: memory, which survives kill -9, not a reboot.
pub const RUNTIME: &str = "/run/omrust-prog";

/// The spool of one instance.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    /// Bytes, at most.
    pub bytes_max: u64,
    /// When it is forced to disk.
    pub sync: Sync,
}

/// Everything the program needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// As written, for `--print-config`.
    pub file: File,
    /// Redis without the login.
    pub endpoint: Endpoint,
    /// The list.
    pub list: String,
    /// A list, or a stream of Redis'.
    pub mode: Mode,
    /// The name before the instance's number.
    pub producer: String,
    /// True if refused records are parked.
    pub park_refused: bool,
    /// The folder of the instances.
    pub state_directory: PathBuf,
    /// The spool, if there is one; it lives in the folders of the instances.
    pub spool: Option<SpoolSettings>,
    /// How long Redis may take before the spool is used.
    pub delay: Duration,
    /// Folder of the dead letters.
    pub dead_letter_directory: PathBuf,
    /// Whether somebody waits for answers; `None`: look.
    pub confirm: Option<bool>,
    /// The marks, if there are transactions.
    pub marks: Option<Marks>,
    /// Time between two dots.
    pub dot: Duration,
    /// How long the end may take.
    pub close: Duration,
    /// How long an answer may take.
    pub patience: Duration,
    /// The longest record.
    pub record_bytes_max: usize,
}

impl Settings {
    /// Checks what was written.
    pub fn check(file: File) -> Result<Self, Invalid> {
        let spool_directory = absolute("spool.directory", &file.spool.directory)?;
        let state_directory = match absolute("prog.state-directory", &file.prog.state_directory)? {
            Some(directory) => directory,
            None => spool_directory.clone().unwrap_or_else(|| RUNTIME.into()),
        };
        if spool_directory.as_ref().is_some_and(|spool| *spool != state_directory) {
            let why =
                format!("is not spool.directory ({:?}); with a spool the instances live there", file.spool.directory);
            return invalid("prog.state-directory", why);
        }
        let producer = match file.queue.producer.as_str() {
            "" => {
                let host = nix::unistd::gethostname().unwrap_or_default();
                format!("{}:{}", host.to_string_lossy(), state_directory.display())
            }
            named => named.to_owned(),
        };
        // The longest that an instance makes of it.
        if let Err(why) = Names::new(&file.queue.key, &format!("{producer}:65535:65535")) {
            let key = if why.starts_with("a producer") { "queue.producer" } else { "queue.key" };
            return invalid(key, why);
        }
        let maxsize = within("spool.maxsize", file.spool.maxsize.0, 4 << 20, 1 << 50)?;
        let interval =
            Duration::from_millis(within("spool.sync-interval-ms", file.spool.sync_interval_ms, 10, 60_000)?);
        let sync = match file.spool.sync {
            SyncWhen::None => Sync::Never,
            SyncWhen::Interval => Sync::Interval(interval),
            SyncWhen::Always => Sync::Always,
        };
        let delay = within("spool.delay-ms", file.spool.delay_ms, 10, 60_000)?;
        let confirm_timeout = within("prog.confirm-timeout-ms", file.prog.confirm_timeout_ms, 100, 3_600_000)?;
        let close = within("prog.close-timeout-ms", file.prog.close_timeout_ms, 100, 3_600_000)?;
        let patience = within("prog.patience-seconds", file.prog.patience_seconds, 0, 86_400)?;
        let record_max = within("prog.record-max", file.prog.record_max.0, 1 << 10, 64 << 20)?;
        if file.redis.shard {
            return invalid("redis.shard", "is not for omrust-prog, which has one lane in this version");
        }
        let letters = absolute("dead-letter.directory", &file.dead_letter.directory)?;
        Ok(Self {
            endpoint: settings::place::endpoint(&file.redis)?,
            list: file.queue.key.clone(),
            mode: settings::stream::mode(file.queue.mode, file.queue.push, &file.stream, file.queue.max_length)?,
            producer,
            park_refused: file.queue.on_refused == OnRefused::DeadLetter,
            dead_letter_directory: letters.unwrap_or_else(|| state_directory.clone()),
            state_directory,
            spool: spool_directory.map(|_| SpoolSettings { bytes_max: maxsize, sync }),
            delay: Duration::from_millis(delay),
            confirm: match file.prog.confirm_messages {
                Confirm::Auto => None,
                Confirm::On => Some(true),
                Confirm::Off => Some(false),
            },
            marks: marks(&file)?,
            dot: Duration::from_millis(confirm_timeout / 4),
            close: Duration::from_millis(close),
            patience: Duration::from_secs(patience),
            record_bytes_max: record_max as usize,
            file,
        })
    }

    /// The endpoint with user and password, the password read now. The error says which file.
    pub fn login(&self) -> Result<Endpoint, String> {
        settings::place::login(&self.file.redis, &self.endpoint)
    }

    /// The settings as a file that could be used, but for the secrets.
    pub fn masked(&self) -> String {
        let mut file = self.file.clone();
        settings::mask::mask(&mut file.redis);
        toml::to_string(&file).unwrap_or_else(|error| format!("# {error}\n"))
    }
}

fn marks(file: &File) -> Result<Option<Marks>, Invalid> {
    let (begin, commit) = (&file.prog.begin_mark, &file.prog.commit_mark);
    for (key, mark) in [("prog.begin-mark", begin), ("prog.commit-mark", commit)] {
        if mark.is_empty() || mark.contains('\n') {
            return invalid(key, format!("{mark:?} is not allowed; a line that is not empty"));
        }
    }
    if begin == commit {
        return invalid("prog.commit-mark", "is the same as prog.begin-mark");
    }
    Ok(file.prog.use_transactions.then(|| (begin.clone().into_bytes(), commit.clone().into_bytes())))
}
