//! The harness of the end-to-end tests: real peers in a private folder, and the verdict over what they left.
//!
//! A test makes a [`Scene`](child::Scene) first and everything else in it. Whatever is started lives in a
//! [`Guarded`](child::Guarded) child, which dies with the test. Nothing sleeps for a fixed time:
//! [`until`](child::until) polls for a fact and names it when it does not come.

pub mod aof;
pub mod apt;
pub mod bridge;
pub mod built;
pub mod cargo;
pub mod cc;
pub mod certs;
pub mod child;
pub mod cluster;
pub mod consumer;
pub mod daemon;
pub mod disk;
pub mod host;
pub mod ledger;
pub mod load;
pub mod matrix;
pub mod measure;
pub mod monitor;
pub mod mount;
pub mod native;
pub mod net;
pub mod outlet;
pub mod pipe;
pub mod proxy;
pub mod redis;
pub mod relp;
pub mod rsyslog;
pub mod sender;
pub mod sentinel;
pub mod servers;
pub mod stage;
pub mod stream;
pub mod tcp;
