//! Sentinel and `ack`: failovers under load through each door, what they may cost, and what holds records back.

use std::path::Path;

use e2e::bridge::{Bridge, BridgeConfig};
use e2e::child::{PATIENCE, Scene, free_port, until};
use e2e::host::Host;
use e2e::ledger::{Ledger, Verdict};
use e2e::load::{Load, Pace};
use e2e::native::door::{Door, KEY, OMRUST, Place};
use e2e::native::prog::OMPROG;
use e2e::pipe::Numbered;
use e2e::redis::Redis;
use e2e::rsyslog::{Rsyslogd, WORK};
use e2e::sender::{Job, Senders, Way};
use e2e::sentinel::{MASTER, PASSWORD, Plan, Watched};
use e2e::stream::{FIELD, entries};
use redis::Value;

/// Everything has arrived by then: an old master needs some ten seconds to be a replica, and only then are there enough.
const ARRIVAL: std::time::Duration = std::time::Duration::from_secs(60);

/// Every server that may become the master has what counts.
pub const ONE_REPLICA: Plan = Plan { replicas: 1, least: 1, password: None };
const TWO_REPLICAS: Plan = Plan { replicas: 2, least: 1, password: None };

/// A failover takes its time: what comes meanwhile should not take as long again.
pub fn pace() -> Pace {
    Pace { burst: 4, ..Pace::default() }
}

pub fn config(scene: &Scene, watched: &Watched, ack: &str) -> BridgeConfig {
    Bridge::config(scene)
        .set("redis.server", watched.addresses())
        .set("redis.sentinel-master", MASTER)
        .set("redis.password", PASSWORD)
        .set("redis.timeout-ms", 1_500)
        .set("redis.ack", ack)
        .set("queue.producer", "p")
}

/// Waits until all `count` records are with the master and the bridge has nothing left to push, and gives the list.
#[track_caller]
pub fn arrived(watched: &Watched, bridge: &Bridge, count: u64) -> Vec<Vec<u8>> {
    watched.servers[has_all(watched, bridge, count)].list(KEY)
}

/// The master that has all `count` records when the bridge has nothing left to push.
#[track_caller]
fn has_all(watched: &Watched, bridge: &Bridge, count: u64) -> usize {
    until("all records", ARRIVAL, || {
        let master = watched.master()?;
        let rest = bridge.status()["unpushed_bytes"].as_u64()?;
        (watched.length(KEY)? as u64 >= count && rest == 0).then_some(master)
    })
}

/// A bridge under load while something happens to its servers.
#[track_caller]
fn bridge_is_clean(plan: Plan, ack: &str, happens: impl FnMut(&mut Watched)) {
    fills_cleanly("queue", plan, ack, happens);
}

/// The same for a list or a stream of Redis', as `mode` says.
#[track_caller]
fn fills_cleanly(mode: &str, plan: Plan, ack: &str, mut happens: impl FnMut(&mut Watched)) {
    let scene = Scene::new();
    let mut watched = Watched::start(&scene, plan);
    let bridge = config(&scene, &watched, ack).set("queue.mode", mode).start();
    let records = Numbered::new("r", 100);
    let load = Load::start(&bridge.fifo(), &records, pace());
    watched.flow(KEY, 500);
    happens(&mut watched);
    watched.flow(KEY, 500);
    let sent = load.stop();
    let master = &watched.servers[has_all(&watched, &bridge, sent.count)];
    let have = match mode {
        "stream" => entries(master, KEY, FIELD).into_iter().map(|(_, record)| record).collect(),
        _ => master.list(KEY),
    };
    sent.ledger().judge(have).assert_clean();
    let changes = bridge.said(&format!("the master of {MASTER} is now 127.0.0.1:"));
    assert!(changes.len() >= 2, "{changes:#?}");
}

#[test]
fn the_bridge_lives_through_failovers_that_a_person_asks_for() {
    bridge_is_clean(ONE_REPLICA, "replica:1", |watched| {
        for _ in 0..2 {
            watched.fail_over();
            watched.flow(KEY, 500);
        }
    });
}

