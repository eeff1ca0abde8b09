//! A master, its replicas and the Sentinels that watch them: processes of the test's own on loopback.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError, Value};

use crate::certs::{Authority, HERE};
use crate::child::{Guarded, PATIENCE, Scene, free_port, until};
use crate::redis::{Redis, RedisSetup, usual};

/// The name by which the Sentinels know the master.
pub const MASTER: &str = "logs";

/// The password of the servers, for everybody but those that watch and copy them.
pub const PASSWORD: &str = "word";
/// The user, and the password, of Sentinels and replicas.
const PEER: &str = "peer";

/// A failover that comes to nothing is tried again after twice `failover-timeout`; an old master is turned into a replica after some ten seconds.
const FAILOVER_LIMIT: Duration = Duration::from_secs(60);

/// What a [`Watched`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Replicas of the master.
    pub replicas: usize,
    /// `min-replicas-to-write` of each server.
    pub least: usize,
    /// The Sentinels ask for it.
    pub password: Option<&'static str>,
}

/// Where a server or a Sentinel runs.
#[derive(Clone, Debug)]
pub struct Spot {
    /// Its address there.
    pub host: String,
    /// The redis-server that runs there.
    pub program: PathBuf,
}

impl Default for Spot {
    fn default() -> Self {
        Self { host: "127.0.0.1".into(), program: usual() }
    }
}

/// Where all of a [`Watched`] runs, and what it speaks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ground<'a> {
    /// One for each server; those that are missing run here.
    pub servers: &'a [Spot],
    /// One for each Sentinel; those that are missing run here.
    pub sentinels: &'a [Spot],
    /// Servers and Sentinels speak TLS with everybody, and ask for certificates of this authority.
    pub tls: Option<&'a Authority>,
}

impl Ground<'_> {
    fn tls(&self, setup: RedisSetup) -> RedisSetup {
        match self.tls {
            Some(authority) => {
                setup.tls(authority, &authority.issue("server", HERE), true).option("tls-replication", "yes")
            }
            None => setup,
        }
    }
}

/// One Sentinel.
#[derive(Debug)]
struct Sentinel {
    name: String,
    spot: Spot,
    port: u16,
    /// By which the test asks it, wherever it runs and whatever it speaks.
    socket: PathBuf,
    config: PathBuf,
    child: Option<Guarded>,
}

/// A master, its replicas and three Sentinels.
#[derive(Debug)]
pub struct Watched {
    scene: Scene,
    /// The first one is the master at first.
    pub servers: Vec<Redis>,
    sentinels: Vec<Sentinel>,
    plan: Plan,
}

impl Watched {
    /// All of them run and know each other.
    pub fn start(scene: &Scene, plan: Plan) -> Self {
        let mut watched = Self::prepare(scene, plan);
        watched.start_sentinels();
        watched
    }

    /// The servers run, the Sentinels do not yet.
    pub fn prepare(scene: &Scene, plan: Plan) -> Self {
        Self::prepare_on(scene, plan, Ground::default())
    }

    /// The same elsewhere.
    pub fn prepare_on(scene: &Scene, plan: Plan, ground: Ground<'_>) -> Self {
        let least = plan.least.to_string();
        let spot = |spots: &[Spot], number: usize| spots.get(number).cloned().unwrap_or_default();
        let setup = |number: usize| {
            let spot = spot(ground.servers, number);
            let setup = Redis::setup(scene).name(&format!("server{number}")).program(&spot.program).tcp();
            let setup = ground.tls(setup).option("bind", &spot.host).password(PASSWORD);
            let setup = setup.acl(PEER, &format!("on >{PEER} ~* &* +@all"));
            setup.option("min-replicas-to-write", &least).option("min-replicas-max-lag", "3")
        };
        let copies = |setup: RedisSetup| setup.option("masteruser", PEER).option("masterauth", PEER);
        let host = spot(ground.servers, 0).host;
        let mut servers = vec![copies(setup(0)).start()];
        for number in 1..=plan.replicas {
            let replica = copies(setup(number).replica_at(&host, &servers[0])).start();
            servers.push(replica);
        }
        let watched = Self { scene: scene.clone(), servers, sentinels: Vec::new(), plan };
        watched.wait_replicas(0, plan.replicas);
        let master = format!("{host} {}", watched.port(0));
        let sentinels =
            (0..3).map(|number| watched.sentinel(number, spot(ground.sentinels, number), &master, ground.tls));
        let sentinels = sentinels.collect();
        Self { sentinels, ..watched }
    }

