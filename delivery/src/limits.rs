//! Every bound of the core, with its reason, tied together at compile time.

/// Records in one push. Lua's `unpack` fails above 7 998 arguments (measured); half of that leaves room.
pub const BATCH_RECORDS_MAX: usize = 4_000;

/// Bytes of records in one push, at most. Redis keeps one reply per push and blocks for its length.
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// One record, at most. Redis' own `proto-max-bulk-len` is 512 MiB; the pusher holds two of these in memory.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// A larger record goes alone: Redis may be told to refuse it (`proto-max-bulk-len` is at least this), and it must not take others along.
pub const RECORD_ALONE_BYTES: usize = 1 << 20;

/// Batches under way on one lane. Beyond it nothing gets faster (`docs/BENCHMARKS.md`).
pub const IN_FLIGHT_MAX: usize = 64;

/// A segment of the spool is at least this large: below it, files cost more than they hold.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// A segment of the spool is at most this large: disk comes back a segment at a time.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// The longest `producer` name. It is part of a Redis key that people read.
pub const PRODUCER_BYTES_MAX: usize = 512;

const _: () = assert!(RECORD_BYTES_MAX <= BATCH_BYTES_MAX, "a record must fit a batch");
const _: () = assert!(SEGMENT_BYTES_MIN <= SEGMENT_BYTES_MAX);
