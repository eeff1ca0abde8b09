//! Messages a second that are safe: in Redis, or synced to the disk, before the sender has its answer.

use std::time::{Duration, Instant};

use e2e::child::{Scene, free_port};
use e2e::host::Host;
use e2e::matrix;
use e2e::native::statistics::Statistics;
use e2e::redis::Redis;
use e2e::sender::{Job, Senders, Way};

use crate::setup::{Output, idle_since, imptcp, imrelp, place, rsyslogd};
use crate::{Options, bare, spread};

/// Messages under way in a RELP session.
const WINDOW: usize = 1000;
/// What a slower disk needs more for each sync.
const SLOW: u32 = 1000;
/// So many messages tell how many fit into a run.
const TRIED: u64 = 3_000;

/// Who keeps the messages safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Safe {
    /// rsyslog's own queue on disk, the action behind it omfile to `/dev/null`.
    Queue(&'static str),
    /// The module, nothing between it and the input; Redis runs.
    Redis,
    /// The same over a unix socket.
    RedisSocket,
    /// The same, Redis is away.
    Spool,
    /// The module behind a queue in memory, Redis is away. Its messages are safe when they have left that queue.
    BatchedSpool,
    /// Nobody: what the disk could do.
    Disk(usize),
    /// Redis, asked by a bare client on a unix socket that waits for each answer.
    Asked,
}

struct Row {
    name: &'static str,
    /// The Debian release, empty for the installed rsyslogd.
    suite: &'static str,
    safe: Safe,
    relp: bool,
}

const fn row(name: &'static str, suite: &'static str, safe: Safe, relp: bool) -> Row {
    Row { name, suite, safe, relp }
}

const DISK: Safe = Safe::Queue("Disk");
const SEGMENTED: Safe = Safe::Queue("segmentedDisk");

const ROWS: [Row; 14] = [
    row("rsyslog's Disk queue, 1 checkpoint a message, synced", "", DISK, true),
    row("rsyslog's segmentedDisk queue, likewise", "forky", SEGMENTED, true),
    row("omrust, Direct, Redis runs", "", Safe::Redis, true),
    row("omrust, Direct, Redis runs, unix socket", "", Safe::RedisSocket, true),
    row("Redis runs, one RPUSH after the other, nothing else", "", Safe::Asked, true),
    row("omrust, Direct, Redis is away", "", Safe::Spool, true),
    row("omrust, Direct, Redis is away", "forky", Safe::Spool, true),
    row("one fdatasync a message", "", Safe::Disk(1), true),
    row("omrust, batches of 1024, Redis is away", "", Safe::BatchedSpool, true),
    row("rsyslog's Disk queue, 1 checkpoint a message, synced", "", DISK, false),
    row("rsyslog's segmentedDisk queue, likewise", "forky", SEGMENTED, false),
    row("omrust, batches of 1024, Redis is away", "", Safe::BatchedSpool, false),
    row("omrust, batches of 1024, Redis is away", "forky", Safe::BatchedSpool, false),
    row("one fdatasync for 1024 messages", "", Safe::Disk(1024), false),
];

/// Prints the tables: this disk, and one with slower syncs.
pub fn tables(options: &Options) {
    for slow in [0, SLOW] {
        table(options, slow);
    }
}

fn table(options: &Options, slow: u32) {
    let mut rows = Vec::new();
    for row in ROWS.iter().filter(|row| options.row(row.name)) {
        let host = if row.suite.is_empty() { Ok(Host::installed()) } else { matrix::host(row.suite) };
        match host {
            Ok(host) => rows.push((row, host)),
            Err(reason) => println!("left out: {} with rsyslog of {}: {reason}\n", row.name, row.suite),
        }
    }
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); rows.len()];
    for _ in 0..options.runs {
        for (rates, (row, host)) in rates.iter_mut().zip(&rows) {
            rates.push(match row.safe {
                Safe::Disk(batch) => bare::measure(batch, options.size, options.seconds, slow),
                Safe::Asked => bare::asked(options.size, options.seconds),
                _ => run(row, host, options, slow),
            });
        }
    }
    println!("Messages of {} bytes, each sync {} ms longer\n", options.size, f64::from(slow) / 1000.0);
    println!("| who keeps them | rsyslogd | input | messages/s | times rsyslog's Disk | times segmentedDisk |");
    println!("|---|---|---|---|---|---|");
    let median = |safe: Safe, relp: bool| {
        let at = rows.iter().position(|(row, _)| row.safe == safe && row.relp == relp)?;
        Some(spread(&rates[at], |rate| *rate).median)
    };
    for (rates, (row, host)) in rates.iter().zip(&rows) {
        let rate = spread(rates, |rate| *rate);
        let times = |safe| median(safe, row.relp).map_or(String::new(), |other| format!("{:.1}", rate.median / other));
        let bare = matches!(row.safe, Safe::Disk(_) | Safe::Asked);
        let version = if bare { "" } else { host.version() };
        let input = match (bare, row.relp) {
            (true, _) => "",
            (_, true) => "RELP, window 1000",
            (_, false) => "imptcp",
        };
        println!("| {} | {version} | {input} | {rate} | {} | {} |", row.name, times(DISK), times(SEGMENTED));
    }
    println!();
}

