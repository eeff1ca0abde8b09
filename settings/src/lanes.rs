//! Lanes as programs name them in TOML: how many, what tells the streams apart, and the lists that come of it. Plain values.

use std::fmt;

use delivery::link::{Endpoint, Topology};
use memchr::memchr2;

use crate::checks::{Invalid, invalid, within};

/// Lanes of a program, at most.
const LANES_MAX: usize = 64;
/// The furthest word or field that may be named.
const PLACE_MAX: usize = 64;

/// What tells the streams of a text apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneField {
    /// This word, from 1: what stands between blanks.
    Word(usize),
    /// This field, from 1: what stands between `|`.
    Field(usize),
}

impl LaneField {
    /// Reads `word:N` or `field:N`.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, place) = text.split_once(':')?;
        let digits = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit());
        let place = place.parse().ok().filter(|place| digits && (1..=PLACE_MAX).contains(place))?;
        match kind {
            "word" => Some(Self::Word(place)),
            "field" => Some(Self::Field(place)),
            _ => None,
        }
    }

    /// What stands there in `text`; empty if there is no such word or field.
    pub fn of(self, text: &[u8]) -> &[u8] {
        match self {
            Self::Word(place) => word(text, place),
            Self::Field(place) => text.split(|byte| *byte == b'|').nth(place - 1).unwrap_or_default(),
        }
    }
}

/// `queue.lane-field` with so many lanes. `None`: there is nothing to tell apart.
pub fn field(lanes: usize, text: &str) -> Result<Option<LaneField>, Invalid> {
    match (text, LaneField::parse(text)) {
        ("", _) if lanes > 1 => {
            let why = format!(
                "is empty, and queue.lanes is {lanes}: it says what tells the streams apart, word:1 for example"
            );
            invalid("queue.lane-field", why)
        }
        ("", _) => Ok(None),
        (_, Some(field)) => Ok((lanes > 1).then_some(field)),
        (text, None) => {
            invalid("queue.lane-field", format!("{text:?} is not allowed; word:N or field:N, N from 1 to 64"))
        }
    }
}

/// The lists of `key` with `queue.lanes` lanes.
pub fn lists(endpoint: &Endpoint, key: &str, lanes: usize) -> Result<Vec<String>, Invalid> {
    let lanes = within("queue.lanes", lanes, 1, LANES_MAX)?;
    let lists = delivery::lists::lists(endpoint.topology(), key, lanes as u32);
    let lists = lists.map_err(|why| Invalid { key: "queue.key", why, other: None })?;
    let servers = endpoint.servers();
    if *endpoint.topology() == Topology::Shards && lanes < servers {
        return invalid("queue.lanes", format!("{lanes} lanes cannot be dealt out to {servers} servers (redis.shard)"));
    }
    Ok(lists)
}

impl fmt::Display for LaneField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(place) => write!(f, "word:{place}"),
            Self::Field(place) => write!(f, "field:{place}"),
        }
    }
}

/// The word at `place`, from 1; empty if there are not so many.
fn word(mut text: &[u8], place: usize) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    for left in (0..place).rev() {
        text = &text[text.iter().position(|byte| !blank(byte)).unwrap_or(text.len())..];
        let (word, rest) = text.split_at(memchr2(b' ', b'\t', text).unwrap_or(text.len()));
        if left == 0 {
            return word;
        }
        text = rest;
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_what_the_setting_names() {
        let text = b" \tweb1  sshd[7]:| text | more";
        for (field, key) in [
            ("word:1", &b"web1"[..]),
            ("word:2", b"sshd[7]:|"),
            ("word:5", b"more"),
            ("word:6", b""),
            ("field:1", b" \tweb1  sshd[7]:"),
            ("field:2", b" text "),
            ("field:4", b""),
        ] {
            let found = LaneField::parse(field).expect("a field").of(text);
            assert_eq!(String::from_utf8_lossy(found), String::from_utf8_lossy(key), "{field}");
        }
        assert_eq!(LaneField::Word(1).of(b"  "), b"");
    }

    #[test]
    fn anything_else_is_no_field() {
        for text in ["", "word", "word:", "word:0", "word:65", "word:+1", "word:1 ", "msg:1", "field:-1", ":1"] {
            assert_eq!(LaneField::parse(text), None, "{text}");
        }
        assert_eq!(LaneField::parse("field:64"), Some(LaneField::Field(64)));
        assert_eq!(LaneField::Word(3).to_string(), "word:3");
    }
}
