//! The connection to Redis. The only file that names the redis crate.
//!
//! The crate reads addresses in all their forms. The socket is our own: [`crate::wire`] says why.

use std::io;
use std::time::{Duration, Instant};

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::error::Trouble;
use crate::push::{self, Names, NotAReply, Reply};
use crate::wire::{Broken, Patience, Wire};

/// Where Redis is and how to get in. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    info: ConnectionInfo,
    /// How long connecting and logging in may take.
    pub connect_timeout: Duration,
    /// How long one read or write may take.
    pub timeout: Duration,
}

/// What [`Endpoint::parse`] is given.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    /// `host`, `host:port`, `[v6]:port`, `/path/of/socket`, `redis://...`, `redis+unix://...` or `unix://...`.
    pub server: &'a str,
    /// The port if `server` names none.
    pub port: u16,
    /// The database; an URL's own wins.
    pub db: u32,
}

impl Endpoint {
    /// Reads an address. The error says what is wrong with it; no secret is in it.
    pub fn parse(address: Address<'_>, connect_timeout: Duration, timeout: Duration) -> Result<Self, String> {
        let server = address.server.trim();
        let info = if server.is_empty() {
            return Err("is empty; give a host, host:port, /path/of/socket or redis:// URL".into());
        } else if server.starts_with("rediss://") {
            return Err("asks for TLS, which this version does not have".into());
        } else if server.starts_with('/') {
            ConnectionAddr::Unix(server.into()).into_connection_info()
        } else if server.contains("://") {
            server.into_connection_info()
        } else {
            let (host, port) = host_and_port(server, address.port)?;
            ConnectionAddr::Tcp(host, port).into_connection_info()
        };
        let mut info = info.map_err(|error| format!("is not an address of redis: {}", error.category()))?;
        if address.db > 0 && info.redis_settings().db() == 0 {
            let settings = info.redis_settings().clone().set_db(i64::from(address.db));
            info = info.set_redis_settings(settings);
        }
        Ok(Self { info, connect_timeout, timeout })
    }

    /// The same endpoint with these credentials; empty ones leave what an URL brought.
    #[must_use]
    pub fn with_login(mut self, user: &str, password: &str) -> Self {
        let mut settings = self.info.redis_settings().clone();
        if !user.is_empty() {
            settings = settings.set_username(user);
        }
        if !password.is_empty() {
            settings = settings.set_password(password);
        }
        self.info = self.info.set_redis_settings(settings);
        self
    }
}

/// The address without user and password: this goes into log lines.
impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.info.addr())
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

fn host_and_port(server: &str, default: u16) -> Result<(String, u16), String> {
    if server.contains('@') {
        return Err(
            "holds a login; write redis://user:password@host:port, or set user and password on their own".into()
        );
    }
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("lacks the ] that closes an IPv6 address")?;
            (host, port.strip_prefix(':'))
        }
        None if server.matches(':').count() > 1 => (server, None),
        None => server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None => default,
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(format!("has the port {port:?}; a port is 1 to 65535")),
        },
    };
    if host.is_empty() {
        return Err("has no host".into());
    }
    Ok((host.to_owned(), port))
}

/// A connection that is logged in.
pub struct Link {
    wire: Wire,
    timeout: Duration,
}

impl Link {
    /// Connects and logs in, within the endpoint's time.
    pub fn connect(endpoint: &Endpoint) -> Result<Self, Trouble> {
        Self::connect_unless(endpoint, &|| false)
    }

    /// Connects and logs in, within the endpoint's time, unless `interrupted`.
    pub fn connect_unless(endpoint: &Endpoint, interrupted: &dyn Fn() -> bool) -> Result<Self, Trouble> {
        let patience = Patience { deadline: Instant::now() + endpoint.connect_timeout, interrupted };
        let wire = match endpoint.info.addr() {
            ConnectionAddr::Tcp(host, port) => Wire::tcp(host, *port, patience),
            ConnectionAddr::Unix(path) => Wire::unix(path, patience),
            other => return Err(Trouble::Away { text: format!("{other} cannot be connected to") }),
        };
        let mut link = Self { wire: wire.map_err(|error| away(&error))?, timeout: endpoint.timeout };
        for command in login(&endpoint.info) {
            link.ask_within(&command.iter().map(String::as_str).collect::<Vec<_>>(), patience)?;
        }
        Ok(link)
    }

    /// False if redis has closed the connection. Asks nobody.
    pub fn is_alive(&self) -> bool {
        self.wire.is_alive()
    }

