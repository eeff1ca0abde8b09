//! With a spool: what Redis does not take goes to disk, and from there into Redis.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::counters::get;
use delivery::journal::frame::Encoder;
use delivery::journal::{Journal, JournalConfig, SEGMENT_BYTES};
use delivery::outlet::{Outcome, Outlet, OutletConfig};
use delivery::position::Position;
use delivery::spool::Sync;

use crate::server::{Server, command, list, until};
use crate::setup::{Records, assert_numbers, commit, config, outlet, record};

fn spooled(folder: &Path) -> OutletConfig {
    let journal = JournalConfig {
        directory: folder.into(),
        bytes_max: 64 << 20,
        segment_bytes: SEGMENT_BYTES,
        sync: Sync::Always,
    };
    OutletConfig { journal: Some(journal), delay: Duration::from_millis(300), ..config() }
}

fn drained(outlet: &Arc<Outlet>) {
    until("the spool to be empty", || (!outlet.health().spooling).then_some(()));
}

#[test]
fn what_comes_while_redis_is_away_is_taken_and_arrives_in_order() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let folder = tempfile::tempdir().expect("a folder");
    let outlet = outlet(&server, spooled(folder.path()));
    let mut workers = [outlet.worker(), outlet.worker()];
    let mut next = 0;
    let mut give = |workers: &mut [delivery::outlet::Worker; 2], size: usize| {
        for (at, worker) in workers.iter_mut().enumerate() {
            let batch = Records::dealt(
                &["a", "b"].map(|list| format!("{list}{at}")).each_ref().map(|l| &**l),
                next..next + size,
            );
            assert_eq!(commit(worker, &batch), Outcome::Done);
        }
        next += size;
    };
    for _ in 0..3 {
        give(&mut workers, 100);
        server.kill();
        for size in [1, 2, 1000, 7, 4000] {
            give(&mut workers, size);
        }
        server.restart();
        drained(&outlet);
        give(&mut workers, 10);
    }
    assert!(get(&outlet.counters().spooled) > 0);
    drained(&outlet);
    for (key, rest) in [("a0", 0), ("b0", 1), ("a1", 0), ("b1", 1)] {
        // The lists are dealt by the place in the batch, which is that of the number.
        assert_numbers(&server, key, (0..next).filter(|n| n % 2 == rest));
    }
    let counters = outlet.counters();
    let arrived = get(&counters.pushed) + get(&counters.duplicates_suppressed);
    assert_eq!((get(&counters.received), arrived), (2 * next as u64, 2 * next as u64));
}

#[test]
fn a_later_life_drains_what_an_earlier_one_left() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut next = 0;
    for life in 0..4 {
        let outlet = outlet(&server, spooled(folder.path()));
        let mut worker = outlet.worker();
        if life == 3 {
            server.restart();
        }
        for size in [10, 1, 300] {
            assert_eq!(commit(&mut worker, &Records::main(next..next + size)), Outcome::Done);
            next += size;
            if life == 0 {
                server.kill();
            }
        }
        if life == 3 {
            drained(&outlet);
            assert_eq!(commit(&mut worker, &Records::main(next..next + 5)), Outcome::Done);
            next += 5;
        }
        outlet.stop();
    }
    assert_numbers(&server, "main", 0..next);
}

#[test]
fn a_slow_redis_costs_the_delay_and_no_more() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let outlet = outlet(&server, spooled(folder.path()));
    let mut worker = outlet.worker();
    assert_eq!(commit(&mut worker, &Records::main(0..10)), Outcome::Done);
    server.stop();
    let begun = Instant::now();
    for n in 1..50 {
        assert_eq!(commit(&mut worker, &Records::main(n * 10..n * 10 + 10)), Outcome::Done);
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "only the first batch waits");
    let begun = Instant::now();
    outlet.stop();
    assert!(begun.elapsed() < Duration::from_secs(10), "a stop does not wait for redis");
    server.go_on();
    drop(worker);
    drop(outlet);
    let outlet = crate::setup::outlet(&server, spooled(folder.path()));
    drained(&outlet);
    assert_numbers(&server, "main", 0..500);
}

#[test]
fn refused_records_in_the_spool_are_parked_and_the_others_flow() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let folder = tempfile::tempdir().expect("a folder");
    let outlet = outlet(&server, spooled(folder.path()));
    let mut worker = outlet.worker();
    command(&mut server.link(), &[b"SET", b"bad", b"string"]);
    server.kill();
    for n in 0..20 {
        assert_eq!(commit(&mut worker, &Records::dealt(&["a", "bad", "b"], n * 30..n * 30 + 30)), Outcome::Done);
    }
    server.restart();
    drained(&outlet);
    assert_numbers(&server, "a", (0..600).filter(|n| n % 3 == 0));
    assert_numbers(&server, "b", (0..600).filter(|n| n % 3 == 2));
    let letters = std::fs::read_to_string(folder.path().join("dead-letters.jsonl")).expect("letters");
    assert_eq!(letters.lines().count(), 200);
}

