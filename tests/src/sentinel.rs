//! A master, its replicas and the Sentinels that watch them: processes of the test's own on loopback.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use redis::{RedisError, Value};

use crate::child::{Guarded, PATIENCE, Scene, free_port, until};
use crate::redis::{Redis, RedisSetup};

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

/// One Sentinel.
#[derive(Debug)]
struct Sentinel {
    name: String,
    port: u16,
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
        let least = plan.least.to_string();
        let setup = |number: usize| {
            let setup = Redis::setup(scene).name(&format!("server{number}")).tcp().password(PASSWORD);
            let setup = setup.acl(PEER, &format!("on >{PEER} ~* &* +@all"));
            setup.option("min-replicas-to-write", &least).option("min-replicas-max-lag", "3")
        };
        let copies = |setup: RedisSetup| setup.option("masteruser", PEER).option("masterauth", PEER);
        let mut servers = vec![copies(setup(0)).start()];
        for number in 1..=plan.replicas {
            let replica = copies(setup(number).replica_of(&servers[0])).start();
            servers.push(replica);
        }
        let watched = Self { scene: scene.clone(), servers, sentinels: Vec::new(), plan };
        watched.wait_replicas(0, plan.replicas);
        let port = watched.port(0);
        let sentinels = (0..3).map(|number| watched.sentinel(number, port)).collect();
        Self { sentinels, ..watched }
    }

    fn sentinel(&self, number: usize, master: u16) -> Sentinel {
        let (name, port) = (format!("sentinel{number}"), free_port());
        let password = self.plan.password.map(|word| format!("requirepass {word}\n")).unwrap_or_default();
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir \"{}\"\ndaemonize no\n{password}sentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
             sentinel auth-user {MASTER} {PEER}\nsentinel auth-pass {MASTER} {PEER}\nsentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 5000\nsentinel parallel-syncs {MASTER} 2\n",
            self.scene.folder(&name).display()
        );
        let config = self.scene.write(&format!("{name}.conf"), text);
        Sentinel { name, port, config, child: None }
    }

    /// Starts the Sentinels and waits until they know each other and all servers.
    pub fn start_sentinels(&mut self) {
        for sentinel in &mut self.sentinels {
            let mut command = Command::new("redis-server");
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
        self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect()
    }

    /// The port of a server.
    pub fn port(&self, server: usize) -> u16 {
        self.servers[server].port().expect("it listens on TCP")
    }

    fn ask(&self, sentinel: usize, words: &[&str]) -> Result<Value, RedisError> {
        let login = self.plan.password.map(|word| format!(":{word}@")).unwrap_or_default();
        let client = redis::Client::open(format!("redis://{login}127.0.0.1:{}/", self.sentinels[sentinel].port))?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(2))?;
        connection.set_read_timeout(Some(Duration::from_secs(2)))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }

    /// The server that all Sentinels name as the master and that says so itself.
    pub fn master(&self) -> Option<usize> {
        let mut named = None;
        for sentinel in 0..self.sentinels.len() {
            let (_, port): (String, u16) =
                redis::from_redis_value(self.ask(sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).ok()?)
                    .ok()?;
            if *named.get_or_insert(port) != port {
                return None;
            }
        }
        let found = (0..self.servers.len()).find(|server| Some(self.port(*server)) == named)?;
        (self.role(found)? == "master").then_some(found)
    }

    /// Waits until another server than `old` is the master, and gives it.
    #[track_caller]
    pub fn wait_master_but(&self, old: usize) -> usize {
        until("another master", FAILOVER_LIMIT, || self.master().filter(|server| *server != old))
    }

    /// Waits until `server` is a replica that is in touch with the master.
    #[track_caller]
    pub fn wait_replica(&self, server: usize) {
        until("the server to be a replica", FAILOVER_LIMIT, || {
            let Value::Array(parts) = self.servers[server].try_cmd(&["ROLE"]).ok()? else { return None };
            let word = |at: usize| match parts.get(at) {
                Some(Value::BulkString(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
                _ => String::new(),
            };
            (word(0) == "slave" && word(3) == "connected").then_some(())
        });
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

    /// The length of the list on whoever is the master; `None` if nobody is.
    pub fn length(&self, key: &str) -> Option<usize> {
        let master = self.master()?;
        match self.servers[master].try_cmd(&["LLEN", key]).ok()? {
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
