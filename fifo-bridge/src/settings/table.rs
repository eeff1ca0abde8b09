//! What each key means, in the words of the manual. `fifo-bridge.toml(5)` and `docs/SETTINGS.md` are made from this.

use settings::key::key;
use settings::{place, stream};

pub use settings::Key;

/// All keys, in the order of the manual. A test holds them against what the file takes.
pub const KEYS: &[Key] = &[
    place::SERVER,
    place::PORT,
    place::USER,
    place::PASSWORD,
    place::PASSWORD_FILE,
    place::DB,
    place::TLS_ENABLED,
    place::TLS_CA_CERT,
    place::TLS_CERT,
    place::TLS_KEY,
    place::TLS_SERVER_NAME,
    place::SENTINEL_MASTER,
    place::SENTINEL_USER,
    place::SENTINEL_PASSWORD,
    place::SENTINEL_PASSWORD_FILE,
    place::ACK,
    place::CONNECT_TIMEOUT,
    place::TIMEOUT,
    place::CLUSTER,
    place::SHARD,
    key("queue.key", "text", false, "The Redis list, or stream. The cursor lives beside it, see docs/DELIVERY.md."),
    stream::MODE,
    key(
        "queue.push",
        "right or left",
        false,
        "right: RPUSH, for workers that use LPOP. left: LPUSH, for workers that use RPOP. A stream has no left end.",
    ),
    key(
        "queue.lanes",
        "1 to 64",
        false,
        "Lists that the records are spread over, queue.key:0 and so on: one after the other within a stream, side by side between them. 1: all go to queue.key. \
         It can be changed while nothing waits in the spool, see docs/OPERATIONS.md.",
    ),
    key(
        "queue.lane-field",
        "word:N or field:N, N from 1 to 64",
        false,
        "With several lanes: what tells the streams apart. word:N is the N-th word of the message (of the whole line with frame.format = line), field:N what stands in front of the N-th | of the line. \
         Records in which it is equal stay in order. The template has to bring it: docs/RSYSLOG.md.",
    ),
    key(
        "queue.in-flight",
        "1 to 64",
        true,
        "Batches under way at a time. Any number is safe; more than 16 brings nothing.",
    ),
    key(
        "queue.producer",
        "up to 512 bytes",
        false,
        "The name under which the cursor is kept. It must differ between all bridges that fill one list, and stay the same over restarts. \
         Empty: host name, a colon, and the path of the pipe.",
    ),
    key(
        "queue.on-lost-cursor",
        "resume or stop",
        true,
        "What to do when Redis has lost the cursor (emptied, restored from an old copy, evicted): resume goes on at the last position that \
         Redis had confirmed; stop pushes nothing until a person sends SIGHUP after setting resume.",
    ),
    key(
        "queue.on-refused",
        "hold or dead-letter",
        true,
        "What to do when Redis will not take records into this list (WRONGTYPE, or no permission for the key), or a record that is larger than its proto-max-bulk-len: hold keeps them in the spool and tries again; \
         dead-letter parks them. A permission that is missing already when the bridge connects makes everything wait, with both.",
    ),
    key(
        "queue.max-length",
        "number; 0 is none",
        true,
        "High water of the list. When a push finds it so long, records wait in the spool until workers have brought it down to four fifths of that; when the \
         spool is full the pipe is no longer read. What is under way still arrives: the list becomes at most queue.in-flight times batch.records-max longer. \
         Nothing is ever taken out of it. The user needs LLEN (a stream: XLEN, and workers that take out with XDEL what they are done with).",
    ),
    stream::FIELD,
    stream::MAXLEN,
    key("batch.records-max", "1 to 4000", true, "Records in one push, at most."),
    key(
        "batch.bytes-max",
        "size, 4k to 64m",
        true,
        "Bytes of records in one push, at most. A single longer record goes alone.",
    ),
    key(
        "batch.linger-ms",
        "0 to 1000",
        true,
        "The longest time that a record waits for company, in milliseconds: while records follow each other the pipe is emptied this often. A record that comes alone does not wait. Smaller costs CPU; larger costs latency and, above 8, room in the pipe when a burst begins. \
         While much arrives the wait shrinks to 1.",
    ),
    key("fifo.path", "absolute path", false, "The named pipe. It is created if it is missing."),
    key(
        "fifo.mode",
        "octal, 0600 to 0666",
        false,
        "Mode of the pipe if it is created. ompipe needs read and write permission.",
    ),
    key(
        "fifo.owner",
        "user name or number",
        false,
        "Owner of the pipe if it is created; empty is the bridge's own user.",
    ),
    key(
        "fifo.group",
        "group name or number",
        false,
        "Group of the pipe if it is created; empty is the bridge's own group.",
    ),
    key(
        "fifo.pipe-size",
        "size, 4k to 1g",
        false,
        "Capacity of the pipe. More than fs.pipe-max-size (1m) needs a privilege; if it is refused, the bridge says so and goes on.",
    ),
    key(
        "frame.format",
        "bridge or line",
        true,
        "bridge: a record begins with ~ and has three | (the shipped template); any other line is torn and becomes a dead letter. line: each line is a record.",
    ),
    key(
        "frame.resync",
        "long, always or never",
        true,
        "Where to look for a second record inside of a line (format bridge). ompipe tears only records over 4096 bytes, and a torn one is glued to the next: long looks \
         into lines over 4096 bytes and into lines without a frame; always looks into all, but then a sender can forge a record by writing its header into a message; never looks into none.",
    ),
    key(
        "frame.record-max",
        "size, 128 to 64m, at most spool.maxsize less two spool.segment-size",
        true,
        "The longest record, without its line end. A longer one becomes a dead letter, in parts, nothing cut off.",
    ),
    key(
        "spool.directory",
        "absolute path",
        false,
        "The spool's folder. Empty: the folder spool in $RUNTIME_DIRECTORY or /run/fifo-bridge, which is memory: it survives kill -9, not a reboot.",
    ),
    key(
        "spool.maxsize",
        "size, 256k or more",
        false,
        "Bytes of the spool, at most. When it is full the pipe is no longer read and rsyslog's queue takes over; nothing is dropped.",
    ),
    key(
        "spool.segment-size",
        "size, 64k to 1g, at most a quarter of spool.maxsize",
        false,
        "Bytes of one file of the spool: disk comes back in these steps.",
    ),
    key(
        "spool.sync",
        "none, interval or always",
        false,
        "When the spool is forced to disk. A power loss costs, with none, what the kernel had not written back (some 30 seconds); with interval, spool.sync-interval-ms; \
         with always, only what left the pipe within the last sync. A kill -9 costs nothing with any of them.",
    ),
    key("spool.sync-interval-ms", "10 to 60000", false, "Milliseconds between two syncs, for spool.sync = interval."),
    key(
        "spool.retention-bytes",
        "size",
        false,
        "Confirmed bytes that are kept for a Redis that fails over to a replica without the last pushes, at most.",
    ),
    key("spool.retention-seconds", "0 to 86400", false, "Seconds for which they are kept, at most."),
    key("dead-letter.directory", "absolute path", false, "Folder of dead-letters.jsonl. Empty: the spool's."),
    key(
        "metrics.listen",
        "address:port, /path/of/socket, or empty",
        false,
        "Where Prometheus finds /metrics. Port 0 takes any; the log tells which. Empty: nowhere.",
    ),
    key(
        "metrics.status-socket",
        "absolute path",
        false,
        "Socket that `fifo-bridge status` asks. Empty: status.sock in $RUNTIME_DIRECTORY or /run/fifo-bridge.",
    ),
    key("log.level", "error, warn, info or debug", true, "What is logged, to standard error."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_exactly_what_the_file_takes() {
        let file = crate::settings::file::File::default();
        assert_eq!(settings::key::taken(&file), settings::key::names(KEYS));
    }
}
