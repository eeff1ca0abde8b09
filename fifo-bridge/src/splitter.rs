//! Which lane a record belongs to. A plain value.
//!
//! What it says must stay the same as long as bytes of the spool wait: two answers about one record would lose or double it. So everything
//! that it depends on is in its [rule](Splitter::rule), which the spool keeps.

use std::fmt;

use delivery::outlet::lane_of;
use memchr::memchr2;

use crate::frame::third_bar;
use crate::settings::effective::FrameSettings;
use crate::settings::file::{Format, Resync};

/// The furthest word or field that may be named.
const PLACE_MAX: usize = 64;

/// What tells the streams of a pipe apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneField {
    /// This word of the message, from 1: what stands between blanks.
    Word(usize),
    /// This field of the line, from 1: what stands between `|`.
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
}

impl fmt::Display for LaneField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(place) => write!(f, "word:{place}"),
            Self::Field(place) => write!(f, "field:{place}"),
        }
    }
}

/// Spreads records over lanes.
#[derive(Debug, Clone, Copy)]
pub struct Splitter {
    lanes: u32,
    field: LaneField,
    frame: FrameSettings,
}

impl Splitter {
    /// Over so many lanes, by this field of lines that are told apart so.
    pub fn new(lanes: usize, field: LaneField, frame: FrameSettings) -> Self {
        Self { lanes: u32::try_from(lanes).unwrap_or(u32::MAX), field, frame }
    }

    /// Everything that decides which lane a record belongs to, but for their number.
    pub fn rule(&self) -> String {
        let format = match self.frame.format {
            Format::Bridge => "bridge",
            Format::Line => "line",
        };
        let resync = match self.frame.resync {
            Resync::Long => "long",
            Resync::Always => "always",
            Resync::Never => "never",
        };
        format!("{}, format {format}, resync {resync}, record-max {}", self.field, self.frame.record_bytes_max)
    }

    /// The lane of a record. One that lacks the word or the field is of the stream without a name.
    pub fn lane_of(&self, record: &[u8]) -> usize {
        lane_of(self.key(record), self.lanes) as usize
    }

    fn key<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        let framed = self.frame.format == Format::Bridge;
        match self.field {
            LaneField::Word(place) => word(if framed { message(record) } else { record }, place),
            LaneField::Field(place) => {
                let record = if framed { record.strip_prefix(b"~").unwrap_or(record) } else { record };
                record.split(|byte| *byte == b'|').nth(place - 1).unwrap_or_default()
            }
        }
    }
}

/// What stands behind the third `|`.
fn message(record: &[u8]) -> &[u8] {
    third_bar(record).map_or(&[], |at| &record[at + 1..])
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

    fn splitter(field: &str, format: Format) -> Splitter {
        let frame = FrameSettings { format, resync: Resync::Long, record_bytes_max: 4096 };
        Splitter::new(8, LaneField::parse(field).expect("a field"), frame)
    }

    #[test]
    fn the_key_is_what_the_setting_names() {
        let record = b"~local3|6|Nov 21 10:00:00| \tweb1  sshd[7]:| text | more";
        for (field, key) in [
            ("word:1", &b"web1"[..]),
            ("word:2", b"sshd[7]:|"),
            ("word:3", b"text"),
            ("word:6", b""),
            ("field:1", b"local3"),
            ("field:2", b"6"),
            ("field:3", b"Nov 21 10:00:00"),
            ("field:5", b" text "),
            ("field:7", b""),
        ] {
            let key = String::from_utf8_lossy(key);
            assert_eq!(String::from_utf8_lossy(splitter(field, Format::Bridge).key(record)), key, "{field}");
        }
        assert_eq!(splitter("word:1", Format::Line).key(b"  web1 text"), b"web1");
        assert_eq!(splitter("field:1", Format::Line).key(b"~web1|text"), b"~web1");
        for empty in [&b""[..], b"~", b"~|||", b"~|||  ", b"||"] {
            assert_eq!(splitter("word:1", Format::Bridge).key(empty), b"", "{empty:?}");
        }
    }

    #[test]
    fn anything_else_is_no_field() {
        for text in ["", "word", "word:", "word:0", "word:65", "word:+1", "word:1 ", "msg:1", "field:-1", ":1"] {
            assert_eq!(LaneField::parse(text), None, "{text}");
        }
        assert_eq!(LaneField::parse("field:64"), Some(LaneField::Field(64)));
    }

    #[test]
    fn streams_spread_and_each_stays() {
        let splitter = splitter("word:1", Format::Line);
        let mut lanes = [0; 8];
        for host in 0..800 {
            let lane = splitter.lane_of(format!("host{host} one").as_bytes());
            assert_eq!(lane, splitter.lane_of(format!("host{host}\tanother text").as_bytes()));
            lanes[lane] += 1;
        }
        assert!(lanes.iter().all(|streams| *streams > 50), "{lanes:?}");
    }
}
