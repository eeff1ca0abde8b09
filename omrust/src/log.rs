//! Log lines on their way into rsyslog's own log.
//!
//! rsyslog's log may be our own input, so a line per record would feed itself. The code logs changes of state, and here is the limit that
//! holds if that should fail: a burst, and then one line every few seconds that says how many were left out.

use std::fmt::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// As syslog has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of RFC 5424")]
pub enum Severity {
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

/// Lines that may come at once.
const BURST: u32 = 20;

/// The pause between lines after that.
const PAUSE: Duration = Duration::from_secs(3);

/// How many lines may still come. A decision: it is given the time.
#[derive(Debug, Default)]
struct Limiter {
    used: u32,
    since: Option<Instant>,
    left_out: u64,
}

impl Limiter {
    /// `None`: not this line. `Some(n)`: this one, and `n` were left out before it.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let since = *self.since.get_or_insert(now);
        let back = (now.saturating_duration_since(since).as_millis() / PAUSE.as_millis()).min(u128::from(BURST)) as u32;
        if back > 0 {
            self.used = self.used.saturating_sub(back);
            self.since = Some(now);
        }
        if self.used >= BURST {
            self.left_out += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

struct Facade {
    sink: fn(Severity, &str),
    limiter: Mutex<Limiter>,
}

impl log::Log for Facade {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        let target = metadata.target();
        metadata.level() <= log::Level::Debug && (target.starts_with("delivery") || target.starts_with("omrust"))
    }

    fn log(&self, record: &log::Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let severity = match record.level() {
            log::Level::Error => Severity::Error,
            log::Level::Warn => Severity::Warning,
            log::Level::Info => Severity::Info,
            log::Level::Debug | log::Level::Trace => Severity::Debug,
        };
        // rsyslogd's debug log is a file of its own and does not come back.
        let left_out = if severity == Severity::Debug {
            0
        } else {
            let admitted = self.limiter.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
            let Some(left_out) = admitted else { return };
            left_out
        };
        let mut text = record.args().to_string();
        // An action without a name has ours.
        if !text.starts_with("omrust: ") {
            text.insert_str(0, "omrust: ");
        }
        if left_out > 0 {
            let _ = write!(text, " ({left_out} lines before this one were left out)");
        }
        (self.sink)(severity, &text);
    }

    fn flush(&self) {}
}

/// Sends the lines of this library to `sink`, for good.
pub fn install(sink: fn(Severity, &str)) {
    static FACADE: OnceLock<Facade> = OnceLock::new();
    let facade = FACADE.get_or_init(|| Facade { sink, limiter: Mutex::default() });
    if log::set_logger(facade).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_becomes_a_line_now_and_then() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        let admitted = (0..100_000).filter(|n| limiter.admit(start + Duration::from_millis(*n)).is_some()).count();
        assert!((50..=54).contains(&admitted), "{admitted} lines in 100 s");
        let later = start + Duration::from_secs(3_000);
        assert!(limiter.admit(later).is_some_and(|left_out| left_out > 0));
        assert_eq!(limiter.admit(later), Some(0));
    }
}
