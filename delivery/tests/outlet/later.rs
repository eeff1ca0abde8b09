//! No spool: what Redis does not take is turned away, and handed in again as rsyslog does it.

use std::time::Duration;

use delivery::counters::get;
use delivery::outlet::{OnRefused, Outcome, OutletConfig};

use crate::server::{Server, command, until};
use crate::setup::{Records, assert_numbers, commit, config, outlet};

#[test]
fn a_batch_waits_until_redis_is_back() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let outlet = outlet(&server, config());
    let mut worker = outlet.worker();
    assert_eq!(commit(&mut worker, &Records::main(0..10)), Outcome::Done);
    server.kill();
    let batch = Records::main(10..2000);
    for _ in 0..5 {
        assert_eq!(commit(&mut worker, &batch), Outcome::Later);
    }
    assert!(!worker.probe(&|| false));
    assert!(!outlet.health().connected);
    server.restart();
    until("a probe that succeeds", || worker.probe(&|| false).then_some(()));
    assert_eq!(commit(&mut worker, &batch), Outcome::Done);
    assert_numbers(&server, "main", 0..2000);
    assert_eq!(get(&outlet.counters().received), 2000);
    assert_eq!(get(&outlet.counters().pushed), 2000);
}

/// What rsyslog does until 8.2604: the batch whole, then one by one, and what was turned away of those once more, together.
fn hand_in_as_rsyslog(worker: &mut delivery::outlet::Worker, batch: &Records) {
    if commit(worker, batch) == Outcome::Done {
        return;
    }
    let mut rest = Records::default();
    for index in 0..batch.0.len() {
        let one = batch.one(index);
        match commit(worker, &one) {
            Outcome::Done | Outcome::Refused => {}
            Outcome::Later => rest.0.extend(one.0),
        }
    }
    until("the rest to be taken", || (rest.0.is_empty() || commit(worker, &rest) == Outcome::Done).then_some(()));
}

#[test]
fn out_of_memory_and_read_only_cost_nothing() {
    let server = Server::start(&[]);
    let outlet = outlet(&server, config());
    let mut worker = outlet.worker();
    let mut next = 0;
    for (name, bad, good) in [("maxmemory", "1", "0"), ("min-replicas-to-write", "1", "0")] {
        for size in [1, 5, 40, 600] {
            let batch = Records::main(next..next + size);
            next += size;
            server.config(name, bad);
            assert_eq!(commit(&mut worker, &batch), Outcome::Later, "{name}");
            let (server, good) = (&server, good);
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(fastrand::u64(0..100)));
                    server.config(name, good);
                });
                hand_in_as_rsyslog(&mut worker, &batch);
            });
        }
    }
    assert_numbers(&server, "main", 0..next);
    assert_eq!(get(&outlet.counters().received), next as u64);
}

#[test]
fn a_list_of_another_type_does_not_stop_the_others() {
    let server = Server::start(&[]);
    let outlet = outlet(&server, config());
    let mut worker = outlet.worker();
    command(&mut server.link(), &[b"SET", b"bad", b"string"]);
    let lists = ["a", "bad", "b"];
    for (round, size) in [3, 30, 300, 3000].into_iter().enumerate() {
        let batch = Records::dealt(&lists, round * 3000..round * 3000 + size);
        // No folder: refused, and told apart one by one.
        assert_eq!(commit(&mut worker, &batch), Outcome::Refused);
        for (index, (list, _)) in batch.0.iter().enumerate() {
            let wanted = if list.as_deref() == Some("bad") { Outcome::Refused } else { Outcome::Done };
            assert_eq!(commit(&mut worker, &batch.one(index)), wanted, "{index}");
        }
    }
    let all = || [3, 30, 300, 3000].into_iter().enumerate().flat_map(|(round, size)| round * 3000..round * 3000 + size);
    assert_numbers(&server, "a", all().filter(|n| n % 3 == 0));
    assert_numbers(&server, "b", all().filter(|n| n % 3 == 2));
}

