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
    pub spool: Spool,
    pub dead_letter: DeadLetter,
    pub prog: Prog,
    pub log: Log,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a section")]
pub struct Queue {
    pub key: String,
    pub mode: QueueMode,
    pub push: Push,
    pub lanes: usize,
    pub lane_field: String,
    pub producer: String,
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
            producer: String::new(),
            on_refused: OnRefused::Hold,
            max_length: 0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a section")]
pub struct Spool {
    pub directory: String,
    pub maxsize: Size,
    pub delay_ms: u64,
    pub sync: SyncWhen,
    pub sync_interval_ms: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            directory: String::new(),
            maxsize: Size(1 << 30),
            delay_ms: 500,
            sync: SyncWhen::Always,
            sync_interval_ms: 1000,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confirm {
    Auto,
    On,
    Off,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a section")]
pub struct Prog {
    pub confirm_messages: Confirm,
    pub use_transactions: bool,
    pub begin_mark: String,
    pub commit_mark: String,
    pub confirm_timeout_ms: u64,
    pub close_timeout_ms: u64,
    pub patience_seconds: u64,
    pub record_max: Size,
    pub state_directory: String,
}

impl Default for Prog {
    fn default() -> Self {
        Self {
            confirm_messages: Confirm::Auto,
            use_transactions: true,
            begin_mark: "BEGIN TRANSACTION".into(),
            commit_mark: "COMMIT TRANSACTION".into(),
            confirm_timeout_ms: 10_000,
            close_timeout_ms: 5_000,
            patience_seconds: 3_600,
            record_max: Size(16 << 20),
            state_directory: String::new(),
        }
    }
}
