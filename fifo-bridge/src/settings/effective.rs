//! Settings that were checked, in the types that the program uses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use delivery::limits::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, IN_FLIGHT_MAX, RECORD_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
};
use delivery::link::Endpoint;
use delivery::push::{Mode, Names};
use delivery::spool::{Lanes, SpoolConfig, Sync};

use settings::checks::{Invalid, absolute, invalid, within};
use settings::place::endpoint;

use crate::splitter::Splitter;

use super::file::{self, File, Format, OnLostCursor, OnRefused, Resync, SyncWhen};

/// How the pipe is made.
#[derive(Debug, Clone, PartialEq)]
pub struct FifoSettings {
    /// Where it is.
    pub path: PathBuf,
    /// Its mode if it is created.
    pub mode: u32,
    /// Its owner if it is created, name or number; empty: unchanged.
    pub owner: String,
    /// Its group likewise.
    pub group: String,
    /// Its capacity in bytes.
    pub pipe_bytes: u64,
}

/// How lines are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSettings {
    /// What a record looks like.
    pub format: Format,
    /// Where to look for a second record in a line.
    pub resync: Resync,
    /// The longest record.
    pub record_bytes_max: usize,
}

/// Everything the bridge needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// As written, for `fifo-bridge config`.
    pub file: File,
    /// Redis without the login.
    pub endpoint: Endpoint,
    /// List and cursor of each lane.
    pub lanes: Vec<Names>,
    /// What tells the records of the lanes apart, if there are several.
    pub splitter: Option<Splitter>,
    /// Lists, or streams of Redis'.
    pub mode: Mode,
    /// Longest time that a record waits for company.
    pub linger: Duration,
    /// The pipe.
    pub fifo: FifoSettings,
    /// Lines.
    pub frame: FrameSettings,
    /// The spool.
    pub spool: SpoolConfig,
    /// Folder of the dead letters.
    pub dead_letter_directory: PathBuf,
    /// Socket of `status`.
    pub status_socket: PathBuf,
}

impl Settings {
    /// Checks what was written.
    pub fn check(file: File) -> Result<Self, Invalid> {
        let runtime = runtime_directory();
        let endpoint = endpoint(&file.redis)?;
        let lanes = lanes(&file, &endpoint)?;
        within("queue.in-flight", file.queue.in_flight, 1, IN_FLIGHT_MAX)?;
        within("batch.records-max", file.batch.records_max, 1, BATCH_RECORDS_MAX)?;
        within("batch.bytes-max", file.batch.bytes_max.0, 4 << 10, BATCH_BYTES_MAX as u64)?;
        within("batch.linger-ms", file.batch.linger_ms, 0, 1000)?;
        within("frame.record-max", file.frame.record_max.0, 128, RECORD_BYTES_MAX as u64)?;
        let frame = FrameSettings {
            format: file.frame.format,
            resync: file.frame.resync,
            record_bytes_max: file.frame.record_max.0 as usize,
        };
        // What tells the lanes apart; nothing for one.
        let field = settings::lanes::field(file.queue.lanes, &file.queue.lane_field)?;
        let splitter = field.map(|field| Splitter::new(file.queue.lanes, field, frame));
        let mut spool = spool(&file.spool, &runtime)?;
        if let Some(splitter) = &splitter {
            spool.lanes = Lanes { count: file.queue.lanes, rule: splitter.rule() };
        }
        // A record that the spool cannot hold whole would never be told from one that is still coming, and block it for ever.
        if file.frame.record_max.0 + 2 * spool.segment_bytes > spool.bytes_max {
            let (record, maxsize, segment) = (file.frame.record_max, file.spool.maxsize, file.spool.segment_size);
            let why = format!(
                "{record} is more than the spool can hold: spool.maxsize ({maxsize}) less two spool.segment-size ({segment})"
            );
            return invalid("frame.record-max", why);
        }
        let dead_letter_directory =
            absolute("dead-letter.directory", &file.dead_letter.directory)?.unwrap_or_else(|| spool.directory.clone());
        let status_socket = absolute("metrics.status-socket", &file.metrics.status_socket)?
            .unwrap_or_else(|| runtime.join("status.sock"));
        let listen = &file.metrics.listen;
        if !listen.is_empty() && !listen.starts_with('/') && !is_address(listen) {
            return invalid(
                "metrics.listen",
                format!("{listen:?} is not allowed; address:port, /path/of/socket, or empty"),
            );
        }
        Ok(Self {
            endpoint,
            lanes,
            splitter,
            mode: settings::stream::mode(file.queue.mode, file.queue.push, &file.stream, file.queue.max_length)?,
            linger: Duration::from_millis(file.batch.linger_ms),
            fifo: fifo(&file.fifo)?,
            frame,
            spool,
            dead_letter_directory,
            status_socket,
            file,
        })
    }

    /// The endpoint with user and password, the password read now. The error says which file.
    pub fn login(&self) -> Result<Endpoint, String> {
        settings::place::login(&self.file.redis, &self.endpoint)
    }

    /// The log level.
    pub fn level(&self) -> log::LevelFilter {
        self.file.log.level.filter()
    }

