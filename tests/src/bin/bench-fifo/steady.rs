//! At rest: CPU at 10 000 records a second, and how long a record takes when few come.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use e2e::child::Scene;
use e2e::pipe::PipeWriter;
use e2e::redis::Redis;

use crate::throughput::{Peer, Who};
use e2e::measure::{cpu_nanoseconds, quantile, status_kib};

/// Share of one core, in percent, while `rate` records a second come for `seconds`; and the resident size in MiB.
pub fn share_of_a_core(rate: u64, seconds: u64) -> (f64, f64) {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let mut bridge = Peer::start(Who::Bridge, &scene, &redis, 4, 25);
    let pid = bridge.pid();
    let mut pipe = PipeWriter::open(&bridge.fifo);
    let record = [&b"~16|6|Nov 21 10:00:00|"[..], &[b'x'; 77], b"\n"].concat();
    let (start, before) = (Instant::now(), cpu_nanoseconds(pid));
    for n in 0..rate * seconds {
        pipe.write_whole(&record);
        let due = start + Duration::from_nanos(n * 1_000_000_000 / rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let took = start.elapsed().as_secs_f64();
    redis.wait_llen("rsyslog", (rate * seconds) as usize, Duration::from_secs(10));
    let share = (cpu_nanoseconds(pid) - before) as f64 / 1e9 / took * 100.0;
    let memory = status_kib(pid, "VmRSS") as f64 / 1024.0;
    bridge.stop();
    (share, memory)
}

/// As long as the bridge's two threads sleep while records follow each other (`batch.linger-ms`).
const NAP: Duration = Duration::from_millis(8);

/// What a machine asks for sleeping and waking alone: never returns.
pub fn sleep_for_ever() {
    let sleeper = || {
        loop {
            std::thread::sleep(NAP);
        }
    };
    std::thread::spawn(sleeper);
    sleeper();
}

/// Share of one core, in percent, of a process that only [sleeps](sleep_for_ever).
pub fn share_of_sleepers(seconds: u64) -> f64 {
    let scene = Scene::new();
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg("--sleepers");
    let mut sleepers = scene.spawn("sleepers", command);
    let (start, before) = (Instant::now(), cpu_nanoseconds(sleepers.pid()));
    std::thread::sleep(Duration::from_secs(seconds));
    let share = (cpu_nanoseconds(sleepers.pid()) - before) as f64 / start.elapsed().as_nanos() as f64 * 100.0;
    sleepers.kill9();
    share
}

/// Milliseconds from a write into the pipe to the moment at which a blocked worker has the record, sorted.
pub fn latencies(rate: u64, records: usize) -> Vec<f64> {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let mut bridge = Peer::start(Who::Bridge, &scene, &redis, 4, 25);
    let mut worker = UnixStream::connect(redis.socket()).expect("redis");
    let (arrived, arrivals) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            worker.write_all(b"*3\r\n$5\r\nBLPOP\r\n$7\r\nrsyslog\r\n$1\r\n0\r\n").expect("redis");
            let mut seen = 0;
            // A record is the fourth line behind the third header: five line ends in all.
            while seen < 5 {
                let Ok(count @ 1..) = worker.read(&mut buffer) else { return };
                seen += memchr::memchr_iter(b'\n', &buffer[..count]).count();
            }
            if arrived.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    let mut pipe = PipeWriter::open(&bridge.fifo);
    let mut taken = Vec::with_capacity(records);
    for _ in 0..records {
        let wrote = Instant::now();
        pipe.write_whole(b"~16|6|Nov 21 10:00:00|one\n");
        let got = arrivals.recv_timeout(Duration::from_secs(5)).expect("the record");
        taken.push(got.duration_since(wrote).as_secs_f64() * 1000.0);
        // Not in step with the bridge's naps.
        let pause = 1_000_000 / rate;
        std::thread::sleep(Duration::from_micros(fastrand::u64(pause / 2..pause * 3 / 2)));
    }
    bridge.stop();
    taken.sort_by(f64::total_cmp);
    taken
}

/// Median and 99th percentile.
pub fn median_and_tail(sorted: &[f64]) -> (f64, f64) {
    (quantile(sorted, 0.5), quantile(sorted, 0.99))
}