#[test]
fn the_bridge_lives_through_the_death_of_masters_that_come_back_as_replicas() {
    bridge_is_clean(TWO_REPLICAS, "replica:1", masters_die);
}

#[test]
fn a_stream_lives_through_the_death_of_masters() {
    fills_cleanly("stream", TWO_REPLICAS, "replica:1", masters_die);
}

fn masters_die(watched: &mut Watched) {
    for _ in 0..2 {
        let (old, _) = watched.kill_master();
        watched.flow(KEY, 500);
        watched.servers[old].start();
        watched.wait_replica(old);
    }
}

/// The master stands still with pushes on their way, another takes its place, and it goes on as if it were one: two masters for a moment.
#[test]
fn the_bridge_lives_through_two_masters_for_a_moment() {
    bridge_is_clean(TWO_REPLICAS, "replica:1", two_masters);
}

fn two_masters(watched: &mut Watched) {
    let old = until("a master", PATIENCE, || watched.master());
    watched.servers[old].sigstop();
    watched.wait_master_but(old);
    watched.servers[old].sigcont();
    watched.flow(KEY, 500);
    watched.wait_replica(old);
}

/// The master is cut off from all but the bridge, whose connection stands, and nothing but `ack` tells that it is one no longer.
#[test]
fn the_bridge_leaves_a_master_that_is_cut_off() {
    bridge_is_clean(Plan { least: 0, ..TWO_REPLICAS }, "replica:1", cut_off);
}

fn cut_off(watched: &mut Watched) {
    let old = until("a master", PATIENCE, || watched.master());
    watched.cut(old);
    watched.wait_master_but(old);
    watched.flow(KEY, 500);
    watched.mend(old);
    watched.wait_replica(old);
}

/// A connection that lay idle while another became the master: what comes next goes there, although the old one would still take it.
#[test]
fn an_idle_connection_hides_no_failover() {
    let scene = Scene::new();
    let watched = Watched::start(&scene, Plan { least: 0, ..ONE_REPLICA });
    let bridge = config(&scene, &watched, "memory").start();
    let records = Numbered::new("r", 100);
    let mut writer = e2e::pipe::PipeWriter::open(&bridge.fifo());
    writer.write_all((0..20).map(|n| records.record(n)));
    watched.servers[0].wait_llen(KEY, 20, PATIENCE);
    watched.servers[1].wait_llen(KEY, 20, PATIENCE);
    watched.cut(0);
    let new = watched.wait_master_but(0);
    writer.write_all((20..40).map(|n| records.record(n)));
    watched.servers[new].wait_llen(KEY, 40, PATIENCE);
    assert_eq!(watched.servers[0].llen(KEY), 20, "the old master was given nothing");
    Ledger::new().sent(&records, 0..40).judge(watched.servers[new].list(KEY)).assert_clean();
}

/// Without `ack` and without `min-replicas-to-write` the retained spool of the bridge brings again what the new master lacks.
#[test]
fn the_bridge_brings_again_what_a_failover_lost() {
    bridge_is_clean(Plan { least: 0, ..TWO_REPLICAS }, "memory", |watched| {
        watched.fail_over();
        watched.flow(KEY, 500);
    });
}

/// rsyslogd with a door before a watched master.
pub struct Native {
    scene: Scene,
    watched: Watched,
    rsyslogd: Rsyslogd,
    input: u16,
}

impl Native {
    fn start(plan: Plan, door: &Door, ack: &str, spool: bool) -> Self {
        let scene = Scene::new();
        let watched = Watched::start(&scene, plan);
        let addresses = watched.addresses();
        Self::before(&scene, watched, &addresses, door, &format!("ack=\"{ack}\""), spool)
    }

