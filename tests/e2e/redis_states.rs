//! Redis refuses for a while, each time for another reason: nothing is lost, one log line when it begins, one when it ends.

use std::path::Path;
use std::time::Duration;

use e2e::bridge::BridgeConfig;
use e2e::child::{PATIENCE, free_port, until};
use e2e::ledger::Ledger;
use e2e::load::{Load, Pace, Sent};
use e2e::pipe::parse;
use e2e::redis::RedisSetup;
use e2e::stage::{KEY, Stage};

/// Lines without a frame among the records, so that the dead letters are part of the game.
fn pace() -> Pace {
    Pace { torn_every: 70, ..Pace::default() }
}

/// The whole end of a scenario that the bridge lived through.
#[track_caller]
fn finish(stage: &Stage, load: Load) -> Sent {
    load.go_on(500);
    let sent = load.stop();
    stage.judge(&sent);
    stage.counted(&sent);
    sent
}

/// `word` tells the trouble in the log: once, and one line says that it is over.
#[track_caller]
fn said_once(stage: &Stage, word: &str) {
    stage.bridge.wait_said("is back after", 1);
    let lines = stage.bridge.said("redis");
    assert_eq!(stage.bridge.said(word).len(), 1, "{word} in {lines:#?}");
    assert_eq!(stage.bridge.said("is back after").len(), 1, "{lines:#?}");
    // The pauses grow: an outage of a few seconds is a few attempts.
    let retries = stage.bridge.counter("retries");
    assert!((1..40).contains(&retries), "{retries} attempts");
}

/// Redis answers pushes with `word` between `begin` and `end`.
#[track_caller]
fn refuses(stage: &Stage, word: &str, begin: &[&[&str]], end: &[&[&str]]) {
    let load = stage.load(pace());
    load.go_on(1000);
    for command in begin {
        stage.redis.cmd(command);
    }
    stage.bridge.wait_said(word, 1);
    let before = stage.redis.llen(KEY);
    load.go_on(3000);
    assert_eq!(stage.redis.llen(KEY), before, "redis takes records although it says {word}");
    for command in end {
        stage.redis.cmd(command);
    }
    finish(stage, load);
    said_once(stage, word);
}

#[test]
fn out_of_memory() {
    let stage = Stage::new(|redis| redis, |bridge| bridge.set("queue.in-flight", 16));
    refuses(&stage, "OOM", &[&["CONFIG", "SET", "maxmemory", "1"]], &[&["CONFIG", "SET", "maxmemory", "0"]]);
}

#[test]
fn out_of_memory_with_small_batches() {
    let stage = Stage::new(|redis| redis, |bridge| bridge.set("batch.records-max", 5));
    refuses(&stage, "OOM", &[&["CONFIG", "SET", "maxmemory", "1"]], &[&["CONFIG", "SET", "maxmemory", "0"]]);
}

#[test]
fn read_only_while_it_is_a_replica() {
    let nobody = free_port().to_string();
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    refuses(&stage, "READONLY", &[&["REPLICAOF", "127.0.0.1", &nobody]], &[&["REPLICAOF", "NO", "ONE"]]);
}

#[test]
fn too_few_replicas() {
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    let set = |value| ["CONFIG", "SET", "min-replicas-to-write", value];
    refuses(&stage, "NOREPLICAS", &[&set("1")], &[&set("0")]);
}

#[test]
fn no_snapshot_possible() {
    let stage = Stage::new(|redis| redis.option("enable-protected-configs", "local"), |bridge| bridge);
    let gone = stage.scene.folder("gone");
    stage.redis.cmd(&["CONFIG", "SET", "save", "3600 1", "dir", gone.to_str().expect("a plain path")]);
    std::fs::remove_dir(gone).expect("an empty folder");
    let set = |value| ["CONFIG", "SET", "stop-writes-on-bgsave-error", value];
    refuses(&stage, "MISCONF", &[&["BGSAVE"]], &[&set("no")]);
}

