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
use crate::rhythm::Rhythm;
use crate::settings::effective::FifoSettings;
use crate::shared::Shared;

/// How long the drainer sleeps when nothing comes.
const IDLE_MILLISECONDS: u16 = 1000;
/// How often the path is looked at and the gauges are set.
const LOOK: Duration = Duration::from_secs(1);
/// The pause before the next attempt while there is no room.
const NO_ROOM: Duration = Duration::from_millis(100);
/// Pipe to spool.
pub struct Drainer {
    fifo: Fifo,
    /// Pipes that were replaced while somebody still writes to them, the oldest first, open for reading only.
    retired: Vec<File>,
    /// The pipe that the last bytes came from, counted through `retired` and `fifo` behind it, and whether they end inside of a
    /// line. Kept while there are several.
    last: usize,
    open_line: bool,
    settings: FifoSettings,
    writer: Writer,
    shared: Arc<Shared>,
    /// Said once: why nothing is taken. And when that was last so.
    complaint: Option<(String, Instant)>,
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
        Self {
            fifo,
            retired: Vec::new(),
            last: 0,
            open_line: false,
            settings,
            writer,
            shared,
            complaint: None,
            looked: Instant::now(),
            missing: false,
        }
    }

    /// Works until it is told to stop. Gives the pipe back, so that it is held until the very end.
    pub fn run(mut self) -> Fifo {
        let chunk = usize::try_from(self.fifo.capacity()).unwrap_or(1 << 20).max(1 << 16);
        let mut rhythm = Rhythm::default();
        while !self.shared.stopping() {
            self.shared.drainer_beat();
            match self.take(chunk) {
                Took::Bytes(bytes) => {
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
        // What is in the pipe now may have no other holder.
        if let Took::NoRoom(reason) = self.round(chunk) {
            self.complain(&reason);
        }
        self.fifo
    }

    /// Takes what the pipe holds, or the pipes.
    fn take(&mut self, chunk: usize) -> Took {
        if self.retired.is_empty() {
            return take_from(&mut self.writer, &self.fifo, chunk);
        }
        let took = self.round(chunk);
        match self.forget_abandoned() {
            Ok(()) => took,
            Err(reason) => Took::NoRoom(reason),
        }
    }

    /// Takes from each pipe what it holds at this moment.
    fn round(&mut self, chunk: usize) -> Took {
        // The newest is looked at first and taken from last: a writer that has gone over to it wrote to the older one before.
        let fills: Vec<u64> = (0..=self.retired.len()).rev().map(|index| self.fill(index)).collect();
        let mut total = 0;
        for (index, mut left) in fills.into_iter().rev().enumerate() {
            while left > 0 {
                if let Err(reason) = self.turn_to(index, chunk, &mut total) {
                    return Took::NoRoom(reason);
                }
                match self.take_at(index, chunk.min(usize::try_from(left).unwrap_or(chunk))) {
                    Took::Bytes(bytes) => {
                        total += bytes;
                        left = left.saturating_sub(bytes as u64);
                    }
                    Took::Nothing => break,
                    Took::NoRoom(reason) => return Took::NoRoom(reason),
                }
            }
        }
        if total > 0 { Took::Bytes(total) } else { Took::Nothing }
    }

    /// Makes the pipe `index` the next: a line that another one began gets its end from there, or a plain one.
    fn turn_to(&mut self, index: usize, chunk: usize, total: &mut usize) -> Result<(), NoRoom> {
        while self.open_line && self.last != index {
            match self.take_at(self.last, chunk) {
                Took::Bytes(bytes) => *total += bytes,
                Took::Nothing => self.close_line()?,
                Took::NoRoom(reason) => return Err(reason),
            }
        }
        Ok(())
    }

    fn take_at(&mut self, index: usize, chunk: usize) -> Took {
        let took = match self.retired.get(index) {
            Some(retired) => take_from(&mut self.writer, retired, chunk),
            None => take_from(&mut self.writer, &self.fifo, chunk),
        };
        if let (Took::Bytes(_), false) = (&took, self.retired.is_empty()) {
            self.last = index;
            self.open_line = ends_inside_a_line(&self.writer);
        }
        took
    }

    fn fill(&self, index: usize) -> u64 {
        self.retired.get(index).map_or_else(|| self.fifo.fill(), fifo::fill)
    }

    /// Lets go of replaced pipes that have neither content nor a writer.
    fn forget_abandoned(&mut self) -> Result<(), NoRoom> {
        while let Some(index) = self.retired.iter().position(is_abandoned) {
            if self.last == index {
                self.close_line()?;
            }
            self.retired.remove(index);
            self.last -= usize::from(self.last > index);
            log::info!("nobody writes to the replaced pipe any more");
        }
        Ok(())
    }

    /// Waits for bytes or for the end.
    fn wait(&mut self) {
        let mut sources = vec![
            PollFd::new(self.fifo.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.shared.waker(), PollFlags::POLLIN),
        ];
        sources.extend(self.retired.iter().map(|retired| PollFd::new(retired.as_fd(), PollFlags::POLLIN)));
        // An error means a signal or nothing at all; either way the loop looks again.
        let _ = poll(&mut sources, PollTimeout::from(IDLE_MILLISECONDS));
    }

    fn complain(&mut self, reason: &NoRoom) {
        let reason = crate::chain(reason);
        if self.complaint.as_ref().is_none_or(|(said, _)| *said != reason) {
            log::warn!("nothing is taken from the pipe, rsyslog has to keep what comes: {reason}");
        }
        self.complaint = Some((reason, Instant::now()));
    }

    /// A full spool that Redis empties has room for a moment with each segment that goes: that is not worth a line.
    fn relieved(&mut self) {
        if self.complaint.take_if(|(_, last)| last.elapsed() >= LOOK).is_some() {
            log::info!("there is room in the spool again");
        }
    }

    /// Once a second: gauges, and whether somebody replaced the pipe.
    fn look(&mut self) {
        self.looked = Instant::now();
        self.relieved();
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
                if self.retired.is_empty() {
                    self.last = 0;
                    self.open_line = ends_inside_a_line(&self.writer);
                }
                self.retired.push(reader);
                self.fifo = fifo;
            }
            Err(error) => log::error!("the pipe was replaced and the old one cannot be kept: {error}"),
        }
    }

    /// Ends a line that a pipe left open, so that nothing of another one is glued to it.
    fn close_line(&mut self) -> Result<(), NoRoom> {
        use std::os::unix::fs::FileExt as _;
        if !self.open_line {
            return Ok(());
        }
        let (file, offset, _) = self.writer.target()?;
        if let Err(error) = file.write_all_at(b"\n", offset) {
            return Err(self.writer.refused(error));
        }
        self.open_line = false;
        self.writer.grew(1, Instant::now())
    }
}

fn ends_inside_a_line(writer: &Writer) -> bool {
    matches!(writer.last_byte(), Ok(Some(byte)) if byte != b'\n')
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