#[test]
fn a_full_spool_turns_batches_away_and_none_is_lost_or_doubled() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = spooled(folder.path());
    if let Some(journal) = &mut config.journal {
        journal.bytes_max = 2 << 20;
    }
    let outlet = outlet(&server, config);
    let mut worker = outlet.worker();
    assert_eq!(commit(&mut worker, &Records::main(0..10)), Outcome::Done);
    server.kill();
    let mut next = 10;
    let refused = loop {
        let batch = Records::main(next..next + 1000);
        next += 1000;
        match commit(&mut worker, &batch) {
            Outcome::Done => {}
            Outcome::Later => break batch,
            Outcome::Refused => panic!("refused"),
        }
    };
    // However long it is asked: the batch would be refused again. A host that must know it before it makes one is told the same.
    for _ in 0..30 {
        assert!(!worker.probe(&|| false) && !worker.has_place(&|| false));
        std::thread::sleep(Duration::from_millis(50));
    }
    server.restart();
    until("a chance for the batch", || worker.probe(&|| false).then_some(()));
    assert_eq!(commit(&mut worker, &refused), Outcome::Done);
    assert_eq!(commit(&mut worker, &Records::main(next..next + 10)), Outcome::Done);
    drained(&outlet);
    assert_numbers(&server, "main", 0..next + 10);
}

#[test]
fn a_busy_worker_gets_back_to_redis() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let folder = tempfile::tempdir().expect("a folder");
    let outlet = outlet(&server, spooled(folder.path()));
    let mut worker = outlet.worker();
    server.kill();
    let mut next = 0;
    let mut give = || {
        assert_eq!(commit(&mut worker, &Records::main(next..next + 500)), Outcome::Done);
        next += 500;
        next
    };
    for _ in 0..100 {
        give();
    }
    server.restart();
    let total = until("batches to go to redis again", || {
        let spooled = get(&outlet.counters().spooled);
        let next = give();
        (get(&outlet.counters().spooled) == spooled).then_some(next)
    });
    drained(&outlet);
    assert_numbers(&server, "main", 0..total);
}

#[test]
fn a_frame_that_is_not_understood_stays_and_those_before_it_arrive() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let config = spooled(folder.path());
    let journal = config.journal.clone().expect("there is one");
    {
        let (journal, _reader) = Journal::open(journal.clone(), 1).expect("open");
        let mut frame = Encoder::new(&config.producer);
        frame.part(0, "a", Position::start(journal.epoch()), 1, [&*record(0)]);
        journal.append(frame.bytes(), 1).expect("room");
        // What a later program may write.
        journal.append(b"\xff", 1).expect("room");
        journal.append(frame.bytes(), 1).expect("room");
    }
    for _ in 0..2 {
        let outlet = outlet(&server, config.clone());
        until("somebody to be told", || outlet.health().stopped.then_some(()));
        until("the first frame to arrive", || (!list(&mut server.link(), "a").is_empty()).then_some(()));
        outlet.stop();
        assert_numbers(&server, "a", 0..1);
    }
    let (journal, _reader) = until("the folder to be free", || Journal::open(journal.clone(), 1).ok());
    assert_eq!(journal.records(), 2, "they are still there");
}

#[test]
fn a_folder_that_cannot_be_used_does_not_cost_the_cursors_of_what_is_in_it() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    {
        let outlet = outlet(&server, spooled(folder.path()));
        assert_eq!(commit(&mut outlet.worker(), &Records::main(0..10)), Outcome::Done);
    }
    let cursor = |key: &str| server.link().cursor(key).expect("a cursor");
    let before = cursor("{main}:cursor:p:0");
    assert!(!before.is_empty());
    let config = spooled(folder.path());
    // A child that another test has just forked has the lock as well, until it becomes its program.
    let journal = config.journal.clone().expect("a journal");
    let held = until("the folder to be free", || Journal::open(journal.clone(), 1).ok());
    let outlet = outlet(&server, config);
    let mut worker = outlet.worker();
    assert_eq!(commit(&mut worker, &Records::main(10..20)), Outcome::Done);
    assert_eq!(cursor("{main}:cursor:p:0"), before);
    drop(held);
    until("the folder to be used", || outlet.waiting());
    assert_eq!(commit(&mut worker, &Records::main(20..30)), Outcome::Done);
    assert_ne!(cursor("{main}:cursor:p:0"), before);
    assert_numbers(&server, "main", 0..30);
}
