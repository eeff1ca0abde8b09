//! Log lines on standard error, which the action's `output=` catches. Nothing but answers ever goes to standard output.

use std::io::Write as _;
use std::sync::OnceLock;

use log::{LevelFilter, Log, Metadata, Record};

struct Stderr;

static NAME: OnceLock<String> = OnceLock::new();

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            complain(&record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Begins logging at `level`.
pub fn start(level: LevelFilter) {
    // A second call finds the logger in place, which is the same one.
    let _ = log::set_boxed_logger(Box::new(Stderr));
    log::set_max_level(level);
}

/// From here on lines carry the number of the instance.
pub fn name(number: &str) {
    let _ = NAME.set(format!("[{number}]"));
}

/// One line. One write, so that lines of several programs do not mix. Nobody can be told if it fails.
pub fn complain(text: &str) {
    let name = NAME.get().map_or("", String::as_str);
    let _ = std::io::stderr().lock().write_all(format!("omrust-prog{name}: {text}\n").as_bytes());
}
