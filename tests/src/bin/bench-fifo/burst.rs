//! With real rsyslog in front: a burst as fast as rsyslogd writes its pipe. Is rsyslogd ever suspended, and what did it cost?

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use e2e::child::{Scene, free_port, until};
use e2e::ledger::Ledger;
use e2e::pipe::Numbered;
use e2e::redis::Redis;
use e2e::rsyslog::Rsyslogd;

use crate::throughput::{Peer, Who};
use e2e::measure::{cpu_nanoseconds, status_kib};

const CONFIG: &str = r#"
global(workDirectory="@WORK@")
module(load="imptcp")
module(load="impstats" interval="1" format="json" log.syslog="off" log.file="@WORK@/impstats")
main_queue(queue.type="FixedArray" queue.size="600000" queue.dequeueBatchSize="4096" queue.workerThreads="1" queue.timeoutEnqueue="60000")
template(name="bridge" type="string" string="~%syslogfacility%|%syslogpriority%|%timegenerated%|%msg:1:3900%\n")
input(type="imptcp" address="127.0.0.1" port="@PORT@")
local0.* action(type="ompipe" name="to_pipe" pipe="@PIPE@" template="bridge"
    action.resumeRetryCount="-1" action.resumeInterval="1"
    queue.type="LinkedList" queue.size="600000" queue.workerThreads="1" queue.dequeueBatchSize="2048" queue.timeoutEnqueue="60000")
"#;

/// What a burst showed.
#[derive(Debug)]
pub struct Burst {
    /// Thousands of records a second, from the first frame to the last record in the list.
    pub rate: f64,
    /// How often rsyslogd suspended its action.
    pub suspended: u64,
    /// CPU of the bridge for a record, in nanoseconds.
    pub cpu: f64,
    /// CPU of rsyslogd for a record, in nanoseconds.
    pub rsyslog_cpu: f64,
    /// Largest resident size of the bridge in MiB.
    pub memory: f64,
    /// Lost, doubled, misordered and foreign records.
    pub faults: [u64; 4],
}

/// `records` at once, or `rate` of them a second; Redis stands still for `pause` in the middle.
pub fn run(records: u64, rate: Option<u64>, pause: Duration) -> Burst {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).start();
    let mut bridge = Peer::start(Who::Bridge, &scene, &redis, 4, 25);
    let port = free_port();
    let setup = Rsyslogd::setup(&scene, "central").text(CONFIG).listens(port);
    let setup = setup.replace("@PORT@", &port.to_string()).replace("@PIPE@", bridge.fifo.to_str().expect("text"));
    let impstats = setup.work_dir().join("impstats");
    let mut rsyslogd = setup.start();
    let (pid, rsyslog_pid) = (bridge.pid(), rsyslogd.child().pid());
    let before = (cpu_nanoseconds(pid), cpu_nanoseconds(rsyslog_pid));
    let start = Instant::now();
    let sender = std::thread::spawn(move || send(port, records, rate, start));
    if pause > Duration::ZERO {
        std::thread::sleep(Duration::from_secs(1));
        redis.sigstop();
        std::thread::sleep(pause);
        redis.sigcont();
    }
    sender.join().expect("the sender");
    redis.wait_llen("rsyslog", records as usize, Duration::from_secs(120));
    let took = start.elapsed().as_secs_f64();
    let each = |after: u64, before: u64| (after - before) as f64 / records as f64;
    let cpu = each(cpu_nanoseconds(pid), before.0);
    let rsyslog_cpu = each(cpu_nanoseconds(rsyslog_pid), before.1);
    let verdict = Ledger::new().sent_numbers("burst", 0..records).judge(redis.list("rsyslog"));
    let memory = status_kib(pid, "VmHWM") as f64 / 1024.0;
    let suspended = until("impstats to tell of all records", Duration::from_secs(10), || {
        let text = std::fs::read_to_string(&impstats).ok()?;
        suspensions(&text, records)
    });
    rsyslogd.term();
    bridge.stop();
    let faults = [verdict.lost.count, verdict.doubled.count, verdict.misordered.count, verdict.foreign.count];
    Burst { rate: records as f64 / took / 1000.0, suspended, cpu, rsyslog_cpu, memory, faults }
}

fn send(port: u16, records: u64, rate: Option<u64>, start: Instant) {
    let frames = Numbered::new("burst", 100);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("rsyslogd listens");
    let mut piece = Vec::with_capacity(64 << 10);
    for n in 0..records {
        piece.extend_from_slice(&frames.syslog(n));
        piece.push(b'\n');
        if let Some(rate) = rate {
            let due = start + Duration::from_nanos(n * 1_000_000_000 / rate);
            if due > Instant::now() {
                stream.write_all(&piece).expect("rsyslogd takes it");
                piece.clear();
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
        if piece.len() > (63 << 10) || n + 1 == records {
            stream.write_all(&piece).expect("rsyslogd takes it");
            piece.clear();
        }
    }
}

/// How often the pipe was full, once all records are through. impstats of 8.2302 counts no suspension for an action with a queue of its
/// own; but each record that meets a full pipe is put back into the queue, and so counted twice there.
fn suspensions(impstats: &str, records: u64) -> Option<u64> {
    let last = |name: &str| {
        let line = impstats.lines().rev().find(|line| line.contains(name))?;
        serde_json::from_str::<serde_json::Value>(&line[line.find('{')?..]).ok()
    };
    let (action, queue) = (last("\"to_pipe\"")?, last("\"to_pipe queue\"")?);
    let processed = action["processed"].as_u64()?;
    (processed >= records).then_some(queue["enqueued"].as_u64()?.checked_sub(processed)?)
}
