//! What the person in front of the demo sees.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::{Duration, Instant};

/// How often the line is rewritten on a terminal, and printed elsewhere.
const ON_TERMINAL: Duration = Duration::from_millis(100);
const ELSEWHERE: Duration = Duration::from_secs(1);
/// The rate is that of so long.
const RATE: Duration = Duration::from_secs(1);

/// Where the records are at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Messages sent.
    pub sent: u64,
    /// Bytes in the pipe.
    pub pipe: u64,
    /// Bytes in the spool that Redis has not taken.
    pub spool: u64,
    /// Records in the list, `None` while Redis is away.
    pub list: Option<u64>,
    /// Records that the worker wrote down.
    pub consumed: u64,
}

/// Standard output: one line that is rewritten, and lines that stay. A reader that went away is no reason to stop.
#[derive(Debug)]
pub struct Screen {
    terminal: bool,
    start: Instant,
    next: Option<Instant>,
    line: String,
    past: VecDeque<(Instant, u64)>,
}

impl Screen {
    pub fn new() -> Self {
        Self {
            terminal: stdout().is_terminal(),
            start: Instant::now(),
            next: None,
            line: String::new(),
            past: VecDeque::new(),
        }
    }

    /// The time counts from now on.
    pub fn begin(&mut self) {
        self.start = Instant::now();
    }

    /// The seconds since it began.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Whether the line is due to be drawn anew.
    pub fn is_due(&self) -> bool {
        self.next.is_none_or(|next| Instant::now() >= next)
    }

    /// Draws the line.
    pub fn progress(&mut self, progress: &Progress) {
        let now = Instant::now();
        let period = if self.terminal { ON_TERMINAL } else { ELSEWHERE };
        self.next = Some(self.next.map_or(now, |next| next + period).max(now));
        self.past.push_back((now, progress.consumed));
        while self.past.len() > 2 && self.past.get(1).is_some_and(|&(then, _)| now.duration_since(then) >= RATE) {
            self.past.pop_front();
        }
        let rate = self.past.front().map_or(0, |&(then, consumed)| {
            (progress.consumed - consumed) * 1_000 / (now.duration_since(then).as_millis() as u64).max(1)
        });
        self.line = line(self.elapsed(), progress, rate);
        if self.terminal {
            self.line = fitted(&self.line, columns());
            self.out(&format!("\r\x1b[2K{}", self.line));
        } else {
            self.out(&format!("{}\n", self.line));
        }
    }

    /// Prints a line that stays.
    pub fn say(&mut self, text: &str) {
        if self.terminal && self.next.is_some() {
            let redrawn = format!("\r\x1b[2K{text}\n{}", self.line);
            self.out(&redrawn);
        } else {
            self.out(&format!("{text}\n"));
        }
    }

    /// Announces a kill.
    pub fn event(&mut self, text: &str) {
        let seconds = self.elapsed().as_secs_f64();
        self.say(&format!("{seconds:5.1} s  {text}"));
    }

    /// Leaves the last state of the line standing; what is said from now on comes below it.
    pub fn finish(&mut self) {
        if self.terminal && self.next.take().is_some() {
            self.out("\n");
        }
        self.line.clear();
    }

    #[expect(clippy::unused_self, reason = "only the screen prints")]
    fn out(&self, text: &str) {
        let mut out = stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

fn line(elapsed: Duration, progress: &Progress, rate: u64) -> String {
    let mut line = format!("{:5.1} s  sent {}", elapsed.as_secs_f64(), grouped(progress.sent));
    // Writing to a string cannot fail.
    let _ = write!(line, "  pipe {}", bytes(progress.pipe));
    let _ = write!(line, "  spool {}", bytes(progress.spool));
    let _ = write!(line, "  list {}", progress.list.map_or_else(|| "away".to_owned(), grouped));
    let _ = write!(line, "  PHP {}  {}/s", grouped(progress.consumed), grouped(rate));
    line
}

/// The line in so many columns: a line that wraps cannot be rewritten in place.
fn fitted(line: &str, columns: usize) -> String {
    let narrow = if line.len() < columns { line.to_owned() } else { line.replace("  ", " ") };
    narrow.chars().take(columns.saturating_sub(1)).collect()
}

fn columns() -> usize {
    match rustix::termios::tcgetwinsize(stdout()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => 80,
    }
}

/// `1 234 567`
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Bytes in a short form.
fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} B"),
        10_000..10_000_000 => format!("{} kB", n / 1_000),
        _ => format!("{} MB", n / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        let read = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(read, ["0", "999", "1 000", "1 234 567"]);
        assert_eq!([0, 9_999, 10_000, 12_345_678].map(bytes), ["0 B", "9999 B", "10 kB", "12 MB"]);
    }

    #[test]
    fn the_line_fits_the_terminal() {
        let progress = Progress { sent: 200_000, pipe: 9_999, spool: 90_000, list: Some(26_000), consumed: 190_000 };
        let line = line(Duration::from_secs_f64(12.3), &progress, 12_500);
        assert!(line.ends_with("PHP 190 000  12 500/s"), "{line}");
        assert!(fitted(&line, 80).ends_with("12 500/s"), "{line}");
        assert_eq!(fitted(&line, 20).len(), 19);
        assert_eq!(fitted(&line, 200), line);
    }
}
