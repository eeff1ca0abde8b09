//! A socket whose every wait has an end: at a deadline, or when the caller is asked to stop.
//!
//! Why not a connection of the redis crate: a guest in a process that ends its threads by signals has to look up from a wait
//! that is interrupted, its descriptors must lie above 2 (the host closes those three late, and prints to them), and
//! connecting to a unix socket has to end when a stopped server's backlog is full.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::addr::SocketAddrArg;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::push::{NotAReply, Parser, Reply};

/// How long a wait lasts before the caller is asked whether to go on.
const SLICE: Duration = Duration::from_millis(100);
/// Replies to some hundred pushes.
const READ_BYTES: usize = 16 << 10;

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

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connected socket and the bytes that came and were not yet read as replies.
pub struct Wire {
    stream: Stream,
    came: Vec<u8>,
    /// `came` begins here.
    start: usize,
    parser: Parser,
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
    /// Connects to `host`. Each of its addresses is tried until one answers.
    pub fn tcp(host: &str, port: u16, patience: Patience<'_>) -> io::Result<Self> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in (host, port).to_socket_addrs()? {
            if patience.is_over() {
                return Err(late());
            }
            let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            match connect(family, &address, patience) {
                Ok(socket) => {
                    rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
                    return Self::new(socket);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to a unix socket.
    pub fn unix(path: &Path, patience: Patience<'_>) -> io::Result<Self> {
        Self::new(connect(AddressFamily::UNIX, &SocketAddrUnix::new(path)?, patience)?)
    }

    fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = if socket.as_raw_fd() > 2 { socket } else { rustix::io::fcntl_dupfd_cloexec(&socket, 3)? };
        for direction in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&socket, direction, Some(SLICE))?;
        }
        let stream = match rustix::net::sockopt::socket_domain(&socket)? {
            AddressFamily::UNIX => Stream::Unix(socket.into()),
            _ => Stream::Tcp(socket.into()),
        };
        Ok(Self { stream, came: Vec::new(), start: 0, parser: Parser::default() })
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, mut bytes: &[u8], patience: Patience<'_>) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = match &mut self.stream {
                Stream::Tcp(stream) => stream.write(bytes),
                Stream::Unix(stream) => stream.write(bytes),
            };
            match sent {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) => go_on(error, patience)?,
            }
        }
        Ok(())
    }

    /// False if the peer has closed the connection. Waits for nothing and reads nothing.
    pub fn is_alive(&self) -> bool {
        use rustix::net::{RecvFlags, recv};
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let mut byte = [0];
        let seen = match &self.stream {
            Stream::Tcp(stream) => recv(stream, &mut byte, flags),
            Stream::Unix(stream) => recv(stream, &mut byte, flags),
        };
        match seen {
            Ok((count, _)) => count > 0,
            Err(error) => matches!(error, rustix::io::Errno::AGAIN | rustix::io::Errno::INTR),
        }
    }

    /// Waits for the next reply.
    pub fn receive(&mut self, patience: Patience<'_>) -> Result<Reply, Broken> {
        loop {
            match self.parser.read(&self.came, &mut self.start) {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => self.fill(patience)?,
                Err(not_a_reply) => return Err(Broken::NotAReply(not_a_reply)),
            }
        }
    }

    /// Reads what has come, and waits if nothing has.
    fn fill(&mut self, patience: Patience<'_>) -> io::Result<()> {
        self.came.drain(..self.start);
        self.start = 0;
        let have = self.came.len();
        self.came.resize(have + READ_BYTES, 0);
        let outcome = loop {
            let room = &mut self.came[have..];
            let count = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(room),
                Stream::Unix(stream) => stream.read(room),
            };
            match count {
                Ok(0) => break Err(io::Error::new(ErrorKind::UnexpectedEof, "redis closed the connection")),
                Ok(count) => break Ok(count),
                Err(error) => {
                    if let Err(error) = go_on(error, patience) {
                        break Err(error);
                    }
                }
            }
        };
        self.came.truncate(have + *outcome.as_ref().unwrap_or(&0));
        outcome.map(|_| ())
    }
}

