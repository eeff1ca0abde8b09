//! The same suites against other servers: Valkey, and older and newer Redis. One that cannot be had is reported as ignored, with the reason.
#![expect(clippy::print_stderr, reason = "why a server was left out is for the person who reads the output")]

use std::path::Path;
use std::thread;
use std::time::Duration;

use e2e::child::run;
use e2e::servers::{KINDS, Kind, Server};
use libtest_mimic::{Arguments, Failed, Trial};

/// So long one suite may take.
const LIMIT: Duration = Duration::from_secs(300);

/// What is run against each server: what `cargo test` is told.
const SUITES: [(&str, &[&str]); 5] = [
    // Every answer to a push: transactions, scripts, permissions, memory, kills.
    ("pushes", &["--package", "delivery", "--test", "push"]),
    // Transactions with and without a spool.
    ("transactions", &["--package", "delivery", "--test", "outlet"]),
    // The bridge and the module, with kills, outages and refusals.
    (
        "bridge and module",
        &[
            "--package",
            "e2e",
            "--test",
            "e2e",
            "--",
            "killed_together_with_redis",
            "stopped_under_load",
            "outage::",
            "redis_states::",
            "native_faults::",
            "--skip",
            "replica",
        ],
    ),
    // Streams in all doors, and a group of PHP workers.
    ("streams", &["--package", "e2e", "--test", "e2e", "--", "stream::", "stream_doors::", "stream_workers::"]),
    // The server knows WAITAOF, or says in words that it does not; what waits for a replica; Sentinels and a cluster of its kind.
    (
        "acknowledgements and failovers",
        &[
            "--package",
            "e2e",
            "--test",
            "e2e",
            "--",
            "sentinel::a_server",
            "sentinel::records_are_held_back",
            "sentinel::what_an_earlier_life",
            "sentinel::the_bridge_lives_through_failovers",
            "sentinel::a_stream",
            "sentinel_faults::the_bridge",
            "cluster_failover::masters_die",
            "cluster::slots_move",
        ],
    ),
];

fn main() {
    let arguments = Arguments::from_args();
    // Listing the tests must not fetch anything.
    let servers: Vec<(Kind, Result<Server, String>)> = if arguments.list {
        KINDS.iter().map(|kind| (*kind, Err("listed only".to_owned()))).collect()
    } else {
        let fetches = KINDS.map(|kind| (kind, thread::spawn(move || kind.get())));
        let fetched = fetches.map(|(kind, fetch)| (kind, fetch.join().unwrap_or_else(|_| Err("a panic".to_owned()))));
        fetched.into_iter().collect()
    };
    let mut trials = Vec::new();
    for (kind, server) in servers {
        match server {
            Ok(server) => {
                for (suite, words) in SUITES {
                    let (name, program) =
                        (format!("{} {}: {suite}", kind.name, server.version), server.program.clone());
                    trials.push(Trial::test(name, move || passes(&program, words)));
                }
            }
            Err(reason) => {
                eprintln!("skipped: {} of {}: {reason}", kind.name, kind.suite);
                let name = format!("{} of {} (skipped: {reason})", kind.name, kind.suite);
                trials.push(Trial::test(name, || Ok(())).with_ignored_flag(true));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Runs a suite with this server in place of redis-server.
fn passes(server: &Path, words: &[&str]) -> Result<(), Failed> {
    let mut command = e2e::cargo::cargo();
    command.args(["test", "--quiet", "--locked"]).args(words).env("REDIS_SERVER", server);
    let said = run(command, LIMIT)?;
    // A filter that fits nothing must not look like success.
    if said.contains(" 0 passed") || !said.contains(" passed") {
        return Err(format!("nothing was run:\n{said}").into());
    }
    Ok(())
}
