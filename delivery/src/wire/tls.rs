//! TLS on a socket, driven by hand: no call waits for the peer but within the caller's patience.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::socket::{AtOnce, Socket};
use super::{Patience, closed, go_on, late};

/// A connection that has shaken hands.
pub struct Tls(Box<ClientConnection>);

/// What the peer is to be, and how to find out.
#[derive(Clone)]
pub struct Session {
    /// Who is trusted, and who we are.
    pub config: Arc<ClientConfig>,
    /// Whose certificate the peer has to have.
    pub name: ServerName<'static>,
}

impl Tls {
    /// Shakes hands. A peer that is not the one that was meant, or does not speak TLS, is an error that holds a [`rustls::Error`].
    pub fn begin(session: &Session, socket: &Socket, patience: Patience<'_>) -> io::Result<Self> {
        let connection = ClientConnection::new(Arc::clone(&session.config), session.name.clone()).map_err(strange)?;
        let mut tls = Self(Box::new(connection));
        loop {
            tls.flush(socket, patience)?;
            if !tls.0.is_handshaking() {
                return Ok(tls);
            }
            tls.take_in(socket, patience)?;
            // Somebody who sends a byte at a time has no more time than anybody else.
            if tls.0.is_handshaking() && patience.is_over() {
                return Err(late());
            }
        }
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, socket: &Socket, mut bytes: &[u8], patience: Patience<'_>) -> io::Result<()> {
        while !bytes.is_empty() {
            // As much as its buffer takes.
            let count = self.0.writer().write(bytes)?;
            bytes = &bytes[count..];
            self.flush(socket, patience)?;
        }
        Ok(())
    }

    /// Reads what has come, and waits if nothing has. Never 0 if there is room.
    pub fn read(&mut self, socket: &Socket, room: &mut [u8], patience: Patience<'_>) -> io::Result<usize> {
        let mut came = false;
        loop {
            match self.0.reader().read(room) {
                Ok(0) => return Err(closed()),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock && came && patience.is_over() => return Err(late()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The peer went without a goodbye. What was read before counts: a reply tells its own length.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(closed()),
                Err(error) => return Err(error),
            }
            // The peer may have asked for new keys.
            self.flush(socket, patience)?;
            self.take_in(socket, patience)?;
            came = true;
        }
    }

    /// False if the peer has closed the connection, or made it useless. Waits for nothing; what comes is kept.
    pub fn is_alive(&mut self, socket: &Socket) -> bool {
        loop {
            let Ok(state) = self.0.process_new_packets() else { return false };
            if state.peer_has_closed() {
                return false;
            }
            // There is an answer to be read: the peer was alive when it sent it.
            if state.plaintext_bytes_to_read() > 0 {
                return true;
            }
            match self.0.read_tls(&mut AtOnce(socket)) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
            }
        }
    }

    /// Takes in what a peer said before it went, if it said why.
    pub fn last_words(&mut self, socket: &Socket) -> Option<io::Error> {
        loop {
            if let Err(error) = self.0.process_new_packets() {
                return Some(strange(error));
            }
            match self.0.read_tls(&mut AtOnce(socket)) {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Says goodbye if there is room for it.
    pub fn end(&mut self, socket: &Socket) {
        self.0.send_close_notify();
        self.flush_at_once(socket);
    }

    fn flush(&mut self, mut socket: &Socket, patience: Patience<'_>) -> io::Result<()> {
        while self.0.wants_write() {
            match self.0.write_tls(&mut socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) if self.0.wants_write() && patience.is_over() => return Err(late()),
                Ok(_) => {}
                Err(error) => go_on(error, patience)?,
            }
        }
        Ok(())
    }

    /// As much as there is room for.
    fn flush_at_once(&mut self, socket: &Socket) {
        while self.0.wants_write() && self.0.write_tls(&mut AtOnce(socket)).is_ok_and(|count| count > 0) {}
    }

    /// Waits until something came, and takes it apart.
    fn take_in(&mut self, mut socket: &Socket, patience: Patience<'_>) -> io::Result<()> {
        let count = loop {
            match self.0.read_tls(&mut socket) {
                Ok(count) => break count,
                Err(error) => go_on(error, patience)?,
            }
        };
        if let Err(error) = self.0.process_new_packets() {
            // The peer is told why, if it can be.
            self.flush_at_once(socket);
            return Err(strange(error));
        }
        if count == 0 && self.0.is_handshaking() { Err(closed()) } else { Ok(()) }
    }
}

fn strange(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
