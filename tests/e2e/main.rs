//! End-to-end tests against real peers.

mod configuration;
mod harness;
mod kills;
mod pipe;
mod redis_states;
mod rsyslog_conf;
mod splice;
mod workers;
