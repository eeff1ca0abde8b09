//! Waiting for Redis while rsyslog waits for us: dots, the end of the input, and how long it may take.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// omprog takes an answer of 4095 bytes for broken.
const DOTS_MAX: u32 = 4000;

/// Our side of standard input and output.
#[derive(Debug)]
pub struct Host {
    /// Somebody reads answers.
    confirm: bool,
    dot: Duration,
    close: Duration,
    stop: Arc<AtomicBool>,
    /// Since when an answer is due, and when the last sign of life was given.
    due: Cell<Option<Instant>>,
    sign: Cell<Instant>,
    dots: Cell<u32>,
    /// When everything has to be over: the input has ended, or nobody reads answers any more.
    deadline: Cell<Option<Instant>>,
}

impl Host {
    /// `stop` becomes true when somebody wants the program to end.
    pub fn new(confirm: bool, dot: Duration, close: Duration, stop: Arc<AtomicBool>) -> Self {
        let now = Instant::now();
        Self {
            confirm,
            dot,
            close,
            stop,
            due: Cell::new(None),
            sign: Cell::new(now),
            dots: Cell::new(0),
            deadline: Cell::new(None),
        }
    }

    /// True if rsyslog waits for answers.
    pub fn confirms(&self) -> bool {
        self.confirm
    }

    /// An answer is due from now on.
    pub fn owe(&self) {
        let now = Instant::now();
        self.due.set(Some(now));
        self.sign.set(now);
        self.dots.set(0);
    }

    /// How long an answer has been due.
    pub fn owed(&self) -> Duration {
        self.due.get().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The answer.
    pub fn answer(&self, line: &[u8]) {
        self.due.set(None);
        if self.confirm {
            self.write(line);
        }
    }

    /// A sign of life if one is due. True if there is no time left.
    pub fn tick(&self) -> bool {
        if self.confirm
            && self.due.get().is_some()
            && self.sign.get().elapsed() >= self.dot
            && self.dots.get() < DOTS_MAX
        {
            self.sign.set(Instant::now());
            self.dots.set(self.dots.get() + 1);
            self.write(b".");
        }
        if self.deadline.get().is_none() && (self.stop.load(Ordering::Relaxed) || hung_up()) {
            self.end();
        }
        self.deadline.get().is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// True if no more dots may be written: the answer has to come.
    pub fn is_worn(&self) -> bool {
        self.dots.get() >= DOTS_MAX
    }

    /// Nothing more comes: the time to end begins, if it has not.
    pub fn end(&self) {
        if self.deadline.get().is_none() {
            // A part of it, so that we are gone when rsyslog looks.
            self.deadline.set(Some(Instant::now() + self.close.mul_f64(0.8)));
        }
    }

    /// True if the end has begun.
    pub fn is_ending(&self) -> bool {
        self.deadline.get().is_some()
    }

    fn write(&self, bytes: &[u8]) {
        if write_all(io::stdout().as_fd(), bytes).is_err() {
            // Whoever has waited for it is gone.
            self.end();
        }
    }
}

/// Past the buffer of standard output: each answer is written at once in any case, and there is one for each record.
fn write_all(out: BorrowedFd<'_>, mut bytes: &[u8]) -> nix::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(out, bytes) {
            Ok(0) => return Err(Errno::EIO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The other end of standard input is closed; there may still be something in it.
fn hung_up() -> bool {
    let stdin = io::stdin();
    let mut sources = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    poll(&mut sources, PollTimeout::ZERO).is_ok_and(|n| n > 0)
        && sources[0].revents().is_some_and(|events| events.intersects(gone))
}