#[test]
fn busy_with_a_script_of_somebody_else() {
    let stage =
        Stage::new(|redis| redis.option("busy-reply-threshold", "50"), |bridge| bridge.set("redis.timeout-ms", 20_000));
    let load = stage.load(pace());
    load.go_on(500);
    let mut other = stage.redis.connect().expect("a connection");
    let endless = std::thread::spawn(move || {
        redis::cmd("EVAL").arg("while true do end").arg(0).query::<redis::Value>(&mut other).expect_err("it is killed")
    });
    stage.bridge.wait_said("BUSY", 1);
    stage.redis.cmd(&["SCRIPT", "KILL"]);
    endless.join().expect("the script was killed");
    finish(&stage, load);
    said_once(&stage, "BUSY");
}

#[test]
fn absent_at_the_start() {
    let mut stage = Stage::prepare(|redis| redis, |bridge| bridge);
    stage.bridge.start();
    let load = stage.load(pace());
    stage.bridge.wait_said("takes nothing", 1);
    load.go_on(2000);
    assert!(stage.bridge.status()["connected"] == false);
    stage.redis.start();
    finish(&stage, load);
    said_once(&stage, "takes nothing");
}

/// Two idle seconds without Redis cost next to nothing.
#[test]
fn an_outage_costs_no_processor_time() {
    let mut stage = Stage::prepare(|redis| redis, |bridge| bridge);
    stage.bridge.start();
    stage.bridge.wait_said("takes nothing", 1);
    let before = stage.bridge.child().cpu_time();
    std::thread::sleep(Duration::from_secs(2));
    let used = stage.bridge.child().cpu_time().saturating_sub(before);
    assert!(used <= Duration::from_millis(60), "{used:?} of processor time in 2 s without redis and without records");
    let retries = stage.bridge.counter("retries");
    assert!((3..15).contains(&retries), "{retries} attempts in 2 s");
}

#[test]
fn loading_its_data() {
    let mut stage = Stage::new(
        |redis| {
            let slow = redis.option("key-load-delay", "1000").option("loading-process-events-interval-bytes", "1024");
            slow.aof().option("rdbcompression", "no")
        },
        |bridge| bridge,
    );
    let mut connection = stage.redis.connect().expect("a connection");
    for n in 0..1000 {
        redis::cmd("SET").arg(n).arg("x".repeat(200)).exec(&mut connection).expect("it is set");
    }
    // Only a snapshot, not the commands behind it, is loaded with a look at the clients in between.
    stage.redis.cmd(&["BGREWRITEAOF"]);
    until("the snapshot", PATIENCE, || {
        let info = redis::cmd("INFO").arg("persistence").query::<String>(&mut connection).expect("INFO");
        info.contains("aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0").then_some(())
    });
    let load = stage.load(pace());
    load.go_on(1000);
    stage.redis.kill9();
    stage.redis.launch();
    stage.bridge.wait_said("LOADING", 1);
    stage.redis.ready();
    finish(&stage, load);
    said_once(&stage, "LOADING");
    assert!(stage.bridge.said("takes nothing").len() <= 2, "{:#?}", stage.bridge.said("redis"));
}

fn password_file(stage: &Stage, text: &str) {
    stage.scene.write("password", text);
}

fn with_password_file(bridge: BridgeConfig, path: &Path) -> BridgeConfig {
    bridge.unset("redis.password").set("redis.password-file", path.to_str().expect("a plain path"))
}

#[test]
fn a_wrong_password_is_corrected_in_its_file() {
    let mut stage = Stage::prepare(|redis| redis.password("right"), |bridge| bridge);
    let file = stage.scene.file("password");
    stage.bridge.reconfigure(|bridge| with_password_file(bridge, &file));
    password_file(&stage, "wrong\n");
    stage.redis.start();
    stage.bridge.start();
    let load = stage.load(pace());
    stage.bridge.wait_said("WRONGPASS", 1);
    load.go_on(1000);
    password_file(&stage, "right\n");
    finish(&stage, load);
    said_once(&stage, "WRONGPASS");
    assert!(!stage.bridge.stderr().contains("right"), "a password is in the log");
}

