//! `make bench-prog`: omrust-prog with exactly-once on, beside the smallest program that omprog can talk to, in turn.
#![expect(clippy::print_stdout, reason = "figures are for the person who reads them")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use e2e::cc;
use e2e::child::{Scene, free_port};
use e2e::measure::Spread;
use e2e::redis::Redis;
use e2e::rsyslog::{Rsyslogd, send_tcp};

/// A round that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(120);

/// Measures records a second through rsyslogd's omprog, with transactions and answers.
#[derive(Debug, Parser)]
#[command(name = "bench-prog")]
struct Arguments {
    /// The program
    #[arg(long)]
    program: PathBuf,
    /// Records of one round
    #[arg(long, default_value_t = 200_000)]
    records: usize,
    /// Rounds of each
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Bytes of a record's text
    #[arg(long, default_value_t = 120)]
    bytes: usize,
    /// Records of a transaction, at most
    #[arg(long, default_value_t = 1024)]
    batch: u32,
}

fn main() {
    let arguments = Arguments::parse();
    let sink = cc::compile("omprog-sink", "bin", &[]);
    let (mut ceiling, mut ours, mut spooling) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        // In turn, so that whatever else the machine does hits all of them.
        ceiling.push(measured(&arguments, |scene, _| {
            format!("{} {} {}", sink.display(), arguments.records, scene.file("done").display())
        }));
        ours.push(measured(&arguments, |scene, redis| {
            ours_with(&arguments.program, scene, redis, "prog", "state-directory")
        }));
        spooling.push(measured(&arguments, |scene, redis| {
            ours_with(&arguments.program, scene, redis, "spool", "directory")
        }));
        println!("round {}: {:.0}, {:.0}, {:.0} records/s", round + 1, ceiling[round], ours[round], spooling[round]);
    }
    let ratio = |figures: &[f64]| {
        Spread::of(&figures.iter().zip(&ceiling).map(|(own, top)| 100.0 * own / top).collect::<Vec<_>>())
    };
    println!("a program in C that answers and throws away: {} records/s", Spread::of(&ceiling));
    println!("omrust-prog, into Redis: {} records/s, {} % of it", Spread::of(&ours), ratio(&ours));
    println!("omrust-prog with a spool: {} records/s, {} % of it", Spread::of(&spooling), ratio(&spooling));
}

fn ours_with(program: &Path, scene: &Scene, redis: &Redis, section: &str, key: &str) -> String {
    let state = scene.file("state").display().to_string();
    let toml = format!("[redis]\nserver = \"{}\"\n[{section}]\n{key} = \"{state}\"\n", redis.socket().display());
    format!("{} --config {}", program.display(), scene.write("omrust.toml", toml).display())
}

/// Records a second, from the first byte sent to the last record settled.
fn measured(arguments: &Arguments, binary: impl FnOnce(&Scene, &Redis) -> String) -> f64 {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let binary = binary(&scene, &redis);
    let port = free_port();
    let mut rsyslogd = Rsyslogd::setup(&scene, "rsyslogd")
        .text("global(workDirectory=\"@WORK@\")\nmodule(load=\"imptcp\" threads=\"1\")\nmodule(load=\"omprog\")")
        .text("template(name=\"line\" type=\"string\" string=\"%msg%\\n\")")
        .text(&format!(
            "ruleset(name=\"in\" queue.type=\"LinkedList\" queue.size=\"1000000\" queue.dequeueBatchSize=\"{}\" queue.workerThreads=\"1\") {{\n\
             action(type=\"omprog\" binary=\"{binary}\" template=\"line\" confirmMessages=\"on\" useTransactions=\"on\" \
             action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\") }}",
            arguments.batch
        ))
        .text(&format!("input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"in\")"))
        .listens(port)
        .start();
    let text = "x".repeat(arguments.bytes);
    let lines: Vec<String> =
        (0..arguments.records).map(|n| format!("<134>Nov 21 10:00:00 bench test: {n:09} {text}")).collect();
    let (done, start) = (scene.file("done"), Instant::now());
    send_tcp(port, &lines);
    while !done.exists() && redis.llen("rsyslog") < arguments.records {
        assert!(start.elapsed() < LIMIT, "a round does not come to its end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = start.elapsed();
    rsyslogd.term();
    arguments.records as f64 / took.as_secs_f64()
}