#[test]
fn refused_records_are_parked_once_and_the_batch_is_done() {
    let server = Server::start(&["--proto-max-bulk-len", "1mb"]);
    let folder = tempfile::tempdir().expect("a folder");
    let outlet = outlet(&server, OutletConfig { dead_letters: Some(folder.path().into()), ..config() });
    let mut worker = outlet.worker();
    command(&mut server.link(), &[b"SET", b"bad", b"string"]);
    assert_eq!(commit(&mut worker, &Records::dealt(&["a", "bad", "a{}"], 0..600)), Outcome::Done);
    let mut large = Records::main(1000..1020);
    large.0[7].1 = vec![b'x'; 3 << 20];
    large.0[11].1 = vec![b'y'; 2 << 20];
    assert_eq!(commit(&mut worker, &large), Outcome::Done);
    assert_eq!(commit(&mut worker, &Records::main(1020..1030)), Outcome::Done);
    assert_numbers(&server, "a", (0..600).filter(|n| n % 3 == 0));
    assert_numbers(&server, "main", (1000..1030).filter(|n| ![1007, 1011].contains(n)));
    let letters = std::fs::read_to_string(folder.path().join("dead-letters.jsonl")).expect("letters");
    assert_eq!(letters.lines().count(), 402);
    assert_eq!(get(&outlet.counters().dead_letters), 402);
    assert_eq!(get(&outlet.counters().received), 630);
    assert_eq!(get(&outlet.counters().pushed), 228);
}

#[test]
fn a_held_list_waits() {
    let server = Server::start(&[]);
    let outlet = outlet(&server, OutletConfig { on_refused: OnRefused::Hold, ..config() });
    let mut worker = outlet.worker();
    command(&mut server.link(), &[b"SET", b"bad", b"string"]);
    let batch = Records::dealt(&["a", "bad"], 0..100);
    assert_eq!(commit(&mut worker, &batch), Outcome::Later);
    assert_eq!(commit(&mut worker, &batch), Outcome::Later);
    command(&mut server.link(), &[b"DEL", b"bad"]);
    assert_eq!(commit(&mut worker, &batch), Outcome::Done);
    assert_numbers(&server, "a", (0..100).filter(|n| n % 2 == 0));
    assert_numbers(&server, "bad", (0..100).filter(|n| n % 2 == 1));
}

#[test]
fn nothing_waits_for_a_server_that_stands_still_longer_than_it_may() {
    let server = Server::start(&[]);
    let outlet = outlet(&server, OutletConfig { timeout: Duration::from_millis(200), ..config() });
    let mut worker = outlet.worker();
    assert_eq!(commit(&mut worker, &Records::main(0..10)), Outcome::Done);
    server.stop();
    let batch = Records::main(10..500);
    assert_eq!(commit(&mut worker, &batch), Outcome::Later);
    // Nothing is waited for at all once the caller is in a hurry.
    assert_eq!(worker.commit(&batch, &|| true), Outcome::Later);
    server.go_on();
    until("the batch to be taken", || (commit(&mut worker, &batch) == Outcome::Done).then_some(()));
    assert_numbers(&server, "main", 0..500);
    let counters = outlet.counters();
    assert_eq!((get(&counters.received), get(&counters.pushed) + get(&counters.duplicates_suppressed)), (500, 500));
}

#[test]
fn a_list_that_may_not_be_written_keeps_nobody_from_a_connection() {
    let (server, folder) = (Server::start(&[]), tempfile::tempdir().expect("a folder"));
    let rules: [&[u8]; 6] = [b"ACL", b"SETUSER", b"default", b"resetkeys", b"~good", b"~{good}:cursor:*"];
    command(&mut server.link(), &rules);
    let outlet = outlet(&server, OutletConfig { dead_letters: Some(folder.path().to_owned()), ..config() });
    // The forbidden one comes first, on a connection that is not made yet.
    let mut worker = outlet.worker();
    assert_eq!(commit(&mut worker, &Records::dealt(&["bad", "good"], 0..40)), Outcome::Done);
    assert_numbers(&server, "good", (0..40).filter(|n| n % 2 == 1));
    assert_eq!(get(&outlet.counters().dead_letters), 20);
}

#[test]
fn a_worker_without_a_list_of_its_own_asks_redis_all_the_same() {
    let mut server = Server::start(&[]);
    let outlet = outlet(&server, OutletConfig { list: String::new(), ..config() });
    assert!(outlet.worker().probe(&|| false));
    server.kill();
    assert!(!outlet.worker().probe(&|| false));
}
