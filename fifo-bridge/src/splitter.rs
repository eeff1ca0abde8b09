//! Which lane a record belongs to. A plain value.
//!
//! What it says must stay the same as long as bytes of the spool wait: two answers about one record would lose or double it. So everything
//! that it depends on is in its [rule](Splitter::rule), which the spool keeps.

use ::settings::lanes::LaneField;
use delivery::outlet::lane_of;

use crate::frame::third_bar;
use crate::settings::effective::FrameSettings;
use crate::settings::file::{Format, Resync};

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
        self.field.of(match (self.frame.format, self.field) {
            (Format::Bridge, LaneField::Word(_)) => message(record),
            (Format::Bridge, LaneField::Field(_)) => record.strip_prefix(b"~").unwrap_or(record),
            (Format::Line, _) => record,
        })
    }
}

/// What stands behind the third `|`.
fn message(record: &[u8]) -> &[u8] {
    third_bar(record).map_or(&[], |at| &record[at + 1..])
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
