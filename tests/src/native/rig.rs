//! One Redis, one rsyslogd with the action under test, the senders before it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use delivery::link::Topology;
use redis::Value;

use crate::certs::{Authority, HERE};
use crate::child::{PATIENCE, Scene, free_port, until};
use crate::cluster::Cluster;
use crate::disk::Disk;
use crate::host::Host;
use crate::load::Pace;
use crate::native::door::{Door, KEY, PREFIX, Place};
use crate::native::statistics::Statistics;
use crate::proxy::Proxy;
use crate::redis::Redis;
use crate::rsyslog::{Rsyslogd, WORK};
use crate::sender::{Job, Senders, Sent, Way};

/// What stands between the input and the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Nothing: the input's thread itself calls the action, a record at a time. An answer of RELP comes after it.
    Direct,
    /// A queue in memory.
    Memory {
        /// Threads that take from it.
        workers: u32,
        /// Records that they take at once, at most.
        batch: u32,
    },
    /// rsyslog's own queue on disk, in place of the module's spool and as careful as it can be: one checkpoint a message, synced.
    Disk,
}

/// What a [`Rig`] is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How records reach rsyslogd.
    pub way: Way,
    /// What stands between the input and the action.
    pub queue: Queue,
    /// Options of redis.conf.
    pub redis: Vec<(&'static str, &'static str)>,
    /// A proxy stands before Redis.
    pub proxy: bool,
    /// Each run goes into a list of its own.
    pub dynamic: bool,
    /// The action has a spool, if it knows how.
    pub spool: bool,
    /// Where its folder is in the scene.
    pub spool_at: &'static str,
    /// A file system of its own of so many bytes, the folder `disk` of the scene.
    pub disk: Option<u64>,
    /// More parameters of the action, if it is the project's own. `@SCENE@` is the scene's folder.
    pub more: String,
    /// The server speaks TLS, and the action has to as well.
    pub tls: bool,
    /// The password that the action gives. The server's own is `right`.
    pub password: Option<&'static str>,
    /// rsyslogd goes into the background.
    pub daemon: bool,
    /// Which rsyslogd.
    pub host: Option<Host>,
    /// Each sync of rsyslogd takes so many microseconds longer.
    pub slow_sync: u32,
    /// How fast each sender is.
    pub pace: Pace,
    /// Bytes of a message as it is sent.
    pub size: usize,
    /// A cluster of three masters with this many lanes, in place of one server, if it is not 0. Each run is a stream.
    pub cluster_lanes: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            way: Way::Lines,
            queue: Queue::Memory { workers: 1, batch: 1024 },
            redis: Vec::new(),
            proxy: false,
            dynamic: false,
            spool: true,
            spool_at: "spool",
            disk: None,
            more: String::new(),
            tls: false,
            password: None,
            daemon: false,
            host: None,
            slow_sync: 0,
            pace: Pace::default(),
            size: 120,
            cluster_lanes: 0,
        }
    }
}

/// Redis, rsyslogd and the senders of one test.
#[derive(Debug)]
pub struct Rig {
    /// The folder of all of it.
    pub scene: Scene,
    /// The server.
    pub redis: Redis,
    /// The cluster, if it was asked for. It is then what the action fills.
    pub cluster: Option<Cluster>,
    /// Between the two, if it was asked for.
    pub proxy: Option<Proxy>,
    /// The rsyslogd.
    pub rsyslogd: Rsyslogd,
    /// A disk whose power can be cut, if it was asked for.
    pub disk: Option<Disk>,
    /// What it says of itself.
    pub statistics: Statistics,
    /// Where the statistics of its last start begin.
    pub mark: usize,
    /// Those that send now.
    pub senders: Option<Senders>,
    /// What earlier ones have sent.
    pub sent: Sent,
    /// Records that rsyslogd was given before its last start.
    sent_before_start: u64,
    /// What it is made of.
    pub plan: Plan,
    input: u16,
}

impl Rig {
    /// Redis and rsyslogd run, nothing is sent.
    pub fn start(plan: &Plan, door: &Door) -> Self {
        let mut rig = Self::prepare(plan, door, &Scene::new());
        rig.start_rsyslogd();
        rig
    }

