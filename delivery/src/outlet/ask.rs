//! Questions about several lists, asked together: one command for each, sent in one go.

use crate::error::Trouble;
use crate::link::Link;
use crate::push::{self, Names, Reply};
use crate::wire::Patience;

/// Reads the cursors of all `names`; empty ones are missing.
pub(super) fn cursors<'a>(
    link: &mut Link,
    out: &mut Vec<u8>,
    names: impl Iterator<Item = &'a Names>,
    patience: Patience<'_>,
) -> Result<Vec<Vec<u8>>, Trouble> {
    let read = |reply| match reply {
        Reply::Bytes(value) => Ok(value),
        Reply::Nil => Ok(Vec::new()),
        // A cursor of another type, or that may not be read: as good as any that cannot be told. The push will say so.
        Reply::Error { code, .. } if code == "WRONGTYPE" || code == "NOPERM" => Ok(Vec::new()),
        Reply::Error { code, text } => Err(Trouble::Answered { code, text, connecting: true }),
        other => Err(Trouble::Confused { text: format!("a cursor: {other:?}") }),
    };
    all(link, out, names.map(|names| ["GET", names.cursor.as_str()]), read, patience)
}

/// Asks for the lengths of all lists, with `command`.
pub(super) fn lengths<'a>(
    command: &str,
    link: &mut Link,
    out: &mut Vec<u8>,
    names: impl Iterator<Item = &'a Names>,
    patience: Patience<'_>,
) -> Result<Vec<u64>, Trouble> {
    all(link, out, names.map(|names| [command, names.list.as_str()]), |reply| push::length(&reply), patience)
}

/// Sends all `questions` and reads as many answers. If one means trouble the others are read all the same: the connection stays good.
fn all<'a, T>(
    link: &mut Link,
    out: &mut Vec<u8>,
    questions: impl Iterator<Item = [&'a str; 2]>,
    read: impl Fn(Reply) -> Result<T, Trouble>,
    patience: Patience<'_>,
) -> Result<Vec<T>, Trouble> {
    out.clear();
    let mut count = 0;
    for question in questions {
        push::command(out, &question);
        count += 1;
    }
    link.send_within(out, patience)?;
    out.clear();
    let mut found = Vec::with_capacity(count);
    let mut failed = None;
    for _ in 0..count {
        match read(link.receive_within(patience)?) {
            Ok(answer) => found.push(answer),
            Err(trouble) => failed = Some(trouble),
        }
    }
    failed.map_or(Ok(found), Err)
}
