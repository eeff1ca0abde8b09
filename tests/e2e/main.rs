//! End-to-end tests against real peers.

mod configuration;
mod cursors;
mod demo;
mod generated;
mod harness;
mod journal;
mod kills;
mod native_abi;
mod native_control;
mod native_disk;
mod native_faults;
mod native_life;
mod native_parameters;
mod native_stats;
mod outage;
mod packaging;
mod pipe;
mod records;
mod redis_faults;
mod redis_states;
mod rsyslog_conf;
mod splice;
mod spool_folder;
mod systemd;
mod tidy;
mod workers;
