//! The connection to Redis. The only file that names the redis crate.
//!
//! The crate does addresses, login, databases and the reading of replies; what is pushed is packed by [`crate::push`].

use std::time::Duration;

use redis::{Client, Connection, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError, Value};

use crate::error::Trouble;
use crate::push::{self, Names, Reply};

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
    connection: Connection,
}

impl Link {
    /// Connects and logs in, within the endpoint's time.
    pub fn connect(endpoint: &Endpoint) -> Result<Self, Trouble> {
        let client = Client::open(endpoint.info.clone()).map_err(|e| trouble(&e, true))?;
        let connection = client.get_connection_with_timeout(endpoint.connect_timeout).map_err(|e| trouble(&e, true))?;
        let timeout = Some(endpoint.timeout);
        connection.set_read_timeout(timeout).map_err(|e| trouble(&e, true))?;
        connection.set_write_timeout(timeout).map_err(|e| trouble(&e, true))?;
        let mut link = Self { connection };
        link.ask(&["PING"])?;
        Ok(link)
    }

    /// Sends packed commands.
    pub fn send(&mut self, packed: &[u8]) -> Result<(), Trouble> {
        self.connection.send_packed_command(packed).map_err(|e| trouble(&e, false))
    }

    /// Waits for the next reply.
    pub fn receive(&mut self) -> Result<Reply, Trouble> {
        match self.connection.recv_response() {
            Ok(value) => Ok(reply(value)),
            Err(error) if error.is_io_error() || error.code().is_none() => Err(trouble(&error, false)),
            Err(error) => Ok(error_reply(&error)),
        }
    }

    /// Asks one question while nothing else is under way. An error answer is an `Err`.
    pub fn ask(&mut self, command: &[&str]) -> Result<Reply, Trouble> {
        let mut packed = redis::Cmd::new();
        for word in command {
            packed.arg(*word);
        }
        self.send(&packed.get_packed_command())?;
        match self.receive()? {
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

fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Number(number),
        Value::BulkString(bytes) => Reply::Bytes(bytes),
        Value::Array(many) => Reply::Many(many.into_iter().map(reply).collect()),
        Value::SimpleString(_) | Value::Okay => Reply::Status,
        Value::ServerError(error) => error_reply(&error.into()),
        other => Reply::Other(format!("{other:?}")),
    }
}

fn error_reply(error: &RedisError) -> Reply {
    Reply::Error { code: error.code().unwrap_or("ERR").to_owned(), text: error.detail().unwrap_or_default().to_owned() }
}

fn trouble(error: &RedisError, connecting: bool) -> Trouble {
    match error.code() {
        Some(code) if !error.is_io_error() => {
            Trouble::Answered { code: code.to_owned(), text: error.detail().unwrap_or_default().to_owned(), connecting }
        }
        // The crate keeps the server's words to itself.
        _ if error.kind() == ErrorKind::AuthenticationFailed => Trouble::Answered {
            code: "WRONGPASS".into(),
            text: "the user or the password is not accepted".into(),
            connecting,
        },
        _ if error.is_timeout() => Trouble::Away { text: "no answer in time".into() },
        _ => Trouble::Away { text: error.to_string() },
    }
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
