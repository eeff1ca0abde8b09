//! The same rsyslogd with the same input and the same template, the action replaced.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use e2e::child::{Scene, free_port};
use e2e::host::Host;
use e2e::ledger::Ledger;
use e2e::measure::{cpu_nanoseconds, status_kib, thread_cpu_nanoseconds};
use e2e::native::door::KEY;
use e2e::redis::Redis;
use e2e::sender::{Job, Way};

use crate::setup::{Output, idle_since, imptcp, place, rsyslogd};
use crate::{Options, spread};

/// Nothing takes longer.
const LIMIT: Duration = Duration::from_secs(300);

/// What one run showed.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Messages a second.
    rate: f64,
    /// Nanoseconds of rsyslogd's processor time for each message.
    cpu: f64,
    /// Nanoseconds of Redis' processor time for each message.
    redis: f64,
    /// Nanoseconds of the sender's processor time for each message.
    sender: f64,
    /// Peak of rsyslogd's memory in MiB.
    memory: f64,
}

const ROWS: [(&str, Output); 5] = [
    ("discard (the ceiling)", Output::Discard),
    ("omfile to /dev/null", Output::Null),
    ("omhiredis, queue, RPUSH", Output::OmHiredis),
    ("omrust", Output::OmRust),
    ("omrust with a spool in stand-by", Output::OmRustSpool),
];

/// Prints the table.
pub fn table(options: &Options) {
    let rows: Vec<(&str, Output)> = ROWS.into_iter().filter(|(name, _)| options.row(name)).collect();
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); rows.len()];
    for _ in 0..options.runs {
        for (runs, (_, output)) in runs.iter_mut().zip(&rows) {
            runs.push(run(*output, options));
        }
    }
    let host = Host::installed();
    println!(
        "{} messages of {} bytes, imptcp, a queue in memory (batches of 1024, one worker), rsyslogd {}\n",
        options.messages,
        options.size,
        host.version()
    );
    println!(
        "| action | k messages/s | rate / discard | rate / omhiredis | rsyslogd CPU ns/message | above discard | Redis CPU ns/message | sender CPU ns/message | peak memory MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let of = |output: Output| rows.iter().position(|(_, other)| *other == output).map(|at| runs[at].clone());
    let (discard, omhiredis) = (of(Output::Discard), of(Output::OmHiredis));
    for (runs, (name, _)) in runs.iter().zip(&rows) {
        let against = |other: &Option<Vec<Run>>, figure: fn(&Run, &Run) -> f64| {
            let Some(other) = other else { return String::new() };
            let pairs: Vec<(Run, Run)> = runs.iter().copied().zip(other.iter().copied()).collect();
            spread(&pairs, |(mine, other)| figure(mine, other)).to_string()
        };
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} |",
            spread(runs, |run| run.rate / 1000.0),
            against(&discard, |mine, other| mine.rate / other.rate),
            against(&omhiredis, |mine, other| mine.rate / other.rate),
            spread(runs, |run| run.cpu),
            against(&discard, |mine, other| mine.cpu - other.cpu),
            spread(runs, |run| run.redis),
            spread(runs, |run| run.sender),
            spread(runs, |run| run.memory),
        );
    }
    println!();
}

fn run(output: Output, options: &Options) -> Run {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).tcp().start();
    let input = free_port();
    let spool = (output == Output::OmRustSpool).then(|| scene.folder("spool"));
    let folder = scene.folder("door");
    let place = place(redis.port().expect("TCP"), spool.as_deref(), &folder);
    let queue = " queue.type=\"LinkedList\" queue.size=\"200000\" queue.dequeueBatchSize=\"1024\" queue.timeoutEnqueue=\"60000\"";
    let setup = rsyslogd(&scene, &Host::installed(), "", &imptcp(input), output, &place);
    let mut rsyslogd = setup.replace("@RULES@", queue).listens(input).start();
    let (pid, redis_pid) = (rsyslogd.pid(), redis.child().pid());
    // The first message opens the connection.
    send(input, &messages(input, "w", 0..1, options.size));
    if output.pushes() {
        redis.wait_llen(KEY, 1, LIMIT);
    } else {
        idle_since(pid);
    }
    let (count, size) = (options.messages, options.size);
    let stream = messages(input, "m", 0..count, size);
    let (before, redis_before) = (cpu_nanoseconds(pid), cpu_nanoseconds(redis_pid));
    let start = Instant::now();
    let sender = std::thread::spawn(move || send(input, &stream));
    let took = if output.pushes() {
        redis.wait_llen(KEY, usize::try_from(count).expect("it fits") + 1, LIMIT);
        start.elapsed()
    } else {
        idle_since(pid) - start
    };
    let each = |after: u64, before: u64| (after - before) as f64 / count as f64;
    let (ours, redis_after) = (cpu_nanoseconds(pid), cpu_nanoseconds(redis_pid));
    let sender = sender.join().expect("the sender");
    let run = Run {
        rate: count as f64 / took.as_secs_f64(),
        cpu: each(ours, before),
        redis: each(redis_after, redis_before),
        sender: each(sender, 0),
        memory: status_kib(pid, "VmHWM") as f64 / 1024.0,
    };
    if output.pushes() {
        assert_eq!(redis.llen(KEY) as u64, count + 1, "not as many as were sent");
        if !options.no_check {
            let ledger = Ledger::new().sent_numbers("w", 0..1).sent_numbers("m", 0..count);
            ledger.judge(redis.list(KEY)).assert_clean();
        }
    }
    rsyslogd.term();
    run
}

/// What is sent, made before the clock starts: making it must take nothing from those who share the processors with it.
fn messages(port: u16, run: &str, numbers: std::ops::Range<u64>, size: usize) -> Vec<u8> {
    let mut job = Job::new(port, Way::Lines, run);
    job.size = size;
    let mut stream = Vec::new();
    for n in numbers {
        job.message(n, &mut stream);
        stream.push(b'\n');
    }
    stream
}

/// As fast as it is taken. Returns the nanoseconds of processor time that it took.
fn send(port: u16, messages: &[u8]) -> u64 {
    let begun = thread_cpu_nanoseconds();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("cannot connect to rsyslogd");
    stream.write_all(messages).expect("rsyslogd takes it");
    thread_cpu_nanoseconds() - begun
}
