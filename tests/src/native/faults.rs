//! The faults that no record may suffer from. Each door runs through all of them.

use std::time::Duration;

use crate::child::{PATIENCE, until};
use crate::load::Pace;
use crate::native::rig::{Plan, Queue, Rig};
use crate::native::scenario::{Scenario, Step};
use crate::sender::Way;

/// Redis keeps what it has acknowledged when it is killed.
const AOF: [(&str, &str); 2] = [("appendonly", "yes"), ("appendfsync", "always")];

/// Some time for a fault that would otherwise be over before anybody noticed it.
const FAULT: Duration = Duration::from_millis(600);

/// How long the module waits for Redis here, until it spools or gives the batch back.
const IMPATIENT: &str = "timeout=\"400\" connecttimeout=\"400\"";

fn plan(spool: bool) -> Plan {
    Plan { spool, more: IMPATIENT.to_owned(), ..Plan::default() }
}

/// `kill -9` of Redis, three times under load.
pub fn redis_killed(plan: Plan) -> Scenario {
    let plan = Plan { redis: AOF.to_vec(), ..plan };
    let round = [Step::Flow(500), Step::KillRedis, Step::Sent(1_000), Step::StartRedis];
    let steps = [vec![Step::Send(&["a", "b"])], round.repeat(3), vec![Step::Flow(500)]].concat();
    Scenario { name: "redis is killed three times", plan, steps }
}

/// A proxy swallows replies and cuts the connection, at once or late.
pub fn replies_swallowed(spool: bool) -> Scenario {
    let plan = Plan { proxy: true, ..plan(spool) };
    let round = [
        Step::Flow(500),
        Step::Swallow(Duration::ZERO),
        Step::Sent(500),
        Step::Flow(500),
        Step::Swallow(Duration::from_millis(700)),
        Step::Sent(500),
    ];
    let steps = [vec![Step::Send(&["a", "b"])], round.repeat(3), vec![Step::Flow(500)]].concat();
    Scenario { name: "replies are swallowed", plan, steps }
}

/// Redis stands still, and is cut off before it goes on: what it was sent last it does in the end.
pub fn redis_stands_still(spool: bool) -> Scenario {
    let plan = Plan { proxy: true, ..plan(spool) };
    let round = [
        Step::Flow(500),
        Step::StopRedis,
        Step::Sent(1_000),
        Step::Last(FAULT),
        Step::Refuse,
        Step::ContinueRedis,
        Step::Last(FAULT / 4),
        Step::Pass,
    ];
    let steps = [vec![Step::Send(&["a", "b"])], round.repeat(2), vec![Step::Flow(500)]].concat();
    Scenario { name: "redis stands still", plan, steps }
}

/// Redis has no memory left for a while.
pub fn out_of_memory(spool: bool) -> Scenario {
    let begin: &[&str] = &["CONFIG", "SET", "maxmemory", "1"];
    let end: &[&str] = &["CONFIG", "SET", "maxmemory", "0"];
    refused("redis is out of memory", spool, begin, end)
}

/// Redis becomes a replica for a while.
pub fn read_only(spool: bool) -> Scenario {
    refused("redis is read-only", spool, &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"])
}

/// Redis cannot write its snapshots and takes nothing therefore.
pub fn no_snapshot(spool: bool) -> Scenario {
    let plan = Plan { redis: vec![("enable-protected-configs", "local")], ..plan(spool) };
    let steps = vec![
        Step::Send(&["a", "b"]),
        Step::Flow(500),
        Step::Do(forbid_snapshots),
        Step::Sent(1_000),
        Step::Last(FAULT),
        Step::Redis(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]),
        Step::Flow(500),
    ];
    Scenario { name: "redis cannot write snapshots", plan, steps }
}

fn forbid_snapshots(rig: &mut Rig) {
    let gone = rig.scene.folder("gone");
    rig.redis.cmd(&["CONFIG", "SET", "save", "3600 1", "dir", gone.to_str().expect("a plain path")]);
    std::fs::remove_dir(gone).expect("an empty folder");
    rig.redis.cmd(&["BGSAVE"]);
    until("redis to refuse", PATIENCE, || rig.redis.try_cmd(&["SET", "x", "y"]).is_err().then_some(()));
}

