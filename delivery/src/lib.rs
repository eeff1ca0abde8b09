//! The core of omrust: what a record, a batch, a lane and its cursor are, how a batch reaches a Redis
//! list exactly once, and where bytes wait on disk until it has.
//!
//! Decisions are plain values that take events and `now` ([`lane`], [`retry`], [`resume`], [`eager`]); files
//! and sockets are one layer further out ([`spool`], [`link`], [`wire`], [`dead_letter`]). The crate knows
//! neither rsyslog nor pipes, and it has no `unsafe`. The promise it serves is in `docs/DELIVERY.md`.
#![forbid(unsafe_code)]

pub mod counters;
pub mod dead_letter;
pub mod descriptor;
pub mod eager;
pub mod error;
pub mod fault;
pub mod high_water;
pub mod journal;
pub mod lane;
pub mod letters;
pub mod limits;
pub mod link;
pub mod lists;
pub mod outlet;
pub mod position;
pub mod push;
pub mod resume;
pub mod retry;
pub mod spool;
pub mod wire;
