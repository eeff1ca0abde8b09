//! rsyslog's native output module for Redis lists: `module(load="omrust")`, `action(type="omrust" key="queue")`.
//!
//! [`abi`] speaks rsyslog's module interface and holds the only `unsafe` of the project. Everything above it is safe: [`settings`]
//! says what an action may be told, [`messages`] what a batch of rsyslog's is, [`log`] how lines reach rsyslog's own log.
//! Delivery itself (cursors, pushes, the spool, dead letters) is the crate `delivery`, which knows no rsyslog.

pub mod abi;
pub mod action;
pub mod conversation;
pub mod ending;
pub mod log;
pub mod messages;
pub mod settings;
