//! The thread that moves bytes from the pipe into the spool. It never touches Redis and never looks at a byte.
//!
//! splice(2) takes bytes out of the pipe and grows the file in one step that no signal interrupts: a process that is killed
//! leaves every byte in exactly one of the two. The test `splice_is_one_step` guards this, for it is how Linux does it, not
//! what it promises.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::counters::set;
use delivery::fault::{self, Place};
use delivery::spool::{NoRoom, Writer};
use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::fifo::{self, AtPath, Fifo};
use crate::settings::effective::FifoSettings;
use crate::shared::Shared;

/// How long the drainer sleeps when nothing comes.
const IDLE_MILLISECONDS: u16 = 1000;
/// How often the path is looked at and the gauges are set.
const LOOK: Duration = Duration::from_secs(1);
/// The pause before the next attempt while there is no room.
const NO_ROOM: Duration = Duration::from_millis(100);
/// The pause while much arrives: long enough to save two thirds of the CPU, short enough for 1 MiB at full speed.
const BUSY: Duration = Duration::from_millis(1);

/// How long to nap after a take. Naps save system calls while records follow each other; a record that comes alone must not make
/// the next one wait.
#[derive(Debug, Default)]
struct Rhythm {
    /// The last take came after a nap, not after the pipe had been empty.
    flowing: bool,
    last: Option<Instant>,
}

impl Rhythm {
    /// `bytes` were taken at `now` from a pipe of `capacity`.
    fn took(&mut self, now: Instant, bytes: usize, capacity: usize, linger: Duration) -> Duration {
        let gap = self.last.replace(now).map(|last| now.duration_since(last));
        self.flowing |= gap.is_some_and(|gap| gap < linger / 4) || bytes >= capacity / 64;
        if !self.flowing {
            return Duration::ZERO;
        }
        // An eighth of the pipe in one nap: from here on the pipe fills faster than people notice latency.
        if bytes >= capacity / 8 { linger.min(BUSY) } else { linger }
    }

    /// The pipe was empty.
    fn nothing(&mut self) {
        self.flowing = false;
    }
}

/// Pipe to spool.
pub struct Drainer {
    fifo: Fifo,
    /// A pipe that was replaced while somebody still writes to it, open for reading only.
    retired: Option<File>,
    settings: FifoSettings,
    writer: Writer,
    shared: Arc<Shared>,
    /// Said once: why nothing is taken.
    complaint: Option<String>,
    looked: Instant,
    missing: bool,
}

/// What one attempt brought.
enum Took {
    Bytes(usize),
    Nothing,
    NoRoom(NoRoom),
}

impl Drainer {
    /// A drainer that is about to start.
    pub fn new(fifo: Fifo, settings: FifoSettings, writer: Writer, shared: Arc<Shared>) -> Self {
        Self { fifo, retired: None, settings, writer, shared, complaint: None, looked: Instant::now(), missing: false }
    }

    /// Works until it is told to stop. Gives the pipe back, so that it is held until the very end.
    pub fn run(mut self) -> Fifo {
        let chunk = usize::try_from(self.fifo.capacity()).unwrap_or(1 << 20).max(1 << 16);
        let mut rhythm = Rhythm::default();
        while !self.shared.stopping() {
            self.shared.drainer_beat();
            match self.take(chunk) {
                Took::Bytes(bytes) => {
                    self.relieved();
                    let nap = rhythm.took(Instant::now(), bytes, chunk, self.shared.linger());
                    std::thread::sleep(nap);
                }
                Took::Nothing => {
                    rhythm.nothing();
                    self.wait();
                }
                Took::NoRoom(reason) => {
                    self.complain(&reason);
                    self.shared.stop_wait(NO_ROOM);
                }
            }
            if self.looked.elapsed() >= LOOK {
                self.look();
            }
        }
        self.fifo
    }

    /// Takes what the pipe holds. A retired pipe comes first: what is in it was written earlier.
    fn take(&mut self, chunk: usize) -> Took {
        if let Some(retired) = self.retired.as_ref() {
            match take_from(&mut self.writer, retired, chunk) {
                Took::Nothing => {
                    if is_abandoned(retired) {
                        log::info!("nobody writes to the replaced pipe any more");
                        self.retired = None;
                    }
                    if let Err(reason) = self.close_line() {
                        return Took::NoRoom(reason);
                    }
                }
                took => return took,
            }
        }
        take_from(&mut self.writer, &self.fifo, chunk)
    }

    /// Waits for bytes or for the end.
    fn wait(&mut self) {
        let mut sources = vec![
            PollFd::new(self.fifo.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.shared.waker(), PollFlags::POLLIN),
        ];
        if let Some(retired) = self.retired.as_ref() {
            sources.push(PollFd::new(retired.as_fd(), PollFlags::POLLIN));
        }
        // An error means a signal or nothing at all; either way the loop looks again.
        let _ = poll(&mut sources, PollTimeout::from(IDLE_MILLISECONDS));
    }

