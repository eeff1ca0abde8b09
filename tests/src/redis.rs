//! A private redis-server on a unix socket.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError, Value};

use crate::aof;
use crate::certs::{Authority, Pair};
use crate::child::{Guarded, PATIENCE, Scene, free_port, until};

/// No answer of a test's own command takes longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How many elements one LRANGE fetches.
const CHUNK: usize = 10_000;

/// What a [`Redis`] is started with.
#[derive(Clone, Debug)]
pub struct RedisSetup {
    scene: Scene,
    name: String,
    program: Option<PathBuf>,
    tcp: bool,
    tls: bool,
    password: Option<String>,
    cluster_port: Option<u16>,
    options: Vec<String>,
}

impl RedisSetup {
    /// A name of its own, needed when a scene has several servers (default: `redis`).
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Another program than the usual redis-server.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_path_buf());
        self
    }

    /// Listens on a free TCP port of 127.0.0.1 as well.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// Speaks TLS on its TCP port, and nothing else there. `ask` wants certificates of its clients. The unix socket is without TLS.
    #[must_use]
    pub fn tls(mut self, authority: &Authority, pair: &Pair, ask: bool) -> Self {
        self.tls = true;
        let path = |path: &Path| path.to_str().expect("a plain path").to_owned();
        self.tcp()
            .option("tls-ca-cert-file", &path(&authority.certificate()))
            .option("tls-cert-file", &path(&pair.cert))
            .option("tls-key-file", &path(&pair.key))
            .option("tls-auth-clients", if ask { "yes" } else { "no" })
    }

    /// Survives a kill: append-only file, synced before each answer.
    #[must_use]
    pub fn aof(self) -> Self {
        self.option("appendonly", "yes").option("appendfsync", "always")
    }

    /// Asks for a password; [`Redis::cmd`] gives it.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.option("requirepass", password)
    }

    /// Adds an ACL user, for example `("bridge", "on >secret ~* +@all")`.
    #[must_use]
    pub fn acl(self, user: &str, rules: &str) -> Self {
        let rules: Vec<&str> = rules.split_ascii_whitespace().collect();
        self.options(&[&["user", user], rules.as_slice()].concat())
    }

    /// Memory limit, for example `10mb`, with the policy `noeviction`.
    #[must_use]
    pub fn maxmemory(self, limit: &str) -> Self {
        self.option("maxmemory", limit)
    }

    /// A replica of `primary`, which must listen on TCP.
    #[must_use]
    pub fn replica_of(self, primary: &Redis) -> Self {
        self.replica_at("127.0.0.1", primary)
    }

    /// The same where `primary` has another address.
    #[must_use]
    pub fn replica_at(self, host: &str, primary: &Redis) -> Self {
        let port = primary.port().expect("replication needs a primary with .tcp()").to_string();
        let setup = self.options(&["replicaof", host, &port]);
        match &primary.setup.password {
            Some(password) => setup.option("masterauth", password),
            None => setup,
        }
    }

    /// A node of a cluster, whose nodes talk to it at this port.
    #[must_use]
    pub fn cluster(mut self, port: u16) -> Self {
        self.cluster_port = Some(port);
        self.option("cluster-enabled", "yes").option("cluster-port", &port.to_string())
    }

    /// Any option of redis.conf.
    #[must_use]
    pub fn option(self, name: &str, value: &str) -> Self {
        self.options(&[name, value])
    }

    /// Any option of redis.conf with several words.
    #[must_use]
    pub fn options(mut self, words: &[&str]) -> Self {
        let quoted: Vec<String> =
            words.iter().map(|w| format!("\"{}\"", w.replace('\\', "\\\\").replace('"', "\\\""))).collect();
        self.options.push(quoted.join(" "));
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> Redis {
        let mut redis = self.prepare();
        redis.start();
        redis
    }

    /// Gets everything ready, socket path and port included, but starts nothing yet.
    pub fn prepare(self) -> Redis {
        let dir = self.scene.folder(&self.name);
        let socket = self.scene.socket(&format!("{}.sock", self.name));
        let port = self.tcp.then(free_port);
        Redis { setup: self, dir, socket, port, child: None }
    }
}

