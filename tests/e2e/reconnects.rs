//! Thousands of connections, one after the other: descriptors and memory stay as they are.
//!
//! `E2E_TORTURE=N` in the environment makes N times as many.

use std::fs;

use e2e::bridge::Bridge;
use e2e::certs::{Authority, HERE};
use e2e::child::Scene;
use e2e::native::prog::Talk;
use e2e::pipe::PipeWriter;
use e2e::redis::Redis;

/// Connections of one run.
const ROUNDS: usize = 10_000;
/// Over TLS, where each takes several times as long.
const ROUNDS_TLS: usize = 5_000;
/// Of the bridge, which waits some forty milliseconds before each: it notices at its next push, and that was in vain.
const ROUNDS_BRIDGE: usize = 500;
/// As much as the allocator may take and keep, in kB.
const SLACK: u64 = 1024;

fn times() -> usize {
    std::env::var("E2E_TORTURE").map_or(1, |times| times.parse::<usize>().expect("E2E_TORTURE is a number"))
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

/// Resident memory in kB.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// What a process holds.
#[derive(Default)]
struct Held {
    descriptors: usize,
    memory: u64,
}

impl Held {
    fn by(pid: u32) -> Self {
        Self { descriptors: descriptors(pid), memory: memory(pid) }
    }

    /// Fails if it has become more than `before`.
    #[track_caller]
    fn assert_as(&self, before: &Self) {
        assert_eq!(self.descriptors, before.descriptors, "descriptors");
        assert!(self.memory <= before.memory + SLACK, "{} kB became {} kB", before.memory, self.memory);
    }
}

/// Cuts all connections but the asker's; how many.
fn cut(admin: &mut redis::Connection) -> i64 {
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).query(admin).expect("CLIENT KILL")
}

/// Before each record all connections are cut.
fn run(scene: &Scene, redis: &Redis, address: &str, rounds: usize) {
    let toml = format!(
        "[redis]\n{address}\n[queue]\nkey = \"k\"\nproducer = \"p\"\n[prog]\nstate-directory = \"{}\"\n",
        scene.folder("state").display()
    );
    let mut talk = Talk::start(scene, &toml, &[]);
    assert_eq!(talk.answer(), "OK");
    let mut admin = redis.connect().expect("a connection");
    let rounds = rounds * times();
    let warm = rounds / 5;
    let (mut before, mut killed) = (Held::default(), 0);
    for round in 0..rounds {
        if round == warm {
            before = Held::by(talk.pid());
        }
        killed += cut(&mut admin);
        assert_eq!(talk.ask(&format!("record {round}")), "OK");
    }
    let after = Held::by(talk.pid());
    assert!(killed as usize >= rounds - 1, "{killed} connections were cut");
    after.assert_as(&before);
    let records: Vec<String> =
        redis.list("k").into_iter().map(|record| String::from_utf8(record).expect("text")).collect();
    assert_eq!(records, (0..rounds).map(|round| format!("record {round}")).collect::<Vec<_>>());
    assert!(talk.end().success());
}

#[test]
fn thousands_of_connections_leave_nothing_behind() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).tcp().start();
    run(&scene, &redis, &format!("server = \"127.0.0.1\"\nport = {}", redis.port().expect("a port")), ROUNDS);
}

#[test]
fn thousands_of_connections_over_tls_leave_nothing_behind() {
    let scene = Scene::new();
    let authority = Authority::new(&scene, "authority");
    let redis = Redis::setup(&scene).tls(&authority, &authority.issue("server", HERE), false).start();
    let port = redis.port().expect("a port");
    let ca = authority.certificate();
    run(
        &scene,
        &redis,
        &format!("server = \"rediss://127.0.0.1:{port}\"\ntls.ca-cert = \"{}\"", ca.display()),
        ROUNDS_TLS,
    );
}

/// The same for the bridge: before each record all its connections are cut, and the record is taken out as soon as it is there.
#[test]
fn connections_of_the_bridge_leave_nothing_behind() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let mut bridge = Bridge::config(&scene)
        .server(redis.socket())
        .set("queue.key", "k")
        .set("frame.format", "line")
        .set("batch.linger-ms", 0)
        .start();
    let mut writer = PipeWriter::open(&bridge.fifo());
    let mut admin = redis.connect().expect("a connection");
    let rounds = ROUNDS_BRIDGE * times();
    let pid = bridge.child().pid();
    let (mut before, mut killed) = (Held::default(), 0);
    for round in 0..rounds {
        if round == rounds / 5 {
            before = Held::by(pid);
        }
        killed += cut(&mut admin);
        let record = format!("record {round}");
        writer.write(format!("{record}\n").as_bytes());
        let came = redis::cmd("BLPOP").arg(&["k", "30"]).query::<(String, String)>(&mut admin).expect("BLPOP");
        assert_eq!(came.1, record);
    }
    let after = Held::by(pid);
    assert!(killed as usize >= rounds - 1, "{killed} connections were cut");
    after.assert_as(&before);
    assert_eq!(redis.llen("k"), 0, "more than was written");
}