fn refused(name: &'static str, spool: bool, begin: &'static [&str], end: &'static [&str]) -> Scenario {
    let round = [Step::Flow(500), Step::Redis(begin), Step::Sent(1_000), Step::Last(FAULT), Step::Redis(end)];
    let steps = [vec![Step::Send(&["a", "b"])], round.repeat(2), vec![Step::Flow(500)]].concat();
    Scenario { name, plan: plan(spool), steps }
}

/// Redis is killed and loads its data for some seconds, in which it answers that it does.
pub fn loading(spool: bool) -> Scenario {
    let slow =
        [("key-load-delay", "2000"), ("loading-process-events-interval-bytes", "1024"), ("rdbcompression", "no")];
    let plan = Plan { redis: [AOF.as_slice(), &slow].concat(), ..plan(spool) };
    let steps = vec![
        Step::Do(fill),
        Step::Send(&["a", "b"]),
        Step::Flow(500),
        Step::KillRedis,
        Step::Do(|rig| rig.redis.launch()),
        Step::Sent(1_000),
        Step::Do(|rig| rig.redis.ready()),
        Step::Flow(500),
    ];
    Scenario { name: "redis loads its data", plan, steps }
}

/// Gives Redis something to load.
fn fill(rig: &mut Rig) {
    let mut connection = rig.redis.connect().expect("a connection");
    for n in 0..1_000 {
        redis::cmd("SET").arg(format!("x{n}")).arg("x".repeat(200)).exec(&mut connection).expect("it is set");
    }
    // Read command by command it would be loaded at once.
    rig.redis.cmd(&["BGREWRITEAOF"]);
    until("the snapshot", PATIENCE, || {
        let info = redis::cmd("INFO").arg("persistence").query::<String>(&mut connection).expect("INFO");
        info.contains("aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0").then_some(())
    });
}

/// One of three lists is not a list. The others flow on.
pub fn wrong_type() -> Scenario {
    let plan = Plan { dynamic: true, ..plan(true) };
    let steps = vec![
        Step::Redis(&["SET", "k-b", "text"]),
        Step::Send(&["a", "b", "c"]),
        Step::Sent(1_000),
        Step::Flow(1_000),
        Step::Last(FAULT),
        Step::Flow(1_000),
        // From here on the list is one.
        Step::Redis(&["DEL", "k-b"]),
        Step::Sent(1_000),
        Step::Flow(500),
    ];
    Scenario { name: "one of several lists has a wrong type", plan, steps }
}

/// The password is wrong at first.
pub fn wrong_password(spool: bool) -> Scenario {
    let plan = Plan { password: Some("late"), ..plan(spool) };
    let steps = vec![
        Step::Send(&["a"]),
        Step::Sent(1_000),
        Step::Last(FAULT),
        Step::Redis(&["ACL", "SETUSER", "default", ">late"]),
        Step::Flow(500),
        // And it is taken away from a connection that works.
        Step::Redis(&["ACL", "SETUSER", "default", "<late"]),
        Step::Redis(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]),
        Step::Sent(1_000),
        Step::Last(FAULT),
        Step::Redis(&["ACL", "SETUSER", "default", ">late"]),
        Step::Flow(500),
    ];
    Scenario { name: "the password is wrong for a while", plan, steps }
}

/// rsyslogd is stopped and started again while Redis is away.
pub fn stopped_in_an_outage(way: Way) -> Scenario {
    let plan = Plan { redis: AOF.to_vec(), way, ..plan(true) };
    let steps = vec![
        Step::Send(&["a"]),
        Step::Flow(500),
        Step::KillRedis,
        Step::Sent(5_000),
        Step::Finish,
        Step::Taken,
        Step::Term,
        Step::Start,
        Step::Send(&["b"]),
        Step::Sent(2_000),
        Step::Finish,
        Step::Taken,
        Step::Term,
        Step::StartRedis,
        Step::Start,
        Step::Send(&["c"]),
        Step::Flow(500),
    ];
    Scenario { name: "rsyslogd is stopped while redis is away", plan, steps }
}

