//! `queue.mode` and the section `stream`: keys in the words of the manual, and their checks.

use delivery::push::{Entry, Mode, Side};
use serde::{Deserialize, Serialize};

use crate::checks::{Invalid, invalid, within};
use crate::key::{Key, key};
use crate::sections::Push;

/// `queue.mode`
pub const MODE: Key = key(
    "queue.mode",
    "queue or stream",
    false,
    "What queue.key is. queue: a list, workers take records out of it. stream: a stream of Redis' (XADD, Redis 5 or later), workers read it, in groups if they like. \
     An entry has one field, stream.field. What is there as the other kind is not converted, see docs/STREAMS.md. The user needs XADD and XLEN in place of RPUSH.",
);
/// `stream.field`
pub const FIELD: Key = key(
    "stream.field",
    "1 to 128 bytes",
    false,
    "The name of the one field of each entry; its value is the record. Only with queue.mode = stream.",
);
/// `stream.maxlen`
pub const MAXLEN: Key = key(
    "stream.maxlen",
    "0 to 1000000000000; 0 is never",
    false,
    "Redis THROWS AWAY the oldest entries of a stream that is longer than this, also those that nobody has read (MAXLEN ~: a hundred or so more may stay). It is \
     the one setting that gives up records. 0: nothing is thrown away. Only with queue.mode = stream; not together with queue.max-length, which holds records back in place of that.",
);

/// What `queue.key` is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueMode {
    /// A list.
    #[default]
    Queue,
    /// A stream of Redis'.
    Stream,
}

/// The section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a section")]
pub struct Stream {
    /// [`FIELD`]
    pub field: String,
    /// [`MAXLEN`]
    pub maxlen: u64,
}

impl Default for Stream {
    fn default() -> Self {
        let Entry { field, max_entries } = Entry::default();
        Self { field, maxlen: max_entries }
    }
}

/// What the key is filled as. `max_length` is `queue.max-length`.
pub fn mode(mode: QueueMode, push: Push, stream: &Stream, max_length: u64) -> Result<Mode, Invalid> {
    if mode == QueueMode::Queue {
        if stream.field != Entry::FIELD {
            return invalid("stream.field", "is of no use without queue.mode = \"stream\"");
        }
        if stream.maxlen != 0 {
            return invalid("stream.maxlen", "is of no use without queue.mode = \"stream\": a list is never trimmed");
        }
        return Ok(Mode::Queue(match push {
            Push::Right => Side::Right,
            Push::Left => Side::Left,
        }));
    }
    if push == Push::Left {
        return invalid("queue.push", "left is not for queue.mode = \"stream\": a stream grows at one end only");
    }
    if !Entry::allows(&stream.field) {
        return invalid(
            "stream.field",
            format!("{:?} is not allowed; 1 to 128 bytes, none of them a control character", stream.field),
        );
    }
    let max_entries = within("stream.maxlen", stream.maxlen, 0, Entry::MAX_ENTRIES_MAX)?;
    if max_entries > 0 && max_length > 0 {
        return invalid(
            "stream.maxlen",
            "contradicts queue.max-length: the one throws old entries away, the other holds new ones back; set one of them",
        );
    }
    Ok(Mode::Stream(Entry { field: stream.field.clone(), max_entries }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(field: &str, maxlen: u64) -> Stream {
        Stream { field: field.into(), maxlen }
    }

    #[test]
    fn a_stream_has_a_field_and_no_left_end() {
        let as_stream = |push, section: &Stream, mark| mode(QueueMode::Stream, push, section, mark);
        let good = as_stream(Push::Right, &stream("record", 5), 0).expect("good");
        assert_eq!(good, Mode::Stream(Entry { field: "record".into(), max_entries: 5 }));
        assert_eq!(as_stream(Push::Right, &Stream::default(), 9).expect("good").entry().expect("one").field, "msg");
        for (named, push, section, mark) in [
            ("queue.push", Push::Left, Stream::default(), 0),
            ("stream.field", Push::Right, stream("", 0), 0),
            ("stream.field", Push::Right, stream("a\nb", 0), 0),
            ("stream.maxlen", Push::Right, stream("msg", u64::MAX), 0),
            ("stream.maxlen", Push::Right, stream("msg", 5), 5),
        ] {
            assert_eq!(as_stream(push, &section, mark).expect_err(named).key, named);
        }
    }

    #[test]
    fn a_list_is_not_told_what_a_stream_is() {
        let as_list = |section: &Stream| mode(QueueMode::Queue, Push::Left, section, 0);
        assert_eq!(as_list(&Stream::default()).expect("good"), Mode::Queue(Side::Left));
        assert_eq!(as_list(&stream("record", 0)).expect_err("a field").key, "stream.field");
        assert_eq!(as_list(&stream("msg", 1)).expect_err("a length").key, "stream.maxlen");
    }
}
