//! What each key means, in the words of the manual. `omrust.toml(5)` and `docs/OMRUST-TOML.md` are made from this.

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
        "Lists that the records are spread over, queue.key:0 and so on: one after the other within a stream, side by side between them. Each has a connection and a part of the spool of its \
         own. 1: all go to queue.key. It can be changed while nothing waits in the spools, see docs/DELIVERY.md.",
    ),
    key(
        "queue.lane-field",
        "word:N or field:N, N from 1 to 64",
        false,
        "With several lanes: what tells the streams apart. word:N is the N-th word of the record, field:N what stands in front of its N-th |. Records in which it is equal stay in \
         order. The template of the action has to bring it.",
    ),
    key(
        "queue.producer",
        "up to 500 bytes",
        false,
        "The name under which the cursors are kept, one for each instance. It must differ between all hosts and actions that fill one list, and stay \
         the same over restarts. Empty: host name, a colon, and the folder of the instances.",
    ),
    key(
        "queue.on-refused",
        "hold or dead-letter",
        false,
        "What to do when Redis will not take records into this list (WRONGTYPE, or no permission for the key): hold waits and tries again; \
         dead-letter parks them.",
    ),
    key(
        "queue.max-length",
        "number; 0 is none",
        false,
        "High water of the list. When a push finds it so long, transactions go into the spool until workers have brought it down to four fifths of that; without a spool, \
         or when it is full, rsyslog waits. What is under way still arrives: the list becomes at most one transaction per instance longer, and one transaction and 1024 records \
         more while a spool is emptied. Nothing is ever taken out of it. The user needs LLEN (a stream: XLEN, and workers that take out with XDEL what they are done with).",
    ),
    stream::FIELD,
    stream::MAXLEN,
    key(
        "spool.directory",
        "absolute path",
        false,
        "The spool's folder, on disk. Each instance has a folder of its own in it. Empty: there is no spool, and rsyslog waits while Redis is away.",
    ),
    key(
        "spool.maxsize",
        "size, 4m or more for each lane",
        false,
        "Bytes of the spool of one instance, at most; with several lanes each has its part, at least 4m. When it is full, rsyslog waits; nothing is dropped.",
    ),
    key(
        "spool.delay-ms",
        "10 to 60000",
        false,
        "Milliseconds that Redis may take for a transaction before it goes into the spool.",
    ),
    key(
        "spool.sync",
        "always, interval or none",
        false,
        "When the spool is forced to disk. With always, what was answered OK survives a power loss. With interval the last spool.sync-interval-ms \
         do not, with none what the kernel had not written back. A kill -9 costs nothing with any of them.",
    ),
    key("spool.sync-interval-ms", "10 to 60000", false, "Milliseconds between two syncs, for spool.sync = interval."),
    key(
        "dead-letter.directory",
        "absolute path",
        false,
        "Folder of dead-letters.jsonl. Empty: the folder of the instances.",
    ),
    key(
        "prog.confirm-messages",
        "auto, on or off",
        false,
        "Whether rsyslog waits for answers; the same as confirmMessages of the action. auto sees it: with confirmMessages=\"on\" standard output is a \
         pipe of its own.",
    ),
    key(
        "prog.use-transactions",
        "true or false",
        false,
        "true: lines that read as the marks are marks. A line outside of a transaction is a transaction of its own, so that it also suits an \
         action without transactions. false: no line is a mark.",
    ),
    key("prog.begin-mark", "text", false, "beginTransactionMark of the action."),
    key("prog.commit-mark", "text", false, "commitTransactionMark of the action."),
    key(
        "prog.confirm-timeout-ms",
        "100 to 3600000",
        false,
        "confirmTimeout of the action: while an answer takes longer a dot is written four times in this time.",
    ),
    key(
        "prog.close-timeout-ms",
        "100 to 3600000",
        false,
        "closeTimeout of the action: after the end of the input the program is gone within this time, whatever Redis does.",
    ),
    key(
        "prog.patience-seconds",
        "0 to 86400",
        false,
        "Seconds that an answer may take while records can go neither into Redis nor into the spool; then rsyslog is told an error, hands the records \
         in again, and is told apart. Waiting keeps rsyslog's own retries, which change the order in which records come, out of it.",
    ),
    key(
        "prog.record-max",
        "size, 1k to 64m",
        false,
        "The longest record, without its line end. A longer one becomes a dead letter, in parts, nothing cut off.",
    ),
    key(
        "prog.state-directory",
        "absolute path",
        false,
        "Folder of the instances: their locks, and what each has accepted and not yet confirmed. Empty: spool.directory; without one /run/omrust-prog, \
         which is memory.",
    ),
    key(
        "log.level",
        "error, warn, info or debug",
        false,
        "What is logged, to standard error. The action's output= catches it.",
    ),
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
