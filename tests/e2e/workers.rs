//! The PHP workers take what is in the list: lpop.php in the simple way, reliable.php without losing a record when it dies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::child::{Guarded, PATIENCE, Scene, until};
use e2e::ledger::Ledger;
use e2e::pipe::{Numbered, parse};
use e2e::proxy::{Mode, Proxy};
use e2e::redis::Redis;
use redis::Value;

const LIST: &str = "rsyslog";
/// Records that a slow worker takes at once.
pub const BATCH: usize = 20;

/// Appends each record to `WORKER_OUT` and takes its time, so that a kill finds a batch in hand.
const SLOW_HANDLER: &str = r#"<?php
$out = fopen(getenv('WORKER_OUT'), 'ab');
return static function ($record) use ($out): void {
    fwrite($out, $record->raw . "\n");
    usleep(200);
};
"#;

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("workers/php")
}

/// PHP with a file of the workers' folder; panics if PHP or its redis extension is missing.
pub fn php(file: &str) -> Command {
    static FOUND: Once = Once::new();
    FOUND.call_once(|| {
        let seen = Command::new("php").args(["-r", "exit(extension_loaded('redis') ? 0 : 3);"]).status();
        let missing = match seen {
            Ok(status) if status.success() => return,
            Ok(status) if status.code() == Some(3) => "PHP has no redis extension".to_owned(),
            Ok(status) => format!("php ended with {status}"),
            Err(e) => format!("php cannot be run: {e}"),
        };
        panic!("{missing}. Install php-cli and php-redis: these tests need them and are never skipped.");
    });
    let mut command = Command::new("php");
    command.arg(folder().join(file)).stdin(Stdio::null());
    for name in ["JOURNAL_STREAM", "CREDENTIALS_DIRECTORY"] {
        command.env_remove(name);
    }
    command
}

/// A worker on the server behind `socket`, not started yet.
pub fn worker(file: &str, socket: &Path, options: &[&str]) -> Command {
    let mut command = php(file);
    command.arg("--server").arg(socket).args(options);
    command
}

/// A worker that appends whole records to `out`.
pub fn fast(file: &str, socket: &Path, out: &Path, options: &[&str]) -> Command {
    let mut command = worker(file, socket, options);
    command.arg("--out").arg(out);
    command
}

/// A worker that appends records to `out` and takes its time for each.
pub fn slow(scene: &Scene, file: &str, socket: &Path, out: &Path, options: &[&str]) -> Command {
    let mut command = worker(file, socket, options);
    command.arg("--batch").arg(BATCH.to_string());
    command.arg("--handler").arg(scene.write("slow.php", SLOW_HANDLER)).env("WORKER_OUT", out);
    command
}

pub fn run(mut command: Command) -> Output {
    command.output().expect("cannot run php")
}

/// Runs a worker to its end, which must be a good one.
#[track_caller]
pub fn drain(scene: &Scene, name: &str, mut command: Command) {
    command.arg("--drain");
    let status = scene.spawn(name, command).wait(PATIENCE);
    assert!(status.success(), "{name} ended with {status}:\n{}", scene.log(name));
}

/// Stops a worker with SIGTERM; it must leave with 0.
#[track_caller]
pub fn term(scene: &Scene, name: &str, child: &mut Guarded) {
    let status = child.term(PATIENCE);
    assert!(status.success(), "{name} ended with {status} after SIGTERM:\n{}", scene.log(name));
}

/// The records in a worker's output.
pub fn lines(out: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(out).unwrap_or_default();
    let mut lines: Vec<_> = bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    assert_eq!(lines.pop().as_deref(), Some(b"".as_slice()), "the last line has no LF");
    lines
}

pub fn count(out: &Path) -> usize {
    fs::read(out).unwrap_or_default().split(|&byte| byte == b'\n').count() - 1
}