    fn complain(&mut self, reason: &NoRoom) {
        let reason = crate::chain(reason);
        if self.complaint.as_ref() != Some(&reason) {
            log::warn!("nothing is taken from the pipe, rsyslog has to keep what comes: {reason}");
            self.complaint = Some(reason);
        }
    }

    fn relieved(&mut self) {
        if self.complaint.take().is_some() {
            log::info!("there is room in the spool again");
        }
    }

    /// Once a second: gauges, and whether somebody replaced the pipe.
    fn look(&mut self) {
        self.looked = Instant::now();
        set(&self.shared.counters.pipe_bytes, self.fifo.fill());
        let now = self.fifo.at_path();
        let missing = std::mem::replace(&mut self.missing, now == AtPath::Nothing);
        match now {
            AtPath::Other => self.replace(),
            // Twice in a row: whoever removed it to make a new one has had the time to.
            AtPath::Nothing if missing => match fifo::create(&self.settings) {
                Ok(()) => log::warn!("the pipe {} was gone and was made again", self.fifo.path().display()),
                Err(error) => log::error!("the pipe is gone: {error}"),
            },
            AtPath::Same | AtPath::Nothing | AtPath::Useless => {}
        }
    }

    /// Takes the new pipe at the path. Whoever holds the old one open may go on writing to it until it opens the path again
    /// (rsyslogd: at the next HUP), so it is read until nobody does.
    fn replace(&mut self) {
        if self.retired.is_some() {
            return;
        }
        let fifo = match Fifo::open(&self.settings, &[]) {
            Ok(fifo) => fifo,
            Err(error) => return log::error!("the pipe was replaced and the new one cannot be read: {error}"),
        };
        match self.fifo.reader() {
            Ok(reader) => {
                log::warn!(
                    "the pipe {} was replaced; both are read while the old one has a writer",
                    fifo.path().display()
                );
                self.retired = Some(reader);
                self.fifo = fifo;
            }
            Err(error) => log::error!("the pipe was replaced and the old one cannot be kept: {error}"),
        }
    }

    /// Ends a line that the old pipe left open, so that nothing of the new one is glued to it.
    fn close_line(&mut self) -> Result<(), NoRoom> {
        use std::os::unix::fs::FileExt as _;
        if self.writer.last_byte().unwrap_or(Some(0)).is_none_or(|byte| byte == b'\n') {
            return Ok(());
        }
        let (file, offset, _) = self.writer.target()?;
        match file.write_all_at(b"\n", offset) {
            Ok(()) => self.writer.grew(1, Instant::now()),
            Err(error) => Err(self.writer.refused(error)),
        }
    }
}

/// One splice from a pipe to the end of the spool.
fn take_from(writer: &mut Writer, pipe: &impl AsFd, chunk: usize) -> Took {
    let (file, offset, room) = match writer.target() {
        Ok(target) => target,
        Err(reason) => return Took::NoRoom(reason),
    };
    let Ok(mut offset) = i64::try_from(offset) else { return Took::Nothing };
    fault::pass(Place::DrainBeforeSplice);
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
    match splice(pipe, None, file, Some(&mut offset), chunk.min(room), flags) {
        Ok(0) | Err(Errno::EAGAIN | Errno::EINTR) => Took::Nothing,
        Ok(bytes) => {
            fault::pass(Place::DrainAfterSplice);
            match writer.grew(bytes as u64, Instant::now()) {
                Ok(()) => Took::Bytes(bytes),
                Err(reason) => Took::NoRoom(reason),
            }
        }
        Err(error) => Took::NoRoom(writer.refused(error.into())),
    }
}

/// True if a pipe that is open for reading only has neither content nor a writer.
fn is_abandoned(pipe: &File) -> bool {
    let mut source = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    let polled = poll(&mut source, PollTimeout::ZERO);
    let seen = source[0].revents().unwrap_or(PollFlags::empty());
    polled.is_ok() && seen.contains(PollFlags::POLLHUP) && !seen.contains(PollFlags::POLLIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE: usize = 1 << 20;
    const LINGER: Duration = Duration::from_millis(5);

    #[test]
    fn a_record_that_comes_alone_makes_nobody_wait() {
        let (mut rhythm, start) = (Rhythm::default(), Instant::now());
        for n in 0..100 {
            assert_eq!(rhythm.took(start + 2 * LINGER * n, 100, PIPE, LINGER), Duration::ZERO);
            rhythm.nothing();
        }
    }

    #[test]
    fn a_steady_flow_is_taken_in_gulps_until_it_ends() {
        let (mut rhythm, start) = (Rhythm::default(), Instant::now());
        rhythm.took(start, 100, PIPE, LINGER);
        rhythm.nothing();
        assert_eq!(rhythm.took(start + LINGER / 8, 100, PIPE, LINGER), LINGER);
        assert_eq!(rhythm.took(start + 2 * LINGER, 5_000, PIPE, LINGER), LINGER);
        assert_eq!(rhythm.took(start + 3 * LINGER, PIPE / 8, PIPE, LINGER), BUSY);
        rhythm.nothing();
        assert_eq!(rhythm.took(start + 9 * LINGER, 100, PIPE, LINGER), Duration::ZERO);
    }
}
