//! A connected socket. No call on it waits longer than a moment, none raises SIGPIPE.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags, SocketType, recv, send,
    sendmsg,
};

use super::{Patience, interrupted, late, name};

/// How long a wait lasts before the caller is asked whether to go on.
const SLICE: Duration = Duration::from_millis(100);

/// A connected socket. Reads and writes of it wait for a moment, and end with `WouldBlock`.
pub struct Socket(OwnedFd);

/// The same socket for whoever does not wait at all.
pub struct AtOnce<'a>(pub &'a Socket);

impl Socket {
    /// Connects to `host`. The name is looked up now, and each of its addresses is tried until one answers.
    pub fn tcp(host: &str, port: u16, patience: Patience<'_>) -> io::Result<Self> {
        Self::any(name::addresses(host, port, patience)?, patience)
    }

    /// Connects to the first that answers. None may use up the time of the others.
    pub fn any(addresses: Vec<SocketAddr>, patience: Patience<'_>) -> io::Result<Self> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        let mut left = addresses.len() as u32;
        for address in addresses {
            if patience.is_over() {
                return Err(late());
            }
            let now = Instant::now();
            let deadline = now + patience.deadline.saturating_duration_since(now) / left;
            left -= 1;
            let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            match connect(family, &address, Patience { deadline, ..patience }) {
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

    /// Takes over a socket that is connected.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = if socket.as_raw_fd() > 2 { socket } else { rustix::io::fcntl_dupfd_cloexec(&socket, 3)? };
        for direction in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&socket, direction, Some(SLICE))?;
        }
        Ok(Self(socket))
    }

    /// Closes the connection for whoever else has this socket, too.
    pub fn shut(&self) {
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }

    /// False if the peer has closed the connection. Waits for nothing and reads nothing.
    pub fn is_alive(&self) -> bool {
        match recv(&self.0, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((count, _)) => count > 0,
            Err(error) => matches!(error, Errno::AGAIN | Errno::INTR),
        }
    }
}

impl Read for &Socket {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&self.0, room, RecvFlags::empty())?.0)
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(sendmsg(&self.0, parts, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for AtOnce<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&self.0.0, room, RecvFlags::DONTWAIT)?.0)
    }
}

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.0.0, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connected socket.
fn connect(family: AddressFamily, address: &impl SocketAddrArg, patience: Patience<'_>) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // connect(2) waits as long as a write may: for a network, and for room in the backlog of a unix socket.
    set_socket_timeout(&socket, Timeout::Send, Some(SLICE))?;
    loop {
        let outcome = rustix::net::connect(&socket, address);
        if outcome == Err(Errno::INTR) {
            interrupted();
        }
        match outcome {
            Ok(()) | Err(Errno::ISCONN) => return Ok(socket),
            // It goes on, and the next call waits for it.
            Err(Errno::INPROGRESS | Errno::ALREADY | Errno::AGAIN | Errno::INTR) if !patience.is_over() => {}
            Err(Errno::INPROGRESS | Errno::ALREADY | Errno::AGAIN | Errno::INTR) => return Err(late()),
            Err(error) => return Err(error.into()),
        }
    }
}
