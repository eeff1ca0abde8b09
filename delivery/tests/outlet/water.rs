//! A list that is too long is held back, and let go again. Nothing is taken out of it.

use std::path::Path;
use std::time::Duration;

use delivery::counters::get;
use delivery::journal::{JournalConfig, SEGMENT_BYTES};
use delivery::outlet::{Outcome, OutletConfig};
use delivery::push::Reply;
use delivery::spool::Sync;

use crate::server::{Server, command, until};
use crate::setup::{Records, assert_numbers, commit, config, outlet, record};

fn limited(max_length: u64) -> OutletConfig {
    OutletConfig { max_length, ..config() }
}

fn spooled(folder: &Path, max_length: u64) -> OutletConfig {
    let journal = JournalConfig {
        directory: folder.into(),
        bytes_max: 64 << 20,
        segment_bytes: SEGMENT_BYTES,
        sync: Sync::Always,
    };
    OutletConfig { journal: Some(journal), ..limited(max_length) }
}

fn length(server: &Server, key: &str) -> i64 {
    match command(&mut server.link(), &[b"LLEN", key.as_bytes()]) {
        Reply::Number(length) => length,
        other => panic!("LLEN: {other:?}"),
    }
}

/// Moves the oldest `count` elements to the list `taken`, as a worker does.
fn take(server: &Server, key: &str, count: usize) {
    let mut link = server.link();
    for _ in 0..count {
        command(&mut link, &[b"RPOPLPUSH", key.as_bytes(), b"taken"]);
    }
}

#[test]
fn a_list_at_its_mark_takes_nothing_until_it_is_down_to_the_low_water() {
    let server = Server::start(&[]);
    // The worker takes from the other end than it is pushed to: RPOPLPUSH keeps the order for LPUSH.
    let outlet = outlet(&server, OutletConfig { mode: delivery::push::Side::Left.into(), ..limited(100) });
    let mut worker = outlet.worker();
    assert_eq!(commit(&mut worker, &Records::main(0..60)), Outcome::Done);
    assert_eq!(commit(&mut worker, &Records::main(60..120)), Outcome::Done);
    let batch = Records::main(120..180);
    assert_eq!(commit(&mut worker, &batch), Outcome::Later);
    assert!(!worker.probe(&|| false));
    assert_eq!((length(&server, "main"), get(&outlet.counters().held_back)), (120, 1));
    assert_eq!(outlet.health().held_back, "list \"main\" is 120 long, the limit is 100");
    assert!(outlet.health().connected);
    // Below the high water, not yet at the low one.
    take(&server, "main", 39);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!worker.probe(&|| false));
    assert_eq!(commit(&mut worker, &batch), Outcome::Later);
    take(&server, "main", 1);
    until("the list to be let go", || worker.probe(&|| false).then_some(()));
    assert_eq!(commit(&mut worker, &batch), Outcome::Done);
    assert_eq!(get(&outlet.counters().retries), 0);
    take(&server, "main", 140);
    let all = crate::server::list(&mut server.link(), "taken");
    assert!(all.into_iter().rev().eq((0..180).map(record)), "another order, or other records");
}

#[test]
fn other_lists_go_on_while_one_is_held() {
    let server = Server::start(&[]);
    let outlet = outlet(&server, limited(50));
    let mut worker = outlet.worker();
    assert_eq!(commit(&mut worker, &Records::dealt(&["long"], 0..50)), Outcome::Done);
    let batch = Records::dealt(&["long", "a", "b"], 50..80);
    for _ in 0..3 {
        assert_eq!(commit(&mut worker, &batch), Outcome::Later);
    }
    assert_numbers(&server, "a", (50..80).filter(|n| n % 3 == 1));
    assert_numbers(&server, "b", (50..80).filter(|n| n % 3 == 2));
    assert_numbers(&server, "long", 0..50);
    command(&mut server.link(), &[b"DEL", b"long"]);
    until("the list to be let go", || (commit(&mut worker, &batch) == Outcome::Done).then_some(()));
    assert_numbers(&server, "a", (50..80).filter(|n| n % 3 == 1));
    assert_numbers(&server, "long", (50..80).filter(|n| n % 3 == 0));
}

