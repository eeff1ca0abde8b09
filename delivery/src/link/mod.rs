//! The connection to Redis: where it is ([`Endpoint`]), getting in, sending and asking.
//!
//! The socket is our own: [`crate::wire`] says why.

mod ack;
pub mod cluster;
mod endpoint;
mod sentinel;
mod tls;

use std::io;
use std::time::{Duration, Instant};

use self::cluster::Route;
use crate::error::Trouble;
use crate::push::{self, Mode, Names, NotAReply, Reply};
use crate::wire::{Broken, Patience, Wire};

pub use self::ack::{Ack, Unconfirmed};
pub use self::endpoint::{Address, Endpoint, Topology};
pub use self::tls::{TlsFiles, WrongTls};

/// A connection that is logged in.
pub struct Link {
    wire: Wire,
    timeout: Duration,
    /// In a cluster: the node it is connected to, and who is to hear what that says.
    route: Option<Box<(Endpoint, Route)>>,
    /// When a push counts.
    ack: Ack,
    /// With Sentinel: whether this is still the master.
    watch: Option<Box<sentinel::Watch>>,
}

impl Link {
    /// Connects and logs in, within the endpoint's time.
    pub fn connect(endpoint: &Endpoint) -> Result<Self, Trouble> {
        Self::connect_unless(endpoint, &|| false)
    }

    /// Connects and logs in, within the endpoint's time, unless `interrupted`.
    pub fn connect_unless(endpoint: &Endpoint, interrupted: &dyn Fn() -> bool) -> Result<Self, Trouble> {
        Self::connect_within(endpoint, Patience { deadline: Instant::now() + endpoint.connect_timeout, interrupted })
    }

    /// Connects and logs in while `patience` lasts.
    fn connect_within(endpoint: &Endpoint, patience: Patience<'_>) -> Result<Self, Trouble> {
        if let Some(sentinels) = endpoint.sentinels() {
            return sentinel::connect(endpoint, sentinels, patience);
        }
        let Some(route) = endpoint.route() else { return Self::connect_to(endpoint, patience) };
        let node = route.find(endpoint, patience)?;
        match Self::connect_to(&node, patience) {
            Ok(link) => Ok(Self { route: Some(Box::new((node, route))), ..link }),
            Err(trouble) => {
                route.unreachable();
                Err(trouble)
            }
        }
    }

    /// Connects to one server and logs in.
    fn connect_to(server: &Endpoint, patience: Patience<'_>) -> Result<Self, Trouble> {
        let mut link =
            Self { wire: server.wire(patience)?, timeout: server.timeout, route: None, ack: server.ack, watch: None };
        for (index, command) in server.login().iter().enumerate() {
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            match link.exchange(&command, patience) {
                // Here a server that speaks TLS and one that does not, or wants another certificate, first tell.
                Err(Broken::Io(error)) if index == 0 => {
                    return Err(server.unanswered(&error, link.wire.unread()).unwrap_or_else(|| away(&error)));
                }
                other => no_error(other.map_err(lost)?)?,
            };
        }
        link.probe_wait(patience)?;
        Ok(link)
    }

    /// From here on answers are looked for before they are slept for: [`Wire::look_for_answers`].
    pub fn look_for_answers(&mut self) {
        self.wire.look_for_answers();
    }

    /// False if redis has closed the connection. Asks nobody.
    pub fn is_alive(&mut self) -> bool {
        self.wire.is_alive() && !self.watch.as_ref().is_some_and(|watch| watch.has_moved())
    }

    /// Sends packed commands, within the endpoint's time.
    pub fn send(&mut self, packed: &[u8]) -> Result<(), Trouble> {
        self.send_within(packed, Patience::of(self.timeout))
    }

    /// Sends packed commands while `patience` lasts. After an error the connection is of no more use.
    pub fn send_within(&mut self, packed: &[u8], patience: Patience<'_>) -> Result<(), Trouble> {
        if let Some(watch) = &mut self.watch {
            watch.still_right(patience)?;
        }
        self.wire.send(packed, patience).map_err(|error| away(&error))
    }

    /// Waits for the next reply, within the endpoint's time.
    pub fn receive(&mut self) -> Result<Reply, Trouble> {
        self.receive_within(Patience::of(self.timeout))
    }

