//! The compare-and-push: one atomic step in Redis that takes a batch only if it continues the cursor.
//!
//! # How it works
//!
//! A small batch is one `EVAL` of [`Side`]'s script with all records as arguments. Passing a record through
//! Lua costs as much as pushing it, so a larger batch is a transaction: a native `RPUSH` of all records
//! but the last, then the same script with the last one.
//!
//! ```text
//! MULTI
//! RPUSH list r1 .. rn-1                                native speed
//! EVAL script 2 list cursor from to -n rn              cursor == from? push rn and move the cursor
//! EXEC                                                 else take the n-1 records off again
//! ```
//!
//! Nobody sees the records between the push and their removal: a transaction is one step for every other client,
//! blocked ones included, for the append-only file and for replicas.
//!
//! # Why it is safe
//!
//! * Only a batch whose `from` is the cursor stays. So any number of batches may be under way, batches behind a refused
//!   one are refused too, and what a dead connection still had in its buffers loses the compare.
//! * A command refused while it is queued (out of memory, read-only, too few replicas, login) aborts the whole transaction.
//! * A command that fails inside the transaction does not stop the others. Therefore the script pushes the last record
//!   itself: whatever kept the native push from working (wrong type, permission) hits its twin too, and then the cursor
//!   goes back. Records and cursor move together or not at all.
//! * The script travels with each push (`EVAL`, not `EVALSHA`): with a missing script the native push would
//!   have been kept and the cursor not moved. A flushed script cache changes nothing.
//! * One gap is known: an administrator who takes `EVAL` away from the user, and only that, in the instant between
//!   the queueing and the execution of one transaction, leaves a push without its compare (`docs/DELIVERY.md`).
//!
//! Scripts and their costs: `docs/BENCHMARKS.md`.

mod answer;
mod command;

pub use answer::{Answer, Reply, answer};
pub use command::{Names, Side, advance, push, replies};