/// A redis-server of this test alone. It ends with the value.
#[derive(Debug)]
pub struct Redis {
    setup: RedisSetup,
    dir: PathBuf,
    socket: PathBuf,
    port: Option<u16>,
    child: Option<Guarded>,
}

impl Redis {
    /// Begins a server with no persistence, no password, no TCP.
    pub fn setup(scene: &Scene) -> RedisSetup {
        RedisSetup {
            scene: scene.clone(),
            name: "redis".to_owned(),
            program: None,
            tcp: false,
            tls: false,
            password: None,
            cluster_port: None,
            options: Vec::new(),
        }
    }

    /// The unix socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The TCP port, if it was asked for. A retry at the first start may change it, a restart does not.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The port for the other nodes of its cluster.
    pub fn cluster_port(&self) -> Option<u16> {
        self.setup.cluster_port
    }

    /// The password, if it asks for one.
    pub fn password(&self) -> Option<&str> {
        self.setup.password.as_deref()
    }

    /// The folder with its data.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its log, all starts together.
    pub fn log(&self) -> String {
        self.setup.scene.log(&self.setup.name)
    }

    /// Its process.
    pub fn child(&mut self) -> &mut Guarded {
        self.child.as_mut().expect("redis-server is not running")
    }

    /// Starts it, on the data that is there, and waits until it answers.
    pub fn start(&mut self) {
        let first = self.child.is_none() && !self.setup.scene.log_path(&self.setup.name).exists();
        for attempt in 1.. {
            self.launch();
            if self.answers() {
                return;
            }
            assert!(self.port_taken() && attempt < 10, "redis-server ended at its start:\n{}", self.log());
            if first {
                self.port = Some(free_port());
            }
        }
    }

    /// Starts it and does not wait: it may be loading its data.
    pub fn launch(&mut self) {
        self.child = None;
        aof::mend(&self.dir);
        let port = self.port.unwrap_or(0);
        let port = if self.setup.tls { format!("port 0\ntls-port {port}") } else { format!("port {port}") };
        let mut conf = format!(
            "{port}\nbind 127.0.0.1\nunixsocket \"{}\"\ndir \"{}\"\nsave \"\"\ndaemonize no\nshutdown-timeout 0\nrepl-diskless-sync-delay 0\n",
            self.socket.display(),
            self.dir.display(),
        );
        for line in &self.setup.options {
            conf.push_str(line);
            conf.push('\n');
        }
        let file = self.setup.scene.write(&format!("{}.conf", self.setup.name), conf);
        let mut command = Command::new(self.setup.program.clone().unwrap_or_else(usual));
        command.arg(file);
        self.child = Some(self.setup.scene.spawn(&self.setup.name, command));
    }

    /// Waits until it answers, its data loaded. False if it ended instead.
    fn answers(&mut self) -> bool {
        until("redis-server to answer PING", PATIENCE, || {
            if self.child().ended().is_some() {
                return Some(false);
            }
            self.try_cmd(&["PING"]).is_ok().then_some(true)
        })
    }

    fn port_taken(&self) -> bool {
        self.port.is_some() && self.log().contains("Address already in use")
    }

    /// Waits until it answers, its data loaded.
    pub fn ready(&mut self) {
        assert!(self.answers(), "redis-server ended:\n{}", self.log());
    }

    /// Kills it with SIGKILL.
    pub fn kill9(&mut self) {
        self.child().kill9();
    }

    /// SIGKILL, then a start on the same data, socket and port.
    pub fn restart(&mut self) {
        self.kill9();
        self.start();
    }

    /// A clean stop by SIGTERM.
    pub fn shutdown(&mut self) {
        let status = self.child().term(PATIENCE);
        assert!(status.success(), "redis-server ended with {status}");
    }

    /// It stands still, but its sockets accept.
    pub fn sigstop(&mut self) {
        self.child().stop();
    }

    /// It goes on after [`Redis::sigstop`].
    pub fn sigcont(&mut self) {
        self.child().cont();
    }

