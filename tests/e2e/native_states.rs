//! omrust.so and the states that a Redis may be in: it wants a password, loads, is emptied, or comes back with what it had earlier.

use std::time::{Duration, Instant};

use e2e::child::{PATIENCE, Scene, until};
use e2e::native::plain::{Plain, assert_has, usual};
use e2e::pipe::Numbered;
use e2e::redis::Redis;

/// The action with a spool in this folder, or without one.
fn action(redis: &Redis, spool: Option<&std::path::Path>, more: &str) -> String {
    let spool =
        spool.map_or(String::new(), |folder| format!("spool.directory=\"{}\" spool.delay=\"200\"", folder.display()));
    format!("action(type=\"omrust\" name=\"out\" key=\"list\" timeout=\"500\" {} {spool} {more})", usual(redis))
}

/// Both ways to keep what Redis does not take: a spool, or rsyslog's own queue.
fn each_way(mut test: impl FnMut(&Scene, Option<&std::path::Path>)) {
    for spool in [true, false] {
        let scene = Scene::new();
        let folder = spool.then(|| scene.folder("spool"));
        test(&scene, folder.as_deref());
    }
}

#[test]
fn a_password_is_wanted_all_of_a_sudden() {
    each_way(|scene, spool| {
        let redis = Redis::setup(scene).start();
        let mut open = redis.connect().expect("a connection");
        let mut ask = |words: &[&str]| redis::cmd(words[0]).arg(&words[1..]).exec(&mut open).expect("it is done");
        let plain = Plain::new(scene, "", &action(&redis, spool, ""));
        let mut rsyslogd = plain.start();
        let records = Numbered::new("state", 100);
        plain.send(&records, 0..1_000);
        redis.wait_llen("list", 1_000, PATIENCE);
        ask(&["CONFIG", "SET", "requirepass", "late"]);
        ask(&["CLIENT", "KILL", "TYPE", "normal"]);
        plain.send(&records, 1_000..3_000);
        plain.wait_said("NOAUTH");
        plain.counters("out", "retries", 3);
        ask(&["CONFIG", "SET", "requirepass", ""]);
        plain.send(&records, 3_000..4_000);
        assert_has(&redis, "list", "state", 0..4_000);
        let told = plain.said("NOAUTH").len();
        assert!(told <= 2, "NOAUTH was told {told} times:\n{}", plain.messages());
        rsyslogd.term();
    });
}

#[test]
fn the_password_in_the_file_is_wrong_and_corrected_without_a_hup() {
    each_way(|scene, spool| {
        let redis = Redis::setup(scene).password("right").start();
        let file = scene.write("password", "wrong\n");
        let login = format!("serverpassword.file=\"{}\"", file.display());
        let plain = Plain::new(scene, "", &action(&redis, spool, &login));
        let mut rsyslogd = plain.start();
        let records = Numbered::new("state", 100);
        plain.send(&records, 0..2_000);
        plain.wait_said("WRONGPASS");
        plain.counters("out", "retries", 3);
        // Nobody tells rsyslogd: the file is read at each attempt.
        scene.write("password", "right\n");
        assert_has(&redis, "list", "state", 0..2_000);
        // It is wrong once more behind a connection that works, and the connection goes.
        scene.write("password", "wrong\n");
        redis.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        plain.send(&records, 2_000..3_000);
        until("the second complaint", PATIENCE, || (plain.said("WRONGPASS").len() >= 2).then_some(()));
        scene.write("password", "right\n");
        assert_has(&redis, "list", "state", 0..3_000);
        assert!(!plain.messages().contains("right"), "a password is in the log:\n{}", plain.messages());
        rsyslogd.term();
    });
}

#[test]
fn redis_loads_its_data() {
    each_way(|scene, spool| {
        let slow = Redis::setup(scene)
            .option("key-load-delay", "2000")
            .option("loading-process-events-interval-bytes", "1024");
        let mut redis = slow.aof().option("rdbcompression", "no").start();
        let mut connection = redis.connect().expect("a connection");
        for n in 0..1_000 {
            redis::cmd("SET").arg(n).arg("x".repeat(200)).exec(&mut connection).expect("it is set");
        }
        redis.cmd(&["BGREWRITEAOF"]);
        until("the snapshot", PATIENCE, || {
            let info = redis::cmd("INFO").arg("persistence").query::<String>(&mut connection).expect("INFO");
            info.contains("aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0").then_some(())
        });
        let plain = Plain::new(scene, "", &action(&redis, spool, ""));
        let mut rsyslogd = plain.start();
        let records = Numbered::new("state", 100);
        plain.send(&records, 0..1_000);
        redis.wait_llen("list", 1_000, PATIENCE);
        redis.kill9();
        redis.launch();
        plain.send(&records, 1_000..3_000);
        plain.wait_said("LOADING");
        redis.ready();
        plain.send(&records, 3_000..4_000);
        assert_has(&redis, "list", "state", 0..4_000);
        rsyslogd.term();
    });
}

