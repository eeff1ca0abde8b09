//! `on_refused = "hold"`: what Redis refuses for good waits with all that is behind it in its list, the other lists go on.

use std::path::Path;
use std::time::Duration;

use delivery::counters::get;
use delivery::journal::{JournalConfig, SEGMENT_BYTES_MIN};
use delivery::outlet::{OnRefused, Outcome, Outlet, OutletConfig};
use delivery::spool::Sync;

use crate::server::{Server, command, list, until};
use crate::setup::{Records, assert_numbers, commit, config, outlet};

fn held(folder: Option<&Path>) -> OutletConfig {
    let journal = folder.map(|folder| JournalConfig {
        directory: folder.into(),
        bytes_max: 64 << 20,
        // Many files: what is held keeps those behind it.
        segment_bytes: SEGMENT_BYTES_MIN,
        sync: Sync::Always,
    });
    OutletConfig { journal, on_refused: OnRefused::Hold, delay: Duration::from_millis(300), ..config() }
}

fn is_in(server: &Server, key: &str, count: usize) {
    until(key, || (list(&mut server.link(), key).len() >= count).then_some(()));
}

/// Each record is somewhere, once.
fn adds_up(outlet: &Outlet, count: usize) {
    let counters = outlet.counters();
    let arrived = get(&counters.pushed) + get(&counters.duplicates_suppressed);
    assert_eq!((get(&counters.received), arrived), (count as u64, count as u64));
}

#[test]
fn a_record_that_is_too_large_keeps_back_what_is_behind_it() {
    let server = Server::start(&["--proto-max-bulk-len", "1mb"]);
    let outlet = outlet(&server, held(None));
    let mut worker = outlet.worker();
    let mut batch = Records::main(0..20);
    batch.0[7].1 = [b"record 00000007".as_slice(), &vec![b'x'; 2 << 20]].concat();
    for _ in 0..3 {
        assert_eq!(commit(&mut worker, &batch), Outcome::Later);
        assert_numbers(&server, "main", 0..7);
    }
    server.config("proto-max-bulk-len", "4mb");
    until("the batch to be taken", || (commit(&mut worker, &batch) == Outcome::Done).then_some(()));
    let have = list(&mut server.link(), "main");
    assert_eq!(have, batch.0.iter().map(|(_, record)| record.clone()).collect::<Vec<_>>());
    assert_eq!(get(&outlet.counters().pushed), 20);
}

#[test]
fn the_same_with_a_spool_and_the_other_lists_go_on() {
    let (server, folder) = (Server::start(&["--proto-max-bulk-len", "1mb"]), tempfile::tempdir().expect("a folder"));
    let outlet = outlet(&server, held(Some(folder.path())));
    let mut worker = outlet.worker();
    let mut large = Records::dealt(&["a", "big"], 0..20);
    large.0[7].1 = [b"record 00000007".as_slice(), &vec![b'x'; 2 << 20]].concat();
    assert_eq!(commit(&mut worker, &large), Outcome::Done);
    for n in 1..200 {
        assert_eq!(commit(&mut worker, &Records::dealt(&["a", "big"], n * 20..n * 20 + 20)), Outcome::Done);
    }
    is_in(&server, "a", 2_000);
    assert_numbers(&server, "a", (0..4_000).filter(|n| n % 2 == 0));
    assert_numbers(&server, "big", [1, 3, 5].into_iter());
    server.config("proto-max-bulk-len", "4mb");
    is_in(&server, "big", 2_000);
    until("the spool to be empty", || (outlet.waiting() == Some(0)).then_some(()));
    let have: Vec<Vec<u8>> = list(&mut server.link(), "big").into_iter().map(|record| record[..15].to_vec()).collect();
    assert_eq!(have, (0..4_000).filter(|n| n % 2 == 1).map(crate::setup::record).collect::<Vec<_>>());
    assert_numbers(&server, "a", (0..4_000).filter(|n| n % 2 == 0));
    adds_up(&outlet, 4_000);
}

