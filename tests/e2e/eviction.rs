//! A Redis that may evict records or cursors is reported loudly, by each door, once. fifo-bridge's own test: `redis_states`.

use std::fs;

use e2e::child::{PATIENCE, until};
use e2e::native::door::{Door, OMRUST};
use e2e::native::prog::OMPROG;
use e2e::native::rig::{Plan, Rig};

const SAID: &str = "redis' maxmemory-policy is allkeys-lru: it may drop records and cursors; set noeviction";

/// What the door has said, after its connection was cut several times.
fn said(door: &Door, log: fn(&Rig) -> String) -> usize {
    let plan = Plan { redis: vec![("maxmemory-policy", "allkeys-lru")], ..Plan::default() };
    let mut rig = Rig::start(&plan, door);
    rig.send(&["a"]);
    for _ in 0..3 {
        assert!(rig.flow(200, PATIENCE), "{}", rig.messages());
        rig.redis.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }
    assert!(rig.flow(200, PATIENCE), "{}", rig.messages());
    until("the door to say it", PATIENCE, || log(&rig).contains(SAID).then_some(()));
    rig.finish();
    log(&rig).matches(SAID).count()
}

#[test]
fn the_module_reports_a_policy_that_may_evict() {
    assert_eq!(said(&OMRUST, Rig::messages), 1);
}

#[test]
fn the_program_reports_a_policy_that_may_evict() {
    let log = |rig: &Rig| fs::read_to_string(rig.scene.file("door/omrust-prog.log")).unwrap_or_default();
    assert_eq!(said(&OMPROG, log), 1);
}
