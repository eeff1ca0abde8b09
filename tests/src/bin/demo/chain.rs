//! Everything that the records pass through, in a private folder: started, watched, killed, stopped.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use e2e::bridge::{Bridge, plain_binary};
use e2e::child::{Scene, free_port, until};
use e2e::pipe::mkfifo;
use e2e::redis::Redis;
use e2e::rsyslog::Rsyslogd;
use nix::fcntl::{FcntlArg, OFlag};
use redis::Value;

use crate::plan::Kill;
use crate::rsyslog::{self, Action, Statistics};
use crate::screen::Progress;
use crate::worker::{FAILED, IN_HAND, KEY, Worker};

/// How long Redis stays away when it is not started again at once, and when in that time the bridge is killed.
const REDIS_AWAY: Duration = Duration::from_millis(1_200);
const BRIDGE_MEANWHILE: Duration = Duration::from_millis(600);
/// The name under which the bridge keeps its cursor, and where that is.
const PRODUCER: &str = "demo";
const CURSOR: &str = "{rsyslog}:cursor:demo";
/// The capacity of the pipe, as the socket unit and the bridge set it.
const PIPE_BYTES: i32 = 1 << 20;

/// How often each was killed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kills {
    /// fifo-bridge.
    pub bridge: u64,
    /// redis-server.
    pub redis: u64,
    /// The PHP worker.
    pub worker: u64,
}

/// What a kill leaves for later.
#[derive(Clone, Copy, Debug)]
enum Later {
    KillBridge,
    StartRedis,
}

/// The whole chain. It ends with the value: the children first, the folder last.
#[derive(Debug)]
pub struct Chain {
    worker: Worker,
    remote: Rsyslogd,
    central: Rsyslogd,
    bridge: Bridge,
    redis: Redis,
    /// Held open as systemd holds it: what is in the pipe stays while the bridge is down.
    pipe: File,
    port: u16,
    kills: Kills,
    later: Vec<(Instant, Later)>,
    redis_is_up: bool,
    /// Bytes of the stream that Redis has, as far as was last seen.
    pushed: u64,
    scene: Scene,
}

impl Chain {
    /// Starts everything and waits until it is ready for the senders.
    pub fn start(scene: &Scene) -> Self {
        let redis = Redis::setup(scene)
            .aof()
            // A server that is killed must leave no child behind that rewrites the file.
            .option("auto-aof-rewrite-percentage", "0")
            .start();
        let mut bridge = Bridge::config(scene)
            .program(plain_binary())
            .redis(&redis)
            .set("queue.producer", PRODUCER)
            // All of the stream is kept, to be held against the consumed records in the end.
            .set("spool.maxsize", "100g")
            .set("spool.retention-bytes", "100g")
            .set("spool.retention-seconds", 86_400)
            .prepare();
        let pipe = hold(&bridge.fifo());
        bridge.start();
        let (port, relp_port) = (free_port(), free_port());
        Self {
            worker: Worker::start(scene, redis.socket(), 1),
            central: rsyslog::central(scene, &bridge.fifo(), relp_port).start(),
            remote: rsyslog::remote(scene, relp_port, port).start(),
            bridge,
            redis,
            pipe,
            port,
            kills: Kills::default(),
            later: Vec::new(),
            redis_is_up: true,
            pushed: 0,
            scene: scene.clone(),
        }
    }

    /// Where the senders connect.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How often each was killed so far.
    pub fn kills(&self) -> Kills {
        self.kills
    }

    /// The bridge's spool.
    pub fn spool(&self) -> PathBuf {
        self.bridge.spool()
    }

    /// Every record that the worker wrote down since the last call.
    pub fn records(&mut self, record: impl FnMut(&[u8])) {
        self.worker.records(record);
    }

    /// Where the records are. In the spool is what the files have beyond the cursor in Redis, which may be away.
    pub fn look(&mut self, sent: u64, consumed: u64) -> Progress {
        let taken = self.taken();
        let list = self.length(KEY);
        self.redis_is_up = list.is_some();
        if let Some(cursor) = self.cursor() {
            self.pushed = cursor;
        }
        Progress { sent, pipe: self.in_pipe(), spool: taken.saturating_sub(self.pushed), list, consumed }
    }

    /// Bytes that have left the pipe.
    fn taken(&self) -> u64 {
        self.bridge.spool_files()
    }