#[test]
fn with_a_spool_nobody_waits_for_a_list_that_is_held() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let outlet = outlet(&server, spooled(folder.path(), 100));
    let mut worker = outlet.worker();
    let mut next = 0;
    for _ in 0..50 {
        assert_eq!(commit(&mut worker, &Records::main(next..next + 40)), Outcome::Done);
        next += 40;
    }
    assert_eq!(length(&server, "main"), 120);
    assert!(outlet.health().spooling);
    let counters = outlet.counters();
    assert_eq!((get(&counters.pushed), get(&counters.spooled), get(&counters.held_back)), (120, 1880, 1));
    // Drained step by step, by no more than a window beyond the mark.
    let mut longest = 0;
    let mut taken = 0;
    until("everything to be drained", || {
        let now = length(&server, "main");
        longest = longest.max(now);
        if now > 30 {
            command(&mut server.link(), &[b"LTRIM", b"main", b"30", b"-1"]);
            taken += 30;
        }
        (taken + usize::try_from(length(&server, "main")).expect("a length") == next).then_some(())
    });
    assert!(longest < 100 + 1024 + 40, "{longest}");
    until("the spool to be empty", || (!outlet.health().spooling).then_some(()));
    assert_eq!((get(&counters.pushed), get(&counters.dead_letters)), (next as u64, 0));
    assert_numbers(&server, "main", taken..next);
}

/// Moves the first `count` elements to the list `taken`, as a worker does that takes from the left.
fn take_first(server: &Server, key: &str, count: usize) {
    let mut link = server.link();
    for _ in 0..count {
        command(&mut link, &[b"LMOVE", key.as_bytes(), b"taken", b"LEFT", b"RIGHT"]);
    }
}

#[test]
fn with_a_spool_other_lists_flow_past_one_that_is_too_long() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let outlet = outlet(&server, spooled(folder.path(), 100));
    let mut workers = [outlet.worker(), outlet.worker()];
    // The limit is for each list: those that flow have to be taken from, too.
    let (lists, mut next) = (["long", "a", "b"], 0);
    let flowing = |server: &Server| {
        for key in ["a", "b"] {
            let mut link = server.link();
            for element in crate::server::list(&mut link, key) {
                command(&mut link, &[b"LREM", key.as_bytes(), b"1", &element]);
                command(&mut link, &[b"RPUSH", format!("had:{key}").as_bytes(), &element]);
            }
        }
    };
    let has = |server: &Server, count: usize| length(server, "had:a") + length(server, "had:b") == 2 * count as i64;
    for round in 1..=20 {
        // The second worker fills the list that is too long as well.
        for (at, worker) in workers.iter_mut().enumerate() {
            let range = if at == 0 { next..next + 60 } else { 1_000_000 + next..1_000_000 + next + 60 };
            let names = if at == 0 { lists.as_slice() } else { &["long"] };
            assert_eq!(commit(worker, &Records::dealt(names, range)), Outcome::Done);
        }
        next += 60;
        until("the other lists to have it", || {
            flowing(&server);
            has(&server, round * 20).then_some(())
        });
    }
    assert!(length(&server, "long") < 100 + 2 * 60, "{}", length(&server, "long"));
    assert!(outlet.health().connected && outlet.health().spooling);
    assert_eq!(get(&outlet.counters().held_back), 1);
    let wanted = next / 3 + next;
    until("everything to be taken", || {
        take_first(&server, "long", 200);
        (length(&server, "taken") == wanted as i64).then_some(())
    });
    until("the spool to be empty", || (outlet.waiting() == Some(0)).then_some(()));
    for (rest, key) in [(1, "had:a"), (2, "had:b")] {
        assert_numbers(&server, key, (0..next).filter(|n| n % 3 == rest));
    }
    // Two producers of one list: each in its order.
    let all = crate::server::list(&mut server.link(), "taken");
    let (first, second): (Vec<_>, Vec<_>) = all.into_iter().partition(|record| record.starts_with(b"record 00"));
    assert!(first.into_iter().eq((0..next).filter(|n| n % 3 == 0).map(record)), "another order, or other records");
    assert!(second.into_iter().eq((1_000_000..1_000_000 + next).map(record)), "another order, or other records");
    let counters = outlet.counters();
    assert_eq!((get(&counters.received), get(&counters.pushed)), (2 * next as u64, 2 * next as u64));
    assert_eq!((get(&counters.duplicates_suppressed), get(&counters.dead_letters)), (0, 0));
}

/// A list that is too long may be of another type when it is let go.
#[test]
fn a_list_that_is_held_and_then_refused_holds_nobody_either() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let outlet = outlet(&server, spooled(folder.path(), 50));
    let mut worker = outlet.worker();
    assert_eq!(commit(&mut worker, &Records::dealt(&["long"], 0..60)), Outcome::Done);
    assert_eq!(commit(&mut worker, &Records::dealt(&["long", "a"], 60..100)), Outcome::Done);
    until("the other list", || (length(&server, "a") == 20).then_some(()));
    // In one step: it is never short.
    command(&mut server.link(), &[b"SET", b"long", b"string"]);
    until("the spool to be empty", || (outlet.waiting() == Some(0)).then_some(()));
    assert_numbers(&server, "a", (60..100).filter(|n| n % 2 == 1));
    assert_eq!((get(&outlet.counters().dead_letters), get(&outlet.counters().pushed)), (20, 80));
}

