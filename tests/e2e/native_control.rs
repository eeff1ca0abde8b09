//! The faults are hard enough: rsyslog's own module loses, doubles or misorders records in each of them.

use e2e::native::door::OMHIREDIS;
use e2e::native::faults;
use e2e::native::rig::Queue;
use e2e::native::scenario::{Outcome, Scenario};
use e2e::sender::Way;

/// A kill may hit a moment that does no harm.
const ATTEMPTS: usize = 5;

/// Runs it until something is wrong.
#[track_caller]
fn harmed(scenario: &Scenario) -> Outcome {
    let outcomes = (0..ATTEMPTS).map(|_| scenario.run(&OMHIREDIS));
    let harmed = outcomes.into_iter().find(|outcome| !outcome.is_clean());
    harmed.unwrap_or_else(|| panic!("too weak: {} does no harm to omhiredis in {ATTEMPTS} runs", scenario.name))
}

#[test]
fn kills_of_redis() {
    harmed(&faults::redis_killed_plainly(true));
    harmed(&faults::workers_and_batches(4, 4096));
    harmed(&faults::in_the_background());
}

#[test]
fn a_redis_that_loads_its_data() {
    harmed(&faults::loading(true));
}

#[test]
fn swallowed_replies() {
    let outcome = harmed(&faults::replies_swallowed(true));
    assert!(outcome.verdict.doubled.count > 0, "{outcome}");
}

#[test]
fn a_redis_that_stands_still() {
    harmed(&faults::redis_stands_still(true));
    harmed(&faults::stopped_while_redis_stands_still());
}

#[test]
fn a_redis_that_refuses() {
    for scenario in
        [faults::out_of_memory(true), faults::read_only(true), faults::no_snapshot(true), faults::wrong_type()]
    {
        let outcome = harmed(&scenario);
        assert!(outcome.acked_lost > 0, "{}: {outcome}", scenario.name);
    }
}

#[test]
fn a_wrong_password() {
    let outcome = harmed(&faults::wrong_password(true));
    assert!(outcome.acked_lost > 0, "{outcome}");
}

#[test]
fn stops_in_an_outage() {
    let outcome = harmed(&faults::stopped_in_an_outage(Way::Lines));
    assert!(outcome.acked_lost > 0, "{outcome}");
}

#[test]
fn kills_of_rsyslogd() {
    let memory = Queue::Memory { workers: 1, batch: 1024 };
    let outcome = harmed(&faults::rsyslogd_killed(memory, true));
    assert!(outcome.acked_lost > 0, "{outcome}");
    // Behind RELP and without a queue a kill alone costs it nothing: see the scenario. What it takes while Redis refuses is lost all the
    // same,
    let outcome = harmed(&faults::rsyslogd_killed_while_refused());
    assert!(outcome.acked_lost > 0, "{outcome}");
    // and while Redis is away it takes nothing.
    let outcome = faults::both_killed().run(&OMHIREDIS);
    assert!(outcome.stalled > 0, "too weak: {outcome}");
}
