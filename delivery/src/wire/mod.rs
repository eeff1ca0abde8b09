//! A socket whose every wait has an end: at a deadline, or when the caller is asked to stop.
//!
//! Why not a connection of the redis crate: a guest in a process that ends its threads by signals has to look up from a wait
//! that is interrupted, its descriptors must lie above 2 (the host closes those three late, and prints to them), and
//! connecting to a unix socket has to end when a stopped server's backlog is full.

mod name;
mod socket;
mod tls;

use std::cell::Cell;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::eager::{Eager, LOOK};
use crate::push::{NotAReply, Parser, Reply};

use self::socket::{AtOnce, Socket};
use self::tls::Tls;

pub use self::tls::Session;

/// Replies to some hundred pushes. The buffer grows for a reply that is longer, and only for that.
const READ_BYTES: usize = 16 << 10;

thread_local! {
    static SIGNALS: Cell<u64> = const { Cell::new(0) };
}

/// How often a wait of this thread was interrupted by a signal. A host may have no other way to say that it ends.
pub fn signals() -> u64 {
    SIGNALS.get()
}

fn interrupted() {
    SIGNALS.set(SIGNALS.get().wrapping_add(1));
}

/// How long to wait for something, and who may end it earlier.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// The wait ends here.
    pub deadline: Instant,
    /// Asked at least ten times a second, and after each signal: true ends the wait.
    pub interrupted: &'a dyn Fn() -> bool,
}

impl Patience<'_> {
    /// Until `limit` from now has passed, whatever happens.
    pub fn of(limit: Duration) -> Self {
        Self { deadline: Instant::now() + limit, interrupted: &|| false }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline || (self.interrupted)()
    }
}

/// A connected socket and the bytes that came and were not yet read as replies.
pub struct Wire {
    socket: Socket,
    tls: Option<Tls>,
    buffer: Buffer,
    parser: Parser,
    /// Whether to look for answers before sleeping; `None`: never.
    eager: Option<Eager>,
}

/// What came: `bytes[start..end]` was not read yet.
struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// Why there was no reply.
#[derive(Debug)]
pub enum Broken {
    /// The socket.
    Io(io::Error),
    /// The peer sent something else.
    NotAReply(NotAReply),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Wire {
    /// Connects to `host`. The name is looked up now, and each of its addresses is tried until one answers.
    pub fn tcp(host: &str, port: u16, patience: Patience<'_>) -> io::Result<Self> {
        Ok(Self::new(Socket::tcp(host, port, patience)?))
    }

    /// Connects to a unix socket.
    pub fn unix(path: &Path, patience: Patience<'_>) -> io::Result<Self> {
        Ok(Self::new(Socket::unix(path, patience)?))
    }

    fn new(socket: Socket) -> Self {
        let buffer = Buffer { bytes: vec![0; READ_BYTES].into(), start: 0, end: 0 };
        Self { socket, tls: None, buffer, parser: Parser::default(), eager: None }
    }

    /// From here on it looks for answers for a moment before it sleeps until they come, where one question follows the other ([`Eager`]).
    /// For those who ask and wait in one thread: where others of the process have work, it takes their processor. Not with TLS.
    pub fn look_for_answers(&mut self) {
        self.eager = Some(Eager::default());
    }

    /// Speaks TLS from here on. To be called before anything else is sent.
    pub fn secure(&mut self, session: &Session, patience: Patience<'_>) -> io::Result<()> {
        self.tls = Some(Tls::begin(session, &self.socket, patience)?);
        Ok(())
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, mut bytes: &[u8], patience: Patience<'_>) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            return match tls.send(&self.socket, bytes, patience) {
                Err(error) if error.kind() != ErrorKind::TimedOut => Err(tls.last_words(&self.socket).unwrap_or(error)),
                sent => sent,
            };
        }
        if let Some(eager) = &mut self.eager {
            eager.asked(Instant::now());
        }
        while !bytes.is_empty() {
            match (&self.socket).write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) if count < bytes.len() && patience.is_over() => return Err(late()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) => go_on(error, patience)?,
            }
        }
        Ok(())
    }

    /// False if the peer has closed the connection. Waits for nothing.
    pub fn is_alive(&mut self) -> bool {
        match &mut self.tls {
            Some(tls) => tls.is_alive(&self.socket),
            None => self.socket.is_alive(),
        }
    }

    /// What came and is no whole reply.
    pub fn unread(&self) -> &[u8] {
        &self.buffer.bytes[self.buffer.start..self.buffer.end]
    }

    /// Waits for the next reply.
    pub fn receive(&mut self, patience: Patience<'_>) -> Result<Reply, Broken> {
        // Somebody who sends a byte at a time has no more time than anybody else.
        let mut came = false;
        loop {
            let buffer = &mut self.buffer;
            match self.parser.read(&buffer.bytes[..buffer.end], &mut buffer.start) {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) if came && patience.is_over() => return Err(late().into()),
                Ok(None) => self.fill(patience)?,
                Err(not_a_reply) => return Err(Broken::NotAReply(not_a_reply)),
            }
            came = true;
        }
    }

    /// Reads what has come, and waits if nothing has.
    fn fill(&mut self, patience: Patience<'_>) -> io::Result<()> {
        let room = self.buffer.room();
        let count = match &mut self.tls {
            Some(tls) => tls.read(&self.socket, room, patience)?,
            None => {
                let found = self.eager.as_mut().map_or(Ok(None), |eager| look(&self.socket, eager, room))?;
                let count = found.map_or_else(|| read(&self.socket, room, patience), Ok)?;
                if let Some(eager) = &mut self.eager {
                    eager.answered(Instant::now());
                }
                count
            }
        };
        self.buffer.end += count;
        Ok(())
    }
}