/// rsyslogd is stopped while Redis stands still.
pub fn stopped_while_redis_stands_still() -> Scenario {
    let steps = vec![
        Step::Send(&["a"]),
        Step::Flow(500),
        Step::StopRedis,
        Step::Sent(3_000),
        Step::Finish,
        Step::Taken,
        Step::Term,
        Step::ContinueRedis,
        Step::Start,
        Step::Send(&["b"]),
        Step::Flow(500),
    ];
    Scenario { name: "rsyslogd is stopped while redis stands still", plan: plan(true), steps }
}

/// `kill -9` of rsyslogd, three times. RELP's answer comes after the action's: the sender sends again what has no answer.
///
/// With [`Queue::Direct`] the control loses nothing either, and cannot: its action answers when Redis has, for one message at a time, and
/// RELP answers after it. So nothing that was answered is in the process when it dies. The price is a round trip to Redis and
/// back for each message. With a queue in memory, as omhiredis is used, what RELP has answered for is lost with the process, whatever the
/// action. What tells the actions apart is a kill while Redis takes nothing: [`rsyslogd_killed_while_refused`], [`both_killed`].
pub fn rsyslogd_killed(queue: Queue, spool: bool) -> Scenario {
    let plan = Plan { way: Way::Relp(1000), queue, ..plan(spool) };
    let round = [Step::Flow(300), Step::Kill, Step::Start];
    let steps = [vec![Step::Send(&["a", "b"])], round.repeat(3), vec![Step::Flow(300)]].concat();
    Scenario { name: "rsyslogd is killed", plan, steps }
}

/// The same while Redis answers that it has no memory left.
pub fn rsyslogd_killed_while_refused() -> Scenario {
    let plan = Plan { way: Way::Relp(1000), queue: Queue::Direct, ..plan(true) };
    let round = [
        Step::Flow(300),
        Step::Redis(&["CONFIG", "SET", "maxmemory", "1"]),
        Step::Sent(500),
        Step::Kill,
        Step::Start,
        Step::Sent(500),
        Step::Kill,
        Step::Redis(&["CONFIG", "SET", "maxmemory", "0"]),
        Step::Start,
    ];
    let steps = [vec![Step::Send(&["a", "b"])], round.repeat(2), vec![Step::Flow(300)]].concat();
    Scenario { name: "rsyslogd is killed while redis refuses", plan, steps }
}

/// The same while Redis is away.
pub fn both_killed() -> Scenario {
    let plan = Plan { way: Way::Relp(1000), queue: Queue::Direct, redis: AOF.to_vec(), ..plan(true) };
    let round = [
        Step::Flow(300),
        Step::KillRedis,
        Step::Sent(500),
        Step::Kill,
        Step::Start,
        Step::Sent(500),
        Step::Kill,
        Step::StartRedis,
        Step::Start,
    ];
    let steps = [vec![Step::Send(&["a", "b"])], round.repeat(2), vec![Step::Flow(300)]].concat();
    Scenario { name: "rsyslogd and redis are killed", plan, steps }
}

/// The spool is full long before Redis is back.
pub fn spool_full() -> Scenario {
    let plan = Plan { redis: AOF.to_vec(), ..plan(true) };
    let plan = Plan { more: format!("{IMPATIENT} spool.maxsize=\"1m\""), ..plan };
    let round = [Step::Flow(500), Step::KillRedis, Step::Sent(30_000), Step::Last(FAULT), Step::StartRedis];
    let steps = [vec![Step::Send(&["a", "b"])], round.repeat(2), vec![Step::Flow(500)]].concat();
    Scenario { name: "the spool is full", plan, steps }
}

/// [`redis_killed`] with so many workers that take so many records at once.
pub fn workers_and_batches(workers: u32, batch: u32) -> Scenario {
    // One record at a time is slow: the queue should not grow for minutes.
    let pace = if batch == 1 { Pace { burst: 2, ..Pace::default() } } else { Pace::default() };
    redis_killed(Plan { queue: Queue::Memory { workers, batch }, pace, ..plan(true) })
}

