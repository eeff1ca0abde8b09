//! The program fifo-bridge: see `fifo-bridge --help`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line program talks to its user")]

use std::io::{self, BufWriter};
use std::process::ExitCode;

use clap::Parser as _;
use fifo_bridge::cli::{Cli, Command, DeadLettersCommand, Source, SpoolCommand};
use fifo_bridge::daemon::{self, RunError};
use fifo_bridge::fifo::FifoError;
use fifo_bridge::settings::Settings;
use fifo_bridge::spool::{self, ExportError, Form, Store};
use fifo_bridge::{check, letters, logger, status};

/// EX_CONFIG of sysexits.h: a unit says `RestartPreventExitStatus=78`.
const BAD_CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(source) => with_settings(&source, |settings| match daemon::run(&source, settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                logger::complain(&error.to_string());
                match error {
                    RunError::Fifo(FifoError::Kind { .. } | FifoError::Unknown { .. }) => {
                        ExitCode::from(BAD_CONFIGURATION)
                    }
                    _ => ExitCode::FAILURE,
                }
            }
        }),
        Command::Check { source, no_connect } => with_settings(&source, |settings| checked(&settings, no_connect)),
        Command::Status { source, json } => with_settings(&source, |settings| asked(&settings, json)),
        Command::Config(source) => with_settings(&source, |settings| {
            print!("{}", masked(&settings));
            ExitCode::SUCCESS
        }),
        Command::Spool(command) => on_a_spool(command),
        Command::DeadLetters(command) => on_letters(command),
    }
}

fn on_a_spool(command: SpoolCommand) -> ExitCode {
    let outcome = match command {
        SpoolCommand::Status { directory, json } => Store::open(&directory)
            .and_then(|store| spool::status(&store, &directory))
            .map(|report| print_report(report, json, false)),
        SpoolCommand::Verify { directory, json } => Store::open(&directory)
            .and_then(|store| spool::verify(&store, &directory))
            .map(|report| print_report(report, json, true)),
        SpoolCommand::Export { directory, all, raw } => Store::open(&directory).and_then(|store| {
            let mut out = BufWriter::new(io::stdout().lock());
            match spool::export(&store, Form { all, raw }, &mut out) {
                // Whoever reads has had enough.
                Err(ExportError::Out(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
                exported => Ok(exported.map(|_| ExitCode::SUCCESS)?),
            }
        }),
        SpoolCommand::Replay { directory, mut source } => {
            source.spool_directory = Some(directory.to_string_lossy().into_owned());
            return with_settings(&source, |settings| {
                logger::start(settings.level());
                finish(spool::replay(&directory, settings).map(|records| {
                    println!("{records} records were pushed");
                    ExitCode::SUCCESS
                }))
            });
        }
    };
    finish(outcome)
}

fn on_letters(command: DeadLettersCommand) -> ExitCode {
    match command {
        DeadLettersCommand::List { path, json } => finish(letters::kinds(&path).map(|(kinds, damaged)| {
            if json {
                println!("{}", letters::as_json(&kinds));
                return ExitCode::SUCCESS;
            }
            for ((reason, list), kind) in &kinds {
                println!("{:>9} {reason:<9} {list:?}: {}", kind.letters, kind.detail);
            }
            if damaged > 0 {
                println!("{damaged:>9} lines are no letters");
            }
            ExitCode::SUCCESS
        })),
        DeadLettersCommand::Replay { path, reason, list, to, source } => with_settings(&source, |settings| {
            logger::start(settings.level());
            let choice = letters::Choice { reasons: reason, lists: list, to };
            finish(letters::replay(&path, &choice, settings).map(|done| {
                let there = done.letters - done.pushed.min(done.letters);
                println!("{} letters: {} were pushed, {there} were there already", done.letters, done.pushed);
                ExitCode::SUCCESS
            }))
        }),
    }
}

fn finish(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        logger::complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

/// With `judge` a fault is a failure.
fn print_report(report: spool::Report, json: bool, judge: bool) -> ExitCode {
    let bad = judge && !report.faults.is_empty();
    if json {
        println!("{}", report.json());
    } else {
        print!("{}", report.text());
        if judge && !bad {
            println!("nothing is damaged");
        }
    }
    if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn with_settings(source: &Source, then: impl FnOnce(Settings) -> ExitCode) -> ExitCode {
    match source.load() {
        Ok(settings) => then(settings),
        Err(error) => {
            logger::complain(&error.to_string());
            if let Some(advice) = error.advice() {
                logger::complain(advice);
            }
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

fn checked(settings: &Settings, no_connect: bool) -> ExitCode {
    if let Err(error) = settings.endpoint.check_files() {
        logger::complain(&format!("TLS to redis: {error}"));
        return ExitCode::from(BAD_CONFIGURATION);
    }
    println!("the configuration is good");
    if no_connect {
        return ExitCode::SUCCESS;
    }
    let findings = check::redis(settings);
    for note in &findings.notes {
        println!("{note}");
    }
    for fault in &findings.faults {
        logger::complain(fault);
    }
    if findings.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn asked(settings: &Settings, json: bool) -> ExitCode {
    match status::ask(&settings.status_socket) {
        Ok(report) if json => println!("{report}"),
        Ok(report) => println!("{}", status::render(&report)),
        Err(error) => {
            logger::complain(&format!("{error:#}"));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The effective settings as a file that could be used, but for the secrets.
fn masked(settings: &Settings) -> String {
    let mut file = settings.file.clone();
    ::settings::mask::mask(&mut file.redis);
    toml::to_string(&file).unwrap_or_else(|error| format!("# {error}\n"))
}
