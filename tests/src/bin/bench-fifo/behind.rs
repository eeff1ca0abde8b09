//! What stands behind the bridge: one server or many, started once for a table and emptied before each run.

use std::path::PathBuf;

use e2e::bridge::BridgeConfig;
use e2e::certs::{Authority, HERE};
use e2e::child::{Guarded, Scene};
use e2e::cluster::Cluster;
use e2e::measure::cpu_nanoseconds;
use e2e::redis::Redis;
use e2e::sentinel::{Ground, MASTER, PASSWORD, Plan, Watched};

/// The list, as long as there is one lane.
pub const KEY: &str = "rsyslog";

/// The servers of a row.
pub enum Behind {
    /// A server, its replica perhaps, and the setting that leads to it.
    One {
        /// The one that is filled.
        server: Box<Redis>,
        /// It follows.
        replica: Option<Box<Redis>>,
        /// `redis.server`
        address: String,
        /// The folder with `authority.crt`, `client.crt` and `client.key`, if it speaks TLS.
        certificates: Option<Scene>,
    },
    /// Sentinels, a master and its replicas.
    Watched(Box<Watched>),
    /// The nodes of a cluster.
    Cluster(Cluster),
    /// Servers that know nothing of each other.
    Shards(Vec<Redis>),
}

impl Behind {
    /// A server on a unix socket.
    pub fn socket(scene: &Scene) -> Self {
        let server = Redis::setup(scene).name("socket").start();
        let address = server.socket().display().to_string();
        Self::One { server: Box::new(server), replica: None, address, certificates: None }
    }

    /// A server on TCP.
    pub fn tcp(scene: &Scene) -> Self {
        Self::over_tcp(Redis::setup(scene).name("tcp").tcp().start(), None)
    }

    /// The same with more about it.
    pub fn over_tcp(server: Redis, replica: Option<Redis>) -> Self {
        let address = address(&server);
        Self::One { server: Box::new(server), replica: replica.map(Box::new), address, certificates: None }
    }

    /// A server that speaks TLS and asks for a certificate.
    pub fn tls(scene: &Scene) -> Self {
        let authority = Authority::new(scene, "authority");
        authority.issue("client", &["client"]);
        let server = Redis::setup(scene).name("tls").tls(&authority, &authority.issue("server", HERE), true).start();
        let address = address(&server);
        Self::One { server: Box::new(server), replica: None, address, certificates: Some(scene.clone()) }
    }

    /// A master with so many replicas that three Sentinels watch.
    pub fn watched(scene: &Scene, replicas: usize) -> Self {
        let plan = Plan { replicas, least: 0, password: None };
        let mut watched = Watched::prepare_on(scene, plan, Ground::default());
        watched.start_sentinels();
        Self::Watched(Box::new(watched))
    }

    /// A cluster of so many masters.
    pub fn cluster(scene: &Scene, masters: usize) -> Self {
        Self::Cluster(Cluster::without_aof(scene, masters))
    }

    /// So many servers on TCP.
    pub fn shards(scene: &Scene, count: usize) -> Self {
        let server = |number: usize| Redis::setup(scene).name(&format!("shard{number}-of-{count}")).tcp().start();
        Self::Shards((0..count).map(server).collect())
    }

    /// All servers that hold records, one after the other. Replicas are not among them.
    pub fn servers(&self) -> Vec<&Redis> {
        match self {
            Self::One { server, .. } => vec![server],
            Self::Watched(watched) => vec![&watched.servers[0]],
            Self::Cluster(cluster) => cluster.nodes.iter().collect(),
            Self::Shards(servers) => servers.iter().collect(),
        }
    }

    /// The server that holds a list. Of shards: of this lane's list.
    pub fn holds(&self, list: &str, lane: usize) -> &Redis {
        let servers = self.servers();
        match self {
            Self::Cluster(cluster) => servers[cluster.owner(list)],
            _ => servers[lane % servers.len()],
        }
    }

    /// Nothing is left of the run before.
    pub fn empty(&self) {
        for server in self.servers() {
            server.cmd(&["FLUSHALL"]);
        }
    }

    /// Processor time of all of them so far, replicas included.
    pub fn cpu(&mut self) -> u64 {
        let of = |child: &mut Guarded| cpu_nanoseconds(child.pid());
        match self {
            Self::One { server, replica, .. } => {
                of(server.child()) + replica.as_mut().map_or(0, |replica| of(replica.child()))
            }
            Self::Watched(watched) => watched.servers.iter_mut().map(|server| of(server.child())).sum(),
            Self::Cluster(cluster) => cluster.nodes.iter_mut().map(|node| of(node.child())).sum(),
            Self::Shards(servers) => servers.iter_mut().map(|server| of(server.child())).sum(),
        }
    }

    /// The settings that lead a bridge there.
    pub fn tell(&self, config: BridgeConfig) -> BridgeConfig {
        let list = |addresses: Vec<String>| addresses.into_iter().map(toml::Value::from).collect::<Vec<_>>();
        match self {
            Self::One { address, certificates, .. } => {
                let config = config.set("redis.server", address.as_str());
                let Some(scene) = certificates else { return config };
                let file = |name: &str| PathBuf::from(scene.path()).join(name).display().to_string();
                config
                    .set("redis.tls.enabled", true)
                    .set("redis.tls.ca-cert", file("authority.crt"))
                    .set("redis.tls.cert", file("client.crt"))
                    .set("redis.tls.key", file("client.key"))
            }
            Self::Watched(watched) => config
                .set("redis.server", list(watched.addresses()))
                .set("redis.sentinel-master", MASTER)
                .set("redis.password", PASSWORD),
            Self::Cluster(cluster) => config.set("redis.server", list(cluster.seeds())).set("redis.cluster", true),
            Self::Shards(servers) => {
                let config = config.set("redis.server", list(servers.iter().map(address).collect()));
                if servers.len() > 1 { config.set("redis.shard", true) } else { config }
            }
        }
    }
}

fn address(server: &Redis) -> String {
    format!("127.0.0.1:{}", server.port().expect("it listens on TCP"))
}