/// [`redis_killed`] with rsyslogd in the background.
pub fn in_the_background() -> Scenario {
    redis_killed(Plan { daemon: true, ..plan(true) })
}

/// [`redis_killed`] as it is.
pub fn redis_killed_plainly(spool: bool) -> Scenario {
    redis_killed(plan(spool))
}

/// Who keeps the records while Redis is away: the module, or rsyslog's own queue with any action behind it.
fn keeper(own_queue: bool, bytes: u64) -> Plan {
    let queue = if own_queue { Queue::Disk } else { Queue::Direct };
    let way = Way::Relp(1000);
    Plan { way, queue, redis: AOF.to_vec(), disk: Some(bytes), spool_at: "disk/spool", ..plan(true) }
}

/// The power is cut while Redis is away. All that was answered must be on the disk.
pub fn power_cut(own_queue: bool) -> Scenario {
    let round = [Step::Sent(500), Step::Freeze, Step::CutPower, Step::Kill, Step::PowerUp, Step::Start];
    let steps =
        [vec![Step::KillRedis, Step::Send(&["a", "b"])], round.repeat(3), vec![Step::StartRedis, Step::Flow(300)]];
    Scenario { name: "the power is cut", plan: keeper(own_queue, 64 << 20), steps: steps.concat() }
}

/// The disk fails under a running rsyslogd while Redis is away: each write and each sync is an error from then on.
pub fn disk_fails(own_queue: bool) -> Scenario {
    let round = [Step::Sent(500), Step::CutPower, Step::Last(FAULT * 2), Step::Kill, Step::PowerUp, Step::Start];
    let steps =
        [vec![Step::KillRedis, Step::Send(&["a", "b"])], round.repeat(2), vec![Step::StartRedis, Step::Flow(300)]];
    Scenario { name: "the disk fails", plan: keeper(own_queue, 64 << 20), steps: steps.concat() }
}

/// The file system is full long before the spool may be, while Redis is away.
pub fn disk_full() -> Scenario {
    let plan = Plan { pace: Pace { burst: 500, ..Pace::default() }, ..keeper(false, 12 << 20) };
    let plan = Plan { queue: Queue::Memory { workers: 1, batch: 1024 }, way: Way::Lines, ..plan };
    let steps = vec![
        Step::KillRedis,
        Step::Send(&["a", "b"]),
        Step::Stalled(Duration::from_secs(2)),
        Step::StartRedis,
        Step::Flow(1_000),
    ];
    Scenario { name: "the disk is full", plan, steps }
}

/// The same behind RELP without a queue in memory: nobody is answered who is not safe.
pub fn disk_full_behind_relp(own_queue: bool) -> Scenario {
    let pace = Pace { burst: 500, pause: Duration::ZERO, torn_every: 0 };
    let plan = Plan { pace, size: 4_000, ..keeper(own_queue, 12 << 20) };
    let steps = vec![
        Step::KillRedis,
        Step::Send(&["a", "b"]),
        Step::Stalled(Duration::from_secs(2)),
        Step::Kill,
        Step::Start,
        Step::Stalled(Duration::from_secs(2)),
        Step::StartRedis,
        Step::Flow(1_000),
    ];
    Scenario { name: "the disk is full behind RELP", plan, steps }
}

/// rsyslogd is stopped just after Redis has come back, with much in its queue in memory. It has ten seconds to bring that away.
pub fn stopped_with_a_full_queue(spool: bool) -> Scenario {
    let steps = vec![
        Step::Send(&["a"]),
        Step::Flow(500),
        Step::StopRedis,
        Step::Sent(20_000),
        Step::Finish,
        Step::Taken,
        Step::ContinueRedis,
        Step::Term,
        Step::Start,
        Step::Send(&["b"]),
        Step::Flow(500),
    ];
    Scenario { name: "rsyslogd is stopped with a full queue", plan: plan(spool), steps }
}