    fn sentinel(&self, number: usize, spot: Spot, master: &str, tls: Option<&Authority>) -> Sentinel {
        let (name, port) = (format!("sentinel{number}"), free_port());
        let socket = self.scene.socket(&format!("{name}.sock"));
        let password = self.plan.password.map(|word| format!("requirepass {word}\n")).unwrap_or_default();
        let listen = tls.map_or_else(
            || format!("port {port}"),
            |authority| {
                let pair = authority.issue("sentinel", HERE);
                format!(
                    "port 0\ntls-port {port}\ntls-replication yes\ntls-ca-cert-file \"{}\"\ntls-cert-file \"{}\"\ntls-key-file \"{}\"",
                    authority.certificate().display(),
                    pair.cert.display(),
                    pair.key.display()
                )
            },
        );
        let text = format!(
            "{listen}\nbind {}\nunixsocket \"{}\"\ndir \"{}\"\ndaemonize no\n{password}sentinel monitor {MASTER} {master} 2\n\
             sentinel auth-user {MASTER} {PEER}\nsentinel auth-pass {MASTER} {PEER}\nsentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 5000\nsentinel parallel-syncs {MASTER} 2\n",
            spot.host,
            socket.display(),
            self.scene.folder(&name).display()
        );
        let config = self.scene.write(&format!("{name}.conf"), text);
        Sentinel { name, spot, port, socket, config, child: None }
    }

    /// Starts the Sentinels and waits until they know each other and all servers.
    pub fn start_sentinels(&mut self) {
        for sentinel in &mut self.sentinels {
            let mut command = Command::new(&sentinel.spot.program);
            command.arg(&sentinel.config).arg("--sentinel");
            sentinel.child = Some(self.scene.spawn(&sentinel.name, command));
        }
        for number in 0..self.sentinels.len() {
            until("the Sentinels to know each other and the replicas", FAILOVER_LIMIT, || {
                self.ask(number, &["SENTINEL", "CKQUORUM", MASTER]).ok()?;
                match self.ask(number, &["SENTINEL", "REPLICAS", MASTER]).ok()? {
                    Value::Array(replicas) if replicas.len() == self.plan.replicas => Some(()),
                    _ => None,
                }
            });
        }
    }

    /// SIGKILL for all Sentinels.
    pub fn kill_sentinels(&mut self) {
        for sentinel in &mut self.sentinels {
            sentinel.child = None;
        }
    }

    /// Where the Sentinels are.
    pub fn addresses(&self) -> Vec<String> {
        self.sentinels.iter().map(|sentinel| format!("{}:{}", sentinel.spot.host, sentinel.port)).collect()
    }

    /// The ports of the Sentinels.
    pub fn sentinel_ports(&self) -> Vec<u16> {
        self.sentinels.iter().map(|sentinel| sentinel.port).collect()
    }

    /// The port of a server.
    pub fn port(&self, server: usize) -> u16 {
        self.servers[server].port().expect("it listens on TCP")
    }