/// Looks for bytes for a moment, where that pays. A signal that comes meanwhile is not counted: a host that says by signals that it ends is
/// heard at the next wait.
fn look(socket: &Socket, eager: &mut Eager, room: &mut [u8]) -> io::Result<Option<usize>> {
    if !eager.look() {
        return Ok(None);
    }
    let begun = Instant::now();
    while begun.elapsed() < LOOK {
        match AtOnce(socket).read(room) {
            Ok(0) => return Err(closed()),
            Ok(count) => {
                eager.looked(Some(begun.elapsed()));
                return Ok(Some(count));
            }
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Err(error),
            Err(_) => std::thread::yield_now(),
        }
    }
    eager.looked(None);
    Ok(None)
}

/// Sleeps until bytes come.
fn read(mut socket: &Socket, room: &mut [u8], patience: Patience<'_>) -> io::Result<usize> {
    loop {
        match socket.read(room) {
            Ok(0) => return Err(closed()),
            Ok(count) => return Ok(count),
            Err(error) => go_on(error, patience)?,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.end(&self.socket);
        }
    }
}

impl Buffer {
    /// Room for more, at least one byte.
    fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.bytes.len() > READ_BYTES {
                // The long reply was read.
                self.bytes = vec![0; READ_BYTES].into();
            }
        } else if self.start > 0 && self.bytes.len() - self.end < READ_BYTES / 4 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.bytes.len() {
            let mut longer = std::mem::take(&mut self.bytes).into_vec();
            longer.resize(2 * self.end, 0);
            self.bytes = longer.into();
        }
        &mut self.bytes[self.end..]
    }
}

/// After a wait that brought nothing: may it go on?
fn go_on(error: io::Error, patience: Patience<'_>) -> io::Result<()> {
    if error.kind() == ErrorKind::Interrupted {
        interrupted();
    }
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted if !patience.is_over() => Ok(()),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Err(late()),
        _ => Err(error),
    }
}

fn late() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "no answer in time")
}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "redis closed the connection")
}

#[cfg(test)]
mod tests;