    fn in_pipe(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.pipe).unwrap_or(0)
    }

    /// Bytes that rsyslog has written.
    pub fn written(&self) -> u64 {
        self.in_pipe() + self.taken()
    }

    /// How many bytes of the stream Redis has.
    fn cursor(&self) -> Option<u64> {
        match self.redis.try_cmd(&["GET", CURSOR]) {
            Ok(Value::BulkString(cursor)) => String::from_utf8(cursor).ok()?.split_once(':')?.1.parse().ok(),
            _ => None,
        }
    }

    fn length(&self, key: &str) -> Option<u64> {
        match self.redis.try_cmd(&["LLEN", key]) {
            Ok(Value::Int(length)) => u64::try_from(length).ok(),
            _ => None,
        }
    }

    /// Whether everybody is there, as far as was last seen.
    pub fn is_whole(&self) -> bool {
        self.redis_is_up && self.later.is_empty()
    }

    /// Kills as the plan says, and tells what it did. After the worker, [`Chain::succeed_worker`] has to follow.
    pub fn kill(&mut self, whom: Kill) -> String {
        match whom {
            Kill::Bridge => self.kill_bridge(),
            Kill::Redis => {
                self.kill_redis();
                self.redis.launch();
                format!("kill -9 redis-server ({}), restarted at once on its append-only file", self.kills.redis)
            }
            Kill::RedisThenBridge => {
                self.kill_redis();
                let now = Instant::now();
                self.later.push((now + BRIDGE_MEANWHILE, Later::KillBridge));
                self.later.push((now + REDIS_AWAY, Later::StartRedis));
                let away = REDIS_AWAY.as_secs_f64();
                format!("kill -9 redis-server ({}), away for {away:.1} s: records wait in the spool", self.kills.redis)
            }
            Kill::Worker => {
                self.worker.child().kill9();
                self.kills.worker += 1;
                format!("kill -9 PHP worker ({}), a new one takes over its name in 2 s", self.kills.worker)
            }
        }
    }

    /// Does what an earlier kill left for later and is due now. An error if somebody ended who was not killed.
    pub fn tick(&mut self, now: Instant) -> Result<Vec<String>, String> {
        let mut said = Vec::new();
        while let Some(index) = self.later.iter().position(|(due, _)| *due <= now) {
            match self.later.remove(index).1 {
                Later::KillBridge => said.push(self.kill_bridge()),
                Later::StartRedis => {
                    self.redis.launch();
                    said.push("redis-server started again on its append-only file".to_owned());
                }
            }
        }
        self.check()?;
        Ok(said)
    }

    fn kill_bridge(&mut self) -> String {
        let pid = self.bridge.child().pid();
        self.bridge.kill9();
        self.bridge.launch();
        self.kills.bridge += 1;
        format!("kill -9 fifo-bridge ({}), pid {pid}, restarted at once", self.kills.bridge)
    }

    fn kill_redis(&mut self) {
        self.redis.kill9();
        self.redis_is_up = false;
        self.kills.redis += 1;
    }

    /// What the killed worker had taken and not acknowledged, and the start of its successor.
    pub fn succeed_worker(&mut self) -> Vec<Vec<u8>> {
        let left = self.redis.list(IN_HAND);
        self.worker = Worker::start(&self.scene, self.redis.socket(), self.kills.worker + 1);
        left
    }

    fn check(&mut self) -> Result<(), String> {
        let redis_is_killed = self.later.iter().any(|(_, later)| matches!(later, Later::StartRedis));
        // The names are those of their logs.
        let ended: [(&str, Option<ExitStatus>); 5] = [
            ("bridge", self.bridge.child().ended()),
            ("redis", if redis_is_killed { None } else { self.redis.child().ended() }),
            ("worker", self.worker.child().ended()),
            ("remote", self.remote.child().ended()),
            ("central", self.central.child().ended()),
        ];
        match ended.iter().find_map(|(name, status)| status.map(|status| (name, status))) {
            Some((name, status)) => Err(format!("{name} ended by itself ({status}):\n{}", self.scene.log(name))),
            None => Ok(()),
        }
    }

    /// Waits until both rsyslogds have said something newer than this call: what they say of their actions.
    pub fn statistics(&self, limit: Duration) -> [Action; 2] {
        let statistics = Statistics::new(&self.scene);
        until("the statistics of rsyslog", limit, || statistics.news())
    }

    /// Stops everybody in the order of the stream, so that nothing is under way any more. Waits until the list is empty.
    pub fn stop(&mut self, limit: Duration) {
        self.remote.term();
        self.central.term();
        self.bridge.term();
        let start = Instant::now();
        while self.left_in_redis() > 0 && start.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.worker.term();
    }

    fn left_in_redis(&self) -> u64 {
        [KEY, IN_HAND].iter().map(|key| self.length(key).unwrap_or(1)).sum()
    }

    /// What is in Redis when everybody has stopped: nothing, if all is well.
    pub fn leftovers(&self) -> Vec<Vec<u8>> {
        [KEY, IN_HAND, FAILED].iter().flat_map(|key| self.redis.list(key)).collect()
    }
}

/// Makes the pipe and holds it open, as the socket unit does.
fn hold(path: &Path) -> File {
    mkfifo(path);
    let pipe = File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .unwrap_or_else(|e| panic!("cannot open {}: {e}", path.display()));
    // A refusal is not ours to judge: the pipe is smaller then, and rsyslog sees it full sooner.
    let _ = nix::fcntl::fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    pipe
}
