//! End-to-end tests against real peers.

mod harness;
mod kills;
mod splice;
mod workers;
