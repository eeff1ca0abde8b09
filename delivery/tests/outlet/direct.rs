//! Redis is there.

use delivery::counters::get;
use delivery::outlet::Outcome;

use crate::server::Server;
use crate::setup::{Records, assert_numbers, commit, config, outlet};

#[test]
fn batches_of_all_sizes_arrive_in_order() {
    let server = Server::start(&[]);
    let outlet = outlet(&server, config());
    let mut worker = outlet.worker();
    let mut next = 0;
    for size in [1, 2, 11, 12, 13, 128, 255, 257, 1024, 4096, 9000, 1] {
        assert_eq!(commit(&mut worker, &Records::main(next..next + size)), Outcome::Done);
        next += size;
    }
    assert_numbers(&server, "main", 0..next);
    let counters = outlet.counters();
    assert_eq!((get(&counters.received), get(&counters.pushed), get(&counters.accepted)), {
        let next = next as u64;
        (next, next, next)
    });
}

#[test]
fn each_list_of_a_batch_gets_its_own() {
    let server = Server::start(&[]);
    let outlet = outlet(&server, config());
    let mut worker = outlet.worker();
    let lists = ["a", "b", "main", "{tag}:d"];
    for round in 0..5 {
        assert_eq!(commit(&mut worker, &Records::dealt(&lists, round * 1000..(round + 1) * 1000)), Outcome::Done);
    }
    for (at, list) in lists.iter().enumerate() {
        assert_numbers(&server, list, (0..5000).filter(|n| n % 4 == at));
    }
}

#[test]
fn another_life_goes_on_behind_the_first() {
    let server = Server::start(&[]);
    for life in 0..5 {
        let outlet = outlet(&server, config());
        for batch in 0..3 {
            let mut worker = outlet.worker();
            assert_eq!(worker.slot(), 0);
            let at = (life * 3 + batch) * 100;
            assert_eq!(commit(&mut worker, &Records::main(at..at + 100)), Outcome::Done);
        }
    }
    assert_numbers(&server, "main", 0..1500);
}