fn run(row: &Row, host: &Host, options: &Options, slow: u32) -> f64 {
    let scene = Scene::new();
    let redis = matches!(row.safe, Safe::Redis | Safe::RedisSocket).then(|| Redis::setup(&scene).tcp().start());
    let (spool, folder) = (scene.folder("spool"), scene.folder("door"));
    let port = redis.as_ref().map_or_else(free_port, |redis| redis.port().expect("TCP"));
    let place = place(port, Some(&spool), &folder);
    let (queue, rules, output) = match row.safe {
        Safe::Queue(kind) => (
            format!(
                "main_queue(queue.type=\"{kind}\" queue.filename=\"q\" queue.checkpointInterval=\"1\" queue.syncQueueFiles=\"on\" \
                 queue.timeoutEnqueue=\"60000\" queue.size=\"10000000\" queue.maxDiskSpace=\"8g\")"
            ),
            "",
            Output::Null,
        ),
        Safe::BatchedSpool => (
            String::new(),
            " queue.type=\"LinkedList\" queue.size=\"200000\" queue.dequeueBatchSize=\"1024\" queue.timeoutEnqueue=\"60000\"",
            Output::OmRustSpool,
        ),
        _ => ("main_queue(queue.type=\"Direct\")".to_owned(), "", Output::OmRustSpool),
    };
    let input = free_port();
    let text = if row.relp { imrelp(input) } else { imptcp(input) };
    let mut setup = rsyslogd(&scene, host, &queue, &text, output, &place).replace("@RULES@", rules).listens(input);
    if let (Safe::RedisSocket, Some(redis)) = (row.safe, &redis) {
        let tcp = format!("server=\"127.0.0.1\" serverport=\"{port}\"");
        setup = setup.replace(&tcp, &format!("server=\"{}\"", redis.socket().display()));
    }
    let mut rsyslogd = if slow > 0 { setup.slow_sync(slow) } else { setup }.start();
    let mut job = Job::new(input, if row.relp { Way::Relp(WINDOW) } else { Way::Lines }, "m");
    job.size = options.size;
    (job.pace.burst, job.pace.pause) = (500, Duration::ZERO);
    let statistics = Statistics::new(&scene.file("statistics.json"));
    // The first message opens connections and files.
    let first = Job { numbers: 0..1, ..job.clone() };
    Senders::start(&first, &["w"]).finish();
    idle_since(rsyslogd.pid());
    let rate = if row.relp && row.safe != Safe::BatchedSpool {
        let start = Instant::now();
        let senders = Senders::start(&job, &["m"]);
        std::thread::sleep(Duration::from_secs(options.seconds));
        senders.done() as f64 / start.elapsed().as_secs_f64()
    } else {
        // Safe is what has left the queue in memory, or has gone through the one on disk. How many fit into the time is tried out.
        let mut timed = |run: &str, count: u64| {
            let start = Instant::now();
            Senders::start(&Job { numbers: 0..count, ..job.clone() }, &[run]).finish();
            count as f64 / (idle_since(rsyslogd.pid()) - start).as_secs_f64()
        };
        let tried = timed("t", TRIED);
        let count = (tried * options.seconds as f64) as u64;
        let rate = timed("m", count);
        if row.safe == Safe::BatchedSpool {
            statistics.wait(0, "out", "spooled", TRIED + count + 1);
        }
        rate
    };
    // Some need minutes to give their messages on; nobody wants them.
    rsyslogd.kill9();
    rate
}
