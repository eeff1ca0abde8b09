//! omrust.so inside the installed rsyslogd: it is loaded, delivers, is told to reconnect, is stopped at the worst moment, and neither
//! harms its host nor is harmed by it.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use e2e::child::{PATIENCE, Scene, run, until};
use e2e::native::door::{faulty_module_folder, module_folder};
use e2e::native::plain::{Plain, QUEUE, assert_has, usual};
use e2e::pipe::Numbered;
use e2e::redis::Redis;
use e2e::rsyslog::Rsyslogd;
use redis::Value;

/// rsyslogd ends within this time, whatever Redis does.
const STOP: Duration = Duration::from_secs(10);

fn action(redis: &Redis, more: &str) -> String {
    format!("action(type=\"omrust\" name=\"out\" key=\"list\" {} {more})", usual(redis))
}

/// The sockets and files that a process has open: number and target.
fn descriptors(pid: u32) -> Vec<(u32, String)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
    let read = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
    };
    let mut all: Vec<(u32, String)> = entries.filter_map(read).collect();
    all.sort();
    all
}

/// The numbers of the module's own descriptors: connections to this port, and files below this folder.
fn ours(pid: u32, port: u16, folder: &Path) -> Vec<u32> {
    let table = fs::read_to_string("/proc/net/tcp").expect("there are sockets");
    let to_redis: Vec<String> = table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            words[2].ends_with(&format!(":{port:04X}")).then(|| format!("socket:[{}]", words[9]))
        })
        .collect();
    let is_ours = |target: &String| to_redis.contains(target) || Path::new(target).starts_with(folder);
    descriptors(pid).into_iter().filter(|(_, target)| is_ours(target)).map(|(number, _)| number).collect()
}

/// How often somebody has logged in at Redis.
fn connections(redis: &Redis) -> u64 {
    let Value::BulkString(text) = redis.cmd(&["INFO", "stats"]) else { panic!("no statistics") };
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("total_connections_received:")).expect("a line");
    line.trim().parse().expect("a number")
}

#[track_caller]
fn stop(rsyslogd: &mut Rsyslogd) {
    let status = rsyslogd.child().term(STOP);
    assert!(status.success(), "rsyslogd ended with {status}");
}

#[test]
fn a_hundred_thousand_records_arrive_in_order_and_nothing_is_printed() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let plain = Plain::new(&scene, "", &action(&redis, ""));
    let mut rsyslogd = plain.start();
    let records = Numbered::new("life", 100);
    plain.send(&records, 0..100_000);
    assert_has(&redis, "list", "life", 0..100_000);
    let counters = plain.counters("out", "pushed", 100_000);
    assert_eq!((counters["received"].as_u64(), counters["retries"].as_u64()), (Some(100_000), Some(0)));
    stop(&mut rsyslogd);
    assert_eq!(rsyslogd.log(), "", "something was written to stdout or stderr");
    assert!(!plain.said("connected to redis").is_empty(), "its log goes to rsyslog's own:\n{}", plain.messages());
}

#[test]
fn in_the_background_none_of_its_descriptors_is_a_low_one() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).tcp().start();
    let (port, spool) = (redis.port().expect("it listens on TCP"), scene.folder("spool"));
    let server = format!("server=\"127.0.0.1:{port}\" spool.directory=\"{}\"", spool.display());
    let rules = action(&redis, &server).replace(&format!("server=\"{}\"", redis.socket().display()), "");
    let mut plain = Plain::new(&scene, "", &rules);
    plain.setup = plain.setup.daemon();
    let mut rsyslogd = plain.start();
    let records = Numbered::new("daemon", 100);
    for round in 0..5 {
        plain.send(&records, round * 1_000..(round + 1) * 1_000);
        redis.wait_llen("list", usize::try_from(round + 1).expect("small") * 1_000, PATIENCE);
        let ours = ours(rsyslogd.pid(), port, &spool);
        assert!(ours.len() >= 2, "a connection and the spool's lock at least: {ours:?}");
        let all = descriptors(rsyslogd.pid());
        assert!(ours.iter().all(|number| *number > 2), "{ours:?} of {all:?}");
        // The next connection is made when rsyslogd has long closed what it closes.
        rsyslogd.hup();
    }
    assert_has(&redis, "list", "daemon", 0..5_000);
    let refused = String::from_utf8_lossy(&fs::read(scene.log_path("redis")).expect("a log")).into_owned();
    assert!(!refused.contains("unknown command"), "{refused}");
    rsyslogd.term();
}

