//! The files in `rsyslog-conf/` for the module omrust, as they are shipped: each is valid, is started, and delivers what senders bring
//! over RELP. Only port, server, facility and paths are replaced, by exact strings that must be there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::child::{PATIENCE, Scene, free_port, until};
use e2e::host::Host;
use e2e::ledger::Ledger;
use e2e::native::door::module_folder;
use e2e::native::statistics::Statistics;
use e2e::redis::Redis;
use e2e::rsyslog::{Rsyslogd, RsyslogdSetup, WORK};
use e2e::sender::{Job, Senders, Sent, Way};

/// Every file of the module that is shipped.
pub(crate) const FILES: [&str; 3] =
    ["central-omrust.conf", "central-omrust-lanes.conf", "central-omrust-ultra-reliable.conf"];
const SMALLEST: &str = FILES[0];
const LANES: &str = FILES[1];
const ULTRA: &str = FILES[2];

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rsyslog-conf").join(name)
}

/// rsyslogd with a shipped file, listening for RELP on a port of its own.
struct Central {
    setup: RsyslogdSetup,
    relp: u16,
    statistics: Statistics,
}

impl Central {
    fn new(scene: &Scene, file: &str, redis: &Redis) -> Self {
        let relp = free_port();
        let statistics = Statistics::new(&scene.file("stats"));
        let setup = Rsyslogd::setup(scene, "central")
            .host(&Host::installed())
            .modules(module_folder())
            .text(&format!("global(workDirectory=\"{WORK}\" processInternalMessages=\"on\")"))
            .text(&statistics.module())
            .text(&format!("action(type=\"omfile\" file=\"{}\")", scene.file("messages").display()))
            .file(&shipped(file))
            // The senders here log as local0.
            .replace("local3.*", "local0.*")
            .replace("port=\"20514\"", &format!("address=\"127.0.0.1\" port=\"{relp}\""))
            .replace("server=\"127.0.0.1\"", &format!("server=\"{}\"", redis.socket().display()))
            .replace("/var/spool/rsyslog/", &format!("{WORK}/"))
            .listens(relp);
        scene.watch_log(scene.file("messages"));
        Self { setup, relp, statistics }
    }

    /// So many records of each run, each with an answer.
    fn send(&self, runs: &[&str], numbers: std::ops::Range<u64>) -> Sent {
        let mut job = Job::new(self.relp, Way::Relp(128), "");
        job.pace = e2e::load::Pace { burst: 500, pause: std::time::Duration::ZERO, torn_every: 0 };
        job.numbers = numbers;
        let sent = Senders::start(&job, runs).finish();
        assert_eq!((sent.unanswered(), sent.again()), (0, 0), "RELP did not answer for everything");
        sent
    }
}

/// The lists hold these records of each run, each once and each run in order.
#[track_caller]
fn assert_arrived(redis: &Redis, lists: &[String], runs: &[&str], numbers: std::ops::Range<u64>) {
    let all = || lists.iter().flat_map(|list| redis.list(list)).collect::<Vec<_>>();
    let count = runs.len() * usize::try_from(numbers.end - numbers.start).expect("a length");
    until(&format!("{count} records"), PATIENCE, || {
        (lists.iter().map(|list| redis.llen(list)).sum::<usize>() >= count).then_some(())
    });
    let ledger = runs.iter().fold(Ledger::new(), |ledger, run| ledger.sent_numbers(run, numbers.clone()));
    ledger.judge(all()).assert_clean();
}

#[test]
fn every_file_is_valid_as_it_is() {
    let host = Host::installed();
    for file in FILES {
        let mut command: Command = host.command();
        command
            .arg("-M")
            .arg(host.module_path(&[module_folder().to_path_buf()]))
            .arg("-N1")
            .arg("-f")
            .arg(shipped(file));
        let output = command.stdin(Stdio::null()).output().expect("rsyslogd");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.lines().count() == 2, "{file}: {}\n{said}", output.status);
    }
}

