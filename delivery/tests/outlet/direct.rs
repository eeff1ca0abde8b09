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

#[test]
fn more_lists_than_are_remembered() {
    let server = Server::start(&[]);
    let outlet = outlet(&server, config());
    let mut worker = outlet.worker();
    for round in 0..2 {
        for batch in 0..9 {
            let names: Vec<String> = (0..2000).map(|n| format!("list{}", batch * 2000 + n)).collect();
            let lists: Vec<&str> = names.iter().map(String::as_str).collect();
            assert_eq!(commit(&mut worker, &Records::dealt(&lists, round * 4000..round * 4000 + 4000)), Outcome::Done);
        }
    }
    for list in [0, 1999, 2000, 9000, 17_999] {
        let first = list % 2000;
        let numbers = [first, first + 2000, first + 4000, first + 6000];
        assert_numbers(&server, &format!("list{list}"), numbers.into_iter());
    }
    assert_eq!(get(&outlet.counters().pushed), 72_000);
}
