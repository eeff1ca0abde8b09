//! Conversations with omrust-prog, the test in rsyslog's place: what it answers, and what it keeps.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use e2e::child::{PATIENCE, Scene, until};
use e2e::native::prog::{Talk, binary, plain_binary};
use e2e::redis::Redis;
use nix::sys::signal::Signal;

const KEY: &str = "rsyslog";

fn toml(redis: &Path, scene: &Scene, spool: bool, prog: &str) -> String {
    let state = scene.file("state");
    let folder = if spool { "spool.directory" } else { "prog.state-directory" };
    let (section, key) = folder.split_once('.').expect("a section and a key");
    let head = format!("[redis]\nserver = \"{}\"\ntimeout-ms = 500\n[queue]\nproducer = \"p\"\n", redis.display());
    let state = format!("{key} = \"{}\"\n", state.display());
    if section == "prog" {
        format!("{head}[prog]\n{state}{prog}")
    } else {
        format!("{head}[spool]\n{state}delay-ms = 200\n[prog]\n{prog}")
    }
}

fn list(redis: &Redis) -> Vec<String> {
    redis.list(KEY).into_iter().map(|element| String::from_utf8_lossy(&element).into_owned()).collect()
}

#[test]
fn with_a_spool_it_is_ready_while_redis_is_away_and_takes_transactions() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).prepare();
    let mut talk = Talk::start(&scene, &toml(redis.socket(), &scene, true, ""), &[]);
    assert_eq!(talk.answer(), "OK");
    assert_eq!(talk.transaction(&["a", "b"]), "OK");
    assert_eq!(talk.ask("c"), "OK");
    redis.start();
    redis.wait_llen(KEY, 3, PATIENCE);
    assert_eq!(talk.transaction(&["d"]), "OK");
    assert!(talk.end().success());
    assert_eq!(list(&redis), ["a", "b", "c", "d"]);
}

#[test]
fn without_a_spool_it_waits_with_dots_until_redis_is_there() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).prepare();
    let mut talk = Talk::start(&scene, &toml(redis.socket(), &scene, false, "confirm-timeout-ms = 400\n"), &[]);
    talk.dots(3);
    redis.start();
    assert_eq!(talk.answer(), "OK");
    assert_eq!(talk.transaction(&["a"]), "OK");
    redis.kill9();
    assert_eq!(talk.ask("BEGIN TRANSACTION"), "OK");
    assert_eq!(talk.ask("b"), "DEFER_COMMIT");
    talk.put(b"COMMIT TRANSACTION\n");
    talk.dots(3);
    redis.start();
    assert_eq!(talk.answer(), "OK");
    assert!(talk.end().success());
    // No append-only file: only what came behind the kill is there.
    assert_eq!(list(&redis), ["b"]);
}

#[test]
fn an_end_of_the_input_while_it_waits_ends_it_and_the_next_life_goes_on() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).aof().start();
    let toml = toml(redis.socket(), &scene, false, "close-timeout-ms = 500\n");
    let mut talk = Talk::start(&scene, &toml, &[]);
    assert_eq!(talk.answer(), "OK");
    redis.kill9();
    assert_eq!(talk.ask("BEGIN TRANSACTION"), "OK");
    assert_eq!(talk.ask("a"), "DEFER_COMMIT");
    talk.put(b"COMMIT TRANSACTION\n");
    let status = {
        // The answer may still be given, as an error; nobody is there to read it.
        talk.signal(Signal::SIGTERM);
        talk.wait()
    };
    assert!(status.success(), "{status}: {}", talk.log());
    let next = Talk::start(&scene, &toml, &[]);
    assert!(next.end().success(), "it ends while it waits for redis");
    redis.start();
    let mut next = Talk::start(&scene, &toml, &[]);
    assert_eq!(next.answer(), "OK");
    assert_eq!(list(&redis), ["a"], "it is brought away before the first OK");
    // rsyslog hands it in again, whole, with another one behind.
    assert_eq!(next.transaction(&["a", "b"]), "OK");
    assert_eq!(next.transaction(&["a"]), "OK", "from here on it is another record");
    assert!(next.end().success());
    assert_eq!(list(&redis), ["a", "b", "a"]);
}

