//! The bytes of a push, packed straight into the send buffer.

use super::mode::{Entry, Mode, Side};
use crate::limits::{BATCH_RECORDS_MAX, PRODUCER_BYTES_MAX};

/// A batch of at least this many records goes as a transaction around a native push; below it the queueing
/// costs more than Lua does (instruction counts of both forms: `docs/BENCHMARKS.md`).
const NATIVE_FROM: usize = 12;

/// The two keys of a lane. They always share a slot of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The list that consumers read.
    pub list: String,
    /// The cursor beside it: a string with the position up to which the list has everything.
    pub cursor: String,
}

impl Names {
    /// The names for `list` as filled by `producer`. Two producers of one list must differ.
    ///
    /// The cursor of `logs` is `{logs}:cursor:PRODUCER`; a list with a hash tag of its own, `{app}:logs`, keeps it.
    /// The error says what is wrong with the name.
    pub fn new(list: &str, producer: &str) -> Result<Self, String> {
        if list.is_empty() {
            return Err("a list needs a name".into());
        }
        if producer.is_empty() || producer.len() > PRODUCER_BYTES_MAX {
            return Err(format!("a producer's name has 1 to {PRODUCER_BYTES_MAX} bytes"));
        }
        let tag = list.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        let cursor = match tag {
            Some(tag) if !tag.is_empty() => format!("{list}:cursor:{producer}"),
            _ if list.contains('}') => {
                return Err(format!("{list:?} holds a brace but no hash tag: its cursor could not share its slot"));
            }
            _ => format!("{{{list}}}:cursor:{producer}"),
        };
        Ok(Self { list: list.to_owned(), cursor })
    }
}

/// Appends the push of `records` to `out`: taken only if the cursor is `from`, which then becomes `to`.
///
/// `from` is any bytes: a cursor that somebody else wrote can be gone on from, too.
/// `count` is how many `records` yields, from 1 to [`BATCH_RECORDS_MAX`]. The answer comes as [`replies`]`(mode, count)` replies.
pub fn push<'a>(
    out: &mut Vec<u8>,
    names: &Names,
    mode: &Mode,
    (from, to): (impl AsRef<[u8]>, &str),
    records: impl Iterator<Item = &'a [u8]>,
    count: usize,
) {
    assert!((1..=BATCH_RECORDS_MAX).contains(&count), "a push of {count} records");
    let side = match mode {
        Mode::Queue(side) => *side,
        Mode::Stream(entry) => return add(out, names, entry, (from.as_ref(), to), records, count),
    };
    let mut records = records;
    if count < NATIVE_FROM {
        head(out, b'*', 8 + count);
        eval(out, include_bytes!("whole.lua"), names, side, (from.as_ref(), to));
        for record in records {
            argument(out, record);
        }
        return;
    }
    out.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
    head(out, b'*', count + 1);
    argument(out, side.command());
    argument(out, names.list.as_bytes());
    for record in records.by_ref().take(count - 1) {
        argument(out, record);
    }
    head(out, b'*', 10);
    eval(out, include_bytes!("last.lua"), names, side, (from.as_ref(), to));
    argument(out, count.to_string().as_bytes());
    for record in records {
        argument(out, record);
    }
    out.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
}

/// The push into a stream. It compares before it adds: an entry that trims cannot be taken back.
fn add<'a>(
    out: &mut Vec<u8>,
    names: &Names,
    entry: &Entry,
    place: (&[u8], &str),
    records: impl Iterator<Item = &'a [u8]>,
    count: usize,
) {
    head(out, b'*', 9 + count);
    begin(out, include_bytes!("stream.lua"), names, place);
    argument(out, entry.field.as_bytes());
    argument(out, entry.max_entries.to_string().as_bytes());
    for record in records {
        argument(out, record);
    }
}

/// The arguments that both scripts of a list begin with.
fn eval(out: &mut Vec<u8>, script: &[u8], names: &Names, side: Side, place: (&[u8], &str)) {
    begin(out, script, names, place);
    argument(out, side.command());
}

/// The arguments that all scripts that push begin with.
fn begin(out: &mut Vec<u8>, script: &[u8], names: &Names, (from, to): (&[u8], &str)) {
    argument(out, b"EVAL");
    argument(out, script.trim_ascii());
    argument(out, b"2");
    argument(out, names.list.as_bytes());
    argument(out, names.cursor.as_bytes());
    argument(out, from);
    argument(out, to.as_bytes());
}

/// Appends any other command.
pub fn command(out: &mut Vec<u8>, words: &[&str]) {
    head(out, b'*', words.len());
    for word in words {
        argument(out, word.as_bytes());
    }
}

/// Appends a move of the cursor alone, for a stretch of the stream that held no record for this list.
pub fn advance(out: &mut Vec<u8>, names: &Names, (from, to): (impl AsRef<[u8]>, &str)) {
    head(out, b'*', 6);
    argument(out, b"EVAL");
    argument(out, include_bytes!("advance.lua").trim_ascii());
    argument(out, b"1");
    argument(out, names.cursor.as_bytes());
    argument(out, from.as_ref());
    argument(out, to.as_bytes());
}

