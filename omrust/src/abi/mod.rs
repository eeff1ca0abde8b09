//! rsyslog's module interface: the only unsafe code of the project.
//!
//! What rsyslogd does with a module, and what must hold because of it:
//!
//! * A worker thread is cancelled (`pthread_cancel`) as a normal part of stopping during an outage, and a cancellation inside Rust
//!   ends the process. So every entry point runs in `guard`, which forbids cancellation and catches panics.
//! * rsyslogd forks after the configuration is read, and the child closes its descriptors. So nothing is opened before
//!   `activateCnf`, and there is no thread.
//! * As a daemon it closes descriptors 1 and 2, and writes to them still. So nothing prints, and `fds` keeps them from being given to
//!   a socket or a file.
//! * Instances are freed before their workers on some versions, after them on others. So workers share ownership.
//! * An unknown entry point is answered with -1004 and a legacy line with -2001: any other answer harms the load, or other modules.
#![allow(unsafe_code)]
#![allow(
    clippy::missing_safety_doc,
    reason = "the entry points are called by rsyslogd alone, as include/rsyslog_omod.h tells"
)]

pub mod c_api;
mod entry;
mod fds;
mod guard;
mod host;
mod instance;
mod layout;
mod params;
mod stats;
#[rustfmt::skip]
mod sys;
mod worker;

pub use entry::modInit;
pub use host::{OPTIONAL_SYMBOLS, REQUIRED_SYMBOLS};
pub use stats::COUNTERS;
