//! Log lines on standard error, with systemd's `<N>` levels when it reads them.

use std::io::Write as _;

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr {
    prefixed: bool,
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let prefix = match record.level() {
            Level::Error => "<3>",
            Level::Warn => "<4>",
            Level::Info => "<6>",
            Level::Debug | Level::Trace => "<7>",
        };
        let prefix = if self.prefixed { prefix } else { "" };
        // One write, so that lines of two threads do not mix. Nobody can be told if it fails.
        let line = format!("{prefix}fifo-bridge: {}\n", record.args());
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// Begins logging at `level`.
pub fn start(level: LevelFilter) {
    let prefixed = journal_reads();
    // A second call finds the logger in place, which is the same one.
    let _ = log::set_boxed_logger(Box::new(Stderr { prefixed }));
    log::set_max_level(level);
}

/// The last line of a program that cannot go on, or an answer that is bad news.
pub fn complain(text: &str) {
    let prefix = if journal_reads() { "<3>" } else { "" };
    let _ = std::io::stderr().lock().write_all(format!("{prefix}fifo-bridge: {text}\n").as_bytes());
}

/// True if standard error is what `$JOURNAL_STREAM` names: it is inherited by children that write elsewhere.
fn journal_reads() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    nix::sys::stat::fstat(std::io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}
