//! Transactions against a real redis-server: nothing lost, nothing twice, nothing out of order, whatever happens to Redis, and
//! however the host hands a batch in again. Needs redis-server on the path and fails without it.

mod direct;
mod fan;
mod hold;
mod later;
#[path = "../../../tests/src/aof.rs"]
mod log;
#[path = "../push/server.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod server;
mod setup;
mod spooled;
mod water;
