//! How many records a second, and what each costs: fifo-bridge beside its peers, in turn.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::bridge::{Bridge, BridgeConfig, plain_binary};
use e2e::certs::{Authority, HERE};
use e2e::child::{Guarded, Scene, until};
use e2e::pipe::PipeWriter;
use e2e::redis::Redis;

use e2e::measure::{Spread, cpu_nanoseconds, status_kib};

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The limit: no safety at all.
    Plain,
    /// Splice and EVALSHA in one thread.
    Reference,
    /// fifo-bridge.
    Bridge,
    /// fifo-bridge over TCP.
    OverTcp,
    /// fifo-bridge over TLS, both sides with certificates.
    OverTls,
}

impl Who {
    /// All, in the order in which they take turns.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Reference, Self::Bridge];

    /// The ways of fifo-bridge to Redis.
    pub const WAYS: [Self; 3] = [Self::Bridge, Self::OverTcp, Self::OverTls];

    fn is_bridge(self) -> bool {
        Self::WAYS.contains(&self)
    }

    /// For the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain read + RPUSH (loses)",
            Self::Reference => "reference: splice + EVALSHA",
            Self::Bridge => "fifo-bridge",
            Self::OverTcp => "fifo-bridge over TCP",
            Self::OverTls => "fifo-bridge over TLS",
        }
    }
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Thousands of records a second, from the first write to the last record in the list.
    pub rate: f64,
    /// Nanoseconds of CPU for a record in the bridge or its peer.
    pub cpu: f64,
    /// Nanoseconds of CPU for a record in Redis.
    pub redis_cpu: f64,
    /// Largest resident size in MiB.
    pub memory: f64,
}

/// `records` of 100 bytes through `who` with `depth` batches of `batch` under way.
pub fn run(who: Who, records: usize, depth: usize, batch: usize) -> Run {
    let scene = Scene::new();
    let authority = Authority::new(&scene, "authority");
    authority.issue("client", &["client"]);
    let setup = Redis::setup(&scene);
    let mut redis = match who {
        Who::OverTcp => setup.tcp().start(),
        Who::OverTls => setup.tls(&authority, &authority.issue("server", HERE), true).start(),
        Who::Plain | Who::Reference | Who::Bridge => setup.start(),
    };
    let mut peer = Peer::start(who, &scene, &redis, depth, batch);
    let (pid, redis_pid) = (peer.pid(), redis.child().pid());
    let (before, redis_before) = (cpu_nanoseconds(pid), cpu_nanoseconds(redis_pid));
    let start = Instant::now();
    let fifo = peer.fifo.clone();
    let writer = std::thread::spawn(move || write(&fifo, records));
    let key = if who.is_bridge() { "rsyslog" } else { "q" };
    redis.wait_llen(key, records, Duration::from_secs(120));
    let took = start.elapsed().as_secs_f64();
    writer.join().expect("the writer");
    let each = |after: u64, before: u64| (after - before) as f64 / records as f64;
    let run = Run {
        rate: records as f64 / took / 1000.0,
        cpu: each(cpu_nanoseconds(pid), before),
        redis_cpu: each(cpu_nanoseconds(redis_pid), redis_before),
        memory: status_kib(pid, "VmHWM") as f64 / 1024.0,
    };
    assert_eq!(redis.llen(key), records, "more than was written");
    peer.stop();
    run
}

/// The figures of several runs.
pub fn spread(runs: &[Run], figure: impl Fn(&Run) -> f64) -> Spread {
    Spread::of(&runs.iter().map(figure).collect::<Vec<_>>())
}

/// Writes in pieces of 64 KiB: the writer must not be what limits the bridge.
pub fn write(fifo: &Path, records: usize) {
    let mut pipe = PipeWriter::open(fifo);
    let mut piece = Vec::with_capacity(64 << 10);
    for n in 0..records {
        let start = piece.len();
        piece.extend_from_slice(format!("~16|6|Nov 21 10:00:00|bench {n} ").as_bytes());
        piece.resize(start + 99, b'x');
        piece.push(b'\n');
        if piece.len() > (64 << 10) - 100 || n + 1 == records {
            pipe.write_whole(&piece);
            piece.clear();
        }
    }
}

/// How `who` goes to Redis.
fn way(who: Who, scene: &Scene, redis: &Redis, config: BridgeConfig) -> BridgeConfig {
    let Some(port) = redis.port() else { return config };
    let config = config.set("redis.server", format!("127.0.0.1:{port}"));
    if who != Who::OverTls {
        return config;
    }
    let file = |name: &str| scene.file(name).display().to_string();
    config
        .set("redis.tls.enabled", true)
        .set("redis.tls.ca-cert", file("authority.crt"))
        .set("redis.tls.cert", file("client.crt"))
        .set("redis.tls.key", file("client.key"))
}

/// Whoever reads the pipe.
pub enum Process {
    /// fifo-bridge.
    Bridge(Box<Bridge>),
    /// A peer in this program.
    Peer(Guarded),
}

/// A running reader of the pipe.
pub struct Peer {
    process: Process,
    /// Its pipe.
    pub fifo: PathBuf,
}

impl Peer {
    /// Starts `who` and waits until it reads.
    pub fn start(who: Who, scene: &Scene, redis: &Redis, depth: usize, batch: usize) -> Self {
        if who.is_bridge() {
            let config = way(who, scene, redis, Bridge::config(scene).program(plain_binary()).redis(redis));
            let config = config.set("queue.in-flight", depth as i64).set("batch.records-max", batch as i64);
            let bridge = config.unset("metrics.listen").set("metrics.listen", "").start();
            let fifo = bridge.fifo();
            return Self { process: Process::Bridge(Box::new(bridge)), fifo };
        }
        let fifo = scene.file("peer-pipe");
        e2e::pipe::mkfifo(&fifo);
        let folder = scene.folder("peer");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("--peer").arg(if who == Who::Plain { "plain" } else { "safe" });
        command.args([&fifo, &redis.socket().to_path_buf(), &folder]);
        command.args([depth.to_string(), batch.to_string()]);
        let child = scene.spawn("peer", command);
        until("the peer to start", Duration::from_secs(10), || folder.join("ready").exists().then_some(()));
        Self { process: Process::Peer(child), fifo }
    }

    /// Its process.
    pub fn pid(&mut self) -> u32 {
        match &mut self.process {
            Process::Bridge(bridge) => bridge.child().pid(),
            Process::Peer(child) => child.pid(),
        }
    }

    /// Ends it.
    pub fn stop(&mut self) {
        match &mut self.process {
            Process::Bridge(bridge) => bridge.term(),
            Process::Peer(child) => child.kill9(),
        }
    }
}