#[track_caller]
pub fn wait_lines(out: &Path, n: usize) {
    until(&format!("{n} records in {}", out.display()), PATIENCE, || (count(out) >= n).then_some(()));
}

pub fn numbers(lines: &[Vec<u8>]) -> Vec<u64> {
    lines.iter().map(|line| parse(line).unwrap_or_else(|| panic!("not a record: {}", line.escape_ascii())).1).collect()
}

pub fn ascending(numbers: &[u64]) -> bool {
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

fn push(redis: &Redis, records: &Numbered, numbers: std::ops::Range<u64>) {
    let numbers: Vec<u64> = numbers.collect();
    for some in numbers.chunks(25) {
        let mut words = vec![b"RPUSH".to_vec(), LIST.into()];
        words.extend(some.iter().map(|&n| records.element(n)));
        redis.cmd(&words);
    }
}

fn processing(worker: &str) -> String {
    format!("{{{LIST}}}:processing:{worker}")
}

/// The names in an answer to KEYS.
fn redis_names(answer: &redis::Value) -> Vec<String> {
    let redis::Value::Array(names) = answer else { panic!("no list of names: {answer:?}") };
    let text = |name: &redis::Value| match name {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("no name: {other:?}"),
    };
    names.iter().map(text).collect()
}

/// Redis holds no record, no heartbeat and no worker any more.
#[track_caller]
fn assert_nothing_left(redis: &Redis) {
    let Value::Array(keys) = redis.cmd(&["KEYS", "*"]) else { panic!("KEYS answered no list") };
    assert!(keys.is_empty(), "keys left behind: {keys:?}");
}

#[test]
fn php_takes_every_file() {
    php("lpop.php");
    let mut files = 0;
    for part in ["", "src", "handlers"] {
        for entry in fs::read_dir(folder().join(part)).expect("the workers' folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|kind| kind == "php") {
                let output = run({
                    let mut lint = Command::new("php");
                    lint.arg("-l").arg(&path);
                    lint
                });
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
                files += 1;
            }
        }
    }
    assert!(files > 20, "only {files} PHP files were found");
}

#[test]
fn wrong_command_lines_end_with_78_and_say_why() {
    let wrong = [
        ("lpop.php", vec!["--bacth", "5"], "unknown option \"--bacth\""),
        ("lpop.php", vec!["--worker", "a"], "unknown option \"--worker\""),
        ("lpop.php", vec!["--batch", "0"], "from 1 to 1000"),
        ("lpop.php", vec!["--batch"], "--batch needs a value"),
        ("lpop.php", vec!["--drain=5"], "unknown option"),
        ("lpop.php", vec!["--server", "host:port"], "it must be host"),
        ("lpop.php", vec!["--key", ""], "--key must not be empty"),
        ("lpop.php", vec!["--out", "/nowhere/at/all"], "cannot append to /nowhere/at/all"),
        ("lpop.php", vec!["--format", "xml"], "it must be one of"),
        ("stream.php", vec!["--worker", "a b"], "it must be 1 to 128"),
        ("stream.php", vec!["--group", ""], "--group and --field must not be empty"),
        ("reliable.php", vec!["--worker", "a b"], "it must be 1 to 128"),
        ("reliable.php", vec!["--ttl", "0"], "from 1 to 3600"),
        ("reliable.php", vec!["--user", "somebody"], "--user needs"),
        ("reliable.php", vec!["--handler", "/nowhere.php"], "there is no file"),
    ];
    for (file, options, why) in wrong {
        let output = run(worker(file, Path::new("/nowhere.sock"), &options));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{file} {options:?} said: {said}");
        assert!(said.contains(why), "{file} {options:?} said: {said}");
    }
}

#[test]
fn a_php_without_the_redis_extension_is_told_apart() {
    php("lpop.php");
    for file in ["lpop.php", "reliable.php", "stream.php"] {
        let mut bare = Command::new("php");
        bare.arg("-n").arg(folder().join(file)); // no php.ini: no extension from outside
        let output = run(bare);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{file} said: {said}");
        assert!(said.contains("install php-redis"), "{file} said: {said}");
    }
}