    /// A new connection of the test's own, with a deadline on each answer.
    pub fn connect(&self) -> Result<redis::Connection, RedisError> {
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(password) = &self.setup.password {
            login = login.set_password(password);
        }
        let info = ConnectionAddr::Unix(self.socket.clone()).into_connection_info()?.set_redis_settings(login);
        let connection = redis::Client::open(info)?.get_connection_with_timeout(ANSWER_LIMIT)?;
        connection.set_read_timeout(Some(ANSWER_LIMIT))?;
        connection.set_write_timeout(Some(ANSWER_LIMIT))?;
        Ok(connection)
    }

    /// Runs one command on a connection of its own, so that no fault of an earlier one matters.
    pub fn try_cmd<A: AsRef<[u8]>>(&self, words: &[A]) -> Result<Value, RedisError> {
        query(&mut self.connect()?, words)
    }

    /// Runs one command and expects it to succeed.
    #[track_caller]
    pub fn cmd<A: AsRef<[u8]>>(&self, words: &[A]) -> Value {
        self.try_cmd(words).unwrap_or_else(|e| {
            let words: Vec<_> = words.iter().take(4).map(|w| String::from_utf8_lossy(w.as_ref())).collect();
            panic!("redis refused {}: {e}", words.join(" "))
        })
    }

    /// The length of a list or stream; 0 if there is none.
    #[track_caller]
    pub fn llen(&self, key: &str) -> usize {
        match self.try_length(key).expect("redis tells a length") {
            Value::Int(n) => usize::try_from(n).expect("a length"),
            other => panic!("it answered {other:?}"),
        }
    }

    /// What LLEN answers, or XLEN if the key is a stream.
    pub fn try_length(&self, key: &str) -> Result<Value, RedisError> {
        match self.try_cmd(&["LLEN", key]) {
            Err(error) if error.code() == Some("WRONGTYPE") => self.try_cmd(&["XLEN", key]),
            answer => answer,
        }
    }

    /// A string; `None` if the key is not there.
    #[track_caller]
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        match self.cmd(&["GET", key]) {
            Value::Nil => None,
            Value::BulkString(bytes) => Some(bytes),
            other => panic!("GET answered {other:?}"),
        }
    }

    /// All elements of a list, first to last, fetched in chunks; of a stream the records.
    #[track_caller]
    pub fn list(&self, key: &str) -> Vec<Vec<u8>> {
        if self.cmd(&["TYPE", key]) == Value::SimpleString("stream".into()) {
            return crate::stream::entries(self, key, crate::stream::FIELD)
                .into_iter()
                .map(|(_, record)| record)
                .collect();
        }
        let mut connection = self.connect().expect("cannot connect to redis");
        let mut all = Vec::new();
        loop {
            let (from, to) = (all.len().to_string(), (all.len() + CHUNK - 1).to_string());
            match query(&mut connection, &["LRANGE", key, &from, &to]).expect("LRANGE failed") {
                Value::Array(elements) if elements.is_empty() => return all,
                Value::Array(elements) => all.extend(elements.into_iter().map(bulk)),
                other => panic!("LRANGE answered {other:?}"),
            }
        }
    }

    /// Waits until the list has at least `n` elements.
    #[track_caller]
    pub fn wait_llen(&self, key: &str, n: usize, limit: Duration) {
        let what = format!("{n} elements in the list {key}");
        until(&what, limit, || {
            let length = self.try_length(key);
            matches!(length, Ok(Value::Int(have)) if usize::try_from(have).is_ok_and(|have| have >= n)).then_some(())
        });
    }
}

/// The redis-server of the machine, or another one that is to be tried: `REDIS_SERVER=/path/of/redis-server`.
pub fn usual() -> PathBuf {
    std::env::var_os("REDIS_SERVER").map_or_else(|| "redis-server".into(), PathBuf::from)
}

pub(crate) fn query<A: AsRef<[u8]>>(connection: &mut redis::Connection, words: &[A]) -> Result<Value, RedisError> {
    let (name, rest) = words.split_first().expect("a command has a name");
    let mut command = redis::Cmd::new();
    command.arg(name.as_ref());
    for word in rest {
        command.arg(word.as_ref());
    }
    command.query(connection)
}

#[track_caller]
fn bulk(value: Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes,
        other => panic!("not a string: {other:?}"),
    }
}