    /// The door finds the Sentinels at these addresses.
    pub fn before(scene: &Scene, watched: Watched, addresses: &[String], door: &Door, more: &str, spool: bool) -> Self {
        let scene = scene.clone();
        let input = free_port();
        let spool = spool.then(|| scene.folder("spool"));
        let action = action(&scene, addresses, door, more, spool.as_deref());
        let text = format!(
            "global(workDirectory=\"{WORK}\" processInternalMessages=\"on\")\nmodule(load=\"imptcp\" threads=\"1\")\n{}\n\
             template(name=\"record\" type=\"string\" string=\"~%syslogfacility%|%syslogpriority%|%timegenerated%|%msg%\")\n\
             template(name=\"line\" type=\"string\" string=\"~%syslogfacility%|%syslogpriority%|%timegenerated%|%msg%\\n\")\n\
             action(type=\"omfile\" file=\"{}\")\n\
             ruleset(name=\"in\" queue.type=\"LinkedList\" queue.size=\"500000\" queue.dequeueBatchSize=\"1024\" queue.workerThreads=\"1\" \
             queue.timeoutEnqueue=\"60000\" queue.timeoutShutdown=\"10000\") {{\n  {action}\n}}\n\
             input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{input}\" ruleset=\"in\")\n",
            door.load,
            scene.file("messages").display()
        );
        // The stock module folder must be named as soon as another one is.
        let mut setup = Rsyslogd::setup(&scene, "rsyslogd").text(&text).listens(input).host(&Host::installed());
        for folder in (door.modules)() {
            setup = setup.modules(&folder);
        }
        scene.watch_log(scene.file("messages"));
        let rsyslogd = setup.start();
        Self { scene, watched, rsyslogd, input }
    }

    /// What has become of the records while something happened to the servers. Not what is lost at once is waited for.
    pub fn run(mut self, mut happens: impl FnMut(&mut Watched)) -> Verdict {
        let job = Job { pace: pace(), ..Job::new(self.input, Way::Lines, "") };
        let senders = Senders::start(&job, &["a", "b"]);
        self.watched.flow(KEY, 500);
        happens(&mut self.watched);
        self.watched.flow(KEY, 500);
        let sent = senders.stop();
        let (mut last, mut since) = (0, std::time::Instant::now());
        while last < sent.count() && since.elapsed() < PATIENCE {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let now = self.watched.length(KEY).map_or(last, |now| now as u64);
            if now > last {
                (last, since) = (now, std::time::Instant::now());
            }
        }
        assert!(self.rsyslogd.try_term(PATIENCE), "rsyslogd does not end");
        let master = until("a master", PATIENCE, || self.watched.master());
        let said = std::fs::read_to_string(self.scene.file("messages")).unwrap_or_default();
        assert!(!said.contains("panic"), "{said}");
        sent.ledger().judge(self.watched.servers[master].list(KEY))
    }
}

/// The door's action with the Sentinels in place of a server.
fn action(scene: &Scene, addresses: &[String], door: &Door, more: &str, spool: Option<&Path>) -> String {
    let folder = scene.folder("door");
    let place = Place {
        port: 1,
        password: Some(PASSWORD),
        dynamic: false,
        spool,
        folder: &folder,
        more: &format!("timeout=\"1500\" {more}"),
        resume: 1,
    };
    let action = (door.action)(&place);
    let servers = format!("[\"{}\"]", addresses.join("\", \""));
    let file = folder.join("omrust.toml");
    if let Ok(toml) = std::fs::read_to_string(&file) {
        let plain = "server = \"127.0.0.1\"\nport = 1\n";
        assert!(toml.contains(plain), "{toml}");
        let ours = format!("server = {servers}\nsentinel-master = \"{MASTER}\"\n");
        std::fs::write(&file, toml.replace(plain, &ours)).expect("cannot write the settings");
        return action;
    }
    let plain = "server=\"127.0.0.1\" serverport=\"1\"";
    assert!(action.contains(plain), "{action}");
    action.replace(plain, &format!("server={servers} sentinel.master=\"{MASTER}\""))
}