#[test]
fn the_readme_names_every_option() {
    let readme = fs::read_to_string(folder().join("README.md")).expect("the README");
    for file in ["lpop.php", "reliable.php", "stream.php"] {
        let mut help = php(file);
        help.arg("--help");
        let output = run(help);
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).expect("text");
        let options: Vec<_> =
            text.lines().filter_map(|line| line.trim_start().split(' ').next()?.strip_prefix("--")).collect();
        assert!(options.len() >= 12, "{file} --help names {options:?}");
        for option in options {
            assert!(readme.contains(&format!("--{option}")), "the README does not name --{option}");
        }
    }
}

#[test]
fn lpop_takes_everything_in_order_and_waits_at_an_empty_list() {
    const HALF: u64 = 5_000;
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let records = Numbered::new("lpop", 100);
    let out = scene.file("out");
    let mut lpop = scene.spawn("lpop", fast("lpop.php", redis.socket(), &out, &["--format", "json"]));
    for part in 1..=2 {
        until("lpop.php to wait for a record", PATIENCE, || match redis.cmd(&["CLIENT", "LIST"]) {
            Value::BulkString(text) => String::from_utf8_lossy(&text).contains("cmd=blpop").then_some(()),
            Value::VerbatimString { text, .. } => text.contains("cmd=blpop").then_some(()),
            other => panic!("CLIENT LIST answered {other:?}"),
        });
        assert!(lpop.ended().is_none(), "an empty list ended lpop.php");
        push(&redis, &records, (part - 1) * HALF..part * HALF);
        wait_lines(&out, usize::try_from(part * HALF).expect("it fits"));
    }
    term(&scene, "lpop", &mut lpop);

    let mut ledger = Ledger::new().sent(&records, 0..2 * HALF);
    for line in lines(&out) {
        let record: serde_json::Value = serde_json::from_slice(&line).expect("a JSON object");
        assert_eq!(record["parsed"], true, "not parsed: {record}");
        let field = |name: &str| record[name].as_str().expect("a string").to_owned();
        let (facility, severity) = (field("facility"), field("severity"));
        assert_eq!((facility.as_str(), severity.as_str()), ("16", "6"));
        ledger.found(format!("~{facility}|{severity}|{}|{}", field("time"), field("message")).as_bytes());
    }
    ledger.verdict().assert_clean();
    assert_nothing_left(&redis);
}

