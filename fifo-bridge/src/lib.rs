//! fifo-bridge: drains the named pipe that rsyslog's ompipe writes into a Redis list, every record once and in order.
//!
//! Two threads that never wait for each other: the [`drainer`] moves bytes from the pipe into the spool, the [`pusher`] brings them
//! into Redis. [`daemon`] starts them; `docs/ARCHITECTURE.md` has the whole picture.
#![forbid(unsafe_code)]

pub mod batcher;
pub mod check;
pub mod cli;
pub mod daemon;
pub mod drainer;
pub mod fifo;
pub mod frame;
pub mod gate;
pub mod letters;
pub mod logger;
pub mod metrics;
pub mod pusher;
pub mod rhythm;
pub mod settings;
pub mod shared;
pub mod splitter;
pub mod spool;
pub mod status;

/// Seconds since 1970; 0 before.
pub fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