    /// Sends packed commands, within the endpoint's time.
    pub fn send(&mut self, packed: &[u8]) -> Result<(), Trouble> {
        self.send_within(packed, Patience::of(self.timeout))
    }

    /// Sends packed commands while `patience` lasts. After an error the connection is of no more use.
    pub fn send_within(&mut self, packed: &[u8], patience: Patience<'_>) -> Result<(), Trouble> {
        self.wire.send(packed, patience).map_err(|error| away(&error))
    }

    /// Waits for the next reply, within the endpoint's time.
    pub fn receive(&mut self) -> Result<Reply, Trouble> {
        self.receive_within(Patience::of(self.timeout))
    }

    /// Waits for the next reply while `patience` lasts. After an error the connection is of no more use.
    pub fn receive_within(&mut self, patience: Patience<'_>) -> Result<Reply, Trouble> {
        self.wire.receive(patience).map_err(|broken| match broken {
            Broken::Io(error) => away(&error),
            Broken::NotAReply(NotAReply(bytes)) => {
                Trouble::Away { text: format!("what answers is not redis, it says {bytes}") }
            }
        })
    }

    /// Asks one question while nothing else is under way. An error answer is an `Err`.
    pub fn ask(&mut self, command: &[&str]) -> Result<Reply, Trouble> {
        self.ask_within(command, Patience::of(self.timeout))
    }

    fn ask_within(&mut self, command: &[&str], patience: Patience<'_>) -> Result<Reply, Trouble> {
        let mut packed = Vec::new();
        push::command(&mut packed, command);
        self.send_within(&packed, patience)?;
        match self.receive_within(patience)? {
            Reply::Error { code, text } => Err(Trouble::Answered { code, text, connecting: true }),
            answer => Ok(answer),
        }
    }

    /// Reads a cursor; empty if there is none.
    pub fn cursor(&mut self, key: &str) -> Result<Vec<u8>, Trouble> {
        match self.ask(&["GET", key])? {
            Reply::Bytes(value) => Ok(value),
            Reply::Nil => Ok(Vec::new()),
            other => Err(Trouble::Confused { text: format!("GET {key}: {other:?}") }),
        }
    }

    /// Makes sure that a push could be taken back on this connection. To be asked before the first push of each connection.
    pub fn rehearse(&mut self, names: &Names) -> Result<(), Trouble> {
        let mut packed = Vec::new();
        push::rehearsal(&mut packed, names);
        self.send(&packed)?;
        let replies: Result<Vec<Reply>, Trouble> = (0..push::REHEARSAL_REPLIES).map(|_| self.receive()).collect();
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

/// The commands that log in, and one that tells whether Redis takes commands.
fn login(info: &ConnectionInfo) -> Vec<Vec<String>> {
    let settings = info.redis_settings();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let mut commands = Vec::new();
    match (settings.username(), settings.password()) {
        (Some(user), password) => commands.push(words(&["AUTH", user, password.unwrap_or_default()])),
        (None, Some(password)) => commands.push(words(&["AUTH", password])),
        (None, None) => {}
    }
    if settings.db() != 0 {
        commands.push(words(&["SELECT", &settings.db().to_string()]));
    }
    commands.push(words(&["PING"]));
    commands
}

fn away(error: &io::Error) -> Trouble {
    Trouble::Away { text: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(server: &str) -> Result<String, String> {
        let address = Address { server, port: 6379, db: 0 };
        Endpoint::parse(address, Duration::from_secs(1), Duration::from_secs(1)).map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn addresses_as_people_write_them() {
        for (server, shown) in [
            ("localhost", "localhost:6379"),
            ("10.0.0.1:7000", "10.0.0.1:7000"),
            ("::1", "::1:6379"),
            ("[::1]:7000", "::1:7000"),
            ("/run/redis.sock", "/run/redis.sock"),
            ("redis://user:secret@h:7001/3", "h:7001"),
            ("unix:///run/redis.sock", "/run/redis.sock"),
            ("redis+unix:///run/redis.sock", "/run/redis.sock"),
        ] {
            assert_eq!(parse(server).as_deref(), Ok(shown), "{server}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for server in ["", "h:0", "h:70000", "h:x", "[::1", ":6379", "http://h", "rediss://h"] {
            assert!(parse(server).is_err(), "{server}");
        }
        for server in ["redis://u:secret@/x", "redis://u:secret@h:x", "u:secret@h", "u:secret@h:6379"] {
            let why = parse(server).expect_err("it is no address");
            assert!(!why.contains("secret"), "{server}: {why}");
        }
    }
}