/// A worker is killed again and again while records keep coming; others give back what it left.
#[test]
fn killed_reliable_workers_lose_nothing() {
    const RECORDS: u64 = 6_000;
    const KILLS: usize = 6;
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let records = Numbered::new("killed", 100);
    let out = scene.file("out");
    let start = |name: &str| {
        let command = slow(&scene, "reliable.php", redis.socket(), &out, &["--ttl", "1", "--worker", name]);
        scene.spawn(name, command)
    };

    let fed = AtomicBool::new(false);
    // What each dead worker left unacknowledged, and how long the output was then.
    let mut left: Vec<(Vec<u64>, usize)> = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for from in (0..RECORDS).step_by(25) {
                // Some backlog, so that a worker always has a batch in hand; not all at once, so that records keep coming.
                until("the list to get shorter", PATIENCE, || (redis.llen(LIST) < 300).then_some(()));
                push(&redis, &records, from..from + 25);
            }
            fed.store(true, Ordering::SeqCst);
        });
        for n in 0..KILLS {
            let mut child = start(&format!("w{n}"));
            if n % 2 == 1 {
                // Every second worker lives long enough to give back what its predecessor left.
                let before = processing(&format!("w{}", n - 1));
                until("the dead worker's records to be given back", PATIENCE, || {
                    (redis.llen(&before) == 0).then_some(())
                });
            }
            let some = fastrand::usize(1..300);
            let enough = count(&out) + some;
            until("some more records, or the last one", PATIENCE, || {
                (count(&out) >= enough || (fed.load(Ordering::SeqCst) && redis.llen(LIST) == 0)).then_some(())
            });
            child.kill9();
            left.push((numbers(&redis.list(&processing(&format!("w{n}")))), count(&out)));
        }
    });
    drain(&scene, "last", slow(&scene, "reliable.php", redis.socket(), &out, &["--ttl", "1", "--worker", "last"]));

    let handled = numbers(&lines(&out));
    let mut times: BTreeMap<u64, usize> = BTreeMap::new();
    for &n in &handled {
        *times.entry(n).or_default() += 1;
    }
    let lost: Vec<u64> = (0..RECORDS).filter(|n| !times.contains_key(n)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(times.len() as u64, RECORDS, "foreign records");

    assert!(left.iter().any(|(numbers, _)| !numbers.is_empty()), "no kill found a batch in hand");
    for (n, (numbers, _)) in left.iter().enumerate() {
        assert!(numbers.len() <= BATCH, "w{n} left {} records", numbers.len());
        assert!(ascending(numbers), "w{n} left its records in another order: {numbers:?}");
    }
    for (n, &times) in &times {
        let deaths = left.iter().filter(|(numbers, _)| numbers.contains(n)).count();
        assert!(times <= 1 + deaths, "record {n} was handled {times} times and {deaths} dead workers had it");
    }

    let touched: BTreeSet<u64> = left.iter().flat_map(|(numbers, _)| numbers).copied().collect();
    let others: Vec<u64> = handled.iter().copied().filter(|n| !touched.contains(n)).collect();
    assert!(ascending(&others), "records that no dead worker had came out of order");
    for (n, (numbers, length)) in left.iter().enumerate() {
        // Given back in the old order: so they come next, unless the next worker died over them.
        let again: Vec<u64> = handled[*length..].iter().copied().filter(|n| numbers.contains(n)).collect();
        let once: BTreeSet<u64> = again.iter().copied().collect();
        assert_eq!(once.len(), numbers.len(), "what w{n} left did not come again");
        assert!(again.len() > numbers.len() || ascending(&again), "what w{n} left came in another order: {again:?}");
    }
    // A worker that died with empty hands stays registered until its heartbeat is over: no record is with it.
    let keys = redis.cmd(&["KEYS", "*"]);
    let names: Vec<String> = redis_names(&keys);
    let records: Vec<&String> =
        names.iter().filter(|name| !name.contains(":alive:") && !name.ends_with(":workers")).collect();
    assert!(records.is_empty(), "records left behind: {records:?}");
}

/// The successor under the same name takes up its own records first: order is kept, apart from the repeats.
#[test]
fn a_restarted_reliable_worker_keeps_the_order() {
    const RECORDS: u64 = 2_000;
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let records = Numbered::new("same", 100);
    let out = scene.file("out");
    push(&redis, &records, 0..RECORDS);
    let command = || slow(&scene, "reliable.php", redis.socket(), &out, &["--ttl", "1", "--worker", "same"]);
    let mut allowed = 0;
    for _ in 0..2 {
        let before = count(&out);
        let mut child = scene.spawn("same", command());
        wait_lines(&out, before + fastrand::usize(1..500));
        child.kill9();
        allowed += redis.llen(&processing("same"));
    }
    drain(&scene, "same", command());

    let mut seen = BTreeSet::new();
    let handled = numbers(&lines(&out));
    let first: Vec<u64> = handled.iter().copied().filter(|&n| seen.insert(n)).collect();
    assert!(first.iter().copied().eq(0..RECORDS), "lost or out of order");
    assert!(handled.len() - first.len() <= allowed, "more repeats than records that were in hand");
    assert_nothing_left(&redis);
}