    /// Redis runs, rsyslogd does not yet.
    pub fn prepare(plan: &Plan, door: &Door, scene: &Scene) -> Self {
        let setup = plan.redis.iter().fold(Redis::setup(scene), |setup, (name, value)| setup.option(name, value));
        let setup = if plan.password.is_some() { setup.password("right") } else { setup };
        let authority = plan.tls.then(|| Authority::new(scene, "authority"));
        let setup = match &authority {
            Some(authority) => setup.tls(authority, &authority.issue("server", HERE), true),
            None if plan.proxy => setup,
            None => setup.tcp(),
        };
        let more = match &authority {
            Some(authority) => {
                let client = authority.issue("client", &["client"]);
                let files = [authority.certificate(), client.cert, client.key].map(|path| path.display().to_string());
                let [ca, cert, key] = files;
                format!("{} tls=\"on\" tls.cacert=\"{ca}\" tls.mycert=\"{cert}\" tls.myprivkey=\"{key}\"", plan.more)
            }
            None => plan.more.clone(),
        };
        let more = more.replace("@SCENE@", scene.path().to_str().expect("a plain path"));
        let redis = setup.start();
        let (proxy, port) = if plan.proxy {
            let port = free_port();
            let proxy = match redis.port() {
                Some(redis) if plan.tls => Proxy::between(port, redis),
                _ => Proxy::start_tcp(port, redis.socket()),
            };
            (Some(proxy), port)
        } else {
            (None, redis.port().expect("it listens on TCP"))
        };
        let cluster = (plan.cluster_lanes > 0).then(|| Cluster::start(scene, 3, true));
        let seed = cluster.as_ref().and_then(|cluster| cluster.nodes[0].port());
        let more = match plan.cluster_lanes {
            0 => more,
            1 => format!("{more} cluster=\"on\""),
            lanes => format!("{more} cluster=\"on\" lanes=\"{lanes}\" lane.template=\"key\""),
        };
        let input = free_port();
        let statistics = Statistics::new(&scene.file("statistics.json"));
        let disk = plan.disk.map(|bytes| Disk::make(scene, "disk", bytes));
        let spool = plan.spool.then(|| scene.folder(plan.spool_at));
        let place = Place {
            port: seed.unwrap_or(port),
            password: plan.password,
            dynamic: plan.dynamic,
            spool: spool.as_deref(),
            folder: &scene.folder("door"),
            more: &more,
            resume: 1,
        };
        let text = configuration(plan, door, &place, input, scene, &statistics);
        let mut setup = Rsyslogd::setup(scene, "rsyslogd").text(&text).listens(input);
        // The stock module folder must be named as soon as another one is.
        setup = setup.host(&plan.host.clone().unwrap_or_else(Host::installed));
        for folder in (door.modules)() {
            setup = setup.modules(&folder);
        }
        if plan.daemon {
            setup = setup.daemon();
        }
        if plan.slow_sync > 0 {
            setup = setup.slow_sync(plan.slow_sync);
        }
        scene.watch_log(scene.file("messages"));
        let rsyslogd = setup.prepare();
        let (senders, sent) = (None, Sent::default());
        Self {
            scene: scene.clone(),
            redis,
            cluster,
            proxy,
            rsyslogd,
            disk,
            statistics,
            mark: 0,
            senders,
            sent,
            sent_before_start: 0,
            plan: plan.clone(),
            input,
        }
    }

    /// The spool's folder.
    pub fn spool(&self) -> PathBuf {
        self.scene.file(self.plan.spool_at)
    }

    /// What rsyslogd has logged about itself.
    pub fn messages(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.scene.file("messages")).unwrap_or_default()).into_owned()
    }

    /// Starts rsyslogd and waits until it listens.
    pub fn start_rsyslogd(&mut self) {
        self.mark = self.statistics.mark();
        self.sent_before_start = self.sent.count();
        self.rsyslogd.start();
        let log = self.rsyslogd.log();
        assert!(!log.contains("error during parsing"), "rsyslogd does not understand its configuration:\n{log}");
    }

    /// New senders, in place of those that were there.
    pub fn send(&mut self, runs: &[&str]) {
        self.finish();
        let mut job = Job::new(self.input, self.plan.way, "");
        (job.pace, job.size) = (self.plan.pace.clone(), self.plan.size);
        self.senders = Some(Senders::start(&job, runs));
    }

    /// So many records of each run as fast as they are taken, and waits until they are sent.
    pub fn send_all(&mut self, runs: &[&str], count: u64) {
        self.finish();
        let mut job = Job::new(self.input, self.plan.way, "");
        job.pace = Pace { burst: 500, pause: Duration::ZERO, torn_every: 0 };
        job.numbers = 0..count;
        self.sent.add(Senders::start(&job, runs).finish());
    }

    /// Ends the senders that there are.
    pub fn finish(&mut self) {
        if let Some(senders) = self.senders.take() {
            self.sent.add(senders.stop());
        }
    }

    /// Waits until rsyslogd's input has taken everything that was sent since its start.
    pub fn taken(&self) {
        let input = if matches!(self.plan.way, Way::Relp(_)) { "imrelp" } else { "imptcp" };
        self.statistics.wait(self.mark, input, "submitted", self.sent.count() - self.sent_before_start);
    }

    /// How many records are in Redis now; `None` if it does not answer.
    pub fn arrived(&self) -> Option<u64> {
        let mut all = 0;
        for key in self.keys()? {
            if let Some(cluster) = &self.cluster {
                all += cluster.try_llen(&key)?;
                continue;
            }
            if let Value::Int(length) = self.redis.try_length(&key).ok()? {
                all += u64::try_from(length).expect("a length");
            }
        }
        Some(all)
    }

    /// Waits until `more` records have come from now on. False if they do not come in time.
    pub fn flow(&self, more: u64, limit: Duration) -> bool {
        let start = std::time::Instant::now();
        let mut goal = None;
        while start.elapsed() < limit {
            let now = self.arrived();
            let goal = *goal.get_or_insert(now.unwrap_or(0) + more);
            if now.is_some_and(|now| now >= goal) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// The names of the lists.
    pub fn keys(&self) -> Option<Vec<String>> {
        if self.cluster.is_some() {
            let names = delivery::lists::lists(&Topology::Cluster, KEY, self.plan.cluster_lanes);
            return Some(names.expect("a name without a brace"));
        }
        if !self.plan.dynamic {
            return Some(vec![KEY.to_owned()]);
        }
        let Value::Array(names) = self.redis.try_cmd(&["KEYS", &format!("{PREFIX}*")]).ok()? else { return None };
        let names = names.into_iter().filter_map(|name| match name {
            Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
            _ => None,
        });
        let is_list = |name: &String| matches!(self.redis.try_cmd(&["TYPE", name]), Ok(Value::SimpleString(kind)) if kind == "list" || kind == "stream");
        Some(names.filter(is_list).collect())
    }

    /// Everything that is in the lists.
    pub fn elements(&self) -> Vec<Vec<u8>> {
        let keys = self.keys().expect("redis answers");
        if let Some(cluster) = &self.cluster {
            return keys.iter().flat_map(|key| cluster.list(key)).collect();
        }
        keys.iter().flat_map(|key| self.redis.list(key)).collect()
    }

    /// The records that the action has set aside, in all files of dead letters below the scene.
    pub fn dead_letters(&self) -> Vec<Vec<u8>> {
        let mut files = Vec::new();
        files_below(&self.spool(), &mut files);
        let is_letter = |file: &&PathBuf| {
            let name = file.to_string_lossy();
            name.contains("dead") && (name.ends_with(".jsonl") || name.ends_with(".json"))
        };
        let texts = files.iter().filter(is_letter).map(|file| fs::read_to_string(file).unwrap_or_default());
        let records = texts.flat_map(|text| {
            let records = text.lines().filter_map(|line| {
                let letter: serde_json::Value = serde_json::from_str(line).ok()?;
                Some(letter["record"].as_str()?.as_bytes().to_vec())
            });
            records.collect::<Vec<_>>()
        });
        records.collect()
    }

    /// Waits until rsyslogd's messages have a line with this text.
    #[track_caller]
    pub fn wait_said(&self, text: &str) {
        until(&format!("rsyslogd to say {text:?}"), PATIENCE, || self.messages().contains(text).then_some(()));
    }
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() { files_below(&path, files) } else { files.push(path) }
    }
}

