//! omrust.so in a host of our own (`tests/c/fake-host.c`), which does what no good rsyslogd does, and what none may export.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::cc::compile;
use e2e::child::{Scene, run};
use e2e::native::door::module_folder;
use e2e::redis::Redis;
use e2e::rsyslog::RSYSLOGD;

const LIMIT: Duration = Duration::from_secs(120);

fn module() -> PathBuf {
    module_folder().join("omrust.so")
}

fn host(words: &[&str]) -> String {
    said(&compile("fake-host", "bin", &["-rdynamic"]), words)
}

fn said(program: &Path, words: &[&str]) -> String {
    let mut command = Command::new(program);
    command.arg(module()).args(words);
    let said = run(command, LIMIT).unwrap_or_else(|reason| panic!("{words:?}: {reason}"));
    assert!(said.ends_with("end\n") || said.ends_with("dlclose 0\n"), "{words:?} did not end:\n{said}");
    said
}

#[track_caller]
fn has(said: &str, line: &str) {
    assert!(said.lines().any(|found| found == line), "no line {line:?} in:\n{said}");
}

#[test]
fn unknown_entry_points_are_answered_as_newer_rsyslogds_need_it() {
    let said = host(&["names", "modExit", "commitTransaction", "doAction", "setActionInfo", "fromTheFuture", ""]);
    has(&said, "modInit 0 provides 6");
    has(&said, "modExit 0 there");
    has(&said, "commitTransaction 0 there");
    // doAction would stand in the way of commitTransaction.
    for unknown in ["doAction", "setActionInfo", "fromTheFuture", ""] {
        has(&said, &format!("{unknown} -1004 null"));
    }
}

#[test]
fn another_interface_and_a_missing_function_refuse_the_load_with_one_line() {
    let other = host(&["version", "7"]);
    has(&other, "log 3 -1001 omrust: rsyslogd wants module interface 7, this module has 6: not loaded");
    has(&other, "modInit -1001 provides 0");
    let lacking = said(&compile("fake-host", "lacking", &["-rdynamic", "-DWITHOUT_OMSR"]), &["names"]);
    has(&lacking, "log 3 -1001 omrust: this rsyslogd does not have OMSRdestruct: not loaded");
    assert_eq!([other, lacking].map(|said| said.lines().filter(|line| line.starts_with("log ")).count()), [1, 1]);
}

#[test]
fn every_known_interface_of_the_counters_is_used_and_an_unknown_one_means_one_warning() {
    for version in ["13", "14", "15", "16"] {
        let said = host(&["stats", version]);
        has(&said, "stats 13 counters");
        has(&said, "counter received 0 1 0");
        has(&said, "counter spool_bytes 0 0 0");
        has(&said, "stats gone");
        assert!(!said.contains("\nlog "), "{said}");
    }
    let said = host(&["stats", "17"]);
    assert_eq!(said.lines().filter(|line| line.starts_with("log 4 ")).count(), 1, "{said}");
    has(&said, "newActInst 0 both");
}

#[test]
fn an_action_may_be_freed_before_its_workers() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let server = format!("server={}", redis.socket().display());
    let said = host(&["order", "key=list", &server]);
    for line in ["begin 0", "commit 0", "freeInstance 0", "freeWrkrInstance 0"] {
        has(&said, line);
    }
    // A text without a length is as long as it is, and an absent one is empty.
    assert_eq!(redis.list("list"), [b"one".to_vec(), b"no length".to_vec(), Vec::new(), b"one".to_vec()]);
}

#[test]
fn a_wrong_parameter_leaves_nothing_half_made() {
    let said = host(&["order", "key=list", "lanes=many"]);
    has(&said, "newActInst -2207 none");
    assert!(said.contains("\"lanes\"") && said.contains("1 to 1024"), "{said}");
}

#[test]
fn a_cancelled_thread_leaves_the_module_first() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).start();
    let server = format!("server={}", redis.socket().display());
    redis.sigstop();
    let said = host(&["cancel", "key=list", &server, "timeout=100", "connecttimeout=100"]);
    redis.sigcont();
    assert_eq!(said.lines().filter(|line| *line == "cancelled 1").count(), 5, "{said}");
}

/// `nm -D`, the names alone.
fn symbols(file: &Path, which: &str) -> Vec<String> {
    let output = Command::new("nm").args(["-D", which]).arg(file).stdin(Stdio::null()).output().expect("nm");
    assert!(output.status.success(), "nm {}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect()
}

#[test]
fn exactly_these_symbols_are_exported_and_none_of_rsyslogd_is_linked() {
    let mut exported = symbols(&module(), "--defined-only");
    exported.sort();
    // rsyslogd's one, and those of include/omrust.h. What was here once stays.
    let wanted = [
        "modInit",
        "omrust_begin",
        "omrust_close",
        "omrust_commit",
        "omrust_get_status",
        "omrust_last_error",
        "omrust_message",
        "omrust_open",
        "omrust_open_file",
        "omrust_version",
    ];
    assert_eq!(exported, wanted);
    // What is undefined is of the C library or of the compiler's: it names the version that it wants, or is weak.
    let output = Command::new("nm").args(["-D", "--undefined-only"]).arg(module()).output().expect("nm");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in text.lines() {
        assert!(line.contains('@') || line.trim_start().starts_with("w "), "not of a library: {line}");
    }
}

/// A lookup of a name cannot be ended: whoever closes the library must not take its code away.
#[test]
fn the_module_stays_in_the_process() {
    let output = Command::new("readelf").args(["-d", "-W"]).arg(module()).output().expect("readelf");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.lines().any(|line| line.contains("FLAGS_1") && line.contains("NODELETE")), "{text}");
}

#[test]
fn the_installed_rsyslogd_exports_what_is_looked_up() {
    let exported = symbols(Path::new(RSYSLOGD), "--defined-only");
    for name in omrust::abi::REQUIRED_SYMBOLS.iter().chain(&omrust::abi::OPTIONAL_SYMBOLS) {
        assert!(exported.iter().any(|symbol| symbol == name), "{RSYSLOGD} does not export {name}");
    }
}