#[test]
fn a_password_is_set_in_redis_and_then_in_the_file() {
    let mut stage = Stage::prepare(|redis| redis, |bridge| bridge);
    let file = stage.scene.file("password");
    stage.bridge.reconfigure(|bridge| with_password_file(bridge, &file));
    password_file(&stage, "");
    stage.redis.start();
    stage.bridge.start();
    let load = stage.load(pace());
    load.go_on(500);
    let mut connection = stage.redis.connect().expect("a connection");
    for command in [&["CONFIG", "SET", "requirepass", "late"][..], &["CLIENT", "KILL", "TYPE", "normal"]] {
        redis::cmd(command[0]).arg(&command[1..]).exec(&mut connection).expect("it is done");
    }
    stage.bridge.wait_said("NOAUTH", 1);
    load.go_on(1000);
    password_file(&stage, "late");
    stage.bridge.wait_said("is back after", 1);
    redis::cmd("CONFIG").arg(&["SET", "requirepass", ""]).exec(&mut connection).expect("it is done");
    finish(&stage, load);
    said_once(&stage, "NOAUTH");
}

/// These rights are enough.
const RIGHTS: &str =
    "on >secret resetkeys ~rsyslog ~{rsyslog}:cursor:* -@all +ping +get +multi +exec +eval +rpush +getset +ltrim";

#[test]
fn an_acl_user_whose_rights_are_taken_and_given_back() {
    let stage = Stage::new(
        |redis| redis.acl("bridge", RIGHTS),
        |bridge| bridge.set("redis.user", "bridge").set("redis.password", "secret"),
    );
    let rights = |keys| ["ACL", "SETUSER", "bridge", "resetkeys", keys, "~{rsyslog}:cursor:*"];
    refuses(&stage, "NOPERM", &[&rights("~nothing")], &[&rights("~rsyslog")]);
    assert_eq!(stage.bridge.said("they wait in the spool").len(), 1);
}

#[test]
fn an_acl_user_who_may_not_read_the_cursor() {
    let stage = Stage::new(
        |redis| redis.acl("bridge", RIGHTS),
        |bridge| bridge.set("redis.user", "bridge").set("redis.password", "secret"),
    );
    let rights = |keys| ["ACL", "SETUSER", "bridge", "resetkeys", keys];
    let load = stage.load(pace());
    load.go_on(500);
    stage.redis.cmd(&rights("~rsyslog"));
    stage.bridge.wait_said("NOPERM", 1);
    load.go_on(1000);
    stage.redis.cmd(&["ACL", "SETUSER", "bridge", "resetkeys", "~rsyslog", "~{rsyslog}:cursor:*"]);
    finish(&stage, load);
    said_once(&stage, "NOPERM");
}

#[test]
fn another_database() {
    let mut stage = Stage::new(|redis| redis, |bridge| bridge.set("redis.db", 3));
    let load = stage.load(pace());
    load.go_on(2000);
    let sent = load.stop();
    stage.bridge.wait_letters(sent.torn.len(), PATIENCE);
    until("all records to be pushed", PATIENCE, || (stage.bridge.counter("pushed") == sent.count).then_some(()));
    stage.bridge.term();
    assert_eq!(stage.redis.llen(KEY), 0);
    stage.redis.cmd(&["SWAPDB", "0", "3"]);
    sent.ledger().judge(stage.redis.list(KEY)).assert_clean();
}

/// Puts a string where the list was, and keeps the list; both in one step.
const SPOIL: [&str; 3] = ["EVAL", "redis.call('RENAME', 'rsyslog', 'aside') redis.call('SET', 'rsyslog', 'x')", "0"];
/// Puts the list back.
const MEND: [&str; 3] = ["RENAME", "aside", "rsyslog"];

#[test]
fn the_key_is_no_list_and_records_wait() {
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    let load = stage.load(pace());
    stage.redis.wait_llen(KEY, 500, PATIENCE);
    stage.redis.cmd(&SPOIL);
    stage.bridge.wait_said("WRONGTYPE", 1);
    load.go_on(3000);
    stage.redis.cmd(&MEND);
    finish(&stage, load);
    said_once(&stage, "WRONGTYPE");
}

