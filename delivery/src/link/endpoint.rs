//! Where Redis is and how to get in. The only file that names the redis crate: it reads addresses in all their forms.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::ack::Ack;
use super::cluster::{self, Map, Node, Route};
use super::sentinel::Sentinels;
use super::tls::{self, TlsFiles, WrongTls};
use crate::error::Trouble;
use crate::wire::{Patience, Wire};

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Where Redis is and how to get in. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    /// One at least.
    servers: Vec<ConnectionInfo>,
    topology: Topology,
    /// Who serves what in a cluster: all copies of an endpoint share what one of them learns.
    map: Arc<Map>,
    /// The hash slot that is wanted of a cluster.
    slot: Option<u16>,
    /// With Sentinel, whose are the servers: how to get into the master, wherever it is, and how the Sentinels find it.
    beyond: Option<(ConnectionInfo, Sentinels)>,
    /// When a push counts.
    pub(super) ack: Ack,
    tls: Option<Arc<TlsFiles>>,
    /// How long connecting and logging in may take.
    pub connect_timeout: Duration,
    /// How long one read or write may take.
    pub timeout: Duration,
}

/// What the servers of an [`Endpoint`] are to each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Topology {
    /// There is one.
    #[default]
    Direct,
    /// Nodes of a Redis Cluster, from which the others are learnt.
    Cluster,
    /// Nothing: each has some of the lanes.
    Shards,
    /// Sentinels, which know where the master of this name is.
    Sentinel {
        /// The name.
        master: String,
    },
}

/// What [`Endpoint::parse`] is given.
#[derive(Debug, Clone)]
pub struct Address<'a> {
    /// Each is `host`, `host:port`, `[v6]:port`, `/path/of/socket`, `redis://...`, `rediss://...`, `redis+unix://...` or `unix://...`.
    pub servers: &'a [String],
    /// The port if a server names none. Sentinels that name none have 26379 if this is 6379.
    pub port: u16,
    /// The database; an URL's own wins.
    pub db: u32,
    /// What they are to each other.
    pub topology: Topology,
}

impl Endpoint {
    /// Reads addresses. The error says what is wrong with them; no secret is in it.
    pub fn parse(address: Address<'_>, connect_timeout: Duration, timeout: Duration) -> Result<Self, String> {
        let (port, db, beyond) = match &address.topology {
            Topology::Direct | Topology::Cluster | Topology::Shards => (address.port, address.db, None),
            Topology::Sentinel { master } => {
                let port = if address.port == REDIS_PORT { SENTINEL_PORT } else { address.port };
                (port, 0, Some((somewhere(address.db)?, Sentinels::new(master))))
            }
        };
        let of = |server: &String| parse(server.trim(), port, db);
        let servers = match address.servers {
            [] => vec![of(&String::new())?],
            servers => servers.iter().map(of).collect::<Result<Vec<_>, _>>()?,
        };
        let secure = servers.iter().filter(|(_, secure)| *secure).count();
        if secure > 0 && secure < servers.len() {
            return Err("writes rediss:// for some servers and not for others; TLS is for all or for none".into());
        }
        if servers.len() > 1 && address.topology == Topology::Direct {
            return Err("names several servers; several are Sentinels, nodes of a Cluster or shards, and the settings say which".into());
        }
        let servers: Vec<_> = servers.into_iter().map(|(server, _)| server).collect();
        let topology = address.topology;
        if topology == Topology::Cluster && servers.iter().any(|server| server.redis_settings().db() != 0) {
            return Err("asks for a database, and a cluster has database 0 only".into());
        }
        if beyond.is_some() && servers.iter().any(|server| server.redis_settings().db() != 0) {
            return Err("names a database, and Sentinels have none".into());
        }
        let (map, ack) = (Arc::default(), Ack::Memory);
        let tls = (secure > 0).then(Arc::default);
        Ok(Self { servers, topology, map, slot: None, tls, beyond, ack, connect_timeout, timeout })
    }

    /// The endpoint of whoever serves this list: in a cluster that node is found at each connect, otherwise it is the same endpoint.
    #[must_use]
    pub fn for_list(&self, list: &str) -> Self {
        let slot = (self.topology == Topology::Cluster).then(|| cluster::slot(list));
        Self { slot, ..self.clone() }
    }

    /// The endpoint of the server that has this lane: with shards the lanes are dealt out to the servers in turn.
    #[must_use]
    pub fn for_lane(&self, lane: usize) -> Self {
        match self.topology {
            Topology::Shards => self.only(self.servers[lane % self.servers.len()].clone()),
            _ => self.clone(),
        }
    }

    /// How many servers are named.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// One server, in all else the same.
    fn only(&self, server: ConnectionInfo) -> Self {
        Self { servers: vec![server], topology: Topology::Direct, slot: None, beyond: None, ..self.clone() }
    }