#[test]
fn lists_that_are_too_long_wait_through_lives_and_outages_and_come_in_order() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let folder = tempfile::tempdir().expect("a folder");
    let lists = ["a", "long", "b", "longer"];
    let mut next = 0;
    for life in 0..4 {
        let outlet = outlet(&server, spooled(folder.path(), 3_000));
        let mut worker = outlet.worker();
        for (key, count) in [("long", 3_000), ("longer", 3_000)] {
            // Somebody else fills them.
            let mut words: Vec<&[u8]> = vec![b"RPUSH", key.as_bytes()];
            words.resize(2 + count, b"filler");
            command(&mut server.link(), &words);
        }
        for turn in 0..15 {
            let batch = Records::dealt(&lists, next..next + 100);
            until("a batch to be taken", || (commit(&mut worker, &batch) == Outcome::Done).then_some(()));
            next += 100;
            if turn == 5 && life == 1 {
                server.kill();
            }
            if turn == 10 && life == 1 {
                server.restart();
            }
        }
        until("the others to flow", || (length(&server, "b") == next as i64 / 4).then_some(()));
        assert_numbers(&server, "a", (0..next).filter(|n| n % 4 == 0));
        if life == 2 {
            // Workers clear one of them of what was not ours.
            command(&mut server.link(), &[b"LREM", b"longer", b"0", b"filler"]);
            until("the list that was let go", || (length(&server, "longer") == next as i64 / 4).then_some(()));
        }
        assert!(outlet.waiting() > Some(0));
    }
    let outlet = outlet(&server, spooled(folder.path(), 100_000));
    for key in [&b"long"[..], b"longer"] {
        command(&mut server.link(), &[b"LREM", key, b"0", b"filler"]);
    }
    until("the spool to be empty", || (outlet.waiting() == Some(0)).then_some(()));
    for (rest, key) in lists.into_iter().enumerate() {
        assert_numbers(&server, key, (0..next).filter(|n| n % 4 == rest));
    }
}

/// Each life looks at the length before it pushes: starting again does not fill the list.
#[test]
fn a_list_that_is_long_at_the_start_is_held_from_the_start() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    for life in 0..4 {
        let outlet = outlet(&server, spooled(folder.path(), 100));
        let mut workers = [outlet.worker(), outlet.worker()];
        for (at, worker) in workers.iter_mut().enumerate() {
            let from = life * 200 + at * 100;
            assert_eq!(commit(worker, &Records::main(from..from + 100)), Outcome::Done);
        }
        assert_eq!(length(&server, "main"), 100);
        outlet.stop();
    }
    command(&mut server.link(), &[b"RENAME", b"main", b"first"]);
    let outlet = outlet(&server, spooled(folder.path(), 0));
    until("the spool to be empty", || (!outlet.health().spooling).then_some(()));
    assert_numbers(&server, "first", 0..100);
    assert_numbers(&server, "main", 100..800);
}

#[test]
fn a_list_that_may_not_be_asked_holds_nobody_else() {
    let (server, folder) = (Server::start(&[]), tempfile::tempdir().expect("a folder"));
    let rules: [&[u8]; 6] = [b"ACL", b"SETUSER", b"default", b"resetkeys", b"~good", b"~{good}:cursor:*"];
    command(&mut server.link(), &rules);
    let config = OutletConfig { dead_letters: Some(folder.path().to_owned()), ..limited(1000) };
    let outlet = outlet(&server, config);
    let mut worker = outlet.worker();
    assert_eq!(commit(&mut worker, &Records::dealt(&["bad", "good"], 0..40)), Outcome::Done);
    assert_numbers(&server, "good", (0..40).filter(|n| n % 2 == 1));
    assert_eq!(get(&outlet.counters().dead_letters), 20);
}

#[test]
fn out_of_memory_is_a_state_of_its_own() {
    let server = Server::start(&[]);
    let outlet = outlet(&server, config());
    let mut worker = outlet.worker();
    assert_eq!(commit(&mut worker, &Records::main(0..10)), Outcome::Done);
    command(&mut server.link(), &[b"CONFIG", b"SET", b"maxmemory", b"1"]);
    let batch = Records::main(10..30);
    assert_eq!(commit(&mut worker, &batch), Outcome::Later);
    assert_eq!(outlet.health().held_back, "redis is out of memory");
    assert_eq!(get(&outlet.counters().held_back), 1);
    command(&mut server.link(), &[b"CONFIG", b"SET", b"maxmemory", b"0"]);
    until("the batch to be taken", || (commit(&mut worker, &batch) == Outcome::Done).then_some(()));
    assert_eq!((outlet.health().held_back.as_str(), get(&outlet.counters().held_back)), ("", 0));
    assert_numbers(&server, "main", 0..30);
}
