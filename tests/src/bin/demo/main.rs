//! `make demo`: watch messages travel from a remote rsyslog to a PHP worker while things are killed, and read the verdict.
#![expect(clippy::print_stderr, reason = "it talks to the person who started it")]

mod chain;
mod doors;
mod judge;
mod need;
mod plan;
mod report;
mod rsyslog;
mod screen;
mod sender;
mod show;
mod worker;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use e2e::native::door::OMRUST;
use e2e::native::prog::OMPROG;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::show::{Failure, Options, run, usual_rate};

/// As after a Ctrl-C that nobody handles.
const INTERRUPTED: u8 = 130;

/// Sends numbered messages through rsyslog, RELP, rsyslog, a named pipe, fifo-bridge and a Redis list to a PHP worker, all of
/// them private, kills the bridge, Redis and the worker in the middle, and judges from the records themselves.
///
/// Exit status: 0 when nothing was lost, doubled, out of order or foreign; 1 when something was, or the demo could not run.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Arguments {
    /// How many messages are sent in all
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    messages: u64,
    /// Messages a second, 0 for as many as rsyslog takes [default: 200 000 messages take 16 s]
    #[arg(long, value_name = "R")]
    rate: Option<u64>,
    /// The door that they take: pipe (fifo-bridge), prog (omrust-prog behind omprog) or native (the module omrust)
    #[arg(long, value_name = "DOOR", default_value = "pipe", value_parser = ["pipe", "prog", "native"])]
    door: String,
    /// Give up after so many seconds [default: 60, or more where N asks for it]
    #[arg(long, value_name = "S")]
    seconds_max: Option<u64>,
}

impl Arguments {
    fn options(&self) -> Options {
        let rate = self.rate.unwrap_or_else(|| usual_rate(self.messages));
        let needed = self.messages / rate.clamp(1, 20_000) * 3 / 2 + 20;
        Options {
            messages: self.messages,
            rate,
            limit: Duration::from_secs(self.seconds_max.unwrap_or(needed.max(60))),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let missing = need::missing();
    if !missing.is_empty() {
        eprintln!("demo: {}", need::advice(&missing));
        return ExitCode::FAILURE;
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&stop)) {
            eprintln!("demo: signal {signal} cannot be handled: {error}");
            return ExitCode::FAILURE;
        }
    }
    // Ctrl-C reaches the children as well: whoever trips over their end then has nothing to tell.
    let (tell, stopped) = (panic::take_hook(), Arc::clone(&stop));
    panic::set_hook(Box::new(move |info| {
        if !stopped.load(Ordering::Relaxed) {
            tell(info);
        }
    }));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| match arguments.door.as_str() {
        "prog" => doors::run(&OMPROG, arguments.options(), &stop),
        "native" => doors::run(&OMRUST, arguments.options(), &stop),
        _ => run(arguments.options(), &stop),
    }));
    if stop.load(Ordering::Relaxed) {
        eprintln!("\ndemo: stopped, nothing was left behind");
        return ExitCode::from(INTERRUPTED);
    }
    match outcome {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Err(Failure::Broken(what))) => {
            eprintln!("demo: {what}");
            ExitCode::FAILURE
        }
        // The verdict was printed, or the panic's message.
        Ok(Ok(false) | Err(Failure::Interrupted)) | Err(_) => ExitCode::FAILURE,
    }
}
