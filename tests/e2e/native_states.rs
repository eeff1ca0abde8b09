//! omrust.so and the states that a Redis may be in: it wants a password, loads, is emptied, or comes back with what it had earlier.

use std::time::{Duration, Instant};

use e2e::child::{PATIENCE, Scene, until};
use e2e::native::door::{KEY, OMHIREDIS, OMRUST, Place};
use e2e::native::faults;
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
    for spool in [true, false] {
        let outcome = faults::loading(spool).run(&OMRUST);
        assert!(outcome.is_clean() && outcome.stopped.is_some(), "{outcome}");
        assert!(outcome.messages.contains("LOADING"), "redis was too quick:\n{}", outcome.messages);
    }
}

/// What was in Redis is gone, by the will of somebody. What comes afterwards is there once and in order, and nothing comes again.
///
/// No control: rsyslog's own module has no cursor that could be gone, and passes. What is at stake here is the price of having one.
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

/// The same while the spool holds records: they come, and nothing that was there before. `kills_of_redis` is the control: without a spool those are lost.
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
///
/// No control, for the same reason: a cursor that is older than what was pushed must not bring anything a second time.
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

/// Stops rsyslogd while Redis stands still and a batch waits for it, so many times. Gives how many connections were made meanwhile.
#[expect(clippy::print_stderr, reason = "the manual names these figures")]
fn stops(redis: &mut Redis, plain: &Plain, rounds: usize, what: &str) -> u64 {
    let mut open = redis.connect().expect("a connection");
    let mut connections = move || {
        // What waits to be let in is in by the second time.
        let mut info = || redis::cmd("INFO").arg("stats").query::<String>(&mut open).expect("INFO");
        let text = (info(), info()).1;
        let line = text.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.and_then(|count| count.parse::<u64>().ok()).expect("a number")
    };
    let mut made = 0;
    for round in 0..rounds {
        let mut rsyslogd = plain.start();
        plain.send(&Numbered::new(&format!("round{round}"), 100), 0..1_000);
        until("records in redis", PATIENCE, || (redis.llen("list") > 0).then_some(()));
        let before = connections();
        redis.sigstop();
        plain.send(&Numbered::new(&format!("more{round}"), 100), 0..2_000);
        let mark = plain.statistics.mark();
        plain.statistics.wait(mark, "imptcp", "submitted", 3_000);
        let begun = Instant::now();
        // The limit finds a hang.
        let status = rsyslogd.child().term(Duration::from_secs(10));
        assert!(status.success(), "rsyslogd ended with {status}");
        eprintln!("{what}: rsyslogd stopped in {:.2} s", begun.elapsed().as_secs_f64());
        redis.sigcont();
        made += connections() - before;
        redis.cmd(&["DEL", "list"]);
    }
    made
}

/// rsyslogd ends while Redis stands still, whatever the action waits for: Redis is not asked again and again meanwhile. The rest of the time,
/// and all of the stock module's, is rsyslogd's own.
#[test]
fn rsyslogd_stops_while_redis_stands_still() {
    let patient = |text: String| text.replace("timeout=\"500\"", "timeout=\"60000\"");
    each_way(|scene, spool| {
        let mut redis = Redis::setup(scene).start();
        let plain = Plain::new(scene, "", &patient(action(&redis, spool, "")));
        let what = if spool.is_some() { "omrust with a spool" } else { "omrust" };
        let made = stops(&mut redis, &plain, 3, what);
        // The drainer may be about to look at the moment of the stop.
        let most = if spool.is_some() { 6 } else { 1 };
        assert!(made <= most, "{made} connections to a redis that stands still");
    });
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).tcp().start();
    let rules = (OMHIREDIS.action)(&Place {
        port: redis.port().expect("TCP"),
        password: None,
        dynamic: false,
        spool: None,
        folder: &scene.folder("door"),
        more: "",
        resume: 1,
    });
    let rules = rules.replace(&format!("key=\"{KEY}\""), "key=\"list\"");
    stops(&mut redis, &Plain::new(&scene, OMHIREDIS.load, &rules), 1, "omhiredis");
}

/// With a spool, what a batch held that was under way at the stop is there afterwards.
#[test]
fn what_is_under_way_at_a_stop_is_in_the_spool() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).start();
    let spool = scene.folder("spool");
    let plain = Plain::new(&scene, "", &action(&redis, Some(&spool), ""));
    let mut rsyslogd = plain.start();
    let records = Numbered::new("state", 100);
    plain.send(&records, 0..1_000);
    redis.wait_llen("list", 1_000, PATIENCE);
    redis.sigstop();
    plain.send(&records, 1_000..3_000);
    plain.statistics.wait(0, "imptcp", "submitted", 3_000);
    rsyslogd.term();
    redis.sigcont();
    let mut rsyslogd = plain.start();
    assert_has(&redis, "list", "state", 0..3_000);
    rsyslogd.term();
}