/// The two doors of rsyslogd, without a spool of ours and with one.
fn doors() -> [(&'static Door, bool); 2] {
    [(&OMRUST, false), (&OMPROG, true)]
}

#[test]
fn the_doors_of_rsyslogd_live_through_failovers_that_a_person_asks_for() {
    for (door, spool) in doors() {
        let verdict = Native::start(ONE_REPLICA, door, "replica:1", spool).run(|watched| {
            watched.fail_over();
            watched.flow(KEY, 500);
        });
        assert!(verdict.is_clean(), "{}: {verdict}", door.name);
    }
}

#[test]
fn the_doors_of_rsyslogd_live_through_the_death_of_the_master() {
    for (door, spool) in doors() {
        let verdict = Native::start(TWO_REPLICAS, door, "replica:1", !spool).run(|watched| {
            let (old, _) = watched.kill_master();
            watched.flow(KEY, 500);
            watched.servers[old].start();
            watched.wait_replica(old);
        });
        assert!(verdict.is_clean(), "{}: {verdict}", door.name);
    }
}

#[test]
fn the_doors_of_rsyslogd_live_through_two_masters_for_a_moment() {
    for (door, spool) in doors() {
        let verdict = Native::start(TWO_REPLICAS, door, "replica:1", spool).run(two_masters);
        assert!(verdict.is_clean(), "{}: {verdict}", door.name);
    }
}

#[test]
fn the_doors_of_rsyslogd_leave_a_master_that_is_cut_off() {
    for (door, spool) in doors() {
        let verdict = Native::start(Plan { least: 0, ..TWO_REPLICAS }, door, "replica:1", spool).run(cut_off);
        assert!(verdict.is_clean(), "{}: {verdict}", door.name);
    }
}

/// Without `ack` a door that keeps nothing may lose what the new master lacks: nothing else, and nothing comes twice or out of order.
#[test]
fn what_a_failover_costs_without_ack_is_only_what_the_old_master_had_confirmed() {
    let verdict = Native::start(Plan { least: 0, ..TWO_REPLICAS }, &OMRUST, "memory", false).run(|watched| {
        watched.fail_over();
        watched.flow(KEY, 500);
    });
    assert_eq!((verdict.doubled.count, verdict.misordered.count, verdict.foreign.count), (0, 0, 0), "{verdict}");
    assert_eq!(verdict.found + verdict.lost.count, verdict.sent, "{verdict}");
}

/// No replica: what was pushed is not confirmed, no more than is under way is pushed behind it, and nothing is pushed twice.
#[test]
fn records_are_held_back_while_the_replica_is_away() {
    let scene = Scene::new();
    let mut watched = Watched::prepare(&scene, Plan { replicas: 1, least: 0, password: None });
    let bridge = Bridge::config(&scene)
        .redis(&watched.servers[0])
        .set("redis.ack", "replica:1")
        .set("queue.producer", "p")
        .set("queue.in-flight", 4)
        .set("batch.records-max", 25)
        .start();
    let records = Numbered::new("r", 100);
    let load = Load::start(&bridge.fifo(), &records, pace());
    watched.servers[0].wait_llen(KEY, 500, PATIENCE);
    watched.servers[1].kill9();
    bridge.wait_said("0 of 1 replicas have confirmed", 1);
    let before = watched.servers[0].llen(KEY);
    let retries = bridge.counter("retries");
    load.go_on(5_000);
    until("three attempts", ARRIVAL, || (bridge.counter("retries") >= retries + 3).then_some(()));
    let after = watched.servers[0].llen(KEY);
    assert!(after - before <= 4 * 25, "{before} records, and then {after}");
    // The bridge must not free what is not confirmed: a replica that was away for ever would have nothing of it.
    assert!(bridge.counter("pushed") <= before as u64);
    watched.servers[1].start();
    watched.servers[0].wait_llen(KEY, after + 5_000, ARRIVAL);
    let sent = load.stop();
    watched.servers[0].wait_llen(KEY, usize::try_from(sent.count).expect("so many fit"), ARRIVAL);
    until("nothing left", ARRIVAL, || (bridge.status()["unpushed_bytes"] == 0).then_some(()));
    sent.ledger().judge(watched.servers[0].list(KEY)).assert_clean();
    assert_eq!(bridge.said("have confirmed").len(), 1, "one line for one change");
}

/// A bridge that was killed before its push was confirmed finds it by the cursor, and waits for it all the same.
#[test]
fn what_an_earlier_life_pushed_is_waited_for() {
    let scene = Scene::new();
    let mut watched = Watched::prepare(&scene, Plan { replicas: 1, least: 0, password: None });
    let mut bridge = Bridge::config(&scene)
        .redis(&watched.servers[0])
        .set("redis.ack", "replica:1")
        .set("queue.producer", "p")
        .start();
    let records = Numbered::new("r", 100);
    let mut writer = e2e::pipe::PipeWriter::open(&bridge.fifo());
    // It pushes only where somebody confirms: the first ones show that it does.
    writer.write_all((0..5).map(|n| records.record(n)));
    until("the first confirmation", ARRIVAL, || (bridge.counter("pushed") == 5).then_some(()));
    watched.servers[1].kill9();
    // At once: it pushes nothing more when it has seen that nobody confirms.
    let rest: Vec<u8> = (5..20).flat_map(|n| records.record(n)).collect();
    writer.write(&rest);
    watched.servers[0].wait_llen(KEY, 20, PATIENCE);
    bridge.kill9();
    let said = bridge.said("0 of 1 replicas have confirmed").len();
    bridge.start();
    bridge.wait_said("0 of 1 replicas have confirmed", said + 1);
    assert_ne!(bridge.status()["unpushed_bytes"], 0, "it is not confirmed");
    watched.servers[1].start();
    until("the confirmation", ARRIVAL, || (bridge.status()["unpushed_bytes"] == 0).then_some(()));
    Ledger::new().sent(&records, 0..20).judge(watched.servers[1].list(KEY)).assert_clean();
}

#[test]
fn all_sentinels_are_away_at_the_start_and_come_back() {
    let scene = Scene::new();
    let mut watched = Watched::prepare(&scene, ONE_REPLICA);
    let bridge = config(&scene, &watched, "replica:1").start();
    let records = Numbered::new("r", 100);
    let load = Load::start(&bridge.fifo(), &records, pace());
    bridge.wait_said("no master of \"logs\" is found", 1);
    load.go_on(1_000);
    watched.start_sentinels();
    watched.flow(KEY, 1_000);
    // And once more, with a connection that stands: nobody needs them for that.
    watched.kill_sentinels();
    watched.servers[0].wait_llen(KEY, watched.servers[0].llen(KEY) + 1_000, PATIENCE);
    let sent = load.stop();
    watched.servers[0].wait_llen(KEY, usize::try_from(sent.count).expect("so many fit"), ARRIVAL);
    sent.ledger().judge(watched.servers[0].list(KEY)).assert_clean();
    assert_eq!(bridge.said("no master of").len(), 1);
}

#[test]
fn a_wrong_password_of_the_sentinels_is_one_clear_line() {
    let scene = Scene::new();
    let watched = Watched::start(&scene, Plan { password: Some("right"), ..ONE_REPLICA });
    let mut bridge = config(&scene, &watched, "memory").set("redis.sentinel-password", "s3cr3t-W0rd").start();
    bridge.wait_said("WRONGPASS", 1);
    let retries = bridge.counter("retries");
    until("more attempts", PATIENCE, || (bridge.counter("retries") >= retries + 3).then_some(()));
    let said = bridge.said("WRONGPASS");
    assert_eq!(said.len(), 1, "{said:#?}");
    let sentinels = format!("sentinel {}: says WRONGPASS", watched.addresses().join(", "));
    assert!(said[0].contains(&sentinels) || watched.addresses().iter().all(|one| said[0].contains(one)), "{said:#?}");
    assert!(!bridge.stderr().contains("s3cr3t-W0rd"));
    let word = scene.write("word", "right\n");
    bridge.reconfigure(|config| {
        let config = config.unset("redis.sentinel-password");
        config.set("redis.sentinel-password-file", word.to_str().expect("a plain path"))
    });
    bridge.hup();
    bridge.wait_said("the master of logs is now", 1);
    let check = bridge.run(&["check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

/// The ACL rule of `docs/DELIVERY.md` with what `ack` and Sentinel add to it is enough; without that it is told.
#[test]
fn the_smallest_rule_for_ack() {
    let scene = Scene::new();
    let rule =
        "on >word resetchannels ~rsyslog ~{rsyslog}:cursor:* +ping +get +multi +exec +eval +rpush +getset +ltrim";
    let server = Redis::setup(&scene).name("server0").tcp().acl("small", rule).start();
    let _replica = Redis::setup(&scene).name("server1").replica_of(&server).start();
    let bridge = Bridge::config(&scene)
        .redis(&server)
        .set("redis.user", "small")
        .set("redis.password", "word")
        .set("redis.ack", "replica:1")
        .set("queue.producer", "p")
        .start();
    bridge.wait_said("NOPERM", 1);
    server.cmd(&["ACL", "SETUSER", "small", "+wait"]);
    let records = Numbered::new("r", 100);
    let mut writer = e2e::pipe::PipeWriter::open(&bridge.fifo());
    writer.write_all((0..20).map(|n| records.record(n)));
    server.wait_llen(KEY, 20, PATIENCE);
    until("the confirmation", PATIENCE, || (bridge.status()["unpushed_bytes"] == 0).then_some(()));
}

/// Redis 7.0 has no WAITAOF: that is told at the check and, in one line, at the connect. Nothing is pushed.
#[test]
fn a_server_without_waitaof_is_told_in_words() {
    let scene = Scene::new();
    let server = Redis::setup(&scene).aof().start();
    let config = Bridge::config(&scene).redis(&server).set("redis.ack", "aof").set("queue.producer", "p");
    let bridge = config.start();
    if server.try_cmd(&["WAITAOF", "0", "0", "1"]).is_ok() {
        return waits_for_the_disk(&server, &bridge);
    }
    let check = bridge.run(&["check"]);
    let said = [check.stdout, check.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(!check.status.success() && said.contains("Redis 7.2 or later"), "{said}");
    bridge.wait_said("Redis 7.2 or later", 1);
    let retries = bridge.counter("retries");
    until("more attempts", PATIENCE, || (bridge.counter("retries") >= retries + 3).then_some(()));
    assert_eq!(bridge.said("Redis 7.2 or later").len(), 1);
    assert_eq!(server.cmd(&["EXISTS", KEY]), Value::Int(0));
}

fn waits_for_the_disk(server: &Redis, bridge: &Bridge) {
    let records = Numbered::new("r", 100);
    let mut writer = e2e::pipe::PipeWriter::open(&bridge.fifo());
    writer.write_all((0..500).map(|n| records.record(n)));
    server.wait_llen(KEY, 500, PATIENCE);
    until("the confirmation", PATIENCE, || (bridge.status()["unpushed_bytes"] == 0).then_some(()));
    Ledger::new().sent(&records, 0..500).judge(server.list(KEY)).assert_clean();
}

/// `appendfsync everysec`: a confirmation takes as long as the next sync takes to come, and comes.
#[test]
fn a_server_that_syncs_once_a_second_is_waited_for() {
    let scene = Scene::new();
    let server = Redis::setup(&scene).option("appendonly", "yes").option("appendfsync", "everysec").start();
    if let Err(error) = server.try_cmd(&["WAITAOF", "0", "0", "1"]) {
        // What becomes of that is seen above.
        return assert!(error.to_string().contains("unknown command"), "{error}");
    }
    let bridge = Bridge::config(&scene).redis(&server).set("redis.ack", "aof").set("queue.producer", "p").start();
    let records = Numbered::new("r", 100);
    let mut writer = e2e::pipe::PipeWriter::open(&bridge.fifo());
    for round in 0..5 {
        writer.write_all((round * 20..round * 20 + 20).map(|n| records.record(n)));
        // Each wait begins right behind a sync.
        until("the confirmation", PATIENCE, || (bridge.counter("pushed") == round * 20 + 20).then_some(()));
    }
    assert_eq!((bridge.counter("retries"), bridge.counter("reconnects")), (0, 0));
    Ledger::new().sent(&records, 0..100).judge(server.list(KEY)).assert_clean();
}
