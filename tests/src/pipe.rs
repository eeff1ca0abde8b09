//! A writer that treats the pipe as ompipe does, and the records it writes.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use crate::child::PATIENCE;

/// Makes a FIFO.
pub fn mkfifo(path: &Path) {
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o660))
        .unwrap_or_else(|e| panic!("cannot make the FIFO {}: {e}", path.display()));
}

fn open(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .unwrap_or_else(|e| panic!("cannot open the FIFO {}: {e}", path.display()))
}

fn wait(file: &File, events: PollFlags, limit: Duration) -> bool {
    let timeout = PollTimeout::try_from(limit.min(Duration::from_secs(60))).expect("a minute fits");
    poll(&mut [PollFd::new(file.as_fd(), events)], timeout).expect("poll failed") > 0
}

/// Writes as ompipe does: `O_RDWR | O_NONBLOCK`, one `write()` for each record.
#[derive(Debug)]
pub struct PipeWriter {
    file: File,
    /// Records written whole.
    pub written: u64,
    /// Records of which the kernel took only a part (possible above 4096 bytes).
    pub torn: u64,
    /// How often the pipe was full.
    pub stalls: u64,
}

impl PipeWriter {
    /// Opens an existing FIFO.
    pub fn open(path: &Path) -> Self {
        Self { file: open(path), written: 0, torn: 0, stalls: 0 }
    }

    /// One `write()`, no waiting: `None` if the pipe is full, else the bytes that it took.
    pub fn try_write(&mut self, bytes: &[u8]) -> Option<usize> {
        // A short write is taken as it comes, as ompipe does.
        match self.file.write(bytes) {
            Ok(taken) => Some(taken),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                self.stalls += 1;
                None
            }
            Err(e) => panic!("cannot write to the FIFO: {e}"),
        }
    }

    /// Writes one record and waits while the pipe is full. As with ompipe, a short write counts as done: the rest of the
    /// record is gone. Returns the bytes taken.
    pub fn write(&mut self, record: &[u8]) -> usize {
        let start = Instant::now();
        loop {
            if let Some(taken) = self.try_write(record) {
                if taken == record.len() {
                    self.written += 1;
                } else {
                    self.torn += 1;
                }
                return taken;
            }
            assert!(start.elapsed() < PATIENCE, "the pipe stayed full for {PATIENCE:?}: nobody reads it");
            wait(&self.file, PollFlags::POLLOUT, Duration::from_secs(1));
        }
    }

    /// Waits until the pipe may have room, at most for `limit`.
    pub fn wait_for_room(&self, limit: Duration) {
        wait(&self.file, PollFlags::POLLOUT, limit);
    }

    /// Writes all of a record of any size, in several writes if the kernel wants it so.
    pub fn write_whole(&mut self, record: &[u8]) {
        let mut rest = record;
        while !rest.is_empty() {
            let (written, torn) = (self.written, self.torn);
            let taken = self.write(rest);
            (self.written, self.torn) = (written, torn);
            rest = &rest[taken..];
        }
        self.written += 1;
    }

    /// Writes one record after the other.
    pub fn write_all<R: AsRef<[u8]>>(&mut self, records: impl IntoIterator<Item = R>) {
        for record in records {
            self.write(record.as_ref());
        }
    }

    /// Whether the pipe holds nothing that a reader could take.
    pub fn is_empty(&self) -> bool {
        !wait(&self.file, PollFlags::POLLIN, Duration::ZERO)
    }
}

/// Reads what is in a FIFO, for tests that have no bridge.
#[derive(Debug)]
pub struct PipeReader {
    file: File,
    rest: Vec<u8>,
}

impl PipeReader {
    /// Opens an existing FIFO and keeps it open, so that its content stays when the writer goes.
    pub fn open(path: &Path) -> Self {
        Self { file: open(path), rest: Vec::new() }
    }