#[test]
fn a_reliable_worker_goes_on_after_redis_was_killed() {
    const RECORDS: u64 = 4_000;
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).aof().start();
    let records = Numbered::new("aof", 100);
    let out = scene.file("out");
    push(&redis, &records, 0..RECORDS);
    let mut child = scene.spawn("w", slow(&scene, "reliable.php", redis.socket(), &out, &["--worker", "w"]));
    for part in 0..3 {
        wait_lines(&out, part * 1000 + fastrand::usize(1..900));
        redis.restart();
    }
    until("the last record to be acknowledged", PATIENCE, || {
        (redis.llen(LIST) + redis.llen(&processing("w")) == 0).then_some(())
    });
    term(&scene, "w", &mut child);
    assert!(scene.log("w").contains("works again"), "the worker did not notice that Redis was away");
    // It lived all the time, so nothing comes twice either.
    Ledger::new().sent(&records, 0..RECORDS).judge(lines(&out)).assert_clean();
    assert_nothing_left(&redis);
}

#[test]
fn lost_replies_and_cut_connections_cost_a_reliable_worker_nothing() {
    const RECORDS: u64 = 4_000;
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let proxy = Proxy::start(&scene, redis.socket());
    let records = Numbered::new("proxy", 100);
    let out = scene.file("out");
    push(&redis, &records, 0..RECORDS);
    let mut child = scene.spawn("w", slow(&scene, "reliable.php", proxy.socket(), &out, &["--worker", "w"]));
    for fault in 1..=6 {
        wait_lines(&out, fault * 500);
        if fault % 2 == 0 {
            proxy.once(Mode::CutRequest(fastrand::u64(0..2000)));
        } else {
            proxy.once(Mode::SwallowReplies(Duration::from_millis(20)));
        }
        until("the fault to happen", PATIENCE, || (proxy.faults() >= fault as u64).then_some(()));
    }
    until("the last record to be acknowledged", PATIENCE, || {
        (redis.llen(LIST) + redis.llen(&processing("w")) == 0).then_some(())
    });
    term(&scene, "w", &mut child);
    Ledger::new().sent(&records, 0..RECORDS).judge(lines(&out)).assert_clean();
    assert_nothing_left(&redis);
}

#[test]
fn two_living_workers_share_the_list() {
    // Enough for both to look for dead workers several times meanwhile: they do so once connected for --ttl.
    const RECORDS: u64 = 24_000;
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let records = Numbered::new("two", 100);
    let names = ["a", "b"];
    let mut children = names.map(|name| {
        let command =
            slow(&scene, "reliable.php", redis.socket(), &scene.file(name), &["--ttl", "2", "--worker", name]);
        scene.spawn(&format!("worker-{name}"), command)
    });
    until("both workers to be there", PATIENCE, || {
        matches!(redis.cmd(&["HLEN", &format!("{{{LIST}}}:workers")]), Value::Int(2)).then_some(())
    });
    push(&redis, &records, 0..RECORDS);
    until("all records to be acknowledged", PATIENCE, || {
        let held: usize = names.iter().map(|name| redis.llen(&processing(name))).sum();
        (redis.llen(LIST) + held == 0).then_some(())
    });
    for (name, child) in names.iter().zip(&mut children) {
        term(&scene, &format!("worker-{name}"), child);
    }

    let mut all = Vec::new();
    for name in names {
        let lines = lines(&scene.file(name));
        assert!(!lines.is_empty(), "worker {name} had nothing to do");
        assert!(ascending(&numbers(&lines)), "worker {name} handled its records out of order");
        all.extend(lines);
    }
    all.sort_by_key(|line| numbers(std::slice::from_ref(line)));
    Ledger::new().sent(&records, 0..RECORDS).judge(all).assert_clean();
    assert_nothing_left(&redis);
}

