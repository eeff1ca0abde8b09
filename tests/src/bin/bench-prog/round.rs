//! One round: rsyslogd, the program and Redis from the first byte that is sent to the last record that is settled.

use std::time::{Duration, Instant};

use e2e::child::{PATIENCE, Scene, free_port, until};
use e2e::measure::cpu_nanoseconds;
use e2e::redis::Redis;
use e2e::rsyslog::{Rsyslogd, send_tcp};

use crate::Arguments;

/// What one round came to. CPU is in nanoseconds a record.
pub struct Round {
    pub rate: f64,
    pub program: f64,
    pub redis: f64,
    pub rsyslogd: f64,
}

/// Measures `binary`, a command for omprog. Panics if the records are not settled in time; what everybody said is printed then.
pub fn round(arguments: &Arguments, binary: &dyn Fn(&Scene, &Redis) -> String) -> Round {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).start();
    let (binary, port) = (binary(&scene, &redis), free_port());
    scene.watch_log(scene.log_path("messages"));
    scene.watch_log(scene.log_path("program"));
    let mut rsyslogd = Rsyslogd::setup(&scene, "rsyslogd")
        .text("global(workDirectory=\"@WORK@\" processInternalMessages=\"on\")")
        .text("module(load=\"imptcp\" threads=\"1\")\nmodule(load=\"omprog\")")
        .text("template(name=\"line\" type=\"string\" string=\"%msg%\\n\")")
        .text(&format!(
            "ruleset(name=\"in\" queue.type=\"LinkedList\" queue.size=\"1000000\" queue.dequeueBatchSize=\"{}\" queue.workerThreads=\"1\") {{\n\
             action(type=\"omprog\" binary=\"{binary}\" template=\"line\" confirmMessages=\"on\" useTransactions=\"on\" output=\"{}\" \
             action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\") }}",
            arguments.batch,
            scene.log_path("program").display()
        ))
        .text(&format!("input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"in\")"))
        .text(&format!("action(type=\"omfile\" file=\"{}\")", scene.log_path("messages").display()))
        .listens(port)
        .start();
    let text = "x".repeat(arguments.bytes);
    let lines: Vec<String> =
        (0..arguments.records).map(|n| format!("<134>Nov 21 10:00:00 bench test: {n:09} {text}")).collect();
    let (host, server) = (rsyslogd.pid(), redis.child().pid());
    let before = (cpu_nanoseconds(host), cpu_nanoseconds(server));
    let (done, start) = (scene.file("done"), Instant::now());
    send_tcp(port, &lines);
    let program = until("rsyslogd to start the program", PATIENCE, || child_of(host));
    while !done.exists() && redis.llen("rsyslog") < arguments.records {
        assert!(start.elapsed() < arguments.limit(), "a round does not come to its end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = start.elapsed();
    let each = |now: u64, before: u64| (now - before) as f64 / arguments.records as f64;
    let figures = Round {
        rate: arguments.records as f64 / took.as_secs_f64(),
        program: each(cpu_nanoseconds(program), 0),
        redis: each(cpu_nanoseconds(server), before.1),
        rsyslogd: each(cpu_nanoseconds(host), before.0),
    };
    rsyslogd.term();
    figures
}

/// The process that this one has started.
fn child_of(pid: u32) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|process| process.file_name().to_str()?.parse().ok()).find(|process: &u32| {
        let told = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // PID (NAME) STATE PARENT
        let behind_name = told.rsplit(") ").next().unwrap_or_default();
        behind_name.split(' ').nth(1).and_then(|parent| parent.parse().ok()) == Some(pid)
    })
}