/// Appends what a push needs, as a step that changes nothing. [`rehearsal_replies`] replies answer it.
///
/// Without MULTI the native push would run by itself; without EVAL or LTRIM it could not be taken back. The push into a stream fails as
/// a whole: of it the rehearsal only tells early what is not permitted, or not there.
pub fn rehearsal(out: &mut Vec<u8>, names: &Names, mode: &Mode) {
    let (script, wrapped): (&[u8], bool) = match mode {
        Mode::Queue(_) => (include_bytes!("rehearse.lua"), true),
        Mode::Stream(_) => (include_bytes!("rehearse_stream.lua"), false),
    };
    if wrapped {
        out.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
    }
    head(out, b'*', 5);
    argument(out, b"EVAL");
    argument(out, script.trim_ascii());
    argument(out, b"2");
    argument(out, names.list.as_bytes());
    argument(out, names.cursor.as_bytes());
    if wrapped {
        out.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
    }
}

/// How many replies answer a [`rehearsal`].
pub fn rehearsal_replies(mode: &Mode) -> usize {
    match mode {
        Mode::Queue(_) => 3,
        Mode::Stream(_) => 1,
    }
}

/// How many replies answer a push of `count` records; 0 stands for [`advance`].
pub fn replies(mode: &Mode, count: usize) -> usize {
    if matches!(mode, Mode::Queue(_)) && count >= NATIVE_FROM { 4 } else { 1 }
}

/// `*N` or `$N` and CRLF.
fn head(out: &mut Vec<u8>, kind: u8, value: usize) {
    let mut digits = [0u8; 22];
    let mut at = digits.len() - 2;
    digits[at..].copy_from_slice(b"\r\n");
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push(kind);
    out.extend_from_slice(&digits[at..]);
}

fn argument(out: &mut Vec<u8>, bytes: &[u8]) {
    head(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Names {
        Names::new(list, "p").expect("a good name")
    }

    #[test]
    fn the_cursor_lives_in_the_slot_of_its_list() {
        assert_eq!(names("logs").cursor, "{logs}:cursor:p");
        assert_eq!(names("{app}:logs").cursor, "{app}:logs:cursor:p");
        assert_eq!(names("a{b").cursor, "{a{b}:cursor:p");
        assert!(Names::new("a{}b", "p").is_err());
        assert!(Names::new("a}b", "p").is_err());
        assert!(Names::new("", "p").is_err());
        assert!(Names::new("l", "").is_err());
    }

    #[test]
    fn a_small_batch_is_one_command() {
        let mut out = Vec::new();
        push(&mut out, &names("l"), &Mode::default(), ("f", "t"), [&b"x\ny"[..]].into_iter(), 1);
        let text = String::from_utf8(out).expect("text");
        assert!(text.starts_with("*9\r\n$4\r\nEVAL\r\n"), "{text}");
        assert!(text.ends_with("$1\r\nf\r\n$1\r\nt\r\n$5\r\nRPUSH\r\n$3\r\nx\ny\r\n"), "{text}");
        assert_eq!(replies(&Mode::default(), 1), 1);
    }

    #[test]
    fn a_large_batch_is_a_transaction_that_can_undo_itself() {
        let mut out = Vec::new();
        let records = [&b"r"[..]; 25];
        push(&mut out, &names("l"), &Mode::default(), ("f", "t"), records.into_iter(), 25);
        let text = String::from_utf8(out).expect("text");
        assert!(text.starts_with("*1\r\n$5\r\nMULTI\r\n*26\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n$1\r\nr\r\n"), "{text}");
        assert!(text.ends_with("$5\r\nRPUSH\r\n$2\r\n25\r\n$1\r\nr\r\n*1\r\n$4\r\nEXEC\r\n"), "{text}");
        assert_eq!(replies(&Mode::default(), 25), 4);
    }

    #[test]
    fn any_push_into_a_stream_is_one_command() {
        let mode = Mode::Stream(Entry { field: "msg".into(), max_entries: 7 });
        for count in [1, 25] {
            let mut out = Vec::new();
            push(&mut out, &names("l"), &mode, ("f", "t"), vec![&b"r"[..]; count].into_iter(), count);
            let text = String::from_utf8(out).expect("text");
            assert!(text.starts_with(&format!("*{}\r\n$4\r\nEVAL\r\n", 9 + count)), "{text}");
            let rest = format!("$1\r\nt\r\n$3\r\nmsg\r\n$1\r\n7\r\n{}", "$1\r\nr\r\n".repeat(count));
            assert!(text.ends_with(&rest), "{text}");
            assert_eq!(replies(&mode, count), 1);
        }
    }

    #[test]
    fn numbers_have_no_leading_zero() {
        let mut out = Vec::new();
        for n in [0, 9, 10, 123_456_789] {
            head(&mut out, b'$', n);
        }
        assert_eq!(out, b"$0\r\n$9\r\n$10\r\n$123456789\r\n");
    }
}