    /// How the list's node is found, if it has to be.
    pub(super) fn route(&self) -> Option<Route> {
        // Whoever asks for no list in particular is content with any node.
        let slot = self.slot.unwrap_or(0);
        (self.topology == Topology::Cluster).then(|| Route { map: Arc::clone(&self.map), slot })
    }

    /// Each server for itself, for questions and not for pushes.
    pub(super) fn each(&self) -> impl Iterator<Item = Self> {
        self.servers.iter().map(|server| self.only(server.clone()).with_ack(Ack::Memory))
    }

    /// A node of the cluster; login and the like are those of the first seed.
    pub(super) fn at_node(&self, node: &Node) -> Self {
        let mut seed = self.first().clone();
        seed = seed.set_addr(ConnectionAddr::Tcp(node.host.clone(), node.port));
        self.only(seed)
    }

    /// Where it is, if it has a host and a port.
    pub(super) fn node(&self) -> Option<Node> {
        match self.first().addr() {
            ConnectionAddr::Tcp(host, port) => Some(Node { host: host.clone(), port: *port }),
            _ => None,
        }
    }

    /// The same endpoint with TLS. An error if that is not for its addresses.
    pub fn with_tls(mut self, files: TlsFiles) -> Result<Self, WrongTls> {
        for server in &self.servers {
            let ConnectionAddr::Tcp(host, _) = server.addr() else { return Err(WrongTls::Socket) };
            files.suits(host)?;
        }
        self.tls = Some(Arc::new(files));
        Ok(self)
    }

    /// Reads all files of TLS, if there is TLS, and says what is wrong with them. They may be better at the next connect.
    pub fn check_files(&self) -> Result<(), String> {
        self.tls.as_ref().map_or(Ok(()), |files| files.check())
    }

    /// True if there is TLS, by [`Self::with_tls`] or by the addresses.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// The same endpoint with these credentials; empty ones leave what an URL brought. With Sentinel they are those of the master.
    #[must_use]
    pub fn with_login(mut self, user: &str, password: &str) -> Self {
        match &mut self.beyond {
            Some((master, _)) => log_in(master, user, password),
            None => self.servers.iter_mut().for_each(|server| log_in(server, user, password)),
        }
        self
    }

    /// The same endpoint with these credentials for its Sentinels; empty ones leave what an URL brought.
    #[must_use]
    pub fn with_sentinel_login(mut self, user: &str, password: &str) -> Self {
        if self.beyond.is_some() {
            self.servers.iter_mut().for_each(|server| log_in(server, user, password));
        }
        self
    }

    /// The same endpoint, with pushes that count only then.
    #[must_use]
    pub fn with_ack(self, ack: Ack) -> Self {
        Self { ack, ..self }
    }

    /// What the servers are to each other.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// How the master is found, with Sentinel.
    pub(super) fn sentinels(&self) -> Option<&Sentinels> {
        self.beyond.as_ref().map(|(_, sentinels)| sentinels)
    }

    /// The master at the address that a Sentinel has told.
    pub(super) fn at_master(&self, host: &str, port: u16) -> Self {
        let master = self.beyond.as_ref().map_or_else(|| self.first(), |(master, _)| master);
        self.only(master.clone().set_addr(ConnectionAddr::Tcp(host.to_owned(), port)))
    }

    /// The first server: the only one if they are nothing to each other.
    fn first(&self) -> &ConnectionInfo {
        &self.servers[0]
    }

    /// A socket to it.
    pub(super) fn wire(&self, patience: Patience<'_>) -> Result<Wire, Trouble> {
        let away = |text| Trouble::Away { text };
        match self.first().addr() {
            ConnectionAddr::Tcp(host, port) => tls::connect(host, *port, self.tls.as_deref(), patience),
            ConnectionAddr::Unix(path) => Wire::unix(path, patience).map_err(|error| away(error.to_string())),
            other => Err(away(format!("{other} cannot be connected to"))),
        }
    }

    /// Why the first command was not answered, if it has to do with TLS.
    pub(super) fn unanswered(&self, error: &io::Error, unread: &[u8]) -> Option<Trouble> {
        let ConnectionAddr::Tcp(host, port) = self.first().addr() else { return None };
        tls::unanswered(error, &format!("{host}:{port}"), self.tls.as_deref(), unread)
    }

    /// The commands that log in, and one that tells whether Redis takes commands.
    pub(super) fn login(&self) -> Vec<Vec<String>> {
        let settings = self.first().redis_settings();
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
}

/// The addresses without users and passwords: this goes into log lines.
impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Topology::Sentinel { master } = &self.topology {
            write!(f, "the master of {master} by sentinel ")?;
        }
        for (index, server) in self.servers.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { ", " }, server.addr())?;
        }
        f.write_str(if self.is_secure() { " with TLS" } else { "" })
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// A server whose address is not known yet.
fn somewhere(db: u32) -> Result<ConnectionInfo, String> {
    parse("localhost", REDIS_PORT, db).map(|(server, _)| server)
}