/// rsyslog hands a batch in one by one when its commit fails. A record whose own commit fails then comes last, together with all others of that
/// kind, and each of them may have been accepted by another life.
#[test]
fn records_that_were_put_aside_while_programs_were_killed_come_last_and_together() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).aof().start();
    let toml = toml(redis.socket(), &scene, false, "");
    let start = || {
        let mut talk = Talk::start(&scene, &toml, &[]);
        assert_eq!(talk.answer(), "OK");
        talk
    };
    // Takes these and is killed before the commit.
    let killed_with = |mut talk: Talk, records: &[&str]| {
        assert_eq!(talk.ask("BEGIN TRANSACTION"), "OK");
        for record in records {
            assert_eq!(talk.ask(record), "DEFER_COMMIT");
        }
        talk.kill9();
    };
    // rsyslog goes on behind what was answered; the commit of the batch finds nobody.
    killed_with(start(), &["a", "b"]);
    killed_with(start(), &["c", "d"]);
    killed_with(start(), &["e"]);
    // One by one.
    let mut talk = start();
    assert_eq!(talk.transaction(&["a"]), "OK");
    killed_with(talk, &["b"]);
    let mut talk = start();
    assert_eq!(talk.transaction(&["c"]), "OK");
    killed_with(talk, &["d"]);
    let mut talk = start();
    assert_eq!(talk.transaction(&["e"]), "OK");
    // Those that failed.
    assert_eq!(talk.transaction(&["b", "d"]), "OK");
    assert_eq!(talk.transaction(&["f", "b"]), "OK", "from here on they are new");
    assert!(talk.end().success());
    assert_eq!(list(&redis), ["a", "b", "c", "d", "e", "f", "b"]);
}

#[test]
fn any_bytes_an_empty_line_and_a_large_one_arrive_as_they_are() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let mut talk = Talk::start(&scene, &toml(redis.socket(), &scene, true, ""), &[]);
    assert_eq!(talk.answer(), "OK");
    let binary: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    let large = vec![b'x'; 1 << 20];
    assert_eq!(talk.ask("BEGIN TRANSACTION"), "OK");
    for record in [&binary[..], b"", &large, b" BEGIN TRANSACTION"] {
        talk.put(record);
        talk.put(b"\n");
        assert_eq!(talk.answer(), "DEFER_COMMIT");
    }
    assert_eq!(talk.ask("COMMIT TRANSACTION"), "OK");
    assert!(talk.end().success());
    let found = redis.list(KEY);
    assert!(found == [&binary[..], b"", &large, b" BEGIN TRANSACTION"], "{} records", found.len());
}

#[test]
fn a_mark_inside_of_a_transaction_loses_none_of_the_others() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let mut talk = Talk::start(&scene, &toml(redis.socket(), &scene, false, ""), &[]);
    assert_eq!(talk.answer(), "OK");
    assert_eq!(talk.ask("BEGIN TRANSACTION"), "OK");
    assert_eq!(talk.ask("a"), "DEFER_COMMIT");
    // It cannot be told from a mark. OK means that all before it is safe, and it is.
    assert_eq!(talk.ask("BEGIN TRANSACTION"), "OK");
    assert_eq!(list(&redis), ["a"]);
    assert_eq!(talk.ask("b"), "DEFER_COMMIT");
    assert_eq!(talk.ask("COMMIT TRANSACTION"), "OK");
    assert_eq!(talk.ask("c"), "OK");
    assert_eq!(talk.ask("COMMIT TRANSACTION"), "OK");
    assert!(talk.end().success());
    assert_eq!(list(&redis), ["a", "b", "c"]);
}

#[test]
fn other_marks_and_none() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let marks = "begin-mark = \"<<\"\ncommit-mark = \">>\"\n";
    let mut talk = Talk::start(&scene, &toml(redis.socket(), &scene, false, marks), &[]);
    let said: Vec<String> = std::iter::once(talk.answer())
        .chain(["<<", "BEGIN TRANSACTION", ">>", "COMMIT TRANSACTION"].map(|line| talk.ask(line)))
        .collect();
    assert_eq!(said, ["OK", "OK", "DEFER_COMMIT", "OK", "OK"]);
    assert!(talk.end().success());
    let mut talk = Talk::start(&scene, &toml(redis.socket(), &scene, false, "use-transactions = false\n"), &[]);
    assert_eq!(talk.answer(), "OK");
    assert_eq!(["<<", "BEGIN TRANSACTION"].map(|line| talk.ask(line)), ["OK", "OK"]);
    assert!(talk.end().success());
    assert_eq!(list(&redis), ["BEGIN TRANSACTION", "COMMIT TRANSACTION", "<<", "BEGIN TRANSACTION"]);
}