    fn ask(&self, sentinel: usize, words: &[&str]) -> Result<Value, RedisError> {
        let login = RedisConnectionInfo::default().set_skip_set_lib_name();
        let login = self.plan.password.map_or_else(|| login.clone(), |word| login.clone().set_password(word));
        let address = ConnectionAddr::Unix(self.sentinels[sentinel].socket.clone());
        let client = redis::Client::open(address.into_connection_info()?.set_redis_settings(login))?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(2))?;
        connection.set_read_timeout(Some(Duration::from_secs(2)))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }

    /// The server that one Sentinel names as the master.
    pub fn named(&self, sentinel: usize) -> Option<usize> {
        let told = self.ask(sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).ok()?;
        let (_, port): (String, u16) = redis::from_redis_value(told).ok()?;
        (0..self.servers.len()).find(|server| self.port(*server) == port)
    }

    /// The server that all Sentinels name as the master and that says so itself.
    pub fn master(&self) -> Option<usize> {
        let found = self.named(0)?;
        let agreed = (1..self.sentinels.len()).all(|sentinel| self.named(sentinel) == Some(found));
        (agreed && self.is_master(found)).then_some(found)
    }

    /// True if the server says so itself.
    pub fn is_master(&self, server: usize) -> bool {
        self.role(server).is_some_and(|role| role == "master")
    }

    /// Waits until another server than `old` is the master, and gives it.
    #[track_caller]
    pub fn wait_master_but(&self, old: usize) -> usize {
        until("another master", FAILOVER_LIMIT, || self.master().filter(|server| *server != old))
    }

    /// Waits until `server` is a replica that is in touch with the master.
    #[track_caller]
    pub fn wait_replica(&self, server: usize) {
        until("the server to be a replica", FAILOVER_LIMIT, || self.is_replica(server).then_some(()));
    }

    /// True if the server is a replica that is in touch with the master.
    pub fn is_replica(&self, server: usize) -> bool {
        let Ok(Value::Array(parts)) = self.servers[server].try_cmd(&["ROLE"]) else { return false };
        let word = |at: usize| match parts.get(at) {
            Some(Value::BulkString(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        word(0) == "slave" && word(3) == "connected"
    }

    /// Waits until the master `server` has so many replicas.
    #[track_caller]
    pub fn wait_replicas(&self, server: usize, count: usize) {
        until(&format!("{count} replicas"), FAILOVER_LIMIT, || {
            let Value::Array(parts) = self.servers[server].try_cmd(&["ROLE"]).ok()? else { return None };
            matches!(parts.get(2), Some(Value::Array(replicas)) if replicas.len() >= count).then_some(())
        });
    }

    fn role(&self, server: usize) -> Option<String> {
        let Value::Array(parts) = self.servers[server].try_cmd(&["ROLE"]).ok()? else { return None };
        match parts.first()? {
            Value::BulkString(word) => Some(String::from_utf8_lossy(word).into_owned()),
            _ => None,
        }
    }

    /// A person asks for a failover. Gives the new master once it is one.
    #[track_caller]
    pub fn fail_over(&self) -> usize {
        let old = until("a master", FAILOVER_LIMIT, || self.master());
        until("the Sentinel to begin a failover", FAILOVER_LIMIT, || {
            self.ask(0, &["SENTINEL", "FAILOVER", MASTER]).ok()
        });
        self.wait_master_but(old)
    }

    /// SIGKILL for the master. Gives the new one once it is one.
    #[track_caller]
    pub fn kill_master(&mut self) -> (usize, usize) {
        let old = until("a master", FAILOVER_LIMIT, || self.master());
        self.servers[old].kill9();
        (old, self.wait_master_but(old))
    }

    /// A server is cut off from Sentinels and replicas, and from nobody else.
    pub fn cut(&self, server: usize) {
        self.servers[server].cmd(&["ACL", "SETUSER", PEER, "off"]);
        self.servers[server].cmd(&["CLIENT", "KILL", "USER", PEER]);
    }

    /// They reach it again.
    pub fn mend(&self, server: usize) {
        self.servers[server].cmd(&["ACL", "SETUSER", PEER, "on"]);
    }

    /// The length of the list or stream on whoever is the master; `None` if nobody is.
    pub fn length(&self, key: &str) -> Option<usize> {
        let master = self.master()?;
        match self.servers[master].try_length(key).ok()? {
            Value::Int(length) => usize::try_from(length).ok(),
            _ => None,
        }
    }

    /// Waits until the list has `more` records more than it has now.
    #[track_caller]
    pub fn flow(&self, key: &str, more: usize) {
        let now = until("a master", PATIENCE, || self.length(key));
        until(&format!("{more} records more"), FAILOVER_LIMIT, || self.length(key).filter(|have| *have >= now + more));
    }
}