/// What was in Redis is gone, by the will of somebody. What comes afterwards is there once and in order, and nothing comes again.
#[test]
fn redis_is_emptied() {
    each_way(|scene, spool| {
        let redis = Redis::setup(scene).start();
        let plain = Plain::new(scene, "", &action(&redis, spool, ""));
        let mut rsyslogd = plain.start();
        let records = Numbered::new("state", 100);
        for round in 0..3 {
            plain.send(&records, round * 1_000..(round + 1) * 1_000);
            assert_has(&redis, "list", "state", round * 1_000..(round + 1) * 1_000);
            redis.cmd(&["FLUSHALL"]);
        }
        rsyslogd.term();
        assert_eq!(redis.llen("list"), 0, "something came again");
    });
}

/// The same while the spool holds records: they come, and nothing that was there before.
#[test]
fn redis_comes_back_empty_and_gets_what_the_spool_holds() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).start();
    let spool = scene.folder("spool");
    let plain = Plain::new(&scene, "", &action(&redis, Some(&spool), ""));
    let mut rsyslogd = plain.start();
    let records = Numbered::new("state", 100);
    plain.send(&records, 0..1_000);
    redis.wait_llen("list", 1_000, PATIENCE);
    // Without persistence it forgets everything.
    redis.kill9();
    plain.send(&records, 1_000..3_000);
    plain.counters("out", "spooled", 2_000);
    redis.start();
    plain.send(&records, 3_000..4_000);
    assert_has(&redis, "list", "state", 1_000..4_000);
    rsyslogd.term();
}

/// An old copy is restored: what Redis had confirmed since is gone, what comes is there once and in order.
#[test]
fn redis_goes_back_to_an_older_state() {
    each_way(|scene, spool| {
        let mut redis = Redis::setup(scene).start();
        let plain = Plain::new(scene, "", &action(&redis, spool, ""));
        let mut rsyslogd = plain.start();
        let records = Numbered::new("state", 100);
        plain.send(&records, 0..1_000);
        redis.wait_llen("list", 1_000, PATIENCE);
        // The next start finds it.
        redis.cmd(&["SAVE"]);
        plain.send(&records, 1_000..2_000);
        redis.wait_llen("list", 2_000, PATIENCE);
        // The module knows it: what it has no answer for comes again.
        plain.counters("out", "pushed", 2_000);
        redis.kill9();
        plain.send(&records, 2_000..3_000);
        plain.counters("out", "retries", 1);
        redis.start();
        plain.send(&records, 3_000..4_000);
        redis.wait_llen("list", 3_000, PATIENCE);
        rsyslogd.term();
        let verdict = e2e::ledger::Ledger::new().sent_numbers("state", 0..4_000).judge(redis.list("list"));
        let faults = [&verdict.doubled, &verdict.misordered, &verdict.foreign].map(|fault| fault.count);
        assert_eq!((faults, verdict.lost.count), ([0; 3], 1_000), "{verdict}");
        assert!(verdict.lost.first.iter().all(|name| name.starts_with("state 1")), "{verdict}");
    });
}

/// rsyslogd ends while Redis stands still, whatever the action waits for. The limit here finds a hang; how long it takes is printed.
#[test]
#[expect(clippy::print_stderr, reason = "the manual names this figure")]
fn rsyslogd_stops_while_redis_stands_still() {
    each_way(|scene, spool| {
        let mut redis = Redis::setup(scene).start();
        let plain = Plain::new(scene, "", &action(&redis, spool, "").replace("timeout=\"500\"", "timeout=\"60000\""));
        let mut rsyslogd = plain.start();
        let records = Numbered::new("state", 100);
        plain.send(&records, 0..1_000);
        redis.wait_llen("list", 1_000, PATIENCE);
        redis.sigstop();
        plain.send(&records, 1_000..3_000);
        plain.statistics.wait(0, "imptcp", "submitted", 3_000);
        let begun = Instant::now();
        let status = rsyslogd.child().term(Duration::from_secs(10));
        assert!(status.success(), "rsyslogd ended with {status}");
        eprintln!("rsyslogd stopped in {:.2} s, spool: {}", begun.elapsed().as_secs_f64(), spool.is_some());
        redis.sigcont();
        if spool.is_some() {
            // What it had is in the spool.
            let mut rsyslogd = plain.start();
            assert_has(&redis, "list", "state", 0..3_000);
            rsyslogd.term();
        }
    });
}
