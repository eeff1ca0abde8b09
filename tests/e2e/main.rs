//! End-to-end tests against real peers.

mod c_interface;
mod configuration;
mod cursors;
mod demo;
mod generated;
mod harness;
mod journal;
mod kills;
mod native_control;
mod outage;
mod packaging;
mod pipe;
mod prog_conf;
mod prog_faults;
mod prog_kills;
mod prog_talk;
mod records;
mod redis_faults;
mod redis_states;
mod rsyslog_conf;
mod splice;
mod spool_folder;
mod systemd;
mod tidy;
mod workers;