#[test]
fn a_name_belongs_to_one_living_worker() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let out = scene.file("out");
    let command = || fast("reliable.php", redis.socket(), &out, &["--ttl", "1", "--worker", "one"]);
    let mut first = scene.spawn("first", command());
    until("the first worker to be there", PATIENCE, || redis.get(&format!("{{{LIST}}}:alive:one")));
    let status = scene.spawn("second", command()).wait(PATIENCE);
    assert_eq!(status.code(), Some(75), "the second one said:\n{}", scene.log("second"));
    assert!(scene.log("second").contains("is alive"), "the second one said:\n{}", scene.log("second"));
    push(&redis, &Numbered::new("one", 100), 0..10);
    wait_lines(&out, 10);
    term(&scene, "first", &mut first);
    assert_nothing_left(&redis);
}

/// A worker that stood still for too long finds that its records were given to others, and takes nothing from them.
#[test]
fn a_worker_that_was_taken_for_dead_starts_again() {
    const RECORDS: u64 = 200;
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let records = Numbered::new("stopped", 100);
    let (stopped, other) = (scene.file("stopped"), scene.file("other"));
    push(&redis, &records, 0..RECORDS);
    let options = ["--ttl", "1", "--worker", "stopped"];
    let mut child = scene.spawn("w-stopped", slow(&scene, "reliable.php", redis.socket(), &stopped, &options));
    wait_lines(&stopped, 1);
    child.stop();
    let before = count(&stopped);
    let in_hand = redis.llen(&processing("stopped"));
    drain(&scene, "w-other", slow(&scene, "reliable.php", redis.socket(), &other, &["--ttl", "1"]));
    child.cont();
    until("it to notice", PATIENCE, || scene.log("w-stopped").contains("were given to others").then_some(()));
    push(&redis, &records, RECORDS..RECORDS + 1);
    until("the next record", PATIENCE, || {
        lines(&stopped).last().is_some_and(|line| *line == records.element(RECORDS)).then_some(())
    });
    term(&scene, "w-stopped", &mut child);

    let mut handled = numbers(&lines(&stopped));
    // It had one record in hand when it was stopped, and drops the others as soon as it has heard from Redis.
    assert!(handled.len() <= before + in_hand + 1, "it went on with records that were not its own: {handled:?}");
    handled.extend(numbers(&lines(&other)));
    assert!(handled.len() <= usize::try_from(RECORDS).expect("it fits") + 1 + in_hand, "too many repeats");
    let all: BTreeSet<u64> = handled.into_iter().collect();
    assert!(all.into_iter().eq(0..=RECORDS), "records were lost");
    assert_nothing_left(&redis);
}

#[test]
fn sigterm_gives_back_what_is_in_hand() {
    const RECORDS: u64 = 500;
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let records = Numbered::new("term", 100);
    for file in ["reliable.php", "lpop.php"] {
        let out = scene.file(&format!("{file}.out"));
        push(&redis, &records, 0..RECORDS);
        let mut child = scene.spawn(file, slow(&scene, file, redis.socket(), &out, &[]));
        wait_lines(&out, fastrand::usize(1..100));
        term(&scene, file, &mut child);
        let rest = redis.list(LIST);
        assert!(!rest.is_empty(), "{file} did not stop in the middle");
        let all = [lines(&out), rest].concat();
        Ledger::new().sent(&records, 0..RECORDS).judge(all).assert_clean();
        redis.cmd(&["DEL", LIST]);
        assert_nothing_left(&redis);
    }
}