fn log_in(server: &mut ConnectionInfo, user: &str, password: &str) {
    let mut settings = server.redis_settings().clone();
    if !user.is_empty() {
        settings = settings.set_username(user);
    }
    if !password.is_empty() {
        settings = settings.set_password(password);
    }
    *server = server.clone().set_redis_settings(settings);
}

/// One address, and whether it asks for TLS.
fn parse(server: &str, port: u16, db: u32) -> Result<(ConnectionInfo, bool), String> {
    let (server, secure) = plain(server)?;
    let info = if server.is_empty() {
        return Err("is empty; give a host, host:port, /path/of/socket or redis:// URL".into());
    } else if server.starts_with('/') {
        ConnectionAddr::Unix(server.as_ref().into()).into_connection_info()
    } else if server.contains("://") {
        server.as_ref().into_connection_info()
    } else {
        let (host, port) = host_and_port(&server, port)?;
        ConnectionAddr::Tcp(host, port).into_connection_info()
    };
    let info = info.map_err(|error| format!("is not an address of redis: {}", error.category()))?;
    if db == 0 || info.redis_settings().db() != 0 {
        return Ok((info, secure));
    }
    let settings = info.redis_settings().clone().set_db(i64::from(db));
    Ok((info.set_redis_settings(settings), secure))
}

/// The address without what asks for TLS in it, and whether it did.
fn plain(server: &str) -> Result<(Cow<'_, str>, bool), String> {
    for (secure, plain) in [("rediss://", "redis://"), ("valkeys://", "valkey://")] {
        if let Some(rest) = server.strip_prefix(secure) {
            if rest.contains('#') {
                return Err("has a # in it; the server's certificate is always checked".into());
            }
            return Ok((Cow::Owned(format!("{plain}{rest}")), true));
        }
    }
    Ok((Cow::Borrowed(server), false))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(server: &str) -> Result<String, String> {
        several(&[server])
    }

    fn several(servers: &[&str]) -> Result<String, String> {
        endpoint(servers, Topology::Direct).map(|endpoint| endpoint.to_string())
    }

    fn endpoint(servers: &[&str], topology: Topology) -> Result<Endpoint, String> {
        let servers: Vec<String> = servers.iter().map(|server| (*server).to_owned()).collect();
        let address = Address { servers: &servers, port: 6379, db: 2, topology };
        Endpoint::parse(address, Duration::from_secs(1), Duration::from_secs(1))
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
            ("rediss://user:secret@h:7001/3", "h:7001 with TLS"),
            ("redis+unix:///run/redis.sock", "/run/redis.sock"),
        ] {
            assert_eq!(parse(server).as_deref(), Ok(shown), "{server}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for server in ["", "h:0", "h:70000", "h:x", "[::1", ":6379", "http://h", "rediss://h/#insecure"] {
            assert!(parse(server).is_err(), "{server}");
        }
        for server in ["redis://u:secret@/x", "redis://u:secret@h:x", "u:secret@h", "u:secret@h:6379"] {
            let why = parse(server).expect_err("it is no address");
            assert!(!why.contains("secret"), "{server}: {why}");
        }
    }

    #[test]
    fn several_servers_have_to_be_something_to_each_other() {
        assert!(several(&[]).expect_err("none").contains("is empty"));
        assert!(several(&["h", "i"]).expect_err("two").contains("several"));
        assert!(several(&["rediss://h", "i"]).expect_err("mixed").contains("some"));
        assert!(several(&["h", "i:x"]).expect_err("a wrong one").contains("the port"));
    }

    #[test]
    fn sentinels_and_master_have_a_login_each() {
        let topology = || Topology::Sentinel { master: "logs".into() };
        let all = endpoint(&["a", "redis://u:p@b:7000"], topology()).expect("good");
        assert_eq!(all.to_string(), "the master of logs by sentinel a:26379, b:7000");
        let all = all.with_login("me", "secret").with_sentinel_login("you", "");
        let words = |endpoint: Endpoint| endpoint.login().into_iter().map(|words| words.join(" ")).collect::<Vec<_>>();
        let sentinels: Vec<_> = all.each().map(words).collect();
        assert_eq!(sentinels, [["AUTH you ", "PING"], ["AUTH you p", "PING"]]);
        let master = all.at_master("h", 7001);
        assert_eq!(master.to_string(), "h:7001");
        assert_eq!(words(master), ["AUTH me secret", "SELECT 2", "PING"]);
        assert!(endpoint(&["redis://a/3"], topology()).expect_err("a database").contains("database"));
    }
}
