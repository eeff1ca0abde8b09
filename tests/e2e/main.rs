//! End-to-end tests against real peers.

mod configuration;
mod harness;
mod kills;
mod splice;
mod workers;