/// NUL, every other byte but LF, empty ones, no frame, huge ones: all arrive as they are.
#[test]
fn any_bytes_pass_through_the_workers() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let every: Vec<u8> = (0..=255).filter(|&byte| byte != b'\n').collect();
    let records: Vec<Vec<u8>> = vec![
        b"~16|6|Nov 21 10:00:00| plain".to_vec(),
        Vec::new(),
        b"~".to_vec(),
        b"\0".to_vec(),
        b"no frame at all".to_vec(),
        b"~16|6|only two bars".to_vec(),
        b"~16|6|Nov 21 10:00:00|".to_vec(),
        b"~16|6|Nov 21 10:00:00| a|b~c|d\0e".to_vec(),
        [b"~16|6|Nov 21 10:00:00|".as_slice(), &every].concat(),
        every.clone(),
        Vec::new(),
        [b"~16|6|Nov 21 10:00:00|".as_slice(), &every.repeat(4096)].concat(),
        b"$1\r".to_vec(),
    ];
    for file in ["lpop.php", "reliable.php"] {
        for batch in ["1", "3", "100"] {
            let mut words = vec![b"RPUSH".to_vec(), LIST.into()];
            words.extend(records.iter().cloned());
            redis.cmd(&words);
            let out = scene.file(&format!("{file}.{batch}"));
            drain(&scene, file, fast(file, redis.socket(), &out, &["--batch", batch]));
            Ledger::new().sent_exactly(&records).judge(lines(&out)).assert_clean();
            assert_nothing_left(&redis);
        }
    }

    let mut words = vec![b"RPUSH".to_vec(), LIST.into()];
    words.extend(records.iter().cloned());
    redis.cmd(&words);
    let out = scene.file("json");
    drain(&scene, "json", fast("lpop.php", redis.socket(), &out, &["--format", "json"]));
    let parsed: Vec<_> = lines(&out)
        .iter()
        .map(|line| serde_json::from_slice::<serde_json::Value>(line).expect("a JSON object"))
        .map(|record| record["parsed"] == true)
        .collect();
    let framed: Vec<_> =
        records.iter().map(|r| r.starts_with(b"~") && r.splitn(4, |&byte| byte == b'|').count() == 4).collect();
    assert_eq!(parsed, framed);
}

/// A handler decides: done, rejected (kept aside), or tried again until it works.
#[test]
fn a_handler_decides_the_fate_of_a_record() {
    const HANDLER: &str = r#"<?php
use FifoBridge\Workers\Rejected;
return static function ($record): void {
    static $tries = 0;
    if ($record->message === 'never') {
        throw new Rejected('it says so');
    }
    if ($record->message === 'later' && $tries++ < 3) {
        throw new RuntimeException('not now');
    }
    file_put_contents(getenv('WORKER_OUT'), $record->message . "\n", FILE_APPEND);
};
"#;
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let handler = scene.write("handler.php", HANDLER);
    let handler = handler.to_str().expect("a plain path");
    let failed = format!("{{{LIST}}}:failed");
    for file in ["lpop.php", "reliable.php"] {
        let out = scene.file(&format!("{file}.out"));
        redis.cmd(&["RPUSH", LIST, "~1|2|t|a", "~1|2|t|never", "~1|2|t|later", "never", "~1|2|t|b"]);
        let mut command = worker(file, redis.socket(), &["--handler", handler]);
        command.env("WORKER_OUT", &out);
        drain(&scene, file, command);
        assert_eq!(fs::read_to_string(&out).expect("the output"), "a\nlater\nb\n");
        assert_eq!(redis.list(&failed), [b"~1|2|t|never".to_vec(), b"never".to_vec()]);
        assert!(scene.log(file).contains("not now"), "no word of the failure:\n{}", scene.log(file));
        redis.cmd(&["DEL", &failed]);
        assert_nothing_left(&redis);
    }
}

#[test]
fn the_example_handler_does_a_repeated_job_once() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    redis.cmd(&["RPUSH", LIST, "~1|2|t| id=7 a", "~1|2|t| id=7 a", "~1|2|t| id=8 b", "~1|2|t| no id", "no frame"]);
    let handler = folder().join("handlers/once.php");
    let mut command = worker("reliable.php", redis.socket(), &["--handler", handler.to_str().expect("a plain path")]);
    command.env("ONCE_SERVER", redis.socket());
    drain(&scene, "once", command);
    assert_eq!(redis.list("{jobs}"), [b" id=7 a".to_vec(), b" id=8 b".to_vec()]);
    assert_eq!(redis.list(&format!("{{{LIST}}}:failed")), [b"~1|2|t| no id".to_vec(), b"no frame".to_vec()]);
}