#[test]
fn a_line_that_was_cut_off_is_set_aside_where_it_is_handed_in_again() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let mut talk = Talk::start(&scene, &toml(redis.socket(), &scene, false, ""), &[]);
    assert_eq!(talk.answer(), "OK");
    assert_eq!(talk.ask("a"), "OK");
    talk.put(b"half of a");
    assert!(talk.end().success());
    assert_eq!(list(&redis), ["a"]);
    let letters = fs::read_to_string(scene.file("state/dead-letters.jsonl")).expect("letters");
    assert!(letters.contains("half of a") && letters.contains("\"torn\""), "{letters}");
    // Where nobody waits for answers nobody hands it in again: it is a record.
    let mut talk = Talk::start(&scene, &toml(redis.socket(), &scene, false, "confirm-messages = \"off\"\n"), &[]);
    talk.put(b"b\nc");
    assert!(talk.end().success());
    assert_eq!(list(&redis), ["a", "b", "c"]);
}

#[test]
fn a_line_that_is_too_long_is_a_dead_letter_with_nothing_cut_off() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let mut talk = Talk::start(&scene, &toml(redis.socket(), &scene, false, "record-max = \"1k\"\n"), &[]);
    assert_eq!(talk.answer(), "OK");
    let long = "0123456789".repeat(250);
    assert_eq!(talk.transaction(&["a", &long, "b"]), "OK");
    assert!(talk.end().success());
    assert_eq!(list(&redis), ["a", "b"]);
    let letters = fs::read_to_string(scene.file("state/dead-letters.jsonl")).expect("letters");
    let parts = letters.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a letter"));
    let parts: Vec<String> = parts.map(|letter| letter["record"].as_str().expect("text").to_owned()).collect();
    assert_eq!(parts.concat(), long);
}

#[test]
fn several_have_a_number_each_and_what_one_has_left_is_brought_away_by_another() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).aof().start();
    let toml = toml(redis.socket(), &scene, true, "close-timeout-ms = 500\n");
    let start = || {
        let mut talk = Talk::start(&scene, &toml, &[]);
        assert_eq!(talk.answer(), "OK");
        talk
    };
    let (mut first, mut second, mut third) = (start(), start(), start());
    for number in 0..3 {
        assert!(scene.file(&format!("state/instance-{number}/lock")).exists());
    }
    redis.kill9();
    assert_eq!(first.transaction(&["first"]), "OK");
    assert_eq!(second.transaction(&["second"]), "OK");
    assert_eq!(third.transaction(&["third"]), "OK");
    assert_eq!(third.ask("BEGIN TRANSACTION"), "OK");
    assert_eq!(third.ask("open"), "DEFER_COMMIT");
    for talk in [&mut first, &mut second, &mut third] {
        talk.kill9();
    }
    // One comes back, and has the spools of all three brought away.
    let mut only = start();
    redis.start();
    redis.wait_llen(KEY, 4, PATIENCE);
    assert_eq!(only.transaction(&["open", "new"]), "OK", "it was the third's, and is told apart");
    assert!(only.end().success());
    let mut found = list(&redis);
    let place = |record: &str| found.iter().position(|element| element == record).expect("it is there");
    assert!(place("third") < place("open"));
    found.sort();
    assert_eq!(found, ["first", "new", "open", "second", "third"]);
}

#[test]
fn signals_end_it_or_connect_it_anew() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let toml = toml(redis.socket(), &scene, false, "");
    let mut talk = Talk::start(&scene, &toml, &[]);
    assert_eq!(talk.answer(), "OK");
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        talk.signal(signal);
        until("it to say so", PATIENCE, || talk.log().contains(signal.as_str()).then_some(()));
        assert_eq!(talk.transaction(&["a"]), "OK");
    }
    talk.signal(Signal::SIGTERM);
    assert!(talk.wait().success());
    assert_eq!(list(&redis), ["a"; 3]);
}

#[test]
fn a_password_that_is_changed_is_read_again() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).password("one").start();
    let file = scene.write("password", "one\n");
    let toml = toml(redis.socket(), &scene, true, "")
        .replace("timeout-ms", &format!("password-file = \"{}\"\ntimeout-ms", file.display()));
    let mut talk = Talk::start(&scene, &toml, &[]);
    assert_eq!(talk.answer(), "OK");
    assert_eq!(talk.transaction(&["a"]), "OK");
    fs::write(&file, "two\n").expect("it can be written");
    redis.cmd(&["ACL", "SETUSER", "default", ">two", "<one"]);
    talk.signal(Signal::SIGHUP);
    assert_eq!(talk.transaction(&["b"]), "OK");
    assert!(talk.end().success());
    // The server's own clients give the old one.
    let said = Command::new("redis-cli")
        .args([
            "-s",
            redis.socket().to_str().expect("plain"),
            "-a",
            "two",
            "--no-auth-warning",
            "LRANGE",
            KEY,
            "0",
            "-1",
        ])
        .output()
        .expect("redis-cli runs");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "a\nb\n");
}