    /// The next line without its LF; `None` if none comes within `limit`.
    pub fn line(&mut self, limit: Duration) -> Option<Vec<u8>> {
        let start = Instant::now();
        let mut block = vec![0; 64 * 1024];
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.rest.drain(..=end).collect();
                line.pop();
                return Some(line);
            }
            match self.file.read(&mut block) {
                Ok(taken) => self.rest.extend_from_slice(&block[..taken]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let left = limit.saturating_sub(start.elapsed());
                    if left.is_zero() || !wait(&self.file, PollFlags::POLLIN, left) {
                        return None;
                    }
                }
                Err(e) => panic!("cannot read the FIFO: {e}"),
            }
        }
    }

    /// Everything that is in the pipe now.
    pub fn rest(mut self) -> Vec<u8> {
        let mut block = vec![0; 64 * 1024];
        while let Ok(taken) = self.file.read(&mut block) {
            self.rest.extend_from_slice(&block[..taken]);
        }
        self.rest
    }

    /// The next `n` lines; panics if they do not come.
    #[track_caller]
    pub fn lines(&mut self, n: usize) -> Vec<Vec<u8>> {
        (0..n)
            .map(|have| {
                self.line(PATIENCE).unwrap_or_else(|| panic!("waited for {n} lines, {have} came in {PATIENCE:?}"))
            })
            .collect()
    }
}

/// How many bytes fit into a FIFO.
pub fn capacity(path: &Path) -> i32 {
    nix::fcntl::fcntl(open(path), FcntlArg::F_GETPIPE_SZ).expect("a pipe has a size")
}

/// What is in a FIFO, without taking it out (tee(2)).
pub fn peek(path: &Path) -> Vec<u8> {
    let fifo = open(path);
    let (mut from, to) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
        .map(|(from, to)| (File::from(from), to))
        .expect("a pipe");
    // Each page of the one takes a page of the other.
    let size = nix::fcntl::fcntl(&fifo, FcntlArg::F_GETPIPE_SZ).expect("a pipe has a size");
    nix::fcntl::fcntl(&to, FcntlArg::F_SETPIPE_SZ(size)).expect("the same size");
    let bytes =
        match nix::fcntl::tee(&fifo, &to, usize::try_from(size).expect("a size"), SpliceFFlags::SPLICE_F_NONBLOCK) {
            Ok(bytes) => bytes,
            Err(Errno::EAGAIN) => 0,
            Err(error) => panic!("cannot look into the FIFO: {error}"),
        };
    let mut found = vec![0; bytes];
    from.read_exact(&mut found).expect("what was copied");
    found
}

/// Numbered records of one run: `~16|6|Nov 21 10:00:00|RUN N PADDING`.
#[derive(Clone, Debug)]
pub struct Numbered {
    run: String,
    size: usize,
}

impl Numbered {
    /// Records of `size` bytes with their LF. A size too small for the number gives the shortest record there is.
    /// `run` has neither spaces nor `|`.
    pub fn new(run: &str, size: usize) -> Self {
        assert!(!run.is_empty() && !run.contains([' ', '|', '\n']), "not a name for a run: {run:?}");
        Self { run: run.to_owned(), size }
    }

    /// The name of the run.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Record `n` as it stands in the pipe, with LF.
    pub fn record(&self, n: u64) -> Vec<u8> {
        let mut record = self.element(n);
        record.push(b'\n');
        record
    }

    /// Record `n` as it stands in the list, without LF.
    pub fn element(&self, n: u64) -> Vec<u8> {
        self.fill("~16|6|Nov 21 10:00:00|", n, self.size.saturating_sub(1))
    }

    /// Record `n` as a syslog frame (local0.info), which rsyslog makes such a record of.
    pub fn syslog(&self, n: u64) -> Vec<u8> {
        self.fill("<134>Nov 21 10:00:00 e2e test: ", n, self.size.saturating_sub(1))
    }

    fn fill(&self, head: &str, n: u64, size: usize) -> Vec<u8> {
        let mut bytes = format!("{head}{} {n} ", self.run).into_bytes();
        bytes.resize(bytes.len().max(size), b'x');
        bytes
    }
}

/// The run and the number in a list element of [`Numbered`], whatever the header before the third `|` says.
pub fn parse(element: &[u8]) -> Option<(&str, u64)> {
    let message = element.strip_prefix(b"~")?.splitn(4, |&byte| byte == b'|').nth(3)?;
    let mut words = message.trim_ascii_start().splitn(3, |&byte| byte == b' ');
    let run = std::str::from_utf8(words.next()?).ok()?;
    let n = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    Some((run, n))
}