/// A Redis over maxmemory takes nothing more: the workers must be able to make room.
#[test]
fn workers_empty_a_redis_that_is_full() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let records = Numbered::new("full", 100);
    for file in ["lpop.php", "reliable.php"] {
        push(&redis, &records, 0..500);
        redis.cmd(&["CONFIG", "SET", "maxmemory", "1"]);
        let refused = redis.try_cmd(&["RPUSH", LIST, "one more"]).expect_err("Redis is not full");
        assert!(refused.to_string().contains("OOM"), "{refused}");
        let out = scene.file(&format!("{file}.out"));
        drain(&scene, file, fast(file, redis.socket(), &out, &[]));
        Ledger::new().sent(&records, 0..500).judge(lines(&out)).assert_clean();
        assert_nothing_left(&redis);
        redis.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
    }
}

/// Without BLMOVE (Redis before 6.2, or an ACL that forbids it) reliable.php looks for records instead.
#[test]
fn reliable_works_without_blmove() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).options(&["rename-command", "BLMOVE", ""]).start();
    let records = Numbered::new("old", 100);
    let out = scene.file("out");
    let mut child = scene.spawn("w", fast("reliable.php", redis.socket(), &out, &["--worker", "w"]));
    until("it to notice", PATIENCE, || scene.log("w").contains("no BLMOVE here").then_some(()));
    push(&redis, &records, 0..1000);
    wait_lines(&out, 1000);
    term(&scene, "w", &mut child);
    Ledger::new().sent(&records, 0..1000).judge(lines(&out)).assert_clean();
}

/// The ACL lines of the README are enough for everything that a worker does.
#[test]
fn the_readme_acl_is_enough() {
    let readme = fs::read_to_string(folder().join("README.md")).expect("the README");
    let quoted = |before: &str| {
        let (_, rest) = readme.split_once(before).unwrap_or_else(|| panic!("the README has no {before:?}"));
        rest.split('`').next().expect("a closing quote").replace("KEY", LIST)
    };
    let keys_and_reliable = quoted("An ACL user needs `");
    let lpop = quoted("for `lpop.php` `");
    let keys: Vec<&str> = keys_and_reliable.split(' ').filter(|word| word.starts_with('~')).collect();
    assert_eq!(keys, [format!("~{LIST}"), format!("~{{{LIST}}}:*")]);

    let scene = Scene::new();
    let redis = Redis::setup(&scene)
        .acl("reliable", &format!("on >word {keys_and_reliable}"))
        .acl("lpop", &format!("on >word {} {lpop}", keys.join(" ")))
        .start();
    let password = scene.write("password", "word\n");
    let handler = scene.write(
        "handler.php",
        "<?php return static function ($r): void { if ($r->raw === 'x') { throw new FifoBridge\\Workers\\Rejected('x'); } };",
    );
    for (file, user) in [("reliable.php", "reliable"), ("lpop.php", "lpop")] {
        let mut command = worker(file, redis.socket(), &["--user", user]);
        command.arg("--password-file").arg(&password).arg("--handler").arg(&handler);
        let mut child = scene.spawn(file, command);
        redis.cmd(&["RPUSH", LIST, "a", "x", "b"]);
        let failed = format!("{{{LIST}}}:failed");
        until("the rejected record to be kept", PATIENCE, || (redis.llen(&failed) == 1).then_some(()));
        until("the list to be empty", PATIENCE, || (redis.llen(LIST) == 0).then_some(()));
        term(&scene, file, &mut child);
        assert!(!scene.log(file).contains("NOPERM"), "{file} lacks a permission:\n{}", scene.log(file));
        redis.cmd(&["DEL", &failed]);
    }
}