#[test]
fn nothing_but_answers_goes_to_standard_output() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let toml = toml(redis.socket(), &scene, false, "");
    let config = scene.write("quiet.toml", toml);
    let mut child = Command::new(plain_binary())
        .arg("--config")
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(fs::File::create(scene.file("out")).expect("a file"))
        .stderr(fs::File::create(scene.file("err")).expect("a file"))
        .spawn()
        .expect("it runs");
    // Standard output is no pipe: nobody waits for answers.
    std::io::Write::write_all(child.stdin.as_mut().expect("a pipe"), b"BEGIN TRANSACTION\na\nCOMMIT TRANSACTION\nb\n")
        .expect("it reads");
    drop(child.stdin.take());
    assert!(until("it to end", PATIENCE, || child.try_wait().expect("asked")).success());
    assert_eq!(fs::read_to_string(scene.file("out")).expect("text"), "");
    assert!(fs::read_to_string(scene.file("err")).expect("text").contains("nobody reads answers"));
    assert_eq!(list(&redis), ["a", "b"]);
}

#[test]
fn a_folder_that_cannot_be_used_is_said_and_records_flow() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    scene.write("state", "not a folder");
    let mut talk = Talk::start(&scene, &toml(redis.socket(), &scene, false, ""), &[]);
    assert_eq!(talk.answer_within(Duration::from_secs(10)), "OK");
    assert_eq!(talk.transaction(&["a"]), "OK");
    assert!(talk.log().contains("no instance in"), "{}", talk.log());
    assert!(talk.end().success());
    assert_eq!(list(&redis), ["a"]);
}

fn prog(words: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.env_remove("CREDENTIALS_DIRECTORY").args(words).stdin(Stdio::null());
    command.output().expect("omrust-prog runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn bad_settings_are_named_with_file_line_and_key() {
    let scene = Scene::new();
    for (text, line, key) in [
        ("[queue]\nkee = \"x\"\n", 2, "queue.kee"),
        ("\n[prog]\n\npatience-seconds = -1\n", 4, "prog.patience-seconds"),
        ("[prog]\nbegin-mark = \"\"\n", 2, "prog.begin-mark"),
        ("[prog]\nbegin-mark = \"x\"\ncommit-mark = \"x\"\n", 3, "prog.commit-mark"),
        ("[spool]\ndirectory = \"/a\"\n[prog]\nstate-directory = \"/b\"\n", 4, "prog.state-directory"),
        ("[spool]\nmaxsize = \"1k\"\n", 2, "spool.maxsize"),
        ("[fifo]\n", 1, "fifo"),
    ] {
        let file = scene.write("bad.toml", text);
        let file = file.to_str().expect("a plain path");
        let output = prog(&["--config", file, "--check", "--no-connect"]);
        let expected = format!("omrust-prog: {file}:{line}: {key}: ");
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(said(&output).contains(&expected), "{expected} is not in {}", said(&output));
        assert_eq!(prog(&["--config", file]).status.code(), Some(78), "{text}");
    }
    assert_eq!(prog(&["--set", "prog.nothing=1", "--check"]).status.code(), Some(78));
    assert_eq!(prog(&["--config", "/nonexistent.toml"]).status.code(), Some(78));
}

#[test]
fn check_tells_whether_redis_takes_us() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let socket = redis.socket().to_str().expect("a plain path").to_owned();
    let good = prog(&["--check", "--server", &socket, "--key", "k"]);
    assert!(good.status.success() && said(&good).contains("answers"), "{}", said(&good));
    let bad = prog(&["--check", "--server", "/nonexistent.sock"]);
    assert_eq!(bad.status.code(), Some(1), "{}", said(&bad));
    redis.cmd(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    assert_eq!(prog(&["--check", "--server", &socket]).status.code(), Some(1));
}

#[test]
fn the_effective_settings_show_no_secret() {
    let words = [
        "--print-config",
        "--set",
        "redis.password=geheim",
        "--server",
        "redis://u:geheim@h",
        "--set",
        "prog.use-transactions=false",
    ];
    let output = prog(&words);
    let shown = said(&output);
    assert!(output.status.success() && !shown.contains("geheim"), "{shown}");
    assert!(shown.contains("password = \"***\"") && shown.contains("use-transactions = false"), "{shown}");
}