#[test]
fn every_action_has_a_spool_a_name_and_never_gives_up() {
    for file in FILES {
        let text = fs::read_to_string(shipped(file)).expect("readable");
        let text: String =
            text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
        let actions: Vec<&str> = text.split("action(").skip(1).collect();
        assert!(!actions.is_empty());
        for action in actions {
            for wanted in [
                "action.resumeRetryCount=\"-1\"",
                "action.resumeInterval=\"1\"",
                "spool.directory=\"/var/",
                "name=\"to_redis",
            ] {
                assert!(action.contains(wanted), "{file}: an action without {wanted}");
            }
        }
    }
}

#[test]
fn the_smallest_file_delivers_through_an_outage_and_a_restart() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).aof().start();
    let central = Central::new(&scene, SMALLEST, &redis);
    let mut rsyslogd = central.setup.clone().start();
    central.send(&["small"], 0..2_000);
    redis.wait_llen("rsyslog", 2_000, PATIENCE);
    redis.kill9();
    central.send(&["small"], 2_000..4_000);
    // What the queue holds goes into the spool at the latest when rsyslogd ends.
    rsyslogd.term();
    rsyslogd.start();
    central.send(&["small"], 4_000..5_000);
    redis.start();
    assert_arrived(&redis, &["rsyslog".into()], &["small"], 0..5_000);
    rsyslogd.term();
}

#[test]
fn the_lanes_file_keeps_each_host_in_order_over_several_workers() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).aof().start();
    let central = Central::new(&scene, LANES, &redis);
    let mut rsyslogd = central.setup.clone().start();
    let runs = ["web1", "web2", "db1", "db2", "mail", "proxy", "backup", "monitor"];
    central.send(&runs, 0..500);
    redis.kill9();
    central.send(&runs, 500..1_000);
    redis.start();
    central.send(&runs, 1_000..1_500);
    let lists: Vec<String> = (0..16).map(|lane| format!("rsyslog:{lane}")).collect();
    assert_arrived(&redis, &lists, &runs, 0..1_500);
    until("the counters of a second worker", PATIENCE, || {
        let accepted = |n: &u32| {
            let counters = central.statistics.last(0, &format!("to_redis_{n}"), "omrust")?;
            counters["accepted"].as_u64()
        };
        let busy = (0..4).filter(|n| accepted(n).is_some_and(|accepted| accepted > 0));
        (busy.count() > 1).then_some(())
    });
    for list in lists.iter().filter(|list| redis.llen(list) > 0) {
        let hosts = redis.list(list).len() % 1_500;
        assert_eq!(hosts, 0, "a host is spread over several lists");
    }
    rsyslogd.term();
}

#[test]
fn what_the_ultra_reliable_file_acknowledged_survives_kill_9_with_redis_away() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).aof().start();
    let central = Central::new(&scene, ULTRA, &redis);
    let mut rsyslogd = central.setup.clone().start();
    central.send(&["ultra"], 0..300);
    redis.kill9();
    // Each has its answer, and rsyslogd dies right behind the last one.
    central.send(&["ultra"], 300..600);
    rsyslogd.kill9();
    rsyslogd.start();
    central.send(&["ultra"], 600..700);
    rsyslogd.kill9();
    redis.start();
    rsyslogd.start();
    central.send(&["ultra"], 700..800);
    assert_arrived(&redis, &["rsyslog".into()], &["ultra"], 0..800);
    rsyslogd.term();
}

#[test]
fn the_servers_own_messages_go_the_same_way_where_the_file_says_so() {
    for (file, list) in [(SMALLEST, "rsyslog"), (LANES, "rsyslog:")] {
        let scene = Scene::new();
        let redis = Redis::setup(&scene).start();
        let central = Central::new(&scene, file, &redis);
        let port = free_port();
        let input = format!("module(load=\"imptcp\")\ninput(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\")");
        let mut rsyslogd = central.setup.text(&input).listens(port).start();
        e2e::rsyslog::send_tcp(port, ["<134>Nov 21 10:00:00 central prog: own 0 x"]);
        let lists: Vec<String> =
            if list.ends_with(':') { (0..16).map(|lane| format!("{list}{lane}")).collect() } else { vec![list.into()] };
        assert_arrived(&redis, &lists, &["own"], 0..1);
        rsyslogd.term();
    }
}
