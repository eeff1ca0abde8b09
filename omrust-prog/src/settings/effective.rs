//! Settings that were checked, in the types that the program uses.

use std::path::PathBuf;
use std::time::Duration;

use delivery::link::Endpoint;
use delivery::outlet::lane_of;
use delivery::push::{Mode, Names};
use delivery::spool::Sync;
use settings::checks::{Invalid, absolute, invalid, within};
use settings::lanes::{self, LaneField};

use crate::protocol::Marks;

use super::file::{Confirm, File, OnRefused, SyncWhen};

/// The folder of the instances if none is named: memory, which survives kill -9, not a reboot.
pub const RUNTIME: &str = "/run/omrust-prog";

/// The spool of a lane has so many bytes or more.
const SPOOL_MIN: u64 = 4 << 20;

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
    /// The name of the list, as written.
    pub key: String,
    /// The list of each lane; one lane is the key itself.
    pub lists: Vec<String>,
    /// What tells the streams of several lanes apart.
    pub lane_field: Option<LaneField>,
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
        let endpoint = settings::place::endpoint(&file.redis)?;
        // The name without a number is looked at first, so that what is said is about what was written.
        names(&file.queue.key, &producer)?;
        let lists = lanes::lists(&endpoint, &file.queue.key, file.queue.lanes)?;
        lists.iter().try_for_each(|list| names(list, &producer))?;
        let maxsize = within("spool.maxsize", file.spool.maxsize.0, SPOOL_MIN, 1 << 50)?;
        if spool_directory.is_some() && maxsize / (lists.len() as u64) < SPOOL_MIN {
            let why = format!("{} is not enough for {} lanes; 4m for each", file.spool.maxsize, lists.len());
            return invalid("spool.maxsize", why);
        }
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
        let letters = absolute("dead-letter.directory", &file.dead_letter.directory)?;
        Ok(Self {
            endpoint,
            key: file.queue.key.clone(),
            lane_field: lanes::field(lists.len(), &file.queue.lane_field)?,
            lists,
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

    /// The lane of a record. One that lacks the word or the field is of the stream without a name.
    pub fn lane_of(&self, record: &[u8]) -> usize {
        self.lane_field.map_or(0, |field| lane_of(field.of(record), self.lists.len() as u32) as usize)
    }

    /// Which lane brings records away that an earlier life accepted for `list`, and whether that is the lane's own list. With other lanes than
    /// now the list may be none of ours; its number tells which server has it.
    pub fn home_of(&self, list: &str) -> (usize, bool) {
        if let Some(lane) = self.lists.iter().position(|own| own == list) {
            return (lane, true);
        }
        let number =
            list.strip_prefix(self.key.as_str()).and_then(|rest| rest.strip_prefix(':')?.parse::<usize>().ok());
        (number.map_or(0, |number| number % self.endpoint.servers()), false)
    }

    /// The lists for a line of the log.
    pub fn told_lists(&self) -> String {
        match &self.lists[..] {
            [list] => format!("list {list:?}"),
            lists => format!("{} lanes in the lists {}", lists.len(), lists.join(", ")),
        }
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

fn names(list: &str, producer: &str) -> Result<(), Invalid> {
    // The longest that an instance makes of it.
    let Err(why) = Names::new(list, &format!("{producer}:65535:65535")) else { return Ok(()) };
    invalid(if why.starts_with("a producer") { "queue.producer" } else { "queue.key" }, why)
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