#[test]
fn lists_that_are_held_wait_through_lives_and_outages_and_come_in_order() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let folder = tempfile::tempdir().expect("a folder");
    let lists = ["a", "bad", "b", "worse"];
    for key in [&b"bad"[..], b"worse"] {
        command(&mut server.link(), &[b"SET", key, b"string"]);
    }
    let mut next = 0;
    for life in 0..4 {
        let outlet = outlet(&server, held(Some(folder.path())));
        let mut workers = [outlet.worker(), outlet.worker()];
        for turn in 0..30 {
            // The second worker has lists of its own.
            for (at, worker) in workers.iter_mut().enumerate() {
                let names = if at == 0 { lists } else { ["c", "bad", "d", "c"] };
                let range = if at == 0 { next..next + 100 } else { 1_000_000 + next..1_000_000 + next + 100 };
                // The folder of the life before may not be free yet: a host hands in again then.
                let batch = Records::dealt(&names, range);
                until("a batch to be taken", || (commit(worker, &batch) == Outcome::Done).then_some(()));
            }
            next += 100;
            if turn == 10 && life == 1 {
                server.kill();
            }
            if turn == 20 && life == 1 {
                server.restart();
            }
        }
        is_in(&server, "a", next / 4);
        is_in(&server, "d", next / 4);
        assert_numbers(&server, "a", (0..next).filter(|n| n % 4 == 0));
        if life == 2 {
            // One of them is mended, in the middle of everything; the other one waits on.
            command(&mut server.link(), &[b"DEL", b"worse"]);
            is_in(&server, "worse", next / 4);
            assert_numbers(&server, "worse", (0..next).filter(|n| n % 4 == 3));
        }
        assert!(outlet.waiting() > Some(0));
    }
    let outlet = outlet(&server, held(Some(folder.path())));
    command(&mut server.link(), &[b"DEL", b"bad"]);
    until("the spool to be empty", || (outlet.waiting() == Some(0)).then_some(()));
    for (key, rest) in [("a", 0), ("b", 2), ("worse", 3)] {
        assert_numbers(&server, key, (0..next).filter(|n| n % 4 == rest));
    }
    assert_numbers(&server, "d", (1_000_000..1_000_000 + next).filter(|n| n % 4 == 2));
    // Two producers of one list: each in its order.
    let bad = list(&mut server.link(), "bad");
    let (first, second): (Vec<_>, Vec<_>) = bad.into_iter().partition(|record| record.starts_with(b"record 00"));
    let wanted = |from: usize| (from..from + next).filter(|n| n % 4 == 1).map(crate::setup::record).collect::<Vec<_>>();
    assert_eq!((first, second), (wanted(0), wanted(1_000_000)));
}

/// What is passed over when the drainer goes back is counted once.
#[test]
fn going_back_counts_nothing_twice() {
    let (server, folder) = (Server::start(&[]), tempfile::tempdir().expect("a folder"));
    let outlet = outlet(&server, held(Some(folder.path())));
    let mut worker = outlet.worker();
    let lists = ["a", "x", "b", "y", "c", "z"];
    for key in [&b"x"[..], b"y", b"z"] {
        command(&mut server.link(), &[b"SET", key, b"string"]);
    }
    for n in 0..100 {
        assert_eq!(commit(&mut worker, &Records::dealt(&lists, n * 60..n * 60 + 60)), Outcome::Done);
    }
    is_in(&server, "c", 1_000);
    for key in ["y", "x", "z"] {
        command(&mut server.link(), &[b"DEL", key.as_bytes()]);
        is_in(&server, key, 1_000);
        assert_eq!(commit(&mut worker, &Records::dealt(&["a"], 0..0)), Outcome::Done);
    }
    until("the spool to be empty", || (outlet.waiting() == Some(0)).then_some(()));
    for (rest, key) in lists.into_iter().enumerate() {
        assert_numbers(&server, key, (0..6_000).filter(|n| n % 6 == rest));
    }
    adds_up(&outlet, 6_000);
}
