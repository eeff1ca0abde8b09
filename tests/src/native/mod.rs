//! rsyslogd with an action that writes into Redis, and what may happen to the two: scenarios as data, and one runner.
//!
//! A [`Door`](door::Door) is the action. The same [`Scenario`](scenario::Scenario) runs with each of them: with the project's own,
//! which must keep every record, and with rsyslog's stock module as the control, which shows that the scenario is hard enough.

pub mod door;
pub mod faults;
pub mod plain;
pub mod prog;
pub mod prog_faults;
pub mod rig;
pub mod scenario;
pub mod statistics;