#[test]
fn a_hup_connects_anew_with_the_password_that_the_file_has_then() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    redis.cmd(&["ACL", "SETUSER", "writer", "on", ">first", "~*", "+@all"]);
    let password = scene.write("password", "first\n");
    let login = format!("serveruser=\"writer\" serverpassword.file=\"{}\"", password.display());
    let plain = Plain::new(&scene, "", &action(&redis, &login));
    let mut rsyslogd = plain.start();
    let records = Numbered::new("hup", 100);
    plain.send(&records, 0..1_000);
    redis.wait_llen("list", 1_000, PATIENCE);
    redis.cmd(&["ACL", "SETUSER", "writer", "resetpass", ">second"]);
    fs::write(&password, "second\n").expect("writable");
    let before = connections(&redis);
    rsyslogd.hup();
    // The HUP is acted upon by the next batch.
    plain.wait_said("HUPed");
    plain.send(&records, 1_000..2_000);
    assert_has(&redis, "list", "hup", 0..2_000);
    assert!(connections(&redis) > before, "the connection is the old one");
    assert_eq!(plain.counters("out", "reconnects", 1)["retries"], 0);
    stop(&mut rsyslogd);
}

#[test]
fn it_stops_while_redis_stands_still() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).start();
    // Limits far beyond what a stop may take: only a look at the host ends the wait.
    let plain = Plain::new(&scene, "", &action(&redis, "timeout=\"60000\" connecttimeout=\"60000\""));
    let mut rsyslogd = plain.start();
    let records = Numbered::new("still", 100);
    plain.send(&records, 0..1_000);
    redis.wait_llen("list", 1_000, PATIENCE);
    redis.sigstop();
    plain.send(&records, 1_000..3_000);
    plain.statistics.wait(0, "imptcp", "submitted", 3_000);
    stop(&mut rsyslogd);
    redis.sigcont();
}

#[test]
fn an_outage_makes_neither_a_storm_of_lines_nor_a_busy_loop() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).aof().start();
    // rsyslogd's own messages go the same way: whatever is said about the outage is another record.
    let own = format!("ruleset(name=\"own\") {{ {} }}\ncall own", action(&redis, ""));
    let plain =
        Plain::new(&scene, &own, &action(&redis, "").replace("\"out\"", "\"fed\"").replace("\"list\"", "\"fed\""));
    let mut rsyslogd = plain.start();
    let records = Numbered::new("storm", 100);
    plain.send(&records, 0..1_000);
    redis.wait_llen("fed", 1_000, PATIENCE);
    redis.kill9();
    plain.send(&records, 1_000..3_000);
    // At least four looks at Redis by each action.
    plain.counters("fed", "retries", 4);
    plain.counters("out", "retries", 4);
    let (lines, cpu) = (plain.said("omrust").len(), rsyslogd.child().cpu_time());
    assert!(lines <= 20, "{lines} lines in {} looks:\n{}", 8, plain.messages());
    assert!(cpu < Duration::from_secs(3), "it took {cpu:?} of processor time for 3000 records and an outage");
    redis.start();
    assert_has(&redis, "fed", "storm", 0..3_000);
    stop(&mut rsyslogd);
}

#[test]
fn legacy_lines_of_modules_that_are_loaded_later_still_work() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let socket = scene.socket("legacy");
    let receiver = UnixDatagram::bind(&socket).expect("a socket");
    receiver.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let after = format!(
        "$ModLoad omuxsock\n$OMUxSockSocket {}\n*.* :omuxsock:\n*.* {}",
        socket.display(),
        scene.file("file").display()
    );
    let mut plain = Plain::new(&scene, "", &format!("{}\ncall RSYSLOG_DefaultRuleset", action(&redis, "")));
    plain.setup = plain.setup.text(&after);
    let mut rsyslogd = plain.start();
    plain.send(&Numbered::new("legacy", 100), 0..1);
    let mut text = [0; 4096];
    let received =
        std::iter::from_fn(|| receiver.recv(&mut text).ok().map(|n| String::from_utf8_lossy(&text[..n]).into_owned()));
    assert!(received.take(50).any(|line| line.contains("legacy 0 ")), "the socket got nothing of it");
    until("the line in the file", PATIENCE, || {
        fs::read_to_string(scene.file("file")).is_ok_and(|text| text.contains("legacy 0 ")).then_some(())
    });
    redis.wait_llen("list", 1, PATIENCE);
    stop(&mut rsyslogd);
}

/// Whoever handles this record panics.
fn poison(n: u64) -> Vec<u8> {
    format!("<134>Nov 21 10:00:00 e2e test: poison {n} PANIC-HERE x").into_bytes()
}

