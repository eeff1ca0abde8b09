//! The module, the program and the C functions fill streams of Redis' (`mode="stream"`), through the faults that lists go through.

use std::process::Command;

use e2e::child::{PATIENCE, Scene, run, until};
use e2e::native::door::{Door, KEY, OMRUST};
use e2e::native::faults;
use e2e::native::plain::{Plain, usual};
use e2e::native::prog::OMPROG;
use e2e::native::rig::{Plan, Queue, Rig};
use e2e::native::scenario::{Scenario, Step, end};
use e2e::pipe::Numbered;
use e2e::redis::Redis;
use e2e::stream::{FIELD, entries};

const STREAM: &str = " mode=\"stream\"";

/// The same into streams.
fn streamed(mut scenario: Scenario) -> Scenario {
    scenario.plan.more += STREAM;
    scenario.steps.push(Step::Do(is_stream));
    scenario
}

fn is_stream(rig: &mut Rig) {
    if !rig.plan.dynamic && rig.cluster.is_none() {
        assert_eq!(rig.redis.cmd(&["TYPE", KEY]), redis::Value::SimpleString("stream".into()));
    }
}

fn killed(door: &Door, spool: bool) {
    let more = "timeout=\"400\" connecttimeout=\"400\"".to_owned();
    streamed(faults::redis_killed(Plan { spool, more, ..Plan::default() })).assert_clean(door);
    streamed(faults::replies_swallowed(spool)).assert_clean(door);
}

#[test]
fn the_module_lives_through_kills_and_lost_replies() {
    killed(&OMRUST, true);
    killed(&OMRUST, false);
}

#[test]
fn the_program_lives_through_kills_and_lost_replies() {
    killed(&OMPROG, true);
    killed(&OMPROG, false);
}

#[test]
fn the_module_is_killed_behind_relp() {
    streamed(faults::rsyslogd_killed(Queue::Direct, true)).assert_clean(&OMRUST);
    streamed(faults::both_killed()).assert_clean(&OMRUST);
}

#[test]
fn the_module_lives_through_refusals() {
    streamed(faults::out_of_memory(true)).assert_clean(&OMRUST);
    streamed(faults::out_of_memory(false)).assert_clean(&OMRUST);
    streamed(faults::read_only(true)).assert_clean(&OMRUST);
    streamed(faults::wrong_type()).assert_clean(&OMRUST);
}

/// Each worker is a producer of its own, and all add to one stream: `entries` sees that the IDs grow.
#[test]
fn workers_share_a_stream() {
    for (workers, batch) in [(2, 1), (4, 128), (4, 4096)] {
        streamed(faults::workers_and_batches(workers, batch)).assert_clean(&OMRUST);
    }
}

#[test]
fn lanes_of_a_cluster_are_streams() {
    for door in [&OMRUST, &OMPROG] {
        let lanes = if door.name == OMRUST.name { 3 } else { 1 };
        let plan = Plan { cluster_lanes: lanes, more: STREAM.to_owned(), ..Plan::default() };
        let mut rig = Rig::start(&plan, door);
        rig.send(&["a", "b", "c"]);
        assert!(rig.flow(3000, PATIENCE), "{}", rig.messages());
        let cluster = rig.cluster.as_ref().expect("a cluster");
        let topology = delivery::link::Topology::Cluster;
        for list in delivery::lists::lists(&topology, KEY, lanes).expect("names") {
            let node = &cluster.nodes[cluster.owner(&list)];
            if node.llen(&list) > 0 {
                assert_eq!(node.cmd(&["TYPE", &list]), redis::Value::SimpleString("stream".into()));
            }
        }
        let outcome = end(rig, door);
        assert!(outcome.is_clean(), "{}: {outcome}", door.name);
    }
}

/// What cannot be taken becomes a letter that says what it was for, and comes back into a stream.
#[test]
fn letters_of_the_module_come_back_into_a_stream() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let letters = scene.folder("letters");
    redis.cmd(&["RPUSH", "logs", "old"]);
    let rules = format!(
        "action(type=\"omrust\" name=\"out\" {} key=\"logs\" mode=\"stream\" stream.outField=\"line\" deadletter=\"{}\")",
        usual(&redis),
        letters.display()
    );
    let plain = Plain::new(&scene, "", &rules);
    let mut rsyslogd = plain.start();
    let records = Numbered::new("letters", 100);
    plain.send(&records, 0..300);
    plain.counters("out", "dead_letters", 300);
    redis.cmd(&["DEL", "logs"]);
    plain.send(&records, 300..600);
    plain.counters("out", "pushed", 300);
    rsyslogd.term();
    let mut command = e2e::bridge::bare_command(e2e::bridge::binary(), &scene.folder("runtime"));
    command.args(["dead-letters", "replay"]).arg(&letters);
    command.args(["--server", redis.socket().to_str().expect("a plain path")]);
    let told = run(command, PATIENCE).expect("they come back");
    assert!(told.contains("300 letters: 300 were pushed"), "{told}");
    let found = entries(&redis, "logs", "line");
    let (early, late) = found.split_at(300);
    let both = late.iter().chain(early).map(|(_, record)| record);
    e2e::ledger::Ledger::new().sent_numbers("letters", 0..600).judge(both).assert_clean();
}

