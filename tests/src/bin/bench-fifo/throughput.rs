//! How many records a second, and what each costs: fifo-bridge beside its peers, in turn.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::bridge::{Bridge, plain_binary};
use e2e::child::{Guarded, Scene, until};
use e2e::measure::{Spread, cpu_nanoseconds, status_kib};
use e2e::redis::Redis;

use crate::ways::write;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The limit: no safety at all.
    Plain,
    /// Splice and EVALSHA in one thread.
    Reference,
    /// fifo-bridge.
    Bridge,
}

impl Who {
    /// All, in the order in which they take turns.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Reference, Self::Bridge];

    /// For the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain read + RPUSH (loses)",
            Self::Reference => "reference: splice + EVALSHA",
            Self::Bridge => "fifo-bridge",
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
    let mut redis = Redis::setup(&scene).start();
    let mut peer = Peer::start(who, &scene, &redis, depth, batch);
    let (pid, redis_pid) = (peer.pid(), redis.child().pid());
    let (before, redis_before) = (cpu_nanoseconds(pid), cpu_nanoseconds(redis_pid));
    let start = Instant::now();
    let fifo = peer.fifo.clone();
    let writer = std::thread::spawn(move || write(&fifo, records));
    let key = if who == Who::Bridge { "rsyslog" } else { "q" };
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
        if who == Who::Bridge {
            let config = Bridge::config(scene).program(plain_binary()).redis(redis);
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
