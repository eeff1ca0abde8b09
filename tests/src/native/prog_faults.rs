//! The faults that only a program behind omprog has. What rsyslog does about them depends on its version: they run in all of them.

use std::time::Duration;

use crate::native::faults;
use crate::native::prog::FOLDER;
use crate::native::rig::Plan;
use crate::native::scenario::{Scenario, Step};
use crate::sender::Way;

/// Transactions become as large as they may: rsyslog's queue has grown while Redis stood still.
const BACKLOG: [Step; 3] = [Step::StopRedis, Step::Sent(20_000), Step::ContinueRedis];

/// COMMIT is answered with an error, twice and more: rsyslog hands in again, whole or one by one, those that fail again last.
pub fn commits_fail() -> Scenario {
    let plan = Plan {
        spool: false,
        redis: vec![("appendonly", "yes"), ("appendfsync", "always")],
        more: "timeout=\"300\" connecttimeout=\"300\" patience=\"0\" reportFailures=\"on\"".to_owned(),
        ..Plan::default()
    };
    let round =
        [Step::Flow(500), Step::KillRedis, Step::Sent(500), Step::Do(|rig| rig.wait_said("NOT YET")), Step::StartRedis];
    let steps = [vec![Step::Send(&["a", "b"])], round.repeat(2), vec![Step::Flow(500)]].concat();
    Scenario { name: "commits fail", plan, steps }
}

/// One push fails, several times, while a large transaction is still coming in: the answer to it is lost, and the connection with it.
pub fn an_error_in_the_middle(spool: bool) -> Scenario {
    let more = "timeout=\"400\" connecttimeout=\"400\" patience=\"0\"".to_owned();
    let plan = Plan { spool, proxy: true, more, ..Plan::default() };
    let error = [Step::Flow(1_500), Step::Swallow(Duration::ZERO)];
    let round = [vec![Step::Flow(500)], BACKLOG.to_vec(), error.repeat(4)].concat();
    let steps = [vec![Step::Send(&["a", "b"])], round.repeat(2), vec![Step::Flow(500)]].concat();
    Scenario { name: "one error in the middle of a transaction", plan, steps }
}

/// Each life of the program ends at the `count`th passage of `place`; with `once` only the first that comes so far.
pub fn dies_at(place: &'static str, count: u32, spool: bool, once: bool) -> Scenario {
    let once = if once { format!(":{FOLDER}/died") } else { String::new() };
    let plan = Plan { spool, more: format!("fault=\"{place}:{count}{once}\""), ..Plan::default() };
    // One by one, each death costs rsyslogd a start: it has to be through with all of them before it can end.
    let steps = vec![Step::Send(&["a"]), Step::Sent(if count < 10 { 300 } else { 1_500 }), Step::Finish];
    Scenario { name: place, plan, steps }
}

/// All that depends on which rsyslogd it is.
pub fn of_the_host() -> Vec<Scenario> {
    vec![
        commits_fail(),
        an_error_in_the_middle(true),
        an_error_in_the_middle(false),
        dies_at("after-defer", 150, true, false),
        dies_at("before-settle", 3, false, false),
        // Later versions take minutes for a batch of which every third commit fails.
        dies_at("before-ok", 3, true, true),
        faults::redis_killed_plainly(true),
        faults::replies_swallowed(false),
        faults::stopped_in_an_outage(Way::Lines),
        faults::stopped_while_redis_stands_still(),
    ]
}
