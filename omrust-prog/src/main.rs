//! The program omrust-prog: see `omrust-prog --help`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line program talks to its user")]

use std::process::ExitCode;

use clap::Parser as _;
use omrust_prog::cli::Cli;
use omrust_prog::settings::Settings;
use omrust_prog::{check, logger, run};

/// EX_CONFIG of sysexits.h.
const BAD_CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let settings = match cli.load() {
        Ok(settings) => settings,
        Err(error) => {
            logger::complain(&error.to_string());
            if let Some(advice) = error.advice() {
                logger::complain(advice);
            }
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    if cli.print_config {
        print!("{}", settings.masked());
        return ExitCode::SUCCESS;
    }
    if let Some(lanes) = cli.lists {
        return lists(&settings, lanes);
    }
    if cli.check {
        return checked(&settings, cli.no_connect);
    }
    logger::start(settings.file.log.level.filter());
    match run::run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logger::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn lists(settings: &Settings, lanes: u32) -> ExitCode {
    match delivery::lists::lists(settings.endpoint.topology(), &settings.key, lanes) {
        Ok(lists) => {
            println!("{}", lists.join("\n"));
            ExitCode::SUCCESS
        }
        Err(why) => {
            logger::complain(&format!("queue.key {why}"));
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
