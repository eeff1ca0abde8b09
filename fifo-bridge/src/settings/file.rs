//! What the TOML file may hold, with its defaults. Meaning and bounds of each key: [`super::table`].
#![expect(missing_docs, reason = "each key is described once, in the table that the manual is made from")]

use serde::{Deserialize, Serialize};

pub use settings::sections::{DeadLetter, Level, Log, OnRefused, Push, Redis, SyncWhen};
use settings::size::Size;
use settings::stream::{QueueMode, Stream};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a section")]
pub struct File {
    pub redis: Redis,
    pub queue: Queue,
    pub stream: Stream,
    pub batch: Batch,
    pub fifo: Fifo,
    pub frame: Frame,
    pub spool: Spool,
    pub dead_letter: DeadLetter,
    pub metrics: Metrics,
    pub log: Log,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnLostCursor {
    Resume,
    Stop,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a section")]
pub struct Queue {
    pub key: String,
    pub mode: QueueMode,
    pub push: Push,
    pub lanes: usize,
    pub lane_field: String,
    pub in_flight: usize,
    pub producer: String,
    pub on_lost_cursor: OnLostCursor,
    pub on_refused: OnRefused,
    pub max_length: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            key: "rsyslog".into(),
            mode: QueueMode::Queue,
            push: Push::Right,
            lanes: 1,
            lane_field: String::new(),
            in_flight: 4,
            producer: String::new(),
            on_lost_cursor: OnLostCursor::Resume,
            on_refused: OnRefused::Hold,
            max_length: 0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a section")]
pub struct Batch {
    pub records_max: usize,
    pub bytes_max: Size,
    pub linger_ms: u64,
}

impl Default for Batch {
    fn default() -> Self {
        Self { records_max: 25, bytes_max: Size(1 << 20), linger_ms: 8 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a section")]
pub struct Fifo {
    pub path: String,
    pub mode: String,
    pub owner: String,
    pub group: String,
    pub pipe_size: Size,
}

impl Default for Fifo {
    fn default() -> Self {
        Self {
            path: "/run/fifo-bridge/pipe".into(),
            mode: "0660".into(),
            owner: String::new(),
            group: String::new(),
            pipe_size: Size(1 << 20),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    Bridge,
    Line,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resync {
    Long,
    Always,
    Never,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a section")]
pub struct Frame {
    pub format: Format,
    pub resync: Resync,
    pub record_max: Size,
}

impl Default for Frame {
    fn default() -> Self {
        Self { format: Format::Bridge, resync: Resync::Long, record_max: Size(256 << 10) }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a section")]
pub struct Spool {
    pub directory: String,
    pub maxsize: Size,
    pub segment_size: Size,
    pub sync: SyncWhen,
    pub sync_interval_ms: u64,
    pub retention_bytes: Size,
    pub retention_seconds: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            directory: String::new(),
            maxsize: Size(1 << 30),
            segment_size: Size(8 << 20),
            sync: SyncWhen::None,
            sync_interval_ms: 1000,
            retention_bytes: Size(64 << 20),
            retention_seconds: 60,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a section")]
pub struct Metrics {
    pub listen: String,
    pub status_socket: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9746".into(), status_socket: String::new() }
    }
}