/// A connected socket.
fn connect(family: AddressFamily, address: &impl SocketAddrArg, patience: Patience<'_>) -> io::Result<OwnedFd> {
    use rustix::io::Errno;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // connect(2) waits as long as a write may: for a network, and for room in the backlog of a unix socket.
    set_socket_timeout(&socket, Timeout::Send, Some(SLICE))?;
    loop {
        match rustix::net::connect(&socket, address) {
            Ok(()) | Err(Errno::ISCONN) => return Ok(socket),
            // It goes on, and the next call waits for it.
            Err(Errno::INPROGRESS | Errno::ALREADY | Errno::AGAIN | Errno::INTR) if !patience.is_over() => {}
            Err(Errno::INPROGRESS | Errno::ALREADY | Errno::AGAIN | Errno::INTR) => return Err(late()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// After a wait that brought nothing: may it go on?
fn go_on(error: io::Error, patience: Patience<'_>) -> io::Result<()> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted if !patience.is_over() => Ok(()),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Err(late()),
        _ => Err(error),
    }
}

fn late() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "no answer in time")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    fn pair() -> (Wire, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        (Wire::new(ours.into()).expect("a wire"), theirs)
    }

    #[test]
    fn replies_come_one_by_one_however_they_arrive() {
        let (mut wire, mut peer) = pair();
        let patience = Patience::of(Duration::from_secs(60));
        wire.send(b"hello", patience).expect("sent");
        let mut got = [0; 5];
        peer.read_exact(&mut got).expect("received");
        peer.write_all(b":1\r\n:2\r\n$3\r\na").expect("written");
        assert_eq!(wire.receive(patience).expect("a reply"), Reply::Number(1));
        assert_eq!(wire.receive(patience).expect("a reply"), Reply::Number(2));
        peer.write_all(b"bc\r\n").expect("written");
        assert_eq!(wire.receive(patience).expect("a reply"), Reply::Bytes(b"abc".to_vec()));
        drop(peer);
        assert!(matches!(wire.receive(patience), Err(Broken::Io(_))));
    }

    #[test]
    fn a_closed_connection_is_seen_without_a_wait() {
        let (wire, mut peer) = pair();
        assert!(wire.is_alive());
        peer.write_all(b":1\r\n").expect("written");
        assert!(wire.is_alive());
        let (wire, peer) = pair();
        drop(peer);
        assert!(!wire.is_alive());
    }

    #[test]
    fn a_wait_ends_when_somebody_says_so() {
        let (mut wire, _peer) = pair();
        let asked = Cell::new(0);
        let interrupted = || {
            asked.set(asked.get() + 1);
            asked.get() == 2
        };
        let patience = Patience { deadline: Instant::now() + Duration::from_secs(3600), interrupted: &interrupted };
        assert!(matches!(wire.receive(patience), Err(Broken::Io(error)) if error.kind() == ErrorKind::TimedOut));
        assert_eq!(asked.get(), 2);
        let full = vec![0; 64 << 20];
        asked.set(0);
        assert_eq!(wire.send(&full, patience).expect_err("nobody reads").kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn connecting_to_one_who_accepts_nothing_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let _listener = UnixListener::bind(&path).expect("a listener");
        let mut held = Vec::new();
        // Somewhere within this many the backlog is full.
        let error = loop {
            match Wire::unix(&path, Patience::of(Duration::from_millis(20))) {
                Ok(wire) => held.push(wire),
                Err(error) => break error,
            }
            assert!(held.len() < 100_000, "the backlog has no end");
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn connecting_ends_when_somebody_says_so() {
        let asked = Cell::new(0);
        let interrupted = || {
            asked.set(asked.get() + 1);
            asked.get() >= 3
        };
        let patience = Patience { deadline: Instant::now() + Duration::from_secs(3600), interrupted: &interrupted };
        let late = |what: &str, outcome: io::Result<Wire>| match outcome {
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{what}: {error}"),
            Ok(_) => panic!("{what}: somebody answers"),
        };
        let of = || Patience::of(Duration::from_secs(60));
        // Nobody accepts: the backlog of each is full at some time.
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket");
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path).expect("a path")).expect("bound");
        rustix::net::listen(&socket, 0).expect("listens");
        let _held = Wire::unix(&path, of()).expect("the first is taken");
        late("unix", Wire::unix(&path, patience));
        assert_eq!(asked.get(), 3);

        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        rustix::net::bind(&socket, &std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).expect("bound");
        rustix::net::listen(&socket, 0).expect("listens");
        let listener = TcpListener::from(socket);
        let port = listener.local_addr().expect("an address").port();
        let _held = Wire::tcp("127.0.0.1", port, of()).expect("the first is taken");
        asked.set(0);
        late("tcp", Wire::tcp("127.0.0.1", port, patience));
        assert_eq!(asked.get(), 3);
    }

    #[test]
    fn a_host_is_tried_at_each_of_its_addresses() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        // localhost may be ::1 first, where nobody listens.
        Wire::tcp("localhost", port, Patience::of(Duration::from_secs(60))).expect("a connection");
        drop(listener);
        assert!(Wire::tcp("localhost", port, Patience::of(Duration::from_secs(60))).is_err());
    }
}