fn configuration(
    plan: &Plan,
    door: &Door,
    place: &Place,
    input: u16,
    scene: &Scene,
    statistics: &Statistics,
) -> String {
    let mut lines =
        vec![format!("global(workDirectory=\"{WORK}\" processInternalMessages=\"on\")"), statistics.module()];
    let relp = matches!(plan.way, Way::Relp(_));
    // imrelp hands over to the main queue's worker or, where that is of type Direct, to the rules themselves.
    let queue = match plan.queue {
        Queue::Direct => {
            lines.push("main_queue(queue.type=\"Direct\")".to_owned());
            String::new()
        }
        Queue::Disk => {
            let folder = scene.folder(plan.spool_at);
            lines.push(format!(
                "main_queue(queue.type=\"Disk\" queue.filename=\"q\" queue.spoolDirectory=\"{}\" queue.size=\"10000000\" \
                 queue.checkpointInterval=\"1\" queue.syncQueueFiles=\"on\" queue.timeoutEnqueue=\"2000\")",
                folder.display()
            ));
            String::new()
        }
        Queue::Memory { workers, batch } => {
            let high = if workers > 1 { " queue.workerThreadMinimumMessages=\"100\"" } else { "" };
            format!(
                " queue.type=\"LinkedList\" queue.size=\"200000\" queue.dequeueBatchSize=\"{batch}\" queue.workerThreads=\"{workers}\"{high} \
                 queue.timeoutEnqueue=\"60000\" queue.timeoutShutdown=\"10000\""
            )
        }
    };
    lines.push(door.load.to_owned());
    lines.push(
        "template(name=\"record\" type=\"string\" string=\"~%syslogfacility%|%syslogpriority%|%timegenerated%|%msg%\")"
            .to_owned(),
    );
    lines.push(
        "template(name=\"line\" type=\"string\" string=\"~%syslogfacility%|%syslogpriority%|%timegenerated%|%msg%\\n\")"
            .to_owned(),
    );
    lines.push(format!("template(name=\"key\" type=\"string\" string=\"{PREFIX}%programname%\")"));
    lines.push(format!("action(type=\"omfile\" file=\"{}\")", scene.file("messages").display()));
    lines.push(format!("ruleset(name=\"in\"{queue}) {{\n  {}\n}}", (door.action)(place)));
    if relp {
        lines.push("module(load=\"imrelp\" ruleset=\"in\")".to_owned());
        lines.push(format!("input(type=\"imrelp\" address=\"127.0.0.1\" port=\"{input}\")"));
    } else {
        lines.push("module(load=\"imptcp\" threads=\"1\")".to_owned());
        lines.push(format!("input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{input}\" ruleset=\"in\")"));
    }
    lines.join("\n")
}
