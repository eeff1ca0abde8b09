//! What a stream of Redis' holds.

use redis::Value;

use crate::redis::{Redis, query};

/// The field of an entry, if nobody asks for another.
pub const FIELD: &str = "msg";

/// Entries that one XRANGE fetches.
const CHUNK: &str = "5000";

/// The two numbers of an ID.
pub type Id = (u64, u64);

/// All entries of a stream, first to last, each with the one field `field`. Their IDs have to grow.
#[track_caller]
pub fn entries(redis: &Redis, key: &str, field: &str) -> Vec<(Id, Vec<u8>)> {
    let mut connection = redis.connect().expect("cannot connect to redis");
    let mut all: Vec<(Id, Vec<u8>)> = Vec::new();
    loop {
        let from = all.last().map_or("-".to_owned(), |((ms, seq), _)| format!("{ms}-{}", seq + 1));
        let chunk = query(&mut connection, &["XRANGE", key, &from, "+", "COUNT", CHUNK]).expect("XRANGE failed");
        let Value::Array(chunk) = chunk else { panic!("XRANGE answered {chunk:?}") };
        if chunk.is_empty() {
            return all;
        }
        for entry in chunk {
            let (id, record) = read(entry, field);
            assert!(all.last().is_none_or(|(last, _)| *last < id), "{id:?} behind {:?}", all.last());
            all.push((id, record));
        }
    }
}

/// The last ID that a stream has given, to an entry that may be gone by now.
#[track_caller]
pub fn last_id(redis: &Redis, key: &str) -> Id {
    let Value::Array(words) = redis.cmd(&["XINFO", "STREAM", key]) else { panic!("XINFO is another") };
    let at = words.iter().position(|word| *word == Value::BulkString(b"last-generated-id".into())).expect("it is told");
    id(&words[at + 1])
}

#[track_caller]
fn read(entry: Value, field: &str) -> (Id, Vec<u8>) {
    let Value::Array(parts) = entry else { panic!("not an entry: {entry:?}") };
    let [number, Value::Array(fields)] = &parts[..] else { panic!("not an entry: {parts:?}") };
    match &fields[..] {
        [Value::BulkString(name), Value::BulkString(record)] if name == field.as_bytes() => {
            (id(number), record.clone())
        }
        other => panic!("not one field {field:?}: {other:?}"),
    }
}

#[track_caller]
fn id(text: &Value) -> Id {
    let Value::BulkString(bytes) = text else { panic!("not an ID: {text:?}") };
    let text = std::str::from_utf8(bytes).expect("an ID is text");
    let (ms, seq) = text.split_once('-').expect("an ID has two parts");
    (ms.parse().expect("a number"), seq.parse().expect("a number"))
}
