//! What an outlet is told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::journal::JournalConfig;
use crate::limits::BATCH_RECORDS_MAX;
use crate::push::{Mode, Names};

/// What to do with records that Redis will never take into their list: wrong type, no permission, too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRefused {
    /// They wait, and what comes behind them waits too.
    Hold,
    /// They are parked, and the others go on. Without a folder to park them in they are refused.
    DeadLetter,
}

/// What an outlet is told.
#[derive(Debug, Clone)]
pub struct OutletConfig {
    /// For log lines.
    pub name: String,
    /// Part of the cursors' names. No two outlets that fill one list may have the same.
    pub producer: String,
    /// The list that records go into that name none.
    pub list: String,
    /// How many lanes the list has; more than one are `list:0`, `list:1`, ...
    pub lanes: u32,
    /// No record names another list than `list`, and it has one lane: when it is held nobody waits behind it.
    pub one_list: bool,
    /// What the lists are: lists, or streams of Redis'.
    pub mode: Mode,
    /// How long Redis may take for a batch when there is no spool.
    pub timeout: Duration,
    /// How long Redis may take for a batch before it goes into the spool.
    pub delay: Duration,
    /// The spool, if there is one.
    pub journal: Option<JournalConfig>,
    /// The folder for dead letters; if there is none, they go into that of the spool.
    pub dead_letters: Option<PathBuf>,
    /// What to do with records that Redis will never take.
    pub on_refused: OnRefused,
    /// High water of a list: from this length on it is held back. 0: none.
    pub max_length: u64,
    /// Records of one push, at most.
    pub chunk_records: usize,
    /// Bytes of records in one push, at most; a larger record goes alone.
    pub chunk_bytes: usize,
    /// Workers look for an answer for a moment before they sleep until it comes: for hosts that ask in the thread that has the next batch.
    pub look_for_answers: bool,
}

impl Default for OutletConfig {
    fn default() -> Self {
        Self {
            name: "outlet".into(),
            producer: String::new(),
            list: String::new(),
            lanes: 1,
            one_list: false,
            mode: Mode::default(),
            timeout: Duration::from_secs(5),
            delay: Duration::from_millis(500),
            journal: None,
            dead_letters: None,
            on_refused: OnRefused::DeadLetter,
            max_length: 0,
            chunk_records: BATCH_RECORDS_MAX,
            chunk_bytes: 1 << 20,
            look_for_answers: false,
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum OutletError {
    /// The names do not make keys.
    #[error("{0}")]
    Names(String),
    /// A number is out of its bounds.
    #[error("{what} is {value}; it has to be {allowed}")]
    Bounds {
        /// Which one.
        what: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        allowed: &'static str,
    },
    /// The system has no thread for us.
    #[error("cannot start the thread that drains the spool: {source}")]
    Thread {
        /// What the system said.
        source: std::io::Error,
    },
}

impl OutletConfig {
    /// Where dead letters go.
    pub(super) fn letters(&self) -> Option<&Path> {
        self.dead_letters.as_deref().or(self.journal.as_ref().map(|journal| journal.directory.as_path()))
    }

    pub(super) fn check(&self) -> Result<(), OutletError> {
        let list = if self.list.is_empty() { "x" } else { &self.list };
        // The longest that a slot makes of it.
        Names::new(list, &format!("{}:{}:bare", self.producer, u16::MAX)).map_err(OutletError::Names)?;
        if self.producer.is_empty() {
            return Err(OutletError::Names("a producer needs a name".into()));
        }
        if !(1..=BATCH_RECORDS_MAX).contains(&self.chunk_records) {
            return Err(OutletError::Bounds {
                what: "records of a push",
                value: self.chunk_records as u64,
                allowed: "1 to 4000",
            });
        }
        if self.timeout.is_zero() || self.delay.is_zero() {
            return Err(OutletError::Bounds { what: "a time limit", value: 0, allowed: "more than 0" });
        }
        Ok(())
    }
}
