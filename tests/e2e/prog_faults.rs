//! omrust-prog behind omprog and every fault that may happen around it: nothing is lost, nothing comes twice, nothing out of order.
//!
//! `native_control` shows that each of these scenarios is hard enough.

use e2e::native::faults;
use e2e::native::prog::{OMPROG, OMPROG_DEAF, OMPROG_SHARED, OMPROG_SINGLE};
use e2e::native::prog_faults;
use e2e::native::rig::{Plan, Queue};
use e2e::native::scenario::{Scenario, Step};
use e2e::sender::Way;

#[test]
fn redis_is_killed_three_times_under_load() {
    faults::redis_killed_plainly(true).assert_clean(&OMPROG);
}

#[test]
fn redis_is_killed_three_times_under_load_without_a_spool() {
    faults::redis_killed_plainly(false).assert_clean(&OMPROG);
}

#[test]
fn redis_is_killed_three_times_under_load_without_transactions() {
    faults::redis_killed_plainly(true).assert_clean(&OMPROG_SINGLE);
}

#[test]
fn redis_is_killed_three_times_under_load_without_answers() {
    faults::redis_killed_plainly(true).assert_clean(&OMPROG_DEAF);
    faults::redis_killed_plainly(false).assert_clean(&OMPROG_DEAF);
}

#[test]
fn replies_are_swallowed() {
    faults::replies_swallowed(true).assert_clean(&OMPROG);
}

#[test]
fn replies_are_swallowed_without_a_spool() {
    faults::replies_swallowed(false).assert_clean(&OMPROG);
}

#[test]
fn redis_stands_still() {
    faults::redis_stands_still(true).assert_clean(&OMPROG);
}

#[test]
fn redis_stands_still_without_a_spool() {
    faults::redis_stands_still(false).assert_clean(&OMPROG);
}

#[test]
fn redis_is_out_of_memory() {
    faults::out_of_memory(true).assert_clean(&OMPROG);
    faults::out_of_memory(false).assert_clean(&OMPROG);
}

#[test]
fn redis_is_read_only() {
    faults::read_only(true).assert_clean(&OMPROG);
    faults::read_only(false).assert_clean(&OMPROG);
}

#[test]
fn the_password_is_wrong_for_a_while() {
    faults::wrong_password(true).assert_clean(&OMPROG);
}

#[test]
fn rsyslogd_is_stopped_and_started_during_an_outage() {
    faults::stopped_in_an_outage(Way::Lines).assert_clean(&OMPROG);
}

#[test]
fn rsyslogd_is_stopped_while_redis_stands_still() {
    faults::stopped_while_redis_stands_still().assert_clean(&OMPROG);
}

#[test]
fn the_spool_is_full() {
    faults::spool_full().assert_clean(&OMPROG);
}

#[test]
fn four_workers_have_a_program_each() {
    faults::workers_and_batches(4, 1024).assert_clean(&OMPROG);
}

#[test]
fn four_workers_share_one_program() {
    faults::workers_and_batches(4, 256).assert_clean(&OMPROG_SHARED);
}

#[test]
fn rsyslogd_is_in_the_background() {
    faults::in_the_background().assert_clean(&OMPROG);
}

/// Answers with an error at COMMIT, twice and more.
#[test]
fn commits_fail_and_fail_again() {
    prog_faults::commits_fail().assert_clean(&OMPROG);
}

#[test]
fn one_push_fails_while_a_transaction_comes_in() {
    prog_faults::an_error_in_the_middle(true).assert_clean(&OMPROG);
    prog_faults::an_error_in_the_middle(false).assert_clean(&OMPROG);
}

/// rsyslog has a queue of its own on disk behind the ruleset's.
#[test]
fn several_programs_and_a_restart_of_rsyslogd_keep_all() {
    let plan = Plan { queue: Queue::Memory { workers: 3, batch: 256 }, ..Plan::default() };
    let round = [Step::Flow(1_000), Step::Finish, Step::Taken, Step::Term, Step::Start, Step::Send(&["c", "d"])];
    let mut steps = vec![Step::Send(&["a", "b"])];
    steps.extend(round);
    steps.push(Step::Flow(1_000));
    Scenario { name: "several programs and a restart", plan, steps }.assert_clean(&OMPROG);
}