/// A Redis that answers and takes nothing, without a spool: rsyslogd keeps the records, and the log does not fill with it.
fn told_in_a_handful_of_lines(mode: &str) {
    let states: [(&[&str], &[&str]); 3] = [
        (&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
        (&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
        (&["CONFIG", "SET", "min-replicas-to-write", "1"], &["CONFIG", "SET", "min-replicas-to-write", "0"]),
    ];
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let plain = Plain::new(&scene, "", &action(&redis, None, mode));
    let mut rsyslogd = plain.start();
    let records = Numbered::new("state", 100);
    let changes = || plain.said("action 'out' suspended").len() + plain.said("action 'out' resumed").len();
    for (round, (begin, end)) in (0..).zip(states) {
        let at = round * 3_000;
        plain.send(&records, at..at + 1_000);
        redis.wait_llen("list", at as usize + 1_000, PATIENCE);
        let (before, retries) = (changes(), plain.counters("out", "retries", 0)["retries"].as_u64().expect("a number"));
        redis.cmd(begin);
        plain.send(&records, at + 1_000..at + 3_000);
        // At a pace of two seconds by then.
        plain.counters("out", "retries", retries + 6);
        let during = changes() - before;
        assert!((1..=4).contains(&during), "{during} changes while {begin:?}:\n{}", plain.messages());
        redis.cmd(end);
        assert_has(&redis, "list", "state", 0..at + 3_000);
        assert!(changes() - before <= 6, "{} changes after {end:?}:\n{}", changes() - before, plain.messages());
    }
    rsyslogd.term();
}

#[test]
fn a_redis_that_refuses_is_told_in_a_handful_of_lines() {
    told_in_a_handful_of_lines("");
}

#[test]
fn a_redis_that_refuses_a_stream_is_told_in_a_handful_of_lines() {
    told_in_a_handful_of_lines("mode=\"stream\"");
}

/// Lists that records choose, to be held, without a spool: before the first batch nothing is known of them, and a key that no record is
/// for says nothing.
#[test]
fn a_key_that_no_record_is_for_holds_nobody() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    // What the module asks with while it knows no list.
    redis.cmd(&["SET", "x", "text"]);
    let action = format!(
        "action(type=\"omrust\" name=\"out\" {} onrefused=\"hold\" dynakey=\"on\" key=\"named\" key.prefix=\"k-\")",
        usual(&redis)
    );
    let plain = Plain::new(&scene, "template(name=\"named\" type=\"string\" string=\"k-one\")\n", &action);
    let mut rsyslogd = plain.start();
    plain.send(&Numbered::new("state", 100), 0..1_000);
    assert_has(&redis, "k-one", "state", 0..1_000);
    rsyslogd.term();
}

/// A list of another type that is held, without a spool: the same, and the records come when it is one.
#[test]
fn a_list_that_is_held_is_told_in_a_handful_of_lines() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let plain = Plain::new(&scene, "", &action(&redis, None, "onrefused=\"hold\""));
    let mut rsyslogd = plain.start();
    let records = Numbered::new("state", 100);
    redis.cmd(&["SET", "list", "text"]);
    plain.send(&records, 0..3_000);
    let changes = || plain.said("action 'out' suspended").len() + plain.said("action 'out' resumed").len();
    until("the action to be suspended", PATIENCE, || (changes() > 0).then_some(()));
    let mark = plain.statistics.mark();
    until("some seconds of it", PATIENCE, || {
        let seconds = std::fs::read_to_string(scene.file("stats")).ok()?.get(mark..)?.matches("\"imptcp").count();
        (seconds >= 6).then_some(())
    });
    assert!(changes() <= 4, "{} changes:\n{}", changes(), plain.messages());
    redis.cmd(&["DEL", "list"]);
    assert_has(&redis, "list", "state", 0..3_000);
    rsyslogd.term();
}

/// Pushes that no replica confirms, without a spool: the same.
#[test]
fn a_push_that_nobody_confirms_is_told_in_a_handful_of_lines() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let plain = Plain::new(&scene, "", &action(&redis, None, "ack=\"replica:1\""));
    let mut rsyslogd = plain.start();
    plain.send(&Numbered::new("state", 100), 0..3_000);
    plain.wait_said("replicas have confirmed");
    let retries = plain.counters("out", "retries", 0)["retries"].as_u64().expect("a number");
    plain.counters("out", "retries", retries + 6);
    let changes = plain.said("action 'out' suspended").len() + plain.said("action 'out' resumed").len();
    assert!(changes <= 4, "{changes} changes:\n{}", plain.messages());
    rsyslogd.term();
}
