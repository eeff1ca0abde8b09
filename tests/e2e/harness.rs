//! The harness itself: what the other tests stand on does what it says.

use std::time::Duration;

use e2e::bridge::Bridge;
use e2e::child::{PATIENCE, Scene, free_port, until};
use e2e::ledger::Ledger;
use e2e::pipe::{Numbered, PipeReader, PipeWriter, mkfifo};
use e2e::proxy::{Mode, Proxy};
use e2e::redis::Redis;
use e2e::rsyslog::{Rsyslogd, rsyslogd_n1, send_tcp};
use redis::Value;

#[test]
fn redis_keeps_its_data_over_a_kill() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).aof().start();
    let records = Numbered::new("aof", 100);
    for n in 0..100 {
        redis.cmd(&[b"RPUSH".as_slice(), b"list", &records.element(n)]);
    }
    redis.restart();
    assert_eq!(redis.llen("list"), 100);
    Ledger::new().sent(&records, 0..100).judge(redis.list("list")).assert_clean();
    redis.shutdown();
}

#[test]
fn redis_reads_a_long_list_in_chunks() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let records = Numbered::new("long", 60);
    for from in (0..25_000).step_by(5_000) {
        let mut words = vec![b"RPUSH".to_vec(), b"list".to_vec()];
        words.extend((from..from + 5_000).map(|n| records.element(n)));
        redis.cmd(&words);
    }
    Ledger::new().sent(&records, 0..25_000).judge(redis.list("list")).assert_clean();
}

#[test]
fn redis_asks_for_a_password_on_tcp_and_has_a_replica() {
    let scene = Scene::new();
    let primary = Redis::setup(&scene).tcp().password("a \"secret\"").acl("other", "on >word ~* +@all").start();
    let replica = Redis::setup(&scene).name("replica").replica_of(&primary).start();
    primary.cmd(&["SET", "key", "value"]);
    until("the replica to have the key", PATIENCE, || replica.get("key").filter(|value| value == b"value"));
    let port = primary.port().expect("it listens on TCP");
    let stranger = redis::Client::open(("127.0.0.1", port)).and_then(|client| client.get_connection());
    let refused =
        stranger.and_then(|mut c| redis::cmd("PING").query::<Value>(&mut c)).expect_err("it needs no password");
    assert!(refused.to_string().contains("NOAUTH"), "{refused}");
}

#[test]
fn rsyslogd_writes_through_ompipe_into_a_pipe() {
    let scene = Scene::new();
    let port = free_port();
    let pipe = scene.file("pipe");
    mkfifo(&pipe);
    let mut reader = PipeReader::open(&pipe);
    let mut rsyslogd = Rsyslogd::setup(&scene, "central")
        .text(
            r#"
            global(workDirectory="@WORK@")
            module(load="imptcp")
            template(name="bridge" type="string"
                     string="~%syslogfacility%|%syslogpriority%|%timegenerated%|%msg:1:3900:escape-cc%\n")
            input(type="imptcp" address="127.0.0.1" port="PORT" ruleset="in")
            ruleset(name="in" queue.type="LinkedList") {
                action(type="ompipe" pipe="PIPE" template="bridge" action.resumeRetryCount="-1"
                       action.resumeInterval="1" queue.type="LinkedList")
            }"#,
        )
        .replace("PORT", &port.to_string())
        .replace("PIPE", pipe.to_str().expect("a plain path"))
        .listens(port)
        .start();
    rsyslogd_n1(rsyslogd.config()).expect("the configuration is good");
    let records = Numbered::new("omp", 120);
    send_tcp(port, (0..50).map(|n| records.syslog(n)));
    let mut lines = reader.lines(50);
    rsyslogd.hup();
    rsyslogd.restart();
    send_tcp(port, (50..100).map(|n| records.syslog(n)));
    lines.extend(reader.lines(50));
    assert!(lines.iter().all(|line| line.starts_with(b"~16|6|")), "not the bridge's template");
    Ledger::new().sent_numbers("omp", 0..100).judge(&lines).assert_clean();
    rsyslogd.term();
}

