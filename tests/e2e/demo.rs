//! The demo does what it promises, and leaves nothing behind however it ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use e2e::child::{PATIENCE, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn demo(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.args(words).stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The private folder, which the first line names.
fn folder(first_line: &str) -> PathBuf {
    let (_, folder) = first_line.trim_end().rsplit_once(", in ").unwrap_or_else(|| panic!("no folder: {first_line}"));
    assert!(folder.starts_with("/tmp/"), "{folder}");
    folder.into()
}

#[track_caller]
fn assert_nothing_left(folder: &Path) {
    let name = folder.to_str().expect("a plain path");
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    let left: Vec<String> = processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .map(|words| String::from_utf8_lossy(&words).replace('\0', " "))
        .filter(|words| words.contains(name))
        .collect();
    assert!(left.is_empty(), "processes were left behind: {left:#?}");
    assert!(!folder.exists(), "{name} was left behind");
}

/// The number in the verdict's row of this name.
#[track_caller]
fn row(said: &str, name: &str) -> u64 {
    let (_, verdict) = said.split_once("\nverdict").unwrap_or_else(|| panic!("no verdict:\n{said}"));
    let prefix = format!("  {name} ");
    let rest = verdict.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("no {name}"));
    let digits: String = rest.trim().split("  ").next().unwrap_or_default().split(' ').collect();
    digits.parse().unwrap_or_else(|_| panic!("{name} has no number: {rest}"))
}

#[test]
fn a_small_demo_ends_clean_and_leaves_nothing() {
    let output = demo(&["--messages", "20000"]).output().expect("the demo can be run");
    let said = text(&output);
    assert!(output.status.success(), "{}:\n{said}", output.status);
    for (name, count) in
        [("sent", 20_000), ("received", 20_000), ("lost", 0), ("doubled", 0), ("out of order", 0), ("foreign", 0)]
    {
        assert_eq!(row(&said, name), count, "{name}:\n{said}");
    }
    assert!(said.ends_with("CLEAN: every message arrived, once and in order\n"), "{said}");
    for event in ["kill -9 fifo-bridge (6)", "kill -9 redis-server (2)", "kill -9 PHP worker (1)"] {
        assert!(said.contains(event), "no {event}:\n{said}");
    }
    assert_nothing_left(&folder(said.lines().next().expect("a first line")));
}

#[test]
fn a_demo_that_runs_out_of_time_says_so_and_leaves_nothing() {
    let output = demo(&["--messages", "20000", "--seconds-max", "2"]).output().expect("the demo can be run");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.ends_with("GAVE UP after 2 s\n"), "{said}");
    assert!(row(&said, "sent") < 20_000 && row(&said, "lost") <= row(&said, "sent"), "{said}");
    assert_nothing_left(&folder(said.lines().next().expect("a first line")));
}

/// A demo that is in the middle of its stream, its folder, and the rest of its output.
fn in_the_middle() -> (Child, PathBuf, impl std::io::Read) {
    let mut child = demo(&["--messages", "20000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the demo can be run");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = || {
        let mut line = String::new();
        assert!(out.read_line(&mut line).expect("text") > 0, "the demo ended early");
        line
    };
    let folder = folder(&line());
    while !line().contains("kill -9 fifo-bridge (1)") {}
    (child, folder, out)
}

#[test]
fn ctrl_c_leaves_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (mut child, folder, mut out) = in_the_middle();
        assert!(folder.exists());
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        kill(pid, signal).expect("it runs");
        let status = until("the demo to stop", PATIENCE, || child.try_wait().expect("it can be waited for"));
        let mut said = String::new();
        out.read_to_string(&mut said).expect("text");
        child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        assert_eq!(status.code(), Some(130), "{signal}: {said}");
        assert!(said.contains("nothing was left behind") && !said.contains("panicked"), "{signal}: {said}");
        assert_nothing_left(&folder);
    }
}

#[test]
fn an_end_of_its_redis_is_told_and_leaves_nothing() {
    let (mut child, folder, mut out) = in_the_middle();
    let redis = until("the redis-server of the demo", Duration::from_secs(5), || redis_of(&folder));
    kill(redis, Signal::SIGKILL).expect("it runs");
    let status = until("the demo to stop", PATIENCE, || child.try_wait().expect("it can be waited for"));
    let mut said = String::new();
    out.read_to_string(&mut said).expect("text");
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("redis ended by itself"), "{said}");
    assert_nothing_left(&folder);
}

fn redis_of(folder: &Path) -> Option<Pid> {
    let socket = folder.join("redis.sock");
    fs::read_dir("/proc").expect("/proc is there").flatten().find_map(|process| {
        let words = fs::read(process.path().join("cmdline")).ok()?;
        let words = String::from_utf8_lossy(&words).into_owned();
        let is_redis = words.starts_with("redis-server") && words.contains(socket.to_str()?);
        process.file_name().to_str()?.parse().ok().filter(|_| is_redis).map(Pid::from_raw)
    })
}

#[test]
fn what_is_missing_is_named_with_the_command_that_brings_it() {
    let output = demo(&[]).env("PATH", "/nonexistent").output().expect("the demo can be run");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("apt-get install redis-server php-cli php-redis"), "{said}");
}

#[test]
fn a_wrong_number_is_refused() {
    let output = demo(&["--messages", "many"]).output().expect("the demo can be run");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}