/// Records that Redis refused are in the dead letters, the others in the list, each once and in order.
#[track_caller]
fn judge_with_refused(stage: &Stage, sent: &Sent) {
    let letters = stage.bridge.dead_letters();
    let of = |reason: &str| -> Vec<Vec<u8>> {
        let those = letters.iter().filter(|letter| letter["reason"] == reason);
        those.map(|letter| letter["record"].as_str().expect("text").as_bytes().to_vec()).collect()
    };
    let (refused, list) = (of("refused"), stage.redis.list(KEY));
    assert!(!refused.is_empty());
    let number = |element: &Vec<u8>| parse(element).map_or(u64::MAX, |(_, n)| n);
    for part in [&refused, &list] {
        assert!(part.windows(2).all(|pair| number(&pair[0]) < number(&pair[1])), "out of order");
    }
    let mut all = [refused, list].concat();
    all.sort_by_key(number);
    sent.ledger().judge(all).assert_clean();
    Ledger::new().sent_exactly(&sent.torn).judge(of("torn")).assert_clean();
}

#[test]
fn the_key_is_no_list_and_records_become_dead_letters() {
    let stage = Stage::new(
        |redis| redis,
        |bridge| bridge.set("queue.on-refused", "dead-letter").set("spool.segment-size", "64k"),
    );
    let load = stage.load(Pace { torn_every: 7, ..pace() });
    stage.redis.wait_llen(KEY, 500, PATIENCE);
    for _ in 0..5 {
        load.go_on(500);
        let letters = stage.bridge.dead_letters().len();
        stage.redis.cmd(&SPOIL);
        stage.bridge.wait_letters(letters + 500, PATIENCE);
        stage.redis.cmd(&MEND);
    }
    load.go_on(500);
    let sent = load.stop();
    let pieces = sent.count + sent.torn.len() as u64;
    until("all records to be told apart", PATIENCE, || (stage.bridge.counter("received") == pieces).then_some(()));
    stage.rest();
    judge_with_refused(&stage, &sent);
    let letters = stage.bridge.dead_letters().len() as u64;
    assert_eq!(stage.bridge.counter("dead_letters"), letters);
    let arrived = stage.bridge.counter("pushed") + stage.bridge.counter("duplicates_suppressed");
    assert_eq!(arrived + letters, pieces);
    let lines = stage.bridge.said("they become dead letters");
    assert!((1..=5).contains(&lines.len()), "{lines:#?}");
}

/// Killed while it parks what Redis refuses; and when it comes back, Redis takes records again.
#[test]
fn killed_while_refused_records_become_dead_letters() {
    let mut stage = Stage::new(|redis| redis, |bridge| bridge.set("queue.on-refused", "dead-letter"));
    let load = stage.load(Pace { torn_every: 7, ..pace() });
    for round in 0..30 {
        let letters = stage.bridge.dead_letters().len();
        stage.redis.wait_llen(KEY, stage.redis.llen(KEY) + 100, PATIENCE);
        stage.bridge.kill9();
        stage.redis.cmd(&SPOIL);
        let place = if round % 2 == 0 { "dead-letter-before-write" } else { "dead-letter-after-write" };
        // Many enough to be in the midst of the refused ones.
        stage.bridge.launch_with_fault(place, fastrand::u64(50..100));
        stage.bridge.wait_exit(PATIENCE);
        assert!(stage.bridge.dead_letters().len() >= letters + 30);
        stage.redis.cmd(&MEND);
        stage.bridge.start();
    }
    let sent = load.stop();
    until("all records in the list or the dead letters", PATIENCE, || {
        let all = stage.redis.llen(KEY) + stage.bridge.dead_letters().len();
        (all >= usize::try_from(sent.count).expect("few") + sent.torn.len()).then_some(())
    });
    stage.rest();
    judge_with_refused(&stage, &sent);
}

#[test]
fn a_policy_that_may_evict_the_cursor_is_reported_once() {
    let stage = Stage::new(|redis: RedisSetup| redis.option("maxmemory-policy", "allkeys-lru"), |bridge| bridge);
    let load = stage.load(pace());
    for _ in 0..5 {
        load.go_on(200);
        let reconnects = stage.bridge.counter("reconnects");
        stage.redis.cmd(&["CLIENT", "KILL", "TYPE", "normal"]);
        until("the bridge to connect again", PATIENCE, || {
            (stage.bridge.counter("reconnects") > reconnects).then_some(())
        });
    }
    finish(&stage, load);
    assert_eq!(stage.bridge.said("maxmemory-policy is allkeys-lru").len(), 1);
    stage.redis.cmd(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
}
