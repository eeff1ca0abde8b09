//! One built module in every rsyslogd that it is for, and the program behind the omprog of each of them. A version that cannot be had is reported
//! as ignored, with the reason.
#![expect(clippy::print_stderr, reason = "why a version was left out is for the person who reads the output")]

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use e2e::child::Scene;
use e2e::host::Host;
use e2e::load::Pace;
use e2e::matrix::{SUITES, host};
use e2e::native::door::{Door, OMRUST, module_folder};
use e2e::native::prog::OMPROG;
use e2e::native::prog_faults;
use e2e::native::rig::{Plan, Rig};
use libtest_mimic::{Arguments, Failed, Trial};

/// The version behind which omrust-prog is always tried; `E2E_TORTURE` in the environment tries it behind all of them.
const PROGRAM_IN: &str = "forky";

fn main() {
    let arguments = Arguments::from_args();
    // Listing the tests must not fetch anything.
    let hosts: Vec<(&str, Result<Host, String>)> = if arguments.list {
        SUITES.iter().map(|suite| (*suite, Err("listed only".to_owned()))).collect()
    } else {
        let fetches = SUITES.map(|suite| (suite, thread::spawn(move || host(suite))));
        let fetched = fetches.map(|(suite, fetch)| (suite, fetch.join().unwrap_or_else(|_| Err("a panic".to_owned()))));
        fetched.into_iter().collect()
    };
    let trials: Vec<Trial> = hosts.into_iter().flat_map(|(suite, host)| of_host(suite, host)).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// What is tried with the rsyslogd of one release.
fn of_host(suite: &'static str, host: Result<Host, String>) -> Vec<Trial> {
    let skipped = |what: &str, reason: &str| {
        eprintln!("skipped: {what} in the rsyslog of {suite}: {reason}");
        Trial::test(format!("rsyslog of {suite}, {what} (skipped: {reason})"), || Ok(())).with_ignored_flag(true)
    };
    let host = match host {
        Ok(host) => host,
        Err(reason) => return vec![skipped("omrust", &reason), skipped("omrust-prog", &reason)],
    };
    let title = format!("rsyslog {} of {suite}", host.version());
    let module = match fits(&host) {
        Ok(()) => {
            let host = host.clone();
            Trial::test(title.clone(), move || life(&host, &OMRUST))
        }
        Err(reason) => skipped("omrust", &reason),
    };
    // The program is no part of rsyslogd's process: it fits everywhere. The installed version is tried by the other tests.
    let wanted = suite == PROGRAM_IN || std::env::var_os("E2E_TORTURE").is_some();
    let scenarios = if wanted { prog_faults::of_the_host() } else { Vec::new() };
    let program = scenarios.into_iter().enumerate().map(|(number, mut scenario)| {
        scenario.plan.host = Some(host.clone());
        Trial::test(format!("{title}, omrust-prog {number}: {}", scenario.name), move || {
            scenario.assert_clean(&OMPROG);
            Ok(())
        })
    });
    std::iter::once(module).chain(program).collect()
}

/// Whether the module that was built can be loaded there.
fn fits(host: &Host) -> Result<(), String> {
    let (wanted, there) = (glibc(&module_folder().join("omrust.so")), host.libc().map(|path| glibc(&path)));
    match there {
        Some(there) if there < wanted => Err(format!(
            "this build of the module needs glibc 2.{wanted}, it has 2.{there}; make build-portable makes one that fits"
        )),
        _ => Ok(()),
    }
}

/// The newest glibc, 2.N, that a library mentions.
fn glibc(library: &Path) -> u32 {
    let bytes = fs::read(library).unwrap_or_else(|e| panic!("cannot read {}: {e}", library.display()));
    let word = b"GLIBC_2.";
    let places = memchr::memmem::find_iter(&bytes, word).map(|at| &bytes[at + word.len()..]);
    let minor = |rest: &[u8]| -> Option<u32> {
        let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
    };
    places.filter_map(minor).max().unwrap_or(0)
}

/// 100 000 records in order, a HUP, an outage and its end, counters, a clean stop.
#[expect(clippy::unnecessary_wraps, reason = "this is what a test is here")]
fn life(host: &Host, door: &Door) -> Result<(), Failed> {
    let more = "timeout=\"400\" connecttimeout=\"400\"".to_owned();
    let pace = Pace { burst: 5, ..Pace::default() };
    let redis = vec![("appendonly", "yes"), ("appendfsync", "everysec")];
    let plan = Plan { host: Some(host.clone()), more, pace, redis, ..Plan::default() };
    let mut rig = Rig::prepare(&plan, door, &Scene::new());
    rig.start_rsyslogd();
    let limit = Duration::from_secs(60);
    rig.send_all(&["first"], 100_000);
    rig.redis.wait_llen("rsyslog", 100_000, limit);
    rig.rsyslogd.hup();
    rig.send(&["second"]);
    assert!(rig.flow(1_000, limit), "nothing arrives after a HUP:\n{}", rig.messages());
    rig.redis.shutdown();
    let more = |rig: &Rig| rig.senders.as_ref().is_some_and(|senders| senders.try_go_on(5_000, limit));
    assert!(more(&rig), "nobody can send while redis is away:\n{}", rig.messages());
    rig.redis.start();
    assert!(rig.flow(2_000, limit), "nothing arrives after an outage:\n{}", rig.messages());
    rig.finish();
    let sent = rig.sent.count();
    rig.redis.wait_llen("rsyslog", usize::try_from(sent).expect("so many fit"), limit);
    counters(&rig, sent);
    let start = Instant::now();
    assert!(rig.rsyslogd.try_term(Duration::from_secs(5)), "it does not end:\n{}", rig.messages());
    let took = start.elapsed();
    rig.sent.ledger().judge(rig.elements()).assert_clean();
    assert!(took < Duration::from_secs(4), "it took {took:?} to end");
    Ok(())
}

/// Everything is counted, or one line says that this rsyslogd's counters are unknown.
fn counters(rig: &Rig, sent: u64) {
    let unknown = rig.messages().lines().filter(|line| line.contains("omrust") && line.contains("counters")).count();
    if unknown > 0 {
        assert_eq!(unknown, 1, "one line is enough:\n{}", rig.messages());
        return;
    }
    e2e::child::until("all to be counted", e2e::child::PATIENCE, || {
        let object = rig.statistics.last(rig.mark, "out", "omrust")?;
        let count = |name: &str| object[name].as_u64().unwrap_or_else(|| panic!("no {name} in {object}"));
        (count("pushed") + count("duplicates_suppressed") == sent && count("received") >= sent).then_some(())
    });
}