#[test]
fn the_module_trims_a_stream_only_if_it_is_told_to() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let rules = |key: &str, more: &str| {
        let usual = usual(&redis);
        format!("action(type=\"omrust\" name=\"{key}\" {usual} key=\"{key}\" mode=\"stream\" {more})")
    };
    let both = format!("{}\n{}", rules("all", ""), rules("some", "stream.capacityLimit=\"200\""));
    let plain = Plain::new(&scene, "", &both);
    let mut rsyslogd = plain.start();
    let records = Numbered::new("trim", 100);
    plain.send(&records, 0..3000);
    plain.counters("all", "pushed", 3000);
    plain.counters("some", "pushed", 3000);
    rsyslogd.term();
    assert_eq!(redis.llen("all"), 3000);
    let left = entries(&redis, "some", FIELD);
    assert!((200..=320).contains(&left.len()), "{}", left.len());
    let first = 3000 - left.len() as u64;
    assert!(left.iter().zip(first..).all(|((_, record), n)| e2e::pipe::parse(record) == Some(("trim", n))));
}

/// A batch at a time, at the mark, with and without a spool; workers delete what they are done with.
#[test]
fn a_stream_at_its_mark_is_held_back() {
    for (door, spool) in [(&OMRUST, true), (&OMRUST, false), (&OMPROG, true)] {
        let more = format!("maxlength=\"1000\"{STREAM}");
        let queue = Queue::Memory { workers: 1, batch: 256 };
        let mut rig = Rig::start(&Plan { queue, spool, more, ..Plan::default() }, door);
        rig.send(&["a"]);
        until("the stream to be at its mark", PATIENCE, || (rig.redis.llen(KEY) >= 1000).then_some(()));
        let senders = rig.senders.as_ref().expect("somebody sends");
        let before = senders.done();
        until("the senders to go on", PATIENCE, || (senders.done() >= before + 3000).then_some(()));
        let length = rig.redis.llen(KEY);
        assert!((1000..1000 + 256 + 1024 + 256).contains(&length), "{}: {length}", door.name);
        rig.finish();
        let mut taken = Vec::new();
        until("all entries to be taken", PATIENCE * 2, || {
            let found = entries(&rig.redis, KEY, FIELD);
            for some in found.chunks(500) {
                let mut words = vec!["XDEL".to_owned(), KEY.to_owned()];
                words.extend(some.iter().map(|((ms, seq), _)| format!("{ms}-{seq}")));
                rig.redis.cmd(&words);
            }
            taken.extend(found.into_iter().map(|(_, record)| record));
            (taken.len() as u64 >= rig.sent.count()).then_some(())
        });
        rig.sent.ledger().judge(taken).assert_clean();
        assert!(rig.rsyslogd.try_term(PATIENCE), "{}", door.name);
    }
}

#[test]
fn a_c_program_fills_a_stream() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let toml = crate::c_interface::toml(&scene, &redis).replace("[queue]\n", "[queue]\nmode = \"stream\"\n");
    let mut command = Command::new(crate::c_interface::compiled("conversation-stream", &[]));
    command.args(["push", &toml, "1005"]);
    run(command, PATIENCE).expect("it pushes");
    let found: Vec<Vec<u8>> = entries(&redis, "rsyslog", FIELD).into_iter().map(|(_, record)| record).collect();
    assert_eq!(found, (0..1005).map(|n| n.to_string().into_bytes()).collect::<Vec<_>>());
}

#[test]
fn omrust_prog_tells_what_does_not_go_with_a_stream() {
    let scene = Scene::new();
    for (toml, told) in [
        ("[queue]\nmode = \"stream\"\npush = \"left\"\n", "queue.push"),
        ("[queue]\nmode = \"stream\"\nmax-length = 5\n[stream]\nmaxlen = 5\n", "stream.maxlen"),
        ("[stream]\nfield = \"record\"\n", "stream.field"),
        ("[queue]\nmode = \"publish\"\n", "queue.mode"),
    ] {
        let file = scene.write("omrust.toml", toml);
        let mut command = Command::new(e2e::native::prog::binary());
        command.arg("--config").arg(&file).arg("--print-config");
        let said = run(command, PATIENCE).expect_err("it is wrong");
        assert!(said.contains(told), "{told}: {said}");
    }
}
