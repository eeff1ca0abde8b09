//! The compare-and-push against a real redis-server: nothing lost, nothing twice, nothing out of order, whatever happens
//! to Redis, to the connection or to the user's permissions. Needs redis-server on the path and fails without it.

mod acl;
mod aof;
mod basic;
mod chaos;
#[path = "../../../tests/src/aof.rs"]
mod log;
mod refused;
#[expect(dead_code, reason = "shared with other tests")]
mod server;
mod stream;