#[test]
fn a_record_that_panics_twice_becomes_a_dead_letter_and_the_others_arrive() {
    for queue in [QUEUE, "queue.type=\"Direct\""] {
        let scene = Scene::new();
        let redis = Redis::setup(&scene).start();
        let letters = scene.folder("letters");
        let rules = action(&redis, &format!("deadletter=\"{}\"", letters.display()));
        let mut plain = Plain::with_modules(&scene, faulty_module_folder(), queue, "", &rules);
        plain.setup = plain.setup.env("OMRUST_PANIC_ON", "PANIC-HERE");
        let mut rsyslogd = plain.start();
        let records = Numbered::new("panic", 100);
        let frames = (0..300)
            .map(|n| if n % 100 == 50 { poison(n) } else { records.syslog(n - n / 100 - u64::from(n % 100 > 50)) });
        e2e::rsyslog::send_tcp(plain.port, frames);
        redis.wait_llen("list", 297, PATIENCE);
        let counters = plain.counters("out", "dead_letters", 3);
        assert_eq!(counters["pushed"], 297, "{counters}");
        e2e::ledger::Ledger::new().sent_numbers("panic", 0..297).judge(redis.list("list")).assert_clean();
        let text = fs::read_to_string(letters.join("dead-letters.jsonl")).expect("letters");
        assert_eq!(text.lines().filter(|line| line.contains("PANIC-HERE")).count(), 3, "{text}");
        assert!(text.lines().all(|line| line.contains("handling it failed twice")), "{text}");
        assert!(!plain.said("internal error in commitTransaction").is_empty(), "{}", plain.messages());
        stop(&mut rsyslogd);
        // rsyslogd itself shows error messages there.
        let log = rsyslogd.log();
        assert!(log.lines().all(|line| line.starts_with("rsyslogd: ")), "a panic was printed:\n{log}");
    }
}

#[test]
fn two_workers_have_two_cursors_and_lose_nothing() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let queue = "queue.type=\"LinkedList\" queue.size=\"100000\" queue.dequeueBatchSize=\"64\" queue.workerThreads=\"4\" \
                 queue.workerThreadMinimumMessages=\"64\"";
    let plain = Plain::with_modules(&scene, module_folder(), queue, "", &action(&redis, ""));
    let mut rsyslogd = plain.start();
    plain.send(&Numbered::new("many", 100), 0..20_000);
    redis.wait_llen("list", 20_000, PATIENCE);
    let verdict = e2e::ledger::Ledger::new().sent_numbers("many", 0..20_000).judge(redis.list("list"));
    assert_eq!((verdict.lost.count, verdict.doubled.count, verdict.foreign.count), (0, 0, 0), "{verdict}");
    let Value::Array(keys) = redis.cmd(&["KEYS", "{list}:cursor:*:out:*"]) else { panic!("keys") };
    assert!((1..=4).contains(&keys.len()), "{keys:?}");
    stop(&mut rsyslogd);
}

#[test]
fn lanes_keep_the_order_of_each_stream() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let lanes = action(&redis, "lanes=\"4\" lane.template=\"stream\"");
    let plain = Plain::new(&scene, "template(name=\"stream\" type=\"string\" string=\"%programname%\")", &lanes);
    let mut rsyslogd = plain.start();
    let frames = (0..4_000).map(|n| format!("<134>Nov 21 10:00:00 e2e p{}: s{} {} x", n % 8, n % 8, n / 8));
    e2e::rsyslog::send_tcp(plain.port, frames);
    let all = || (0..4).flat_map(|lane| redis.list(&format!("list:{lane}"))).collect::<Vec<_>>();
    until("all records", PATIENCE, || (all().len() >= 4_000).then_some(()));
    let mut ledger = e2e::ledger::Ledger::new();
    for stream in 0..8 {
        ledger = ledger.sent_numbers(&format!("s{stream}"), 0..500);
    }
    ledger.judge(all()).assert_clean();
    assert_eq!(redis.llen("list"), 0);
    stop(&mut rsyslogd);
}

/// Load, deliver, HUP, outage, return, stop: under valgrind no error and no leak.
#[test]
fn a_whole_life_under_valgrind_is_without_errors() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).aof().start();
    let mut plain = Plain::new(&scene, "", &action(&redis, ""));
    let report = scene.file("valgrind");
    let wrapper = scene.write(
        "rsyslogd-in-valgrind",
        // What a thread keeps about itself in std is found by an inner pointer only: "possibly lost" is no leak there.
        format!(
            "#!/bin/sh\nexec valgrind --quiet --log-file={} --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
             --show-leak-kinds=definite {} -M {}:{} \"$@\"\n",
            report.display(),
            e2e::rsyslog::RSYSLOGD,
            e2e::host::Host::installed().modules().display(),
            module_folder().display(),
        ),
    );
    run(chmod(&wrapper), PATIENCE).expect("it can be made a program");
    plain.setup = plain.setup.without_host().program(&wrapper);
    let mut rsyslogd = plain.start();
    let records = Numbered::new("valgrind", 100);
    plain.send(&records, 0..2_000);
    redis.wait_llen("list", 2_000, PATIENCE);
    rsyslogd.hup();
    plain.send(&records, 2_000..3_000);
    redis.wait_llen("list", 3_000, PATIENCE);
    redis.kill9();
    plain.send(&records, 3_000..4_000);
    plain.counters("out", "retries", 2);
    redis.start();
    assert_has(&redis, "list", "valgrind", 0..4_000);
    let status = rsyslogd.child().term(PATIENCE * 2);
    let said = fs::read_to_string(&report).expect("valgrind writes a report; `make need` installs it");
    assert!(status.success() && !said.contains("omrust"), "{status}\n{said}");
}

fn chmod(path: &Path) -> std::process::Command {
    let mut command = std::process::Command::new("chmod");
    command.arg("755").arg(path);
    command
}
