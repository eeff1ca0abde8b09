//! End-to-end tests against real peers.

mod configuration;
mod harness;
mod kills;
mod redis_states;
mod pipe;
mod splice;
mod workers;
