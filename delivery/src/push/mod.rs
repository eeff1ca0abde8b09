//! The compare-and-push: one atomic step in Redis that takes a batch only if it continues the cursor.
//!
//! # How it works
//!
//! A small batch is one `EVAL` of `whole.lua` with all records as arguments. Passing a record through Lua costs as
//! much as pushing it, so a larger batch is a transaction: a native `RPUSH` of all records but the last, then `last.lua`
//! with the last one.
//!
//! ```text
//! MULTI
//! RPUSH list r1 .. rn-1                                        native speed
//! EVAL last.lua 2 list cursor from to RPUSH n rn               push rn too; cursor == from? move the cursor
//! EXEC                                                         else take the n records off again
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
//!   itself: whatever kept the native push from working (wrong type, permission) hits its twin too. Then the cursor goes
//!   back, and nothing is taken off the list, where only other people's records are. Records and cursor move together
//!   or not at all. Out of memory is the exception: before Redis 7 a script can meet it when the native push did not.
//! * What takes a step back is what went forward: GETSET both ways. A user who may do the one may do the other.
//! * The script travels with each push (`EVAL`, not `EVALSHA`): with a missing script the native push would
//!   have been kept and the cursor not moved. A flushed script cache changes nothing.
//! * Without MULTI, EVAL or LTRIM (not permitted, or renamed) a push could not be taken back. [`rehearsal`] asks for them
//!   on each new connection, before the first push.
//! * One gap is known: an administrator who takes MULTI, EVAL, LTRIM or the cursor's key away from the user, and not
//!   RPUSH, while a connection is in use. The answer then asks for a person (`docs/DELIVERY.md`).
//!
//! # Streams
//!
//! A push into a stream of Redis' is one `EVAL` of `stream.lua`, whatever its size: compare, XADD of each record, move of the cursor. It
//! compares first, for what `MAXLEN` has trimmed cannot be brought back, and so nothing has to be undone: what keeps the first
//! XADD from working keeps all. One thing can stop a later one, a stream at the last of all IDs; then the script takes out what it has added.
//! The server makes the IDs, in the same step, greater than every ID that the stream ever had. They do not say what is a repeat: the
//! cursor does (`docs/DELIVERY.md` says why).
//!
//! Scripts and their costs: `docs/BENCHMARKS.md`.

mod answer;
mod command;
mod mode;
mod reply;

pub use answer::{Answer, answer, is_too_large, length, rehearsed, rehearsed_for_list, too_large};
pub use command::{Names, advance, command, push, rehearsal, rehearsal_replies, replies};
pub use mode::{Entry, Mode, Side};
pub use reply::{NotAReply, Parser, Reply};