#[test]
fn rsyslogd_n1_tells_a_bad_configuration() {
    let scene = Scene::new();
    let config = scene.write("bad.conf", "action(type=\"omnothing\")\n");
    let complaint = rsyslogd_n1(&config).expect_err("there is no omnothing");
    assert!(complaint.contains("omnothing"), "{complaint}");
}

#[test]
fn the_writer_waits_for_room_and_counts() {
    let scene = Scene::new();
    let pipe = scene.file("pipe");
    mkfifo(&pipe);
    let mut writer = PipeWriter::open(&pipe);
    let mut reader = PipeReader::open(&pipe);
    let records = Numbered::new("w", 100);
    let mut full = 0;
    while writer.try_write(&records.record(full)).is_some() {
        full += 1;
    }
    assert!(full >= 64 * 1024 / 4096 * 40 - 40, "the pipe took only {full} records");
    assert_eq!(writer.stalls, 1);
    let found = std::thread::scope(|threads| {
        let found = threads.spawn(|| reader.lines(2_000));
        writer.write_all((full..2_000).map(|n| records.record(n)));
        found.join().expect("the reader")
    });
    assert_eq!((writer.written, writer.torn), (2_000 - full, 0));
    Ledger::new().sent(&records, 0..2_000).judge(found).assert_clean();
    assert!(writer.is_empty());
}

/// RPUSH through the proxy, on a connection of its own.
fn push(proxy: &Proxy, element: &[u8]) -> Result<i64, redis::RedisError> {
    let url = format!("unix://{}", proxy.socket().display());
    let mut connection = redis::Client::open(url)?.get_connection_with_timeout(Duration::from_secs(5))?;
    redis::cmd("RPUSH").arg("list").arg(element).query(&mut connection)
}

#[test]
fn the_proxy_swallows_a_reply_after_redis_executed() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let proxy = Proxy::start(&scene, redis.socket());
    let url = format!("unix://{}", proxy.socket().display());
    let mut connection = redis::Client::open(url).and_then(|client| client.get_connection()).expect("a connection");
    let mut rpush = |element: &str| redis::cmd("RPUSH").arg("list").arg(element).query::<i64>(&mut connection);
    assert_eq!(rpush("one").expect("it passes"), 1);
    proxy.once(Mode::SwallowReplies(Duration::ZERO));
    rpush("two").expect_err("the reply was swallowed");
    assert_eq!((proxy.faults(), proxy.mode()), (1, Mode::Pass));
    assert_eq!(push(&proxy, b"three").expect("it passes again"), 3);
    assert_eq!(redis.list("list"), [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
}

#[test]
fn the_proxy_cuts_delays_and_refuses() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let proxy = Proxy::start(&scene, redis.socket());
    proxy.set(Mode::CutRequest(200));
    push(&proxy, &[b'x'; 1000]).expect_err("the request was cut");
    assert_eq!(redis.llen("list"), 0);
    proxy.set(Mode::Refuse);
    push(&proxy, b"x").expect_err("it was refused");
    proxy.set(Mode::DelayReplies(Duration::from_millis(50)));
    let start = std::time::Instant::now();
    assert_eq!(push(&proxy, b"x").expect("it passes, late"), 1);
    assert!(start.elapsed() >= Duration::from_millis(50));
}

#[test]
fn the_bridge_is_built_beside_this_test_and_configured_privately() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).password("secret").prepare();
    let bridge = Bridge::config(&scene).redis(&redis).set("batch.records-max", 100).prepare();
    assert!(bridge.command(&["run"]).get_program().to_string_lossy().contains("fifo-bridge"));
    let table: toml::Table = std::fs::read_to_string(bridge.file()).expect("a file").parse().expect("TOML");
    assert_eq!(table["batch"]["records-max"].as_integer(), Some(100));
    assert_eq!(table["redis"]["password"].as_str(), Some("secret"));
    assert!(bridge.fifo().starts_with(scene.path()) && bridge.spool().starts_with(scene.path()));
}