    /// Waits for the next reply while `patience` lasts. After an error the connection is of no more use.
    pub fn receive_within(&mut self, patience: Patience<'_>) -> Result<Reply, Trouble> {
        // Nothing was sent, and nothing will come.
        if self.watch.as_ref().is_some_and(|watch| watch.has_moved()) {
            return Err(Trouble::Away { text: "the master is another by now".into() });
        }
        let reply = self.wire.receive(patience).map_err(lost)?;
        if let (Reply::Error { code, text }, Some(route)) = (&reply, &self.route) {
            route.1.heard(&route.0, code, text);
        }
        Ok(reply)
    }

    /// Asks one question while nothing else is under way. An error answer is an `Err`.
    pub fn ask(&mut self, command: &[&str]) -> Result<Reply, Trouble> {
        self.ask_within(command, Patience::of(self.timeout))
    }

    fn ask_within(&mut self, command: &[&str], patience: Patience<'_>) -> Result<Reply, Trouble> {
        let mut packed = Vec::new();
        push::command(&mut packed, command);
        self.send_within(&packed, patience)?;
        no_error(self.receive_within(patience)?)
    }

    fn exchange(&mut self, command: &[&str], patience: Patience<'_>) -> Result<Reply, Broken> {
        let mut packed = Vec::new();
        push::command(&mut packed, command);
        self.wire.send(&packed, patience)?;
        self.wire.receive(patience)
    }

    /// Reads a cursor; empty if there is none.
    pub fn cursor(&mut self, key: &str) -> Result<Vec<u8>, Trouble> {
        match self.ask(&["GET", key])? {
            Reply::Bytes(value) => Ok(value),
            Reply::Nil => Ok(Vec::new()),
            other => Err(Trouble::Confused { text: format!("GET {key}: {other:?}") }),
        }
    }

    /// From now on nothing is waited for longer than this.
    pub fn hurry(&mut self, timeout: Duration) {
        self.timeout = self.timeout.min(timeout);
    }

    /// How long a list or stream is. A key of another type counts as empty: the push will say it.
    pub fn length(&mut self, key: &str, mode: &Mode) -> Result<u64, Trouble> {
        let mut packed = Vec::new();
        push::command(&mut packed, &[mode.length_command(), key]);
        self.send(&packed)?;
        push::length(&self.receive()?)
    }

    /// Makes sure that a push could be taken back on this connection. To be asked before the first push of each connection.
    pub fn rehearse(&mut self, names: &Names, mode: &Mode) -> Result<(), Trouble> {
        let mut packed = Vec::new();
        push::rehearsal(&mut packed, names, mode);
        self.send(&packed)?;
        let count = push::rehearsal_replies(mode);
        let replies: Result<Vec<Reply>, Trouble> = (0..count).map(|_| self.receive()).collect();
        push::rehearsed(&replies?)
    }

    /// The eviction policy, `None` if the user may not ask.
    pub fn eviction_policy(&mut self) -> Option<String> {
        match self.ask(&["CONFIG", "GET", "maxmemory-policy"]) {
            Ok(Reply::Many(pair)) => match pair.get(1) {
                Some(Reply::Bytes(policy)) => Some(String::from_utf8_lossy(policy).into_owned()),
                _ => None,
            },
            _ => None,
        }
    }
}

/// True if a cursor may be dropped under this eviction policy. The `volatile-` ones spare it: it never expires.
pub fn may_drop_cursor(policy: &str) -> bool {
    policy.starts_with("allkeys")
}

fn no_error(reply: Reply) -> Result<Reply, Trouble> {
    match reply {
        Reply::Error { code, text } => Err(Trouble::Answered { code, text, connecting: true }),
        answer => Ok(answer),
    }
}

fn lost(broken: Broken) -> Trouble {
    match broken {
        Broken::Io(error) => away(&error),
        Broken::NotAReply(NotAReply(bytes)) => {
            Trouble::Away { text: format!("what answers is not redis, it says {bytes}") }
        }
    }
}

fn away(error: &io::Error) -> Trouble {
    Trouble::Away { text: error.to_string() }
}
