//! omrust.so and every fault that may happen around it: nothing is lost, nothing comes twice, nothing out of order.
//!
//! `native_control` shows that each of these scenarios is hard enough.

use e2e::native::door::OMRUST;
use e2e::native::faults;
use e2e::native::rig::Queue;
use e2e::sender::Way;

#[test]
fn redis_is_killed_three_times_under_load() {
    faults::redis_killed_plainly(true).assert_clean(&OMRUST);
}

#[test]
fn redis_is_killed_three_times_under_load_without_a_spool() {
    faults::redis_killed_plainly(false).assert_clean(&OMRUST);
}

#[test]
fn replies_are_swallowed() {
    faults::replies_swallowed(true).assert_clean(&OMRUST);
}

#[test]
fn replies_are_swallowed_without_a_spool() {
    faults::replies_swallowed(false).assert_clean(&OMRUST);
}

#[test]
fn redis_stands_still() {
    faults::redis_stands_still(true).assert_clean(&OMRUST);
}

#[test]
fn redis_stands_still_without_a_spool() {
    faults::redis_stands_still(false).assert_clean(&OMRUST);
}

#[test]
fn redis_is_out_of_memory() {
    faults::out_of_memory(true).assert_clean(&OMRUST);
}

#[test]
fn redis_is_out_of_memory_without_a_spool() {
    faults::out_of_memory(false).assert_clean(&OMRUST);
}

#[test]
fn redis_is_read_only() {
    faults::read_only(true).assert_clean(&OMRUST);
}

#[test]
fn redis_is_read_only_without_a_spool() {
    faults::read_only(false).assert_clean(&OMRUST);
}

#[test]
fn redis_cannot_write_snapshots() {
    faults::no_snapshot(true).assert_clean(&OMRUST);
    faults::no_snapshot(false).assert_clean(&OMRUST);
}

#[test]
fn one_of_several_lists_has_a_wrong_type() {
    faults::wrong_type().assert_clean(&OMRUST);
}

#[test]
fn the_password_is_wrong_for_a_while() {
    faults::wrong_password(true).assert_clean(&OMRUST);
}

#[test]
fn the_password_is_wrong_for_a_while_without_a_spool() {
    faults::wrong_password(false).assert_clean(&OMRUST);
}

#[test]
fn rsyslogd_is_stopped_and_started_during_an_outage() {
    faults::stopped_in_an_outage(Way::Lines).assert_clean(&OMRUST);
}

#[test]
fn rsyslogd_is_stopped_and_started_during_an_outage_behind_relp() {
    faults::stopped_in_an_outage(Way::Relp(1000)).assert_clean(&OMRUST);
}

#[test]
fn rsyslogd_is_stopped_while_redis_stands_still() {
    faults::stopped_while_redis_stands_still().assert_clean(&OMRUST);
}

#[test]
fn rsyslogd_is_killed_behind_relp() {
    faults::rsyslogd_killed(Queue::Direct, true).assert_clean(&OMRUST);
}

#[test]
fn rsyslogd_is_killed_behind_relp_without_a_spool() {
    faults::rsyslogd_killed(Queue::Direct, false).assert_clean(&OMRUST);
}

#[test]
fn rsyslogd_and_redis_are_killed_behind_relp() {
    faults::both_killed().assert_clean(&OMRUST);
}

#[test]
fn rsyslogd_is_killed_behind_relp_while_redis_refuses() {
    faults::rsyslogd_killed_while_refused().assert_clean(&OMRUST);
}

#[test]
fn the_spool_is_full() {
    faults::spool_full().assert_clean(&OMRUST);
}

/// With several workers rsyslog keeps no order; nothing is lost, and nothing comes twice.
#[test]
fn workers_and_batches_of_many_sizes() {
    for (workers, batch) in [(1, 1), (2, 1), (4, 1), (1, 128), (2, 128), (4, 128)] {
        faults::workers_and_batches(workers, batch).assert_clean(&OMRUST);
    }
}

#[test]
fn workers_and_large_batches() {
    for (workers, batch) in [(1, 1024), (2, 1024), (4, 1024), (1, 4096), (2, 4096), (4, 4096)] {
        faults::workers_and_batches(workers, batch).assert_clean(&OMRUST);
    }
}

#[test]
fn rsyslogd_runs_in_the_background() {
    faults::in_the_background().assert_clean(&OMRUST);
}

#[test]
fn rsyslogd_is_stopped_with_a_full_queue() {
    faults::stopped_with_a_full_queue(true).assert_clean(&OMRUST);
}

#[test]
fn rsyslogd_is_stopped_with_a_full_queue_without_a_spool() {
    faults::stopped_with_a_full_queue(false).assert_clean(&OMRUST);
}