    /// What happens when the cursor is lost.
    pub fn stop_on_lost_cursor(&self) -> bool {
        self.file.queue.on_lost_cursor == OnLostCursor::Stop
    }

    /// What happens to records that Redis refuses.
    pub fn park_refused(&self) -> bool {
        self.file.queue.on_refused == OnRefused::DeadLetter
    }

    /// Keys that differ from `other` and that a reload does not take over.
    pub fn fixed_differences(&self, other: &Self) -> Vec<&'static str> {
        let flat = |file: &File| toml::Table::try_from(file.clone()).unwrap_or_default();
        let (mine, theirs) = (flat(&self.file), flat(&other.file));
        let value = |table: &toml::Table, name: &str| settings::dotted::get(table, name).cloned();
        // With several lanes they decide which lane a record belongs to, and where it is.
        let where_it_is = ["redis.cluster", "redis.shard"];
        let split = |name: &str| self.splitter.is_some() && (name.starts_with("frame.") || where_it_is.contains(&name));
        let fixed = super::table::KEYS.iter().filter(|key| !key.reload || split(key.name));
        fixed.map(|key| key.name).filter(|name| value(&mine, name) != value(&theirs, name)).collect()
    }
}

/// Where things live that need not survive a reboot.
fn runtime_directory() -> PathBuf {
    // systemd may name several, separated by colons; the first is ours.
    let named = std::env::var("RUNTIME_DIRECTORY").unwrap_or_default();
    match named.split(':').next() {
        Some(first) if !first.is_empty() => PathBuf::from(first),
        _ => PathBuf::from("/run/fifo-bridge"),
    }
}

/// `address:port`, the address as a name, in numbers, or as `[v6]`.
fn is_address(listen: &str) -> bool {
    listen.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// List and cursor of each lane.
fn lanes(file: &File, endpoint: &Endpoint) -> Result<Vec<Names>, Invalid> {
    let key = &file.queue.key;
    // The name without a number is checked, so that the message is about what was written.
    names(file, key)?;
    let lists = settings::lanes::lists(endpoint, key, file.queue.lanes)?;
    lists.iter().map(|list| names(file, list)).collect()
}

fn names(file: &File, list: &str) -> Result<Names, Invalid> {
    let producer = match file.queue.producer.as_str() {
        "" => {
            let host = nix::unistd::gethostname().unwrap_or_default();
            format!("{}:{}", host.to_string_lossy(), file.fifo.path)
        }
        named => named.to_owned(),
    };
    let key = if file.queue.key.is_empty() { "queue.key" } else { "queue.producer" };
    Names::new(list, &producer).map_err(|why| Invalid {
        key: if why.starts_with("a producer") { key } else { "queue.key" },
        why,
        other: None,
    })
}

fn fifo(fifo: &file::Fifo) -> Result<FifoSettings, Invalid> {
    let Some(path) = absolute("fifo.path", &fifo.path)? else {
        return invalid("fifo.path", "is empty; an absolute path is needed");
    };
    let mode = match u32::from_str_radix(&fifo.mode, 8) {
        Ok(mode) if mode & 0o600 == 0o600 && mode <= 0o666 && mode & 0o111 == 0 => mode,
        _ => return invalid("fifo.mode", format!("{:?} is not allowed; octal, 0600 to 0666", fifo.mode)),
    };
    let pipe_bytes = within("fifo.pipe-size", fifo.pipe_size.0, 4 << 10, 1 << 30)?;
    Ok(FifoSettings { path, mode, owner: fifo.owner.clone(), group: fifo.group.clone(), pipe_bytes })
}

fn spool(spool: &file::Spool, runtime: &Path) -> Result<SpoolConfig, Invalid> {
    let directory = absolute("spool.directory", &spool.directory)?.unwrap_or_else(|| runtime.join("spool"));
    let bytes_max = within("spool.maxsize", spool.maxsize.0, SEGMENT_BYTES_MIN * 4, 1 << 50)?;
    let segment_bytes = within("spool.segment-size", spool.segment_size.0, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)?;
    if segment_bytes > bytes_max / 4 {
        let (segment, all) = (spool.segment_size, spool.maxsize);
        return Err(Invalid {
            key: "spool.segment-size",
            why: format!("{segment} is more than a quarter of spool.maxsize ({all})"),
            other: Some(("spool.maxsize", format!("{all} is less than four times spool.segment-size ({segment})"))),
        });
    }
    let interval = within("spool.sync-interval-ms", spool.sync_interval_ms, 10, 60_000)?;
    let retention = within("spool.retention-seconds", spool.retention_seconds, 0, 86_400)?;
    Ok(SpoolConfig {
        directory,
        bytes_max,
        segment_bytes,
        sync: match spool.sync {
            SyncWhen::None => Sync::Never,
            SyncWhen::Interval => Sync::Interval(Duration::from_millis(interval)),
            SyncWhen::Always => Sync::Always,
        },
        retention_bytes: spool.retention_bytes.0,
        retention: Duration::from_secs(retention),
        lanes: Lanes::default(),
    })
}
