//! omrust.so whose spool takes no more while Redis is away: rsyslogd keeps the records, does not fill its log with it, and may be stopped.

use std::fmt::Write as _;

use e2e::child::{PATIENCE, Scene, until};
use e2e::load::Pace;
use e2e::mount::Tmpfs;
use e2e::native::door::OMRUST;
use e2e::native::rig::{Plan, Queue, Rig};
use e2e::native::scenario::{Outcome, end};

/// Redis keeps what it has acknowledged when it is killed; the module waits for nobody long.
fn plan(more: &str) -> Plan {
    Plan {
        redis: vec![("appendonly", "yes"), ("appendfsync", "always")],
        more: format!("timeout=\"400\" connecttimeout=\"400\" {more}"),
        ..Plan::default()
    }
}

/// The action has a queue of its own, which goes to disk when rsyslogd stops. No other queue stands before it.
fn with_a_disk_assisted_queue(scene: &Scene, more: &str) -> Plan {
    let folder = scene.folder("queue");
    let mut more = more.to_owned();
    write!(
        more,
        " queue.type=\"LinkedList\" queue.filename=\"q\" queue.spoolDirectory=\"{}\" queue.size=\"60000\" queue.dequeueBatchSize=\"256\" \
         queue.highWatermark=\"30000\" queue.lowWatermark=\"2000\" queue.saveOnShutdown=\"on\" queue.timeoutEnqueue=\"60000\"",
        folder.display()
    )
    .expect("memory");
    let pace = Pace { burst: 500, ..Pace::default() };
    Plan { queue: Queue::Direct, pace, ..plan(&more) }
}

/// Lines of rsyslogd about the state of the action.
fn changes(rig: &Rig) -> usize {
    let messages = rig.messages();
    messages.lines().filter(|line| line.contains("action 'out'") && line.contains("suspended")).count()
        + messages.lines().filter(|line| line.contains("action 'out'") && line.contains("resumed")).count()
}

/// What the action has counted since rsyslogd's last start.
fn retries(rig: &Rig) -> u64 {
    let counters = rig.statistics.last(rig.mark, "out", "omrust");
    counters.and_then(|counters| counters["retries"].as_u64()).unwrap_or_default()
}

#[test]
fn an_outage_with_a_full_spool_is_told_in_a_handful_of_lines() {
    let mut rig = Rig::start(&plan("spool.maxsize=\"1m\""), &OMRUST);
    rig.send(&["a", "b"]);
    assert!(rig.flow(500, PATIENCE), "{}", rig.messages());
    rig.redis.kill9();
    assert!(rig.senders.as_ref().expect("senders").try_go_on(30_000, PATIENCE), "{}", rig.messages());
    rig.wait_said("batches are turned away");
    // The drainer looks for Redis every two seconds by then, rsyslogd asks every second.
    let before = retries(&rig);
    until("the outage to last", PATIENCE, || (retries(&rig) >= before + 5).then_some(()));
    let during = changes(&rig);
    assert!(during <= 6, "{during} changes in an outage:\n{}", rig.messages());
    rig.redis.start();
    assert!(rig.flow(30_000, PATIENCE), "{}", rig.messages());
    let outcome = end(rig, &OMRUST);
    assert!(outcome.is_clean(), "{outcome}");
    let suspended = outcome.messages.lines().filter(|line| line.contains("action 'out' suspended")).count();
    assert!(suspended <= 12, "suspended {suspended} times:\n{}", outcome.messages);
}

/// rsyslogd is stopped twice in an outage in which the action takes nothing. All must be there in the end.
fn stopped_twice(mut rig: Rig) -> Outcome {
    rig.start_rsyslogd();
    rig.send(&["a"]);
    assert!(rig.flow(500, PATIENCE), "{}", rig.messages());
    rig.finish();
    // A batch that is under way when Redis dies has its own chapter in docs/MODULE.md: none is.
    until("everything to arrive", PATIENCE, || (rig.arrived() == Some(rig.sent.count())).then_some(()));
    rig.redis.kill9();
    for run in ["b", "c"] {
        rig.send(&[run]);
        assert!(rig.senders.as_ref().expect("senders").try_go_on(15_000, PATIENCE), "{}", rig.messages());
        rig.finish();
        rig.taken();
        until("the action to be suspended", PATIENCE, || (changes(&rig) > 0).then_some(()));
        rig.rsyslogd.term();
        rig.start_rsyslogd();
    }
    rig.send(&["d"]);
    rig.redis.start();
    assert!(rig.flow(30_000, PATIENCE), "{}", rig.messages());
    end(rig, &OMRUST)
}

#[track_caller]
fn assert_nothing_lost(outcome: &Outcome) {
    assert_eq!((outcome.verdict.lost.count, outcome.verdict.foreign.count), (0, 0), "{outcome}");
    // The price in rsyslogd up to 8.2604: the first message of a batch that is turned away at its beginning comes once more. The
    // queue in memory and its part on disk hand in batches of their own, and once more when rsyslogd ends.
    let suspended = outcome.messages.lines().filter(|line| line.contains("action 'out' suspended")).count() as u64;
    assert!(outcome.verdict.doubled.count <= 4 * suspended, "{outcome}, suspended {suspended} times");
}

#[test]
fn a_stop_with_a_full_spool_loses_nothing() {
    let scene = Scene::new();
    let plan = with_a_disk_assisted_queue(&scene, "spool.maxsize=\"1m\"");
    assert_nothing_lost(&stopped_twice(Rig::prepare(&plan, &OMRUST, &scene)));
}

#[test]
fn a_stop_with_a_spool_that_cannot_be_opened_loses_nothing() {
    let scene = Scene::new();
    let memory = Tmpfs::mount(&scene, "disk", 16 << 20);
    scene.folder("disk/spool");
    memory.read_only();
    let plan = Plan { spool_at: "disk/spool", ..with_a_disk_assisted_queue(&scene, "") };
    assert_nothing_lost(&stopped_twice(Rig::prepare(&plan, &OMRUST, &scene)));
}
